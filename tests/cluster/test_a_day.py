"""A day in the life of five people, on two workers, with everything that a chat has.

Each of their devices knows only what it was told, and what it read when it began or was told to. At night it must show
what a device shows that reads everything afresh, and what the tables say.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar
from uuid import UUID

import pytest

from echo_ws.client import CommandFailed
from echo_ws_protocol.commands import (
    Command,
    ContactBlock,
    ContactLookup,
    ContactRemove,
    ContactSet,
    ConversationCreate,
    ConversationDelete,
    ConversationJoin,
    ConversationLeave,
    ConversationMarkUnread,
    ConversationMute,
    ConversationUnread,
    ConversationUpdate,
    DeliveryAck,
    MessageDelete,
    MessageEdit,
    MessageEdits,
    MessageForward,
    MessageHide,
    MessageMentions,
    MessagePin,
    MessagePins,
    MessageRead,
    MessageReceipts,
    MessageSearch,
    ParticipantAdd,
    ParticipantDemote,
    ParticipantPromote,
    ParticipantRemove,
    ParticipantSilence,
    PollVote,
    PresenceSet,
    PresenceWatch,
    PrivacySet,
    ProfileGet,
    ProfileSet,
    ReactionSet,
    ThreadFollow,
    ThreadGet,
    TypingSet,
)
from echo_ws_protocol.ids import uuid7
from tests.support.other_service import Sql
from tests.support.relay import Relay
from tests.support.roll import check_list
from tests.support.talk import IMAGE, POLL, say
from tests.support.waiting import until
from tests.support.world import Worker, World, is_let_in

from .device import Device, Shown
from .truth import own_marks, truth

R = TypeVar("R")

NEVER_MS = 3_600_000
FILE = "https://cdn.example.org/file"
METADATA: dict[Any, dict[str, Any]] = {
    "image": IMAGE,
    "video": {"file_url": FILE, "duration": 12.5},
    "audio": {"file_url": FILE, "duration": 3.0, "waveform": [0, 128, 255]},
    "document": {"file_url": FILE, "file_name": "map.pdf", "size": 4096, "mime_type": "application/pdf"},
    "location": {"latitude": 47.6, "longitude": 9.4, "name": "The pier"},
    "contact": {"name": "Lifeguard", "phones": ["+49 7531 112"]},
    "sticker": {"emoji": "🦆"},
}
"""One of each type besides texts and polls."""


class Person:
    def __init__(self, name: str, user: UUID, devices: list[Device]) -> None:
        self.name, self.user, self.devices = name, user, devices

    @property
    def phone(self) -> Device:
        return self.devices[0]

    @property
    def other(self) -> Device:
        """The other device of one who has two."""
        return self.devices[1]

    async def does(self, command: Command[R]) -> R:
        return await self.phone.client.call(command)

    async def says(self, place: UUID, content: str = "", **fields: Any) -> UUID:
        return await say(self.phone.client, place, content, **fields)

    async def reads(self, place: UUID) -> None:
        await self.does(MessageRead(conversation=place, seq=9999))


class Day:
    """Two workers, five people, and their conversations."""

    lake: UUID
    """A group of all."""
    board: UUID
    """A channel of Dan's, which is public."""
    pair: UUID
    """Ann and Ben."""
    ducks: UUID
    """Ann and Eve."""
    cake: UUID
    """A question of Ann's at the lake, to which Ben made a ``promise``."""
    promise: UUID
    poll: UUID
    """At the lake."""
    warm: UUID
    """The first thing on the board."""

    def __init__(self, people: World, db: Sql, near: Worker, far: Worker, cleos: Relay, dans: Relay) -> None:
        self.near, self.far, self.cleos, self.dans = near, far, cleos, dans
        self.db = db
        self._world = people

    async def begin(self) -> None:
        self.ann = await self._arrives("Ann", (self.near.url, "json"), (self.far.url, "msgpack"))
        self.ben = await self._arrives("Ben", (self.far.url, "json"), (self.near.url, "msgpack"))
        self.cleo = await self._arrives("Cleo", (self.cleos.url, "json"))
        self.dan = await self._arrives("Dan", (self.dans.url, "msgpack"))
        self.eve = await self._arrives("Eve", (self.near.url, "json"))
        self.people = self.ann, self.ben, self.cleo, self.dan, self.eve

    async def end(self) -> None:
        for person in self.people:
            for device in person.devices:
                await device.switch_off()

    async def device(self, user: UUID, url: str, codec: str = "json") -> Device:
        device = Device(user, url, await self._world.token(user), codec)
        await device.switch_on()
        return device

    async def is_up_to_date(self, person: Person, device: Device) -> None:
        """Wait until a device shows what is, or fail by what is different."""

        async def look() -> bool:
            return device.shown == await truth(self.db, person.user)

        with suppress(TimeoutError):
            await until(look)
        device.check()
        assert_alike(await truth(self.db, person.user), device.shown)

    async def is_heard(self, person: Person, place: UUID) -> None:
        """Wait until all devices of a person would hear what is momentary there."""
        for worker in (self.near, self.far):
            await until(partial(is_let_in, worker, person.user, place))

    async def _arrives(self, name: str, *where: tuple[str, str]) -> Person:
        user = await self._world.user(name)
        return Person(name, user, [await self.device(user, url, codec) for url, codec in where])


def assert_alike(expected: Shown, shown: Shown) -> None:
    """Fail by the smallest thing that differs, if one does."""
    assert expected.conversations == shown.conversations
    for place, messages in expected.messages.items():
        assert set(messages) == set(shown.messages[place])
        for seq, message in messages.items():
            assert message == shown.messages[place][seq]
    assert expected._asdict() == shown._asdict()


@pytest.fixture
async def day(people: World, db: Sql) -> AsyncIterator[Day]:
    async with AsyncExitStack() as stack:
        near, far = [await people.worker(sweep_ms=NEVER_MS, send_buffer_bytes=65_536) for _ in range(2)]
        relays = [await stack.enter_async_context(Relay(url)) for url in (near.url, far.url)]
        day = Day(people, db, near, far, *relays)
        await day.begin()
        yield day
        await day.end()


async def test_a_day_in_the_life_of_five_people(day: Day) -> None:
    await people_meet(day)
    await they_talk(day)
    await noon(day)
    await somebody_goes(day)
    await somebody_is_blocked(day)
    await evening(day)

    await night(day)


# -- morning


async def people_meet(day: Day) -> None:
    ann, ben, cleo, dan, eve = day.people
    await ann.does(ProfileSet(display_name="Ann B.", bio="I swim", avatar_url="https://pictures.example.org/ann.png"))
    await dan.does(PrivacySet(show_read_receipts=False))
    await cleo.does(PrivacySet(show_status="contacts"))
    await eve.does(PrivacySet(allow_group_invites="contacts"))
    await ann.does(ContactSet(user=ben.user, nickname="Benny", favorite=True))
    await ann.does(ContactSet(user=dan.user))
    await ann.does(ContactRemove(user=dan.user))
    await cleo.does(ContactSet(user=ann.user))
    number = await day.db.fetchval("SELECT phone FROM auth.users WHERE id = $1", eve.user)
    hash_ = sha256(number.encode()).hexdigest()[:32]
    assert {hash_: eve.user} == (await ben.does(ContactLookup(hashes=[hash_]))).found
    await ben.does(ContactSet(user=eve.user))

    day.lake, day.board, day.pair, day.ducks = await they_gather(day)

    (profile,) = (await eve.does(ProfileGet(users=[ann.user]))).profiles
    assert ("Ann B.", "I swim") == (profile.display_name, profile.bio)


async def they_gather(day: Day) -> tuple[UUID, UUID, UUID, UUID]:
    ann, ben, cleo, dan, eve = day.people
    everybody = [ben.user, cleo.user, dan.user, eve.user]
    group = await ann.does(ConversationCreate(conversation=uuid7(), type="group", participants=everybody, name="Lake"))
    assert [eve.user] == group.refused
    await eve.does(ContactSet(user=ann.user))
    await ann.does(ParticipantAdd(conversation=group.conversation, users=[eve.user]))
    readers = [ann.user, ben.user, cleo.user]
    board = await dan.does(ConversationCreate(conversation=uuid7(), type="channel", participants=readers, name="Board"))
    await dan.does(ConversationUpdate(conversation=board.conversation, public=True))
    await eve.does(ConversationJoin(conversation=board.conversation))
    pair, ducks = [
        await ann.does(ConversationCreate(conversation=uuid7(), type="direct", participants=[other.user]))
        for other in (ben, eve)
    ]
    again = await ben.does(ConversationCreate(conversation=uuid7(), type="direct", participants=[ann.user]))
    assert (pair.conversation, False) == (again.conversation, again.created)
    for person in day.people:
        await day.is_heard(person, group.conversation)
    return group.conversation, board.conversation, pair.conversation, ducks.conversation


async def they_talk(day: Day) -> None:
    ann, ben, cleo, dan, eve = day.people
    lake = day.lake
    cake = day.cake = await ann.says(lake, "Who brings a cake?", mentions=[ben.user, cleo.user])
    day.promise = await ben.says(lake, "I bring one", reply_to=cake)
    poll = day.poll = await cleo.says(lake, type="poll", metadata=POLL)
    for person, choice in ((ann, 0), (ben, 1), (dan, 2), (ben, 0)):
        await person.does(PollVote(conversation=lake, message=poll, options=[choice]))
    for type_, metadata in METADATA.items():
        await dan.says(lake, type=type_, metadata=metadata)
    for person, emoji, on in ((eve, "👍", True), (ben, "👍", True), (ben, "🎂", True), (ben, "👍", False)):
        await person.does(ReactionSet(conversation=lake, message=cake, emoji=emoji, on=on))
    day.warm = await dan.says(day.board, "The water is warm")
    await eve.does(TypingSet(conversation=lake))
    await ben.other.client.call(ThreadFollow(conversation=lake, message=cake))

    for device in (*ann.devices, *ben.devices, cleo.phone):
        await until(partial(typed, device, eve.user))
    assert not eve.phone.typing
    await cleo.reads(lake)
    await dan.reads(lake)
    receipts = await ann.does(MessageReceipts(conversation=lake, message=cake))
    assert (4, 2, 1) == (receipts.recipients, receipts.delivered, receipts.read)
    assert 1 == (await ann.does(ThreadGet(conversation=lake, message=cake))).replies
    assert [cake] == [message.message for message in (await cleo.does(MessageMentions())).messages]
    await until(lambda: watches(ann, [ben, cleo, dan, eve]))
    assert None is (await eve.does(PresenceWatch(users=[cleo.user]))).presences[0].status


async def typed(device: Device, user: UUID) -> bool:
    return [user] == [typing.user for typing in device.typing]


async def watches(viewer: Person, others: list[Person]) -> bool:
    """Watch these people anew, and tell whether all are shown as online."""
    shown = await viewer.does(PresenceWatch(users=[other.user for other in others]))
    return {"online"} == {presence.status for presence in shown.presences}


# -- noon: one is away, one has no network, one reads nothing


async def noon(day: Day) -> None:
    ann, ben, cleo, _, eve = day.people
    lake = day.lake
    await day.is_up_to_date(ben, ben.other)
    await ben.other.switch_off()
    await day.cleos.cut()
    day.dans.hold()

    await ann.does(MessageEdit(conversation=lake, message=day.cake, content="Who brings the cake?"))
    await ben.does(MessageDelete(conversation=lake, message=day.promise))
    await ann.does(MessagePin(conversation=lake, message=day.poll))
    await eve.does(PollVote(conversation=lake, message=day.poll, options=[0]))
    await eve.says(lake, "Ben, you promised!", mentions=[ben.user], reply_to=day.cake)
    await ann.does(ConversationUpdate(conversation=lake, name="The lake", description="All who swim", history="joined"))
    await ann.other.client.call(ConversationMute(conversation=day.board))
    await ann.reads(lake)
    await told_too_much(day)

    assert ["Who brings a cake?"] == [
        edit.content for edit in (await eve.does(MessageEdits(conversation=lake, message=day.cake))).edits
    ]
    assert [day.poll] == [each.message for each in (await eve.does(MessagePins(conversation=lake))).messages]
    await until(lambda: is_seen(ann.phone, cleo.user, "offline"))


async def told_too_much(day: Day) -> None:
    """Let Ann write more than the worker keeps for Dan, who reads nothing."""
    novel = await day.ann.says(day.lake, "Chapter one")
    pages = 0
    while day.far.server._hub.connections_of(day.dan.user):
        pages += 1
        await day.ann.does(MessageEdit(conversation=day.lake, message=novel, content=f"{pages}" + "🌊" * 4000))
    await day.ann.does(MessageEdit(conversation=day.lake, message=novel, content="A long story"))


async def is_seen(device: Device, user: UUID, status: str) -> bool:
    return user in device.presences and device.presences[user].status == status


# -- afternoon


async def somebody_goes(day: Day) -> None:
    ann, ben, cleo, dan, eve = day.people
    lake = day.lake
    await day.cleos.mend(day.far.url)
    await cleo.does(ConversationLeave(conversation=lake))
    await until(lambda: is_out(cleo.phone, lake))
    unheard = await ann.says(lake, "Where is Cleo?")
    await ann.does(ParticipantPromote(conversation=lake, user=ben.user))
    await ben.does(ParticipantAdd(conversation=lake, users=[cleo.user]))
    await until(lambda: is_in(cleo.phone, lake))
    await ann.does(MessageEdit(conversation=lake, message=unheard, content="Where is Cleo?!"))
    await ben.does(ParticipantSilence(conversation=lake, user=eve.user))
    await refused("forbidden", eve.says(lake, "But why?"))
    await ben.does(ParticipantSilence(conversation=lake, user=eve.user, on=False))
    await ben.does(ParticipantSilence(conversation=lake, user=dan.user))
    await eve.says(lake, "I can speak again")
    await ben.does(ParticipantRemove(conversation=lake, user=eve.user))
    await refused("not_found", eve.says(lake, "Hello?"))
    await ann.says(lake, "Eve is gone")
    await ann.does(ParticipantPromote(conversation=lake, user=cleo.user))
    await ann.does(ParticipantDemote(conversation=lake, user=cleo.user))
    await refused("forbidden", cleo.does(ConversationUpdate(conversation=lake, name="Mine")))


async def is_in(device: Device, place: UUID) -> bool:
    return place in device.shown.conversations


async def is_out(device: Device, place: UUID) -> bool:
    return place not in device.shown.conversations


async def refused(code: str, doing: Any) -> None:
    with pytest.raises(CommandFailed, match=code):
        await doing


async def somebody_is_blocked(day: Day) -> None:
    ann, eve, ducks = day.ann, day.eve, day.ducks
    await eve.says(ducks, "Did you throw me out?")
    await ann.reads(ducks)
    await ann.does(ContactBlock(user=eve.user, reason="too loud"))
    kept = await eve.says(ducks, "Answer me!")
    await eve.does(MessageEdit(conversation=ducks, message=kept, content="Please answer me!"))
    await refused("forbidden", ann.says(ducks, "No"))
    await ann.does(DeliveryAck(conversation=ducks, seq=2))
    assert 0 == (await eve.does(MessageReceipts(conversation=ducks, message=kept))).delivered
    await ann.other.client.call(ContactBlock(user=eve.user, on=False))
    await eve.says(ducks, "Are you there?")
    await ann.says(ducks, "Yes")


# -- evening: all come back


async def evening(day: Day) -> None:
    ann, ben, cleo, dan, eve = day.people
    lake, pair = day.lake, day.pair
    day.dans.let_go()
    await ben.other.come_back()
    eve.devices.append(await day.device(eve.user, day.far.url, "msgpack"))

    told = await ann.says(pair, "Thanks for the cake")
    copy = uuid7()
    await ben.does(MessageForward(conversation=pair, message=copy, source=day.warm))
    await ben.does(ReactionSet(conversation=day.board, message=day.warm, emoji="🌊"))
    await ann.does(ConversationMarkUnread(conversation=pair))
    await ann.other.client.call(MessageHide(conversation=pair, message=copy))
    await ben.does(MessagePin(conversation=pair, message=told))
    await ben.other.client.call(ConversationDelete(conversation=pair))
    await ann.says(pair, "Good night, Ben")
    await until(lambda: shows(dan.phone, lake, "Eve is gone"))
    await dan.does(ParticipantPromote(conversation=day.board, user=ann.user))
    await ann.says(day.board, "Closing at eight")
    await eve.other.client.call(ConversationLeave(conversation=day.board))
    await a_party_is_called_off(day)
    await eve.other.client.call(PresenceSet(status="busy"))
    await ben.reads(lake)

    assert dan.phone.was_behind()
    found = (await cleo.does(MessageSearch(query="cake"))).found
    assert {lake} == {each.message.conversation for each in found}
    await until(lambda: is_seen(ann.phone, eve.user, "busy"))
    await until(lambda: is_seen(ann.phone, cleo.user, "online"))


async def a_party_is_called_off(day: Day) -> None:
    guests = [person.user for person in (day.ann, day.ben, day.dan)]
    party = (
        await day.cleo.does(ConversationCreate(conversation=uuid7(), type="group", participants=guests, name="Party"))
    ).conversation
    await day.cleo.says(party, "At nine?")
    await until(lambda: shows(day.ben.other, party, "At nine?"))
    await day.cleo.does(ConversationDelete(conversation=party))


async def shows(device: Device, place: UUID, content: str) -> bool:
    return device.has(place, content)


# -- night


async def night(day: Day) -> None:
    for person in day.people:
        fresh = await day.device(person.user, day.near.url)
        for device in (fresh, *person.devices):
            await day.is_up_to_date(person, device)
            await has_watermarks(device, fresh)
        assert fresh.counted == fresh.shown.unread
        assert sum(fresh.counted.values()) == (await person.does(ConversationUnread())).unread
        assert await own_marks(day.db, person.user, fresh.shown) == fresh.mine
        await fresh.switch_off()
    for place in (day.lake, day.board, day.pair, day.ducks):
        await check_list(day.db, place)
    for person, secret in ((day.ann, "nswer me!"), (day.cleo, "Where is Cleo?"), (day.eve, "Eve is gone")):
        assert not any(secret in text for device in person.devices for text in device.told), person.name


async def has_watermarks(device: Device, fresh: Device) -> None:
    """Wait until a device has the watermarks of those of whom it was told: not of newcomers until they receive."""

    def there() -> dict[UUID, dict[UUID, tuple[int, int]]]:
        return {place: {user: fresh.marks[place][user] for user in told} for place, told in device.marks.items()}

    async def look() -> bool:
        return there() == device.marks

    with suppress(TimeoutError):
        await until(look)
    assert there() == device.marks
