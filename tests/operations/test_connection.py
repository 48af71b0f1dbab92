import asyncio
import gc
import json
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from echo_ws.connection import Connection
from echo_ws.frame import wire
from echo_ws.http.protocol import HttpProtocol
from echo_ws_protocol.events import Bye
from tests.support.sockets import BINARY, CLOSE, CONT, PING, PONG, TEXT, Echo, Raw, client_frame, opened, serving

BYE = b'{"op":"bye","after_ms":%d}'
MSGPACK = ("Sec-WebSocket-Protocol", "echo.v1.msgpack")


@pytest.fixture(autouse=True)
def _short_goodbyes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echo_ws.connection.CLOSE_S", 0.2)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with serving() as service:
        yield service


async def authenticate(raw: Raw) -> None:
    raw.send(TEXT, b"authenticate")
    assert await raw.frame() == (TEXT, b"authenticate")


async def test_a_message_comes_back_over_an_ordinary_client(echo: Echo) -> None:
    async with connect(
        f"ws://127.0.0.1:{echo.port}/ws", subprotocols=[Subprotocol("echo.v1.json")], proxy=None
    ) as client:
        await client.send("grüße")

        assert await client.recv() == "grüße"
        assert client.subprotocol == "echo.v1.json"


async def test_the_client_closes_and_the_service_hears_the_code(echo: Echo) -> None:
    async with opened(echo) as raw:
        raw.send(CLOSE, (1001).to_bytes(2, "big") + b"bye")

        assert await raw.frame() == (CLOSE, (1001).to_bytes(2, "big") + b"bye")
        assert await raw.rest() == b""
        assert (await echo.next_gone()).close_code == 1001


async def test_the_server_closes_and_waits_for_the_echo(echo: Echo) -> None:
    async with connect(f"ws://127.0.0.1:{echo.port}/ws", proxy=None) as client:
        await client.send("hi")
        await client.recv()

        echo.connections[0].close(4000, "come back")

        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert (4000, "come back", True) == (
            closed.value.rcvd.code,
            closed.value.rcvd.reason,
            closed.value.rcvd_then_sent,
        )
        assert (await echo.next_gone()).close_code == 4000


async def test_nothing_follows_a_close_frame(echo: Echo) -> None:
    async with opened(echo) as raw:
        raw.send(TEXT, b"one")
        await raw.frame()
        (connection,) = echo.connections
        connection.write(wire(b"before", text=True))
        connection.close(1000)
        connection.write(wire(b"after", text=True))
        raw.send(TEXT, b"not heard")
        raw.send(CLOSE)

        assert await raw.frame() == (TEXT, b"before")
        assert await raw.frame() == (CLOSE, (1000).to_bytes(2, "big"))
        assert await raw.rest() == b""


async def test_a_close_that_is_not_answered_ends_by_itself(echo: Echo) -> None:
    async with opened(echo):
        echo.connections[0].close(1000)

        assert (await echo.next_gone()).close_code == 1000


async def test_an_empty_close_frame_is_answered_by_an_empty_one(echo: Echo) -> None:
    async with opened(echo) as raw:
        raw.send(CLOSE)

        assert await raw.frame() == (CLOSE, b"")
        assert (await echo.next_gone()).close_code == 1005


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        *((code.to_bytes(2, "big"), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)),
        (b"\x03", 1002),
        ((1000).to_bytes(2, "big") + b"\xff", 1007),
    ],
)
async def test_an_invalid_close_frame_is_an_error(echo: Echo, payload: bytes, code: int) -> None:
    async with opened(echo) as raw:
        raw.send(CLOSE, payload)

        assert await raw.closed_with() == code


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 3999, 4000, 4999])
async def test_a_valid_close_code_is_echoed(echo: Echo, code: int) -> None:
    async with opened(echo) as raw:
        raw.send(CLOSE, code.to_bytes(2, "big"))

        assert await raw.closed_with() == code


async def test_a_ping_is_answered_with_its_payload(echo: Echo) -> None:
    async with opened(echo) as raw:
        raw.send(PING, b"x" * 125)

        assert await raw.frame() == (PONG, b"x" * 125)


async def test_a_ping_between_fragments_is_answered_at_once(echo: Echo) -> None:
    """B20"""
    async with opened(echo) as raw:
        raw.send(TEXT, "grü".encode()[:-1], fin=False)
        raw.send(PING, b"now")
        pong = await raw.frame()
        raw.send(CONT, "grü".encode()[-1:], fin=False)
        raw.send(CONT, b"")

        assert pong == (PONG, b"now")
        assert await raw.frame() == (TEXT, "grü".encode())


async def test_a_message_arrives_byte_by_byte(echo: Echo) -> None:
    async with opened(echo) as raw:
        for byte in client_frame(TEXT, b"slowly") + client_frame(TEXT, b"" * 0):
            raw.writer.write(bytes([byte]))
            await raw.writer.drain()

        assert await raw.frame() == (TEXT, b"slowly")
        assert await raw.frame() == (TEXT, b"")


async def test_64_fragments_are_a_message_and_65_are_not(echo: Echo) -> None:
    """B20"""
    async with opened(echo) as raw:
        raw.send(TEXT, b"a", fin=False)
        raw.writer.write(client_frame(CONT, b"a", fin=False) * 62 + client_frame(CONT, b"a"))
        message = await raw.frame()
        raw.send(TEXT, b"a", fin=False)
        raw.writer.write(client_frame(CONT, b"a", fin=False) * 63 + client_frame(CONT, b"a"))

        assert message == (TEXT, b"a" * 64)
        assert await raw.closed_with() == 1009


async def test_endless_empty_fragments_are_cut(echo: Echo) -> None:
    """B20"""
    async with opened(echo) as raw:
        raw.writer.write(client_frame(TEXT, fin=False) + client_frame(CONT, fin=False) * 10_000)

        assert await raw.closed_with() == 1009


@pytest.mark.parametrize(
    "frame",
    [
        client_frame(TEXT, b"hi", mask=False),
        client_frame(TEXT, b"hi", rsv=4),
        client_frame(TEXT, b"hi", rsv=1),
        *(client_frame(opcode, b"hi") for opcode in (3, 7, 0xB, 0xF)),
        client_frame(PING, b"x" * 126),
        client_frame(PING, fin=False),
        client_frame(CONT, b"nothing to continue"),
        client_frame(TEXT, b"a", fin=False) + client_frame(TEXT, b"b"),
        client_frame(TEXT, b"a", fin=False) + client_frame(CLOSE),
    ],
)
async def test_a_breach_of_the_protocol_closes_with_1002(echo: Echo, frame: bytes) -> None:
    """B20, B23"""
    async with opened(echo) as raw:
        raw.writer.write(frame)

        assert await raw.closed_with() == 1002


async def test_a_stranger_may_send_4_kib_and_a_user_64(echo: Echo) -> None:
    async with opened(echo) as raw:
        raw.send(TEXT, b"x" * 4096)
        assert await raw.frame() == (TEXT, b"x" * 4096)
        await authenticate(raw)

        raw.send(TEXT, b"x" * 65_536)
        assert await raw.frame() == (TEXT, b"x" * 65_536)


async def test_more_than_4_kib_from_a_stranger_close_with_1009(echo: Echo) -> None:
    """B25"""
    async with opened(echo) as raw:
        raw.send(TEXT, b"x" * 4097)

        assert await raw.closed_with() == 1009


@pytest.mark.parametrize(
    "frames",
    [
        client_frame(TEXT, b"x" * 65_537),
        client_frame(TEXT, b"x" * 40_000, fin=False) + client_frame(CONT, b"x" * 40_000),
        client_frame(TEXT, b"x" * 2_000_000),
    ],
)
async def test_more_than_64_kib_from_a_user_close_with_1009(
    echo: Echo, frames: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code arrives, and no reset behind it, although the client is still sending."""
    monkeypatch.setattr("echo_ws.connection.CLOSE_S", 3)
    async with opened(echo) as raw:
        await authenticate(raw)

        raw.writer.write(frames)

        assert await raw.closed_with() == 1009
        raw.send(TEXT, b"still talking")
        assert await raw.rest() == b""
        assert echo.gone.empty()


@pytest.mark.parametrize("text", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", "ü".encode()[:1]])
async def test_text_that_is_not_utf_8_closes_with_1007(echo: Echo, text: bytes) -> None:
    """B02, B04"""
    async with opened(echo) as raw:
        raw.send(TEXT, b"hi " + text)

        assert await raw.closed_with() == 1007


async def test_a_binary_frame_on_a_json_connection_is_an_error_and_the_connection_lives_on(echo: Echo) -> None:
    """B19"""
    async with opened(echo) as raw:
        raw.send(BINARY, b"\x80")
        opcode, reply = await raw.frame()
        raw.send(TEXT, b"{}")

        assert opcode == TEXT
        assert json.loads(reply)["error"]["code"] == "wrong_frame"
        assert await raw.frame() == (TEXT, b"{}")


async def test_a_text_frame_on_a_msgpack_connection_is_an_error_and_the_connection_lives_on(echo: Echo) -> None:
    """B19"""
    async with opened(echo, MSGPACK) as raw:
        raw.send(TEXT, b"{}")
        opcode, reply = await raw.frame()
        raw.send(BINARY, b"\x80")

        assert opcode == BINARY
        assert b"wrong_frame" in reply
        assert await raw.frame() == (BINARY, b"\x80")


async def test_fifty_pings_at_once_are_answered(echo: Echo) -> None:
    """B21"""
    async with opened(echo) as raw:
        raw.writer.write(client_frame(PING) * 50)

        assert [await raw.frame() for _ in range(50)] == [(PONG, b"")] * 50


@pytest.mark.parametrize("frame", [client_frame(PING, b"x" * 125), client_frame(PONG), client_frame(BINARY)])
async def test_a_flood_of_frames_that_are_no_commands_closes_with_1008(echo: Echo, frame: bytes) -> None:
    """B21"""
    async with opened(echo) as raw:
        raw.writer.write(frame * 5_000)

        assert await raw.closed_with() == 1008


async def test_a_flood_in_one_go_is_not_answered_ping_by_ping(echo: Echo) -> None:
    async with opened(echo) as raw:
        raw.writer.write(client_frame(PING) * 60)

        assert (await raw.frame())[0] == CLOSE


async def test_several_writes_of_one_turn_arrive_in_order(echo: Echo) -> None:
    async with opened(echo) as raw:
        raw.writer.write(client_frame(TEXT, b"1") + client_frame(TEXT, b"2") + client_frame(TEXT, b"3"))

        assert [await raw.frame() for _ in range(3)] == [(TEXT, b"1"), (TEXT, b"2"), (TEXT, b"3")]


async def test_a_fault_of_the_service_closes_with_4002(echo: Echo, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(echo) as raw:
        raw.send(TEXT, b"fail")

        assert await raw.closed_with() == 4002
        assert "RuntimeError" in caplog.text


async def test_a_paused_connection_holds_back_what_was_already_read(echo: Echo) -> None:
    async with opened(echo) as raw:
        await authenticate(raw)
        (connection,) = echo.connections
        connection.pause_reading()
        connection.data_received(client_frame(TEXT, b"1") + client_frame(TEXT, b"2"))
        raw.send(TEXT, b"3")
        connection.write(wire(b"0", text=True))
        first = await raw.frame()

        connection.resume_reading()

        assert first == (TEXT, b"0")
        assert [await raw.frame() for _ in range(3)] == [(TEXT, b"1"), (TEXT, b"2"), (TEXT, b"3")]


async def test_without_a_session_a_connection_ends_with_4005() -> None:
    """B25"""
    async with serving(auth_timeout_s=0.5) as echo, opened(echo) as late, opened(echo) as early:
        await authenticate(early)

        assert await late.closed_with() == 4005
        early.send(TEXT, b"still here")
        assert await early.message() == b"still here"


async def test_a_silent_client_ends_with_4005_and_one_that_answers_pings_stays() -> None:
    async with (
        serving(heartbeat_s=0.2) as echo,
        connect(f"ws://127.0.0.1:{echo.port}/ws", proxy=None, ping_interval=None) as alive,
        opened(echo) as silent,
    ):
        await authenticate(silent)

        ping = await silent.frame()
        code = await silent.closed_with()
        await echo.next_gone()
        await alive.send("still here")

        assert ping == (PING, b"")
        assert code == 4005
        assert await alive.recv() == "still here"


async def test_a_client_that_does_not_read_is_cut_and_the_others_are_not_held_up() -> None:
    frame = wire(b"x" * 60_000, text=True)
    async with serving(send_buffer_bytes=262_144) as echo, opened(echo, receive_buffer=4096), opened(echo) as reader:
        await authenticate(reader)
        slow, fast = echo.connections
        for number in range(200):
            slow.write(frame)
            fast.write(wire(str(number).encode(), text=True))
            assert await reader.frame() == (TEXT, str(number).encode())

        assert await echo.next_gone() is slow
        assert slow.close_code == 4001


async def test_a_slow_client_that_catches_up_reads_why_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echo_ws.connection.CLOSE_S", 3)
    frame = wire(b"x" * 60_000, text=True)
    async with serving(send_buffer_bytes=65_536) as echo, opened(echo, receive_buffer=4096) as raw:
        raw.send(TEXT, b"hi")
        await raw.frame()
        for _ in range(200):
            echo.connections[0].write(frame)
            await asyncio.sleep(0)

        assert await raw.closed_with() == 4001


FRAME = wire(b"x" * 20_000, text=True)


async def clogged(echo: Echo) -> Connection:
    """Write to the one connection, whose client does not read, until more waits than a client may leave lying."""
    (slow,) = echo.connections
    while not slow._clogged_at:
        slow.write(FRAME)
        await asyncio.sleep(0)
    return slow


async def messages_until(raw: Raw, last: bytes) -> list[bytes]:
    messages = [await raw.message()]
    while messages[-1] != last:
        messages.append(await raw.message())
    return [message for message in messages if len(message) < 1000]


async def test_of_what_is_momentary_a_slow_client_gets_the_last_state_only() -> None:
    async with serving(send_buffer_bytes=262_144) as echo, opened(echo, receive_buffer=4096) as raw:
        await authenticate(raw)
        slow = await clogged(echo)
        for n in range(3):
            slow.mention(wire(b"typing", text=True), None)
            slow.mention(wire(f"read {n}".encode(), text=True), "bob")
        slow.write(wire(b"a message", text=True))

        told = await messages_until(raw, b"read 2")
        slow.mention(wire(b"typing again", text=True), None)

        assert [b"a message", b"read 2"] == told
        assert b"typing again" == await raw.message()


async def test_durable_events_collapse_into_one_word_when_too_many_wait() -> None:
    behind = b'{"op":"behind"}'
    async with serving(send_buffer_bytes=262_144) as echo, opened(echo, receive_buffer=4096) as raw:
        await authenticate(raw)
        slow = await clogged(echo)
        while not echo.behind:
            slow.write(FRAME)
            await asyncio.sleep(0)
        slow.mention(wire(b"read", text=True), "bob")

        assert [behind] == await messages_until(raw, behind)
        raw.send(TEXT, b"still here")
        assert b"still here" == await raw.message()
        assert [slow] == echo.behind


async def test_one_who_does_not_read_gets_no_more_answers_until_there_is_room() -> None:
    async with serving(send_buffer_bytes=262_144) as echo, opened(echo, receive_buffer=4096) as raw:
        await authenticate(raw)
        slow = await clogged(echo)
        raw.send(TEXT, b"answer me")
        raw.send(TEXT, b"me too")
        slow.write(wire(b"the end of what waits", text=True))

        assert [b"the end of what waits", b"answer me", b"me too"] == await messages_until(raw, b"me too")


async def test_one_who_never_reads_is_cut_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echo_ws.connection.SLOW_S", 0.2)
    async with serving(send_buffer_bytes=262_144) as echo, opened(echo, receive_buffer=4096) as raw:
        await authenticate(raw)
        slow = await clogged(echo)

        assert slow is await echo.next_gone()
        assert 4001 == slow.close_code


async def test_what_is_held_comes_after_the_answer(echo: Echo) -> None:
    async with opened(echo) as raw:
        await authenticate(raw)
        (connection,) = echo.connections
        connection.write(wire(b"before", text=True))
        connection.hold()
        connection.write(wire(b"meanwhile", text=True))
        await asyncio.sleep(0)
        connection.hold()
        connection.write(wire(b"later", text=True))
        connection.send(Bye(after_ms=1))
        connection.release()
        connection.send(Bye(after_ms=2))
        connection.release()
        connection.write(wire(b"after", text=True))

        told = await messages_until(raw, b"after")
    assert [b"before", BYE % 1, BYE % 2, b"meanwhile", b"later", b"after"] == told


async def test_what_is_held_when_a_connection_closes_is_let_go(echo: Echo) -> None:
    async with opened(echo) as raw:
        await authenticate(raw)
        (connection,) = echo.connections
        connection.hold()
        connection.write(wire(b"meanwhile", text=True))
        connection.close(4000, "go")
        connection.release()

        assert b"meanwhile" == await raw.message()
        assert 4000 == await raw.closed_with()


async def test_a_ping_flood_without_reading_keeps_no_memory(echo: Echo) -> None:
    """B21"""
    async with opened(echo, receive_buffer=4096) as raw:
        raw.writer.write(client_frame(PING, b"x" * 125) * 20_000)

        assert (await echo.next_gone()).close_code == 1008


async def test_a_client_that_vanishes_is_gone_once(echo: Echo) -> None:
    async with opened(echo) as raw:
        raw.writer.transport.abort()

        gone = await echo.next_gone()
    gone.write(wire(b"nobody hears", text=True))
    gone.close(1000)
    gone.ping()

    assert (gone.close_code, echo.gone.qsize()) == (1006, 0)
    assert echo.listener.commons.admission.connections == 0


async def test_a_session_that_comes_too_late_is_not_counted(echo: Echo) -> None:
    async with opened(echo) as raw:
        raw.writer.transport.abort()
        gone = await echo.next_gone()

    gone.authenticated(object())  # type: ignore[arg-type]  # any session will do

    assert echo.listener.commons.admission.unauthenticated == 0


async def test_pings_count_as_heard_while_reading_is_paused() -> None:
    async with serving(heartbeat_s=0.1) as echo, opened(echo) as raw:
        await authenticate(raw)
        (connection,) = echo.connections
        connection.pause_reading()

        pings = [await raw.frame() for _ in range(4)]
        connection.resume_reading()
        raw.send(TEXT, b"still here")

        assert pings == [(PING, b"")] * 4
        assert await raw.message() == b"still here"


async def test_many_connections_leave_nothing_behind(echo: Echo) -> None:
    async def visit() -> None:
        async with opened(echo) as raw:
            await authenticate(raw)

    await asyncio.gather(*(visit() for _ in range(50)))
    for _ in range(50):
        await echo.next_gone()

    admission = echo.listener.commons.admission
    assert (0, 0, 0) == (admission.connections, admission.unauthenticated, admission.refused)


async def test_a_listener_that_finishes_says_goodbye_to_strangers_too_and_takes_nobody_else() -> None:
    async with serving() as echo, opened(echo) as raw:
        finishing = asyncio.create_task(echo.listener.finish(5))
        code = await raw.closed_with()
        raw.send(CLOSE, code.to_bytes(2, "big"))
        await finishing

        assert (code, (await echo.next_gone()).close_code) == (1001, 1001)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", echo.port)


async def test_a_listener_cuts_who_does_not_answer_its_goodbye() -> None:
    async with serving() as echo, opened(echo) as raw:
        await echo.listener.finish(0.1)

        assert await echo.next_gone()
        assert await raw.closed_with() == 1001


async def test_neither_handshake_nor_connection_waits_for_the_garbage_collector(echo: Echo) -> None:
    gc.collect()
    gc.disable()
    try:
        before = alive(HttpProtocol, Request), alive(Connection, ServerProtocol)
        async with opened(echo) as raw:
            await authenticate(raw)
            during = alive(HttpProtocol, Request), alive(Connection, ServerProtocol)
            echo.come.get_nowait()
        await echo.next_gone()
        after = alive(HttpProtocol, Request), alive(Connection, ServerProtocol)
    finally:
        gc.enable()

    assert (before[0], before[1] + 2) == during
    assert before == after


def alive(*types: type) -> int:
    return sum(isinstance(thing, types) for thing in gc.get_objects())
