"""What a worker does with those who want too much: at both doors, and before there is a session."""

import asyncio
import json
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from echo_ws.client import Client, Closed
from echo_ws.settings import Settings
from echo_ws_protocol.commands import ConversationList, MessageSend
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support.doors import Line, line, post
from tests.support.sockets import TEXT, Raw
from tests.support.world import UNLIMITED, Worker, World

DEFAULTS = {name: getattr(Settings(), name) for name in UNLIMITED}


def send(conversation: UUID, **fields: Any) -> dict[str, Any]:
    return {
        "op": "message.send",
        "id": 7,
        "conversation": str(conversation),
        "message": str(uuid7()),
        "content": "hi",
        **fields,
    }


@pytest.fixture(scope="module")
async def worker(town: World) -> Worker:
    """Return a worker with the limits that are in force by default."""
    return await town.worker(**DEFAULTS)


@pytest.fixture
async def token(people: World, alice: Client) -> str:
    return await people.token(alice.user)


async def closed(somebody: Line) -> tuple[int, str]:
    """Return code and reason of the server's goodbye."""
    await somebody.close_code()
    assert somebody.socket.close_code
    return somebody.socket.close_code, somebody.socket.close_reason or ""


def counted(worker: Worker, sample: str) -> float:
    lines = worker.server.metrics.render().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(sample))


async def test_the_21st_message_at_once_is_told_when_to_come_again(direct: UUID, worker: Worker, token: str) -> None:
    before = counted(worker, 'echo_commands_total{op="message.send",outcome="rate_limited"}')
    async with line(worker, token) as script:
        for number in range(1, 26):
            await script.say(send(direct, id=number))
        replies = {reply["id"]: reply for reply in [await script.hear("reply") for _ in range(25)]}

        refused = replies[21]["error"]
        still_works = await script.ask({"op": "conversation.list"})

    assert list(range(1, 21)) == [number for number in sorted(replies) if "ok" in replies[number]]
    assert ("rate_limited", "retry", "ok" in still_works) == (refused["code"], refused["outcome"], True)
    assert 900 <= refused["retry_after_ms"] <= 1000
    assert 5 == counted(worker, 'echo_commands_total{op="message.send",outcome="rate_limited"}') - before


async def test_both_doors_share_a_limit_and_http_says_429(direct: UUID, people: World, token: str) -> None:
    worker = await people.worker(sends_per_s=0.1, sends_burst=3)
    async with line(worker, token) as script:
        for _ in range(3):
            await script.ask(send(direct))
        fields = {name: value for name, value in send(direct).items() if name != "op"}

        answer = await post(worker, token, "message.send", **fields)

    assert (429, "rate_limited", "retry") == (
        answer.status,
        answer.json["error"]["code"],
        answer.json["error"]["outcome"],
    )
    assert 1 <= int(answer.headers["retry-after"]) <= 10


async def test_all_commands_of_a_user_by_post_have_one_limit(people: World, town: World) -> None:
    worker = await people.worker(commands_per_s=1, commands_burst=3)
    token, other = [await people.token(await people.user()) for _ in range(2)]

    answers = [await post(worker, token, "conversation.list") for _ in range(4)]

    assert [200, 200, 200, 429] == [answer.status for answer in answers]
    assert 200 == (await post(worker, other, "conversation.list")).status


async def test_what_is_refused_was_not_done(direct: UUID, people: World) -> None:
    worker = await people.worker(sends_per_s=1, sends_burst=1)
    bob = await people.person("Bob", worker)
    room = await people.room("group", bob.user)
    async with line(worker, await people.token(bob.user)) as script:
        await script.ask(send(room))
        refused = await script.ask(send(room))
        history = await script.ask({"op": "message.history", "conversation": str(room)})

    assert "rate_limited" == refused["error"]["code"]
    assert 1 == len(history["ok"]["messages"])


async def test_who_goes_on_regardless_is_sent_away_for_a_while(
    direct: UUID, worker: Worker, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo_ws.limits.GRACE_S", 0.1)
    async with line(worker, token) as script:
        flooding = asyncio.create_task(flood(script, direct))

        code, reason = await closed(script)
        await flooding

    assert 4004 == code
    assert json.loads(reason)["retry_after_ms"] > 0


async def flood(script: Line, conversation: UUID) -> None:
    try:
        while True:
            await script.say(send(conversation))
            await asyncio.sleep(0.002)
    except ConnectionClosed:
        pass


async def test_a_burst_of_the_client_arrives_whole_and_in_order(people: World) -> None:
    """100 calls at once and 100 one by one, at five times the pace that is allowed by default."""
    worker = await people.worker(sends_per_s=50)
    alice, bob = await people.person("Alice", worker), await people.person("Bob", worker)
    conversation = await people.conversation("direct", alice, bob)
    sends = [MessageSend(conversation=conversation, message=uuid7(), content=str(number)) for number in range(200)]

    calls = [asyncio.create_task(alice.call(each)) for each in sends[:100]]
    for each in sends[100:]:  # these are made while those before are told to wait, come again, and are answered
        await alice.call(ConversationList(limit=1))
        calls.append(asyncio.create_task(alice.call(each)))
    sent = await asyncio.gather(*calls)

    assert list(range(1, 201)) == [each.seq for each in sent]
    assert list(map(str, range(200))) == [(await bob.next(Message)).content for _ in range(200)]
    assert 0 < counted(worker, 'echo_commands_total{op="message.send",outcome="rate_limited"}') <= 400
    assert 0 == counted(worker, 'echo_connections_closed_total{code="4004"}')


async def test_a_client_that_is_limited_in_one_thing_does_another(people: World) -> None:
    worker = await people.worker(sends_per_s=1, sends_burst=1)
    alice = await people.person("Alice", worker)
    room = await people.conversation("group", alice)
    await alice.call(MessageSend(conversation=room, message=uuid7(), content="first"))
    waiting = asyncio.create_task(alice.call(MessageSend(conversation=room, message=uuid7(), content="second")))
    page = await alice.call(ConversationList())

    assert not waiting.done()
    assert 1 == len(page.conversations)
    assert 2 == (await waiting).seq


@pytest.mark.parametrize(
    "bad",
    ["{", '{"op":"message.shout"}', b"bytes", '{"op":"session.start","token":"again"}'],
    ids=["no JSON", "no command", "not text", "not now"],
)
async def test_more_than_ten_messages_a_minute_that_are_no_commands_close_with_1008(
    bad: str | bytes, worker: Worker, token: str
) -> None:
    async with line(worker, token) as script:
        replies = [await script.ask(bad) for _ in range(10)]
        still_works = await script.ask({"op": "conversation.list"})
        await script.say(bad)

        code, _ = await closed(script)

    assert [True] * 10 == ["error" in reply for reply in replies]
    assert "ok" in still_works
    assert 1008 == code


async def test_a_stranger_may_not_ask_for_ever(worker: Worker) -> None:
    async with line(worker) as stranger:
        for _ in range(11):
            await stranger.say({"op": "conversation.list"})

        code, _ = await closed(stranger)

    assert 1008 == code


async def test_one_connection_more_than_a_user_may_have_closes_the_oldest(people: World) -> None:
    worker = await people.worker(max_user_connections=2)
    user, other = await people.user(), await people.user()
    devices = [await people.device(user, worker) for _ in range(3)]
    somebody = await people.device(other, worker)

    with pytest.raises(Closed) as replaced:
        await devices[0].next(Message)

    assert 4502 == replaced.value.code
    for device in (*devices[1:], somebody):
        await device.call(ConversationList())


async def test_one_that_is_being_closed_takes_nobodys_place(people: World) -> None:
    worker = await people.worker(max_user_connections=2)
    user = await people.user()
    oldest = await people.device(user, worker)
    async with Raw.connect(worker.port) as raw:
        await raw.upgrade(headers=[("Authorization", f"Bearer {await people.token(user)}")])
        await raw.message()
        raw.send(TEXT, b"\xff")
        assert 1007 == await raw.closed_with()  # and does not answer

        newest = await people.device(user, worker)
        await newest.call(ConversationList())
        await oldest.call(ConversationList(), retry=False)

    assert 0 == counted(worker, 'echo_connections_closed_total{code="4502"}')


async def test_of_many_that_come_at_once_as_many_stay_as_may(people: World) -> None:
    worker = await people.worker(max_user_connections=3)
    token = await people.token(await people.user())

    async with asyncio.timeout(10):
        lines = await asyncio.gather(*(opened(worker, token) for _ in range(12)))
        ends = {asyncio.create_task(one.close_code()) for one in lines}
        closed: set[asyncio.Task[int]] = set()
        while len(closed) < 9:
            done, ends = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            closed |= done
        answer = await post(worker, token, "conversation.list")
    for end in ends:
        end.cancel()

    assert ({4502}, 200) == ({end.result() for end in closed}, answer.status)
    assert 3 == sum(connection.is_open for connection in worker.server._connections)
    for one in lines:
        await one.socket.close()


async def opened(worker: Worker, token: str) -> Line:
    return Line(await connect(worker.url, additional_headers={"Authorization": f"Bearer {token}"}, proxy=None))


async def test_more_handshakes_than_a_worker_answers_are_told_when(people: World) -> None:
    worker = await people.worker(handshakes_per_s=2, handshakes_burst=2)
    token = await people.token(await people.user())
    async with line(worker, token), line(worker, token):
        with pytest.raises(InvalidStatus) as refused:
            await opened(worker, token)

        posted = await post(worker, token, "conversation.list")

    assert 503 == refused.value.response.status_code
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 2
    assert 200 == posted.status
    assert 1 == counted(worker, 'echo_connections_refused_total{status="503"}')


async def test_clients_that_come_in_a_crowd_all_get_in_by_themselves(people: World) -> None:
    worker = await people.worker(handshakes_per_s=5, handshakes_burst=5)
    users = [await people.user() for _ in range(12)]

    clients = await asyncio.gather(*(people.device(user, worker) for user in users))

    assert {client.user for client in clients} == set(users)
    assert 7 <= counted(worker, 'echo_connections_refused_total{status="503"}') <= 14


async def test_a_worker_short_of_memory_lets_nobody_in_and_nobody_go(people: World) -> None:
    worker = await people.worker(max_memory_mib=100_000)
    alice = await people.person("Alice", worker)
    token = await people.token(alice.user)
    admission = worker.server._listener.commons.admission
    measured, admission.memory_bytes = admission.memory_bytes, 2**50

    with pytest.raises(InvalidStatus) as refused:
        await opened(worker, token)
    await alice.call(ConversationList())

    assert 503 == refused.value.response.status_code
    assert 10 * 2**20 < measured < 2**36
