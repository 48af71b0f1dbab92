"""Messages: the write path, changes, history. The statements stand in messages.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from .rows import Database, as_changed, as_rows
from .statements import Statements

SQL = Statements("messages")


class NewMessage(NamedTuple):
    """A message to be written."""

    id: UUID
    conversation: UUID
    sender: UUID
    content: str
    reply_to: UUID | None


class SendRow(NamedTuple):
    """What became of a message: see ``messages.send``. ``untold``: last_message_* is still to be written."""

    n: int
    outcome: str
    is_new: bool
    seq: int | None
    rev: int | None
    created_at: datetime | None
    untold: bool


class FoundRow(NamedTuple):
    """A message that is stored; ``n`` counts the input from 1."""

    n: int
    seq: int
    created_at: datetime


class MessageRow(NamedTuple):
    """A message as everybody sees it (the view ``messages.snapshots``)."""

    id: UUID
    conversation_id: UUID
    seq: int
    rev: int
    from_user_id: UUID
    type: str
    content: str
    reply_to_id: UUID | None
    edited: bool
    deleted: bool
    metadata: dict[str, Any] | None
    reactions: dict[str, int] | None
    created_at: datetime


async def send(db: Database, batch: Sequence[NewMessage], *, tracked_members: int, wait: bool) -> list[SendRow]:
    """Write a batch; the ids in it are distinct. With ``wait``, wait for locked heads up to ``lock_timeout``."""
    columns = [list(column) for column in zip(*batch, strict=True)]
    return as_rows(SendRow, await db.fetch(SQL.send, *columns, tracked_members, wait))


async def tell(db: Database, conversations: Sequence[UUID]) -> None:
    """Write ``last_message_*`` of these conversations."""
    await db.execute(SQL.tell, conversations)


async def find(db: Database, batch: Sequence[NewMessage]) -> list[FoundRow]:
    """Return those of the batch that are stored."""
    ids, conversations, senders = ([m.id for m in batch], [m.conversation for m in batch], [m.sender for m in batch])
    return as_rows(FoundRow, await db.fetch(SQL.find, ids, conversations, senders))


async def edit(db: Database, conversation: UUID, message: UUID, editor: UUID, content: str) -> MessageRow:
    """Return the message as it now is."""
    return as_changed(MessageRow, await db.fetchrow(SQL.edit, conversation, message, editor, content))


async def remove(db: Database, conversation: UUID, message: UUID, remover: UUID) -> MessageRow:
    """Return the tombstone."""
    return as_changed(MessageRow, await db.fetchrow(SQL.remove, conversation, message, remover))


async def react(
    db: Database, conversation: UUID, message: UUID, reactor: UUID, emoji: str, *, is_on: bool
) -> MessageRow:
    """Return the message as it now is."""
    return as_changed(MessageRow, await db.fetchrow(SQL.react, conversation, message, reactor, emoji, is_on))


async def before(db: Database, conversation: UUID, viewer: UUID, seq: int, limit: int) -> list[MessageRow]:
    return as_rows(MessageRow, await db.fetch(SQL.before, conversation, viewer, seq, limit))


async def after(db: Database, conversation: UUID, viewer: UUID, seq: int, limit: int) -> list[MessageRow]:
    return as_rows(MessageRow, await db.fetch(SQL.after, conversation, viewer, seq, limit))
