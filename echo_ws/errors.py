"""What a handler raises, and what the client is told. The docstring of an error is its message."""

from typing import ClassVar

from echo_ws_db.pool import NoVerdict, Unavailable
from echo_ws_db.rows import Refusal, Refused
from echo_ws_protocol.errors import ErrorCode
from echo_ws_protocol.replies import Failure
from echo_ws_protocol.types import Outcome


class EchoError(Exception):
    """A fault of the server; it is logged."""

    code: ClassVar[ErrorCode] = ErrorCode.INTERNAL
    outcome: ClassVar[Outcome] = "rejected"

    def __init__(self, message: str = "", *, field: str | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().rstrip(".").lower())
        self.field = field
        self.retry_after_ms = retry_after_ms

    def failure(self) -> Failure:
        return Failure(self.code, self.outcome, str(self), self.field, self.retry_after_ms)


class BadField(EchoError):
    """A field has a value that does not go with the others."""

    code = ErrorCode.BAD_FIELD


class Unauthenticated(EchoError):
    """Start a session first."""

    code = ErrorCode.UNAUTHENTICATED


class CodeNeeded(EchoError):
    """This account asks for a code as well; send the same again with `verification`, then with the `code`."""

    code = ErrorCode.CODE_NEEDED


class PhoneNeeded(EchoError):
    """No account has this identity: get a code by `account.register`, then `oauth.register`; or link it from inside."""

    code = ErrorCode.PHONE_NEEDED


class AlreadyAuthenticated(EchoError):
    """A session was started on this connection before."""

    code = ErrorCode.ALREADY_AUTHENTICATED


class NotFound(EchoError):
    """It does not exist, or you may not see it."""

    code = ErrorCode.NOT_FOUND


class BadReply(NotFound):
    """There is no such message to reply to in this conversation, or you may not read it."""

    def __init__(self) -> None:
        super().__init__(field="$.reply_to")


class Forbidden(EchoError):
    """You may not do this."""

    code = ErrorCode.FORBIDDEN


class Silenced(Forbidden):
    """The admins have silenced you here."""


class AdminsOnly(Forbidden):
    """Only an admin of the conversation may do this."""


class IsAdmin(Forbidden):
    """An admin is not silenced; demote first."""


class NotYours(Forbidden):
    """It is the message of somebody else."""


class Fixed(Forbidden):
    """Copies, locations, contacts, stickers and polls stay as they are; delete it and send another."""


class Blocking(Forbidden):
    """You have blocked this user; unblock first."""


class Gone(Forbidden):
    """The account of the other one was deleted: nobody would read it."""


class TooLate(Forbidden):
    """It is too late to change this."""


class TooMany(Forbidden):
    """There are as many as may be; take one away first."""


class Anonymous(Forbidden):
    """The poll is anonymous."""


class EmptyText(BadField):
    """A text must say something."""

    def __init__(self) -> None:
        super().__init__(field="$.content")


class BadOption(BadField):
    """The poll has no such option, or takes one only."""

    def __init__(self) -> None:
        super().__init__(field="$.options")


class WrongType(Forbidden):
    """There is no such thing in conversations of this type."""


class LastAdmin(Forbidden):
    """You are the last admin; promote somebody first."""


class Full(Forbidden):
    """The group would have more participants than a group may have."""


class IdConflict(EchoError):
    """The id is in use; choose another."""

    code = ErrorCode.ID_CONFLICT


class RateLimited(EchoError):
    """Too many commands; send none of this kind before the time given."""

    code = ErrorCode.RATE_LIMITED
    outcome = "retry"

    def __init__(self, message: str = "", *, retry_after_ms: int, is_last: bool = False) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.is_last = is_last
        """Whether the client has been told so often enough."""


class Busy(EchoError):
    """Not done; try again after the time given."""

    code = ErrorCode.BUSY
    outcome = "retry"

    def __init__(self, message: str = "", *, retry_after_ms: int = 500) -> None:
        super().__init__(message, retry_after_ms=retry_after_ms)


class Unknown(EchoError):
    """No verdict came back from the database; ask again with the same id."""

    code = ErrorCode.UNKNOWN
    outcome = "unknown"


REFUSALS: dict[Refusal, type[EchoError]] = {
    "not_found": NotFound,
    "silenced": Silenced,
    "admins_only": AdminsOnly,
    "is_admin": IsAdmin,
    "not_yours": NotYours,
    "fixed": Fixed,
    "id_conflict": IdConflict,
    "bad_reply": BadReply,
    "blocking": Blocking,
    "gone": Gone,
    "busy": Busy,
    "empty": EmptyText,
    "too_late": TooLate,
    "too_many": TooMany,
    "bad_option": BadOption,
    "closed": TooLate,
    "anonymous": Anonymous,
    "wrong_type": WrongType,
    "last_admin": LastAdmin,
    "full": Full,
}


def as_echo_error(error: Exception) -> EchoError | None:
    """Return what the client is told of ``error``, or None for one that nobody foresaw."""
    match error:
        case EchoError():
            return error
        case Refused(outcome=outcome):
            return REFUSALS.get(outcome, Forbidden)()  # a later release, whose functions are in place, knows more
        case Unavailable():
            return Busy()
        case NoVerdict():
            return Unknown()
        case _:
            return None
