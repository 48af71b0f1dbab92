"""How durable a commit is. The statement stands in durability.sql."""

from typing import Literal, NamedTuple

from .rows import Database, as_rows
from .statements import Statements

SQL = Statements("durability")


class SettingsRow(NamedTuple):
    """The settings that decide whether a commit survives a crash."""

    version: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    synchronous_standby_names: str

    @property
    def grade(self) -> Literal["sync", "single", "none"]:
        """``single`` survives a crash of the machine, ``sync`` its loss, ``none`` neither."""
        if "off" in {self.fsync, self.full_page_writes, self.synchronous_commit}:
            return "none"
        waits = self.synchronous_standby_names and self.synchronous_commit != "local"
        return "sync" if waits else "single"


async def settings(db: Database) -> SettingsRow:
    (row,) = as_rows(SettingsRow, await db.fetch(SQL.settings))
    return row
