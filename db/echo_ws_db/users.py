"""Users. The statements stand in users.sql."""

from collections.abc import Sequence
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


async def phone(db: Database, owner: UUID) -> str:
    """Return a user's phone number; empty for a user that is gone."""
    number: str = await db.fetchval(SQL.phone, owner) or ""
    return number


async def by_phone(db: Database, phone: str) -> UUID | None:
    user: UUID | None = await db.fetchval(SQL.by_phone, phone)
    return user
