"""What lies between: a store that is slow and fails, pub/sub that loses, repeats and swaps, and links to clients."""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from echo_ws.broker.base import Hear, Resync
from echo_ws.connection import Connection
from echo_ws_db.pool import NoVerdict, StoreError, Unavailable

from .database import Database


class Weather:
    """How bad things are at the moment, and chance."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.loss = 0.0
        self.failures = 0.0
        self.slowness = 0.002

    def happens(self, probability: float) -> bool:
        return self.chance.random() < probability

    def delay(self) -> float:
        """Most things are quick, and some take very long."""
        return self.chance.expovariate(1 / self.slowness) * (100 if self.happens(self.loss / 3) else 1)


class Store:
    """A pool of connections to the database: the answer is as of some moment while one waits for it."""

    size = idle = 1

    def __init__(self, database: Database, weather: Weather) -> None:
        self._database = database
        self._weather = weather

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        await asyncio.sleep(self._weather.delay())
        self._fail(Unavailable)
        rows = self._database.answer(sql, args)
        await asyncio.sleep(self._weather.delay())
        self._fail(NoVerdict)
        return rows

    async def fetchrow(self, sql: str, *args: Any) -> Any:
        rows = await self.fetch(sql, *args)
        return rows[0] if rows else None

    async def execute(self, sql: str, *args: Any) -> str:
        await self.fetch(sql, *args)
        return ""

    async def close(self) -> None:
        pass

    def _fail(self, error: type[StoreError]) -> None:
        if self._weather.happens(self._weather.failures):
            raise error("bad weather")


class Ether:
    """Pub/sub, at most once and sometimes less, sometimes twice, in any order."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.brokers: list[Broker] = []

    def carry(self, channel: str, payload: bytes) -> None:
        for broker in self.brokers:
            while not self.weather.happens(self.weather.loss):
                asyncio.get_running_loop().call_later(self.weather.delay(), broker.hear, channel, payload)
                if not self.weather.happens(self.weather.loss):
                    break


class Broker:
    """A node's connection to it."""

    queued = 0

    def __init__(self, ether: Ether) -> None:
        self._ether = ether
        self._channels: set[str] = set()
        self._hear: Hear
        self._resync: Resync
        self.is_connected = True

    async def start(self, hear: Hear, resync: Resync) -> None:
        self._hear, self._resync = hear, resync
        self._ether.brokers.append(self)

    async def close(self) -> None:
        self._ether.brokers.remove(self)

    def subscribe(self, channel: str) -> None:
        asyncio.get_running_loop().call_later(self._ether.weather.delay(), self._subscribed, channel)

    def unsubscribe(self, channel: str) -> None:
        self._channels.discard(channel)

    def publish(self, channel: str, payload: bytes) -> bool:
        if self.is_connected:
            self._ether.carry(channel, payload)
        return True

    def hear(self, channel: str, payload: bytes) -> None:
        if self.is_connected and channel in self._channels:
            self._hear(channel, payload)

    def cut(self) -> None:
        self.is_connected = False

    def mend(self) -> None:
        self.is_connected = True
        self._resync(sorted(self._channels))

    def _subscribed(self, channel: str) -> None:
        self._channels.add(channel)
        if self.is_connected:
            self._resync((channel,))


class Link:
    """A client's connection, as the transport that the server writes to. What is under way is lost with it."""

    def __init__(self, weather: Weather, arrive: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self.connection: Connection
        self.is_slow = False
        self._weather = weather
        self._arrive = arrive
        self._lost = lost
        self._buffer: list[bytes] = []
        self._to_server: deque[bytes] = deque()
        self._size = self._high = 0
        self._is_pumping = self._is_clogged = self._is_paused = self.is_closed = False

    # As a transport

    def set_write_buffer_limits(self, high: int) -> None:
        self._high = high

    def get_write_buffer_size(self) -> int:
        return self._size

    def write(self, data: bytes) -> None:
        if self.is_closed:
            return
        self._buffer.append(data)
        self._size += len(data)
        if self._size > self._high and not self._is_clogged:
            self._is_clogged = True
            self.connection.pause_writing()
        self._pump_soon()

    def writelines(self, parts: list[bytes]) -> None:
        for part in parts:
            self.write(part)

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._deliver()

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self.cut)

    close = write_eof = abort

    # As a network

    def cut(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._buffer.clear()
            self.connection.connection_lost(None)
            self._lost()

    def send(self, data: bytes) -> None:
        self._to_server.append(data)
        asyncio.get_running_loop().call_later(self._weather.delay(), self._deliver)

    def read_on(self) -> None:
        self.is_slow = False
        self._pump_soon()

    def _deliver(self) -> None:
        while self._to_server and not self._is_paused and not self.is_closed:
            self.connection.data_received(self._to_server.popleft())

    def _pump_soon(self) -> None:
        if not self._is_pumping and not self.is_slow:
            self._is_pumping = True
            asyncio.get_running_loop().call_later(self._weather.delay(), self._pump)

    def _pump(self) -> None:
        self._is_pumping = False
        if self.is_slow or self.is_closed:
            return
        data, self._buffer, self._size = b"".join(self._buffer), [], 0
        if self._is_clogged:
            self._is_clogged = False
            self.connection.resume_writing()
        self._arrive(data)
