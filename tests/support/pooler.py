"""Poolers in front of PostgreSQL: PgBouncer where the machine has one, and a stand-in that does the same to a client.

Both lend a process of PostgreSQL to a client for a transaction or for as long as it is connected, refuse startup
parameters that they are not told to ignore, and keep those from PostgreSQL.
"""

import asyncio
import itertools
import os
import struct
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import parse_qs, urlsplit

from .waiting import until

Mode: TypeAlias = Literal["transaction", "session"]
Pooler: TypeAlias = Callable[[str, Path, Mode, Sequence[str]], AbstractAsyncContextManager[str]]
"""From a database's URL, a folder, a mode and the parameters to ignore to the URL of the pooler."""

_HEAD = struct.Struct("!cI")
_READY = b"Z\0\0\0\5I"
_PROTOCOL = struct.pack("!I", 3 << 16)
_PASSED_ON = frozenset({"user", "database", "client_encoding", "application_name"})


@asynccontextmanager
async def pgbouncer(url: str, folder: Path, mode: Mode, ignored: Sequence[str]) -> AsyncIterator[str]:
    behind, database = _place(url)
    process = _pgbouncer(behind, database, folder, mode, ignored)
    try:

        async def is_open() -> bool:
            with suppress(OSError):
                _, writer = await asyncio.open_unix_connection(folder / ".s.PGSQL.6432")
                writer.close()
                return True
            return False

        await until(is_open)
        yield f"postgresql://postgres@/{database}?host={folder}&port=6432"
    finally:
        process.terminate()
        process.wait()


def _pgbouncer(
    behind: str, database: str, folder: Path, mode: Mode, ignored: Sequence[str]
) -> "subprocess.Popen[bytes]":
    """Start one, as nobody when we are root: it refuses to be."""
    folder.chmod(0o777)
    users, settings = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text('"postgres" ""')
    settings.write_text(
        f"[databases]\n{database} = host={behind}\n[pgbouncer]\nlisten_port = 6432\nunix_socket_dir = {folder}\n"
        f"auth_type = trust\nauth_file = {users}\npool_mode = {mode}\nignore_startup_parameters = {','.join(ignored)}\n"
    )
    become = ["-u", "nobody"] if os.getuid() == 0 else []
    with (folder / "pgbouncer.log").open("wb") as log:
        return subprocess.Popen(["pgbouncer", *become, settings], stdout=log, stderr=log)


@asynccontextmanager
async def stand_in(url: str, folder: Path, mode: Mode, ignored: Sequence[str]) -> AsyncIterator[str]:
    behind, database = _place(url)
    lender = _Lender(f"{behind}/.s.PGSQL.5432", database, mode, _PASSED_ON | set(ignored))
    async with await asyncio.start_unix_server(lender.serve, folder / ".s.PGSQL.5432"):
        try:
            yield f"postgresql://postgres@/{database}?host={folder}"
        finally:
            lender.close()


def _place(url: str) -> tuple[str, str]:
    """Return the folder of a server's socket, and the name of the database."""
    parts = urlsplit(url)
    return parse_qs(parts.query)["host"][0], parts.path.strip("/")


class _Process:
    """A process of PostgreSQL, with what it said at the beginning."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.greeting = b""


class _Lender:
    def __init__(self, target: str, database: str, mode: Mode, known: frozenset[str]) -> None:
        self._target = target
        self._database = database
        self._mode = mode
        self._known = known
        self._idle: list[_Process] = []
        self._all: list[asyncio.StreamWriter] = []

    def close(self) -> None:
        for writer in self._all:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._all.append(writer)
        with suppress(asyncio.IncompleteReadError):  # somebody left
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parameters = await self._startup(reader, writer)
        if unknown := [name for name in parameters if name not in self._known]:
            fields = b"SFATAL\0C08P01\0Munsupported startup parameter: %s\0\0" % unknown[0].encode()
            writer.write(_HEAD.pack(b"E", len(fields) + 4) + fields)
            return
        first = await self._lent()
        writer.write(first.greeting)
        process: _Process | None = first
        while (asked := await _message(reader))[:1] != b"X":
            process = process or await self._lent()
            answer = asyncio.create_task(_carry_answer(process, writer))
            process.writer.write(asked)
            while asked[:1] not in (b"Q", b"S"):
                process.writer.write(asked := await _message(reader))
            await answer
            if self._mode == "transaction":
                self._idle.append(process)
                process = None

    async def _startup(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[str]:
        """Return the names of the startup parameters."""
        body = await _body(reader)
        if body[:4] != _PROTOCOL:  # it asks for TLS
            writer.write(b"N")
            body = await _body(reader)
        words = body[4:].split(b"\0")
        return [name.decode() for name in itertools.islice(words, 0, len(words) - 2, 2)]

    async def _lent(self) -> _Process:
        """Return the process that was given back last, or a new one."""
        if self._idle:
            return self._idle.pop()
        process = _Process(*await asyncio.open_unix_connection(self._target))
        self._all.append(process.writer)
        body = _PROTOCOL + b"user\0postgres\0database\0%s\0\0" % self._database.encode()
        process.writer.write(struct.pack("!I", len(body) + 4) + body)
        while not process.greeting.endswith(_READY):
            process.greeting += await _message(process.reader)
        return process


async def _carry_answer(process: _Process, writer: asyncio.StreamWriter) -> None:
    """Pass on what a process says until it is outside of a transaction."""
    said = b""
    while said != _READY:
        said = await _message(process.reader)
        writer.write(said)


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(_HEAD.size)
    return head + await reader.readexactly(_HEAD.unpack(head)[1] - 4)


async def _body(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack("!I", await reader.readexactly(4))
    return await reader.readexactly(size - 4)
