"""Who sees what of whom. The rules and the statements stand in privacy.sql."""

from typing import NamedTuple
from uuid import UUID

from .rows import Database
from .statements import Statements

SQL = Statements("privacy")


class PrivacyRow(NamedTuple):
    """A user's settings: `everyone`, `contacts` or `nobody`, and yes or no."""

    show_last_seen: str
    show_profile_photo: str
    show_status: str
    show_read_receipts: bool
    show_typing_indicator: bool
    allow_group_invites: str


async def get(db: Database, owner: UUID) -> PrivacyRow:
    record = await db.fetchrow(SQL.get, owner)
    assert record
    return PrivacyRow(*record)


async def set(  # noqa: A001  # the command's name
    db: Database,
    owner: UUID,
    show_last_seen: str | None,
    show_profile_photo: str | None,
    show_status: str | None,
    show_read_receipts: bool | None,
    show_typing_indicator: bool | None,
    allow_group_invites: str | None,
) -> None:
    """Change the settings that are given."""
    levels = (show_last_seen, show_profile_photo, show_status)
    await db.execute(SQL.set, owner, *levels, show_read_receipts, show_typing_indicator, allow_group_invites)
