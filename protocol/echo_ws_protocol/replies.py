"""What a command's ``ok`` holds, and the envelope that carries it."""

from msgspec import UNSET, Raw, Struct, UnsetType, field

from .errors import ErrorCode
from .events import Contact, Conversation, Hidden, Member, Membership, Message, Receipt
from .types import (
    ConversationId,
    ConversationType,
    MessageId,
    Milliseconds,
    Outcome,
    ReadableHistory,
    RequestId,
    Rev,
    Role,
    Seq,
    SessionId,
    Timestamp,
    UserId,
)


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why a command was not carried out."""

    code: ErrorCode
    outcome: Outcome
    message: str
    """For people; programs look at ``code``."""
    field: str | None = None
    """The path of the field that is wrong, where one is: ``$.content``."""
    retry_after_ms: Milliseconds | None = None


class Reply(Struct, frozen=True, tag_field="op", tag="reply"):
    """The answer to the command with the same ``id``: ``ok`` or ``error``, never both.

    ``ok`` means committed in PostgreSQL, and nothing less. Only the reply to ``session.resume`` moves cursors.
    """

    id: RequestId
    ok: Raw | UnsetType = UNSET
    error: Failure | UnsetType = UNSET


class Done(Struct, frozen=True):
    """It is done; there is nothing more to say."""


class SessionRefreshed(Struct, frozen=True):
    """How long the connection may go on now."""

    expires_at: Timestamp


class SessionSummary(Struct, frozen=True, omit_defaults=True):
    """One session: a device on which you are signed in."""

    session: SessionId
    device: str
    """The id under which the device signed in."""
    platform: str
    created_at: Timestamp
    last_activity_at: Timestamp
    """When it was last used, to a minute or so."""
    expires_at: Timestamp
    device_name: str | None = None
    address: str | None = None
    """The IP address from which it was last opened."""
    user_agent: str | None = None
    current: bool = False
    """Whether it is the one that asks."""


class SessionPage(Struct, frozen=True):
    """Sessions, the one used last first."""

    sessions: list[SessionSummary]


class SessionsRevoked(Struct, frozen=True):
    """How many sessions were there to be ended."""

    ended: int


class MessageSent(Struct, frozen=True):
    """Where the message stands. A repeated send gets the first answer again."""

    seq: Seq
    created_at: Timestamp


class ConversationCreated(Struct, frozen=True, omit_defaults=True):
    """The conversation that now exists: in a direct one, the pair's only one, whoever named it first."""

    conversation: ConversationId
    created: bool
    refused: list[UserId] = field(default_factory=list)
    """Whom you named and who could not be added; why is not told."""


class Watermarks(Struct, frozen=True):
    """How far a participant has received and read, as it now is."""

    delivered_seq: Seq
    read_seq: Seq


class ConversationSummary(Struct, frozen=True, omit_defaults=True):
    """One conversation, as the asking participant sees it."""

    conversation: ConversationId
    type: ConversationType
    role: Role
    last_seq: Seq
    last_rev: Rev
    delivered_seq: Seq
    read_seq: Seq
    created_at: Timestamp
    name: str | None = None
    created_by: UserId | None = None
    last_message: MessageId | None = None
    last_message_at: Timestamp | None = None
    peer: UserId | None = None
    """The other one of a direct conversation."""
    description: str | None = None
    avatar_url: str | None = None
    history: ReadableHistory = "all"
    public: bool = False
    members: int = 0
    """How many take part, a channel's readers included."""
    silenced: bool = False
    """An admin took the word from you."""
    muted_until: Timestamp | None = None
    """Until when you want no notifications from here."""


class ConversationPage(Struct, frozen=True, omit_defaults=True):
    """Conversations, the one with the latest message first."""

    conversations: list[ConversationSummary]
    next: str | None = None
    """Pass it as ``after`` for the next page; absent on the last one."""


class Participant(Struct, frozen=True, omit_defaults=True):
    """One participant, with the watermarks that the others see."""

    user: UserId
    role: Role
    delivered_seq: Seq
    read_seq: Seq
    name: str | None = None
    silenced: bool = False


class ConversationDetails(Struct, frozen=True, omit_defaults=True):
    """A conversation and who takes part, 100 at most, the admins among them. A channel's readers are not listed."""

    conversation: ConversationSummary
    participants: list[Participant]
    next: str | None = None
    """Pass it as ``after`` to ``participant.list`` for the others; absent if these are all."""


class ParticipantPage(Struct, frozen=True, omit_defaults=True):
    """Participants: admins first, then the others, a channel's readers last."""

    participants: list[Participant]
    next: str | None = None
    """Pass it as ``after`` for the next page; absent on the last one."""


class ParticipantsAdded(Struct, frozen=True, omit_defaults=True):
    """Whom you named and who is not among them takes part now."""

    refused: list[UserId] = field(default_factory=list)
    """Who could not be added; why is not told."""


class ConversationChanges(Struct, frozen=True, omit_defaults=True):
    """What changed in one conversation: a page of it (``more``), the rest, or ``reset``. Never a silent hole."""

    conversation: ConversationId
    rev: Rev
    """With ``events`` you have everything up to here."""
    events: list[Message | Conversation | Member] = field(default_factory=list)
    """The things that changed as they now are, by rising ``rev``."""
    more: bool = False
    """There is more: ask again from ``rev``."""
    reset: bool = False
    """Forget what you have of it, read it anew (``conversation.get``, ``message.history``) and go on from ``rev``. With
    ``rev`` 0 it does not exist (any more), or not for you."""


class Resumed(Struct, frozen=True, omit_defaults=True):
    """What changed for you while you were away. A conversation that is not mentioned is as you have it."""

    epoch: str
    time: Timestamp
    """Pass it as ``since`` the next time."""
    rev: Rev
    """With ``changes`` you have every change of your own up to here."""
    changes: list[Membership | Contact | Hidden] = field(default_factory=list)
    """What changed for you alone, as it now is, by rising ``rev``: where you take part, whom you know, what you hid."""
    more: bool = False
    """There are more ``changes``: ask again from ``rev``."""
    conversations: list[ConversationChanges] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    """Watermarks that moved since ``since``."""


class HistoryPage(Struct, frozen=True):
    """Messages by rising ``seq``, whichever way was asked."""

    messages: list[Message]
    more: bool
    """Whether there are more in the direction asked."""


class CodeSent(Struct, frozen=True):
    """A code is on its way, if there is anybody to get one: the answer is the same for every number."""

    expires_at: Timestamp


class AccountCreated(Struct, frozen=True):
    """The account is there; log in next."""

    user: UserId


class LoggedIn(Struct, frozen=True, omit_defaults=True):
    """The tokens of a device's session. What it had before is no longer good."""

    user: UserId
    session: SessionId
    token: str
    """The session token, for ``session.start`` or the header."""
    expires_at: Timestamp
    """When the session ends, unless it is refreshed."""
    refresh_token: str
    """Good once, for ``token.refresh``."""
    access_token: str | None = None
    """Where the server signs them: a token for the header that is good for minutes."""
    access_expires_at: Timestamp | None = None
