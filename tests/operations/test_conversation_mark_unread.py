"""A conversation that was read goes back among the unread ones, on all devices of one user and for nobody else."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    ConversationGet,
    ConversationMarkUnread,
    MessageRead,
    MessageSend,
    SessionResume,
)
from echo_ws_protocol.events import Membership
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import World


async def is_marked(person: Client, conversation: UUID) -> bool:
    return (await person.call(ConversationGet(conversation=conversation))).conversation.marked_unread


async def rev_of(db: Sql, person: Client) -> int:
    rev: int = await db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", person.user)
    return rev


async def test_all_devices_of_the_user_hear_it_and_nobody_else(
    direct: UUID, alice: Client, bob: Client, people: World
) -> None:
    phone = await people.device(bob.user, await people.worker())

    await bob.call(ConversationMarkUnread(conversation=direct))

    for device in (bob, phone):
        assert (direct, True) == ((heard := await device.next(Membership)).conversation, heard.marked_unread)
        assert await is_marked(device, direct)
    assert not await is_marked(alice, direct)
    assert [] == await heard_of(alice)


async def heard_of(person: Client) -> list[Membership]:
    return await heard(person, Membership)


@pytest.mark.parametrize("again", ["taken back", "read", "read again"])
async def test_it_is_taken_back_by_saying_so_or_by_reading(
    again: str, direct: UUID, alice: Client, bob: Client, people: World
) -> None:
    phone = await people.device(bob.user, await people.worker())
    await alice.call(MessageSend(conversation=direct, message=uuid7(), content="hi"))
    if again == "read again":
        await bob.call(MessageRead(conversation=direct, seq=1))
    await bob.call(ConversationMarkUnread(conversation=direct))
    await phone.next(Membership)

    if again == "taken back":
        await bob.call(ConversationMarkUnread(conversation=direct, on=False))
    else:
        await bob.call(MessageRead(conversation=direct, seq=1))

    assert not (await phone.next(Membership)).marked_unread
    assert not await is_marked(phone, direct)


async def test_a_device_that_was_away_learns_of_it(direct: UUID, bob: Client) -> None:
    before = await bob.call(SessionResume(epoch=bob.hello.epoch))

    await bob.call(ConversationMarkUnread(conversation=direct))

    after = await bob.call(SessionResume(epoch=bob.hello.epoch, rev=before.rev))
    assert [(direct, True)] == [(m.conversation, m.marked_unread) for m in after.changes if isinstance(m, Membership)]


async def test_marking_it_eight_times_at_once_is_one_change(direct: UUID, bob: Client, db: Sql) -> None:
    before = await rev_of(db, bob)

    await asyncio.gather(*(bob.call(ConversationMarkUnread(conversation=direct)) for _ in range(8)))

    assert before + 1 == await rev_of(db, bob)


async def test_marking_reading_and_changes_of_members_do_not_lock_each_other_out(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    await alice.call(MessageSend(conversation=group, message=uuid7(), content="hi"))

    async def others() -> None:
        for _ in range(10):
            await other_service.silence(db, group, bob.user)
            await db.execute(
                "UPDATE messages.conversations SET participants = participants || '{\"muted\": []}' WHERE id = $1",
                group,
            )

    await asyncio.gather(
        others(),
        *(bob.call(ConversationMarkUnread(conversation=group, on=n % 3 > 0)) for n in range(20)),
        *(bob.call(MessageRead(conversation=group, seq=1)) for _ in range(20)),
    )
    await bob.call(MessageRead(conversation=group, seq=1))

    assert not await is_marked(bob, group)


async def test_it_takes_no_rev_of_the_conversation(direct: UUID, bob: Client, db: Sql) -> None:
    rev = await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", direct)

    await bob.call(ConversationMarkUnread(conversation=direct))

    assert rev == await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", direct)


async def test_strangers_and_those_who_left_find_nothing(
    group: UUID, direct: UUID, bob: Client, carol: Client, db: Sql
) -> None:
    await other_service.remove(db, group, bob.user)

    for person, conversation in ((bob, group), (carol, direct), (carol, uuid7())):
        with pytest.raises(CommandFailed, match="not_found"):
            await person.call(ConversationMarkUnread(conversation=conversation))
