"""A full database: conversations of all sizes, one of them huge, in words as common and as rare as a language's."""

import itertools
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

BEGINNING = datetime(2025, 1, 1, tzinfo=UTC).replace(tzinfo=None)
SYLLABLES = ["ka", "lo", "mi", "ru", "ten", "sho", "bra", "di", "ve", "not", "per", "ing", "ed", "s", "er", "con", "al"]
MEDIUM, SMALL = 1000, 20
"""Messages of a conversation."""


class Archive(NamedTuple):
    """What was written, and who may read it."""

    words: list[str]
    """The most common first: the first is in every third message, the thousandth in one of a thousand."""
    huge: UUID
    """Half of all messages."""
    small: UUID
    busy: UUID
    """Takes part in the huge one and in many others."""
    quiet: UUID
    """Takes part in three small ones."""
    late: UUID
    """Came into the huge one before its last twenty messages."""


async def fill(url: str, messages: int, *, conversations: int, on_progress: Callable[[int], None] = print) -> Archive:
    """Write messages by COPY, numbered as the server would have. The triggers sleep meanwhile; the index does not."""
    random.seed(6)
    people = [_uuid() for _ in range(1000)]
    sizes = _sizes(messages)
    busy, quiet, late = people[:3]
    words = _words()
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
    try:
        await connection.execute("SET session_replication_role = replica")
        await _write_people(connection, people)
        huge, *others = sizes
        small = [conversation for conversation in others if sizes[conversation] == SMALL]
        of_busy = [huge, *others[: conversations // 10], *small[-conversations + conversations // 10 + 1 :]]
        members = {
            *((conversation, busy, 0) for conversation in of_busy),
            *((conversation, quiet, 0) for conversation in small[:3]),
            (huge, late, sizes[huge] - SMALL),
            *((conversation, other, 0) for conversation in sizes for other in random.sample(people[3:], 5)),
        }
        await _write_conversations(connection, sizes, members)
        rows = _messages(sizes, people, words)
        for written in range(0, messages, 50_000):
            some = list(itertools.islice(rows, 50_000))
            columns = ["id", "conversation_id", "from_user_id", "content", "seq", "rev", "created_at"]
            await connection.copy_records_to_table("messages", schema_name="messages", columns=columns, records=some)
            on_progress(written + len(some))
        await connection.execute("RESET session_replication_role")
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return Archive(words, huge, small[0], busy, quiet, late)


def _uuid() -> UUID:
    return UUID(int=random.getrandbits(128), version=4)


def _sizes(messages: int) -> dict[UUID, int]:
    """Return how many messages each conversation has: half of all the first, then medium ones, then small ones."""
    medium, small = messages * 4 // 10 // MEDIUM, messages // 10 // SMALL
    return {_uuid(): size for size in [messages // 2, *[MEDIUM] * medium, *[SMALL] * small]}


def _words() -> list[str]:
    made = ("".join(random.choices(SYLLABLES, k=random.randint(1, 5))) for _ in range(60_000))
    return list(dict.fromkeys(made))


def _messages(sizes: dict[UUID, int], people: list[UUID], words: list[str]) -> Iterator[tuple[Any, ...]]:
    """Yield rows by rising time, conversations mixed."""
    turns = [conversation for conversation, size in sizes.items() for _ in range(size)]
    random.shuffle(turns)
    weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(len(words))))
    seqs = dict.fromkeys(sizes, 0)
    for n, conversation in enumerate(turns):
        seqs[conversation] = seq = seqs[conversation] + 1
        said = " ".join(random.choices(words, cum_weights=weights, k=random.randint(2, 14)))
        sender = people[(seq * 7 + n) % len(people)]
        yield _uuid(), conversation, sender, said, seq, seq + 1, BEGINNING + timedelta(seconds=30 * n)


async def _write_people(connection: "asyncpg.Connection[asyncpg.Record]", people: list[UUID]) -> None:
    phones = [f"+49{n:010}" for n in range(len(people))]
    await connection.execute(
        "INSERT INTO auth.users (id, phone, password_hash) SELECT *, '!' FROM unnest($1::uuid[], $2::text[])",
        people,
        phones,
    )


async def _write_conversations(
    connection: "asyncpg.Connection[asyncpg.Record]", sizes: dict[UUID, int], members: set[tuple[UUID, UUID, int]]
) -> None:
    await connection.execute(
        "INSERT INTO messages.conversations (id, type, participants, last_message_at)"
        " SELECT i, 'group', '{}', CURRENT_TIMESTAMP FROM unnest($1::uuid[]) i",
        list(sizes),
    )
    await connection.execute(
        "INSERT INTO messages.heads (conversation_id, last_seq, last_rev) SELECT i, n, n + 1"
        " FROM unnest($1::uuid[], $2::bigint[]) x(i, n)",
        list(sizes),
        list(sizes.values()),
    )
    await connection.executemany(
        "INSERT INTO messages.members (conversation_id, user_id, joined_seq, joined_rev, rev, user_rev)"
        " VALUES ($1, $2, $3, 1, 1, 1)",
        sorted(members),
    )
