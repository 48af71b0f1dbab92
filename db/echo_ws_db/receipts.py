"""Receipts: watermarks and delivery tracking. The statement stands in receipts.sql."""

from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_changed
from .statements import Statements

SQL = Statements("receipts")


class ReceiptRow(NamedTuple):
    """A member's watermarks as they now are; ``wait_ms`` where a channel takes them later."""

    delivered_seq: int
    read_seq: int
    changed: bool
    is_channel: bool
    wait_ms: int | None


async def acknowledge(db: Database, conversation: UUID, recipient: UUID, up_to: int, *, is_read: bool) -> ReceiptRow:
    """Raise a member's watermarks, by at most a thousand messages: call again while they are below ``up_to``."""
    return as_changed(ReceiptRow, await db.fetchrow(SQL.acknowledge, conversation, recipient, up_to, is_read))
