"""Users. The statements stand in users.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_rows
from .statements import Statements

SQL = Statements("users")

NO_PASSWORD = "!"  # noqa: S105
"""A ``password_hash`` that never verifies."""


class AddedRow(NamedTuple):
    id: UUID
    phone: str


class AccountRow(NamedTuple):
    user: UUID
    name: str | None
    phone: str | None
    """None once the account was deleted."""
    email: str | None
    email_verified: bool
    verified: bool
    locked: bool
    """Whether an operator or failures keep the user out."""
    locked_until: datetime | None
    """When that ends; None also for a lock without end."""
    failed_logins: int
    second_factor: bool
    created_at: datetime
    deleted_at: datetime | None
    sessions: int
    last_login_at: datetime | None


class LockedRow(NamedTuple):
    user: UUID
    session: UUID | None


async def add(db: Database, phone: str, display_name: str, password_hash: str = NO_PASSWORD) -> UUID | None:
    """Add a verified user; None when the phone number is taken."""
    user: UUID | None = await db.fetchval(SQL.add, phone, display_name, password_hash)
    return user


async def add_many(
    db: Database,
    phones: Sequence[str],
    display_names: Sequence[str],
    digests: Sequence[str],
    device_id: str,
    platform: str,
    days: int,
) -> list[AddedRow]:
    """Add testers, each with a session; a phone number that is taken is left out."""
    return as_rows(AddedRow, await db.fetch(SQL.add_many, phones, display_names, digests, device_id, platform, days))


async def show(db: Database, owner: UUID) -> AccountRow | None:
    """Return what an operator may know of a user."""
    record = await db.fetchrow(SQL.show, owner)
    return AccountRow(*record) if record else None


async def lock(db: Database, owner: UUID, until: datetime | None) -> list[UUID] | None:
    """Lock a user, for good without ``until``; return the sessions that this ended, None if there is no such user."""
    rows = [LockedRow(*record) for record in await db.fetch(SQL.lock, owner, until)]
    return [row.session for row in rows if row.session] if rows else None


async def unlock(db: Database, owner: UUID) -> bool:
    """Let a user in again; False if there is none."""
    return await db.fetchval(SQL.unlock, owner) is not None


async def phone(db: Database, owner: UUID) -> str:
    """Return a user's phone number; empty for a user that is gone."""
    number: str = await db.fetchval(SQL.phone, owner) or ""
    return number


async def by_phone(db: Database, phone: str) -> UUID | None:
    user: UUID | None = await db.fetchval(SQL.by_phone, phone)
    return user
