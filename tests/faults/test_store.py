"""What a store makes of connections that end or never come: each call gets an answer that is true."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest

from echo_ws_db.pool import NoVerdict, Store, Unavailable, connect

from .cluster import Servers
from .proxy import Proxy


class Line(NamedTuple):
    store: Store
    proxy: Proxy


@pytest.fixture
async def line(servers: Servers) -> AsyncIterator[Line]:
    """Yield a store with one connection, through a proxy."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(servers.postgres_socket))
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/echo?sslmode=disable"
        store = await connect(url, size=1)
        stack.push_async_callback(store.close)
        yield Line(store, proxy)


async def test_a_connection_that_breaks_in_the_middle_gives_no_verdict_and_the_next_one_works(line: Line) -> None:
    asked = asyncio.create_task(line.store.fetchval("SELECT pg_sleep(60)"))
    await asyncio.wait([asked], timeout=0.1)

    line.proxy.reset()

    with pytest.raises(NoVerdict):
        await asked
    assert 1 == await line.store.fetchval("SELECT 1")


async def test_a_backend_that_is_ended_gives_no_verdict_and_the_next_one_works(line: Line) -> None:
    with pytest.raises(NoVerdict):
        await line.store.fetchval("SELECT pg_terminate_backend(pg_backend_pid())")

    assert 1 == await line.store.fetchval("SELECT 1")


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("57P03", id="starting up or recovering"),
        pytest.param("53300", id="too many connections"),
        pytest.param("28P01", id="password changed"),
        pytest.param("XX000", id="anything"),
    ],
)
async def test_nothing_was_done_when_there_is_no_connection(state: str, line: Line) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        said = f"SFATAL\0C{state}\0Mnot now\0\0".encode()
        writer.write(b"E" + (len(said) + 4).to_bytes(4, "big") + said)
        writer.close()

    target = line.proxy.target
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        line.proxy.target = server.sockets[0].getsockname()[1]
        line.proxy.reset()

        with pytest.raises(Unavailable):
            await until_it_reconnects(line.store)

    line.proxy.target = target
    assert 1 == await line.store.fetchval("SELECT 1")


async def until_it_reconnects(store: Store) -> None:
    """Ask until the store has noticed that its connection is gone."""
    async with asyncio.timeout(5):
        while True:
            try:
                await store.fetchval("SELECT 1")
            except NoVerdict:
                continue
