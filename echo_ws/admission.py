"""How many may be connected at once: in all, without a session, and without a session from one address."""

import random
from collections import Counter

from .handshake import Networks, Refusal, is_within

_PER_ADDRESS = 20
_RETRY_S = (1, 5)


class Admission:
    """Counts the connections of one worker. Whoever is refused still counts as ``refused`` until it has left.

    After ``enter`` you must call ``leave`` or ``leave_refused`` exactly once.
    """

    def __init__(self, *, max_connections: int, max_unauthenticated: int, trusted: Networks) -> None:
        self.connections = 0
        self.unauthenticated = 0
        self.refused = 0
        self.trusted = trusted
        self._max_connections = max_connections
        self._max_unauthenticated = max_unauthenticated
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

    @property
    def is_overrun(self) -> bool:
        """Whether there are too many even to tell each why it is refused."""
        return self.refused > self._max_unauthenticated

    def _refusal(self, address: str) -> Refusal | None:
        if self.connections >= self._max_connections:
            return _full("the server is full")
        if self.unauthenticated >= self._max_unauthenticated:
            return _full("too many connections are waiting to be authenticated")
        return _too_many() if self._is_crowded(address) else None

    def _is_crowded(self, address: str) -> bool:
        return self._by_address[address] >= _PER_ADDRESS and not is_within(address, self.trusted)

    def _forget(self, address: str) -> None:
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


def _full(text: str) -> Refusal:
    return Refusal(503, f"{text}; try again later", (_retry_after(),))


def _too_many() -> Refusal:
    return Refusal(429, "too many connections without a session from this address; try again later", (_retry_after(),))


def _retry_after() -> tuple[str, str]:
    return "Retry-After", str(random.randint(*_RETRY_S))  # noqa: S311  # spreads the load, guards nothing
