"""Polls: all see how many chose what; each sees the own choice; who chose what, unless it is anonymous."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import MessageDelete, MessageHide, MessageHistory, PollVote, PollVoters
from echo_ws_protocol.events import Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import POLL, ask, kept_back, say, seen
from tests.support.waiting import heard
from tests.support.world import World


async def vote(person: Client, conversation: UUID, poll: UUID, *options: int) -> None:
    await person.call(PollVote(conversation=conversation, message=poll, options=list(options)))


async def voters(person: Client, conversation: UUID, poll: UUID, option: int = 0) -> list[UUID]:
    page = await person.call(PollVoters(conversation=conversation, message=poll, option=option))
    return [voter.user for voter in page.voters]


async def test_all_see_how_many_chose_each_option(group: UUID, alice: Client, bob: Client, carol: Client) -> None:
    poll = await ask(alice, group, multiple=True)
    first = await carol.next(Message)

    await vote(alice, group, poll, 0, 2)
    await vote(bob, group, poll, 0)

    told = [await carol.next(Message) for _ in range(2)]
    assert [{"0": 1, "2": 1}, {"0": 2, "2": 1}] == [each.votes for each in told]
    assert [first.rev + 1, first.rev + 2] == [each.rev for each in told]  # several rows, one change
    assert told[-1] == await seen(carol, group, poll)


async def test_a_vote_takes_the_place_of_the_one_before(group: UUID, alice: Client, bob: Client) -> None:
    poll = await ask(alice, group)
    await vote(bob, group, poll, 0)

    await vote(bob, group, poll, 1)
    changed = await seen(alice, group, poll)
    await vote(bob, group, poll)
    withdrawn = await seen(alice, group, poll)

    assert ({"1": 1}, None) == (changed.votes, withdrawn.votes)


async def test_each_sees_the_own_choice_and_that_of_nobody_else(group: UUID, alice: Client, bob: Client) -> None:
    poll = await ask(alice, group, multiple=True, anonymous=True)

    await vote(bob, group, poll, 2, 0)

    assert [0, 2] == (await bob.call(MessageHistory(conversation=group))).mine[poll].votes
    assert {} == (await alice.call(MessageHistory(conversation=group))).mine


async def test_repeating_it_changes_nothing(group: UUID, alice: Client, bob: Client) -> None:
    poll = await ask(alice, group, multiple=True)
    await vote(bob, group, poll, 0, 1)
    await heard(alice, Message)

    await asyncio.gather(*(vote(bob, group, poll, 1, 0, 1) for _ in range(4)))

    assert [] == await heard(alice, Message)


@pytest.mark.parametrize(("multiple", "options"), [(False, [0, 1]), (True, [3]), (False, [3]), (True, [0, 9])])
async def test_an_option_that_is_not_there_or_one_too_many_is_a_bad_field(
    multiple: bool, options: list[int], group: UUID, alice: Client, bob: Client
) -> None:
    poll = await ask(alice, group, multiple=multiple)

    with pytest.raises(CommandFailed) as refused:
        await vote(bob, group, poll, *options)

    assert ("bad_field", "$.options") == (refused.value.failure.code, refused.value.failure.field)


async def test_a_closed_poll_takes_no_votes_and_an_open_one_does(group: UUID, alice: Client, bob: Client) -> None:
    now = datetime.now(UTC)
    closed = await ask(alice, group, closes_at=(now - timedelta(seconds=2)).isoformat())
    still_open = await ask(alice, group, closes_at=(now + timedelta(hours=1)).isoformat())

    with pytest.raises(CommandFailed, match="too late"):
        await vote(bob, group, closed, 0)
    await vote(bob, group, still_open, 0)


@pytest.mark.parametrize(
    "metadata",
    ['{"options": "none"}', "[]", '{"options": ["a"], "closes_at": "tomorrow"}', '{"options": ["a"], "multiple": 1}'],
)
async def test_a_poll_that_another_service_wrote_strangely_breaks_nothing(
    metadata: str, group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    poll = await other_service.post(db, group, alice.user)
    await db.execute(
        "UPDATE messages.messages SET type = 'poll', metadata = $2::text::jsonb WHERE id = $1", poll, metadata
    )

    with pytest.raises(CommandFailed, match="bad_field"):
        await vote(bob, group, poll, 0, 1)


async def test_a_silenced_member_may_not_vote_and_a_channels_reader_may(
    people: World, group: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    poll = await ask(alice, group)
    await other_service.silence(db, group, bob.user)
    channel = await people.conversation("channel", alice)
    await other_service.add_reader(db, channel, bob.user)
    asked = await ask(alice, channel)

    with pytest.raises(CommandFailed, match="forbidden"):
        await vote(bob, group, poll, 0)
    await vote(bob, channel, asked, 0)

    assert {"0": 1} == (await seen(alice, channel, asked)).votes


async def test_a_voter_who_is_gone_is_counted_no_more(group: UUID, alice: Client, people: World, db: Sql) -> None:
    poll = await ask(alice, group)
    await vote(alice, group, poll, 1)
    stranger = await people.user("Gone")
    await db.execute("INSERT INTO messages.votes (message_id, user_id, option) VALUES ($1, $2, 0)", poll, stranger)
    before = await seen(alice, group, poll)

    await db.execute("DELETE FROM auth.users WHERE id = $1", stranger)

    after = await seen(alice, group, poll)
    assert ({"0": 1, "1": 1}, {"1": 1}, before.rev + 1) == (before.votes, after.votes, after.rev)


async def test_who_chose_an_option_is_told_by_pages(group: UUID, alice: Client, bob: Client, carol: Client) -> None:
    poll = await ask(alice, group)
    for person in (carol, alice, bob):
        await vote(person, group, poll, 0)

    first = await bob.call(PollVoters(conversation=group, message=poll, option=0, limit=2))
    rest = await bob.call(PollVoters(conversation=group, message=poll, option=0, limit=2, after=first.next))

    assert [carol.user, alice.user, bob.user] == [voter.user for page in (first, rest) for voter in page.voters]
    assert None is rest.next
    assert [] == await voters(bob, group, poll, 1)


async def test_an_anonymous_poll_does_not_tell_not_even_who_asked(group: UUID, alice: Client, bob: Client) -> None:
    poll = await ask(alice, group, anonymous=True)
    await vote(bob, group, poll, 0)

    for person in (alice, bob):
        with pytest.raises(CommandFailed, match="anonymous"):
            await voters(person, group, poll)


async def test_where_one_may_not_read_there_is_no_poll(direct: UUID, alice: Client, bob: Client, carol: Client) -> None:
    early, hidden, deleted = [await ask(alice, direct) for _ in range(3)]
    text = await say(alice, direct, "no poll")
    withheld = await kept_back(alice, bob, direct, "", type="poll", metadata=POLL)
    await bob.call(MessageHide(conversation=direct, message=hidden))
    await alice.call(MessageDelete(conversation=direct, message=deleted))

    for person, poll in (
        (bob, hidden),
        (bob, deleted),
        (bob, withheld),
        (bob, text),
        (bob, uuid7()),
        (carol, early),
    ):
        with pytest.raises(CommandFailed, match="not_found"):
            await vote(person, direct, poll, 0)
        with pytest.raises(CommandFailed, match="not_found"):
            await voters(person, direct, poll)


async def test_one_who_left_votes_no_more(group: UUID, alice: Client, bob: Client, db: Sql) -> None:
    poll = await ask(alice, group)
    await other_service.remove(db, group, bob.user)

    with pytest.raises(CommandFailed, match="not_found"):
        await vote(bob, group, poll, 0)
