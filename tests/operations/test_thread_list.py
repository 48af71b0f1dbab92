"""The threads of a conversation, the one with the latest reply first."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageHide, ThreadFollow, ThreadList
from echo_ws_protocol.ids import uuid7
from tests.support.other_service import Sql
from tests.support.talk import kept_back, say


async def threads(person: Client, conversation: UUID, *, followed: bool = False) -> list[tuple[str, int, str]]:
    page = await person.call(ThreadList(conversation=conversation, followed=followed))
    return [(each.message.content, each.replies, each.last_reply.content) for each in page.threads]


async def test_the_thread_with_the_latest_reply_comes_first(group: UUID, alice: Client, bob: Client) -> None:
    tea, cake = await say(alice, group, "tea?"), await say(alice, group, "cake?")
    await say(bob, group, "something else")
    for text, parent in (("yes", tea), ("no", cake), ("three please", tea)):
        await say(bob, group, text, reply_to=parent)

    assert [("tea?", 2, "three please"), ("cake?", 1, "no")] == await threads(alice, group)


async def test_they_come_by_pages(group: UUID, alice: Client, bob: Client) -> None:
    for text in ("one", "two", "three"):
        await say(bob, group, "yes", reply_to=await say(alice, group, text))

    first = await alice.call(ThreadList(conversation=group, limit=2))
    rest = await alice.call(ThreadList(conversation=group, limit=2, before=first.next))

    assert ["three", "two", "one"] == [each.message.content for page in (first, rest) for each in page.threads]
    assert None is rest.next


async def test_those_that_one_follows(group: UUID, alice: Client, bob: Client) -> None:
    tea, cake = await say(alice, group, "tea?"), await say(alice, group, "cake?")
    for parent in (tea, cake):
        await say(alice, group, "well?", reply_to=parent)

    await bob.call(ThreadFollow(conversation=group, message=tea))

    assert [("tea?", 1, "well?")] == await threads(bob, group, followed=True)
    assert [False, True] == [each.followed for each in (await bob.call(ThreadList(conversation=group))).threads]
    assert [] == await threads(alice, group, followed=True)


async def test_each_sees_the_threads_of_what_he_or_she_can_read(
    direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    mine, hidden, deleted = [await say(bob, direct, text) for text in ("mine", "hidden", "deleted")]
    lone = await say(bob, direct, "lone")
    for parent in (mine, hidden, deleted):
        await say(bob, direct, "yes", reply_to=parent)
    withheld = await kept_back(alice, bob, direct, "withheld")
    for parent in (withheld, mine, lone):
        await say(alice, direct, "let me in", reply_to=parent)
    await bob.call(MessageDelete(conversation=direct, message=deleted))
    await bob.call(MessageHide(conversation=direct, message=hidden))

    assert [
        ("lone", 1, "let me in"),
        ("mine", 2, "let me in"),
        ("withheld", 1, "let me in"),
        ("hidden", 1, "yes"),
    ] == await threads(alice, direct)
    assert [("mine", 1, "yes")] == await threads(bob, direct)
    assert 0 == await db.fetchval("SELECT count(*) FROM messages.threads WHERE parent_message_id = $1", deleted)


async def test_a_reply_that_is_deleted_leaves_the_one_before(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    parent = await say(alice, group, "tea?")
    await say(bob, group, "yes", reply_to=parent)
    oops = await say(bob, group, "oops", reply_to=parent)

    await bob.call(MessageDelete(conversation=group, message=oops))

    assert [("tea?", 1, "yes")] == await threads(alice, group)
    assert 1 == await db.fetchval("SELECT count(*) FROM messages.threads WHERE parent_message_id = $1", parent)


async def test_strangers_find_nothing(direct: UUID, carol: Client) -> None:
    for conversation in (direct, uuid7()):
        with pytest.raises(CommandFailed, match="not_found"):
            await threads(carol, conversation)
