"""Promoting, demoting, silencing: all are told, and there is always an admin."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    ConversationGet,
    ConversationLeave,
    MessageSend,
    ParticipantDemote,
    ParticipantPromote,
    ParticipantSilence,
    ReactionSet,
)
from echo_ws_protocol.events import Member, Membership, Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.roll import check_list
from tests.support.waiting import heard
from tests.support.world import Worker, World


async def rev_of(db: Sql, conversation: UUID) -> int:
    rev: int = await db.fetchval("SELECT last_rev FROM messages.heads WHERE conversation_id = $1", conversation)
    return rev


async def test_who_is_promoted_may_what_an_admin_may(
    group: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    await alice.call(ParticipantPromote(conversation=group, user=bob.user))

    for person in (alice, bob, carol):
        assert (bob.user, "admin") == ((member := await person.next(Member)).user, member.role)
    assert "admin" == (await bob.next(Membership, lambda membership: membership.role == "admin")).role
    await bob.call(ParticipantDemote(conversation=group, user=alice.user))
    with pytest.raises(CommandFailed, match="forbidden"):
        await alice.call(ParticipantDemote(conversation=group, user=bob.user))
    await check_list(db, group)


@pytest.mark.parametrize("type_", ["group", "channel"])
async def test_the_last_admin_neither_steps_down_nor_leaves_while_others_are_there(
    type_: str, people: World, alice: Client, bob: Client, db: Sql
) -> None:
    somewhere = await people.conversation(type_, alice, bob)

    for command in (
        ParticipantDemote(conversation=somewhere, user=alice.user),
        ConversationLeave(conversation=somewhere),
    ):
        with pytest.raises(CommandFailed, match="promote somebody first"):
            await alice.call(command)
    await alice.call(ParticipantPromote(conversation=somewhere, user=bob.user))
    await alice.call(ConversationLeave(conversation=somewhere))

    assert "admin" == (await bob.call(ConversationGet(conversation=somewhere))).conversation.role
    await check_list(db, somewhere)


async def test_two_admins_who_step_down_at_once_leave_one(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await alice.call(ParticipantPromote(conversation=group, user=bob.user))

    answers = await asyncio.gather(
        *(
            person.call(command)
            for person, command in (
                (alice, ParticipantDemote(conversation=group, user=alice.user)),
                (bob, ConversationLeave(conversation=group)),
            )
            for _ in range(4)
        ),
        return_exceptions=True,
    )

    assert 1 == await db.fetchval(
        "SELECT count(*) FROM messages.members WHERE conversation_id = $1 AND role = 'admin' AND left_seq IS NULL",
        group,
    )
    assert any(isinstance(answer, CommandFailed) for answer in answers)
    await check_list(db, group)


async def test_in_a_channel_an_admin_posts_and_one_no_longer_reads(
    people: World, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    channel = await people.conversation("channel", alice, bob, carol)
    await alice.call(ParticipantPromote(conversation=channel, user=bob.user))
    await bob.call(MessageSend(conversation=channel, message=uuid7(), content="news"))
    await check_list(db, channel)

    await alice.call(ParticipantDemote(conversation=channel, user=bob.user))

    with pytest.raises(CommandFailed, match="forbidden"):
        await bob.call(MessageSend(conversation=channel, message=uuid7(), content="more news"))
    assert ["admin", "reader"] == [member.role for member in await heard(carol, Member)]
    await check_list(db, channel)


async def test_who_is_silenced_reads_and_neither_writes_nor_reacts(
    group: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    said = uuid7()
    await alice.call(MessageSend(conversation=group, message=said, content="order!"))

    await alice.call(ParticipantSilence(conversation=group, user=bob.user))

    assert (bob.user, True) == ((member := await carol.next(Member)).user, member.silenced)
    assert "order!" == (await bob.next(Message)).content
    for command in (
        MessageSend(conversation=group, message=uuid7(), content="but"),
        ReactionSet(conversation=group, message=said, emoji="👎"),
    ):
        with pytest.raises(CommandFailed, match="forbidden"):
            await bob.call(command)
    await check_list(db, group)
    await alice.call(ParticipantSilence(conversation=group, user=bob.user, on=False))
    await bob.call(MessageSend(conversation=group, message=uuid7(), content="thank you"))
    await check_list(db, group)


async def test_an_admin_is_not_silenced_and_who_becomes_one_may_speak(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    with pytest.raises(CommandFailed, match="forbidden"):
        await alice.call(ParticipantSilence(conversation=group, user=alice.user))
    await alice.call(ParticipantSilence(conversation=group, user=bob.user))

    await alice.call(ParticipantPromote(conversation=group, user=bob.user))

    await bob.call(MessageSend(conversation=group, message=uuid7(), content="now then"))
    await check_list(db, group)


@pytest.mark.parametrize("command", [ParticipantPromote, ParticipantDemote, ParticipantSilence])
async def test_only_an_admin_does_so_to_one_who_is_there_and_once(
    command: type[ParticipantPromote | ParticipantDemote | ParticipantSilence],
    group: UUID,
    direct: UUID,
    people: World,
    worker: Worker,
    alice: Client,
    bob: Client,
    carol: Client,
    db: Sql,
) -> None:
    stranger = await people.person("Stranger", worker)
    if command is ParticipantDemote:
        await other_service.promote(db, group, bob.user)

    for person, conversation, user, code in (
        (carol, group, bob.user, "forbidden"),
        (stranger, group, bob.user, "not_found"),
        (alice, group, stranger.user, "not_found"),
        (alice, group, uuid7(), "not_found"),
        (alice, direct, bob.user, "forbidden"),
    ):
        with pytest.raises(CommandFailed, match=code):
            await person.call(command(conversation=conversation, user=user))
    await alice.call(command(conversation=group, user=bob.user))
    rev = await rev_of(db, group)
    await alice.call(command(conversation=group, user=bob.user))

    assert rev == await rev_of(db, group)
