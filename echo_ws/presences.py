"""Presence: what this worker knows goes into the database, what follows from all workers comes to those who watch.

Once a tick what changed is written, all users in one statement, and told on a channel for each user. A worker's word
counts as long as its lease, so one that was killed leaves nobody behind; the others look for leases that have run out.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID, uuid4

import msgspec

from echo_ws_db import presences
from echo_ws_db.pool import Store, StoreError
from echo_ws_db.presences import PresenceRow, SightRow
from echo_ws_protocol import events
from echo_ws_protocol.types import PresenceStatus

from .events import utc
from .feed import Feed
from .frame import Frame
from .hub import Listener
from .logs import get_logger
from .presence import Presence, Shown, Sight, Watches
from .settings import Settings

log = get_logger(__name__)

CHUNK = 1000
"""Users written, or pairs looked at, in one statement."""

RECHECK_S = 30
"""Seconds between looks at all that is watched: a hint may be lost."""

LEASE_PART = 3
"""A lease is renewed so many times while it lasts, and leases that ran out are looked for as often."""


def name_of(user: UUID) -> str:
    """Return the channel on which a user's presence is told."""
    return f"echo:p:{user}"


class Presences:
    """What the people connected to this worker show, and see of others."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        settings: Settings,
        devices: Callable[[UUID], Iterable[PresenceStatus]],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._tick_s = settings.presence_ms / 1000
        self._lease_s = settings.presence_lease_s
        self._worker = uuid4()
        self._presence = Presence(devices, settings.presence_grace_s)
        self._watches = Watches()
        self._shown: dict[UUID, Shown] = {}
        """What was last told of each user who is watched here."""
        self._stale: set[UUID] = set()
        self._lease_at = self._recheck_at = clock()

    def changed(self, user: UUID) -> None:
        """Look at a user again: a device came, went, or says something else."""
        self._presence.changed(user, self._clock())

    def recheck(self, *users: UUID) -> None:
        """Let every worker look again who may see these users. Never waits."""
        for user in users:
            self._feed.say(name_of(user), b"")
            self._stale.add(user)

    # -- what is written

    async def run(self) -> None:
        """Write what changed, once a tick; keep the lease; look after those who lost theirs."""
        await self._try(self._begin)
        while True:
            await asyncio.sleep(self._tick_s * random.uniform(0.9, 1.1))  # noqa: S311  # workers do not beat in time
            await self._try(self._tick)

    async def close(self) -> None:
        """If no other worker is there to take them over, show this worker's users as gone."""
        with suppress(StoreError):
            await presences.leave(self._store, self._worker)
            await presences.reap(self._store)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreError as error:
            log.warning("presence_not_written", error=str(error))
        except Exception:  # a watch that ended would never be noticed
            log.exception("presence_not_written")

    async def _begin(self) -> None:
        await self._keep_lease()
        self._tell(await presences.tidy(self._store))

    async def _tick(self) -> None:
        now = self._clock()
        if now >= self._lease_at:
            await self._keep_lease()
        await self._write(now)
        if now >= self._recheck_at:
            self._recheck_at = now + RECHECK_S
            self._stale.update(user for _, user in self._watches.pairs())
        stale, self._stale = self._stale, set()
        if stale:
            await self._look([pair for pair in self._watches.pairs() if pair[1] in stale])

    async def _keep_lease(self) -> None:
        if await presences.renew(self._store, self._worker, self._lease_s):
            self._presence.forget()
        self._lease_at = self._clock() + self._lease_s / LEASE_PART
        self._tell(await presences.reap(self._store))

    async def _write(self, now: float) -> None:
        words = self._presence.due(now)
        for start in range(0, len(words), CHUNK):
            chunk = words[start : start + CHUNK]
            users, statuses, ago_s = zip(*chunk, strict=True)
            self._tell(await presences.note(self._store, self._worker, users, statuses, ago_s))
            self._presence.noted(chunk)

    # -- what is seen

    async def watch(self, viewer: UUID, listener: Listener | None, users: Sequence[UUID]) -> list[events.Presence]:
        """Let a listener hear of these users and nobody else, and return what they are now."""
        if listener:
            self._follow(listener, users)
        rows = await presences.sights(self._store, [viewer] * len(users), users)
        if listener:
            for row in rows:
                self._watches.see(listener, row.owner, _sight_of(row))
                self._remember(row)
            if listener.is_closed:  # it went while the database was asked
                self.unwatch(listener)
        return [_event(row.owner, _shown_by(row)) for row in rows]

    def unwatch(self, listener: Listener) -> None:
        self._follow(listener, ())

    def _follow(self, listener: Listener, users: Iterable[UUID]) -> None:
        """Hear first, read then: what changes in between is told."""
        new, over = self._watches.watch(listener, users)
        for user in new:
            self._feed.listen(name_of(user), partial(self._hear, user))
        for user in over:
            self._feed.unlisten(name_of(user))
            self._shown.pop(user, None)

    def _tell(self, rows: Iterable[PresenceRow]) -> None:
        """Tell who watches, here at once and elsewhere by the broker."""
        for user, status, last_seen in rows:
            shown = Shown(status, utc(last_seen))  # type: ignore[arg-type]  # written by us alone
            self._feed.say(name_of(user), msgspec.json.encode(shown))
            self._show(user, shown)

    def _hear(self, user: UUID, payload: bytes) -> None:
        if not payload:
            self._stale.add(user)
            return
        try:
            self._show(user, msgspec.json.decode(payload, type=Shown))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            log.warning("payload_broken", channel=name_of(user), size=len(payload))

    def _show(self, user: UUID, shown: Shown) -> None:
        watchers = self._watches.of(user)
        if not watchers or self._shown.get(user) == shown:
            return
        self._shown[user] = shown
        frames = {sight: Frame.of(_event(user, shown.to(sight))) for sight in {sight for _, sight in watchers} if sight}
        for listener, sight in watchers:
            if sight:
                _mention(listener, user, frames[sight])

    async def _look(self, pairs: Sequence[tuple[Listener, UUID]]) -> None:
        """Look again what may be seen, and tell who sees something else than was told."""
        for start in range(0, len(pairs), CHUNK):
            chunk = pairs[start : start + CHUNK]
            rows = await presences.sights(self._store, [who.user for who, _ in chunk], [user for _, user in chunk])
            found = {(row.viewer, row.owner): row for row in rows}
            for listener, user in chunk:
                if row := found.get((listener.user, user)):
                    self._compare(listener, row)
            for row in found.values():
                self._remember(row)

    def _compare(self, listener: Listener, row: SightRow) -> None:
        user, sight, shown = row.owner, _sight_of(row), _shown_by(row)
        told = self._shown.get(user, shown).to(sight)
        if self._watches.see(listener, user, sight) or (sight and told != shown):
            _mention(listener, user, Frame.of(_event(user, shown)))

    def _remember(self, row: SightRow) -> None:
        if row.follows_status and row.follows_last_seen and self._watches.of(row.owner):
            self._shown[row.owner] = _shown_by(row)


def _mention(listener: Listener, user: UUID, frame: Frame) -> None:
    listener.mention(frame.wire(listener.codec), ("p", user))


def _sight_of(row: SightRow) -> Sight:
    return (Sight.STATUS if row.follows_status else Sight.NOTHING) | (
        Sight.LAST_SEEN if row.follows_last_seen else Sight.NOTHING
    )


def _shown_by(row: SightRow) -> Shown:
    return Shown(row.status, utc(row.last_seen) if row.last_seen else None)  # type: ignore[arg-type]  # see the statement


def _event(user: UUID, shown: Shown) -> events.Presence:
    return events.Presence(user=user, status=shown.status, last_seen=shown.last_seen)
