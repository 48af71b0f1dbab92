"""One process of bots: everybody comes, the conversations are made, the crowds act for a while, and all is settled."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from echo_ws import memory
from echo_ws_protocol.commands import (
    Command,
    ConversationCreate,
    ConversationGet,
    MessageDelete,
    MessageEdit,
    MessageHistory,
    MessageRead,
    MessageSend,
    ReactionSet,
    TypingSet,
)
from echo_ws_protocol.errors import CloseCode, may_come_back
from echo_ws_protocol.events import Hello
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import ConversationCreated, ConversationDetails, Failure

from .bot import Bot, Person, Refused
from .histogram import Histogram
from .lean import Address, HandshakeRefused
from .ledger import Ledger, Reader
from .results import Second, Swarm
from .scenario import Act, Crowd, Drop, Scenario

READY_S = 60.0
"""Seconds that all conversations may take to be there, after the last bot was to come."""

SETTLE_S = 15.0
"""Seconds in which what is under way may come to its end."""

DRAINED = frozenset({CloseCode.GOING_AWAY, CloseCode.DRAIN})
"""Closes that are no fault: the server is being replaced."""

TICK_S = 0.001
PAUSE_S = 0.1
"""How long a crowd that does nothing for a while waits before it looks again."""

SLOW_S = (1.0, 20.0)
"""For how long a slow bot reads nothing: from, to."""

LAG_EVERY_S = 0.05
EMOJI = ("👍", "❤️", "😂", "🎉")
GARBAGE = (
    (0x81, b"{"),
    (0x81, b'{"op":"no.such"}'),
    (0x81, b'{"op":"message.send","id":1,"conversation":7}'),
    (0x81, b"\xff\xfe"),
    (0x82, b"\x00\x01\x02"),
    (0x89, b"x" * 125),
    (0xC1, b"reserved"),
    (0x83, b"no such opcode"),
)


class RunError(Exception):
    """The run could not be made; one line says why."""


class Plan(Struct):
    """What one process does."""

    against: str
    scenario: Scenario
    people: list[Person]
    first: int
    """The number of the first one among all."""
    part: float
    """Of the whole: of rates, and of the ramp."""
    python: str | None = None
    """The file with classes of bots."""


class Run:
    """See the module. ``Bot`` tells it what happens."""

    def __init__(self, plan: Plan, makers: Sequence[tuple[Crowd, type[Bot]]]) -> None:
        """``makers``: each crowd with the class of its bots."""
        self.plan = plan
        self.address = Address(plan.against)
        self.ledger = Ledger()
        self.swarm = Swarm(users=len(plan.people))
        self.server = ""
        self.own_texts: set[UUID] = set()
        """Messages whose text is not one of ours to check."""
        self.is_stopping = asyncio.Event()
        self.is_driving = False
        self._hopeless = ""
        """Why there is no use in waiting for everybody."""
        self._began = self.now()
        self._cpu_s = time.process_time()
        self._memory = memory.used_bytes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._second = Second()
        self._crowds = [(crowd, bots) for crowd, bots in self._people_of(makers) if bots]
        self._bots = [bot for _, bots in self._crowds for bot in bots]

    def now(self) -> float:
        """Return the time in seconds; the loop's own clock counts whole milliseconds."""
        return time.monotonic()

    # -- what happens to bots

    def count(self, name: str) -> None:
        self.swarm.counts[name] = self.swarm.counts.get(name, 0) + 1

    def record(self, name: str, seconds: float) -> None:
        self.swarm.latencies.setdefault(name, Histogram()).record(seconds)

    def greeted(self, hello: Hello, seconds: float, *, is_first: bool) -> None:
        self.server = hello.server
        self.count("connections" if is_first else "reconnects")
        self.record("connect" if is_first else "reconnect", seconds)

    def resumed(self, seconds: float) -> None:
        self.count("resumes")
        self.record("resume", seconds)

    def refused_handshake(self, refused: HandshakeRefused) -> None:
        self._add(self.swarm.closes, f"handshake {refused.status}")

    def closed(self, bot: Bot, code: int, reason: str) -> None:
        if bot.crowd.behaviour != "good":
            self.count("abuse_closed")
            return
        self._second.closed += 1
        self._add(self.swarm.closes, str(code))
        if not self.is_driving and not may_come_back(code):
            self._hopeless = self._hopeless or f"{bot.name} was turned away for good: {code} {reason}"
        if code not in DRAINED and code not in bot.crowd.may_close:
            self.ledger.note("closed", f"{bot.name} was closed with {code} {reason}")

    def asked(self, bot: Bot, command: Command[Any], meant: float) -> None:
        if bot.crowd.behaviour != "good":
            self.count("abuse")
            return
        self.count("commands")
        if isinstance(command, MessageSend):
            self.count("sent")
            self._second.sent += 1
            self._second_of(meant).meant += 1

    def asked_again(self) -> None:
        self.count("resent")

    def acked(self, bot: Bot, command: Command[Any], meant: float) -> None:
        seconds = max(self.now() - meant, 0.0)
        if bot.crowd.behaviour != "good":
            self.count("abuse_answered")
        elif isinstance(command, MessageSend):
            self.count("acked")
            self._second.acked += 1
            self._second.send_to_ack.record(seconds)
            self.record("send_to_ack", seconds)
        else:
            self.record("command", seconds)

    def refused(self, bot: Bot, failure: Failure | UnsetType) -> None:
        if bot.crowd.behaviour != "good":
            self.count("abuse_refused")
            return
        self._second.refused += 1
        self._add(self.swarm.refusals, "none" if failure is UNSET else str(failure.code))

    def delivered(self, bot: Bot, meant: float | None) -> None:
        """Note that a bot heard a message, live if it is known when it was meant."""
        if bot.crowd.behaviour != "good":
            return
        self.count("delivered")
        self._second.delivered += 1
        if meant is not None:
            seconds = max(self.now() - meant, 0.0)
            self._second.send_to_deliver.record(seconds)
            self.record("send_to_deliver", seconds)

    def _add(self, counts: dict[str, int], key: str) -> None:
        counts[key] = counts.get(key, 0) + 1

    # -- the run

    async def run(self, tell: Callable[[Swarm], None]) -> Swarm:
        """Return what came out; ``tell`` is given what is known so far, once a second.

        Raises:
            RunError: not everybody could come, or no conversation could be made, or it was stopped before.
        """
        self._spawn(self._tick(tell))
        self._spawn(self._watch_lag())
        try:
            await self._unless_stopped(self._gather())
            await self._drive()
            await self._settle()
        finally:
            for task in self._tasks:
                task.cancel()
            for bot in self._bots:
                bot.stop()
        self._close()
        return self._told()

    def _people_of(self, makers: Sequence[tuple[Crowd, type[Bot]]]) -> Iterator[tuple[Crowd, list[Bot]]]:
        """Share the people out among the crowds, in whole conversations."""
        people = iter(enumerate(self.plan.people, self.plan.first))
        whole = sum(crowd.share for crowd, _ in makers) or 1.0
        for number, (crowd, kind) in enumerate(makers, 1):
            is_last = number == len(makers)
            count = len(self.plan.people) if is_last else round(len(self.plan.people) * crowd.share / whole)
            yield crowd, [kind(self, crowd, person, f"bot {n}") for n, person in itertools.islice(people, count)]

    async def _gather(self) -> None:
        """Let everybody come at the ramp's pace; as soon as the members of a conversation are there, make it."""
        making: list[asyncio.Task[None]] = []
        per_s = self.plan.scenario.ramp_per_s * self.plan.part
        came = 0
        try:
            for crowd, bots in self._crowds:
                size = len(bots) if crowd.talk == "none" else crowd.size
                for members in (bots[start : start + size] for start in range(0, len(bots), size)):
                    for bot in members:
                        await asyncio.sleep(max(self._began + came / per_s - self.now(), 0))
                        bot.come()
                        came += 1
                    making.append(asyncio.create_task(self._make(crowd, members)))
            async with asyncio.timeout(READY_S):
                await asyncio.gather(*making)
        except TimeoutError:
            there = sum(bot.is_current for bot in self._bots)
            failed = {"no connection": self.swarm.counts.get("connections_failed", 0)}
            reasons = self.swarm.closes | self.swarm.refusals | failed
            why = ", ".join(f"{key}: {count}" for key, count in reasons.items() if count)
            raise RunError(
                f"only {there} of {len(self._bots)} bots came within {READY_S:g} s ({why or 'no answer'})"
            ) from None
        finally:
            for task in making:
                task.cancel()

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        working, stopping = asyncio.create_task(work), asyncio.create_task(self.is_stopping.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise RunError("stopped before everybody had come")
            await working
        finally:
            working.cancel()
            stopping.cancel()

    async def _make(self, crowd: Crowd, members: Sequence[Bot]) -> None:
        """Make a conversation of these, and wait until each of them knows it."""
        await _until(lambda: all(bot.is_current for bot in members) or bool(self._hopeless))
        if self._hopeless:
            raise RunError(self._hopeless)
        if crowd.talk == "none" or len(members) < 2:  # noqa: PLR2004
            return
        first, *others = members
        users = [bot.person.user for bot in others]
        created: ConversationCreated = await self._answer(
            first, ConversationCreate(conversation=uuid7(), type=crowd.talk, participants=users, name=_name(crowd))
        )
        seq = 0
        if not created.created:
            found: ConversationDetails = await self._answer(first, ConversationGet(conversation=created.conversation))
            seq = found.conversation.last_seq
        room = self.ledger.room(created.conversation)
        room.seq = seq
        await _until(lambda: all(bot.place(room.conversation) is not None for bot in members))
        for bot in members:
            reader = Reader(seq, bot.place(room.conversation) or 0)
            room.readers.append((bot.name, reader))
            bot.rooms[room.conversation] = (room, reader)

    async def _answer(self, bot: Bot, command: Command[Any]) -> Any:
        bot.meant = self.now()
        try:
            return await bot.call(command)
        except Refused as error:
            raise RunError(f"no conversation could be made: {error}") from None

    async def _drive(self) -> None:
        """Let the crowds act."""
        self.is_driving = True
        driven_at = self.now()
        for crowd, bots in self._crowds:
            if crowd.rate or crowd.every:
                self._spawn(self._act(crowd, bots, driven_at))
            if crowd.drop:
                self._spawn(self._drop(bots, crowd.drop))
            if crowd.storm:
                self._spawn(self._storm(bots, crowd.storm))
            for bot in bots:
                if type(bot) is not Bot:
                    self._spawn(self._live(bot))
        with suppress(TimeoutError):
            async with asyncio.timeout(self.plan.scenario.seconds):
                await self.is_stopping.wait()
        self.is_driving = False

    async def _settle(self) -> None:
        """Let everybody come back, and what is under way come to its end."""
        waits = [bot for bot in self._bots if bot.crowd.behaviour in {"good", "slow"}]
        for bot in self._bots:
            bot.come()
            bot.read_again()
        try:
            async with asyncio.timeout(SETTLE_S):
                await _until(
                    lambda: all(bot.is_current and not bot.unanswered for bot in waits) and not self.ledger.due
                )
        except TimeoutError:
            for bot in waits:
                self._note_what_is_left(bot)

    def _note_what_is_left(self, bot: Bot) -> None:
        if bot.crowd.behaviour != "good":
            return
        if not bot.is_online:
            self.ledger.note("closed", f"{bot.name} could not come back")
        for _ in range(bot.unanswered):
            self.ledger.note("unanswered", f"{bot.name} has a command without an answer")

    def _close(self) -> None:
        self.ledger.close()
        self.swarm.cpu_s = time.process_time() - self._cpu_s

    # -- crowds

    async def _act(self, crowd: Crowd, bots: Sequence[Bot], began: float) -> None:
        """Act at the crowd's rate, each act at its time or, if that is past, at once: what is late counts as late."""
        acts, weights = list(crowd.mix), list(crowd.mix.values())
        rate = crowd.rate * self.plan.part or len(bots) / crowd.every
        due = began
        while self.is_driving:
            now = self.now()
            while due <= now and self.is_driving:
                pace = self.plan.scenario.pace(due - began)
                if pace:
                    self._one(crowd, bots, random.choices(acts, weights)[0], due)
                due += 1 / (rate * pace) if pace else PAUSE_S
            await asyncio.sleep(max(due - self.now(), TICK_S))

    def _one(self, crowd: Crowd, bots: Sequence[Bot], act: Act, meant: float) -> None:
        bot = self._actor(crowd, bots)
        if bot is None:
            self.count("left_out")
            return
        if crowd.behaviour == "garbage":
            bot.raw(*random.choice(GARBAGE))
            return
        bot.meant = meant
        if command := _command(bot, act):
            bot.ask(command, meant)
        if crowd.behaviour == "slow":
            bot.read_nothing(random.uniform(*SLOW_S))

    def _actor(self, crowd: Crowd, bots: Sequence[Bot]) -> Bot | None:
        """Return one who acts: in a channel only who may."""
        for _ in range(10):
            place = random.randrange(len(bots))
            bot = bots[place - place % crowd.size] if crowd.talk == "channel" else bots[place]
            if not bot.is_away and (bot.rooms or crowd.talk == "none"):
                return bot
        return None

    async def _live(self, bot: Bot) -> None:
        """Do one task after the other, each at its time."""
        tasks, weights = bot.tasks()
        await self._do(bot.on_start)
        due = self.now()
        while self.is_driving:
            due += bot.wait.next()
            await asyncio.sleep(due - self.now())
            if not self.is_driving:
                break
            bot.meant = due
            await self._do(partial(random.choices(tasks, weights)[0], bot))

    async def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        """Let somebody else's code do its work; if it fails, that is its own affair."""
        try:
            await work()
        except Refused:
            pass
        except Exception as error:  # noqa: BLE001  # somebody else's code
            self.count("failed_tasks")
            if self.swarm.counts["failed_tasks"] == 1:
                self.ledger.examples.append(f"a task failed: {error!r}")

    async def _drop(self, bots: Sequence[Bot], drop: Drop) -> None:
        """Let each bot go now and then, half of them politely, and come back."""
        each_s = sum(drop.every) / 2 / len(bots)
        due = self.now()
        while self.is_driving:
            due += random.uniform(0, 2 * each_s)
            await asyncio.sleep(due - self.now())
            bot = random.choice(bots)
            if bot.is_online and self.is_driving:
                bot.go(politely=random.choice((True, False)))
                bot.come(random.uniform(*drop.away))

    async def _storm(self, bots: Sequence[Bot], every_s: float) -> None:
        while self.is_driving:
            await asyncio.sleep(every_s)
            if self.is_driving:
                for bot in bots:
                    bot.go()
                    bot.come()

    # -- once a second

    async def _tick(self, tell: Callable[[Swarm], None]) -> None:
        while True:
            due = self._began + len(self.swarm.timeline) + 1
            self.swarm.timeline.append(self._second)
            await asyncio.sleep(due - self.now())
            self._second.connected = sum(bot.is_online for bot in self._bots)
            self._second = Second()
            tell(self._told())

    def _second_of(self, moment: float) -> Second:
        """Return the second in which something was meant to be."""
        place = int(moment - self._began)
        return self.swarm.timeline[place] if place < len(self.swarm.timeline) else self._second

    async def _watch_lag(self) -> None:
        while True:
            began = self.now()
            await asyncio.sleep(LAG_EVERY_S)
            if self.is_driving:
                self.swarm.lag_s = max(self.swarm.lag_s, self.now() - began - LAG_EVERY_S)
            self.swarm.memory_bytes = max(self.swarm.memory_bytes, memory.used_bytes() - self._memory)

    def _told(self) -> Swarm:
        self.swarm.verdict = self.ledger.verdict
        self.swarm.examples = self.ledger.examples
        return self.swarm

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _command(bot: Bot, act: Act) -> Command[Any] | None:
    """Return what a bot says; None if it cannot do that yet."""
    room = bot.pick()
    _, reader = bot.rooms[room]
    own, any_ = bot.last.get("own"), bot.last.get("any")
    commands: dict[Act, Callable[[], Command[Any] | None]] = {
        "send": lambda: bot.message(room),
        "type": lambda: TypingSet(conversation=room),
        "read": lambda: MessageRead(conversation=room, seq=reader.seq),
        "history": lambda: MessageHistory(conversation=room),
        "react": lambda: any_ and ReactionSet(conversation=any_[0], message=any_[1], emoji=random.choice(EMOJI)),
        "edit": lambda: own and MessageEdit(conversation=own[0], message=own[1], content="edited"),
        "delete": lambda: own and MessageDelete(conversation=own[0], message=own[1]),
    }
    if act == "delete":
        bot.last.clear()
    return commands[act]()


def _name(crowd: Crowd) -> str | None:
    return None if crowd.talk == "direct" else f"{crowd.size} bots"


async def _until(look: Callable[[], bool]) -> None:
    while not look():  # noqa: ASYNC110  # bots do not call back
        await asyncio.sleep(0.05)
