"""Delivered: everything up to a seq, told to the others, and kept in a row for each recipient of each message."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import DeliveryAck, MessageRead, MessageSend
from echo_ws_protocol.events import Message, Receipt
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Watermarks
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import World

STATUSES = """
SELECT m.seq, t.status FROM messages.delivery_tracking t JOIN messages.messages m ON m.id = t.message_id
WHERE m.conversation_id = $1 AND t.user_id = $2 ORDER BY m.seq
"""


async def say(person: Client, conversation: UUID, count: int = 1) -> None:
    for _ in range(count):
        await person.call(MessageSend(conversation=conversation, message=uuid7(), content="hi"))


async def statuses(db: Sql, conversation: UUID, user: UUID) -> list[tuple[int, str]]:
    return [(row["seq"], row["status"]) for row in await db.fetch(STATUSES, conversation, user)]


async def test_the_sender_sees_that_it_was_delivered(direct: UUID, alice: Client, bob: Client) -> None:
    await say(alice, direct, 2)

    await bob.call(DeliveryAck(conversation=direct, seq=2))

    assert Receipt(conversation=direct, user=bob.user, delivered_seq=2, read_seq=0) == await alice.next(Receipt)


async def test_one_ack_covers_all_before_it(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await say(alice, direct, 3)

    marks = await bob.call(DeliveryAck(conversation=direct, seq=2))

    assert Watermarks(delivered_seq=2, read_seq=0) == marks
    assert [(1, "delivered"), (2, "delivered"), (3, "sent")] == await statuses(db, direct, bob.user)


async def test_everybody_is_told_once_the_one_who_acked_too(
    group: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    await say(alice, group)

    await bob.call(DeliveryAck(conversation=group, seq=1))
    await carol.call(DeliveryAck(conversation=group, seq=1))

    for person in (alice, bob, carol):
        assert [bob.user, carol.user] == [receipt.user for receipt in await heard(person, Receipt)]


@pytest.mark.parametrize("seq", [0, 1, 2])
async def test_a_lower_seq_or_the_same_changes_nothing(
    seq: int, direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    await say(alice, direct, 2)
    await bob.call(MessageRead(conversation=direct, seq=2))
    rows = await db.fetch("SELECT * FROM messages.delivery_tracking WHERE user_id = $1", bob.user)

    marks = await bob.call(DeliveryAck(conversation=direct, seq=seq))

    assert Watermarks(delivered_seq=2, read_seq=2) == marks
    assert rows == await db.fetch("SELECT * FROM messages.delivery_tracking WHERE user_id = $1", bob.user)
    assert 1 == len(await heard(alice, Receipt))


async def test_what_is_not_written_yet_cannot_be_acked(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await say(alice, direct)

    marks = await bob.call(DeliveryAck(conversation=direct, seq=2**53 - 1))
    await say(alice, direct)

    assert 1 == marks.delivered_seq
    assert [(1, "delivered"), (2, "sent")] == await statuses(db, direct, bob.user)


async def test_ones_own_messages_have_no_row_of_ones_own(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await say(alice, direct)
    await say(bob, direct)

    await alice.call(DeliveryAck(conversation=direct, seq=2))

    assert [(2, "delivered")] == await statuses(db, direct, alice.user)


async def test_a_channel_keeps_watermarks_only_and_says_when_to_come_again(
    people: World, alice: Client, bob: Client, db: Sql
) -> None:
    channel = await people.conversation("channel", alice, bob)
    await say(alice, channel, 2)

    marks = await bob.call(DeliveryAck(conversation=channel, seq=1))
    with pytest.raises(CommandFailed) as failed:
        await bob.call(DeliveryAck(conversation=channel, seq=2), retry=False)

    assert 1 == marks.delivered_seq
    assert ("busy", "retry") == (failed.value.code, failed.value.outcome)
    assert 0 < (failed.value.retry_after_ms or 0) <= 5001
    assert [] == await statuses(db, channel, bob.user)
    assert [] == await heard(alice, Receipt)


async def test_a_receipt_takes_no_rev(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await say(alice, direct)
    rev = (await alice.next(Message)).rev

    await bob.call(MessageRead(conversation=direct, seq=1))

    assert rev == await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", direct)


async def test_strangers_and_those_who_left_find_nothing(
    people: World, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    group = await people.conversation("group", alice, bob)
    await say(alice, group)
    await other_service.remove(db, group, bob.user)

    for person in (bob, carol):
        with pytest.raises(CommandFailed, match="not_found"):
            await person.call(DeliveryAck(conversation=group, seq=1))
    assert [(1, "sent")] == await statuses(db, group, bob.user)
