"""CPU per delivery: a group or channel of 500 against a bare uvloop protocol that writes frames of the same size."""

import asyncio
import statistics
import subprocess
import sys
import uuid

from echo_ws_protocol.codec import JSON
from echo_ws_protocol.commands import MessageSend
from scripts.loadtest.lean import Lean, here

from .report import Figure
from .stage import Stage, cpu_s, settle

SOCKETS = 500
EVENTS = 600
EVERY_S = 0.01
ROUNDS = 5
"""Everything is measured so often, in turn, and the median counts: single rounds differ by a tenth."""


async def group(stage: Stage) -> list[Figure]:
    return await _fan_out(stage, "group", most=1.2)


async def channel(stage: Stage) -> list[Figure]:
    return await _fan_out(stage, "channel", most=1.3)


async def _fan_out(stage: Stage, type_: str, *, most: float) -> list[Figure]:
    rounds = []
    for _ in range(ROUNDS):
        size, ours = await _heard(stage, type_, at_once=1)
        bare = await _bare(size, at_once=1)
        rounds.append((bare, ours, ours / bare))
    bare, ours, ratio = map(statistics.median, zip(*rounds, strict=True))
    bare_coalesced, (_, ours_coalesced) = await _bare(size, at_once=5), await _heard(stage, type_, at_once=5)
    return [
        Figure(f"{type_}: bare transport write", bare * 1e6, "µs CPU per delivery"),
        Figure(f"{type_} of {SOCKETS}: delivery", ours * 1e6, "µs CPU per delivery"),
        Figure(f"{type_}: ratio", ratio, "of the bare write", most=most, noise=0.05),
        Figure(f"{type_}, 5 events a tick: bare, one write", bare_coalesced * 1e6, "µs CPU per delivery"),
        Figure(f"{type_}, 5 events a tick: delivery", ours_coalesced * 1e6, "µs CPU per delivery"),
        Figure(f"{type_}: size of an event's frame", size, "bytes", noise=0),
    ]


async def _heard(stage: Stage, type_: str, *, at_once: int) -> tuple[int, float]:
    """Return the size of an event's frame, and the worker's CPU for each frame that a participant got."""
    people = await stage.people(SOCKETS)
    conversation = await stage.conversation(type_, *people)
    events = [0] * SOCKETS
    size = 0

    def on_frame(client: Lean, payload: bytes) -> None:
        nonlocal size
        if payload.startswith(b'{"op":"message"'):
            events[client.index] += 1
            size = max(size, len(payload) + 4)

    clients = [await here(stage.port).connect(person.token, on_frame, index=n) for n, person in enumerate(people)]
    await settle()
    before = cpu_s(stage.worker)
    for _ in range(EVENTS // at_once):
        for _ in range(at_once):
            sent = MessageSend(conversation=conversation, message=uuid.uuid4(), content="hi")
            clients[0].send(JSON.encode(sent))
        await asyncio.sleep(EVERY_S * at_once)
    while min(events) < EVENTS:  # noqa: ASYNC110  # a bench may look now and then
        await asyncio.sleep(0.01)
    used = cpu_s(stage.worker) - before
    for client in clients:
        client.transport.abort()
    await settle()
    return size, used / (EVENTS * SOCKETS)


async def _bare(size: int, *, at_once: int) -> float:
    """Return the CPU for each frame of a protocol that does nothing but write to 500 sockets."""
    command = [sys.executable, "-m", "scripts.benchmarks.bare", *map(str, (SOCKETS, EVENTS, EVERY_S, size, at_once))]
    server = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert server.stdout
    port = int(await server.stdout.readline())
    loop = asyncio.get_running_loop()
    for _ in range(SOCKETS):
        await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
    used = float(await server.stdout.readline())
    await server.wait()
    return used / (EVENTS * SOCKETS)
