"""Who hears what, when the answer of the database is older than what this node knows by now."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from echo_ws.broker import MemoryBroker
from echo_ws.feed import Feed
from echo_ws.hub import Channel, Hub
from echo_ws.metrics import Metrics
from echo_ws_db import messages
from echo_ws_db.changes import SQL
from echo_ws_db.messages import NewMessage
from echo_ws_db.pool import Store
from echo_ws_protocol.events import Event, Member, Membership, Message
from echo_ws_protocol.ids import uuid7
from tests.support import other_service
from tests.support.listening import Device
from tests.support.other_service import Sql
from tests.support.waiting import until
from tests.support.world import World


class SlowStore:
    """A store whose answers to one statement can be kept back; by then the snapshot has been taken."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sql = ""
        self.is_held = asyncio.Event()
        self._released = asyncio.Event()

    def hold(self, sql: str) -> None:
        self._sql = sql

    def release(self) -> None:
        self._sql = ""
        self._released.set()

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        rows = await self._store.fetch(sql, *args)
        if sql == self._sql and not self.is_held.is_set():
            self.is_held.set()
            await self._released.wait()
        return rows


class Node(NamedTuple):
    feed: Feed
    store: SlowStore
    hub: Hub


@pytest.fixture
async def node(people: World) -> AsyncIterator[Node]:
    store, hub = SlowStore(people.store), Hub()
    feed = Feed(store, MemoryBroker(), hub, Metrics(), sweep_s=3600)  # type: ignore[arg-type]  # all that a feed needs of one
    await feed.start()
    yield Node(feed, store, hub)
    await feed.close()


class Group(NamedTuple):
    id: UUID
    alice: UUID
    bob: UUID

    @property
    def channel(self) -> Channel:
        return Channel("c", self.id)


@pytest.fixture
async def group(people: World) -> Group:
    alice, bob = await people.user("Alice"), await people.user("Bob")
    return Group(await people.room("group", alice, bob), alice, bob)


async def say(people: World, node: Node, group: Group) -> None:
    """Store a message and let the node find it."""
    await messages.send(
        people.store, [NewMessage(uuid7(), group.id, group.alice, "hi", None)], tracked_members=0, wait=True
    )
    node.feed.poke(group.channel)


async def hears(device: Device, kind: type[Event], count: int = 1) -> None:
    async def look() -> bool:
        return len(device.heard(kind)) >= count

    await until(look)


async def test_one_who_is_removed_while_connecting_hears_nothing(
    node: Node, group: Group, people: World, db: Sql
) -> None:
    alice, bob = Device(group.alice), Device(group.bob)
    await node.feed.attach(alice)
    node.store.hold(SQL.places)
    connecting = asyncio.create_task(node.feed.attach(bob))
    await node.store.is_held.wait()

    await other_service.remove(db, group.id, group.bob)
    node.feed.poke(group.channel)
    await hears(alice, Member)
    node.store.release()
    await connecting
    await say(people, node, group)
    await hears(alice, Message)

    assert [] == bob.heard(Message)


async def test_one_who_is_removed_while_being_added_hears_nothing_after_it(
    node: Node, group: Group, people: World, db: Sql
) -> None:
    alice, bob, carol = Device(group.alice), Device(group.bob), Device(await people.user("Carol"))
    for device in (alice, bob, carol):
        await node.feed.attach(device)
    await other_service.add(db, group.id, carol.user)
    node.store.hold(SQL.of_user)
    node.feed.poke(Channel("u", carol.user))
    await node.store.is_held.wait()

    await other_service.remove(db, group.id, carol.user)
    node.feed.poke(group.channel)
    await hears(alice, Member)
    node.store.release()
    node.feed.poke(Channel("u", carol.user))
    await hears(carol, Membership)
    await say(people, node, group)
    await hears(alice, Message)

    assert [] == carol.heard(Message)


async def test_one_who_is_removed_before_the_node_serves_the_conversation_hears_nothing(
    node: Node, group: Group, people: World, db: Sql
) -> None:
    alice, bob = Device(group.alice), Device(group.bob)
    node.store.hold(SQL.places)
    connecting = asyncio.create_task(node.feed.attach(bob))
    await node.store.is_held.wait()

    await other_service.remove(db, group.id, group.bob)
    await node.feed.attach(alice)
    node.store.release()
    await connecting
    await say(people, node, group)
    await hears(alice, Message)

    assert [] == bob.heard(Message)


async def test_a_busy_conversation_does_not_keep_anybody_from_connecting(
    node: Node, group: Group, people: World
) -> None:
    alice, bob = Device(group.alice), Device(group.bob)
    await node.feed.attach(alice)
    node.store.hold(SQL.places)
    connecting = asyncio.create_task(node.feed.attach(bob))
    await node.store.is_held.wait()
    await say(people, node, group)
    await hears(alice, Message)

    node.store.release()
    await asyncio.wait_for(connecting, 1)
    await say(people, node, group)
    await hears(bob, Message)

    assert [2] == [message.seq for message in bob.heard(Message)]


async def test_one_who_is_added_while_connecting_hears_from_then_on(
    node: Node, group: Group, people: World, db: Sql
) -> None:
    alice, carol = Device(group.alice), Device(await people.user("Carol"))
    await node.feed.attach(alice)
    node.store.hold(SQL.places)
    connecting = asyncio.create_task(node.feed.attach(carol))
    await node.store.is_held.wait()

    await other_service.add(db, group.id, carol.user)
    node.store.release()
    await connecting
    node.feed.poke(Channel("u", carol.user))
    await hears(carol, Membership)
    await say(people, node, group)

    await hears(carol, Message)


async def test_one_who_is_added_hears_what_was_said_before_the_node_knew_of_it(
    node: Node, group: Group, people: World, db: Sql
) -> None:
    alice, carol = Device(group.alice), Device(await people.user("Carol"))
    for device in (alice, carol):
        await node.feed.attach(device)

    await other_service.add(db, group.id, carol.user)
    await say(people, node, group)
    await hears(alice, Message)
    node.feed.poke(Channel("u", carol.user))
    await hears(carol, Message)
    await say(people, node, group)

    await hears(carol, Message, 2)
    assert [Membership, Message, Message] == [type(event) for event in carol.told]
    assert [1, 2] == [message.seq for message in carol.heard(Message)]


async def test_what_nobody_hears_any_more_is_forgotten(node: Node, group: Group) -> None:
    devices = [Device(group.alice), Device(group.bob)]
    for device in devices:
        await node.feed.attach(device)

    for device in devices:
        node.feed.detach(device)

    assert ({}, 0) == (node.hub.topics, len(node.hub))
