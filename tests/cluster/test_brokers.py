"""The same promises of every broker, and what the one on Redis does when Redis goes away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack

import pytest
import redis
from structlog.testing import capture_logs

from echo_ws.broker import Broker, MemoryBroker, RedisBroker
from echo_ws.broker.memory import Bus
from echo_ws.broker.redis import RedisUnavailable, check
from echo_ws.embedded import EmbeddedRedis
from tests.support.waiting import until

DEADLINE_S = 10


class Ear:
    """What one worker hears, and which channels are in force for it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.resynced: asyncio.Queue[str] = asyncio.Queue()

    async def start(self, *channels: str) -> None:
        await self.broker.start(lambda channel, payload: self.heard.put_nowait((channel, payload)), self._resync)
        await self.subscribe(*channels)

    async def subscribe(self, *channels: str) -> None:
        """Subscribe, and wait until that is in force."""
        for channel in channels:
            self.broker.subscribe(channel)
        await self.resync_of(*channels)

    async def resync_of(self, *channels: str) -> None:
        missing = set(channels)
        async with asyncio.timeout(DEADLINE_S):
            while missing:
                missing.discard(await self.resynced.get())

    async def next(self) -> tuple[str, bytes]:
        async with asyncio.timeout(DEADLINE_S):
            return await self.heard.get()

    def _resync(self, channels: Iterable[str]) -> None:
        for channel in channels:
            self.resynced.put_nowait(channel)


Ears = Callable[[], Ear]


@pytest.fixture(params=["memory", "redis"])
async def ears(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Ears]:
    """Yield what makes workers' ears on one broker."""
    bus = Bus()
    async with AsyncExitStack() as stack:

        def make() -> Ear:
            broker: Broker = MemoryBroker(bus) if request.param == "memory" else RedisBroker(redis_url)
            stack.push_async_callback(broker.close)
            return Ear(broker)

        yield make


async def test_everybody_who_is_subscribed_hears_in_order(ears: Ears) -> None:
    ann, ben = ears(), ears()
    await ann.start("echo:c:1")
    await ben.start("echo:c:1", "echo:c:2")

    for n in range(1200):
        ann.broker.publish("echo:c:1", b"%d" % n)

    for ear in (ann, ben):
        assert [("echo:c:1", b"%d" % n) for n in range(1200)] == [await ear.next() for _ in range(1200)]


async def test_nobody_hears_other_channels(ears: Ears) -> None:
    ann, ben = ears(), ears()
    await ann.start("echo:c:1")
    await ben.start("echo:c:2")

    ann.broker.publish("echo:c:2", b"for ben")
    ann.broker.publish("echo:c:1", b"for ann")

    assert ("echo:c:1", b"for ann") == await ann.next()
    assert ("echo:c:2", b"for ben") == await ben.next()
    assert ann.heard.empty()


async def test_a_channel_that_was_left_is_not_heard(ears: Ears) -> None:
    ann = ears()
    await ann.start("echo:c:1", "echo:c:2")

    ann.broker.unsubscribe("echo:c:1")
    await ann.subscribe("echo:c:3")  # asked later, so in force later
    ann.broker.publish("echo:c:1", b"too late")
    ann.broker.publish("echo:c:2", b"in time")

    assert ("echo:c:2", b"in time") == await ann.next()


async def test_a_payload_may_hold_any_bytes(ears: Ears) -> None:
    ann = ears()
    await ann.start("echo:c:1")
    payload = bytes(range(256)) * 100

    ann.broker.publish("echo:c:1", payload)

    assert ("echo:c:1", payload) == await ann.next()


async def test_publishing_never_waits_and_never_fails_while_redis_is_away() -> None:
    broker = RedisBroker("redis://127.0.0.1:1")
    await broker.start(lambda *_: None, lambda *_: None)

    for _ in range(20_000):
        broker.publish("echo:c:1", b"lost")

    assert not broker.is_connected
    assert broker.queued == 10_000
    await broker.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_after_a_restart_of_redis_every_channel_is_named_again(own_redis: EmbeddedRedis, how: str) -> None:
    ear = Ear(RedisBroker(own_redis.url))
    await ear.start("echo:c:1", "echo:c:2")

    async def is_away() -> bool:
        return not ear.broker.is_connected

    getattr(own_redis, how)()
    await until(is_away)
    own_redis.start()
    await ear.resync_of("echo:c:1", "echo:c:2")
    ear.broker.publish("echo:c:2", b"back")

    async with asyncio.timeout(DEADLINE_S):
        while ("echo:c:2", b"back") != await ear.heard.get():
            pass
    await ear.broker.close()


@pytest.mark.parametrize("turns", range(10))
async def test_a_broker_closes_at_any_moment(redis_url: str, turns: int) -> None:
    broker = RedisBroker(redis_url)
    await broker.start(lambda *_: None, lambda *_: None)
    for _ in range(turns):
        broker.publish("echo:c:1", b"hi")
        await asyncio.sleep(0)

    async with asyncio.timeout(DEADLINE_S):
        await broker.close()

    assert not broker.is_connected


@pytest.mark.parametrize(
    "forbidden", ["-client|reply", "-publish", "-subscribe", "-unsubscribe", "-info", "resetchannels"]
)
async def test_a_redis_that_forbids_what_a_broker_does_is_refused_before_the_start(
    own_redis: EmbeddedRedis, forbidden: str
) -> None:
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as superuser:
        superuser.execute_command("ACL", "SETUSER", "echo", "on", ">secret", "&echo:*", "+@all", forbidden)

    with pytest.raises(RedisUnavailable, match="Redis refuses"):
        await check(own_redis.url.replace("unix://", "unix://echo:secret@"))


async def test_a_redis_that_is_away_or_refuses_is_logged_with_its_reason_at_the_first_attempt(
    own_redis: EmbeddedRedis,
) -> None:
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as superuser:
        superuser.execute_command("ACL", "SETUSER", "echo", "on", ">secret", "&echo:*", "+@all", "-publish")
    broker = RedisBroker(own_redis.url.replace("unix://", "unix://echo:secret@"))

    with capture_logs() as logged:
        await broker.start(lambda *_: None, lambda *_: None)

        async def is_logged() -> bool:
            return any("'publish'" in line["error"] for line in logged)

        await until(is_logged)
    await broker.close()


async def test_a_redis_that_is_too_old_is_refused() -> None:
    server = await asyncio.start_server(redis_6, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async with server:
        with pytest.raises(RedisUnavailable, match=r"Redis 6\.2\.7 is too old: version 7 or later is needed"):
            await check(f"redis://127.0.0.1:{port}")


async def redis_6(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the few commands that come before the version is known."""
    version = b"redis_version:6.2.7\r\n"
    answers = {b"HELLO": b"%1\r\n+proto\r\n:3\r\n", b"INFO": b"$%d\r\n%s\r\n" % (len(version), version)}
    while line := await reader.readline():
        words = []
        for _ in range(int(line[1:])):
            length = int((await reader.readline())[1:])
            words.append((await reader.readexactly(length + 2))[:-2])
        writer.write(answers.get(words[0].upper(), b"+OK\r\n"))
    writer.close()
