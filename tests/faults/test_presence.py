"""A worker that is killed leaves no ghosts: its users are shown as gone, also while another worker takes its place."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

from echo_ws.client import Client
from echo_ws_db import pool
from echo_ws_protocol.commands import PresenceWatch
from echo_ws_protocol.events import Presence
from tests.support.waiting import until
from tests.support.world import World

from .cluster import Node, Servers

LEASE_S, GRACE_S = 1.5, 0.5
LATE_S = 1.0
"""The others look for leases that ran out every third of one; and a machine may have much to do."""


class Street:
    """Two nodes that know each other by PostgreSQL and Redis alone, and people on them."""

    def __init__(self, nodes: list[Node], world: World) -> None:
        self.nodes = nodes
        self._world = world

    async def person(self, name: str, node: Node) -> Client:
        token = await self._world.token(await self._world.user(name))
        return Client(node.url, token=token)


@pytest.fixture
async def street(servers: Servers, tmp_path: Path) -> AsyncIterator[Street]:
    settings = {"presence_lease_s": LEASE_S, "presence_grace_s": GRACE_S, "presence_ms": 50}
    nodes = [Node(servers, tmp_path / name, Random(1), "", **settings) for name in ("near", "far")]
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(node.running())
        store = await pool.connect(servers.postgres.url, size=2)
        stack.push_async_callback(store.close)
        yield Street(nodes, World(servers.postgres.url, servers.redis.url, store, stack))


async def test_who_was_on_a_killed_worker_is_shown_as_gone_and_nobody_else_is(street: Street) -> None:
    near, far = street.nodes
    async with (
        await street.person("Ann", near) as ann,
        await street.person("Ben", far) as ben,
        await street.person("Cleo", far) as cleo,
        await street.person("Dan", near) as dan,
    ):
        others = [ben.user, cleo.user, dan.user]
        await until(lambda: are_shown(ann, others, ["online", "online", "online"]))

        far.kill()
        await ben.close()  # he never comes back; Cleo does, to the worker that takes the place

        gone = await ann.next(
            Presence,
            lambda presence: (presence.user, presence.status) == (ben.user, "offline"),
            timeout=LEASE_S + GRACE_S + LATE_S,
        )
        assert gone.last_seen
        await until(lambda: are_shown(ann, others, ["offline", "online", "online"]))


async def are_shown(viewer: Client, users: list[UUID], statuses: list[str]) -> bool:
    """Watch these people anew, and tell whether they are what they should be."""
    shown = {each.user: each.status for each in (await viewer.call(PresenceWatch(users=users))).presences}
    return statuses == [shown[user] for user in users]
