"""Every fault of the catalogue, as a short story that must end well: README.md has the table."""

from pathlib import Path
from typing import Any

import pytest

from echo_ws_protocol.errors import CloseCode

from . import nemesis
from .cluster import Servers
from .conftest import Stories
from .expectations import Expectation, answers_within, closes_with, nobody_is_cut, sends_end_in
from .plots import clients, failover, full, postgres, redis, talk, workers
from .plots.base import Plot
from .story import story

STORIES: list[tuple[str, Plot, list[Expectation]]] = [
    ("F01", workers.killed_worker, []),
    ("F01", workers.killed_after_an_answer, []),
    ("F02", workers.exits_before_commit, []),
    ("F02", workers.exits_after_commit, []),
    ("F02", workers.exits_after_publish, []),
    ("F02", workers.last_words_before_an_exit, []),
    ("F03", postgres.restarted_postgres, [nobody_is_cut, sends_end_in("ok", "retry", "unknown")]),
    ("F04", postgres.killed_postgres, [nobody_is_cut, sends_end_in("ok", "retry", "unknown")]),
    ("F05", postgres.killed_backend, [nobody_is_cut, sends_end_in("ok", "retry", "unknown")]),
    ("F06", postgres.terminated_backends, [nobody_is_cut, sends_end_in("ok", "unknown")]),
    ("F07", postgres.frozen_postgres, [nobody_is_cut, sends_end_in("ok", "retry", "unknown")]),
    ("F08", postgres.read_only, [nobody_is_cut, sends_end_in("ok", "retry")]),
    ("F09", full.full_disk, [nobody_is_cut, answers_within(1)]),
    ("F10", postgres.too_many_connections, []),
    ("F11", postgres.locked_conversation, [nobody_is_cut, answers_within(4), sends_end_in("ok", "retry")]),
    ("F12", postgres.changed_schema, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F14", clients.lost_connections, []),
    ("F14", clients.half_closed_connections, []),
    ("F15", redis.restarted_redis, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F16", redis.frozen_redis, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F16", redis.paused_redis, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F17", redis.killed_subscribers, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F17", redis.overrun_subscriber, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F18", redis.node_without_redis, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F18", redis.last_words_while_away, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F19", postgres.node_without_postgres, [nobody_is_cut, sends_end_in("ok", "retry", "unknown")]),
    ("F19", postgres.node_steps_aside, [closes_with(CloseCode.DRAIN, CloseCode.GOING_AWAY)]),
    ("F20", clients.half_open_client, [answers_within(1), sends_end_in("ok")]),
    ("F20", clients.slow_network, [nobody_is_cut, sends_end_in("ok")]),
    ("F21", clients.slow_client, [answers_within(1), sends_end_in("ok")]),
    ("F22", workers.rolling_restart, [closes_with(CloseCode.DRAIN), sends_end_in("ok", "retry", "lost")]),
    ("F24", clients.crowd, []),
    ("F25", workers.stalled_loop, [nobody_is_cut, answers_within(workers.STALL_S + 1), sends_end_in("ok")]),
    ("F25", workers.frozen_worker, []),
    ("F26", talk.stepped_clock, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F28", workers.no_more_files, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F29", redis.lossy_redis, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F29", redis.deaf_redis, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("F29", redis.last_words_dropped, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("none", clients.returning_device, [sends_end_in("ok")]),
    ("none", clients.removed_while_away, []),
    ("none", talk.nothing, [nobody_is_cut, answers_within(1), sends_end_in("ok")]),
    ("none", talk.changing_members, [nobody_is_cut, answers_within(1)]),
    ("none", talk.ended_session, [closes_with(CloseCode.UNAUTHENTICATED)]),
    ("none", talk.ended_session_unheard, [closes_with(CloseCode.UNAUTHENTICATED)]),
]


SETTINGS: dict[Plot, dict[str, Any]] = {
    redis.last_words_while_away: {"sweep_ms": 3_600_000},  # or the sweep would find what a new subscription must
    clients.half_open_client: {"heartbeat_s": 0.5},
    workers.frozen_worker: {"heartbeat_s": 0.5},
    postgres.frozen_postgres: {"statement_timeout_ms": 1000, "cut_off_s": 1},  # no peer reaches it: all stay
    postgres.node_without_postgres: {"statement_timeout_ms": 1000},
    postgres.node_steps_aside: {"statement_timeout_ms": 500, "cut_off_s": 1},
}


def name_of(value: Plot | str | list[Expectation]) -> str:
    return value if isinstance(value, str) else "" if isinstance(value, list) else nemesis.name_of(value)


@pytest.mark.parametrize(("fault", "plot", "expected"), STORIES, ids=name_of)
async def test_a_story_ends_well(fault: str, plot: Plot, expected: list[Expectation], tell: Stories) -> None:
    async with tell(**SETTINGS.get(plot, {})) as story:
        await plot(story)

        assert [] == await story.end()
        for expect in expected:
            expect(story)


async def test_a_failover_to_a_synchronous_standby_loses_nothing(own_servers: Servers, tmp_path: Path) -> None:
    """F08, on servers of its own: afterwards they are not what they were."""
    async with story(own_servers, tmp_path) as told:
        await failover.failover(told)

        assert [] == await told.end()
