"""Refresh tokens, each good once. The statements stand in refresh_tokens.sql."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .accounts import Address
from .rows import Database
from .statements import Statements

SQL = Statements("refresh_tokens")


class RefreshedRow(NamedTuple):
    user_id: UUID
    session: UUID
    expires_at: datetime


async def rotate(
    db: Database,
    digest: str,
    successor: str,
    session_digest: str,
    address: Address,
    user_agent: str | None,
    session_days: int,
    refresh_days: int,
) -> RefreshedRow | None:
    """Spend a token for the next one and a new session token; None if it is not, or no longer, good."""
    record = await db.fetchrow(
        SQL.rotate, digest, successor, session_digest, address, user_agent, session_days, refresh_days
    )
    return RefreshedRow(*record) if record else None


async def repeated(db: Database, digest: str, successor: str, session_digest: str, grace_s: int) -> RefreshedRow | None:
    """Return what a token led to that was spent within ``grace_s``; None if it was not, or something followed."""
    record = await db.fetchrow(SQL.repeated, digest, successor, session_digest, grace_s)
    return RefreshedRow(*record) if record else None


async def revoke_family(db: Database, digest: str, address: Address, user_agent: str | None) -> list[UUID]:
    """End all that a spent token led to; return the sessions that this ended."""
    return [record[0] for record in await db.fetch(SQL.revoke_family, digest, address, user_agent)]
