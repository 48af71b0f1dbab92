"""Reactions: everybody sees how many set which emoji."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageSend, ReactionSet
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import World


@pytest.fixture
async def sent(group: UUID, alice: Client, bob: Client, carol: Client) -> Message:
    """Return a message of Alice's that all have heard."""
    await alice.call(MessageSend(conversation=group, message=uuid7(), content="tea?"))
    return [await person.next(Message) for person in (alice, bob, carol)][-1]


def put(message: Message, emoji: str = "👍", *, on: bool = True) -> ReactionSet:
    return ReactionSet(conversation=message.conversation, message=message.message, emoji=emoji, on=on)


async def test_all_see_how_many_set_which_emoji(sent: Message, alice: Client, bob: Client, carol: Client) -> None:
    await asyncio.gather(alice.call(put(sent)), bob.call(put(sent)), carol.call(put(sent, "🎉")))

    for person in (alice, bob, carol):
        shown = [await person.next(Message) for _ in range(3)]
        assert {"👍": 2, "🎉": 1} == shown[-1].reactions
        assert [sent.rev + n for n in (1, 2, 3)] == [message.rev for message in shown]


async def test_the_row_is_there_and_the_message_untouched(sent: Message, bob: Client, db: Sql) -> None:
    before = await db.fetchrow(
        "SELECT content, seq, edited, updated_at FROM messages.messages WHERE id = $1", sent.message
    )

    await bob.call(put(sent))

    assert [(bob.user, "👍")] == [
        (row["user_id"], row["emoji"])
        for row in await db.fetch("SELECT * FROM messages.reactions WHERE message_id = $1", sent.message)
    ]
    assert before == await db.fetchrow(
        "SELECT content, seq, edited, updated_at FROM messages.messages WHERE id = $1", sent.message
    )


async def test_a_reaction_can_be_taken_away(sent: Message, bob: Client, carol: Client, db: Sql) -> None:
    await bob.call(put(sent))

    await bob.call(put(sent, on=False))

    assert [{"👍": 1}, None] == [(await carol.next(Message)).reactions for _ in range(2)]
    assert 0 == await db.fetchval("SELECT count(*) FROM messages.reactions WHERE message_id = $1", sent.message)


@pytest.mark.parametrize("on", [True, False])
async def test_repeating_it_changes_nothing(on: bool, sent: Message, bob: Client) -> None:
    if on:
        await bob.call(put(sent))
    known = await heard(bob, Message)

    await bob.call(put(sent, on=on))

    assert int(on) == len(known)
    assert [] == await heard(bob, Message)


async def test_one_person_may_set_several(sent: Message, bob: Client, carol: Client) -> None:
    for emoji in ("👍", "❤️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "5️⃣"):
        await bob.call(put(sent, emoji))

    assert {"👍": 1, "❤️": 1, "🏴󠁧󠁢󠁳󠁣󠁴󠁿": 1, "5️⃣": 1} == [await carol.next(Message) for _ in range(4)][-1].reactions


async def test_a_channels_reader_may_react(people: World, alice: Client, bob: Client, db: Sql) -> None:
    channel = await people.conversation("channel", alice)
    await other_service.add_reader(db, channel, bob.user)
    sent = uuid7()
    await alice.call(MessageSend(conversation=channel, message=sent, content="news"))

    await bob.call(ReactionSet(conversation=channel, message=sent, emoji="👍"))

    assert {"👍": 1} == (await alice.next(Message, lambda message: message.reactions is not None)).reactions


async def test_a_silenced_member_may_not(sent: Message, bob: Client, db: Sql) -> None:
    await other_service.silence(db, sent.conversation, bob.user)

    with pytest.raises(CommandFailed, match="forbidden"):
        await bob.call(put(sent))


async def test_a_deleted_message_takes_no_reaction(sent: Message, alice: Client, bob: Client) -> None:
    await alice.call(MessageDelete(conversation=sent.conversation, message=sent.message))

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(put(sent))


async def test_strangers_and_those_who_left_find_nothing(
    people: World, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    group = await people.conversation("group", alice, bob)
    sent = uuid7()
    await alice.call(MessageSend(conversation=group, message=sent, content="tea?"))
    await other_service.remove(db, group, bob.user)

    for person in (bob, carol):
        with pytest.raises(CommandFailed, match="not_found"):
            await person.call(ReactionSet(conversation=group, message=sent, emoji="👍"))
    assert 0 == await db.fetchval("SELECT count(*) FROM messages.reactions WHERE message_id = $1", sent)
