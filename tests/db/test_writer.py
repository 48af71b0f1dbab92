"""The group commit: one answer for each send, in order, whatever its neighbours are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import pytest

from echo_ws.errors import Busy, EchoError
from echo_ws.metrics import Metrics
from echo_ws.writer import MAX_WAITING_IN_ONE, Writer
from echo_ws_db import pool
from echo_ws_db.messages import NewMessage, SendRow
from echo_ws_db.rows import Refused
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import World


class Desk:
    """Opens writers as servers do, each with connections of its own."""

    def __init__(self, people: World, stack: AsyncExitStack) -> None:
        self._people = people
        self._stack = stack

    async def writer(self, *, lanes: int = 1, batch_size: int = 128, patience_s: float = 3) -> Writer:
        fast = await pool.connect(self._people.database_url, size=lanes)
        patient = await pool.connect(self._people.database_url, size=2, statement_timeout=patience_s)
        writer = Writer(fast, patient, Metrics(), count=lanes, batch_size=batch_size, tracked_members=32)
        self._stack.push_async_callback(fast.close)
        self._stack.push_async_callback(patient.close)
        self._stack.push_async_callback(writer.close)
        writer.start()
        return writer


@pytest.fixture
async def desk(people: World) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        yield Desk(people, stack)


@pytest.fixture
async def writer(desk: Desk) -> Writer:
    return await desk.writer()


class Author:
    """Somebody in a group, who need not be connected."""

    def __init__(self, user: UUID, group: UUID) -> None:
        self.user = user
        self.group = group

    def new(self, content: str = "hi", *, id_: UUID | None = None, reply_to: UUID | None = None) -> NewMessage:
        return NewMessage(id_ or uuid7(), self.group, self.user, content, reply_to)


async def author_in_new_group(people: World) -> Author:
    user = await people.user("Author")
    return Author(user, await people.room("group", user, await people.user("Reader")))


@pytest.fixture
async def author(people: World) -> Author:
    return await author_in_new_group(people)


async def sent(writer: Writer, *batch: NewMessage) -> list[SendRow | BaseException]:
    return await asyncio.gather(*(writer.send(message) for message in batch), return_exceptions=True)


def seqs(rows: list[SendRow | BaseException]) -> list[int | str | None]:
    return [row.seq if isinstance(row, SendRow) else type(row).__name__ for row in rows]


@asynccontextmanager
async def locked(db: Sql, group: UUID) -> AsyncIterator[None]:
    async with db.transaction():
        await db.execute("SELECT FROM messages.heads WHERE conversation_id = $1 FOR NO KEY UPDATE", group)
        yield


async def test_numbers_follow_the_order_of_arrival(writer: Writer, author: Author) -> None:
    rows = await sent(writer, *(author.new() for _ in range(250)))

    assert list(range(1, 251)) == seqs(rows)


async def test_the_same_id_twice_in_one_batch_is_stored_once_and_answered_twice(
    writer: Writer, author: Author, db: Sql
) -> None:
    message = author.new()

    rows = await sent(writer, author.new(), message, message, author.new(), message)

    assert [1, 2, 2, 3, 2] == seqs(rows)
    assert [True, True, False, True, False] == [row.is_new for row in rows if isinstance(row, SendRow)]
    assert 3 == await db.fetchval("SELECT count(*) FROM messages.messages WHERE conversation_id = $1", author.group)


async def test_eight_racers_with_one_id_over_two_writers_get_one_row_and_one_number(
    desk: Desk, author: Author, db: Sql
) -> None:
    writers = [await desk.writer(), await desk.writer()]
    message = author.new()

    rows = await asyncio.gather(*(writer.send(message) for writer in writers * 4))
    after = await writers[0].send(author.new())

    assert {1} == {row.seq for row in rows}
    assert 1 == len({row.created_at for row in rows})
    assert 1 == sum(row.is_new for row in rows)
    assert 1 == await db.fetchval("SELECT count(*) FROM messages.messages WHERE id = $1", message.id)
    assert (2, 3) == (after.seq, after.rev)


async def test_eight_writers_at_once_leave_no_hole_and_keep_each_ones_order(
    desk: Desk, author: Author, db: Sql
) -> None:
    writers = [await desk.writer(batch_size=4) for _ in range(8)]

    written = await asyncio.gather(*(sent(writer, *(author.new() for _ in range(15))) for writer in writers))

    numbers = [seqs(rows) for rows in written]
    assert list(range(1, 121)) == sorted(number for row in numbers for number in row if isinstance(number, int))
    for in_order in numbers:
        assert in_order == sorted(number for number in in_order if isinstance(number, int))
    assert 120 == await db.fetchval("SELECT last_seq FROM messages.heads WHERE conversation_id = $1", author.group)


async def test_one_in_ten_that_postgresql_refuses_fails_alone(writer: Writer, author: Author) -> None:
    batch = [author.new("poison \0" if place % 10 == 3 else "hi") for place in range(100)]

    rows = await sent(writer, *batch)

    good = [row for place, row in enumerate(rows) if place % 10 != 3]
    poisoned = [row for place, row in enumerate(rows) if place % 10 == 3]
    assert list(range(1, 91)) == seqs(good)
    assert [EchoError] * 10 == [type(row) for row in poisoned]


async def test_a_sender_who_was_erased_meanwhile_fails_alone(
    writer: Writer, author: Author, people: World, db: Sql
) -> None:
    gone = Author(await people.user("Gone"), author.group)
    await other_service.add(db, author.group, gone.user)
    await db.execute("DELETE FROM auth.users WHERE id = $1", gone.user)

    rows = await sent(writer, author.new(), gone.new(), author.new())

    assert [1, "Refused", 2] == seqs(rows)


async def test_a_sender_who_is_erased_in_the_same_moment_fails_alone(
    writer: Writer, author: Author, people: World, db: Sql
) -> None:
    going = Author(await people.user("Going"), author.group)
    await other_service.add(db, author.group, going.user)
    async with db.transaction():
        await db.execute("DELETE FROM auth.users WHERE id = $1", going.user)
        sending = asyncio.create_task(sent(writer, author.new(), going.new(), author.new()))
        await until(lambda: people.store.fetchval(WAITING_FOR_A_TRANSACTION))

    assert [1, "Refused", 2] == seqs(await sending)


async def test_an_id_that_is_committed_elsewhere_in_the_same_moment_is_a_conflict(
    writer: Writer, author: Author, people: World, db: Sql
) -> None:
    elsewhere = await author_in_new_group(people)
    async with db.transaction():
        taken = await other_service.post(db, elsewhere.group, elsewhere.user)
        sending = asyncio.create_task(sent(writer, author.new(id_=taken)))
        await until(lambda: people.store.fetchval(WAITING_FOR_A_TRANSACTION))

    (row,) = await sending

    assert isinstance(row, Refused)
    assert "id_conflict" == row.outcome


WAITING_FOR_A_TRANSACTION = """
SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted
"""


async def test_a_locked_conversation_keeps_nobody_else_waiting_and_its_own_order(
    writer: Writer, author: Author, people: World, db: Sql
) -> None:
    elsewhere = await author_in_new_group(people)
    async with locked(db, author.group):
        put_off = asyncio.gather(*(writer.send(author.new()) for _ in range(5)))
        others = await asyncio.wait_for(sent(writer, *(elsewhere.new() for _ in range(5))), 1)
        later = asyncio.gather(*(writer.send(author.new()) for _ in range(5)))
        assert not put_off.done()

    assert [1, 2, 3, 4, 5] == seqs(others)
    assert list(range(1, 11)) == [row.seq for row in [*await put_off, *await later]]


async def test_after_three_rounds_one_statement_waits_patiently_and_others_still_go_on(
    writer: Writer, author: Author, people: World, db: Sql
) -> None:
    elsewhere = await author_in_new_group(people)
    async with locked(db, author.group):
        put_off = asyncio.gather(*(writer.send(author.new()) for _ in range(3)))
        await until(lambda: people.store.fetchval(WAITING_FOR_A_TRANSACTION))
        later = asyncio.gather(*(writer.send(author.new()) for _ in range(3)))
        others = await asyncio.wait_for(sent(writer, *(elsewhere.new() for _ in range(3))), 1)

    assert [1, 2, 3] == seqs(others)
    assert list(range(1, 7)) == [row.seq for row in [*await put_off, *await later]]


async def test_a_conversation_that_stays_locked_is_answered_busy_and_works_afterwards(
    desk: Desk, author: Author, db: Sql
) -> None:
    impatient = await desk.writer(patience_s=0.05)
    async with locked(db, author.group):
        rows = await asyncio.wait_for(sent(impatient, author.new(), author.new()), 2)

    assert ["Busy", "Busy"] == seqs(rows)
    assert [1] == seqs(await sent(impatient, author.new()))


async def test_nothing_waits_without_bound(writer: Writer, author: Author, db: Sql) -> None:
    async with locked(db, author.group):
        waiting = [asyncio.create_task(writer.send(author.new())) for _ in range(MAX_WAITING_IN_ONE)]
        await asyncio.wait(waiting, timeout=0)

        with pytest.raises(Busy):
            await asyncio.wait_for(writer.send(author.new()), 1)

    assert list(range(1, MAX_WAITING_IN_ONE + 1)) == [(await task).seq for task in waiting]
    assert 0 == writer.waiting


async def test_what_waits_when_the_writer_closes_is_answered(desk: Desk, author: Author, db: Sql) -> None:
    closing = await desk.writer()
    async with locked(db, author.group):
        waiting = asyncio.gather(*(closing.send(author.new()) for _ in range(3)), return_exceptions=True)
        await asyncio.wait([waiting], timeout=0)
        await closing.close()

        rows = await asyncio.wait_for(waiting, 1)

    assert all(isinstance(row, EchoError) and row.outcome != "rejected" for row in rows)


async def test_what_nobody_foresaw_costs_one_batch_its_verdict_and_not_the_lane_its_life(
    desk: Desk, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await desk.writer()
    with monkeypatch.context() as broken:
        broken.setattr("echo_ws.writer.messages.send", lambda *_, **__: 1 / 0)
        assert ["Unknown", "Unknown"] == seqs(await sent(writer, author.new(), author.new()))

    assert [1] == seqs(await sent(writer, author.new()))


async def test_a_reply_and_what_it_replies_to_may_come_in_one_breath(writer: Writer, author: Author) -> None:
    question = author.new("tea?")
    answer = author.new("yes", reply_to=question.id)
    refused = author.new("what?", reply_to=uuid7())

    rows = await sent(writer, question, refused, answer, author.new("hm?", reply_to=refused.id), author.new())

    assert [1, "Refused", 2, "Refused", 3] == seqs(rows)


async def test_the_last_message_of_a_crowd_is_right_a_second_later(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, people: World, db: Sql
) -> None:
    monkeypatch.setattr("echo_ws.writer.TELL_S", 0.05)
    creator = await people.user("Creator")
    crowd = await db.fetch(
        """
        INSERT INTO auth.users (phone, password_hash)
        SELECT '+2' || substr(md5($1::text || n), 1, 12), '!' FROM generate_series(1, 100) n RETURNING id
        """,
        str(creator),
    )
    author = Author(creator, await people.room("group", creator, *(row["id"] for row in crowd)))
    writer = await desk.writer(batch_size=1)
    batch = [author.new() for _ in range(5)]
    shown = "SELECT last_message_id FROM messages.conversations WHERE id = $1"

    await sent(writer, *batch)
    at_first = await db.fetchval(shown, author.group)

    assert batch[0].id == at_first
    await until(lambda: db.fetchval(f"{shown} AND last_message_id = $2", author.group, batch[-1].id))
