"""Deleting for all: a tombstone keeps the place, and nothing of what was said."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageHistory, MessageSend, ReactionSet
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import World


@pytest.fixture
async def sent(group: UUID, alice: Client, bob: Client, carol: Client) -> Message:
    """Return a message of Bob's that all have heard."""
    await bob.call(MessageSend(conversation=group, message=uuid7(), content="a secret"))
    return [await person.next(Message) for person in (alice, bob, carol)][-1]


async def test_a_deleted_message_becomes_a_tombstone_for_all(
    sent: Message, alice: Client, bob: Client, carol: Client
) -> None:
    await bob.call(MessageDelete(conversation=sent.conversation, message=sent.message))

    for person in (alice, bob, carol):
        tombstone = await person.next(Message)
        assert (sent.message, sent.seq, sent.rev + 1) == (tombstone.message, tombstone.seq, tombstone.rev)
        assert (True, "") == (tombstone.deleted, tombstone.content)


async def test_nothing_of_what_was_said_is_left(sent: Message, alice: Client, bob: Client, db: Sql) -> None:
    await alice.call(ReactionSet(conversation=sent.conversation, message=sent.message, emoji="👍"))

    await bob.call(MessageDelete(conversation=sent.conversation, message=sent.message))

    row = await db.fetchrow("SELECT * FROM messages.messages WHERE id = $1", sent.message)
    assert row is not None
    assert ("", "{}", True, 1) == (row["content"], row["metadata"], row["deleted"], row["seq"])
    assert row["deleted_at"] is not None
    (shown,) = (await alice.call(MessageHistory(conversation=sent.conversation))).messages
    assert ("", None, True) == (shown.content, shown.reactions, shown.deleted)


async def test_deleting_again_changes_nothing(sent: Message, bob: Client, db: Sql) -> None:
    command = MessageDelete(conversation=sent.conversation, message=sent.message)
    await bob.call(command)
    before = await db.fetchrow("SELECT * FROM messages.messages WHERE id = $1", sent.message)

    await bob.call(command)

    assert before == await db.fetchrow("SELECT * FROM messages.messages WHERE id = $1", sent.message)
    assert 1 == len(await heard(bob, Message))


async def test_an_admin_may_delete_anybodys_in_a_group(sent: Message, alice: Client, carol: Client) -> None:
    await alice.call(MessageDelete(conversation=sent.conversation, message=sent.message))

    assert (await carol.next(Message)).deleted


async def test_a_member_may_not_delete_anothers(sent: Message, carol: Client) -> None:
    with pytest.raises(CommandFailed, match="forbidden"):
        await carol.call(MessageDelete(conversation=sent.conversation, message=sent.message))


async def test_in_a_direct_conversation_each_deletes_their_own(direct: UUID, alice: Client, bob: Client) -> None:
    sent = uuid7()
    await bob.call(MessageSend(conversation=direct, message=sent, content="hi"))

    with pytest.raises(CommandFailed, match="forbidden"):
        await alice.call(MessageDelete(conversation=direct, message=sent))


async def test_a_removed_admin_finds_nothing_to_delete(sent: Message, alice: Client, db: Sql) -> None:
    await db.execute(
        "UPDATE messages.conversations SET participants = jsonb_set(participants, '{admins}', '[]') WHERE id = $1",
        sent.conversation,
    )
    await other_service.remove(db, sent.conversation, alice.user)

    with pytest.raises(CommandFailed, match="not_found"):
        await alice.call(MessageDelete(conversation=sent.conversation, message=sent.message))


async def test_a_stranger_finds_nothing_to_delete(people: World, alice: Client, bob: Client, carol: Client) -> None:
    group = await people.conversation("group", alice, bob)
    sent = uuid7()
    await bob.call(MessageSend(conversation=group, message=sent, content="hi"))

    with pytest.raises(CommandFailed, match="not_found"):
        await carol.call(MessageDelete(conversation=group, message=sent))


async def test_a_deleted_message_keeps_its_place_as_the_last_one(sent: Message, bob: Client, db: Sql) -> None:
    await bob.call(MessageDelete(conversation=sent.conversation, message=sent.message))

    assert sent.message == await db.fetchval(
        "SELECT last_message_id FROM messages.conversations WHERE id = $1", sent.conversation
    )
