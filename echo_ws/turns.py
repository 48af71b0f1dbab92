"""Calls of one kind in the order in which they were made, once the server has asked for patience."""

import asyncio


class Turns:
    """The calls that have no answer yet. They go when they like, until ``take_turns``."""

    def __init__(self) -> None:
        self._calls: dict[asyncio.Event, None] = {}
        self._is_orderly = False

    def begin(self) -> asyncio.Event:
        """Return a place behind all others; ``end`` must be called with it."""
        place = asyncio.Event()
        self._calls[place] = None
        return place

    async def come(self, place: asyncio.Event) -> None:
        """Wait until it is this call's turn."""
        while self._is_orderly and place is not self._first:
            await place.wait()

    def take_turns(self) -> None:
        """From now on, until none is left, let each go when those made before it are answered."""
        self._is_orderly = True

    def end(self, place: asyncio.Event) -> None:
        del self._calls[place]
        self._is_orderly = self._is_orderly and bool(self._calls)
        if self._is_orderly:
            self._first.set()

    @property
    def _first(self) -> asyncio.Event:
        return next(iter(self._calls))
