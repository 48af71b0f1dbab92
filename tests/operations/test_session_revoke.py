"""Signing out: a session, all others, or all, on every worker."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import ConversationList, SessionRevoke
from echo_ws_protocol.errors import ErrorCode
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import SessionsRevoked
from tests.support.access import closed
from tests.support.doors import line, post
from tests.support.other_service import Sql
from tests.support.world import Worker, World


@pytest.fixture(scope="module")
async def far(town: World) -> Worker:
    return await town.worker()


@pytest.fixture
async def devices(people: World, worker: Worker, far: Worker) -> list[Client]:
    """Return four connected devices of Alice, two on each worker."""
    user = await people.user("Alice")
    return [await people.device(user, each) for each in (worker, far, worker, far)]


async def left(db: Sql, user: UUID) -> set[UUID]:
    return {row["id"] for row in await db.fetch("SELECT id FROM auth.sessions WHERE user_id = $1", user)}


async def all_closed(people: Sequence[Client]) -> list[int]:
    async with asyncio.timeout(1):
        return await asyncio.gather(*(closed(person) for person in people))


async def test_one_session_ends_with_its_connections_on_every_worker(
    people: World, devices: list[Client], worker: Worker, db: Sql
) -> None:
    phone, laptop, *rest = devices
    token = await people.token(phone.user)
    async with Client(worker.url, token=token) as tablet, line(worker, token) as another:
        revoked = await phone.call(SessionRevoke(session=tablet.session))

        assert SessionsRevoked(ended=1) == revoked
        assert ([4500], 4500) == (await all_closed([tablet]), await another.close_code())
    await phone.call(SessionRevoke(session=laptop.session))
    assert [4500] == await all_closed([laptop])
    assert {each.session for each in (phone, *rest)} == await left(db, phone.user)
    assert 401 == (await post(worker, token, "conversation.list")).status
    for each in (phone, *rest):
        await each.call(ConversationList())


async def test_all_others_end_and_this_one_goes_on(devices: list[Client], bob: Client, db: Sql) -> None:
    this, *others = devices

    revoked = await this.call(SessionRevoke(scope="others"))

    assert SessionsRevoked(ended=3) == revoked
    assert [4500] * 3 == await all_closed(others)
    assert {this.session} == await left(db, this.user)
    assert SessionsRevoked(ended=0) == await this.call(SessionRevoke(scope="others"))
    await bob.call(ConversationList())


async def test_all_end_and_who_asked_is_answered_first(devices: list[Client], db: Sql) -> None:
    this, *others = devices

    revoked = await this.call(SessionRevoke(scope="all"), retry=False)

    assert SessionsRevoked(ended=4) == revoked
    assert [4500] * 4 == await all_closed([this, *others])
    assert set() == await left(db, this.user)


@pytest.mark.parametrize("nowhere", ["memory:", "redis://127.0.0.1:1"])
async def test_without_redis_who_asks_is_answered_first_and_other_workers_find_out(nowhere: str, people: World) -> None:
    lonely = [await people.worker(redis_url=nowhere, revalidate_s=every) for every in (3600, 0.05)]
    here = await people.person("Alice", lonely[0])
    there = await people.device(here.user, lonely[1])

    revoked = await here.call(SessionRevoke(scope="all"), retry=False)

    assert SessionsRevoked(ended=2) == revoked
    assert [4500] * 2 == await all_closed([here, there])


async def test_by_post_too(devices: list[Client], people: World, worker: Worker, db: Sql) -> None:
    token = await people.token(devices[0].user)

    others = await post(worker, token, "session.revoke", scope="others")
    itself = await post(worker, token, "session.revoke", scope="all")

    assert ({"ended": 4}, {"ended": 1}) == (others.json["ok"], itself.json["ok"])
    assert [4500] * 4 == await all_closed(devices)
    assert 401 == (await post(worker, token, "session.list")).status


async def test_of_eight_at_once_one_ends_it(devices: list[Client], people: World, worker: Worker) -> None:
    phone, laptop, *_ = devices
    token = await people.token(phone.user)

    answers = await asyncio.gather(
        *(post(worker, token, "session.revoke", session=str(laptop.session)) for _ in range(8))
    )

    assert [200] + [404] * 7 == sorted(answer.status for answer in answers)
    assert [4500] == await all_closed([laptop])


async def test_somebody_else_s_is_refused_like_one_that_does_not_exist_and_goes_on(
    alice: Client, bob: Client, worker: Worker, people: World, db: Sql
) -> None:
    """B17"""
    ended = await people.device(alice.user, worker)
    await alice.call(SessionRevoke(session=ended.session))

    refusals = []
    for session in (bob.session, uuid7(), ended.session):
        with pytest.raises(CommandFailed) as refused:
            await alice.call(SessionRevoke(session=session))
        refusals.append(refused.value.failure)

    assert [refusals[0]] * 3 == refusals
    assert (ErrorCode.NOT_FOUND, "rejected") == (refusals[0].code, refusals[0].outcome)
    assert {bob.session} == await left(db, bob.user)
    await bob.call(ConversationList())


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "$.session"),
        ({"session": str(uuid7()), "scope": "all"}, "$.session"),
        ({"session": "mine"}, "$.session"),
        ({"scope": "mine"}, "$.scope"),
        ({"scope": None, "session": None}, "$.session"),
        ({"session": [str(uuid7())]}, "$.session"),
    ],
)
async def test_what_is_to_end_is_said_in_one_way(
    fields: dict[str, object], path: str, people: World, worker: Worker, db: Sql
) -> None:
    user = await people.user("Alice")
    async with line(worker, await people.token(user)) as alice:
        refused = await alice.ask({"op": "session.revoke", "id": 1, **fields})

        assert ("bad_field", path) == (refused["error"]["code"], refused["error"]["field"])
        assert "ok" in await alice.ask({"op": "conversation.list", "id": 2})
    assert 1 == len(await left(db, user))


async def test_a_device_whose_session_ended_cannot_come_back_by_its_refresh_token(
    devices: list[Client], bob: Client, db: Sql
) -> None:
    this, other, *_ = devices
    for user in (this.user, bob.user):
        await db.execute(
            "INSERT INTO auth.refresh_tokens (user_id, token, device_id, expires_at)"
            " SELECT DISTINCT user_id, user_id || device_id, device_id, now() + INTERVAL '1 day'"
            " FROM auth.sessions WHERE user_id = $1",
            user,
        )

    ended = await db.fetchval("SELECT device_id FROM auth.sessions WHERE id = $1", other.session)

    await this.call(SessionRevoke(session=other.session))

    tokens = await db.fetch(
        "SELECT t.user_id, t.device_id, t.revoked_at IS NOT NULL AS ended FROM auth.refresh_tokens t"
        " WHERE t.user_id = ANY ($1::uuid[]) AND t.revoked",
        [this.user, bob.user],
    )
    assert [(this.user, ended, True)] == [tuple(token) for token in tokens]
