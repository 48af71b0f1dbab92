"""What did I miss? The statements stand in changes.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_rows
from .statements import Statements

SQL = Statements("changes")


class ChangeRow(NamedTuple):
    """Something that changed; ``body`` is the JSON of its row. Nothing did: a row without ``rev``."""

    last_rev: int
    rev: int | None
    kind: str | None
    body: str | None


class PlaceRow(NamedTuple):
    """Where a conversation of the user's stands; without one, the user's own stand."""

    conversation_id: UUID | None
    last_rev: int
    joined_seq: int = 0
    """The user reads messages above this seq."""


class HeadRow(NamedTuple):
    id: UUID
    last_rev: int


class MissedRow(NamedTuple):
    """As ``ChangeRow``, of one of several conversations."""

    conversation_id: UUID
    last_rev: int
    rev: int | None
    kind: str | None
    body: str | None


class WatermarkRow(NamedTuple):
    """How far a member has received and read. None moved: a row with the time alone."""

    now: datetime
    conversation_id: UUID | None
    user_id: UUID | None
    delivered_seq: int | None
    read_seq: int | None


async def of_conversation(db: Database, conversation: UUID, above_rev: int, limit: int) -> list[ChangeRow]:
    """Return at least ``limit`` changes, or all. No row: there is no such conversation."""
    return as_rows(ChangeRow, await db.fetch(SQL.of_conversation, conversation, above_rev, limit))


async def of_user(db: Database, viewer: UUID, above_rev: int, limit: int) -> list[ChangeRow]:
    """Return ``limit`` changes that concern the user alone, or all. No row: nothing ever did."""
    return as_rows(ChangeRow, await db.fetch(SQL.of_user, viewer, above_rev, limit))


async def places(db: Database, viewer: UUID) -> list[PlaceRow]:
    return as_rows(PlaceRow, await db.fetch(SQL.places, viewer))


async def conversation_heads(db: Database, conversations: Sequence[UUID]) -> list[HeadRow]:
    return as_rows(HeadRow, await db.fetch(SQL.conversation_heads, conversations))


async def user_heads(db: Database, viewers: Sequence[UUID]) -> list[HeadRow]:
    return as_rows(HeadRow, await db.fetch(SQL.user_heads, viewers))


async def standing(db: Database, viewer: UUID, conversations: Sequence[UUID]) -> list[HeadRow]:
    """Return how far these conversations go for the viewer; none for a stranger to one, or for one that is gone."""
    return as_rows(HeadRow, await db.fetch(SQL.standing, viewer, conversations))


async def missed(
    db: Database, viewer: UUID, conversations: Sequence[UUID], above_revs: Sequence[int], limit: int
) -> list[MissedRow]:
    """Return for each conversation at least ``limit`` changes that the viewer may read, or all."""
    return as_rows(MissedRow, await db.fetch(SQL.missed, viewer, conversations, above_revs, limit))


async def receipts(db: Database, viewer: UUID, since: datetime | None) -> list[WatermarkRow]:
    """Return the watermarks that moved since a time without zone, in UTC."""
    return as_rows(WatermarkRow, await db.fetch(SQL.receipts, viewer, since))
