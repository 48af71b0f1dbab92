"""Polls and votes. The statements stand in polls.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .messages import ChangedRow
from .rows import Database, as_changed, as_rows, check
from .statements import Statements

SQL = Statements("polls")


class VoterRow(NamedTuple):
    user_id: UUID
    created_at: datetime


async def vote(db: Database, conversation: UUID, message: UUID, voter: UUID, options: Sequence[int]) -> str:
    """Return the poll as it now is, as JSON."""
    return as_changed(ChangedRow, await db.fetchrow(SQL.vote, conversation, message, voter, options)).snapshot


async def secrecy(db: Database, conversation: UUID, message: UUID, viewer: UUID) -> None:
    """Return if the viewer may ask who voted, or raise ``Refused``."""
    check(await db.fetchval(SQL.secrecy, conversation, message, viewer))


async def voters(
    db: Database,
    message: UUID,
    option: int,
    limit: int,
    after: tuple[datetime, UUID] | tuple[None, None] = (None, None),
) -> list[VoterRow]:
    """Return who chose an option; ask ``secrecy`` before."""
    return as_rows(VoterRow, await db.fetch(SQL.voters, message, option, limit, *after))
