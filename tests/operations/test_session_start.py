"""The first frame as the place for the token, where a header cannot be set."""

import pytest

from echo_ws.client import Client, Closed
from tests.support.doors import line
from tests.support.world import Worker, World


@pytest.fixture
async def token(people: World) -> str:
    return await people.token(await people.user("Alice"))


async def test_the_answer_comes_first_and_then_hello(people: World, worker: Worker) -> None:
    user = await people.user("Alice")
    async with line(worker) as alice:
        await alice.say({"op": "session.start", "id": 3, "token": await people.token(user)})

        assert {"op": "reply", "id": 3, "ok": {}} == await alice.next_frame()
        hello = await alice.next_frame()
        assert ("hello", str(user)) == (hello["op"], hello["user"])
        assert {"session", "expires_at", "epoch", "heartbeat_ms", "max_frame_bytes", "server"} < set(hello)


async def test_both_codecs_start_a_session(people: World, worker: Worker) -> None:
    user = await people.user("Alice")

    for codec in ("json", "msgpack"):
        client = await people.device(user, worker, codec=codec, first_frame=True)

        assert user == client.user


async def test_before_it_no_other_command_is_carried_out(worker: Worker, token: str) -> None:
    """B18"""
    async with line(worker) as alice:
        refused = await alice.ask({"op": "conversation.list", "id": 1})
        started = await alice.ask({"op": "session.start", "id": 2, "token": token})
        listed = await alice.ask({"op": "conversation.list", "id": 3})

    assert ("unauthenticated", "rejected") == (refused["error"]["code"], refused["error"]["outcome"])
    assert (2, 3) == (started["id"], listed["id"])
    assert ({}, {"conversations": []}) == (started["ok"], listed["ok"])


async def test_commands_may_follow_without_waiting_for_the_answer(worker: Worker, token: str) -> None:
    async with line(worker) as alice:
        await alice.say({"op": "session.start", "id": 1, "token": token})
        await alice.say({"op": "conversation.list", "id": 2})

        assert ["reply", "hello", "reply"] == [(await alice.next_frame())["op"] for _ in range(3)]


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_session_starts_once(by_header: bool, worker: Worker, token: str) -> None:
    """B18"""
    async with line(worker, token if by_header else None) as alice:
        if not by_header:
            await alice.ask({"op": "session.start", "id": 1, "token": token})

        again = await alice.ask({"op": "session.start", "id": 2, "token": token})

        assert "already_authenticated" == again["error"]["code"]
        assert "ok" in await alice.ask({"op": "conversation.list", "id": 3})


@pytest.mark.parametrize("wrong", ["nonsense", "a.b.c", "x" * 2048])
async def test_a_wrong_token_is_refused_and_closes_for_good(wrong: str, worker: Worker) -> None:
    async with line(worker) as stranger:
        refused = await stranger.ask({"op": "session.start", "id": 1, "token": wrong})

        assert ("unauthenticated", "rejected") == (refused["error"]["code"], refused["error"]["outcome"])
        assert wrong not in refused["error"]["message"]
        assert 4500 == await stranger.close_code()


async def test_the_client_does_not_come_back_with_a_wrong_token(worker: Worker) -> None:
    with pytest.raises(Closed) as closed:
        async with Client(worker.url, token="nonsense", first_frame=True):
            pass

    assert 4500 == closed.value.code


async def test_nobody_has_for_ever_to_start_one(people: World) -> None:
    impatient = await people.worker(auth_timeout_s=0.05)

    async with line(impatient) as silent:
        assert 4005 == await silent.close_code()
