"""The second door: the same commands, the same errors, the same events, by POST."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from echo_ws.client import Client
from echo_ws_protocol.codec import COMMANDS
from echo_ws_protocol.errors import HTTP_STATUS, ErrorCode
from echo_ws_protocol.events import Message, Receipt
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.doors import Answer, line, post
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import Worker, World


@pytest.fixture
async def token(people: World, bob: Client) -> str:
    """Return a token of Bob's, for a script of his."""
    return await people.token(bob.user)


async def test_what_is_sent_by_post_is_heard_over_sockets(
    direct: UUID, alice: Client, bob: Client, worker: Worker, token: str
) -> None:
    sent = uuid7()

    answer = await post(worker, token, "message.send", id=7, conversation=direct, message=sent, content="hi")

    assert (200, 7, 1) == (answer.status, answer.json["id"], answer.json["ok"]["seq"])
    for person in (alice, bob):
        assert (sent, bob.user) == ((message := await person.next(Message)).message, message.sender)


@pytest.mark.parametrize("op", sorted(COMMANDS))
async def test_every_command_has_this_door(op: str, worker: Worker, token: str) -> None:
    answer = await post(worker, token, op, nonsense=True)

    assert (400, "bad_field") == (answer.status, answer.json["error"]["code"])


async def test_what_is_done_by_this_door_is_done_for_all(
    group: UUID, alice: Client, worker: Worker, token: str, people: World
) -> None:
    somebody = await people.user()
    message = uuid7()
    asked: dict[str, dict[str, Any]] = {
        "conversation.create": {"conversation": uuid7(), "type": "direct", "participants": [somebody]},
        "conversation.list": {},
        "conversation.get": {"conversation": group},
        "message.send": {"conversation": group, "message": message, "content": "hi"},
        "message.edit": {"conversation": group, "message": message, "content": "hello"},
        "reaction.set": {"conversation": group, "message": message, "emoji": "👍"},
        "message.history": {"conversation": group},
        "delivery.ack": {"conversation": group, "seq": 1},
        "message.read": {"conversation": group, "seq": 1},
        "typing.set": {"conversation": group},
        "message.delete": {"conversation": group, "message": message},
    }

    answers = {op: await post(worker, token, op, **fields) for op, fields in asked.items()}

    assert dict.fromkeys(asked, 200) == {op: answer.status for op, answer in answers.items()}
    assert ["hi", "hello", "hello", ""] == [(await alice.next(Message)).content for _ in range(4)]
    assert [1] == [receipt.read_seq for receipt in await heard(alice, Receipt) if receipt.read_seq]


async def test_a_retry_may_use_the_other_door(direct: UUID, bob: Client, worker: Worker, token: str) -> None:
    send = {"conversation": str(direct), "message": str(uuid7()), "content": "hi"}

    by_post = await post(worker, token, "message.send", **send)
    async with line(worker, token) as script:
        by_socket = await script.ask({"op": "message.send", **send})

    assert by_post.json["ok"] == by_socket["ok"]
    assert 1 == len(await heard(bob, Message))


def refusals(direct: UUID, theirs: UUID, silent: UUID) -> dict[ErrorCode, tuple[str, dict[str, Any]]]:
    return {
        ErrorCode.NOT_FOUND: ("conversation.get", {"conversation": str(uuid7())}),
        ErrorCode.FORBIDDEN: (
            "message.send",
            {"conversation": str(silent), "message": str(uuid7()), "content": "hi"},
        ),
        ErrorCode.ID_CONFLICT: (
            "message.send",
            {"conversation": str(direct), "message": str(theirs), "content": "hi"},
        ),
        ErrorCode.BAD_FIELD: ("message.read", {"conversation": str(direct), "seq": -1}),
        ErrorCode.UNKNOWN_OP: ("message.shout", {}),
        ErrorCode.ALREADY_AUTHENTICATED: ("session.start", {"token": "nonsense"}),
    }


async def test_the_errors_are_the_same_at_both_doors_and_have_a_status(
    direct: UUID, group: UUID, alice: Client, bob: Client, worker: Worker, token: str, db: Sql
) -> None:
    theirs = uuid7()
    await post(worker, token, "message.send", conversation=group, message=theirs, content="hi")
    await other_service.silence(db, group, bob.user)

    for code, (op, fields) in refusals(direct, theirs, group).items():
        by_post = await post(worker, token, op, id=1, **fields)
        async with line(worker, token) as script:
            by_socket = await script.ask({"op": op, "id": 1, **fields})

        assert by_socket == by_post.json
        assert (code, HTTP_STATUS[code]) == (by_post.json["error"]["code"], by_post.status)


@pytest.mark.parametrize("wrong", [None, "nonsense", "a.b.c"])
async def test_without_a_good_token_nothing_is_done(wrong: str | None, worker: Worker) -> None:
    answer = await post(worker, wrong, "conversation.list")

    assert (401, "unauthenticated") == (answer.status, answer.json["error"]["code"])
    assert "bearer" == answer.headers["www-authenticate"]


@pytest.mark.parametrize("wrong", [None, "nonsense"])
async def test_a_command_that_does_not_exist_is_told_so_without_a_token_too(wrong: str | None, worker: Worker) -> None:
    answer = await post(worker, wrong, "message.shout", id=7)

    assert (404, 7, "unknown_op") == (answer.status, answer.json["id"], answer.json["error"]["code"])


async def test_a_command_may_be_as_large_as_the_settings_say(people: World, token: str) -> None:
    small = await people.worker(max_frame_bytes=1024)

    answer = await post(small, token, "message.history", conversation="x" * 1024)

    assert (413, "a command has at most 1,024 bytes") == (answer.status, answer.json["error"]["message"])


async def test_what_is_refused_before_its_handler_is_counted(people: World, token: str) -> None:
    worker = await people.worker()

    await post(worker, "nonsense", "conversation.list")
    await post(worker, token, "conversation.lost")

    page = worker.server.metrics.render().decode()
    assert 'echo_commands_total{op="conversation.list",outcome="unauthenticated"} 1.0' in page
    assert 'echo_commands_total{op="none",outcome="unknown_op"} 1.0' in page


async def test_commands_and_batches_are_timed_finer_than_in_milliseconds(
    direct: UUID, people: World, token: str
) -> None:
    worker = await people.worker()

    await post(worker, token, "message.send", conversation=direct, message=uuid7(), content="hi")

    page = worker.server.metrics.render().decode()
    for name in ('echo_command_seconds_sum{op="message.send"}', "echo_batch_seconds_sum"):
        milliseconds = float(page.partition(f"\n{name} ")[2].partition("\n")[0]) * 1000
        assert abs(milliseconds - round(milliseconds)) > 1e-6


async def test_a_revoked_session_is_refused_from_the_next_request_on(
    worker: Worker, token: str, people: World, bob: Client, db: Sql
) -> None:
    before = await post(worker, token, "conversation.list")
    await db.execute("DELETE FROM auth.sessions WHERE user_id = $1", bob.user)

    after = await post(worker, token, "conversation.list")

    assert (200, 401) == (before.status, after.status)


async def test_what_must_be_waited_for_says_how_long(
    people: World, alice: Client, bob: Client, worker: Worker, token: str
) -> None:
    channel = await people.conversation("channel", alice, bob)
    for content in "ab":
        await post(
            worker,
            await people.token(alice.user),
            "message.send",
            conversation=channel,
            message=uuid7(),
            content=content,
        )
    await post(worker, token, "delivery.ack", conversation=channel, seq=1)

    answer = await post(worker, token, "delivery.ack", conversation=channel, seq=2)

    assert (503, "busy", "retry") == (answer.status, answer.json["error"]["code"], answer.json["error"]["outcome"])
    assert 1 <= int(answer.headers["retry-after"]) <= 6


async def test_eight_scripts_with_one_id_store_one_message(
    direct: UUID, bob: Client, worker: Worker, token: str
) -> None:
    send = {"conversation": direct, "message": uuid7(), "content": "hi"}

    answers: list[Answer] = await asyncio.gather(*(post(worker, token, "message.send", **send) for _ in range(8)))

    assert 1 == len({str(answer.json["ok"]) for answer in answers})
    assert 1 == len(await heard(bob, Message))
