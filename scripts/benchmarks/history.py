"""Pages of history a second: the server against its own statement, driven directly."""

import asyncio
import random
import time
import uuid
from collections.abc import Sequence
from uuid import UUID

from echo_ws_db import messages, pool
from echo_ws_db.messages import NewMessage
from echo_ws_protocol.codec import JSON
from echo_ws_protocol.commands import MessageHistory
from scripts.loadtest.lean import Lean, here

from .report import Figure
from .stage import Person, Stage, settle

MESSAGES = 2000
PAGE = 50
READERS = 32
CONNECTIONS = 6
"""As many as the server has by default."""

FOR_S = 2.0
ROUNDS = 3


async def history(stage: Stage) -> list[Figure]:
    people = await stage.people(READERS)
    room = await stage.conversation("group", *people)
    for _ in range(MESSAGES // 100):
        batch = [NewMessage(uuid.uuid4(), room, people[0].user, "x" * 60, None) for _ in range(100)]
        await messages.send(stage.store, batch, tracked_members=READERS, wait=True)
    rates = [
        (await _directly(stage, room, people[0]), await _through_server(stage, room, people)) for _ in range(ROUNDS)
    ]
    floor, served = (max(rate) for rate in zip(*rates, strict=True))
    return [
        Figure(f"history: statement alone, pages of {PAGE}", floor, "pages/s", is_better_high=True),
        Figure("history: through the server", served, "pages/s", is_better_high=True),
        Figure("history: ratio", served / floor, "of the statement", is_better_high=True),
    ]


async def _directly(stage: Stage, room: UUID, reader: Person) -> float:
    """Return how many pages a second the statement reads on as many connections as the server has."""
    store = await pool.connect(stage.database_url, size=CONNECTIONS)
    pages = 0
    until = time.perf_counter() + FOR_S

    async def read() -> None:
        nonlocal pages
        while time.perf_counter() < until:
            await messages.before(store, room, reader.user, random.randrange(PAGE, MESSAGES), PAGE + 1)
            pages += 1

    await asyncio.gather(*(read() for _ in range(CONNECTIONS)))
    await store.close()
    return pages / FOR_S


async def _through_server(stage: Stage, room: UUID, people: Sequence[Person]) -> float:
    """Return how many pages a second people get who ask for the next one when they have the last."""
    pages = 0
    is_over = False

    def ask(client: Lean) -> None:
        before = random.randrange(PAGE, MESSAGES)
        client.send(JSON.encode(MessageHistory(id=1, conversation=room, before=before, limit=PAGE)))

    def on_frame(client: Lean, payload: bytes) -> None:
        nonlocal pages
        if payload.startswith(b'{"op":"reply"') and not is_over:
            assert b'"ok"' in payload[:40], payload
            pages += 1
            ask(client)

    clients = [await here(stage.port).connect(person.token, on_frame) for person in people]
    await settle()
    for client in clients:
        ask(client)
    await asyncio.sleep(FOR_S)
    is_over = True
    await settle()
    for client in clients:
        client.transport.abort()
    return pages / FOR_S
