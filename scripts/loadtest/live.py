"""What a run is at: a view that changes on a terminal, elsewhere a line a second."""

from collections.abc import Sequence
from typing import Protocol, TextIO

from rich import live
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .histogram import Histogram, merged
from .report import LATENCY_NAMES, count_rows, in_short, milliseconds, printable
from .results import Second, Swarm

RECENT_S = 5
"""The percentiles of the view are those of so many seconds: of one second they jump."""


class Live(Protocol):
    def show(self, second: int, total_s: float, swarm: Swarm) -> None:
        """Show a run after so many whole seconds of it."""

    def close(self) -> None:
        """Leave the terminal as it was. After this you must not show anything."""


def open_live(stream: TextIO) -> Live:
    console = Console(file=stream)
    return View(console) if stream.isatty() and not console.is_dumb_terminal else Lines(stream)


class Lines:
    """For logs, and for who cannot see a view."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, second: int, total_s: float, swarm: Swarm) -> None:
        self._stream.write(f"{line(second, total_s, swarm)}\n")
        self._stream.flush()

    def close(self) -> None:
        pass


class View:
    def __init__(self, console: Console) -> None:
        self._live = live.Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._live.start()

    def show(self, second: int, total_s: float, swarm: Swarm) -> None:
        self._live.update(view(second, total_s, swarm), refresh=True)

    def close(self) -> None:
        self._live.stop()


def line(second: int, total_s: float, swarm: Swarm) -> str:
    last = _last(second, swarm)
    measured = [(name, histogram) for name, histogram in _latencies([last]) if histogram.count]
    parts = (
        f"{second:{len(f'{total_s:.0f}')}} s",
        f"{last.connected:,} connected",
        f"{last.sent:,} sent/s",
        f"{last.delivered:,} delivered/s",
        *(f"{name} p99 {milliseconds(histogram.percentile(99))} ms" for name, histogram in measured),
        *([f"refused: {_refusals(swarm)}"] if swarm.refusals else []),
        in_short(swarm.verdict),
    )
    return "  ".join(parts)


def view(second: int, total_s: float, swarm: Swarm) -> RenderableType:
    last = _last(second, swarm)
    recent = swarm.timeline[max(0, second - RECENT_S) : second]
    rows = Table.grid(padding=(0, 2))
    rows.add_row("connected", f"{last.connected:,}")
    rows.add_row("last second", f"{last.meant:,} meant, {last.sent:,} sent, {last.acked:,} acked")
    rows.add_row("", f"{last.delivered:,} delivered")
    for name, histogram in _latencies(recent):
        rows.add_row(name, _percentiles(histogram))
    rows.add_row("so far", Text(in_short(swarm.verdict), style="green" if swarm.verdict.is_clean else "bold red"))
    if swarm.refusals:
        rows.add_row("refused", Text(_refusals(swarm), style="yellow"))
    return Group(_progress(second, total_s), rows)


def _progress(second: int, total_s: float) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total=total_s, completed=second, width=40), f"{second} of {total_s:,.0f} s")
    return row


def _last(second: int, swarm: Swarm) -> Second:
    """Return the last complete second; an empty one before there is any, and where nothing was recorded yet."""
    return swarm.timeline[second - 1] if 0 < second <= len(swarm.timeline) else Second()


def _latencies(seconds: Sequence[Second]) -> list[tuple[str, Histogram]]:
    return [
        (LATENCY_NAMES["send_to_ack"], merged(second.send_to_ack for second in seconds)),
        (LATENCY_NAMES["send_to_deliver"], merged(second.send_to_deliver for second in seconds)),
    ]


def _percentiles(histogram: Histogram) -> str:
    if not histogram.count:
        return "nothing measured"
    return f"p50 {milliseconds(histogram.percentile(50))} ms, p99 {milliseconds(histogram.percentile(99))} ms"


def _refusals(swarm: Swarm) -> str:
    return ", ".join(f"{printable(code)} {count}" for code, count in count_rows(swarm.refusals))
