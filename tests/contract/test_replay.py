"""The golden examples, played against a running server; protocol/README.md says how."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from echo_ws_protocol.codec import COMMANDS
from echo_ws_protocol.commands import WITHOUT_SESSION
from echo_ws_protocol.ids import uuid7
from scripts.generators.examples import Example, Frame, Step, load
from tests.support.issuer import Issuer
from tests.support.issuer import Person as Foreigner
from tests.support.mailbox import MAILBOX
from tests.support.waiting import until
from tests.support.world import Worker, World, is_let_in

EXAMPLES = load()
MADE_ANEW = {
    "access_expires_at",
    "access_token",
    "after_ms",
    "created_at",
    "delivered_at",
    "device",
    "epoch",
    "expires_at",
    "expires_ms",
    "heartbeat_ms",
    "last_activity_at",
    "last_message_at",
    "last_rev",
    "last_seen",
    "linked_at",
    "max_frame_bytes",
    "next",
    "nonce",
    "read_at",
    "refresh_token",
    "retry_after_ms",
    "rev",
    "server",
    "session",
    "state",
    "time",
    "token",
    "url",
    "user_agent",
    "written_at",
    "pinned_at",
}
LEARNT = {"next", "epoch", "token", "refresh_token", "state"}
PHONE_OF_ALICE = "+4915100000001"
"""The number of the user that a replay makes for her; all others belong to nobody."""
HASH_OF_ALICE = sha256(PHONE_OF_ALICE.encode()).hexdigest()[:32]
RIGHT_CODE = "123456"
"""Stands for the code that was sent last; any other is wrong."""
CODE_FROM_GOOGLE = "code-from-google"
"""Stands for what the browser last came back with."""
PATIENCE_S = 5


class Names:
    """What stands in the example for what this run uses."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.real: dict[str, str] = {}
        self.address = ""

    def translate(self, value: Any) -> Any:
        """Put real ids, tokens and cursors in the place of the example's. An id met first becomes a fresh one."""
        if isinstance(value, dict):
            return {self.translate(key): self.translate(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.translate(part) for part in value]
        if not isinstance(value, str):
            return value
        if value not in self.real and is_uuid(value):
            self.real[value] = str(uuid7())
        if "@" in value:
            self.address = self.real[value] = self.real.get(value) or f"{uuid7()}@example.org"
        if re.fullmatch(r"\+[0-9]{8,}", value):
            self.address = self.real[value] = self.real.get(value) or self.world.phone()
        return self.real.get(value, value)

    def learn(self, shown: Frame, got: Frame) -> None:
        for key in LEARNT & shown.get("ok", {}).keys():
            self.real[shown["ok"][key]] = got["ok"][key]


def is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def fits(shown: Any, got: Any, *, in_error: bool = False) -> bool:
    """Tell whether ``got`` has everything that is shown, apart from what each run makes anew."""
    if isinstance(shown, dict) and isinstance(got, dict):
        skipped = MADE_ANEW | {"message"} if in_error else MADE_ANEW
        return all(
            key in got and (key in skipped or fits(part, got[key], in_error=key == "error"))
            for key, part in shown.items()
        )
    if isinstance(shown, list) and isinstance(got, list):
        return len(shown) == len(got) and all(map(fits, shown, got))
    return bool(shown == got)


class Person:
    """One connection, and what has come over it and was not looked for yet."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []

    async def find(self, shown: Frame) -> Frame:
        """Return the first frame that fits; those before it stay to be found."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for frame in self.frames:
                    if fits(shown, frame):
                        self.frames.remove(frame)
                        return frame
                self.frames.append(json.loads(await self.socket.recv()))


class Stage:
    def __init__(
        self, example: Example, names: Names, people: dict[str, Person], worker: Worker, issuer: Issuer
    ) -> None:
        self.example = example
        self.worker = worker
        self.issuer = issuer
        self.at_google = Foreigner(uuid7().hex, "Alice", names.translate("alice@example.org"))
        self.names = names
        self.people = people
        self.verifications: set[str] = set()

    async def set_up(self) -> None:
        for given in self.example.given:
            await self._send(given.role, given.send)
            await self._expect(given.role, {"op": "reply", "id": given.send["id"], "ok": {}})
            await self._take_code(given.send)
            if given.send["op"] == "conversation.create":
                await self._wait_for_members(given.role, given.send["conversation"], given.send.get("participants", []))

    async def play(self, step: Step) -> None:
        if step.role is None or step.send is None or step.reply is None:
            return
        await self._send(step.role, step.send)
        if COMMANDS[step.send["op"]] in WITHOUT_SESSION and "ok" in step.reply:
            step.reply["ok"].pop("user", None)  # made during the story, not one of the cast
        got = await self._expect(step.role, step.reply)
        self.names.learn(step.reply, got)
        if "url" in got.get("ok", {}):
            back = self.issuer.visit(got["ok"]["url"], self.at_google)
            self.names.real[CODE_FROM_GOOGLE] = back.fields["authorization_code"]
        if "ok" in step.reply:
            await self._take_code(step.send)
        for seen in step.seen:
            for role in seen.by:
                await self._expect(role, seen.event)
        if step.closed is not None:
            with pytest.raises(ConnectionClosed) as closed:
                await self.people[step.role].find({"op": "nothing"})
            assert closed.value.rcvd is not None
            assert step.closed == closed.value.rcvd.code

    async def _take_code(self, sent: Frame) -> None:
        """Take the code that was sent, once for each verification."""
        if (
            sent["op"] in {"account.register", "password.forget", "phone.change", "email.change"}
            and sent["verification"] not in self.verifications
        ):
            self.verifications.add(sent["verification"])
            self.names.real[RIGHT_CODE] = await MAILBOX.code(self.names.address)

    async def _wait_for_members(self, creator: str, conversation: str, others: list[str]) -> None:
        """Who takes part in a new conversation hears it from the event ``membership`` on."""
        for role, user in self.example.cast.items():
            if role == creator or str(user) in others:
                await self._expect(role, {"op": "membership", "conversation": conversation})
                id_, whose = UUID(self.names.real[conversation]), UUID(self.names.real[str(user)])
                await until(partial(is_let_in, self.worker, whose, id_))

    async def _send(self, role: str, frame: Frame) -> None:
        await self.people[role].socket.send(json.dumps(self.names.translate(frame)))

    async def _expect(self, role: str, shown: Frame) -> Frame:
        wanted = self.names.translate(shown)
        try:
            return await self.people[role].find(wanted)
        except TimeoutError:
            pytest.fail(f"{role} did not get {wanted}, but {self.people[role].frames}")


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
async def test_the_server_plays_the_example(example: Example, people: World, worker: Worker, issuer: Issuer) -> None:
    names = Names(people)
    async with AsyncExitStack() as stack:
        persons = {}
        for role, shown in example.cast.items():
            user = await people.user(role.title())
            token = await people.token(user)
            names.real |= {str(shown): str(user), f"token-of-{role}": token}
            if role == "alice":
                phone = "SELECT phone FROM auth.users WHERE id = $1"
                names.real[PHONE_OF_ALICE] = number = await people.store.fetchval(phone, user)
                names.real[HASH_OF_ALICE] = sha256(number.encode()).hexdigest()[:32]
            headers = {"Authorization": f"Bearer {token}"} if example.authenticated else {}
            socket = connect(worker.url, subprotocols=[Subprotocol("echo.v1.json")], additional_headers=headers)
            persons[role] = Person(await stack.enter_async_context(socket))
            if example.authenticated:
                await persons[role].find({"op": "hello"})
        stage = Stage(example, names, persons, worker, issuer)
        await stage.set_up()

        for step in example.story:
            await stage.play(step)
