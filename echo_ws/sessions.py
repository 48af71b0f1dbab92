"""Sessions against ``auth.sessions``: who a token is, whether it still holds, and when it was last used."""

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Protocol
from uuid import UUID

from echo_ws_db import sessions
from echo_ws_db.pool import Store, StoreError
from echo_ws_db.sessions import SessionRow, Touch
from echo_ws_protocol import events
from echo_ws_protocol.errors import CloseCode

from . import tokens
from .errors import Unauthenticated
from .events import utc
from .logs import get_logger
from .session import Session
from .settings import Settings

log = get_logger(__name__)

REVOKED = "echo:revoked"
"""The channel on which every worker learns of sessions that were ended, as a JSON list of ids."""

CHUNK = 5000


class Authenticated(Protocol):
    """A connection with a session."""

    address: str
    user_agent: str
    session: Session | None

    def close(self, code: int, reason: str = "") -> None: ...


class Voice(Protocol):
    """How to be heard. Neither waits."""

    def say(self, name: str, payload: bytes, /) -> None:
        """Publish to all workers."""

    def tell(self, user: UUID, event: events.Session, /) -> None:
        """Tell a user's connections on all workers."""


def revoked_payload(ids: Collection[UUID]) -> bytes:
    """Return what is published on ``REVOKED``."""
    return json.dumps([str(id_) for id_ in ids]).encode()


class Sessions:
    """All sessions of a worker's connections."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        connections: Iterable[Authenticated],
        clock: Callable[[], float],
        voice: Voice,
        access: tokens.AccessTokens,
    ) -> None:
        self._store = store
        self._voice = voice
        self._access = access
        self._every_s = settings.revalidate_s
        self._touch_s = settings.touch_s
        self._connections = connections
        self._clock = clock
        self._used: dict[UUID, Touch] = {}
        self._opening: dict[object, list[Collection[UUID]]] = {}

    async def open(self, token: str, address: str, user_agent: str) -> Session:
        """Return the session of a session token or access token.

        Raises:
            Unauthenticated: the token is unknown or forged, or its session has ended; nobody is told which.
        """
        with self._listening() as revoked:
            row, expires_at = await self._look_up(token)
            use = Touch(row.id, address_of(address), user_agent or None)
            if row.is_new:
                await self._begin(row.user_id, use)
            else:
                self._used[row.id] = use
        if any(row.id in ids for ids in revoked):
            raise _refused()
        return Session(row.id, row.user_id, expires_at, self._clock(), datetime.now(UTC))

    async def refresh(self, session: Session, token: str) -> None:
        """Let a session go on with another token of its own.

        Raises:
            Unauthenticated: it is none; a good one of another session is refused in the same words.
        """
        row, expires_at = await self._look_up(token)
        if row.id != session.id:
            raise _refused()
        session.renew(expires_at, datetime.now(UTC))

    def revoked(self, ids: Collection[UUID]) -> None:
        """End sessions that were revoked, on every worker; in a moment, so that who asked for it is answered first."""
        if ids:
            asyncio.get_running_loop().call_soon(self._spread, ids)

    def _spread(self, ids: Collection[UUID]) -> None:
        self._voice.say(REVOKED, revoked_payload(ids))
        self._end_revoked(ids)

    async def _look_up(self, token: str) -> tuple[SessionRow, datetime]:
        """Return a token's session, and when the token ends."""
        if not tokens.is_access_token(token):
            row = await sessions.by_token(self._store, tokens.digest(token))
            if row is None:
                raise _refused()
            return row, utc(row.expires_at)
        try:
            access = self._access.verify(token)
        except tokens.BadToken:
            raise _refused() from None
        row = await sessions.by_id(self._store, access.session, access.user)
        if row is None:
            raise _refused()
        return row, min(access.expires_at, utc(row.expires_at))

    async def _begin(self, user: UUID, use: Touch) -> None:
        """Note that a session is used for the first time, and tell its user's other devices."""
        with suppress(StoreError):  # no reason to refuse anybody; it stays new
            if device := await sessions.begin(self._store, *use):
                self._voice.tell(user, events.Session(session=use.session, **device._asdict()))

    async def watch(self) -> None:
        """Every few seconds: end what was revoked, locked, deleted or has expired, and note what is in use.

        Neither waits for the other.
        """
        await asyncio.gather(self._repeat(self._revalidate), self._repeat(self._note_use))

    async def _repeat(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await work()
            except StoreError as error:
                log.warning("sessions_not_checked", error=str(error))
            except Exception:  # a watch that ended would never be noticed
                log.exception("sessions_not_checked")

    def hear_revoked(self, payload: bytes) -> None:
        """End the sessions that another process says were revoked."""
        try:
            ids = {UUID(id_) for id_ in json.loads(payload)}
        except (ValueError, TypeError, AttributeError, RecursionError):
            log.warning("payload_broken", channel=REVOKED, size=len(payload))
            return
        self._end_revoked(ids)

    def _end_revoked(self, ids: Collection[UUID]) -> None:
        for revoked in self._opening.values():
            revoked.append(ids)
        self._end(ids)

    @contextmanager
    def _listening(self) -> Iterator[list[Collection[UUID]]]:
        """Collect what is heard to be revoked while a session is opened: that may have read it before the commit."""
        key, revoked = object(), list[Collection[UUID]]()
        self._opening[key] = revoked
        try:
            yield revoked
        finally:
            del self._opening[key]

    async def _revalidate(self) -> None:
        ids = list({session.id for _, session in self._open()})
        for start in range(0, len(ids), CHUNK):
            chunk = ids[start : start + CHUNK]
            self._end(set(chunk) - await sessions.still_good(self._store, chunk))

    def _end(self, ids: Collection[UUID]) -> None:
        now = datetime.now(UTC)
        for connection, session in tuple(self._open()):
            if session.id not in ids:
                continue
            if session.expires_at <= now:
                connection.close(CloseCode.TOKEN_EXPIRED, "the token has run out; come back with a fresh one")
            else:
                connection.close(CloseCode.UNAUTHENTICATED, "the session was ended; sign in again")

    async def _note_use(self) -> None:
        """Write what was used since the last time, once a session and not more often than ``touch_s``."""
        now = self._clock()
        for _, session in self._open():
            if session.is_used and now - session.touched_at >= self._touch_s:
                session.is_used, session.touched_at = False, now
                self._used.setdefault(session.id, Touch(session.id, None, None))
        used, self._used = self._used, {}
        if used:
            await sessions.touch(self._store, list(used.values()))

    def _open(self) -> Iterator[tuple[Authenticated, Session]]:
        return ((connection, connection.session) for connection in self._connections if connection.session)


def _refused() -> Unauthenticated:
    return Unauthenticated("the token is not, or no longer, good; sign in again")


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
