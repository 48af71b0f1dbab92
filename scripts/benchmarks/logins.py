"""Logins: whether those that fail for different reasons last differently, and what many at once cost others."""

import asyncio
import itertools
import json
import multiprocessing
import random
import statistics
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from echo_ws.passwords import hash_password
from scripts.loadtest.lean import Lean, here

from .report import Figure
from .stage import Person, Stage, settle

EACH = 200
"""Logins of each sort."""

AT_ONCE = 100
ROUNDS = 5
TALKERS = 20
EVERY_S = 0.02
"""Seconds between two messages of those who talk meanwhile."""

WINDOW_S = 8
"""Seconds in which deliveries are looked at: all of a crowd is in before."""

PASSWORD = "a password of the bench"

SORTS = {"wrong": (True, False), "locked": (True, True), "unverified": (False, False), "unknown": None}
"""Why a login fails: whether there is a user, verified, locked."""

_numbers = itertools.count(4915100000000)


class Door:
    """One HTTP connection, which stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Door":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def log_in(self, phone: str, password: str) -> dict[str, Any]:
        command = {"phone": phone, "password": password, "device": "device-of-bench", "platform": "cli"}
        body = json.dumps(command).encode()
        head = f"POST /v1/account.login HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        reply: dict[str, Any] = json.loads(await self._reader.readexactly(length))
        return reply

    def close(self) -> None:
        self._writer.close()


async def logins(stage: Stage) -> list[Figure]:
    return [*await _failures(stage), *await _crowd(stage)]


# Failures


async def _failures(stage: Stage) -> list[Figure]:
    """Log in without success, for one reason after the other in random order, one at a time."""
    tries = [(sort, phone) for sort in SORTS for phone in await _phones(stage, EACH, sort)]
    random.shuffle(tries)
    took: dict[str, list[float]] = {sort: [] for sort in SORTS}
    door = await Door.open(stage.port)
    await settle()
    for sort, phone in tries:
        began = time.perf_counter()
        reply = await door.log_in(phone, "not the password")
        took[sort].append(1000 * (time.perf_counter() - began))
        assert reply["error"]["code"] == "unauthenticated", reply
    door.close()
    others = [took[sort] for sort in SORTS if sort != "wrong"]
    apart = max(abs(statistics.median(other) - statistics.median(took["wrong"])) for other in others)
    return [
        Figure("logins: wrong password", statistics.median(took["wrong"]), "ms in the median"),
        Figure("logins: unknown, locked or unverified: median apart from wrong, at most", apart, "ms", most=5, noise=9),
        Figure("logins: Welch's t of these, at most", max(abs(_welch(o, took["wrong"])) for o in others), "", noise=9),
    ]


async def _phones(stage: Stage, count: int, sort: str) -> list[str]:
    """Return new phone numbers, with users who have them and may not log in for this reason."""
    phones = [f"+{next(_numbers)}" for _ in range(count)]
    if state := SORTS[sort]:
        await stage.store.execute(
            "INSERT INTO auth.users (phone, password_hash, verified, locked)"
            " SELECT phone, $2, $3, $4 FROM unnest($1::text[]) phone",
            phones, hash_password(PASSWORD), *state,
        )  # fmt: skip
    return phones


def _welch(some: Sequence[float], others: Sequence[float]) -> float:
    """Return t of Welch's test: beyond about 3, two samples hardly have the same mean."""
    spread = statistics.variance(some) / len(some) + statistics.variance(others) / len(others)
    return float((statistics.fmean(some) - statistics.fmean(others)) / spread**0.5)


# A crowd


class Talk:
    """A group in which somebody says something every now and then: how late it comes to the others."""

    def __init__(self, stage: Stage, people: list[Person], conversation: uuid.UUID) -> None:
        self._stage = stage
        self._people = people
        self._conversation = str(conversation)
        self._sent_at: dict[str, float] = {}
        self._late: list[float] = []

    async def run(self) -> None:
        leans = [await here(self._stage.port).connect(person.token, self._hear) for person in self._people]
        number = 0
        while True:
            number += 1
            message = str(uuid.uuid4())
            command = {"op": "message.send", "id": number, "conversation": self._conversation, "message": message}
            self._sent_at[message] = time.perf_counter()
            leans[number % len(leans)].send(json.dumps({**command, "content": "on and on"}).encode())
            await asyncio.sleep(EVERY_S)

    def _hear(self, _: Lean, payload: bytes) -> None:
        if payload.startswith(b'{"op":"message"'):
            self._late.append(time.perf_counter() - self._sent_at[json.loads(payload)["message"]])

    async def listen(self) -> list[float]:
        """Return the seconds from send to each delivery of the next while."""
        self._late = []
        await asyncio.sleep(WINDOW_S)
        return self._late


async def _crowd(stage: Stage) -> list[Figure]:
    """Let a hundred come at once, from a process of their own, while others talk; and talk beside bare hashing."""
    people = await stage.people(TALKERS)
    talk = Talk(stage, people, await stage.conversation("group", *people))
    talking = asyncio.create_task(talk.run())
    loop = asyncio.get_running_loop()
    late: dict[str, list[float]] = {"calm": [], "hashing": [], "logins": []}
    took_s = []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as others:
        await loop.run_in_executor(others, come_in, stage.port, await _phones(stage, AT_ONCE, "wrong"))  # all is warm
        for _ in range(ROUNDS):
            phones = await _phones(stage, AT_ONCE, "wrong")
            await settle()
            late["calm"] += await talk.listen()
            hashing = loop.run_in_executor(others, hash_as_many)
            late["hashing"] += await talk.listen()
            await hashing
            coming = loop.run_in_executor(others, come_in, stage.port, phones)
            late["logins"] += await talk.listen()
            took_s.append(await coming)
    talking.cancel()
    p99 = {when: 1000 * sorted(each)[int(len(each) * 0.99)] for when, each in late.items()}
    return [
        Figure(f"logins: {AT_ONCE} at once, all in after", statistics.median(took_s), "s", noise=0.3),
        Figure("logins: p99 of send to deliver, before", p99["calm"], "ms", noise=0.5),
        Figure("logins: p99 of send to deliver, beside as many bare hashes", p99["hashing"], "ms", noise=0.5),
        Figure("logins: p99 of send to deliver, during", p99["logins"], "ms", noise=0.5),
        Figure("logins: ratio", p99["logins"] / p99["calm"], "of before", most=1.2, noise=0.3),
        Figure("logins: ratio to bare hashes", p99["logins"] / p99["hashing"], "of beside these", noise=0.3),
    ]


def hash_as_many() -> None:
    """Do the part of it that only the processor does: what it costs others is no server's doing."""
    for _ in range(AT_ONCE):
        hash_password(PASSWORD)


def come_in(port: int, phones: list[str]) -> float:
    """Log all in at once, each as often as the server says to come again; return the seconds that this took."""
    began = time.perf_counter()
    asyncio.run(_all_come_in(port, phones))
    return time.perf_counter() - began


async def _all_come_in(port: int, phones: list[str]) -> None:
    await asyncio.gather(*(_come_in(port, phone) for phone in phones))


async def _come_in(port: int, phone: str) -> None:
    while True:
        door = await Door.open(port)  # one that is quiet for long is closed
        reply = await door.log_in(phone, PASSWORD)
        door.close()
        if "ok" in reply:
            return
        assert reply["error"]["code"] == "busy", reply
        await asyncio.sleep(reply["error"]["retry_after_ms"] / 1000 * random.uniform(1, 1.5))
