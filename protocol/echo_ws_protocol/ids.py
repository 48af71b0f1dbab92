"""Ids that the one who creates something chooses for it."""

import secrets
import time
from threading import Lock
from uuid import UUID


class _Clock:
    """The 122 bits of a UUIDv7 that are not version and variant: 48 of Unix milliseconds, 74 that tell ids apart."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = Lock()

    def tick(self) -> int:
        """Return a number greater than every one before, also within a millisecond and when the time steps back."""
        now = time.time_ns() // 1_000_000 << 74 | secrets.randbits(73)
        step = 1 + secrets.randbits(32)
        with self._lock:
            self._last = max(now, self._last + step)
            return self._last


_clock = _Clock()


def uuid7() -> UUID:
    """Return a UUIDv7 (RFC 9562), greater than every one that this process made before."""
    tick = _clock.tick()
    head, tail = tick >> 62, tick & (1 << 62) - 1
    time_ms, middle = head >> 12, head & 0xFFF
    return UUID(int=time_ms << 80 | 0x7 << 76 | middle << 64 | 0b10 << 62 | tail)
