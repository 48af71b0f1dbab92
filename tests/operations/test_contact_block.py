"""Who blocks somebody hears nothing from there, by whichever way it comes; the blocked one cannot tell."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    ContactBlock,
    ConversationGet,
    MessageEdit,
    MessageHistory,
    MessageRead,
    SessionResume,
)
from echo_ws_protocol.events import Contact, Message, Receipt
from tests.support.other_service import Sql
from tests.support.talk import say
from tests.support.world import Worker, World


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_blocked_sender_sees_the_message_and_the_one_who_blocked_a_placeholder(
    codec: str, direct: UUID, alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    phone = await people.device(bob.user, worker, codec=codec)
    await bob.call(ContactBlock(user=alice.user))
    assert (await phone.next(Contact)).blocked

    await say(alice, direct, "let me in")

    seen = await alice.next(Message)
    assert ("let me in", False) == (seen.content, seen.hidden)
    for device in (bob, phone):
        kept = await device.next(Message)
        assert (seen.seq, seen.rev, "", True) == (kept.seq, kept.rev, kept.content, kept.hidden)


async def test_another_worker_keeps_it_back_too(direct: UUID, alice: Client, bob: Client, people: World) -> None:
    elsewhere = await people.device(bob.user, await people.worker())
    await bob.call(ContactBlock(user=alice.user))

    await say(alice, direct, "let me in")

    assert ("", True) == ((kept := await elsewhere.next(Message)).content, kept.hidden)


async def test_neither_history_nor_resume_nor_unblocking_brings_it_back(
    direct: UUID, alice: Client, bob: Client
) -> None:
    await bob.call(ContactBlock(user=alice.user))
    await say(alice, direct, "let me in")

    await bob.call(ContactBlock(user=alice.user, on=False))
    await say(alice, direct, "thank you")

    history = (await bob.call(MessageHistory(conversation=direct))).messages
    resumed = await bob.call(SessionResume(epoch=bob.hello.epoch, conversations={direct: 1}))
    missed = [event for page in resumed.conversations for event in page.events if isinstance(event, Message)]
    for messages in (history, missed):
        assert [("", True), ("thank you", False)] == [(message.content, message.hidden) for message in messages]


async def test_what_a_blocked_one_rewrites_is_kept_back_from_then_on(direct: UUID, alice: Client, bob: Client) -> None:
    message = await say(alice, direct, "hello")
    await bob.next(Message)
    await bob.call(ContactBlock(user=alice.user))

    await alice.call(MessageEdit(conversation=direct, message=message, content="something else"))

    assert ("", True) == ((kept := await bob.next(Message)).content, kept.hidden)


async def test_nothing_becomes_of_it_in_a_group(group: UUID, alice: Client, bob: Client) -> None:
    await bob.call(ContactBlock(user=alice.user))

    await say(alice, group, "hello all")

    assert ("hello all", False) == ((message := await bob.next(Message)).content, message.hidden)


async def test_who_blocks_does_not_write_there(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await bob.call(ContactBlock(user=alice.user))

    with pytest.raises(CommandFailed, match="unblock first"):
        await say(bob, direct, "and another thing")

    assert 0 == await db.fetchval("SELECT last_seq FROM messages.heads WHERE conversation_id = $1", direct)


async def test_who_blocks_reads_and_the_blocked_one_is_not_told(
    direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    before = await say(alice, direct, "before")
    await bob.call(ContactBlock(user=alice.user))
    after = await say(alice, direct, "after")

    own = await bob.call(MessageRead(conversation=direct, seq=2))

    assert (2, 2) == (own.delivered_seq, own.read_seq)
    seen = await alice.call(ConversationGet(conversation=direct))
    assert [(0, 0)] == [(each.delivered_seq, each.read_seq) for each in seen.participants if each.user == bob.user]
    rows = "SELECT array_agg(status::text) FROM messages.delivery_tracking WHERE message_id = ANY ($1)"
    assert ["sent", "sent"] == await db.fetchval(rows, [before, after])


async def test_after_unblocking_receipts_go_on(direct: UUID, alice: Client, bob: Client) -> None:
    await bob.call(ContactBlock(user=alice.user))
    await bob.call(ContactBlock(user=alice.user, on=False))
    await say(alice, direct, "hello again")

    await bob.call(MessageRead(conversation=direct, seq=1))

    assert 1 == (await alice.next(Receipt)).read_seq


async def test_blocking_again_is_no_change(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await bob.call(ContactBlock(user=alice.user))
    rev = await db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", bob.user)

    await bob.call(ContactBlock(user=alice.user))

    assert rev == await db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", bob.user)
