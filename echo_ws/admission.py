"""How many may be connected at once: in all, without a session, and without a session from one address.

And how many handshakes are answered in a second: when everybody comes back at once, the others are told when.
"""

import math
import random
from collections import Counter

from .handshake import Networks, Refusal, is_within
from .limits import Bucket, Rate

_PER_ADDRESS = 20
_RETRY_S = (0, 5)


class Admission:
    """Counts the connections of one worker. Whoever is refused still counts as ``refused`` until it has left.

    After ``enter`` you must call ``leave`` or ``leave_refused`` exactly once.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        max_unauthenticated: int,
        trusted: Networks,
        handshakes: Rate | None = None,
        max_memory_bytes: int = 0,
    ) -> None:
        self.connections = 0
        self.unauthenticated = 0
        self.refused = 0
        self.trusted = trusted
        self.memory_bytes = 0
        """What the worker uses; whoever can measure it keeps it here."""
        self.is_aside = False
        """Whether other workers serve, and this one cannot: clients are to go to them."""
        self._max_connections = max_connections
        self._max_unauthenticated = max_unauthenticated
        self._max_memory_bytes = max_memory_bytes
        self._handshakes = Bucket(handshakes) if handshakes else None
        self._by_address: Counter[str] = Counter()

    def enter(self, address: str) -> Refusal | None:
        refusal = self._refusal(address)
        if refusal is not None:
            self.refused += 1
            return refusal
        self.connections += 1
        self.unauthenticated += 1
        self._by_address[address] += 1
        return None

    def leave(self, address: str, *, authenticated: bool) -> None:
        self.connections -= 1
        if not authenticated:
            self.authenticate(address)

    def leave_refused(self) -> None:
        self.refused -= 1

    def authenticate(self, address: str) -> None:
        """Count it no longer among those without a session."""
        self.unauthenticated -= 1
        self._forget(address)

    def rename(self, old: str, new: str) -> Refusal | None:
        """Count a connection under the address that its proxy told; when refused it stays under the old one."""
        if self._is_crowded(new):
            return _too_many()
        self._forget(old)
        self._by_address[new] += 1
        return None

    def shake_hands(self, now: float) -> Refusal | None:
        """Take a place among the handshakes that are answered now, or be told when there will be one."""
        if self.is_aside:
            return _full("this server cannot reach its database")
        wait_s = self._handshakes.wait_s(now) if self._handshakes else 0.0
        return _full("too many are coming at once", wait_s) if wait_s else None

    @property
    def is_overrun(self) -> bool:
        """Whether there are too many even to tell each why it is refused."""
        return self.refused > self._max_unauthenticated

    def _refusal(self, address: str) -> Refusal | None:
        if self.connections >= self._max_connections:
            return _full("the server is full")
        if self._max_memory_bytes and self.memory_bytes > self._max_memory_bytes:
            return _full("the server is short of memory")
        if self.unauthenticated >= self._max_unauthenticated:
            return _full("too many connections are waiting to be authenticated")
        return _too_many() if self._is_crowded(address) else None

    def _is_crowded(self, address: str) -> bool:
        return self._by_address[address] >= _PER_ADDRESS and not is_within(address, self.trusted)

    def _forget(self, address: str) -> None:
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


def _full(text: str, wait_s: float | None = None) -> Refusal:
    return Refusal(503, f"{text}; try again later", (_retry_after(wait_s),))


def _too_many() -> Refusal:
    return Refusal(429, "too many connections without a session from this address; try again later", (_retry_after(),))


def _retry_after(wait_s: float | None = None) -> tuple[str, str]:
    """Name a time in whole seconds, not the same to all."""
    seconds = random.uniform(*_RETRY_S) if wait_s is None else wait_s + random.random()  # noqa: S311  # guards nothing
    return "Retry-After", str(math.ceil(seconds))
