"""What a command's ``ok`` holds, and the envelope that carries it."""

from msgspec import UNSET, Raw, Struct, UnsetType, field

from .errors import ErrorCode
from .events import Contact, Conversation, Hidden, Member, Membership, Message, Receipt, Settings
from .types import (
    Audience,
    ConversationId,
    ConversationType,
    MessageId,
    Milliseconds,
    Outcome,
    PhoneHash,
    RequestId,
    Rev,
    Role,
    Seq,
    SessionId,
    Status,
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


class ConversationCreated(Struct, frozen=True):
    """The conversation that now exists: in a direct one, the pair's only one, whoever named it first."""

    conversation: ConversationId
    created: bool


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


class ConversationPage(Struct, frozen=True, omit_defaults=True):
    """Conversations, the one with the latest message first."""

    conversations: list[ConversationSummary]
    next: str | None = None
    """Pass it as ``after`` for the next page; absent on the last one."""


class Participant(Struct, frozen=True, omit_defaults=True):
    """One participant, with the watermarks that you may see: ``read_seq`` is 0 where receipts are not shown."""

    user: UserId
    role: Role
    delivered_seq: Seq
    read_seq: Seq
    name: str | None = None
    silenced: bool = False


class ConversationDetails(Struct, frozen=True):
    """A conversation and who takes part. A channel lists admins and posters, not its readers."""

    conversation: ConversationSummary
    participants: list[Participant]


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
    changes: list[Membership | Contact | Hidden | Settings] = field(default_factory=list)
    """What changed for you alone, as it now is, by rising ``rev``: where you take part, whom you know, what you hid,
    your settings."""
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


class ContactSummary(Struct, frozen=True, omit_defaults=True):
    """How you stand to somebody; nobody else is told."""

    user: UserId
    contact: bool = False
    display_name: str | None = None
    """The name that the other one has chosen."""
    nickname: str | None = None
    favorite: bool = False
    blocked: bool = False
    reason: str | None = None
    """What you noted down when you blocked."""
    deleted: bool = False
    """There is no such account any more."""


class ContactPage(Struct, frozen=True, omit_defaults=True):
    """Contacts, or those whom you block, by id."""

    contacts: list[ContactSummary]
    next: str | None = None
    """Pass it as ``after`` for the next page; absent on the last one."""


class LookedUp(Struct, frozen=True):
    """Who was found: of the others nobody has the number, or it is not shown."""

    found: dict[PhoneHash, UserId]


class Profile(Struct, frozen=True, omit_defaults=True):
    """A user as you may see him or her. What is absent is not there, or not shown to you."""

    user: UserId
    display_name: str | None = None
    bio: str | None = None
    avatar_url: str | None = None
    phone: str | None = None
    status: Status | None = None
    last_seen: Timestamp | None = None
    deleted: bool = False
    """There is no such account, or no longer."""


class Profiles(Struct, frozen=True):
    """Profiles in the order in which they were asked for."""

    profiles: list[Profile]


class Privacy(Struct, frozen=True):
    """Your privacy settings."""

    show_last_seen: Audience
    show_profile_photo: Audience
    show_status: Audience
    show_read_receipts: bool
    show_typing_indicator: bool
    allow_group_invites: Audience


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
