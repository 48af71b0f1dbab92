"""The terminal chat as a process, with a person at the other end."""

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from echo_ws.client import Client
from echo_ws_protocol.commands import MessageEdit, MessageSend
from echo_ws_protocol.events import Message, Receipt, Typing
from echo_ws_protocol.ids import uuid7
from tests.support.other_service import Sql
from tests.support.relay import Relay
from tests.support.world import Worker, World

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """A running chat: what it printed so far, and a way to type."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader, keyboard: int) -> None:
        self.process = process
        self._output = output
        self._keyboard = keyboard
        self._shown = ""

    def type(self, text: str) -> None:
        os.write(self._keyboard, text.encode())

    async def until(self, text: str) -> str:
        """Wait until ``text`` has been printed; return what was printed up to there and forget it."""
        async with asyncio.timeout(20):
            while text not in self._shown:
                read = await self._output.read(4096)
                assert read, f"the chat ended without {text!r}: {self._shown}"
                self._shown += read.decode("utf-8", "replace")
        before, _, self._shown = self._shown.partition(text)
        return before

    async def leaves(self) -> int:
        async with asyncio.timeout(10):
            return await self.process.wait()


@asynccontextmanager
async def chat(*arguments: str, data_dir: Path, on_a_terminal: bool = False) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty() if on_a_terminal else os.pipe()[::-1]
    reading, writing = (os.dup(ours), theirs) if on_a_terminal else os.pipe()
    loop = asyncio.get_running_loop()
    output = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb", 0)
    )
    environ = {key: value for key, value in os.environ.items() if not key.startswith("ECHO_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scripts.terminal_chat", *arguments,
        cwd=ROOT, env={**environ, "ECHO_DATA_DIR": str(data_dir), "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"},
        stdin=theirs, stdout=writing, stderr=writing, start_new_session=True,
    )  # fmt: skip
    for each in {theirs, writing}:
        os.close(each)
    try:
        yield Terminal(process, output, ours)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        transport.close()
        os.close(ours)


async def test_two_people_talk_one_of_them_in_the_terminal(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker, tmp_path: Path
) -> None:
    await alice.call(MessageSend(conversation=direct, message=uuid7(), content="are you there?"))
    token = await people.token(bob.user)

    async with chat("--url", worker.url, "--token", token, "--with", str(direct), data_dir=tmp_path) as terminal:
        await terminal.until("#1 Alice  are you there?")
        read = await alice.next(Receipt, lambda receipt: receipt.read_seq == 1)
        terminal.type("yes\n/react 👍\n/reply #1 and you?\n")
        answer = await alice.next(Message, lambda message: message.content == "yes")
        reacted = await alice.next(Message, lambda message: bool(message.reactions))
        reply = await alice.next(Message, lambda message: message.reply_to is not None)
        await terminal.until("↳ #1 are you there? │ and you?")

    assert bob.user == read.user == answer.sender
    assert {"👍": 1} == reacted.reactions
    assert ("and you?", reacted.message) == (reply.content, reply.reply_to)


async def test_what_cannot_be_done_is_said_in_words(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker, tmp_path: Path
) -> None:
    await alice.call(MessageSend(conversation=direct, message=uuid7(), content="hi"))

    async with chat(
        *("--url", worker.url, "--token", await people.token(bob.user), "--with", str(direct)), data_dir=tmp_path
    ) as terminal:
        await terminal.until("#1 Alice  hi")
        terminal.type("/react yes\n/unreact\n/reply #1\n/reply #7 what?\n/history\n/dance\n")
        terminal.type("/vote #1 x\n/poll where?\n/search\n/invite zed\n/mute 8h\n/mute 0\n")

        await terminal.until("/react wants an emoji")
        await terminal.until("/unreact wants an emoji")
        await terminal.until("/reply wants a text")
        await terminal.until("there is no such message on the screen")
        await terminal.until("nothing before")
        await terminal.until("there is no /dance")
        await terminal.until("/vote wants the numbers of options")
        await terminal.until("/poll wants a question and 2 to 10 answers")
        await terminal.until("/search wants a text")
        await terminal.until("/invite wants a name")
        for _ in ("8h", "0"):
            await terminal.until("/mute wants hours")


async def test_a_group_is_run_from_the_terminal(
    group: UUID, alice: Client, bob: Client, carol: Client, people: World, worker: Worker, tmp_path: Path
) -> None:
    sent = uuid7()
    await bob.call(MessageSend(conversation=group, message=sent, content="where do we eat?"))
    token = await people.token(alice.user)

    async with chat("--url", worker.url, "--token", token, "--with", str(group), data_dir=tmp_path) as terminal:
        await terminal.until("#1 Bob  where do we eat?")
        terminal.type("/poll where? | here | there\n/vote 2\n/pin #1\n/pins\n/search eat\n")
        await terminal.until("[poll] where? · 1) here: 0 · 2) there: 1")
        await terminal.until("where do we eat? 📌")
        for _ in ("/pins", "/search"):
            await terminal.until("#1 Bob  where do we eat?")
        await bob.call(MessageEdit(conversation=group, message=sent, content="where?"))
        await terminal.until("where? (edited)")
        terminal.type("/edits #1\n/thread #1\n/hide #1\n")
        await terminal.until("where do we eat?")
        await terminal.until("0 replies")
        await terminal.until("#1 is deleted for you")
        terminal.type("/silence bob\n/unsilence bob\n/promote bob\n/rename lunch\n/remove carol\n/mute 2\n")
        for told in ("Bob was silenced", "Bob may write again", "Bob is now admin", "called lunch", "Carol left"):
            await terminal.until(told)
        await terminal.until("you are not notified of what is said here until")
        terminal.type("/who\n/leave\n")
        await terminal.until("Bob · admin · read up to #0 · online")
        await terminal.until("this conversation is over for you")


async def test_in_a_direct_conversation_the_other_one_is_blocked_without_a_name(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker, tmp_path: Path
) -> None:
    token = await people.token(bob.user)

    async with chat("--url", worker.url, "--token", token, "--with", str(direct), data_dir=tmp_path) as terminal:
        await terminal.until("connected")
        terminal.type("/block\n")
        await terminal.until("you block Alice")
        await alice.call(MessageSend(conversation=direct, message=uuid7(), content="hello?"))
        await terminal.until("#1 Alice  not shown, since you blocked the sender")
        terminal.type("/unblock\n")
        await terminal.until("Alice is neither blocked nor a contact")


async def test_demo_users_are_known_by_name_and_a_first_chat_opens_the_conversation(
    people: World, worker: Worker, tmp_path: Path
) -> None:
    users = {name: await people.user(name) for name in ("ann", "ben")}
    lines = [
        json.dumps({"user": str(user), "name": name, "phone": f"+49{n}", "token": await people.token(user)})
        for n, (name, user) in enumerate(users.items())
    ]
    (tmp_path / "demo-users.jsonl").write_text("\n".join(lines))

    async with (
        chat("--url", worker.url, data_dir=tmp_path) as ann,
        chat("--url", worker.url, "--as", "BEN", "--with", "+490", data_dir=tmp_path) as ben,
    ):
        ann.type("hello ben\n")
        await ben.until("ann  hello ben")
        ben.type("hello ann\n")
        await ann.until("ben  hello ann")


async def test_on_a_terminal_the_prompt_tells_typing_and_ctrl_d_leaves(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker, tmp_path: Path
) -> None:
    arguments = ("--url", worker.url, "--token", await people.token(bob.user), "--with", str(direct))

    async with chat(*arguments, data_dir=tmp_path, on_a_terminal=True) as terminal:
        await terminal.until("> ")
        terminal.type("goo")
        typing = await alice.next(Typing)
        await alice.call(MessageSend(conversation=direct, message=uuid7(), content="wait"))
        await terminal.until("wait")
        await terminal.until("goo")  # what was being typed is drawn again below
        terminal.type("d bye\r")
        message = await alice.next(Message, lambda message: message.sender == bob.user)
        await terminal.until("good bye")
        await terminal.until("> ")
        terminal.type("\x04")
        code = await terminal.leaves()

    assert bob.user == typing.user
    assert ("good bye", 0) == (message.content, code)


async def test_the_chat_survives_a_server_that_is_away_and_fetches_what_it_missed(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker, tmp_path: Path
) -> None:
    token = await people.token(bob.user)

    async with (
        Relay(worker.url) as relay,
        chat("--url", relay.url, "--token", token, "--with", str(direct), data_dir=tmp_path) as terminal,
    ):
        await terminal.until("connected")
        await relay.cut()
        await alice.call(MessageSend(conversation=direct, message=uuid7(), content="missed"))
        terminal.type("typed while the server was away\n")
        await relay.mend()
        await terminal.until("#1 Alice  missed")
        typed = await alice.next(Message, lambda message: message.sender == bob.user)

    assert "typed while the server was away" == typed.content


async def test_who_is_not_known_is_told_where_the_known_ones_are(tmp_path: Path) -> None:
    async with chat("--as", "Zed", data_dir=tmp_path) as terminal:
        await terminal.until(f"Zed: no such demo user; there are none in {tmp_path}: start scripts/serve first")

        assert await terminal.leaves() == 1


async def test_whom_the_phone_book_knows_is_found_by_number(
    alice: Client, bob: Client, people: World, db: Sql, worker: Worker, tmp_path: Path
) -> None:
    await db.execute("UPDATE auth.users SET phone = '+4915123456789' WHERE id = $1", alice.user)
    arguments = ("--url", worker.url, "--token", await people.token(bob.user), "--with")

    async with chat(*arguments, "+49 151 23456789", data_dir=tmp_path) as terminal:
        terminal.type("found you\n")
        message = await alice.next(Message)
    async with chat(*arguments, "+49 151 23456780", data_dir=tmp_path) as terminal:
        await terminal.until("+4915123456780: nobody who shows this number has it")
        left = await terminal.leaves()

    assert ("found you", bob.user, 1) == (message.content, message.sender, left)


async def test_where_else_somebody_wrote_is_said_with_all_that_it_takes_to_go_there(
    direct: UUID, group: UUID, alice: Client, bob: Client, people: World, worker: Worker, tmp_path: Path
) -> None:
    token = await people.token(bob.user)
    person = {"user": str(bob.user), "name": "Bob B", "phone": "+491", "token": token}
    (tmp_path / "demo-users.jsonl").write_text(json.dumps(person))

    async with chat("--url", worker.url, "--as", "bob b", "--with", str(direct), data_dir=tmp_path) as terminal:
        await terminal.until("connected")
        await alice.call(MessageSend(conversation=group, message=uuid7(), content="over here"))
        await terminal.until(f"wrote elsewhere: scripts/chat --url {worker.url} --as 'bob b' --with {group}")
    async with chat("--url", worker.url, "--token", token, "--with", str(direct), data_dir=tmp_path) as terminal:
        await terminal.until("connected")
        await alice.call(MessageSend(conversation=group, message=uuid7(), content="and here"))
        before = await terminal.until(f" --token … --with {group}")

    assert token not in before


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8765/ws", "127.0.0.1:8765", "ws:///ws", "ws://here:port/ws", "ws://[::1"]
)
async def test_a_url_that_is_none_of_a_websocket_is_refused_in_one_line(url: str, tmp_path: Path) -> None:
    async with chat("--url", url, "--token", "t", "--with", str(uuid7()), data_dir=tmp_path) as terminal:
        await terminal.until(f"argument --url: {url}: expected ws://HOST:PORT/ws")

        assert await terminal.leaves() == 2
