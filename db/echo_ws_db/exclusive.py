"""The connection that migrates: checked, alone, and with every failure as a ``MigrationError``."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import parse_qs, urlsplit

import asyncpg

from .release import MigrationError, Script

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

OLDEST_POSTGRESQL = 15

_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
_SETTINGS = {
    "application_name": "echo-ws migrate",
    "search_path": "public",
    "timezone": "UTC",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_LOCK = int.from_bytes(b"echo", "big")
_POLL_SECONDS = 0.1
_LOCK_TIMEOUTS_MS = (1_000, 2_000, 4_000, 8_000, 16_000)
_HOLDER = """
SELECT format('the migration of PostgreSQL''s process %s (%s, begun at %s UTC)',
    a.pid, coalesce(host(a.client_addr), 'this machine'), to_char(a.backend_start AT TIME ZONE 'UTC', 'HH24:MI:SS'))
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid::bigint = $1 AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Connect to a PostgreSQL that echo_ws can live with."""
    try:
        connection = await asyncpg.connect(url, timeout=10, server_settings=_SETTINGS)
    except (*_FAILURES, ValueError) as error:
        raise MigrationError(f"cannot connect to PostgreSQL at {place(url)}: {one_line(error)}") from error
    try:
        await check_version(connection)
        yield connection
    except _FAILURES as error:
        raise MigrationError(f"PostgreSQL refused: {one_line(error)}") from error
    finally:
        await connection.close()


async def check_version(connection: Connection) -> None:
    """Refuse a PostgreSQL that is too old, and a database whose encoding cannot hold every text."""
    major = connection.get_server_version().major
    if reason := unsuitable(major, connection.get_settings().server_encoding):
        raise MigrationError(reason)


def unsuitable(major: int, encoding: str) -> str | None:
    if major < OLDEST_POSTGRESQL:
        return f"PostgreSQL {major} is too old: echo_ws needs {OLDEST_POSTGRESQL} or newer"
    if encoding != "UTF8":
        return f"the database has the encoding {encoding}: create it anew with ENCODING 'UTF8'"
    return None


async def wait_until_alone(connection: Connection, deadline_s: float, on_wait: Callable[[str], None]) -> None:
    """Take the lock of all who migrate this database, which closing the connection gives back.

    It is polled: waiting for it inside PostgreSQL deadlocks with a CREATE INDEX CONCURRENTLY of its holder.
    """
    began, told = time.monotonic(), False
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        holder = await connection.fetchval(_HOLDER, _LOCK)
        if time.monotonic() - began > deadline_s:
            raise MigrationError(f"waited {deadline_s:g} s for {holder}: let it finish or end it, then try again")
        if holder and not told:
            on_wait(holder)
            told = True
        await asyncio.sleep(_POLL_SECONDS)


async def give_way(connection: Connection, name: str, change: Callable[[], Awaitable[None]]) -> None:
    """Make a change in one transaction, again and again while others hold what it must lock.

    A statement that waits for a table holds up everybody who comes after it, so it waits briefly.
    """
    for timeout_ms in _LOCK_TIMEOUTS_MS:
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = {timeout_ms}")
                await change()
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(timeout_ms / 2_000)
        else:
            return
    raise MigrationError(f"{name} failed: others keep a table locked, end their long transactions and try again")


async def execute(connection: Connection, name: str, script: Script) -> None:
    """Run a whole script in one simple query, which needs no splitting and no parameters."""
    if script.is_empty:
        return  # asyncpg trips over a query without a statement
    try:
        await connection.execute(script.sql)
    except asyncpg.LockNotAvailableError:
        raise
    except asyncpg.PostgresError as error:
        position = getattr(error, "position", None)  # in characters, from 1
        line = f" in line {script.first_line + script.sql[: int(position)].count(chr(10))}" if position else ""
        raise MigrationError(f"{name} failed{line}: {one_line(error)}") from error


def place(url: str) -> str:
    """Return where a URL points to, without the user and password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "its URL"
    return parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", ["its default place"])[0]


def one_line(error: BaseException) -> str:
    message = getattr(error, "message", None) or str(error)  # without PostgreSQL's detail, which may quote a row
    return " ".join(message.split()) or type(error).__name__
