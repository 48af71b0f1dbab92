"""Receipts and what is unread: watermarks and delivery tracking. The statements stand in receipts.sql."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_changed, as_rows, check
from .statements import Statements

SQL = Statements("receipts")


class ReceiptRow(NamedTuple):
    """A member's watermarks as they now are; ``wait_ms`` where a channel takes them later."""

    delivered_seq: int
    read_seq: int
    more: bool
    wait_ms: int | None
    unmarked: bool
    """Whether it took back a mark as unread."""
    told: str | None
    """Who is to hear of it: ``own`` devices, all others that it was ``delivered``, or ``all``; None: nothing moved."""
    arrived: bool
    """Whether there is something newly delivered to be told."""
    apart: list[UUID] | None
    """Of ``all``, those who are told no more than that."""


class UnreadRow(NamedTuple):
    """What is unread in all conversations of a user."""

    unread: int
    mentions: int
    conversations: int


class TotalsRow(NamedTuple):
    """How far a message came, in numbers."""

    is_channel: bool
    recipients: int
    delivered: int
    read: int


class RecipientRow(NamedTuple):
    """How far a message came with one of its recipients."""

    user_id: UUID
    status: str
    delivered_at: datetime | None
    read_at: datetime | None


async def acknowledge(db: Database, conversation: UUID, recipient: UUID, up_to: int, *, is_read: bool) -> ReceiptRow:
    """Raise a member's watermarks, by at most a thousand messages: call again while there is ``more``."""
    return as_changed(ReceiptRow, await db.fetchrow(SQL.acknowledge, conversation, recipient, up_to, is_read))


async def mark_unread(db: Database, conversation: UUID, marker: UUID, *, is_on: bool) -> None:
    """Put a conversation back among the unread ones, or take it out."""
    check(await db.fetchval(SQL.mark_unread, conversation, marker, is_on))


async def total(db: Database, viewer: UUID) -> UnreadRow:
    """Count what is unread in all conversations together."""
    (row,) = as_rows(UnreadRow, await db.fetch(SQL.total, viewer))
    return row


async def totals(db: Database, conversation: UUID, message: UUID, viewer: UUID) -> TotalsRow | None:
    """Count who got and who read a message, or return None if the viewer may not read it now."""
    record = await db.fetchrow(SQL.totals, conversation, message, viewer)
    return TotalsRow(*record) if record else None


async def recipients(db: Database, message: UUID, viewer: UUID, after: UUID | None, limit: int) -> list[RecipientRow]:
    """Return how far a message came with each of its recipients, in the order of their ids."""
    return as_rows(RecipientRow, await db.fetch(SQL.recipients, message, viewer, after, limit))
