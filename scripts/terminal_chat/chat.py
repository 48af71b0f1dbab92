"""One conversation between the terminal and the server."""

import asyncio
import sys
import time
from contextlib import suppress
from threading import Thread
from typing import TypeVar
from uuid import UUID

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.formatted_text import FormattedText

from echo_ws.client import Client, CommandFailed, Reset
from echo_ws_protocol.commands import (
    Command,
    ConversationGet,
    DeliveryAck,
    MessageDelete,
    MessageEdit,
    MessageHistory,
    MessageRead,
    MessageSend,
    ReactionSet,
    TypingSet,
)
from echo_ws_protocol.events import Hello, Member, Message, Receipt, Typing
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Participant

from .screen import DIM, Line, Screen, clean

R = TypeVar("R")

HELP = """\
/reply [#n] text   answer a message             /edit [#n] text   change one of yours
/react [#n] 👍     put an emoji on a message    /unreact [#n] 👍  take it away
/delete [#n]       delete one of yours          /history [n]      show n older messages
/who               who is here                  /quit             leave (or Ctrl-D)
Without #n: your last message; for /reply, /react and /unreact the last one of the others."""
PATIENCE_S = 3600.0  # what was typed waits this long for a server that is away
TYPING_EVERY_S = 3.0
LEAVING_S = 3.0


class Chat:
    """Reads lines, sends them, and prints what comes: three tasks, until the first of them ends."""

    def __init__(self, client: Client, conversation: UUID, names: dict[UUID, str]) -> None:
        self._client = client
        self._here = conversation
        self._screen = Screen(client.user, names)
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
                case Reset(conversation=self._here, rev=0):
                    say("this conversation is over for you")
                case Reset(conversation=self._here):
                    await self._catch_up()
                case Message(conversation=self._here):
                    self._show([event])
                    await self._acknowledge()
                case Message():
                    say(f"{self._screen.name(event.sender)} wrote elsewhere: scripts/chat --with {event.conversation}")
                    await self._ask(DeliveryAck(conversation=event.conversation, seq=event.seq))
                case Receipt(conversation=self._here):
                    self._screen.receipt(event)
                case Typing(conversation=self._here):
                    self._screen.typing(event, time.monotonic())
                case Member(conversation=self._here):
                    await self._meet()
                    say(f"{self._screen.name(event.user)} {'left' if event.left else f'is here as {event.role}'}")

    async def _catch_up(self) -> None:
        """Show what was said before, or more than the client could catch up with."""
        await self._meet()
        if not self._caught_up:
            await self._show_older(20)
        else:
            while page := await self._ask(MessageHistory(conversation=self._here, after=self._caught_up, limit=100)):
                self._show(page.messages)
                if not page.more:
                    break
        await self._acknowledge()
        self._entered.set()

    async def _meet(self) -> list[Participant]:
        """Learn who takes part, and how far each has read."""
        details = await self._ask(ConversationGet(conversation=self._here))
        people = details.participants if details else []
        for one in people:
            self._screen.names.setdefault(one.user, clean(one.name or str(one.user)[-8:]))
            self._screen.receipt(
                Receipt(conversation=self._here, user=one.user, delivered_seq=one.delivered_seq, read_seq=one.read_seq)
            )
        return people

    async def _show_older(self, limit: int) -> None:
        before = min(self._screen.messages, default=None)
        page = await self._ask(MessageHistory(conversation=self._here, before=before, limit=limit))
        if page and page.more:
            say("… /history shows what was before")
        if page and before and not page.messages:
            say("that is all, there is nothing before")
        if page:
            self._show(page.messages)

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
                for one in await self._meet():
                    say(f"{self._screen.name(one.user)} · {one.role} · read up to #{one.read_seq}")
            case "history":
                await self._show_older(min(int(rest), 100) if rest.isdecimal() and int(rest) else 20)
            case "reply" | "react" | "unreact" | "edit" | "delete":
                target, text = self._screen.pick(rest, mine=verb in {"edit", "delete"})
                if target is None:
                    say("there is no such message on the screen; name one by its number, as in /reply #3 yes")
                elif "react" in verb and text.isascii():
                    say(f"/{verb} wants an emoji, as in /{verb} 👍 or /{verb} #3 👍")
                elif not text and verb != "delete":
                    say(f"/{verb} wants a text, as in /{verb} yes or /{verb} #3 yes")
                else:
                    await self._act(verb, target.message, text)
            case _:
                say(f"there is no /{verb}; /help lists what there is")

    async def _act(self, verb: str, target: UUID, text: str) -> None:
        match verb:
            case "reply":
                await self._send(text, reply_to=target)
            case "edit":
                await self._ask(MessageEdit(conversation=self._here, message=target, content=text))
            case "delete":
                await self._ask(MessageDelete(conversation=self._here, message=target))
            case _:
                await self._ask(ReactionSet(conversation=self._here, message=target, emoji=text, on=verb == "react"))

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
            _print(self._screen.show(written))

    def _show(self, messages: list[Message]) -> None:
        """Print what the server sent of its own accord or as a page: nothing before the last one is missing."""
        for message in messages:
            self._caught_up = max(self._caught_up, message.seq)
            _print(self._screen.show(message))

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


def say(text: str, style: str = DIM) -> None:
    _print([(style, text)])


def _print(line: Line | None) -> None:
    if line and sys.stdout.isatty():
        print_formatted_text(FormattedText(line))
    elif line:
        print("".join(text for _, text in line), flush=True)
