"""What is left to do of deleted accounts. The statements stand in deletions.sql."""

from typing import NamedTuple
from uuid import UUID

from .rows import Database
from .statements import Statements

SQL = Statements("deletions")


class PieceRow(NamedTuple):
    is_done: bool
    """Whether nothing is left."""
    conversations: list[UUID]
    """Where something changed."""


async def pending(db: Database, limit: int) -> list[UUID]:
    """Return whose deletions are not finished, the oldest first."""
    return [record[0] for record in await db.fetch(SQL.pending, limit)]


async def go_on(db: Database, owner: UUID, most: int) -> PieceRow | None:
    """Do the next piece, of up to ``most`` rows; None if there is nothing to do, or somebody else is at it."""
    record = await db.fetchrow(SQL.go_on, owner, most)
    assert record
    return PieceRow(*record) if record[0] is not None else None
