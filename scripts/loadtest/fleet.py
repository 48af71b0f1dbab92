"""All processes of a run: each gets its share of the people, and what they find out is added up."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from .bot import Person
from .child import Word
from .histogram import Histogram
from .ledger import MAX_EXAMPLES, summed
from .results import Second, Swarm
from .run import Plan, RunError
from .scenario import Scenario

ROOT = Path(__file__).resolve().parents[2]
LINE_BYTES = 1 << 26
_SUMS = ("connected", "meant", "sent", "acked", "delivered", "refused", "closed")


class Fleet:
    """The processes. ``swarm`` is what all of them know so far."""

    def __init__(
        self, against: str, scenario: Scenario, people: Sequence[Person], *, processes: int, python: str | None
    ) -> None:
        python = str(Path(python).resolve()) if python else None  # a child starts in another folder
        self.server = ""
        self._plans = [
            Plan(against, scenario, list(part), first, len(part) / len(people), python)
            for first, part in _shares(people, processes, _room_size(scenario))
        ]
        self._swarms = [Swarm() for _ in self._plans]
        self._timelines: list[list[Second]] = [[] for _ in self._plans]
        self._processes: list[asyncio.subprocess.Process] = []

    @property
    def seconds(self) -> int:
        """How many seconds a process has told of; adding up what it told takes longer than asking for this."""
        return max(map(len, self._timelines))

    @property
    def swarm(self) -> Swarm:
        return added(self._swarms, self._timelines)

    async def run(self) -> Swarm:
        """Return what came out.

        Raises:
            RunError: a process could not do its part.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for place, plan in enumerate(self._plans):
                    group.create_task(self._follow(place, plan))
        except* RunError as errors:
            raise RunError(str(errors.exceptions[0])) from None
        finally:
            for process in self._processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return self.swarm

    def stop(self) -> None:
        """Let everybody come to an end early."""
        for process in self._processes:
            if process.stdin:
                process.stdin.close()

    async def _follow(self, place: int, plan: Plan) -> None:
        command = [sys.executable, "-P", "-m", "scripts.loadtest.child"]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES, cwd=ROOT
        )
        self._processes.append(process)
        assert process.stdin
        assert process.stdout
        with suppress(ConnectionError):  # what it says, or how it ended, tells more
            process.stdin.write(msgspec.json.encode(plan) + b"\n")
            await process.stdin.drain()
        async for line in process.stdout:
            word = msgspec.json.decode(line, type=Word)
            if word.error:
                raise RunError(word.error)
            self._timelines[place] += word.swarm.timeline
            self._swarms[place] = word.swarm
            self.server = word.server or self.server
            if word.is_last:
                return
        raise RunError(f"a process of bots ended with {await process.wait()} in the middle of its work")


def added(swarms: Sequence[Swarm], timelines: Sequence[Sequence[Second]]) -> Swarm:
    """Add up what several processes know."""
    total = Swarm(verdict=summed(swarm.verdict for swarm in swarms))
    for swarm in swarms:
        for name, histogram in swarm.latencies.items():
            total.latencies.setdefault(name, Histogram()).add(histogram)
        for ours, theirs in (
            (total.counts, swarm.counts),
            (total.refusals, swarm.refusals),
            (total.closes, swarm.closes),
        ):
            for key, count in theirs.items():
                ours[key] = ours.get(key, 0) + count
        total.examples = (total.examples + swarm.examples)[:MAX_EXAMPLES]
        total.users += swarm.users
        total.cpu_s += swarm.cpu_s
        total.lag_s = max(total.lag_s, swarm.lag_s)
        total.memory_bytes += swarm.memory_bytes
    total.timeline = [Second() for _ in range(max(map(len, timelines), default=0))]
    for timeline in timelines:
        for second, part in zip(total.timeline, timeline, strict=False):
            for name in _SUMS:
                setattr(second, name, getattr(second, name) + getattr(part, name))
            second.send_to_ack.add(part.send_to_ack)
            second.send_to_deliver.add(part.send_to_deliver)
    return total


def _room_size(scenario: Scenario) -> int:
    """Return the number of people that are not to be torn apart."""
    return max((crowd.size for crowd in scenario.crowd if crowd.talk != "none"), default=1)


def _shares(people: Sequence[Person], processes: int, size: int) -> list[tuple[int, Sequence[Person]]]:
    """Cut people into a share for each process, each of whole conversations."""
    rooms = max(1, len(people) // size)
    processes = min(processes, rooms)
    cuts = [rooms * n // processes * size for n in range(processes)] + [len(people)]
    return [(cuts[n], people[cuts[n] : cuts[n + 1]]) for n in range(processes)]
