"""Everybody comes back at once and asks what was missed, while others go on talking."""

import asyncio
import json
import random
import time
import uuid
from collections.abc import Awaitable
from uuid import UUID

from echo_ws_db import messages
from echo_ws_db.messages import NewMessage
from scripts.loadtest.lean import HandshakeRefused, Lean, here

from .report import Figure
from .stage import Person, Stage, rss_bytes, settle

CLIENTS = 5000
TALKERS = 20
AT_ONCE = 200
EVERY_S = 0.02
"""Seconds between two sends of the others."""


class Client:
    """One of those who come back: connects, resumes with what it has, and is back when it has the message it missed."""

    def __init__(self, stage: Stage, person: Person, conversation: UUID) -> None:
        self._stage = stage
        self._token = person.token
        self._conversation = str(conversation)
        self._epoch, self._rev = "", 0
        self._back: asyncio.Future[None]

    async def come(self) -> None:
        """Connect, as often as the server says to try again later, and ask."""
        loop = asyncio.get_running_loop()
        while True:
            self._back = loop.create_future()
            try:
                self._lean = await here(self._stage.port).connect(self._token, self._hear, self._lost)
                await self._back
            except ConnectionError as refused:
                after_s = refused.retry_after_s if isinstance(refused, HandshakeRefused) else None
                await asyncio.sleep(random.uniform(0.5, 1.5) if after_s is None else after_s)
            else:
                return

    def go(self) -> None:
        self._lean.transport.abort()

    def _lost(self, _: Lean) -> None:
        if not self._back.done():
            self._back.set_exception(ConnectionError("sent away"))
            self._back.exception()  # nobody may be waiting: who is refused at the door tries again all the same

    def _hear(self, lean: Lean, payload: bytes) -> None:
        frame = json.loads(payload)
        if frame["op"] == "hello":
            self._ask(lean)
        elif frame["op"] == "reply" and "error" in frame:
            asyncio.get_running_loop().call_later(frame["error"]["retry_after_ms"] / 1000, self._ask, lean)
        elif frame["op"] == "reply":
            answer = frame["ok"]
            for changes in answer.get("conversations", ()):
                self._rev = changes["rev"]
            self._epoch = answer["epoch"]
            self._back.set_result(None)

    def _ask(self, lean: Lean) -> None:
        cursors = {self._conversation: self._rev} if self._epoch else {}
        command = {"op": "session.resume", "id": 1, "epoch": self._epoch, "rev": 1, "conversations": cursors}
        lean.send(json.dumps(command).encode())


class Talkers:
    """The others: each send is acknowledged, and how long that took is kept."""

    def __init__(self, stage: Stage, people: list[Person], conversation: UUID) -> None:
        self._stage = stage
        self._people = people
        self._conversation = str(conversation)
        self._sent_at: dict[int, float] = {}
        self.waits: list[float] = []
        self.failed = 0

    async def talk(self) -> None:
        leans = [await here(self._stage.port).connect(person.token, self._hear) for person in self._people]
        number = 0
        while True:
            number += 1
            self._sent_at[number] = time.perf_counter()
            command = {"op": "message.send", "id": number, "conversation": self._conversation, "content": "on and on"}
            leans[number % len(leans)].send(json.dumps({**command, "message": str(uuid.uuid4())}).encode())
            await asyncio.sleep(EVERY_S)

    def p99_ms(self) -> float:
        """Return the p99 of what was acknowledged since the last time."""
        waits, self.waits = sorted(self.waits), []
        return 1000 * waits[int(len(waits) * 0.99)]

    def _hear(self, _: Lean, payload: bytes) -> None:
        frame = json.loads(payload)
        if frame["op"] == "reply":
            self.failed += "error" in frame
            self.waits.append(time.perf_counter() - self._sent_at.pop(frame["id"]))


async def storm(stage: Stage) -> list[Figure]:
    people = await stage.people(CLIENTS + TALKERS)
    talkers = Talkers(stage, people[CLIENTS:], await stage.conversation("group", *people[CLIENTS:]))
    pairs = list(zip(people[:CLIENTS:2], people[1:CLIENTS:2], strict=True))
    rooms = [await stage.conversation("direct", *pair) for pair in pairs]
    clients = [Client(stage, person, room) for pair, room in zip(pairs, rooms, strict=True) for person in pair]
    for start in range(0, CLIENTS, AT_ONCE):
        await asyncio.gather(*(client.come() for client in clients[start : start + AT_ONCE]))
    talking = asyncio.create_task(talkers.talk())
    await settle()
    talkers.p99_ms()
    await asyncio.sleep(5)
    calm_ms, steady = talkers.p99_ms(), rss_bytes(stage.worker)

    for client in clients:
        client.go()
    for start in range(0, len(rooms), 100):
        batch = [
            NewMessage(uuid.uuid4(), room, pair[0].user, "while you were away", None)
            for room, pair in zip(rooms[start : start + 100], pairs[start : start + 100], strict=True)
        ]
        await messages.send(stage.store, batch, tracked_members=32, wait=True)
    await settle()
    talkers.p99_ms()
    began = time.perf_counter()
    peak = await _peak(stage.worker, asyncio.gather(*(client.come() for client in clients)))
    took = time.perf_counter() - began
    storm_ms = talkers.p99_ms()
    talking.cancel()
    return [
        Figure(f"storm: {CLIENTS:,} clients back and caught up", took, "s", most=10),
        Figure("storm: memory at its peak", peak / steady, "of the steady", most=1.5),
        Figure("storm: sends of the others that failed", talkers.failed, "", most=0),
        Figure("storm: p99 of send to ack, before", calm_ms, "ms"),
        Figure("storm: p99 of send to ack, during", storm_ms, "ms"),
    ]


async def _peak(pid: int, work: Awaitable[object]) -> int:
    """Return the most memory that a process had while something was done."""
    done = asyncio.ensure_future(work)
    peak = 0
    while not done.done():
        peak = max(peak, rss_bytes(pid))
        await asyncio.wait([done], timeout=0.05)
    await done
    return peak
