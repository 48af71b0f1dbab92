"""Connections to PostgreSQL, and what can go wrong on them. Only this package imports asyncpg."""

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
from msgspec import DecodeError, json


class StoreError(Exception):
    """A statement did not succeed."""


class Unavailable(StoreError):
    """Nothing was done; ask again a little later."""


class TooSlow(Unavailable):
    """Nothing was done within the time that a statement has."""


class NoVerdict(StoreError):
    """The statement was sent and no answer came: it may have been carried out, or may still be."""


class Failed(StoreError):
    """PostgreSQL refused the statement for good; nothing was done."""


class Crossed(Failed):
    """Refused because of what was committed meanwhile, which a second try will see."""


SETTINGS = {
    "timezone": "UTC",
    "jit": "off",
    # Every statement is small and finds its rows by index: planning it anew would cost more than running it, and a plan
    # made while the tables were empty must not scan them when they are full.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "10000",
}
"""What every session relies on, as ``pg_settings`` shows it."""

UNREACHABLE = (
    OSError,
    ValueError,  # a URL that is none
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What trying to connect may end in."""

_NOT_DONE = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientResourcesError,  # a full disk, no memory: what is refused now may be taken when there is room
)
_NO_VERDICT = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,  # among others: the server has said goodbye, and the connection is not closed yet
)

# asyncpg's classes are generic in its stubs only.
if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
    _Pool = asyncpg.Pool[asyncpg.Record]
else:
    _Connection = asyncpg.Connection
    _Pool = asyncpg.Pool


class Connection(_Connection):
    """A connection that needs no cleaning: no statement of this package leaves session state behind."""

    def get_reset_query(self) -> str:
        return ""


class Store:
    """A pool whose every call ends in time, and in an answer, ``Unavailable``, ``NoVerdict`` or ``Failed``."""

    def __init__(self, pool: _Pool, *, acquire_timeout: float, statement_timeout: float) -> None:
        self._pool = pool
        self._acquire_timeout = acquire_timeout
        # PostgreSQL cancels first; this is for one that hangs. asyncpg's own timeout would wait for it twice.
        self._guard = statement_timeout + 1
        self._spare: list[Any] = []
        """Held between two statements: to give one back to the pool and take it again is two tasks and their turns."""
        self._waiting = 0
        self.answered_at = asyncio.get_running_loop().time()
        """The loop's time at which PostgreSQL last carried a statement out."""

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        rows: list[Any] = await self._run("fetch", sql, args)
        return rows

    async def fetchrow(self, sql: str, *args: object) -> Any:
        return await self._run("fetchrow", sql, args)

    async def fetchval(self, sql: str, *args: object) -> Any:
        return await self._run("fetchval", sql, args)

    async def execute(self, sql: str, *args: object) -> str:
        status: str = await self._run("execute", sql, args)
        return status

    @property
    def idle(self) -> int:
        """How many connections are free."""
        return self._pool.get_idle_size() + sum(map(_is_open, self._spare))

    @property
    def size(self) -> int:
        """How many connections are open."""
        return self._pool.get_size()

    async def close(self) -> None:
        """Close the connections: within a second in good order, else at once."""
        try:
            async with asyncio.timeout(1):
                while self._spare:
                    await self._pool.release(self._spare.pop())
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    async def _run(self, method: str, sql: str, args: tuple[object, ...]) -> Any:
        connection = await self._take()
        loop = asyncio.get_running_loop()
        guard = loop.call_later(self._guard, _cut, connection)
        try:
            result = await getattr(connection, method)(sql, *args)
        except asyncpg.QueryCanceledError as error:
            raise TooSlow(str(error)) from error
        except _NOT_DONE as error:
            raise Unavailable(str(error)) from error
        except _NO_VERDICT as error:
            _cut(connection)
            raise NoVerdict(str(error) or "PostgreSQL does not answer") from error
        except asyncpg.PostgresError as error:
            kind = Crossed if isinstance(error, asyncpg.IntegrityConstraintViolationError) else Failed
            raise kind(f"{error.sqlstate}: {error.args[0]}") from None  # its detail may show a row, and so a message
        else:
            self.answered_at = loop.time()
            return result
        finally:
            guard.cancel()
            if self._waiting:
                await self._pool.release(connection)
            else:
                self._spare.append(connection)

    async def _take(self) -> Any:
        while self._spare:
            connection = self._spare.pop()
            if _is_open(connection):
                return connection
            await self._pool.release(connection)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._acquire_timeout):
                return await self._pool.acquire()
        except UNREACHABLE as error:
            raise Unavailable(str(error) or "no connection to PostgreSQL is free") from error
        finally:
            self._waiting -= 1


def _is_open(connection: Any) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken a lost one back by itself
        return False


def _cut(connection: Any) -> None:
    if _is_open(connection):
        connection.terminate()


async def _set_up(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda value: json.encode(value).decode(), decoder=_decode
    )


def _decode(text: str) -> Any:
    """Return a value, or None for one that PostgreSQL can hold and Python's readers cannot: 1e400, 1,000 levels."""
    try:
        return json.decode(text)
    except (DecodeError, RecursionError):
        return None


async def connect(
    url: str,
    *,
    size: int,
    acquire_timeout: float = 1,
    statement_timeout: float = 3,
    application: str = "echo-ws",
) -> Store:
    """Open a pool of up to ``size`` connections, which keep every statement prepared, and run in UTC. Seconds.

    Raises:
        Unavailable: the server cannot be reached; the message says why.
    """
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            max_inactive_connection_lifetime=0,
            max_cached_statement_lifetime=0,
            connection_class=Connection,
            timeout=5,
            init=_set_up,
            server_settings={
                **SETTINGS,
                "application_name": application,
                "statement_timeout": str(int(statement_timeout * 1000)),
            },
        )
    except UNREACHABLE as error:
        raise Unavailable(f"PostgreSQL cannot be reached: {error}") from error
    return Store(pool, acquire_timeout=acquire_timeout, statement_timeout=statement_timeout)
