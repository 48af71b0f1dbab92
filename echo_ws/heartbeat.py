"""One clock for all connections of a worker: who is to be looked at, and when.

A timer or task per connection costs more memory than the connection itself. Here each connection lies in one slot of
a wheel, and one timer per worker turns it. The ``Wheel`` is pure: the time is passed in.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

_log = logging.getLogger(__name__)

NOWHERE = -1
"""The ``slot`` of what is not in the wheel."""
_STALL_TICKS = 4  # so late the loop itself was held up


class Timed(Protocol):
    slot: int
    """The wheel's own mark; starts as ``NOWHERE``."""

    def look(self, now: float) -> float | None:
        """Do what is due and return in how many seconds to look again; None: not because of this look.

        A look may come too early, never more than a tick too late.
        """


class Wheel:
    """Slots of ``tick_s`` seconds each. What is due beyond the last slot comes up early and is put again."""

    def __init__(self, tick_s: float, now: float, slots: int = 256) -> None:
        self.tick_s = tick_s
        self._slots: list[set[Timed]] = [set() for _ in range(slots)]
        self._turn = int(now / tick_s)

    def put(self, item: Timed, at: float) -> None:
        """Have ``item`` come up at the time ``at`` and at no other."""
        self.take(item)
        ahead = min(max(math.ceil(at / self.tick_s) - self._turn, 1), len(self._slots) - 1)
        item.slot = (self._turn + ahead) % len(self._slots)
        self._slots[item.slot].add(item)

    def take(self, item: Timed) -> None:
        if item.slot != NOWHERE:
            self._slots[item.slot].discard(item)
            item.slot = NOWHERE

    def __iter__(self) -> Iterator[Timed]:
        return iter([item for slot in self._slots for item in slot])

    def due(self, now: float) -> list[Timed]:
        """Turn to ``now`` and take out what has come up."""
        turn = int(now / self.tick_s)
        due: list[Timed] = []
        for passed in range(self._turn + 1, min(turn, self._turn + len(self._slots)) + 1):
            slot = self._slots[passed % len(self._slots)]
            due.extend(slot)
            slot.clear()
        for item in due:
            item.slot = NOWHERE
        self._turn = max(turn, self._turn)
        return due


def tick_for(deadlines: Iterable[float]) -> float:
    """Return a tick fine enough for the shortest of these times, and not finer than anybody needs."""
    return min(max(min(deadlines) / 8, 0.01), 0.25)


class Heartbeat:
    """Turns the wheel. After a stall of the loop nobody is blamed for the silence: ``awake_since`` starts anew."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tick_s: float) -> None:
        self.time: Callable[[], float] = loop.time
        self.awake_since = loop.time()
        self._loop = loop
        self._wheel = Wheel(tick_s, self.awake_since)
        self._last = self.awake_since
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = self._loop.call_later(self._wheel.tick_s, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def put(self, item: Timed, delay_s: float) -> None:
        self._wheel.put(item, self.time() + delay_s)

    def take(self, item: Timed) -> None:
        self._wheel.take(item)

    def __iter__(self) -> Iterator[Timed]:
        """All that is looked at."""
        return iter(self._wheel)

    def _beat(self) -> None:
        now = self.time()
        self.start()
        stalled = now - self._last > (1 + _STALL_TICKS) * self._wheel.tick_s
        self._last = now
        if stalled:  # first read what came meanwhile
            self.awake_since = now
            return
        for item in self._wheel.due(now):
            self._look(item, now)

    def _look(self, item: Timed, now: float) -> None:
        try:
            delay_s = item.look(now)
        except Exception:  # noqa: BLE001  # the others are to be looked at too
            _log.exception("a look at a connection failed")
            delay_s = self._wheel.tick_s
        if delay_s is not None:
            self._wheel.put(item, now + delay_s)
