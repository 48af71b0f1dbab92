"""Everything a client may ask for: one struct a command.

``Command[Done]`` names what its ``ok`` holds. The first line of a docstring says what the client asks for, the second
what repeating it does.
"""

from typing import Annotated, Any, Generic, TypeVar, get_args

from msgspec import Meta, Struct, field

from .replies import (
    AccountCreated,
    CodeSent,
    ConversationCreated,
    ConversationDetails,
    ConversationPage,
    Done,
    HistoryPage,
    LoggedIn,
    MessageSent,
    ParticipantPage,
    ParticipantsAdded,
    Resumed,
    SessionPage,
    SessionRefreshed,
    SessionsRevoked,
    Watermarks,
)
from .types import (
    Code,
    Content,
    ConversationId,
    ConversationType,
    Description,
    DeviceId,
    DisplayName,
    Email,
    Emoji,
    MessageId,
    Name,
    NewPassword,
    Password,
    Phone,
    PictureUrl,
    Platform,
    ReadableHistory,
    RequestId,
    Rev,
    Seq,
    SessionId,
    SessionScope,
    Timestamp,
    Token,
    TypingKind,
    UserId,
    VerificationId,
)

R_co = TypeVar("R_co", covariant=True)


class Command(
    Struct, Generic[R_co], frozen=True, omit_defaults=True, tag_field="op", forbid_unknown_fields=True, kw_only=True
):
    """The root of all commands."""

    id: RequestId = 0


class SessionStart(Command[Done], frozen=True, tag="session.start"):
    """Authenticate this connection by a session token or an access token; ``hello`` follows the reply.

    Only on a connection that came without an ``Authorization`` header, and once.
    """

    token: Token


class AccountRegister(Command[CodeSent], frozen=True, tag="account.register"):
    """Ask for a code by which to register a phone number. A number that is taken is answered the same.

    Repeating it with the same ``verification`` sends nothing.
    """

    verification: VerificationId
    """A UUID of your choice, to be kept until the code is there."""
    phone: Phone


class AccountVerify(Command[AccountCreated], frozen=True, tag="account.verify"):
    """Make the account, by the code that was sent.

    A code is good once, for five minutes and five tries. If the answer was lost, log in: it works if this did.
    """

    verification: VerificationId
    code: Code
    password: NewPassword
    name: DisplayName
    """What others see."""


class AccountLogin(Command[LoggedIn], frozen=True, tag="account.login"):
    """Open a session on a device by phone number and password.

    Repeating it ends the session that the device had, and opens another.
    """

    phone: Phone
    password: Password
    device: DeviceId
    platform: Platform
    device_name: DisplayName | None = None
    metadata: Annotated[dict[Annotated[str, Meta(max_length=50)], DisplayName], Meta(max_length=10)] = field(
        default_factory=dict
    )
    """About the device: ``os``, ``os_version``, ``browser``, ``device_model``, ``app_version`` …"""
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

    password: Password
    on: bool = True


class TokenRefresh(Command[LoggedIn], frozen=True, tag="token.refresh"):
    """Get new tokens for a refresh token. The session stays the same; its old session token is no longer good.

    Repeating it within 30 seconds gets the same tokens again. Later, it counts as theft and ends the session.
    """

    refresh_token: Token


class PasswordForget(Command[CodeSent], frozen=True, tag="password.forget"):
    """Ask for a code by which to set a password anew. A number that nobody has is answered the same.

    Repeating it with the same ``verification`` sends nothing.
    """

    verification: VerificationId
    """A UUID of your choice, to be kept until the code is there."""
    phone: Phone


class PasswordReset(Command[Done], frozen=True, tag="password.reset"):
    """Set a password by the code that was sent. All sessions end.

    A code is good once, for five minutes and five tries. If the answer was lost, log in: it works if this did.
    """

    verification: VerificationId
    code: Code
    password: NewPassword


class PasswordChange(Command[Done], frozen=True, tag="password.change"):
    """Set another password. All your other sessions end.

    If the answer was lost, log in with the new one: it works if this did.
    """

    password: Password
    """The one that you have."""
    new_password: NewPassword


class PhoneChange(Command[CodeSent], frozen=True, tag="phone.change"):
    """Ask for a code by which to get another phone number. It goes there; a number that is taken is answered the same.

    Repeating it with the same ``verification`` sends nothing.
    """

    verification: VerificationId
    """A UUID of your choice, to be kept until the code is there."""
    phone: Phone
    """The new number."""
    password: Password


class PhoneVerify(Command[Done], frozen=True, tag="phone.verify"):
    """Get the number, by the code that was sent. All your other sessions end, and the old number is told.

    A code is good once, for five minutes and five tries.
    """

    verification: VerificationId
    code: Code


class EmailChange(Command[CodeSent], frozen=True, tag="email.change"):
    """Ask for a code by which to have an e-mail address in your account. One that is taken is answered the same.

    Repeating it with the same ``verification`` sends nothing.
    """

    verification: VerificationId
    """A UUID of your choice, to be kept until the code is there."""
    email: Email
    password: Password


class EmailVerify(Command[Done], frozen=True, tag="email.verify"):
    """Have the e-mail address, by the code that was sent.

    A code is good once, for five minutes and five tries.
    """

    verification: VerificationId
    code: Code


class SessionResume(Command[Resumed], frozen=True, tag="session.resume"):
    """Ask what changed while you were away; ask again while there is ``more``. Events then continue the answer.

    Reading changes nothing: from the same revs you are told the same, or more.
    """

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

    token: Token


class SessionList(Command[SessionPage], frozen=True, tag="session.list"):
    """List your sessions, the one used last first: where you are signed in. More than 100 are not told.

    Reading changes nothing.
    """


class SessionRevoke(Command[SessionsRevoked], frozen=True, tag="session.revoke"):
    """End sessions of yours; their connections are closed with 4500, the one that asks after its reply.

    Repeating it changes nothing; a session that has ended is ``not_found``.
    """

    session: SessionId | None = None
    """The one to end."""
    scope: SessionScope | None = None
    """In place of ``session``: all others than the one that asks, or all."""


class ConversationCreate(Command[ConversationCreated], frozen=True, tag="conversation.create"):
    """Create a conversation under an id of your choice; in a group or channel you become its admin.

    Repeating it changes nothing. In a direct conversation the answer names the one that the pair already has.
    """

    conversation: ConversationId
    type: ConversationType
    participants: Annotated[list[UserId], Meta(max_length=1000)] = field(default_factory=list)
    """The others: a direct conversation takes exactly one (yourself is allowed), a channel has them as readers."""
    name: Name | None = None


class ConversationList(Command[ConversationPage], frozen=True, tag="conversation.list"):
    """List your conversations, the one with the latest message first.

    Reading changes nothing.
    """

    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


class ConversationGet(Command[ConversationDetails], frozen=True, tag="conversation.get"):
    """Read one conversation and who takes part.

    Reading changes nothing.
    """

    conversation: ConversationId


class ConversationUpdate(Command[Done], frozen=True, tag="conversation.update"):
    """Change what a group or channel is called and how it is set, as its admin. What is not named stays as it is.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    name: Name | None = None
    description: Description | None = None
    """Nothing: none."""
    avatar_url: PictureUrl | None = None
    """Nothing: none."""
    history: ReadableHistory | None = None
    """What those read who join from now on: all of it, or what is said after they joined."""
    public: bool | None = None
    """Whether everybody who knows a channel's id may join."""


class ConversationJoin(Command[Done], frozen=True, tag="conversation.join"):
    """Become a reader of a public channel. Its admins see you in ``participant.list``.

    Repeating it changes nothing. Whom an admin removed cannot join.
    """

    conversation: ConversationId


class ConversationLeave(Command[Done], frozen=True, tag="conversation.leave"):
    """Leave a group or channel. What you could read you can read still. The last admin promotes somebody before.

    Repeating it changes nothing.
    """

    conversation: ConversationId


class ConversationMute(Command[Done], frozen=True, tag="conversation.mute"):
    """Say that you want no notifications from here: until a time, for ever, or no longer. Nobody else is told.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    on: bool = True
    until: Timestamp | None = None
    """None: for ever."""


class ConversationDelete(Command[Done], frozen=True, tag="conversation.delete"):
    """Delete a group or channel for all, as its admin; a direct conversation for yourself, up to its last message.

    Repeating it changes nothing. A direct conversation comes back with the next message.
    """

    conversation: ConversationId


class ParticipantList(Command[ParticipantPage], frozen=True, tag="participant.list"):
    """List who takes part: admins first, a channel's readers last and only to its admins.

    Reading changes nothing.
    """

    conversation: ConversationId
    limit: Annotated[int, Meta(ge=1, le=100)] = 100
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


class ParticipantAdd(Command[ParticipantsAdded], frozen=True, tag="participant.add"):
    """Add people to a group, or readers to a channel, as its admin.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    users: Annotated[list[UserId], Meta(max_length=100)]


class ParticipantRemove(Command[Done], frozen=True, tag="participant.remove"):
    """Remove somebody from a group or channel, as its admin. Who is removed is told, and hears nothing more.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    user: UserId


class ParticipantPromote(Command[Done], frozen=True, tag="participant.promote"):
    """Make a participant an admin, as an admin.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    user: UserId


class ParticipantDemote(Command[Done], frozen=True, tag="participant.demote"):
    """Let an admin (yourself is allowed) be none any more, as an admin. The last one stays.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    user: UserId


class ParticipantSilence(Command[Done], frozen=True, tag="participant.silence"):
    """Let a participant write and react no more, or again, as an admin. Admins are not silenced.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    user: UserId
    on: bool = True


class MessageSend(Command[MessageSent], frozen=True, tag="message.send"):
    """Send a text message under an id of your choice (UUIDv7 advised).

    Repeating it stores nothing and gets the first answer again, for ever.
    """

    conversation: ConversationId
    message: MessageId
    content: Content
    reply_to: MessageId | None = None
    """A message in the same conversation."""


class MessageEdit(Command[Done], frozen=True, tag="message.edit"):
    """Change the text of a message of yours.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    message: MessageId
    content: Content


class MessageDelete(Command[Done], frozen=True, tag="message.delete"):
    """Delete a message for all: yours, or anyone's where you are admin of a group or channel.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    message: MessageId


class MessageHide(Command[Done], frozen=True, tag="message.hide"):
    """Delete a message for yourself: the others go on seeing it. Your other devices hear ``hidden``.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    message: MessageId


class MessageHistory(Command[HistoryPage], frozen=True, tag="message.history"):
    """Read messages by ``seq``: the last ones, those before a ``seq``, or those after one.

    Reading changes nothing.
    """

    conversation: ConversationId
    before: Seq | None = None
    after: Seq | None = None
    """Not together with ``before``."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 50


class ReactionSet(Command[Done], frozen=True, tag="reaction.set"):
    """Put your emoji on a message, or take it away.

    Repeating it changes nothing.
    """

    conversation: ConversationId
    message: MessageId
    emoji: Emoji
    on: bool = True


class DeliveryAck(Command[Watermarks], frozen=True, tag="delivery.ack"):
    """Say that you have received every message up to ``seq``.

    Repeating it, or naming a lower ``seq``, changes nothing.
    """

    conversation: ConversationId
    seq: Seq


class MessageRead(Command[Watermarks], frozen=True, tag="message.read"):
    """Say that you have read, and so received, every message up to ``seq``.

    Repeating it, or naming a lower ``seq``, changes nothing.
    """

    conversation: ConversationId
    seq: Seq


class TypingSet(Command[Done], frozen=True, tag="typing.set"):
    """Tell the others that you are typing; say so again every few seconds while you are.

    Too often is dropped in silence.
    """

    conversation: ConversationId
    kind: TypingKind = "text"


class ContactBlock(Command[Done], frozen=True, tag="contact.block"):
    """Block somebody, or no longer: direct messages from there are kept from you, and the sender cannot tell.

    Repeating it changes nothing. What was kept from you stays so.
    """

    user: UserId
    on: bool = True
    reason: Name | None = None
    """For yourself; nobody else is told."""


WITHOUT_SESSION: frozenset[type[Command[Any]]] = frozenset(
    {AccountRegister, AccountVerify, AccountLogin, TokenRefresh, PasswordForget, PasswordReset}
)
"""Commands for those who have no session yet, or no longer; no token counts with them."""


def result_of(command: type[Command[R_co]]) -> type[R_co]:
    """Return the struct that the ``ok`` of this command holds."""
    (base,) = command.__orig_bases__  # type: ignore[attr-defined]  # set by Generic on every subclass
    (result,) = get_args(base)
    return result  # type: ignore[no-any-return]  # the argument of Command[...]
