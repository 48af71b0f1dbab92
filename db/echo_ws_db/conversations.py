"""Conversations and who takes part. The statements stand in conversations.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from .rows import Database, as_changed, as_rows, check
from .statements import Statements

SQL = Statements("conversations")


class CreatedRow(NamedTuple):
    """The conversation that now exists, and who was invited and did not come."""

    conversation: UUID
    created: bool
    refused: list[UUID]


class ChangedRow(NamedTuple):
    """A conversation that was changed, as JSON, without its participants."""

    changed: str


class DeletedRow(NamedTuple):
    """As ``ChangedRow``; nothing where nothing changed for the others."""

    changed: str | None


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
    metadata: dict[str, Any] | None
    member_count: int
    silenced: bool
    muted_until: datetime | None
    peer: UUID | None
    unread: int
    mentions: int
    marked_unread: bool


class TypingRow(NamedTuple):
    may_post: bool
    is_told: bool
    kept_from: list[UUID] | None


async def create(
    db: Database,
    conversation: UUID,
    type_: str,
    name: str | None,
    creator: UUID,
    others: Sequence[UUID],
    most: int = 1000,
) -> CreatedRow:
    """Create a conversation, or find the one that is there. A group has ``most`` participants."""
    return as_changed(CreatedRow, await db.fetchrow(SQL.create, conversation, type_, name, creator, others, most))


async def update(
    db: Database,
    conversation: UUID,
    editor: UUID,
    *,
    name: str | None,
    description: str | None,
    avatar_url: str | None,
    history: str | None,
    is_public: bool | None,
) -> str:
    """Return the conversation as it now is, as JSON. None leaves a field as it is, an empty text takes it away."""
    row = await db.fetchrow(SQL.update, conversation, editor, name, description, avatar_url, history, is_public)
    return as_changed(ChangedRow, row).changed


async def delete(db: Database, conversation: UUID, deleter: UUID) -> str | None:
    """Return the conversation as it now is for all, as JSON; None if it was deleted for the one alone, or before."""
    return as_changed(DeletedRow, await db.fetchrow(SQL.delete, conversation, deleter)).changed


async def mute(db: Database, conversation: UUID, muter: UUID, until: datetime | None) -> None:
    """Note until when a member wants no notifications; None: he or she wants them."""
    check(await db.fetchval(SQL.mute, conversation, muter, until))


async def page(
    db: Database, viewer: UUID, limit: int, before: tuple[datetime, UUID] | tuple[None, None] = (None, None)
) -> list[SummaryRow]:
    """Return conversations below a place in the order, which is (last_message_at or created_at, id), descending."""
    return as_rows(SummaryRow, await db.fetch(SQL.page, viewer, limit, *before))


async def summary(db: Database, conversation: UUID, viewer: UUID) -> SummaryRow | None:
    record = await db.fetchrow(SQL.summary, conversation, viewer)
    return SummaryRow(*record) if record else None


async def ever_member(db: Database, conversation: UUID, viewer: UUID) -> bool:
    return bool(await db.fetchval(SQL.ever_member, conversation, viewer))


async def may_type(db: Database, conversation: UUID, typist: UUID, most: int) -> TypingRow | None:
    """Return whether a member may post, and who is told that he or she types; None for anybody else."""
    record = await db.fetchrow(SQL.may_type, conversation, typist, most)
    return TypingRow(*record) if record else None
