"""Mentions: who is named in a message, and where one is named."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageHide, MessageMentions, ReactionSet
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import kept_back, say


async def named(person: Client) -> list[UUID]:
    return [message.message for message in (await person.call(MessageMentions())).messages]


async def test_those_who_take_part_are_named_and_nobody_else(
    direct: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    await say(alice, direct, "hi", mentions=[bob.user, carol.user, uuid7(), bob.user])

    assert [bob.user] == (await bob.next(Message)).mentions
    assert [] == await named(carol)


async def test_mentions_are_listed_across_conversations_the_last_one_first(
    direct: UUID, group: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    first = await say(alice, group, "bob?", mentions=[bob.user, carol.user])
    await say(alice, group, "hi")
    second = await say(alice, direct, "bob?", mentions=[bob.user])
    third = await say(carol, group, "bob?", mentions=[bob.user])

    pages = [await bob.call(MessageMentions(limit=2))]
    pages.append(await bob.call(MessageMentions(limit=2, after=pages[0].next)))

    assert [[third, second], [first]] == [[message.message for message in page.messages] for page in pages]
    assert None is pages[1].next
    assert [first] == await named(carol)


async def test_they_come_with_what_is_mine(group: UUID, alice: Client, bob: Client) -> None:
    message = await say(alice, group, "bob?", mentions=[bob.user])
    await bob.call(ReactionSet(conversation=group, message=message, emoji="👍"))

    page = await bob.call(MessageMentions())

    assert ["👍"] == page.mine[message].reactions


async def test_what_one_may_not_read_is_not_listed(
    direct: UUID, group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    deleted, hidden, fine = [await say(alice, group, "bob?", mentions=[bob.user]) for _ in range(3)]
    await alice.call(MessageDelete(conversation=group, message=deleted))
    await bob.call(MessageHide(conversation=group, message=hidden))
    await kept_back(alice, bob, direct, mentions=[bob.user])

    assert [fine] == await named(bob)
    await other_service.close(db, group)
    assert [] == await named(bob)
    assert 0 == await db.fetchval("SELECT count(*) FROM messages.mentioned WHERE message_id = $1", deleted)


async def test_one_who_left_still_finds_what_was_said_before(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    early = await say(alice, group, "bob?", mentions=[bob.user])
    await other_service.remove(db, group, bob.user)
    await say(alice, group, "bob is gone", mentions=[bob.user])

    assert [early] == await named(bob)


async def test_no_more_than_fifty_are_taken(direct: UUID, alice: Client) -> None:
    with pytest.raises(CommandFailed, match="bad_field"):
        await say(alice, direct, "all", mentions=[uuid7() for _ in range(51)])


async def test_the_list_stays_on_its_index(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    """However many are named elsewhere, and however often."""
    await say(alice, group, "bob?", mentions=[bob.user])

    async with db.transaction():
        await db.execute("SET LOCAL enable_seqscan = off")
        plan = await db.fetch(
            "EXPLAIN SELECT message_id FROM messages.mentioned WHERE user_id = $1 ORDER BY created_at DESC LIMIT 10",
            bob.user,
        )

    assert "mentioned_pkey" in str(plan)
