"""Who put which emoji on a message."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageHide, MessageHistory, ReactionList, ReactionSet
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import kept_back, say


async def put(person: Client, conversation: UUID, message: UUID, *emojis: str) -> None:
    for emoji in emojis:
        await person.call(ReactionSet(conversation=conversation, message=message, emoji=emoji))


async def listed(person: Client, conversation: UUID, message: UUID, emoji: str | None = None) -> list[tuple[UUID, str]]:
    page = await person.call(ReactionList(conversation=conversation, message=message, emoji=emoji))
    return [(each.user, each.emoji) for each in page.reactions]


async def test_reactions_are_listed_in_order_all_or_by_emoji(
    group: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    message = await say(alice, group, "hi")
    await put(bob, group, message, "👍", "🎉")
    await put(carol, group, message, "👍")

    assert [(bob.user, "👍"), (bob.user, "🎉"), (carol.user, "👍")] == await listed(alice, group, message)
    assert [(bob.user, "👍"), (carol.user, "👍")] == await listed(alice, group, message, "👍")
    assert [] == await listed(alice, group, message, "❤️")


async def test_they_come_by_pages(group: UUID, alice: Client, bob: Client, carol: Client) -> None:
    message = await say(alice, group, "hi")
    for person in (carol, alice, bob):
        await put(person, group, message, "👍")

    first = await bob.call(ReactionList(conversation=group, message=message, limit=2))
    rest = await bob.call(ReactionList(conversation=group, message=message, limit=2, after=first.next))

    assert [carol.user, alice.user, bob.user] == [each.user for page in (first, rest) for each in page.reactions]
    assert None is rest.next


async def test_history_says_which_are_mine(group: UUID, alice: Client, bob: Client) -> None:
    message = await say(alice, group, "hi")
    await say(alice, group, "there")

    await put(bob, group, message, "👍", "🎉")

    mine = (await bob.call(MessageHistory(conversation=group))).mine
    assert {message: ["👍", "🎉"]} == {id_: each.reactions for id_, each in mine.items()}
    assert {} == (await alice.call(MessageHistory(conversation=group))).mine


async def test_twenty_of_one_person_and_fifty_different_ones_are_enough(
    group: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    message = await say(alice, group, "hi")
    emojis = [chr(0x1F600 + n) for n in range(60)]
    await put(bob, group, message, *emojis[:20])
    await put(carol, group, message, *emojis[20:40])

    with pytest.raises(CommandFailed, match="as many as may be"):
        await put(bob, group, message, emojis[40])
    await put(bob, group, message, emojis[0])  # it is there already
    await put(alice, group, message, *emojis[40:50])
    with pytest.raises(CommandFailed, match="as many as may be"):
        await put(alice, group, message, emojis[50])
    await put(alice, group, message, emojis[0])  # others have put it there


async def test_where_one_may_not_read_there_is_nothing(direct: UUID, alice: Client, bob: Client, carol: Client) -> None:
    early, hidden, deleted = [await say(alice, direct, "hi") for _ in range(3)]
    withheld = await kept_back(alice, bob, direct)
    for message in (early, hidden, deleted, withheld):
        await put(alice, direct, message, "👍")
    await bob.call(MessageHide(conversation=direct, message=hidden))
    await alice.call(MessageDelete(conversation=direct, message=deleted))

    assert [(alice.user, "👍")] == await listed(bob, direct, early)
    for person, message in ((bob, hidden), (bob, deleted), (bob, withheld), (bob, uuid7()), (carol, early)):
        with pytest.raises(CommandFailed, match="not_found"):
            await listed(person, direct, message)
    with pytest.raises(CommandFailed, match="not_found"):
        await put(bob, direct, withheld, "👍")


async def test_one_who_left_reads_nothing_that_changed_since(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    message = await say(alice, group, "hi")
    await put(alice, group, message, "👍")
    await other_service.remove(db, group, bob.user)
    assert [(alice.user, "👍")] == await listed(bob, group, message)

    await put(alice, group, message, "🎉")

    with pytest.raises(CommandFailed, match="not_found"):
        await listed(bob, group, message)
