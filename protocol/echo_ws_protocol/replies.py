"""What a command's ``ok`` holds, and the envelope that carries it."""

from msgspec import UNSET, Raw, Struct, UnsetType, field

from .errors import ErrorCode
from .events import (
    Contact,
    Conversation,
    Hidden,
    Member,
    Membership,
    Message,
    Presence,
    Receipt,
    Settings,
    Thread,
)
from .types import (
    Audience,
    ConversationId,
    ConversationType,
    Country,
    DeliveryStatus,
    DisplayName,
    MessageId,
    Milliseconds,
    Outcome,
    PhoneHash,
    PresenceStatus,
    ReadableHistory,
    RequestId,
    Rev,
    Role,
    Seq,
    SessionId,
    Timestamp,
    TimeZone,
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


class Place(Struct, frozen=True, omit_defaults=True):
    """Where a device said that it was."""

    city: DisplayName | None = None
    country: Country | None = None
    timezone: TimeZone | None = None


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
    location: Place | None = None
    """What the device said when it logged in; nobody checked it."""
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


class MessageReceipt(Struct, frozen=True, omit_defaults=True):
    """How far a message came with one of its recipients."""

    user: UserId
    status: DeliveryStatus
    delivered_at: Timestamp | None = None
    read_at: Timestamp | None = None


class ReceiptPage(Struct, frozen=True, omit_defaults=True):
    """Who got and who read a message, in the order of the users' ids, and how many they are altogether."""

    recipients: int
    delivered: int
    """Those who have read it are among them."""
    read: int
    """As far as you are told."""
    receipts: list[MessageReceipt] = field(default_factory=list)
    """None for a message in a channel."""
    next: str | None = None
    """Pass it as ``after`` for the next page; absent on the last one."""


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
    unread: int = 0
    """Messages above ``read_seq`` that count: not yours, not deleted, not hidden."""
    unread_mentions: int = 0
    """How many of them name you."""
    marked_unread: bool = False
    """You put it back among what you have not read."""
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


class Unread(Struct, frozen=True):
    """What you have not read, in all your conversations together."""

    unread: int
    unread_mentions: int
    conversations: int
    """In how many conversations there is something, or you marked them."""


class Participant(Struct, frozen=True, omit_defaults=True):
    """One participant, with the watermarks that you are told: ``read_seq`` is 0 where one of you does not show it."""

    user: UserId
    role: Role
    delivered_seq: Seq
    read_seq: Seq
    name: str | None = None
    silenced: bool = False
    deleted: bool = False
    """Whether the account is deleted: nobody answers any more."""


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
    changes: list[Membership | Contact | Hidden | Thread | Settings] = field(default_factory=list)
    """What changed for you alone, as it now is, by rising ``rev``: where you take part, whom you know, what you hid,
    which threads you follow, your settings."""
    more: bool = False
    """There are more ``changes``: ask again from ``rev``."""
    conversations: list[ConversationChanges] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    """Watermarks that moved since ``since``."""


class Presences(Struct, frozen=True):
    """Those of the users asked for who exist, as far as their presence is shown to you."""

    presences: list[Presence]


class Mine(Struct, frozen=True, omit_defaults=True):
    """What you added to a message."""

    reactions: list[str] = field(default_factory=list)
    """Your emoji on it."""
    votes: list[int] = field(default_factory=list)
    """The options that you chose in it, from 0."""


class HistoryPage(Struct, frozen=True, omit_defaults=True):
    """Messages by rising ``seq``, whichever way was asked."""

    messages: list[Message]
    more: bool
    """Whether there are more in the direction asked; around a message, before the page."""
    more_after: bool = False
    """Whether there are more behind a page around a message."""
    mine: dict[MessageId, Mine] = field(default_factory=dict)
    """Your own reactions and votes, where there are any."""


class Mark(Struct, frozen=True):
    """A part of a message's content, counted in characters (Unicode code points, not UTF-16 units)."""

    start: int
    end: int
    """The first character that is no longer part of it."""


class FoundMessage(Struct, frozen=True):
    """A message, and what of its content was asked for."""

    message: Message
    marks: list[Mark]


class SearchPage(Struct, frozen=True, omit_defaults=True):
    """Messages that were found, in the order asked for."""

    found: list[FoundMessage]
    next: str | None = None
    """Pass it as ``cursor`` for the next page; absent on the last one."""


class Edit(Struct, frozen=True):
    """What a message said, and since when."""

    content: str
    written_at: Timestamp


class EditPage(Struct, frozen=True):
    """What a message said before, the oldest first; what it says now is not among them."""

    edits: list[Edit]


class PinPage(Struct, frozen=True, omit_defaults=True):
    """Pinned messages, the one pinned last first."""

    messages: list[Message]
    mine: dict[MessageId, Mine] = field(default_factory=dict)
    """Your own reactions and votes, where there are any."""


class MentionPage(Struct, frozen=True, omit_defaults=True):
    """Messages in which you are named, the last one first."""

    messages: list[Message]
    mine: dict[MessageId, Mine] = field(default_factory=dict)
    """Your own reactions and votes, where there are any."""
    next: str | None = None
    """Pass it as ``after`` for the next page; absent on the last one."""


class Reaction(Struct, frozen=True):
    """Somebody's emoji on a message."""

    user: UserId
    emoji: str
    created_at: Timestamp


class ReactionPage(Struct, frozen=True, omit_defaults=True):
    """Reactions, the first one first."""

    reactions: list[Reaction]
    next: str | None = None
    """Pass it as ``after`` for the next page; absent on the last one."""


class Voter(Struct, frozen=True):
    """Who chose an option, and when."""

    user: UserId
    created_at: Timestamp


class VoterPage(Struct, frozen=True, omit_defaults=True):
    """Who chose an option, the first one first."""

    voters: list[Voter]
    next: str | None = None
    """Pass it as ``after`` for the next page; absent on the last one."""


class ThreadSummary(Struct, frozen=True, omit_defaults=True):
    """A message with replies, as you see it."""

    message: Message
    replies: int
    """How many there are that you can read."""
    last_reply: Message
    followed: bool = False


class ThreadPage(Struct, frozen=True, omit_defaults=True):
    """Messages with replies, the one with the latest reply first."""

    threads: list[ThreadSummary]
    next: Seq | None = None
    """Pass it as ``before`` for the next page; absent on the last one."""


class ThreadDetails(Struct, frozen=True, omit_defaults=True):
    """A message and replies to it, by rising ``seq``."""

    message: Message
    replies: int
    """How many there are that you can read, on all pages."""
    messages: list[Message]
    more: bool
    """Whether there are more: ask again with the last ``seq`` as ``after``."""
    followed: bool = False
    mine: dict[MessageId, Mine] = field(default_factory=dict)
    """Your own reactions and votes, where there are any."""


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
    status: PresenceStatus | None = None
    last_seen: Timestamp | None = None
    deleted: bool = False
    """There is no such account, or no longer."""
    phone_visible: bool | None = None
    """In your own alone: whether others see your phone number."""
    profile_visible: bool | None = None
    """In your own alone: whether others see more than your name."""


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


class FlowBegun(Struct, frozen=True, omit_defaults=True):
    """Where to go, and what is to come back. Only this flow takes what comes back, and once."""

    nonce: str
    """What the ID token must hold, to the letter: where the system asks for it, give it this."""
    state: str
    """Must come back with a code; what comes with another was not asked for by you."""
    expires_at: Timestamp
    url: str | None = None
    """The page of the provider to open, where a ``redirect_uri`` was given."""


class Identity(Struct, frozen=True, omit_defaults=True):
    """Who you are at a provider, as it said when you linked it."""

    provider: str
    linked_at: Timestamp
    email: str | None = None
    name: str | None = None


class IdentityList(Struct, frozen=True):
    """The identities by which you can log in, at most one of each provider."""

    identities: list[Identity]


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
