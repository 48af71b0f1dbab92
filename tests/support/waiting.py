"""Waiting without sleeping: for what will be, and until it is sure that nothing more comes."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from echo_ws.client import Client
from echo_ws_db.rows import Database
from echo_ws_protocol.commands import ConversationList
from echo_ws_protocol.events import Event

from .other_service import Sql

T = TypeVar("T")
E = TypeVar("E", bound=Event)

PATIENCE_S = 5.0
LOOK_EVERY_S = 0.005


async def until(look: Callable[[], Awaitable[T]]) -> T:
    """Look again and again until there is something true to see, and return it."""
    async with asyncio.timeout(PATIENCE_S):
        while not (seen := await look()):  # noqa: ASYNC110  # a row does not call back
            await asyncio.sleep(LOOK_EVERY_S)
        return seen


async def heard(person: Client, kind: type[E]) -> list[E]:
    """Take all events of a kind that the server said before it answers a command that is asked now."""
    await person.call(ConversationList(limit=1))
    events = []
    with suppress(TimeoutError):
        while True:
            events.append(await person.next(kind, timeout=0))
    return events


async def is_held_up(db: Database, by: Sql) -> bool:
    """Tell whether anybody waits for what a connection has locked."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))"
    return bool(await db.fetchval(waiting, by.get_server_pid()))
