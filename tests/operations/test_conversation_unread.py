"""What one has not read, exactly: in each conversation, in all together, and on every device."""

from uuid import UUID

import pytest

from echo_ws.client import Client
from echo_ws_protocol.commands import (
    ContactBlock,
    ConversationGet,
    ConversationList,
    ConversationMarkUnread,
    ConversationUnread,
    MessageDelete,
    MessageHide,
    MessageRead,
    MessageSend,
    SessionResume,
)
from echo_ws_protocol.events import Receipt
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import Unread
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import World


async def say(person: Client, conversation: UUID, count: int = 1) -> list[UUID]:
    messages = [uuid7() for _ in range(count)]
    for message in messages:
        await person.call(MessageSend(conversation=conversation, message=message, content="hi"))
    return messages


async def unread(person: Client, conversation: UUID) -> int:
    """Return what is unread in a conversation, which its two summaries and the total agree about."""
    (listed,) = [
        each.unread
        for each in (await person.call(ConversationList())).conversations
        if each.conversation == conversation
    ]
    found = (await person.call(ConversationGet(conversation=conversation))).conversation.unread
    total = (await person.call(ConversationUnread())).unread
    assert (listed, total) == (found, found)
    return found


async def test_neither_own_nor_deleted_nor_hidden_ones_count(direct: UUID, alice: Client, bob: Client) -> None:
    messages = await say(alice, direct, 5)
    await say(bob, direct, 2)
    counts = [await unread(bob, direct)]

    await alice.call(MessageDelete(conversation=direct, message=messages[0]))
    counts.append(await unread(bob, direct))
    await bob.call(MessageHide(conversation=direct, message=messages[1]))
    counts.append(await unread(bob, direct))
    await bob.call(MessageRead(conversation=direct, seq=3))
    counts.append(await unread(bob, direct))
    await bob.call(MessageRead(conversation=direct, seq=7))
    counts.append(await unread(bob, direct))

    assert [5, 4, 3, 2, 0] == counts
    assert 2 == await unread(alice, direct)


async def test_what_was_kept_back_by_a_block_does_not_count_even_later(
    direct: UUID, alice: Client, bob: Client
) -> None:
    await say(alice, direct)
    await bob.call(ContactBlock(user=alice.user))
    await say(alice, direct, 2)
    during = await unread(bob, direct)

    await bob.call(ContactBlock(user=alice.user, on=False))
    await say(alice, direct)

    assert (1, 2) == (during, await unread(bob, direct))


async def test_what_was_before_one_came_and_while_one_was_away_does_not_count(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    await say(alice, group)
    await other_service.remove(db, group, bob.user)
    await say(alice, group, 2)

    assert Unread(0, 0, 0) == await bob.call(ConversationUnread())
    await other_service.add(db, group, bob.user)
    came_back = await unread(bob, group)
    await say(alice, group)

    assert (0, 1) == (came_back, await unread(bob, group))


async def test_what_another_service_writes_and_erases_counts_as_it_is(
    direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    message = await other_service.post(db, direct, alice.user)
    before = await unread(bob, direct)

    await other_service.erase(db, message)

    assert (1, 0) == (before, await unread(bob, direct))


async def test_the_total_is_of_all_conversations_and_of_those_alone_in_which_one_is(
    people: World, direct: UUID, group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    channel = await people.conversation("channel", alice, bob)
    read, deleted = [await people.conversation("group", alice, bob) for _ in range(2)]
    for conversation, count in ((direct, 1), (group, 2), (channel, 3), (read, 4), (deleted, 5)):
        await say(alice, conversation, count)
    await bob.call(MessageRead(conversation=read, seq=4))
    await other_service.close(db, deleted)

    assert Unread(6, 0, 3) == await bob.call(ConversationUnread())
    await bob.call(ConversationMarkUnread(conversation=read))
    assert Unread(6, 0, 4) == await bob.call(ConversationUnread())


async def test_messages_that_name_one_are_counted_apart(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    named, _ = await say(alice, group, 2)
    await db.execute("UPDATE messages.messages SET mentions = ARRAY[$2::uuid] WHERE id = $1", named, bob.user)

    assert Unread(2, 1, 1) == await bob.call(ConversationUnread())
    assert 1 == (await bob.call(ConversationGet(conversation=group))).conversation.unread_mentions


@pytest.mark.parametrize("kind", ["group", "channel"])
async def test_what_is_read_on_one_device_is_read_on_all(kind: str, people: World, alice: Client, bob: Client) -> None:
    elsewhere = await people.worker()
    room = await people.conversation(kind, alice, bob)
    phone, away = await people.device(bob.user, elsewhere), await people.device(bob.user, elsewhere)
    left_at = (await away.call(SessionResume(epoch=away.hello.epoch))).time
    await say(alice, room, 2)

    await bob.call(MessageRead(conversation=room, seq=2))

    mine = Receipt(conversation=room, user=bob.user, delivered_seq=2, read_seq=2)
    assert mine == await phone.next(Receipt)
    assert mine == await bob.next(Receipt)
    assert [mine] == (await away.call(SessionResume(epoch=away.hello.epoch, since=left_at))).receipts
    assert 0 == await unread(phone, room)
    assert (kind == "channel") == (await heard(alice, Receipt) == [])
