"""A typed asyncio client: commands in, answers and events out, reconnecting by itself.

    async with Client("ws://127.0.0.1:8765/ws", token=token) as alice:
        sent = await alice.call(MessageSend(conversation=conversation, message=uuid7(), content="hi"))
        message = await alice.next(Message)

After each interruption it asks for what it missed; nothing is lost, and nothing comes twice.

Needs the protocol package and websockets, not the server.
"""

import asyncio
import copy
import logging
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.typing import Subprotocol

from echo_ws_protocol.codec import BROKEN, CODECS, COMMANDS, op_of
from echo_ws_protocol.commands import Command, SessionRefresh, SessionResume, SessionStart, result_of
from echo_ws_protocol.errors import CloseCode, ErrorCode, may_come_back
from echo_ws_protocol.events import Behind, Bye, Event, Expiring, Hello
from echo_ws_protocol.replies import Failure, Reply, Resumed

from .backoff import Backoff
from .inbox import Inbox
from .position import Follower, Position, Reset
from .turns import Turns

__all__ = ["Client", "Closed", "CommandFailed", "ConnectionLost", "Position", "Reset"]

R = TypeVar("R")
E = TypeVar("E", bound=Event)
TokenSource = str | Callable[[], Awaitable[str]]

log = logging.getLogger(__name__)

CODECS_BY_NAME = {codec.name: codec for codec in CODECS.values()}
RESULTS: dict[type[Command[Any]], type] = {command: result_of(command) for command in COMMANDS.values()}
HELLO_S = 10.0
STABLE_S = 10.0  # a connection that dies younger counts as one more failure
MAX_FRAME_BYTES = 16 * 1024 * 1024  # a page of 100 messages of 4,096 escaped characters is 2.4 MB
LOST = 1006
_NOT_DONE = Failure(ErrorCode.BUSY, "retry", "not done: the server is being replaced")


class CommandFailed(Exception):
    """The server answered, and the answer is no; ``outcome`` tells whether to try again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.code}: {failure.message}" + (f" (at {failure.field})" if failure.field else ""))
        self.failure = failure
        self.code = failure.code
        self.outcome = failure.outcome
        self.field = failure.field
        self.retry_after_ms = failure.retry_after_ms


class ConnectionLost(ConnectionError):
    """The connection went before the answer came: whether the command was carried out is not known."""


class Closed(Exception):
    """Closed for good: coming back with the same token would not help, or this side closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}: {reason or 'no reason given'}")
        self.code = code
        self.reason = reason


class Client:
    """One user's connection to echo_ws, for as long as it is open: it reconnects, and catches up with what it missed.

    Commands are idempotent by their ids, so ``call`` repeats them until there is a verdict. Durable events come once
    and in the order of ``rev`` in each conversation; where too much was missed, a ``Reset`` says to read it anew. After
    each reconnect ``Hello`` comes as an event. Events wait in a queue of ``queue`` places; when it is full, the client
    stops reading, replies included, until ``next`` or ``events`` makes room. ``token`` may be a coroutine function that
    returns a fresh one, for each connection and for one whose token is about to end. With the ``position`` of an
    earlier client it goes on from there, without one it begins now.
    """

    hello: Hello
    """What the server said last when a connection began."""

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource,
        position: Position | None = None,
        codec: Literal["json", "msgpack"] = "json",
        first_frame: bool = False,
        open_timeout: float = 30.0,
        queue: int = 10_000,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.url = url
        self._token = token
        self._codec = CODECS_BY_NAME[codec]
        self._first_frame = first_frame
        self._open_timeout = open_timeout
        self._chance = chance
        self._inbox = Inbox(queue)
        self._requests = count(1)
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._turns: defaultdict[str, Turns] = defaultdict(Turns)
        self._follower = Follower(copy.deepcopy(position))
        self._questions: dict[int, SessionResume] = {}
        self._caught_up = asyncio.Event()
        self._patience = Backoff(chance)
        self._ready: asyncio.Future[_Connection]
        self._task: asyncio.Task[None]
        self._refreshing: asyncio.Task[None] | None = None
        self._back_at = 0.0
        self._trouble: Exception | None = None

    @property
    def user(self) -> UUID:
        return self.hello.user

    @property
    def session(self) -> UUID:
        return self.hello.session

    @property
    def position(self) -> Position:
        """How far this program has read: what is still in the queue does not count. To be kept for the next one."""
        return self._follower.position.before(self._inbox)

    @property
    def connected(self) -> bool:
        return self._ready.done() and self._ready.exception() is None

    async def __aenter__(self) -> Self:
        self._ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self._open_timeout):
                await self._online()
                if self._follower.is_new:  # what happens from now on is to be heard: know where everything stands
                    await self._caught_up.wait()
                    await self._online()
        except TimeoutError:
            await self.close()
            trouble = self._trouble or "no answer"
            raise TimeoutError(f"no hello from {self.url} within {self._open_timeout:g} s: {trouble}") from None
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Say goodbye to the server; calls and readers that still wait get ``Closed``."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def call(self, command: Command[R], *, timeout: float = 30.0, retry: bool = True) -> R:  # noqa: ASYNC109  # names the limit in the error
        """Carry out ``command`` and return what its ``ok`` holds.

        Repeats it with the same content after a lost connection and after the outcomes ``retry`` and ``unknown``, until
        ``timeout``; with ``retry=False`` these raise ``ConnectionLost`` and ``CommandFailed`` at once. Where the server
        limits the rate, calls of this kind wait for each other, so that they are carried out in the order of the calls.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        backoff = Backoff(self._chance)
        op = op_of(command)
        turns = self._turns[op]
        place = turns.begin()
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    await turns.come(place)
                    try:
                        return await self._ask(command)
                    except ConnectionLost:
                        if not retry:
                            raise
                    except CommandFailed as failed:
                        pause = (failed.retry_after_ms or 0) / 1000
                        if failed.code == ErrorCode.RATE_LIMITED:
                            turns.take_turns()
                        else:
                            pause = backoff.next(pause)
                        if not retry or failed.outcome == "rejected" or loop.time() + pause >= deadline:
                            raise
                        await asyncio.sleep(pause)
        except TimeoutError:
            full = "; the event queue is full, read events() or next()" if self._inbox.full else ""
            raise TimeoutError(f"no answer to {op} within {timeout:g} s, it may have been done{full}") from None
        finally:
            turns.end(place)

    async def next(
        self,
        kind: type[E],
        where: Callable[[E], bool] = lambda _: True,
        *,
        timeout: float = 10.0,  # noqa: ASYNC109  # names the limit in the error
    ) -> E:
        """Take the next event of this kind for which ``where`` is true; the others stay in the queue, in order."""
        try:
            async with asyncio.timeout(timeout):
                return await self._inbox.take(kind, where)
        except TimeoutError:
            op = op_of(kind)
            raise TimeoutError(f"no {op} within {timeout:g} s; arrived instead: {self._inbox}") from None

    async def events(self) -> AsyncIterator[Event]:
        """Take every event in order. Ends when this side closes, raises ``Closed`` when the server did for good."""
        while True:
            try:
                event = await self._inbox.take(Event, lambda _: True)
            except Closed:
                if self._task.cancelled():
                    return
                raise
            yield event

    async def _ask(self, command: Command[R]) -> R:
        connection = await self._online()
        request = next(self._requests)
        reply_due = self._replies[request] = asyncio.get_running_loop().create_future()
        try:
            with suppress(ConnectionClosed):  # the reader sees it too, and fails the future
                await self._write(connection, msgspec.structs.replace(command, id=request))
            reply = await reply_due
        finally:
            self._replies.pop(request, None)
        if reply.error is not UNSET:
            raise CommandFailed(reply.error)
        if reply.ok is UNSET:
            raise CommandFailed(Failure(ErrorCode.INTERNAL, "unknown", "a reply with neither `ok` nor `error`"))
        return self._codec.decode_result(RESULTS[type(command)], reply.ok)

    async def _online(self) -> "_Connection":
        """Wait for a connection that has said hello. No await may stand between this and its use."""
        while not self._ready.done():
            await asyncio.wait([self._ready])
        return self._ready.result()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._chance)
        while True:
            began = loop.time()
            try:
                await self._live()
            except (ConnectionClosed, InvalidHandshake, OSError) as error:  # TimeoutError is an OSError
                self._trouble = error
                asked = _pause_asked(error)
            if loop.time() - began > STABLE_S:
                backoff.reset()
            await asyncio.sleep(backoff.next(max(asked, self._back_at - loop.time())))

    async def _live(self) -> None:
        """Live through one connection, from handshake to close."""
        token = self._token if isinstance(self._token, str) else await self._token()
        connection = await self._connect(token)
        try:
            async with asyncio.timeout(HELLO_S):
                hello = await self._greet(connection, token)
            connection.expect_within(2 * hello.heartbeat_ms / 1000)
            self.hello = hello
            self._ready.set_result(connection)
            await self._inbox.put(hello)
            await self._catch_up(connection)
            await self._read(connection)
        finally:
            if self._refreshing:
                self._refreshing.cancel()
            self._offline(connection.close_code)
            await connection.part()

    async def _connect(self, token: str) -> "_Connection":
        connection = await connect(
            self.url,
            subprotocols=[Subprotocol(self._codec.subprotocol)],
            additional_headers=None if self._first_frame else {"Authorization": f"Bearer {token}"},
            compression=None,
            proxy=None,
            open_timeout=HELLO_S,
            ping_interval=None,  # the server's heartbeat is enough
            close_timeout=3,
            max_size=MAX_FRAME_BYTES,
            create_connection=_Connection,
        )
        assert isinstance(connection, _Connection)
        if connection.subprotocol != self._codec.subprotocol:
            await connection.close()
            raise Closed(CloseCode.PROTOCOL_ERROR, f"the server does not speak {self._codec.subprotocol}")
        return connection

    async def _greet(self, connection: "_Connection", token: str) -> Hello:
        if self._first_frame:
            await self._write(connection, SessionStart(token=token))
        while True:
            frame = self._decode(await connection.recv(decode=False))
            if isinstance(frame, Hello):
                return frame
            if isinstance(frame, Reply) and frame.error is not UNSET:
                if frame.error.outcome == "rejected":
                    raise Closed(CloseCode.UNAUTHENTICATED, frame.error.message)
                raise ConnectionLost(frame.error.message)

    async def _read(self, connection: "_Connection") -> None:
        while True:
            frame = self._decode(await connection.recv(decode=False))
            match frame:
                case Reply() if question := self._questions.pop(frame.id, None):
                    await self._take(connection, question, frame)
                case Reply():
                    reply_due = self._replies.get(frame.id)
                    if reply_due is not None and not reply_due.done():
                        reply_due.set_result(frame)
                case Behind():
                    await self._catch_up(connection)
                case Event():
                    if isinstance(frame, Bye):
                        self._back_at = asyncio.get_running_loop().time() + frame.after_ms / 1000
                    if isinstance(frame, Expiring):
                        self._refreshing = asyncio.create_task(self._refresh())
                    for event in self._follower.hear(frame):
                        await self._inbox.put(event)

    async def _refresh(self) -> None:
        """Go on with a fresh token, where there is a source of them. Where not, the connection ends, and is renewed."""
        if isinstance(self._token, str):
            return
        try:
            await self.call(SessionRefresh(token=await self._token()))
        except Exception as error:  # noqa: BLE001  # whatever the source raises, the next connection will show
            log.warning("the token was not refreshed: %s", type(error).__name__)

    async def _catch_up(self, connection: "_Connection") -> None:
        """Ask for everything that may have been missed."""
        self._follower.interrupted(self.user)
        self._questions.clear()
        await self._question(connection)

    async def _question(self, connection: "_Connection") -> None:
        for question in self._follower.questions():
            request = next(self._requests)
            self._questions[request] = question
            await self._write(connection, msgspec.structs.replace(question, id=request))

    async def _take(self, connection: "_Connection", question: SessionResume, reply: Reply) -> None:
        """Hand out what an answer holds, before what comes after it, and ask on."""
        if reply.error is not UNSET:
            log.info("asking again for what was missed: %s", reply.error.message)
            await asyncio.sleep(self._patience.next((reply.error.retry_after_ms or 0) / 1000))
        elif reply.ok is not UNSET:
            self._patience.reset()
            for event in self._follower.take(question, self._codec.decode_result(Resumed, reply.ok)):
                await self._inbox.put(event)
        if self._follower.is_current:
            self._caught_up.set()
        elif not self._questions:
            await self._question(connection)

    def _decode(self, frame: bytes) -> Reply | Event | None:
        try:
            return self._codec.decode_server_frame(frame)
        except BROKEN as error:
            log.warning("skipped a frame that is not %s: %s", self._codec.subprotocol, error)
            return None

    async def _write(self, connection: "_Connection", command: Command[Any]) -> None:
        await connection.send(self._codec.encode(command), text=self._codec.is_text)

    def _offline(self, code: int | None = None) -> None:
        """Fail what has no answer: it is not known whether it was done, unless the server says that it was not."""
        if self._ready.done():
            self._ready = asyncio.get_running_loop().create_future()
        for reply_due in self._replies.values():
            if reply_due.done():
                continue
            if code == CloseCode.DRAIN:
                reply_due.set_exception(CommandFailed(_NOT_DONE))
            else:
                reply_due.set_exception(ConnectionLost("the connection was lost before the answer came"))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Tell all who wait that no connection will come any more."""
        closed = Closed(CloseCode.NORMAL, "by this client")
        error = closed if task.cancelled() else task.exception() or closed
        self._offline()
        self._caught_up.set()
        self._ready.set_exception(error)
        self._ready.exception()  # not a surprise when nobody waits
        self._inbox.end(error)


class _Connection(ClientConnection):
    """Notices silence. The server's pings count as well, which websockets answers unseen."""

    _heard = 0.0
    _silence = 0.0
    _check_due: asyncio.TimerHandle | None = None

    def expect_within(self, seconds: float) -> None:
        """From now on, drop the connection when nothing at all comes for so long."""
        self._silence = seconds
        self._heard = self.loop.time()
        self._check()

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._check_due is not None:
            self._check_due.cancel()
        super().connection_lost(exc)

    async def part(self) -> None:
        """Close, and drop what still comes: unread frames would hold back the server's goodbye."""
        closing = asyncio.create_task(self.close())
        with suppress(ConnectionClosed):
            while True:
                await self.recv(decode=False)
        await closing

    def _check(self) -> None:
        if not self.transport.is_reading():  # the queue is full: it is we who do not listen
            self._heard = self.loop.time()
        left = self._heard + self._silence - self.loop.time()
        if left <= 0:
            self.transport.abort()
        else:
            self._check_due = self.loop.call_later(left, self._check)


def _pause_asked(error: Exception) -> float:
    """Return for how many seconds the server wants to be left alone; raise ``Closed`` if there is no coming back."""
    match error:
        case ConnectionClosed():
            close = error.rcvd or error.sent
            code, reason = (close.code, close.reason) if close else (LOST, "")
            if not may_come_back(code):
                raise Closed(code, reason) from None
            asked = re.search(r"retry_after_ms\D{1,4}(\d+)", reason)
            return int(asked[1]) / 1000 if asked else 0.0
        case InvalidStatus(response=response):
            status, after = response.status_code, response.headers.get("Retry-After", "")
            if status == 429 or status >= 500:  # noqa: PLR2004  # HTTP's own
                return float(after) if after.isdecimal() else 0.0
            codes = {401: CloseCode.UNAUTHENTICATED, 403: CloseCode.FORBIDDEN}
            said = (response.body or b"")[:200].decode("utf-8", "replace").strip()
            raise Closed(codes.get(status, CloseCode.PROTOCOL_ERROR), f"HTTP {status} {said}".strip()) from None
        case InvalidHandshake() if not (isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError)):
            raise Closed(CloseCode.PROTOCOL_ERROR, str(error)) from None
    return 0.0
