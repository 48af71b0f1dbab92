"""Group commit: while one statement runs, the sends that arrive wait; then one statement writes them all.

There is no timer, so nothing is added to the time of a single send. Rules:

* A conversation belongs to one lane, by hash: its messages are numbered in the order in which they arrived here.
* ``send`` returns after COMMIT, and never waits for Redis.
* One bad row never fails or slows its neighbours: a batch that PostgreSQL refuses is halved until the culprit is alone.
* A locked conversation keeps its place and holds nobody else up: three short pauses, then one patient wait of its own.
* Nothing waits without bound: a full queue answers ``Busy`` at once.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from uuid import UUID

from echo_ws_db import messages
from echo_ws_db.messages import NewMessage, SendRow
from echo_ws_db.pool import Crossed, Failed, NoVerdict, Store, StoreError, Unavailable
from echo_ws_db.rows import Refused

from .errors import Busy, EchoError, Unknown
from .logs import get_logger
from .metrics import Metrics

log = get_logger(__name__)

MAX_WAITING = 4096
"""Sends that wait in one lane."""

MAX_WAITING_IN_ONE = 256
"""Of them in one conversation."""

PATIENT_AFTER = 3
"""Rounds in which a head was found locked, before a statement waits for it."""

FIND_FOR_S = 10.0
"""Seconds in which the server itself looks for what became of a send without a verdict."""

TELL_S = 1.0
"""Seconds between writes of last_message_* in large conversations."""


@dataclass(slots=True, eq=False)
class _Waiting:
    message: NewMessage
    answer: "asyncio.Future[SendRow]"


class Writer:
    """All sends of a worker."""

    def __init__(
        self, lanes: Store, patient: Store, metrics: Metrics, *, count: int, batch_size: int, tracked_members: int
    ) -> None:
        """``lanes`` has a connection for each of ``count`` lanes; ``patient`` is for what must wait or be looked up."""
        self._lanes = [
            _Lane(lanes, patient, metrics, batch_size=batch_size, tracked_members=tracked_members) for _ in range(count)
        ]

    def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    async def close(self) -> None:
        """Stop; what still waits is answered ``Busy``."""
        await asyncio.gather(*(lane.close() for lane in self._lanes))

    @property
    def waiting(self) -> int:
        """How many sends have no answer yet."""
        return sum(lane.waiting for lane in self._lanes)

    async def send(self, message: NewMessage) -> SendRow:
        """Return where the message stands, once it is committed.

        Raises:
            Refused: it was not stored: see the function ``messages.send``.
            Busy: it was not stored, for now.
            Unknown: nobody can tell yet.
        """
        row = await self._lanes[hash(message.conversation) % len(self._lanes)].put(message)
        if row.outcome != "ok":
            raise Refused(row.outcome)  # type: ignore[arg-type]  # one of the outcomes of messages.send
        return row


class _Lane:
    """One connection's worth of sends, in order."""

    def __init__(
        self, store: Store, patient: Store, metrics: Metrics, *, batch_size: int, tracked_members: int
    ) -> None:
        self._store = store
        self._patient = patient
        self._metrics = metrics
        self._batch_size = batch_size
        self._tracked_members = tracked_members
        self._queue: deque[_Waiting] = deque()
        self._waiting_in: dict[UUID, int] = {}
        self._arrived = asyncio.Event()
        self._held: set[UUID] = set()
        self._locked_rounds: Counter[UUID] = Counter()
        self._untold: set[UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        return sum(self._waiting_in.values())

    def start(self) -> None:
        self._spawn(self._run())

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail(tuple(self._queue), Busy("the server is stopping"))
        self._queue.clear()
        await self._tell()

    async def put(self, message: NewMessage) -> SendRow:
        conversation, waiting_in = message.conversation, self._waiting_in
        others = waiting_in.get(conversation, 0)
        if len(self._queue) >= MAX_WAITING or others >= MAX_WAITING_IN_ONE:
            raise Busy("too many messages are waiting to be written")
        waiting = _Waiting(message, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        waiting_in[conversation] = others + 1
        self._arrived.set()
        try:
            return await waiting.answer
        finally:
            others = waiting_in.pop(conversation) - 1
            if others:
                waiting_in[conversation] = others

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._take():
                await self._write(batch)

    def _take(self) -> list[_Waiting]:
        """Return the next batch in order, without repeated ids and without what is held back."""
        batch: list[_Waiting] = []
        ids: set[UUID] = set()
        left: list[_Waiting] = []
        while self._queue and len(batch) < self._batch_size:
            waiting = self._queue.popleft()
            message = waiting.message
            if message.id in ids or message.conversation in self._held:
                left.append(waiting)  # an id that is there twice is answered by the next batch, which finds it
            else:
                ids.add(message.id)
                batch.append(waiting)
        self._queue.extendleft(reversed(left))
        return batch

    async def _write(self, batch: Sequence[_Waiting], *, wait: bool = False, again: bool = False) -> None:
        """Write a batch and answer it, or what of it has an answer."""
        started = time.perf_counter()  # the loop's own clock counts whole milliseconds
        store = self._patient if wait else self._store
        try:
            rows = await messages.send(
                store, [w.message for w in batch], tracked_members=self._tracked_members, wait=wait
            )
        except Unavailable:
            self._fail(batch, Busy())
        except NoVerdict:
            self._spawn(self._find(batch))
        except Failed as error:
            if isinstance(error, Crossed) and not again:
                await self._write(batch, wait=wait, again=True)
            else:
                await self._halve(batch, error, wait=wait)
        except asyncio.CancelledError:
            self._fail(batch, Unknown())
            raise
        except Exception:  # a lane that ended would leave its senders waiting for ever
            log.exception("send_failed")
            self._metrics.count("errors", "message.send")
            self._spawn(self._find(batch))
        else:
            self._metrics.batch(len(batch), time.perf_counter() - started)
            self._answer(batch, rows)

    async def _halve(self, batch: Sequence[_Waiting], error: Failed, *, wait: bool) -> None:
        if len(batch) == 1:
            log.warning("send_failed", error=str(error), message_id=str(batch[0].message.id))
            self._fail(batch, EchoError())
            return
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            await self._write(half, wait=wait)

    def _answer(self, batch: Sequence[_Waiting], rows: Sequence[SendRow]) -> None:
        locked: dict[UUID, list[_Waiting]] = {}
        for waiting, row in zip(batch, rows, strict=True):
            conversation = waiting.message.conversation
            if row.outcome == "busy":
                locked.setdefault(conversation, []).append(waiting)
                continue
            self._locked_rounds.pop(conversation, None)
            if row.untold:
                self._tell_later(conversation)
            if not waiting.answer.done():
                waiting.answer.set_result(row)
        for conversation, put_off in locked.items():
            self._put_off(conversation, put_off)

    def _put_off(self, conversation: UUID, waiting: list[_Waiting]) -> None:
        """Let a locked conversation keep its place: back to the front, and held for a moment."""
        self._held.add(conversation)
        self._locked_rounds[conversation] += 1
        if self._locked_rounds[conversation] > PATIENT_AFTER:
            self._spawn(self._wait_for(conversation, waiting))
        else:
            self._queue.extendleft(reversed(waiting))
            pause = random.uniform(0.001, 0.005)  # noqa: S311  # so that two workers do not meet again
            asyncio.get_running_loop().call_later(pause, self._release, conversation)

    async def _wait_for(self, conversation: UUID, waiting: list[_Waiting]) -> None:
        try:
            await self._write(waiting, wait=True)
        finally:
            self._locked_rounds.pop(conversation, None)
            self._release(conversation)

    def _release(self, conversation: UUID) -> None:
        self._held.discard(conversation)
        self._arrived.set()

    def _fail(self, batch: Sequence[_Waiting], error: Exception) -> None:
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)

    async def _find(self, batch: Sequence[_Waiting]) -> None:
        """Look for what became of a batch without a verdict: what is stored is answered, the rest is unknown."""
        try:
            async with asyncio.timeout(FIND_FOR_S):
                for row in await self._find_when_possible([w.message for w in batch]):
                    found = SendRow(row.n, "ok", is_new=False, seq=row.seq, rev=None, created_at=row.created_at)
                    if not batch[row.n - 1].answer.done():
                        batch[row.n - 1].answer.set_result(found)
        except TimeoutError:
            pass
        finally:
            self._fail(batch, Unknown())

    async def _find_when_possible(self, sent: Sequence[NewMessage]) -> list[messages.FoundRow]:
        pause = 0.1
        while True:
            try:
                return await messages.find(self._patient, sent)
            except StoreError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, 1)

    def _tell_later(self, conversation: UUID) -> None:
        if not self._untold:
            asyncio.get_running_loop().call_later(TELL_S, lambda: self._spawn(self._tell()))
        self._untold.add(conversation)

    async def _tell(self) -> None:
        untold, self._untold = self._untold, set()
        if untold:
            try:
                await messages.tell(self._patient, list(untold))
            except StoreError as error:
                log.warning("last_message_not_written", error=str(error), conversations=len(untold))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
