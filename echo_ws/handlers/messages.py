from echo_ws.dispatch import Context, handles
from echo_ws.errors import BadField, NotFound
from echo_ws.events import as_message, utc
from echo_ws_db import conversations, messages
from echo_ws_db.messages import NewMessage
from echo_ws_protocol.commands import MessageDelete, MessageEdit, MessageHistory, MessageSend
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
        ctx.publish(
            Message(
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
        )
    return MessageSent(row.seq, created_at)


@handles(MessageEdit)
async def edit(ctx: Context, command: MessageEdit) -> Done:
    row = await messages.edit(ctx.db, command.conversation, command.message, ctx.user, command.content)
    ctx.publish(as_message(row))
    return Done()


@handles(MessageDelete)
async def delete(ctx: Context, command: MessageDelete) -> Done:
    row = await messages.remove(ctx.db, command.conversation, command.message, ctx.user)
    ctx.publish(as_message(row))
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
    return HistoryPage([as_message(row) for row in page], more=len(rows) > command.limit)
