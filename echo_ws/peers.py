"""Whether this worker alone cannot reach PostgreSQL: then its clients are better off with its peers.

Every worker tells the others, through Redis, each time PostgreSQL has answered it. Whoever hears that while its own
questions have had no answer for long is cut off. If nobody says so, PostgreSQL is away for all, or Redis is: to move
would help nobody, and everybody stays.
"""

import secrets

PEERS = "echo:peers"
"""The channel on which workers tell that PostgreSQL answers them."""

BEAT_S = 1.0
"""Seconds between two questions to PostgreSQL whose answer the others are told of …"""

HEARD_S = 3.0
"""… and how long that is worth something."""


class Peers:
    """What this worker knows of the others. Times are the loop's."""

    def __init__(self, patience_s: float) -> None:
        """``patience_s``: seconds without an answer after which this worker is cut off; 0: never."""
        self.sign = secrets.token_bytes(8)
        """What this worker publishes."""
        self._patience_s = patience_s
        self._heard_at = float("-inf")

    def hear(self, sign: bytes, now: float) -> None:
        if sign != self.sign:
            self._heard_at = now

    def is_cut_off(self, answered_at: float, now: float) -> bool:
        """Tell whether others reach PostgreSQL, which has answered here for the last time at ``answered_at``."""
        has_patience = self._patience_s == 0 or now - answered_at < self._patience_s
        return not has_patience and now - self._heard_at < HEARD_S
