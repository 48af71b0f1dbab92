from echo_ws.dispatch import Context, handles
from echo_ws.events import message_in
from echo_ws_db import messages
from echo_ws_protocol.commands import ReactionSet
from echo_ws_protocol.replies import Done


@handles(ReactionSet)
async def set_reaction(ctx: Context, command: ReactionSet) -> Done:
    changed = await messages.react(
        ctx.db, command.conversation, command.message, ctx.user, command.emoji, is_on=command.on
    )
    ctx.publish(message_in(changed))
    return Done()
