"""A short story: people who talk, edit, react and delete on several devices and nodes while things break, and the end.

Everything random comes from one seed. What happens when is decided by what the story waits for, so that two runs of a
seed differ as little as two runs of a distributed system can.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from echo_ws import tokens
from echo_ws.broker.redis import publish_once
from echo_ws.sessions import REVOKED, revoked_payload
from echo_ws_db import conversations, pool, sessions, users
from echo_ws_db.rows import Database
from echo_ws_protocol.commands import MessageDelete, MessageEdit, MessageHistory, MessageSend, ReactionSet
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql

from .checker import Anomaly, Kind, check
from .cluster import Node, Servers
from .device import Device, state_of
from .history import Asked, History, Moved, Outcome, Revoked, Row, Stay, Trouble
from .proxy import Proxy

PEOPLE = ("ann", "ben", "cat", "dan")
DEVICES = ("ann-1", "ben-2", "cat-1", "dan-2", "ann-2", "ben-1")
"""Each with the number of its node."""

EMOJI = ("👍", "❤", "😂")
GRACE_S = 1.0
"""For so long after it is over, a trouble still excuses what comes late."""

UNTIL_SAID = 1e18
PATIENCE_S = 20.0
LOOK_EVERY_S = 0.02

ROWS = """
SELECT conversation_id, id, seq, rev, from_user_id, content, edited, deleted, reply_to_id, reactions
FROM messages.snapshots WHERE conversation_id = ANY ($1::uuid[])
"""
STAYS = """
SELECT conversation_id, user_id, joined_seq, joined_rev, left_seq, left_rev
FROM messages.members WHERE conversation_id = ANY ($1::uuid[])
"""
MEMBER_REV = "SELECT max(rev) FROM messages.members WHERE conversation_id = $1 AND user_id = $2"

POST = """
INSERT INTO messages.messages (id, conversation_id, from_user_id, content, created_at)
VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP + make_interval(hours => $5)) RETURNING seq
"""

T = TypeVar("T")

_phones = itertools.count(4930000000000)


class Sent(NamedTuple):
    """A message that was acknowledged."""

    message: UUID
    conversation: UUID
    author: UUID


class Story:
    """Two nodes, four people with six devices, a group of all and a direct conversation of two."""

    def __init__(self, servers: Servers, nodes: list[Node], seed: int, *, answer_s: float, patience_s: float) -> None:
        self.servers = servers
        self.nodes = nodes
        self.history = History()
        self.random = Random(seed)
        self.devices: dict[str, Device] = {}
        self.people: dict[str, UUID] = {}
        self.group: UUID
        self.direct: UUID
        self.acknowledged = 0
        self._answer_s = answer_s
        self._patience_s = patience_s
        self._sessions: dict[str, UUID] = {}
        self._sent: list[Sent] = []
        self._numbers = itertools.count(1)
        self._answered = asyncio.Event()
        self._stop = asyncio.Event()
        self._speakers: list[asyncio.Task[None]] = []
        self._started = asyncio.get_running_loop().time()

    def now(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    # -- the beginning

    async def begin(self, stack: AsyncExitStack) -> None:
        """Let everybody come."""
        self._stack = stack
        store = await pool.connect(self.servers.postgres.url, size=2)
        for name in PEOPLE:
            user = await users.add(store, f"+{next(_phones)}", name)
            assert user
            self.people[name] = user
        ann, *others = self.people.values()
        self.group = (await conversations.create(store, uuid7(), "group", None, ann, others)).conversation
        self.direct = (await conversations.create(store, uuid7(), "direct", None, ann, others[:1])).conversation
        for name in DEVICES:
            await self._bring(store, name, self.nodes[(int(name[-1]) - 1) % len(self.nodes)].front)
        await store.close()
        await self.everybody_is_back()

    async def _bring(self, db: Database, name: str, door: Proxy) -> Device:
        """Let a device begin to connect."""
        token, user = tokens.new_session_token(), self.people[name[:3]]
        self._sessions[name] = await sessions.issue(db, user, tokens.digest(token), name, "cli", None, 1)
        url = f"ws://127.0.0.1:{door.port}/ws"
        device = Device(name, url, token, user, self.history, self.now, answer_s=self._answer_s)
        self.devices[name] = device
        await device.start()
        self._stack.push_async_callback(device.close)
        return device

    async def device_behind_a_network(self, person: str, node: Node) -> tuple[Device, Proxy]:
        """Let one more device of somebody begin to connect, over a network of its own."""
        network = await self._stack.enter_async_context(Proxy(node.front.port))
        name = f"{person}-{len(self.devices)}"
        return await self.patiently(lambda db: self._bring(db, name, network)), network

    def talk(self) -> None:
        """Let everybody begin to talk."""
        speakers = [(device, Random(self.random.random())) for device in self.devices.values()]
        self._speakers = [asyncio.create_task(self._speak(*speaker)) for speaker in speakers]

    # -- what happens

    async def talked(self, count: int) -> None:
        """Wait until so many more commands have been acknowledged."""
        goal = self.acknowledged + count
        async with asyncio.timeout(self._patience_s):
            while self.acknowledged < goal:
                self._answered.clear()
                await self._answered.wait()

    async def until(self, look: Callable[[], object]) -> None:
        async with asyncio.timeout(self._patience_s):
            while not look():  # noqa: ASYNC110  # children and clients do not call back
                await asyncio.sleep(LOOK_EVERY_S)

    async def everybody_is_back(self) -> None:
        await self.until(lambda: all(device.is_revoked or device.is_connected for device in self.devices.values()))

    @contextmanager
    def trouble(self, name: str, *, may_close: bool = False) -> Iterator[Trouble]:
        """Note that something is broken on purpose."""
        trouble = Trouble(name=name, began=self.now(), ended=UNTIL_SAID, may_close=may_close)
        self.history.troubles.append(trouble)
        yield trouble
        trouble.ended = self.now() + GRACE_S

    async def remove(self, name: str) -> None:
        await self._move(name, is_in=False)

    async def let_in(self, name: str) -> None:
        await self._move(name, is_in=True)

    async def _move(self, name: str, *, is_in: bool) -> None:
        user, began = self.people[name], self.now()
        change = other_service.add if is_in else other_service.remove

        async def move(db: Sql) -> int:
            await change(db, self.group, user)
            rev: int = await db.fetchval(MEMBER_REV, self.group, user)
            return rev

        rev = await self.patiently(move)
        moved = Moved(user=user, conversation=self.group, is_in=is_in, rev=rev, began=began, ended=self.now())
        self.history.moved.append(moved)

    async def revoke(self, name: str, *, within_s: float) -> None:
        """End the session of a device, and say so through Redis."""
        self.devices[name].is_revoked = True
        session = self._sessions[name]
        async with self.database() as db:
            await db.execute("DELETE FROM auth.sessions WHERE id = $1", session)
        at = self.now()
        self.history.revoked.append(Revoked(device=name, at=at, by=at + within_s))
        await publish_once(self.servers.redis.url, REVOKED, revoked_payload([session]))

    async def say(self, name: str, conversation: UUID) -> Outcome:
        """Let a device send one message, once."""
        device = self.devices[name]
        message = uuid7()
        command = MessageSend(conversation=conversation, message=message, content=self._text(device))
        return await self._ask(device, command)

    async def can_read(self, name: str, conversation: UUID) -> bool:
        page = await self.devices[name].client.call(MessageHistory(conversation=conversation))
        return bool(page.messages)

    async def post_elsewhere(self, name: str, conversation: UUID, *, hours: int) -> None:
        """Let another service store a message whose clock is so many hours from the true time."""
        message, content, began = uuid7(), f"from elsewhere {next(self._numbers)}", self.now()
        async with self.database() as db:
            seq = await db.fetchval(POST, message, conversation, self.people[name], content, hours)
        asked = Asked(
            device="another service",
            op="send",
            conversation=conversation,
            message=message,
            began=began,
            ended=self.now(),
            outcome="ok",
            content=content,
            seq=seq,
        )
        self.history.asked.append(asked)

    def enter(self, context: AbstractContextManager[T]) -> T:
        """Keep something until the end of the story."""
        return self._stack.enter_context(context)

    async def patiently(self, work: Callable[[Sql], Awaitable[T]]) -> T:
        """Do in the database what may be done twice, until it succeeds: it may be what is broken."""
        async with asyncio.timeout(self._patience_s):
            while True:
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    async with self.database() as db:
                        return await work(db)
                await asyncio.sleep(LOOK_EVERY_S)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Sql]:
        db: Sql = await asyncpg.connect(self.servers.postgres.url, server_settings={"timezone": "UTC"})
        try:
            yield db
        finally:
            await db.close()

    # -- the end

    async def hush(self) -> None:
        """Let everybody finish what was begun, and say no more."""
        self._stop.set()
        await asyncio.gather(*self._speakers)

    async def end(self, *, within_s: float = 5.0) -> list[Anomaly]:
        """Wait until every device shows what is stored, or the time is up, and return what is wrong."""
        await self.hush()
        deadline = self.now() + within_s
        while await self._is_unsettled() and self.now() < deadline:  # noqa: ASYNC110  # a row does not call back
            await asyncio.sleep(LOOK_EVERY_S)
        await self._conclude(self.history)
        return check(self.history)

    async def _is_unsettled(self) -> bool:
        if any(device.is_reading for device in self._present()):
            return True
        snapshot = History()
        await self._conclude(snapshot)
        return any(anomaly.kind is Kind.HOLE for anomaly in check(snapshot))

    async def _conclude(self, history: History) -> None:
        """Add the database, and what the devices show, to a history."""
        history.views = [device.view() for device in self._present()]
        async with self.database() as db:
            rows = await db.fetch(ROWS, [self.group, self.direct])
            stays = await db.fetch(STAYS, [self.group, self.direct])
        history.rows = [_row(*row) for row in rows]
        history.stays = [Stay(**dict(zip(Stay.__struct_fields__, stay, strict=True))) for stay in stays]

    def _present(self) -> list[Device]:
        return [device for device in self.devices.values() if not device.is_revoked]

    # -- what people do

    async def _speak(self, device: Device, random: Random) -> None:
        acts = (self._send, self._send, self._send, self._repeat, self._edit, self._react, self._delete)
        while not self._stop.is_set() and not device.is_revoked:
            await random.choice(acts)(device, random)
            await asyncio.sleep(random.uniform(0, 0.03))  # people breathe

    async def _send(self, device: Device, random: Random) -> None:
        room = self._room(device, random)
        command = MessageSend(conversation=room, message=uuid7(), content=self._text(device))
        outcomes = await asyncio.gather(*(self._ask(device, command) for _ in range(random.choice((1, 1, 1, 2)))))
        for _ in range(5):
            if "ok" in outcomes:
                self._sent.append(Sent(command.message, room, device.user))
            if {"ok", "rejected", "silence"} & set(
                outcomes
            ) or random.random() < 0.5:  # some give up, whatever was said
                return
            await asyncio.sleep(random.uniform(0, 0.1))
            outcomes = [await self._ask(device, command)]

    async def _repeat(self, device: Device, random: Random) -> None:
        """Send again what was acknowledged long ago: a client that forgot it had been."""
        if own := self._own(device):
            sent = random.choice(own)
            asked = next(a for a in self.history.asked if a.message == sent.message and a.op == "send")
            repeated = MessageSend(conversation=sent.conversation, message=sent.message, content=asked.content)
            await self._ask(device, repeated)

    async def _edit(self, device: Device, random: Random) -> None:
        if own := self._own(device):
            sent = random.choice(own)
            await self._ask(
                device,
                MessageEdit(conversation=sent.conversation, message=sent.message, content=self._text(device)),
            )

    async def _react(self, device: Device, random: Random) -> None:
        room = self._room(device, random)
        if there := [sent for sent in self._sent if sent.conversation == room]:
            sent = random.choice(there)
            await self._ask(
                device,
                ReactionSet(
                    conversation=room, message=sent.message, emoji=random.choice(EMOJI), on=random.random() < 0.8
                ),
            )

    async def _delete(self, device: Device, random: Random) -> None:
        if (own := self._own(device)) and random.random() < 0.2:
            sent = random.choice(own)
            await self._ask(device, MessageDelete(conversation=sent.conversation, message=sent.message))

    async def _ask(self, device: Device, command: Any) -> Outcome:
        outcome = await device.ask(command)
        if outcome == "ok":
            self.acknowledged += 1
            self._answered.set()
        return outcome

    def _own(self, device: Device) -> list[Sent]:
        return [sent for sent in self._sent if sent.author == device.user]

    def _room(self, device: Device, random: Random) -> UUID:
        return random.choice((self.group, self.direct)) if device.name[:3] in PEOPLE[:2] else self.group

    def _text(self, device: Device) -> str:
        """Return a text that nobody else will use."""
        return f"{device.name} {next(self._numbers)}"


@asynccontextmanager
async def story(
    servers: Servers,
    folder: Path,
    *,
    seed: int = 1,
    bug: str = "",
    answer_s: float = 20.0,
    patience_s: float = PATIENCE_S,
    **settings: Any,
) -> AsyncIterator[Story]:
    """Start two nodes and let everybody talk."""
    random = Random(seed)
    nodes = [Node(servers, folder / f"node-{n}", Random(random.random()), bug, **settings) for n in (1, 2)]
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(node.running()) for node in nodes))
        one = Story(servers, nodes, seed, answer_s=answer_s, patience_s=patience_s)
        await one.begin(stack)
        one.talk()
        yield one
        await one.hush()


def _row(
    conversation: UUID,
    message: UUID,
    seq: int,
    rev: int,
    sender: UUID,
    content: str,
    edited: bool,
    deleted: bool,
    reply_to: UUID | None,
    reactions: str | None,
) -> Row:
    state = state_of(sender, content, edited, deleted, reply_to, json.loads(reactions) if reactions else None)
    return Row(
        conversation=conversation,
        message=message,
        seq=seq,
        rev=rev,
        sender=sender,
        state=state,
        content=None if deleted else content,
    )
