"""What a statement's failure is called, and what it may tell."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from echo_ws_db.pool import Crossed, Failed, NoVerdict, Unavailable, _is_open, connect
from tests.support.world import World


class Between:
    """Stands between a pool and PostgreSQL, and can speak in its name."""

    def __init__(self, url: str, folder: Path) -> None:
        (behind,) = parse_qs(urlsplit(url).query)["host"]
        self.url = url.replace(behind, str(folder))
        self.is_starting_up = False
        self._behind = f"{behind}/.s.PGSQL.5432"
        self._in_front = str(folder / ".s.PGSQL.5432")
        self._clients: list[asyncio.StreamWriter] = []

    async def open(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, self._in_front)

    def say(self, sqlstate: bytes, text: bytes) -> None:
        """Send an error to every client, and leave the connections open."""
        fields = b"SFATAL\0VFATAL\0C%s\0M%s\0\0" % (sqlstate, text)
        for client in self._clients:
            client.write(b"E" + (len(fields) + 4).to_bytes(4) + fields)

    def hang_up(self) -> None:
        while self._clients:
            self._clients.pop().close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.append(writer)
        if self.is_starting_up:
            await reader.read(1)
            self.say(b"57P03", b"the database system is starting up")
            writer.close()
            return
        to_read, to_write = await asyncio.open_unix_connection(self._behind)
        await asyncio.gather(_carry(reader, to_write), _carry(to_read, writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(65536):
        writer.write(some)
    writer.close()


@pytest.fixture
async def between(people: World, data_dir: Path) -> AsyncIterator[Between]:
    between = Between(people.database_url, data_dir)
    async with await between.open():
        yield between


async def test_what_postgresql_refuses_is_told_without_the_row(people: World) -> None:
    with pytest.raises(Crossed) as failed:
        await people.store.execute(
            "INSERT INTO auth.users (phone, password_hash, locked) VALUES ('+4915550000', NULL, TRUE)"
        )

    assert str(failed.value).startswith("23502: null value in column")
    assert "4915550000" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


async def test_a_refusal_that_no_second_try_would_change_is_just_that(people: World) -> None:
    with pytest.raises(Failed) as failed:
        await people.store.execute("SELECT 1 / 0")

    assert not isinstance(failed.value, Crossed)


@pytest.mark.parametrize("shortage", ["disk_full", "out_of_memory"])
async def test_a_server_that_is_short_of_something_may_be_asked_again(people: World, shortage: str) -> None:
    with pytest.raises(Unavailable):
        await people.store.execute(f"DO $$ BEGIN RAISE {shortage}; END $$")


async def test_a_statement_that_takes_too_long_has_done_nothing(people: World) -> None:
    store = await connect(people.database_url, size=1, statement_timeout=0.02)

    with pytest.raises(Unavailable):
        await store.execute("SELECT pg_sleep(10)")

    assert 1 == await store.fetchval("SELECT 1")
    await store.close()


async def test_when_all_connections_are_taken_the_next_one_does_not_wait_for_ever(people: World) -> None:
    store = await connect(people.database_url, size=1, acquire_timeout=0.02)
    async with store._pool.acquire():
        with pytest.raises(Unavailable, match="no connection"):
            await store.execute("SELECT 1")

    await store.close()


async def test_a_connection_on_which_the_server_has_said_goodbye_gives_no_verdict_and_way_to_another(
    between: Between,
) -> None:
    store = await connect(between.url, size=1)
    between.say(b"57P01", b"terminating connection due to unexpected postmaster exit")
    await asyncio.sleep(0.05)  # it is to be heard while nothing is asked; heard later, the verdict is the same

    with pytest.raises(NoVerdict):
        await store.fetchval("SELECT 1")

    assert 1 == await store.fetchval("SELECT 1")
    await store.close()


@pytest.mark.parametrize("last_word", [b"terminating connection due to unexpected postmaster exit", b""])
async def test_a_connection_that_is_lost_under_a_statement_gives_no_verdict(between: Between, last_word: bytes) -> None:
    store = await connect(between.url, size=1)
    statement = asyncio.create_task(store.fetchval("SELECT pg_sleep(1)"))
    async with asyncio.timeout(1):
        while store.idle:  # noqa: ASYNC110  # nothing tells when it is sent
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    if last_word:
        between.say(b"57P01", last_word)
    between.hang_up()

    with pytest.raises(NoVerdict):
        await statement
    assert 1 == await store.fetchval("SELECT 1")
    await store.close()


async def test_a_server_that_starts_up_is_unavailable(between: Between) -> None:
    store = await connect(between.url, size=2)
    between.is_starting_up = True

    async with store._pool.acquire():
        with pytest.raises(Unavailable, match="starting up"):
            await store.fetchval("SELECT 1")

    await store.close()


async def test_a_connection_that_is_kept_goes_to_whoever_waits_for_one(people: World) -> None:
    store = await connect(people.database_url, size=1)

    slow = [store.fetchval("SELECT $1::int FROM pg_sleep(0.05)", n) for n in range(4)]

    assert [0, 1, 2, 3] == await asyncio.gather(*slow)
    await store.close()


async def test_a_statement_that_is_called_off_leaves_the_connection_to_the_next(people: World) -> None:
    store = await connect(people.database_url, size=1)
    called_off = asyncio.create_task(store.fetchval("SELECT 1 FROM pg_sleep(10)"))
    async with asyncio.timeout(1):
        while store.idle:  # noqa: ASYNC110  # nothing tells when it is sent
            await asyncio.sleep(0.01)

    called_off.cancel()

    with pytest.raises(asyncio.CancelledError):
        await called_off
    assert 2 == await store.fetchval("SELECT 2")
    await store.close()


async def test_one_that_was_lost_while_unused_is_replaced_unnoticed(between: Between) -> None:
    store = await connect(between.url, size=1)
    assert 1 == await store.fetchval("SELECT 1")
    (kept,) = store._spare

    between.hang_up()
    async with asyncio.timeout(1):
        while _is_open(kept):  # noqa: ASYNC110  # a connection does not call back
            await asyncio.sleep(0.01)

    assert 2 == await store.fetchval("SELECT 2")
    await store.close()
