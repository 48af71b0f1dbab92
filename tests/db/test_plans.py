"""What is read often finds its rows by index, however many there are: PostgreSQL shows its plans while it works.

Each statement runs as the server runs it, on a conversation of 20,000 messages among two hundred others; what counts is
how many rows were touched on the way to a page.
"""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
import pytest

from echo_ws_db import changes, conversations, messages
from echo_ws_db.messages import Filters, Question
from echo_ws_db.pool import SETTINGS
from scripts.benchmarks.archive import Archive, fill
from tests.support.services import Databases

MESSAGES = 40_000
SEQ, REV, SEARCH = "idx_messages_seq", "idx_messages_rev", "idx_messages_search"


class Work(NamedTuple):
    """What statements did."""

    indexes: set[str]
    """By which the rows of messages were found."""
    scanned: set[str]
    """Tables that were read from one end to the other."""
    touched: int
    """Rows of the table that was touched most, by one step of one plan."""


class Full(NamedTuple):
    url: str
    archive: Archive


@pytest.fixture(scope="module")
def full(databases: Databases, template: str) -> Iterator[Full]:
    with databases.fresh(template) as url:
        filled = fill(url, MESSAGES, conversations=100, on_progress=lambda _: None)
        yield Full(url, databases.run(filled))


async def read_all(full: Full, user: UUID) -> None:
    """Leave nothing unread: unread messages are counted one by one."""
    db = await asyncpg.connect(full.url)
    try:
        await db.execute(
            "UPDATE messages.members m SET read_seq = h.last_seq FROM messages.heads h"
            " WHERE h.conversation_id = m.conversation_id AND m.user_id = $1",
            user,
        )
    finally:
        await db.close()


async def work_of(full: Full, ask: Callable[[Any], Awaitable[Any]]) -> tuple[Any, Work]:
    """Return the answer, and what PostgreSQL did for it."""
    db = await asyncpg.connect(full.url, server_settings=SETTINGS)
    try:
        await db.execute(
            "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;"
            "SET auto_explain.log_analyze = on; SET auto_explain.log_format = json; SET client_min_messages = log"
        )
        plans: list[Any] = []
        db.add_log_listener(lambda _, message: plans.extend(_plans(str(message))))
        answer = await ask(db)
        await db.execute("SET client_min_messages = notice")
    finally:
        await db.close()
    nodes = [node for plan in plans for node in _nodes(plan)]
    assert nodes
    return answer, Work(
        {node["Index Name"] for node in nodes if "idx_messages" in node.get("Index Name", "")},
        {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"},
        int(max(_touched(node) for node in nodes)),
    )


def _plans(message: str) -> Iterator[Any]:
    """Yield the plan in a message; asyncpg's own questions about types do not count."""
    if (start := message.find("{")) >= 0 and "plan:" in message:
        shown = msgspec.json.decode(message[start : message.rindex("}") + 1])
        if "pg_type" not in shown["Query Text"]:
            yield shown["Plan"]


def _nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for part in plan.get("Plans", []):
        yield from _nodes(part)


def _touched(node: Any) -> float:
    left_out = sum(node.get(f"Rows Removed by {what}", 0) for what in ("Filter", "Index Recheck", "Join Filter"))
    rows: float = (node["Actual Rows"] + left_out) * node["Actual Loops"]
    return rows


def question(word: str, *, is_open: bool = False) -> Question:
    return Question([word], [0], [False], is_open)


ANYWHERE = Filters(None, None, None, None, None)


async def test_history_touches_the_rows_of_a_page_both_ways(full: Full) -> None:
    huge, busy = full.archive.huge, full.archive.busy

    older, down = await work_of(full, lambda db: messages.before(db, huge, busy, 10_000, 51))
    newer, up = await work_of(full, lambda db: messages.after(db, huge, busy, 10_000, 51))

    assert (9_999, 10_001) == (older[0].seq, newer[0].seq)
    for work in (down, up):
        assert ({SEQ}, set()) == (work.indexes, work.scanned)
        assert work.touched <= 60


@pytest.mark.parametrize("seq", [2**53, 20_000, 100])
async def test_one_who_came_late_pays_for_what_there_is_to_read(seq: int, full: Full) -> None:
    huge, late = full.archive.huge, full.archive.late

    older, down = await work_of(full, lambda db: messages.before(db, huge, late, seq, 51))
    newer, up = await work_of(full, lambda db: messages.after(db, huge, late, 0, 51))

    assert (min(20, max(0, seq - 19_981)), 20) == (len(older), len(newer))
    for work in (down, up):
        assert ({SEQ}, set()) == (work.indexes, work.scanned)
        assert work.touched <= 60


async def test_the_place_of_a_message_is_found_by_its_key(full: Full) -> None:
    huge, busy = full.archive.huge, full.archive.busy
    db = await asyncpg.connect(full.url)
    message = await db.fetchval("SELECT id FROM messages.messages WHERE conversation_id = $1 AND seq = 777", huge)
    await db.close()

    seq, work = await work_of(full, lambda db: messages.seq_of(db, huge, busy, message))

    assert (777, set()) == (seq, work.scanned)
    assert work.touched <= 10


@pytest.mark.parametrize("is_ranked", [True, False])
@pytest.mark.parametrize(
    ("rank", "is_open", "most"),
    [(0, False, 2500), (1000, False, 100), (20_000, False, 100), (0, True, 4000), (1000, True, 4100)],
)
async def test_a_search_in_a_huge_conversation_touches_what_it_shows(
    rank: int, is_open: bool, most: int, is_ranked: bool, full: Full
) -> None:
    """The first word is in a third of all messages: of those in 4,096 that are looked at first, a third is touched."""
    word, huge, busy = full.archive.words[rank], full.archive.huge, full.archive.busy

    _, work = await work_of(
        full,
        lambda db: messages.search(
            db, busy, question(word, is_open=is_open), Filters(huge, None, None, None, None), 21, is_ranked=is_ranked
        ),
    )

    assert SEARCH in work.indexes
    assert set() == work.scanned
    assert work.touched <= most


async def look_anywhere(word: str, viewer: UUID, db: Any) -> None:
    await messages.search(db, viewer, question(word), ANYWHERE, 21, is_ranked=False)


@pytest.mark.parametrize("rank", [0, 1000, 20_000])
async def test_a_search_touches_nothing_of_others(rank: int, full: Full) -> None:
    word = full.archive.words[rank]

    _, of_quiet = await work_of(full, partial(look_anywhere, word, full.archive.quiet))
    _, of_late = await work_of(full, partial(look_anywhere, word, full.archive.late))

    for work in (of_quiet, of_late):
        assert SEARCH in work.indexes
        assert set() == work.scanned
        assert work.touched <= 250


async def test_the_list_of_conversations_touches_those_of_the_user_alone(full: Full) -> None:
    await read_all(full, full.archive.busy)

    rows, work = await work_of(full, lambda db: conversations.page(db, full.archive.busy, 51, (None, None)))

    assert (51, set()) == (len(rows), work.scanned)
    assert work.touched <= 150


async def test_what_somebody_missed_is_found_by_rev(full: Full) -> None:
    huge, busy = full.archive.huge, full.archive.busy

    of_all, for_all = await work_of(full, lambda db: changes.of_conversation(db, huge, 10_000, 100))
    of_one, for_one = await work_of(full, lambda db: changes.missed(db, busy, [huge], [10_000], 100))

    assert (100, 100) == (len(of_all), len(of_one))
    for work in (for_all, for_one):
        assert ({REV}, set()) == (work.indexes, work.scanned)
        assert work.touched <= 150
