"""Times, counted so that runs of several processes can be added up: each is kept to within 2 %."""

import math
from collections.abc import Iterable

from msgspec import Struct, field

GROWTH = 1.02
"""From one bucket's bound to the next one's."""

_LOG = math.log(GROWTH)
_LEAST_S = 1e-6


class Histogram(Struct):
    """Seconds, in buckets: number ``n`` holds what is above ``_LEAST_S * GROWTH ** (n - 1)``, up to ``… ** n``."""

    counts: dict[int, int] = field(default_factory=dict)
    total: float = 0.0
    most: float = 0.0
    """The longest one, exactly."""

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        return self.total / (self.count or 1)

    def record(self, seconds: float) -> None:
        bucket = math.ceil(math.log(seconds / _LEAST_S) / _LOG) if seconds > _LEAST_S else 0
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += seconds
        self.most = max(self.most, seconds)

    def add(self, other: "Histogram") -> None:
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total
        self.most = max(self.most, other.most)

    def percentile(self, percent: float) -> float:
        """Return the seconds that so many of a hundred do not exceed, at most 2 % too many; 0 of nothing."""
        wanted = max(1, math.ceil(self.count * percent / 100))
        passed = 0
        for bucket in sorted(self.counts):
            passed += self.counts[bucket]
            if passed >= wanted:
                return min(_LEAST_S * GROWTH**bucket, self.most)
        return 0.0


def merged(histograms: Iterable[Histogram]) -> Histogram:
    result = Histogram()
    for histogram in histograms:
        result.add(histogram)
    return result
