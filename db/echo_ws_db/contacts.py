"""Contacts and blocks. The statements stand in contacts.sql."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_rows, check
from .statements import Statements

SQL = Statements("contacts")


class ContactRow(NamedTuple):
    """How a user stands to somebody; a deleted account has no name."""

    user_id: UUID
    deleted: bool
    display_name: str | None
    is_contact: bool
    nickname: str | None
    favorite: bool
    is_blocked: bool
    reason: str | None


class FoundRow(NamedTuple):
    hash: str
    user_id: UUID


async def block(db: Database, owner: UUID, other: UUID, *, is_on: bool, reason: str | None) -> None:
    """Block somebody, or no longer."""
    check(await db.fetchval(SQL.block, owner, other, is_on, reason))


async def set(db: Database, owner: UUID, other: UUID, nickname: str | None, *, favorite: bool) -> None:  # noqa: A001  # the command's name
    """Put a contact as it is to be."""
    check(await db.fetchval(SQL.set, owner, other, nickname, favorite))


async def remove(db: Database, owner: UUID, other: UUID) -> None:
    """Have somebody no longer as a contact."""
    await db.execute(SQL.remove, owner, other)


async def page(db: Database, owner: UUID, limit: int, after: UUID | None, *, is_blocked: bool) -> list[ContactRow]:
    """Return the user's contacts, or those whom the user blocks, above a place in the order, which is by id."""
    return as_rows(ContactRow, await db.fetch(SQL.page, owner, is_blocked, limit, after))


async def take_lookups(db: Database, asker: UUID, asked: int, per_day: int) -> int:
    """Count phone numbers that are asked for and return 0, or how many ms to wait."""
    wait_ms: int = await db.fetchval(SQL.take_lookups, asker, asked, per_day)
    return wait_ms


async def lookup(db: Database, asker: UUID, hashes: Sequence[str]) -> list[FoundRow]:
    """Return whose phone numbers have these hashes."""
    return as_rows(FoundRow, await db.fetch(SQL.lookup, asker, hashes))
