"""Rounds of random trouble under a running load, each a story of its own that is judged at its end."""

import asyncio
import itertools
from pathlib import Path
from random import Random
from typing import NamedTuple

from .checker import Anomaly
from .cluster import Servers
from .history import History
from .plots import clients, postgres, redis, talk, workers
from .plots.base import Plot, Story
from .story import story

FAMILIES: dict[str, list[Plot]] = {
    "workers": [
        workers.killed_worker,
        workers.exits_before_commit,
        workers.exits_after_commit,
        workers.exits_after_publish,
        workers.drained_worker,
        workers.stalled_loop,
        workers.frozen_worker,
    ],
    "postgres": [
        postgres.restarted_postgres,
        postgres.killed_postgres,
        postgres.killed_backend,
        postgres.terminated_backends,
        postgres.frozen_postgres,
        postgres.node_without_postgres,
        postgres.changed_schema,
    ],
    "redis": [
        redis.lossy_redis,
        redis.restarted_redis,
        redis.frozen_redis,
        redis.paused_redis,
        redis.killed_subscribers,
        redis.node_without_redis,
    ],
    "clients": [
        clients.lost_connections,
        clients.half_closed_connections,
        clients.half_open_client,
        clients.slow_client,
        clients.returning_device,
    ],
    "members": [talk.changing_members],
}
"""Plots of one family do not bear each other."""

APART = [{"postgres", "members"}, {"workers", "clients"}]
"""Families that do not bear each other: the story itself needs PostgreSQL; who is cut off counts on a worker."""

ACTS = 4
PATIENCE_S = 90.0


class Round(NamedTuple):
    """What happened in one round."""

    acts: list[str]
    acknowledged: int
    anomalies: list[Anomaly]
    history: History


def plan(seed: int, number: int) -> list[list[Plot]]:
    """Return the acts of a round: in each, one thing happens, or two at once."""
    random = Random(f"{seed}/{number}")
    pairs = [[*pair] for pair in itertools.combinations(FAMILIES, 2) if set(pair) not in APART]
    acts = [*([family] for family in FAMILIES), *pairs]
    return [[random.choice(FAMILIES[family]) for family in random.choice(acts)] for _ in range(ACTS)]


async def play(servers: Servers, folder: Path, seed: int, number: int, bug: str = "") -> Round:
    """Play one round to its end."""
    acts = plan(seed, number)
    async with story(servers, folder, seed=seed, bug=bug, patience_s=PATIENCE_S) as one:
        for act in acts:
            await _together(one, act)
        anomalies = await one.end(within_s=15)
    return Round([" + ".join(map(name_of, act)) for act in acts], one.acknowledged, anomalies, one.history)


async def _together(one: Story, act: list[Plot]) -> None:
    tasks = [asyncio.ensure_future(plot(one)) for plot in act]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def name_of(plot: Plot) -> str:
    return getattr(plot, "__name__", str(plot))
