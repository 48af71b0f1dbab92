"""Who does what is to be done on a schedule, and what it deletes. The statements stand in housekeeping.sql."""

from collections.abc import Sequence
from uuid import UUID

from .rows import Database
from .statements import Statements

SQL = Statements("housekeeping")


async def introduce(db: Database, jobs: Sequence[str]) -> None:
    """Make these jobs known; one that nobody knew is due at once."""
    await db.execute(SQL.introduce, jobs)


async def claim(db: Database, jobs: Sequence[str], runner: UUID, lease_s: float) -> str | None:
    """Take a job that is due, for so many seconds; None if none is, or others are at it."""
    job: str | None = await db.fetchval(SQL.claim, jobs, runner, lease_s)
    return job


async def hold(db: Database, job: str, runner: UUID, lease_s: float) -> bool:
    """Keep a job; False if the lease ran out and somebody else has it."""
    return bool(await db.fetchval(SQL.hold, job, runner, lease_s))


async def finish(db: Database, job: str, runner: UUID, again_s: float, *, is_done: bool) -> None:
    """Give a job back, to be done again in so many seconds."""
    await db.execute(SQL.finish, job, runner, again_s, is_done)


async def overdue(db: Database, jobs: Sequence[str]) -> float:
    """Return for how many seconds the job that waits the longest has been due."""
    return float(await db.fetchval(SQL.overdue, jobs) or 0)


async def expire_sessions(db: Database, most: int) -> int:
    """Delete up to ``most`` sessions that have run out; return how many there were."""
    return int(await db.fetchval(SQL.expire_sessions, most))


async def cleanup_expired_sessions(db: Database) -> None:
    """Call the reference's own function, which deletes them all at once."""
    await db.execute(SQL.cleanup_expired_sessions)


async def expire_refresh_tokens(db: Database, most: int) -> int:
    """Delete up to ``most`` refresh tokens that have run out; return how many there were."""
    return int(await db.fetchval(SQL.expire_refresh_tokens, most))


async def expire_codes(db: Database, most: int) -> int:
    """Delete up to ``most`` verifications that no limit counts any more; return how many there were."""
    return int(await db.fetchval(SQL.expire_codes, most))


async def expire_flows(db: Database, most: int) -> int:
    """Delete up to ``most`` flows to identity providers that ended long ago; return how many there were."""
    return int(await db.fetchval(SQL.expire_flows, most))


async def expire_login_history(db: Database, days: int, most: int) -> int:
    """Delete up to ``most`` entries that are older than ``days``; return how many there were."""
    return int(await db.fetchval(SQL.expire_login_history, days, most))
