"""Where one is signed in, and who hears of a new device."""

import asyncio
from uuid import UUID

import pytest
from redis.asyncio import Redis

from echo_ws import tokens
from echo_ws.client import Client
from echo_ws_db import sessions
from echo_ws_protocol.commands import SessionList
from echo_ws_protocol.events import Session
from echo_ws_protocol.replies import Place
from tests.support.doors import line, post
from tests.support.other_service import Sql
from tests.support.waiting import heard, until
from tests.support.world import Worker, World


async def sign_in(
    people: World, user: UUID, device_name: str | None = None, platform: str = "ios", days: int = 1
) -> str:
    """Open a session and return its token; nobody has used it yet."""
    token = tokens.new_session_token()
    await sessions.issue(people.store, user, tokens.digest(token), f"of-{device_name}", platform, device_name, days)
    return token


async def test_one_s_own_sessions_are_listed_and_the_asking_one_is_marked(people: World, worker: Worker) -> None:
    user = await people.user("Alice")
    phone, laptop = await sign_in(people, user, "Phone"), await sign_in(people, user, "Laptop", "web")

    async with line(worker, phone, User_Agent="echo-phone/1.0") as before:
        await before.hear("hello")
    async with line(worker, laptop) as asking:
        hello = await asking.hear("hello")
        answer = await asking.ask({"op": "session.list", "id": 1})

    here, there = answer["ok"]["sessions"]
    assert (hello["session"], hello["expires_at"]) == (here["session"], here["expires_at"])
    assert ("Laptop", "web", True) == (here["device_name"], here["platform"], here["current"])
    assert ("of-Phone", "127.0.0.1", "echo-phone/1.0") == (there["device"], there["address"], there["user_agent"])
    assert "current" not in there
    assert there["created_at"] < there["last_activity_at"] < there["expires_at"]


async def test_by_post_the_session_of_the_request_is_the_marked_one(people: World, worker: Worker) -> None:
    user = await people.user("Alice")
    phone, laptop = await sign_in(people, user, "Phone"), await sign_in(people, user, "Laptop")

    for token, name in ((phone, "Phone"), (laptop, "Laptop")):
        listed = (await post(worker, token, "session.list")).json["ok"]["sessions"]

        assert [name] == [each["device_name"] for each in listed if each.get("current")]
        assert {"Phone", "Laptop"} == {each["device_name"] for each in listed}


async def test_what_has_expired_is_not_listed(people: World, alice: Client) -> None:
    await sign_in(people, alice.user, "Old", days=-1)

    assert [alice.session] == [each.session for each in (await alice.call(SessionList())).sessions]


async def test_of_more_than_a_hundred_those_used_last_are_listed(people: World, alice: Client, db: Sql) -> None:
    await db.execute(
        "INSERT INTO auth.sessions"
        " (user_id, session_token, device_id, platform, user_agent, last_activity_at, expires_at)"
        " SELECT $1, gen_random_uuid(), n, 'web', repeat('x', 5000), now() - n * INTERVAL '1 h', now() + INTERVAL '1 h'"
        " FROM generate_series(1, 110) n",
        alice.user,
    )

    listed = (await alice.call(SessionList())).sessions

    assert [alice.session, *map(str, range(1, 100))] == [listed[0].session, *(each.device for each in listed[1:])]
    assert 300 == len(listed[1].user_agent or "")


async def test_the_place_is_what_the_device_said(people: World, alice: Client, db: Sql) -> None:
    place = '{"city": "Zürich", "country": "CH", "timezone": "Europe/Zurich"}'
    await db.execute("UPDATE auth.sessions SET location = $2 WHERE user_id = $1", alice.user, place)

    (session,) = (await alice.call(SessionList())).sessions

    assert Place("Zürich", "CH", "Europe/Zurich") == session.location


@pytest.mark.parametrize(
    "written",
    [
        "null",
        "7",
        "[]",
        '{"city": 7}',
        '{"country": "Germany"}',
        '{"city": ""}',
        f'{{"city": "x", "more": "{"x" * 2000}"}}',
    ],
)
async def test_a_place_that_no_client_could_read_is_left_out(written: str, alice: Client, db: Sql) -> None:
    await db.execute("UPDATE auth.sessions SET location = $2 WHERE user_id = $1", alice.user, written)

    (session,) = (await alice.call(SessionList())).sessions

    assert session.location is None


async def test_of_a_place_with_more_the_known_part_is_told(alice: Client, db: Sql) -> None:
    await db.execute(
        """UPDATE auth.sessions SET location = '{"city": "Bern", "lat": 46.9}' WHERE user_id = $1""", alice.user
    )

    (session,) = (await alice.call(SessionList())).sessions

    assert Place("Bern") == session.location


# A new device


async def listening(people: World, user: UUID, workers: int) -> None:
    """Wait until so many workers are sure to hear in Redis what concerns a user."""

    async def is_heard() -> bool:
        async with Redis.from_url(people.redis_url) as redis:
            return [workers] == [count for _, count in await redis.pubsub_numsub(f"echo:u:{user}")]

    await until(is_heard)


async def test_a_new_device_is_announced_to_the_user_s_others_on_all_workers(
    people: World, worker: Worker, bob: Client
) -> None:
    other = await people.worker()
    phone = await people.person("Alice", worker)
    laptop = await people.device(phone.user, other, codec="msgpack")
    await listening(people, phone.user, 2)
    await phone.next(Session)  # of the laptop

    async with Client(worker.url, token=await sign_in(people, phone.user, "Tablet")) as tablet:
        told = [await phone.next(Session), await laptop.next(Session)]

        assert [Session(session=tablet.session, platform="ios", device_name="Tablet")] * 2 == told
        assert [] == [*await heard(tablet, Session), *await heard(bob, Session)]


async def test_it_is_new_once(people: World, alice: Client, worker: Worker) -> None:
    token = await sign_in(people, alice.user, "Tablet")

    for _ in range(2):
        async with Client(worker.url, token=token):
            pass
    await post(worker, token, "conversation.list")

    assert ["Tablet"] == [event.device_name for event in await heard(alice, Session)]


async def test_of_eight_first_uses_at_once_one_is_told(people: World, alice: Client, worker: Worker) -> None:
    token = await sign_in(people, alice.user, "Script")

    answers = await asyncio.gather(*(post(worker, token, "conversation.list") for _ in range(8)))

    assert [200] * 8 == [answer.status for answer in answers]
    assert ["Script"] == [event.device_name for event in await heard(alice, Session)]


async def test_a_first_use_that_cannot_be_noted_refuses_nobody(people: World, db: Sql) -> None:
    impatient = await people.worker(statement_timeout_ms=50)
    phone = await people.person("Alice", impatient)
    token = await sign_in(people, phone.user, "Tablet")

    async with db.transaction():
        await db.execute("LOCK TABLE auth.sessions IN SHARE MODE")
        answer = await post(impatient, token, "conversation.list")
    assert (200, []) == (answer.status, await heard(phone, Session))

    await post(impatient, token, "conversation.list")
    assert ["Tablet"] == [event.device_name for event in await heard(phone, Session)]
