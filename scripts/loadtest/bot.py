"""A bot: one user on one connection, as an honest client is one.

It comes back when its connection is lost, asks for what it missed, sends again what was not answered under the same id,
and waits when it is told to. What it sends is counted from when it was *meant* to be sent.

    class Shopper(Bot):
        wait = between(1, 5)

        @task(3)
        async def chat(self):
            await self.say()

        @task
        async def look_back(self):
            await self.history(limit=20)
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw

from echo_ws.backoff import Backoff
from echo_ws.position import Follower, Reset
from echo_ws_protocol.codec import JSON
from echo_ws_protocol.commands import Command, MessageHistory, MessageSend, SessionResume, result_of
from echo_ws_protocol.errors import may_come_back
from echo_ws_protocol.events import Behind, Bye, Event, Hello, Message
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Failure, HistoryPage, MessageSent, Reply, Resumed

from .lean import HandshakeRefused, Lean
from .ledger import Reader, Room, Source, meant_us, text

if TYPE_CHECKING:
    from .run import Run
    from .scenario import Crowd

R = TypeVar("R")
Then = Callable[[Raw | Failure], None]
Task = Callable[[Any], Awaitable[None]]

HELLO_S = 10.0
ASK_AGAIN_S = 0.5
PAGE = 100
_DONE = msgspec.json.Decoder(MessageSent)


class Refused(Exception):
    """The server answered, and the answer is no."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.code}: {failure.message}")
        self.failure = failure


class Person(msgspec.Struct, frozen=True):
    """A user to be; what else a file says of one is ignored."""

    user: UUID
    token: str


class Wait(NamedTuple):
    """Seconds between two tasks, from when one was meant to begin to when the next one is."""

    least: float
    most: float

    def next(self) -> float:
        return random.uniform(self.least, self.most)


def between(least: float, most: float) -> Wait:
    return Wait(least, most)


def task(weight: Any = 1) -> Any:
    """Make a method something that a bot does now and then: ``@task``, or ``@task(3)`` for three times as often."""
    if callable(weight):
        return task(1)(weight)

    def mark(method: Task) -> Task:
        method.weight = weight  # type: ignore[attr-defined]  # read by Bot.tasks
        return method

    return mark


class _Asked(NamedTuple):
    """A command without an answer."""

    command: Command[Any]
    meant: float
    then: Then | None


class Bot:
    """See above. Of a subclass that has tasks, bots are made."""

    wait: ClassVar[Wait] = between(1, 5)
    talk: ClassVar[Literal["direct", "group", "channel", "none"]] = "direct"
    """In what conversations its bots are put together …"""
    size: ClassVar[int] = 2
    """… and how many in each."""
    weight: ClassVar[float] = 1
    """Its share of the users, where a file has several classes."""

    def __init__(self, run: "Run", crowd: "Crowd", person: Person, name: str) -> None:
        self.person = person
        self.name = name
        self.crowd = crowd
        self.rooms: dict[UUID, tuple[Room, Reader]] = {}
        self.meant = 0.0
        """When the task that is at work was meant to begin. 0: what is asked now is meant now."""
        self.is_online = False
        self.is_away = False
        """Gone of its own will."""
        self.last: dict[str, tuple[UUID, UUID]] = {}
        """Conversation and id of the last message that is not deleted: ``own``, ``any``."""
        self._run = run
        self._follower = Follower()
        self._lean: Lean | None = None
        self._requests = 0
        self._open: dict[int, _Asked] = {}
        self._questions: dict[int, SessionResume] = {}
        self._back_meant_at = 0.0
        self._was_here = False
        self._interrupted_at = 0.0
        self._back_at = 0.0
        self._coming: asyncio.Task[None] | None = None
        self._reading_again: asyncio.TimerHandle | None = None

    @classmethod
    def tasks(cls) -> tuple[list[Task], list[float]]:
        """Return its tasks and their weights."""
        found = [method for name in dir(cls) if hasattr(method := getattr(cls, name), "weight") and callable(method)]
        return found, [method.weight for method in found]

    # -- what a task may use

    async def on_start(self) -> None:
        """Do something before the first task."""

    async def say(self, content: str | None = None, *, room: UUID | None = None) -> MessageSent:
        """Send a message to one of the bot's conversations; a text of your own is not checked on its way.

        Raises:
            Refused: the server will not have it.
        """
        return await self.call(self.message(room, content))

    async def history(self, *, limit: int = 50, room: UUID | None = None) -> HistoryPage:
        """Read the last messages of one of the bot's conversations."""
        return await self.call(MessageHistory(conversation=room or self.pick(), limit=limit))

    async def call(self, command: Command[R]) -> R:
        """Return what the server answers, however long that takes.

        The first thing that a task asks counts from when the task was meant to begin, whatever follows from now.

        Raises:
            Refused: the server will not do it.
        """
        answered: asyncio.Future[Raw | Failure] = asyncio.get_running_loop().create_future()
        meant, self.meant = self.meant or self._run.now(), 0.0
        self.ask(command, meant, lambda answer: None if answered.done() else answered.set_result(answer))
        answer = await answered
        if isinstance(answer, Failure):
            raise Refused(answer)
        return JSON.decode_result(result_of(type(command)), answer)

    def pick(self) -> UUID:
        """Return one of the bot's conversations."""
        return random.choice(tuple(self.rooms))

    # -- what the run uses

    def message(self, room: UUID | None = None, content: str | None = None) -> MessageSend:
        """Return a message to be sent, with the time when it is meant to be in it."""
        meant = int((self.meant or self._run.now()) * 1e6)
        size = random.randint(*self.crowd.bytes)
        message = uuid7()
        if content is not None:
            self._run.own_texts.add(message)
        return MessageSend(conversation=room or self.pick(), message=message, content=content or text(meant, size))

    def ask(self, command: Command[Any], meant: float, then: Then | None = None) -> None:
        """Send a command, now or when there is a connection, and again until it has an answer."""
        self._requests += 1
        command = msgspec.structs.replace(command, id=self._requests)
        self._open[command.id] = _Asked(command, meant, then)
        self._run.asked(self, command, meant)
        self._say_again(command.id)

    @property
    def unanswered(self) -> int:
        """How many commands, of those that ask what was missed too."""
        return len(self._open) + len(self._questions)

    @property
    def is_current(self) -> bool:
        """Whether it is connected and knows all that it missed."""
        return self.is_online and self._follower.is_current and not self._questions

    def place(self, conversation: UUID) -> int | None:
        """Return the rev up to which it was told everything; None: it has not heard of the conversation."""
        return self._follower.position.conversations.get(conversation)

    def come(self, pause_s: float = 0.0) -> None:
        """Connect, after a pause, as often as it takes; one who is away comes earlier if told so again."""
        if self._coming and self.is_away:
            self._coming.cancel()
            self._coming = None
        if self._coming is None and self._lean is None:
            self._coming = asyncio.create_task(self._come(pause_s))

    def go(self, *, politely: bool = False) -> None:
        """Close the connection, or lose it, and stay away until ``come``."""
        self.is_away, self.is_online = True, False
        lean, self._lean = self._lean, None
        if lean and politely:
            lean.write(0x88, b"\x03\xe9")
            lean.transport.close()
        elif lean:
            lean.transport.abort()

    def stop(self) -> None:
        self.go()
        if self._coming:
            self._coming.cancel()
        if self._reading_again:
            self._reading_again.cancel()

    def raw(self, first: int, payload: bytes) -> None:
        """Write any frame: a first byte, and a payload."""
        if self._lean and self.is_online:
            self._lean.write(first, payload)

    def read_nothing(self, seconds: float) -> None:
        """Leave with the server whatever it sends meanwhile, unless that is so already."""
        if self._lean and not self._reading_again:
            self._lean.transport.pause_reading()
            self._reading_again = asyncio.get_running_loop().call_later(seconds, self.read_again)

    def read_again(self) -> None:
        if self._reading_again:
            self._reading_again.cancel()
            self._reading_again = None
        if self._lean and not self._lean.transport.is_closing():
            self._lean.transport.resume_reading()

    # -- connections

    async def _come(self, pause_s: float) -> None:
        backoff = Backoff()
        while self._lean is None:
            await asyncio.sleep(pause_s)
            self.is_away = False
            self._back_meant_at = self._back_meant_at or self._run.now()
            pause_s = backoff.next(await self._try())
        self._coming = None

    async def _try(self) -> float:
        """Try to connect; return the pause that the server asks for."""
        try:
            async with asyncio.timeout(HELLO_S):
                lean = await self._run.address.connect(self.person.token, self._hear_frame, self._hear_end)
        except HandshakeRefused as refused:
            self._run.refused_handshake(refused)
            return refused.retry_after_s or 0.0
        except OSError:
            self._run.count("connections_failed")
            return 0.0
        if lean.transport.is_closing():
            self._run.closed(self, lean.close_code, lean.close_reason)
            return _pause_asked_s(lean.close_reason)
        self._lean = lean
        return 0.0

    def _hear_end(self, lean: Lean) -> None:
        """Come back from a connection that ended, unless this bot left it."""
        if lean is not self._lean:
            return
        self._lean, self.is_online = None, False
        self._run.closed(self, lean.close_code, lean.close_reason)
        self._back_meant_at = self._run.now()
        if may_come_back(lean.close_code) or self.crowd.behaviour != "good":
            self.come(max(_pause_asked_s(lean.close_reason), self._back_at - self._run.now(), 0))

    def _greeted(self, hello: Hello) -> None:
        now = self._run.now()
        self._run.greeted(hello, now - self._back_meant_at, is_first=not self._was_here)
        self._was_here, self._back_meant_at = True, 0.0
        self.is_online = True
        self._questions.clear()
        self._interrupted()
        for request in tuple(self._open):
            self._run.asked_again()
            self._say_again(request)

    # -- frames

    def _hear_frame(self, lean: Lean, payload: bytes) -> None:
        if lean is not self._lean:
            if self._coming is None:
                return  # it was left, and says something more
            self._lean = lean
        frame = JSON.decode_server_frame(payload)
        match frame:
            case Reply():
                self._replied(frame)
            case Hello():
                self._greeted(frame)
            case Bye():
                self._back_at = self._run.now() + frame.after_ms / 1000
            case Behind():
                self._run.count("behind")
                self._interrupted()
            case Event():
                self._take(self._follower.hear(frame), "live")

    def _take(self, news: Sequence[Event], source: Source) -> None:
        for event in news:
            if isinstance(event, Message):
                self._hear_message(event, source)
            elif isinstance(event, Reset) and (place := self.rooms.get(event.conversation)):
                room, reader = place
                if reader.seq < room.seq:
                    self._run.count("resets")
                    self._read_on(event.conversation, after=min(reader.missing, default=reader.seq + 1) - 1)

    def _hear_message(self, event: Message, source: Source) -> None:
        place = self.rooms.get(event.conversation)
        if place is None:
            return
        room, reader = place
        meant = meant_us(event.content)
        is_whole = meant is not None or event.edited or event.deleted or event.message in self._run.own_texts
        if event.deleted:
            self.last = {which: last for which, last in self.last.items() if last[1] != event.message}
        else:
            self.last["any"] = (event.conversation, event.message)
        if self._run.ledger.heard(room, self.name, reader, event, source, is_whole=is_whole):
            self._run.delivered(self, meant / 1e6 if meant and source == "live" else None)

    # -- replies

    def _replied(self, reply: Reply) -> None:
        if question := self._questions.pop(reply.id, None):
            self._answered(question, reply)
            return
        asked = self._open.pop(reply.id, None)
        if asked is None and self.crowd.behaviour == "garbage":
            self._run.refused(self, reply.error)
        elif asked is None:
            self._run.ledger.note("doubled", f"{self.name} got a second reply to command {reply.id}")
        elif reply.error is UNSET:
            self._acknowledge(asked, reply.ok if reply.ok is not UNSET else Raw(b"{}"))
        else:
            self._refuse(asked, reply.error)

    def _acknowledge(self, asked: _Asked, ok: Raw) -> None:
        command = asked.command
        self._run.acked(self, command, asked.meant)
        if isinstance(command, MessageSend):
            self.last["own"] = (command.conversation, command.message)
            if place := self.rooms.get(command.conversation):
                self._run.ledger.acked(place[0], _DONE.decode(ok).seq, command.message)
        if asked.then:
            asked.then(ok)

    def _refuse(self, asked: _Asked, failure: Failure) -> None:
        self._run.refused(self, failure)
        if failure.outcome != "rejected" and self.crowd.behaviour == "good":
            self._open[asked.command.id] = asked
            pause_s = (failure.retry_after_ms or 0) / 1000 or ASK_AGAIN_S
            asyncio.get_running_loop().call_later(pause_s, self._say_again, asked.command.id)
        elif asked.then:
            asked.then(failure)

    def _say_again(self, request: int) -> None:
        if self.is_online and self._lean and (asked := self._open.get(request)):
            self._lean.send(JSON.encode(asked.command))

    # -- what was missed

    def _interrupted(self) -> None:
        self._interrupted_at = self._run.now()
        self._follower.interrupted(self.person.user)
        self._ask_what_was_missed()

    def _ask_what_was_missed(self) -> None:
        if not self.is_online or self._lean is None or self._questions:
            return
        for question in self._follower.questions():
            self._requests += 1
            self._questions[self._requests] = question
            self._lean.send(JSON.encode(msgspec.structs.replace(question, id=self._requests)))

    def _answered(self, question: SessionResume, reply: Reply) -> None:
        if reply.error is not UNSET:
            pause_s = (reply.error.retry_after_ms or 0) / 1000 or ASK_AGAIN_S
            asyncio.get_running_loop().call_later(pause_s, self._ask_what_was_missed)
            return
        assert reply.ok is not UNSET
        self._take(self._follower.take(question, JSON.decode_result(Resumed, reply.ok)), "resume")
        if self._questions:
            return
        if not self._follower.is_current:
            self._ask_what_was_missed()
        else:
            self._run.resumed(self._run.now() - self._interrupted_at)

    def _read_on(self, conversation: UUID, after: int) -> None:
        """Read the history of a conversation that begins anew, from what was heard on."""

        def take(answer: Raw | Failure) -> None:
            if isinstance(answer, Failure):
                return
            page = JSON.decode_result(HistoryPage, answer)
            self._take(page.messages, "history")
            if page.more:
                self._read_on(conversation, page.messages[-1].seq)

        self.ask(MessageHistory(conversation=conversation, after=after, limit=PAGE), self._run.now(), take)


def _pause_asked_s(reason: str) -> float:
    """Return the pause that a close asks for."""
    try:
        return float(json.loads(reason)["retry_after_ms"]) / 1000
    except (ValueError, KeyError, TypeError):
        return 0.0
