"""The table of bad input over real sockets, against a real worker; what the codec alone judges is in tests/contract."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import pytest
from websockets.exceptions import ConnectionClosed

from echo_ws.client import Client
from echo_ws.connection import Connection
from echo_ws_protocol.codec import MSGPACK
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.doors import line, post
from tests.support.other_service import Sql
from tests.support.sockets import BINARY, CLOSE, CONT, PING, PONG, TEXT, Raw, client_frame
from tests.support.waiting import until
from tests.support.world import Worker, World

LIST = b'{"op":"conversation.list","id":7}'
SOMEWHERE = str(UUID(int=1))
SEND: dict[str, Any] = {"op": "message.send", "id": 7, "conversation": SOMEWHERE, "message": SOMEWHERE, "content": "hi"}
DEEP = b"[" * 50_000


@pytest.fixture
async def token(people: World) -> str:
    return await people.token(await people.user("Mallory"))


@asynccontextmanager
async def entered(worker: Worker, token: str, *headers: tuple[str, str], receive_buffer: int = 0) -> AsyncIterator[Raw]:
    """A WebSocket with a session, byte by byte."""
    async with Raw.connect(worker.port, receive_buffer=receive_buffer) as raw:
        assert (await raw.upgrade(headers=[("Authorization", f"Bearer {token}"), *headers])).status == 101
        await raw.message()
        yield raw


# One connection, one message


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (client_frame(TEXT, b'{"op":"\xff"}'), 1007),
        (client_frame(TEXT, b"\xc0\xaf"), 1007),
        (client_frame(TEXT, b"\xed\xa0\x80"), 1007),
        (client_frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
        (client_frame(TEXT, b'{"content":"' + b"x" * 65_536), 1009),
        (client_frame(TEXT, b"x" * 1_000_000), 1009),
        (client_frame(TEXT, fin=False) + client_frame(CONT, fin=False) * 4096, 1009),
        (client_frame(TEXT, b"{", fin=False) + client_frame(CLOSE, (1000).to_bytes(2, "big")), 1002),
        (client_frame(PING, b"x" * 125) * 500, 1008),
        (client_frame(PONG) * 500, 1008),
        (client_frame(TEXT, LIST, rsv=4), 1002),
        (client_frame(TEXT, LIST, mask=False), 1002),
    ],
)
async def test_what_breaks_the_protocol_closes_with_a_code_and_harms_nobody(
    frames: bytes, code: int, worker: Worker, token: str, alice: Client
) -> None:
    """B02, B04, B07, B20, B21, B23"""
    async with entered(worker, token) as raw:
        raw.writer.write(frames)

        assert await raw.closed_with() == code
    assert 200 == (await post(worker, token, "conversation.list")).status


async def test_a_message_in_parts_with_a_ping_between_is_a_command(worker: Worker, token: str) -> None:
    """B20"""
    async with entered(worker, token) as raw:
        raw.send(TEXT, LIST[:10], fin=False)
        raw.send(PING, b"now")
        raw.send(CONT, LIST[10:])

        assert (PONG, b"now") == await raw.frame()
        assert b'"ok"' in await raw.message()


async def test_a_first_frame_of_a_megabyte_is_not_read(worker: Worker) -> None:
    """B25"""
    async with Raw.connect(worker.port) as raw:
        await raw.upgrade()
        raw.send(TEXT, b'{"op":"session.start","token":"' + b"x" * 1_000_000 + b'"}')

        assert await raw.closed_with() == 1009


@pytest.mark.parametrize("content", [b'{"x":"\xff"}', b'{"content":"\xff"}', b'{"conversation":"\xc0\xaf"}'])
async def test_bytes_that_are_no_text_are_refused_at_the_other_door_and_not_repeated(
    content: bytes, worker: Worker, token: str
) -> None:
    """B03"""
    answer = await request(worker, command_head(token, "message.send", len(content)) + content)

    assert b"400" in answer[:20]
    answer.decode("ascii")


async def test_a_user_agent_is_kept_short_and_printable_at_both_doors(people: World, db: Sql, token: str) -> None:
    """B06, B29"""
    attentive = await people.worker(revalidate_s=0.02)
    agent = "evil\x9b[31m\xad" + "x" * 5000
    kept = "SELECT user_agent FROM auth.sessions WHERE user_agent LIKE $1 || '%'"

    async with entered(attentive, token, ("User-Agent", agent)):
        by_socket = await until(lambda: db.fetchval(kept, "evil"))
    await db.execute("UPDATE auth.sessions SET user_agent = NULL")
    head = command_head(token, "conversation.list", 0, ("User-Agent", agent))
    await request(attentive, head)
    by_post = await until(lambda: db.fetchval(kept, "evil"))

    assert "evil[31m" + "x" * 248 == by_socket == by_post


@pytest.mark.parametrize("user_agent", ["a\0b", "a\x01b", "a\r\n b"])
async def test_a_header_with_control_characters_is_refused(user_agent: str, worker: Worker) -> None:
    """B06, B26, B29"""
    async with Raw.connect(worker.port) as raw:
        assert (await raw.upgrade(headers=[("User-Agent", user_agent)])).status == 400


async def test_a_name_that_would_overwrite_a_line_is_refused_and_any_script_is_kept(
    people: World, worker: Worker, token: str
) -> None:
    """B06, B29"""
    create = {"op": "conversation.create", "id": 7, "type": "group"}
    async with line(worker, token) as mallory:
        for name in ("a\r\nb", "\x1b[2J", "a\0"):
            reply = await mallory.ask({**create, "conversation": str(uuid7()), "name": name})
            assert "$.name" == reply["error"]["field"]
        kept = await mallory.ask({**create, "conversation": str(uuid7()), "name": "\u202eevil \u5b57"})

    assert kept["ok"]["created"]


# The same id again


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("the same again", "first"),
        ("with another text", "first"),
        ("by somebody else", "id_conflict"),
        ("in another conversation", "id_conflict"),
        ("by somebody else in another conversation", "id_conflict"),
    ],
)
async def test_an_id_that_is_used_again_gets_the_first_answer_or_a_conflict(
    case: str, expected: str, people: World, worker: Worker
) -> None:
    """B16"""
    alice, bob = await people.user("Alice"), await people.user("Bob")
    here, there = await people.room("group", alice, bob), await people.room("group", alice, bob)
    command = {**SEND, "conversation": str(here), "message": str(uuid7())}
    again = dict(command)
    if "text" in case:
        again["content"] = "bye"
    if "conversation" in case:
        again["conversation"] = str(there)
    async with line(worker, await people.token(alice)) as first, line(worker, await people.token(bob)) as second:
        stored = await first.ask(command)
        reply = await (second if "else" in case else first).ask(again)

    if expected == "first":
        assert stored == reply
    else:
        assert (expected, None) == (reply["error"]["code"], reply["error"].get("field"))
        assert command["message"] not in str(reply)


async def test_eight_racers_with_one_id_get_one_answer_and_leave_no_hole(
    people: World, worker: Worker, db: Sql
) -> None:
    """B16: fifty times, over both doors, also twice in one batch."""
    alice = await people.user("Alice")
    room = await people.room("group", alice)
    token = await people.token(alice)

    async with line(worker, token) as laptop, line(worker, token) as phone:
        for number in range(1, 51):
            command = {**SEND, "conversation": str(room), "message": str(uuid7())}
            fields = {name: value for name, value in command.items() if name != "op"}
            posts = [asyncio.create_task(post(worker, token, "message.send", **fields)) for _ in range(2)]
            for device in (laptop, phone) * 3:
                await device.say(command)
            replies = [await device.hear("reply") for device in (laptop, phone) * 3]
            replies += [(await each).json for each in posts]
            assert 1 == len({str(reply["ok"]) for reply in replies})
            assert number == replies[0]["ok"]["seq"]

    assert 50 == await db.fetchval("SELECT count(*) FROM messages.messages WHERE conversation_id = $1", room)


# The wrong moment


async def test_a_command_after_the_session_has_ended_is_not_carried_out(people: World, db: Sql, token: str) -> None:
    """B18"""
    attentive = await people.worker(revalidate_s=0.02)
    async with line(attentive, token) as mallory:
        await mallory.hear("hello")
        await db.execute("DELETE FROM auth.sessions WHERE session_token = $1", tokens_digest(token))

        assert 4500 == await mallory.close_code()
        with pytest.raises(ConnectionClosed):
            await mallory.say(SEND)
    assert 401 == (await post(attentive, token, "conversation.list")).status


def tokens_digest(token: str) -> str:
    from echo_ws.tokens import digest  # noqa: PLC0415

    return digest(token)


@pytest.mark.parametrize(
    ("cursor", "field"),
    [
        ({"rev": -1}, "$.rev"),
        ({"rev": 2**53}, "$.rev"),
        ({"conversations": {SOMEWHERE: -1}}, "$.conversations[...]"),
        ({"conversations": {"here": 1}}, "$.conversations"),
        ({"conversations": [SOMEWHERE]}, "$.conversations"),
        ({"since": "2026-01-01T00:00:00"}, "$.since"),
        ({"since": "10000-01-01T00:00:00Z"}, "$.since"),
        ({"since": "-2026-01-01T00:00:00Z"}, "$.since"),
        ({"since": 1767225600.5}, None),
        ({"since": "0001-01-01T00:00:00+23:59"}, None),
        ({"since": "9999-12-31T23:59:59-23:59"}, None),
    ],
)
async def test_a_cursor_that_cannot_be_is_refused_by_name_or_reads_nothing(
    cursor: dict[str, Any], field: str | None, worker: Worker, token: str
) -> None:
    """B18, B28"""
    async with line(worker, token) as mallory:
        hello = await mallory.hear("hello")
        reply = await mallory.ask({"op": "session.resume", "id": 7, "epoch": hello["epoch"], **cursor})

    if "error" in reply:
        assert ("bad_field", field or "$.since") == (reply["error"]["code"], reply["error"]["field"])
    else:
        assert field is None


async def test_a_cursor_from_the_future_or_of_somebody_else_is_a_reset(
    people: World, worker: Worker, token: str
) -> None:
    """B18"""
    stranger = await people.user("Stranger")
    theirs = await people.room("group", stranger)
    async with line(worker, token) as mallory:
        hello = await mallory.hear("hello")
        room = str(uuid7())
        await mallory.ask({"op": "conversation.create", "conversation": room, "type": "group"})
        reply = await mallory.ask(
            {"op": "session.resume", "epoch": hello["epoch"], "conversations": {room: 2**53 - 1, str(theirs): 1}}
        )

    answers = {each["conversation"]: each for each in reply["ok"]["conversations"]}
    assert [True, True] == [answers[id_]["reset"] for id_ in (room, str(theirs))]


@pytest.mark.parametrize(
    "after",
    [
        "2026-01-01T00:00:00|",
        "0001-01-01T00:00:00+23:59|",
        "9999-12-31T23:59:59-23:59|",
        "-1|",
        "1e400|",
        "\0|",
        "a|b|",
    ],
)
async def test_a_place_in_the_list_is_one_or_is_refused(after: str, worker: Worker, token: str) -> None:
    """B28"""
    async with line(worker, token) as mallory:
        reply = await mallory.ask({"op": "conversation.list", "after": after + SOMEWHERE})

    assert "ok" in reply or "$.after" == reply["error"]["field"]


# Too much


async def test_a_client_that_asks_and_never_reads_is_held_back_cut_and_costs_little(
    people: World, monkeypatch: pytest.MonkeyPatch, db: Sql
) -> None:
    """B22"""
    monkeypatch.setattr("echo_ws.connection.SLOW_S", 0.5)
    monkeypatch.setattr("echo_ws.connection.CLOSE_S", 0.2)
    worker = await people.worker(send_buffer_bytes=65_536)
    mallory = await people.user("Mallory")
    room = await people.room("group", mallory)
    for _ in range(50):
        await other_service.post(db, room, mallory, "x" * 4000)
    ask = client_frame(TEXT, json.dumps({"op": "message.history", "conversation": str(room)}).encode())
    async with entered(worker, await people.token(mallory), receive_buffer=4096) as raw:
        (connection,) = worker.server._connections
        waiting: list[int] = []
        flooding = asyncio.create_task(flood(raw, ask * 100))
        await until(lambda: is_over(connection, waiting))
        flooding.cancel()

    assert max(waiting) < 65_536 + 16 * 220_000  # its budget, and what was at work when that was spent
    assert 4001 == connection.close_code


async def is_over(connection: Connection, waiting: list[int]) -> bool:
    waiting.append(connection._transport.get_write_buffer_size())
    return connection.is_closed


async def flood(raw: Raw, some: bytes) -> None:
    with suppress(ConnectionError, RuntimeError):  # uvloop's word for a transport that is gone
        while True:
            raw.writer.write(some)
            await raw.writer.drain()


async def nobody_connected(worker: Worker) -> bool:
    return worker.server._listener.commons.admission.connections == 0


async def test_hundreds_of_half_handshakes_are_gone_in_time(people: World) -> None:
    """B24"""
    worker = await people.worker(handshake_timeout_s=0.3)
    await half_a_handshake(worker, b"")
    tasks = len(asyncio.all_tasks())
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for number in range(300):
            group.create_task(half_a_handshake(worker, b"GET /ws HTTP/1.1\r\nHost: x\r\nX: "[: number % 40]))

    assert await until(lambda: nobody_connected(worker))
    assert len(asyncio.all_tasks()) <= tasks


async def half_a_handshake(worker: Worker, start: bytes) -> None:
    async with Raw.connect(worker.port) as raw:
        raw.writer.write(start)
        with suppress(ConnectionError):
            await raw.rest()


async def test_who_says_nothing_is_sent_away(people: World) -> None:
    """B25"""
    impatient = await people.worker(auth_timeout_s=0.2)
    async with Raw.connect(impatient.port) as raw:
        await raw.upgrade()

        assert await raw.closed_with() == 4005


# The other door


def command_head(token: str, op: str, size: int | None, *headers: tuple[str, str]) -> bytes:
    lines = [("Host", "x"), ("Authorization", f"Bearer {token}"), ("Connection", "close"), *headers]
    lines += [("Content-Length", str(size))] if size is not None else []
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"POST /v1/{op} HTTP/1.1\r\n{text}\r\n".encode("latin-1")


async def request(worker: Worker, sent: bytes) -> bytes:
    async with Raw.connect(worker.port) as raw:
        raw.writer.write(sent)
        return await raw.rest()


CHUNKED = ("Transfer-Encoding", "chunked")


def door(op: str, body: bytes, *headers: tuple[str, str], size: int | None = -1) -> Callable[[str], bytes]:
    return lambda token: command_head(token, op, len(body) if size == -1 else size, *headers) + body


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (door("conversation.list", b"0\r\n\r\n", CHUNKED), 400),
        (door("conversation.list", b"{}", ("Content-Length", "3")), 400),
        (door("conversation.list", b"{}\r\n", ("Transfer-Encoding", "xchunked"), size=None), 400),
        (door("conversation.list", b"FFFFFFFFFFFFFFFFF\r\n", CHUNKED, size=None), 400),
        (door("conversation.list", (b"10000\r\n" + b" " * 65536 + b"\r\n") * 200, CHUNKED, size=None), 413),
        (door("conversation.list", b" " * 70_000), 413),
        (door("conversation.list", b"", size=10_000_000), 413),
        (door("conversation.list", b"", size=2**70), 400),
        (door("conversation.list", b"{}", ("Content-Type", "text/xml")), 415),
        (door("conversation.list", b"{}", ("Content-Type", "application/json; charset=latin-1")), 200),
        (door("conversation.list", b'{"limit":NaN}'), 400),
        (door("conversation.list", DEEP), 400),
        (door("conversation.list", b'{"x":' + DEEP + b"]" * 50_000 + b"}"), 413),
        (door("conversation.list", b"\xef\xbb\xbf{}"), 400),
        (door("conversation.list", b'{"op":"message.send"}'), 400),
        (door("conversation.list", b'{"limit":"1"}'), 400),
        (door("%00", b"{}"), 404),
        (door("%ff%0d%0aX:%201", b"{}"), 404),
        (door("..%2f..%2fetc%2fpasswd", b"{}"), 404),
        (door("a" * 10_000, b"{}"), 404),
        (door("conversation.list?x=1", b"{}"), 400),
        (door("session.start", b'{"token":"x"}'), 409),
    ],
)
async def test_what_is_no_request_gets_a_status_and_no_traceback(
    sent: Callable[[str], bytes], status: int, worker: Worker, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """B27"""
    answer = await request(worker, sent(token))

    assert f"HTTP/1.1 {status} ".encode() == answer[:13]
    assert b"Traceback" not in answer
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_body_that_does_not_come_is_waited_for_only_so_long(people: World, token: str) -> None:
    """B27"""
    impatient = await people.worker(handshake_timeout_s=0.05)

    answer = await request(impatient, command_head(token, "conversation.list", 10) + b"{")

    assert b"HTTP/1.1 408 " == answer[:13]


# What all of it leaves behind

TEXTS = [
    b"", b"{", b"\xef\xbb\xbf{}", b"{}", b"[]", b"null", DEEP, b'{"op":5}', b'{"op":"nope","id":1}',
    b'{"op":"message.send","id":' + b"9" * 10_000 + b"}", b'{"x":' * 5000, b"{}" * 20_000,
    b'{"op":"conversation.create","type":"group","participants":[' + b"{}," * 20_000 + b"]}",
    b'{"op":"typing.set","' + b"x" * 60_000 + b'":1}', b'{"op":"session.start","token":"x"}',
    json.dumps({**SEND, "content": "a\0"}).encode(), json.dumps({**SEND, "colour": "red"}).encode(), LIST * 2,
]  # fmt: skip
BINARIES = [b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 50_000, b"\x81\xa2op\xa1\xff", b"\x80"]
CLOSINGS = [
    client_frame(TEXT, b"\xff"), client_frame(TEXT, b"x" * 70_000), client_frame(PING) * 100,
    client_frame(TEXT, fin=False) + client_frame(CONT, fin=False) * 100, client_frame(TEXT, LIST, mask=False),
    client_frame(CLOSE, b"\x00"), client_frame(3),
]  # fmt: skip
HEADS = [
    b"GET /ws HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b"POST /ws HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nX: a\0\r\n\r\n",
    b"GET /%00%0d%0a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /ws HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000,
    b"POST /v1/message.send HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/message.send HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}",
]  # fmt: skip


async def test_all_of_it_many_times_leaves_no_task_and_no_memory_behind(people: World, token: str) -> None:
    """Every group of cases, from B01 to B27."""
    worker = await people.worker(bad_frames_per_min=1000, max_user_connections=0)
    groups: dict[str, Callable[[], Awaitable[None]]] = {
        "messages": lambda: say_all(worker, token, TEXT, TEXTS),
        "binary messages": lambda: say_all(
            worker, token, BINARY, BINARIES, ("Sec-WebSocket-Protocol", MSGPACK.subprotocol)
        ),
        "messages of the wrong kind": lambda: say_all(worker, token, BINARY, BINARIES),
        "what closes": lambda: break_all(worker, token),
        "heads": lambda: knock_all(worker),
    }
    grown = {}
    for name, group in groups.items():
        await settled(worker, group)
        before = footprint()
        for _ in range(20):
            await group()
        await settled(worker, group)
        grown[name] = tuple(after - then for after, then in zip(footprint(), before, strict=True))

    tasks, things = max(grown.values()), max(things for _, things in grown.values())
    assert (0, True) == (tasks[0], things < 500), grown


def footprint() -> tuple[int, int]:
    """Return how many tasks and objects there are: a connection has more than twenty."""
    gc.collect()
    return len(asyncio.all_tasks()), len(gc.get_objects())


async def settled(worker: Worker, group: Callable[[], Awaitable[None]]) -> None:
    """Do it once, and wait until all of it is over."""
    await group()
    await until(lambda: nobody_connected(worker))


async def say_all(worker: Worker, token: str, opcode: int, messages: list[bytes], *headers: tuple[str, str]) -> None:
    async with entered(worker, token, *headers) as raw:
        for message in messages:
            raw.send(opcode, message)
            assert b"error" in await raw.message()


async def break_all(worker: Worker, token: str) -> None:
    for frames in CLOSINGS:
        async with entered(worker, token) as raw:
            raw.writer.write(frames)
            while (await raw.frame())[0] != CLOSE:
                pass


async def knock_all(worker: Worker) -> None:
    for head in HEADS:
        async with Raw.connect(worker.port) as raw:
            raw.writer.write(head)
            assert (await raw.answer()).status >= 400


async def test_a_conversation_goes_on_beside_all_of_it(people: World, worker: Worker, token: str, db: Sql) -> None:
    alice = await people.user("Alice")
    room = await people.room("group", alice)
    async with line(worker, await people.token(alice)) as good:
        nasty = [asyncio.create_task(break_all(worker, token)), asyncio.create_task(knock_all(worker))]
        seqs = [
            (await good.ask({**SEND, "conversation": str(room), "message": str(uuid7())}))["ok"]["seq"]
            for _ in range(20)
        ]
        await asyncio.gather(*nasty)
        await other_service.close(db, room)

    assert list(range(1, 21)) == seqs
