from collections.abc import Iterator

import asyncpg
import pytest

from tests.support.services import Databases

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
