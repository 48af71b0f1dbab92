"""Who comes and goes: joins at 20 and at 20,000, changes of a group of 20 and of 1,000, sends there, memory of each.

Times are those of one client who waits for each reply, while nobody else is there. Both sizes take turns; the median
counts.
"""

import asyncio
import statistics
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from echo_ws.client import Client
from echo_ws_db import conversations, participants
from echo_ws_protocol.commands import (
    ConversationJoin,
    ConversationUpdate,
    MessageSend,
    ParticipantAdd,
    ParticipantRemove,
)
from scripts.loadtest.lean import Lean, here

from .report import Figure
from .stage import Person, Stage, rss_bytes, settle

FEW, READERS, GROUP = 20, 20_000, 1000
TIMES = 60
CONNECTED = 2000
AT_ONCE = 50

FILL = "SELECT count(*) FROM messages.admit($1, $2, 'reader')"


async def members(stage: Stage) -> list[Figure]:
    people = await stage.people(READERS + 4 * TIMES + 1)
    admin, newcomers, crowd = people[0], people[1 : 4 * TIMES + 1], people[4 * TIMES + 1 :]
    async with Client(f"ws://127.0.0.1:{stage.port}/ws", token=admin.token) as client:
        listening = asyncio.create_task(_listen(client))
        channels = [await _channel(stage, client, admin, crowd[:size]) for size in (FEW, READERS)]
        groups = [await _group(stage, admin, crowd[:size]) for size in (FEW - 1, GROUP - 1 - TIMES)]
        figures = _figures("a join of a channel", FEW, READERS, *await _joins(stage, channels, newcomers))
        adds = await _in_turn(groups, lambda group, n: client.call(_add(group, newcomers[n])))
        removals = await _in_turn(groups, lambda group, n: client.call(_remove(group, newcomers[n])))
        figures += _figures("adding one to a group", FEW, GROUP, *adds, most=None)
        figures += _figures("removing one from a group", FEW, GROUP, *removals, most=None)
        sends = await _in_turn(channels, lambda channel, _: client.call(_send(channel)))
        figures += _figures("a send in a channel", FEW, READERS, *sends)
        sends = await _in_turn(groups, lambda group, _: client.call(_send(group)))
        figures += _figures("a send in a group", FEW, GROUP, *sends, most=None)
        listening.cancel()
    return [*figures, await _memory(stage, crowd[-CONNECTED:])]


async def _listen(client: Client) -> None:
    """Take what the admin hears: a client that is full of events hears no replies either."""
    async for _ in client.events():
        pass


def _figures(
    what: str, few: int, many: int, small: list[float], large: list[float], *, most: float | None = 2
) -> list[Figure]:
    at_few, at_many = (statistics.median(times) * 1000 for times in (small, large))
    return [
        Figure(f"members: {what}, at {few:,}", at_few, "ms", noise=0.3),
        Figure(f"members: {what}, at {many:,}", at_many, "ms", noise=0.3),
        Figure(f"members: {what}, ratio", at_many / at_few, "", most=most, noise=0.3),
    ]


async def _channel(stage: Stage, client: Client, admin: Person, readers: Sequence[Person]) -> UUID:
    channel = await stage.conversation("channel", admin)
    await client.call(ConversationUpdate(conversation=channel, public=True))
    for start in range(0, len(readers), 1000):
        await stage.store.execute(FILL, channel, [reader.user for reader in readers[start : start + 1000]])
    return channel


async def _group(stage: Stage, admin: Person, others: Sequence[Person]) -> UUID:
    return (
        await conversations.create(
            stage.store, uuid.uuid4(), "group", None, admin.user, [other.user for other in others], GROUP
        )
    ).conversation


def _add(group: UUID, newcomer: Person) -> ParticipantAdd:
    return ParticipantAdd(conversation=group, users=[newcomer.user])


def _remove(group: UUID, newcomer: Person) -> ParticipantRemove:
    return ParticipantRemove(conversation=group, user=newcomer.user)


def _send(conversation: UUID) -> MessageSend:
    return MessageSend(conversation=conversation, message=uuid.uuid4(), content="hi")


async def _in_turn(
    places: Sequence[UUID], act: Callable[[UUID, int], Awaitable[object]]
) -> tuple[list[float], list[float]]:
    """Return how long each act took, in the first and in the second place."""
    times: tuple[list[float], list[float]] = ([], [])
    for n in range(TIMES):
        for place, taken in zip(places, times, strict=True):
            started = time.perf_counter()
            await act(place, n)
            taken.append(time.perf_counter() - started)
    return times


async def _joins(
    stage: Stage, channels: Sequence[UUID], newcomers: Sequence[Person]
) -> tuple[list[float], list[float]]:
    url = f"ws://127.0.0.1:{stage.port}/ws"

    async def join(channel: UUID, n: int) -> None:
        await clients[n].call(ConversationJoin(conversation=channel))

    clients = [Client(url, token=person.token) for person in newcomers[:TIMES]]
    for client in clients:
        await client.__aenter__()
    times = await _in_turn(channels, join)
    for client in clients:
        await client.__aexit__(None, None, None)
    return times


async def _memory(stage: Stage, readers: Sequence[Person]) -> Figure:
    """Return by how much a worker has grown when all have a place in one more channel, with what the crush leaves."""
    greeted = 0

    def on_frame(_: Lean, __: bytes) -> None:
        nonlocal greeted
        greeted += 1

    clients = []
    for start in range(0, CONNECTED, AT_ONCE):
        some = readers[start : start + AT_ONCE]
        clients += await asyncio.gather(*(here(stage.port).connect(person.token, on_frame) for person in some))
        while greeted < len(clients):  # noqa: ASYNC110  # a bench may look now and then
            await asyncio.sleep(0.001)
    await settle()
    other = await stage.conversation("channel", readers[0])
    await settle()
    before = rss_bytes(stage.worker)
    for start in range(1, CONNECTED, 100):
        added = [reader.user for reader in readers[start : start + 100]]
        await participants.add(stage.store, other, readers[0].user, added, GROUP)
    await asyncio.sleep(5)  # until the sweep has let them all in
    each = (rss_bytes(stage.worker) - before) / CONNECTED
    for client in clients:
        client.transport.abort()
    return Figure(f"members: memory after {CONNECTED:,} came into a channel at once", each, "bytes each", noise=0.5)
