"""Redis that goes away, hangs, loses and forgets. Nobody may have to wait for it."""

import asyncio

from redis.asyncio import Redis

from .base import A_WHILE, Story

LONG_S = 3.5
"""Longer than a node waits for a beat of its own before it gives a connection up."""


async def lossy_redis(story: Story) -> None:
    """Of every ten messages to a node, Redis drops one, doubles one and swaps one, until the end."""
    for node in story.nodes:
        node.scramble(drop=0.1, double=0.1, swap=0.1)
    await story.talked(3 * A_WHILE)


async def deaf_redis(story: Story) -> None:
    """Redis tells nobody anything, until the end."""
    for node in story.nodes:
        node.scramble(drop=1.0)
    await story.talked(2 * A_WHILE)


async def restarted_redis(story: Story) -> None:
    """Redis is killed, stays away for a while, and is started again."""
    await story.talked(A_WHILE // 2)
    with story.trouble("kill -9 of Redis"):
        story.servers.redis.kill()
        await story.talked(2 * A_WHILE)
        story.servers.redis.start()
        await story.talked(A_WHILE)


async def frozen_redis(story: Story) -> None:
    """Redis hangs without an error."""
    await story.talked(A_WHILE // 2)
    with story.trouble("SIGSTOP of Redis"):
        story.servers.freeze_redis()
        thaw_at = story.now() + LONG_S
        await story.until(lambda: story.now() > thaw_at)
        story.servers.thaw_redis()
        await story.talked(A_WHILE)


async def paused_redis(story: Story) -> None:
    """Redis takes commands and carries none out for a second."""
    async with Redis.from_url(story.servers.redis.url) as client:
        with story.trouble("CLIENT PAUSE"):
            await client.client_pause(1000)
            await story.talked(2 * A_WHILE)


async def killed_subscribers(story: Story) -> None:
    """Redis ends the connections of all subscribers, three times."""
    async with Redis.from_url(story.servers.redis.url) as client:
        for _ in range(3):
            with story.trouble("CLIENT KILL TYPE pubsub"):
                await client.client_kill_filter(_type="pubsub")
                await story.talked(A_WHILE // 2)


async def overrun_subscriber(story: Story) -> None:
    """A node reads so slowly that Redis ends its connection for the output that waits."""
    node = story.nodes[1]
    async with Redis.from_url(story.servers.redis.url) as client:
        before = str((await client.config_get("client-output-buffer-limit"))["client-output-buffer-limit"])
        with story.trouble("client-output-buffer-limit"):
            await client.config_set("client-output-buffer-limit", "pubsub 4096 4096 1")
            node.to_redis.freeze()
            await asyncio.wait_for(_let_wait(story), 10)
            await client.config_set("client-output-buffer-limit", before)
            node.to_redis.thaw()
            await story.talked(A_WHILE)


async def _let_wait(story: Story) -> None:
    """Publish more than the sockets on the way can hold, until Redis has had enough of it."""
    async with Redis.from_url(story.servers.redis.url) as client:
        killed = await _overruns(client)
        while await _overruns(client) == killed:
            await client.publish(f"echo:c:{story.group}", bytes(100_000))


async def _overruns(client: "Redis") -> int:
    return int((await client.info("stats"))["client_output_buffer_limit_disconnections"])


async def node_without_redis(story: Story) -> None:
    """One node is cut off from Redis, and no packet tells it so."""
    await story.talked(A_WHILE // 2)
    with story.trouble("Redis is a black hole for a node"):
        story.nodes[1].to_redis.freeze()
        thaw_at = story.now() + LONG_S
        await story.until(lambda: story.now() > thaw_at)
        story.nodes[1].to_redis.thaw()
        await story.talked(A_WHILE)


async def last_words_while_away(story: Story) -> None:
    """While a node has no Redis, the last message of all is sent. Then Redis is back, and nothing more happens."""
    await story.talked(A_WHILE)
    await story.hush()
    with story.trouble("no Redis for a node"):
        await story.nodes[1].to_redis.close()
        await story.say("ann-1", story.group)
        await story.nodes[1].to_redis.open()


async def last_words_dropped(story: Story) -> None:
    """The last message of all is dropped on the way to a node, and nothing shows that it is missing."""
    await story.talked(A_WHILE)
    await story.hush()
    story.nodes[1].scramble(drop=1.0)
    await story.say("ann-1", story.group)
