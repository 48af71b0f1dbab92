"""Memory of an idle, authenticated connection, whose user has one direct conversation."""

import asyncio

from scripts.loadtest.lean import Lean, here

from .report import Figure
from .stage import Stage, rss_bytes, settle

CONNECTIONS = 5000
AT_ONCE = 50


async def idle(stage: Stage) -> list[Figure]:
    people = await stage.people(CONNECTIONS + AT_ONCE)
    for two in zip(people[::2], people[1::2], strict=True):
        await stage.conversation("direct", *two)
    greeted = 0

    def on_frame(_: Lean, __: bytes) -> None:
        nonlocal greeted
        greeted += 1

    async def open_all(some: list[str]) -> list[Lean]:
        clients = []
        for start in range(0, len(some), AT_ONCE):
            tokens = some[start : start + AT_ONCE]
            clients += await asyncio.gather(*(here(stage.port).connect(token, on_frame) for token in tokens))
            while greeted < len(clients):  # noqa: ASYNC110  # a bench may look now and then
                await asyncio.sleep(0.001)
        return clients

    first = await open_all([person.token for person in people[CONNECTIONS:]])  # what is made once is made now
    greeted = 0
    await settle()
    before = rss_bytes(stage.worker)
    clients = await open_all([person.token for person in people[:CONNECTIONS]])
    await settle()
    each = (rss_bytes(stage.worker) - before) / CONNECTIONS
    for client in (*first, *clients):
        client.transport.abort()
    return [Figure(f"idle: {CONNECTIONS:,} authenticated connections", each / 1024, "KiB each", most=7)]
