"""A queue of events that can be taken from in the middle."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from echo_ws_protocol.codec import op_of
from echo_ws_protocol.events import Event

E = TypeVar("E", bound=Event)


class Inbox:
    """Events in order, a limited number. Those nobody wants yet stay where they are."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._end: BaseException | None = None

    def __str__(self) -> str:
        ops = Counter(op_of(event) for event in self._events)
        return ", ".join(op if n == 1 else f"{op} ({n})" for op, n in ops.items()) or "nothing"

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @property
    def full(self) -> bool:
        return len(self._events) >= self._limit

    async def put(self, event: Event) -> None:
        """Add an event, then wait until there is room for the next."""
        self._events.append(event)
        self._arrived.set()
        while self.full:
            self._room.clear()
            await self._room.wait()

    async def take(self, kind: type[E], where: Callable[[E], bool]) -> E:
        while True:
            for place, event in enumerate(self._events):
                if isinstance(event, kind) and where(event):
                    del self._events[place]
                    self._room.set()
                    return event
            if self._end is not None:
                raise self._end
            self._arrived.clear()
            await self._arrived.wait()

    def end(self, error: BaseException) -> None:
        self._end = error
        self._arrived.set()
