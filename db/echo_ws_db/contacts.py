"""Contacts and blocks. The statements stand in contacts.sql."""

from uuid import UUID

from .rows import Database, check
from .statements import Statements

SQL = Statements("contacts")


async def block(db: Database, owner: UUID, other: UUID, *, is_on: bool, reason: str | None) -> None:
    """Block somebody, or no longer."""
    check(await db.fetchval(SQL.block, owner, other, is_on, reason))
