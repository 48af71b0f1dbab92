"""How long to wait before trying again."""

import random
from collections.abc import Callable


class Backoff:
    """Pauses between attempts, in seconds: full jitter under a ceiling that doubles from ``base`` to ``cap``."""

    def __init__(self, chance: Callable[[], float] = random.random, *, base: float = 0.5, cap: float = 30.0) -> None:
        self._chance = chance
        self._base = base
        self._cap = cap
        self._ceiling = base

    def next(self, at_least: float = 0.0) -> float:
        """Return the next pause; ``at_least`` is what the server asked for, the jitter comes on top."""
        pause = at_least + self._ceiling * self._chance()
        self._ceiling = min(self._ceiling * 2, self._cap)
        return pause

    def reset(self) -> None:
        self._ceiling = self._base
