"""What is done on a schedule, each job by one runner among all workers of all servers.

Every worker looks every few seconds for a job that is due, and takes it by a lease in the database. The lease is
renewed after each batch; a runner that died keeps it no longer than ``LEASE_S``. Nothing depends on there being only
one: a runner that was asleep and goes on beside its successor finds less to do, and that is all.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias
from uuid import UUID, uuid4

from echo_ws_db import deletions, housekeeping
from echo_ws_db.pool import Store, StoreError

from .hub import Channel
from .logs import get_logger
from .metrics import Metrics
from .settings import Settings

log = get_logger(__name__)

LEASE_S = 60.0
"""Many times what a batch takes: a statement is cancelled after ``ECHO_STATEMENT_TIMEOUT_MS``."""

BATCH = 1000
"""Rows that one statement deletes at most."""

PIECE = 100
"""Messages that one statement turns into tombstones at most: their conversations are locked meanwhile."""

DELETIONS = 100
"""Deleted accounts that are gone on with in one run."""

AGAIN_S = 60.0
"""When a job that failed is tried again, at the latest."""


class Announcer(Protocol):
    def poke(self, channel: Channel, /) -> None:
        """Let every worker ask the database what changed. Never waits."""


Work: TypeAlias = Callable[[], AsyncGenerator[int, None]]
"""Does a job and says after each batch how many rows it was."""


class Job(NamedTuple):
    every_s: float
    work: Work


class Housekeeping:
    def __init__(self, store: Store, settings: Settings, metrics: Metrics, announcer: Announcer) -> None:
        self._store = store
        self._metrics = metrics
        self._announcer = announcer
        self._look_s = settings.housekeeping_s
        self._runner: UUID = uuid4()
        every_s = settings.cleanup_s
        expire_logins = partial(housekeeping.expire_login_history, store, settings.login_history_days)
        self._jobs = {
            "sessions": Job(every_s, self._expire_sessions),
            "refresh_tokens": Job(every_s, self._batches(partial(housekeeping.expire_refresh_tokens, store))),
            "codes": Job(every_s, self._batches(partial(housekeeping.expire_codes, store))),
            "flows": Job(every_s, self._batches(partial(housekeeping.expire_flows, store))),
            "login_history": Job(every_s, self._batches(expire_logins)),
            "deletions": Job(settings.housekeeping_s, self._go_on_deleting),
        }

    async def run(self) -> None:
        """Look for work, for ever."""
        while True:
            try:
                await self._look()
            except StoreError as error:
                log.warning("housekeeping_failed", error=str(error))
            except Exception:  # a runner that ended would never be noticed
                log.exception("housekeeping_failed")
            await asyncio.sleep(self._look_s * random.uniform(0.8, 1.2))  # noqa: S311  # so that workers do not beat in time

    async def _look(self) -> None:
        """Do what is due and nobody else is at."""
        names = list(self._jobs)
        await housekeeping.introduce(self._store, names)
        for _ in names:
            if name := await housekeeping.claim(self._store, names, self._runner, LEASE_S):
                await self._do(name, self._jobs[name])
        self._metrics.gauge("housekeeping_overdue_seconds", await housekeeping.overdue(self._store, names))

    async def _do(self, name: str, job: Job) -> None:
        """Do a job, and give it back; one that fails is tried again, and stops no other."""
        rows, error = 0, None
        try:
            async with aclosing(job.work()) as batches:
                async for count in batches:
                    rows += count
                    if not await housekeeping.hold(self._store, name, self._runner, LEASE_S):
                        log.warning("housekeeping_lease_lost", job=name)
                        return
        except StoreError as failure:
            error = str(failure)
        except Exception:
            log.exception("housekeeping_failed", job=name)
            error = "a fault of the server"
        self._metrics.count("housekeeping_runs", name, "failed" if error else "ok")
        if error:
            log.warning("housekeeping_failed", job=name, error=error)
        elif rows:
            log.info("housekeeping_done", job=name, rows=rows)
        again_s = min(AGAIN_S, job.every_s) if error else job.every_s
        await housekeeping.finish(self._store, name, self._runner, again_s, is_done=error is None)

    def _batches(self, delete: Callable[[int], Awaitable[int]]) -> Work:
        async def work() -> AsyncGenerator[int, None]:
            count = BATCH
            while count == BATCH:
                count = await delete(BATCH)
                yield count

        return work

    async def _expire_sessions(self) -> AsyncGenerator[int, None]:
        """Leave little to the reference's function, which deletes all at once."""
        async for count in self._batches(partial(housekeeping.expire_sessions, self._store))():
            yield count
        await housekeeping.cleanup_expired_sessions(self._store)

    async def _go_on_deleting(self) -> AsyncGenerator[int, None]:
        """Do what is left of deleted accounts. One that fails stops no other, and fails the run."""
        failure: StoreError | None = None
        for user in await deletions.pending(self._store, DELETIONS):
            try:
                while piece := await deletions.go_on(self._store, user, PIECE):
                    for conversation in piece.conversations:
                        self._announcer.poke(Channel("c", conversation))
                    yield 1
                    if piece.is_done:
                        log.info("deletion_finished", user=user)
                        break
            except StoreError as error:
                log.warning("deletion_delayed", user=user, error=str(error))
                failure = error
        if failure:
            raise failure
