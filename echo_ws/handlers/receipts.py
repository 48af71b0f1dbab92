from uuid import UUID

from msgspec.structs import replace

from echo_ws.cursor import cut, user_after
from echo_ws.dispatch import Context, handles
from echo_ws.errors import Busy, NotFound
from echo_ws.events import utc
from echo_ws_db import receipts
from echo_ws_db.receipts import ReceiptRow, RecipientRow
from echo_ws_protocol.commands import DeliveryAck, MessageRead, MessageReceipts
from echo_ws_protocol.events import Receipt
from echo_ws_protocol.replies import MessageReceipt, ReceiptPage, Watermarks


@handles(DeliveryAck)
async def acknowledge(ctx: Context, command: DeliveryAck) -> Watermarks:
    return await _raise(ctx, command.conversation, command.seq, is_read=False)


@handles(MessageRead)
async def read(ctx: Context, command: MessageRead) -> Watermarks:
    return await _raise(ctx, command.conversation, command.seq, is_read=True)


@handles(MessageReceipts)
async def page(ctx: Context, command: MessageReceipts) -> ReceiptPage:
    """Read one more than was asked for, to know whether there are more. Of a channel, the numbers alone are told."""
    after = user_after(command.after)
    totals = await receipts.totals(ctx.db, command.conversation, command.message, ctx.user)
    if totals is None:
        raise NotFound
    rows = (
        []
        if totals.is_channel
        else await receipts.recipients(ctx.db, command.message, ctx.user, after, command.limit + 1)
    )
    shown, last = cut(rows, command.limit)
    return ReceiptPage(
        recipients=totals.recipients,
        delivered=totals.delivered,
        read=totals.read,
        receipts=[_as_receipt(row) for row in shown],
        next=str(last.user_id) if last else None,
    )


async def _raise(ctx: Context, conversation: UUID, seq: int, *, is_read: bool) -> Watermarks:
    """Raise the watermarks, step by step where that takes more than one."""
    while True:
        row = await receipts.acknowledge(ctx.db, conversation, ctx.user, seq, is_read=is_read)
        if row.wait_ms:
            raise Busy("in a channel, receipts are taken every 5 s", retry_after_ms=row.wait_ms)
        _tell(ctx, conversation, row)
        if not row.more:
            return Watermarks(row.delivered_seq, row.read_seq)


def _tell(ctx: Context, conversation: UUID, row: ReceiptRow) -> None:
    """Tell the own devices all of it, and the others what they may know."""
    whole = Receipt(conversation=conversation, user=ctx.user, delivered_seq=row.delivered_seq, read_seq=row.read_seq)
    delivered = replace(whole, read_seq=0)
    if row.told == "all":
        ctx.mention(whole, row.apart or (), instead=delivered if row.arrived else None)
    elif row.told == "delivered":
        ctx.mention(delivered, (ctx.user,), instead=whole)
    elif row.told == "own":
        ctx.tell(whole)
    if row.unmarked:
        ctx.poke(ctx.user)


def _as_receipt(row: RecipientRow) -> MessageReceipt:
    return MessageReceipt(
        user=row.user_id,
        status=row.status,  # type: ignore[arg-type]  # the words of delivery_tracking
        delivered_at=utc(row.delivered_at) if row.delivered_at else None,
        read_at=utc(row.read_at) if row.read_at else None,
    )
