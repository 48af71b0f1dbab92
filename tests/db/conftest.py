import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from echo_ws_db import users
from tests.support.other_service import Sql
from tests.support.owners import HASH, Owner, enter
from tests.support.services import Databases
from tests.support.world import World

EMPTY = """
DO $$
DECLARE
    name TEXT;
BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
END
$$;
CREATE SCHEMA public;
"""


@pytest.fixture(scope="module")
def _scratch(databases: Databases) -> Iterator[str]:
    with databases.fresh("template0") as url:
        yield url


@pytest.fixture
def scratch(databases: Databases, _scratch: str) -> str:
    """Return the URL of a database without any schema, emptied for each test: a new one takes ten times as long."""
    databases.run(_empty(_scratch))
    return _scratch


async def _empty(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(EMPTY)
    await connection.close()


@pytest.fixture
async def owner(people: World) -> Owner:
    phone = people.phone()
    user = await users.add(people.store, phone, "Alice", HASH)
    assert user
    return Owner(user, phone, (await enter(people.store, user, "at-home")).session)


@pytest.fixture
async def elsewhere(people: World) -> AsyncIterator[Sql]:
    """Yield a connection in the middle of a transaction."""
    async with _transaction(people.database_url) as connection:
        yield connection


@pytest.fixture
async def farther(people: World) -> AsyncIterator[Sql]:
    """Yield one more connection in the middle of a transaction."""
    async with _transaction(people.database_url) as connection:
        yield connection


@asynccontextmanager
async def _transaction(url: str) -> AsyncIterator[Sql]:
    connection: Sql = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    await connection.execute("BEGIN")
    yield connection
    await connection.close()
