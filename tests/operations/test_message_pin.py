"""Pins: seen by all, set by those who may, at most fifty."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageHide, MessagePin, MessagePins, ReactionSet
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import kept_back, say, seen
from tests.support.waiting import heard
from tests.support.world import World


async def pin(person: Client, conversation: UUID, message: UUID, *, on: bool = True) -> None:
    await person.call(MessagePin(conversation=conversation, message=message, on=on))


async def pins(person: Client, conversation: UUID) -> list[UUID]:
    return [message.message for message in (await person.call(MessagePins(conversation=conversation))).messages]


async def test_a_pinned_message_is_seen_by_the_others(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    message = await say(bob, group, "hi")
    before = await seen(bob, group, message)
    updated_at = await db.fetchval("SELECT updated_at FROM messages.messages WHERE id = $1", message)

    await pin(alice, group, message)

    pinned = await bob.next(Message, lambda event: event.pinned_by is not None)
    assert (message, alice.user, before.rev + 1) == (pinned.message, pinned.pinned_by, pinned.rev)
    assert pinned == await seen(bob, group, message)
    assert updated_at == await db.fetchval("SELECT updated_at FROM messages.messages WHERE id = $1", message)
    await pin(alice, group, message, on=False)
    loose = await bob.next(Message)
    assert (None, None) == (loose.pinned_by, loose.pinned_at)


@pytest.mark.parametrize("on", [True, False])
async def test_repeating_it_changes_nothing(on: bool, group: UUID, alice: Client, bob: Client) -> None:
    message = await say(alice, group, "hi")
    if on:
        await pin(alice, group, message)
    await heard(bob, Message)

    await asyncio.gather(*(pin(alice, group, message, on=on) for _ in range(4)))

    assert [] == await heard(bob, Message)


async def test_only_admins_pin_in_a_group_and_nobody_who_is_silenced(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    message = await say(alice, group, "hi")

    with pytest.raises(CommandFailed, match="forbidden"):
        await pin(bob, group, message)
    await other_service.promote(db, group, bob.user)
    await pin(bob, group, message)
    await other_service.silence(db, group, bob.user)
    with pytest.raises(CommandFailed, match="forbidden"):
        await pin(bob, group, message, on=False)


async def test_both_pin_in_a_direct_conversation(direct: UUID, alice: Client, bob: Client) -> None:
    ours = [await say(person, direct, "hi") for person in (alice, bob)]

    await pin(alice, direct, ours[1])
    await pin(bob, direct, ours[0])

    assert ours == await pins(alice, direct) == await pins(bob, direct)  # the one pinned last first


async def test_fifty_can_be_pinned_and_one_more_when_one_is_gone(direct: UUID, alice: Client, bob: Client) -> None:
    messages = [await say(alice, direct, str(n)) for n in range(52)]
    for message in messages[:50]:
        await pin(alice, direct, message)

    with pytest.raises(CommandFailed, match="as many as may be"):
        await pin(bob, direct, messages[50])

    await pin(alice, direct, messages[0])  # it is there already
    await alice.call(MessageDelete(conversation=direct, message=messages[0]))
    await pin(bob, direct, messages[50])
    assert [messages[50], *reversed(messages[1:50])] == await pins(bob, direct)


async def test_pins_come_with_what_is_mine_and_strangers_find_nothing(
    direct: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    message = await say(alice, direct, "hi")
    await pin(alice, direct, message)
    await bob.call(ReactionSet(conversation=direct, message=message, emoji="👍"))

    page = await bob.call(MessagePins(conversation=direct))

    assert ["👍"] == page.mine[message].reactions
    assert {} == (await alice.call(MessagePins(conversation=direct))).mine
    for conversation in (direct, uuid7()):
        with pytest.raises(CommandFailed, match="not_found"):
            await pins(carol, conversation)


async def test_what_one_may_not_read_is_neither_pinned_nor_listed(
    people: World, direct: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    early, hidden = await say(alice, direct, "early"), await say(alice, direct, "hidden")
    withheld = await kept_back(alice, bob, direct)
    for message in (early, hidden, withheld):
        await pin(alice, direct, message)
    await bob.call(MessageHide(conversation=direct, message=hidden))

    assert [withheld, hidden, early] == await pins(alice, direct)
    assert [early] == await pins(bob, direct)
    assert (True, None, None) == (
        (kept := await seen(bob, direct, withheld)).hidden,
        kept.pinned_by,
        kept.pinned_at,
    )
    for person, message in ((bob, hidden), (bob, withheld), (carol, early), (alice, uuid7())):
        with pytest.raises(CommandFailed, match="not_found"):
            await pin(person, direct, message, on=False)
