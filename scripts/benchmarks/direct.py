"""Direct messages at half of what the server can take: how late they come, and what each costs whom."""

import asyncio
from pathlib import Path

from scripts.loadtest.bot import Person as Bot
from scripts.loadtest.fleet import Fleet
from scripts.loadtest.processes import Processes
from scripts.loadtest.scenario import Crowd, Scenario

from .report import Figure
from .stage import Stage, cpu_s
from .writes import PAIRS, pairs_of, through_server

FOR_S = 10
WARM_S = 2.0


async def direct(stage: Stage) -> list[Figure]:
    people = await stage.people(2 * PAIRS)
    pairs = await pairs_of(stage, people)
    await through_server(stage, pairs, for_s=1)
    _, most = await through_server(stage, pairs, for_s=2)
    rate = most / 2
    crowd = Crowd(talk="direct", rate=rate, bytes=(60, 60))
    bots = [Bot(person.user, person.token) for person in await stage.people(2 * PAIRS)]
    plan = Scenario(name="direct", users=len(bots), ramp="500/s", for_=f"{FOR_S}s", crowd=[crowd])
    fleet = Fleet(f"ws://127.0.0.1:{stage.port}/ws", plan, bots, processes=1, python=None)
    running = asyncio.create_task(fleet.run())
    while not any(second.sent for second in fleet.swarm.timeline):  # noqa: ASYNC110  # a bench may look now and then
        await asyncio.sleep(0.1)
    await asyncio.sleep(WARM_S)
    others = Processes(Path("/proc"))
    before, acked = _used(stage, others), fleet.swarm.counts["acked"]
    await asyncio.sleep(FOR_S - WARM_S - 2)
    after, acked = _used(stage, others), fleet.swarm.counts["acked"] - acked
    swarm = await running
    late = swarm.latencies["send_to_deliver"]
    each = {name: (after[name] - before[name]) / acked * 1e6 for name in after}
    wrong = sum(getattr(swarm.verdict, name) for name in swarm.verdict.__struct_fields__)
    return [
        Figure("direct: half of what the server takes", rate, "messages/s", is_better_high=True),
        Figure("direct: of these acknowledged", swarm.counts["acked"] / swarm.counts["sent"] * 100, "%", least=100),
        Figure("direct: p50 of send to deliver", late.percentile(50) * 1000, "ms", noise=0.5),
        Figure("direct: p99 of send to deliver", late.percentile(99) * 1000, "ms", most=100, noise=0.5),
        Figure("direct: lost, doubled, out of order, changed, unanswered, closed", wrong, "", most=0),
        Figure("direct: worker CPU", each["worker"], "µs per message", most=125),
        Figure("direct: PostgreSQL CPU", each["postgres"], "µs per message", most=250),
        Figure("direct: Redis CPU", each["redis"], "µs per message"),
        Figure("direct: bots' CPU", swarm.cpu_s / swarm.counts["acked"] * 1e6, "µs per message"),
    ]


def _used(stage: Stage, others: Processes) -> dict[str, float]:
    """Return the seconds of CPU that each kind of process has used."""
    return {"worker": cpu_s(stage.worker), **{name: usage.cpu_s for name, usage in others.look().items()}}
