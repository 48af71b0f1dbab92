"""A message reaches every connected device of every participant, on every worker, in order, once.

`near` and `far` are two workers on one Redis that look into the database only when they notice that something is
missing; a worker that is `watchful` looks twenty times a second.
"""

import asyncio
import itertools
import struct
from uuid import UUID

import pytest
from redis.asyncio import Redis

from echo_ws.client import Client
from echo_ws.embedded import EmbeddedRedis
from echo_ws.frame import wire
from echo_ws_protocol.commands import (
    ConversationCreate,
    ConversationGet,
    MessageDelete,
    MessageEdit,
    MessageHistory,
    MessageRead,
    ReactionSet,
    SessionResume,
    TypingSet,
)
from echo_ws_protocol.events import Bye, Conversation, Member, Membership, Message, Receipt, Typing
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.talk import say
from tests.support.waiting import heard, until
from tests.support.world import Worker, World

NEVER_MS = 3_600_000
OFTEN_MS = 50
DEEP = '{"a":' * 1500 + "1" + "}" * 1500


@pytest.fixture(scope="module")
async def near(town: World) -> Worker:
    return await town.worker(sweep_ms=NEVER_MS)


@pytest.fixture(scope="module")
async def far(town: World) -> Worker:
    return await town.worker(sweep_ms=NEVER_MS)


@pytest.fixture(scope="module")
async def watchful(town: World) -> Worker:
    return await town.worker(sweep_ms=OFTEN_MS)


async def texts(person: Client, count: int) -> list[str]:
    return [(await person.next(Message)).content for _ in range(count)]


# Two workers on one Redis


async def test_every_device_on_both_workers_hears_each_message_once_and_in_order(
    people: World, near: Worker, far: Worker
) -> None:
    here = [await people.person(name, near) for name in ("Alice", "Bob", "Carol")]
    there = [await people.device(person.user, far, codec="msgpack") for person in here]
    group = await people.conversation("group", *here)
    for device in there:
        await device.next(Membership)

    sends = [(sender, f"{number}") for number, sender in enumerate([*here, *there] * 10)]
    await asyncio.gather(*(say(sender, group, text) for sender, text in sends))

    for device in [*here, *there]:
        messages = [await device.next(Message) for _ in sends]
        assert list(range(1, 61)) == [message.seq for message in messages]
        assert {text for _, text in sends} == {message.content for message in messages}
    for device in [*here, *there]:
        assert [] == await heard(device, Message)


async def test_a_conversation_begun_on_one_worker_is_heard_on_the_other_at_once(
    people: World, near: Worker, far: Worker
) -> None:
    alice, bob = await people.person("Alice", near), await people.person("Bob", far)

    created = await alice.call(ConversationCreate(conversation=uuid7(), type="group", participants=[bob.user]))

    assert created.conversation == (await bob.next(Membership)).conversation
    await say(bob, created.conversation, "hello")
    assert ["hello"] == await texts(alice, 1)
    await say(alice, created.conversation, "and to you")
    assert ["hello", "and to you"] == await texts(bob, 2)


async def test_every_kind_of_change_crosses_over(people: World, near: Worker, far: Worker) -> None:
    alice, bob = await people.person("Alice", near), await people.person("Bob", far)
    direct = await people.conversation("direct", alice, bob)

    message = await say(alice, direct)
    await bob.call(ReactionSet(conversation=direct, message=message, emoji="👍"))
    await alice.call(MessageEdit(conversation=direct, message=message, content="hello"))
    await alice.call(MessageDelete(conversation=direct, message=message))

    seen_here, seen_there = [[await person.next(Message) for _ in range(4)] for person in (alice, bob)]
    assert seen_here == seen_there
    assert [2, 3, 4, 5] == [version.rev for version in seen_here]
    assert [None, {"👍": 1}, {"👍": 1}, None] == [version.reactions for version in seen_here]


async def test_momentary_events_cross_over_once(people: World, near: Worker, far: Worker) -> None:
    alice, bob = await people.person("Alice", near), await people.person("Bob", far)
    tablet = await people.device(bob.user, near)
    direct = await people.conversation("direct", alice, bob)
    await tablet.next(Membership)
    await say(alice, direct)

    await bob.call(TypingSet(conversation=direct))
    await bob.call(MessageRead(conversation=direct, seq=1))
    await bob.call(TypingSet(conversation=direct, kind="stopped"))

    assert ["text", "stopped"] == [(await alice.next(Typing)).kind for _ in range(2)]
    assert [1] == [receipt.read_seq for receipt in await heard(alice, Receipt)]
    assert [] == await heard(alice, Typing)
    assert [] == await heard(tablet, Typing) + await heard(bob, Typing)


async def test_a_device_that_connects_while_others_talk_misses_nothing_after_hello(
    people: World, near: Worker, far: Worker
) -> None:
    alice, bob = await people.person("Alice", near), await people.person("Bob", far)
    direct = await people.conversation("direct", alice, bob)
    talking = asyncio.create_task(talk(alice, direct))
    await alice.next(Message)

    tablets = [await people.device(bob.user, worker) for worker in (near, far) * 4]
    known = [(await tablet.call(MessageHistory(conversation=direct))).messages[-1].seq for tablet in tablets]
    talking.cancel()
    await say(alice, direct, "the end")

    for tablet, last_known in zip(tablets, known, strict=True):
        live = [await tablet.next(Message)]
        while live[-1].content != "the end":
            live.append(await tablet.next(Message))
        seqs = [message.seq for message in live]
        assert list(range(seqs[0], seqs[-1] + 1)) == seqs
        assert seqs[0] <= last_known + 1


async def talk(person: Client, conversation: UUID) -> None:
    for number in itertools.count():
        await say(person, conversation, str(number))


async def test_what_is_broken_or_newer_on_a_channel_harms_nobody(people: World, near: Worker, far: Worker) -> None:
    alice, bob = await people.person("Alice", near), await people.person("Bob", far)
    direct = await people.conversation("direct", alice, bob)

    async with Redis.from_url(people.redis_url) as redis:
        for payload in (b"", b"\x01", b"\xff" * 26, bytes(26) + b"nonsense", b"\x01\x09" + bytes(24)):
            await redis.publish(f"echo:c:{direct}", payload)
    await say(alice, direct, "still here")

    assert ["still here"] == await texts(bob, 1)


# What is lost on the way


async def test_a_hole_is_filled_from_the_database_at_once(people: World, near: Worker, far: Worker, db: Sql) -> None:
    alice, bob = await people.person("Alice", near), await people.person("Bob", far)
    direct = await people.conversation("direct", alice, bob)
    await other_service.post(db, direct, bob.user, "said elsewhere, and published by nobody")

    await say(alice, direct, "published")

    for person in (alice, bob):
        messages = [await person.next(Message) for _ in range(2)]
        assert [1, 2] == [message.seq for message in messages]
        assert "published" == messages[-1].content


async def test_while_redis_is_away_the_writing_worker_tells_at_once_and_others_by_looking(
    people: World, own_redis: EmbeddedRedis
) -> None:
    near = await people.worker(redis_url=own_redis.url, sweep_ms=NEVER_MS)
    far = await people.worker(redis_url=own_redis.url, sweep_ms=OFTEN_MS)
    alice, bob, carol = [
        await people.person(name, worker) for name, worker in (("Alice", near), ("Bob", near), ("Carol", far))
    ]
    group = await people.conversation("group", alice, bob, carol)
    await say(alice, group, "before")
    assert ["before"] == await texts(carol, 1)

    own_redis.kill()
    for number in range(10):
        await say(alice, group, str(number))
        told = await heard(bob, Message)
        assert str(number) == told[-1].content

    assert [str(number) for number in range(10)] == await texts(carol, 10)


async def test_what_was_said_while_redis_was_away_is_heard_when_it_is_back(
    people: World, own_redis: EmbeddedRedis
) -> None:
    near, far = [await people.worker(redis_url=own_redis.url, sweep_ms=NEVER_MS) for _ in range(2)]
    alice, bob = await people.person("Alice", near), await people.person("Bob", far)
    direct = await people.conversation("direct", alice, bob)

    own_redis.kill()
    await until(lambda: disconnected(far))
    await say(alice, direct, "anybody there?")
    unheard = await heard(bob, Message)
    own_redis.start()

    assert [] == unheard
    assert ["anybody there?"] == await texts(bob, 1)
    await say(bob, direct, "yes")
    assert ["anybody there?", "yes"] == await texts(alice, 2)


async def disconnected(worker: Worker) -> bool:
    return not worker.server.broker.is_connected


async def test_without_any_redis_two_workers_find_each_others_words_by_looking(people: World) -> None:
    near, far = [await people.worker(redis_url="memory:", sweep_ms=OFTEN_MS) for _ in range(2)]
    alice, bob = await people.person("Alice", near), await people.person("Bob", far)
    direct = await people.conversation("direct", alice, bob)

    for number in range(5):
        await say(alice, direct, f"ping {number}")
        await say(bob, direct, f"pong {number}")

    for person in (alice, bob):
        assert [f"{word} {number}" for number in range(5) for word in ("ping", "pong")] == await texts(person, 10)


# What another service writes


async def test_a_foreign_message_is_numbered_and_delivered(people: World, watchful: Worker, db: Sql) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    direct = await people.conversation("direct", alice, bob)
    await say(alice, direct)

    posted = await other_service.post(db, direct, bob.user, "from elsewhere")
    await say(alice, direct)

    for person in (alice, bob):
        messages = [await person.next(Message) for _ in range(3)]
        assert [1, 2, 3] == [message.seq for message in messages]
        assert (posted, bob.user, "from elsewhere") == (
            messages[1].message,
            messages[1].sender,
            messages[1].content,
        )


async def test_foreign_changes_are_numbered_and_delivered(people: World, watchful: Worker, db: Sql) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    direct = await people.conversation("direct", alice, bob)
    message = await say(alice, direct)
    await alice.next(Message)

    await other_service.rewrite(db, message, "changed")
    changed = await alice.next(Message)
    await other_service.react(db, message, bob.user, "👍")
    reacted = await alice.next(Message)
    await db.execute("DELETE FROM messages.reactions WHERE message_id = $1", message)
    unreacted = await alice.next(Message)
    await other_service.erase(db, message)
    erased = await alice.next(Message)

    assert ("changed", True) == (changed.content, changed.edited)
    assert [None, {"👍": 1}, None, None] == [seen.reactions for seen in (changed, reacted, unreacted, erased)]
    assert ("", True, 1) == (erased.content, erased.deleted, erased.seq)
    assert [3, 4, 5, 6] == [seen.rev for seen in (changed, reacted, unreacted, erased)]


async def test_a_foreign_change_of_a_conversation_is_delivered(people: World, watchful: Worker, db: Sql) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    group = await people.conversation("group", alice, bob)

    await db.execute("UPDATE messages.conversations SET name = 'Reading club' WHERE id = $1", group)

    for person in (alice, bob):
        seen = await person.next(Conversation)
        assert ("Reading club", 2, False) == (seen.name, seen.rev, seen.deleted)


async def test_nobody_hears_a_conversation_that_another_service_closed_until_it_is_opened_again(
    people: World, watchful: Worker, db: Sql
) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    group = await people.conversation("group", alice, bob)

    await other_service.close(db, group)
    assert (await bob.next(Conversation)).deleted
    await other_service.post(db, group, alice.user, "behind closed doors")
    await other_service.reopen(db, group)
    assert group == (await bob.next(Membership)).conversation

    await say(alice, group, "open again")
    assert "open again" == (await heard(bob, Message))[-1].content


async def test_an_erased_conversation_is_heard_no_more(people: World, watchful: Worker, db: Sql) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    group = await people.conversation("group", alice, bob)
    kept = await people.conversation("group", alice, bob)

    await db.execute("DELETE FROM messages.conversations WHERE id = $1", group)
    await say(alice, kept, "elsewhere")

    assert ["elsewhere"] == await texts(bob, 1)
    await until(lambda: is_forgotten(watchful, group))


async def is_forgotten(worker: Worker, conversation: UUID) -> bool:
    return all(channel.id != conversation for channel in worker.server._hub.topics)


@pytest.mark.parametrize(
    "strange",
    [
        "UPDATE messages.messages SET metadata = '[1]' WHERE conversation_id = $1",
        "UPDATE messages.messages SET metadata = '5' WHERE conversation_id = $1",
        "UPDATE messages.messages SET metadata = NULL WHERE conversation_id = $1",
        "UPDATE messages.messages SET metadata = '{\"n\": 1e400}' WHERE conversation_id = $1",
        "UPDATE messages.messages SET metadata = '{\"n\": 123456789012345678901234567890}' WHERE conversation_id = $1",
        f"UPDATE messages.messages SET metadata = '{DEEP}' WHERE conversation_id = $1",
        "UPDATE messages.messages SET type = 'hologram' WHERE conversation_id = $1",
        "UPDATE messages.messages SET deleted = NULL, edited = NULL WHERE conversation_id = $1",
        "UPDATE messages.messages SET created_at = 'infinity', content = 'never' WHERE conversation_id = $1",
        "UPDATE messages.conversations SET type = 'supergroup' WHERE id = $1",
        "UPDATE messages.conversations SET name = E'a\\tb' WHERE id = $1",
    ],
    ids=lambda strange: strange[:70],
)
async def test_strange_values_keep_nobody_from_hearing_what_follows(
    strange: str, people: World, watchful: Worker, db: Sql
) -> None:
    """B10"""
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    phone = await people.device(bob.user, watchful, codec="msgpack")
    group = await people.conversation("group", alice, bob)
    await say(alice, group, "before")

    await db.execute(strange, group)
    await say(alice, group, "after")

    for device in (bob, phone):
        assert "after" == (await device.next(Message, lambda message: message.content == "after")).content
        assert "after" == (await device.call(MessageHistory(conversation=group))).messages[-1].content
        await device.call(SessionResume(epoch=device.hello.epoch, conversations={group: 1}))
        await device.call(ConversationGet(conversation=group))


async def test_a_message_that_no_event_can_show_keeps_its_place_as_a_tombstone(
    people: World, watchful: Worker, db: Sql
) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    group = await people.conversation("group", alice, bob)
    strange = await say(alice, group, "when?")
    await bob.next(Message)

    await db.execute("UPDATE messages.messages SET created_at = 'infinity', content = '' WHERE id = $1", strange)
    told = await bob.next(Message)

    assert (strange, 1, True, "") == (told.message, told.seq, told.deleted, told.content)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x81\x02{}",
        b"\x81\x02[]",
        b"\x81\x7f" + bytes(8),
        b"\x82\x01\x80",
        b"\x81\x01\xff",
        wire(b'{"op":"bye","after_ms":1}', text=True),
        wire(b'{"op":"news","rev":3}', text=True),
        b"\x81\x7e\xff\xff" + b"[" * 0xFFFF,
    ],
)
async def test_what_somebody_else_publishes_reaches_nobody_and_stops_nothing(
    frame: bytes, people: World, near: Worker, far: Worker
) -> None:
    """B12: what comes through Redis is input, too."""
    alice, bob = await people.person("Alice", near), await people.person("Bob", far)
    group = await people.conversation("group", alice, bob)
    await say(alice, group, "before")
    next_rev = 1 + (await bob.next(Message)).rev
    async with Redis.from_url(people.redis_url) as redis:
        for kind in [*range(10), 255]:
            await redis.publish(f"echo:c:{group}", struct.pack("!BBQ16s", 1, kind, next_rev, bytes(16)) + frame)
        await redis.publish("echo:revoked", b"[" * 100_000)

    await say(alice, group, "still here")

    assert ["still here"] == [message.content for message in [await bob.next(Message)]]
    assert [] == [*await heard(bob, Message), *await heard(bob, Bye)]


async def test_of_a_person_whom_another_service_erases_tombstones_are_left(
    people: World, watchful: Worker, db: Sql
) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    group = await people.conversation("group", alice, bob)
    sent = await say(bob, group, "remember me")
    await say(alice, group, "we will")

    await db.execute("DELETE FROM auth.users WHERE id = $1", bob.user)

    tombstone = await alice.next(Message, lambda message: message.deleted)
    assert (sent, 1, "") == (tombstone.message, tombstone.seq, tombstone.content)
    await say(alice, group, "life goes on")
    assert "life goes on" == (await heard(alice, Message))[-1].content


# Who hears


async def test_one_whom_another_service_removes_hears_it_and_nothing_after_it(
    people: World, watchful: Worker, near: Worker, db: Sql
) -> None:
    alice, bob, carol = [
        await people.person(name, worker) for name, worker in (("Alice", watchful), ("Bob", watchful), ("Carol", near))
    ]
    tablet = await people.device(bob.user, near)
    group = await people.conversation("group", alice, bob, carol)
    await tablet.next(Membership)

    await other_service.remove(db, group, bob.user)
    await bob.next(Membership, lambda membership: membership.left)
    for number in range(3):
        await say(alice, group, f"not for Bob {number}")
    assert ["not for Bob 0", "not for Bob 1", "not for Bob 2"] == await texts(carol, 3)
    await alice.call(TypingSet(conversation=group))
    await carol.next(Typing)

    for device in (bob, tablet):
        assert [] == await heard(device, Message)
        assert [] == await heard(device, Typing)
    assert (await tablet.next(Membership)).left


async def test_one_whom_another_service_adds_hears_from_then_on_on_every_device(
    people: World, watchful: Worker, db: Sql
) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    phone = await people.device(bob.user, watchful, codec="msgpack")
    group = await people.conversation("group", alice)
    await say(alice, group, "before")

    await other_service.add(db, group, bob.user)
    told = [await device.next(Membership) for device in (bob, phone)]
    await say(alice, group, "welcome")

    assert [(group, "member", False)] * 2 == [(event.conversation, event.role, event.left) for event in told]
    for device in (bob, phone):
        assert ["welcome"] == await texts(device, 1)
    assert bob.user in {person.user for person in (await bob.call(ConversationGet(conversation=group))).participants}


async def test_one_who_is_removed_and_added_again_hears_both_times_of_membership(
    people: World, watchful: Worker, db: Sql
) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    group = await people.conversation("group", alice, bob)

    await say(alice, group, "first")
    await other_service.remove(db, group, bob.user)
    await bob.next(Membership, lambda membership: membership.left)
    await say(alice, group, "meanwhile")
    await other_service.add(db, group, bob.user)
    await bob.next(Membership, lambda membership: not membership.left)
    await say(alice, group, "second")

    assert ["first", "second"] == await texts(bob, 2)
    assert [] == await heard(bob, Message)


async def test_a_new_role_is_told_to_all(people: World, watchful: Worker, db: Sql) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    group = await people.conversation("group", alice, bob)

    await other_service.promote(db, group, bob.user)
    promoted, own = await alice.next(Member), await bob.next(Membership)
    await other_service.silence(db, group, bob.user)
    silenced = await alice.next(Member)

    assert (bob.user, "admin", False) == (promoted.user, promoted.role, promoted.silenced)
    assert (bob.user, "admin", True) == (silenced.user, silenced.role, silenced.silenced)
    assert ["admin", "admin"] == [own.role, (await bob.next(Membership)).role]


async def test_malformed_participants_change_nobody_and_are_not_refused(
    people: World, watchful: Worker, db: Sql
) -> None:
    alice, bob = await people.person("Alice", watchful), await people.person("Bob", watchful)
    group = await people.conversation("group", alice, bob)

    for broken in ("[]", "{}", '{"user_ids": "all"}', '{"user_ids": 5}', "null", '"x"'):
        await db.execute("UPDATE messages.conversations SET participants = $2 WHERE id = $1", group, broken)
    await say(alice, group, "still here")

    assert ["still here"] == await texts(bob, 1)
    assert [] == await heard(bob, Member)
