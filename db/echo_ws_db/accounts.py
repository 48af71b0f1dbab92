"""Registration, passwords, and who may log in. The statements stand in accounts.sql."""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from .rows import Database
from .statements import Statements

SQL = Statements("accounts")

Address: TypeAlias = IPv4Address | IPv6Address | None
Fate: TypeAlias = Literal["keep", "erase"]
"""What becomes of what a user wrote when the account is deleted."""


class AttemptRow(NamedTuple):
    attempt: UUID
    user_id: UUID | None
    password_hash: str | None
    """None where no password is to fit: the user is unknown, unverified or locked."""
    second_factor: bool


class EndedRow(NamedTuple):
    user_id: UUID
    session: UUID | None


class MovedRow(NamedTuple):
    phone: str
    """The number before."""
    session: UUID | None


class ReachRow(NamedTuple):
    phone: str | None
    email: str | None


class LoggedInRow(NamedTuple):
    user_id: UUID
    session: UUID
    expires_at: datetime
    ended: list[UUID]
    """The sessions that it took the place of."""


class Device(NamedTuple):
    """From where somebody logs in."""

    device_id: str
    platform: str
    device_name: str | None
    metadata: Mapping[str, Any]
    address: Address
    user_agent: str | None
    location: Mapping[str, str] | None = None


async def register(db: Database, verification: UUID, digest: str, password_hash: str, display_name: str) -> UUID | None:
    """Make a user if the code is right; else None, and a try less."""
    user: UUID | None = await db.fetchval(SQL.register, verification, digest, password_hash, display_name)
    return user


async def reset_password(db: Database, verification: UUID, digest: str, password_hash: str) -> list[UUID] | None:
    """Set a password if the code is right, and return the sessions that it ended; else None, and a try less."""
    return ended(await db.fetch(SQL.reset_password, verification, digest, password_hash))


async def change_password(
    db: Database, owner: UUID, attempt: UUID, old_hash: str, new_hash: str, kept: UUID
) -> list[UUID] | None:
    """Set a password and return the sessions that this ended; None if it was changed meanwhile."""
    return ended(await db.fetch(SQL.change_password, owner, attempt, old_hash, new_hash, kept))


async def attempt(
    db: Database,
    phone: str,
    owner: UUID | None,
    known: str | None,
    device_id: str | None,
    address: Address,
    user_agent: str | None,
    location: Mapping[str, str] | None = None,
    verification: UUID | None = None,
) -> AttemptRow:
    """Count a try at a password; ``known`` is the digest of a token that the device has."""
    record = await db.fetchrow(SQL.attempt, phone, owner, known, device_id, address, user_agent, location, verification)
    assert record
    return AttemptRow(*record)


async def note(db: Database, attempt: UUID, reason: str) -> None:
    """Note why a try failed whose password was right."""
    await db.execute(SQL.note, attempt, reason)


async def spare(db: Database, attempt: UUID, owner: UUID) -> None:
    """Note that a try with the right password needs a code as well, which is no failure."""
    await db.execute(SQL.spare, attempt, owner)


async def protect(db: Database, owner: UUID, attempt: UUID, password_hash: str, *, second_factor: bool) -> bool:
    """Ask for a code at each login, or no longer; False if the password was changed meanwhile."""
    return await db.fetchval(SQL.protect, owner, attempt, password_hash, second_factor) is not None


async def confirm(db: Database, owner: UUID, attempt: UUID) -> None:
    """Note that a try was right whose owner has a session, and forget the failures."""
    await db.execute(SQL.confirm, owner, attempt)


async def change_phone(
    db: Database, verification: UUID, owner: UUID, digest: str, kept: UUID
) -> tuple[str, list[UUID]] | None:
    """Give a user the number if the code is right; return the number before, and the sessions that this ended."""
    rows = [MovedRow(*record) for record in await db.fetch(SQL.change_phone, verification, owner, digest, kept)]
    return (rows[0].phone, [row.session for row in rows if row.session]) if rows else None


async def change_email(db: Database, verification: UUID, owner: UUID, digest: str, acting: UUID) -> bool:
    """Give a user the e-mail address if the code is right; tell whether it was."""
    return await db.fetchval(SQL.change_email, verification, owner, digest, acting) is not None


async def log_in(
    db: Database,
    owner: UUID,
    attempt: UUID,
    password_hash: str,
    new_hash: str,
    session_digest: str,
    refresh_digest: str,
    device: Device,
    session_days: int,
    refresh_days: int,
    flow: UUID | None = None,
    *,
    most: int,
    code_checked: bool,
) -> LoggedInRow | None:
    """Open a session, one of so many at most, and spend the flow that proves the owner, if one does.

    None if the password is no longer the one that was looked at, the flow was spent, or the user may not: not without a
    code, if one is asked for by now.
    """
    record = await db.fetchrow(
        SQL.log_in,
        owner,
        attempt,
        password_hash,
        new_hash,
        session_digest,
        refresh_digest,
        device.device_id,
        device.platform,
        device.device_name,
        device.metadata,
        device.address,
        device.user_agent,
        session_days,
        refresh_days,
        device.location,
        flow,
        most,
        code_checked,
    )
    return LoggedInRow(*record) if record else None


async def reach(db: Database, owner: UUID) -> ReachRow:
    """Return where a code for the owner goes to: to one of the two, or nowhere."""
    record = await db.fetchrow(SQL.reach, owner)
    return ReachRow(*record) if record else ReachRow(None, None)


async def delete_own(db: Database, owner: UUID, attempt: UUID, password_hash: str, content: Fate) -> list[UUID] | None:
    """Delete an account and return the sessions that this ended; None if the password was changed meanwhile."""
    return ended(await db.fetch(SQL.delete_own, owner, attempt, password_hash, content))


async def delete(db: Database, owner: UUID, content: Fate) -> list[UUID] | None:
    """Delete anybody's account, for operators; return the sessions that this ended, or None for an unknown user.

    Their connections have to be told (``echo_ws.sessions.REVOKED``). May be repeated, to erase what was kept.
    """
    return ended(await db.fetch(SQL.delete, owner, content))


def ended(records: list[Any]) -> list[UUID] | None:
    """Return the sessions in records of ``EndedRow``; None where there is no record."""
    rows = [EndedRow(*record) for record in records]
    return [row.session for row in rows if row.session] if rows else None
