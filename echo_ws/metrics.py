"""What a worker counts, and one page for all workers.

Counting is plain arithmetic on objects of this process. Once a second each worker writes what it has into its slot of
shared memory; whoever is asked for the page adds up. A worker that replaces a dead one goes on from its counters.
"""

import asyncio
import itertools
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct, field, msgpack
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from .shared import SharedMemory

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SAMPLE_S = 0.1
PUBLISH_S = 1.0
STALE_S = 5.0
"""The gauges of a worker that has not written for so long count no more; its counters do."""

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0)


class Described(NamedTuple):
    """A metric as the page and the documentation show it, without the prefix ``echo_``."""

    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    merge: Literal["sum", "max"] = "sum"


COUNTERS = {
    "connections_opened": Described("WebSocket connections opened"),
    "connections_refused": Described("Handshakes and requests turned away, by HTTP status", ("status",)),
    "connections_closed": Described("WebSocket connections closed, by close code", ("code",)),
    "fell_behind": Described("Times that a client read so slowly that it was told to ask for what it missed"),
    "commands": Described("Commands answered, by op and outcome: ok or the code of the error", ("op", "outcome")),
    "published": Described("Events queued for Redis; an older one is dropped when the queue is full", ("result",)),
    "repaired": Described("Gaps after lost pub/sub messages filled from PostgreSQL, by kind", ("kind",)),
    "errors": Described("Faults of the server that were logged, by op", ("op",)),
    "housekeeping_runs": Described("Jobs of housekeeping done, by job and outcome: ok or failed", ("job", "outcome")),
    "cpu_seconds": Described("CPU time of the workers"),
}
HISTOGRAMS = {
    "command_seconds": Described("Time that a command's handler took, by op", ("op",), SECONDS),
    "batch_messages": Described("Messages written by one statement", (), SIZES),
    "batch_seconds": Described("Time of one statement that writes messages", (), SECONDS),
    "fanout_connections": Described("Connections of a worker that one event went to", (), SIZES),
    "loop_lag_seconds": Described("How late the event loop was for a timer", (), SECONDS),
}
GAUGES = {
    "connections": Described("WebSocket connections with a session"),
    "connections_unauthenticated": Described("Connections without a session, requests over HTTP among them"),
    "conversations": Described("Conversations that connected users take part in, a worker at a time"),
    "writer_queue": Described("Messages waiting to be written"),
    "redis_queue": Described("Events waiting for Redis"),
    "redis_connected": Described("Workers connected to Redis"),
    "postgres_connections": Described("Connections to PostgreSQL open"),
    "postgres_connections_idle": Described("Of them unused"),
    "memory_bytes": Described("Memory of the workers"),
    "loop_lag_recent_seconds": Described("The worst lateness of the last second, of the worst worker", merge="max"),
    "housekeeping_overdue_seconds": Described(
        "How long the job of housekeeping that waits the longest is due", merge="max"
    ),
    "workers": Described("Workers that are alive"),
}

_UNKNOWN = Described("Not described in echo_ws/metrics.py", ("label",))

Labels: TypeAlias = tuple[str, ...]


class Histogram(Struct, array_like=True):
    """Counts by upper bound, the last one without; only the sum is not an integer."""

    counts: list[int]
    total: float = 0.0

    @classmethod
    def empty(cls, bounds: tuple[float, ...]) -> "Histogram":
        return cls([0] * (len(bounds) + 1))

    def add(self, other: "Histogram") -> None:
        if len(self.counts) == len(other.counts):
            self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
            self.total += other.total


class Snapshot(Struct):
    """Everything that one worker counted."""

    at: float = 0.0
    counters: dict[str, dict[Labels, float]] = field(default_factory=dict)
    histograms: dict[str, dict[Labels, Histogram]] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)


class Metrics:
    """One worker's counts. Recording costs less than a microsecond; everything else happens once a second."""

    def __init__(self, memory: SharedMemory | None = None, slot: int = 0) -> None:
        self.connections = 0
        self.loop_lag = 0.0
        """The worst lateness of the event loop in the last second, in seconds."""
        self.probes: list[Callable[[], None]] = []
        """Called before the gauges are read: the place to set them."""
        self._memory = memory
        self._slot = slot
        before = _decoded(memory.read(slot)) if memory else Snapshot()
        self._counters = before.counters
        self._cpu_before = self._counters.get("cpu_seconds", {}).get((), 0.0)
        self._histograms = before.histograms
        self._gauges: dict[str, float] = {}
        self._commands = self._counters.setdefault("commands", {})
        self._command_seconds = self._histograms.setdefault("command_seconds", {})
        self._batch_messages = self._histogram("batch_messages")
        self._batch_seconds = self._histogram("batch_seconds")
        self._fanout = self._histogram("fanout_connections")
        self._lag = self._histogram("loop_lag_seconds")

    def command(self, op: str, outcome: str, seconds: float) -> None:
        """Count an answered command; ``outcome`` is ``ok`` or the code of the error."""
        key = (op, outcome)
        self._commands[key] = self._commands.get(key, 0) + 1
        histogram = self._command_seconds.get((op,))
        if histogram is None:
            histogram = self._command_seconds[op,] = Histogram.empty(SECONDS)
        histogram.counts[bisect_left(SECONDS, seconds)] += 1
        histogram.total += seconds

    def batch(self, size: int, seconds: float) -> None:
        """Count a statement that wrote messages."""
        self._batch_messages.counts[bisect_left(SIZES, size)] += 1
        self._batch_messages.total += size
        self._batch_seconds.counts[bisect_left(SECONDS, seconds)] += 1
        self._batch_seconds.total += seconds

    def fanout(self, connections: int) -> None:
        """Count an event that went to so many connections here."""
        self._fanout.counts[bisect_left(SIZES, connections)] += 1
        self._fanout.total += connections

    def lag(self, seconds: float) -> None:
        self._lag.counts[bisect_left(SECONDS, seconds)] += 1
        self._lag.total += seconds

    def count(self, name: str, *labels: str) -> None:
        """Count something rare, described in ``COUNTERS``. Labels come from a small set, never from a client."""
        counter = self._counters.setdefault(name, {})
        counter[labels] = counter.get(labels, 0) + 1

    def gauge(self, name: str, value: float) -> None:
        """Set what is described in ``GAUGES``; probes do so."""
        self._gauges[name] = float(value)

    def publish(self) -> None:
        """Let the other workers see what this one counted."""
        if self._memory:
            self._memory.write(self._slot, msgpack.encode(self._snapshot()))

    def render(self) -> bytes:
        """Return the page of all workers, for Prometheus."""
        registry = CollectorRegistry()
        registry.register(_Page(merged(self._all())))
        return generate_latest(registry)

    def _snapshot(self) -> Snapshot:
        for probe in self.probes:
            probe()
        self._counters["cpu_seconds"] = {(): self._cpu_before + time.process_time()}
        own = {"connections": self.connections, "loop_lag_recent_seconds": self.loop_lag, "workers": 1}
        return Snapshot(time.monotonic(), self._counters, self._histograms, self._gauges | own)

    def _all(self) -> Iterator[Snapshot]:
        yield self._snapshot()
        if self._memory:
            for slot in range(self._memory.count):
                if slot != self._slot:
                    yield _decoded(self._memory.read(slot))

    def _histogram(self, name: str) -> Histogram:
        return self._histograms.setdefault(name, {}).setdefault((), Histogram.empty(HISTOGRAMS[name].bounds))


async def sample(metrics: Metrics) -> None:
    """Watch how late the event loop is, and publish once a second, for ever."""
    published_at, worst = time.monotonic(), 0.0
    while True:
        due = time.monotonic() + SAMPLE_S
        await asyncio.sleep(SAMPLE_S)
        now = time.monotonic()
        worst = max(worst, now - due)
        metrics.lag(max(0.0, now - due))
        if now >= published_at + PUBLISH_S:
            published_at, metrics.loop_lag, worst = now, worst, 0.0
            metrics.publish()


def merged(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Add up what several workers counted. The gauges of a worker that fell silent are left out."""
    total = Snapshot()
    now = time.monotonic()
    for each in snapshots:
        for name, counter in each.counters.items():
            mine = total.counters.setdefault(name, {})
            for labels, count in counter.items():
                mine[labels] = mine.get(labels, 0) + count
        for name, histograms in each.histograms.items():
            for labels, histogram in histograms.items():
                of_name = total.histograms.setdefault(name, {})
                of_name.setdefault(labels, Histogram([0] * len(histogram.counts))).add(histogram)
        if now - each.at < STALE_S:
            for name, value in each.gauges.items():
                before = total.gauges.get(name, 0.0)
                is_maximum = GAUGES.get(name, _UNKNOWN).merge == "max"
                total.gauges[name] = max(before, value) if is_maximum else before + value
    return total


class _Page(Collector):
    def __init__(self, total: Snapshot) -> None:
        self._total = total

    def collect(self) -> Iterator[Metric]:
        for name, described in _described(COUNTERS, self._total.counters):
            counter = CounterMetricFamily(f"echo_{name}", described.help, labels=described.labels)
            for labels, count in self._total.counters.get(name, {} if described.labels else {(): 0}).items():
                counter.add_metric(labels, count)
            yield counter
        for name, described in _described(HISTOGRAMS, self._total.histograms):
            histogram = HistogramMetricFamily(f"echo_{name}", described.help, labels=described.labels)
            for labels, one in self._total.histograms.get(name, {}).items():
                histogram.add_metric(labels, _buckets(described.bounds, one.counts), one.total)
            yield histogram
        for name, described in _described(GAUGES, self._total.gauges):
            yield GaugeMetricFamily(f"echo_{name}", described.help, value=self._total.gauges.get(name, 0.0))


def _described(known: dict[str, Described], found: Iterable[str]) -> Iterator[tuple[str, Described]]:
    yield from known.items()
    for name in found:
        if name not in known:
            yield name, _UNKNOWN


def _buckets(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    """Return cumulative counts by upper bound."""
    return list(zip((*map(floatToGoString, bounds), "+Inf"), itertools.accumulate(counts), strict=True))


def _decoded(payload: bytes) -> Snapshot:
    return msgpack.decode(payload, type=Snapshot) if payload else Snapshot()
