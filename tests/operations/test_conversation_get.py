"""One conversation and who takes part."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import ConversationGet, DeliveryAck, MessageSend
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.world import Worker, World


async def test_it_shows_people_by_name_with_roles_and_watermarks(
    group: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    await alice.call(MessageSend(conversation=group, message=uuid7(), content="hi"))
    await bob.call(DeliveryAck(conversation=group, seq=1))
    await other_service.silence(db, group, carol.user)

    details = await carol.call(ConversationGet(conversation=group))

    assert (group, "group", "member", 1) == (
        details.conversation.conversation,
        details.conversation.type,
        details.conversation.role,
        details.conversation.last_seq,
    )
    assert [
        ("Alice", alice.user, "admin", 0, False),
        ("Bob", bob.user, "member", 1, False),
        ("Carol", carol.user, "member", 0, True),
    ] == [
        (person.name, person.user, person.role, person.delivered_seq, person.silenced)
        for person in details.participants
    ]


async def test_a_channel_lists_posters_and_not_readers(people: World, alice: Client, bob: Client, db: Sql) -> None:
    channel = await people.conversation("channel", alice)
    await other_service.add_reader(db, channel, bob.user)

    details = await bob.call(ConversationGet(conversation=channel))

    assert "reader" == details.conversation.role
    assert [alice.user] == [person.user for person in details.participants]


async def test_for_a_stranger_it_does_not_exist(group: UUID, people: World, worker: Worker) -> None:
    stranger = await people.person("Stranger", worker)

    words = set()
    for conversation in (group, uuid7()):
        with pytest.raises(CommandFailed, match="not_found") as failed:
            await stranger.call(ConversationGet(conversation=conversation))
        words.add(str(failed.value))

    assert 1 == len(words)


async def test_for_one_who_left_it_exists_no_more(group: UUID, bob: Client, db: Sql) -> None:
    await other_service.remove(db, group, bob.user)

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(ConversationGet(conversation=group))


async def test_a_deleted_one_does_not_exist(group: UUID, alice: Client, db: Sql) -> None:
    await other_service.close(db, group)

    with pytest.raises(CommandFailed, match="not_found"):
        await alice.call(ConversationGet(conversation=group))
