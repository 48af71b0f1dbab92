"""People who talk through real workers on real PostgreSQL and Redis.

`alice`, `bob` and `carol` are new users, connected to a worker that all tests share; `group` and `direct` are
conversations of theirs. A test that restarts, removes or counts things makes a `world` of its own.
"""

import itertools
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from echo_ws import tokens
from echo_ws.client import Client
from echo_ws.hub import Channel
from echo_ws.metrics import Metrics
from echo_ws.server import Server
from echo_ws.settings import Settings
from echo_ws_db import conversations, pool, sessions, users
from echo_ws_db.pool import Store
from echo_ws_protocol.commands import ConversationCreate
from echo_ws_protocol.events import Membership
from echo_ws_protocol.ids import uuid7

from .issuer import Issuer
from .services import Databases
from .waiting import until

UNLIMITED = dict.fromkeys(
    ("commands_per_s", "sends_per_s", "searches_per_s", "creations_per_min", "handshakes_per_s"), 0
)
"""What lets tests do in a second what people do in an hour."""

KEY = "the secret key of the servers in tests"
ACCOUNTS = {"secret_key": KEY, "sender": "mailbox", "strangers_per_min": 0, "codes_per_h": 0, "all_codes_per_h": 0}

QUICK = {"presence_ms": 20, "presence_grace_s": 0.2}

_phones = itertools.count(4915550000000)
sys.path.append(str(Path(__file__).with_name("plugin")))  # an installed package: the sender `mailbox`


class Worker:
    """A worker in this process, on a port of its own."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/ws"
        self.http = f"http://127.0.0.1:{port}"


_workers: dict[str, Worker] = {}
"""Those that run, or ran, by their URLs."""


class World:
    """One database, one Redis, any number of workers and people."""

    def __init__(self, database_url: str, redis_url: str, store: Store, stack: AsyncExitStack) -> None:
        self.database_url = database_url
        self.redis_url = redis_url
        self.store = store
        self._stack = stack

    async def worker(self, **settings: Any) -> Worker:
        """Start a worker, without limits if none are given; it is drained at the end of the test."""
        urls = {"database_url": self.database_url, "redis_url": self.redis_url}
        chosen = {**urls, "drain_s": 0.2, **UNLIMITED, **ACCOUNTS, **QUICK, **settings}
        sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        sock.setblocking(False)
        server = await Server.start(Settings(**chosen), sock, Metrics())
        self._stack.push_async_callback(server.drain)
        worker = Worker(server, sock.getsockname()[1])
        _workers[worker.url] = worker
        return worker

    def phone(self) -> str:
        """Return a phone number that nobody has."""
        return f"+{next(_phones)}"

    async def user(self, name: str = "somebody") -> UUID:
        user = await users.add(self.store, self.phone(), name)
        assert user
        return user

    async def token(self, user: UUID) -> str:
        """Open a session and return its token."""
        token = tokens.new_session_token()
        await sessions.issue(self.store, user, tokens.digest(token), f"device-{token[:8]}", "web", None, 1)
        return token

    async def device(self, user: UUID, worker: Worker, **options: Any) -> Client:
        """Connect one more device of a user."""
        return await self._stack.enter_async_context(Client(worker.url, token=await self.token(user), **options))

    async def person(self, name: str, worker: Worker, **options: Any) -> Client:
        """Add a user and connect a device."""
        return await self.device(await self.user(name), worker, **options)

    async def conversation(self, type_: str, creator: Client, *others: Client) -> UUID:
        """Create a conversation; when this returns, everybody hears it."""
        created = await creator.call(
            ConversationCreate(conversation=uuid7(), type=type_, participants=[other.user for other in others])  # type: ignore[arg-type]  # a word of the protocol
        )
        for person in (creator, *others):
            await person.next(Membership)
            await until(partial(is_let_in, _workers[person.url], person.user, created.conversation))
        return created.conversation

    async def room(self, type_: str, creator: UUID, *others: UUID) -> UUID:
        """Create a conversation of users who need not be connected."""
        return (await conversations.create(self.store, uuid7(), type_, None, creator, others)).conversation


async def is_let_in(worker: Worker, user: UUID, conversation: UUID) -> bool:
    """Tell whether what is momentary, too, reaches the devices of a person on this worker."""
    hub = worker.server._hub
    return all(hub.is_in(device, Channel("c", conversation)) for device in hub.connections_of(user))


@pytest.fixture(scope="session")
def town_database(databases: Databases, template: str) -> Iterator[str]:
    with databases.fresh(template) as url:
        yield url


@pytest.fixture(scope="session")
async def town(town_database: str, redis_url: str) -> AsyncIterator[World]:
    """Yield the world that tests share."""
    async with AsyncExitStack() as stack:
        store = await pool.connect(town_database, size=4)
        stack.push_async_callback(store.close)
        yield World(town_database, redis_url, store, stack)


@pytest.fixture(scope="session")
async def worker(town: World, issuer: Issuer) -> Worker:
    return await town.worker(**issuer.settings())


@pytest.fixture
async def people(town: World) -> AsyncIterator[World]:
    """Yield the shared world, whose people go home after the test."""
    async with AsyncExitStack() as stack:
        yield World(town.database_url, town.redis_url, town.store, stack)


@pytest.fixture
async def world(database: str, redis_url: str) -> AsyncIterator[World]:
    """Yield a world without anybody."""
    async with AsyncExitStack() as stack:
        store = await pool.connect(database, size=4)
        stack.push_async_callback(store.close)
        yield World(database, redis_url, store, stack)


@pytest.fixture
async def alice(people: World, worker: Worker) -> Client:
    return await people.person("Alice", worker)


@pytest.fixture
async def bob(people: World, worker: Worker) -> Client:
    return await people.person("Bob", worker)


@pytest.fixture
async def carol(people: World, worker: Worker) -> Client:
    return await people.person("Carol", worker)


@pytest.fixture
async def direct(people: World, alice: Client, bob: Client) -> UUID:
    """Return a direct conversation of Alice and Bob."""
    return await people.conversation("direct", alice, bob)


@pytest.fixture
async def group(people: World, alice: Client, bob: Client, carol: Client) -> UUID:
    """Return a group of Alice (its admin), Bob and Carol."""
    return await people.conversation("group", alice, bob, carol)


@pytest.fixture
async def db(town: World) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Yield a connection to the shared database, to look at rows and to play another service."""
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
        town.database_url, server_settings={"timezone": "UTC"}
    )
    yield connection
    await connection.close()
