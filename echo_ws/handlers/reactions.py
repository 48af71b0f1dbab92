from echo_ws.cursor import as_cursor, cut, place_after
from echo_ws.dispatch import Context, handles
from echo_ws.errors import NotFound
from echo_ws.events import message_in, utc
from echo_ws_db import messages, reactions
from echo_ws_protocol.commands import ReactionList, ReactionSet
from echo_ws_protocol.replies import Done, Reaction, ReactionPage


@handles(ReactionSet)
async def set_(ctx: Context, command: ReactionSet) -> Done:
    changed = await messages.react(
        ctx.db, command.conversation, command.message, ctx.user, command.emoji, is_on=command.on
    )
    ctx.publish(message_in(changed))
    return Done()


@handles(ReactionList)
async def page(ctx: Context, command: ReactionList) -> ReactionPage:
    """Read one more than was asked for, to know whether there are more."""
    place = (ctx.db, command.conversation, command.message, ctx.user)
    rows = await reactions.page(*place, command.emoji, command.limit + 1, place_after(command.after))
    if not rows and not await messages.exists(*place):
        raise NotFound
    shown, last = cut(rows, command.limit)
    following = last and as_cursor(last.created_at, last.id)
    return ReactionPage([Reaction(row.user_id, row.emoji, utc(row.created_at)) for row in shown], following)
