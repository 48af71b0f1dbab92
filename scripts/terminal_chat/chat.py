"""One conversation between the terminal and the server."""

import asyncio
import sys
import time
from contextlib import suppress
from threading import Thread
from typing import TypeVar
from uuid import UUID

from prompt_toolkit import PromptSession

from echo_ws.client import Client, CommandFailed, Reset
from echo_ws_protocol.commands import (
    Command,
    ConversationGet,
    DeliveryAck,
    MessageHistory,
    MessageRead,
    MessageSend,
    PresenceWatch,
    ProfileGet,
    TypingSet,
)
from echo_ws_protocol.events import (
    Contact,
    Conversation,
    Event,
    Hello,
    Hidden,
    Member,
    Membership,
    Message,
    Presence,
    Receipt,
    Session,
    Typing,
)
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Participant

from .orders import HELP, Orders
from .output import put, say
from .screen import Screen
from .words import clean, presence, standing

R = TypeVar("R")

PATIENCE_S = 3600.0  # what was typed waits this long for a server that is away
TYPING_EVERY_S = 3.0
LEAVING_S = 3.0
MOST_WATCHED = 200
MOST_PROFILES = 100


class Chat:
    """Reads lines, sends them, and prints what comes: three tasks, until the first of them ends.

    ``again`` is how to start another chat as the same user.
    """

    def __init__(self, client: Client, conversation: UUID, names: dict[UUID, str], again: str) -> None:
        self._client = client
        self._again = again
        self._here = conversation
        self._screen = Screen(client.user, names)
        self._orders = Orders(self._ask, self._send, conversation, self._screen)
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        self._entered = asyncio.Event()
        self._caught_up = 0  # an answer to a send may be ahead of what others sent while we were away
        self._acknowledged = 0
        self._typed_at = 0.0
        self._background: set[asyncio.Task[object]] = set()

    async def run(self) -> None:
        jobs = [asyncio.create_task(job) for job in (self._read_lines(), self._send_lines(), self._listen())]
        done, rest = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        for job in rest:
            job.cancel()
        await asyncio.wait(jobs)
        for job in done:
            job.result()

    async def _listen(self) -> None:
        async for event in self._client.events():
            match event:
                case Hello() if not self._entered.is_set():
                    await self._catch_up()
                case Hello():
                    await self._meet()  # whom one watches is forgotten with the connection
                case Reset(conversation=self._here, rev=0):
                    say("this conversation is over for you")
                case Reset(conversation=self._here):
                    await self._catch_up()
                case Message(conversation=self._here):
                    await self._show([event])
                    await self._acknowledge()
                case Message():
                    await self._learn({event.sender})
                    say(f"{self._screen.name(event.sender)} wrote elsewhere: {self._again} --with {event.conversation}")
                    await self._ask(DeliveryAck(conversation=event.conversation, seq=event.seq))
                case _:
                    await self._notice(event)

    async def _notice(self, event: Event | Reset) -> None:
        """Take in what is no message."""
        match event:
            case Receipt(conversation=self._here):
                self._screen.receipt(event)
            case Typing(conversation=self._here):
                self._screen.typing(event, time.monotonic())
            case Presence():
                self._screen.presences[event.user] = event
            case Member(conversation=self._here):
                await self._learn({event.user})
                say(self._screen.member(event))
                await self._watch()
            case Conversation(conversation=self._here):
                say(self._screen.conversation(event))
            case Hidden(conversation=self._here):
                self._screen.hide(event.seq)
                say(f"#{event.seq} is deleted for you")
            case Membership(conversation=self._here, cleared=up_to) if up_to:
                self._screen.clear(up_to)
            case Contact():
                await self._learn({event.user})
                say(standing(event, self._screen.name(event.user)))
            case Session():
                say(f"you signed in on another device: {clean(event.device_name or event.platform)}")

    async def _catch_up(self) -> None:
        """Show what was said before, or more than the client could catch up with."""
        await self._meet()
        if not self._caught_up:
            await self._show_older(20)
        else:
            while page := await self._ask(MessageHistory(conversation=self._here, after=self._caught_up, limit=100)):
                await self._show(page.messages)
                if not page.more:
                    break
        await self._acknowledge()
        self._entered.set()

    async def _meet(self) -> list[Participant]:
        """Learn who takes part, how far each has read, and who is there."""
        details = await self._ask(ConversationGet(conversation=self._here))
        if details is None:
            return []
        self._screen.meet(details)
        await self._watch()
        return details.participants

    async def _watch(self) -> None:
        """Hear from now on who comes and goes."""
        others = [user for user in self._screen.members if user != self._client.user][:MOST_WATCHED]
        if seen := await self._ask(PresenceWatch(users=others), quiet=True):
            self._screen.presences = {one.user: one for one in seen.presences}

    async def _learn(self, users: set[UUID]) -> None:
        """Ask for the names of people who are not known yet, those who left for instance."""
        strangers = list(users - self._screen.names.keys())[:MOST_PROFILES]
        if strangers and (page := await self._ask(ProfileGet(users=strangers), quiet=True)):
            for one in page.profiles:
                self._screen.names[one.user] = clean(one.display_name or str(one.user)[-8:])

    async def _show_older(self, limit: int) -> None:
        before = min(self._screen.messages, default=None)
        page = await self._ask(MessageHistory(conversation=self._here, before=before, limit=limit))
        if page and page.more:
            say("… /history shows what was before")
        if page and before and not page.messages:
            say("that is all, there is nothing before")
        if page:
            await self._show(page.messages)

    async def _acknowledge(self) -> None:
        """Tell that what stands on the screen is received and read."""
        last = self._screen.last(mine=False)
        if last > self._acknowledged:
            self._acknowledged = last
            await self._ask(DeliveryAck(conversation=self._here, seq=last))
            await self._ask(MessageRead(conversation=self._here, seq=last))

    async def _read_lines(self) -> None:
        """Take lines until the user leaves, then wait a moment for what is not sent yet."""
        await self._entered.wait()
        await (self._prompt() if sys.stdin.isatty() and sys.stdout.isatty() else self._read_pipe())
        try:
            await asyncio.wait_for(self._lines.join(), LEAVING_S)
        except TimeoutError:
            say("the server is away: what you typed last may not have been sent", "ansired")

    async def _prompt(self) -> None:
        prompt: PromptSession[str] = PromptSession(
            [("bold ansigreen", f"{self._screen.name(self._client.user)}> ")],
            bottom_toolbar=self._toolbar,
            refresh_interval=0.5,
            erase_when_done=True,
            interrupt_exception=EOFError,
        )
        prompt.default_buffer.on_text_changed += lambda buffer: self._tell_typing(buffer.text)
        with suppress(EOFError), prompt.input.raw_mode():  # also between two lines: a key pressed early is not lost
            while (line := (await prompt.prompt_async()).strip()) != "/quit":
                self._lines.put_nowait(line)

    async def _read_pipe(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def read() -> None:
            for line in sys.stdin:
                loop.call_soon_threadsafe(self._lines.put_nowait, line.strip())
            loop.call_soon_threadsafe(ended.set)

        Thread(target=read, daemon=True).start()  # nothing else can wait for a pipe and for a file
        await ended.wait()

    async def _send_lines(self) -> None:
        while True:
            line = await self._lines.get()
            if line.startswith("/"):
                verb, _, rest = line[1:].partition(" ")
                await self._obey(verb, rest.strip())
            elif line:
                await self._send(line)
            self._lines.task_done()

    async def _obey(self, verb: str, rest: str) -> None:
        match verb:
            case "help":
                say(HELP)
            case "who":
                await self._tell_who()
            case "history":
                await self._show_older(min(int(rest), 100) if rest.isdecimal() and int(rest) else 20)
            case _:
                await self._orders.obey(verb, rest)

    async def _tell_who(self) -> None:
        for one in await self._meet():
            where = presence(self._screen.presences.get(one.user))
            silenced = "silenced" if one.silenced else ""
            about = (self._screen.name(one.user), one.role, f"read up to #{one.read_seq}", silenced, where)
            say(" · ".join(filter(None, about)))

    async def _send(self, text: str, reply_to: UUID | None = None) -> None:
        message = uuid7()
        sent = await self._ask(MessageSend(conversation=self._here, message=message, content=text, reply_to=reply_to))
        if sent:
            written = Message(
                conversation=self._here,
                message=message,
                seq=sent.seq,
                rev=0,
                sender=self._client.user,
                type="text",
                content=text,
                created_at=sent.created_at,
                reply_to=reply_to,
            )
            put(self._screen.show(written))

    async def _show(self, messages: list[Message]) -> None:
        """Print what the server sent of its own accord or as a page: nothing before the last one is missing."""
        await self._learn({user for message in messages for user in (message.sender, *message.mentions)})
        for message in messages:
            self._caught_up = max(self._caught_up, message.seq)
            put(self._screen.show(message))

    def _tell_typing(self, text: str) -> None:
        now = time.monotonic()
        if text and not text.startswith("/") and now - self._typed_at > TYPING_EVERY_S and self._client.connected:
            self._typed_at = now
            task = asyncio.ensure_future(self._ask(TypingSet(conversation=self._here), quiet=True))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _ask(self, command: Command[R], *, quiet: bool = False) -> R | None:
        """Call, and tell the user instead of raising when the answer is no."""
        try:
            return await self._client.call(command, timeout=5 if quiet else PATIENCE_S)
        except (CommandFailed, TimeoutError) as error:
            if not quiet:
                say(str(error), "ansired")
        return None

    def _toolbar(self) -> str:
        return f" {self._screen.status(time.monotonic())} " if self._client.connected else " reconnecting… "
