"""The identity of the data. The statement stands in epoch.sql."""

from .rows import Database
from .statements import Statements

SQL = Statements("epoch")


async def current(db: Database) -> str:
    """Return the epoch in force: revs are compared within one epoch only."""
    epoch: str = await db.fetchval(SQL.current)
    return epoch


async def renew(db: Database) -> str:
    """Begin a new epoch, as after a restore from backup, and return it: cursors from before mean nothing."""
    epoch: str = await db.fetchval(SQL.renew)
    return epoch
