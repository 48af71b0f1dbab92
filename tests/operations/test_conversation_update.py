"""What a group or channel is called and how it is set."""

import asyncio
import json
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import ConversationGet, ConversationUpdate
from echo_ws_protocol.events import Conversation
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import Worker, World


async def test_a_new_name_and_description_are_seen_by_all(
    group: UUID, alice: Client, bob: Client, people: World
) -> None:
    elsewhere = await people.device(bob.user, await people.worker(), codec="msgpack")

    await alice.call(
        ConversationUpdate(
            conversation=group, name="Book club", description="One a month", avatar_url="https://example.org/a.png"
        )
    )

    for device in (alice, bob, elsewhere):
        told = await device.next(Conversation)
        assert ("Book club", "One a month", "https://example.org/a.png") == (
            told.name,
            told.description,
            told.avatar_url,
        )
    shown = (await bob.call(ConversationGet(conversation=group))).conversation
    assert ("Book club", "One a month", 3) == (shown.name, shown.description, shown.members)


async def test_what_is_not_named_stays_and_an_empty_text_takes_away(group: UUID, alice: Client, db: Sql) -> None:
    await db.execute("""UPDATE messages.conversations SET metadata = '{"theirs": 1}' WHERE id = $1""", group)
    await alice.call(ConversationUpdate(conversation=group, name="Book club", description="One a month"))

    await alice.call(ConversationUpdate(conversation=group, description="", history="joined"))

    row = await db.fetchrow("SELECT name, metadata FROM messages.conversations WHERE id = $1", group)
    assert row
    assert ("Book club", {"theirs": 1, "history": "joined"}) == (row["name"], json.loads(row["metadata"]))


async def test_the_same_again_takes_no_rev(group: UUID, alice: Client, bob: Client) -> None:
    update = ConversationUpdate(conversation=group, name="Book club", history="joined")

    for _ in range(2):
        await alice.call(update)

    assert 1 == len(await heard(bob, Conversation))


async def test_only_an_admin_of_a_group_or_channel_may(
    group: UUID, direct: UUID, alice: Client, bob: Client, people: World, worker: Worker
) -> None:
    stranger = await people.person("Stranger", worker)

    for person, conversation, code in (
        (bob, group, "forbidden"),
        (alice, direct, "forbidden"),
        (stranger, group, "not_found"),
    ):
        with pytest.raises(CommandFailed, match=code):
            await person.call(ConversationUpdate(conversation=conversation, name="Mine"))


async def test_only_a_channel_can_be_public(group: UUID, alice: Client) -> None:
    with pytest.raises(CommandFailed, match="type"):
        await alice.call(ConversationUpdate(conversation=group, public=True))


@pytest.mark.parametrize("url", ["http://example.org/a.png", "javascript:alert(1)", "https://a b", 'https://"x'])
async def test_a_picture_has_a_safe_address(url: str, group: UUID, alice: Client) -> None:
    with pytest.raises(CommandFailed, match="avatar_url"):
        await alice.call(ConversationUpdate(conversation=group, avatar_url=url))


async def test_whatever_another_service_keeps_in_metadata_hides_nothing(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    for odd in ('{"description": 5, "history": [], "public": "yes", "avatar_url": null}', "[]", '"x"', "null", None):
        await db.execute("UPDATE messages.conversations SET metadata = $2 WHERE id = $1", group, odd)
    await alice.call(ConversationUpdate(conversation=group, name="Book club"))

    told = await bob.next(Conversation, lambda conversation: conversation.name is not None)

    assert ("Book club", None, "all", False) == (told.name, told.description, told.history, told.public)


async def test_eight_changes_at_once_are_eight_revs(group: UUID, alice: Client, bob: Client) -> None:
    await asyncio.gather(*(alice.call(ConversationUpdate(conversation=group, name=f"Club {n}")) for n in range(8)))

    told = await heard(bob, Conversation)
    assert sorted({event.rev for event in told}) == [event.rev for event in told]
    assert (await bob.call(ConversationGet(conversation=group))).conversation.name == told[-1].name
