"""Rows as the events that clients get: a thing as it now is, with nothing per viewer in it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, get_args
from uuid import UUID

from msgspec import Struct, json, msgpack

from echo_ws_db.changes import ChangeRow, MembershipRow, MissedRow
from echo_ws_db.messages import MessageRow
from echo_ws_protocol.codec import BROKEN
from echo_ws_protocol.events import Conversation, Member, Membership, Message
from echo_ws_protocol.types import ConversationType, Role

from .logs import get_logger

log = get_logger(__name__)

_TYPES = frozenset(get_args(ConversationType))


LONG_AGO = datetime.fromtimestamp(0, UTC)
"""When a message was written of which that cannot be told."""


class MessagePlace(Struct):
    """What of a message's row cannot be strange: keys and numbers."""

    id: UUID
    conversation_id: UUID
    seq: int
    rev: int
    from_user_id: UUID


class MessageBody(Struct):
    """A row of ``messages.snapshots`` as JSON."""

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


class ConversationBody(Struct):
    """A row of ``messages.conversations`` as JSON, as far as it is told."""

    id: UUID
    rev: int
    type: str
    created_at: datetime
    name: str | None
    created_by: UUID | None
    deleted_at: datetime | None


class MemberBody(Struct):
    """A row of ``messages.members`` as JSON, as far as it is told."""

    conversation_id: UUID
    user_id: UUID
    rev: int
    role: Role
    silenced: bool
    left_seq: int | None


def conversation_type(name: str) -> ConversationType:
    """Return the type by its name; one that only another service knows is treated like a group."""
    return name if name in _TYPES else "group"  # type: ignore[return-value]  # the names of the types


def utc(time: datetime) -> datetime:
    """Return a timestamp of the database, which has no zone, as what it is."""
    return time.replace(tzinfo=UTC)


def as_message(row: MessageRow | MessageBody) -> Message:
    return Message(
        conversation=row.conversation_id,
        message=row.id,
        seq=row.seq,
        rev=row.rev,
        sender=row.from_user_id,
        type=row.type,
        content=row.content,
        created_at=utc(row.created_at),
        reply_to=row.reply_to_id,
        edited=row.edited,
        deleted=row.deleted,
        metadata=_readable(row.metadata),
        reactions=row.reactions,
    )


def _readable(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """Leave out what another service stored and not all clients could read, such as an integer of 30 digits."""
    try:
        return metadata if not metadata or msgpack.encode(metadata) else None
    except (OverflowError, RecursionError):
        return None


def as_conversation(row: ConversationBody) -> Conversation:
    return Conversation(
        conversation=row.id,
        rev=row.rev,
        type=conversation_type(row.type),
        created_at=utc(row.created_at),
        name=row.name,
        created_by=row.created_by,
        deleted=row.deleted_at is not None,
    )


def as_member(row: MemberBody) -> Member:
    return Member(
        conversation=row.conversation_id,
        rev=row.rev,
        user=row.user_id,
        role=row.role,
        silenced=row.silenced,
        left=row.left_seq is not None,
    )


def as_membership(row: MembershipRow) -> Membership:
    """Return the event of a row that has a membership."""
    assert row.conversation_id
    assert row.user_rev
    return Membership(
        conversation=row.conversation_id,
        rev=row.user_rev,
        role=row.role,  # type: ignore[arg-type]  # the table's check constraint
        silenced=bool(row.silenced),
        left=row.has_left,
        since=0 if row.has_left or row.is_deleted else row.since_rev or 0,
    )


def events_in(
    rows: Sequence[ChangeRow | MissedRow], limit: int, max_bytes: int | None = None
) -> tuple[list[Message | Conversation | Member], int]:
    """Return the events of a page that was asked for with ``limit``, and the rev up to which they are complete.

    Above ``max_bytes`` of rows the page is cut, not before its first rev. What changed in one rev stays together.
    """
    events: list[Message | Conversation | Member] = []
    size, up_to = 0, 0
    for rev, changed in groupby((row for row in rows if row.rev), lambda row: row.rev or 0):
        bodies = [(row.kind or "", (row.body or "").encode()) for row in changed]
        size += sum(len(body) for _, body in bodies)
        if max_bytes is not None and size > max_bytes and up_to:
            return events, up_to
        events += [event for kind, body in bodies if (event := _tellable(kind, body))]
        up_to = rev
    return events, up_to if len(rows) >= limit else rows[0].last_rev


def _tellable(kind: str, body: bytes) -> Message | Conversation | Member | None:
    """Return the event of a row. What another service wrote and no event can show must not block the others.

    Such a message keeps its place as a tombstone, if its place can be read; anything else is left out.
    """
    try:
        return from_body(kind, body)
    except BROKEN as error:
        log.warning("change_not_told", kind=kind, error=str(error))
    return _tombstone(body) if kind == "message" else None


def _tombstone(body: bytes) -> Message | None:
    try:
        place = _PLACE.decode(body)
    except BROKEN:  # nested too deeply to be read at all
        return None
    return Message(
        conversation=place.conversation_id,
        message=place.id,
        seq=place.seq,
        rev=place.rev,
        sender=place.from_user_id,
        type="text",
        content="",
        created_at=LONG_AGO,
        deleted=True,
    )


def from_body(kind: str, body: bytes) -> Message | Conversation | Member:
    """Return the event of a changed row, from its JSON.

    Raises:
        BROKEN: no event can show it.
    """
    match kind:
        case "message":
            return as_message(_MESSAGE.decode(body))
        case "conversation":
            return as_conversation(_CONVERSATION.decode(body))
        case _:
            return as_member(_MEMBER.decode(body))


_MESSAGE = json.Decoder(MessageBody)
_PLACE = json.Decoder(MessagePlace)
_CONVERSATION = json.Decoder(ConversationBody)
_MEMBER = json.Decoder(MemberBody)
