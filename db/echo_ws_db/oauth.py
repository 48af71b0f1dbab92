"""Flows to an identity provider and back, and the identities of users. The statements stand in oauth.sql."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from .accounts import Address, EndedRow, ended
from .rows import Database, as_rows
from .statements import Statements

__all__ = ["AttemptRow", "BegunRow", "ClaimedRow", "EndedRow", "IdentityRow", "LinkedRow", "RegisteredRow"]

SQL = Statements("oauth")


Linked: TypeAlias = Literal["linked", "same", "taken", "full", "over"]
"""``taken``: somebody else has it; ``full``: the user has another one there; ``over``: the flow is no good."""


class BegunRow(NamedTuple):
    created_at: datetime
    expires_at: datetime


class ClaimedRow(NamedTuple):
    provider: str
    redirect_uri: str | None
    created_at: datetime


class AttemptRow(NamedTuple):
    provider: str
    attempt: UUID | None
    user_id: UUID | None
    """None where nobody has the identity."""
    password_hash: str | None
    """None where the user may not log in."""
    second_factor: bool
    phone: str | None


class RegisteredRow(NamedTuple):
    user_id: UUID | None
    """None where the code was not right."""


class LinkedRow(NamedTuple):
    outcome: Linked
    provider: str | None
    phone: str | None


class IdentityRow(NamedTuple):
    provider: str
    email: str | None
    name: str | None
    created_at: datetime


async def begin(
    db: Database, flow: UUID, provider: str, owner: UUID | None, redirect_uri: str | None, lasts_s: int
) -> BegunRow | None:
    """Begin a flow, of ``owner`` who wants to link an identity, or of somebody who wants to log in."""
    record = await db.fetchrow(SQL.begin, flow, provider, owner, redirect_uri, lasts_s)
    return BegunRow(*record) if record else None


async def claim(db: Database, flow: UUID, owner: UUID | None) -> ClaimedRow | None:
    """Take a flow to look at a proof for it: of those who try at once, one gets it."""
    record = await db.fetchrow(SQL.claim, flow, owner)
    return ClaimedRow(*record) if record else None


async def release(db: Database, flow: UUID) -> None:
    """Let a flow have another proof: this one could not be looked at."""
    await db.execute(SQL.release, flow)


async def refuse(db: Database, provider: str, address: Address, user_agent: str | None, device_id: str | None) -> None:
    """Note that a proof was not good."""
    await db.execute(SQL.refuse, provider, address, user_agent, device_id)


async def prove(
    db: Database, flow: UUID, subject: str, email: str | None, profile: Mapping[str, Any], lasts_s: int
) -> None:
    """Keep whose a flow is."""
    await db.execute(SQL.prove, flow, subject, email, profile, lasts_s)


async def attempt(
    db: Database, flow: UUID, device_id: str, address: Address, user_agent: str | None
) -> AttemptRow | None:
    """Return who the proven identity of a flow is; None if the flow is no good."""
    record = await db.fetchrow(SQL.attempt, flow, device_id, address, user_agent)
    return AttemptRow(*record) if record else None


async def register(
    db: Database, flow: UUID, verification: UUID, digest: str, display_name: str
) -> RegisteredRow | None:
    """Make a user who has the proven identity if the code is right; None if the flow is no good."""
    record = await db.fetchrow(SQL.register, flow, verification, digest, display_name)
    return RegisteredRow(*record) if record else None


async def link(db: Database, flow: UUID, owner: UUID, acting: UUID) -> LinkedRow:
    """Link what a flow has proven to the user who began it."""
    record = await db.fetchrow(SQL.link, flow, owner, acting)
    assert record
    return LinkedRow(*record)


async def unlink(
    db: Database, owner: UUID, attempt: UUID, old_hash: str, provider: str, kept: UUID
) -> list[UUID] | None:
    """Take an identity from its user, and return the sessions that this ended; None if the password was changed."""
    return ended(await db.fetch(SQL.unlink, owner, attempt, old_hash, provider, kept))


async def of_user(db: Database, owner: UUID) -> list[IdentityRow]:
    """Return the identities of a user, in the order in which they were linked."""
    return as_rows(IdentityRow, await db.fetch(SQL.of_user, owner))
