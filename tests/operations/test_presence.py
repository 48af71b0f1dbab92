"""Presence: who watches somebody sees who is there, as far as it is shown; a killed worker leaves no ghosts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from echo_ws.broker import MemoryBroker
from echo_ws.client import Client
from echo_ws.feed import Feed
from echo_ws.hub import Hub
from echo_ws.metrics import Metrics
from echo_ws.presences import Presences
from echo_ws.settings import Settings
from echo_ws_db import presences
from echo_ws_protocol.commands import ContactBlock, PresenceSet, PresenceWatch, TypingSet
from echo_ws_protocol.events import Presence, Typing
from tests.support.doors import post
from tests.support.other_service import Sql
from tests.support.waiting import heard, until
from tests.support.world import Worker, World


async def look_at(viewer: Client, *users: UUID) -> list[Presence]:
    return (await viewer.call(PresenceWatch(users=list(users)))).presences


async def sees(viewer: Client, user: UUID, status: str | None) -> Presence:
    return await viewer.next(Presence, lambda presence: (presence.user, presence.status) == (user, status))


async def is_shown_as(db: Sql, user: UUID, status: str) -> None:
    async def shown() -> bool:
        return bool(await db.fetchval("SELECT status FROM users.profiles WHERE user_id = $1", user) == status)

    await until(shown)


async def show(db: Sql, user: UUID, **levels: object) -> None:
    for setting, level in levels.items():
        await db.execute(f"UPDATE users.privacy_settings SET {setting} = $2 WHERE user_id = $1", user, level)


async def test_who_is_watched_is_seen_coming_and_going(alice: Client, people: World, worker: Worker, db: Sql) -> None:
    bob = await people.user("Bob")
    assert ["offline"] == [presence.status for presence in await look_at(alice, bob)]

    device = await people.device(bob, worker)
    await sees(alice, bob, "online")
    await device.call(PresenceSet(status="busy"))
    await sees(alice, bob, "busy")
    await device.close()

    gone = await sees(alice, bob, "offline")
    assert gone.last_seen
    assert timedelta(0) < datetime.now(UTC) - gone.last_seen < timedelta(seconds=30)
    row = await db.fetchrow("SELECT status, last_seen FROM users.profiles WHERE user_id = $1", bob)
    assert row
    assert ("offline", gone.last_seen.replace(tzinfo=None)) == (row["status"], row["last_seen"])


async def test_another_worker_sees_it_too(alice: Client, bob: Client, people: World, db: Sql) -> None:
    elsewhere = await people.device(alice.user, await people.worker())
    await is_shown_as(db, bob.user, "online")
    await look_at(elsewhere, bob.user)

    await bob.call(PresenceSet(status="away"))

    await sees(elsewhere, bob.user, "away")


async def test_one_device_of_two_that_goes_is_no_departure(
    alice: Client, bob: Client, people: World, worker: Worker, db: Sql
) -> None:
    phone = await people.device(bob.user, await people.worker())
    await phone.call(PresenceSet(status="away"))
    await is_shown_as(db, bob.user, "online")
    await look_at(alice, bob.user)

    await bob.close()

    assert "away" == (await alice.next(Presence)).status


async def test_who_comes_back_at_once_was_never_gone(alice: Client, people: World, worker: Worker, db: Sql) -> None:
    bob = await people.user("Bob")
    device = await people.device(bob, worker)
    await is_shown_as(db, bob, "online")
    await look_at(alice, bob)

    await device.close()
    back = await people.device(bob, worker)
    await back.call(PresenceSet(status="busy"))

    assert "busy" == (await alice.next(Presence)).status


async def test_who_is_watched_no_more_is_heard_of_no_more(alice: Client, bob: Client, carol: Client, db: Sql) -> None:
    for person in (bob, carol):
        await is_shown_as(db, person.user, "online")
    await look_at(alice, bob.user, carol.user)
    await look_at(alice, carol.user)

    await bob.call(PresenceSet(status="busy"))
    await is_shown_as(db, bob.user, "busy")
    await carol.call(PresenceSet(status="busy"))

    assert carol.user == (await alice.next(Presence)).user


@pytest.mark.parametrize("who", ["owner", "viewer"])
@pytest.mark.parametrize("level", ["contacts", "nobody"])
async def test_what_is_not_shown_is_not_seen_and_who_hides_sees_nothing(
    who: str, level: str, alice: Client, bob: Client, db: Sql
) -> None:
    hides = {"owner": bob, "viewer": alice}[who]
    await is_shown_as(db, bob.user, "online")
    await show(db, hides.user, show_status=level)

    (seen,) = await look_at(alice, bob.user)
    await bob.call(PresenceSet(status="busy"))
    told = await alice.next(Presence)

    assert (None, True) == (seen.status, seen.last_seen is not None)
    assert (None, True) == (told.status, told.last_seen is not None)


async def test_contacts_see_what_is_for_contacts(alice: Client, bob: Client, db: Sql) -> None:
    await is_shown_as(db, bob.user, "online")
    await show(db, bob.user, show_status="contacts", show_last_seen="nobody")
    await db.execute("INSERT INTO users.contacts (user_id, contact_user_id) VALUES ($1, $2)", bob.user, alice.user)

    (seen,) = await look_at(alice, bob.user)

    assert ("online", None) == (seen.status, seen.last_seen)


async def test_to_the_blocked_one_it_is_as_if_the_other_had_gone(alice: Client, bob: Client, db: Sql) -> None:
    await is_shown_as(db, bob.user, "online")
    await is_shown_as(db, alice.user, "online")
    await look_at(alice, bob.user)
    await look_at(bob, alice.user)

    await bob.call(ContactBlock(user=alice.user))

    gone = await sees(alice, bob.user, "offline")
    assert (None, None) == ((hidden := await bob.next(Presence)).status, hidden.last_seen)
    await bob.call(PresenceSet(status="busy"))
    await is_shown_as(db, bob.user, "busy")
    (again,) = await look_at(alice, bob.user)
    assert gone == again
    assert [] == await heard(alice, Presence)


async def test_unblocked_one_sees_again(alice: Client, bob: Client, db: Sql) -> None:
    await is_shown_as(db, bob.user, "online")
    await bob.call(ContactBlock(user=alice.user))
    await look_at(alice, bob.user)

    await bob.call(ContactBlock(user=alice.user, on=False))

    await sees(alice, bob.user, "online")


async def test_by_post_one_looks_once_and_has_no_presence(
    alice: Client, bob: Client, people: World, worker: Worker, db: Sql
) -> None:
    await is_shown_as(db, bob.user, "online")
    token = await people.token(alice.user)

    seen = await post(worker, token, "presence.watch", users=[bob.user])
    said = await post(worker, token, "presence.set", status="busy")

    assert ["online"] == [presence["status"] for presence in seen.json["ok"]["presences"]]
    assert (400, "bad_field") == (said.status, said.json["error"]["code"])


# Workers that are killed


class Node:
    """What of a worker is concerned with presence, without connections."""

    def __init__(self, world: World, **settings: float) -> None:
        self.statuses: dict[UUID, list[str]] = {}
        loop = asyncio.get_running_loop()
        feed = Feed(world.store, MemoryBroker(), Hub(), Metrics(), sweep_s=2)
        chosen = Settings(presence_ms=20, presence_grace_s=0.1, **settings)  # type: ignore[arg-type]  # numbers
        self.presences = Presences(world.store, feed, chosen, lambda user: self.statuses.get(user, []), loop.time)  # type: ignore[arg-type,return-value]  # words of the protocol
        self._task = asyncio.create_task(self.presences.run())

    def has(self, user: UUID, *statuses: str) -> None:
        self.statuses[user] = list(statuses)
        self.presences.changed(user)

    async def kill(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture
async def nodes(people: World) -> AsyncIterator[tuple[Node, Node]]:
    pair = Node(people, presence_lease_s=0.4), Node(people, presence_lease_s=0.4)
    yield pair
    for node in pair:
        await node.kill()
        await node.presences.close()


async def test_a_killed_worker_leaves_no_ghosts(nodes: tuple[Node, Node], people: World, db: Sql) -> None:
    first, _ = nodes
    user = await people.user()
    first.has(user, "online")
    await is_shown_as(db, user, "online")

    await first.kill()

    await is_shown_as(db, user, "offline")


async def test_who_is_on_another_worker_as_well_stays(nodes: tuple[Node, Node], people: World, db: Sql) -> None:
    first, second = nodes
    user, ghost = await people.user(), await people.user()
    first.has(user, "busy")
    first.has(ghost, "online")
    second.has(user, "away")
    await is_shown_as(db, user, "busy")
    await is_shown_as(db, ghost, "online")

    await first.kill()
    await is_shown_as(db, ghost, "offline")

    await is_shown_as(db, user, "away")


async def test_a_crash_of_postgresql_is_made_good(nodes: tuple[Node, Node], people: World, db: Sql) -> None:
    """Unlogged tables are empty after it."""
    first, _ = nodes
    user = await people.user()
    first.has(user, "online")
    await is_shown_as(db, user, "online")

    await db.execute("DELETE FROM users.leases")
    await db.execute("UPDATE users.profiles SET status = 'offline' WHERE user_id = $1", user)

    await is_shown_as(db, user, "online")


async def test_workers_that_speak_of_one_user_at_once_agree_in_the_end(people: World, db: Sql) -> None:
    user = await people.user()
    workers = [uuid4() for _ in range(8)]
    for worker in workers:
        await presences.renew(people.store, worker, 60)

    await asyncio.gather(*(presences.note(people.store, worker, [user], ["online"], [0]) for worker in workers))
    await asyncio.gather(*(presences.note(people.store, worker, [user], ["offline"], [0]) for worker in workers[1:]))
    assert "online" == await db.fetchval("SELECT status FROM users.profiles WHERE user_id = $1", user)
    await presences.note(people.store, workers[0], [user], ["offline"], [0])

    assert "offline" == await db.fetchval("SELECT status FROM users.profiles WHERE user_id = $1", user)


# Typing, by the same rules


@pytest.mark.parametrize("who", ["typist", "other"])
async def test_who_shows_no_typing_is_shown_none(
    who: str, group: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    await show(db, {"typist": alice, "other": bob}[who].user, show_typing_indicator=False)

    await alice.call(TypingSet(conversation=group))

    assert [] == await heard(bob, Typing)
    assert (0 if who == "typist" else 1) == len(await heard(carol, Typing))


@pytest.mark.parametrize("blocks", ["typist", "other"])
async def test_nobody_types_to_one_who_is_blocked(blocks: str, direct: UUID, alice: Client, bob: Client) -> None:
    who, whom = {"typist": (alice, bob), "other": (bob, alice)}[blocks]
    await who.call(ContactBlock(user=whom.user))

    await alice.call(TypingSet(conversation=direct))

    assert [] == await heard(bob, Typing)


async def test_in_a_crowd_nobody_is_told_who_types(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await db.execute("UPDATE messages.heads SET member_count = 201 WHERE conversation_id = $1", group)

    await alice.call(TypingSet(conversation=group))

    assert [] == await heard(bob, Typing)
