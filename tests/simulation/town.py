"""Nodes, devices and other services, and what they do to each other.

Only the clock, the wires, Redis and PostgreSQL are made up: servers, connections and the client's bookkeeping are real.
"""

import asyncio
import random
from collections.abc import Iterator
from ipaddress import ip_network
from uuid import UUID

from msgspec import UNSET

from echo_ws import tokens
from echo_ws.admission import Admission
from echo_ws.connection import Commons, Connection, Outbox
from echo_ws.events import MemberBody, Told, as_member, events_in
from echo_ws.heartbeat import Heartbeat
from echo_ws.hub import Channel
from echo_ws.metrics import Metrics
from echo_ws.position import Follower, Reset
from echo_ws.server import Server
from echo_ws.settings import Settings
from echo_ws_db import changes
from echo_ws_protocol.codec import JSON
from echo_ws_protocol.commands import Command, MessageDelete, MessageEdit, MessageSend, SessionResume
from echo_ws_protocol.events import Behind, Conversation, Event, Hello, Member, Message
from echo_ws_protocol.replies import Reply, Resumed
from tests.support.sockets import CLOSE, TEXT, client_frame

from . import database as db
from .network import Broker, Ether, Link, Store, Weather

SETTINGS = Settings(send_buffer_bytes=12_288, sweep_ms=2000, commands_per_s=0, sends_per_s=0)
CONVERSATIONS, USERS, NODES = 3, 4, 3
FAIR_WEATHER_S = 60.0
EVERYTHING = 10**9
Thing = Message | Conversation | Member
View = dict[tuple[str, UUID], Thing]
"""One conversation as a device shows it: each thing under its kind and id."""


class Node:
    """A worker: everything of the real one but its port."""

    def __init__(self, town: "Town") -> None:
        self._town = town
        self.is_up = False

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        store = Store(self._town.database, self._town.weather)
        self.broker = Broker(self._town.ether)
        self.server = Server(SETTINGS, store, store, self.broker, Metrics(), "epoch")  # type: ignore[arg-type]  # all that it needs of a store
        admission = Admission(max_connections=99, max_unauthenticated=99, trusted=(ip_network("127.0.0.0/8"),))
        self.commons = Commons(self.server, admission, Heartbeat(loop, 0.25), Outbox(loop, SETTINGS.send_buffer_bytes))
        await self.server.feed.start()
        self.server.writer.start()
        self.is_up = True

    async def crash(self) -> None:
        """End without a word: what was committed and not published is found by the others."""
        self.is_up = False
        for device in self._town.devices:
            if device.node is self:
                device.cut()
        for task in self.server._tasks:
            task.cancel()
        await asyncio.gather(*self.server._tasks, return_exceptions=True)
        await self.server.writer.close()
        await self.server.feed.close()


class Device:
    """One user's client: it knows what it was told, and asks for what it missed."""

    def __init__(self, town: "Town", user: UUID) -> None:
        self.user = user
        self.node: Node | None = None
        self.views: dict[UUID, View] = {}
        self.follower = Follower()
        self._town = town
        self._link: Link | None = None
        self._questions: dict[int, SessionResume] = {}
        self._request = 0
        self._heard: set[tuple[UUID, str, UUID, int]] = set()

    @property
    def is_current(self) -> bool:
        return self._link is not None and self.follower.is_current

    def connect(self, node: Node) -> None:
        self.cut()
        link = self._link = Link(self._town.weather, self._arrived, self._lost)
        self.node = node
        node.commons.admission.enter("127.0.0.1")
        link.connection = Connection(
            node.commons, link, JSON, address="127.0.0.1", user_agent="", bearer=str(self.user)  # type: ignore[arg-type]  # all that it needs of a transport
        )  # fmt: skip
        link.connection.start()

    def cut(self) -> None:
        if self._link:
            self._link.cut()

    def doze(self) -> None:
        if self._link:
            self._link.is_slow = True

    def wake(self) -> None:
        if self._link:
            self._link.read_on()

    def say(self, command: Command[object]) -> int:
        self._request += 1
        frame = JSON.encode(command)[:-1] + b',"id":%d}' % self._request
        if self._link:
            self._link.send(client_frame(TEXT, frame))
        return self._request

    def _lost(self) -> None:
        self._link = self.node = None

    def _arrived(self, data: bytes) -> None:
        for opcode, payload in frames_in(data):
            if opcode == TEXT:
                self._take(JSON.decode_server_frame(payload))
            elif opcode == CLOSE:
                self.cut()

    def _take(self, frame: Reply | Event | None) -> None:
        match frame:
            case Hello() | Behind():
                self.follower.interrupted(self.user)
                self._ask()
            case Reply():
                self._answered(frame)
            case Event():
                if isinstance(frame, Message | Conversation | Member):
                    assert self._town.may_hear(self.user, frame), f"told to a stranger: {frame}"
                for event in self.follower.hear(frame):
                    self._hear(event)

    def _answered(self, reply: Reply) -> None:
        question = self._questions.pop(reply.id, None)
        if question is None:
            return
        was_new = self.follower.is_new
        if reply.ok is not UNSET:
            for event in self.follower.take(question, JSON.decode_result(Resumed, reply.ok)):
                self._hear(event)
        if was_new and not self.follower.is_new:
            for conversation in self.follower.position.conversations:
                self._read_anew(conversation)
        if not self._questions and not self.follower.is_current:
            self._ask()

    def _ask(self) -> None:
        self._questions.clear()
        for question in self.follower.questions():
            self._questions[self.say(question)] = question

    def _hear(self, event: Event) -> None:
        """Show what is handed out, and see that it may be, and was not before."""
        match event:
            case Reset():
                self._read_anew(event.conversation, is_over=not event.rev)
            case Message() | Conversation() | Member():
                seen = (event.conversation, *thing_of(event), event.rev)
                assert seen not in self._heard, f"told twice: {event}"
                self._heard.add(seen)
                if isinstance(event, Conversation) and event.conversation not in self.views:
                    self._read_anew(event.conversation)  # it was deleted when it was to be read
                self._show(event)

    def _show(self, event: Thing) -> None:
        view = self.views.get(event.conversation, {})
        old = view.get(thing_of(event))
        if old is None or old.rev <= event.rev:
            view[thing_of(event)] = event

    def _read_anew(self, conversation: UUID, *, is_over: bool = False) -> None:
        """Read the whole conversation: what ``conversation.get`` and ``message.history`` would tell."""
        self.views.pop(conversation, None)
        if not is_over and (view := self._town.view(self.user, conversation)) is not None:
            self.views[conversation] = view


class Town:
    def __init__(self, seed: int) -> None:
        random.seed(seed)  # the server's own jitter
        self.weather = Weather(seed)
        self.database = db.Database()
        self.ether = Ether(self.weather)
        self.nodes = [Node(self) for _ in range(NODES)]
        users = [UUID(int=1000 + n) for n in range(USERS)]
        self.devices = [Device(self, user) for user in users for _ in range(2)]
        self.database.sessions = {tokens.digest(str(user)): user for user in users}
        self._ids = iter(range(1_000_000))
        for _ in range(CONVERSATIONS):
            self.database.create(self._new_id(), users[: self.weather.chance.randint(1, USERS)])

    async def live(self, actions: int) -> None:
        """Let things happen in bad weather; afterwards the sun shines until everybody is back."""
        for node in self.nodes:
            await node.start()
        chance = self.weather.chance
        self.weather.loss, self.weather.failures = 0.1, 0.02
        deeds = [*[self._send] * 8, *[self._edit] * 3, self._erase, *[self._come_or_go] * 3, self._open_or_close]
        mishaps = [
            *[self._reconnect] * 6,
            *[self._doze] * 3,
            self._wake,
            self._cut_broker,
            self._mend_broker,
            self._crash,
        ]
        for _ in range(actions):
            await asyncio.sleep(chance.expovariate(chance.choice((1, 20, 200))))
            await chance.choice(chance.choices((deeds, mishaps), (3, 1))[0])()
        self.weather.loss = self.weather.failures = 0.0
        await self._recover()

    async def _recover(self) -> None:
        for node in self.nodes:
            if not node.is_up:
                await node.start()
            node.broker.mend()
        for device in self.devices:
            device.wake()
        deadline = asyncio.get_running_loop().time() + FAIR_WEATHER_S
        while asyncio.get_running_loop().time() < deadline:
            for device in self.devices:
                if device.node is None:
                    device.connect(self.weather.chance.choice(self.nodes))
            await asyncio.sleep(1)

    def may_hear(self, user: UUID, event: Thing) -> bool:
        membership = self.database.conversations[event.conversation].membership(user)
        return membership is not None and (membership.left_rev is None or event.rev <= membership.left_rev)

    def view(self, user: UUID, id_: UUID) -> View | None:
        """Return a conversation as the database shows it to a user."""
        conversation = self.database.conversations[id_]
        if not conversation.has(user) or conversation.is_deleted:
            return None
        things = self.database.answer(changes.SQL.missed, (user, [id_], [0], EVERYTHING))
        events, _ = events_in([changes.MissedRow(*row) for row in things], EVERYTHING)
        return {thing_of(told.event): told.to(user) for told in events}

    # Deeds

    async def _send(self) -> None:
        device, conversation = self._somebody_somewhere()
        if self.weather.happens(0.2):
            self.database.post(conversation, device.user, self._new_id(), "by another service")
        else:
            text = "x" * self.weather.chance.choice((10, 4000))
            device.say(MessageSend(conversation=conversation.id, message=self._new_id(), content=text))

    async def _edit(self) -> None:
        device, conversation = self._somebody_somewhere()
        if conversation.messages:
            message = self.weather.chance.choice([*conversation.messages.values()])
            text = f"edited {next(self._ids)}"
            device.say(MessageEdit(conversation=conversation.id, message=message.id, content=text))

    async def _erase(self) -> None:
        device, conversation = self._somebody_somewhere()
        if conversation.messages:
            message = self.weather.chance.choice([*conversation.messages.values()])
            device.say(MessageDelete(conversation=conversation.id, message=message.id))

    async def _come_or_go(self) -> None:
        """Change a membership: by another service, that tells nobody, or as a command of ours would do."""
        device, conversation = self._somebody_somewhere()
        (self.database.remove if conversation.has(device.user) else self.database.add)(conversation, device.user)
        node = self.weather.chance.choice(self.nodes)
        membership = conversation.membership(device.user)
        if node.is_up and membership and self.weather.happens(0.7):
            body = MemberBody(
                conversation.id, device.user, membership.rev, "member", silenced=False, left_seq=membership.left_seq
            )
            node.server.feed.publish(Told(as_member(body)))
            node.server.feed.poke(Channel("u", device.user))

    async def _open_or_close(self) -> None:
        _, conversation = self._somebody_somewhere()
        (self.database.reopen if conversation.is_deleted else self.database.close)(conversation)

    # Mishaps

    async def _reconnect(self) -> None:
        device = self.weather.chance.choice(self.devices)
        node = self.weather.chance.choice(self.nodes)
        if node.is_up and self.weather.happens(0.8):
            device.connect(node)
        else:
            device.cut()

    async def _doze(self) -> None:
        self.weather.chance.choice(self.devices).doze()

    async def _wake(self) -> None:
        for device in self.devices:
            device.wake()

    async def _cut_broker(self) -> None:
        node = self.weather.chance.choice(self.nodes)
        if node.is_up:
            node.broker.cut()

    async def _mend_broker(self) -> None:
        for node in self.nodes:
            if node.is_up and not node.broker.is_connected:
                node.broker.mend()

    async def _crash(self) -> None:
        node = self.weather.chance.choice(self.nodes)
        await (node.crash() if node.is_up else node.start())

    def _somebody_somewhere(self) -> tuple[Device, db.Conversation]:
        chance = self.weather.chance
        return chance.choice(self.devices), chance.choice([*self.database.conversations.values()])

    def _new_id(self) -> UUID:
        return UUID(int=next(self._ids))


def thing_of(event: Thing) -> tuple[str, UUID]:
    match event:
        case Message():
            return "message", event.message
        case Member():
            return "member", event.user
        case Conversation():
            return "conversation", event.conversation


def frames_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and payload of a server's frames."""
    while data:
        head = {126: 4, 127: 10}.get(data[1], 2)
        size = int.from_bytes(data[2:head], "big") if head > 2 else data[1]
        yield data[0] & 0x0F, data[head : head + size]
        data = data[head + size :]
