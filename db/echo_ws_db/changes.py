"""What did I miss? The statements stand in changes.sql."""

from collections.abc import Sequence
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


class MembershipRow(NamedTuple):
    """A membership that changed, since which rev of its conversation. None did: a row without ``user_rev``."""

    last_rev: int
    user_rev: int | None
    conversation_id: UUID | None
    role: str | None
    silenced: bool | None
    has_left: bool | None
    since_rev: int | None


class PlaceRow(NamedTuple):
    """Where a conversation of the user's stands; without one, the user's own stand."""

    conversation_id: UUID | None
    last_rev: int


class HeadRow(NamedTuple):
    id: UUID
    last_rev: int


async def of_conversation(db: Database, conversation: UUID, above_rev: int, limit: int) -> list[ChangeRow]:
    """Return at least ``limit`` changes, or all. No row: there is no such conversation."""
    return as_rows(ChangeRow, await db.fetch(SQL.of_conversation, conversation, above_rev, limit))


async def of_user(db: Database, viewer: UUID, above_rev: int) -> list[MembershipRow]:
    """Return the memberships that changed. No row: nothing ever did."""
    return as_rows(MembershipRow, await db.fetch(SQL.of_user, viewer, above_rev))


async def places(db: Database, viewer: UUID) -> list[PlaceRow]:
    return as_rows(PlaceRow, await db.fetch(SQL.places, viewer))


async def conversation_heads(db: Database, conversations: Sequence[UUID]) -> list[HeadRow]:
    return as_rows(HeadRow, await db.fetch(SQL.conversation_heads, conversations))


async def user_heads(db: Database, viewers: Sequence[UUID]) -> list[HeadRow]:
    return as_rows(HeadRow, await db.fetch(SQL.user_heads, viewers))
