"""Whoever may not do something is told why, in words that say what to do about it."""

from typing import Any
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import (
    Command,
    ConversationUpdate,
    MessageDelete,
    MessageEdit,
    MessagePin,
    MessageSend,
    ParticipantSilence,
    ReactionSet,
    TypingSet,
)
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import ask, say
from tests.support.world import World


async def why_not(person: Client, command: Command[Any]) -> str:
    with pytest.raises(CommandFailed) as failed:
        await person.call(command)
    assert "forbidden" == failed.value.failure.code
    return failed.value.failure.message


async def test_to_a_member_who_is_no_admin(group: UUID, alice: Client, bob: Client) -> None:
    message = await say(alice, group, "mine")

    for admins_only in (
        ConversationUpdate(conversation=group, name="ours"),
        MessagePin(conversation=group, message=message, on=True),
        ParticipantSilence(conversation=group, user=alice.user, on=True),
    ):
        assert "only an admin of the conversation may do this" == await why_not(bob, admins_only)
    for not_yours in (
        MessageEdit(conversation=group, message=message, content="ours"),
        MessageDelete(conversation=group, message=message),
    ):
        assert "it is the message of somebody else" == await why_not(bob, not_yours)


async def test_to_one_who_was_silenced(group: UUID, bob: Client, db: Sql) -> None:
    message = await say(bob, group, "still may")
    await other_service.silence(db, group, bob.user)

    for speaking in (
        MessageSend(conversation=group, message=uuid7(), content="no more"),
        MessageEdit(conversation=group, message=message, content="no more"),
        ReactionSet(conversation=group, message=message, emoji="🤐", on=True),
        MessagePin(conversation=group, message=message, on=True),
    ):
        assert "the admins have silenced you here" == await why_not(bob, speaking)
    assert "may not write here" in await why_not(bob, TypingSet(conversation=group))


async def test_to_an_admin_about_another(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    await other_service.promote(db, group, bob.user)

    silence = ParticipantSilence(conversation=group, user=bob.user, on=True)
    assert "an admin is not silenced; demote first" == await why_not(alice, silence)


async def test_to_the_reader_of_a_channel(people: World, alice: Client, bob: Client, db: Sql) -> None:
    channel = await people.conversation("channel", alice)
    await other_service.add_reader(db, channel, bob.user)

    send = MessageSend(conversation=channel, message=uuid7(), content="me too")
    assert "only an admin of the conversation may do this" == await why_not(bob, send)


async def test_about_what_stays_as_it_is(group: UUID, alice: Client) -> None:
    poll = await ask(alice, group)

    edit = MessageEdit(conversation=group, message=poll, content="elsewhere")
    assert "delete it and send another" in await why_not(alice, edit)
