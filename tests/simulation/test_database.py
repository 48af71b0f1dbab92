"""The database of the simulation answers what PostgreSQL answers, after any story."""

import json
from random import Random
from typing import Any
from uuid import UUID

import pytest

from echo_ws_db import changes, conversations, messages
from echo_ws_db.messages import NewMessage
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.world import World

from .database import Database

STEPS = 60


class Twins:
    """The same story, told to both."""

    def __init__(self, world: World, db: Sql, users: list[UUID], chance: Random) -> None:
        self.world = world
        self.db = db
        self.model = Database()
        self.users = users
        self.chance = chance
        self.room = uuid7()

    async def begin(self) -> None:
        first = self.users[:2]
        await conversations.create(self.world.store, self.room, "group", None, first[0], first[1:])
        self.model.create(self.room, first)

    async def step(self) -> None:
        await self.chance.choice([self.send] * 3 + [self.edit, self.erase, self.come_or_go, self.open_or_close])()

    async def send(self) -> None:
        row = (uuid7(), self.room, self.chance.choice(self.users), self.chance.choice("abc"), None)
        (real,) = await messages.send(self.world.store, [NewMessage(*row)], tracked_members=9, wait=True)
        (modelled,) = self.model.answer(messages.SQL.send, [*([value] for value in row), 9, True])
        assert (real.outcome, real.is_new, real.seq, real.rev) == (*modelled[1:3], *modelled[3:5])

    async def edit(self) -> None:
        if message := self.some_message():
            await self.change(messages.SQL.edit, message, self.sender_of(message), self.chance.choice("abc"), 0.0)

    async def erase(self) -> None:
        if message := self.some_message():
            await self.change(messages.SQL.remove, message, self.sender_of(message))

    async def change(self, sql: str, message: UUID, *args: Any) -> None:
        real = await self.world.store.fetchrow(sql, self.room, message, *args)
        (modelled,) = self.model.answer(sql, (self.room, message, *args))
        assert real[0] == modelled[0]

    async def come_or_go(self) -> None:
        user, room = self.chance.choice(self.users[1:]), self.model.conversations[self.room]
        if room.has(user):
            await other_service.remove(self.db, self.room, user)
            self.model.remove(room, user)
        else:
            await other_service.add(self.db, self.room, user)
            self.model.add(room, user)

    async def open_or_close(self) -> None:
        room = self.model.conversations[self.room]
        if room.is_deleted:
            await other_service.reopen(self.db, self.room)
            self.model.reopen(room)
        else:
            await other_service.close(self.db, self.room)
            self.model.close(room)

    def sender_of(self, message: UUID) -> UUID:
        return self.model.conversations[self.room].messages[message].sender

    def some_message(self) -> UUID | None:
        known = [*self.model.conversations[self.room].messages]
        return self.chance.choice(known) if known else None

    async def compare(self) -> None:
        """Ask both everything that a node or a client may ask."""
        rev = self.chance.randint(0, self.model.conversations[self.room].last_rev)
        limit = self.chance.choice((1, 3, 100))
        await self.ask(changes.SQL.of_conversation, self.room, rev, limit)
        await self.ask(changes.SQL.conversation_heads, [self.room])
        await self.ask(changes.SQL.user_heads, self.users)
        for user in self.users:
            await self.ask(changes.SQL.places, user)
            await self.ask(changes.SQL.of_user, user, rev % 5, limit)
            await self.ask(changes.SQL.standing, user, [self.room])
            await self.ask(changes.SQL.missed, user, [self.room], [rev], limit)

    async def ask(self, sql: str, *args: Any) -> None:
        real = [tuple(map(plain, row)) for row in await self.world.store.fetch(sql, *args)]
        modelled = [tuple(map(plain, row)) for row in self.model.answer(sql, args)]
        assert sorted(real, key=repr) == sorted(modelled, key=repr)


ROLES = {"admin": "member"}  # who creates a group is its admin; the model knows members only
SHOWN = {
    *("id", "conversation_id", "seq", "rev", "from_user_id", "content", "edited", "deleted"),
    *("user_id", "left_seq", "deleted_at"),
}


def plain(value: Any) -> Any:
    """Return what counts of a column: of a body as JSON, the fields that the model knows."""
    if not isinstance(value, str):
        return value
    if value[:1] != "{":
        return ROLES.get(value, value)
    fields = {name: field for name, field in json.loads(value).items() if name in SHOWN}
    return tuple(sorted({**fields, "deleted_at": bool(fields.get("deleted_at"))}.items()))


@pytest.mark.parametrize("seed", range(4))
async def test_both_answer_the_same(seed: int, people: World, db: Sql) -> None:
    twins = Twins(people, db, [await people.user() for _ in range(3)], Random(seed))
    await twins.begin()

    for _ in range(STEPS):
        await twins.step()
        await twins.compare()
