"""Editing: one's own text, seen by all as it now is."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageEdit, MessageForward, MessageSend
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import IMAGE, ask, say, seen
from tests.support.waiting import heard
from tests.support.world import World


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


async def test_after_the_window_it_is_too_late(sent: Message, bob: Client, db: Sql) -> None:
    edit = MessageEdit(conversation=sent.conversation, message=sent.message, content="hello")
    await bob.call(edit)
    await db.execute(
        "UPDATE messages.messages SET created_at = created_at - INTERVAL '49 hours' WHERE id = $1", sent.message
    )

    with pytest.raises(CommandFailed, match="too late"):
        await bob.call(MessageEdit(conversation=sent.conversation, message=sent.message, content="bye"))

    await bob.call(edit)  # repeated: it was done


async def test_without_a_window_it_is_never_too_late(world: World, db: Sql) -> None:
    worker = await world.worker(edit_window_s=0)
    alice, bob = await world.person("Alice", worker), await world.person("Bob", worker)
    direct = await world.conversation("direct", alice, bob)
    message = await say(alice, direct, "hi")
    await world.store.execute("UPDATE messages.messages SET created_at = '2001-01-01' WHERE id = $1", message)

    await alice.call(MessageEdit(conversation=direct, message=message, content="hello"))

    assert "hello" == (await seen(bob, direct, message)).content


@pytest.mark.parametrize("metadata", [IMAGE, {**IMAGE, "caption": "cake"}], ids=["content", "caption"])
@pytest.mark.parametrize("caption", ["tea", ""])
async def test_a_caption_can_be_changed_and_taken_away(
    metadata: dict[str, object], caption: str, group: UUID, bob: Client, alice: Client
) -> None:
    message = await say(bob, group, "cake", type="image", metadata=metadata)

    await bob.call(MessageEdit(conversation=group, message=message, content=caption))

    shown = await alice.next(Message, lambda event: event.edited)
    assert shown == await seen(alice, group, message)
    expected = {**metadata, "caption": caption} if "caption" in metadata else metadata
    assert (caption, expected) == (shown.content, shown.metadata)


async def test_a_text_cannot_become_empty(sent: Message, bob: Client) -> None:
    with pytest.raises(CommandFailed) as refused:
        await bob.call(MessageEdit(conversation=sent.conversation, message=sent.message, content=""))

    assert ("bad_field", "$.content") == (refused.value.failure.code, refused.value.failure.field)


async def test_what_has_no_caption_stays_as_it_is(group: UUID, bob: Client) -> None:
    poll = await ask(bob, group)
    place = await say(bob, group, "", type="location", metadata={"latitude": 1, "longitude": 1})
    forwarded = uuid7()
    await bob.call(MessageForward(conversation=group, message=forwarded, source=await say(bob, group, "hi")))

    for message in (poll, place, forwarded):
        with pytest.raises(CommandFailed, match="forbidden"):
            await bob.call(MessageEdit(conversation=group, message=message, content="something else"))
