"""One worker: everything put together, started, and drained."""

import asyncio
import random
import socket
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from msgspec import Raw

from echo_ws_db import durability, epoch
from echo_ws_db.pool import Store, StoreError, connect
from echo_ws_protocol.codec import JSON, BadFrame, op_of
from echo_ws_protocol.commands import WITHOUT_SESSION, Command, SessionStart
from echo_ws_protocol.errors import CloseCode
from echo_ws_protocol.events import Bye, Hello
from echo_ws_protocol.replies import Done, Reply
from echo_ws_protocol.types import OwnStatus

from . import __version__, handlers
from .accounts import Accounts
from .admission import Admission
from .broker import Broker, open_broker
from .connection import Connection
from .dispatch import Context, Services, answer, explain
from .errors import EchoError, RateLimited, Unauthenticated
from .feed import Feed
from .housekeeping import Housekeeping
from .http.app import app
from .http.protocol import Listener, listen
from .hub import Hub
from .limits import Limits
from .logs import get_logger
from .metrics import Metrics, sample
from .peers import BEAT_S, PEERS, Peers
from .presences import Presences
from .session import Session, admit
from .sessions import REVOKED, Sessions
from .settings import JwtKey, Settings
from .tokens import AccessTokens
from .writer import Writer

__all__ = ["Server", "handlers"]

log = get_logger(__name__)

DRAIN_STEP_S = 0.1
COME_BACK_MS = 1000
CATCH_UPS = 4
"""Clients that are told at the same time what they missed."""
SEARCHES = 2
"""Clients that search at the same time."""
_CLOSE_CODES = frozenset({*CloseCode, 1005, 1006})
COME_BACK_WITHIN_MS = 5000
"""Milliseconds over which those who are sent away come back, each at a time of its own."""


class Server:
    """What connections and HTTP requests are served by: the ``Service`` of ``connection``."""

    def __init__(
        self, settings: Settings, store: Store, lanes: Store, broker: Broker, metrics: Metrics, database: str
    ) -> None:
        loop = asyncio.get_running_loop()
        self.settings = settings
        self._is_up = False
        self.metrics = metrics
        self.store = store
        self.broker = broker
        self._lanes = lanes
        self._epoch = database
        self._hub = Hub()
        self.feed = Feed(store, broker, self._hub, metrics, sweep_s=settings.sweep_ms / 1000)
        self.writer = Writer(
            lanes,
            store,
            metrics,
            count=settings.writers,
            batch_size=settings.batch_size,
            tracked_members=settings.tracked_members,
        )
        self._limits = Limits(settings)
        self._connections: set[Connection] = set()
        self._of_user: dict[UUID, dict[Connection, None]] = {}
        self._peers = Peers(settings.cut_off_s)
        self._access = AccessTokens(settings.jwt_keys, settings.jwt_issuer)
        self.sessions = Sessions(store, settings, self._connections, loop.time, self.feed, self._access)
        self._presences = Presences(store, self.feed, settings, self._statuses_of, loop.time)
        self._accounts = Accounts(settings, self._limits, loop.time, self._access)
        self._services = Services(
            store,
            self.writer,
            self.feed,
            self.sessions,
            metrics,
            loop.time,
            database,
            self._accounts,
            self._presences,
            settings.edit_window_s,
            asyncio.Semaphore(CATCH_UPS),
            asyncio.Semaphore(SEARCHES),
            settings.lookups_per_day,
            settings.group_max,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: Listener

    @classmethod
    async def start(cls, settings: Settings, sock: socket.socket, metrics: Metrics) -> "Server":
        assert settings.database_url
        assert settings.redis_url
        open_pool = partial(
            connect,
            settings.database_url,
            acquire_timeout=settings.acquire_timeout_ms / 1000,
            statement_timeout=settings.statement_timeout_ms / 1000,
        )
        store = await open_pool(size=settings.pool_size)
        lanes = await open_pool(size=settings.writers)
        server = cls(settings, store, lanes, open_broker(settings.redis_url), metrics, await epoch.current(store))
        await server._begin(sock)
        return server

    async def _begin(self, sock: socket.socket) -> None:
        self.feed.listen(REVOKED, self.sessions.hear_revoked)
        self.feed.listen(PEERS, lambda sign: self._peers.hear(sign, self._services.clock()))
        await self.feed.start()
        self.writer.start()
        self._spawn(self.sessions.watch())
        self._spawn(self._presences.run())
        self._spawn(self._watch_database())
        self._spawn(sample(self.metrics))
        self._spawn(Housekeeping(self.store, self.settings, self.metrics, self.feed).run())
        self.metrics.probes.append(self._probe)
        site = app(
            self.health,
            lambda: self.is_ready,
            self.metrics,
            self.run_command,
            max_body_bytes=self.settings.max_frame_bytes,
        )
        self._listener = await listen(self, sock, site)
        self._spawn(self._watch_reach())
        self._is_up = True

    @property
    def is_ready(self) -> bool:
        """Whether newcomers find what they come for here."""
        return self._is_up and not self._admission.is_aside

    def rekey(self, keys: Mapping[str, JwtKey]) -> None:
        """Sign and verify access tokens with other keys from now on."""
        self._access.rekey(keys)

    async def drain(self) -> None:
        """Take no more connections, part with those there are, and stop."""
        self._is_up = False
        self._listener.close()
        await self._part_with_all()
        await self._listener.finish(2)
        await self._stop()

    async def _part_with_all(self) -> None:
        """Tell everybody when to come back, and part with them, a slice at a time."""
        deadline = asyncio.get_running_loop().time() + self.settings.drain_s
        people = list(self._connections)
        random.shuffle(people)
        slots_ms = {person: COME_BACK_WITHIN_MS * place // len(people) for place, person in enumerate(people)}
        for person, after_ms in slots_ms.items():
            person.send(Bye(after_ms=after_ms))
        size = max(1, round(len(people) * DRAIN_STEP_S / max(self.settings.drain_s / 2, DRAIN_STEP_S)))
        for start in range(0, len(people), size):
            await self._part(people[start : start + size], slots_ms, deadline)
            await asyncio.sleep(DRAIN_STEP_S)

    async def _part(self, people: Sequence[Connection], slots_ms: Mapping[Connection, int], deadline: float) -> None:
        """Finish the commands at work, take no others, and close."""
        for person in people:
            person.stop_reading()
        loop = asyncio.get_running_loop()
        while any(p.session and p.session.in_flight for p in people) and loop.time() < deadline:  # noqa: ASYNC110  # once in a life
            await asyncio.sleep(0.01)
        for person in people:
            _send_away(person, slots_ms[person])

    async def _watch_database(self) -> None:
        """Tell the peers that the database answers, and begin anew when it is another one: after a restore."""
        while True:
            await asyncio.sleep(BEAT_S)
            with suppress(StoreError):  # next time
                found = await epoch.current(self.store)
                self.broker.publish(PEERS, self._peers.sign)
                if found != self._epoch:
                    self._begin_epoch(found)

    async def _watch_reach(self) -> None:
        """Leave the clients to the peers while those reach PostgreSQL, and this worker does not."""
        while True:
            await asyncio.sleep(BEAT_S)
            answered_at = max(self.store.answered_at, self._lanes.answered_at)
            is_cut_off = self._peers.is_cut_off(answered_at, self._services.clock())
            if is_cut_off and not self._admission.is_aside:
                log.warning("stepped_aside", connections=len(self._connections))
                self._spawn(self._part_with_all())
            elif self._admission.is_aside and not is_cut_off:
                log.warning("stepped_back")
            self._admission.is_aside = is_cut_off

    def _begin_epoch(self, found: str) -> None:
        log.warning("epoch_changed", before=self._epoch, now=found)
        self._epoch = found
        self._services = replace(self._services, epoch=found)
        for person in tuple(self._connections):
            self.feed.detach(person)
            _send_away(person, random.randrange(COME_BACK_WITHIN_MS))  # noqa: S311

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._presences.close()
        await self._accounts.close()
        await self.writer.close()
        await self.feed.close()
        await asyncio.gather(self.store.close(), self._lanes.close())

    # -- the service of connections

    def opened(self, connection: Connection) -> None:
        self.metrics.count("connections_opened")
        if connection.bearer is not None:
            connection.pause_reading()  # commands wait until it is known who asks
            self._spawn(self._authenticate(connection, connection.bearer))

    def received(self, connection: Connection, payload: bytes) -> None:
        try:
            command = connection.codec.decode_command(payload)
            admit(connection.session, command, self._limits, self._services.clock(), connection.address)
        except BadFrame as bad:
            self.metrics.command("none", bad.failure.code, 0)
            connection.reject(Reply(bad.id, error=bad.failure))
        except RateLimited as error:
            self.metrics.command(op_of(command), error.code, 0)
            connection.send(Reply(command.id, error=error.failure()))
            if error.is_last:
                connection.close(CloseCode.RATE, _after(error.retry_after_ms))
        except EchoError as error:  # not in this state of the connection
            self.metrics.command(op_of(command), error.code, 0)
            connection.reject(Reply(command.id, error=error.failure()))
        else:
            self._begin_command(connection, command)

    def fell_behind(self, connection: Connection) -> None:
        self.metrics.count("fell_behind")
        self.feed.detach(connection)

    def closed(self, connection: Connection) -> None:
        code = connection.close_code if connection.close_code in _CLOSE_CODES else "other"
        self.metrics.count("connections_closed", str(code))
        if connection in self._connections:
            self._connections.discard(connection)
            self._forget(connection)
            self.feed.detach(connection)
            self._presences.unwatch(connection)
            self._presences.changed(connection.user)

    def _forget(self, connection: Connection) -> None:
        theirs = self._of_user[connection.user]
        del theirs[connection]
        if not theirs:
            del self._of_user[connection.user]

    def refused(self, status: int) -> None:
        self.metrics.count("connections_refused", str(status))

    def _begin_command(self, connection: Connection, command: Command[Any]) -> None:
        session = connection.session
        if session is None:
            connection.pause_reading()
            begin = self._start_session if isinstance(command, SessionStart) else self._serve_stranger
            self._spawn(begin(connection, command))
            return
        session.in_flight += 1
        if session.in_flight >= self.settings.max_in_flight:
            connection.pause_reading()
        self._spawn(self._run(connection, session, command))

    async def _run(self, connection: Connection, session: Session, command: Command[Any]) -> None:
        context = Context(session, self._services, connection.address, connection.user_agent, connection)
        try:
            connection.send(await answer(context, command, connection.codec))
        finally:
            if context.is_held:
                connection.release()
            session.in_flight -= 1
            connection.resume_reading()

    async def _serve_stranger(self, connection: Connection, command: Command[Any]) -> None:
        """Run a command that needs no session, while nothing more is read from the connection."""
        context = Context(None, self._services, connection.address, connection.user_agent)
        connection.send(await answer(context, command, connection.codec))
        connection.resume_reading()

    async def _authenticate(self, connection: Connection, token: str) -> None:
        """Begin the session of a connection that brought its token in the handshake."""
        try:
            await self._let_in(connection, token)
        except Exception as error:  # noqa: BLE001  # whatever it is, the client is told
            self._turn_away(connection, explain(error, "session.start", self.metrics))

    async def _start_session(self, connection: Connection, command: Command[Any]) -> None:
        """Begin the session of a connection whose first frame brought its token."""
        assert isinstance(command, SessionStart)
        try:
            await self._let_in(connection, command.token, Reply(command.id, ok=Raw(connection.codec.encode(Done()))))
        except Exception as error:  # noqa: BLE001  # whatever it is, the client is told
            failed = explain(error, "session.start", self.metrics)
            connection.send(Reply(command.id, error=failed.failure()))
            self._turn_away(connection, failed)

    def _turn_away(self, connection: Connection, error: EchoError) -> None:
        if isinstance(error, Unauthenticated):
            connection.close(CloseCode.UNAUTHENTICATED, str(error))
        elif error.outcome == "rejected":
            connection.close(CloseCode.INTERNAL, str(error))
        else:
            connection.close(CloseCode.BUSY, _after(COME_BACK_MS))

    async def _let_in(self, connection: Connection, token: str, reply: Reply | None = None) -> None:
        """Attach first, say hello then: what is committed after hello is heard."""
        session = await self.sessions.open(token, connection.address, connection.user_agent)
        if connection.is_closed:  # it went while the database was asked, and is not to be remembered
            return
        connection.authenticated(session)
        self._connections.add(connection)
        self._of_user.setdefault(session.user, {})[connection] = None
        self._make_room(session.user)
        self._presences.changed(session.user)
        await self.feed.attach(connection)
        if connection.is_closed:
            return
        if reply:
            connection.send(reply)
        connection.send(self._hello(session))
        connection.resume_reading()

    def _statuses_of(self, user: UUID) -> Iterator[OwnStatus]:
        return (connection.session.status for connection in self._of_user.get(user, ()) if connection.session)

    def _make_room(self, user: UUID) -> None:
        """Close the oldest connections of a user who has more than he may."""
        theirs = [connection for connection in self._of_user[user] if connection.is_open]
        most = self.settings.max_user_connections
        for connection in theirs[:-most] if most else ():
            connection.close(CloseCode.REPLACED, f"a newer connection took its place; a user may have {most}")

    def _hello(self, session: Session) -> Hello:
        return Hello(
            user=session.user,
            session=session.id,
            expires_at=session.expires_at,
            epoch=self._epoch,
            heartbeat_ms=round(self.settings.heartbeat_s * 1000),
            max_frame_bytes=self.settings.max_frame_bytes,
            server=f"echo_ws {__version__}",
        )

    # -- the service of HTTP

    async def run_command(self, payload: bytes, token: str | None, address: str, user_agent: str) -> Reply:
        """Run a command that came by POST, for the session of ``token`` if it needs one."""
        try:
            command = JSON.decode_command(payload)
        except BadFrame as bad:
            self.metrics.command("none", bad.failure.code, 0)
            return Reply(bad.id, error=bad.failure)
        try:
            session = None
            if type(command) not in WITHOUT_SESSION:
                session = await self.sessions.open(token or "", address, user_agent)
                session.allowance = self._limits.of_posts(session.user, self._services.clock())
            admit(session, command, self._limits, self._services.clock(), address)
        except Exception as error:  # noqa: BLE001  # whatever it is, the client is told
            failed = explain(error, op_of(command), self.metrics)
            self.metrics.command(op_of(command), failed.code, 0)
            return Reply(command.id, error=failed.failure())
        return await answer(Context(session, self._services, address, user_agent), command, JSON)

    async def health(self) -> dict[str, object]:
        """Return the state of everything that this worker leans on."""
        postgres = await self._postgres_health()
        is_well = postgres["is_reachable"] and self.broker.is_connected
        return {
            "status": "ok" if is_well else "degraded",
            "version": __version__,
            "epoch": self._epoch,
            "loop_lag_ms": round(self.metrics.loop_lag * 1000, 3),
            "connections": len(self._connections),
            "postgres": postgres,
            "redis": {"is_connected": self.broker.is_connected, "queued": self.broker.queued},
        }

    async def _postgres_health(self) -> dict[str, object]:
        try:
            settings = await durability.settings(self.store)
        except StoreError as error:
            return {"is_reachable": False, "error": str(error)}
        return {"is_reachable": True, "durability": settings.grade, **settings._asdict()}

    @property
    def _admission(self) -> Admission:
        return self._listener.commons.admission

    def _probe(self) -> None:
        gauge = self.metrics.gauge
        self.metrics.connections = len(self._connections)
        gauge("connections_unauthenticated", self._admission.unauthenticated)
        gauge("memory_bytes", self._admission.memory_bytes)
        gauge("conversations", len(self._hub.topics))
        gauge("writer_queue", self.writer.waiting)
        gauge("redis_queue", self.broker.queued)
        gauge("redis_connected", self.broker.is_connected)
        gauge("postgres_connections", self.store.size + self._lanes.size)
        gauge("postgres_connections_idle", self.store.idle + self._lanes.idle)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _send_away(person: Connection, after_ms: int) -> None:
    """Close, to come back later. ``DRAIN`` promises that what was not answered was not done."""
    is_at_work = bool(person.session and person.session.in_flight)
    person.close(CloseCode.GOING_AWAY if is_at_work else CloseCode.DRAIN, _after(after_ms))


def _after(ms: int | None) -> str:
    """Return the reason of a close that asks for a pause."""
    return f'{{"retry_after_ms":{ms}}}'
