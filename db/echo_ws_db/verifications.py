"""Codes that were sent to prove a phone number. The statements stand in verifications.sql."""

from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from .rows import Database, as_changed
from .statements import Statements

SQL = Statements("verifications")

Purpose: TypeAlias = Literal[
    "registration", "login", "password_reset", "phone_change", "email_verification", "account_deletion"
]


class AskedRow(NamedTuple):
    wait_ms: int
    """Above 0: too many were asked for, and none was made."""
    is_new: bool
    """Whether something is to be sent."""
    owner: UUID | None
    """Whose number it is."""
    expires_at: datetime | None


async def ask(
    db: Database,
    verification: UUID,
    purpose: Purpose,
    phone: str | None,
    email: str | None,
    asker: UUID | None,
    digest: str,
    lasts_s: int,
) -> AskedRow:
    """Open a verification, for ``asker`` who wants the number or address, or for whose it is.

    An id that is in use for something else is ``Refused``.
    """
    record = await db.fetchrow(SQL.ask, verification, purpose, phone, email, asker, digest, lasts_s)
    return as_changed(AskedRow, record)


async def waiting(db: Database, verification: UUID, purpose: Purpose) -> str | None:
    """Return the phone number for which a code is worth the cost of hashing a password."""
    phone: str | None = await db.fetchval(SQL.waiting, verification, purpose)
    return phone


async def try_code(db: Database, verification: UUID, purpose: Purpose, owner: UUID, digest: str) -> bool:
    """Tell whether a code that was sent to a user is right; it is good once."""
    return bool(await db.fetchval(SQL.try_code, verification, purpose, owner, digest))
