"""Refuse a pooler that would break what echo_ws relies on: its settings, and statements that stay prepared."""

from typing import TypeAlias

import asyncpg

from .exclusive import one_line, place
from .pool import SETTINGS, UNREACHABLE, Unavailable

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_ROUNDS = 5
_SEE = "see PgBouncer in docs/operating.md"
_LOST = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)


async def refuse(url: str) -> None:
    """Return if connections to ``url`` are processes of PostgreSQL, or as good as these.

    Raises:
        Unavailable: PostgreSQL cannot be reached, or a pooler lies between that lends its processes by transactions, or
            keeps our settings from them.
    """
    connections: list[Connection] = []
    try:
        for _ in range(2):
            connections.append(await asyncpg.connect(url, timeout=5, server_settings=SETTINGS))  # noqa: PERF401  # closed below
        if await _are_lent(*connections):
            raise Unavailable(
                f"a pooler lends connections to PostgreSQL by transactions: use pool_mode session; {_SEE}"
            )
        if kept := await _kept_back(connections[0]):
            raise Unavailable(f"a pooler keeps settings from PostgreSQL: set {', '.join(kept)} on the role; {_SEE}")
    except UNREACHABLE as error:
        hint = f"; {_SEE}" if "startup parameter" in str(error) else ""
        raise Unavailable(f"cannot connect to PostgreSQL at {place(url)}: {one_line(error)}{hint}") from error
    finally:
        for connection in connections:
            await connection.close(timeout=1)


async def _are_lent(one: Connection, other: Connection) -> bool:
    """Tell whether two connections, asked in turn, are answered by the same process, or one by several."""
    seen: tuple[set[int], set[int]] = (set(), set())
    try:
        for _ in range(_ROUNDS):
            for connection, processes in zip((one, other), seen, strict=True):
                processes.add(await connection.fetchval("SELECT pg_backend_pid()"))
    except _LOST:
        return True
    return max(map(len, seen)) > 1 or seen[0] == seen[1]


async def _kept_back(connection: Connection) -> list[str]:
    """Return the settings that are not in force."""
    rows = await connection.fetch(
        "SELECT lower(name), setting FROM pg_settings WHERE lower(name) = ANY($1)", [*SETTINGS]
    )
    in_force = {name: setting for name, setting in rows}  # noqa: C416  # a Record is not known to be a pair
    return [f"{name} = {wanted!r}" for name, wanted in SETTINGS.items() if in_force.get(name) != wanted]
