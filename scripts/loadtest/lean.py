"""A WebSocket client that costs next to nothing, so that the server is what is measured."""

import asyncio
import re
import ssl
import struct
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

OnFrame = Callable[["Lean", bytes], None]
OnLost = Callable[["Lean"], None]

_SHORT, _MIDDLE = 126, 1 << 16
_CLOSE, _PING, _PONG = 0x88, 0x89, 0x8A
REACH_S = 5.0
LOST = 1006
"""What a connection that ends without a word is closed with (RFC 6455, 7.1.5)."""


class HandshakeRefused(ConnectionError):
    """The server answered the upgrade with another status than 101."""

    def __init__(self, head: bytes) -> None:
        super().__init__(head[:200].decode(errors="replace"))
        found = re.match(rb"HTTP/1\.1 (\d{3})", head)
        self.status = int(found[1]) if found else 0
        after = re.search(rb"(?i)retry-after: (\d+)", head)
        self.retry_after_s = float(after[1]) if after else None


class Lean(asyncio.Protocol):
    """One connection. Frames are whole, as echo_ws sends them; pings and closes are answered."""

    __slots__ = (
        "_buffer",
        "_head",
        "_lost",
        "_on_frame",
        "_opened",
        "close_code",
        "close_reason",
        "index",
        "transport",
    )

    def __init__(
        self, head: bytes, opened: "asyncio.Future[None]", on_frame: OnFrame, lost: OnLost, index: int
    ) -> None:
        self._head = head
        self._opened: asyncio.Future[None] | None = opened
        self._on_frame = on_frame
        self._buffer = b""
        self.index = index
        self.close_code = LOST
        self.close_reason = ""
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._head)
        self._head = b""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._opened:
            self._open(ConnectionError("the connection was lost"))
        else:
            self._lost(self)

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        start = 0
        if self._opened:
            start = data.find(b"\r\n\r\n") + 4
            if start < 4:  # noqa: PLR2004
                self._buffer = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self._open(HandshakeRefused(data))
                self.transport.abort()
                return
            self._open(None)
        self._buffer = data[self._frames(data, start) :]

    def _open(self, error: Exception | None) -> None:
        opened, self._opened = self._opened, None
        if opened is None or opened.done():
            return
        if error:
            opened.set_exception(error)
        else:
            opened.set_result(None)

    def _frames(self, data: bytes, start: int) -> int:
        """Hand over the whole frames in ``data``; return where the rest begins."""
        end = len(data)
        while end - start >= 2:  # noqa: PLR2004
            size, head = data[start + 1], 2
            if size >= _SHORT:
                head = 4 if size == _SHORT else 10
                if end - start < head:
                    break
                size = int.from_bytes(data[start + 2 : start + head], "big")
            if end - start < head + size:
                break
            payload = data[start + head : start + head + size]
            if data[start] == _PING:
                self.write(0x8A, payload)
            elif data[start] == _CLOSE:
                self._closed(payload)
            elif data[start] != _PONG:
                self._on_frame(self, payload)
            start += head + size
        return start

    def _closed(self, payload: bytes) -> None:
        if len(payload) >= 2:  # noqa: PLR2004
            self.close_code = int.from_bytes(payload[:2], "big")
            self.close_reason = payload[2:].decode(errors="replace")
        self.write(_CLOSE, payload[:2])
        self.transport.close()

    def send(self, payload: bytes) -> None:
        self.write(0x81, payload)

    def write(self, first: int, payload: bytes) -> None:
        """Write a frame masked with zeros: masked, as a client's must be, at no cost."""
        size = len(payload)
        if size < _SHORT:
            head = struct.pack("!BBI", first, 0x80 | size, 0)
        else:
            assert size < _MIDDLE
            head = struct.pack("!BBHI", first, 0xFE, size, 0)
        self.transport.write(head + payload)


class Address:
    """Where to connect, taken apart once."""

    def __init__(self, url: str) -> None:
        """``url``: ws:// or wss://, as clients are given it."""
        parts = urlsplit(url)
        if parts.scheme not in {"ws", "wss"} or not parts.hostname:
            raise ValueError(f"{url} is no address of a WebSocket such as ws://127.0.0.1:8765/ws")
        self.host = parts.hostname
        self.tls = ssl.create_default_context() if parts.scheme == "wss" else None
        self.port = parts.port or (443 if self.tls else 80)
        self._head = (
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: echo.v1.json\r\nAuthorization: Bearer "
        ).encode()

    async def reach(self) -> None:
        """Return if somebody listens there, or raise ``OSError``."""
        async with asyncio.timeout(REACH_S):
            _, writer = await asyncio.open_connection(self.host, self.port)
        writer.close()

    async def connect(self, token: str, on_frame: OnFrame, lost: OnLost = lambda _: None, index: int = 0) -> Lean:
        """Open a connection; ``lost`` is called when it is gone again.

        Raises:
            HandshakeRefused: the server answers, and does not want it.
            OSError: it does not answer.
        """
        head = self._head + token.encode() + b"\r\n\r\n"
        loop = asyncio.get_running_loop()
        opened = loop.create_future()
        _, lean = await loop.create_connection(
            lambda: Lean(head, opened, on_frame, lost, index), self.host, self.port, ssl=self.tls
        )
        try:
            await opened
        except BaseException:
            lean.transport.abort()  # also if nobody waits any more
            raise
        return lean


def here(port: int) -> Address:
    """Return the address of a worker on this machine."""
    return Address(f"ws://127.0.0.1:{port}/ws")
