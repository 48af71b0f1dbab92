"""Who takes part in a conversation. The statements stand in participants.sql."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_changed, as_rows
from .statements import Statements

SQL = Statements("participants")

FIRST = ("", UUID(int=0))
"""The place before all participants."""


class ParticipantRow(NamedTuple):
    """A participant; without a profile there is no name."""

    user_id: UUID
    role: str
    delivered_seq: int
    read_seq: int
    display_name: str | None
    silenced: bool
    is_deleted: bool
    """Whether the account is."""


class ChangedMembersRow(NamedTuple):
    """A JSON list of the rows of ``messages.members`` that changed, by rising rev."""

    changed: str


class AddedRow(NamedTuple):
    """As ``ChangedMembersRow``, and those who were not added."""

    changed: str
    refused: list[UUID]


async def add(db: Database, conversation: UUID, inviter: UUID, invited: Sequence[UUID], most: int) -> AddedRow:
    """Let users take part who accept the invitation; a group has ``most`` participants."""
    return as_changed(AddedRow, await db.fetchrow(SQL.add, conversation, inviter, invited, most))


async def remove(db: Database, conversation: UUID, remover: UUID, participant: UUID) -> str:
    """Return what changed, as JSON."""
    row = await db.fetchrow(SQL.remove, conversation, remover, participant)
    return as_changed(ChangedMembersRow, row).changed


async def set_role(db: Database, conversation: UUID, setter: UUID, participant: UUID, *, is_admin: bool) -> str:
    """Return what changed, as JSON."""
    row = await db.fetchrow(SQL.set_role, conversation, setter, participant, is_admin)
    return as_changed(ChangedMembersRow, row).changed


async def silence(db: Database, conversation: UUID, silencer: UUID, participant: UUID, *, is_on: bool) -> str:
    """Return what changed, as JSON."""
    row = await db.fetchrow(SQL.silence, conversation, silencer, participant, is_on)
    return as_changed(ChangedMembersRow, row).changed


async def leave(db: Database, conversation: UUID, leaver: UUID) -> str:
    """Return what changed, as JSON."""
    return as_changed(ChangedMembersRow, await db.fetchrow(SQL.leave, conversation, leaver)).changed


async def join(db: Database, conversation: UUID, joiner: UUID) -> str:
    """Return what changed, as JSON."""
    return as_changed(ChangedMembersRow, await db.fetchrow(SQL.join, conversation, joiner)).changed


async def page(
    db: Database, conversation: UUID, viewer: UUID, after: tuple[str, UUID], limit: int, *, with_readers: bool
) -> list[ParticipantRow]:
    """Return participants above a place in the order, which is (role, user)."""
    return as_rows(ParticipantRow, await db.fetch(SQL.page, conversation, viewer, *after, limit, with_readers))
