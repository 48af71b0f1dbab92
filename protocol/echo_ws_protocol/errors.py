"""Error codes and close codes: what happened, and whether to try again."""

from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """Why a command failed. New codes may come; treat an unknown one by its ``outcome``."""

    BAD_JSON = "bad_json"
    """The frame is not JSON."""
    BAD_MSGPACK = "bad_msgpack"
    """The frame is not MessagePack."""
    BAD_FIELD = "bad_field"
    """A field is missing, unknown, of the wrong type or outside its limits; ``field`` says which."""
    UNKNOWN_OP = "unknown_op"
    """There is no such command."""
    WRONG_FRAME = "wrong_frame"
    """Text on a msgpack connection or binary on a json one."""
    UNAUTHENTICATED = "unauthenticated"
    """Start a session first, or the token is not (or no longer) good."""
    CODE_NEEDED = "code_needed"
    """The password is right, and the account asks for a code as well: send the same again with it."""
    PHONE_NEEDED = "phone_needed"
    """The identity is proven and no account has it: register with a phone number, or link it from inside yours."""
    ALREADY_AUTHENTICATED = "already_authenticated"
    """A session was started on this connection before."""
    NOT_FOUND = "not_found"
    """It does not exist, or you may not see it."""
    FORBIDDEN = "forbidden"
    """You can see it, and may not do this to it."""
    ID_CONFLICT = "id_conflict"
    """The id is in use for something else; choose another."""
    RATE_LIMITED = "rate_limited"
    """Too many commands; try again after ``retry_after_ms``."""
    BUSY = "busy"
    """Not done because of load or a dependency; try again after ``retry_after_ms``."""
    UNKNOWN = "unknown"
    """No verdict came back; ask again with the same id."""
    INTERNAL = "internal"
    """A fault of the server; it is logged."""

    @classmethod
    def _missing_(cls, value: object) -> "ErrorCode | None":
        """Keep a code that is newer than this client as it came."""
        if not isinstance(value, str):
            return None
        code = str.__new__(cls, value)
        code._name_, code._value_ = "NEWER", value
        return code


HTTP_STATUS = {
    ErrorCode.BAD_JSON: 400,
    ErrorCode.BAD_MSGPACK: 400,
    ErrorCode.BAD_FIELD: 400,
    ErrorCode.UNKNOWN_OP: 404,
    ErrorCode.WRONG_FRAME: 400,
    ErrorCode.UNAUTHENTICATED: 401,
    ErrorCode.CODE_NEEDED: 401,
    ErrorCode.PHONE_NEEDED: 401,
    ErrorCode.ALREADY_AUTHENTICATED: 409,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.ID_CONFLICT: 409,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.BUSY: 503,
    ErrorCode.UNKNOWN: 503,
    ErrorCode.INTERNAL: 500,
}
"""What ``POST /v1/{command}`` answers."""


class CloseCode(IntEnum):
    """Why the server closed. 1000, 1001 and 4000-4499 come back, the others do not."""

    NORMAL = 1000
    """Done."""
    GOING_AWAY = 1001
    """The server stops; come back."""
    PROTOCOL_ERROR = 1002
    """Not WebSocket as RFC 6455 wants it."""
    UNSUPPORTED_DATA = 1003
    """A frame of a kind that this server does not take."""
    INVALID_TEXT = 1007
    """A text frame that is not UTF-8."""
    POLICY_VIOLATION = 1008
    """Too many control frames or bad messages."""
    TOO_BIG = 1009
    """A message over the limit of size or fragments."""
    DRAIN = 4000
    """The server is being replaced; what was not answered was not done. Come back after ``retry_after_ms``."""
    SLOW = 4001
    """The client did not read; come back and catch up."""
    INTERNAL = 4002
    """A fault of the server; come back."""
    TOKEN_EXPIRED = 4003
    """The token ran out; come back with a fresh one. ``session.refresh`` in time keeps the connection."""
    RATE = 4004
    """Too many commands in spite of ``rate_limited``; come back later."""
    TIMEOUT = 4005
    """No pong, or no session within the time for it; come back."""
    BUSY = 4006
    """The server is full; come back after ``retry_after_ms``."""
    UNAUTHENTICATED = 4500
    """The token is not good, or the session was revoked; sign in again."""
    FORBIDDEN = 4501
    """Not allowed, for instance by ``Origin``."""
    REPLACED = 4502
    """A newer connection of the same user took this one's place."""
    ABUSE = 4503
    """Cut off for abuse."""


def may_come_back(code: int) -> bool:
    """Tell whether a client closed with ``code`` should reconnect. 1005 and 1006 are lost connections: yes."""
    return code in {1000, 1001, 1005, 1006, 1011, 1012, 1013, 1014} or 4000 <= code < 4500  # noqa: PLR2004
