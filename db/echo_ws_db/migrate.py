"""Brings a database to what this release wants, or back: ``up``, ``down``, ``status``."""

import time
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, TypeAlias

from . import ledger
from .adoption import adopt
from .exclusive import Connection, check_version, connected, execute, give_way, wait_until_alone
from .ledger import Ledger
from .release import Migration, MigrationError, Release, Script, read

__all__ = ["MigrationError", "Status", "check_version", "current", "down", "status", "up"]

OnStep: TypeAlias = Callable[[str, float], None]
"""Hears what was done, and how many seconds it took."""
State: TypeAlias = Literal["applied", "pending", "changed", "unknown"]


class Status(NamedTuple):
    """``changed`` is not the file that was applied; ``unknown`` was applied by a newer release."""

    version: str
    name: str
    state: State


async def up(
    url: str, *, on_step: OnStep | None = None, release: Release | None = None, deadline_s: float = 300
) -> None:
    """Apply what is pending and put this release's SQL functions in place, after waiting for others who do the same."""
    release, on_step = release or read(), _say_nothing if on_step is None else on_step
    async with connected(url) as connection:
        await wait_until_alone(connection, deadline_s, lambda holder: on_step(f"waiting for {holder}", 0))
        await ledger.create(connection)
        state = await ledger.read(connection)
        _refuse_changed(release, state)
        await ledger.complete(connection, release.migrations, state)
        for migration in release.migrations:
            if migration.version not in state.applied:
                await _timed(on_step, migration.name, _apply(connection, migration))
        if newer := _newer(release, state):
            on_step(f"{', '.join(newer)} of a newer release left as it is, with its functions", 0)
        elif release.functions and state.functions != release.functions_digest:
            await _timed(on_step, "functions", _replace_functions(connection, release))


async def down(
    url: str,
    steps: int = 1,
    *,
    on_step: OnStep | None = None,
    release: Release | None = None,
    deadline_s: float = 300,
) -> None:
    """Undo the last ``steps`` migrations, and drop the SQL functions, which the next ``up`` makes anew."""
    release, on_step = release or read(), _say_nothing if on_step is None else on_step
    async with connected(url) as connection:
        await wait_until_alone(connection, deadline_s, lambda holder: on_step(f"waiting for {holder}", 0))
        state = await ledger.read(connection)
        _refuse_changed(release, state)
        undone = [_undoable(version, release, state) for version in sorted(state.applied, reverse=True)[:steps]]
        if undone and state.functions:
            await _timed(on_step, "functions", _drop_functions(connection, release))
        for migration, script in undone:
            await _timed(on_step, migration.name, _undo(connection, migration, script))


async def status(url: str, *, release: Release | None = None) -> list[Status]:
    """Return the state of every migration that this release or the database knows, and of the functions."""
    release = release or read()
    async with connected(url) as connection:
        state = await ledger.read(connection)
    known = [Status(migration.version, migration.name, _state(migration, state)) for migration in release.migrations]
    newer = [Status(version, "", "unknown") for version in _newer(release, state)]
    functions = [Status("", "functions", _functions_state(release, state))] if release.functions else []
    return sorted(known + newer) + functions


async def current(url: str, *, release: Release | None = None) -> bool:
    """Return whether this release can run on the database: nothing is pending, and newer does no harm."""
    return all(row.state in ("applied", "unknown") for row in await status(url, release=release))


def _state(migration: Migration, state: Ledger) -> State:
    if migration.version not in state.applied:
        return "pending"
    return "applied" if state.checksums.get(migration.version, migration.checksum) == migration.checksum else "changed"


def _functions_state(release: Release, state: Ledger) -> State:
    """Functions of a newer release serve an older one as well, so that it runs on while it is replaced."""
    return "applied" if _newer(release, state) or release.functions_digest in state.functions_ever else "pending"


def _newer(release: Release, state: Ledger) -> list[str]:
    return sorted(state.applied - {migration.version for migration in release.migrations})


def _refuse_changed(release: Release, state: Ledger) -> None:
    for migration in release.migrations:
        if _state(migration, state) == "changed":
            raise MigrationError(
                f"{migration.name} was changed after it was applied: restore the file and write a new migration"
            )


async def _apply(connection: Connection, migration: Migration) -> None:
    script = migration.up

    async def change() -> None:
        existing = await _existing_tables(connection, script)
        if existing and script.options.get("adopt") == "same":
            await adopt(connection, script)
        else:
            await execute(connection, migration.name, script)
        await ledger.add(connection, migration, adopted=existing and "adopt" in script.options)

    if script.is_transactional:
        await give_way(connection, migration.name, change)
    else:
        await _drop_invalid_indexes(connection, script)
        await change()


async def _existing_tables(connection: Connection, script: Script) -> bool:
    found: bool = await connection.fetchval(
        "SELECT count(to_regclass(name)) > 0 FROM unnest($1::text[]) name", script.tables
    )
    return found


async def _drop_invalid_indexes(connection: Connection, script: Script) -> None:
    """Clear away what a failed CREATE INDEX CONCURRENTLY left: IF NOT EXISTS takes it for a good index."""
    for name, qualified in await connection.fetch(
        "SELECT c.relname, c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE NOT i.indisvalid"
    ):
        if name in script.sql:
            await connection.execute(f"DROP INDEX CONCURRENTLY {qualified}")


def _undoable(version: str, release: Release, state: Ledger) -> tuple[Migration, Script]:
    migration = next((one for one in release.migrations if one.version == version), None)
    if migration is None:
        raise MigrationError(f"{version} was applied by a newer release: undo it with that release")
    if version in state.adopted:
        raise MigrationError(f"{migration.name} adopted the tables of another service: they are not ours to drop")
    if migration.down is None:
        raise MigrationError(f"{migration.name} cannot be undone: it has no down section")
    return migration, migration.down


async def _undo(connection: Connection, migration: Migration, script: Script) -> None:
    async def change() -> None:
        await execute(connection, migration.name, script)
        await ledger.remove(connection, migration)

    if script.is_transactional:
        await give_way(connection, migration.name, change)
    else:
        await change()


async def _replace_functions(connection: Connection, release: Release) -> None:
    async def change() -> None:
        await connection.execute("SET LOCAL check_function_bodies = off")  # they call each other, in any order
        await execute(connection, "functions", Script(release.functions, 1, {}))
        await ledger.add_functions(connection, release.functions_digest)

    await give_way(connection, "functions", change)


async def _drop_functions(connection: Connection, release: Release) -> None:
    """Tables cannot be dropped while a function takes or returns their rows."""
    async with connection.transaction():
        for (signature,) in await connection.fetch(
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
            " WHERE format('%s.%s', n.nspname, p.proname) = ANY($1::text[])",
            release.function_names,
        ):
            await connection.execute(f"DROP ROUTINE {signature}")
        await ledger.remove_functions(connection)


async def _timed(on_step: OnStep, name: str, step: Awaitable[None]) -> None:
    began = time.perf_counter()
    await step
    on_step(name, time.perf_counter() - began)


def _say_nothing(name: str, seconds: float) -> None:
    pass
