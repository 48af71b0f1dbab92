from uuid import UUID

from echo_ws.dispatch import Context, handles
from echo_ws.errors import Busy
from echo_ws_db import privacy, receipts
from echo_ws_protocol.commands import DeliveryAck, MessageRead
from echo_ws_protocol.events import Receipt
from echo_ws_protocol.replies import Watermarks


@handles(DeliveryAck)
async def acknowledge(ctx: Context, command: DeliveryAck) -> Watermarks:
    return await _raise(ctx, command.conversation, command.seq, is_read=False)


@handles(MessageRead)
async def read(ctx: Context, command: MessageRead) -> Watermarks:
    return await _raise(ctx, command.conversation, command.seq, is_read=True)


async def _raise(ctx: Context, conversation: UUID, seq: int, *, is_read: bool) -> Watermarks:
    """Raise the watermarks step by step, and tell the others where they ended."""
    has_changed = False
    while True:
        row = await receipts.acknowledge(ctx.db, conversation, ctx.user, seq, is_read=is_read)
        if row.wait_ms:
            raise Busy("in a channel, receipts are taken every 5 s", retry_after_ms=row.wait_ms)
        if not row.changed:
            break
        has_changed = True
    if has_changed and not row.is_channel and (told := await privacy.tells(ctx.db, ctx.user, conversation)).delivered:
        read_seq = row.read_seq if told.read else 0
        ctx.mention(
            Receipt(conversation=conversation, user=ctx.user, delivered_seq=row.delivered_seq, read_seq=read_seq)
        )
    return Watermarks(row.delivered_seq, row.read_seq)
