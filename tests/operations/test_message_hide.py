"""A message that somebody deleted for himself or herself is gone there, on all devices, and nowhere else."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageEdit, MessageHide, MessageHistory, SessionResume
from echo_ws_protocol.events import Hidden, Message
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import say
from tests.support.world import Worker, World


async def read(person: Client, conversation: UUID) -> list[str]:
    return [message.content for message in (await person.call(MessageHistory(conversation=conversation))).messages]


async def test_a_hidden_message_is_gone_for_one_and_there_for_the_others(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    phone = await people.device(bob.user, worker)
    message = await say(alice, direct, "oops")
    await say(alice, direct, "hi")

    await bob.call(MessageHide(conversation=direct, message=message))

    for device in (bob, phone):
        assert (message, 1) == ((hidden := await device.next(Hidden)).message, hidden.seq)
    assert ["hi"] == await read(bob, direct)
    assert ["oops", "hi"] == await read(alice, direct)


async def test_a_device_that_was_away_learns_what_was_hidden_and_reads_no_more_of_it(
    direct: UUID, alice: Client, bob: Client
) -> None:
    message = await say(alice, direct, "oops")
    await bob.call(MessageHide(conversation=direct, message=message))
    await alice.call(MessageEdit(conversation=direct, message=message, content="oops!"))

    resumed = await bob.call(SessionResume(epoch=bob.hello.epoch, conversations={direct: 1}))

    assert [message] == [change.message for change in resumed.changes if isinstance(change, Hidden)]
    assert [] == [event for page in resumed.conversations for event in page.events if isinstance(event, Message)]


async def test_hiding_it_eight_times_at_once_is_one_change(direct: UUID, alice: Client, bob: Client, db: Sql) -> None:
    message = await say(alice, direct, "oops")
    before = await db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", bob.user)

    await asyncio.gather(*(bob.call(MessageHide(conversation=direct, message=message)) for _ in range(8)))

    assert before + 1 == await db.fetchval("SELECT last_rev FROM users.heads WHERE user_id = $1", bob.user)


async def test_one_who_left_hides_what_was_readable_and_nothing_later(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    early = await say(alice, group, "early")
    await other_service.remove(db, group, bob.user)
    late = await say(alice, group, "late")

    await bob.call(MessageHide(conversation=group, message=early))
    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(MessageHide(conversation=group, message=late))

    assert [] == await read(bob, group)
