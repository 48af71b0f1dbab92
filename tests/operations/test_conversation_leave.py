"""Leaving, joining, deleting, and wanting no notifications."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    ConversationDelete,
    ConversationGet,
    ConversationJoin,
    ConversationLeave,
    ConversationList,
    ConversationMute,
    ConversationUpdate,
    MessageEdit,
    MessageHistory,
    ParticipantRemove,
    SessionResume,
)
from echo_ws_protocol.events import Conversation, Member, Membership, Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.roll import check_list, members
from tests.support.talk import say
from tests.support.waiting import heard
from tests.support.world import Worker, World


async def listed(person: Client) -> set[UUID]:
    return {each.conversation for each in (await person.call(ConversationList())).conversations}


async def test_who_leaves_is_seen_to_go_and_hears_nothing_more(
    group: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    await bob.call(ConversationLeave(conversation=group))
    await say(alice, group, "he is gone")

    for person in (alice, bob, carol):
        assert (bob.user, True) == ((gone := await person.next(Member)).user, gone.left)
    assert [] == await heard(bob, Message)
    assert group not in await listed(bob)
    await check_list(db, group)


async def test_leaving_again_changes_nothing_and_a_pair_is_not_left(
    group: UUID, direct: UUID, bob: Client, people: World, worker: Worker, db: Sql
) -> None:
    stranger = await people.person("Stranger", worker)
    await bob.call(ConversationLeave(conversation=group))
    before = await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", group)

    await bob.call(ConversationLeave(conversation=group))
    for person, conversation, code in ((bob, direct, "forbidden"), (stranger, group, "not_found")):
        with pytest.raises(CommandFailed, match=code):
            await person.call(ConversationLeave(conversation=conversation))

    assert before == await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", group)


async def test_whoever_goes_last_closes_the_group(people: World, alice: Client, bob: Client, db: Sql) -> None:
    group = await people.conversation("group", alice, bob)
    await bob.call(ConversationLeave(conversation=group))

    await alice.call(ConversationLeave(conversation=group))

    assert await db.fetchval("SELECT deleted_at FROM messages.conversations WHERE id = $1", group)
    await check_list(db, group)


async def test_who_must_go_leaves_the_group_to_the_one_who_was_there_first(
    group: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    """What the deletion of an account uses."""
    outcome = await db.fetchval("SELECT outcome FROM messages.leave($1, $2, TRUE)", group, alice.user)

    assert "ok" == outcome
    heir = min(bob.user, carol.user)  # they came in the same moment
    assert heir == await db.fetchval(
        "SELECT user_id FROM messages.members WHERE conversation_id = $1 AND role = 'admin' AND left_seq IS NULL", group
    )
    await check_list(db, group)


async def test_all_leave_at_once_and_the_admin_comes_last(people: World, worker: Worker, db: Sql) -> None:
    everybody = [await people.person("Somebody", worker) for _ in range(8)]
    group = await people.conversation("group", *everybody)

    answers = await asyncio.gather(
        *(person.call(ConversationLeave(conversation=group)) for person in everybody), return_exceptions=True
    )

    assert not any(isinstance(answer, Exception) for answer in answers[1:])
    assert len(await members(db, group)) == isinstance(answers[0], CommandFailed)
    await check_list(db, group)


async def test_everybody_joins_a_public_channel_and_nobody_another_one(
    people: World, alice: Client, bob: Client, group: UUID, worker: Worker, db: Sql
) -> None:
    channel = await people.conversation("channel", alice)
    stranger = await people.person("Stranger", worker)
    words = set()
    for conversation in (channel, group, uuid7()):
        with pytest.raises(CommandFailed, match="not_found") as failed:
            await stranger.call(ConversationJoin(conversation=conversation))
        words.add(str(failed.value))
    await alice.call(ConversationUpdate(conversation=channel, public=True))

    for person in (bob, stranger):
        await person.call(ConversationJoin(conversation=channel))
        await person.next(Membership, lambda membership: membership.conversation == channel)
    await say(alice, channel, "welcome")

    assert 1 == len(words)
    for person in (bob, stranger):
        assert "welcome" == (await person.next(Message)).content
    await check_list(db, channel)


async def test_who_was_removed_does_not_join_again_and_who_left_does(
    people: World, alice: Client, bob: Client, db: Sql
) -> None:
    channel = await people.conversation("channel", alice, bob)
    await alice.call(ConversationUpdate(conversation=channel, public=True))
    await bob.call(ConversationLeave(conversation=channel))
    await bob.call(ConversationJoin(conversation=channel))
    await alice.call(ParticipantRemove(conversation=channel, user=bob.user))

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(ConversationJoin(conversation=channel))

    assert {alice.user} == await members(db, channel)


async def test_eight_joins_at_once_are_one_and_rewrite_no_list(
    people: World, alice: Client, bob: Client, db: Sql
) -> None:
    channel = await people.conversation("channel", alice)
    await alice.call(ConversationUpdate(conversation=channel, public=True))
    row = await db.fetchval("SELECT xmin FROM messages.conversations WHERE id = $1", channel)

    await asyncio.gather(*(bob.call(ConversationJoin(conversation=channel)) for _ in range(8)))

    assert {alice.user, bob.user} == await members(db, channel)
    assert row == await db.fetchval("SELECT xmin FROM messages.conversations WHERE id = $1", channel)
    await check_list(db, channel)


async def test_a_deleted_group_is_gone_for_all(group: UUID, alice: Client, bob: Client, people: World) -> None:
    elsewhere = await people.device(bob.user, await people.worker())
    with pytest.raises(CommandFailed, match="forbidden"):
        await bob.call(ConversationDelete(conversation=group))

    for _ in range(2):
        await alice.call(ConversationDelete(conversation=group))

    for device in (alice, bob, elsewhere):
        assert (await device.next(Conversation)).deleted
        with pytest.raises(CommandFailed, match="not_found"):
            await device.call(ConversationGet(conversation=group))


async def test_a_direct_conversation_is_deleted_for_oneself_and_comes_back_with_the_next_message(
    direct: UUID, alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    phone = await people.device(alice.user, worker)
    old = await say(bob, direct, "old")
    await alice.next(Message)

    for _ in range(2):
        await alice.call(ConversationDelete(conversation=direct))

    for device in (alice, phone):
        assert 1 == (await device.next(Membership, lambda membership: membership.cleared > 0)).cleared
    assert (False, True) == (direct in await listed(alice), direct in await listed(bob))
    assert [] == (await alice.call(MessageHistory(conversation=direct))).messages
    await bob.call(MessageEdit(conversation=direct, message=old, content="older"))
    await say(bob, direct, "new")
    assert "new" == (await alice.next(Message)).content
    assert direct in await listed(alice)
    assert ["new"] == [m.content for m in (await alice.call(MessageHistory(conversation=direct))).messages]
    assert 2 == len((await bob.call(MessageHistory(conversation=direct))).messages)
    resumed = await alice.call(SessionResume(epoch=alice.hello.epoch, conversations={direct: 1}))
    assert "older" not in str(resumed)
    assert [] == await heard(bob, Membership)


async def test_who_wants_no_notifications_says_so_to_the_own_devices_alone(
    group: UUID, alice: Client, bob: Client, people: World, worker: Worker, db: Sql
) -> None:
    phone = await people.device(bob.user, worker)
    until = datetime(2036, 1, 6, 8, tzinfo=UTC)
    rev = await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", group)

    for command, year in (
        (ConversationMute(conversation=group, until=until), 2036),
        (ConversationMute(conversation=group), 9999),
        (ConversationMute(conversation=group, on=False), None),
    ):
        for _ in range(2):
            await bob.call(command)
        told = (await phone.next(Membership)).muted_until
        shown = (await bob.call(ConversationGet(conversation=group))).conversation.muted_until
        assert (year, year) == (told and told.year, shown and shown.year)

    assert [] == await heard(phone, Membership)
    assert [] == await heard(alice, Member)
    assert rev == await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", group)


async def test_strangers_and_those_who_left_mute_nothing(group: UUID, bob: Client, carol: Client, db: Sql) -> None:
    await other_service.remove(db, group, bob.user)

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(ConversationMute(conversation=group))
    with pytest.raises(CommandFailed, match="bad_field"):
        await carol.call(ConversationMute(conversation=group, on=False, until=datetime.now(UTC)))
