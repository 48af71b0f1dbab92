"""PostgreSQL that dies, hangs, is full, locked and changed. What was acknowledged stays, what is answered is true."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack, suppress

import asyncpg

from .base import A_WHILE, Story

HANG_S = 3.0
"""Longer than a statement may take in these stories."""

LOCK_S = 2.5
MANY = 200


async def restarted_postgres(story: Story) -> None:
    """PostgreSQL is stopped fast, and started again."""
    await story.talked(A_WHILE // 2)
    with story.trouble("fast restart of PostgreSQL"):
        story.servers.postgres.stop()
        story.servers.postgres.start()
        await story.talked(A_WHILE)


async def killed_postgres(story: Story) -> None:
    """All processes of PostgreSQL are killed, and it is started again."""
    await story.talked(A_WHILE // 2)
    with story.trouble("kill -9 of PostgreSQL"):
        story.servers.kill_postgres()
        story.servers.postgres.start()
        await story.talked(A_WHILE)


async def killed_backend(story: Story) -> None:
    """One process that serves a connection is killed: PostgreSQL ends them all and recovers."""
    await story.talked(A_WHILE // 2)
    with story.trouble("kill -9 of a backend"):
        async with story.database() as db:
            backend = await db.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'echo-ws' ORDER BY pid LIMIT 1"
            )
            os.kill(backend, signal.SIGKILL)
            with suppress(asyncpg.PostgresError, OSError):
                await db.execute("SELECT pg_sleep(60)")  # until the crash ends this connection too
        await story.talked(A_WHILE)


async def terminated_backends(story: Story) -> None:
    """All connections of the nodes are ended, three times."""
    for _ in range(3):
        with story.trouble("pg_terminate_backend"):
            async with story.database() as db:
                await db.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'echo-ws'"
                )
            await story.talked(A_WHILE // 2)


async def frozen_postgres(story: Story) -> None:
    """PostgreSQL hangs for longer than a statement may take."""
    await story.talked(A_WHILE // 2)
    with story.trouble("SIGSTOP of PostgreSQL"):
        story.servers.freeze_postgres()
        thaw_at = story.now() + HANG_S
        await story.until(lambda: story.now() > thaw_at)
        story.servers.thaw_postgres()
        await story.talked(A_WHILE)


async def node_without_postgres(story: Story) -> None:
    """One node is cut off from PostgreSQL, and no packet tells it so; the other one serves."""
    await _black_hole(story)


async def node_steps_aside(story: Story) -> None:
    """That lasts for longer than the node may wait: it sends its clients to the other one, until it is well again."""
    await _black_hole(story, may_close=True)
    await story.everybody_is_back()


async def _black_hole(story: Story, *, may_close: bool = False) -> None:
    await story.talked(A_WHILE // 2)
    with story.trouble("PostgreSQL is a black hole for a node", may_close=may_close):
        story.nodes[1].to_postgres.freeze()
        thaw_at = story.now() + HANG_S
        await story.until(lambda: story.now() > thaw_at)
        story.nodes[1].to_postgres.thaw()
        await story.talked(A_WHILE)


async def too_many_connections(story: Story) -> None:
    """PostgreSQL has no connection left, and a worker that has to start needs one."""
    await story.talked(A_WHILE // 2)
    node = story.nodes[1]
    with story.trouble("too many connections", may_close=True):
        async with AsyncExitStack() as taken:
            await _take_all(story, taken)
            first = node.pid
            node.kill()
            while node.pid == first:  # what the dead one had is free again
                await _take_all(story, taken)
            second = node.pid
            await story.until(lambda: node.pid != second)  # it could not start, and another one tries
        await story.everybody_is_back()
    await story.talked(A_WHILE // 2)


async def _take_all(story: Story, taken: AsyncExitStack) -> None:
    with suppress(asyncpg.TooManyConnectionsError):
        for _ in range(MANY):
            await taken.enter_async_context(story.database())


async def locked_conversation(story: Story) -> None:
    """Somebody holds the lock of one conversation; in the other one nobody notices."""
    await story.talked(A_WHILE // 2)
    with story.trouble("a locked head"):
        async with story.database() as db, db.transaction():
            await db.execute("SELECT FROM messages.heads WHERE conversation_id = $1 FOR UPDATE", story.group)
            release_at = story.now() + LOCK_S
            while story.now() < release_at:
                began = story.now()
                assert await story.say("ben-1", story.direct) == "ok"
                assert story.now() - began < 1
        await story.talked(A_WHILE)


async def changed_schema(story: Story) -> None:
    """Columns and indexes come and go under the prepared statements of a running server."""
    for change in (
        "ALTER TABLE messages.messages ADD COLUMN fashion TEXT NULL",
        "ALTER TABLE messages.heads ADD COLUMN fashion TEXT NULL",
        "CREATE INDEX idx_fashion ON messages.messages (fashion)",
        "ALTER TABLE messages.messages DROP COLUMN fashion",
        "ALTER TABLE messages.heads DROP COLUMN fashion",
    ):
        with story.trouble("DDL"):
            async with story.database() as db:
                await db.execute(change)
            await story.talked(A_WHILE // 4)


async def read_only(story: Story) -> None:
    """PostgreSQL takes no writes for a moment, as an old primary does after a failover."""
    await story.talked(A_WHILE // 2)
    with story.trouble("read only"):
        await _set_read_only(story, "on")
        await asyncio.wait_for(_until_refused(story), 10)
        await _set_read_only(story, "off")
        await story.talked(A_WHILE)


async def _set_read_only(story: Story, value: str) -> None:
    async with story.database() as db:
        await db.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        await db.execute("SELECT pg_reload_conf()")


async def _until_refused(story: Story) -> None:
    while await story.say("ben-1", story.direct) != "retry":
        pass
