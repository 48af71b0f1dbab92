from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, NotFound
from echo_ws.events import Told, message_in, messages_in, utc
from echo_ws_db import conversations, messages
from echo_ws_db.messages import NewMessage
from echo_ws_protocol.commands import MessageDelete, MessageEdit, MessageHide, MessageHistory, MessageSend
from echo_ws_protocol.events import Message
from echo_ws_protocol.replies import Done, HistoryPage, MessageSent
from echo_ws_protocol.types import MAX_SAFE_INTEGER


@handles(MessageSend)
async def send(ctx: Context, command: MessageSend) -> MessageSent:
    row = await ctx.writer.send(
        NewMessage(command.message, command.conversation, ctx.user, command.content, command.reply_to)
    )
    assert row.seq
    assert row.created_at
    created_at = utc(row.created_at)
    if row.rev:  # else it was stored before, and published or about to be
        message = Message(
            conversation=command.conversation,
            message=command.message,
            seq=row.seq,
            rev=row.rev,
            sender=ctx.user,
            type="text",
            content=command.content,
            created_at=created_at,
            reply_to=command.reply_to,
        )
        ctx.publish(Told(message, row.withheld_from))
    return MessageSent(row.seq, created_at)


@handles(MessageEdit)
async def edit(ctx: Context, command: MessageEdit) -> Done:
    changed = await messages.edit(ctx.db, command.conversation, command.message, ctx.user, command.content)
    ctx.publish(message_in(changed))
    return Done()


@handles(MessageDelete)
async def delete(ctx: Context, command: MessageDelete) -> Done:
    changed = await messages.remove(ctx.db, command.conversation, command.message, ctx.user)
    ctx.publish(message_in(changed))
    return Done()


@handles(MessageHide)
async def hide(ctx: Context, command: MessageHide) -> Done:
    await messages.hide(ctx.db, command.conversation, command.message, ctx.user)
    ctx.poke(ctx.user)
    return Done()


@handles(MessageHistory)
async def history(ctx: Context, command: MessageHistory) -> HistoryPage:
    """Read one more than was asked for, to know whether there are more."""
    if command.before is not None and command.after is not None:
        raise BadField("name `before` or `after`, not both", field="$.after")
    place = (ctx.db, command.conversation, ctx.user)
    if command.after is not None:
        rows = await messages.after(*place, command.after, command.limit + 1)
    else:
        before = MAX_SAFE_INTEGER if command.before is None else command.before
        rows = await messages.before(*place, before, command.limit + 1)
    if not rows and not await conversations.ever_member(*place):
        raise NotFound
    page = sorted(rows[: command.limit], key=lambda row: row.seq)
    return HistoryPage(messages_in((row.snapshot for row in page), ctx.user), more=len(rows) > command.limit)
