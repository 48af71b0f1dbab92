"""What a run found out: as text for the terminal, as JSON to keep and compare, as CSV for a spreadsheet."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from .histogram import Histogram
from .results import Latency, Report, Sample, Second, Swarm, Verdict

Row: TypeAlias = tuple[str, ...]

LATENCY_NAMES: dict[Latency, str] = {
    "send_to_ack": "send→ack",
    "send_to_deliver": "send→deliver",
    "connect": "connect",
    "reconnect": "reconnect",
    "resume": "resume",
    "command": "command",
}
LATENCY_COLUMNS = ("latency, ms", "count", "mean", "p50", "p90", "p99", "p99.9", "max")
PERCENTILES = (50, 90, 99, 99.9)
THROUGHPUT_COLUMNS = ("messages", "total", "per s", "max in 1 s")
SERVER_COLUMNS = ("server", "mean", "max")

_MIB = 1 << 20
_COUNTS = re.compile(rb'\{(?:\s*"\d+": \d+,?)+\s*\}')
_TIMELINE_COLUMNS = (
    *("second", "connected", "meant", "sent", "acked", "delivered", "refused", "closed"),
    *("send_to_ack_p50_ms", "send_to_ack_p99_ms", "send_to_deliver_p50_ms", "send_to_deliver_p99_ms"),
)


class Series(NamedTuple):
    """One figure of the server over the run, a value for each sample; None: not known."""

    group: str
    """What it is plotted with."""
    name: str
    unit: str
    values: Sequence[float | None]


def table(report: Report) -> str:
    """Return all that matters on a screen; the last line is ``passed`` or names what was not kept."""
    swarm = report.swarm
    blocks = (
        _header(report),
        _aligned(LATENCY_COLUMNS, latency_rows(swarm)),
        _aligned(THROUGHPUT_COLUMNS, throughput_rows(report)),
        _aligned(("verdict", ""), verdict_rows(swarm.verdict)),
        _listed("examples", [] if swarm.verdict.is_clean else swarm.examples),
        _aligned(("refused by code", ""), count_rows(swarm.refusals)),
        _aligned(("closed by code", ""), count_rows(swarm.closes)),
        _aligned(("otherwise", ""), count_rows(other_counts(swarm))),
        _aligned(SERVER_COLUMNS, server_rows(report.samples)),
        _listed("warnings", report.warnings),
        _thresholds(report),
        [outcome(report)],
    )
    return "\n\n".join("\n".join(map(printable, block)) for block in blocks if block)


def write_json(report: Report, path: Path) -> None:
    """Write it for people and programs to read, a histogram to a line."""
    indented = msgspec.json.format(msgspec.json.encode(report), indent=2)
    path.write_bytes(_COUNTS.sub(lambda counts: b" ".join(counts[0].split()), indented) + b"\n")


def read_json(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report)


def write_csv(report: Report, path: Path) -> None:
    """Write a line for each second; a percentile of nothing is empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_TIMELINE_COLUMNS)
        writer.writerows(_timeline_row(number, second) for number, second in enumerate(report.swarm.timeline))


def outcome(report: Report) -> str:
    failed = ", ".join(judgement.threshold for judgement in report.judgements if not judgement.is_kept)
    return f"FAILED: {failed}" if failed else "passed"


def latency_rows(swarm: Swarm) -> list[Row]:
    measured = ((name, swarm.latencies.get(key, Histogram())) for key, name in LATENCY_NAMES.items())
    return [_latency_row(name, histogram) for name, histogram in measured if histogram.count]


def throughput_rows(report: Report) -> list[Row]:
    timeline = report.swarm.timeline
    return [
        _throughput_row("meant", [second.meant for second in timeline], report.seconds),
        _throughput_row("sent", [second.sent for second in timeline], report.seconds),
        _throughput_row("acked", [second.acked for second in timeline], report.seconds),
        _throughput_row("delivered", [second.delivered for second in timeline], report.seconds),
    ]


def anomalies(verdict: Verdict) -> dict[str, int]:
    """Return every kind of anomaly in words, also those that did not occur."""
    return {
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "out of order": verdict.out_of_order,
        "changed": verdict.changed,
        "unanswered": verdict.unanswered,
        "unexpectedly closed": verdict.closed,
    }


def verdict_rows(verdict: Verdict) -> list[Row]:
    return [(name, f"{count:,}") for name, count in anomalies(verdict).items()]


def in_short(verdict: Verdict) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in anomalies(verdict).items() if count) or "clean"


def count_rows(counts: dict[str, int]) -> list[Row]:
    """Return what was counted, the most frequent first."""
    return [(name, f"{count:,}") for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def other_counts(swarm: Swarm) -> dict[str, int]:
    """Return the counts that the throughput does not show."""
    return {name: count for name, count in swarm.counts.items() if name not in {"sent", "acked", "delivered"}}


def server_series(samples: Sequence[Sample]) -> list[Series]:
    """Return what is known of the server at least once."""
    cpu_kinds = sorted({kind for sample in samples for kind in sample.cpu})
    memory_kinds = sorted({kind for sample in samples for kind in sample.memory_bytes})
    series = (
        *(Series("CPU", f"CPU {kind}", "cores", [sample.cpu.get(kind) for sample in samples]) for kind in cpu_kinds),
        *(
            Series(
                "memory",
                f"memory {kind}",
                "MiB",
                [_scaled(sample.memory_bytes.get(kind), 1 / _MIB) for sample in samples],
            )
            for kind in memory_kinds
        ),
        Series("loop lag", "loop lag", "ms", [_scaled(sample.loop_lag_s, 1e3) for sample in samples]),
        Series("queues", "writer queue", "", [sample.writer_queue for sample in samples]),
        Series("queues", "redis queue", "", [sample.redis_queue for sample in samples]),
        Series("connections", "connections", "", [sample.connections for sample in samples]),
    )
    return [one for one in series if any(value is not None for value in one.values)]


def server_rows(samples: Sequence[Sample]) -> list[Row]:
    return [_server_row(series) for series in server_series(samples)]


def significant(value: float) -> str:
    """Return three digits or more: histograms know no better than to 2 %."""
    if value == int(value) or abs(value) >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004


def milliseconds(seconds: float) -> str:
    return significant(seconds * 1e3)


def printable(text: str) -> str:
    """Return the text without what would move a terminal's cursor or break XML: names and examples are not ours."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _header(report: Report) -> Iterator[str]:
    swarm = report.swarm
    yield f"{report.scenario}: {report.about}"
    yield f"  server  {report.server} at {report.against}"
    yield f"  users   {swarm.users:,} for {significant(report.seconds)} s, from {report.began:%Y-%m-%d %H:%M:%S %Z}"
    yield f"  bots    {bots(report)}"


def bots(report: Report) -> str:
    swarm = report.swarm
    return (
        f"{report.processes} {'process' if report.processes == 1 else 'processes'}, "
        f"{significant(swarm.cpu_s)} s of CPU, {significant(swarm.memory_bytes / _MIB)} MiB, "
        f"at most {milliseconds(swarm.lag_s)} ms late"
    )


def _thresholds(report: Report) -> list[str]:
    width = max((len(judgement.threshold) for judgement in report.judgements), default=0)
    return _listed(
        "thresholds",
        [
            f"{'kept' if judgement.is_kept else 'NOT KEPT':8}  {judgement.threshold:{width}}  {judgement.measured}"
            for judgement in report.judgements
        ],
    )


def _listed(title: str, lines: Iterable[str]) -> list[str]:
    items = [f"  {line}" for line in lines]
    return [title, *items] if items else []


def _aligned(columns: Row, rows: Sequence[Row]) -> list[str]:
    """Return a table with its first column to the left and the others to the right; nothing of no rows."""
    if not rows:
        return []
    table = [columns, *((f"  {name}", *figures) for name, *figures in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [_line(row, widths) for row in table]


def _line(row: Row, widths: Sequence[int]) -> str:
    name, *figures = row
    padded = (f"{figure:>{max(width, 7)}}" for figure, width in zip(figures, widths[1:], strict=True))
    return "  ".join([f"{name:{max(widths[0], 16)}}", *padded]).rstrip()


def _latency_row(name: str, histogram: Histogram) -> Row:
    percentiles = (milliseconds(histogram.percentile(percent)) for percent in PERCENTILES)
    return (
        *(name, f"{histogram.count:,}", milliseconds(histogram.mean)),
        *percentiles,
        milliseconds(histogram.most),
    )


def _throughput_row(name: str, counts: Sequence[int], seconds: float) -> Row:
    total = sum(counts)
    return name, f"{total:,}", significant(total / (seconds or 1)), f"{max(counts, default=0):,}"


def _server_row(series: Series) -> Row:
    known = [value for value in series.values if value is not None]
    unit = f", {series.unit}" if series.unit else ""
    return f"{series.name}{unit}", significant(sum(known) / len(known)), significant(max(known))


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _timeline_row(number: int, second: Second) -> list[int | str]:
    return [
        *(number, second.connected, second.meant, second.sent),
        *(second.acked, second.delivered, second.refused, second.closed),
        *(_percentile_cell(second.send_to_ack, percent) for percent in (50, 99)),
        *(_percentile_cell(second.send_to_deliver, percent) for percent in (50, 99)),
    ]


def _percentile_cell(histogram: Histogram, percent: float) -> str:
    return f"{histogram.percentile(percent) * 1e3:.3f}" if histogram.count else ""
