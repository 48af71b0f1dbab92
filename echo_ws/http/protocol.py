"""HTTP and WebSocket on one port: uvicorn's HTTP protocol with the limits that it lacks.

uvicorn would rebuild the head of an upgrade as text, always as HTTP/1.1, and have it parsed again; instead
``HttpProtocol`` hands the parsed head over, and no ``Connection`` exists before the handshake is answered.
"""

import asyncio
import contextlib
import math
import socket
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import httptools
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from echo_ws import handshake, memory
from echo_ws.admission import Admission
from echo_ws.connection import CLOSE_S, Commons, Connection, Outbox, Service, shake_hands
from echo_ws.handshake import Head, Refusal
from echo_ws.heartbeat import NOWHERE, Heartbeat, tick_for
from echo_ws.limits import rate
from echo_ws_protocol.errors import CloseCode

BACKLOG: Final = 4096
MAX_HEAD_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 100
MAX_BODY_BYTES: Final = 1024 * 1024
_BODY_TIMEOUTS = 6  # the time for a body is so many times that for a head
_USER_TIMEOUT_MS = 15_000
_FINISH_STEP_S = 0.02

_WANTS_UPGRADE = Refusal(
    HTTPStatus.UPGRADE_REQUIRED,
    f"{handshake.PATH} speaks WebSocket: connect with a WebSocket client, or use POST /v1/{{command}}",
    (("Upgrade", "websocket"),),
)
_TOO_LARGE_HEAD = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    f"the head of a request has at most {MAX_HEADERS} headers and {MAX_HEAD_BYTES:,} bytes",
)
_TOO_LARGE_BODY = Refusal(
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body of a request has at most {MAX_BODY_BYTES:,} bytes"
)
_TOO_SLOW = Refusal(HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive in time")
_NOT_HTTP = Refusal(HTTPStatus.BAD_REQUEST, "this is not an HTTP/1.1 request")


class HttpProtocol(HttpToolsProtocol):
    """From accept to the end of HTTP on a connection. Its time is the heartbeat's: ``_deadline``, or none when idle."""

    def __init__(self, listener: "Listener") -> None:
        super().__init__(config=listener.config, server_state=listener.state, app_state={})
        self.slot = NOWHERE
        self._listener = listener
        self._commons = listener.commons
        self._refusal: Refusal | None = None
        self._peer = ""
        self._is_answered = False  # refused: what else arrives is thrown away
        self._is_head_done = False
        self._is_silent = True
        self._chunk_bytes = self._head_bytes = self._body_bytes = 0
        self._deadline = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        host, port = self.client or ("", 0)
        self._peer = handshake.plain_address(host) or host
        self.client = (self._peer, port)
        self._refusal = self._commons.admission.enter(self._peer)
        if self._refusal is not None and self._commons.admission.is_overrun:
            transport.abort()
            return
        self._allow(1)
        self._commons.heartbeat.put(self, self._listener.handshake_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._commons.heartbeat.take(self)
        if self._refusal is None:
            self._commons.admission.leave(self._peer, authenticated=False)
        else:
            self._commons.admission.leave_refused()

    def data_received(self, data: bytes) -> None:
        if self._is_answered:
            return
        self._is_silent = False
        self._unset_keepalive_if_required()
        if self._deadline == math.inf:
            self._begin()
        self._chunk_bytes = len(data)
        self._feed(data)
        if self._is_head_done or self._is_answered:
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE_HEAD)

    def abort(self) -> None:
        self.transport.abort()

    def look(self, now: float) -> float | None:
        """Be looked at by the heartbeat: end what takes too long."""
        if self._is_answered or self.transport.is_closing():
            self.transport.abort()
            return None
        if now < self._deadline:
            return min(self._deadline - now, self._listener.handshake_timeout_s)
        if self._is_silent:
            self.transport.abort()
        else:
            self._refuse(_TOO_SLOW)
        return None

    # Called by the parser.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_head_done = False
        self._body_bytes = 0
        self._allow(1)

    def on_headers_complete(self) -> None:
        self._is_head_done = True
        self._allow(_BODY_TIMEOUTS)
        refusal = self._refusal or self._judge()
        if refusal is not None:
            self._refuse(refusal)
            return
        peer, port = self.client or ("", 0)
        forwarded = [value.decode("latin-1") for name, value in self.headers if name == b"x-forwarded-for"]
        address = handshake.client_address(peer, forwarded, self._commons.admission.trusted)
        self.scope["client"] = (address, port if address == peer else 0)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._is_answered:
            return
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._refuse(_TOO_LARGE_BODY)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._deadline = math.inf
        self._head_bytes = -self._chunk_bytes  # what follows in this chunk may be the head of the next
        if not self._is_answered:
            super().on_message_complete()

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._is_answered and self._should_upgrade():
                self._hand_over(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            if not self._is_answered:
                self._refuse(_NOT_HTTP)

    def _judge(self) -> Refusal | None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if len(self.headers) > MAX_HEADERS or size > MAX_HEAD_BYTES:
            return _TOO_LARGE_HEAD
        length = next((value for name, value in self.headers if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            return _TOO_LARGE_BODY
        path = self.url.partition(b"?")[0]
        if path == handshake.PATH.encode() and not (self.parser.should_upgrade() and self._should_upgrade()):
            return _WANTS_UPGRADE
        return None

    def _hand_over(self, rest: bytes) -> None:
        """Answer the handshake, and let a ``Connection`` take the transport."""
        head = Head(
            self.scope["method"],
            self.url.decode("latin-1"),
            f"HTTP/{self.scope['http_version']}",
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers],
        )
        address = (self.scope["client"] or (self._peer, 0))[0]
        refusal = handshake.refusal(head, self._commons.service.settings.allowed_origins)
        answer = refusal or self._commons.admission.shake_hands(self._commons.heartbeat.time()) or shake_hands(head)
        if not isinstance(answer, Refusal) and address != self._peer:
            answer = self._commons.admission.rename(self._peer, address) or answer
        if isinstance(answer, Refusal):
            self._refuse(answer)
            return
        response, codec = answer
        self.connections.discard(self)
        self._commons.heartbeat.take(self)
        self.parser = None  # type: ignore[assignment]  # refers to us by its callbacks: a cycle
        connection = Connection(
            self._commons,
            self.transport,
            codec,
            address=address,
            user_agent=handshake.user_agent(head),
            bearer=handshake.bearer(head),
        )
        self.transport.set_protocol(connection)
        self.transport.write(response)
        connection.start()
        if rest:
            connection.data_received(rest)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and close. Only our half at first: a reset would take the answer from a client that still sends."""
        self._is_answered = True
        self._commons.service.refused(refusal.status)
        self._commons.heartbeat.put(self, CLOSE_S)
        started = False
        if self.cycle is not None and not self.cycle.response_complete:
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        if self.transport.is_closing():
            return
        if not started:
            self.transport.write(_render(refusal, self.server_state.default_headers))
        self.transport.write_eof()

    def _begin(self) -> None:
        """Expect a head, or the line ends that may stand before one."""
        self._is_head_done = False
        self._head_bytes = 0
        self._allow(1)

    def _allow(self, times: int) -> None:
        self._deadline = self._commons.heartbeat.time() + times * self._listener.handshake_timeout_s


class Listener:
    """The open port of a worker, and all that its connections share."""

    def __init__(self, service: Service, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        settings = service.settings
        self.handshake_timeout_s = settings.handshake_timeout_s
        self.state = ServerState()
        self.config = Config(
            gently(app),
            http=HttpProtocol,
            ws=Connection,
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
        )
        self.config.load()
        trusted = handshake.networks(settings.trusted_networks)
        self.commons = Commons(
            service,
            Admission(
                max_connections=settings.max_connections,
                max_unauthenticated=settings.max_unauthenticated,
                trusted=trusted,
                handshakes=rate(settings.handshakes_per_s, burst=settings.handshakes_burst),
                max_memory_bytes=settings.max_memory_mib * 2**20,
            ),
            Heartbeat(
                loop, tick_for((settings.heartbeat_s, settings.auth_timeout_s, settings.handshake_timeout_s, CLOSE_S))
            ),
            Outbox(loop, settings.send_buffer_bytes),
        )
        self.slot = NOWHERE
        self._loop = loop
        self._server: asyncio.Server | None = None

    async def open(self, sock: socket.socket) -> None:
        # What is set on a listening socket, its connections inherit; TCP_NODELAY is set by the loop.
        if hasattr(socket, "TCP_USER_TIMEOUT") and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        self.look(self._loop.time())
        self.commons.heartbeat.put(self, 1)
        self.commons.heartbeat.start()
        self._server = await self._loop.create_server(lambda: HttpProtocol(self), sock=sock, backlog=BACKLOG)

    def look(self, now: float) -> float:  # noqa: ARG002
        """Keep the Date header, and know how much memory is used."""
        self.commons.admission.memory_bytes = memory.used_bytes()
        self.state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        return 1.0

    def close(self) -> None:
        """Accept nobody any more. Who is connected stays."""
        if self._server is not None:
            self._server.close()

    async def finish(self, timeout_s: float) -> None:
        """Let HTTP requests at work end and WebSockets say goodbye, then cut what is left, and stop the clock."""
        self.close()
        for item in self.commons.heartbeat:
            if isinstance(item, Connection):
                item.close(CloseCode.GOING_AWAY, "the server stops; come back")
        for connection in list(self.state.connections):
            connection.shutdown()
        deadline = self._loop.time() + timeout_s
        while self.commons.admission.connections and self._loop.time() < deadline:  # noqa: ASYNC110  # once in a life
            await asyncio.sleep(_FINISH_STEP_S)
        for item in self.commons.heartbeat:
            if isinstance(item, Connection | HttpProtocol):
                item.abort()
        self.commons.heartbeat.stop()


async def listen(service: Service, sock: socket.socket, app: ASGIApp) -> Listener:
    """Serve ``app`` and WebSockets on a bound socket."""
    listener = Listener(service, app, asyncio.get_running_loop())
    await listener.open(sock)
    return listener


def gently(app: ASGIApp) -> ASGIApp:
    """Return ``app`` begun once in a turn of the loop, so that sockets never wait for all requests that came at once.

    And without the traceback for every client that leaves, or is sent away, in the middle of a body.
    """
    turnstile = asyncio.Lock()

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        async with turnstile:
            await asyncio.sleep(0)
        with contextlib.suppress(ClientDisconnect):
            await app(scope, receive, send)

    return run


def _render(refusal: Refusal, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    status = HTTPStatus(refusal.status)
    body = f"{refusal.text}\n".encode()
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name.decode()}: {value.decode()}" for name, value in default_headers]
    lines += [f"{name}: {value}" for name, value in refusal.headers]
    lines += ["content-type: text/plain; charset=utf-8", f"content-length: {len(body)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
