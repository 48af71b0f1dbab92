"""Bots against a real worker: what they count is what happened, and an honest server keeps its word."""

import asyncio
import time
from pathlib import Path
from uuid import UUID

import pytest

from scripts.loadtest import run as run_module
from scripts.loadtest.fleet import Fleet
from scripts.loadtest.results import Swarm, Verdict
from scripts.loadtest.run import Run, RunError
from scripts.loadtest.scenario import Crowd, Drop, Scenario, Stage
from tests.support.bots import longer_than, persons, ran, run_of, scenario
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import Worker, World

CLEAN = Verdict()
EVERYTHING = {"send": 6.0, "edit": 2.0, "delete": 1.0, "react": 2.0, "type": 1.0, "read": 1.0, "history": 1.0}
STALL_S = 1.0


def meant(swarm: Swarm) -> int:
    return sum(second.meant for second in swarm.timeline)


def is_whole(swarm: Swarm, members: int) -> bool:
    """Tell whether every message meant was sent, acknowledged, and heard by everybody in its conversation."""
    counts = swarm.counts
    return meant(swarm) == counts["sent"] == counts["acked"] == counts["delivered"] / members > 0


# -- who talks


@pytest.mark.parametrize(
    ("crowd", "users"),
    [
        (Crowd(talk="direct", every=0.2), 8),
        (Crowd(talk="group", size=5, rate=60, mix=EVERYTHING), 10),  # type: ignore[arg-type]  # acts
        (Crowd(talk="channel", size=12, rate=20), 12),
    ],
    ids=["direct", "group", "channel"],
)
async def test_every_message_is_sent_acknowledged_and_heard_by_everybody(
    crowd: Crowd, users: int, people: World, worker: Worker, db: Sql
) -> None:
    bots = await persons(people, users)

    swarm = await ran(worker.url, scenario(crowd), bots)

    assert (CLEAN, []) == (swarm.verdict, swarm.examples)
    assert is_whole(swarm, crowd.size)
    assert swarm.counts["acked"] == await stored(db, [bot.user for bot in bots])
    assert users == swarm.users == swarm.counts["connections"] == swarm.latencies["connect"].count
    assert swarm.counts["acked"] == swarm.latencies["send_to_ack"].count
    assert swarm.counts["delivered"] == swarm.latencies["send_to_deliver"].count
    assert not swarm.refusals or {"not_found": 1} == swarm.refusals, "somebody may touch what another just deleted"


async def stored(db: Sql, users: list[object]) -> int:
    found = await db.fetchval("SELECT count(*) FROM messages.messages WHERE from_user_id = ANY ($1::uuid[])", users)
    assert isinstance(found, int)
    return found


async def test_bots_let_be_what_was_deleted(people: World, worker: Worker) -> None:
    """Else errors would be theirs and not the server's."""
    crowd = Crowd(rate=80, mix={"send": 1, "delete": 1, "react": 2})

    swarm = await ran(worker.url, scenario(crowd), await persons(people, 2))

    assert CLEAN == swarm.verdict
    assert swarm.refusals.get("not_found", 0) <= 3, "at the same moment"


async def test_a_rate_is_kept_and_a_stage_of_rate_zero_is_quiet(people: World, worker: Worker) -> None:
    stages = [Stage("500ms", 2.0), Stage("500ms", 0.0), Stage("1s", 1.0)]

    swarm = await ran(worker.url, scenario(Crowd(rate=50), stage=stages), await persons(people, 4))

    assert 60 <= meant(swarm) <= 78
    assert CLEAN == swarm.verdict


async def test_those_who_only_listen_count_as_connections(people: World, worker: Worker) -> None:
    swarm = await ran(worker.url, scenario(Crowd(talk="none"), for_="100ms"), await persons(people, 3))

    assert (3, CLEAN) == (swarm.counts["connections"], swarm.verdict)
    assert "sent" not in swarm.counts


async def test_people_who_talked_before_go_on_where_they_were(people: World, worker: Worker) -> None:
    """Two people have one direct conversation, however often a run asks for it."""
    bots = await persons(people, 2)
    plan = scenario(Crowd(rate=50), for_="300ms")

    swarms = [await ran(worker.url, plan, bots) for _ in range(2)]

    assert [CLEAN, CLEAN] == [swarm.verdict for swarm in swarms]
    assert all(is_whole(swarm, 2) for swarm in swarms)


# -- who comes and goes


async def test_who_was_away_comes_back_and_misses_nothing(people: World, worker: Worker) -> None:
    mobile = Crowd(talk="group", size=5, rate=40, drop=Drop(every=(0.3, 1.0), away=(0.0, 0.3)))

    swarm = await ran(worker.url, scenario(mobile, for_="2s"), await persons(people, 10))

    assert CLEAN == swarm.verdict, swarm.examples
    assert is_whole(swarm, 5)
    assert swarm.counts["reconnects"] >= 10
    assert swarm.counts["resumes"] > swarm.counts["reconnects"], "who goes again at once may have had no answer"
    assert swarm.counts["delivered"] > swarm.latencies["send_to_deliver"].count, "some came by a resume only"


async def test_a_storm_passes_and_nothing_is_missed(people: World, worker: Worker) -> None:
    """Everybody loses the connection at once, twice, while some of them talk to each other."""
    stormy = Crowd(talk="group", size=6, rate=50, storm=0.6)

    swarm = await ran(worker.url, scenario(stormy, Crowd(rate=20)), await persons(people, 12))

    assert CLEAN == swarm.verdict, swarm.examples
    assert 2 * 6 <= swarm.counts["reconnects"] == swarm.latencies["reconnect"].count
    assert meant(swarm) == swarm.counts["acked"]


async def test_those_who_behave_do_not_notice_those_who_do_not(people: World) -> None:
    limited = await people.worker(commands_per_s=10, sends_per_s=10, bad_frames_per_min=5)
    good = Crowd(talk="group", size=5, share=5, rate=20)
    bad = [
        Crowd(behaviour="flood", share=2, rate=200),
        Crowd(behaviour="slow", share=2, rate=10),
        Crowd(behaviour="garbage", talk="none", rate=50),
    ]

    swarm = await ran(limited.url, scenario(good, *bad), await persons(people, 10))

    assert CLEAN == swarm.verdict, swarm.examples
    assert not swarm.refusals
    assert not swarm.closes
    assert meant(swarm) == swarm.counts["sent"] == swarm.counts["acked"] == swarm.counts["delivered"] / 5 > 20
    assert swarm.counts["abuse"] > 200
    assert swarm.counts["abuse_refused"] > 100
    assert swarm.counts["abuse_closed"] > 0


async def test_who_reads_nothing_is_told_that_it_is_behind_and_misses_nothing(people: World) -> None:
    """It reads again when the run comes to its end, and asks for what the server did not keep for it."""
    tight = await people.worker(send_buffer_bytes=65536)
    crowd = Crowd(talk="channel", size=2, rate=800, bytes=(4096, 4096))
    speaker, slow = await persons(people, 2)
    run = run_of(tight.url, scenario(crowd, for_="10m"), [speaker, slow])

    running = asyncio.create_task(run.run(lambda _: None))
    await until(lambda: acked(run.swarm, 1))
    run._bots[1].read_nothing(600)
    await until(lambda: is_told_nothing(tight, slow.user))
    run.is_stopping.set()
    swarm = await running

    assert CLEAN == swarm.verdict, swarm.examples
    assert (1, 0) == (swarm.counts["behind"], swarm.counts.get("reconnects", 0))
    assert is_whole(swarm, 2)


async def is_told_nothing(worker: Worker, user: UUID) -> bool:
    return not worker.server._hub.connections_of(user)


# -- bots that somebody wrote


BOTS = """
import asyncio

from scripts.loadtest.bot import Bot, Refused, between, task
from echo_ws_protocol.commands import ConversationGet, MessageSend
from echo_ws_protocol.ids import uuid7


class Shopper(Bot):
    wait = between(0.01, 0.05)
    talk = "group"
    size = 3

    async def on_start(self):
        details = await self.call(ConversationGet(conversation=self.pick()))
        assert details.conversation.type == "group"

    @task(3)
    async def chat(self):
        self._run.count("chats")
        await self.say()
        await self.say("a text of my own")

    @task
    async def look_back(self):
        self._run.count("looks")
        page = await self.history(limit=2)
        assert len(page.messages) <= 2

    @task(0.5)
    async def be_refused(self):
        self._run.count("refused")
        await self.call(ConversationGet(conversation=uuid7()))

    @task(0.5)
    async def fail(self):
        self._run.count("failures")
        raise LookupError("the shop is closed")

    @task(0.5)
    async def give_up(self):
        try:
            async with asyncio.timeout(0):
                await self.history()
        except TimeoutError:
            self._run.count("given_up")
"""


async def test_a_class_of_bots_does_its_tasks_by_their_weights(people: World, worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(BOTS)

    swarm = await ran(worker.url, scenario(Crowd(talk="group", size=3)), await persons(people, 6), python=file)

    counts = swarm.counts
    assert CLEAN == swarm.verdict, swarm.examples
    assert 2 * counts["chats"] == counts["sent"] == counts["acked"] == counts["delivered"] / 3
    assert 1.8 < counts["chats"] / counts["looks"] < 5
    assert {"not_found": counts["refused"]} == swarm.refusals
    assert counts["failures"] == counts["failed_tasks"] > 0
    assert counts["given_up"] > 0
    assert ["a task failed: LookupError('the shop is closed')"] == swarm.examples
    assert swarm.latencies["command"].most < 1


async def test_what_a_task_does_after_a_pause_counts_from_then(people: World, worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(
        "import asyncio\nfrom scripts.loadtest.bot import Bot, between, task\n\n"
        "class Thinker(Bot):\n"
        "    wait = between(0, 0)\n"
        "    @task\n"
        "    async def chat(self):\n"
        "        await self.say()\n        await asyncio.sleep(1)\n        await self.say()\n"
        "        await asyncio.sleep(5)\n"
    )

    swarm = await ran(worker.url, scenario(Crowd(), for_="1500ms"), await persons(people, 2), python=file)

    assert (4, CLEAN) == (swarm.latencies["send_to_ack"].count, swarm.verdict)
    assert swarm.latencies["send_to_ack"].most < 0.9


async def test_bots_that_cannot_start_do_not_end_the_run(people: World, worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(
        "from scripts.loadtest.bot import Bot, between, task\n\n"
        "class Late(Bot):\n"
        "    wait = between(0, 0.05)\n"
        "    async def on_start(self):\n        raise OSError('no shop')\n"
        "    @task\n    async def chat(self):\n        await self.say()\n"
    )

    swarm = await ran(worker.url, scenario(Crowd(), for_="300ms"), await persons(people, 2), python=file)

    assert (2, CLEAN) == (swarm.counts["failed_tasks"], swarm.verdict)
    assert swarm.counts["acked"] > 0


# -- servers that go


async def test_a_server_that_goes_for_good_ends_the_run_with_what_it_left_unanswered(
    people: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "SETTLE_S", 0.5)
    leaving = await people.worker()
    run = run_of(leaving.url, scenario(Crowd(rate=50)), await persons(people, 4))

    running = asyncio.create_task(run.run(lambda _: None))
    await until(lambda: acked(run.swarm, 20))
    await leaving.server.drain()
    async with asyncio.timeout(5):
        swarm = await running

    assert swarm.counts["sent"] - swarm.counts["acked"] == swarm.verdict.unanswered > 10
    assert 4 == swarm.verdict.closed, "nobody could come back"
    assert (0, 0, 0) == (swarm.verdict.doubled, swarm.verdict.lost, swarm.verdict.changed)
    assert {"4000": 4} == swarm.closes
    assert swarm.counts["connections_failed"] > 0


async def test_who_did_nothing_and_cannot_come_back_is_missed_too(
    people: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "SETTLE_S", 0.3)
    leaving = await people.worker()
    run = run_of(leaving.url, scenario(Crowd(talk="none"), for_="300ms"), await persons(people, 2))

    running = asyncio.create_task(run.run(lambda _: None))
    await until(lambda: is_driving(run))
    await leaving.server.drain()

    assert Verdict(closed=2) == (await running).verdict


async def is_driving(run: Run) -> bool:
    return run.is_driving


async def acked(swarm: Swarm, count: int) -> bool:
    return swarm.counts.get("acked", 0) >= count


async def test_nobody_at_the_door_is_told_in_one_line(people: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "READY_S", 0.3)
    leaving = await people.worker()
    bots = await persons(people, 2)
    await leaving.server.drain()

    with pytest.raises(RunError, match=r"^only 0 of 2 bots came within 0\.3 s \(no connection: \d+\)$"):
        await ran(leaving.url, scenario(Crowd()), bots)


async def test_whom_the_server_does_not_know_is_told_in_one_line(people: World, worker: Worker) -> None:
    known, stranger = await persons(people, 2)
    stranger = type(stranger)(stranger.user, "echo_nobody")

    with pytest.raises(RunError, match=r"^bot 1 was turned away for good: 4500 the token is not"):
        await ran(worker.url, scenario(Crowd()), [known, stranger])


async def test_a_run_may_be_stopped_before_everybody_came(people: World, worker: Worker) -> None:
    plan = Scenario(crowd=[Crowd()], ramp="0.1/s")
    run = run_of(worker.url, plan, await persons(people, 2))

    running = asyncio.create_task(run.run(lambda _: None))
    run.is_stopping.set()

    with pytest.raises(RunError, match="stopped"):
        async with asyncio.timeout(1):
            await running


# -- processes of bots


async def test_processes_share_the_work_and_add_up(people: World, worker: Worker) -> None:
    bots = await persons(people, 12)
    two = Fleet(worker.url, scenario(Crowd(talk="group", size=4, rate=60)), bots, processes=2, python=None)

    swarm = await two.run()

    assert CLEAN == swarm.verdict, swarm.examples
    assert is_whole(swarm, 4)
    assert 75 <= meant(swarm) <= 92
    assert (12, 12) == (swarm.users, swarm.counts["connections"])
    assert swarm.counts["acked"] == sum(second.acked for second in swarm.timeline)
    assert two.server.startswith("echo_ws")


async def test_a_fleet_that_is_told_to_stop_comes_to_an_end_early(people: World, worker: Worker) -> None:
    one = Fleet(worker.url, scenario(Crowd(rate=50), for_="10m"), await persons(people, 2), processes=1, python=None)

    running = asyncio.create_task(one.run())
    await until(lambda: acked(one.swarm, 10))
    one.stop()
    async with asyncio.timeout(3):
        swarm = await running

    assert CLEAN == swarm.verdict
    assert is_whole(swarm, 2)


async def test_a_process_that_could_not_do_its_part_says_why(people: World, worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text("raise SystemExit(7)")
    one = Fleet(worker.url, scenario(Crowd()), await persons(people, 2), processes=1, python=str(file))

    with pytest.raises(RunError, match="ended with 7"):
        await one.run()


async def test_a_stall_is_felt_by_all_messages_that_were_meant_meanwhile(people: World, worker: Worker) -> None:
    """A tester that waited for answers before it sent the next message would see a single slow one."""
    rate = 50
    one = Fleet(
        worker.url, scenario(Crowd(rate=rate), for_="2500ms"), await persons(people, 4), processes=1, python=None
    )

    running = asyncio.create_task(one.run())
    await until(lambda: acked(one.swarm, 10))
    time.sleep(STALL_S)  # noqa: ASYNC251 - the worker lives in this loop
    swarm = await running

    assert CLEAN == swarm.verdict, swarm.examples
    assert is_whole(swarm, 2)
    slow = longer_than(0.3, swarm.latencies["send_to_ack"])
    assert 0.5 < slow / (rate * (STALL_S - 0.3)) < 2
    assert STALL_S * 0.9 < swarm.latencies["send_to_ack"].most < STALL_S + 2
    assert longer_than(0.3, swarm.latencies["send_to_deliver"]) >= slow


async def test_bots_that_are_late_themselves_do_not_hide_it(people: World, worker: Worker) -> None:
    """What they could not send in time is sent at once, and counts from when it was meant."""
    rate, late_s = 50, 0.5
    run = run_of(worker.url, scenario(Crowd(rate=rate)), await persons(people, 4))

    running = asyncio.create_task(run.run(lambda _: None))
    await until(lambda: acked(run.swarm, 10))
    time.sleep(late_s)  # noqa: ASYNC251 - bots and worker live in this loop
    swarm = await running

    assert is_whole(swarm, 2)
    assert 60 <= meant(swarm) <= 77
    assert 0.5 < longer_than(0.2, swarm.latencies["send_to_ack"]) / (rate * (late_s - 0.2)) < 2
    assert late_s * 0.8 < swarm.lag_s < late_s + 2
