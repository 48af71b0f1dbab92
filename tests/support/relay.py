"""A port in front of a worker, for what happens between client and server."""

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """A port in front of a worker that can go away and come back."""

    def __init__(self, url: str) -> None:
        self._target = url
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

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker_reader, worker_writer = await asyncio.open_connection("127.0.0.1", urlsplit(self._target).port)
        self._pipes |= {writer, worker_writer}
        await asyncio.gather(self._pump(reader, worker_writer), self._pump(worker_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while received := await reader.read(65536):
                writer.write(received)
        writer.close()
