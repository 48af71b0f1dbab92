"""Who is here, on this worker, and who looks. Pure: the clock is passed in, in seconds.

A user is here while any of the devices is, and for ``grace_s`` after the last one went: most come back at once. Of
several devices the one that says most counts. What has changed is ``due`` until it is ``noted``, so that a failed write
is tried again, and many changes within one tick are one.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import Flag
from typing import NamedTuple
from uuid import UUID

from echo_ws_protocol.types import PresenceStatus

from .hub import Listener

_RANK: dict[PresenceStatus, int] = {"offline": 0, "away": 1, "online": 2, "busy": 3}

_NOWHERE: tuple[PresenceStatus, ...] = ("offline",)


class Word(NamedTuple):
    """What this worker says of a user, ``offline`` since so many seconds."""

    user: UUID
    status: PresenceStatus
    ago_s: float = 0.0


class Presence:
    """The users of this worker's connections."""

    def __init__(self, devices: Callable[[UUID], Iterable[PresenceStatus]], grace_s: float) -> None:
        self._devices = devices
        self._grace_s = grace_s
        self._noted: dict[UUID, PresenceStatus] = {}
        self._changed: dict[UUID, None] = {}
        self._left_at: dict[UUID, float] = {}

    def changed(self, user: UUID, now: float) -> None:
        """Look at a user again: a device came, went, or says something else."""
        if any(True for _ in self._devices(user)):
            self._left_at.pop(user, None)
        else:
            self._left_at[user] = now
        self._changed[user] = None

    def due(self, now: float) -> list[Word]:
        """Return what is to be written; who may still come back within the grace is not among it."""
        words = []
        for user in tuple(self._changed):
            status = self._status_of(user)
            before = self._noted.get(user, "offline")
            away_s = now - self._left_at.get(user, now) if status == "offline" else 0.0
            if status == before:
                del self._changed[user]
                self._left_at.pop(user, None)
            elif status != "offline" or away_s >= self._grace_s:
                words.append(Word(user, status, away_s))
        return words

    def _status_of(self, user: UUID) -> PresenceStatus:
        return max((*self._devices(user), *_NOWHERE), key=_RANK.__getitem__)

    def noted(self, words: Iterable[Word]) -> None:
        """Take note that this was written. What has changed meanwhile is due the next time."""
        for user, status, _ in words:
            if status == "offline":
                self._noted.pop(user, None)
            else:
                self._noted[user] = status

    def forget(self) -> None:
        """Begin anew: what was written has been forgotten."""
        self._changed.update(dict.fromkeys(self._noted))
        self._noted.clear()

    @property
    def here(self) -> int:
        """How many users this worker says are here."""
        return len(self._noted)


class Sight(Flag):
    """What a viewer is told of somebody's presence as it changes."""

    NOTHING = 0
    STATUS = 1
    LAST_SEEN = 2


class Shown(NamedTuple):
    """Somebody's presence, as far as it is shown."""

    status: PresenceStatus | None
    last_seen: datetime | None

    def to(self, sight: Sight) -> "Shown":
        return Shown(
            self.status if Sight.STATUS in sight else None, self.last_seen if Sight.LAST_SEEN in sight else None
        )


class Watches:
    """Who looks at whom, from this worker."""

    def __init__(self) -> None:
        self._watchers: dict[UUID, dict[Listener, Sight]] = {}
        self._watched: dict[Listener, frozenset[UUID]] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    def watch(self, listener: Listener, users: Iterable[UUID]) -> tuple[set[UUID], set[UUID]]:
        """Let a listener look at these users alone; return who is looked at for the first time, and who no longer."""
        before, wanted = self._watched.pop(listener, frozenset()), frozenset(users)
        new = {user for user in wanted if user not in self._watchers}
        for user in wanted - before:
            self._watchers.setdefault(user, {})[listener] = Sight.NOTHING
        if wanted:
            self._watched[listener] = wanted
        return new, {user for user in before - wanted if self._leave(listener, user)}

    def _leave(self, listener: Listener, user: UUID) -> bool:
        watchers = self._watchers[user]
        del watchers[listener]
        if not watchers:
            del self._watchers[user]
        return not watchers

    def of(self, user: UUID) -> Sequence[tuple[Listener, Sight]]:
        return tuple(self._watchers.get(user, {}).items())

    def see(self, listener: Listener, user: UUID, sight: Sight) -> bool:
        """Let a listener see more or less of a user; return whether that is something new."""
        watchers = self._watchers.get(user, {})
        if watchers.get(listener, sight) == sight:
            return False
        watchers[listener] = sight
        return True

    def pairs(self) -> list[tuple[Listener, UUID]]:
        return [(listener, user) for user, watchers in self._watchers.items() for listener in watchers]
