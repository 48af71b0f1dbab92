"""History and search in a database of a million messages, and what the index costs a send."""

import random
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import click

from echo_ws_db import messages
from echo_ws_db.messages import Filters, NewMessage, Question

from .archive import Archive, fill
from .report import Figure
from .stage import Stage
from .writes import pairs_of

MESSAGES = 1_000_000
CONVERSATIONS = 1000
"""Of the one who takes part in many."""

PAGE = 50
FOUND = 20
ASKED = 100
AT_MOST_S = 10.0
"""Each question is asked so often, or for so long."""

SENDERS = 32
SENDS_FOR_S = 4.0


async def search(stage: Stage) -> list[Figure]:
    db: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(stage.database_url)
    definition = await db.fetchval("SELECT pg_get_indexdef('messages.idx_messages_search'::regclass)")
    await db.execute("DROP INDEX messages.idx_messages_search")
    archive = await _filled(stage)
    without = await _send_rate(stage, archive)
    started = time.perf_counter()
    await db.execute(definition)
    built_s = time.perf_counter() - started
    await db.execute("ANALYZE messages.messages")
    size = await db.fetchval("SELECT pg_relation_size('messages.idx_messages_search')")
    with_index = await _send_rate(stage, archive)
    await db.close()
    return [
        *await _reading(stage, archive),
        Figure("search: the index", size / MESSAGES, "bytes per message"),
        Figure("search: the index built anew", built_s, "s"),
        Figure("search: sends, batches of 32, without the index", without, "messages/s", is_better_high=True),
        Figure("search: sends, batches of 32, with it", with_index, "messages/s", is_better_high=True),
        Figure("search: ratio", with_index / without, "of the rate without", is_better_high=True),
    ]


async def _filled(stage: Stage) -> Archive:
    with click.progressbar(length=MESSAGES, label="writing messages", file=sys.stderr) as bar:
        return await fill(
            stage.database_url,
            MESSAGES,
            conversations=CONVERSATIONS,
            on_progress=lambda written: bar.update(written - bar.pos),
        )


async def _send_rate(stage: Stage, archive: Archive) -> float:
    """Return how many messages a second one connection writes, in words of the archive."""
    pairs = await pairs_of(stage, await stage.people(2 * SENDERS))
    written = 0
    started = time.perf_counter()
    while (taken := time.perf_counter() - started) < SENDS_FOR_S:
        said = (" ".join(random.choices(archive.words[:2000], k=8)) for _ in pairs)
        batch = [NewMessage(uuid.uuid4(), room, who.user, text) for (room, who), text in zip(pairs, said, strict=True)]
        written += len(await messages.send(stage.store, batch, tracked_members=32, wait=True))
    return written / taken


async def _reading(stage: Stage, archive: Archive) -> list[Figure]:
    huge, last = archive.huge, MESSAGES // 2
    common, rare = archive.words[:20], archive.words[5_000:10_000]

    async def older(viewer: UUID, seq: int) -> None:
        await messages.before(stage.store, huge, viewer, seq, PAGE + 1)

    async def newer(viewer: UUID, seq: int) -> None:
        await messages.after(stage.store, huge, viewer, seq, PAGE + 1)

    async def around() -> None:
        seq = random.randrange(last)
        await messages.before(stage.store, huge, archive.busy, seq, PAGE // 2 + 1)
        await messages.after(stage.store, huge, archive.busy, seq - 1, PAGE // 2 + 1)

    def look(viewer: UUID, words: list[str], within: UUID | None, letters: int = 0) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            word = random.choice(words)
            question = Question([word[:letters] if letters else word], [0], [False], bool(letters))
            filters = Filters(within, None, None, None, None)
            await messages.search(stage.store, viewer, question, filters, FOUND + 1, is_ranked=True)

        return ask

    long = [word for word in archive.words[100:5_000] if len(word) > 5]  # noqa: PLR2004  # letters
    questions: dict[str, Callable[[], Awaitable[None]]] = {
        "history: before a seq": lambda: older(archive.busy, random.randrange(last)),
        "history: after a seq": lambda: newer(archive.busy, random.randrange(last)),
        "history: around a seq": around,
        "history: by one who came late": lambda: older(archive.late, last + 1),
        "search: a common word in 500,000": look(archive.busy, common, huge),
        "search: a rare word in 500,000": look(archive.busy, rare, huge),
        "search: five letters in 500,000": look(archive.busy, long, huge, 5),
        "search: a common word by one with 3 conversations": look(archive.quiet, common, None),
        "search: a rare word by one with 3 conversations": look(archive.quiet, rare, None),
        "search: a common word by one who came late": look(archive.late, common, None),
        "search: a common word in 1,000 conversations": look(archive.busy, common, None),
        "search: a rare word in 1,000 conversations": look(archive.busy, rare, None),
    }
    figures = []
    for name, ask in questions.items():
        print(f"  {name}", file=sys.stderr, flush=True)
        times = await _times(ask)
        figures += [
            Figure(f"{name}: p50", statistics.median(times) * 1000, "ms", noise=0.3),
            Figure(f"{name}: p99", statistics.quantiles(times, n=100)[-1] * 1000, "ms", noise=0.5),
        ]
    return figures


async def _times(ask: Callable[[], Awaitable[None]]) -> list[float]:
    await ask()
    times: list[float] = []
    until = time.perf_counter() + AT_MOST_S
    while len(times) < ASKED and (started := time.perf_counter()) < until:
        await ask()
        times.append(time.perf_counter() - started)
    return times
