"""How a connection ends with its token, and how it goes on with another."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from echo_ws import tokens
from echo_ws.client import Client
from echo_ws.settings import JwtKey
from echo_ws.tokens import LIFETIME
from echo_ws_protocol.commands import ConversationList
from echo_ws_protocol.events import Expiring, Hello
from tests.support.access import KEYS, access_token, ending
from tests.support.doors import Line, line, post
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import Worker, World

ON_TIME = timedelta(seconds=2)


@pytest.fixture(scope="module")
async def signing(town: World) -> Worker:
    """Return a worker that never looks at the rows of open sessions."""
    return await town.worker(jwt_keys=KEYS, revalidate_s=3600)


@pytest.fixture(autouse=True)
def _warned_at_half_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echo_ws.session.WARNING_PART", 2)


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def end_of(person: Line) -> tuple[list[str], int, datetime]:
    """Return what is said before the end, its code, and when it comes."""
    said = [(await person.next_frame())["op"]]
    while said[-1] != "expiring":
        said.append((await person.next_frame())["op"])
    code = await person.close_code()
    return said, code, datetime.now(UTC)


async def expire(db: Sql, user: UUID, *, seconds: float) -> datetime:
    """Let the user's session end in so many seconds, and return when."""
    ends: datetime = await db.fetchval(
        "UPDATE auth.sessions SET expires_at = CURRENT_TIMESTAMP + make_interval(secs => $2) WHERE user_id = $1"
        " RETURNING expires_at",
        user,
        seconds,
    )
    return ends.replace(tzinfo=UTC)


async def test_a_connection_ends_with_its_access_token_though_the_session_goes_on(
    people: World, signing: Worker
) -> None:
    user = await people.user("Alice")
    token = await people.token(user)

    async with line(signing, await ending(people, user)) as alice:
        ends_at = time_of((await alice.hear("hello"))["expires_at"])
        warned_of = time_of((await alice.hear("expiring"))["at"])
        warned_at, code, closed_at = datetime.now(UTC), await alice.close_code(), datetime.now(UTC)

    assert 4003 == code
    assert ends_at == warned_of
    assert warned_at < ends_at <= closed_at < ends_at + ON_TIME
    assert 200 == (await post(signing, token, "conversation.list")).status


async def test_a_connection_ends_with_its_session(people: World, signing: Worker, db: Sql) -> None:
    user = await people.user("Alice")
    token = await people.token(user)
    ends_at = await expire(db, user, seconds=1.5)

    async with line(signing, token) as alice:
        said, code, closed_at = await end_of(alice)

    assert (["hello", "expiring"], 4003) == (said, code)
    assert ends_at <= closed_at < ends_at + ON_TIME


async def test_a_client_that_stops_reading_gets_no_more_time(people: World, signing: Worker, db: Sql) -> None:
    user = await people.user("Alice")
    token = await people.token(user)
    ends_at = await expire(db, user, seconds=1.5)

    async with line(signing, token) as alice:
        await alice.hear("hello")
        (connection,) = signing.server._of_user[user]
        connection.pause_writing()

        assert 4003 == await alice.close_code()
        assert datetime.now(UTC) < ends_at + ON_TIME


async def test_an_access_token_lasts_no_longer_than_its_session(people: World, signing: Worker, db: Sql) -> None:
    user = await people.user("Alice")
    await people.token(user)
    ends_at = await expire(db, user, seconds=1.5)

    async with line(signing, await access_token(people, user)) as alice:
        assert ends_at == time_of((await alice.hear("hello"))["expires_at"])
        assert 4003 == await alice.close_code()


async def test_a_token_within_the_leeway_of_clocks_ends_at_once(people: World, signing: Worker) -> None:
    user = await people.user("Alice")
    await people.token(user)

    async with line(signing, await ending(people, user, seconds=-5)) as late:
        assert 4003 == await late.close_code()


@pytest.mark.parametrize("first_frame", [False, True])
async def test_refreshed_a_connection_goes_on_beyond_the_end_of_its_token(
    first_frame: bool, people: World, signing: Worker, db: Sql
) -> None:
    user = await people.user("Alice")
    token = await people.token(user)
    short = await ending(people, user)
    async with line(signing, None if first_frame else short) as alice, line(signing, short) as left_alone:
        if first_frame:
            await alice.ask({"op": "session.start", "id": 1, "token": short})
        await alice.hear("expiring")

        refreshed = await alice.ask({"op": "session.refresh", "id": 2, "token": token})

        ends_at = await db.fetchval("SELECT expires_at FROM auth.sessions WHERE user_id = $1", user)
        assert ends_at.replace(tzinfo=UTC) == time_of(refreshed["ok"]["expires_at"])
        assert 4003 == await left_alone.close_code()
        assert "ok" in await alice.ask({"op": "conversation.list", "id": 3})


async def test_it_is_warned_anew_of_the_end_of_the_new_token_and_ends_with_it(people: World, signing: Worker) -> None:
    user = await people.user("Alice")
    async with line(signing, await people.token(user)) as alice:
        short = await ending(people, user)
        for _ in range(2):
            refreshed = await alice.ask({"op": "session.refresh", "id": 1, "token": short})

        said, code, closed_at = await end_of(alice)

    ends_at = time_of(refreshed["ok"]["expires_at"])
    assert (["expiring"], 4003) == (said, code)
    assert ends_at <= closed_at < ends_at + ON_TIME


async def forged(people: World, user: UUID) -> str:
    return await access_token(people, user, keys={"2026-a": JwtKey(alg="HS256", key="z" * 32)})


async def worn_out(people: World, user: UUID) -> str:
    return await access_token(people, user, now=datetime.now(UTC) - LIFETIME - timedelta(minutes=1))


async def of_another_session(people: World, user: UUID) -> str:
    return await people.token(user)


async def of_somebody_else(people: World, _: UUID) -> str:
    return await people.token(await people.user("Mallory"))


async def short_lived_of_somebody_else(people: World, _: UUID) -> str:
    mallory = await people.user("Mallory")
    await people.token(mallory)
    return await access_token(people, mallory)


async def made_up(_: World, __: UUID) -> str:
    return tokens.new_session_token()


@pytest.mark.parametrize(
    "wrong", [forged, worn_out, of_another_session, of_somebody_else, short_lived_of_somebody_else, made_up]
)
async def test_any_other_token_is_refused_in_the_same_words_and_the_connection_lives_on(
    wrong: Callable[[World, UUID], Any], people: World, signing: Worker
) -> None:
    user = await people.user("Alice")
    async with line(signing, await people.token(user)) as alice:
        hello = await alice.hear("hello")
        token = await wrong(people, user)
        refused = await alice.ask({"op": "session.refresh", "id": 1, "token": token})
        nonsense = await alice.ask({"op": "session.refresh", "id": 1, "token": "nonsense"})

        assert nonsense == refused
        assert ("unauthenticated", "rejected") == (refused["error"]["code"], refused["error"]["outcome"])
        assert token not in refused["error"]["message"]
        assert "ok" in await alice.ask({"op": "conversation.list", "id": 2})
        (connection,) = signing.server._of_user[user]
        assert connection.session
        assert time_of(hello["expires_at"]) == connection.session.expires_at


async def test_before_a_session_has_started_there_is_nothing_to_refresh(people: World, signing: Worker) -> None:
    """B18"""
    token = await people.token(await people.user("Alice"))
    async with line(signing) as alice:
        refused = await alice.ask({"op": "session.refresh", "id": 1, "token": token})

        assert "unauthenticated" == refused["error"]["code"]
        assert "ok" in await alice.ask({"op": "session.start", "id": 2, "token": token})


async def test_by_post_it_says_when_the_token_ends(people: World, signing: Worker) -> None:
    user = await people.user("Alice")
    token = await people.token(user)
    short = await access_token(people, user)
    of_mallory = await people.token(await people.user("Mallory"))

    answer = await post(signing, token, "session.refresh", token=short)
    refused = await post(signing, token, "session.refresh", token=of_mallory)

    lasts = time_of(answer.json["ok"]["expires_at"]) - datetime.now(UTC)
    assert LIFETIME - timedelta(seconds=10) < lasts <= LIFETIME
    assert (401, "unauthenticated") == (refused.status, refused.json["error"]["code"])


# The client


async def test_the_client_refreshes_by_itself_and_its_connection_goes_on(people: World, signing: Worker) -> None:
    user = await people.user("Alice")
    await people.token(user)
    short, asked = await ending(people, user), 0

    async def source() -> str:
        nonlocal asked
        asked += 1
        return short if asked == 1 else await access_token(people, user)

    async with Client(signing.url, token=source) as alice, line(signing, short) as left_alone:
        await alice.next(Expiring)
        assert 4003 == await left_alone.close_code()

        await alice.call(ConversationList(), retry=False)

        assert (2, 1) == (asked, len(await heard(alice, Hello)))


async def test_a_source_that_fails_costs_no_more_than_the_connection(
    people: World, signing: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    user = await people.user("Alice")
    await people.token(user)
    short, asked = await ending(people, user), 0

    async def source() -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise OSError(f"no answer to {short}")
        return short if asked == 1 else await access_token(people, user)

    async with asyncio.timeout(10), Client(signing.url, token=source) as alice:
        await alice.next(Hello)
        await alice.next(Hello)

    assert 3 == asked
    assert "the token was not refreshed: OSError" in caplog.messages
    assert short not in caplog.text
