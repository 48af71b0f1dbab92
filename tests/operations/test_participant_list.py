"""Who takes part, page by page; a channel's readers are for its admins."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import ConversationGet, ParticipantAdd, ParticipantList
from echo_ws_protocol.ids import uuid7
from tests.support.world import Worker, World


async def everybody(person: Client, conversation: UUID, limit: int, after: str | None = None) -> list[UUID]:
    found = []
    while True:
        page = await person.call(ParticipantList(conversation=conversation, limit=limit, after=after))
        assert len(page.participants) <= limit
        found += [participant.user for participant in page.participants]
        if page.next is None:
            return found
        after = page.next


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_pages_hold_everybody_once_and_admins_first(
    limit: int, group: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    found = await everybody(bob, group, limit)

    assert [alice.user, *sorted([bob.user, carol.user])] == found


async def test_a_channels_admins_see_its_readers_and_readers_see_its_admins(
    people: World, alice: Client, bob: Client, carol: Client
) -> None:
    channel = await people.conversation("channel", alice, bob, carol)

    assert [alice.user, *sorted([bob.user, carol.user])] == await everybody(alice, channel, 2)
    assert [alice.user] == await everybody(bob, channel, 2)
    shown = await alice.call(ConversationGet(conversation=channel))
    assert ([alice.user], 3) == ([person.user for person in shown.participants], shown.conversation.members)


async def test_a_large_group_shows_a_hundred_and_the_list_goes_on_from_there(people: World, alice: Client) -> None:
    group = await people.conversation("group", alice)
    others = [await people.user() for _ in range(120)]
    for some in (others[:60], others[60:]):
        await alice.call(ParticipantAdd(conversation=group, users=some))

    shown = await alice.call(ConversationGet(conversation=group))
    rest = await everybody(alice, group, 100, shown.next)

    assert (100, 21) == (len(shown.participants), len(rest))
    assert {alice.user, *others} == {*(person.user for person in shown.participants), *rest}


async def test_strangers_find_nothing_and_a_made_up_place_is_an_error(
    group: UUID, alice: Client, people: World, worker: Worker
) -> None:
    stranger = await people.person("Stranger", worker)

    for conversation in (group, uuid7()):
        with pytest.raises(CommandFailed, match="not_found"):
            await stranger.call(ParticipantList(conversation=conversation))
    for place in ("x", "admin|x", f"\0|{uuid7()}", f"owner|{uuid7()}"):
        with pytest.raises(CommandFailed, match="bad_field"):
            await alice.call(ParticipantList(conversation=group, after=place))
