"""Every fault of the catalogue, as a short story that must end well: README.md has the table."""

from pathlib import Path
from typing import Any

import pytest

from . import nemesis
from .cluster import Servers
from .conftest import Stories
from .plots import clients, failover, full, postgres, redis, talk, workers
from .plots.base import Plot
from .story import story

NEVER_MS = 3_600_000

STORIES: list[tuple[str, Plot]] = [
    ("F01", workers.killed_worker),
    ("F01", workers.killed_after_an_answer),
    ("F02", workers.exits_before_commit),
    ("F02", workers.exits_after_commit),
    ("F02", workers.exits_after_publish),
    ("F02", workers.last_words_before_an_exit),
    ("F03", postgres.restarted_postgres),
    ("F04", postgres.killed_postgres),
    ("F05", postgres.killed_backend),
    ("F06", postgres.terminated_backends),
    ("F07", postgres.frozen_postgres),
    ("F08", postgres.read_only),
    ("F09", full.full_disk),
    ("F10", postgres.too_many_connections),
    ("F11", postgres.locked_conversation),
    ("F12", postgres.changed_schema),
    ("F14", clients.lost_connections),
    ("F14", clients.half_closed_connections),
    ("F15", redis.restarted_redis),
    ("F16", redis.frozen_redis),
    ("F16", redis.paused_redis),
    ("F17", redis.killed_subscribers),
    ("F17", redis.overrun_subscriber),
    ("F18", redis.node_without_redis),
    ("F18", redis.last_words_while_away),
    ("F19", postgres.node_without_postgres),
    ("F20", clients.half_open_client),
    ("F20", clients.slow_network),
    ("F21", clients.slow_client),
    ("F22", workers.drained_worker),
    ("F23", workers.rolling_restart),
    ("F24", clients.crowd),
    ("F25", workers.stalled_loop),
    ("F25", workers.frozen_worker),
    ("F26", talk.stepped_clock),
    ("F28", workers.no_more_files),
    ("F29", redis.lossy_redis),
    ("F29", redis.deaf_redis),
    ("F29", redis.last_words_dropped),
    ("none", clients.returning_device),
    ("none", clients.removed_while_away),
    ("none", talk.nothing),
    ("none", talk.long_talk),
    ("none", talk.changing_members),
    ("none", talk.ended_session),
    ("none", talk.ended_session_unheard),
]


def settings_for(plot: Plot) -> dict[str, Any]:
    """Return settings with which only what the plot is about can repair anything."""
    return {"sweep_ms": NEVER_MS} if plot is redis.last_words_while_away else {}


def name_of(value: Plot | str) -> str:
    return value if isinstance(value, str) else nemesis.name_of(value)


@pytest.mark.parametrize(("fault", "plot"), STORIES, ids=name_of)
async def test_a_story_ends_well(fault: str, plot: Plot, tell: Stories) -> None:
    async with tell(**settings_for(plot)) as story:
        await plot(story)

        assert [] == await story.end()


async def test_a_failover_to_a_synchronous_standby_loses_nothing(own_servers: Servers, tmp_path: Path) -> None:
    """F08, on servers of its own: afterwards they are not what they were."""
    async with story(own_servers, tmp_path) as told:
        await failover.failover(told)

        assert [] == await told.end()
