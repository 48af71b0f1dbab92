"""What a run found out, as one HTML file that needs nothing else: no script, no font, no picture."""

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Literal, NamedTuple

from . import plot
from .histogram import Histogram, merged
from .plot import Axis, Line
from .report import (
    LATENCY_COLUMNS,
    LATENCY_NAMES,
    SERVER_COLUMNS,
    THROUGHPUT_COLUMNS,
    Row,
    anomalies,
    bots,
    count_rows,
    in_short,
    latency_rows,
    milliseconds,
    other_counts,
    outcome,
    printable,
    server_rows,
    server_series,
    significant,
    throughput_rows,
    verdict_rows,
)
from .results import Report, Second

MOST_POINTS = 240
"""A longer timeline is plotted with several seconds to a point."""

_STYLE = """
:root { color-scheme: light dark; --text: #1b2430; --muted: #5b6775; --rule: #dfe4ea; --back: #f5f7f9; --card: #fff;
  --good: #0a7a52; --bad: #c02626 }
@media (prefers-color-scheme: dark) { :root { --text: #e4e9ef; --muted: #9aa7b5; --rule: #303a46; --back: #12171d;
  --card: #1a2129; --good: #3ecf9f; --bad: #ff7b72 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1120px; padding: 1.5rem 1rem 3rem; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { margin: 0; font-size: 1.6rem; display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: center }
h2 { margin: 0 0 .5rem; font-size: 1.05rem }
p { margin: .2rem 0 }
.muted { color: var(--muted) }
.good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 }
.badge { font-size: .9rem; padding: .1rem .7rem; border: 1.5px solid; border-radius: 99px; font-weight: 600 }
.tiles { display: grid; grid-template-columns: repeat(6, 1fr); gap: .75rem; margin: 1rem 0 }
.tiles div, section { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: .7rem .9rem }
.tiles span { font-size: .85rem }
.tiles b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums }
.cards { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: .75rem; margin: .75rem 0 }
.wide { grid-column: 1 / -1 }
@media (max-width: 860px) { .cards { grid-template-columns: minmax(0, 1fr) }
  .tiles { grid-template-columns: repeat(3, 1fr) } }
@media (max-width: 480px) { .tiles { grid-template-columns: repeat(2, 1fr) } }
.scroll { overflow-x: auto }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem 0 .25rem .9rem; border-top: 1px solid var(--rule); text-align: right; white-space: nowrap }
tr:first-child > * { border-top: 0 }
th { color: var(--muted); font-weight: 500 }
th:first-child, td:first-child, .words th, .words td { text-align: left }
th:first-child, td:first-child { padding-left: 0 }
.words td:not(:last-child) { white-space: normal }
ul { margin: .5rem 0 0; padding-left: 1.2rem }
"""


class _Span(NamedTuple):
    """Some seconds of a run that are one point of a plot."""

    at: float
    seconds: int
    total: Second


def page(report: Report) -> str:
    """Return the file. It is XML too, and its policy forbids it to load anything, whatever a name in it contains."""
    title = f"{report.scenario}: {outcome(report)}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>"
        f"<title>{_text(title)}</title><style>{_STYLE}{plot.STYLE}</style></head>\n"
        f"<body>{_header(report)}{_tiles(report)}\n"
        f'<div class="cards">{_join(_findings(report))}</div>\n'
        f'<div class="cards">{_join(_section("", figure) for figure in _figures(report))}</div>\n'
        f'<div class="cards">{_join(_counts(report))}</div></body></html>\n'
    )


def _header(report: Report) -> str:
    badge = '<span class="badge good">passed</span>' if report.has_passed else '<span class="badge bad">failed</span>'
    run = f"{report.server} at {report.against}, from {report.began:%Y-%m-%d %H:%M:%S %Z}"
    return (
        f"<header><h1>{_text(report.scenario)} {badge}</h1><p>{_text(report.about)}</p>"
        f'<p class="muted">{_text(run)}</p><p class="muted">Bots: {bots(report)}</p></header>'
    )


def _tiles(report: Report) -> str:
    rates = {name: rate for name, _, rate, _ in throughput_rows(report)}
    tiles = {
        "users": f"{report.swarm.users:,}",
        "duration": f"{significant(report.seconds)} s",
        "sent": f"{rates['sent']} /s",
        "delivered": f"{rates['delivered']} /s",
        "send→ack p99": _p99(report, "send_to_ack"),
        "send→deliver p99": _p99(report, "send_to_deliver"),
    }
    body = _join(f'<div><span class="muted">{name}</span><b>{figure}</b></div>' for name, figure in tiles.items())
    return f'<div class="tiles">{body}</div>'


def _p99(report: Report, latency: str) -> str:
    histogram = report.swarm.latencies.get(latency, Histogram())
    return f"{milliseconds(histogram.percentile(99))} ms" if histogram.count else "none"


def _findings(report: Report) -> Iterator[str]:
    swarm = report.swarm
    if report.warnings:
        yield _section("Warnings", _list(report.warnings), "wide")
    yield _section("Thresholds", _thresholds(report))
    yield _section("Verdict", _verdict(report))
    yield _section("Latencies", _table(LATENCY_COLUMNS, latency_rows(swarm)), "wide")


def _thresholds(report: Report) -> str:
    rows = (
        f"<tr><td>{_text(judgement.threshold)}</td><td>{_text(judgement.measured)}</td>{_kept(judgement.is_kept)}</tr>"
        for judgement in report.judgements
    )
    head = "<tr><th>threshold</th><th>measured</th><th></th></tr>"
    return f'<table class="words">{head}{_join(rows)}</table>' if report.judgements else "<p>none</p>"


def _kept(is_kept: bool) -> str:
    return '<td class="good">kept</td>' if is_kept else '<td class="bad">NOT KEPT</td>'


def _verdict(report: Report) -> str:
    verdict = report.swarm.verdict
    if verdict.is_clean:
        return f'<p class="good">clean</p><p class="muted">Nothing {", ".join(anomalies(verdict))}.</p>'
    return f'<p class="bad">{in_short(verdict)}</p>{_table((), verdict_rows(verdict))}{_list(report.swarm.examples)}'


def _counts(report: Report) -> Iterator[str]:
    swarm = report.swarm
    yield _section("Throughput", _table(THROUGHPUT_COLUMNS, throughput_rows(report)))
    for title, counts in (
        ("Refused by code", swarm.refusals),
        ("Closed by code", swarm.closes),
        ("Otherwise", other_counts(swarm)),
    ):
        if counts:
            yield _section(title, _table((), count_rows(counts)))
    if report.samples:
        yield _section("Server", _table(SERVER_COLUMNS, server_rows(report.samples)))


def _figures(report: Report) -> Iterator[str]:
    spans = _spans(report.swarm.timeline)
    x = plot.time(max(report.seconds, len(report.swarm.timeline)))
    yield from _message_figures(spans, x)
    yield from _percentile_figure(report)
    yield from _connection_figures(spans, x)
    yield from _server_figures(report, x)


def _message_figures(spans: Sequence[_Span], x: Axis) -> Iterator[str]:
    sent = [_rate(spans, "meant", 5, is_dashed=True), _rate(spans, "sent", 0), _rate(spans, "acked", 2)]
    delivered = [_rate(spans, "delivered", 1)]
    latencies = [
        *(_latency(spans, "send_to_ack", percent, 0) for percent in (50, 99)),
        *(_latency(spans, "send_to_deliver", percent, 1) for percent in (50, 99)),
    ]
    yield plot.figure(f"Messages a second{_resolution(spans)}", sent, x, plot.linear(sent))
    yield plot.figure(f"Deliveries a second{_resolution(spans)}", delivered, x, plot.linear(delivered))
    if any(value for latency in latencies for _, value in latency.points):
        yield plot.figure(f"Latency over time, ms{_resolution(spans)}", latencies, x, plot.fitting(latencies))


def _connection_figures(spans: Sequence[_Span], x: Axis) -> Iterator[str]:
    connected = [Line("connected", [(span.at, span.total.connected) for span in spans], 3)]
    ends = [_rate(spans, "refused", 0), _rate(spans, "closed", 1)]
    yield plot.figure("Connections", connected, x, plot.linear(connected))
    if any(span.total.refused or span.total.closed for span in spans):
        yield plot.figure(f"Refusals and ended connections a second{_resolution(spans)}", ends, x, plot.linear(ends))


def _resolution(spans: Sequence[_Span]) -> str:
    return f" (a point is {spans[0].seconds} s)" if spans and spans[0].seconds > 1 else ""


def _percentile_figure(report: Report) -> Iterator[str]:
    measured = [(name, report.swarm.latencies.get(key, Histogram())) for key, name in LATENCY_NAMES.items()]
    lines = [
        Line(name, list(_distribution(histogram)), color)
        for color, (name, histogram) in enumerate(measured)
        if histogram.count
    ]
    if lines:
        x = plot.percentiles(max(histogram.count for _, histogram in measured))
        yield plot.figure("Latency by percentile, ms", lines, x, plot.fitting(lines))


def _server_figures(report: Report, x: Axis) -> Iterator[str]:
    titles = {
        "CPU": "Server: CPU, cores in use",
        "memory": "Server: memory, MiB",
        "loop lag": "Server: lateness of the event loop, ms",
        "queues": "Server: queues, entries",
    }
    at = [sample.at for sample in report.samples]
    for group, title in titles.items():
        series = [one for one in server_series(report.samples) if one.group == group]
        lines = [
            Line(printable(one.name.removeprefix(f"{group} ")), list(zip(at, one.values, strict=True)), color)
            for color, one in enumerate(series)
        ]
        if lines:
            yield plot.figure(title, lines, x, plot.linear(lines))


def _spans(timeline: Sequence[Second]) -> list[_Span]:
    width = max(1, math.ceil(len(timeline) / MOST_POINTS))
    starts = range(0, len(timeline), width)
    return [_span(start, timeline[start : start + width]) for start in starts]


def _span(start: int, seconds: Sequence[Second]) -> _Span:
    total = Second(
        connected=min(second.connected for second in seconds),
        meant=sum(second.meant for second in seconds),
        sent=sum(second.sent for second in seconds),
        acked=sum(second.acked for second in seconds),
        delivered=sum(second.delivered for second in seconds),
        refused=sum(second.refused for second in seconds),
        closed=sum(second.closed for second in seconds),
        send_to_ack=merged(second.send_to_ack for second in seconds),
        send_to_deliver=merged(second.send_to_deliver for second in seconds),
    )
    return _Span(start + len(seconds) / 2, len(seconds), total)


def _rate(spans: Sequence[_Span], name: str, color: int, *, is_dashed: bool = False) -> Line:
    return Line(name, [(span.at, getattr(span.total, name) / span.seconds) for span in spans], color, is_dashed)


def _latency(
    spans: Sequence[_Span], latency: Literal["send_to_ack", "send_to_deliver"], percent: int, color: int
) -> Line:
    points = [(span.at, _percentile(getattr(span.total, latency), percent)) for span in spans]
    return Line(f"{LATENCY_NAMES[latency]} p{percent}", points, color, is_dashed=percent == 50)  # noqa: PLR2004


def _percentile(histogram: Histogram, percent: float) -> float | None:
    return histogram.percentile(percent) * 1e3 if histogram.count else None


def _distribution(histogram: Histogram) -> Iterator[tuple[float, float]]:
    """Yield ``1 / (1 - percentile)`` and the milliseconds, up to where only one is longer."""
    steps = math.ceil(math.log2(histogram.count) * 4)
    for step in range(steps + 1):
        one_in = min(2.0 ** (step / 4), histogram.count)
        yield one_in, histogram.percentile(100 - 100 / one_in) * 1e3


def _section(title: str, body: str, classes: str = "") -> str:
    heading = f"<h2>{_text(title)}</h2>" if title else ""
    return f'<section class="{classes}">{heading}{body}</section>'


def _table(columns: Row, rows: Sequence[Row]) -> str:
    head = f"<tr>{_join(f'<th>{_text(column)}</th>' for column in columns)}</tr>" if columns else ""
    body = (f"<tr>{_join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table>{head}{_join(body)}</table></div>'


def _list(items: Iterable[str]) -> str:
    return f"<ul>{_join(f'<li>{_text(item)}</li>' for item in items)}</ul>"


def _text(text: str) -> str:
    return escape(printable(text))


def _join(parts: Iterable[str]) -> str:
    return "".join(parts)
