"""A WebSocket client that costs next to nothing, so that the server is what is measured."""

import asyncio
import struct
from collections.abc import Callable
from typing import cast

OnFrame = Callable[["Lean", bytes], None]

_SHORT, _MIDDLE = 126, 1 << 16


class Lean(asyncio.Protocol):
    """One connection. Frames are whole, as echo_ws sends them; pings are answered."""

    __slots__ = ("_buffer", "_on_frame", "_token", "index", "lost", "opened", "transport")

    def __init__(self, token: str, on_frame: OnFrame, index: int = 0) -> None:
        self._token = token
        self._on_frame = on_frame
        self._buffer = b""
        self.index = index
        self.opened = asyncio.get_running_loop().create_future()
        self.lost: Callable[[], None] = lambda: None
        """Called when the connection is gone."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Authorization: Bearer " + self._token.encode() + b"\r\n\r\n"
        )

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the connection was lost"))
        self.lost()

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        start = 0
        if not self.opened.done():
            start = data.find(b"\r\n\r\n") + 4
            if start < 4:  # noqa: PLR2004
                self._buffer = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(ConnectionError(data[:200].decode(errors="replace")))
                return
            self.opened.set_result(None)
        self._buffer = data[self._frames(data, start) :]

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
            if data[start] == 0x89:  # noqa: PLR2004  # a ping
                self._write(0x8A, payload)
            elif data[start] != 0x88:  # noqa: PLR2004  # a close: the loss of the connection tells
                self._on_frame(self, payload)
            start += head + size
        return start

    def send(self, payload: bytes) -> None:
        self._write(0x81, payload)

    def _write(self, first: int, payload: bytes) -> None:
        """Write a frame masked with zeros: masked, as a client's must be, at no cost."""
        size = len(payload)
        if size < _SHORT:
            head = struct.pack("!BBI", first, 0x80 | size, 0)
        else:
            assert size < _MIDDLE
            head = struct.pack("!BBHI", first, 0xFE, size, 0)
        self.transport.write(head + payload)


async def connect(port: int, token: str, on_frame: OnFrame, index: int = 0) -> Lean:
    """Open a WebSocket to a worker on this machine."""
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: Lean(token, on_frame, index), "127.0.0.1", port)
    await protocol.opened
    return protocol
