"""To the one who is blocked nothing observable changes.

The same story is told in two worlds: in one Anna blocks Ben and goes on as she likes, in the other she goes offline at
that moment and does no more where only he would see it. Whatever Ben can see, unasked and asked, is compared in bytes:
only ids and times stand for what they mean, a time for the step of the story in which it lies.
"""

import json
import random
import re
from bisect import bisect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    Command,
    ContactBlock,
    ContactRemove,
    ContactSet,
    ConversationGet,
    DeliveryAck,
    MessageHistory,
    MessageRead,
    MessageSend,
    PrivacySet,
    ProfileSet,
    TypingSet,
)
from echo_ws_protocol.events import Membership
from echo_ws_protocol.ids import uuid7
from tests.support.doors import Line, in_order, line
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import Worker, World, is_let_in

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
LEVELS = "everyone", "contacts", "nobody"


class Tale:
    """One world: Anna, Ben and Cleo, and everything that Ben saw."""

    def __init__(
        self, worker: Worker, db: Sql, anna: Client, cleo: Client, ben: Line, ben_id: UUID, *, is_blocked: bool
    ) -> None:
        self.worker = worker
        self.db, self.anna, self.cleo, self.ben, self.ben_id = db, anna, cleo, ben, ben_id
        self.is_blocked = is_blocked
        """Whether this is the world in which Anna blocks Ben; of interest from the block on."""
        self.is_over = False
        """Whether that moment is past."""
        self.direct: UUID | None = None
        self.group = uuid7()
        self.names: dict[object, str] = {anna.user: "anna", cleo.user: "cleo", ben_id: "ben", self.group: "group"}
        self.seen: list[str] = []
        self.began = [datetime.now(UTC)]
        self.sent: list[UUID] = []
        self.flags = {"show_read_receipts": True, "show_typing_indicator": True}
        self.count = 0
        self.hash = ""
        """Of Anna's phone number."""

    async def begin(self) -> None:
        """Let Ben be greeted and open a group, and name what he may see of it all."""
        hello = await self.hear("hello")
        self.names[hello["session"]] = "session"
        for row in await self.db.fetch("SELECT id, phone FROM auth.users WHERE id = ANY ($1)", [*self.names]):
            self.names[row["phone"]] = f"phone of {self.names[row['id']]}"
            if row["id"] == self.anna.user:
                self.hash = sha256(row["phone"].encode()).hexdigest()[:32]
        self.names[self.hash] = "hash"
        await self.ask(
            "conversation.create", conversation=self.group, type="group", participants=[self.anna.user, self.cleo.user]
        )
        await self.arrive(self.group)
        for person in (self.anna, self.cleo):
            await person.next(Membership)

    async def arrive(self, conversation: UUID) -> None:
        """Wait until Ben hears what is only of the moment, too."""
        await self.hear("membership")
        await until(lambda: is_let_in(self.worker, self.ben_id, conversation))

    def name(self, what: str) -> UUID:
        """Return a new id that goes by this name."""
        id_ = uuid7()
        self.names[id_] = what
        return id_

    async def ask(self, op: str, **fields: Any) -> Any:
        """Let Ben say something, and note all that he hears up to the reply."""
        self.count += 1
        await self.ben.say({"op": op, "id": self.count, **json.loads(json.dumps(fields, default=str))})
        return await self.hear("reply")

    async def hear(self, op: str) -> Any:
        while True:
            frame = await self.ben.next_frame()
            self.seen.append(json.dumps(frame))
            if frame["op"] == op:
                return frame

    async def look(self) -> None:
        """Let Ben look at everything that there is to be looked at."""
        places = [place for place in (self.direct, self.group) if place]
        await self.ask("profile.get", users=[self.anna.user, self.ben_id, self.cleo.user])
        await self.ask("presence.watch", users=[self.anna.user])
        await self.ask("contact.lookup", hashes=[self.hash])
        for place in places:
            await self.ask("conversation.get", conversation=place)
            await self.ask("message.history", conversation=place)
        for op in ("conversation.list", "contact.list", "privacy.get"):
            await self.ask(op)
        await self.ask("contact.list", blocked=True)
        hello = json.loads(self.seen[0])
        await self.ask(
            "session.resume",
            epoch=hello["epoch"],
            since=self.began[0].isoformat(),
            conversations={str(place): 0 for place in places},
        )
        if self.direct:
            await self.ask(
                "conversation.create", conversation=self.direct, type="direct", participants=[self.anna.user]
            )

    def account(self) -> list[str]:
        """Return what Ben saw, without what differs from run to run."""
        return [self._plain(frame) for frame in self.seen]

    def _plain(self, frame: str) -> str:
        for id_, name in self.names.items():
            frame = frame.replace(str(id_), name)
        plain = TIME.sub(lambda time: f"step {bisect(self.began, datetime.fromisoformat(time[0]))}", frame)
        return json.dumps(in_order(json.loads(plain)))


Step = Callable[[Tale], Awaitable[object]]


def by_anna(command: Callable[[Tale], Command[Any]]) -> Step:
    async def step(tale: Tale) -> None:
        await tale.anna.call(command(tale))

    return step


def toward_ben(command: Callable[[Tale], Command[Any]]) -> Step:
    """Return what Anna does where only Ben would see it: never, once she is offline; unseen, once he is blocked."""

    async def step(tale: Tale) -> None:
        if not tale.is_over:
            await tale.anna.call(command(tale))
        elif tale.is_blocked:
            with suppress(CommandFailed):
                await tale.anna.call(command(tale))

    return step


def in_direct(command: Callable[[UUID, Tale], Command[Any]]) -> Step:
    """Return what Anna does in their direct conversation, if there is one."""

    async def step(tale: Tale) -> None:
        if place := tale.direct:
            await toward_ben(lambda tale: command(place, tale))(tale)

    return step


async def be_there(tale: Tale) -> None:
    """Let presence say that Anna is online."""
    if not tale.is_over or tale.is_blocked:
        await tale.db.execute(
            "UPDATE users.profiles SET status = 'online', last_seen = CURRENT_TIMESTAMP WHERE user_id = $1",
            tale.anna.user,
        )


async def go(tale: Tale) -> None:
    if tale.is_blocked:
        await tale.anna.call(ContactBlock(user=tale.ben_id))
    else:
        await tale.db.execute(
            "UPDATE users.profiles SET status = 'offline', last_seen = CURRENT_TIMESTAMP WHERE user_id = $1",
            tale.anna.user,
        )
    tale.is_over = True


async def meet(tale: Tale) -> None:
    """Let Ben open the direct conversation, if there is none."""
    if tale.direct is None:
        tale.direct = tale.name("direct")
        await tale.ask("conversation.create", conversation=tale.direct, type="direct", participants=[tale.anna.user])
        await tale.arrive(tale.direct)
        await tale.anna.next(Membership, where=lambda membership: membership.conversation == tale.direct)


def of_ben(op: str, **fields: Any) -> Step:
    async def step(tale: Tale) -> None:
        if tale.direct:
            await tale.ask(op, conversation=tale.direct, **fields)

    return step


async def ben_writes(tale: Tale) -> None:
    if tale.direct:
        tale.sent.append(tale.name(f"message {len(tale.began)}"))
        await tale.ask("message.send", conversation=tale.direct, message=tale.sent[-1], content=f"at {len(tale.began)}")


async def ben_rewrites(tale: Tale) -> None:
    if tale.direct and tale.sent:
        await tale.ask("message.edit", conversation=tale.direct, message=tale.sent[-1], content=f"at {len(tale.began)}")


async def ben_notes(tale: Tale) -> None:
    await tale.ask("contact.set", user=tale.anna.user, nickname=f"at {len(tale.began)}")
    await tale.hear("contact")


def ben_flips(flag: str) -> Step:
    async def step(tale: Tale) -> None:
        tale.flags[flag] = not tale.flags[flag]
        await tale.ask("privacy.set", **{flag: tale.flags[flag]})
        await tale.hear("settings")

    return step


def story(chance: random.Random) -> list[Step]:
    def level() -> str:
        return chance.choice(LEVELS)

    def any_step() -> Step:
        n = chance.randrange(10**6)
        levels: dict[str, Any] = {chance.choice(("show_last_seen", "show_status", "show_profile_photo")): level()}
        flags: dict[str, Any] = {chance.choice(("show_read_receipts", "show_typing_indicator")): chance.random() < 0.5}
        seq = chance.randrange(1, 6)
        kinds: list[Step] = [
            be_there,
            ben_writes,
            ben_writes,
            ben_rewrites,
            ben_notes,
            ben_flips("show_read_receipts"),
            ben_flips("show_typing_indicator"),
            of_ben("message.read", seq=seq),
            of_ben("typing.set", kind="stopped"),
            by_anna(lambda _: ProfileSet(bio=f"at {n}", avatar_url=f"https://pictures.example.org/{n}.png")),
            by_anna(lambda _: PrivacySet(**levels)),
            by_anna(lambda _: PrivacySet(**flags)),
            by_anna(lambda tale: ContactRemove(user=tale.ben_id)),
            by_anna(
                lambda tale: MessageSend(conversation=tale.group, message=tale.name(f"message {n}"), content=f"at {n}")
            ),
            by_anna(lambda tale: MessageRead(conversation=tale.group, seq=1)),
            by_anna(lambda tale: TypingSet(conversation=tale.group, kind="stopped")),
            toward_ben(lambda tale: ContactSet(user=tale.ben_id, nickname=f"at {n}")),
            in_direct(lambda place, _: MessageRead(conversation=place, seq=seq)),
            in_direct(lambda place, _: MessageRead(conversation=place, seq=9999)),
            in_direct(lambda place, _: DeliveryAck(conversation=place, seq=9999)),
            in_direct(lambda place, _: TypingSet(conversation=place, kind="stopped")),
            in_direct(
                lambda place, tale: MessageSend(
                    conversation=place, message=tale.name(f"message {n}"), content=f"at {n}"
                )
            ),
            in_direct(lambda place, _: MessageHistory(conversation=place)),
            in_direct(lambda place, _: ConversationGet(conversation=place)),
        ]
        return chance.choice(kinds)

    steps: list[Step] = []
    if chance.random() < 0.8:
        steps.append(meet)
    steps += [any_step() for _ in range(chance.randrange(12))]
    if chance.random() < 0.7:
        steps += [ben_writes, in_direct(lambda place, _: MessageRead(conversation=place, seq=9999))]
    if chance.random() < 0.5:
        steps.append(toward_ben(lambda tale: ContactSet(user=tale.ben_id)))
        steps.append(by_anna(lambda _: PrivacySet(show_last_seen="contacts", show_profile_photo="contacts")))
    steps += [be_there, go]
    if chance.random() < 0.8:
        steps += [in_direct(lambda place, _: MessageRead(conversation=place, seq=9999)), meet]
    steps += [any_step() for _ in range(chance.randrange(4, 16))]
    return steps


async def told(people: World, worker: Worker, db: Sql, steps: list[Step], *, is_blocked: bool) -> list[str]:
    anna, cleo = await people.person("Anna", worker), await people.person("Cleo", worker)
    ben = await people.user("Ben")
    async with line(worker, await people.token(ben)) as socket:
        tale = Tale(worker, db, anna, cleo, socket, ben, is_blocked=is_blocked)
        await tale.begin()
        for step in steps:
            tale.began.append(datetime.now(UTC))
            await step(tale)
            await tale.look()
        return tale.account()


@pytest.mark.parametrize("seed", range(8))
async def test_the_blocked_one_sees_what_one_sees_of_somebody_who_went_offline(
    seed: int, people: World, db: Sql
) -> None:
    steps = story(random.Random(seed))
    worker = await people.worker(presence_ms=3_600_000)  # the story says when somebody is there

    blocked = await told(people, worker, db, steps, is_blocked=True)
    offline = await told(people, worker, db, steps, is_blocked=False)

    for number, (one, other) in enumerate(zip(blocked, offline, strict=False)):
        assert one == other, f"frame {number} of seed {seed}"
    assert len(offline) == len(blocked)
