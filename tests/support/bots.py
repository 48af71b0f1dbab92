"""Bots of `scripts/bots` in a test: their people, and a short run in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.loadtest.bot import Bot, Person
from scripts.loadtest.child import classes
from scripts.loadtest.histogram import Histogram
from scripts.loadtest.results import Swarm
from scripts.loadtest.run import Plan, Run
from scripts.loadtest.scenario import Crowd, Scenario, check

from .world import World

AT_ONCE = "10000/s"


def scenario(*crowds: Crowd, for_: str = "1500ms", **said: Any) -> Scenario:
    return check(Scenario(name="short", crowd=list(crowds), ramp=AT_ONCE, for_=for_, **said))


async def persons(world: World, count: int) -> list[Person]:
    users = [await world.user(f"Bot {n}") for n in range(count)]
    return [Person(user, await world.token(user)) for user in users]


def run_of(url: str, plan: Scenario, people: Sequence[Person], *, python: Path | None = None) -> Run:
    makers = classes(python) if python else [(crowd, Bot) for crowd in plan.crowd]
    return Run(Plan(url, plan, list(people), first=0, part=1.0), makers)


async def ran(url: str, plan: Scenario, people: Sequence[Person], *, python: Path | None = None) -> Swarm:
    """Return what came out of a run in this process."""
    return await run_of(url, plan, people, python=python).run(lambda _: None)


def longer_than(seconds: float, times: Histogram) -> int:
    """Return how many took longer."""
    below = Histogram()
    below.record(seconds)
    (bucket,) = below.counts
    return sum(count for place, count in times.counts.items() if place > bucket)
