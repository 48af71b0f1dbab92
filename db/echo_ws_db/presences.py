"""Who is here. The statements stand in presences.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_rows
from .statements import Statements

SQL = Statements("presences")


class PresenceRow(NamedTuple):
    """A user's presence, as it is shown from now on."""

    user_id: UUID
    status: str
    last_seen: datetime


class SightRow(NamedTuple):
    """What a viewer may know of somebody's presence now, and whether of what it becomes."""

    viewer: UUID
    owner: UUID
    status: str | None
    last_seen: datetime | None
    follows_status: bool
    follows_last_seen: bool


async def renew(db: Database, worker: UUID, lasts_s: float) -> bool:
    """Renew a worker's lease; return whether it had none."""
    is_new: bool = await db.fetchval(SQL.renew, worker, lasts_s)
    return is_new


async def note(
    db: Database, worker: UUID, who: Sequence[UUID], statuses: Sequence[str], ago_s: Sequence[float]
) -> list[PresenceRow]:
    """Take a worker's word for its users, ``offline`` since so many seconds; return whose presence is another now."""
    return as_rows(PresenceRow, await db.fetch(SQL.note, worker, who, statuses, ago_s))


async def reap(db: Database) -> list[PresenceRow]:
    """Forget workers whose lease has run out; return whose presence is another now."""
    return as_rows(PresenceRow, await db.fetch(SQL.reap))


async def leave(db: Database, worker: UUID) -> None:
    """Give a worker's lease back if it is the last one."""
    await db.execute(SQL.leave, worker)


async def tidy(db: Database) -> list[PresenceRow]:
    """Show nobody as here of whom no worker says so."""
    return as_rows(PresenceRow, await db.fetch(SQL.tidy))


async def sights(db: Database, viewers: Sequence[UUID], owners: Sequence[UUID]) -> list[SightRow]:
    """Return for each pair what the viewer may know; nothing of an owner who does not exist."""
    return as_rows(SightRow, await db.fetch(SQL.sights, viewers, owners))
