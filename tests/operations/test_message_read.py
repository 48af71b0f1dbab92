"""Read: everything up to a seq, which is then delivered as well."""

from uuid import UUID

from echo_ws.client import Client
from echo_ws_protocol.commands import ConversationGet, ConversationList, DeliveryAck, MessageRead, MessageSend
from echo_ws_protocol.events import Receipt
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Watermarks
from tests.support.other_service import Sql
from tests.support.world import Worker, World


async def say(person: Client, conversation: UUID, count: int = 1) -> None:
    for _ in range(count):
        await person.call(MessageSend(conversation=conversation, message=uuid7(), content="hi"))


async def test_the_sender_sees_delivered_and_then_read(direct: UUID, alice: Client, bob: Client) -> None:
    await say(alice, direct)

    await bob.call(DeliveryAck(conversation=direct, seq=1))
    await bob.call(MessageRead(conversation=direct, seq=1))

    told = [await alice.next(Receipt) for _ in range(2)]
    assert [(1, 0), (1, 1)] == [(receipt.delivered_seq, receipt.read_seq) for receipt in told]


async def test_all_devices_of_the_sender_see_it(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    phone = await people.device(alice.user, worker, codec="msgpack")
    await say(alice, direct)

    await bob.call(MessageRead(conversation=direct, seq=1))

    for device in (alice, phone):
        assert 1 == (await device.next(Receipt)).read_seq


async def test_what_is_read_is_delivered_too(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await say(alice, direct, 2)

    marks = await bob.call(MessageRead(conversation=direct, seq=2))

    assert Watermarks(delivered_seq=2, read_seq=2) == marks
    for row in await db.fetch("SELECT * FROM messages.delivery_tracking WHERE user_id = $1", bob.user):
        assert "read" == row["status"]
        assert row["delivered_at"] == row["read_at"] is not None


async def test_reading_less_than_was_delivered_leaves_the_rest(
    direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    await say(alice, direct, 3)
    await bob.call(DeliveryAck(conversation=direct, seq=3))

    marks = await bob.call(MessageRead(conversation=direct, seq=2))

    assert Watermarks(delivered_seq=3, read_seq=2) == marks
    rows = await db.fetch(
        """
        SELECT t.* FROM messages.delivery_tracking t JOIN messages.messages m ON m.id = t.message_id
        WHERE t.user_id = $1 ORDER BY m.seq
        """,
        bob.user,
    )
    assert ["read", "read", "delivered"] == [row["status"] for row in rows]
    assert [False, False, True] == [row["read_at"] is None for row in rows]
    assert rows[0]["delivered_at"] < rows[0]["read_at"]


async def test_list_and_details_show_how_far_one_has_read(direct: UUID, alice: Client, bob: Client) -> None:
    await say(alice, direct, 3)
    await bob.call(MessageRead(conversation=direct, seq=2))

    (mine,) = (await bob.call(ConversationList())).conversations
    shown = {person.user: person for person in (await alice.call(ConversationGet(conversation=direct))).participants}

    assert (3, 2) == (mine.last_seq, mine.read_seq)
    assert (2, 0) == (shown[bob.user].read_seq, shown[alice.user].read_seq)
