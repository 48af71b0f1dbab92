"""Conversations and who takes part. The statements stand in conversations.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_changed, as_rows
from .statements import Statements

SQL = Statements("conversations")


class CreatedRow(NamedTuple):
    """The conversation that now exists."""

    conversation: UUID
    created: bool


class SummaryRow(NamedTuple):
    """A conversation as a member sees it; ``peer`` is the other one of a direct conversation."""

    id: UUID
    type: str
    role: str
    last_seq: int
    last_rev: int
    delivered_seq: int
    read_seq: int
    created_at: datetime
    name: str | None
    created_by: UUID | None
    last_message_id: UUID | None
    last_message_at: datetime | None
    peer: UUID | None


class ParticipantRow(NamedTuple):
    """A participant; without a profile there is no name."""

    user_id: UUID
    role: str
    delivered_seq: int
    read_seq: int
    display_name: str | None
    silenced: bool


async def create(
    db: Database, conversation: UUID, type_: str, name: str | None, creator: UUID, others: Sequence[UUID]
) -> CreatedRow:
    """Create a conversation, or find the one that is there."""
    return as_changed(CreatedRow, await db.fetchrow(SQL.create, conversation, type_, name, creator, others))


async def page(
    db: Database, viewer: UUID, limit: int, before: tuple[datetime, UUID] | tuple[None, None] = (None, None)
) -> list[SummaryRow]:
    """Return conversations below a place in the order, which is (last_message_at or created_at, id), descending."""
    return as_rows(SummaryRow, await db.fetch(SQL.page, viewer, limit, *before))


async def summary(db: Database, conversation: UUID, viewer: UUID) -> SummaryRow | None:
    record = await db.fetchrow(SQL.summary, conversation, viewer)
    return SummaryRow(*record) if record else None


async def participants(db: Database, conversation: UUID, viewer: UUID) -> list[ParticipantRow]:
    """Return who takes part, with the watermarks that the viewer may see."""
    return as_rows(ParticipantRow, await db.fetch(SQL.participants, conversation, viewer))


async def ever_member(db: Database, conversation: UUID, viewer: UUID) -> bool:
    return bool(await db.fetchval(SQL.ever_member, conversation, viewer))


async def may_post(db: Database, conversation: UUID, viewer: UUID) -> bool | None:
    """Return whether a member may post, or None for anybody else."""
    may: bool | None = await db.fetchval(SQL.may_post, conversation, viewer)
    return may
