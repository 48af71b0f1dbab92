"""Editing: one's own text, seen by all as it now is."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageEdit, MessageSend
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import heard


@pytest.fixture
async def sent(group: UUID, alice: Client, bob: Client, carol: Client) -> Message:
    """Return a message of Bob's that all have heard."""
    await bob.call(MessageSend(conversation=group, message=uuid7(), content="helo"))
    return [await person.next(Message) for person in (alice, bob, carol)][-1]


async def test_an_edited_message_is_seen_by_all_as_it_now_is(
    sent: Message, alice: Client, bob: Client, carol: Client
) -> None:
    await bob.call(MessageEdit(conversation=sent.conversation, message=sent.message, content="hello"))

    for person in (alice, bob, carol):
        message = await person.next(Message)
        assert (sent.message, "hello", True) == (message.message, message.content, message.edited)
        assert (sent.seq, sent.created_at, sent.rev + 1) == (message.seq, message.created_at, message.rev)


async def test_the_row_is_right_after_an_edit(sent: Message, bob: Client, db: Sql) -> None:
    await bob.call(MessageEdit(conversation=sent.conversation, message=sent.message, content="hello"))

    row = await db.fetchrow("SELECT * FROM messages.messages WHERE id = $1", sent.message)
    assert row is not None
    assert ("hello", True, sent.seq, sent.rev + 1) == (row["content"], row["edited"], row["seq"], row["rev"])
    assert row["updated_at"] > row["created_at"]


async def test_the_same_text_again_changes_nothing(sent: Message, bob: Client, db: Sql) -> None:
    command = MessageEdit(conversation=sent.conversation, message=sent.message, content="hello")
    await bob.call(command)

    await bob.call(command)

    assert 1 == len(await heard(bob, Message))
    assert sent.rev + 1 == await db.fetchval(
        "SELECT last_rev FROM messages.heads WHERE conversation_id = $1", sent.conversation
    )


async def test_others_may_not_edit_it_not_even_an_admin(sent: Message, alice: Client, carol: Client) -> None:
    for person in (alice, carol):
        with pytest.raises(CommandFailed, match="forbidden"):
            await person.call(MessageEdit(conversation=sent.conversation, message=sent.message, content="hello"))


async def test_a_silenced_member_cannot_speak_by_editing(sent: Message, bob: Client, alice: Client, db: Sql) -> None:
    await other_service.silence(db, sent.conversation, bob.user)

    with pytest.raises(CommandFailed, match="forbidden"):
        await bob.call(MessageEdit(conversation=sent.conversation, message=sent.message, content="hello"))

    assert [] == await heard(alice, Message)


async def test_one_who_left_finds_nothing_to_edit(sent: Message, bob: Client, db: Sql) -> None:
    await other_service.remove(db, sent.conversation, bob.user)

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(MessageEdit(conversation=sent.conversation, message=sent.message, content="hello"))


async def test_a_deleted_message_cannot_be_edited(sent: Message, bob: Client) -> None:
    await bob.call(MessageDelete(conversation=sent.conversation, message=sent.message))

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(MessageEdit(conversation=sent.conversation, message=sent.message, content="hello"))


async def test_a_message_is_found_only_in_its_own_conversation(sent: Message, direct: UUID, bob: Client) -> None:
    for conversation, message in ((direct, sent.message), (sent.conversation, uuid7()), (uuid7(), sent.message)):
        with pytest.raises(CommandFailed, match="not_found"):
            await bob.call(MessageEdit(conversation=conversation, message=message, content="hello"))
