"""What a statement's failure is called, and what it may tell."""

import pytest

from echo_ws_db.pool import Crossed, Failed, Unavailable, connect
from tests.support.world import World


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
