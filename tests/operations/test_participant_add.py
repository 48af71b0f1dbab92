"""Adding people: who may, who lets whom, and what they hear from then on."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    ConversationUpdate,
    MessageHistory,
    ParticipantAdd,
    ParticipantRemove,
    ReactionSet,
    SessionResume,
)
from echo_ws_protocol.events import Member, Membership, Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.roll import add_contact, allow_invites, check_list, members, reluctant
from tests.support.talk import say
from tests.support.waiting import heard, until
from tests.support.world import Worker, World


async def test_who_is_added_is_told_hears_and_speaks(
    people: World, worker: Worker, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    group = await people.conversation("group", alice, bob)
    elsewhere = await people.device(carol.user, await people.worker(), codec="msgpack")

    added = await alice.call(ParticipantAdd(conversation=group, users=[carol.user]))

    assert [] == added.refused
    for person in (alice, bob):
        assert (carol.user, "member") == ((member := await person.next(Member)).user, member.role)
    for device in (carol, elsewhere):
        assert (group, "member") == ((told := await device.next(Membership)).conversation, told.role)
    await say(carol, group, "here I am")
    for person in (alice, bob, carol, elsewhere):
        assert "here I am" == (await person.next(Message)).content
    await check_list(db, group)


async def test_who_does_not_want_to_come_is_named_and_why_is_not_told(
    people: World, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    group = await people.conversation("group", alice, bob)
    unwilling = [*await reluctant(people, db, alice.user), uuid7()]

    alone = [await alice.call(ParticipantAdd(conversation=group, users=[user])) for user in unwilling]
    together = await alice.call(ParticipantAdd(conversation=group, users=[carol.user, bob.user, *unwilling]))

    assert [[user] for user in unwilling] == [answer.refused for answer in alone]
    assert sorted(unwilling) == together.refused
    assert {alice.user, bob.user, carol.user} == await members(db, group)
    await check_list(db, group)


async def test_contacts_may_invite_where_contacts_may(people: World, alice: Client, bob: Client, db: Sql) -> None:
    group = await people.conversation("group", alice)
    await allow_invites(db, bob.user, "contacts")
    await add_contact(db, alice.user, bob.user)
    by_a_stranger = await alice.call(ParticipantAdd(conversation=group, users=[bob.user]))
    await add_contact(db, bob.user, alice.user)

    by_a_contact = await alice.call(ParticipantAdd(conversation=group, users=[bob.user]))

    assert ([bob.user], []) == (by_a_stranger.refused, by_a_contact.refused)


async def test_only_an_admin_adds_and_strangers_find_nothing(
    people: World, group: UUID, bob: Client, worker: Worker, db: Sql
) -> None:
    stranger = await people.person("Stranger", worker)

    for person, code in ((bob, "forbidden"), (stranger, "not_found")):
        with pytest.raises(CommandFailed, match=code):
            await person.call(ParticipantAdd(conversation=group, users=[stranger.user]))

    assert stranger.user not in await members(db, group)


async def test_a_direct_conversation_stays_a_pair(direct: UUID, alice: Client, carol: Client, db: Sql) -> None:
    with pytest.raises(CommandFailed, match="type"):
        await alice.call(ParticipantAdd(conversation=direct, users=[carol.user]))

    await check_list(db, direct)


async def test_adding_again_takes_no_rev(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    before = await db.fetchrow("SELECT * FROM messages.heads WHERE conversation_id = $1", group)

    again = await alice.call(ParticipantAdd(conversation=group, users=[bob.user, bob.user]))

    assert [] == again.refused
    assert before == await db.fetchrow("SELECT * FROM messages.heads WHERE conversation_id = $1", group)


async def test_a_group_that_would_be_too_large_takes_nobody(people: World, db: Sql) -> None:
    small = await people.worker(group_max=3)
    alice, bob = await people.person("Alice", small), await people.person("Bob", small)
    group, channel = await people.conversation("group", alice, bob), await people.conversation("channel", alice, bob)
    others = [await people.user() for _ in range(2)]

    with pytest.raises(CommandFailed, match="more participants"):
        await alice.call(ParticipantAdd(conversation=group, users=others))
    await alice.call(ParticipantAdd(conversation=group, users=others[:1]))
    await alice.call(ParticipantAdd(conversation=channel, users=others))

    assert (3, 4) == (len(await members(db, group)), len(await members(db, channel)))


async def test_eight_admins_who_add_at_once_add_everybody_once(people: World, worker: Worker, db: Sql) -> None:
    admins = [await people.person("Admin", worker) for _ in range(8)]
    group = await people.conversation("group", *admins)
    for admin in admins[1:]:
        await other_service.promote(db, group, admin.user)
    newcomers = [await people.user() for _ in range(6)]

    answers = await asyncio.gather(
        *(
            admin.call(ParticipantAdd(conversation=group, users=newcomers[:: 1 if n % 2 else -1]))
            for n, admin in enumerate(admins)
        )
    )

    assert [[]] * 8 == [answer.refused for answer in answers]
    assert 14 == len(await members(db, group))
    await check_list(db, group)


async def test_adding_and_removing_the_same_one_eight_times_at_once_leaves_the_list_as_the_members(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    commands = [
        ParticipantAdd(conversation=group, users=[bob.user]),
        ParticipantRemove(conversation=group, user=bob.user),
    ] * 4

    await asyncio.gather(*(alice.call(command) for command in commands))

    await check_list(db, group)


async def test_a_service_that_writes_the_list_meanwhile_and_a_command_do_not_lose_each_other(
    people: World, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    group = await people.conversation("group", alice)
    async with db.transaction():
        await other_service.add(db, group, bob.user)
        adding = asyncio.create_task(alice.call(ParticipantAdd(conversation=group, users=[carol.user])))
        await until(lambda: people.store.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    await adding

    assert {alice.user, bob.user, carol.user} == await members(db, group)
    await check_list(db, group)


async def test_newcomers_read_everything_unless_the_conversation_says_otherwise(
    people: World, alice: Client, bob: Client, carol: Client
) -> None:
    group = await people.conversation("group", alice)
    await say(alice, group, "before")
    await alice.call(ParticipantAdd(conversation=group, users=[bob.user]))
    await alice.call(ConversationUpdate(conversation=group, history="joined"))
    await alice.call(ParticipantAdd(conversation=group, users=[carol.user]))
    await say(alice, group, "after")

    read = [await person.call(MessageHistory(conversation=group)) for person in (bob, carol)]

    assert [["before", "after"], ["after"]] == [[message.content for message in page.messages] for page in read]


async def test_what_was_before_a_newcomer_stays_so_when_it_changes(
    people: World, alice: Client, bob: Client, carol: Client
) -> None:
    """A reaction sends the whole message again, to those who may read it."""
    group = await people.conversation("group", alice, bob)
    elsewhere = await people.device(carol.user, await people.worker())
    await alice.call(ConversationUpdate(conversation=group, history="joined"))
    old = await say(alice, group, "a secret")
    await alice.call(ParticipantAdd(conversation=group, users=[carol.user]))
    for device in (carol, elsewhere):
        await device.next(Membership)

    await bob.call(ReactionSet(conversation=group, message=old, emoji="👍"))
    await say(alice, group, "welcome")

    for device in (carol, elsewhere):
        assert "welcome" == (await device.next(Message)).content
        assert [] == await heard(device, Message)
    later = await people.device(carol.user, await people.worker())  # comes when she is in already
    await bob.call(ReactionSet(conversation=group, message=old, emoji="👎"))
    new = await say(alice, group, "again")
    assert new == (await later.next(Message)).message
    resumed = await carol.call(SessionResume(epoch=carol.hello.epoch, conversations={group: 1}))
    assert "a secret" not in str(resumed)
    for reacting in (ReactionSet(conversation=group, message=old, emoji="👍"),):
        with pytest.raises(CommandFailed, match="not_found"):
            await carol.call(reacting)


async def test_a_channels_readers_are_not_told_of_each_other(
    people: World, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    channel = await people.conversation("channel", alice, bob)
    elsewhere = await people.device(bob.user, await people.worker())

    await alice.call(ParticipantAdd(conversation=channel, users=[carol.user]))
    assert not (await carol.next(Membership)).left
    await alice.call(ParticipantRemove(conversation=channel, user=carol.user))
    assert (await carol.next(Membership)).left
    await say(alice, channel, "news")

    for device in (alice, bob, elsewhere):
        assert "news" == (await device.next(Message)).content
        assert [] == await heard(device, Member)
    resumed = await bob.call(SessionResume(epoch=bob.hello.epoch, conversations={channel: 1}))
    assert str(carol.user) not in str(resumed.conversations)
    await check_list(db, channel)
