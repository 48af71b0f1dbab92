"""What may lie between echo_ws and PostgreSQL."""

import shutil
from pathlib import Path

import pytest

from echo_ws_db import pooler
from echo_ws_db.pool import SETTINGS, Unavailable
from tests.support.pooler import Pooler, pgbouncer, stand_in
from tests.support.services import Databases

OURS = [*SETTINGS, "statement_timeout", "search_path"]
POOLERS = [stand_in, pgbouncer] if shutil.which("pgbouncer") else [stand_in]


@pytest.fixture(params=POOLERS, ids=lambda pooler: pooler.__name__)
def between(request: pytest.FixtureRequest) -> Pooler:
    pooler: Pooler = request.param
    return pooler


@pytest.fixture
def prepared(databases: Databases, database: str) -> str:
    """Return the URL of a database that has our settings without being told."""
    name = database.partition("?")[0].rpartition("/")[2]
    for setting, value in SETTINGS.items():
        databases.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    return database


async def test_postgresql_itself_is_taken(database: str) -> None:
    await pooler.refuse(database)


async def test_a_pooler_that_lends_by_sessions_is_taken(between: Pooler, prepared: str, data_dir: Path) -> None:
    async with between(prepared, data_dir, "session", OURS) as url:
        await pooler.refuse(url)


async def test_a_pooler_that_lends_by_transactions_is_refused(between: Pooler, prepared: str, data_dir: Path) -> None:
    async with between(prepared, data_dir, "transaction", OURS) as url:
        with pytest.raises(Unavailable, match="by transactions: use pool_mode session; see PgBouncer in"):
            await pooler.refuse(url)


async def test_a_pooler_that_keeps_our_settings_to_itself_is_refused(
    between: Pooler, database: str, data_dir: Path
) -> None:
    async with between(database, data_dir, "session", OURS) as url:
        with pytest.raises(Unavailable, match=r"set .*plan_cache_mode = 'force_generic_plan'.* on the role"):
            await pooler.refuse(url)


async def test_a_pooler_that_refuses_our_settings_is_told_with_what_to_do(
    between: Pooler, database: str, data_dir: Path
) -> None:
    async with between(database, data_dir, "session", []) as url:
        with pytest.raises(Unavailable, match=r"unsupported startup parameter.*; see PgBouncer in docs/operating\.md"):
            await pooler.refuse(url)


async def test_a_postgresql_that_is_away_is_told_with_its_place() -> None:
    with pytest.raises(Unavailable, match=r"cannot connect to PostgreSQL at 127\.0\.0\.1:1: "):
        await pooler.refuse("postgresql://echo:secret@127.0.0.1:1/echo")
