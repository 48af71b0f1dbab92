"""What a bench plays on: a real server at durable settings, people, and how much a process has used."""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from echo_ws import tokens
from echo_ws.embedded import EmbeddedPostgres, EmbeddedRedis
from echo_ws_db import conversations, migrate, pool, users
from echo_ws_db.pool import Store

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Person(NamedTuple):
    user: UUID
    token: str


class Stage:
    """A database, a Redis, and one worker with its port."""

    def __init__(self, store: Store, urls: dict[str, str], port: int, worker: int) -> None:
        self.store = store
        self.database_url = urls["ECHO_DATABASE_URL"]
        self.port = port
        self.worker = worker
        """The worker's process id."""

    async def people(self, count: int) -> list[Person]:
        """Add users, each with a session."""
        found = []
        for start in range(0, count, 1000):
            some = [tokens.new_session_token() for _ in range(min(1000, count - start))]
            phones = [f"+{uuid.uuid4().int % 10**14:014}" for _ in some]
            added = await users.add_many(
                self.store, phones, ["Bench"] * len(some), list(map(tokens.digest, some)), "bench", "cli", 1
            )
            token_of = dict(zip(phones, some, strict=True))
            found += [Person(row.id, token_of[row.phone]) for row in added]
        return found

    async def conversation(self, type_: str, creator: Person, *others: Person) -> UUID:
        row = await conversations.create(
            self.store, uuid.uuid4(), type_, None, creator.user, [other.user for other in others]
        )
        return row.conversation


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    with _folder() as folder, EmbeddedPostgres(folder) as postgres, EmbeddedRedis(folder) as redis:
        urls = {"ECHO_DATABASE_URL": postgres.url, "ECHO_REDIS_URL": redis.url}
        await migrate.up(postgres.url)
        store = await pool.connect(postgres.url, size=4)
        try:
            with _server(urls) as (port, worker):
                yield Stage(store, urls, port, worker)
        finally:
            await store.close()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="echo-bench-", dir="/var/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _server(urls: dict[str, str]) -> Iterator[tuple[int, int]]:
    """Run a supervisor with one worker; yield the port and the worker's process id."""
    port = _free_port()
    environment = {**os.environ, **urls, "ECHO_PORT": str(port), "ECHO_WORKERS": "1", "ECHO_LOG_LEVEL": "warning"}
    environment |= {"ECHO_SECRET_KEY": secrets.token_hex(32), "ECHO_STRANGERS_PER_MIN": "0"}
    environment |= {"ECHO_COMMANDS_PER_S": "0", "ECHO_SENDS_PER_S": "0", "ECHO_HANDSHAKES_PER_S": "0"}  # it floods
    environment |= {"ECHO_SEARCHES_PER_S": "0", "ECHO_CREATIONS_PER_MIN": "0"}
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "echo_ws.cli", "serve"],
        env={**environment, "ECHO_DRAIN_S": "0.2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_for(port, supervisor)
        (worker,) = children_of(supervisor.pid)
        yield port, worker
    finally:
        supervisor.terminate()
        supervisor.wait(20)


def _wait_for(port: int, server: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if server.poll() is not None:
            assert server.stderr
            raise RuntimeError(f"the server did not start: {server.stderr.read()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError("the server did not start within 20 s")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used, its own and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES


async def settle() -> None:
    """Let what was begun come to rest."""
    await asyncio.sleep(1)
