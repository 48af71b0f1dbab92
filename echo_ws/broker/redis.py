"""The broker on Redis pub/sub. The only module that imports redis."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from echo_ws.logs import get_logger

from .base import Hear, Resync

log = get_logger(__name__)

MAX_QUEUED = 10_000
"""Payloads that wait while Redis is slow or away; the sweep repairs what is dropped beyond."""

MAX_BATCH = 500
"""Payloads, or channels, in one command."""

BEAT_S = 1.0
"""Seconds between beats that a worker sends itself through Redis …"""

SILENCE_S = 3.0
"""… and without one, until the connection is given up: pub/sub can hang without an error."""

REACH_S = 2.0
"""Seconds in which a connection must be open and tried out."""

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
"""Seconds between attempts to reach a Redis that is away, at most."""

OLDEST_VERSION = 7

AWAY = (RedisError, OSError, TimeoutError)


class RedisUnavailable(Exception):
    """Redis cannot be reached, is too old, or lets us do too little; the message says which."""


def _client(url: str, *, socket_timeout: float | None = REACH_S) -> "redis.Redis":
    """Return a client that never repeats a command by itself: a PUBLISH would go out twice."""
    return redis.Redis.from_url(
        url,
        protocol=2,  # what a subscriber hears is a plain list then, and not another object that is formatted for a log
        socket_connect_timeout=REACH_S,
        socket_timeout=socket_timeout,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator["redis.Connection"]:
    """Yield a connection without a client around it, whose pool and retries cost more than the command."""
    async with _client(url, socket_timeout=None) as client:
        connection: Any = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # not annotated
        try:
            async with asyncio.timeout(REACH_S):
                await connection.connect()
                await _try_out(connection)
            yield connection
        finally:
            await connection.disconnect(nowait=True)


async def _try_out(connection: "redis.Connection") -> None:
    """Do once all that a broker will do: a rule that forbids any of it is better found before it matters."""
    channel = _private_channel()
    for command in (
        ("SUBSCRIBE", channel),
        ("UNSUBSCRIBE", channel),
        ("PUBLISH", channel, b""),
        ("CLIENT", "REPLY", "ON"),
    ):
        await connection.send_command(*command)
        await connection.read_response()


async def check(url: str) -> str:
    """Return the version of the Redis at ``url``.

    Raises:
        RedisUnavailable: it does not answer, is older than 7, or refuses what a broker asks of it.
    """
    try:
        async with _client(url) as client:
            version = str((await client.info("server"))["redis_version"])
            if int(version.partition(".")[0]) < OLDEST_VERSION:
                raise RedisUnavailable(f"Redis {version} is too old: version {OLDEST_VERSION} or later is needed")
        async with _connection(url):
            pass
    except ResponseError as error:
        raise RedisUnavailable(f"Redis refuses what docs/operating.md says it must allow: {error}") from error
    except (*AWAY, ValueError) as error:
        raise RedisUnavailable(f"Redis cannot be reached: {error}") from error
    return version


def _private_channel() -> str:
    return f"echo:canary:{os.urandom(8).hex()}"


async def publish_once(url: str, channel: str, payload: bytes) -> None:
    """Publish one payload from outside a worker: a command-line tool."""
    try:
        async with _client(url) as client:
            await client.publish(channel, payload)
    except AWAY as error:
        raise RedisUnavailable(f"Redis cannot be reached: {error}") from error


class RedisBroker:
    """Two connections: a mouth that publishes, unanswered, and an ear that is subscribed.

    That they are alive is known by the beats that go out by the one and come back by the other; when either fails, both
    are made anew.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._channels: set[str] = set()
        self._asked: dict[str, bool] = {}
        self._asking = asyncio.Event()
        self._queue: deque[tuple[str, bytes]] = deque(maxlen=MAX_QUEUED)
        self._publishing = asyncio.Event()
        self._canary = _private_channel()
        self._heard_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.is_connected = False

    @property
    def queued(self) -> int:
        return len(self._queue)

    async def start(self, hear: Hear, resync: Resync) -> None:
        self._hear, self._resync = hear, resync
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 1
        while self._queue and self.is_connected and loop.time() < deadline:  # noqa: ASYNC110  # once in its life
            await asyncio.sleep(0.01)
        while self._task and not self._task.done():
            self._task.cancel()  # redis-py swallows one that comes while it disconnects: say it until it is heard
            await asyncio.wait((self._task,), timeout=0.1)

    def subscribe(self, channel: str) -> None:
        self._channels.add(channel)
        self._ask(channel, is_on=True)

    def unsubscribe(self, channel: str) -> None:
        self._channels.discard(channel)
        self._ask(channel, is_on=False)

    def publish(self, channel: str, payload: bytes) -> bool:
        had_room = len(self._queue) < MAX_QUEUED
        self._queue.append((channel, payload))
        self._publishing.set()
        return had_room

    def _ask(self, channel: str, *, is_on: bool) -> None:
        self._asked[channel] = is_on
        self._asking.set()

    async def _run(self) -> None:
        """Work for ever, logging that Redis went away once, not at every attempt to reach it."""
        pause = FIRST_PAUSE_S
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._work()
            except* AWAY as errors:
                if asyncio.get_running_loop().time() - started > SILENCE_S:
                    pause = FIRST_PAUSE_S
                if pause == FIRST_PAUSE_S:
                    log.warning("redis_away", error=str(errors.exceptions[0]))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _work(self) -> None:
        """Publish and listen, until one of the two connections fails or falls silent."""
        async with _connection(self._url) as mouth, _connection(self._url) as ear:
            await mouth.send_command("CLIENT", "REPLY", "OFF")
            await ear.send_command("SUBSCRIBE", self._canary)
            self._asked = dict.fromkeys(self._channels, True)
            self._asking.set()
            self._publishing.set()
            self._heard_at = asyncio.get_running_loop().time()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._publish(mouth))
                    group.create_task(self._read(ear))
                    group.create_task(self._subscribe(ear))
                    group.create_task(self._watch())
            finally:
                self.is_connected = False

    async def _publish(self, connection: "redis.Connection") -> None:
        while True:
            await self._publishing.wait()
            self._publishing.clear()
            while self._queue:
                batch = [("PUBLISH", *self._queue.popleft()) for _ in range(min(len(self._queue), MAX_BATCH))]
                # Gone if this fails: pub/sub is at most once.
                await connection.send_packed_command(connection.pack_commands(batch))

    async def _read(self, connection: "redis.Connection") -> None:
        while True:
            kind, name, data = await connection.read_response()
            channel = name.decode()
            if channel == self._canary:
                self._heard_at = asyncio.get_running_loop().time()
                self.is_connected = True
            elif kind == b"message":
                self._hear(channel, data)
            elif kind == b"subscribe":
                self._resync((channel,))

    async def _subscribe(self, connection: "redis.Connection") -> None:
        """Ask for channels, many in one command; what was asked and taken back meanwhile is not asked at all."""
        while True:
            await self._asking.wait()
            self._asking.clear()
            asked, self._asked = self._asked, {}
            for is_on, command in ((True, "SUBSCRIBE"), (False, "UNSUBSCRIBE")):
                channels = [channel for channel, wanted in asked.items() if wanted is is_on]
                for start in range(0, len(channels), MAX_BATCH):
                    await connection.send_command(command, *channels[start : start + MAX_BATCH])

    async def _watch(self) -> None:
        """Beat, and give the connection up when the beats do not come back."""
        while True:
            self.publish(self._canary, b"")
            await asyncio.sleep(BEAT_S)
            if asyncio.get_running_loop().time() - self._heard_at > SILENCE_S:
                raise TimeoutError("Redis has gone silent")
