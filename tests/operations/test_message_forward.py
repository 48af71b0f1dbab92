"""Forwarding: a copy made by the server, of what one may read and of nothing else."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageForward, MessageHide, MessageHistory, PollVote
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import IMAGE, ask, kept_back, say, seen
from tests.support.world import World


async def forward(person: Client, to: UUID, source: UUID) -> UUID:
    copy = uuid7()
    await person.call(MessageForward(conversation=to, message=copy, source=source))
    return copy


async def test_a_copy_says_what_the_source_says_and_names_it(
    direct: UUID, group: UUID, alice: Client, bob: Client, carol: Client
) -> None:
    source = await say(bob, direct, "cake", type="image", metadata=IMAGE, mentions=[alice.user])

    copy = await forward(alice, group, source)

    told = await carol.next(Message)
    assert (copy, alice.user, "image", "cake", IMAGE) == (
        told.message,
        told.sender,
        told.type,
        told.content,
        told.metadata,
    )
    assert (source, [], None) == (told.forwarded_from, told.mentions, told.reply_to)
    assert told == await seen(carol, group, copy)


async def test_a_chain_keeps_its_links(direct: UUID, group: UUID, alice: Client, bob: Client, carol: Client) -> None:
    source = await say(bob, direct, "psst")
    first = await forward(alice, group, source)

    second = await forward(carol, group, first)

    assert [source, first] == [(await seen(bob, group, message)).forwarded_from for message in (first, second)]


async def test_a_poll_begins_anew(direct: UUID, group: UUID, alice: Client, bob: Client) -> None:
    poll = await ask(alice, direct)
    await bob.call(PollVote(conversation=direct, message=poll, options=[0]))

    copy = await forward(bob, group, poll)

    assert {"0": 1} == (await seen(alice, direct, poll)).votes
    assert None is (await seen(alice, group, copy)).votes


async def test_a_repeated_forward_gets_the_first_answer_even_if_the_source_is_gone(
    direct: UUID, group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    source = await say(bob, direct, "psst")
    command = MessageForward(conversation=group, message=uuid7(), source=source)
    first = await alice.call(command)
    again = await alice.call(command)
    await bob.call(MessageDelete(conversation=direct, message=source))

    late = await alice.call(command)

    assert first == again == late
    assert 1 == await db.fetchval("SELECT count(*) FROM messages.messages WHERE conversation_id = $1", group)


async def test_what_one_may_not_read_cannot_be_forwarded(
    people: World, direct: UUID, group: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    """Deleted, hidden, kept back, somebody else's, from after one left: all the same."""
    deleted, hidden, fine = [await say(alice, direct, text) for text in ("deleted", "hidden", "fine")]
    await alice.call(MessageDelete(conversation=direct, message=deleted))
    await bob.call(MessageHide(conversation=direct, message=hidden))
    club = await people.conversation("group", alice, bob)
    await say(alice, club, "early")
    await other_service.remove(db, club, bob.user)
    late = await say(alice, club, "late")
    withheld = await kept_back(alice, bob, direct)

    for person, source in (
        (bob, deleted),
        (bob, hidden),
        (bob, withheld),
        (bob, late),
        (bob, uuid7()),
        (carol, fine),
    ):
        with pytest.raises(CommandFailed, match="not_found"):
            await forward(person, group, source)

    assert [] == (await alice.call(MessageHistory(conversation=group))).messages


async def test_one_who_left_may_still_forward_what_was_readable_then(
    people: World, group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    club = await people.conversation("group", alice, bob)
    early = await say(alice, club, "early")
    await other_service.remove(db, club, bob.user)

    copy = await forward(bob, group, early)

    assert "early" == (await seen(alice, group, copy)).content


async def test_one_cannot_forward_to_where_one_cannot_write(
    people: World, direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    source = await say(alice, direct, "hi")
    channel = await people.conversation("channel", alice)
    await other_service.add_reader(db, channel, bob.user)

    with pytest.raises(CommandFailed, match="forbidden"):
        await forward(bob, channel, source)
    with pytest.raises(CommandFailed, match="not_found"):
        await forward(bob, uuid7(), source)


async def test_a_forward_to_one_who_blocked_the_sender_is_kept_back(
    direct: UUID, group: UUID, alice: Client, bob: Client
) -> None:
    source = await say(alice, group, "hi")
    await kept_back(alice, bob, direct)

    copy = await forward(alice, direct, source)

    kept = await seen(bob, direct, copy)
    assert (True, "", None) == (kept.hidden, kept.content, kept.forwarded_from)
