"""The parent of the workers: starts them, restarts those that die, stops them all.

It serves nobody and touches no database, so that nothing but a signal ends it. Workers have sessions of their
own: Ctrl-C in a terminal reaches the supervisor alone, which then stops them in good order.
"""

import asyncio
import contextlib
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence

import msgspec

from . import config
from .assignment import CANNOT_START, GRACE_S, READY, Assignment, NewKeys
from .config import JwtKey, Settings
from .logs import get_logger
from .shared import SharedMemory

WORKER = (sys.executable, "-m", "echo_ws.worker")
START_DEADLINE_S = 60.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
STEADY_S = 30.0
"""A worker that lived so long starts the pauses between restarts anew."""

log = get_logger(__name__)


class WorkerFailed(Exception):
    """A worker ended, or took too long, before it was ready."""

    def __init__(self, slot: int, code: int) -> None:
        super().__init__(f"worker {slot} ended with code {code} before it was ready")
        self.was_explained = code == CANNOT_START


class Supervisor:
    """``settings.workers`` processes on one port, for as long as ``run`` runs."""

    def __init__(self, settings: Settings, *, command: Sequence[str] = WORKER) -> None:
        self._settings = settings
        self._command = command
        self._memory = SharedMemory.create(settings.workers)
        self._processes: dict[int, Process] = {}
        self._serving: set[int] = set()
        self._stopping = asyncio.Event()

    @property
    def pids(self) -> list[int]:
        """The workers' process ids by slot."""
        return [process.pid for _, process in sorted(self._processes.items())]

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Keep the workers running until ``stop``; return when the last one has ended.

        Raises:
            WorkerFailed: the first start did not succeed.
        """
        try:
            await asyncio.gather(*map(self._spawn, range(self._settings.workers)))
            await self._begin(0)  # alone, so that what is wrong is said once
            await asyncio.gather(*map(self._begin, range(1, self._settings.workers)))
        except WorkerFailed:
            if not self._stopping.is_set():
                await self._end()
                raise
        if not self._stopping.is_set():
            on_ready()
        keepers = asyncio.gather(*(self._keep(slot) for slot in self._processes))
        await self._stopping.wait()
        await self._end()
        await keepers
        self._memory.close()

    def stop(self) -> None:
        """Let the workers drain and ``run`` return; called again, end them at once."""
        self._signal(signal.SIGKILL if self._stopping.is_set() else signal.SIGTERM)
        self._stopping.set()

    def rekey(self, keys: Mapping[str, JwtKey]) -> None:
        """Let all workers sign and verify access tokens with other keys, also those that are restarted later."""
        self._settings = msgspec.structs.replace(self._settings, jwt_keys=dict(keys))
        for slot in self._serving:
            self._send_keys(slot)

    def _send_keys(self, slot: int) -> None:
        stdin = self._processes[slot].stdin
        assert stdin
        stdin.write(msgspec.json.encode(NewKeys(self._settings.jwt_keys)) + b"\n")  # to one who died it is lost

    async def _end(self) -> None:
        self._signal(signal.SIGTERM)
        waits = [asyncio.ensure_future(process.wait()) for process in self._processes.values()]
        if waits and (await asyncio.wait(waits, timeout=self._settings.drain_s + GRACE_S))[1]:
            log.error("workers_did_not_stop")
            self._signal(signal.SIGKILL)
            await asyncio.wait(waits)

    def _signal(self, number: int) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep(self, slot: int) -> None:
        """Restart the worker of ``slot`` whenever it ends."""
        pause, started_at = FIRST_PAUSE_S, time.monotonic()
        while True:
            code = await self._processes[slot].wait()
            self._serving.discard(slot)
            if self._stopping.is_set():
                return
            if time.monotonic() - started_at > STEADY_S:
                pause = FIRST_PAUSE_S
            log.error("worker_died", worker=slot, code=code, restart_in_s=pause)
            if await self._stopped_within(pause):
                return
            pause, started_at = min(2 * pause, LONGEST_PAUSE_S), time.monotonic()
            with contextlib.suppress(WorkerFailed):
                await self._spawn(slot)
                await self._begin(slot)
                log.info("worker_restarted", worker=slot, pid=self._processes[slot].pid)

    async def _stopped_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def _spawn(self, slot: int) -> None:
        """Start a process; it gets itself ready for its assignment."""
        self._processes[slot] = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, pass_fds=[self._memory.fd], start_new_session=True
        )
        if self._stopping.is_set():
            self._processes[slot].terminate()

    async def _begin(self, slot: int) -> None:
        """Give a worker its assignment and wait until it serves."""
        process = self._processes[slot]
        assert process.stdin
        assert process.stdout
        settings = self._settings
        assignment = Assignment(slot, self._memory.count, self._memory.fd, msgspec.Raw(config.encode(settings)))
        with contextlib.suppress(ConnectionError):
            process.stdin.write(msgspec.json.encode(assignment) + b"\n")
            await process.stdin.drain()
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(process.stdout.readline(), START_DEADLINE_S)
        if line != READY:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise WorkerFailed(slot, await process.wait())
        self._serving.add(slot)
        if settings is not self._settings:  # other keys came while it started
            self._send_keys(slot)
