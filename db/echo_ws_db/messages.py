"""Messages: the write path, changes, history. The statements stand in messages.sql."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from .rows import Database, as_changed, as_rows, check
from .statements import Statements

SQL = Statements("messages")


class NewMessage(NamedTuple):
    """A message to be written."""

    id: UUID
    conversation: UUID
    sender: UUID
    content: str
    reply_to: UUID | None = None
    type: str = "text"
    metadata: dict[str, Any] | None = None
    forwarded_from: UUID | None = None
    mentions: Sequence[UUID] = ()


class SendRow(NamedTuple):
    """What became of a message: see ``messages.send``. ``untold``: last_message_* is still to be written."""

    n: int
    outcome: str
    is_new: bool
    seq: int | None
    rev: int | None
    created_at: datetime | None
    untold: bool = False
    withheld_from: UUID | None = None
    mentioned: list[UUID] | None = None
    """Those of the mentions who take part."""


class FoundRow(NamedTuple):
    """A message that is stored; ``n`` counts the input from 1."""

    n: int
    seq: int
    created_at: datetime


class ChangedRow(NamedTuple):
    """A message that was changed, as JSON of the view ``messages.snapshots``."""

    snapshot: str


class Question(NamedTuple):
    """What a search asks for: see ``messages.sought``."""

    terms: Sequence[str]
    groups: Sequence[int]
    negated: Sequence[bool]
    is_open: bool


class Filters(NamedTuple):
    """Where a search looks; None is everywhere."""

    conversation: UUID | None
    sender: UUID | None
    type: str | None
    since: datetime | None
    until: datetime | None


class Place(NamedTuple):
    """Where a page of found messages ended."""

    score: int
    at: datetime
    conversation: UUID
    seq: int
    as_of: datetime


class HitRow(NamedTuple):
    """A message that was found, its place in the order, and the message as JSON of the view ``messages.snapshots``."""

    score: int
    created_at: datetime
    conversation_id: UUID
    seq: int
    as_of: datetime
    snapshot: str

    @property
    def place(self) -> Place:
        return Place(*self[:5])


class WordRow(NamedTuple):
    word: str


class ReadRow(NamedTuple):
    """A message that is read, as JSON of the view ``messages.snapshots``."""

    seq: int
    snapshot: str


class EditRow(NamedTuple):
    """What a message said before, and since when."""

    content: str
    written_at: datetime


class MentionRow(NamedTuple):
    """A message that names the viewer, and its place in the list of them."""

    created_at: datetime
    message_id: UUID
    snapshot: str


class MineRow(NamedTuple):
    """What the viewer added to a message."""

    id: UUID
    reactions: list[str]
    votes: list[int]


async def send(db: Database, batch: Sequence[NewMessage], *, tracked_members: int, wait: bool) -> list[SendRow]:
    """Write a batch; the ids in it are distinct. With ``wait``, wait for locked heads up to ``lock_timeout``."""
    *columns, mentions = [list(column) for column in zip(*batch, strict=True)]
    lists = [f"{{{','.join(map(str, users))}}}" if users else None for users in mentions]
    return as_rows(SendRow, await db.fetch(SQL.send, *columns, lists, tracked_members, wait))


async def tell(db: Database, conversations: Sequence[UUID]) -> None:
    """Write ``last_message_*`` of these conversations."""
    await db.execute(SQL.tell, conversations)


async def find(db: Database, batch: Sequence[NewMessage]) -> list[FoundRow]:
    """Return those of the batch that are stored."""
    ids, conversations, senders = ([m.id for m in batch], [m.conversation for m in batch], [m.sender for m in batch])
    return as_rows(FoundRow, await db.fetch(SQL.find, ids, conversations, senders))


async def edit(db: Database, conversation: UUID, message: UUID, editor: UUID, content: str, *, window_s: float) -> str:
    """Return the message as it now is, as JSON."""
    record = await db.fetchrow(SQL.edit, conversation, message, editor, content, window_s)
    return as_changed(ChangedRow, record).snapshot


async def edits(db: Database, conversation: UUID, message: UUID, viewer: UUID) -> list[EditRow]:
    return as_rows(EditRow, await db.fetch(SQL.edits, conversation, message, viewer))


async def remove(db: Database, conversation: UUID, message: UUID, remover: UUID) -> str:
    """Return the tombstone, as JSON."""
    return as_changed(ChangedRow, await db.fetchrow(SQL.remove, conversation, message, remover)).snapshot


async def hide(db: Database, conversation: UUID, message: UUID, hider: UUID) -> None:
    """Delete a message for one user alone."""
    check(await db.fetchval(SQL.hide, conversation, message, hider))


async def pin(db: Database, conversation: UUID, message: UUID, pinner: UUID, *, is_on: bool, most: int) -> str:
    """Return the message as it now is, as JSON. A conversation has at most ``most`` pinned ones."""
    record = await db.fetchrow(SQL.pin, conversation, message, pinner, is_on, most)
    return as_changed(ChangedRow, record).snapshot


async def pins(db: Database, conversation: UUID, viewer: UUID) -> list[ReadRow]:
    return as_rows(ReadRow, await db.fetch(SQL.pins, conversation, viewer))


async def mentions(
    db: Database, viewer: UUID, limit: int, before: tuple[datetime, UUID] | tuple[None, None] = (None, None)
) -> list[MentionRow]:
    return as_rows(MentionRow, await db.fetch(SQL.mentions, viewer, limit, *before))


async def source(db: Database, message: UUID, viewer: UUID) -> str | None:
    """Return a message as JSON, from whichever conversation, if the viewer may read it."""
    record = await db.fetchrow(SQL.source, message, viewer)
    return ReadRow(*record).snapshot if record else None


async def exists(db: Database, conversation: UUID, message: UUID, viewer: UUID) -> bool:
    return bool(await db.fetchval(SQL.exists, conversation, message, viewer))


async def mine(db: Database, ids: Sequence[UUID], viewer: UUID) -> list[MineRow]:
    return as_rows(MineRow, await db.fetch(SQL.mine, ids, viewer))


async def react(db: Database, conversation: UUID, message: UUID, reactor: UUID, emoji: str, *, is_on: bool) -> str:
    """Return the message as it now is, as JSON."""
    return as_changed(ChangedRow, await db.fetchrow(SQL.react, conversation, message, reactor, emoji, is_on)).snapshot


async def before(db: Database, conversation: UUID, viewer: UUID, seq: int, limit: int) -> list[ReadRow]:
    return as_rows(ReadRow, await db.fetch(SQL.before, conversation, viewer, seq, limit))


async def after(db: Database, conversation: UUID, viewer: UUID, seq: int, limit: int) -> list[ReadRow]:
    return as_rows(ReadRow, await db.fetch(SQL.after, conversation, viewer, seq, limit))


async def seq_of(db: Database, conversation: UUID, viewer: UUID, message: UUID) -> int | None:
    """Return the place of a message that the viewer may read."""
    seq: int | None = await db.fetchval(SQL.seq_of, conversation, viewer, message)
    return seq


async def search(
    db: Database,
    viewer: UUID,
    question: Question,
    filters: Filters,
    limit: int,
    *,
    is_ranked: bool,
    below: Place | None = None,
) -> list[HitRow]:
    """Return found messages, in the order asked for, below a place in it."""
    place = below or (None,) * len(Place._fields)
    return as_rows(HitRow, await db.fetch(SQL.search, viewer, *question, *filters, is_ranked, *place, limit))


async def sought_among(db: Database, words: Sequence[str], question: Question) -> list[WordRow]:
    """Return those of the words for which a message was found."""
    return as_rows(WordRow, await db.fetch(SQL.sought_among, words, *question))
