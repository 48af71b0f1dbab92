"""How much one client may ask for, and when it may ask again. Pure: the time is passed in, in seconds.

Rules of this file:

* A *bucket* holds what a client has left. It fills evenly; whoever asks takes one out.
* Who finds nothing is given an *appointment*: the moment at which there will be one, after those that were given to
  others before. So those who wait come one after the other and find something; nobody has to ask a third time.
* Until a connection's first appointment everything else of that kind is refused on it, so that what was sent behind a
  refused command, before the client could know, is not carried out before it.
* Who keeps coming without an appointment does not wait. That alone gets a client cut off, never how much it wanted.
"""

import math
from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Any, NamedTuple
from uuid import UUID

from echo_ws_protocol.commands import (
    AccountDelete,
    AccountProtect,
    Command,
    ConversationCreate,
    ConversationJoin,
    EmailChange,
    MessageForward,
    MessageSearch,
    MessageSend,
    OauthConnect,
    OauthUnlink,
    ParticipantAdd,
    PasswordChange,
    PhoneChange,
)

from .handshake import counted_as, networks
from .settings import Settings

SHORTEST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""When a connection's first appointment is at the earliest, and any appointment at the latest, from now."""

GRACE_S = 2.0
"""What comes so soon after the first refusal may have been sent before the client knew."""

STRIKES, STRIKES_S = 3, 10.0
"""Who comes so often within so many seconds without an appointment is cut off."""

GUESSES_PER_MIN = 5
"""How often a minute a user with a session may try the password, to change something about the account."""

_LIKE: dict[type[Command[Any]], type[Command[Any]]] = {MessageForward: MessageSend}
"""What counts as something else: it takes from the same bucket, and waits for the same appointments."""

_EARLY_S = 0.05
_INEXACT_S = 0.005
"""Numbers with a point are never exact, and the loop's clock counts whole milliseconds."""

_MOST_APPOINTMENTS = 1000
_SHORTEST_S = 1.0


class Rate(NamedTuple):
    """How fast a bucket fills."""

    cost_s: float
    """Seconds in which one comes back."""
    span_s: float
    """Seconds in which an empty bucket is full again."""


def rate(count: float, *, seconds: float = 1, burst: float | None = None) -> Rate | None:
    """Return ``count`` in so many seconds and ``burst`` at once (without one: the count); None, no limit, for 0."""
    return Rate(seconds / count, (count if burst is None else burst) * seconds / count) if count else None


class Bucket:
    """What is left of a burst, as the time at which it will be whole again."""

    __slots__ = ("_appointed", "_cost_s", "_full_at", "_room_s")

    def __init__(self, rate: Rate) -> None:
        self._cost_s, span_s = rate
        self._room_s = span_s - self._cost_s
        self._full_at = self._appointed = 0.0

    def has_one(self, now: float) -> bool:
        return self._full_at - self._room_s <= now + min(self._cost_s / 2, _INEXACT_S)

    def take(self, now: float) -> None:
        if self._full_at <= now:
            self._full_at = now
            self._appointed = 0.0  # whoever was to come has not
        self._full_at += self._cost_s

    def appoint(self, now: float) -> float:
        """Return when there will be one for who asks now, if all who were given a time before come and take theirs."""
        at = max(max(self._full_at, now) - self._room_s, self._appointed + self._cost_s)
        self._appointed = min(at, now + LONGEST_WAIT_S)
        return self._appointed

    def wait_s(self, now: float) -> float:
        """Take one and return 0; or take none and return how long to wait for it."""
        if self.has_one(now):
            self.take(now)
            return 0.0
        return self.appoint(now) - now

    def try_s(self, now: float) -> float:
        """Take one and return 0; or take none, keep no place, and return how long until there is one."""
        if self.has_one(now):
            self.take(now)
            return 0.0
        return self._full_at - self._room_s - now


class Buckets:
    """A bucket for each user, or address, as long as it is not full.

    Two generations: who did not come while the younger one grew old has a full bucket, and is forgotten with the older.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._lasts_s = max(rate.span_s, _SHORTEST_S)
        self._young: dict[Hashable, Bucket] = {}
        self._old: dict[Hashable, Bucket] = {}
        self._since = -math.inf

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def of(self, user: Hashable, now: float) -> Bucket:
        if now - self._since > self._lasts_s:
            is_forgotten = now - self._since > 2 * self._lasts_s
            self._old, self._young, self._since = {} if is_forgotten else self._young, {}, now
        bucket = self._young.get(user)
        if bucket is None:
            bucket = self._young[user] = self._old.pop(user) if user in self._old else Bucket(self._rate)
        return bucket


class Patience:
    """Whether a client that was told when to come waits until then."""

    __slots__ = ("_appointments", "_last", "_strikes", "_told_at")

    def __init__(self) -> None:
        self._appointments: list[float] = []
        self._last = -math.inf
        self._told_at = 0.0
        self._strikes: list[float] = []

    def expects(self, now: float) -> bool:
        """Return whether who comes now was told to, or nobody waits any more; each appointment counts once."""
        if not self._appointments:
            return True
        if self._appointments[0] > now + _EARLY_S:
            return False
        heappop(self._appointments)
        return True

    def tell(self, at: float, now: float, *, is_expected: bool) -> tuple[float, bool]:
        """Tell who came now to come again, not before ``at``: return when, and whether that was once too often."""
        if now > self._last + _EARLY_S:  # all appointments are past: this is another matter
            self._appointments.clear()
            self._told_at = now
        at = max(at, self._appointments[0] if self._appointments else now + SHORTEST_WAIT_S)
        self._last = max(self._last, at)
        if len(self._appointments) < _MOST_APPOINTMENTS:
            heappush(self._appointments, at)
        if is_expected or now - self._told_at <= GRACE_S:
            return at, False
        self._strikes = [*self._strikes[1 - STRIKES :], now]
        return at, len(self._strikes) == STRIKES and now - self._strikes[0] < STRIKES_S


class Allowance:
    """What one connection has left, and its patience with each kind of command that it was refused."""

    __slots__ = ("bucket", "patience")

    def __init__(self, bucket: Bucket | None) -> None:
        self.bucket = bucket
        self.patience: dict[type, Patience] | None = None


class Wait(NamedTuple):
    """A command is not carried out now."""

    ms: int
    is_last: bool
    """Whether the client has been told so often enough."""


class Limits:
    """What the clients of one worker may ask for."""

    def __init__(self, settings: Settings) -> None:
        self._commands = rate(settings.commands_per_s, burst=settings.commands_burst)
        self._posts = Buckets(self._commands) if self._commands else None
        sends = rate(settings.sends_per_s, burst=settings.sends_burst)
        creations = rate(settings.creations_per_min, seconds=60)
        searches = rate(settings.searches_per_s, burst=settings.searches_burst)
        guesses = rate(GUESSES_PER_MIN, seconds=60)
        by_user: tuple[tuple[type, Rate | None], ...] = (
            (MessageSend, sends),
            (MessageSearch, searches),
            (ConversationCreate, creations),
            (ConversationJoin, creations),
            (ParticipantAdd, creations),
            (PasswordChange, guesses),
            (AccountDelete, guesses),
            (AccountProtect, guesses),
            (PhoneChange, guesses),
            (EmailChange, guesses),
            (OauthConnect, guesses),
            (OauthUnlink, guesses),
        )
        self._by_user: dict[type, Buckets] = {kind: Buckets(each) for kind, each in by_user if each}
        self._trusted = networks(settings.trusted_networks)
        self._strangers = _buckets(rate(settings.strangers_per_min, seconds=60))
        self._codes = _buckets(rate(settings.codes_per_h, seconds=3600))
        all_codes = rate(settings.all_codes_per_h, seconds=3600)
        self._all_codes = Bucket(all_codes) if all_codes else None

    def of_connection(self) -> Allowance:
        return Allowance(Bucket(self._commands) if self._commands else None)

    def of_posts(self, user: UUID, now: float) -> Allowance:
        """Return what is left for a request by POST: all of a user's count as one connection."""
        return Allowance(None if self._posts is None else self._posts.of(user, now))

    def of_stranger(self, address: str | None, now: float) -> int:
        """Take one of the commands without a session and return 0, or how many ms to wait; no address, no limit."""
        return self._of_address(self._strangers, address, now)

    def of_code(self, address: str | None, now: float) -> int:
        """Take one of the codes of an address and of all, and return 0; or how many ms to wait.

        All come first: no more addresses are remembered than codes are sent.
        """
        if self._all_codes and not self._all_codes.has_one(now):
            return _ms(self._all_codes, now)
        wait_ms = self._of_address(self._codes, address, now)
        if self._all_codes and not wait_ms:
            self._all_codes.take(now)
        return wait_ms

    def _of_address(self, buckets: Buckets | None, address: str | None, now: float) -> int:
        if buckets is None or address is None or (counted := counted_as(address, self._trusted)) is None:
            return 0
        return _ms(buckets.of(counted, now), now)

    def ask(self, user: UUID, allowance: Allowance, command: type[Command[Any]], now: float) -> Wait | None:
        """Take one of each bucket that the command needs and return None, or take none and return how long to wait."""
        command = _LIKE.get(command, command)
        kind, buckets = Command, [allowance.bucket] if allowance.bucket else []
        if command in self._by_user:
            kind = command
            buckets.append(self._by_user[command].of(user, now))
        patience = allowance.patience.get(kind) if allowance.patience else None
        is_expected = patience is None or patience.expects(now)
        if is_expected and all(bucket.has_one(now) for bucket in buckets):
            for bucket in buckets:
                bucket.take(now)
            return None
        at = max(bucket.appoint(now) for bucket in buckets)  # a place in each, so that all have one then
        if patience is None:
            allowance.patience = allowance.patience or {}
            patience = allowance.patience[kind] = Patience()
        at, is_last = patience.tell(at, now, is_expected=is_expected)
        return Wait(math.ceil((at - now) * 1000), is_last)


def _buckets(rate: Rate | None) -> Buckets | None:
    return Buckets(rate) if rate else None


def _ms(bucket: Bucket, now: float) -> int:
    return math.ceil(1000 * bucket.try_s(now))
