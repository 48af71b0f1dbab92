"""The client against a server that follows a script; against the real one it is used by all other tests."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest
from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from echo_ws.client import Client, Closed, CommandFailed, ConnectionLost
from echo_ws_protocol.codec import CODECS
from echo_ws_protocol.commands import Command, ConversationGet, MessageSend, SessionResume, SessionStart, TypingSet
from echo_ws_protocol.errors import ErrorCode
from echo_ws_protocol.events import Bye, Event, Hello, Message, Typing
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import ConversationChanges, Done, Failure, MessageSent, Reply, Resumed

CONVERSATION, ALICE, SESSION = UUID(int=1), UUID(int=2), UUID(int=3)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HELLO = Hello(
    user=ALICE,
    session=SESSION,
    expires_at=NOON,
    epoch="e",
    heartbeat_ms=20_000,
    max_frame_bytes=65536,
    server="echo_ws 0",
)
SENT = MessageSent(seq=42, created_at=NOON)
BUSY = Failure(ErrorCode.BUSY, "retry", "too many", retry_after_ms=1)


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.codec = CODECS[cast("str", socket.subprotocol)]
        self.headers = cast("Request", socket.request).headers

    async def send(self, frame: Struct) -> None:
        await self.socket.send(self.codec.encode(frame), text=self.codec.is_text)

    async def command(self) -> Command[Any]:
        return self.codec.decode_command(await self.socket.recv(decode=False))

    async def greet(self, hello: Hello | None = None) -> None:
        """Say hello, and that nothing was missed."""
        await self.send(hello or HELLO)
        question = await self.command()
        assert isinstance(question, SessionResume)
        known = question.conversations or question.epoch
        here = [] if known else [ConversationChanges(CONVERSATION, rev=1, reset=True)]
        await self.answer(question, Resumed(HELLO.epoch, NOON, rev=0, conversations=here))

    async def answer(self, command: Command[Any], answer: Struct) -> None:
        failure = answer if isinstance(answer, Failure) else UNSET
        ok = UNSET if isinstance(answer, Failure) else Raw(self.codec.encode(answer))
        await self.send(Reply(command.id, ok, failure))

    async def answer_all(self, answer: Struct) -> None:
        while True:
            await self.answer(await self.command(), answer)

    def drop(self) -> None:
        self.socket.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Plays one script a connection, the last one again and again. Keeps what it received."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.opened_at: list[float] = []
        self.closed_at: list[float] = []
        self.refusals: list[Response] = []
        self.url = ""

    def request(self, _: ServerConnection, __: Request) -> Response | None:
        return self.refusals.pop(0) if self.refusals else None

    async def play(self, socket: ServerConnection) -> None:
        script = self.scripts[min(len(self.opened_at), len(self.scripts) - 1)]
        self.opened_at.append(asyncio.get_running_loop().time())
        try:
            await script(Peer(socket))
        except ConnectionClosed:
            pass
        finally:
            self.closed_at.append(asyncio.get_running_loop().time())


@asynccontextmanager
async def playing(*scripts: Script) -> AsyncIterator[Server]:
    server = Server(*scripts)
    subprotocols = cast("Any", list(CODECS))
    async with serve(
        server.play, "127.0.0.1", 0, process_request=server.request, subprotocols=subprotocols, compression=None
    ) as listening:
        server.url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/ws"
        yield server


def client(server: Server, **options: Any) -> Client:
    """A client that comes back at once."""
    defaults: dict[str, Any] = {"token": "secret", "chance": lambda: 0.0, "open_timeout": 5.0}
    return Client(server.url, **defaults | options)


def greeting(*events: Event, answer: Struct | None = None) -> Script:
    """Say hello, send the events, answer every command alike."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        for event in events:
            await peer.send(event)
        await peer.answer_all(answer or SENT)

    return script


def text(seq: int) -> Message:
    return Message(
        conversation=CONVERSATION,
        message=UUID(int=seq),
        seq=seq,
        rev=1 + seq,
        sender=ALICE,
        type="text",
        content="hi",
        created_at=NOON,
    )


def send() -> MessageSend:
    return MessageSend(conversation=CONVERSATION, message=uuid7(), content="hi")


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_call_returns_the_typed_result_in_both_encodings(codec: str) -> None:
    async with playing(greeting()) as server, client(server, codec=codec) as alice:
        sent: MessageSent = await alice.call(send())

    assert SENT == sent
    assert (ALICE, SESSION) == (alice.user, alice.session)


async def test_answers_find_their_calls_in_whatever_order_they_come() -> None:
    async def backwards(peer: Peer) -> None:
        await peer.greet()
        first, second = await peer.command(), await peer.command()
        await peer.answer(second, Done())
        await peer.answer(first, SENT)

    async with playing(backwards) as server, client(server) as alice:
        answers = await asyncio.gather(alice.call(send()), alice.call(TypingSet(conversation=CONVERSATION)))

    assert (SENT, Done()) == tuple(answers)


async def test_a_rejected_command_raises_what_the_server_said() -> None:
    failure = Failure(ErrorCode.BAD_FIELD, "rejected", "too long", "$.content")

    async with playing(greeting(answer=failure)) as server, client(server) as alice:
        with pytest.raises(CommandFailed, match=r"bad_field: too long \(at \$\.content\)") as raised:
            await alice.call(send())

    assert (ErrorCode.BAD_FIELD, "rejected", "$.content") == (
        raised.value.code,
        raised.value.outcome,
        raised.value.field,
    )


@pytest.mark.parametrize("outcome", ["retry", "unknown"])
async def test_a_call_without_a_verdict_is_repeated_with_the_same_ids(outcome: Any) -> None:
    commands: list[Command[Any]] = []

    async def twice_busy(peer: Peer) -> None:
        await peer.greet()
        for answer in (Failure(ErrorCode.BUSY, outcome, "wait", retry_after_ms=1),) * 2 + (SENT,):
            commands.append(await peer.command())
            await peer.answer(commands[-1], answer)

    async with playing(twice_busy) as server, client(server) as alice:
        command = send()
        sent = await alice.call(command)

    assert SENT == sent
    assert [command.message] * 3 == [c.message for c in commands if isinstance(c, MessageSend)]


async def test_a_call_is_repeated_no_earlier_than_the_server_asked() -> None:
    asked_at: list[float] = []

    async def busy_once(peer: Peer) -> None:
        await peer.greet()
        for answer in (Failure(ErrorCode.RATE_LIMITED, "retry", "wait", retry_after_ms=150), SENT):
            command = await peer.command()
            asked_at.append(asyncio.get_running_loop().time())
            await peer.answer(command, answer)

    async with playing(busy_once) as server, client(server) as alice:
        await alice.call(send())

    assert asked_at[1] - asked_at[0] > 0.14  # uvloop counts milliseconds


async def test_a_call_that_is_not_to_be_repeated_fails_at_once() -> None:
    async with playing(greeting(answer=BUSY)) as server, client(server) as alice:
        with pytest.raises(CommandFailed) as raised:
            await alice.call(send(), retry=False)

    assert BUSY == raised.value.failure


async def test_a_server_that_stays_busy_is_named_when_the_time_is_up() -> None:
    busy = Failure(ErrorCode.BUSY, "retry", "too many", retry_after_ms=60_000)

    async with playing(greeting(answer=busy)) as server, client(server) as alice:
        with pytest.raises(CommandFailed) as raised:
            await alice.call(send(), timeout=1)

    assert busy == raised.value.failure


async def test_what_a_server_that_is_replaced_did_not_answer_was_not_done() -> None:
    async def drains(peer: Peer) -> None:
        await peer.greet()
        await peer.command()
        await peer.socket.close(4000, '{"retry_after_ms":0}')

    async with playing(drains, greeting()) as server, client(server) as alice:
        with pytest.raises(CommandFailed) as failed:
            await alice.call(send(), retry=False)

        assert ("busy", "retry") == (failed.value.code, failed.value.outcome)


async def test_a_call_without_an_answer_times_out_and_says_that_it_may_have_been_done() -> None:
    async def silent(peer: Peer) -> None:
        await peer.greet()
        await peer.socket.wait_closed()

    async with playing(silent) as server, client(server) as alice:
        with pytest.raises(TimeoutError, match=r"no answer to message\.send within 0\.05 s, it may have been done"):
            await alice.call(send(), timeout=0.05)


async def test_a_pending_send_is_sent_again_after_a_lost_connection_and_answered_once() -> None:
    received: list[Command[Any]] = []

    async def drops(peer: Peer) -> None:
        await peer.greet()
        received.append(await peer.command())
        peer.drop()

    async def answers(peer: Peer) -> None:
        await peer.greet()
        while True:
            received.append(await peer.command())
            await peer.answer(received[-1], SENT)

    async with playing(drops, drops, answers) as server, client(server) as alice:
        command = send()
        sent = await alice.call(command)

    assert SENT == sent
    assert [command.message] * 3 == [c.message for c in received if isinstance(c, MessageSend)]


async def test_calls_of_a_lost_connection_are_sent_again_in_their_order() -> None:
    again: list[Command[Any]] = []

    async def drops_after_three(peer: Peer) -> None:
        await peer.greet()
        for _ in range(3):
            await peer.command()
        peer.drop()

    async def answers(peer: Peer) -> None:
        await peer.greet()
        while True:
            again.append(await peer.command())
            await peer.answer(again[-1], SENT)

    commands = [send(), send(), send()]
    async with playing(drops_after_three, answers) as server, client(server) as alice:
        await asyncio.gather(*map(alice.call, commands))

    assert [c.message for c in commands] == [c.message for c in again if isinstance(c, MessageSend)]


async def test_a_lost_connection_fails_a_call_that_is_not_to_be_repeated() -> None:
    async def drops(peer: Peer) -> None:
        await peer.greet()
        await peer.command()
        peer.drop()

    async with playing(drops, greeting()) as server, client(server) as alice:
        with pytest.raises(ConnectionLost):
            await alice.call(send(), retry=False)


async def test_each_connection_begins_with_hello_among_the_events() -> None:
    async def hangs_up(peer: Peer) -> None:
        await peer.greet()
        await peer.send(text(1))
        await peer.socket.close(1001)

    async with playing(hangs_up, greeting(text(2))) as server, client(server) as alice:
        events = [await alice.next(Event) for _ in range(4)]

    assert [HELLO, text(1), HELLO, text(2)] == events


async def test_a_client_whose_token_is_not_good_gives_up() -> None:
    async def refuses(peer: Peer) -> None:
        await peer.socket.close(4500, "sign in again")

    async with playing(refuses) as server:
        with pytest.raises(Closed, match="closed with 4500: sign in again"):
            async with client(server):
                pass

    assert len(server.opened_at) == 1


async def test_a_session_that_is_revoked_ends_calls_and_readers() -> None:
    async def revokes(peer: Peer) -> None:
        await peer.greet()
        await peer.command()
        await peer.socket.close(4500, "revoked")

    async with playing(revokes) as server, client(server) as alice:
        reader = asyncio.create_task(alice.next(Message))
        with pytest.raises(Closed):
            await alice.call(send())
        with pytest.raises(Closed):
            await reader
        with pytest.raises(Closed):
            await alice.call(send())

    assert len(server.opened_at) == 1


@pytest.mark.parametrize("reason", ["retry_after_ms=200", '{"retry_after_ms": 200}'])
async def test_a_client_comes_back_no_earlier_than_the_close_reason_asks(reason: str) -> None:
    async def full(peer: Peer) -> None:
        await peer.socket.close(4006, reason)

    async with playing(full, greeting()) as server, client(server):
        pass

    assert server.opened_at[1] - server.closed_at[0] > 0.18


async def test_a_client_comes_back_no_earlier_than_bye_asks() -> None:
    async def drains(peer: Peer) -> None:
        await peer.greet()
        await peer.send(Bye(after_ms=200))
        await peer.socket.close(4000)

    async with playing(drains, greeting()) as server, client(server) as alice:
        await alice.call(send())

    assert server.opened_at[1] - server.opened_at[0] > 0.19


async def test_a_full_server_that_answers_by_http_is_asked_again() -> None:
    async with playing(greeting()) as server:
        server.refusals = [Response(503, "Service Unavailable", Headers({"Retry-After": "0"}))]
        async with client(server) as alice:
            sent = await alice.call(send())

    assert SENT == sent


async def test_a_refused_handshake_is_final() -> None:
    async with playing(greeting()) as server:
        server.refusals = [Response(403, "Forbidden", Headers(), b"this Origin is not allowed")]
        with pytest.raises(Closed, match="closed with 4501: HTTP 403 this Origin is not allowed"):
            async with client(server):
                pass


async def test_a_server_that_cannot_be_reached_is_named() -> None:
    async with playing(greeting()) as gone:
        pass

    with pytest.raises(TimeoutError, match=rf"no hello from {gone.url} within 0\.1 s: .*(refused|Connect call failed)"):
        async with client(gone, open_timeout=0.1):
            pass


async def test_silence_of_two_heartbeats_means_the_connection_is_dead() -> None:
    hello = replace(HELLO, heartbeat_ms=50)

    async def falls_silent(peer: Peer) -> None:
        await peer.greet(hello)
        await peer.socket.wait_closed()

    async with playing(falls_silent, greeting()) as server, client(server) as alice:
        await alice.call(send(), timeout=5)

    assert server.opened_at[1] - server.opened_at[0] > 0.09


async def test_pings_are_signs_of_life() -> None:
    hello = replace(HELLO, heartbeat_ms=50)

    async def only_pings(peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        await peer.greet(hello)
        end = loop.time() + 0.25
        while loop.time() < end:
            await (await peer.socket.ping())
        await peer.send(text(1))
        await peer.socket.wait_closed()

    async with playing(only_pings) as server, client(server) as alice:
        await alice.next(Message)

    assert len(server.opened_at) == 1


async def test_the_token_travels_in_a_header() -> None:
    seen: list[str | None] = []

    async def notes_header(peer: Peer) -> None:
        seen.append(peer.headers.get("Authorization"))
        await peer.greet()
        await peer.socket.wait_closed()

    async with playing(notes_header) as server, client(server):
        pass

    assert ["Bearer secret"] == seen


async def test_the_token_travels_in_the_first_frame_where_headers_cannot_be_set() -> None:
    seen: list[object] = []

    async def awaits_session(peer: Peer) -> None:
        start = await peer.command()
        seen.extend((peer.headers.get("Authorization"), start))
        await peer.answer(start, Done())
        await peer.greet()
        await peer.answer_all(SENT)

    async with playing(awaits_session) as server, client(server, first_frame=True) as alice:
        await alice.call(send())

    assert [None, SessionStart(token="secret")] == seen


async def test_a_refused_first_frame_is_final() -> None:
    refusal = Failure(ErrorCode.UNAUTHENTICATED, "rejected", "no such session")

    async def refuses(peer: Peer) -> None:
        await peer.answer_all(refusal)

    async with playing(refuses) as server:
        with pytest.raises(Closed, match="closed with 4500: no such session"):
            async with client(server, first_frame=True):
                pass


async def test_every_connection_asks_for_a_fresh_token() -> None:
    seen: list[str] = []

    async def expires(peer: Peer) -> None:
        seen.append(peer.headers["Authorization"])
        await peer.greet()
        if len(seen) == 1:
            await peer.socket.close(4003)

    async def fresh() -> str:
        return f"token-{len(seen)}"

    async with playing(expires) as server, client(server, token=fresh) as alice:
        await alice.next(Hello)
        await alice.next(Hello)

    assert ["Bearer token-0", "Bearer token-1"] == seen[:2]


async def test_next_takes_the_first_that_fits_and_leaves_the_others_in_order() -> None:
    typing = Typing(conversation=CONVERSATION, user=ALICE, kind="text", expires_ms=5000)

    async with playing(greeting(text(1), typing, text(2), text(3))) as server, client(server) as alice:
        third = await alice.next(Message, lambda message: message.seq == 3)
        others = [await alice.next(Event) for _ in range(4)]

    assert text(3) == third
    assert [HELLO, text(1), typing, text(2)] == others


async def test_next_says_what_arrived_instead() -> None:
    typing = Typing(conversation=CONVERSATION, user=ALICE, kind="text", expires_ms=5000)

    async with playing(greeting(typing, typing, text(1))) as server, client(server) as alice:
        await alice.next(Message)
        with pytest.raises(TimeoutError, match=r"no message within 0\.02 s; arrived instead: hello, typing \(2\)"):
            await alice.next(Message, timeout=0.02)


async def test_the_events_end_when_the_client_closes() -> None:
    async with playing(greeting(text(1))) as server, client(server) as alice:
        seen = []
        async for event in alice.events():
            seen.append(event)
            if isinstance(event, Message):
                await alice.close()

    assert [HELLO, text(1)] == seen


async def test_an_unknown_event_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    class Applause(Struct, tag_field="op", tag="applause"):
        loud: bool

    async def is_newer(peer: Peer) -> None:
        await peer.greet()
        await peer.send(Applause(loud=True))
        await peer.send(text(1))
        await peer.answer_all(SENT)

    async with playing(is_newer) as server, client(server) as alice:
        events = [await alice.next(Event) for _ in range(2)]

    assert [HELLO, text(1)] == events
    assert not caplog.records


async def test_a_frame_that_is_no_event_is_skipped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def stammers(peer: Peer) -> None:
        await peer.greet()
        await peer.socket.send('{"op":"typing","kind":7}')
        await peer.socket.send("{")
        await peer.send(text(1))
        await peer.answer_all(SENT)

    with caplog.at_level(logging.WARNING, "echo_ws.client"):
        async with playing(stammers) as server, client(server) as alice:
            message = await alice.next(Message)

    assert text(1) == message
    assert len(caplog.records) == 2


def flood(stuck: asyncio.Event, **hello: Any) -> Script:
    """Send events without end; set ``stuck`` when the client takes no more."""

    async def floods(peer: Peer) -> None:
        await peer.greet(replace(HELLO, **hello))
        bulky = replace(text(1), content="x" * 4096)
        while True:
            try:
                async with asyncio.timeout(0.2):
                    await peer.send(bulky)
            except TimeoutError:
                stuck.set()

    return floods


async def test_a_client_that_does_not_take_its_events_stops_reading() -> None:
    """What the client does not take piles up at the server, which decides what to do about it."""
    stuck = asyncio.Event()

    async with playing(flood(stuck)) as server, client(server, queue=5) as alice:
        await asyncio.wait_for(stuck.wait(), 10)
        with pytest.raises(TimeoutError, match="the event queue is full"):
            await alice.call(ConversationGet(conversation=CONVERSATION), timeout=0.05)
        for _ in range(5_000):
            await alice.next(Message)


async def test_silence_of_a_client_that_does_not_listen_is_not_the_servers() -> None:
    stuck = asyncio.Event()

    async with playing(flood(stuck, heartbeat_ms=50)) as server, client(server, queue=5) as alice:
        await asyncio.wait_for(stuck.wait(), 10)
        for _ in range(5_000):
            await alice.next(Message)

    assert len(server.opened_at) == 1


async def test_a_client_leaves_at_once_in_the_middle_of_a_flood() -> None:
    stuck = asyncio.Event()
    loop = asyncio.get_running_loop()

    async with playing(flood(stuck)) as server, client(server, queue=5):
        await asyncio.wait_for(stuck.wait(), 10)
        leaves_at = loop.time()

    assert server.closed_at[0] - leaves_at < 1
