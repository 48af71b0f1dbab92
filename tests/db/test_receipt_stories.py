"""Random stories of receipts against a model that keeps no watermarks.

It notes for each recipient of each message how far it came, and how much of that the others know.

A story is its seed; `RECEIPT_SEEDS=500 scripts/test tests/db/test_receipt_stories.py` tells more of them.
"""

import os
import random
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

import pytest

from echo_ws_db import contacts, conversations, messages, receipts
from echo_ws_db.messages import NewMessage
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.world import World

SEEDS = range(int(os.environ.get("RECEIPT_SEEDS", "6")))
LENGTH = 100
ORDER = ("sent", "delivered", "read")


@dataclass
class Letter:
    """A message, and how far it came with each of its recipients: in truth, and as far as the others know."""

    id: UUID
    sender: UUID
    truth: dict[UUID, str]
    known: dict[UUID, str]
    withheld_from: UUID | None = None
    is_deleted: bool = False
    hidden_from: set[UUID] = field(default_factory=set)


@dataclass
class Model:
    """One conversation; a letter's seq is its place, from 1 on."""

    kind: Literal["direct", "group"]
    present: set[UUID]
    letters: list[Letter] = field(default_factory=list)
    blocks: set[tuple[UUID, UUID]] = field(default_factory=set)
    silent: set[UUID] = field(default_factory=set)
    """Who shows no receipts."""
    since: dict[UUID, int] = field(default_factory=dict)
    """How many letters there were when somebody came, the last time."""

    def is_blocked_by_peer(self, sender: UUID) -> UUID | None:
        peers = [user for user in self.present if user != sender and (user, sender) in self.blocks]
        return peers[0] if self.kind == "direct" and peers else None

    def send(self, id_: UUID, sender: UUID) -> None:
        fresh = dict.fromkeys(self.present - {sender}, "sent")
        self.letters.append(Letter(id_, sender, fresh, dict(fresh), self.is_blocked_by_peer(sender)))

    def edit(self, letter: Letter) -> None:
        letter.withheld_from = letter.withheld_from or self.is_blocked_by_peer(letter.sender)

    def take(self, user: UUID, up_to: int, status: str) -> None:
        mine = self.letters[self.since.get(user, 0) :]
        for letter in mine[: max(0, up_to - self.since.get(user, 0))]:
            if user in letter.truth:
                letter.truth[user] = max(letter.truth[user], status, key=ORDER.index)
        if self.kind == "direct" and any(blocker == user for blocker, _ in self.blocks):
            return
        for letter in mine:
            if user in letter.known and letter.withheld_from != user:
                letter.known[user] = letter.truth[user]

    def told(self, letter: Letter, viewer: UUID) -> dict[UUID, str]:
        return {
            user: "delivered" if status == "read" and user != viewer and self.silent & {user, viewer} else status
            for user, status in letter.known.items()
        }

    def unread(self, user: UUID) -> int:
        last_read = max((n for n, each in enumerate(self.letters, 1) if each.truth.get(user) == "read"), default=0)
        return sum(
            not each.is_deleted and each.withheld_from != user and user not in each.hidden_from and user in each.truth
            for each in self.letters[max(last_read, self.since.get(user, 0)) :]
        )


class Story:
    """The same done to a database and to the model."""

    def __init__(self, seed: int, people: World, db: Sql, conversation: UUID, users: list[UUID], model: Model) -> None:
        self.chance = random.Random(seed)  # a story is its seed
        self.store, self.db = people.store, db
        self.conversation, self.users, self.model = conversation, users, model
        self.tracked = self.chance.choice([0, 32])

    async def go_on(self) -> None:
        person = self.chance.choice(sorted(self.model.present))
        deeds = {"send": 6, "take": 8, "edit": 2, "delete": 1, "hide": 1, "show": 1, "block": 3}
        if self.model.kind == "group":
            deeds |= {"come_or_go": 2}
        (deed,) = self.chance.choices(list(deeds), list(deeds.values()))
        await getattr(self, deed)(person)

    async def send(self, person: UUID) -> None:
        if self.model.kind == "direct" and any(blocker == person for blocker, _ in self.model.blocks):
            return
        id_ = uuid7()
        await messages.send(
            self.store, [NewMessage(id_, self.conversation, person, "hi")], tracked_members=self.tracked, wait=True
        )
        self.model.send(id_, person)

    async def take(self, person: UUID) -> None:
        """Receive or read up to somewhere, beyond the end too."""
        up_to, is_read = self.chance.randint(0, len(self.model.letters) + 1), self.chance.random() < 0.5
        await receipts.acknowledge(self.store, self.conversation, person, up_to, is_read=is_read)
        self.model.take(person, up_to, "read" if is_read else "delivered")

    async def edit(self, person: UUID) -> None:
        if mine := [each for each in self.model.letters if each.sender == person and not each.is_deleted]:
            letter = self.chance.choice(mine)
            await messages.edit(
                self.store, self.conversation, letter.id, person, f"hi {self.chance.random()}", window_s=0
            )
            self.model.edit(letter)

    async def delete(self, person: UUID) -> None:
        if mine := [each for each in self.model.letters if each.sender == person]:
            letter = self.chance.choice(mine)
            await messages.remove(self.store, self.conversation, letter.id, person)
            letter.is_deleted = True

    async def hide(self, person: UUID) -> None:
        if self.model.letters:
            letter = self.chance.choice(self.model.letters)
            await messages.hide(self.store, self.conversation, letter.id, person)
            letter.hidden_from.add(person)

    async def show(self, person: UUID) -> None:
        self.model.silent ^= {person}
        await self.db.execute(
            "UPDATE users.privacy_settings SET show_read_receipts = $2 WHERE user_id = $1",
            person,
            person not in self.model.silent,
        )

    async def block(self, person: UUID) -> None:
        other = self.chance.choice([user for user in self.users if user != person])
        self.model.blocks ^= {(person, other)}
        is_on = (person, other) in self.model.blocks
        await contacts.block(self.store, person, other, is_on=is_on, reason=None)

    async def come_or_go(self, _: UUID) -> None:
        """Anybody but the one who made the group."""
        person = self.chance.choice(self.users[1:])
        if person in self.model.present:
            await other_service.remove(self.db, self.conversation, person)
        else:
            await other_service.add(self.db, self.conversation, person)
            self.model.since[person] = len(self.model.letters)
        self.model.present ^= {person}

    async def compare(self) -> None:
        for letter in self.model.letters:
            rows = await self.db.fetch(
                "SELECT user_id, status FROM messages.delivery_tracking WHERE message_id = $1", letter.id
            )
            assert letter.known == dict.fromkeys(letter.known, "sent") | {row["user_id"]: row["status"] for row in rows}
            for viewer in self.model.present:
                assert self.model.told(letter, viewer) == await self._shown(letter, viewer)
        for user in self.model.present:
            summary = await conversations.summary(self.store, self.conversation, user)
            assert summary
            assert self.model.unread(user) == summary.unread

    async def _shown(self, letter: Letter, viewer: UUID) -> dict[UUID, str]:
        rows = await receipts.recipients(self.store, letter.id, viewer, None, 100)
        totals = await receipts.totals(self.store, self.conversation, letter.id, viewer)
        is_readable = not letter.is_deleted and viewer not in letter.hidden_from and viewer != letter.withheld_from
        assert is_readable == (totals is not None)
        if totals:
            words = [row.status for row in rows]
            assert (len(words), len(words) - words.count("sent"), words.count("read")) == totals[1:]
        return {row.user_id: row.status for row in rows}


@pytest.mark.parametrize("kind", ["direct", "group"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_rows_and_counts_are_exact_after_any_story(
    seed: int, kind: Literal["direct", "group"], people: World, db: Sql
) -> None:
    users = [await people.user() for _ in range(2 if kind == "direct" else 4)]
    conversation = await people.room(kind, *users)
    story = Story(seed, people, db, conversation, users, Model(kind, set(users)))

    for _ in range(LENGTH):
        await story.go_on()

    await story.compare()
