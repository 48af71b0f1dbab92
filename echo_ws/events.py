"""Rows as the events that clients get: a thing as it now is, with nothing per viewer in it.

What one viewer is not to see is decided by the statement that wrote it; ``Told`` carries it to the edge where the event
meets a viewer.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, cast, get_args
from uuid import UUID

from msgspec import Struct, json, msgpack

from echo_ws_db.changes import ChangeRow, MissedRow
from echo_ws_protocol.codec import BROKEN
from echo_ws_protocol.events import (
    Contact,
    Conversation,
    Hidden,
    Member,
    Membership,
    Message,
    OwnChange,
    Settings,
    Thread,
)
from echo_ws_protocol.types import Audience, ConversationType, ReadableHistory, Role

from .errors import BadField
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
    withheld_from: UUID | None = None
    forwarded_from_id: UUID | None = None
    mentions: list[UUID] | None = None
    pinned_at: datetime | None = None
    pinned_by: UUID | None = None
    votes: dict[str, int] | None = None


class ConversationBody(Struct):
    """A row of ``messages.conversations`` as JSON, as far as it is told."""

    id: UUID
    rev: int
    type: str
    created_at: datetime
    name: str | None
    created_by: UUID | None
    deleted_at: datetime | None
    metadata: Any = None


class Setup(NamedTuple):
    """What a conversation's metadata says that echo_ws knows. Another service may have put anything there."""

    description: str | None
    avatar_url: str | None
    history: ReadableHistory
    public: bool


class MembershipBody(Struct):
    """A row of ``messages.members`` as JSON, as far as the member alone is told."""

    user_rev: int
    conversation_id: UUID
    role: Role
    silenced: bool
    left: bool
    since_rev: int
    """The conversation's rev in which it changed."""
    is_deleted: bool
    """Whether the conversation is."""
    muted_until: datetime | None
    marked_unread: bool
    joined_seq: int = 0
    """The user reads messages above this seq."""
    cleared_seq: int | None = None


class ContactBody(Struct):
    """A row of ``users.relations`` as JSON, with what ``users.contacts`` and ``users.blocked_users`` say."""

    user_rev: int
    other_user_id: UUID
    nickname: str | None
    favorite: bool
    is_contact: bool
    is_blocked: bool


class HiddenBody(Struct):
    """A row of ``messages.hidden`` as JSON."""

    user_rev: int
    conversation_id: UUID
    message_id: UUID
    seq: int


class ThreadBody(Struct):
    """A row of ``messages.follows`` as JSON."""

    user_rev: int
    conversation_id: UUID
    message_id: UUID
    followed: bool


class SettingsBody(Struct):
    """A row of ``users.revised`` as JSON, with what ``users.profiles`` and ``users.privacy_settings`` say."""

    user_rev: int
    display_name: str | None
    bio: str | None
    avatar_url: str | None
    phone_visible: bool
    profile_visible: bool
    show_last_seen: Audience
    show_profile_photo: Audience
    show_status: Audience
    show_read_receipts: bool
    show_typing_indicator: bool
    allow_group_invites: Audience


class MemberBody(Struct):
    """A row of ``messages.members`` as JSON, as far as it is told."""

    conversation_id: UUID
    user_id: UUID
    rev: int
    role: Role
    silenced: bool
    left_seq: int | None
    told: bool = True
    """Whether others than the member hear of it."""


Thing: TypeAlias = Message | Conversation | Member
"""What a conversation's revs count."""

T_co = TypeVar("T_co", bound=Thing, covariant=True)


class Told(NamedTuple, Generic[T_co]):
    """Something that changed, as it now is, and who is not to see what it says."""

    event: T_co
    withheld_from: UUID | None = None
    only_to: UUID | None = None
    """Who alone is told of it."""

    def to(self, viewer: UUID) -> T_co:
        """Return the event as the viewer is told."""
        if viewer == self.withheld_from and isinstance(self.event, Message):
            return cast("T_co", placeholder(self.event))
        return self.event


def placeholder(message: Message) -> Message:
    """Return what one who had blocked the sender sees: that there is a message, and its place."""
    return Message(
        conversation=message.conversation,
        message=message.message,
        seq=message.seq,
        rev=message.rev,
        sender=message.sender,
        type="text",
        content="",
        created_at=message.created_at,
        deleted=message.deleted,
        hidden=True,
    )


def conversation_type(name: str) -> ConversationType:
    """Return the type by its name; one that only another service knows is treated like a group."""
    return name if name in _TYPES else "group"  # type: ignore[return-value]  # the names of the types


def as_stored(time: datetime, field: str) -> datetime:
    """Return a time of a client's as the database has it: in UTC, without a zone.

    Raises:
        BadField: there is no such time in UTC, as in the last hours of the year 9999 somewhere else.
    """
    try:
        return time.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise BadField("name a time between the years 1 and 9999, in UTC", field=field) from None


def utc(time: datetime) -> datetime:
    """Return a timestamp of the database, which has no zone, as what it is."""
    return time.replace(tzinfo=UTC)


def as_message(row: MessageBody) -> Message:
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
        forwarded_from=row.forwarded_from_id,
        mentions=row.mentions or [],
        pinned_at=utc(row.pinned_at) if row.pinned_at else None,
        pinned_by=row.pinned_by,
        votes=row.votes,
    )


def _readable(metadata: dict[str, Any] | None) -> dict[str, Any] | None:
    """Leave out what another service stored and not all clients could read, such as an integer of 30 digits."""
    try:
        return metadata if not metadata or msgpack.encode(metadata) else None
    except (OverflowError, RecursionError):
        return None


def setup_of(metadata: Any) -> Setup:
    if not isinstance(metadata, dict):
        metadata = {}
    description, avatar_url = metadata.get("description"), metadata.get("avatar_url")
    return Setup(
        description=description if isinstance(description, str) else None,
        avatar_url=avatar_url if isinstance(avatar_url, str) else None,
        history="joined" if metadata.get("history") == "joined" else "all",
        public=metadata.get("public") is True,
    )


def as_conversation(row: ConversationBody) -> Conversation:
    return Conversation(
        conversation=row.id,
        rev=row.rev,
        type=conversation_type(row.type),
        created_at=utc(row.created_at),
        name=row.name,
        created_by=row.created_by,
        deleted=row.deleted_at is not None,
        **setup_of(row.metadata)._asdict(),
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


def as_membership(row: MembershipBody) -> Membership:
    is_over = row.left or row.is_deleted
    return Membership(
        conversation=row.conversation_id,
        rev=row.user_rev,
        role=row.role,
        silenced=row.silenced,
        left=row.left,
        since=0 if is_over else row.since_rev,
        muted_until=utc(row.muted_until) if row.muted_until and not is_over else None,
        marked_unread=row.marked_unread and not is_over,
        cleared=0 if is_over else row.cleared_seq or 0,
    )


def as_contact(row: ContactBody) -> Contact:
    return Contact(
        user=row.other_user_id,
        rev=row.user_rev,
        contact=row.is_contact,
        nickname=row.nickname,
        favorite=row.favorite,
        blocked=row.is_blocked,
    )


def as_hidden(row: HiddenBody) -> Hidden:
    return Hidden(conversation=row.conversation_id, message=row.message_id, seq=row.seq, rev=row.user_rev)


def as_thread(row: ThreadBody) -> Thread:
    return Thread(conversation=row.conversation_id, message=row.message_id, rev=row.user_rev, followed=row.followed)


def as_settings(row: SettingsBody) -> Settings:
    return Settings(
        rev=row.user_rev,
        display_name=row.display_name,
        bio=row.bio,
        avatar_url=row.avatar_url,
        phone_visible=row.phone_visible,
        profile_visible=row.profile_visible,
        show_last_seen=row.show_last_seen,
        show_profile_photo=row.show_profile_photo,
        show_status=row.show_status,
        show_read_receipts=row.show_read_receipts,
        show_typing_indicator=row.show_typing_indicator,
        allow_group_invites=row.allow_group_invites,
    )


def events_in(
    rows: Sequence[ChangeRow | MissedRow], limit: int, max_bytes: int | None = None
) -> tuple[list[Told[Thing]], int]:
    """Return what changed in a page that was asked for with ``limit``, and the rev up to which it is complete.

    Above ``max_bytes`` of rows the page is cut, not before its first rev. What changed in one rev stays together.
    """
    events: list[Told[Thing]] = []
    size, up_to = 0, 0
    for rev, changed in groupby((row for row in rows if row.rev), lambda row: row.rev or 0):
        bodies = [(row.kind or "", (row.body or "").encode()) for row in changed]
        size += sum(len(body) for _, body in bodies)
        if max_bytes is not None and size > max_bytes and up_to:
            return events, up_to
        events += [told for kind, body in bodies if (told := _tellable(kind, body))]
        up_to = rev
    return events, up_to if len(rows) >= limit else rows[0].last_rev


def message_in(snapshot: str | bytes) -> Told[Message]:
    """Return the message of a row of ``messages.snapshots`` as JSON.

    Raises:
        BROKEN: no event can show it.
    """
    row = _MESSAGE.decode(snapshot)
    return Told(as_message(row), row.withheld_from)


def conversation_in(row: str | bytes) -> Told[Conversation]:
    """Return the conversation of a row of ``messages.conversations`` as JSON."""
    return Told(as_conversation(_CONVERSATION.decode(row)))


def members_in(rows: str) -> list[Told[Member]]:
    """Return the members of a JSON list of rows of ``messages.members``."""
    return [_told_member(row) for row in _MEMBERS.decode(rows)]


def _told_member(row: MemberBody) -> Told[Member]:
    return Told(as_member(row), only_to=None if row.told else row.user_id)


def messages_in(snapshots: Iterable[str], viewer: UUID) -> list[Message]:
    """Return messages as the viewer is told; those that no event can show as tombstones, if their place can be read."""
    found = [_tellable("message", snapshot.encode()) for snapshot in snapshots]
    return [event for told in found if told and isinstance(event := told.to(viewer), Message)]


def own_changes_in(rows: Sequence[ChangeRow]) -> list[OwnChange]:
    """Return what changed for a user alone, as the user is told."""
    return [_OWN[row.kind](row.body) for row in rows if row.kind and row.body]


def memberships_in(rows: Sequence[ChangeRow]) -> list[MembershipBody]:
    """Return the user's memberships among what changed for a user alone."""
    return [_MEMBERSHIP.decode(row.body) for row in rows if row.kind == "membership" and row.body]


def _tellable(kind: str, body: bytes) -> Told[Thing] | None:
    """Return what a row is told as. What another service wrote and no event can show must not block the others.

    Such a message keeps its place as a tombstone, if its place can be read; anything else is left out.
    """
    try:
        return from_body(kind, body)
    except BROKEN as error:
        log.warning("change_not_told", kind=kind, error=str(error))
    return Told(tombstone) if kind == "message" and (tombstone := _tombstone(body)) else None


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


def from_body(kind: str, body: bytes) -> Told[Thing]:
    """Return what a changed row is told as, from its JSON.

    Raises:
        BROKEN: no event can show it.
    """
    match kind:
        case "message":
            return message_in(body)
        case "conversation":
            return conversation_in(body)
        case _:
            return _told_member(_MEMBER.decode(body))


_MESSAGE = json.Decoder(MessageBody)
_PLACE = json.Decoder(MessagePlace)
_CONVERSATION = json.Decoder(ConversationBody)
_MEMBER = json.Decoder(MemberBody)
_MEMBERS = json.Decoder(list[MemberBody])
_MEMBERSHIP = json.Decoder(MembershipBody)
_CONTACT = json.Decoder(ContactBody)
_HIDDEN = json.Decoder(HiddenBody)
_THREAD = json.Decoder(ThreadBody)
_SETTINGS = json.Decoder(SettingsBody)

_OWN: dict[str, Callable[[str], OwnChange]] = {
    "membership": lambda body: as_membership(_MEMBERSHIP.decode(body)),
    "contact": lambda body: as_contact(_CONTACT.decode(body)),
    "hidden": lambda body: as_hidden(_HIDDEN.decode(body)),
    "thread": lambda body: as_thread(_THREAD.decode(body)),
    "settings": lambda body: as_settings(_SETTINGS.decode(body)),
}
