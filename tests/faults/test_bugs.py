"""A suite that cannot fail proves nothing: the same stories end well on the server, and badly with each of ``bugs``."""

from typing import Any

import pytest

from . import plots
from .bugs import BUGS
from .checker import Kind
from .conftest import Stories
from .plots import Plot

NEVER_MS = 3_600_000

STORIES: list[tuple[str, Plot, Kind]] = [
    ("acknowledge_before_commit", plots.killed_after_an_answer, Kind.LOST),
    ("publish_before_commit", plots.nothing, Kind.PHANTOM),
    ("store_a_repeated_send_again", plots.nothing, Kind.DUPLICATE),
    ("say_retry_for_what_is_stored", plots.nothing, Kind.DISHONEST),
    ("answer_with_the_next_seq", plots.nothing, Kind.LOST),
    ("acknowledge_an_edit_and_forget_it", plots.nothing, Kind.LOST),
    ("tell_what_an_edited_message_was", plots.nothing, Kind.FORK),
    ("catch_up_by_created_at", plots.lossy_redis, Kind.HOLE),
    ("ignore_a_resubscription", plots.last_words_while_away, Kind.HOLE),
    ("never_sweep", plots.last_words_dropped, Kind.HOLE),
    ("tell_held_changes_twice", plots.lossy_redis, Kind.DUPLICATE),
    ("ignore_holes", plots.lossy_redis, Kind.ORDER),
    ("drop_one_in_a_thousand", plots.long_talk, Kind.HOLE),
    ("never_remove_a_member", plots.changing_members, Kind.LEAK),
    ("forget_a_revocation", plots.ended_session, Kind.LEAK),
    ("say_hello_before_attaching", plots.lost_connections, Kind.HOLE),
    ("close_without_a_code", plots.nothing, Kind.SILENT_CLOSE),
    ("swallow_a_reply", plots.nothing, Kind.UNANSWERED),
]


def settings_for(plot: Plot) -> dict[str, Any]:
    """Return settings with which only what the plot is about can repair anything."""
    return {"sweep_ms": NEVER_MS} if plot is plots.last_words_while_away else {}


@pytest.mark.parametrize("plot", dict.fromkeys(plot for _, plot, _ in STORIES), ids=lambda plot: plot.__name__)
async def test_a_story_of_the_server_ends_well(plot: Plot, tell: Stories) -> None:
    async with tell(**settings_for(plot)) as story:
        await plot(story)

        assert [] == await story.end()


@pytest.mark.parametrize(("bug", "plot", "kind"), STORIES, ids=[bug for bug, _, _ in STORIES])
async def test_a_story_of_a_server_with_a_bug_fails(bug: str, plot: Plot, kind: Kind, tell: Stories) -> None:
    async with tell(bug=bug, answer_s=2.0, **settings_for(plot)) as story:
        await plot(story)
        anomalies = await story.end(within_s=1.5)

    assert kind in {anomaly.kind for anomaly in anomalies}


def test_every_bug_has_a_story() -> None:
    assert set(BUGS) == {bug for bug, _, _ in STORIES}
