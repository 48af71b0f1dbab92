"""One WebSocket: the sans-I/O core of websockets on a transport.

Rules of this file:

* No task and no timer per connection: writes leave by the ``Outbox``, time passes by the ``Heartbeat``.
* A ``Connection`` exists from the answered handshake on. ``opened`` and ``closed`` are each called exactly once.
* After a close frame, sent or received, nothing is handed to the service and nothing more is sent.
* What a client does not read is bounded by three lanes: at half of the budget what is momentary is dropped and of what
  is state only the last is kept; at three quarters the durable events collapse into one ``behind``, and the client asks
  for them when it can; at the whole of it, or after ``SLOW_S``, the connection ends.
"""

import asyncio
import logging
import math
import random
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, cast
from uuid import UUID

from msgspec import Struct
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import SEND_EOF, Event, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from echo_ws_protocol.codec import CODECS, JSON, Codec
from echo_ws_protocol.errors import CloseCode, ErrorCode
from echo_ws_protocol.events import Behind, Expiring
from echo_ws_protocol.replies import Failure, Reply

from .frame import wire
from .handshake import Head, Refusal
from .heartbeat import NOWHERE, Heartbeat
from .limits import Bucket, Rate, rate

if TYPE_CHECKING:
    from .admission import Admission
    from .session import Session
    from .settings import Settings

_log = logging.getLogger(__name__)
_websockets_log = logging.getLogger("websockets.server")
_websockets_log.setLevel(logging.ERROR)  # else every open and every close is formatted and thrown away

CLOSE_S: Final = 3.0
SLOW_S: Final = 15.0
"""Seconds in which a client that reads too slowly may catch up."""

_MOMENTARY_SHARE, _DURABLE_SHARE = 1 / 2, 3 / 4
_MAX_STATES: Final = 256
_OPEN, _CLOSING, _CLOSED = State.OPEN, State.CLOSING, State.CLOSED
_MAX_FRAME_BYTES_UNAUTHENTICATED: Final = 4096
_MAX_FRAGMENTS: Final = 64
_CONTROL_FRAMES: Final = Rate(0.1, 5.0)
_MAX_REASON_BYTES: Final = 123
_PING: Final = b"\x89\x00"
_CONTROL: Final = frozenset({Opcode.PING, Opcode.PONG})


class Service(Protocol):
    """What a connection needs of the server."""

    settings: "Settings"

    def opened(self, connection: "Connection") -> None:
        """Take note of a new connection; ``bearer`` holds its token, if it brought one."""

    def received(self, connection: "Connection", payload: bytes) -> None:
        """Take one complete message of the right kind."""

    def fell_behind(self, connection: "Connection") -> None:
        """Tell it no more events, until it asks for them."""

    def closed(self, connection: "Connection") -> None:
        """Forget the connection."""

    def refused(self, status: int) -> None:
        """Take note of a handshake or request that was turned away."""


class Outbox:
    """The connections that have something to say in this turn of the loop; at its end each makes one write of it.

    uvloop does not do this for us: it tries to send at once on every ``write`` (0.23, ``UVStream._initiate_write``)
    and gathers only what a full socket has refused.
    """

    __slots__ = ("_call_soon", "limit", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self.limit = limit
        """Bytes that may wait for one client."""
        self.waiting: list[Connection] = []
        """Append to it only what has nothing pending, and call ``schedule`` if it was empty."""
        self._call_soon = loop.call_soon

    def schedule(self) -> None:
        self._call_soon(self.flush)

    def flush(self) -> None:
        waiting, self.waiting = self.waiting, []
        for connection in waiting:
            try:
                connection.flush()
            except Exception:  # noqa: BLE001  # the others are not to suffer
                _log.exception("a write failed")
                connection.abort()


@dataclass(frozen=True, slots=True)
class Commons:
    """What the connections of one worker share."""

    service: Service
    admission: "Admission"
    heartbeat: Heartbeat
    outbox: Outbox


class Connection(asyncio.Protocol):
    """See the rules on top. ``last_seen`` is the loop's time of the last bytes received."""

    __slots__ = (
        "_bad",
        "_clogged_at",
        "_commons",
        "_control",
        "_held",
        "_holds",
        "_is_admitted",
        "_is_behind",
        "_is_parting",
        "_is_text",
        "_outbox",
        "_parts",
        "_paused",
        "_pending",
        "_state",
        "_states",
        "_transport",
        "_ws",
        "address",
        "bearer",
        "close_code",
        "codec",
        "id",
        "last_seen",
        "opened_at",
        "session",
        "slot",
        "user_agent",
    )

    def __init__(
        self,
        commons: Commons,
        transport: asyncio.Transport,
        codec: Codec,
        *,
        address: str,
        user_agent: str,
        bearer: str | None,
    ) -> None:
        self.id = secrets.token_hex(6)
        self.address = sys.intern(address)
        self.user_agent = sys.intern(user_agent)
        self.bearer = bearer
        self.codec = codec
        self.session: Session | None = None
        self.opened_at = self.last_seen = commons.heartbeat.time()
        self.close_code = 1006
        self.slot = NOWHERE
        self._commons = commons
        self._outbox = commons.outbox
        self._transport = transport
        transport.set_write_buffer_limits(high=int(commons.outbox.limit * _MOMENTARY_SHARE))
        # Born open: the handshake's parser, which keeps the request for ever, is another object.
        self._ws = ServerProtocol(state=_OPEN, max_size=_MAX_FRAME_BYTES_UNAUTHENTICATED, logger=_websockets_log)
        self._state = _OPEN
        self._is_admitted = False
        self._bad: Bucket | None = None
        self._control: Bucket | None = None
        self._paused = False
        self._parts: list[bytes] | None = None
        self._is_text = False
        self._held: list[Event] | None = None
        self._pending: bytes | list[bytes] | None = None
        self._holds = 0
        self._clogged_at = 0.0
        self._is_behind = False
        self._is_parting = False
        self._states: dict[object, bytes] | None = None

    def start(self) -> None:
        """Begin, the handshake being answered."""
        settings = self._commons.service.settings
        self._commons.heartbeat.put(self, min(settings.auth_timeout_s, self._until_ping(settings)))
        self._call_service(self._commons.service.opened)

    def authenticated(self, session: "Session") -> None:
        """Lift the limits for strangers; without effect on a connection that is gone."""
        self.session = session
        self.bearer = None
        if self._state is not _CLOSED and not self._is_admitted:
            self._is_admitted = True
            self._commons.admission.authenticate(self.address)
            settings = self._commons.service.settings
            self._ws.max_message_size = settings.max_frame_bytes
            self._look_within(self._until_ping(settings))

    def renewed(self) -> None:
        if self._state is _OPEN:
            self._commons.heartbeat.put(self, 0)

    @property
    def user(self) -> UUID:
        """Whose it is, once it has a session."""
        assert self.session
        return self.session.user

    @property
    def is_open(self) -> bool:
        """Whether it can still be written to; between open and closed lies the goodbye."""
        return self._state is _OPEN

    @property
    def is_closed(self) -> bool:
        return self._state is _CLOSED

    # Sending.

    def write(self, wire: bytes) -> None:
        """Send a ready-made frame at the end of this turn of the loop; in silence nothing when closing."""
        pending = self._pending
        if pending is None:
            if self._state is _OPEN:
                self._pending = wire
                waiting = self._outbox.waiting
                if not waiting:
                    self._outbox.schedule()
                waiting.append(self)
        elif isinstance(pending, list):
            pending.append(wire)
        else:
            self._pending = [pending, wire]

    def mention(self, wire: bytes, key: object) -> None:
        """Send what may be lost; of what has a ``key``, the last one is kept while the client reads too slowly."""
        if not self._clogged_at:
            self.write(wire)
        elif key is not None and not self._is_behind:
            self._keep_state(key, wire)

    def send(self, value: Struct) -> None:
        """Send what concerns this connection alone; it does not wait for what is held."""
        frame = wire(self.codec.encode(value), text=self.codec.is_text)
        if not self._holds:
            self.write(frame)
        elif self._state is _OPEN:
            self._transport.write(frame)

    def hold(self) -> None:
        """Keep events back until ``release``, which must follow: what is about to be sent comes before them."""
        self.flush()
        self._holds += 1
        if self._holds == 1 and self._state is _OPEN:
            self._pending = []

    def release(self) -> None:
        if self._holds:
            self._holds -= 1
            self.flush()

    def reject(self, reply: Reply) -> None:
        """Answer a message that is no command, or none now; more than so many a minute end the connection."""
        limit = rate(self._commons.service.settings.bad_frames_per_min, seconds=60)
        self._bad = self._bad or (Bucket(limit) if limit else None)
        if self._bad and self._bad.wait_s(self.last_seen):
            self._fail(CloseCode.POLICY_VIOLATION, "too many messages that are no commands")
        else:
            self.send(reply)

    def ping(self) -> None:
        if self._state is _OPEN:
            self._transport.write(_PING)

    def flush(self) -> None:
        if self._holds:
            return
        pending, self._pending = self._pending, None
        if not pending or self._state is _CLOSED:
            return
        if isinstance(pending, bytes):
            self._transport.write(pending)
        else:
            self._transport.writelines(pending)  # refers to frames that many share, where a join would copy them
        if self._clogged_at:
            self._watch_budget()

    # A client that reads too slowly. The transport tells, which costs a delivery nothing.

    def pause_writing(self) -> None:
        self._clogged_at = self._commons.heartbeat.time()
        self._look_within(SLOW_S)
        self.pause_reading()  # who does not read gets no more answers

    def resume_writing(self) -> None:
        self._clogged_at = 0.0
        states, self._states = self._states, None
        if self._is_behind:
            self._is_behind = False
            self.send(Behind())
        for state in (states or {}).values():
            self.write(state)
        self.resume_reading()

    def _watch_budget(self) -> None:
        waiting, budget = self._transport.get_write_buffer_size(), self._outbox.limit
        if waiting > budget * _DURABLE_SHARE and not self._is_behind:
            self._fall_behind()
        elif waiting > budget:
            self._cut()

    def _keep_state(self, key: object, wire: bytes) -> None:
        states = self._states = self._states or {}
        states[key] = wire
        if len(states) > _MAX_STATES:
            self._fall_behind()

    def _fall_behind(self) -> None:
        self._is_behind = True
        self._states = None
        self._call_service(self._commons.service.fell_behind)

    def _cut(self) -> None:
        self.close(CloseCode.SLOW, "too much is waiting to be read; come back and catch up")

    # Closing.

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye and wait for the other to do so, not longer than ``CLOSE_S``."""
        if self._state is not _OPEN:
            return
        self._state = _CLOSING
        self.close_code = code
        self._holds = 0
        self._commons.heartbeat.put(self, CLOSE_S)
        self.flush()
        if self._ws.state is _OPEN:
            self._ws.send_close(code, _cut(reason))
            self._transport.write(b"".join(self._ws.data_to_send()))
        if self._paused:
            self._paused, self._held = False, None
            self._transport.resume_reading()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._transport.abort()

    def pause_reading(self) -> None:
        """Leave further messages with the client; those read already are held back."""
        if not self._paused and self._state is _OPEN:
            self._paused = True
            self._transport.pause_reading()

    def stop_reading(self) -> None:
        """Read nothing more: the end is near."""
        self.pause_reading()
        self._is_parting = True

    def resume_reading(self) -> None:
        if not self._paused or self._clogged_at or self._is_parting:
            return
        self._paused = False
        self.last_seen = self._commons.heartbeat.time()  # what it said meanwhile was not read
        held, self._held = self._held, None
        if held:
            self._deliver(held)
        if not self._paused:
            self._transport.resume_reading()

    # Called by the loop.

    def data_received(self, data: bytes) -> None:
        self.last_seen = self._commons.heartbeat.time()
        ws = self._ws
        ws.receive_data(data)
        if ws.events:
            self._deliver(ws.events_received())
        if ws.writes:
            self._answer(ws.data_to_send())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._state = _CLOSED
        self._pending = self._held = self._parts = self._states = None
        self._ws.parser.close()  # its frame refers to its owner: a cycle
        self._commons.heartbeat.take(self)
        self._commons.admission.leave(self.address, authenticated=self._is_admitted)
        self._call_service(self._commons.service.closed)

    def look(self, now: float) -> float | None:
        """Be looked at by the heartbeat: ping, or end what takes too long."""
        settings = self._commons.service.settings
        if self._state is not _OPEN:
            self._transport.abort()
            return None
        until_dead = 2 * settings.heartbeat_s - self._silent_for(now)
        if until_dead <= 0:
            self.close(CloseCode.TIMEOUT, "nothing was heard for two heartbeats")
            self._transport.close()
            return None
        until_slow = self._clogged_at + SLOW_S - now if self._clogged_at else math.inf
        if until_slow <= 0:
            self._cut()
            return None
        until_late = math.inf if self._is_admitted else self.opened_at + settings.auth_timeout_s - now
        if until_late <= 0:
            self.close(CloseCode.TIMEOUT, f"no session was started within {settings.auth_timeout_s:g} s")
            return None
        until_due = self._mind_token()
        if until_due <= 0:
            self.close(CloseCode.TOKEN_EXPIRED, "the token has run out; come back with a fresh one")
            return None
        self.ping()
        return min(self._until_ping(settings), until_dead, until_late, until_slow, until_due)

    def _look_within(self, delay_s: float) -> None:
        until_due = self.session.until_due(datetime.now(UTC)) if self.session else math.inf
        self._commons.heartbeat.put(self, min(delay_s, until_due))

    def _mind_token(self) -> float:
        """Warn before the session's token ends; return in how many seconds to look again, 0 or less at its end."""
        if self.session is None:
            return math.inf
        today = datetime.now(UTC)
        if self.session.is_to_be_warned(today):
            self.send(Expiring(at=self.session.expires_at))
        return self.session.until_due(today)

    # Receiving.

    def _deliver(self, events: Sequence[Event]) -> None:
        for position, event in enumerate(events):
            if self._state is not _OPEN:
                return
            if self._paused:
                self._held = [*(self._held or ()), *events[position:]]
                return
            self._frame(cast("Frame", event))

    def _frame(self, frame: Frame) -> None:
        if frame.opcode in _CONTROL:
            self._bear_control()
        elif frame.opcode is not Opcode.CLOSE:
            self._part(frame)

    def _part(self, frame: Frame) -> None:
        """Put a message together; the library sees to the order of its fragments and to their size."""
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
            if frame.fin:
                self._message(bytes(frame.data))
                return
            self._parts = []
        parts = cast("list[bytes]", self._parts)
        parts.append(bytes(frame.data))
        if len(parts) > _MAX_FRAGMENTS:
            self._fail(CloseCode.TOO_BIG, f"a message of more than {_MAX_FRAGMENTS} fragments")
        elif frame.fin:
            self._parts = None
            self._message(b"".join(parts))

    def _message(self, payload: bytes) -> None:
        if self._is_text and not _is_utf8(payload):
            self._fail(CloseCode.INVALID_TEXT, "a text message that is not UTF-8")
        elif self._is_text is not self.codec.is_text:
            kind = "text" if self.codec.is_text else "binary"
            self.reject(_failed(ErrorCode.WRONG_FRAME, f"{self.codec.subprotocol} is spoken here: send {kind} frames"))
        else:
            try:
                self._commons.service.received(self, payload)
            except Exception as error:  # noqa: BLE001  # nothing may reach the loop
                self._blame_service(error)

    def _bear_control(self) -> None:
        self._control = self._control or Bucket(_CONTROL_FRAMES)
        if self._control.wait_s(self.last_seen):
            self._ws.writes.clear()  # pongs that nobody reads
            self._fail(CloseCode.POLICY_VIOLATION, "too many control frames")

    def _answer(self, writes: list[bytes]) -> None:
        """Send what the protocol wants sent: pongs, and the last words."""
        self.flush()
        self._transport.write(b"".join(writes))
        if SEND_EOF in writes:
            self._end()

    def _fail(self, code: CloseCode, reason: str) -> None:
        if self._ws.state is not _OPEN:
            self._transport.abort()
            return
        self._ws.fail(code, reason)
        self._answer(self._ws.data_to_send())

    def _end(self) -> None:
        """Close after the last words. Without the other's goodbye only half: a reset would take ours from it."""
        self._state = _CLOSING
        self._commons.heartbeat.put(self, CLOSE_S)
        if self._ws.close_sent is not None:
            self.close_code = int(self._ws.close_sent.code)
        if self._ws.close_rcvd is not None:
            self._transport.close()
        else:
            self._transport.write_eof()

    def _silent_for(self, now: float) -> float:
        return 0.0 if self._paused else now - max(self.last_seen, self._commons.heartbeat.awake_since)

    def _until_ping(self, settings: "Settings") -> float:
        return settings.heartbeat_s * random.uniform(0.8, 1.0)  # noqa: S311  # spreads the load

    def _call_service(self, call: Callable[["Connection"], None]) -> None:
        try:
            call(self)
        except Exception as error:  # noqa: BLE001  # nothing may reach the loop
            self._blame_service(error)

    def _blame_service(self, error: Exception) -> None:
        _log.error("connection %s failed", self.id, exc_info=error)
        self.close(CloseCode.INTERNAL, "a fault of the server; it is logged")


class _Handshake(ServerProtocol):
    """A callback in place of the method would be bound to the object that it is stored in: a cycle."""

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        for name in subprotocols:
            if name in CODECS:
                return name
        if subprotocols:
            raise NegotiationError(f"none of these subprotocols is spoken here; offer {' or '.join(CODECS)}")
        return None


def shake_hands(head: Head) -> Refusal | tuple[bytes, Codec]:
    """Return the answer that opens the WebSocket and the codec agreed on, or why there is none."""
    try:
        request = Request(head.target, Headers(head.headers), head.method, head.version)
    except InvalidHeader as error:
        return Refusal(HTTPStatus.BAD_REQUEST, str(error))
    ws = _Handshake(logger=_websockets_log)
    response = ws.accept(request)
    ws.parser.close()  # its frame refers to its owner: a cycle
    if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
        return response.serialize(), CODECS[ws.subprotocol] if ws.subprotocol else JSON
    kept = tuple((name, value) for name, value in response.headers.raw_items() if name in {"Allow", "Upgrade"})
    return Refusal(response.status_code, bytes(response.body).decode().strip(), kept)


def _failed(code: ErrorCode, message: str) -> Reply:
    return Reply(id=0, error=Failure(code, "rejected", message))


def _is_utf8(payload: bytes) -> bool:
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _cut(reason: str) -> str:
    return reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
