"""A suite that cannot fail proves nothing: stories that end well on the server end badly with each of ``bugs``."""

import pytest

from .bugs import BUGS
from .checker import Kind
from .conftest import Stories
from .plots import clients, redis, talk, workers
from .plots.base import Plot
from .test_faults import SETTINGS

STORIES: list[tuple[str, Plot, Kind]] = [
    ("acknowledge_before_commit", workers.killed_after_an_answer, Kind.LOST),
    ("publish_before_commit", talk.nothing, Kind.PHANTOM),
    ("store_a_repeated_send_again", talk.nothing, Kind.DUPLICATE),
    ("say_retry_for_what_is_stored", talk.nothing, Kind.DISHONEST),
    ("answer_with_the_next_seq", talk.nothing, Kind.LOST),
    ("acknowledge_an_edit_and_forget_it", talk.nothing, Kind.LOST),
    ("tell_what_an_edited_message_was", talk.nothing, Kind.FORK),
    ("catch_up_by_created_at", redis.lossy_redis, Kind.HOLE),
    ("ignore_a_resubscription", redis.last_words_while_away, Kind.HOLE),
    ("never_sweep", redis.last_words_dropped, Kind.UNDELIVERED),
    ("tell_held_changes_twice", redis.lossy_redis, Kind.DUPLICATE),
    ("ignore_holes", redis.lossy_redis, Kind.ORDER),
    ("drop_one_in_a_hundred", talk.long_talk, Kind.HOLE),
    ("tell_one_in_a_hundred_twice", talk.nothing, Kind.DUPLICATE),
    ("swap_two_now_and_then", talk.nothing, Kind.ORDER),
    ("never_remove_a_member", talk.changing_members, Kind.LEAK),
    ("forget_a_revocation", talk.ended_session, Kind.LEAK),
    ("resume_before_attaching", clients.lost_connections, Kind.HOLE),
    ("tell_while_answering_a_resume", clients.lost_connections, Kind.HOLE),
    ("resume_with_one_page", clients.returning_device, Kind.HOLE),
    ("close_without_a_code", talk.nothing, Kind.SILENT_CLOSE),
    ("swallow_a_reply", talk.nothing, Kind.UNANSWERED),
]


@pytest.mark.parametrize(("bug", "plot", "kind"), STORIES, ids=[bug for bug, _, _ in STORIES])
async def test_a_story_of_a_server_with_a_bug_ends_badly(bug: str, plot: Plot, kind: Kind, tell: Stories) -> None:
    async with tell(bug=bug, answer_s=1.0, **SETTINGS.get(plot, {})) as story:
        await plot(story)
        anomalies = await story.end(within_s=1.0)

    assert kind in {anomaly.kind for anomaly in anomalies}


def test_every_bug_has_a_story_and_every_kind_of_anomaly_a_bug() -> None:
    assert set(BUGS) == {bug for bug, _, _ in STORIES}
    assert set(Kind) == {kind for _, _, kind in STORIES}
