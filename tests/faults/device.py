"""A device that writes down what it asks, what it is told, and what it shows."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from websockets.exceptions import ConnectionClosed

from echo_ws.client import LOST, Client, Closed, CommandFailed, ConnectionLost, Position, Reset
from echo_ws_protocol.commands import (
    Command,
    ConversationList,
    MessageDelete,
    MessageEdit,
    MessageHistory,
    MessageSend,
    ReactionSet,
)
from echo_ws_protocol.events import Conversation, Event, Hello, Member, Membership, Message
from echo_ws_protocol.replies import MessageSent, Reply

from .history import Asked, Connection, History, Outcome, Told, View

OPS = {MessageSend: "send", MessageEdit: "edit", MessageDelete: "delete", ReactionSet: "react"}
PAGE = 100


def state_of(
    sender: UUID, content: str, edited: bool, deleted: bool, reply_to: UUID | None, reactions: dict[str, int] | None
) -> str:
    """Return all that is to be seen of a message, as text."""
    seen = (sender, content, edited, deleted, reply_to, reactions or {})
    return msgspec.json.encode(seen, order="deterministic").decode()


def _state(message: Message) -> str:
    return state_of(
        message.sender, message.content, message.edited, message.deleted, message.reply_to, message.reactions
    )


class RecordingClient(Client):
    """Notes each connection, and each event as it comes over the wire, before the client has sorted it."""

    def __init__(self, device: "Device", url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._device = device

    def _decode(self, frame: bytes) -> Reply | Event | None:
        decoded = super()._decode(frame)
        if isinstance(decoded, Hello):
            self._device.opened(decoded)
        elif isinstance(decoded, Event):
            self._device.heard_on_the_wire(decoded)
        return decoded

    async def _live(self) -> None:
        before = self._device.connections
        code = None
        try:
            await super()._live()
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else LOST
            raise
        finally:
            if self._device.connections > before:
                self._device.closed(code)


class Device:
    """One device of a user, with its record of one history."""

    def __init__(
        self,
        name: str,
        url: str,
        token: str,
        user: UUID,
        history: History,
        clock: Callable[[], float],
        *,
        answer_s: float,
    ) -> None:
        self.name = name
        self.user = user
        self.connections = 0
        self.is_revoked = False
        self.messages: dict[UUID, tuple[int, str]] = {}
        self.client = RecordingClient(self, url, token=token, open_timeout=60)
        self._token = token
        self._history = history
        self._clock = clock
        self._answer_s = answer_s
        self._connection: Connection
        self._position: Position
        self._life: asyncio.Task[None]
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: dict[UUID, int] = {}

    async def start(self) -> None:
        """Begin to connect, and read what was there before."""
        self._life = self._spawn(self._live(begins=True))
        await asyncio.sleep(0)

    async def leave(self) -> None:
        """End, as a program that is closed: what was shown and the position are kept."""
        self._life.cancel()  # from here on it takes no event: the position is that of what it took
        await asyncio.wait([self._life])
        self._position = self.client.position
        await self.client.close()

    async def come_back(self) -> None:
        """Start again from the position that was kept."""
        self.client = RecordingClient(
            self, self.client.url, token=self._token, open_timeout=60, position=self._position
        )
        self._life = self._spawn(self._live(begins=False))
        await asyncio.sleep(0)

    async def close(self) -> None:
        await self.client.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_connected(self) -> bool:
        return self.connections > 0 and self.client.connected

    @property
    def is_reading(self) -> bool:
        """Whether something is being read anew, so that the view is not complete."""
        return bool(self._reading)

    def view(self) -> View:
        return View(device=self.name, user=self.user, messages=dict(self.messages))

    async def ask(self, command: Command[Any]) -> Outcome:
        """Try a command once, and write down what became of it."""
        began, connection = self._clock(), self.connections
        seq, code = None, ""
        outcome: Outcome = "ok"
        try:
            result = await self.client.call(command, timeout=self._answer_s, retry=False)
            seq = result.seq if isinstance(result, MessageSent) else None
        except CommandFailed as failed:
            outcome, code = failed.outcome, str(failed.code)
        except (ConnectionLost, Closed):
            outcome = "lost"
        except TimeoutError:
            outcome = "silence" if self.client.connected and self.connections == connection else "lost"
        asked = {
            "device": self.name,
            "op": OPS[type(command)],
            "conversation": command.conversation,  # type: ignore[attr-defined]  # all in OPS have these
            "message": command.message,  # type: ignore[attr-defined]
            "content": getattr(command, "content", ""),
            "began": began,
            "ended": self._clock(),
            "outcome": outcome,
            "seq": seq,
            "code": code,
        }
        self._history.asked.append(msgspec.convert(asked, Asked))
        return outcome

    # -- what the client tells

    def opened(self, _: Hello) -> None:
        self.connections += 1
        self._connection = Connection(device=self.name, opened=self._clock())
        self._history.connections.append(self._connection)

    def closed(self, code: int | None) -> None:
        if code is not None:  # else it was the client that closed
            self._connection.closed, self._connection.code = self._clock(), code

    def heard_on_the_wire(self, event: Event) -> None:
        self._tell(event, f"{self.name}#{self.connections}", "event")

    async def _live(self, *, begins: bool) -> None:
        await self.client.__aenter__()
        if begins:
            await self._read_all()
        with suppress(Closed):
            async for event in self.client.events():
                self._take(event)

    def _take(self, event: Event) -> None:
        self._tell(event, self.name, "event")
        match event:
            case Reset(rev=rev) if rev:
                self._read_soon(event.conversation)
            case Membership(left=False):
                self._read_soon(event.conversation)  # for what was said before
            case Message():
                self._show(event)

    def _show(self, message: Message) -> None:
        if message.rev >= self.messages.get(message.message, (0, ""))[0]:
            self.messages[message.message] = (message.rev, _state(message))

    def _tell(self, event: Event, device: str, how: str) -> None:
        told: dict[str, Any] = {"device": device, "user": self.user, "at": self._clock(), "how": how}
        match event:
            case Message():
                told |= {"thing": f"message:{event.message}", "state": _state(event), "seq": event.seq}
                told |= {"content": None if event.deleted else event.content}
            case Member():
                told |= {"thing": f"member:{event.user}", "state": f"{event.role} {event.silenced} {event.left}"}
            case Conversation():
                told |= {"thing": "conversation", "state": f"{event.name} {event.deleted}"}
            case Membership():
                told |= {"thing": f"membership:{event.conversation}", "state": f"{event.role} {event.left}"}
            case Reset():
                told |= {"how": "reset"}
            case _:
                return
        channel = self.user if isinstance(event, Membership) else event.conversation
        self._history.told.append(msgspec.convert(told | {"channel": channel, "rev": event.rev}, Told))

    # -- reading anew

    def _read_soon(self, conversation: UUID) -> None:
        self._reading[conversation] = self._reading.get(conversation, 0) + 1
        self._spawn(self._read(conversation))

    async def _read_all(self) -> None:
        self._reading[self.user] = self._reading.get(self.user, 0) + 1
        with suppress(Closed, CommandFailed):
            page = await self.client.call(ConversationList(limit=100), timeout=60)
            for summary in page.conversations:
                self._read_soon(summary.conversation)
        self._has_read(self.user)

    async def _read(self, conversation: UUID) -> None:
        seq, is_more = 0, True
        with suppress(Closed, CommandFailed):  # not a member any more
            while is_more:
                command = MessageHistory(conversation=conversation, after=seq, limit=PAGE)
                page = await self.client.call(command, timeout=60)
                for message in page.messages:
                    self._tell(message, self.name, "read")
                    self._show(message)
                    seq = message.seq
                is_more = page.more
        self._has_read(conversation)

    def _has_read(self, what: UUID) -> None:
        self._reading[what] -= 1
        if not self._reading[what]:
            del self._reading[what]

    def _spawn(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
