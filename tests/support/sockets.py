"""A listener with a service that echoes, and a client that may break every rule of RFC 6455."""

import asyncio
import base64
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast
from uuid import UUID

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from echo_ws.connection import Connection
from echo_ws.frame import wire
from echo_ws.http.protocol import Listener, listen
from echo_ws.session import Session
from echo_ws.settings import Settings

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
KEY = base64.b64encode(bytes(16)).decode()
UPGRADE = {
    "Host": "chat.example.org",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


class Echo:
    """Sends back what it gets; ``authenticate`` is the one command that it knows."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listener = cast("Listener", None)
        self.port = 0
        self.connections: list[Connection] = []
        self.come: asyncio.Queue[Connection] = asyncio.Queue()
        self.gone: asyncio.Queue[Connection] = asyncio.Queue()
        self.refusals: list[int] = []
        self.behind: list[Connection] = []

    def opened(self, connection: Connection) -> None:
        self.connections.append(connection)
        self.come.put_nowait(connection)

    def received(self, connection: Connection, payload: bytes) -> None:
        if payload == b"authenticate":
            connection.authenticated(Session(UUID(int=1), UUID(int=2), NEVER, 0, datetime.now(UTC)))
        if payload == b"fail":
            raise RuntimeError
        connection.write(wire(payload, text=connection.codec.is_text))

    def closed(self, connection: Connection) -> None:
        self.connections.remove(connection)
        self.gone.put_nowait(connection)

    def fell_behind(self, connection: Connection) -> None:
        self.behind.append(connection)

    def refused(self, status: int) -> None:
        self.refusals.append(status)

    async def next_gone(self) -> Connection:
        return await asyncio.wait_for(self.gone.get(), 5)


async def _describe(request: Request) -> JSONResponse:
    body = await request.body()
    return JSONResponse({"client": request.client and request.client.host, "body": len(body)})


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Echo]:
    service = Echo(Settings(**settings))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    service.port = sock.getsockname()[1]
    service.listener = await listen(
        service, sock, Starlette(routes=[Route("/describe", _describe, methods=["GET", "POST"])])
    )
    try:
        yield service
    finally:
        await service.listener.finish(0)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Raw:
    """One TCP connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connect(cls, port: int, *, receive_buffer: int = 0) -> AsyncIterator["Raw"]:
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        raw = cls(*await asyncio.open_connection(sock=sock, limit=2**16))
        try:
            yield raw
        finally:
            raw.writer.transport.abort()

    async def ask(self, head: bytes) -> Answer:
        self.writer.write(head)
        return await self.answer()

    async def upgrade(
        self, target: str = "/ws", headers: Sequence[tuple[str, str]] = (), *, method: str = "GET", version: str = "1.1"
    ) -> Answer:
        """Ask for a WebSocket; a header given here stands beside those of ``UPGRADE``, or replaces the one it names."""
        named = {name for name, _ in headers}
        lines = [*((name, value) for name, value in UPGRADE.items() if name not in named), *headers]
        text = "".join(f"{name}: {value}\r\n" for name, value in lines if value)
        return await self.ask(f"{method} {target} HTTP/{version}\r\n{text}\r\n".encode("latin-1"))

    async def answer(self) -> Answer:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)).decode()
        status, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(status.split()[1]), headers, body.decode())

    def send(self, opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, rsv: int = 0) -> None:
        self.writer.write(client_frame(opcode, payload, fin=fin, mask=mask, rsv=rsv))

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame."""
        async with asyncio.timeout(5):
            head, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return head & 0x0F, await self.reader.readexactly(length)

    async def message(self) -> bytes:
        """Return the next message, whatever pings come before it."""
        async with asyncio.timeout(5):
            while True:
                opcode, payload = await self.frame()
                if opcode in {TEXT, BINARY}:
                    return payload

    async def closed_with(self) -> int:
        """Return the code of the close frame, whatever comes before it."""
        async with asyncio.timeout(5):
            while True:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2], "big") if payload else 1005

    async def rest(self) -> bytes:
        """Return what comes until the server has closed."""
        return await asyncio.wait_for(self.reader.read(), 5)


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, rsv: int = 0) -> bytes:
    head, size = (0x80 if fin else 0) | rsv << 4 | opcode, len(payload)
    masked = 0x80 if mask else 0
    if size < 126:
        start = struct.pack("!BB", head, masked | size)
    elif size < 1 << 16:
        start = struct.pack("!BBH", head, masked | 126, size)
    else:
        start = struct.pack("!BBQ", head, masked | 127, size)
    if not mask:
        return start + payload
    key = b"\x37\xfa\x21\x3d"  # always the same: frames are names of test cases, too
    repeated = (key * (size // 4 + 1))[:size]
    return start + key + (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


@asynccontextmanager
async def opened(echo: Echo, *headers: tuple[str, str], receive_buffer: int = 0) -> AsyncIterator[Raw]:
    """A WebSocket after its handshake."""
    async with Raw.connect(echo.port, receive_buffer=receive_buffer) as raw:
        answer = await raw.upgrade(headers=headers)
        assert answer.status == 101, answer
        yield raw
