"""Threads: a message, the replies that one can read, and how many there are."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageHide, MessageSend, ReactionSet, ThreadGet
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import ThreadDetails
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import kept_back, say


async def thread(person: Client, conversation: UUID, message: UUID, after: int = 0, limit: int = 50) -> ThreadDetails:
    return await person.call(ThreadGet(conversation=conversation, message=message, after=after, limit=limit))


def contents(found: ThreadDetails) -> list[str]:
    return [message.content for message in found.messages]


async def test_replies_are_read_by_seq_and_counted(group: UUID, alice: Client, bob: Client) -> None:
    parent = await say(alice, group, "cake?")
    for text in ("one", "two", "three"):
        await say(bob, group, text, reply_to=parent)
        await say(bob, group, "something else")

    first = await thread(alice, group, parent, limit=2)
    rest = await thread(alice, group, parent, after=first.messages[-1].seq, limit=2)

    assert ("cake?", 3) == (first.message.content, first.replies)
    assert (["one", "two"], True) == (contents(first), first.more)
    assert (["three"], False, 3) == (contents(rest), rest.more, rest.replies)


async def test_a_reply_in_the_same_batch_as_its_parent_counts(group: UUID, alice: Client, bob: Client) -> None:
    parent = uuid7()
    replies = [MessageSend(conversation=group, message=uuid7(), content="yes", reply_to=parent) for _ in range(20)]

    await asyncio.gather(
        alice.call(MessageSend(conversation=group, message=parent, content="cake?")),
        *(alice.call(reply) for reply in replies),
    )

    assert 20 == (await thread(bob, group, parent)).replies


async def test_what_another_service_replied_counts(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    parent = await say(alice, group, "cake?")

    await db.execute(
        "INSERT INTO messages.messages (conversation_id, from_user_id, content, reply_to_id)"
        " VALUES ($1, $2, 'yes', $3)",
        group,
        bob.user,
        parent,
    )

    assert ["yes"] == contents(await thread(alice, group, parent))


async def test_a_message_without_replies_is_a_thread_of_none(direct: UUID, alice: Client, bob: Client) -> None:
    found = await thread(bob, direct, await say(alice, direct, "hi"))

    assert (0, [], False) == (found.replies, found.messages, found.more)


async def test_each_counts_what_he_or_she_can_read(direct: UUID, alice: Client, bob: Client) -> None:
    """Deleted, hidden and kept back replies are not there."""
    parent = await say(bob, direct, "cake?")
    deleted, hidden, _ = [await say(alice, direct, text, reply_to=parent) for text in ("deleted", "hidden", "yes")]
    await kept_back(alice, bob, direct, reply_to=parent)
    await alice.call(MessageDelete(conversation=direct, message=deleted))
    await bob.call(MessageHide(conversation=direct, message=hidden))

    hers, his = await thread(alice, direct, parent), await thread(bob, direct, parent)

    assert (3, ["hidden", "yes", "let me in"]) == (hers.replies, contents(hers))
    assert (1, ["yes"]) == (his.replies, contents(his))


async def test_it_says_what_is_mine(group: UUID, alice: Client, bob: Client) -> None:
    parent = await say(alice, group, "cake?")
    reply = await say(alice, group, "yes", reply_to=parent)
    for message in (parent, reply):
        await bob.call(ReactionSet(conversation=group, message=message, emoji="👍"))

    assert {parent, reply} == set((await thread(bob, group, parent)).mine)


async def test_what_one_may_not_read_is_no_thread(direct: UUID, alice: Client, bob: Client, carol: Client) -> None:
    early, hidden, deleted = [await say(alice, direct, "hi") for _ in range(3)]
    await say(bob, direct, "yes", reply_to=deleted)
    withheld = await kept_back(alice, bob, direct)
    await bob.call(MessageHide(conversation=direct, message=hidden))
    await alice.call(MessageDelete(conversation=direct, message=deleted))

    for person, message in ((bob, hidden), (bob, deleted), (bob, withheld), (bob, uuid7()), (carol, early)):
        with pytest.raises(CommandFailed, match="not_found"):
            await thread(person, direct, message)


async def test_one_who_left_sees_the_thread_as_it_was(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    parent = await say(alice, group, "cake?")
    await say(alice, group, "early", reply_to=parent)
    await other_service.remove(db, group, bob.user)
    await say(alice, group, "late", reply_to=parent)

    assert (1, ["early"]) == ((found := await thread(bob, group, parent)).replies, contents(found))
