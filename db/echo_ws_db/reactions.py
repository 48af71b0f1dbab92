"""Reactions: who put which emoji on a message. The statements stand in reactions.sql."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from .rows import Database, as_rows
from .statements import Statements

SQL = Statements("reactions")


class ReactionRow(NamedTuple):
    id: UUID
    user_id: UUID
    emoji: str
    created_at: datetime


async def page(
    db: Database,
    conversation: UUID,
    message: UUID,
    viewer: UUID,
    emoji: str | None,
    limit: int,
    after: tuple[datetime, UUID] | tuple[None, None] = (None, None),
) -> list[ReactionRow]:
    """Return reactions, all or those with one emoji; none where the viewer may not read the message."""
    return as_rows(ReactionRow, await db.fetch(SQL.page, conversation, message, viewer, emoji, limit, *after))
