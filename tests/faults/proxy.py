"""A TCP port in front of a server, which does to the bytes what bad networks do to them."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self, TypeAlias

Target: TypeAlias = Path | int
"""A Unix socket, or a port of this machine."""

CHUNK = 65536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close() send RST."""


class Rewrite(Protocol):
    """What becomes of a connection's bytes from the server; one for each connection."""

    def feed(self, received: bytes) -> bytes: ...


class _Pipe:
    """One connection and its counterpart."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near = near
        self.far = far

    def reset(self) -> None:
        for writer in (self.near, self.far):
            sock = writer.get_extra_info("socket")
            if sock and sock.family != socket.AF_UNIX and not writer.transport.is_closing():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Proxy:
    """Change its attributes at any time; they hold for what comes next on every connection."""

    def __init__(self, target: Target, rewrite: Callable[[], Rewrite] | None = None) -> None:
        self.target = target
        self.port = 0
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        """Throttle; 0 for none."""
        self.piece = CHUNK
        """Bytes of one write: 1 splits everything. A delay joins what comes meanwhile."""
        self._rewrite = rewrite
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._pipes: set[_Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Take connections, again on the same port."""
        if self._server is None:
            self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and reset those there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.thaw()
        self.reset()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def freeze(self) -> None:
        """Let nothing through and nobody know: a black hole."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Let through what was held up, and all that follows."""
        self._thawed.set()

    def reset(self) -> None:
        """Break off every connection with RST."""
        for pipe in self._pipes:
            pipe.reset()

    def half_close(self) -> None:
        """Tell every client that no more will come, and go on taking what it says."""
        for pipe in self._pipes:
            with suppress(OSError, RuntimeError):
                pipe.near.write_eof()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if isinstance(self.target, Path):
                far_reader, far_writer = await asyncio.open_unix_connection(str(self.target))
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        pipe = _Pipe(writer, far_writer)
        self._pipes.add(pipe)
        try:
            back = self._rewrite().feed if self._rewrite else _as_it_is
            await asyncio.gather(self._pump(reader, far_writer, _as_it_is), self._pump(far_reader, writer, back))
        finally:
            self._pipes.discard(pipe)
            pipe.reset()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rewrite: Callable[[bytes], bytes]
    ) -> None:
        with suppress(OSError, RuntimeError):
            while True:
                await self._thawed.wait()
                received = await reader.read(CHUNK)
                await self._thawed.wait()
                if not received:
                    break
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._write(writer, rewrite(received))
        with suppress(OSError, RuntimeError):
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter, payload: bytes) -> None:
        for start in range(0, len(payload), self.piece):
            piece = payload[start : start + self.piece]
            if self.bytes_per_s:
                await asyncio.sleep(len(piece) / self.bytes_per_s)
            writer.write(piece)
            await writer.drain()


def _as_it_is(received: bytes) -> bytes:
    return received
