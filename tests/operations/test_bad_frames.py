"""What is no command gets an error that names the field, and the connection lives on."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from echo_ws_protocol.ids import uuid7
from tests.support.doors import Line, line
from tests.support.world import Worker, World

SOMEWHERE = str(UUID(int=1))
SEND: dict[str, Any] = {
    "op": "message.send",
    "id": 7,
    "conversation": SOMEWHERE,
    "message": SOMEWHERE,
    "content": "hi",
}
DEEP = "[" * 100_000


async def still_works(somebody: Line) -> bool:
    reply = await somebody.ask({"op": "conversation.list", "id": 99})
    return bool(reply["id"] == 99 and "ok" in reply)


@pytest.mark.parametrize(
    ("frame", "request_id", "code", "field"),
    [
        ({**SEND, "op": "message.shout"}, 7, "unknown_op", "$.op"),
        ({**SEND, "op": 5}, 7, "unknown_op", "$.op"),
        ({"id": 7}, 7, "unknown_op", "$.op"),
        ({**SEND, "colour": "red"}, 7, "bad_field", "$.colour"),
        ({**SEND, "content": 5}, 7, "bad_field", "$.content"),
        ({**SEND, "content": ""}, 7, "bad_field", "$.content"),
        ({**SEND, "content": "x" * 4097}, 7, "bad_field", "$.content"),
        ({**SEND, "content": "a\0b"}, 7, "bad_field", "$.content"),
        ({**SEND, "content": None}, 7, "bad_field", "$.content"),
        ({key: value for key, value in SEND.items() if key != "content"}, 7, "bad_field", "$.content"),
        ({**SEND, "conversation": "here"}, 7, "bad_field", "$.conversation"),
        ({**SEND, "id": -1}, 0, "bad_field", "$.id"),
        ({**SEND, "id": "7"}, 0, "bad_field", "$.id"),
        ({**SEND, "id": 2**53}, 0, "bad_field", "$.id"),
        ({"op": "message.read", "id": 7, "conversation": SOMEWHERE, "seq": 1.5}, 7, "bad_field", "$.seq"),
        ({"op": "message.history", "id": 7, "conversation": SOMEWHERE, "limit": 101}, 7, "bad_field", "$.limit"),
        (
            {"op": "reaction.set", "id": 7, "conversation": SOMEWHERE, "message": SOMEWHERE, "emoji": "👍👍"},
            7,
            "bad_field",
            "$.emoji",
        ),
        (
            {
                "op": "conversation.create",
                "id": 7,
                "conversation": SOMEWHERE,
                "type": "group",
                "participants": [SOMEWHERE, "nobody"],
            },
            7,
            "bad_field",
            "$.participants[1]",
        ),
        ([], 0, "bad_field", "$"),
        (None, 0, "bad_field", "$"),
        ("hello", 0, "bad_json", None),
        ("", 0, "bad_json", None),
        ('{"op":"message.send"', 0, "bad_json", None),
        ('{"op":"conversation.list"}{}', 0, "bad_json", None),
        (r'{"op":"message.send","id":7,"content":"\ud800"}', 0, "bad_json", None),
        ("\ufeff{}", 0, "bad_json", None),
        (DEEP[:60_000], 0, "bad_json", None),
    ],
)
async def test_a_bad_frame_is_answered_and_the_connection_lives_on(
    frame: object, request_id: int, code: str, field: str | None, somebody: Line
) -> None:
    """B01, B05, B06, B07, B08, B09, B11, B14, B15"""
    reply = await somebody.ask(frame)

    assert (request_id, code, "rejected") == (reply["id"], reply["error"]["code"], reply["error"]["outcome"])
    assert field == reply["error"].get("field")
    assert await still_works(somebody)


@pytest.fixture
async def token(people: World) -> str:
    return await people.token(await people.user())


@pytest.fixture
async def somebody(worker: Worker, token: str) -> Any:
    async with line(worker, token) as somebody:
        yield somebody


async def test_bytes_where_text_is_spoken_are_answered(somebody: Line) -> None:
    """B19"""
    reply = await somebody.ask(b'{"op":"conversation.list","id":7}')

    assert (0, "wrong_frame") == (reply["id"], reply["error"]["code"])
    assert await still_works(somebody)


@pytest.mark.parametrize(
    ("frame", "code"),
    [('{"op":"conversation.list"}', "wrong_frame"), (b"\xc1", "bad_msgpack"), (b"\x81\xa2op", "bad_msgpack")],
)
async def test_so_it_is_where_msgpack_is_spoken(frame: str | bytes, code: str, worker: Worker, token: str) -> None:
    """B12, B19"""
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(
        worker.url, subprotocols=[Subprotocol("echo.v1.msgpack")], additional_headers=headers, proxy=None
    ) as socket:
        await socket.recv()
        await socket.send(frame)
        refused = msgspec.msgpack.decode(await socket.recv(decode=False))
        await socket.send(msgspec.msgpack.encode({"op": "conversation.list", "id": 99}))
        answered = msgspec.msgpack.decode(await socket.recv(decode=False))

    assert code == refused["error"]["code"]
    assert (99, {"conversations": []}) == (answered["id"], answered["ok"])


async def test_what_a_stranger_sends_is_answered_alike_and_a_session_can_still_begin(
    worker: Worker, token: str
) -> None:
    """B18"""
    async with line(worker) as stranger:
        refused = await stranger.ask({"op": "session.start", "id": 7, "token": "two words"})
        assert (7, "bad_field", "$.token") == (refused["id"], refused["error"]["code"], refused["error"]["field"])
        broken = await stranger.ask("{")
        assert "bad_json" == broken["error"]["code"]

        started = await stranger.ask({"op": "session.start", "id": 8, "token": token})

        assert (8, {}) == (started["id"], started["ok"])
        assert await still_works(stranger)


async def test_bad_frames_between_good_ones_change_nothing(somebody: Line) -> None:
    conversation = str(uuid7())
    await somebody.ask({"op": "conversation.create", "conversation": conversation, "type": "group"})

    seqs = []
    for number in range(5):
        await somebody.say("{")
        await somebody.say({**SEND, "colour": "red"})
        await somebody.say({**SEND, "id": 1, "conversation": conversation, "message": str(uuid7())})
        replies = [await somebody.hear("reply") for _ in range(3)]
        seqs += [reply["ok"]["seq"] for reply in replies if "ok" in reply]
        assert 2 == sum("error" in reply for reply in replies), number

    assert [1, 2, 3, 4, 5] == seqs


async def test_an_error_does_not_repeat_what_was_sent(somebody: Line) -> None:
    reply = await somebody.ask({**SEND, "content": "hunter2" * 1000, "conversation": "hunter2"})

    assert "hunter2" not in str(reply)
