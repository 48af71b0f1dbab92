"""From a command to its handler, and from what the handler does to a reply."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from msgspec import Raw, Struct

from echo_ws_db.pool import Store
from echo_ws_protocol.codec import Codec, op_of
from echo_ws_protocol.commands import Command
from echo_ws_protocol.events import Receipt, Typing
from echo_ws_protocol.replies import Reply

from .accounts import Accounts
from .errors import EchoError, as_echo_error
from .events import Thing, Told
from .feed import Feed
from .hub import Channel, Listener
from .logs import get_logger
from .metrics import Metrics
from .presences import Presences
from .session import Session
from .sessions import Sessions
from .writer import Writer

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with: one of each for a worker."""

    store: Store
    writer: Writer
    feed: Feed
    sessions: Sessions
    metrics: Metrics
    clock: Callable[[], float]
    epoch: str
    """The identity of the database."""
    accounts: Accounts
    presences: Presences
    edit_window_s: float
    """For how long a message can be edited; 0: for ever."""
    catch_ups: asyncio.Semaphore
    """Held by whoever catches up, so that sends always find a connection to the database."""
    searches: asyncio.Semaphore
    """Held by whoever searches, so that nobody waits for that."""
    lookups_per_day: int
    """Phone numbers that one user may ask for in a day; 0: no limit."""
    group_max: int


@dataclass(slots=True)
class Context:
    """Who asks, and what a handler may use to answer."""

    caller: Session | None
    """None for a command that needs no session."""
    services: Services
    address: str
    user_agent: str
    listener: Listener | None = None
    """The connection that asks; none at the HTTP door."""
    is_held: bool = False
    """Whether the connection's events wait for this reply."""

    @property
    def session(self) -> Session:
        assert self.caller
        return self.caller

    @property
    def user(self) -> UUID:
        return self.session.user

    @property
    def accounts(self) -> Accounts:
        """What accounts are made with, or ``Forbidden`` where there are none."""
        self.services.accounts.check()
        return self.services.accounts

    @property
    def db(self) -> Store:
        return self.services.store

    @property
    def writer(self) -> Writer:
        return self.services.writer

    @property
    def now(self) -> float:
        return self.services.clock()

    def hold(self) -> None:
        """Keep the connection's events back until the reply has been given."""
        if self.listener and not self.is_held:
            self.is_held = True
            self.listener.hold()

    async def hear(self) -> None:
        """Let the connection hear what is committed from now on, after the reply that is about to be given."""
        self.hold()
        if self.listener:
            await self.services.feed.attach(self.listener)

    def publish(self, told: Told[Thing]) -> None:
        """Tell everybody in the conversation of a change that is committed. Never waits."""
        self.services.feed.publish(told)

    def mention(
        self, event: Receipt | Typing, kept_from: Collection[UUID] = (), *, instead: Receipt | Typing | None = None
    ) -> None:
        """Tell the others in the conversation something momentary, but some something else or nothing. Never waits."""
        self.services.feed.mention(event, kept_from, instead=instead)

    def tell(self, event: Receipt) -> None:
        """Tell the user's connections something momentary. Never waits."""
        self.services.feed.tell(self.user, event)

    def poke(self, user: UUID) -> None:
        """Let the user's connections look for what changed for them. Never waits."""
        self.services.feed.poke(Channel("u", user))


C = TypeVar("C", bound=Command[Any])
R = TypeVar("R", bound=Struct)
Handler: TypeAlias = Callable[[Context, C], Awaitable[R]]

HANDLERS: dict[type[Command[Any]], Handler[Any, Any]] = {}
"""Every command's handler; a test holds that none is missing."""


def handles(command: type[C]) -> Callable[[Handler[C, R]], Handler[C, R]]:
    """Make the decorated coroutine the handler of ``command``."""

    def register(handler: Handler[C, R]) -> Handler[C, R]:
        HANDLERS[command] = handler
        return handler

    return register


async def answer(context: Context, command: Command[Any], codec: Codec) -> Reply:
    """Run a command and return its reply, whatever happens."""
    metrics, op = context.services.metrics, op_of(command)
    started = time.perf_counter()  # the loop's own clock counts whole milliseconds
    try:
        result = await HANDLERS[type(command)](context, command)
    except Exception as error:  # noqa: BLE001  # no error may leave a command without an answer
        failed = explain(error, op, metrics)
        metrics.command(op, failed.code, time.perf_counter() - started)
        return Reply(command.id, error=failed.failure())
    metrics.command(op, "ok", time.perf_counter() - started)
    return Reply(command.id, ok=Raw(codec.encode(result)))


def explain(error: Exception, op: str, metrics: Metrics) -> EchoError:
    """Return what the client is told of ``error``; log and count it if nobody foresaw it."""
    foreseen = as_echo_error(error)
    if foreseen is None:
        log.error("command_failed", op=op, exc_info=error)
        metrics.count("errors", op)
    return foreseen or EchoError()
