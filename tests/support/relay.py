"""A port in front of a worker, for what happens between client and server."""

import asyncio
import socket
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """A port in front of a worker that can go away and come back, or carry nothing to the client for a while."""

    def __init__(self, url: str) -> None:
        self._target = url
        self._flows = asyncio.Event()
        self._flows.set()
        self._pipes: set[asyncio.StreamWriter] = set()
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/ws"

    async def mend(self, url: str | None = None) -> None:
        """Take connections again, for another worker if ``url`` names one."""
        self._target = url or self._target
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse connections and break off those there are, with whatever is under way."""
        self._server.close()
        for pipe in self._pipes:
            pipe.transport.abort()
        await self._server.wait_closed()

    def hold(self) -> None:
        """Carry nothing to the client, like one that does not read; the worker soon has nowhere to put it."""
        self._flows.clear()

    def let_go(self) -> None:
        self._flows.set()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker_reader, worker_writer = await asyncio.open_connection(sock=await self._reach_worker())
        self._pipes |= {writer, worker_writer}
        await asyncio.gather(self._pump(reader, worker_writer), self._pump(worker_reader, writer, self._flows))

    async def _reach_worker(self) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", urlsplit(self._target).port))
        return sock

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event | None = None
    ) -> None:
        with suppress(ConnectionError):
            while received := await reader.read(65536):
                if flows:
                    await flows.wait()
                writer.write(received)
        writer.close()
