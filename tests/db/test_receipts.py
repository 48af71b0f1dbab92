"""Watermarks and delivery rows: they only rise, whoever acknowledges what, how often and in which order."""

import asyncio
from collections import Counter
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import pytest

from echo_ws_db import contacts, messages, receipts
from echo_ws_db.messages import NewMessage
from echo_ws_db.receipts import ReceiptRow
from echo_ws_db.rows import Refused
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import World

ORDER = ("sent", "delivered", "read")


class Pair(NamedTuple):
    """Alice writes to Bob."""

    id: UUID
    alice: UUID
    bob: UUID


@pytest.fixture
async def pair(people: World) -> Pair:
    alice, bob = await people.user("Alice"), await people.user("Bob")
    return Pair(await people.room("direct", alice, bob), alice, bob)


async def write(people: World, pair: Pair, count: int, *, tracked: int = 32) -> None:
    batch = [NewMessage(uuid7(), pair.id, pair.alice, "hi", None) for _ in range(count)]
    await messages.send(people.store, batch, tracked_members=tracked, wait=True)


async def ack(people: World, pair: Pair, up_to: int, *, is_read: bool = False) -> ReceiptRow:
    return await receipts.acknowledge(people.store, pair.id, pair.bob, up_to, is_read=is_read)


async def rows(db: Sql, pair: Pair) -> list[tuple[str, datetime | None, datetime | None]]:
    """Return status and times of each message, by seq."""
    return [
        (row["status"], row["delivered_at"], row["read_at"])
        for row in await db.fetch(
            """
            SELECT t.* FROM messages.delivery_tracking t JOIN messages.messages m ON m.id = t.message_id
            WHERE m.conversation_id = $1 AND t.user_id = $2 ORDER BY m.seq
            """,
            pair.id,
            pair.bob,
        )
    ]


async def statuses(db: Sql, pair: Pair) -> list[str]:
    return [status for status, _, _ in await rows(db, pair)]


async def test_a_status_goes_forward_and_each_time_is_set_once(people: World, pair: Pair, db: Sql) -> None:
    await write(people, pair, 1)
    history = [await rows(db, pair)]

    for is_read in (False, False, True, False, True):
        await ack(people, pair, 1, is_read=is_read)
        history.append(await rows(db, pair))

    seen = [state for (state,) in history]
    assert ["sent", "delivered", "delivered", "read", "read", "read"] == [status for status, _, _ in seen]
    assert 1 == len({delivered for _, delivered, _ in seen[1:]})
    assert 1 == len({read for _, _, read in seen[3:]})
    assert {None} == {read for _, _, read in seen[:3]}


async def test_an_ack_is_cumulative_and_a_lower_one_changes_nothing(people: World, pair: Pair, db: Sql) -> None:
    await write(people, pair, 5)

    first = await ack(people, pair, 4)
    lower = await ack(people, pair, 2)

    assert (4, "all") == (first.delivered_seq, first.told)
    assert (4, None) == (lower.delivered_seq, lower.told)
    assert ["delivered"] * 4 + ["sent"] == await statuses(db, pair)


@pytest.mark.parametrize("tracked", [0, 32], ids=["rows come with the ack", "rows came with the message"])
async def test_over_a_thousand_messages_take_several_calls_and_end_complete(
    tracked: int, people: World, pair: Pair, db: Sql
) -> None:
    for _ in range(5):
        await write(people, pair, 450, tracked=tracked)

    marks = [(await ack(people, pair, 2250, is_read=True)).read_seq for _ in range(4)]

    assert [1000, 2000, 2250, 2250] == marks
    assert {"read": 2250} == Counter(await statuses(db, pair))


async def test_reading_catches_up_with_what_was_delivered_long_before(people: World, pair: Pair, db: Sql) -> None:
    await write(people, pair, 1500)
    await ack(people, pair, 1000)
    await ack(people, pair, 1500)

    await ack(people, pair, 1200, is_read=True)
    marks = await ack(people, pair, 1200, is_read=True)

    assert (1500, 1200) == (marks.delivered_seq, marks.read_seq)
    assert ["read"] * 1200 + ["delivered"] * 300 == await statuses(db, pair)


async def test_two_devices_at_once_end_where_the_further_one_is(people: World, pair: Pair, db: Sql) -> None:
    await write(people, pair, 40)

    marks = await asyncio.gather(
        *(ack(people, pair, seq, is_read=is_read) for seq in range(0, 41, 4) for is_read in (False, True))
    )
    final = await ack(people, pair, 0)

    assert (40, 40) == (final.delivered_seq, final.read_seq)
    assert ["read"] * 40 == await statuses(db, pair)
    assert max(mark.read_seq for mark in marks) == 40


async def test_what_another_service_marked_as_read_is_not_delivered_again(people: World, pair: Pair, db: Sql) -> None:
    await write(people, pair, 2)
    await db.execute("UPDATE messages.delivery_tracking SET status = 'read' WHERE user_id = $1", pair.bob)

    await ack(people, pair, 1)

    assert ["read", "read"] == await statuses(db, pair)


async def test_watermarks_and_rows_agree_after_any_order_of_acks(people: World, pair: Pair, db: Sql) -> None:
    await write(people, pair, 12)
    before = ["sent"] * 12

    for seq, is_read in ((3, True), (7, False), (5, True), (2, False), (12, False), (9, True), (7, True)):
        marks = await ack(people, pair, seq, is_read=is_read)

        after = await statuses(db, pair)
        assert after == [
            "read" if seq <= marks.read_seq else "delivered" if seq <= marks.delivered_seq else "sent"
            for seq in range(1, 13)
        ]
        assert all(ORDER.index(new) >= ORDER.index(old) for old, new in zip(before, after, strict=True))
        before = after


async def test_what_piled_up_behind_a_block_is_told_in_steps_after_it(people: World, pair: Pair, db: Sql) -> None:
    for _ in range(5):
        await write(people, pair, 450)
    await contacts.block(people.store, pair.bob, pair.alice, is_on=True, reason=None)
    during = [await ack(people, pair, 2250, is_read=True) for _ in range(4)]
    kept = await statuses(db, pair)

    await contacts.block(people.store, pair.bob, pair.alice, is_on=False, reason=None)
    after = [await ack(people, pair, 0) for _ in range(4)]

    assert [(1000, "own"), (2000, "own"), (2250, "own"), (2250, None)] == [(row.read_seq, row.told) for row in during]
    assert [True, True, False, False] == [row.more for row in during]
    assert {"sent": 2250} == Counter(kept)
    assert [(True, None), (True, None), (False, "all"), (False, None)] == [(row.more, row.told) for row in after]
    assert {"read": 2250} == Counter(await statuses(db, pair))


async def test_in_a_large_group_only_the_own_devices_are_told(people: World, pair: Pair, db: Sql) -> None:
    group = Pair(await people.room("group", pair.alice, pair.bob), pair.alice, pair.bob)
    await write(people, group, 2)
    told = []

    for members in (1000, 1001):
        await db.execute("UPDATE messages.heads SET member_count = $2 WHERE conversation_id = $1", group.id, members)
        told.append((await ack(people, group, members - 999)).told)

    assert ["all", "own"] == told
    assert ["delivered", "delivered"] == await statuses(db, group)


async def test_an_ack_and_sends_at_the_same_time_lose_nothing(people: World, pair: Pair, db: Sql) -> None:
    async def sending() -> None:
        for _ in range(10):
            await write(people, pair, 2, tracked=0)

    async def acking() -> None:
        for _ in range(20):
            await ack(people, pair, 1000)

    await asyncio.gather(sending(), acking())
    marks = await ack(people, pair, 1000)

    assert 20 == marks.delivered_seq
    assert ["delivered"] * 20 == await statuses(db, pair)


async def test_a_channel_writes_no_rows_and_one_watermark_in_five_seconds(people: World, pair: Pair, db: Sql) -> None:
    channel = Pair(await people.room("channel", pair.alice, pair.bob), pair.alice, pair.bob)
    await write(people, channel, 3)

    first = await ack(people, channel, 1)
    too_early = await ack(people, channel, 3)
    await db.execute(
        "UPDATE messages.members SET receipts_at = receipts_at - INTERVAL '5 seconds' WHERE conversation_id = $1",
        channel.id,
    )
    later = await ack(people, channel, 3)

    assert (1, None) == (first.delivered_seq, first.wait_ms)
    assert too_early.wait_ms is not None
    assert 4000 < too_early.wait_ms <= 5001
    assert (3, None) == (later.delivered_seq, later.wait_ms)
    assert [] == await rows(db, channel)


async def test_a_receipt_does_not_wait_for_the_head(people: World, pair: Pair, db: Sql) -> None:
    await write(people, pair, 1)

    async with db.transaction():
        await db.execute("SELECT FROM messages.heads WHERE conversation_id = $1 FOR NO KEY UPDATE", pair.id)
        marks = await asyncio.wait_for(ack(people, pair, 1), 1)

    assert 1 == marks.delivered_seq


async def test_reading_what_is_marked_takes_its_locks_in_the_order_of_a_change_of_members(
    people: World, pair: Pair, db: Sql
) -> None:
    await write(people, pair, 1)
    await receipts.mark_unread(people.store, pair.id, pair.bob, is_on=True)

    async def is_in_the_way() -> bool:
        sql = (
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
        )
        found: bool = await db.fetchval(sql)
        return found

    async with db.transaction():
        await db.execute("SELECT FROM users.heads WHERE user_id = $1 FOR NO KEY UPDATE", pair.bob)
        reading = asyncio.create_task(ack(people, pair, 1, is_read=True))
        await until(is_in_the_way)
        await db.execute("SELECT FROM messages.members WHERE conversation_id = $1 FOR NO KEY UPDATE", pair.id)

    assert (1, True) == ((await reading).read_seq, (await reading).unmarked)


async def test_only_members_of_what_exists_acknowledge(people: World, pair: Pair, db: Sql) -> None:
    await write(people, pair, 1)
    group = Pair(await people.room("group", pair.alice, pair.bob), pair.alice, pair.bob)
    await other_service.remove(db, group.id, pair.bob)
    await other_service.close(db, pair.id)

    for somewhere in (pair, group, Pair(uuid7(), pair.alice, pair.bob)):
        with pytest.raises(Refused, match="not_found"):
            await ack(people, somewhere, 1)
