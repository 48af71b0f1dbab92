"""What the server tells unasked. An event is the thing as it now is, not the difference.

Durable events carry a ``rev``: ``message``, ``conversation`` and ``member`` the conversation's, ``membership``,
``contact``, ``hidden``, ``thread`` and ``settings`` the user's own; momentary ones (``receipt``, ``typing``,
``presence``, ``session``) may be lost and are never replayed. Nothing in an event that goes to several people depends
on who reads it.
"""

from typing import Any, TypeAlias

from msgspec import Struct, field

from .types import (
    Audience,
    ConversationId,
    ConversationType,
    MessageId,
    Milliseconds,
    PresenceStatus,
    ReadableHistory,
    Rev,
    Role,
    Seq,
    SessionId,
    Timestamp,
    TypingKind,
    UserId,
)


class Event(Struct, frozen=True, omit_defaults=True, tag_field="op", kw_only=True):
    """The root of all events. Clients ignore events and fields that they do not know."""


class Hello(Event, frozen=True, tag="hello"):
    """The connection is authenticated: the first event on it."""

    user: UserId
    session: SessionId
    expires_at: Timestamp
    """When the token ends that this connection was opened with, and with it the connection."""
    epoch: str
    """The database's identity. When it changes, revs kept from before mean nothing."""
    heartbeat_ms: Milliseconds
    """How often the server pings at least; twice as long without a frame means the connection is dead."""
    max_frame_bytes: int
    server: str
    """Name and version of the server."""


class Message(Event, frozen=True, tag="message"):
    """A message as it now is. A deleted one is a tombstone: it keeps its place and has no content."""

    conversation: ConversationId
    message: MessageId
    seq: Seq
    rev: Rev
    sender: UserId = field(name="from")
    type: str
    content: str
    created_at: Timestamp
    reply_to: MessageId | None = None
    edited: bool = False
    deleted: bool = False
    metadata: dict[str, Any] | None = None
    reactions: dict[str, int] | None = None
    """How many people set each emoji."""
    forwarded_from: MessageId | None = None
    """The message of which this is a copy; it may be where you cannot read it."""
    mentions: list[UserId] = field(default_factory=list)
    """Whom the sender named, of those who took part."""
    pinned_at: Timestamp | None = None
    pinned_by: UserId | None = None
    votes: dict[str, int] | None = None
    """In a poll: how many people chose each option, by its place in ``metadata.options`` from 0."""
    hidden: bool = False
    """You had blocked the sender: the message keeps its place, and you are not told what it says."""


class Conversation(Event, frozen=True, tag="conversation"):
    """A conversation as it now is."""

    conversation: ConversationId
    rev: Rev
    type: ConversationType
    created_at: Timestamp
    name: str | None = None
    created_by: UserId | None = None
    deleted: bool = False
    description: str | None = None
    avatar_url: str | None = None
    history: ReadableHistory = "all"
    """What newcomers read: everything, or what is said after they joined. A change counts for those who join later."""
    public: bool = False
    """Whether everybody who knows its id may join: only a channel."""


class Member(Event, frozen=True, tag="member"):
    """A participant as he or she now is: joined, changed, or gone. A channel's readers are not told of each other."""

    conversation: ConversationId
    rev: Rev
    user: UserId
    role: Role
    silenced: bool = False
    left: bool = False


class Membership(Event, frozen=True, tag="membership"):
    """You were added to a conversation, removed from it, or given another role. Goes to you alone."""

    conversation: ConversationId
    rev: Rev
    """Number of the change among those that concern you alone."""
    role: Role
    silenced: bool = False
    left: bool = False
    since: Rev = 0
    """The conversation's ``rev`` above which you are told its changes. 0: you left, or it was deleted."""
    muted_until: Timestamp | None = None
    """Until when you want no notifications from here."""
    marked_unread: bool = False
    """You put it back among what you have not read."""
    cleared: Seq = 0
    """You deleted it for yourself up to here: show nothing of that any more, and the rest again."""


class Contact(Event, frozen=True, tag="contact"):
    """How you stand to somebody, as it now is: a contact, a blocked one, both or neither. Goes to you alone."""

    user: UserId
    rev: Rev
    """Number of the change among those that concern you alone."""
    contact: bool = False
    nickname: str | None = None
    favorite: bool = False
    blocked: bool = False


class Hidden(Event, frozen=True, tag="hidden"):
    """You deleted a message for yourself: show it no more, whatever becomes of it. Goes to you alone."""

    conversation: ConversationId
    message: MessageId
    seq: Seq
    rev: Rev
    """Number of the change among those that concern you alone."""


class Thread(Event, frozen=True, tag="thread"):
    """You follow the replies to a message, or no longer. Goes to you alone."""

    conversation: ConversationId
    message: MessageId
    rev: Rev
    """Number of the change among those that concern you alone."""
    followed: bool = False


class Settings(Event, frozen=True, tag="settings"):
    """You changed your profile or your privacy settings: all of them, as they now are. Goes to you alone."""

    rev: Rev
    """Number of the change among those that concern you alone."""
    display_name: str | None = None
    bio: str | None = None
    avatar_url: str | None = None
    phone_visible: bool = True
    profile_visible: bool = True
    show_last_seen: Audience = "everyone"
    show_profile_photo: Audience = "everyone"
    show_status: Audience = "everyone"
    show_read_receipts: bool = True
    show_typing_indicator: bool = True
    allow_group_invites: Audience = "everyone"


OwnChange: TypeAlias = Membership | Contact | Hidden | Thread | Settings
"""What concerns one user alone, by the user's own ``rev``."""


class Receipt(Event, frozen=True, tag="receipt"):
    """How far a participant has received and read. A maximum: older and lower ones may be ignored.

    Of yourself it tells all your devices. ``read_seq`` of others is 0 where one of you two does not show it.
    """

    conversation: ConversationId
    user: UserId
    delivered_seq: Seq
    read_seq: Seq


class Typing(Event, frozen=True, tag="typing"):
    """A participant is typing; it is over after ``expires_ms``, with ``stopped``, or with a message."""

    conversation: ConversationId
    user: UserId
    kind: TypingKind
    expires_ms: Milliseconds


class Presence(Event, frozen=True, tag="presence"):
    """Somebody whom you watch came, went, or is something else now. What is not shown to you is left out."""

    user: UserId
    status: PresenceStatus | None = None
    last_seen: Timestamp | None = None


class Session(Event, frozen=True, tag="session"):
    """You signed in somewhere: a session of yours is used for the first time. Goes to your other connections."""

    session: SessionId
    platform: str
    device_name: str | None = None


class Expiring(Event, frozen=True, tag="expiring"):
    """The token of this connection ends soon, and the connection with it: call ``session.refresh`` before."""

    at: Timestamp


class Behind(Event, frozen=True, tag="behind"):
    """You read too slowly: from here on you hear no events until you call ``session.resume``, which tells all of it."""


class Bye(Event, frozen=True, tag="bye"):
    """The server will close this connection soon. Come back after ``after_ms``, which differs for each client."""

    after_ms: Milliseconds
