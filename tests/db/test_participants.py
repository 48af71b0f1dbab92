"""`participants` has the shape of the reference and says what the members are, whoever writes it."""

import asyncio
import json
from random import Random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from echo_ws_db import participants
from echo_ws_db.rows import Refused
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.roll import check_list, members
from tests.support.waiting import until
from tests.support.world import World

ODD = [
    {"user_ids": []},
    {"user_ids": [], "admins": "all", "muted": 5},
    {"user_ids": "all", "admins": [], "muted": []},
    {"user_ids": [5, None, {}, "x", str(uuid4())], "admins": [[]]},
    [],
    {},
    None,
    "x",
]


@pytest.mark.parametrize("type_", ["direct", "group", "channel"])
@pytest.mark.parametrize("odd", ODD, ids=map(str, range(len(ODD))))
async def test_whatever_another_service_writes_the_list_keeps_its_shape(
    type_: str, odd: Any, people: World, db: Sql
) -> None:
    alice, bob = await people.user(), await people.user()
    room = await people.room(type_, alice, bob)

    await db.execute("UPDATE messages.conversations SET participants = $2 WHERE id = $1", room, json.dumps(odd))

    await check_list(db, room)


@pytest.mark.parametrize("odd", ODD, ids=map(str, range(len(ODD))))
async def test_a_new_conversation_of_another_service_has_it_too(odd: Any, db: Sql) -> None:
    room = await db.fetchval(
        "INSERT INTO messages.conversations (type, participants) VALUES ('group', $1) RETURNING id", json.dumps(odd)
    )

    await check_list(db, room)


async def test_ids_in_capitals_and_twice_are_one_and_what_is_theirs_stays(people: World, db: Sql) -> None:
    alice, bob = await people.user(), await people.user()
    room = await people.room("group", alice)
    listed = {"user_ids": [str(bob).upper(), str(bob)], "admins": [str(alice).upper()], "theirs": 1}

    await db.execute("UPDATE messages.conversations SET participants = $2 WHERE id = $1", room, json.dumps(listed))

    assert {alice, bob} == await members(db, room)
    await check_list(db, room)
    assert "1" == await db.fetchval("SELECT participants ->> 'theirs' FROM messages.conversations WHERE id = $1", room)


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_story_of_commands_and_other_services_list_and_members_agree(
    seed: int, people: World, db: Sql
) -> None:
    chance = Random(seed)
    users = [await people.user() for _ in range(5)]
    room = await people.room(chance.choice(["group", "channel"]), *users[:3])

    for _ in range(40):
        await step(chance, people, db, room, users)
        await check_list(db, room)


@pytest.mark.parametrize("seed", range(2))
async def test_eight_at_once_get_an_answer_each_and_list_and_members_agree(seed: int, people: World, db: Sql) -> None:
    """Neither a command nor the other service is the victim of a deadlock."""
    users = [await people.user() for _ in range(5)]
    rooms = [await people.room("group", *users[:3]), await people.room("channel", *users[:3])]

    async def act(n: int) -> None:
        chance = Random(100 * seed + n)
        own: Sql = await asyncpg.connect(people.database_url)
        for _ in range(15):
            await step(chance, people, own, chance.choice(rooms), users)
        await own.close()

    await asyncio.gather(*(act(n) for n in range(8)))

    for room in rooms:
        await check_list(db, room)


async def test_a_service_that_holds_the_row_and_then_writes_the_list_meets_no_deadlock(people: World, db: Sql) -> None:
    alice, bob, carol = [await people.user() for _ in range(3)]
    room = await people.room("group", alice)
    async with db.transaction():
        await db.execute("UPDATE messages.conversations SET last_message_at = CURRENT_TIMESTAMP WHERE id = $1", room)
        adding = asyncio.create_task(participants.add(people.store, room, alice, [bob], 1000))
        await until(lambda: people.store.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        await other_service.add(db, room, carol)

    await adding

    assert {alice, bob, carol} == await members(db, room)
    await check_list(db, room)


async def step(chance: Random, people: World, db: Sql, room: UUID, users: list[UUID]) -> None:
    """Let somebody do something to somebody; a refusal is an answer, too."""
    by, user = chance.choice(users[:2]), chance.choice(users)
    store = people.store
    what = chance.randrange(9)
    try:
        match what:
            case 0 | 1:
                await participants.add(store, room, by, chance.sample(users, 2), 1000)
            case 2:
                await participants.remove(store, room, by, user)
            case 3:
                await participants.set_role(store, room, by, user, is_admin=chance.random() < 0.7)
            case 4:
                await participants.silence(store, room, by, user, is_on=chance.random() < 0.5)
            case 5:
                await participants.leave(store, room, users[-1])
            case 6:
                await other_service.add(db, room, user)
            case 7:
                await other_service.silence(db, room, user)
            case _:
                await other_service.remove(db, room, users[-1])
    except Refused:
        pass
