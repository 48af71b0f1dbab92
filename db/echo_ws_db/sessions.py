"""Sessions. The statements stand in sessions.sql."""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple
from uuid import UUID

from .rows import Database, as_rows
from .statements import Statements

SQL = Statements("sessions")


class SessionRow(NamedTuple):
    id: UUID
    user_id: UUID
    expires_at: datetime
    is_new: bool
    """Whether it was never used."""


class DeviceRow(NamedTuple):
    platform: str
    device_name: str | None


class SessionListRow(NamedTuple):
    id: UUID
    device_id: str
    device_name: str | None
    platform: str
    ip_address: str | None
    user_agent: str | None
    created_at: datetime
    last_activity_at: datetime
    expires_at: datetime
    location: dict[str, Any] | None
    """As some service wrote it: of any shape."""


class RevokedRow(NamedTuple):
    id: UUID
    user_id: UUID


class Touch(NamedTuple):
    """A session in use, and from where, as far as that is known."""

    session: UUID
    address: IPv4Address | IPv6Address | None
    user_agent: str | None


async def by_token(db: Database, digest: str) -> SessionRow | None:
    record = await db.fetchrow(SQL.by_token, digest)
    return SessionRow(*record) if record else None


async def by_id(db: Database, session: UUID, owner: UUID) -> SessionRow | None:
    record = await db.fetchrow(SQL.by_id, session, owner)
    return SessionRow(*record) if record else None


async def still_good(db: Database, sessions: Sequence[UUID]) -> set[UUID]:
    return {record[0] for record in await db.fetch(SQL.still_good, sessions)}


async def begin(
    db: Database, session: UUID, address: IPv4Address | IPv6Address | None, user_agent: str | None
) -> DeviceRow | None:
    """Note the first use of a session; return None if it was not the first."""
    record = await db.fetchrow(SQL.begin, session, address, user_agent)
    return DeviceRow(*record) if record else None


async def touch(db: Database, touches: Sequence[Touch]) -> None:
    await db.execute(SQL.touch, *(list(column) for column in zip(*touches, strict=True)))


async def issue(
    db: Database, owner: UUID, digest: str, device_id: str, platform: str, device_name: str | None, days: int
) -> UUID:
    """Open a session for ``days`` days; ``digest`` is the sha256 of its token, in hex."""
    session: UUID = await db.fetchval(SQL.issue, owner, digest, device_id, platform, device_name, days)
    return session


async def of_user(db: Database, owner: UUID) -> list[SessionListRow]:
    return as_rows(SessionListRow, await db.fetch(SQL.of_user, owner))


async def open_of(db: Database, owner: UUID) -> list[SessionListRow]:
    return as_rows(SessionListRow, await db.fetch(SQL.open_of, owner))


async def revoke_own(db: Database, owner: UUID, session: UUID | None, spared: UUID | None, acting: UUID) -> list[UUID]:
    """End ``session``, or all of the owner's but ``spared``; return those that were there."""
    return [record[0] for record in await db.fetch(SQL.revoke_own, owner, session, spared, acting)]


async def revoke(db: Database, sessions: Sequence[UUID]) -> list[RevokedRow]:
    """End these sessions; return those that were there."""
    return as_rows(RevokedRow, await db.fetch(SQL.revoke, sessions))
