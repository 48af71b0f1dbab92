"""Connections to PostgreSQL."""

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
from msgspec import json

# What may be answered by asking the same again, because nothing was done.
UNREACHABLE = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.exceptions.ConnectionDoesNotExistError,
    asyncpg.InterfaceError,
)
NOT_DONE = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
# What leaves it open whether the statement was carried out.
NO_VERDICT = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    OSError,
    TimeoutError,
    asyncpg.AdminShutdownError,
)


# asyncpg's classes are generic in its stubs only.
if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection


class Connection(_Connection):
    """A connection that needs no cleaning: no statement of this package leaves session state behind."""

    def get_reset_query(self) -> str:
        return ""


async def _set_up(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda value: json.encode(value).decode(), decoder=json.decode
    )


async def connect(
    url: str, *, size: int, statement_timeout_ms: int = 3000, application: str = "echo-ws"
) -> "asyncpg.Pool[asyncpg.Record]":
    """Open a pool of exactly ``size`` connections, which keep every statement prepared, and run in UTC."""
    pool: asyncpg.Pool[asyncpg.Record] = await asyncpg.create_pool(
        url,
        min_size=min(size, 2),
        max_size=size,
        max_inactive_connection_lifetime=0,
        max_cached_statement_lifetime=0,
        connection_class=Connection,
        timeout=5,
        init=_set_up,
        server_settings={
            "application_name": application,
            "timezone": "UTC",
            "jit": "off",
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": "2000",
            "idle_in_transaction_session_timeout": "10000",
        },
    )
    return pool


async def close(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """Close the pool: within a second in good order, else at once."""
    try:
        await asyncio.wait_for(pool.close(), 1)
    except TimeoutError:
        pool.terminate()
