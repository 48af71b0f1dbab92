"""Reading back, in both directions, what one may read."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageEdit, MessageHistory, MessageSend, ReactionSet
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import say_each
from tests.support.world import Worker, World


async def texts(person: Client, command: MessageHistory) -> list[str]:
    return [message.content for message in (await person.call(command)).messages]


async def test_the_last_messages_come_by_rising_seq(direct: UUID, alice: Client, bob: Client) -> None:
    await say_each(alice, direct, *"abcde")

    page = await bob.call(MessageHistory(conversation=direct, limit=3))

    assert [(3, "c"), (4, "d"), (5, "e")] == [(message.seq, message.content) for message in page.messages]
    assert page.more


async def test_pages_backwards_meet_every_message_once(direct: UUID, alice: Client, bob: Client) -> None:
    await say_each(alice, direct, *"abcde")

    seen: list[str] = []
    before, more = None, True
    while more:
        page = await bob.call(MessageHistory(conversation=direct, before=before, limit=2))
        seen = [message.content for message in page.messages] + seen
        before, more = page.messages[0].seq, page.more

    assert [*"abcde"] == seen


async def test_pages_forwards_meet_every_message_once(direct: UUID, alice: Client, bob: Client) -> None:
    await say_each(alice, direct, *"abcde")

    seen: list[str] = []
    after, more = 0, True
    while more:
        page = await bob.call(MessageHistory(conversation=direct, after=after, limit=2))
        seen += [message.content for message in page.messages]
        after, more = page.messages[-1].seq, page.more

    assert [*"abcde"] == seen


@pytest.mark.parametrize(
    ("seq", "limit", "seqs", "more", "more_after"),
    [
        (5, 3, [4, 5, 6], True, True),
        (5, 4, [3, 4, 5, 6], True, True),
        (5, 1, [5], True, True),
        (1, 3, [1, 2], False, True),
        (9, 3, [8, 9], True, False),
        (5, 100, [*range(1, 10)], False, False),
        (0, 4, [1, 2], False, True),
        (100, 4, [8, 9], True, False),
    ],
)
async def test_a_page_around_a_place_says_what_is_on_both_sides(
    seq: int, limit: int, seqs: list[int], more: bool, more_after: bool, direct: UUID, alice: Client
) -> None:
    await say_each(alice, direct, *"abcdefghi")

    page = await alice.call(MessageHistory(conversation=direct, around=seq, limit=limit))

    assert seqs == [message.seq for message in page.messages]
    assert (more, more_after) == (page.more, page.more_after)


async def test_a_page_around_a_message_has_it_in_the_middle(direct: UUID, alice: Client, bob: Client) -> None:
    ids = await say_each(alice, direct, *"abcde")

    page = await bob.call(MessageHistory(conversation=direct, around=ids[2], limit=3))

    assert ["b", "c", "d"] == [message.content for message in page.messages]


async def test_around_what_one_may_not_read_there_is_nothing(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    before, after = await say_each(alice, group, "before", "after")
    await db.execute("UPDATE messages.members SET joined_seq = 1 WHERE user_id = $1", bob.user)

    assert ["after"] == await texts(bob, MessageHistory(conversation=group, around=after))
    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(MessageHistory(conversation=group, around=before))


async def test_around_goes_with_neither_before_nor_after(direct: UUID, alice: Client) -> None:
    with pytest.raises(CommandFailed) as failed:
        await alice.call(MessageHistory(conversation=direct, around=5, after=1))

    assert ("bad_field", "$.around") == (failed.value.code, failed.value.field)


@pytest.mark.parametrize(
    ("place", "expected"), [({"before": 0}, []), ({"before": 1}, []), ({"after": 2}, []), ({"after": 2**53 - 1}, [])]
)
async def test_beyond_the_ends_there_is_nothing(
    place: dict[str, int], expected: list[str], direct: UUID, alice: Client
) -> None:
    await say_each(alice, direct, "a", "b")

    page = await alice.call(MessageHistory(conversation=direct, **place))

    assert (expected, False) == ([message.content for message in page.messages], page.more)


async def test_history_shows_what_the_event_showed(direct: UUID, alice: Client, bob: Client) -> None:
    question, answer = uuid7(), uuid7()
    await alice.call(MessageSend(conversation=direct, message=question, content="tea?"))
    await alice.call(MessageSend(conversation=direct, message=answer, content="yes", reply_to=question))
    await bob.call(ReactionSet(conversation=direct, message=answer, emoji="👍"))
    await alice.call(MessageEdit(conversation=direct, message=answer, content="no"))
    event = await bob.next(Message, lambda message: message.edited)

    page = await bob.call(MessageHistory(conversation=direct, after=1))

    assert [event] == page.messages
    assert ({"👍": 1}, question) == (event.reactions, event.reply_to)


async def test_a_newcomer_reads_what_was_before(people: World, alice: Client, bob: Client, db: Sql) -> None:
    group = await people.conversation("group", alice)
    await say_each(alice, group, "before")
    await other_service.add(db, group, bob.user)
    await say_each(alice, group, "after")

    assert ["before", "after"] == await texts(bob, MessageHistory(conversation=group))


async def test_where_the_past_is_closed_a_newcomer_reads_from_joining_on(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    await say_each(alice, group, "before", "after")
    await db.execute("UPDATE messages.members SET joined_seq = 1 WHERE user_id = $1", bob.user)

    assert ["after"] == await texts(bob, MessageHistory(conversation=group))


async def test_one_who_left_reads_what_was_there_until_then(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    kept, changed = await say_each(alice, group, "kept", "changed later")
    await other_service.remove(db, group, bob.user)
    await alice.call(MessageEdit(conversation=group, message=changed, content="not for Bob"))
    await say_each(alice, group, "not for Bob")

    page = await bob.call(MessageHistory(conversation=group))

    assert [kept] == [message.message for message in page.messages]


async def test_one_who_came_back_reads_both_times_of_membership(
    group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    await say_each(alice, group, "first time")
    await other_service.remove(db, group, bob.user)
    await say_each(alice, group, "meanwhile")
    await other_service.add(db, group, bob.user)
    await db.execute("UPDATE messages.members SET joined_seq = 2 WHERE user_id = $1 AND left_seq IS NULL", bob.user)
    await say_each(alice, group, "second time")

    assert ["first time", "second time"] == await texts(bob, MessageHistory(conversation=group))


async def test_for_a_stranger_there_is_nothing_not_even_emptiness(
    direct: UUID, alice: Client, people: World, worker: Worker
) -> None:
    stranger = await people.person("Stranger", worker)

    for conversation in (direct, uuid7()):
        with pytest.raises(CommandFailed, match="not_found"):
            await stranger.call(MessageHistory(conversation=conversation))


async def test_a_deleted_conversation_shows_nothing(direct: UUID, alice: Client, db: Sql) -> None:
    await say_each(alice, direct, "hi")
    await other_service.close(db, direct)

    with pytest.raises(CommandFailed, match="not_found"):
        await alice.call(MessageHistory(conversation=direct))


async def test_both_directions_at_once_are_refused(direct: UUID, alice: Client) -> None:
    with pytest.raises(CommandFailed) as failed:
        await alice.call(MessageHistory(conversation=direct, before=5, after=1))

    assert ("bad_field", "$.after") == (failed.value.code, failed.value.field)


async def test_a_message_that_another_service_erased_keeps_its_place(direct: UUID, alice: Client, db: Sql) -> None:
    _, erased, _ = await say_each(alice, direct, *"abc")

    await other_service.erase(db, erased)

    page = await alice.call(MessageHistory(conversation=direct))
    assert [("a", False), ("", True), ("c", False)] == [(message.content, message.deleted) for message in page.messages]
