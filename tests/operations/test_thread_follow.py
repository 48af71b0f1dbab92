"""Following a thread concerns one user, on all devices."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageHide, SessionResume, ThreadFollow, ThreadGet
from echo_ws_protocol.events import Thread
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import kept_back, say
from tests.support.waiting import heard
from tests.support.world import Worker, World


async def follow(person: Client, conversation: UUID, message: UUID, *, on: bool = True) -> None:
    await person.call(ThreadFollow(conversation=conversation, message=message, on=on))


async def test_all_own_devices_hear_of_it_and_nobody_else(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    phone = await people.device(bob.user, worker, codec="msgpack")
    message = await say(alice, direct, "cake?")

    for on in (True, False):
        await follow(bob, direct, message, on=on)

        for device in (bob, phone):
            assert (message, on) == ((told := await device.next(Thread)).message, told.followed)
    assert [] == await heard(alice, Thread)


async def test_a_device_that_was_away_learns_of_it(direct: UUID, alice: Client, bob: Client) -> None:
    message = await say(alice, direct, "cake?")
    await follow(bob, direct, message)

    resumed = await bob.call(SessionResume(epoch=bob.hello.epoch))

    assert [(message, True)] == [
        (change.message, change.followed) for change in resumed.changes if isinstance(change, Thread)
    ]
    assert (await bob.call(ThreadGet(conversation=direct, message=message))).followed


@pytest.mark.parametrize("on", [True, False])
async def test_repeating_it_changes_nothing(on: bool, direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    message = await say(alice, direct, "cake?")
    before = await db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", bob.user)

    await asyncio.gather(*(follow(bob, direct, message, on=on) for _ in range(8)))

    assert before + on == await db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", bob.user)


async def test_what_one_may_not_read_cannot_be_followed(
    direct: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    early, hidden, deleted = [await say(alice, direct, "hi") for _ in range(3)]
    withheld = await kept_back(alice, bob, direct)
    await bob.call(MessageHide(conversation=direct, message=hidden))
    await alice.call(MessageDelete(conversation=direct, message=deleted))

    for person, message in ((bob, hidden), (bob, deleted), (bob, withheld), (bob, uuid7()), (carol, early)):
        for on in (True, False):
            with pytest.raises(CommandFailed, match="not_found"):
                await follow(person, direct, message, on=on)


async def test_one_can_stop_following_what_has_gone_out_of_reach(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    message = await say(alice, group, "cake?")
    await follow(bob, group, message)
    await alice.call(MessageDelete(conversation=group, message=message))
    await other_service.remove(db, group, bob.user)

    await follow(bob, group, message, on=False)

    assert not await db.fetchval("SELECT followed FROM messages.follows WHERE user_id = $1", bob.user)
