"""Scenarios of the load tester: what can be run, what cannot and why, and what a run must keep."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.loadtest import scenario
from scripts.loadtest.bot import Person
from scripts.loadtest.fleet import _shares, added
from scripts.loadtest.histogram import Histogram
from scripts.loadtest.results import Second, Swarm, Verdict
from scripts.loadtest.scenario import Scenario, ScenarioError, duration_s
from scripts.loadtest.thresholds import ALWAYS, judge, parsed

CROWD = "[[crowd]]\n"


def load(text: str, folder: Path) -> Scenario:
    file = folder / "mine.toml"
    file.write_text(text)
    return scenario.load(str(file))


# -- what can be run


@pytest.mark.parametrize("name", scenario.ready_made())
def test_a_ready_made_scenario_can_be_run_and_says_what_it_is_about(name: str) -> None:
    found = scenario.load(name)

    assert name == found.name
    assert found.about
    assert found.seconds > 0


def test_there_are_ready_made_scenarios() -> None:
    assert {"direct", "group", "channel", "mobiles", "storm", "abuse", "idle", "day"} == set(scenario.ready_made())


def test_a_file_needs_a_crowd_only(tmp_path: Path) -> None:
    found = load(CROWD, tmp_path)

    assert ("mine", 60.0, 200.0) == (found.name, found.seconds, found.ramp_per_s)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1m30s", 90), ("500ms", 0.5), ("1.5s", 1.5), ("1h", 3600)]
)
def test_a_duration_is_numbers_with_units(text: str, seconds: float) -> None:
    assert seconds == duration_s(text)


def test_the_pace_goes_from_stage_to_stage_and_stays_at_the_last(tmp_path: Path) -> None:
    stages = '[[stage]]\nfor = "10s"\nrate = 0.5\n[[stage]]\nfor = "20s"\nrate = 2\n[[stage]]\nfor = "1s"\nrate = 0\n'
    found = load(CROWD + stages, tmp_path)

    paces = [found.pace(elapsed) for elapsed in (0, 9.9, 10, 29.9, 30, 1000)]

    assert [0.5, 0.5, 2, 2, 0, 0] == paces


def test_without_stages_the_pace_is_even(tmp_path: Path) -> None:
    assert 1 == load(CROWD, tmp_path).pace(17)


# -- what cannot


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "crowd"),
        (CROWD + "tlak = 'group'", "tlak"),
        ("user = 5\n" + CROWD, "user"),
        ("users = 0\n" + CROWD, "users"),
        ("ramp = 'fast'\n" + CROWD, "'fast'"),
        ("ramp = '0/s'\n" + CROWD, "'0/s'"),
        ("ramp = '-5/s'\n" + CROWD, "'-5/s'"),
        ("for = 'a while'\n" + CROWD, "'a while'"),
        ("for = '10'\n" + CROWD, "'10'"),
        ("for = '5s or so'\n" + CROWD, "'5s or so'"),
        ("for = ''\n" + CROWD, "''"),
        ("for = '0s'\n" + CROWD, "'0s'"),
        (CROWD + "[[stage]]\nfor = 'long'", "'long'"),
        ("thresholds = ['send_to_ack p99 is good']\n" + CROWD, "'send_to_ack p99 is good'"),
        ("thresholds = ['send_to_moon p99 < 1 s']\n" + CROWD, "'send_to_moon p99 < 1 s'"),
        (CROWD + "mix = { shout = 1 }", "shout"),
        (CROWD + "rate = 1\nmix = {}", "mix"),
        (CROWD + "every = 1\nmix = { send = 0 }", "mix"),
        (CROWD + "size = 1", "size"),
        (CROWD + "bytes = [200, 40]", "bytes"),
        (CROWD + "bytes = [40, 5000]", "bytes"),
        (CROWD + "rate = -1", "rate"),
        (CROWD + "talk = 'none'\nrate = 1", "talk"),
        (CROWD + "drop = { every = [10, 5] }", "every"),
        (CROWD + "drop = { every = [0, 0] }", "every"),
        (CROWD + "behaviour = 'rude'", "rude"),
        ("[[crowd", "mine.toml"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line_that_names_it(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(text, tmp_path)

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nonesuch", "nonesuch.toml", "/nowhere/nonesuch.toml"])
def test_of_a_scenario_that_is_not_there_the_others_are_told(name: str) -> None:
    with pytest.raises(ScenarioError, match=r"no scenario .*nonesuch.*channel, day, direct"):
        scenario.load(name)


def test_a_folder_is_no_scenario(tmp_path: Path) -> None:
    folder = tmp_path / "mine.toml"
    folder.mkdir()

    with pytest.raises(ScenarioError, match="mine"):
        scenario.load(str(folder))


# -- thresholds


def times(*seconds: float) -> Histogram:
    histogram = Histogram()
    for each in seconds:
        histogram.record(each)
    return histogram


MEASURED = Swarm(
    verdict=Verdict(),
    latencies={"send_to_ack": times(*[0.01] * 98, 0.1, 0.5), "connect": times(2.0), "resume": Histogram()},
    counts={"sent": 100, "acked": 95, "delivered": 1000, "commands": 200},
    refusals={"busy": 3, "rate_limited": 1},
)


@pytest.mark.parametrize(
    ("text", "measured", "is_kept"),
    [
        ("send_to_ack p50 < 11 ms", "10.", True),
        ("send_to_ack p50 < 9 ms", "10.", False),
        ("send_to_ack p99 < 90 ms", "10", False),
        ("send_to_ack p99 < 0.103 s", "0.1", True),
        ("send_to_ack p99.9 > 400 ms", "500 ms", True),
        ("send_to_ack max = 500 ms", "500 ms", True),
        ("send_to_ack max < 500ms", "500 ms", False),
        ("send_to_ack mean < 16 ms", "15.8 ms", True),
        ("send_to_ack mean < 15 ms", "15.8 ms", False),
        ("connect max <= 2 s", "2 s", True),
        ("errors < 2.1 %", "2 %", True),
        ("errors < 2%", "2 %", False),
        ("errors = 4", "4", True),
        ("sent >= 100", "100", True),
        ("delivered > 99 /s", "100 /s", True),
        ("delivered > 100 /s", "100 /s", False),
        ("reconnects = 0", "0", True),
        ("lost = 0", "0", True),
        ("resume p99 < 1 s", "nothing", False),
        ("reconnect p99 < 1 s", "nothing", False),
    ],
)
def test_a_threshold_is_judged_in_its_own_unit(text: str, measured: str, is_kept: bool) -> None:
    judgement = judge([text], MEASURED, 10.0)[-1]

    assert (text, is_kept) == (judgement.threshold, judgement.is_kept)
    assert judgement.measured.startswith(measured)


def test_that_the_server_keeps_its_word_is_always_a_threshold() -> None:
    kept = judge([], MEASURED, 10.0)
    broken = judge([], Swarm(verdict=Verdict(doubled=2)), 10.0)

    assert list(ALWAYS) == [judgement.threshold for judgement in kept]
    assert all(judgement.is_kept for judgement in kept)
    assert [("doubled = 0", "2")] == [(one.threshold, one.measured) for one in broken if not one.is_kept]


@pytest.mark.parametrize(
    "text",
    [
        "send_to_ack < 100 ms",
        "send_to_ack p99 < 100",
        "send_to_ack p99 < 100 %",
        "send_to_ack p999 < 100 ms",
        "send_to_ack p99 < -5 ms",
        "send_to_ack p99 << 5 ms",
        "errors p99 < 1",
        "errors < 1 ms",
        "users > 5",
        "p99 < 5 ms",
        "",
    ],
)
def test_what_is_no_threshold_is_told(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"no threshold|compares nothing"):
        parsed(text)


# -- several processes


def people(count: int) -> list[Person]:
    return [Person(UUID(int=n), "") for n in range(count)]


@given(st.integers(1, 500), st.integers(1, 16), st.integers(1, 60))
def test_nobody_is_lost_and_no_conversation_torn_between_processes(count: int, processes: int, size: int) -> None:
    everybody = people(count)

    shares = _shares(everybody, processes, size)

    assert everybody == [person for _, part in shares for person in part]
    assert [part[0].user.int for _, part in shares] == [first for first, _ in shares]
    assert all(first % size == 0 for first, _ in shares)
    assert len(shares) <= processes


@given(st.integers(1, 40), st.integers(1, 16))
def test_shares_are_even(rooms: int, processes: int) -> None:
    sizes = [len(part) for _, part in _shares(people(rooms * 2), processes, 2)]

    assert max(sizes) - min(sizes) <= 2


def swarm(**said: Any) -> Swarm:
    return Swarm(
        verdict=Verdict(lost=1),
        latencies={"connect": times(0.1)},
        counts={"sent": 2},
        refusals={"busy": 1},
        closes={"1006": 3},
        users=10,
        **said,
    )


def test_what_processes_found_out_adds_up() -> None:
    one = swarm(cpu_s=1.0, lag_s=0.5, memory_bytes=10, examples=["one"])
    other = swarm(cpu_s=2.0, lag_s=0.1, memory_bytes=20, examples=["other"])
    other.latencies["resume"] = times(1.0)
    other.counts["acked"] = 5

    total = added([one, other], [[], []])

    assert Verdict(lost=2) == total.verdict
    assert {"connect": 2, "resume": 1} == {name: times.count for name, times in total.latencies.items()}
    assert ({"sent": 4, "acked": 5}, {"busy": 2}, {"1006": 6}) == (total.counts, total.refusals, total.closes)
    assert (20, 3.0, 0.5, 30) == (total.users, total.cpu_s, total.lag_s, total.memory_bytes)
    assert ["one", "other"] == total.examples


def test_seconds_add_up_also_when_a_process_is_behind() -> None:
    one = [Second(connected=1, meant=2, sent=3, send_to_ack=times(0.1)), Second(acked=1)]
    other = [Second(connected=10, meant=20, sent=30, send_to_ack=times(0.2))]

    total = added([Swarm(), Swarm()], [one, other])

    assert [(11, 22, 33, 0), (0, 0, 0, 1)] == [
        (second.connected, second.meant, second.sent, second.acked) for second in total.timeline
    ]
    assert [2, 0] == [second.send_to_ack.count for second in total.timeline]
    assert 1 == one[0].send_to_ack.count


def test_every_figure_of_a_second_is_added_up() -> None:
    numbers = {name: 1 for name in Second.__struct_fields__ if isinstance(getattr(Second(), name), int)}

    (total,) = added([Swarm(), Swarm()], [[Second(**numbers)], [Second(**numbers)]]).timeline  # type: ignore[arg-type]  # all of them int

    assert dict.fromkeys(numbers, 2) == {name: getattr(total, name) for name in numbers}
