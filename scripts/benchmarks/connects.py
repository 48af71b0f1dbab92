"""Connections opened a second: handshake, session and hello, against a bare server that answers the handshake only."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence

from scripts.loadtest.lean import Lean, here

from .report import Figure
from .stage import Stage, cpu_s, settle

CONNECTIONS = 2000
AT_ONCE = 50
ROUNDS = 3


async def connects(stage: Stage) -> list[Figure]:
    tokens = [person.token for person in await stage.people(CONNECTIONS)]
    command = [sys.executable, "-m", "scripts.benchmarks.bare_handshake"]
    bare = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert bare.stdout
    bare_port = int(await bare.stdout.readline())
    try:
        ours = [await _open(stage.port, tokens, stage.worker) for _ in range(ROUNDS)]
        floor = [await _open(bare_port, tokens, bare.pid) for _ in range(ROUNDS)]
    finally:
        bare.terminate()
        await bare.wait()
    used, rate = min(used for used, _ in ours), max(rate for _, rate in ours)
    bare_used = min(used for used, _ in floor)
    return [
        Figure("connects: bare handshake", bare_used * 1e6, "µs CPU each"),
        Figure("connects: to hello", used * 1e6, "µs CPU each"),
        Figure("connects: ratio", used / bare_used, "of the bare handshake"),
        Figure(f"connects: rate, {AT_ONCE} at once", rate, "connections/s", is_better_high=True),
    ]


async def _open(port: int, tokens: Sequence[str], pid: int) -> tuple[float, float]:
    """Return the CPU of each connection, and how many are opened a second."""
    greeted = 0

    def on_frame(_: Lean, __: bytes) -> None:
        nonlocal greeted
        greeted += 1

    before, began = cpu_s(pid), time.perf_counter()
    clients: list[Lean] = []
    for start in range(0, len(tokens), AT_ONCE):
        some = tokens[start : start + AT_ONCE]
        clients += await asyncio.gather(*(here(port).connect(token, on_frame) for token in some))
        while greeted < len(clients):  # noqa: ASYNC110  # a bench may look now and then
            await asyncio.sleep(0.001)
    used, took = cpu_s(pid) - before, time.perf_counter() - began
    for client in clients:
        client.transport.abort()
    await settle()
    return used / len(tokens), len(tokens) / took
