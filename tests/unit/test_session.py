"""Whether a command may run now, whether the others are told of typing, and when a token is warned of and ends."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from echo_ws.errors import AlreadyAuthenticated, RateLimited, Unauthenticated
from echo_ws.limits import Limits
from echo_ws.session import MAX_TYPING_IN, TYPING_EVERY_S, WARNING, Session, admit
from echo_ws.settings import Settings
from echo_ws_protocol.commands import (
    AccountLogin,
    Command,
    ConversationList,
    SessionStart,
    TokenRefresh,
    TypingSet,
)

NOW = 1000.0
TODAY = datetime(2030, 1, 1, tzinfo=UTC)
HERE = UUID(int=10)


def typing(conversation: UUID = HERE, *, stopped: bool = False) -> TypingSet:
    return TypingSet(conversation=conversation, kind="stopped" if stopped else "text")


@pytest.fixture
def session() -> Session:
    return Session(UUID(int=1), UUID(int=2), TODAY + timedelta(hours=1), NOW, TODAY)


@pytest.fixture
def limits() -> Limits:
    return Limits(Settings(commands_per_s=1, commands_burst=1))


def test_without_a_session_only_its_start_is_admitted(limits: Limits) -> None:
    admit(None, SessionStart(token="t0ken"), limits, NOW)

    with pytest.raises(Unauthenticated):
        admit(None, ConversationList(), limits, NOW)


def test_with_a_session_everything_else_is(session: Session, limits: Limits) -> None:
    admit(session, ConversationList(), limits, NOW)

    with pytest.raises(AlreadyAuthenticated):
        admit(session, SessionStart(token="t0ken"), limits, NOW)


def test_what_is_admitted_counts_as_use_and_what_is_refused_does_not(session: Session, limits: Limits) -> None:
    with pytest.raises(AlreadyAuthenticated):
        admit(session, SessionStart(token="t0ken"), limits, NOW + 1)
    before = session.is_used
    admit(session, ConversationList(), limits, NOW + 2)

    assert (False, True) == (before, session.is_used)


def test_what_comes_too_fast_is_refused_and_told_when_to_come_again(session: Session, limits: Limits) -> None:
    admit(session, ConversationList(), limits, NOW)
    session.is_used = False

    with pytest.raises(RateLimited) as refused:
        admit(session, ConversationList(), limits, NOW)
    assert not session.is_used
    admit(session, ConversationList(), limits, NOW + 1)

    assert ("retry", 1000) == (refused.value.outcome, refused.value.retry_after_ms)
    assert session.is_used


def test_typing_is_told_once_in_two_seconds(session: Session) -> None:
    moments = [0, 0.5, TYPING_EVERY_S - 0.1, TYPING_EVERY_S, TYPING_EVERY_S + 1, 2 * TYPING_EVERY_S]

    told = [session.may_tell_typing(typing(), NOW + moment) for moment in moments]

    assert [True, False, False, True, False, True] == told


def test_each_conversation_counts_for_itself(session: Session) -> None:
    assert [True, True, False] == [session.may_tell_typing(typing(UUID(int=number)), NOW) for number in (10, 11, 10)]


def test_the_end_is_always_told_and_makes_room_for_a_beginning(session: Session) -> None:
    said = [typing(stopped=True), typing(), typing(stopped=True), typing(stopped=True), typing(), typing()]

    assert [True, True, True, True, True, False] == [session.may_tell_typing(command, NOW) for command in said]


def test_what_is_remembered_of_typing_is_bounded(session: Session) -> None:
    for number in range(10 * MAX_TYPING_IN):
        session.may_tell_typing(typing(UUID(int=number)), NOW)

    assert session._typed_at is not None
    assert len(session._typed_at) <= MAX_TYPING_IN


@pytest.mark.parametrize(
    ("lasts", "before"),
    [(timedelta(days=30), WARNING), (timedelta(minutes=10), WARNING), (timedelta(minutes=1), timedelta(seconds=6))],
)
def test_a_token_is_warned_of_once_a_minute_or_a_tenth_of_its_life_before_it_ends(
    session: Session, lasts: timedelta, before: timedelta
) -> None:
    session.renew(TODAY + lasts, TODAY)
    moments = [timedelta(0), lasts - before - timedelta(seconds=1), lasts - before, lasts - timedelta(seconds=1), lasts]

    told = [session.is_to_be_warned(TODAY + moment) for moment in moments]

    assert [False, False, True, False, False] == told


def test_first_the_warning_is_due_and_then_the_end(session: Session) -> None:
    session.renew(TODAY + timedelta(seconds=100), TODAY)

    before = session.until_due(TODAY)
    session.is_to_be_warned(TODAY + timedelta(seconds=90))
    after = session.until_due(TODAY + timedelta(seconds=90))

    assert (90, 10) == (before, after)


def test_a_renewed_token_is_warned_of_anew(session: Session) -> None:
    session.renew(TODAY + timedelta(seconds=10), TODAY)
    first = session.is_to_be_warned(TODAY + timedelta(seconds=9))
    session.renew(TODAY + timedelta(seconds=20), TODAY + timedelta(seconds=9.5))

    assert (True, False, True) == (
        first,
        session.is_to_be_warned(TODAY + timedelta(seconds=10)),
        session.is_to_be_warned(TODAY + timedelta(seconds=19)),
    )


def test_of_a_token_that_has_ended_nobody_is_warned(session: Session) -> None:
    session.renew(TODAY - timedelta(seconds=30), TODAY)

    assert (False, True) == (session.is_to_be_warned(TODAY), session.until_due(TODAY) <= 0)


def test_a_token_that_the_database_lets_end_never_does(session: Session) -> None:
    session.renew(datetime.max.replace(tzinfo=UTC), TODAY)

    assert session.until_due(TODAY) > 1e10


STRANGERS = [
    AccountLogin(phone="+49", password="p", device="a-device", platform="ios"),
    TokenRefresh(refresh_token="t0ken"),
]


@pytest.mark.parametrize("command", STRANGERS)
def test_some_commands_need_no_session_and_count_by_address(command: Command[object], session: Session) -> None:
    limits = Limits(Settings(strangers_per_min=1))

    admit(None, command, limits, NOW, "192.0.2.1")
    admit(session, command, limits, NOW, "192.0.2.2")
    admit(None, command, limits, NOW)  # a proxy of ours

    for somebody, address in ((None, "192.0.2.1"), (session, "192.0.2.1"), (None, "192.0.2.2")):
        with pytest.raises(RateLimited) as refused:
            admit(somebody, command, limits, NOW + 15, address)
        assert 45_000 == refused.value.retry_after_ms
    admit(None, command, limits, NOW + 60, "192.0.2.1")
