"""SQL on a database by its URL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg


@asynccontextmanager
async def connection(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(url, server_settings={"search_path": "public"})
    try:
        yield connection
    finally:
        await connection.close()


async def run(url: str, sql: str) -> None:
    async with connection(url) as db:
        await db.execute(sql)


async def value(url: str, sql: str) -> object:
    async with connection(url) as db:
        return await db.fetchval(sql)


async def is_seen(url: str, condition: str) -> None:
    """Return once a connection to the database is in this condition, in terms of pg_stat_activity."""
    async with connection(url) as db, asyncio.timeout(10):
        while not await db.fetchval(
            f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
        ):
            pass
