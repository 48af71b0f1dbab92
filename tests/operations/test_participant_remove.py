"""Removing people: who is removed learns of it and of nothing after it, wherever he or she is connected."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    MessageHistory,
    ParticipantAdd,
    ParticipantPromote,
    ParticipantRemove,
    SessionResume,
)
from echo_ws_protocol.events import Member, Membership, Message
from echo_ws_protocol.ids import uuid7
from tests.support.other_service import Sql
from tests.support.roll import check_list, members
from tests.support.talk import say
from tests.support.waiting import heard
from tests.support.world import Worker, World


async def test_the_one_removed_learns_of_it_and_of_nothing_after_it(
    group: UUID, people: World, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    elsewhere = await people.device(bob.user, await people.worker())
    await say(alice, group, "before")
    for device in (bob, elsewhere):
        await device.next(Message)

    await alice.call(ParticipantRemove(conversation=group, user=bob.user))
    await say(alice, group, "after")

    assert "before" == (await carol.next(Message)).content
    assert "after" == (await carol.next(Message)).content
    for device in (alice, bob, carol, elsewhere):
        assert (bob.user, True) == ((gone := await device.next(Member)).user, gone.left)
    for device in (bob, elsewhere):
        await device.next(Membership, lambda membership: membership.left)
        assert [] == await heard(device, Message)
    resumed = await bob.call(SessionResume(epoch=bob.hello.epoch, conversations={group: 1}))
    (answer,) = resumed.conversations
    assert ["before"] == [event.content for event in answer.events if isinstance(event, Message)]
    assert ["before"] == [m.content for m in (await bob.call(MessageHistory(conversation=group))).messages]
    await check_list(db, group)


async def test_who_comes_back_hears_again(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await alice.call(ParticipantRemove(conversation=group, user=bob.user))
    await alice.call(ParticipantAdd(conversation=group, users=[bob.user]))
    await bob.next(Membership, lambda membership: membership.left)
    await bob.next(Membership, lambda membership: not membership.left)

    await say(alice, group, "welcome back")

    assert "welcome back" == (await bob.next(Message)).content
    await check_list(db, group)


async def test_only_an_admin_removes_and_strangers_find_nothing(
    group: UUID, people: World, worker: Worker, bob: Client, carol: Client, db: Sql
) -> None:
    stranger = await people.person("Stranger", worker)

    for person, code in ((bob, "forbidden"), (stranger, "not_found")):
        with pytest.raises(CommandFailed, match=code):
            await person.call(ParticipantRemove(conversation=group, user=carol.user))

    assert carol.user in await members(db, group)


async def test_removing_again_takes_no_rev_and_who_never_came_is_not_found(
    group: UUID, people: World, alice: Client, bob: Client, db: Sql
) -> None:
    remove = ParticipantRemove(conversation=group, user=bob.user)
    await alice.call(remove)
    before = await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", group)

    await alice.call(remove)
    for nobody in (await people.user(), uuid7()):
        with pytest.raises(CommandFailed, match="not_found"):
            await alice.call(ParticipantRemove(conversation=group, user=nobody))

    assert before == await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", group)


async def test_nobody_removes_oneself_or_half_of_a_pair(direct: UUID, group: UUID, alice: Client, bob: Client) -> None:
    with pytest.raises(CommandFailed, match="leave"):
        await alice.call(ParticipantRemove(conversation=group, user=alice.user))
    with pytest.raises(CommandFailed, match="type"):
        await alice.call(ParticipantRemove(conversation=direct, user=bob.user))


async def test_eight_admins_who_remove_each_other_leave_one(people: World, worker: Worker, db: Sql) -> None:
    admins = [await people.person("Admin", worker) for _ in range(8)]
    group = await people.conversation("group", *admins)
    for admin in admins[1:]:
        await admins[0].call(ParticipantPromote(conversation=group, user=admin.user))

    answers = await asyncio.gather(
        *(
            admin.call(ParticipantRemove(conversation=group, user=other.user))
            for admin, other in zip(admins, [*admins[1:], admins[0]], strict=True)
        ),
        return_exceptions=True,
    )

    here = await members(db, group)
    assert 8 - len(here) == sum(not isinstance(answer, Exception) for answer in answers)
    assert here
    assert {"not_found"} >= {answer.code for answer in answers if isinstance(answer, CommandFailed)}
    await check_list(db, group)
