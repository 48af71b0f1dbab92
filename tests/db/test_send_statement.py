"""The law of the write path, on connections of its own: numbers without holes, and permission that is fresh."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest

from echo_ws_db import messages
from echo_ws_db.messages import NewMessage, SendRow
from echo_ws_db.rows import Refused
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import World


class Room(NamedTuple):
    """A group of three who need not be connected; Alice is its admin."""

    id: UUID
    alice: UUID
    bob: UUID
    carol: UUID

    def new(
        self, content: str = "hi", *, sender: UUID | None = None, reply_to: UUID | None = None, id_: UUID | None = None
    ) -> NewMessage:
        return NewMessage(id_ or uuid7(), self.id, sender or self.bob, content, reply_to)


async def open_room(people: World) -> Room:
    alice, bob, carol = [await people.user(name) for name in ("Alice", "Bob", "Carol")]
    return Room(await people.room("group", alice, bob, carol), alice, bob, carol)


@pytest.fixture
async def room(people: World) -> Room:
    return await open_room(people)


@pytest.fixture
async def writer(people: World) -> AsyncIterator[Sql]:
    """Yield a connection beside ``db``."""
    connection: Sql = await asyncpg.connect(people.database_url)
    yield connection
    await connection.close()


async def send(db: Sql, *batch: NewMessage, tracked: int = 32, wait: bool = False) -> list[SendRow]:
    return await messages.send(db, batch, tracked_members=tracked, wait=wait)


async def outcomes(db: Sql, *batch: NewMessage) -> list[str]:
    return [row.outcome for row in await send(db, *batch)]


async def head(db: Sql, room: Room) -> tuple[int, int]:
    row = await db.fetchrow("SELECT last_seq, last_rev FROM messages.heads WHERE conversation_id = $1", room.id)
    assert row is not None
    return row["last_seq"], row["last_rev"]


@asynccontextmanager
async def locked(db: Sql, room: Room) -> AsyncIterator[None]:
    """Hold the lock that every change of a conversation takes first."""
    async with db.transaction():
        await db.execute("SELECT FROM messages.heads WHERE conversation_id = $1 FOR NO KEY UPDATE", room.id)
        yield


async def waits(people: World, connection: Sql) -> None:
    """Return once a connection waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
    await until(lambda: people.store.fetchval(waiting, connection.get_server_pid()))


# Fresh permission


async def test_a_removal_committed_between_snapshot_and_lock_is_obeyed_and_burns_no_number(
    room: Room, people: World, db: Sql, writer: Sql
) -> None:
    async with locked(db, room):
        sending = asyncio.create_task(send(writer, room.new(), wait=True))
        await waits(people, writer)
        await other_service.remove(db, room.id, room.bob)

    assert ["not_found"] == [row.outcome for row in await sending]
    (next_one,) = await send(writer, room.new(sender=room.alice))
    assert 1 == next_one.seq


async def test_a_silence_committed_meanwhile_is_obeyed_for_one_and_not_for_the_others(
    room: Room, people: World, db: Sql, writer: Sql
) -> None:
    batch = [room.new(), room.new(sender=room.alice), room.new(), room.new(sender=room.carol)]
    async with locked(db, room):
        sending = asyncio.create_task(send(writer, *batch, wait=True))
        await waits(people, writer)
        await other_service.silence(db, room.id, room.bob)

    assert [("silenced", None), ("ok", 1), ("silenced", None), ("ok", 2)] == [
        (row.outcome, row.seq) for row in await sending
    ]


async def test_the_end_of_a_conversation_committed_meanwhile_is_obeyed(
    room: Room, people: World, db: Sql, writer: Sql
) -> None:
    async with locked(db, room):
        sending = asyncio.create_task(send(writer, room.new(), wait=True))
        await waits(people, writer)
        await other_service.close(db, room.id)

    assert ["not_found"] == [row.outcome for row in await sending]


Change = Callable[[Sql, Room, UUID], Awaitable[object]]


@pytest.mark.parametrize(
    "change",
    [
        lambda db, room, message: messages.edit(db, room.id, message, room.bob, "changed", window_s=0),
        lambda db, room, message: messages.remove(db, room.id, message, room.bob),
        lambda db, room, message: messages.react(db, room.id, message, room.bob, "👍", is_on=True),
    ],
    ids=["edit", "remove", "react"],
)
async def test_so_it_is_with_every_other_change(
    change: Change, room: Room, people: World, db: Sql, writer: Sql
) -> None:
    message = room.new()
    await send(writer, message)
    async with locked(db, room):
        changing = asyncio.ensure_future(change(writer, room, message.id))
        await waits(people, writer)
        await other_service.remove(db, room.id, room.bob)
        after_removal = await head(db, room)

    with pytest.raises(Refused, match="not_found"):
        await changing

    assert after_removal == await head(db, room)
    assert "hi" == await db.fetchval("SELECT content FROM messages.messages WHERE id = $1", message.id)


async def test_strangers_do_not_wait_for_the_lock(room: Room, people: World, db: Sql, writer: Sql) -> None:
    stranger = await people.user("Stranger")

    async with locked(db, room):
        (row,) = await asyncio.wait_for(send(writer, room.new(sender=stranger), wait=True), 1)

    assert "not_found" == row.outcome


async def test_a_locked_head_is_busy_unless_one_waits(room: Room, db: Sql, writer: Sql, people: World) -> None:
    elsewhere = await open_room(people)
    async with locked(db, room):
        assert ["busy", "ok"] == await outcomes(writer, room.new(), elsewhere.new())

    assert (0, 1) == await head(db, room)


# Ids


async def test_a_message_that_is_there_gets_its_first_answer_and_takes_no_number(room: Room, db: Sql) -> None:
    message = room.new()
    (first,) = await send(db, message)

    (again,) = await send(db, message._replace(content="something else"))

    assert (True, False) == (first.is_new, again.is_new)
    assert (first.seq, first.created_at, "ok") == (again.seq, again.created_at, again.outcome)
    assert (1, 2) == await head(db, room)


async def test_a_retry_is_known_before_permissions_are_looked_at(room: Room, db: Sql) -> None:
    message = room.new()
    (first,) = await send(db, message)
    await other_service.remove(db, room.id, room.bob)

    (again,) = await send(db, message)

    assert ("ok", first.seq) == (again.outcome, again.seq)


async def test_a_retry_does_not_wait_for_the_lock(room: Room, db: Sql, writer: Sql) -> None:
    message = room.new()
    await send(writer, message)

    async with locked(db, room):
        assert ["ok"] == await outcomes(writer, message)


async def test_somebody_elses_id_is_a_conflict_without_any_number(room: Room, people: World, db: Sql) -> None:
    elsewhere = await open_room(people)
    taken = room.new()
    await send(db, taken)

    rows = await send(
        db,
        room.new(sender=room.alice, id_=taken.id),
        elsewhere.new(sender=room.bob, id_=uuid7()),
    )
    (from_elsewhere,) = await send(db, elsewhere.new(id_=taken.id))

    for row in (rows[0], from_elsewhere):
        assert ("id_conflict", None, None) == (row.outcome, row.rev, row.seq)
        assert row.created_at is None
    assert "not_found" == rows[1].outcome


async def test_a_retry_of_what_another_service_erased_does_not_bring_it_back(room: Room, db: Sql) -> None:
    message = room.new()
    (first,) = await send(db, message)
    await other_service.erase(db, message.id)

    (again,) = await send(db, message)

    assert ("ok", False, first.seq) == (again.outcome, again.is_new, again.seq)
    assert not await db.fetchval("SELECT count(*) FROM messages.messages WHERE id = $1", message.id)


# Replies


async def test_a_reply_to_an_earlier_row_of_the_same_batch_is_stored(room: Room, db: Sql) -> None:
    question = room.new("tea?")
    answer = room.new("yes", sender=room.alice, reply_to=question.id)
    thanks = room.new("good", reply_to=answer.id)

    assert ["ok", "ok", "ok"] == await outcomes(db, question, answer, thanks)
    assert {(question.id, answer.id), (answer.id, thanks.id)} == {
        tuple(row)
        for row in await db.fetch(
            """
            SELECT parent_message_id, reply_message_id
            FROM messages.threads t JOIN messages.messages m ON m.id = t.reply_message_id WHERE m.conversation_id = $1
            """,
            room.id,
        )
    }


async def test_a_reply_to_a_later_row_or_to_itself_is_refused(room: Room, db: Sql) -> None:
    later, own = uuid7(), uuid7()

    assert ["bad_reply", "ok", "bad_reply"] == await outcomes(
        db, room.new(reply_to=later), room.new(id_=later), room.new(id_=own, reply_to=own)
    )


async def test_a_reply_across_conversations_is_refused(room: Room, people: World, db: Sql) -> None:
    elsewhere = await open_room(people)
    stored, same_batch = elsewhere.new(), elsewhere.new()
    await send(db, stored)

    assert ["ok", "bad_reply", "bad_reply"] == await outcomes(
        db, same_batch, room.new(reply_to=same_batch.id), room.new(reply_to=stored.id)
    )


async def test_a_reply_to_a_refused_row_of_the_batch_is_refused_and_so_are_replies_to_that(room: Room, db: Sql) -> None:
    refused = room.new(reply_to=uuid7())
    reply = room.new(sender=room.alice, reply_to=refused.id)
    reply_to_that = room.new(sender=room.carol, reply_to=reply.id)

    assert ["bad_reply", "bad_reply", "bad_reply", "ok"] == await outcomes(
        db, refused, reply, reply_to_that, room.new()
    )
    assert (1, 2) == await head(db, room)


async def test_a_taken_id_cannot_be_used_to_reply_across_conversations(room: Room, people: World, db: Sql) -> None:
    elsewhere = await open_room(people)
    secret = elsewhere.new("a secret")
    await send(db, secret)

    assert ["id_conflict", "bad_reply"] == await outcomes(db, room.new(id_=secret.id), room.new(reply_to=secret.id))


async def test_a_reply_to_a_silenced_row_of_the_batch_is_refused(room: Room, db: Sql) -> None:
    await other_service.silence(db, room.id, room.bob)
    silenced = room.new()

    assert ["silenced", "bad_reply"] == await outcomes(db, silenced, room.new(sender=room.alice, reply_to=silenced.id))


# Who may


async def test_readers_of_a_channel_are_forbidden_and_its_posters_are_not(people: World, db: Sql) -> None:
    poster, reader = await people.user("Poster"), await people.user("Reader")
    channel = await people.room("channel", poster)
    await other_service.add_reader(db, channel, reader)

    rows = await send(
        db,
        NewMessage(uuid7(), channel, reader, "hi", None),
        NewMessage(uuid7(), channel, poster, "news", None),
    )

    assert [("admins_only", None), ("ok", 1)] == [(row.outcome, row.seq) for row in rows]


async def test_one_outcome_comes_back_for_each_row_in_the_order_given(room: Room, people: World, db: Sql) -> None:
    elsewhere = await open_room(people)
    stored = room.new()
    await send(db, stored)

    rows = await send(
        db,
        room.new(sender=elsewhere.bob),
        elsewhere.new(),
        stored,
        room.new(),
        elsewhere.new(id_=stored.id),
        room.new(reply_to=uuid7()),
        elsewhere.new(),
    )

    assert [1, 2, 3, 4, 5, 6, 7] == [row.n for row in rows]
    assert ["not_found", "ok", "ok", "ok", "id_conflict", "bad_reply", "ok"] == [row.outcome for row in rows]
    assert [None, 1, 1, 2, None, None, 2] == [row.seq for row in rows]


# Numbers


async def test_eight_writers_at_once_leave_no_hole(room: Room, people: World, db: Sql) -> None:
    async def write(connection: Sql) -> list[SendRow]:
        rows = []
        for size in (1, 3, 2, 5):
            batch = [room.new(sender=sender) for sender in (room.alice, room.bob, room.carol, room.bob, room.alice)]
            rows += await send(connection, *batch[:size], room.new(reply_to=uuid7()), wait=True)
        return rows

    async with AsyncExitStack() as stack:
        connections = [
            await stack.enter_async_context(await asyncpg.create_pool(people.database_url, min_size=1, max_size=1))
            for _ in range(8)
        ]
        written = await asyncio.gather(*(pool_writes(pool, write) for pool in connections))

    stored = [row for rows in written for row in rows if row.outcome == "ok"]
    assert list(range(1, 89)) == sorted(row.seq or 0 for row in stored)
    assert list(range(2, 90)) == sorted(row.rev or 0 for row in stored)
    assert (88, 89) == await head(db, room)


async def pool_writes(
    pool: "asyncpg.Pool[asyncpg.Record]", write: Callable[[Sql], Awaitable[list[SendRow]]]
) -> list[SendRow]:
    async with pool.acquire() as connection:
        return await write(connection)  # type: ignore[arg-type]  # a proxy of it


async def test_numbers_follow_the_order_of_commits(room: Room, people: World, db: Sql, writer: Sql) -> None:
    async with db.transaction():
        (first,) = await send(db, room.new(sender=room.alice))
        sending = asyncio.create_task(send(writer, room.new(), wait=True))
        await waits(people, writer)

    (second,) = await sending
    assert [(1, 2), (2, 3)] == [(row.seq, row.rev) for row in (first, second)]


async def test_a_batch_that_is_rolled_back_leaves_no_hole(room: Room, db: Sql) -> None:
    rolled_back = db.transaction()
    await rolled_back.start()
    await send(db, room.new(), room.new())
    await rolled_back.rollback()

    (row,) = await send(db, room.new())

    assert (1, 2) == (row.seq, row.rev)


# What is written beside


@pytest.mark.parametrize(("tracked", "rows"), [(2, 0), (3, 2), (4, 2)])
async def test_delivery_rows_are_written_up_to_so_many_members_and_none_above(
    tracked: int, rows: int, room: Room, db: Sql
) -> None:
    message = room.new()

    await send(db, message, tracked=tracked)

    assert rows == await db.fetchval(
        "SELECT count(*) FROM messages.delivery_tracking WHERE message_id = $1 AND user_id <> $2", message.id, room.bob
    )


async def test_those_who_left_have_no_delivery_row(room: Room, db: Sql) -> None:
    await other_service.remove(db, room.id, room.carol)
    message = room.new()

    await send(db, message)

    assert [room.alice] == [
        row["user_id"]
        for row in await db.fetch("SELECT user_id FROM messages.delivery_tracking WHERE message_id = $1", message.id)
    ]


async def test_a_conversation_shows_the_last_message_of_the_batch(room: Room, db: Sql) -> None:
    batch = [room.new(), room.new(), room.new(reply_to=uuid7())]

    rows = await send(db, *batch)

    shown = await db.fetchrow("SELECT * FROM messages.conversations WHERE id = $1", room.id)
    assert shown is not None
    assert (batch[1].id, rows[1].created_at) == (shown["last_message_id"], shown["last_message_at"])
    assert [False, False, False] == [row.untold for row in rows]


async def test_a_conversation_that_somebody_else_holds_is_told_later(room: Room, db: Sql, writer: Sql) -> None:
    message = room.new()
    async with db.transaction():
        await db.execute("SELECT FROM messages.conversations WHERE id = $1 FOR NO KEY UPDATE", room.id)
        (row,) = await asyncio.wait_for(send(writer, message), 1)
    assert ("ok", True) == (row.outcome, row.untold)

    await messages.tell(db, [room.id])

    assert message.id == await db.fetchval("SELECT last_message_id FROM messages.conversations WHERE id = $1", room.id)


async def test_what_is_told_later_never_puts_an_older_message_over_a_newer_one(
    room: Room, people: World, db: Sql, writer: Sql
) -> None:
    await send(db, room.new())
    newer = room.new()

    async with db.transaction():
        await send(db, newer)
        telling = asyncio.create_task(messages.tell(writer, [room.id]))
        await waits(people, writer)
    await telling

    assert newer.id == await db.fetchval("SELECT last_message_id FROM messages.conversations WHERE id = $1", room.id)


async def test_above_a_hundred_members_a_conversation_is_told_at_most_once_a_second(people: World, db: Sql) -> None:
    creator = await people.user("Creator")
    everybody = await db.fetch(
        """
        INSERT INTO auth.users (phone, password_hash)
        SELECT '+1' || substr(md5($1::text || n), 1, 12), '!' FROM generate_series(1, 100) n RETURNING id
        """,
        str(creator),
    )
    crowd = Room(await people.room("group", creator, *(row["id"] for row in everybody)), creator, creator, creator)

    rows = [(await send(db, crowd.new()))[0] for _ in range(3)]

    shown = "SELECT last_message_at FROM messages.conversations WHERE id = $1"
    assert [False, True, True] == [row.untold for row in rows]
    assert rows[0].created_at == await db.fetchval(shown, crowd.id)
    await messages.tell(db, [crowd.id])
    assert rows[2].created_at == await db.fetchval(shown, crowd.id)
