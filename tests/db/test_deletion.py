"""What is left of a deletion, piece by piece; and leaving a conversation, which is a part of it."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from echo_ws_db import accounts, deletions, users
from echo_ws_db.deletions import PieceRow
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import World

LEAVE = "SELECT messages.leave($1, $2, TRUE)"
NEW_TOKEN = "INSERT INTO auth.refresh_tokens (user_id, token, device_id, expires_at) VALUES ($1, $2, 'phone', now())"


@pytest.fixture
async def writer(people: World) -> AsyncIterator[Sql]:
    """Yield a connection beside ``db``."""
    connection: Sql = await asyncpg.connect(people.database_url, server_settings={"timezone": "UTC"})
    yield connection
    await connection.close()


async def roles(db: Sql, room: UUID) -> dict[UUID, str]:
    rows = await db.fetch(
        "SELECT user_id, role FROM messages.members WHERE conversation_id = $1 AND left_seq IS NULL", room
    )
    return {row["user_id"]: row["role"] for row in rows}


async def last_rev(db: Sql, room: UUID) -> int:
    rev: int = await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", room)
    return rev


async def waits(people: World, connection: Sql) -> None:
    """Return once a connection waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
    await until(lambda: people.store.fetchval(waiting, connection.get_server_pid()))


# Leaving


@pytest.fixture
async def family(people: World) -> list[UUID]:
    return [await people.user(name) for name in ("Alice", "Bob", "Carol", "Dave")]


async def test_where_the_last_admin_goes_the_longest_standing_member_follows(
    people: World, db: Sql, family: list[UUID]
) -> None:
    alice, bob, carol, dave = family
    room = await people.room("group", alice, carol)
    for late in (dave, bob):
        await other_service.add(db, room, late)
    before = await last_rev(db, room)

    await db.execute(LEAVE, room, alice)

    assert {carol: "admin", dave: "member", bob: "member"} == await roles(db, room)
    assert before + 2 == await last_rev(db, room)
    listed = await people.store.fetchval("SELECT participants FROM messages.conversations WHERE id = $1", room)
    assert {str(carol), str(dave), str(bob)} == set(listed["user_ids"])
    assert [str(carol)] == listed["admins"]


async def test_another_admin_stays_the_only_one(people: World, db: Sql, family: list[UUID]) -> None:
    alice, bob, carol, _ = family
    room = await people.room("group", alice, bob, carol)
    await other_service.promote(db, room, carol)

    await db.execute(LEAVE, room, alice)

    assert {bob: "member", carol: "admin"} == await roles(db, room)


async def test_one_who_was_silenced_becomes_admin_only_where_nobody_else_is_left(
    people: World, db: Sql, family: list[UUID]
) -> None:
    alice, bob, carol, dave = family
    room = await people.room("group", alice, bob)
    await other_service.silence(db, room, bob)
    for late in (carol, dave):
        await other_service.add(db, room, late)

    for leaver in (alice, carol, dave):
        await db.execute(LEAVE, room, leaver)

    assert {bob: "admin"} == await roles(db, room)


async def test_a_reader_leaves_a_channel_and_never_inherits_it(people: World, db: Sql, family: list[UUID]) -> None:
    alice, bob, carol, _ = family
    room = await people.room("channel", alice)
    for reader in (bob, carol):
        await other_service.add_reader(db, room, reader)
    before = await last_rev(db, room)

    for leaver in (bob, alice):
        await db.execute(LEAVE, room, leaver)

    assert {carol: "reader"} == await roles(db, room)
    assert before + 2 == await last_rev(db, room)
    assert 1 == await db.fetchval("SELECT member_count FROM messages.heads WHERE conversation_id = $1", room)


async def test_where_the_list_is_broken_one_leaves_all_the_same(people: World, db: Sql, family: list[UUID]) -> None:
    alice, bob, *_ = family
    room = await people.room("group", alice, bob)
    await db.execute("UPDATE messages.conversations SET participants = '[]' WHERE id = $1", room)

    await db.execute(LEAVE, room, bob)

    assert {alice: "admin"} == await roles(db, room)


async def test_who_is_not_there_leaves_nothing_behind_no_number_either(
    people: World, db: Sql, family: list[UUID]
) -> None:
    alice, bob, carol, dave = family
    room = await people.room("group", alice, bob, carol)
    await db.execute(LEAVE, room, bob)
    before = await last_rev(db, room)

    for stranger in (bob, dave):
        await db.execute(LEAVE, room, stranger)

    assert (before, {alice: "admin", carol: "member"}) == (await last_rev(db, room), await roles(db, room))


async def test_of_all_who_leave_at_once_each_takes_one_number(people: World, db: Sql, family: list[UUID]) -> None:
    room = await people.room("group", *family)

    await asyncio.gather(*(people.store.execute(LEAVE, room, leaver) for leaver in family))

    assert {} == await roles(db, room)
    rows = await db.fetch("SELECT rev FROM messages.members WHERE conversation_id = $1 ORDER BY rev", room)
    assert len({row["rev"] for row in rows}) == len(family)
    assert rows[-1]["rev"] + 1 == await last_rev(db, room)  # whoever goes last closes it


# What is left of a deletion


async def test_a_runner_that_dies_in_the_middle_of_a_piece_leaves_it_whole_to_the_next(
    people: World, db: Sql, family: list[UUID]
) -> None:
    alice, bob, *_ = family
    group, direct = await people.room("group", alice, bob), await people.room("direct", alice, bob)
    for room in (group, direct):
        for _ in range(10):
            await other_service.post(db, room, alice)
            await other_service.post(db, room, bob)
    revs = {room: await last_rev(db, room) for room in (group, direct)}
    await accounts.delete(people.store, alice, "erase")

    died = 0
    while alice in await deletions.pending(people.store, 1000):
        transaction = db.transaction()
        await transaction.start()
        await deletions.go_on(db, alice, 3)
        await transaction.rollback()
        died += 1
        await deletions.go_on(people.store, alice, 3)

    assert died > 7
    assert {group: revs[group] + 12, direct: revs[direct] + 10} == {
        room: await last_rev(db, room) for room in (group, direct)
    }
    rows = await db.fetch(
        "SELECT from_user_id, deleted, content FROM messages.messages WHERE conversation_id = $1", direct
    )
    assert {(alice, True, ""), (bob, False, "from elsewhere")} == {tuple(row) for row in rows}


async def test_an_erased_message_says_nothing_of_others_either(people: World, db: Sql, family: list[UUID]) -> None:
    alice, bob, *_ = family
    room = await people.room("direct", alice, bob)
    message = await other_service.post(db, room, alice)
    await db.execute(
        "UPDATE messages.messages SET forwarded_from_id = id, mentions = ARRAY[$2::uuid], pinned_at = now(),"
        " pinned_by = $2 WHERE id = $1",
        message,
        bob,
    )
    await accounts.delete(people.store, alice, "erase")

    await deletions.go_on(people.store, alice, 3)

    row = await db.fetchrow(
        "SELECT deleted, forwarded_from_id, mentions, pinned_at, pinned_by FROM messages.messages WHERE id = $1",
        message,
    )
    assert (True, None, None, None, None) == tuple(row or ())


async def test_of_two_runners_at_one_deletion_one_waits_for_the_next_time(
    people: World, db: Sql, family: list[UUID]
) -> None:
    alice, *_ = family
    await accounts.delete(people.store, alice, "keep")

    async with db.transaction():
        first = await deletions.go_on(db, alice, 3)
        second = await deletions.go_on(people.store, alice, 3)

    assert (PieceRow(True, []), None) == (first, second)


async def test_a_message_that_was_on_its_way_when_the_account_went_is_erased_too(
    people: World, db: Sql, writer: Sql, family: list[UUID]
) -> None:
    """A send that was judged before the deletion holds the head of its conversation: it is waited for."""
    alice, bob, *_ = family
    room = await people.room("direct", alice, bob)
    async with db.transaction():
        await db.execute("SELECT FROM messages.heads WHERE conversation_id = $1 FOR NO KEY UPDATE", room)
        await accounts.delete(people.store, alice, "erase")
        going_on = asyncio.create_task(deletions.go_on(writer, alice, 3))
        await waits(people, writer)
        late = await other_service.post(db, room, alice, "a secret")

    assert PieceRow(False, [room]) == await going_on
    assert ("", True) == tuple(
        await db.fetchrow("SELECT content, deleted FROM messages.messages WHERE id = $1", late) or ()
    )


async def test_a_password_that_was_changed_meanwhile_deletes_nothing(
    people: World, db: Sql, family: list[UUID]
) -> None:
    alice, *_ = family

    refused = await accounts.delete_own(people.store, alice, uuid7(), "another hash", "erase")
    assert None is refused
    assert None is await db.fetchval("SELECT deleted_at FROM auth.users WHERE id = $1", alice)

    assert [] == await accounts.delete_own(people.store, alice, uuid7(), users.NO_PASSWORD, "erase")


async def test_a_refresh_and_a_send_under_way_are_waited_for_and_hold_nothing_up_for_good(
    people: World, db: Sql, writer: Sql, family: list[UUID]
) -> None:
    """Both refer to the user's row when the deletion has it already: they would wait for each other."""
    alice, bob, *_ = family
    room = await people.room("direct", alice, bob)
    await db.execute(NEW_TOKEN, alice, str(uuid7()))
    async with db.transaction():
        await db.execute("UPDATE auth.refresh_tokens SET revoked = TRUE WHERE user_id = $1", alice)
        deleting = asyncio.create_task(accounts.delete(writer, alice, "keep"))
        await waits(people, writer)
        await db.execute(NEW_TOKEN, alice, str(uuid7()))
        await other_service.post(db, room, alice)

    assert [] == await deleting
