"""Threads: messages and the replies to them. The statements stand in threads.sql."""

from typing import NamedTuple
from uuid import UUID

from .messages import ReadRow
from .rows import Database, as_rows, check
from .statements import Statements

SQL = Statements("threads")


class ThreadRow(NamedTuple):
    """A message, as JSON of the view ``messages.snapshots``, and how many replies the viewer can read."""

    snapshot: str
    replies: int
    followed: bool


class ThreadListRow(NamedTuple):
    """As ``ThreadRow``, with the last reply that the viewer can read; ``last_seq`` is the place in the list."""

    last_seq: int
    snapshot: str
    replies: int
    last_reply: str
    followed: bool


async def follow(db: Database, conversation: UUID, message: UUID, follower: UUID, *, is_on: bool) -> None:
    """Follow the replies to a message, or no longer."""
    check(await db.fetchval(SQL.follow, conversation, message, follower, is_on))


async def summary(db: Database, conversation: UUID, message: UUID, viewer: UUID) -> ThreadRow | None:
    """Return a message with the number of its replies, if the viewer may read it."""
    record = await db.fetchrow(SQL.summary, conversation, message, viewer)
    return ThreadRow(*record) if record else None


async def replies(db: Database, conversation: UUID, message: UUID, viewer: UUID, seq: int, limit: int) -> list[ReadRow]:
    return as_rows(ReadRow, await db.fetch(SQL.replies, conversation, message, viewer, seq, limit))


async def page(
    db: Database, conversation: UUID, viewer: UUID, before: int, limit: int, *, is_followed: bool
) -> list[ThreadListRow]:
    """Return messages with replies; with ``is_followed`` only those that the viewer follows."""
    return as_rows(ThreadListRow, await db.fetch(SQL.page, conversation, viewer, before, is_followed, limit))
