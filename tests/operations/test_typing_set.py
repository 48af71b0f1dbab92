"""Typing: the others see it at once, and nothing is kept."""

from uuid import UUID

import pytest

from echo_ws.client import Client, CommandFailed
from echo_ws_protocol.commands import TypingSet
from echo_ws_protocol.events import Membership, Typing
from echo_ws_protocol.types import TypingKind
from tests.support import other_service
from tests.support.other_service import Sql
from tests.support.waiting import heard
from tests.support.world import Worker, World


async def test_the_others_see_it_once_and_oneself_does_not(
    group: UUID, alice: Client, bob: Client, carol: Client, people: World, worker: Worker
) -> None:
    phone = await people.device(alice.user, worker)

    await alice.call(TypingSet(conversation=group, kind="voice"))

    shown = Typing(conversation=group, user=alice.user, kind="voice", expires_ms=8000)
    for person in (bob, carol):
        assert shown == await person.next(Typing)
    for device in (alice, phone):
        assert [] == await heard(device, Typing)


async def test_too_often_is_dropped_in_silence(direct: UUID, group: UUID, alice: Client, bob: Client) -> None:
    for conversation in (direct, direct, group, direct):
        await alice.call(TypingSet(conversation=conversation))

    assert [direct, group] == [(await bob.next(Typing)).conversation for _ in range(2)]
    assert [] == await heard(bob, Typing)


async def test_the_end_is_always_told_and_makes_room_for_a_new_beginning(
    direct: UUID, alice: Client, bob: Client
) -> None:
    kinds: tuple[TypingKind, ...] = ("text", "stopped", "voice")
    for kind in kinds:
        await alice.call(TypingSet(conversation=direct, kind=kind))

    assert list(kinds) == [(await bob.next(Typing)).kind for _ in range(3)]


async def test_each_sign_comes_once_also_by_way_of_redis(direct: UUID, alice: Client, bob: Client) -> None:
    for _ in range(3):
        await alice.call(TypingSet(conversation=direct))
        await alice.call(TypingSet(conversation=direct, kind="stopped"))
    await bob.call(TypingSet(conversation=direct))
    await alice.next(Typing)

    assert ["text", "stopped"] * 3 == [typing.kind for typing in await heard(bob, Typing)]


async def test_for_a_stranger_there_is_nothing_to_type_in(direct: UUID, carol: Client, bob: Client) -> None:
    with pytest.raises(CommandFailed, match="not_found"):
        await carol.call(TypingSet(conversation=direct))

    assert [] == await heard(bob, Typing)


async def test_who_may_not_speak_may_not_seem_to(people: World, alice: Client, bob: Client, db: Sql) -> None:
    channel = await people.conversation("channel", alice)
    await other_service.add_reader(db, channel, bob.user)
    group = await people.conversation("group", alice, bob)
    await other_service.silence(db, group, bob.user)

    for conversation in (channel, group):
        with pytest.raises(CommandFailed, match="forbidden"):
            await bob.call(TypingSet(conversation=conversation))

    assert [] == await heard(alice, Typing)


async def test_one_who_left_neither_types_nor_sees_it(
    group: UUID, alice: Client, bob: Client, carol: Client, db: Sql
) -> None:
    await other_service.remove(db, group, bob.user)
    await bob.next(Membership, lambda membership: membership.left)

    with pytest.raises(CommandFailed, match="not_found"):
        await bob.call(TypingSet(conversation=group))
    await alice.call(TypingSet(conversation=group))
    await carol.next(Typing)

    assert [] == await heard(bob, Typing)
