import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from echo_ws_db import catalog, exclusive, migrate
from echo_ws_db.migrate import MigrationError, Status
from echo_ws_db.release import Release, read
from tests.db.reference import TABLE_COUNTS
from tests.db.sql import connection, is_seen, run, value
from tests.support.services import Databases


class Steps:
    """What a run said it did."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, name: str, _seconds: float) -> None:
        self.names.append(name)


def release(folder: Path, *migrations: str, functions: str = "") -> Release:
    """Return a release with these migrations, named 0001_step, 0002_step …."""
    for number, sql in enumerate(migrations, start=1):
        text = sql if "migrate:up" in sql else f"-- migrate:up\n{sql}"
        (folder / f"{number:04}_step.sql").write_text(text)
    return read(folder, functions)


async def test_a_second_up_does_nothing(scratch: str) -> None:
    first, second = Steps(), Steps()

    await migrate.up(scratch, on_step=first)
    await migrate.up(scratch, on_step=second)

    assert [*(migration.name for migration in read().migrations), "functions"] == first.names
    assert [] == second.names
    assert await migrate.current(scratch)


async def test_two_at_once_apply_everything_once(scratch: str) -> None:
    steps = Steps()

    await asyncio.gather(*(migrate.up(scratch, on_step=steps) for _ in range(3)))

    done = [step for step in steps.names if not step.startswith("waiting for")]
    assert [*(migration.name for migration in read().migrations), "functions"] == done


async def test_down_undoes_everything_and_up_makes_the_same_again(scratch: str) -> None:
    await migrate.up(scratch)
    async with connection(scratch) as db:
        before = await catalog.read(db, TABLE_COUNTS)

        await migrate.down(scratch, steps=99)

        assert {} == await catalog.read(db, TABLE_COUNTS)
        assert not await migrate.current(scratch)

        await migrate.up(scratch)

        assert before == await catalog.read(db, TABLE_COUNTS)


async def test_a_changed_migration_is_refused(scratch: str, tmp_path: Path) -> None:
    await migrate.up(scratch, release=release(tmp_path, "CREATE TABLE a ()"))
    changed = release(tmp_path, "CREATE TABLE b ()", "CREATE TABLE c ()")

    with pytest.raises(MigrationError, match="0001_step was changed after it was applied: restore the file"):
        await migrate.up(scratch, release=changed)

    assert ["changed", "pending"] == [row.state for row in await migrate.status(scratch, release=changed)]
    assert await value(scratch, "SELECT to_regclass('c')") is None


async def test_a_failed_migration_leaves_nothing_and_names_its_line(scratch: str, tmp_path: Path) -> None:
    broken = release(
        tmp_path, "-- migrate:up\n\nCREATE TABLE a ();\n\nSELECT ä FROM a;\n-- migrate:down\nDROP TABLE a;"
    )

    with pytest.raises(MigrationError, match=r'^0001_step failed in line 5: column "ä" does not exist$'):
        await migrate.up(scratch, release=broken)

    assert await value(scratch, "SELECT to_regclass('a')") is None
    assert [Status("0001", "0001_step", "pending")] == await migrate.status(scratch, release=broken)


async def test_a_migration_of_a_newer_release_is_left_alone(scratch: str, tmp_path: Path) -> None:
    """A worker of the old release may start again while the new one is rolled out."""
    old = release(tmp_path, "CREATE TABLE a ()", functions=function("old"))
    new = release(tmp_path, "CREATE TABLE a ()", "CREATE TABLE b ()", functions=function("new"))
    steps = Steps()
    await migrate.up(scratch, release=new)

    await migrate.up(scratch, release=old, on_step=steps)

    assert ["0002 of a newer release left as it is, with its functions"] == steps.names
    assert "new" == await value(scratch, "SELECT public.release()")
    assert Status("0002", "", "unknown") in await migrate.status(scratch, release=old)
    assert await migrate.current(scratch, release=old)
    with pytest.raises(MigrationError, match="0002 was applied by a newer release: undo it with that release"):
        await migrate.down(scratch, release=old)


def function(answer: str) -> str:
    return f"CREATE OR REPLACE FUNCTION public.release() RETURNS text LANGUAGE sql AS $$ SELECT '{answer}' $$"


async def test_changed_functions_are_replaced(scratch: str, tmp_path: Path) -> None:
    old = release(tmp_path, functions=function("old"))
    new = release(tmp_path, functions=function("new"))
    steps = Steps()
    await migrate.up(scratch, release=old)
    assert not await migrate.current(scratch, release=new)

    await migrate.up(scratch, release=new, on_step=steps)

    assert ["functions"] == steps.names
    assert "new" == await value(scratch, "SELECT public.release()")
    assert await migrate.current(scratch, release=new)
    assert await migrate.current(scratch, release=old), "the old release runs on until it is replaced"


async def test_going_back_to_older_functions_puts_them_in_place(scratch: str, tmp_path: Path) -> None:
    old = release(tmp_path, functions=function("old"))
    await migrate.up(scratch, release=old)
    await migrate.up(scratch, release=release(tmp_path, functions=function("new")))

    await migrate.up(scratch, release=old)

    assert "old" == await value(scratch, "SELECT public.release()")


async def test_who_waits_too_long_is_told_for_whom(scratch: str, tmp_path: Path) -> None:
    nothing = release(tmp_path)
    async with connection(scratch) as other:
        await exclusive.wait_until_alone(other, 1, lambda _: None)

        with pytest.raises(MigrationError, match=f"waited 0 s for .* process {other.get_server_pid()} .*this machine"):
            await migrate.up(scratch, release=nothing, deadline_s=0)


async def test_an_index_is_built_concurrently_while_another_waits(scratch: str, tmp_path: Path) -> None:
    """The waiting one holds nothing that the index waits for: no deadlock."""
    await migrate.up(scratch, release=release(tmp_path, "CREATE TABLE a (n int)"))
    concurrent = release(
        tmp_path,
        "CREATE TABLE a (n int)",
        "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY idx_a_n ON a (n);",
    )
    someone_waits = asyncio.Event()
    async with connection(scratch) as writer, asyncio.TaskGroup() as runners:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("INSERT INTO a VALUES (1)")
        runners.create_task(migrate.up(scratch, release=concurrent))
        await is_seen(scratch, "query LIKE '%CONCURRENTLY%' AND wait_event_type = 'Lock'")
        runners.create_task(migrate.up(scratch, release=concurrent, on_step=lambda *_: someone_waits.set()))
        await someone_waits.wait()

        await transaction.commit()

    assert await value(scratch, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_a_n'::regclass")


async def test_an_index_that_failed_half_way_is_built_again(scratch: str, tmp_path: Path) -> None:
    """IF NOT EXISTS would be content with the invalid one."""
    unique = release(
        tmp_path,
        "CREATE TABLE a (n int); INSERT INTO a VALUES (1), (1)",
        "-- migrate:up transaction:false\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS idx_a_n ON a (n);",
    )
    with pytest.raises(MigrationError, match='0002_step failed: could not create unique index "idx_a_n"'):
        await migrate.up(scratch, release=unique)
    await run(scratch, "TRUNCATE a")

    await migrate.up(scratch, release=unique)

    assert await value(scratch, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_a_n'::regclass")


async def test_a_locked_table_is_tried_again(scratch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive, "_LOCK_TIMEOUTS_MS", (1, 60_000))
    await migrate.up(scratch, release=release(tmp_path, "CREATE TABLE a ()"))
    alter = release(tmp_path, "CREATE TABLE a ()", "ALTER TABLE a ADD COLUMN n int")
    async with connection(scratch) as reader, asyncio.TaskGroup() as runners:
        transaction = reader.transaction()
        await transaction.start()
        await reader.execute("SELECT FROM a")
        runners.create_task(migrate.up(scratch, release=alter))
        await is_seen(scratch, "query LIKE '%ALTER TABLE%' AND wait_event_type = 'Lock'")

        await transaction.commit()

    assert await migrate.current(scratch, release=alter)


async def test_a_table_that_stays_locked_is_told(scratch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exclusive, "_LOCK_TIMEOUTS_MS", (1, 1))
    await migrate.up(scratch, release=release(tmp_path, "CREATE TABLE a ()"))
    alter = release(tmp_path, "CREATE TABLE a ()", "ALTER TABLE a ADD COLUMN n int")
    async with connection(scratch) as reader, reader.transaction():
        await reader.execute("SELECT FROM a")

        with pytest.raises(MigrationError, match="0002_step failed: others keep a table locked"):
            await migrate.up(scratch, release=alter)


async def test_what_dbmate_applied_counts(scratch: str, tmp_path: Path) -> None:
    await run(
        scratch,
        "CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);"
        "INSERT INTO schema_migrations VALUES ('0001'); CREATE TABLE a ()",
    )
    steps = Steps()

    await migrate.up(scratch, release=release(tmp_path, "CREATE TABLE a ()", "CREATE TABLE b ()"), on_step=steps)

    assert ["0002_step"] == steps.names
    with pytest.raises(MigrationError, match="0001_step was changed"):
        await migrate.up(scratch, release=release(tmp_path, "CREATE TABLE c ()"))


async def test_a_table_of_another_tool_is_told(scratch: str, tmp_path: Path) -> None:
    await run(scratch, "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")

    with pytest.raises(MigrationError, match=r"belongs to another tool \(its version is bigint\): rename that table"):
        await migrate.up(scratch, release=release(tmp_path))


async def test_a_migration_without_a_way_back_stays(scratch: str, tmp_path: Path) -> None:
    one_way = release(tmp_path, "CREATE TABLE a ()")
    await migrate.up(scratch, release=one_way)

    with pytest.raises(MigrationError, match="0001_step cannot be undone: it has no down section"):
        await migrate.down(scratch, release=one_way)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"first.sql": "-- migrate:up\n"}, "first.sql: a migration is called like 0001_name.sql"),
        ({"0001_a.sql": "CREATE TABLE a ()"}, '0001_a.sql: expected "-- migrate:up" and then "-- migrate:down"'),
        ({"0001_a.sql": "-- migrate:up\n", "0001_b.sql": "-- migrate:up\n"}, "two migrations have the version 0001"),
    ],
)
def test_a_malformed_migration_is_told(tmp_path: Path, files: dict[str, str], complaint: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(MigrationError, match=complaint):
        read(tmp_path, "")


def test_a_checkout_with_other_line_ends_has_the_same_checksum(tmp_path: Path) -> None:
    file = tmp_path / "0001_a.sql"
    file.write_bytes(b"-- migrate:up\nSELECT 1;\n")
    before = read(tmp_path, "")

    file.write_bytes(b"-- migrate:up\r\nSELECT 1;\r\n")

    assert before == read(tmp_path, "")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        (
            lambda _: "postgresql://someone:secret@127.0.0.1:1/echo",
            r"^cannot connect to PostgreSQL at 127.0.0.1:1: .*\b111\b",
        ),
        (lambda _: "echo", "^cannot connect to PostgreSQL at .*: invalid DSN"),
        (lambda url: re.sub(r"/test_\d+", "/nowhere", url), '^cannot connect .*: database "nowhere" does not exist$'),
    ],
)
async def test_an_unreachable_database_is_told_in_one_line(
    scratch: str, url: Callable[[str], str], complaint: str
) -> None:
    with pytest.raises(MigrationError, match=complaint) as caught:
        await migrate.up(url(scratch))

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_old_postgresql_is_refused() -> None:
    assert "PostgreSQL 14 is too old: echo_ws needs 15 or newer" == exclusive.unsuitable(14, "UTF8")
    assert exclusive.unsuitable(15, "UTF8") is None


async def test_a_database_that_cannot_hold_every_text_is_refused(databases: Databases, scratch: str) -> None:
    name = "test_ascii"
    databases_sql = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'"
    await run(scratch, databases_sql)

    with pytest.raises(MigrationError, match="the database has the encoding SQL_ASCII: create it anew"):
        await migrate.up(databases.url_of(name))

    await run(scratch, f"DROP DATABASE {name}")
