"""Persisted direct messages a second: the server against its own statement, driven directly."""

import asyncio
import itertools
import time
import uuid
from collections.abc import Sequence
from uuid import UUID

from echo_ws_db import messages, pool
from echo_ws_db.messages import NewMessage
from echo_ws_protocol.codec import JSON
from echo_ws_protocol.commands import MessageSend
from scripts.loadtest.lean import Lean, here

from .report import Figure
from .stage import Person, Stage, cpu_s, settle

PAIRS = 128
IN_FLIGHT = 4
"""Sends that each client has without an answer, so that batches can fill."""

FOR_S = 2.0
ROUNDS = 4
"""Everything is measured so often, in turn, and the best counts: what else runs on the machine disturbs it less."""

BATCHES = (1, 8, 32, 128)
CONNECTIONS = 2
CONTENT = "x" * 60

Pair = tuple[UUID, Person]


async def writes(stage: Stage) -> list[Figure]:
    pairs = await pairs_of(stage, await stage.people(2 * PAIRS))
    await through_server(stage, pairs, for_s=1)  # caches warm, plans made
    direct = dict.fromkeys(BATCHES, 0.0)
    cpu, served = 1.0, 0.0
    for _ in range(ROUNDS):
        for batch in BATCHES:
            direct[batch] = max(direct[batch], await _directly(stage, pairs, batch))
        used, rate = await through_server(stage, pairs, for_s=FOR_S)
        cpu, served = min(cpu, used), max(served, rate)
    return [
        *(
            Figure(f"writes: statement alone, batches of {batch}", rate, "messages/s", is_better_high=True)
            for batch, rate in direct.items()
        ),
        Figure("writes: through the server", served, "messages/s", is_better_high=True),
        Figure("writes: worker CPU", cpu * 1e6, "µs per message"),
        Figure(
            "writes: ratio",
            served / max(direct.values()),
            "of the best of the statement",
            least=0.7,
            is_better_high=True,
        ),
    ]


async def pairs_of(stage: Stage, people: Sequence[Person]) -> list[Pair]:
    """Return a direct conversation for every two, with the one of them who sends."""
    return [(await stage.conversation("direct", *two), two[0]) for two in zip(people[::2], people[1::2], strict=True)]


async def _directly(stage: Stage, pairs: Sequence[Pair], batch: int) -> float:
    """Return the rate of two connections that do nothing but write batches, each in conversations of its own."""
    store = await pool.connect(stage.database_url, size=CONNECTIONS)
    until = time.perf_counter() + FOR_S

    async def drive(mine: Sequence[Pair]) -> int:
        turn = itertools.cycle(mine)
        written = 0
        while time.perf_counter() < until:
            sends = [NewMessage(uuid.uuid4(), c, p.user, CONTENT, None) for c, p in itertools.islice(turn, batch)]
            rows = await messages.send(store, sends, tracked_members=32, wait=False)
            written += sum(row.is_new for row in rows)
        return written

    started = time.perf_counter()
    written = await asyncio.gather(*(drive(pairs[n::CONNECTIONS]) for n in range(CONNECTIONS)))
    await store.close()
    return sum(written) / (time.perf_counter() - started)


async def through_server(stage: Stage, pairs: Sequence[Pair], *, for_s: float) -> tuple[float, float]:
    """Return the worker's CPU for each message and the rate of acknowledged ones."""
    acknowledged = 0
    is_over = False

    send_in = [_send_template(conversation) for conversation, _ in pairs]
    ids = itertools.count(uuid.uuid4().int)

    def next_send(client: Lean) -> None:
        client.send(send_in[client.index] % next(ids))

    def on_frame(client: Lean, payload: bytes) -> None:
        nonlocal acknowledged
        if payload.startswith(b'{"op":"reply"'):
            assert b'"ok"' in payload, payload
            acknowledged += 1
            if not is_over:
                next_send(client)

    clients = [await here(stage.port).connect(person.token, on_frame, index=n) for n, (_, person) in enumerate(pairs)]
    await settle()
    before, started = cpu_s(stage.worker), time.perf_counter()
    for client in clients * IN_FLIGHT:
        next_send(client)
    await asyncio.sleep(for_s)
    is_over = True
    taken, used, written = time.perf_counter() - started, cpu_s(stage.worker) - before, acknowledged
    await settle()
    for client in clients:
        client.transport.abort()
    return used / written, written / taken


def _send_template(conversation: UUID) -> bytes:
    """Return a send without its message's id: encoding each anew would cost the bench more than the server."""
    send = MessageSend(conversation=conversation, message=UUID(int=0), content=CONTENT, id=1)
    return JSON.encode(send).replace(str(UUID(int=0)).encode(), b"%032x")
