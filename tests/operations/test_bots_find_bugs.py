"""Bots that find nothing prove nothing: against a server with a bug they report just that, and a good one is clean."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from echo_ws_db import pool
from scripts.loadtest.scenario import Act, Crowd, Drop
from tests.faults.cluster import Node, Servers
from tests.faults.conftest import lasting_servers
from tests.support.bots import persons, ran, scenario
from tests.support.world import World

Start = Callable[[str], AbstractAsyncContextManager[tuple[Node, World]]]

__all__ = ["lasting_servers"]

BOTS = 10
TALK: dict[Act, float] = {"send": 6, "edit": 2, "react": 2, "delete": 1, "type": 1, "history": 1}


@pytest.fixture
def start(lasting_servers: Servers, tmp_path: Path) -> Start:
    """Return what starts a node with a bug, beside a world of people for it."""

    @asynccontextmanager
    async def started(bug: str) -> AsyncIterator[tuple[Node, World]]:
        servers = lasting_servers
        node = Node(servers, tmp_path / "node", Random(1), bug)
        async with node.running(), AsyncExitStack() as stack:
            store = await pool.connect(servers.postgres.url, size=2)
            stack.push_async_callback(store.close)
            yield node, World(servers.postgres.url, servers.redis.url, store, stack)

    return started


@pytest.mark.parametrize(
    ("bug", "kind", "mix"),
    [
        ("drop_one_in_a_hundred", "lost", {"send": 1}),
        ("tell_one_in_a_hundred_twice", "doubled", TALK),
        ("swap_two_now_and_then", "out_of_order", TALK),
        ("swallow_a_reply", "unanswered", {"send": 1}),
        ("close_without_a_code", "closed", {"send": 1}),
    ],
)
async def test_bots_find_a_bug_and_nothing_else(
    bug: str, kind: str, mix: dict[Act, float], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.loadtest.run.SETTLE_S", 1.0)
    async with start(bug) as (node, people):
        crowd = Crowd(talk="group", size=BOTS, rate=150, mix=mix)
        swarm = await ran(node.url, scenario(crowd), await persons(people, BOTS))

    found = {name: getattr(swarm.verdict, name) for name in swarm.verdict.__struct_fields__}
    assert {kind} == {name for name, count in found.items() if count}, swarm.examples
    assert swarm.examples[0].startswith(kind.replace("_", " "))


async def test_bots_find_a_message_that_is_told_in_anothers_place(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is also a place, then, of which nobody hears."""
    monkeypatch.setattr("scripts.loadtest.run.SETTLE_S", 0.5)
    async with start("answer_with_the_next_seq") as (node, people):
        swarm = await ran(node.url, scenario(Crowd(rate=50), for_="1s"), await persons(people, 2))

    assert swarm.verdict.changed > 0
    assert swarm.verdict.lost > 0
    assert (0, 0, 0) == (swarm.verdict.doubled, swarm.verdict.out_of_order, swarm.verdict.unanswered)


async def test_bots_find_nothing_where_nothing_is(start: Start) -> None:
    async with start("") as (node, people):
        busy = Crowd(talk="group", size=BOTS, rate=100, mix=TALK, drop=Drop(every=(0.3, 2), away=(0, 0.3)))
        swarm = await ran(node.url, scenario(busy), await persons(people, BOTS))

    assert swarm.verdict.is_clean, swarm.examples
    assert swarm.counts["delivered"] == swarm.counts["sent"] * BOTS
    assert swarm.counts["reconnects"] > 0
