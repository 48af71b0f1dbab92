"""What may happen in a story, while everybody talks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .cluster import Node
from .story import Story

Plot: TypeAlias = Callable[[Story], Awaitable[None]]

A_WHILE = 120
"""Acknowledged commands: about a second."""


async def nothing(story: Story) -> None:
    """Nothing breaks, and a lot is said."""
    await story.talked(3 * A_WHILE)


async def long_talk(story: Story) -> None:
    """Nothing breaks, and very much is said."""
    await story.talked(10 * A_WHILE)


async def lossy_redis(story: Story) -> None:
    """Of every ten messages to a node, Redis drops one, doubles one and swaps one, until the end."""
    for node in story.nodes:
        node.scramble(drop=0.1, double=0.1, swap=0.1)
    await story.talked(3 * A_WHILE)


async def killed_worker(story: Story) -> None:
    """A worker is killed while it writes; another takes its place."""
    await story.talked(A_WHILE // 2)
    await _kill(story, story.nodes[0])
    await story.talked(A_WHILE // 2)


async def killed_after_an_answer(story: Story) -> None:
    """A worker is killed in the moment in which it has answered."""
    await story.talked(10)
    while await story.say("ann-1", story.group) != "ok":
        pass
    await _kill(story, story.nodes[0])
    await story.talked(10)


async def _kill(story: Story, node: Node) -> None:
    with story.trouble("kill -9 of a worker", may_close=True):
        pid = node.pid
        node.kill()
        await story.until(lambda: node.pid != pid)
        await story.everybody_is_back()


async def lost_connections(story: Story) -> None:
    """All connections to one node are reset, twice."""
    for _ in range(2):
        with story.trouble("reset", may_close=True):
            story.nodes[1].front.reset()
            await story.talked(10)
            await story.everybody_is_back()
        await story.talked(A_WHILE // 4)


async def changing_members(story: Story) -> None:
    """Somebody is removed, and let in again later."""
    await story.talked(A_WHILE // 2)
    await story.remove("dan")
    await story.talked(A_WHILE)
    await story.let_in("dan")
    await story.talked(A_WHILE)


async def ended_session(story: Story) -> None:
    """The session of one device is ended by another service."""
    await story.talked(A_WHILE // 2)
    await story.revoke("ann-2", within_s=1.0)
    by = story.history.revoked[-1].by
    await story.until(lambda: story.now() > by)
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


async def together(story: Story, *plots: Plot) -> None:
    """Let several things happen at once."""
    await asyncio.gather(*(plot(story) for plot in plots))
