"""Who got a message and who read it: for everybody who takes part, as far as both show what they read."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    ContactBlock,
    ConversationGet,
    DeliveryAck,
    MessageDelete,
    MessageHide,
    MessageRead,
    MessageReceipts,
    SessionResume,
)
from echo_ws_protocol.events import Receipt
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Watermarks
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import say
from tests.support.waiting import heard
from tests.support.world import Worker, World


async def statuses(person: Client, conversation: UUID, message: UUID) -> dict[UUID, str]:
    page = await person.call(MessageReceipts(conversation=conversation, message=message))
    return {receipt.user: receipt.status for receipt in page.receipts}


async def keep_to_oneself(db: Sql, person: Client, *, shown: bool = False) -> None:
    """Let a user show no read receipts, and so be shown none."""
    await db.execute("UPDATE users.privacy_settings SET show_read_receipts = $2 WHERE user_id = $1", person.user, shown)


async def marks(person: Client, conversation: UUID, other: Client) -> tuple[int, int]:
    """Return how far somebody has received and read, as a person is told."""
    details = await person.call(ConversationGet(conversation=conversation))
    return next((p.delivered_seq, p.read_seq) for p in details.participants if p.user == other.user)


async def told(person: Client) -> list[tuple[UUID, int, int]]:
    return [(receipt.user, receipt.delivered_seq, receipt.read_seq) for receipt in await heard(person, Receipt)]


async def resumed(person: Client) -> list[tuple[UUID, int, int]]:
    """Return the receipts that a device is told that was away for some minutes."""
    answer = await person.call(SessionResume(epoch=person.hello.epoch))
    answer = await person.call(SessionResume(epoch=person.hello.epoch, since=answer.time))
    return [(receipt.user, receipt.delivered_seq, receipt.read_seq) for receipt in answer.receipts]


async def age(db: Sql, conversation: UUID) -> None:
    """Let everything that was told so far be told long ago."""
    await db.execute(
        """
        UPDATE messages.members
        SET receipts_at = receipts_at - INTERVAL '1 hour', told_at = told_at - INTERVAL '1 hour',
            told_delivered_at = told_delivered_at - INTERVAL '1 hour'
        WHERE conversation_id = $1
        """,
        conversation,
    )


# -- who, and when


async def test_everybody_sees_who_got_it_and_who_read_it_and_when(
    group: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    message = await say(alice, group)
    await bob.call(DeliveryAck(conversation=group, seq=1))
    await bob.call(MessageRead(conversation=group, seq=1))
    await carol.call(DeliveryAck(conversation=group, seq=1))

    pages = [await person.call(MessageReceipts(conversation=group, message=message)) for person in (alice, bob, carol)]

    assert [pages[0]] * 3 == pages
    assert (2, 2, 1, None) == (pages[0].recipients, pages[0].delivered, pages[0].read, pages[0].next)
    by_user = {receipt.user: receipt for receipt in pages[0].receipts}
    assert {bob.user: "read", carol.user: "delivered"} == {user: each.status for user, each in by_user.items()}
    first, then = by_user[bob.user].delivered_at, by_user[bob.user].read_at
    assert first
    assert then
    assert first < then
    assert by_user[carol.user].delivered_at
    assert by_user[carol.user].read_at is None


async def test_pages_cover_everybody_once(people: World, alice: Client) -> None:
    others = [await people.user() for _ in range(5)]
    room = await people.room("group", alice.user, *others)
    message = await say(alice, room)

    seen, pages, after = [], 0, None
    while pages == 0 or after:
        page = await alice.call(MessageReceipts(conversation=room, message=message, limit=2, after=after))
        seen += [receipt.user for receipt in page.receipts]
        pages, after = pages + 1, page.next

    assert (3, sorted(others)) == (pages, seen)


@pytest.mark.parametrize("tracked", [0, 32], ids=["rows come with the first ack", "rows came with the message"])
async def test_newcomers_are_no_recipients_of_what_was_and_those_who_left_of_what_comes(
    tracked: int, people: World, db: Sql
) -> None:
    worker = await people.worker(tracked_members=tracked)
    alice, bob, carol = [await people.person(name, worker) for name in ("Alice", "Bob", "Carol")]
    room = await people.conversation("group", alice, bob)
    first = await say(alice, room)
    await other_service.add(db, room, carol.user)
    second = await say(alice, room)
    await other_service.remove(db, room, bob.user)
    third = await say(alice, room)
    await carol.call(MessageRead(conversation=room, seq=3))

    found = [await statuses(alice, room, message) for message in (first, second, third)]

    assert [{bob.user: "sent"}, {bob.user: "sent", carol.user: "read"}, {carol.user: "read"}] == found


async def test_of_a_channel_only_numbers_are_told(
    people: World, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    channel = await people.conversation("channel", alice)
    for reader in (bob, carol):
        await other_service.add_reader(db, channel, reader.user)
    message = await say(alice, channel)
    await bob.call(MessageRead(conversation=channel, seq=1))
    await carol.call(DeliveryAck(conversation=channel, seq=1))

    for person in (alice, bob):
        page = await person.call(MessageReceipts(conversation=channel, message=message))
        assert (2, 2, 1, []) == (page.recipients, page.delivered, page.read, page.receipts)


async def test_in_a_channel_too_who_shows_no_receipts_is_shown_none(
    people: World, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    channel = await people.conversation("channel", alice)
    for reader in (bob, carol):
        await other_service.add_reader(db, channel, reader.user)
    message = await say(alice, channel)
    for reader in (bob, carol):
        await reader.call(MessageRead(conversation=channel, seq=1))

    await keep_to_oneself(db, carol)

    asked = [
        await person.call(MessageReceipts(conversation=channel, message=message)) for person in (alice, bob, carol)
    ]
    assert [(2, 1)] * 3 == [(page.delivered, page.read) for page in asked]
    await keep_to_oneself(db, alice)
    assert 0 == (await alice.call(MessageReceipts(conversation=channel, message=message))).read


async def test_of_what_one_cannot_read_now_nothing_is_told(
    group: UUID, people: World, worker: Worker, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    stranger = await people.person("Stranger", worker)
    message, deleted, hidden = [await say(alice, group) for _ in range(3)]
    await alice.call(MessageDelete(conversation=group, message=deleted))
    await bob.call(MessageHide(conversation=group, message=hidden))
    await other_service.remove(db, group, carol.user)
    elsewhere = await people.room("group", bob.user)

    asked = [
        (stranger, group, message),
        (carol, group, message),
        (bob, group, deleted),
        (bob, group, hidden),
        (bob, group, uuid7()),
        (bob, elsewhere, message),
    ]
    words = set()
    for person, conversation, each in asked:
        with pytest.raises(CommandFailed, match="not_found") as failed:
            await person.call(MessageReceipts(conversation=conversation, message=each))
        words.add(str(failed.value))

    assert 1 == len(words)
    assert await statuses(alice, group, hidden)


async def test_a_place_that_is_none_is_refused_by_name(group: UUID, alice: Client) -> None:
    message = await say(alice, group)

    with pytest.raises(CommandFailed) as failed:
        await alice.call(MessageReceipts(conversation=group, message=message, after="nobody"))

    assert ("bad_field", "$.after") == (failed.value.code, failed.value.field)


# -- who shows no receipts is shown none


async def test_who_shows_no_receipts_is_known_to_have_received_and_no_more(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    await keep_to_oneself(db, bob)
    message = await say(alice, group)
    await bob.call(DeliveryAck(conversation=group, seq=1))
    await age(db, group)

    await bob.call(MessageRead(conversation=group, seq=1))

    assert [(bob.user, 1, 0)] == await told(alice)
    assert [(bob.user, 1, 0), (bob.user, 1, 1)] == await told(bob)
    assert (1, 0) == await marks(alice, group, bob)
    assert (1, 1) == await marks(bob, group, bob)
    assert [] == await resumed(alice), "even that something moved tells when it was read"
    assert [(bob.user, 1, 1)] == await resumed(bob)
    page = await alice.call(MessageReceipts(conversation=group, message=message))
    (receipt,) = [receipt for receipt in page.receipts if receipt.user == bob.user]
    assert ("delivered", None, 0) == (receipt.status, receipt.read_at, page.read)
    assert {bob.user: "read"}.items() <= (await statuses(bob, group, message)).items()


async def test_and_is_shown_nobodys(group: UUID, alice: Client, bob: Client, carol: Client, db: Sql) -> None:
    await keep_to_oneself(db, alice)
    message = await say(alice, group)
    await bob.call(DeliveryAck(conversation=group, seq=1))
    await carol.call(MessageRead(conversation=group, seq=1))
    await age(db, group)

    await bob.call(MessageRead(conversation=group, seq=1))

    assert [(bob.user, 1, 0), (carol.user, 1, 0)] == await told(alice)
    assert [(bob.user, 1, 0), (carol.user, 1, 1), (bob.user, 1, 1)] == await told(carol)
    assert (1, 0) == await marks(alice, group, bob)
    assert [] == await resumed(alice)
    assert [(bob.user, 1, 1)] == await resumed(carol)
    assert {bob.user: "delivered", carol.user: "delivered"} == await statuses(alice, group, message)
    assert {bob.user: "read", carol.user: "read"} == await statuses(carol, group, message)


async def test_it_is_the_same_on_another_worker_in_either_codec(people: World, worker: Worker, db: Sql) -> None:
    elsewhere = await people.worker()
    alice, bob = await people.person("Alice", worker), await people.person("Bob", worker)
    carol = await people.person("Carol", elsewhere, codec="msgpack")
    phone = await people.device(bob.user, elsewhere, codec="msgpack")
    room = await people.conversation("group", alice, bob, carol)
    await keep_to_oneself(db, carol)
    await say(alice, room)

    await bob.call(DeliveryAck(conversation=room, seq=1))
    await bob.call(MessageRead(conversation=room, seq=1))
    await carol.call(MessageRead(conversation=room, seq=1))

    everything = [(bob.user, 1, 0), (bob.user, 1, 1), (carol.user, 1, 0)]
    assert everything == [await next_of(alice) for _ in everything]
    assert everything == [await next_of(phone) for _ in everything]
    assert [(bob.user, 1, 0), (carol.user, 1, 1)] == [await next_of(carol) for _ in range(2)]


async def next_of(person: Client) -> tuple[UUID, int, int]:
    receipt = await person.next(Receipt)
    return receipt.user, receipt.delivered_seq, receipt.read_seq


async def test_the_setting_counts_as_it_now_is(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await keep_to_oneself(db, bob)
    message = await say(alice, direct)
    await bob.call(MessageRead(conversation=direct, seq=1))
    before = await statuses(alice, direct, message)

    await keep_to_oneself(db, bob, shown=True)

    assert ({bob.user: "delivered"}, {bob.user: "read"}) == (before, await statuses(alice, direct, message))
    assert (1, 1) == await marks(alice, direct, bob)


# -- who blocks somebody


async def test_the_blocked_one_is_told_nothing_and_the_own_devices_all(
    direct: UUID, alice: Client, bob: Client, people: World, db: Sql
) -> None:
    phone = await people.device(bob.user, await people.worker())
    before = await say(alice, direct)
    await bob.call(DeliveryAck(conversation=direct, seq=1))
    assert [(bob.user, 1, 0)] == await told(alice)
    await phone.next(Receipt)
    await age(db, direct)
    await bob.call(ContactBlock(user=alice.user))
    during = await say(alice, direct)

    await bob.call(MessageRead(conversation=direct, seq=2))

    assert (bob.user, 2, 2) == await next_of(phone)
    assert [] == await told(alice)
    assert [] == await resumed(alice)
    assert [(bob.user, 2, 2)] == await resumed(bob)
    assert ((1, 0), (2, 2)) == (await marks(alice, direct, bob), await marks(bob, direct, bob))
    assert {bob.user: "delivered"} == await statuses(alice, direct, before)
    assert {bob.user: "sent"} == await statuses(alice, direct, during)


@pytest.mark.parametrize("tracked", [0, 32], ids=["rows come with the first ack", "rows came with the message"])
async def test_what_was_kept_back_stays_at_sent_after_unblocking(tracked: int, people: World, db: Sql) -> None:
    worker = await people.worker(tracked_members=tracked)
    alice, bob = await people.person("Alice", worker), await people.person("Bob", worker)
    direct = await people.conversation("direct", alice, bob)
    before = await say(alice, direct)
    await bob.call(ContactBlock(user=alice.user))
    during = await say(alice, direct)
    await bob.call(MessageRead(conversation=direct, seq=2))

    await bob.call(ContactBlock(user=alice.user, on=False))
    assert (0, 0) == await marks(alice, direct, bob)
    after = await say(alice, direct)
    await bob.call(MessageRead(conversation=direct, seq=3))

    assert [(bob.user, 3, 3)] == await told(alice)
    assert (3, 3) == await marks(alice, direct, bob)
    found = [await statuses(alice, direct, message) for message in (before, during, after)]
    assert [{bob.user: "read"}, {bob.user: "sent"}, {bob.user: "read"}] == found
    assert 2 == await db.fetchval(
        "SELECT count(DISTINCT delivered_at) + count(*) - count(delivered_at) FROM messages.delivery_tracking"
        " WHERE user_id = $1",
        bob.user,
    ), "when it was read during the block is told by nothing"


async def test_blocking_changes_nothing_in_a_group(group: UUID, alice: Client, bob: Client) -> None:
    await bob.call(ContactBlock(user=alice.user))
    message = await say(alice, group)

    await bob.call(MessageRead(conversation=group, seq=1))

    assert [(bob.user, 1, 1)] == await told(alice)
    assert "read" == (await statuses(alice, group, message))[bob.user]


# -- many at once


async def test_eight_devices_at_once_end_where_the_furthest_is(group: UUID, alice: Client, bob: Client) -> None:
    messages = [await say(alice, group) for _ in range(8)]

    await asyncio.gather(
        *(
            bob.call((MessageRead if seq % 2 else DeliveryAck)(conversation=group, seq=seq))
            for seq in (3, 8, 1, 5, 2, 7, 4, 6)
        )
    )

    assert Watermarks(8, 7) == await bob.call(DeliveryAck(conversation=group, seq=0))
    assert ["read"] * 7 + ["delivered"] == [(await statuses(alice, group, each))[bob.user] for each in messages]
    _, delivered, read = zip(*(await told(alice)), strict=True)
    assert (8, 7) == (max(delivered), max(read))
