"""Everything a client may ask for: one struct a command.

``Command[Done]`` names what its ``ok`` holds. The first line of a docstring says what the client asks for, the second
what repeating it does.
"""

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, get_args

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from .metadata import checked
from .replies import (
    AccountCreated,
    CodeSent,
    ContactPage,
    ConversationCreated,
    ConversationDetails,
    ConversationPage,
    Done,
    EditPage,
    FlowBegun,
    HistoryPage,
    IdentityList,
    LoggedIn,
    LookedUp,
    MentionPage,
    MessageSent,
    ParticipantPage,
    ParticipantsAdded,
    PinPage,
    Place,
    Presences,
    Privacy,
    Profiles,
    ReactionPage,
    ReceiptPage,
    Resumed,
    SearchPage,
    SessionPage,
    SessionRefreshed,
    SessionsRevoked,
    ThreadDetails,
    ThreadPage,
    Unread,
    VoterPage,
    Watermarks,
)
from .types import (
    Audience,
    AuthorizationCode,
    AvatarUrl,
    Bio,
    Caption,
    Code,
    ConversationId,
    ConversationType,
    Description,
    DeviceId,
    DisplayName,
    Email,
    Emoji,
    Fate,
    FlowId,
    FlowState,
    IdToken,
    MessageId,
    MessageType,
    Name,
    NewPassword,
    Option,
    OwnStatus,
    Password,
    Phone,
    PhoneHash,
    Platform,
    Provider,
    Query,
    ReadableHistory,
    RedirectUri,
    RequestId,
    Rev,
    SearchOrder,
    Seq,
    SessionId,
    SessionScope,
    Timestamp,
    Token,
    TypingKind,
    UserId,
    VerificationId,
)

Who: TypeAlias = Literal[
    "anybody", "newcomer", "user", "guest", "participant", "poster", "author", "author or admin", "admin"
]

R_co = TypeVar("R_co", covariant=True)

DeviceMetadata: TypeAlias = Annotated[dict[Annotated[str, Meta(max_length=50)], DisplayName], Meta(max_length=10)]


class Command(
    Struct, Generic[R_co], frozen=True, omit_defaults=True, tag_field="op", forbid_unknown_fields=True, kw_only=True
):
    """The root of all commands."""

    who: ClassVar[Who]
    """Whom it is for. All others are refused, and for a thing that they may not see it is ``not_found``."""

    id: RequestId = 0


class SessionStart(Command[Done], frozen=True, tag="session.start"):
    """Authenticate this connection by a session token or an access token; ``hello`` follows the reply.

    Only on a connection that came without an ``Authorization`` header, and once.
    """

    who = "newcomer"

    token: Token


class AccountRegister(Command[CodeSent], frozen=True, tag="account.register"):
    """Ask for a code by which to register a phone number. A number that is taken is answered the same.

    Repeating it with the same ``verification`` sends nothing.
    """

    who = "anybody"

    verification: VerificationId
    """A UUID of your choice, to be kept until the code is there."""
    phone: Phone


class AccountVerify(Command[AccountCreated], frozen=True, tag="account.verify"):
    """Make the account, by the code that was sent.

    A code is good once, for five minutes and five tries. If the answer was lost, log in: it works if this did.
    """

    who = "anybody"

    verification: VerificationId
    code: Code
    password: NewPassword
    name: DisplayName
    """What others see."""


class Location(Place, frozen=True, forbid_unknown_fields=True):
    """Where a device says that it is."""


class AccountLogin(Command[LoggedIn], frozen=True, tag="account.login"):
    """Open a session on a device by phone number and password.

    Repeating it ends the session that the device had, and opens another.
    """

    who = "anybody"

    phone: Phone
    password: Password
    device: DeviceId
    platform: Platform
    device_name: DisplayName | None = None
    metadata: DeviceMetadata = field(default_factory=dict)
    """About the device: ``os``, ``os_version``, ``browser``, ``device_model``, ``app_version`` …"""
    location: Location | None = None
    """To be shown in the list of sessions, if the app knows it and may tell."""
    known: Token | None = None
    """The device's last session or refresh token: with it, failures of strangers do not keep you waiting."""
    verification: VerificationId | None = None
    """Where the account asks for a code: a UUID of your choice, under which one is sent; then the same again."""
    code: Code | None = None
    """The code that was sent."""


class AccountProtect(Command[Done], frozen=True, tag="account.protect"):
    """Ask for a code at each login, or no longer.

    Repeating it changes nothing.
    """

    who = "user"

    password: Password
    on: bool = True


class AccountDelete(Command[Done], frozen=True, tag="account.delete"):
    """Delete your account, for good. All your sessions end, your phone number and e-mail address are free at once.

    If the answer was lost, the token tells: it is no longer good. You leave your groups and channels within a minute or
    so; direct conversations stay with the others.
    """

    who = "user"

    content: Fate
    """What you wrote stays (``keep``), or every message becomes a tombstone and every reaction goes (``erase``)."""
    password: Password | None = None
    """Needed if the account has one."""
    verification: VerificationId | None = None
    """Where the account has no password or asks for a code: a UUID of your choice, under which one is sent."""
    code: Code | None = None
    """The code that was sent."""


class OauthBegin(Command[FlowBegun], frozen=True, tag="oauth.begin"):
    """Begin to log in by an identity that you have at a provider.

    Repeating it with the same ``flow`` gets the same again, until a proof came.
    """

    who = "anybody"

    flow: FlowId
    """A random UUID of your choice. Whoever knows it can take your place: keep it to yourself, for ten minutes."""
    provider: Provider
    redirect_uri: RedirectUri | None = None
    """Where the provider is to send you back to; not needed where the system asks for an ID token."""


class OauthLogin(Command[LoggedIn], frozen=True, tag="oauth.login"):
    """Open a session on a device by what the provider said: an ID token, or a code with its state. Once a flow.

    ``phone_needed``: nobody has the identity; go on by ``oauth.register``. ``code_needed``: the same again without the
    proof and with ``verification``, then with the ``code`` as well. If the answer was lost, begin anew.
    """

    who = "anybody"

    flow: FlowId
    device: DeviceId
    platform: Platform
    id_token: IdToken | None = None
    authorization_code: AuthorizationCode | None = None
    state: FlowState | None = None
    device_name: DisplayName | None = None
    metadata: DeviceMetadata = field(default_factory=dict)
    location: Location | None = None
    verification: VerificationId | None = None
    """Where the account asks for a code: a UUID of your choice, under which one is sent; then the same again."""
    code: Code | None = None
    """The code that was sent to the phone."""


class OauthRegister(Command[LoggedIn], frozen=True, tag="oauth.register"):
    """Make an account that has the proven identity, by a code from ``account.register``, and open a session.

    A flow and a code are good once. If the answer was lost, begin anew and log in: it works if this did.
    """

    who = "anybody"

    flow: FlowId
    """One to which ``oauth.login`` answered ``phone_needed``."""
    verification: VerificationId
    code: Code
    name: DisplayName
    """What others see."""
    device: DeviceId
    platform: Platform
    device_name: DisplayName | None = None
    metadata: DeviceMetadata = field(default_factory=dict)
    location: Location | None = None


class OauthConnect(Command[FlowBegun], frozen=True, tag="oauth.connect"):
    """Begin to link an identity that you have at a provider to your account.

    Repeating it with the same ``flow`` gets the same again, until a proof came.
    """

    who = "user"

    flow: FlowId
    """A random UUID of your choice."""
    provider: Provider
    password: Password
    redirect_uri: RedirectUri | None = None
    """Where the provider is to send you back to; not needed where the system asks for an ID token."""


class OauthLink(Command[Done], frozen=True, tag="oauth.link"):
    """Link the identity, by what the provider said: an ID token, or a code with its state. Once a flow.

    If the answer was lost, ask ``oauth.list``.
    """

    who = "user"

    flow: FlowId
    """One that you began by ``oauth.connect``."""
    id_token: IdToken | None = None
    authorization_code: AuthorizationCode | None = None
    state: FlowState | None = None


class OauthUnlink(Command[Done], frozen=True, tag="oauth.unlink"):
    """Log in by this provider no longer. If you did, all your other sessions end.

    Repeating it changes nothing.
    """

    who = "user"

    provider: Provider
    password: Password


class OauthList(Command[IdentityList], frozen=True, tag="oauth.list"):
    """List the identities by which you can log in.

    Reading changes nothing.
    """

    who = "user"


class TokenRefresh(Command[LoggedIn], frozen=True, tag="token.refresh"):
    """Get new tokens for a refresh token. The session stays the same; its old session token is no longer good.

    Repeating it within 30 seconds gets the same tokens again, unless the new refresh token was used meanwhile. Then, or
    later, it counts as theft and ends the session.
    """

    who = "anybody"

    refresh_token: Token


class PasswordForget(Command[CodeSent], frozen=True, tag="password.forget"):
    """Ask for a code by which to set a password anew. A number that nobody has is answered the same.

    Repeating it with the same ``verification`` sends nothing.
    """

    who = "anybody"

    verification: VerificationId
    """A UUID of your choice, to be kept until the code is there."""
    phone: Phone


class PasswordReset(Command[Done], frozen=True, tag="password.reset"):
    """Set a password by the code that was sent. All sessions end.

    A code is good once, for five minutes and five tries. If the answer was lost, log in: it works if this did.
    """

    who = "anybody"

    verification: VerificationId
    code: Code
    password: NewPassword


class PasswordChange(Command[Done], frozen=True, tag="password.change"):
    """Set another password. All your other sessions end.

    If the answer was lost, log in with the new one: it works if this did.
    """

    who = "user"

    password: Password
    """The one that you have."""
    new_password: NewPassword


class PhoneChange(Command[CodeSent], frozen=True, tag="phone.change"):
    """Ask for a code by which to get another phone number. It goes there; a number that is taken is answered the same.

    Repeating it with the same ``verification`` sends nothing.
    """

    who = "user"

    verification: VerificationId
    """A UUID of your choice, to be kept until the code is there."""
    phone: Phone
    """The new number."""
    password: Password


class PhoneVerify(Command[Done], frozen=True, tag="phone.verify"):
    """Get the number, by the code that was sent. All your other sessions end, and the old number is told.

    A code is good once, for five minutes and five tries.
    """

    who = "user"

    verification: VerificationId
    code: Code


class EmailChange(Command[CodeSent], frozen=True, tag="email.change"):
    """Ask for a code by which to have an e-mail address in your account. One that is taken is answered the same.

    Repeating it with the same ``verification`` sends nothing.
    """

    who = "user"

    verification: VerificationId
    """A UUID of your choice, to be kept until the code is there."""
    email: Email
    password: Password


class EmailVerify(Command[Done], frozen=True, tag="email.verify"):
    """Have the e-mail address, by the code that was sent.

    A code is good once, for five minutes and five tries.
    """

    who = "user"

    verification: VerificationId
    code: Code


class SessionResume(Command[Resumed], frozen=True, tag="session.resume"):
    """Ask what changed while you were away; ask again while there is ``more``. Events then continue the answer.

    Reading changes nothing: from the same revs you are told the same, or more.
    """

    who = "user"

    epoch: Annotated[str, Meta(max_length=64)] = ""
    """The one that your revs belong to. If it is not (or no longer) the server's, everything is answered by a reset."""
    rev: Rev = 0
    """``rev`` of the last ``membership``."""
    since: Timestamp | None = None
    """``time`` of the answer before: receipts that moved since then are told."""
    conversations: Annotated[dict[ConversationId, Rev], Meta(max_length=1000)] = field(default_factory=dict)
    """How far you are in each conversation that you have. More than 1,000: ask in several commands."""


class SessionRefresh(Command[SessionRefreshed], frozen=True, tag="session.refresh"):
    """Go on with another token of the same session: from now on the connection lasts as long as that one.

    Repeating it changes nothing. By POST it only says when the token ends.
    """

    who = "user"

    token: Token


class SessionList(Command[SessionPage], frozen=True, tag="session.list"):
    """List your sessions, the one used last first: where you are signed in. More than 100 are not told.

    Reading changes nothing.
    """

    who = "user"


class SessionRevoke(Command[SessionsRevoked], frozen=True, tag="session.revoke"):
    """End sessions of yours; their connections are closed with 4500, the one that asks after its reply.

    Repeating it changes nothing; a session that has ended is ``not_found``.
    """

    who = "user"

    session: SessionId | None = None
    """The one to end."""
    scope: SessionScope | None = None
    """In place of ``session``: all others than the one that asks, or all."""


class ConversationCreate(Command[ConversationCreated], frozen=True, tag="conversation.create"):
    """Create a conversation under an id of your choice; in a group or channel you become its admin.

    Repeating it changes nothing. In a direct conversation the answer names the one that the pair already has.
    """

    who = "user"

    conversation: ConversationId
    type: ConversationType
    participants: Annotated[list[UserId], Meta(max_length=1000)] = field(default_factory=list)
    """The others: a direct conversation takes exactly one (yourself is allowed), a channel has them as readers."""
    name: Name | None = None


class ConversationList(Command[ConversationPage], frozen=True, tag="conversation.list"):
    """List your conversations, the one with the latest message first.

    Reading changes nothing.
    """

    who = "user"

    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


class ConversationGet(Command[ConversationDetails], frozen=True, tag="conversation.get"):
    """Read one conversation and who takes part.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId


class ConversationUnread(Command[Unread], frozen=True, tag="conversation.unread"):
    """Count what you have not read, in all your conversations together.

    Reading changes nothing.
    """

    who = "user"


class ConversationMarkUnread(Command[Done], frozen=True, tag="conversation.mark_unread"):
    """Put a conversation back among those that you have not read, or take it out. ``message.read`` takes it out, too.

    Repeating it changes nothing. Your devices hear it by ``membership``; nobody else does.
    """

    who = "participant"

    conversation: ConversationId
    on: bool = True


class ConversationUpdate(Command[Done], frozen=True, tag="conversation.update"):
    """Change what a group or channel is called and how it is set, as its admin. What is not named stays as it is.

    Repeating it changes nothing.
    """

    who = "admin"

    conversation: ConversationId
    name: Name | None = None
    description: Description | None = None
    """Nothing: none."""
    avatar_url: AvatarUrl | None = None
    """Nothing: none."""
    history: ReadableHistory | None = None
    """What those read who join from now on: all of it, or what is said after they joined."""
    public: bool | None = None
    """Whether everybody who knows a channel's id may join."""


class ConversationJoin(Command[Done], frozen=True, tag="conversation.join"):
    """Become a reader of a public channel. Its admins see you in ``participant.list``.

    Repeating it changes nothing. Whom an admin removed cannot join.
    """

    who = "guest"

    conversation: ConversationId


class ConversationLeave(Command[Done], frozen=True, tag="conversation.leave"):
    """Leave a group or channel. What you could read you can read still. The last admin promotes somebody before.

    Repeating it changes nothing.
    """

    who = "participant"

    conversation: ConversationId


class ConversationMute(Command[Done], frozen=True, tag="conversation.mute"):
    """Say that you want no notifications from here: until a time, for ever, or no longer. Nobody else is told.

    Repeating it changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    on: bool = True
    until: Timestamp | None = None
    """None: for ever."""


class ConversationDelete(Command[Done], frozen=True, tag="conversation.delete"):
    """Delete a group or channel for all, as its admin; a direct conversation for yourself, up to its last message.

    Repeating it changes nothing. A direct conversation comes back with the next message.
    """

    who = "admin"

    conversation: ConversationId


class ParticipantList(Command[ParticipantPage], frozen=True, tag="participant.list"):
    """List who takes part: admins first, a channel's readers last and only to its admins.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


class ParticipantAdd(Command[ParticipantsAdded], frozen=True, tag="participant.add"):
    """Add people to a group, or readers to a channel, as its admin.

    Repeating it changes nothing.
    """

    who = "admin"

    conversation: ConversationId
    users: Annotated[list[UserId], Meta(max_length=100)]


class ParticipantRemove(Command[Done], frozen=True, tag="participant.remove"):
    """Remove somebody from a group or channel, as its admin. Who is removed is told, and hears nothing more.

    Repeating it changes nothing.
    """

    who = "admin"

    conversation: ConversationId
    user: UserId


class ParticipantPromote(Command[Done], frozen=True, tag="participant.promote"):
    """Make a participant an admin, as an admin.

    Repeating it changes nothing.
    """

    who = "admin"

    conversation: ConversationId
    user: UserId


class ParticipantDemote(Command[Done], frozen=True, tag="participant.demote"):
    """Let an admin (yourself is allowed) be none any more, as an admin. The last one stays.

    Repeating it changes nothing.
    """

    who = "admin"

    conversation: ConversationId
    user: UserId


class ParticipantSilence(Command[Done], frozen=True, tag="participant.silence"):
    """Let a participant write and react no more, or again, as an admin. Admins are not silenced.

    Repeating it changes nothing.
    """

    who = "admin"

    conversation: ConversationId
    user: UserId
    on: bool = True


class MessageSend(Command[MessageSent], frozen=True, tag="message.send"):
    """Send a message under an id of your choice (UUIDv7 advised).

    Repeating it stores nothing and gets the first answer again, for ever.
    """

    who = "poster"

    conversation: ConversationId
    message: MessageId
    content: Caption = ""
    """The text, or the caption of anything else. Only a text must have some."""
    reply_to: MessageId | None = None
    """A message in the same conversation."""
    type: MessageType = "text"
    metadata: dict[str, Any] | None = None
    """What belongs to the type, at most 4,096 bytes: see [Metadata](#metadata). A text has none."""
    mentions: Annotated[list[UserId], Meta(max_length=50)] = field(default_factory=list)
    """Whom you name. Who does not take part is left out."""

    def __post_init__(self) -> None:
        if self.type != "text" or self.metadata is not None or not self.content:
            content, metadata = checked(self.type, self.content, self.metadata)
            force_setattr(self, "content", content)
            force_setattr(self, "metadata", metadata)


class MessageForward(Command[MessageSent], frozen=True, tag="message.forward"):
    """Send a copy of a message that you can read, as a message of yours, under an id of your choice.

    Repeating it stores nothing and gets the first answer again, for ever. A poll begins anew, without votes.
    """

    who = "poster"

    conversation: ConversationId
    message: MessageId
    """The id of the copy."""
    source: MessageId
    """The message to be copied, from whichever conversation."""


class MessageEdit(Command[Done], frozen=True, tag="message.edit"):
    """Change the text of a message of yours, or the caption of an image, a video, an audio or a document.

    Repeating it changes nothing. After some time (48 hours, if the operator chose no other) it is too late.
    """

    who = "author"

    conversation: ConversationId
    message: MessageId
    content: Caption
    """A caption may be empty, a text may not."""


class MessageEdits(Command[EditPage], frozen=True, tag="message.edits"):
    """Read what a message said before it was edited: the last 100 versions.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    message: MessageId


class MessageDelete(Command[Done], frozen=True, tag="message.delete"):
    """Delete a message for all: yours, or anyone's where you are admin of a group or channel.

    Repeating it changes nothing.
    """

    who = "author or admin"

    conversation: ConversationId
    message: MessageId


class MessageHide(Command[Done], frozen=True, tag="message.hide"):
    """Delete a message for yourself: the others go on seeing it. Your other devices hear ``hidden``.

    Repeating it changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    message: MessageId


class MessagePin(Command[Done], frozen=True, tag="message.pin"):
    """Pin a message for everyone, or no longer: as an admin of a group or channel, or in a direct conversation.

    Repeating it changes nothing. There are at most 50 in a conversation.
    """

    who = "admin"

    conversation: ConversationId
    message: MessageId
    on: bool = True


class MessagePins(Command[PinPage], frozen=True, tag="message.pins"):
    """Read the pinned messages of a conversation, the one pinned last first.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId


class MessageMentions(Command[MentionPage], frozen=True, tag="message.mentions"):
    """Read the messages in which you are named, of all conversations, the last one first.

    Reading changes nothing.
    """

    who = "user"

    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


class MessageHistory(Command[HistoryPage], frozen=True, tag="message.history"):
    """Read messages by ``seq``: the last ones, those before a ``seq``, those after one, or those around a message.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    before: Seq | None = None
    after: Seq | None = None
    """Not together with ``before``."""
    around: MessageId | Seq | None = None
    """A message, or a ``seq``: half of the page is before it. Not together with the other two."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class MessageSearch(Command[SearchPage], frozen=True, tag="message.search"):
    """Search what you may read: all your conversations, or one. Words that are inflected are found as well.

    Reading changes nothing.
    """

    who = "user"

    query: Query
    """Words that a message has all of. ``"a phrase"``, ``-without``, ``this OR that``; the last word may be unfinished,
    from its third letter on."""
    conversation: ConversationId | None = None
    sender: UserId | None = None
    type: MessageType | None = None
    after: Timestamp | None = None
    """Not before this time."""
    before: Timestamp | None = None
    """Before this time."""
    order: SearchOrder = "best"
    """``newest`` first, or of the 300 newest those first that fit best, where a message loses half in half a year."""
    limit: Annotated[int, Meta(ge=1, le=50)] = 20
    cursor: Annotated[str, Meta(max_length=200)] | None = None
    """``next`` of the page before, with everything else as it was."""


class ReactionSet(Command[Done], frozen=True, tag="reaction.set"):
    """Put your emoji on a message, or take it away.

    Repeating it changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    message: MessageId
    emoji: Emoji
    on: bool = True


class ReactionList(Command[ReactionPage], frozen=True, tag="reaction.list"):
    """Read who put which emoji on a message, the first one first.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    message: MessageId
    emoji: Emoji | None = None
    """Only this one."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


class PollVote(Command[Done], frozen=True, tag="poll.vote"):
    """Choose among the options of a poll, in place of what you chose before.

    Repeating it changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    message: MessageId
    options: Annotated[list[Option], Meta(max_length=10)]
    """By their places in ``metadata.options``, from 0: one, or several in a poll that is ``multiple``, or none."""


class PollVoters(Command[VoterPage], frozen=True, tag="poll.voters"):
    """Read who chose an option of a poll, the first one first. An anonymous poll does not tell.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    message: MessageId
    option: Option
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


class ThreadGet(Command[ThreadDetails], frozen=True, tag="thread.get"):
    """Read a message and the replies to it, by rising ``seq``.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    message: MessageId
    """The one that the others reply to."""
    after: Seq = 0
    """Replies above this ``seq``."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class ThreadList(Command[ThreadPage], frozen=True, tag="thread.list"):
    """List the messages of a conversation that have replies, the one with the latest reply first.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    followed: bool = False
    """Only those that you follow."""
    before: Seq | None = None
    """``next`` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=50)] = 20


class ThreadFollow(Command[Done], frozen=True, tag="thread.follow"):
    """Follow the replies to a message, or no longer. Your other devices hear ``thread``.

    Repeating it changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    message: MessageId
    on: bool = True


class DeliveryAck(Command[Watermarks], frozen=True, tag="delivery.ack"):
    """Say that you have received every message up to ``seq``.

    Repeating it, or naming a lower ``seq``, changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    seq: Seq


class MessageRead(Command[Watermarks], frozen=True, tag="message.read"):
    """Say that you have read, and so received, every message up to ``seq``.

    Repeating it, or naming a lower ``seq``, changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    seq: Seq


class MessageReceipts(Command[ReceiptPage], frozen=True, tag="message.receipts"):
    """Ask who got a message and who read it, and when. Everybody who takes part may ask; in a channel, how many.

    Reading changes nothing.
    """

    who = "participant"

    conversation: ConversationId
    message: MessageId
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


class TypingSet(Command[Done], frozen=True, tag="typing.set"):
    """Tell the others that you are typing; say so again every few seconds while you are.

    Too often is dropped in silence.
    """

    who = "poster"

    conversation: ConversationId
    kind: TypingKind = "text"


class PresenceSet(Command[Done], frozen=True, tag="presence.set"):
    """Say whether you are at this device: ``online`` (so each connection begins), ``away`` or ``busy``.

    Repeating it changes nothing. Of several devices, busy counts before online, and online before away.
    """

    who = "user"

    status: OwnStatus


class PresenceWatch(Command[Presences], frozen=True, tag="presence.watch"):
    """Watch these people, and nobody else from now on: ``presence`` says when something changes.

    Repeating it asks anew. By POST it only answers.
    """

    who = "user"

    users: Annotated[list[UserId], Meta(max_length=200)]
    """Those whom you show on the screen; empty: nobody."""


class ContactBlock(Command[Done], frozen=True, tag="contact.block"):
    """Block somebody, or no longer: direct messages from there are kept from you, and the sender cannot tell.

    Repeating it changes nothing. What was kept from you stays so.
    """

    who = "user"

    user: UserId
    on: bool = True
    reason: Name | None = None
    """For yourself; nobody else is told."""


class ContactSet(Command[Done], frozen=True, tag="contact.set"):
    """Have somebody as a contact, under a nickname of yours, if you like. Nobody else is told.

    Repeating it changes nothing; what is left out is taken away.
    """

    who = "user"

    user: UserId
    nickname: DisplayName | None = None
    favorite: bool = False


class ContactRemove(Command[Done], frozen=True, tag="contact.remove"):
    """Have somebody no longer as a contact. A block stays.

    Repeating it changes nothing.
    """

    who = "user"

    user: UserId


class ContactList(Command[ContactPage], frozen=True, tag="contact.list"):
    """List your contacts, or those whom you block.

    Reading changes nothing.
    """

    who = "user"

    blocked: bool = False
    """Those whom you block, contacts or not."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


class ContactLookup(Command[LookedUp], frozen=True, tag="contact.lookup"):
    """Ask whose phone numbers these are, of those who show theirs. How many you may ask in a day is limited.

    Reading changes nothing; each asking counts.
    """

    who = "user"

    hashes: Annotated[list[PhoneHash], Meta(max_length=1000)]


class ProfileGet(Command[Profiles], frozen=True, tag="profile.get"):
    """Read profiles, as far as you may see them. Whoever does not exist is answered like a deleted account.

    Reading changes nothing.
    """

    who = "user"

    users: Annotated[list[UserId], Meta(max_length=100)]


class ProfileSet(Command[Done], frozen=True, tag="profile.set"):
    """Change your profile. What is left out stays; your other devices hear ``settings``.

    Repeating it changes nothing.
    """

    who = "user"

    display_name: DisplayName | None = None
    bio: Bio | None = None
    avatar_url: AvatarUrl | None = None
    phone_visible: bool | None = None
    """Whether others see your phone number, and find you by it."""
    profile_visible: bool | None = None
    """Whether others see ``bio`` and ``avatar_url``."""


class PrivacyGet(Command[Privacy], frozen=True, tag="privacy.get"):
    """Read your privacy settings.

    Reading changes nothing.
    """

    who = "user"


class PrivacySet(Command[Done], frozen=True, tag="privacy.set"):
    """Change your privacy settings. What is left out stays; your other devices hear ``settings``.

    Repeating it changes nothing.
    """

    who = "user"

    show_last_seen: Audience | None = None
    """Who sees when you were there last; from whom you hide it, of them you do not see it."""
    show_profile_photo: Audience | None = None
    show_status: Audience | None = None
    """Who sees whether you are online; from whom you hide it, of them you do not see it."""
    show_read_receipts: bool | None = None
    """Whether others see what you have read; if not, you do not see it of them."""
    show_typing_indicator: bool | None = None
    """Whether others see that you are typing; if not, you do not see it of them."""
    allow_group_invites: Audience | None = None
    """Who may add you to groups."""


WITHOUT_SESSION: frozenset[type[Command[Any]]] = frozenset(
    command for command in Command.__subclasses__() if command.who == "anybody"
)
"""Commands for those who have no session yet, or no longer; no token counts with them."""


def result_of(command: type[Command[R_co]]) -> type[R_co]:
    """Return the struct that the ``ok`` of this command holds."""
    (base,) = command.__orig_bases__  # type: ignore[attr-defined]  # set by Generic on every subclass
    (result,) = get_args(base)
    return result  # type: ignore[no-any-return]  # the argument of Command[...]
