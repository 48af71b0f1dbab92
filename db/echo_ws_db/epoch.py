"""The identity of the data. The statement stands in epoch.sql."""

from .rows import Database
from .statements import Statements

SQL = Statements("epoch")


async def current(db: Database) -> str:
    """Return the epoch in force: revs are compared within one epoch only."""
    epoch: str = await db.fetchval(SQL.current)
    return epoch
