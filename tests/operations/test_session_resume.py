"""What changed while somebody was away is told as it now is, once, without a hole, and goes on from there."""

import asyncio
from uuid import UUID

import pytest

from echo_ws.client import Client, Position, Reset
from echo_ws.handlers.sessions import PAGE, TOO_FAR, WHOLE, WHOLE_BYTES
from echo_ws.position import Follower
from echo_ws_db import epoch
from echo_ws_db.changes import SQL
from echo_ws_protocol.codec import JSON
from echo_ws_protocol.commands import (
    DeliveryAck,
    MessageDelete,
    MessageEdit,
    ReactionSet,
    SessionResume,
)
from echo_ws_protocol.events import Event, Hello, Member, Membership, Message, Receipt
from echo_ws_protocol.ids import uuid7
from echo_ws_protocol.replies import ConversationChanges, Resumed
from tests.support import other_service
from tests.support.doors import post
from tests.support.other_service import Sql
from tests.support.talk import say
from tests.support.waiting import until
from tests.support.world import Worker, World


def memberships(resumed: Resumed) -> list[Membership]:
    return [change for change in resumed.changes if isinstance(change, Membership)]


async def resume(person: Client, position: Position) -> Resumed:
    return await person.call(
        SessionResume(epoch=position.epoch, rev=position.rev, since=position.time, conversations=position.conversations)
    )


async def catch_up(person: Client, position: Position) -> list[Event]:
    """Ask until nothing is missing, as a client does, and move the position along."""
    follower = Follower(position)
    follower.interrupted(person.user)
    news: list[Event] = []
    while not follower.is_current:
        for question in follower.questions():
            news += follower.take(question, await person.call(question))
    return news


async def here(person: Client) -> Position:
    """Return where one stands who has just come."""
    position = Position()
    await catch_up(person, position)
    return position


def of(resumed: Resumed, conversation: UUID) -> ConversationChanges:
    (answer,) = [answer for answer in resumed.conversations if answer.conversation == conversation]
    return answer


def contents(events: list[Event]) -> list[str]:
    return [event.content for event in events if isinstance(event, Message)]


async def test_one_who_has_nothing_is_told_where_everything_stands(direct: UUID, group: UUID, bob: Client) -> None:
    resumed = await bob.call(SessionResume())

    assert bob.hello.epoch == resumed.epoch
    assert {(direct, 1), (group, 1)} == {(m.conversation, m.since) for m in memberships(resumed)}
    assert {(direct, True, 1), (group, True, 1)} == {(c.conversation, c.reset, c.rev) for c in resumed.conversations}


async def test_that_nothing_changed_is_said_by_saying_nothing(direct: UUID, bob: Client) -> None:
    resumed = await resume(bob, await here(bob))

    assert ([], [], []) == (memberships(resumed), resumed.conversations, resumed.receipts)


async def test_every_kind_of_change_is_told_as_it_now_is_and_once(direct: UUID, alice: Client, bob: Client) -> None:
    old = await say(alice, direct, "old")
    before = await here(bob)

    new = await say(alice, direct, "new")
    await alice.call(MessageEdit(conversation=direct, message=old, content="older"))
    await bob.call(ReactionSet(conversation=direct, message=old, emoji="👍"))
    gone = await say(alice, direct, "oops")
    await alice.call(MessageDelete(conversation=direct, message=gone))
    changes = of(await resume(bob, before), direct)

    told = [(event.message, event.content, event.deleted) for event in changes.events if isinstance(event, Message)]
    assert [(new, "new", False), (old, "older", False), (gone, "", True)] == told
    assert sorted(event.rev for event in changes.events) == [event.rev for event in changes.events]
    assert (False, False, 7) == (changes.more, changes.reset, changes.rev)


async def test_many_changes_come_in_pages_without_a_hole(direct: UUID, alice: Client, bob: Client) -> None:
    position = await here(bob)
    sent = [await say(alice, direct, str(n)) for n in range(2 * PAGE + 10)]

    first = of(await resume(bob, position), direct)
    news = await catch_up(bob, position)

    assert (PAGE, True) == (len(first.events), first.more)
    assert sent == [event.message for event in news if isinstance(event, Message)]


async def test_what_changes_between_two_pages_is_met_later(direct: UUID, alice: Client, bob: Client) -> None:
    position = await here(bob)
    sent = [await say(alice, direct, str(n)) for n in range(PAGE + 10)]
    follower = Follower(position)
    follower.interrupted(bob.user)
    (question,) = follower.questions()
    follower.take(question, await bob.call(question))

    await alice.call(MessageEdit(conversation=direct, message=sent[5], content="told before"))
    await alice.call(MessageEdit(conversation=direct, message=sent[-5], content="not told yet"))
    (question,) = follower.questions()
    rest = follower.take(question, await bob.call(question))

    assert [*map(str, range(PAGE, PAGE + 5)), *map(str, range(PAGE + 6, PAGE + 10))] == contents(rest)[:-2]
    assert ["told before", "not told yet"] == contents(rest)[-2:]


async def test_long_messages_make_short_pages(direct: UUID, alice: Client, bob: Client) -> None:
    position = await here(bob)
    sent = [await say(alice, direct, "🎈" * 4096) for _ in range(40)]

    resumed = await resume(bob, position)
    news = await catch_up(bob, position)

    assert len(JSON.encode(resumed)) < WHOLE_BYTES * 1.2
    assert sent == [event.message for event in news if isinstance(event, Message)]


async def test_many_conversations_come_in_one_answer_and_those_beyond_it_in_the_next(
    people: World, alice: Client, bob: Client
) -> None:
    rooms = [await people.conversation("group", alice, bob) for _ in range(8)]
    position = await here(bob)
    for room in rooms:
        await asyncio.gather(*(say(alice, room, str(n)) for n in range(PAGE)))

    first = await resume(bob, position)
    news = await catch_up(bob, position)

    assert set(rooms) == {changes.conversation for changes in first.conversations}
    assert WHOLE == sum(len(changes.events) for changes in first.conversations)
    assert len(rooms) * PAGE == len({event.message for event in news if isinstance(event, Message)})


async def test_receipts_that_moved_are_told(direct: UUID, alice: Client, bob: Client) -> None:
    await say(alice, direct)
    before = await here(alice)

    await bob.call(DeliveryAck(conversation=direct, seq=1))
    resumed = await resume(alice, before)

    assert [Receipt(conversation=direct, user=bob.user, delivered_seq=1, read_seq=0)] == resumed.receipts


async def test_a_conversation_begun_meanwhile_is_told_from_its_beginning(
    alice: Client, bob: Client, people: World
) -> None:
    before = await here(bob)

    group = await people.conversation("group", alice, bob)
    await say(alice, group, "welcome")
    resumed = await resume(bob, before)

    assert [(group, 1)] == [(membership.conversation, membership.since) for membership in memberships(resumed)]
    assert ["welcome"] == contents([*of(resumed, group).events])


async def test_more_memberships_than_an_answer_takes_come_in_the_next(
    people: World, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echo_ws.handlers.sessions.OWN", 2)
    position = await here(bob)
    rooms = [await people.room("group", bob.user) for _ in range(5)]

    first = await resume(bob, position)
    news = await catch_up(bob, position)

    assert (2, True) == (len(memberships(first)), first.more)
    assert rooms == [event.conversation for event in news if isinstance(event, Membership)]


async def test_one_who_was_removed_learns_of_it_and_of_nothing_after_it(
    group: UUID, alice: Client, carol: Client, db: Sql
) -> None:
    position = await here(carol)
    await say(alice, group, "before")
    await other_service.remove(db, group, carol.user)
    await say(alice, group, "after")

    resumed = await resume(carol, position)
    news = await catch_up(carol, position)

    assert [(group, True)] == [(membership.conversation, membership.left) for membership in memberships(resumed)]
    assert ["before"] == contents(news)
    assert [carol.user] == [event.user for event in news if isinstance(event, Member) and event.left]
    assert {} == position.conversations
    assert [] == await catch_up(carol, position)


async def test_one_who_left_and_came_back_begins_anew(group: UUID, alice: Client, carol: Client, db: Sql) -> None:
    position = await here(carol)
    await say(alice, group, "before")
    await other_service.remove(db, group, carol.user)
    await say(alice, group, "between")
    await other_service.add(db, group, carol.user)
    await say(alice, group, "after")

    news = await catch_up(carol, position)

    assert [0, 5] == [event.rev for event in news if isinstance(event, Reset)]
    assert ["after"] == contents(news)
    assert [group] == list(position.conversations)


async def test_a_strangers_or_unknown_conversation_is_reset_to_nothing(direct: UUID, carol: Client) -> None:
    resumed = await carol.call(SessionResume(epoch=carol.hello.epoch, conversations={direct: 0, uuid7(): 5}))

    assert [(True, 0, []), (True, 0, [])] == [(c.reset, c.rev, c.events) for c in resumed.conversations]


async def test_a_deleted_conversation_is_reset_to_nothing(group: UUID, carol: Client, db: Sql) -> None:
    position = await here(carol)
    await other_service.close(db, group)

    assert [Reset(conversation=group, rev=0)] == await catch_up(carol, position)
    assert {} == position.conversations


@pytest.mark.parametrize("cursor", [99, 2**53 - 1])
async def test_a_cursor_from_the_future_resets_that_conversation_only(
    direct: UUID, group: UUID, bob: Client, cursor: int
) -> None:
    position = await here(bob)
    position.conversations[direct] = cursor

    resumed = await resume(bob, position)

    assert [(direct, True, 1)] == [(c.conversation, c.reset, c.rev) for c in resumed.conversations]


async def test_another_epoch_resets_everything(direct: UUID, bob: Client) -> None:
    position = Position("of another database", 99, None, {direct: 1})

    news = await catch_up(bob, position)

    assert [direct] == [event.conversation for event in news if isinstance(event, Membership)]
    assert Reset(conversation=direct, rev=1) in news
    assert (bob.hello.epoch, {direct: 1}) == (position.epoch, position.conversations)
    assert 99 > position.rev


async def test_one_who_is_too_far_behind_is_told_to_read_anew(direct: UUID, bob: Client, db: Sql) -> None:
    before = await here(bob)
    await db.execute(
        "INSERT INTO messages.messages (conversation_id, from_user_id, content) "
        "SELECT $1, $2, n::text FROM generate_series(1, $3) n",
        direct,
        bob.user,
        TOO_FAR + 1,
    )

    changes = of(await resume(bob, before), direct)

    assert (True, [], TOO_FAR + 2) == (changes.reset, changes.events, changes.rev)


async def test_the_other_door_answers_the_same(
    people: World, worker: Worker, direct: UUID, alice: Client, bob: Client
) -> None:
    before = await here(bob)
    await say(alice, direct)

    answer = await post(
        worker,
        await people.token(bob.user),
        "session.resume",
        epoch=before.epoch,
        rev=before.rev,
        conversations={str(direct): 1},
    )

    assert ["hi"] == [event["content"] for event in answer.json["ok"]["conversations"][0]["events"]]


# The client by itself


async def cut(person: Client, worker: Worker) -> None:
    """Take the connection away, as a network does."""
    (connection,) = [c for c in worker.server._connections if c.user == person.user]
    connection.abort()

    async def is_gone() -> bool:
        return connection not in worker.server._connections

    await until(is_gone)


async def test_a_client_that_was_cut_off_misses_nothing_and_hears_nothing_twice(
    direct: UUID, alice: Client, bob: Client, worker: Worker
) -> None:
    heard: list[str] = []
    for n in range(5):
        await say(alice, direct, f"{n}a")
        await cut(bob, worker)
        await say(alice, direct, f"{n}b")
        heard += [(await bob.next(Message)).content for _ in range(2)]

    await say(alice, direct, "end")
    heard.append((await bob.next(Message)).content)

    assert [f"{n}{x}" for n in range(5) for x in "ab"] + ["end"] == heard


async def test_the_next_program_goes_on_from_what_the_last_one_read(
    people: World, worker: Worker, direct: UUID, alice: Client
) -> None:
    user = alice.user
    device = await people.device(user, worker)
    for text in ("read", "not read", "not read either"):
        await say(alice, direct, text)
    assert "read" == (await device.next(Message)).content
    await device.next(Message, lambda message: "either" in message.content)
    position = device.position
    await device.close()
    await say(alice, direct, "while away")

    after = await people.device(user, worker, position=position)

    assert ["not read", "not read either", "while away"] == [(await after.next(Message)).content for _ in range(3)]


async def test_one_who_begins_now_is_told_nothing_of_what_was(
    people: World, worker: Worker, direct: UUID, alice: Client, bob: Client
) -> None:
    await say(alice, direct, "before")

    late = await people.device(bob.user, worker)
    await say(alice, direct, "after")

    assert "after" == (await late.next(Message)).content
    assert {direct: 3} == late.position.conversations


async def test_too_much_that_was_missed_comes_as_a_reset(
    people: World, worker: Worker, direct: UUID, alice: Client, bob: Client, db: Sql
) -> None:
    position = bob.position
    await db.execute(
        "INSERT INTO messages.messages (conversation_id, from_user_id, content) "
        "SELECT $1, $2, n::text FROM generate_series(1, $3) n",
        direct,
        alice.user,
        TOO_FAR + 1,
    )

    late = await people.device(bob.user, worker, position=position)
    reset = await late.next(Reset)
    await say(alice, direct, "on it goes")

    assert Reset(conversation=direct, rev=TOO_FAR + 2) == reset
    assert "on it goes" == (await late.next(Message, lambda message: message.content == "on it goes")).content


async def test_when_the_data_is_restored_every_client_begins_anew(world: World) -> None:
    worker = await world.worker(revalidate_s=0.1)
    alice = await world.person("Alice", worker, chance=lambda: 0.0)
    group = await world.conversation("group", alice)
    await say(alice, group)
    before = alice.hello.epoch

    after = await epoch.renew(world.store)
    await alice.next(Hello, lambda hello: hello.epoch == after)

    assert before != after
    assert Reset(conversation=group, rev=2) == await alice.next(Reset, lambda reset: reset.rev > 1)
    await say(alice, group, "and on")
    assert "and on" == (await alice.next(Message, lambda message: message.seq == 2)).content


async def test_an_answer_reads_what_is_committed_after_it_began_to_listen(
    people: World, worker: Worker, direct: UUID, alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two looks into the database a message is sent: it is in neither, and comes live after the answer."""
    await say(alice, direct, "one")
    fetch = worker.server.store.fetch

    async def fetch_and_say(sql: str, *args: object) -> list[object]:
        rows = await fetch(sql, *args)
        if sql == SQL.missed:
            await say(alice, direct, "two")
        return rows

    monkeypatch.setattr(worker.server.store, "fetch", fetch_and_say)
    late = await people.device(bob.user, worker, position=Position(bob.hello.epoch, 1, None, {direct: 1}))

    assert ["one", "two"] == [(await late.next(Message)).content for _ in range(2)]
