"""Somebody who has an account and a session, for stories that meet in the database."""

from typing import NamedTuple
from uuid import UUID, uuid4

from echo_ws_db import accounts
from echo_ws_db.accounts import Device, LoggedInRow
from echo_ws_db.rows import Database

from .other_service import Sql

HASH, NEW_HASH, DIGEST = "the hash", "another hash", "digest of a code"


class Owner(NamedTuple):
    user: UUID
    phone: str
    kept: UUID
    """The session in which the owner acts, on the device `at-home`."""


class Opened(NamedTuple):
    row: LoggedInRow
    token: str
    """The digest of the refresh token."""

    @property
    def session(self) -> UUID:
        return self.row.session


async def log_in(
    db: Database,
    user: UUID,
    device: str,
    *,
    days: int = 1,
    most: int = 10,
    flow: UUID | None = None,
) -> Opened | None:
    """Log in with the password whose hash is ``HASH``; a session of 0 days has run out at once."""
    token, place = str(uuid4()), Device(device, "web", None, {}, None, None)
    row = await accounts.log_in(
        db, user, uuid4(), HASH, HASH, str(uuid4()), token, place, days, 60, flow, most=most, code_checked=False
    )
    return Opened(row, token) if row else None


async def enter(db: Database, user: UUID, device: str, *, days: int = 1) -> Opened:
    opened = await log_in(db, user, device, days=days)
    assert opened
    return opened


async def devices(db: Sql, user: UUID) -> list[str]:
    """Return the devices that have a refresh token which is still good."""
    good = "SELECT device_id FROM auth.refresh_tokens WHERE user_id = $1 AND revoked IS NOT TRUE ORDER BY device_id"
    return [row["device_id"] for row in await db.fetch(good, user)]
