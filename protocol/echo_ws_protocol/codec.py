"""Frames to structs and back, for both subprotocols."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Raw, Struct, json, msgpack

from . import commands, events, types
from .commands import Command
from .errors import ErrorCode
from .events import Event
from .replies import Failure, Reply
from .types import RequestId

T = TypeVar("T")

BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it cannot read; the last two are not its own."""


def op_of(struct: Struct | type[Struct]) -> str:
    """Return the ``op`` of a command, reply or event."""
    return str(struct.__struct_config__.tag)


COMMANDS: dict[str, type[Command[Any]]] = {
    op_of(cls): cls
    for cls in vars(commands).values()
    if isinstance(cls, type) and issubclass(cls, Command) and cls is not Command
}
"""Every command by its ``op``."""

EVENTS: dict[str, type[Event]] = {
    op_of(cls): cls
    for cls in vars(events).values()
    if isinstance(cls, type) and issubclass(cls, Event) and cls is not Event
}
"""Every event by its ``op``."""

AnyCommand: TypeAlias = Union[(*COMMANDS.values(),)]  # type: ignore[valid-type]  # made of a table, for msgspec
AnyEvent: TypeAlias = Union[(*EVENTS.values(),)]  # type: ignore[valid-type]  # made of a table, for msgspec
AnyServerFrame: TypeAlias = Union[(Reply, *EVENTS.values())]  # type: ignore[valid-type]  # made of a table, for msgspec


def _forms() -> dict[str, str]:
    """Return what a text has to be, by the pattern as msgspec names it: in the words of the types that have it."""
    forms = {
        repr(meta.pattern): f"{meta.description[:1].lower()}{meta.description[1:].rstrip('.')}"
        for alias in vars(types).values()
        if get_origin(alias) is Annotated
        for meta in get_args(alias)[1:]
        if meta.pattern and meta.description
    }
    return forms | {repr(pattern): words for pattern, words in types.SHARED_FORMS.items()}


FORMS = _forms()

_NO_COMMAND = "a command is an object with an `op`"


class _Envelope(Struct):
    """As much of a frame as is needed to tell whose it is and what it should be."""

    id: Raw = Raw()
    op: Raw = Raw()


class BadFrame(Exception):
    """A frame that is no command; ``failure`` is what to answer to request ``id``."""

    def __init__(self, id: int, failure: Failure) -> None:  # noqa: A002
        super().__init__(failure.message)
        self.id = id
        self.failure = failure


class Codec(NamedTuple):
    """One subprotocol. Decoders are safe to share; none keeps anything between calls."""

    name: Literal["json", "msgpack"]
    subprotocol: str
    is_text: bool
    syntax_error: ErrorCode
    encoder: json.Encoder | msgpack.Encoder
    decode: Callable[..., Any]
    command_decoder: json.Decoder[Any] | msgpack.Decoder[Any]
    server_decoder: json.Decoder[Any] | msgpack.Decoder[Any]
    envelope_decoder: json.Decoder[_Envelope] | msgpack.Decoder[_Envelope]

    def encode(self, value: Struct) -> bytes:
        return self.encoder.encode(value)

    def decode_command(self, frame: bytes) -> Command[Any]:
        """Return the command in a client's frame, or raise ``BadFrame`` and nothing else."""
        try:
            return self.command_decoder.decode(frame)  # type: ignore[no-any-return]  # the union of all commands
        except msgspec.ValidationError as error:
            raise self._explain(frame, error) from None
        except BROKEN:
            raise self._broken() from None

    def decode_server_frame(self, frame: bytes) -> Reply | Event | None:
        """Return the reply or event in a server's frame, or None for an event that is newer than this client."""
        try:
            return self.server_decoder.decode(frame)  # type: ignore[no-any-return]  # the union of all events and Reply
        except msgspec.ValidationError:
            op = self._read(self.envelope_decoder.decode(frame).op, str, "")
            if op in EVENTS or op == "reply":
                raise
            return None

    def decode_result(self, type_: type[T], raw: bytes) -> T:
        """Return what the ``ok`` of a reply holds."""
        result: T = self.decode(raw, type=type_)
        return result

    def _explain(self, frame: bytes, error: msgspec.ValidationError) -> BadFrame:
        """Say what is wrong with a frame, and whose request it was."""
        try:
            self.decode(frame, type=Raw)  # the first wrong field may stand before the end of what is well-formed
            envelope = self.envelope_decoder.decode(frame)
        except msgspec.ValidationError:
            return BadFrame(0, Failure(ErrorCode.BAD_FIELD, "rejected", _NO_COMMAND, "$"))
        except BROKEN:
            return self._broken()
        request = self._read(envelope.id, RequestId, 0)
        op = self._read(envelope.op, str, "")
        if op not in COMMANDS:
            wrong = "no such command" if op else _NO_COMMAND
            known = f"{wrong}; protocol/README.md lists them"
            return BadFrame(request, Failure(ErrorCode.UNKNOWN_OP, "rejected", known, "$.op"))
        return BadFrame(request, _bad_field(str(error)))

    def _broken(self) -> BadFrame:
        return BadFrame(0, Failure(self.syntax_error, "rejected", f"the frame is not valid {self.name}"))

    def _read(self, raw: Raw, type_: Any, default: T) -> T:
        try:
            return self.decode(raw, type=type_)  # type: ignore[no-any-return]  # the type of the default
        except BROKEN:
            return default


def _bad_field(error: str) -> Failure:
    """Turn msgspec's words into ours. They may hold names and values of the client's, of any length."""
    problem, _, path = error.partition(" - at `")
    problem, by_pattern, pattern = problem.partition(" matching regex ")
    if by_pattern:
        problem += f" of this form: {FORMS[pattern]}"
    path = path.rstrip("`").removeprefix("key` in `") or "$"
    if field := re.search(r"field `(\w{1,64})`", problem):  # unknown or missing: msgspec names only the object
        path += f".{field[1]}"
    return Failure(ErrorCode.BAD_FIELD, "rejected", problem[:1].lower() + problem[1:200], path[:200])


JSON = Codec(
    name="json",
    subprotocol="echo.v1.json",
    is_text=True,
    syntax_error=ErrorCode.BAD_JSON,
    encoder=json.Encoder(),
    decode=json.decode,
    command_decoder=json.Decoder(AnyCommand),
    server_decoder=json.Decoder(AnyServerFrame),
    envelope_decoder=json.Decoder(_Envelope),
)
MSGPACK = Codec(
    name="msgpack",
    subprotocol="echo.v1.msgpack",
    is_text=False,
    syntax_error=ErrorCode.BAD_MSGPACK,
    encoder=msgpack.Encoder(),
    decode=msgpack.decode,
    command_decoder=msgpack.Decoder(AnyCommand),
    server_decoder=msgpack.Decoder(AnyServerFrame),
    envelope_decoder=msgpack.Decoder(_Envelope),
)
CODECS = {codec.subprotocol: codec for codec in (JSON, MSGPACK)}
"""The codecs by subprotocol, the preferred one first."""
