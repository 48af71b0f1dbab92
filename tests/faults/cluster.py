"""A whole system of children that can be killed, frozen and cut off: PostgreSQL, Redis, and nodes of one worker each.

Between a node and each of its servers, and between clients and a node, stands a proxy of its own.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from echo_ws.embedded import EmbeddedPostgres, EmbeddedRedis
from echo_ws.port import reserve
from echo_ws.settings import Settings
from echo_ws.supervisor import Supervisor

from .proxy import Proxy
from .scramble import Scrambler

ROOT = Path(__file__).resolve().parents[2]
UNLIMITED = {"commands_per_s": 0, "sends_per_s": 0, "max_user_connections": 0}
"""These people talk faster than people do, and have more devices."""

CALM = {"drop": 0.0, "double": 0.0, "swap": 0.0}


class Servers:
    """PostgreSQL at durable settings, and Redis."""

    def __init__(self, folder: Path) -> None:
        self.postgres = EmbeddedPostgres(folder)
        self.redis = EmbeddedRedis(folder)

    @property
    def postgres_socket(self) -> Path:
        (folder,) = parse_qs(urlsplit(self.postgres.url).query)["host"]
        return Path(folder) / ".s.PGSQL.5432"

    @property
    def redis_socket(self) -> Path:
        return Path(unquote(urlsplit(self.redis.url).path))

    @contextmanager
    def running(self) -> Iterator[None]:
        with self.postgres, self.redis:
            yield

    def revive(self) -> None:
        """Undo everything that was done to them."""
        self.thaw_postgres()
        self.thaw_redis()
        self.postgres.start()
        self.redis.start()

    def kill_postgres(self) -> None:
        """End every process of PostgreSQL at once, as the loss of power would."""
        for pid in self.postgres_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.postgres.kill()

    def freeze_postgres(self) -> None:
        for pid in self.postgres_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw_postgres(self) -> None:
        for pid in self.postgres_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def postgres_pids(self) -> list[int]:
        """Return the postmaster and its children."""
        parent = self.postgres.pid
        if parent is None or not self.postgres.is_running:
            return []
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [parent, *map(int, children)]

    def freeze_redis(self) -> None:
        assert self.redis.pid
        os.kill(self.redis.pid, signal.SIGSTOP)

    def thaw_redis(self) -> None:
        if self.redis.pid and self.redis.is_running:
            os.kill(self.redis.pid, signal.SIGCONT)


class Node:
    """A supervisor's one worker, with proxies on all sides."""

    def __init__(self, servers: Servers, folder: Path, random: Random, bug: str, **settings: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.to_postgres = Proxy(servers.postgres_socket)
        self.to_redis = Proxy(servers.redis_socket, self._scrambler)
        self.front = Proxy(0)
        self.weather = dict(CALM)
        """How Redis loses messages on new connections, and on those there are."""
        self._random = random
        self._scramblers: list[Scrambler] = []
        self._database = urlsplit(servers.postgres.url).path.strip("/")
        self._bug = bug
        self._settings = settings
        self._supervisor: Supervisor
        self._run: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.front.port}/ws"

    @property
    def pid(self) -> int:
        return self._supervisor.pids[0]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with reserve("127.0.0.1", 0) as held:
            self.front.target = held.getsockname()[1]
            async with self.to_postgres, self.to_redis, self.front:
                try:
                    await self._start()
                    yield
                finally:
                    await self._stop()

    async def _start(self) -> None:
        assert isinstance(self.front.target, int)
        settings: dict[str, Any] = {
            "port": self.front.target,
            "data_dir": self.folder,
            "database_url": f"postgresql://postgres@127.0.0.1:{self.to_postgres.port}/{self._database}?sslmode=disable",
            "redis_url": f"redis://127.0.0.1:{self.to_redis.port}",
            "log_level": "info",
            "drain_s": 0.5,
            "heartbeat_s": 2,
            "sweep_ms": 300,
            "revalidate_s": 0.5,
            **UNLIMITED,
        }
        self._supervisor = Supervisor(Settings(**settings | self._settings), command=self._command())
        ready = asyncio.Event()
        self._run = asyncio.ensure_future(self._supervisor.run(ready.set))
        waits = asyncio.ensure_future(ready.wait())
        await asyncio.wait([self._run, waits], return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if self._run.done():
            await self._run

    def _command(self) -> list[str]:
        """Return what runs the worker of this suite with its log in a file."""
        environment = [f"FAULT_ARMED={self.folder}", f"FAULT_BUG={self._bug}", f"PYTHONPATH={ROOT}"]
        log = str(self.folder / "worker.log")
        python = [sys.executable, "-m", "tests.faults.worker"]
        return ["/bin/sh", "-c", 'exec "$@" 2>>"$0"', log, "/usr/bin/env", *environment, *python]

    async def _stop(self) -> None:
        if self._run is None or self._run.done():
            return
        self.thaw()
        self._supervisor.stop()
        await self._run

    def arm(self, fault: str, said: str = "") -> Path:
        """Arm a fault of ``worker``; the file is gone when it has gone off."""
        file = self.folder / fault
        file.write_text(said)
        return file

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def drain(self) -> None:
        """Let the worker stop in good order; the supervisor starts another."""
        os.kill(self.pid, signal.SIGTERM)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def open_files(self) -> int:
        """Return a limit with which the worker can open no more files."""
        taken = {int(file.name) for file in Path(f"/proc/{self.pid}/fd").iterdir()}
        return min(set(range(len(taken) + 1)) - taken)

    def scramble(self, *, drop: float = 0.0, double: float = 0.0, swap: float = 0.0) -> None:
        """Let Redis drop, double and swap so many of the messages to this node."""
        self.weather = {"drop": drop, "double": double, "swap": swap}
        for scrambler in self._scramblers:
            scrambler.drop, scrambler.double, scrambler.swap = drop, double, swap

    def _scrambler(self) -> Scrambler:
        scrambler = Scrambler(self._random, **self.weather)
        self._scramblers.append(scrambler)
        return scrambler

    def log(self) -> str:
        """Return what the worker logged."""
        file = self.folder / "worker.log"
        return file.read_text() if file.exists() else ""
