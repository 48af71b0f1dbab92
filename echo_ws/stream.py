"""A counter's changes in order, each at most once, on this node.

Pub/sub may drop, repeat and reorder; the database does not. Every change of a conversation (or of what concerns one
user alone) has a ``rev``: 1, 2, 3 …, without holes, in the order of commits. A ``Stream`` takes changes as they come,
from pub/sub, from this worker's own commits or from the database, and says which are due. It never waits, sends or
reads.

* ``offer`` every change that you hear of. What comes early is held; what was there before is dropped.
* ``hear_of`` every rev that you know to exist without its content.
* While ``is_behind``, read from the database what is above ``rev`` and ``fill`` it in.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_HELD = 256
"""Changes held for one that is missing; beyond, the database is asked for all of them."""


class Stream(Generic[T]):
    """One counter as this node sees it."""

    __slots__ = ("_held", "known", "rev")

    def __init__(self, rev: int) -> None:
        self.rev = rev
        """Everything up to here was due before."""
        self.known = rev
        """The highest rev that is known to exist."""
        self._held: dict[int, T] | None = None  # most streams never hold anything: no dict for them

    @property
    def is_behind(self) -> bool:
        return self.rev < self.known

    def hear_of(self, rev: int) -> None:
        self.known = max(self.known, rev)

    def offer(self, rev: int, change: T) -> list[T]:
        """Return the changes that are due now, in order: none if ``rev`` is early or was due before."""
        if rev <= self.rev:
            return []
        self.hear_of(rev)
        if rev > self.rev + 1:
            self._hold(rev, change)
            return []
        self.rev = rev
        return [change, *self._release()]

    def fill(self, changes: Sequence[tuple[int, T]], up_to: int) -> list[T]:
        """Return what is due after a look into the database that covers everything up to ``up_to``.

        ``changes`` are in order. Several may share a rev, and a rev may have none: what changed in it has changed again
        since, under a higher one.
        """
        due = [change for rev, change in changes if self.rev < rev <= up_to]
        self.rev = max(self.rev, up_to)
        self.hear_of(up_to)
        return [*due, *self._release()]

    def _hold(self, rev: int, change: T) -> None:
        if self._held is None:
            self._held = {}
        if len(self._held) < MAX_HELD:
            self._held.setdefault(rev, change)

    def _release(self) -> list[T]:
        """Return the held changes that follow without a hole, and forget those that are past."""
        if self._held is None:
            return []
        due = []
        while (change := self._held.pop(self.rev + 1, None)) is not None:
            self.rev += 1
            due.append(change)
        self._held = {rev: change for rev, change in self._held.items() if rev > self.rev} or None
        return due
