"""Everything a client may ask for: one struct a command.

``Command[Done]`` names what its ``ok`` holds. The first line of a docstring says what the client asks for, the second
what repeating it does.
"""

from typing import Annotated, Any, Generic, TypeVar, get_args

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

from .metadata import checked
from .replies import (
    AccountCreated,
    CodeSent,
    ConversationCreated,
    ConversationDetails,
    ConversationPage,
    Done,
    EditPage,
    HistoryPage,
    LoggedIn,
    MentionPage,
    MessageSent,
    PinPage,
    ReactionPage,
    Resumed,
    SessionPage,
    SessionRefreshed,
    SessionsRevoked,
    ThreadDetails,
    ThreadPage,
    VoterPage,
    Watermarks,
)
from .types import (
    Caption,
    Code,
    ConversationId,
    ConversationType,
    DeviceId,
    DisplayName,
    Email,
    Emoji,
    MessageId,
    MessageType,
    Name,
    NewPassword,
    Option,
    Password,
    Phone,
    Platform,
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
    """The others. A direct conversation takes exactly one (yourself is allowed)."""
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


class MessageSend(Command[MessageSent], frozen=True, tag="message.send"):
    """Send a message under an id of your choice (UUIDv7 advised).

    Repeating it stores nothing and gets the first answer again, for ever.
    """

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

    conversation: ConversationId
    message: MessageId
    """The id of the copy."""
    source: MessageId
    """The message to be copied, from whichever conversation."""


class MessageEdit(Command[Done], frozen=True, tag="message.edit"):
    """Change the text of a message of yours, or the caption of an image, a video, an audio or a document.

    Repeating it changes nothing. After some time (48 hours, if the operator chose no other) it is too late.
    """

    conversation: ConversationId
    message: MessageId
    content: Caption
    """A caption may be empty, a text may not."""


class MessageEdits(Command[EditPage], frozen=True, tag="message.edits"):
    """Read what a message said before it was edited: the last 100 versions.

    Reading changes nothing.
    """

    conversation: ConversationId
    message: MessageId


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


class MessagePin(Command[Done], frozen=True, tag="message.pin"):
    """Pin a message for everyone, or no longer: as an admin of a group or channel, or in a direct conversation.

    Repeating it changes nothing. There are at most 50 in a conversation.
    """

    conversation: ConversationId
    message: MessageId
    on: bool = True


class MessagePins(Command[PinPage], frozen=True, tag="message.pins"):
    """Read the pinned messages of a conversation, the one pinned last first.

    Reading changes nothing.
    """

    conversation: ConversationId


class MessageMentions(Command[MentionPage], frozen=True, tag="message.mentions"):
    """Read the messages in which you are named, of all conversations, the last one first.

    Reading changes nothing.
    """

    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    after: Annotated[str, Meta(max_length=100)] | None = None
    """``next`` of the page before."""


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


class ReactionList(Command[ReactionPage], frozen=True, tag="reaction.list"):
    """Read who put which emoji on a message, the first one first.

    Reading changes nothing.
    """

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

    conversation: ConversationId
    message: MessageId
    options: Annotated[list[Option], Meta(max_length=10)]
    """By their places in ``metadata.options``, from 0: one, or several in a poll that is ``multiple``, or none."""


class PollVoters(Command[VoterPage], frozen=True, tag="poll.voters"):
    """Read who chose an option of a poll, the first one first. An anonymous poll does not tell.

    Reading changes nothing.
    """

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

    conversation: ConversationId
    message: MessageId
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
