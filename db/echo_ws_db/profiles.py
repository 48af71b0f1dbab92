"""Profiles, as a viewer may see them. The statements stand in profiles.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_rows
from .statements import Statements

SQL = Statements("profiles")


class ProfileRow(NamedTuple):
    """What one viewer sees of a user; None is what there is not, or what is not shown."""

    user_id: UUID
    deleted: bool
    display_name: str | None
    bio: str | None
    avatar_url: str | None
    phone: str | None
    status: str | None
    last_seen: datetime | None
    phone_visible: bool | None
    profile_visible: bool | None


async def get(db: Database, viewer: UUID, owners: Sequence[UUID]) -> list[ProfileRow]:
    """Return a row for each of the owners, in their order."""
    return as_rows(ProfileRow, await db.fetch(SQL.get, viewer, owners))


async def set(  # noqa: A001  # the command's name
    db: Database,
    owner: UUID,
    display_name: str | None,
    bio: str | None,
    avatar_url: str | None,
    phone_visible: bool | None,
    profile_visible: bool | None,
) -> None:
    """Change what is given; empty text takes it away."""
    await db.execute(SQL.set, owner, display_name, bio, avatar_url, phone_visible, profile_visible)
