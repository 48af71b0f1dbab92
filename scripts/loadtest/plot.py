"""Lines over two axes as SVG for a page. Colours and text sizes are the page's: put ``STYLE`` into its CSS."""

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple

COLORS = 6
STYLE = """
:root { --c0: #0b6bb8; --c1: #c2500a; --c2: #0a8560; --c3: #b83a7c; --c4: #7552cc; --c5: #5f6b7a; }
@media (prefers-color-scheme: dark) {
  :root { --c0: #5cb3f2; --c1: #f28c4b; --c2: #3ecf9f; --c3: #f08fc0; --c4: #b39df5; --c5: #a3afbf; }
}
.c0 { --c: var(--c0) } .c1 { --c: var(--c1) } .c2 { --c: var(--c2) }
.c3 { --c: var(--c3) } .c4 { --c: var(--c4) } .c5 { --c: var(--c5) }
figure { margin: 0; max-width: 640px }
figcaption { display: flex; flex-wrap: wrap; gap: .1rem .9rem; align-items: baseline; font-size: .85rem }
figcaption b { width: 100%; font-size: .95rem }
figcaption svg { width: 22px; height: 8px; margin-right: .3rem }
.plot { display: block; width: 100%; height: auto; overflow: visible }
.plot text { font-size: 12px; fill: var(--muted); font-variant-numeric: tabular-nums }
.grid { stroke: var(--rule) }
.axis { stroke: var(--muted) }
.line { fill: none; stroke: var(--c); stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round }
.dots { stroke: var(--c); stroke-width: 4; stroke-linecap: round }
.dashed { stroke-dasharray: 1 4 }
@media (max-width: 560px) { .plot text { font-size: 16px } .line { stroke-width: 2.2 } }
"""

_WIDTH, _HEIGHT = 480, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 464, 10, 182
_MOST_TICKS = 6
_MINUTE_S, _HOUR_S = 60, 3600
_TIME_STEPS = (1, 2, 5, 10, 15, 30, *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30)))


class Line(NamedTuple):
    name: str
    points: Sequence[tuple[float, float | None]]
    """None: nothing was measured, which leaves a gap."""
    color: int = 0
    is_dashed: bool = False


class Axis(NamedTuple):
    least: float
    most: float
    ticks: Sequence[tuple[float, str]]
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return where the value stands, from 0 to 1."""
        if self.is_log:
            return math.log(value / self.least) / math.log(self.most / self.least)
        return (value - self.least) / (self.most - self.least)


def figure(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """Return the plot with its title and its legend, as HTML that is XML too."""
    legend = "".join(f"<span>{_key(line)}{escape(line.name)}</span>" for line in lines)
    drawn = "".join(_drawn(line, x, y) for line in lines)
    return (
        f"<figure><figcaption><b>{escape(title)}</b>{legend}</figcaption>"
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{_grid(x, y)}{drawn}</svg></figure>"
    )


def linear(lines: Iterable[Line]) -> Axis:
    """Return an axis from 0 to the first tick that nothing exceeds."""
    most = max(_values(lines), default=0.0) or 1.0
    step = _round_step(most / (_MOST_TICKS - 1))
    ticks = [step * number for number in range(math.ceil(most / step * (1 - 1e-9)) + 1)]
    return Axis(0.0, ticks[-1], [(tick, short(tick)) for tick in ticks])


def logarithmic(lines: Iterable[Line]) -> Axis:
    """Return an axis between round values, for lines with something above 0: what is not, is not drawn."""
    positive = [value for value in _values(lines) if value > 0]
    decades = range(math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive))) + 1)
    rounds = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    least = max(value for value in rounds if value <= min(positive) * (1 + 1e-9))
    most = min(value for value in rounds if value >= max(positive) * (1 - 1e-9) and value > least)
    within = [value for value in rounds if least <= value <= most]
    return Axis(least, most, [(tick, short(tick)) for tick in _thinned(within)], is_log=True)


def fitting(lines: Sequence[Line]) -> Axis:
    """Return a logarithmic axis if a linear one would press most of the lines flat."""
    positive = sorted(value for value in _values(lines) if value > 0)
    is_wide = bool(positive) and positive[-1] > 10 * positive[len(positive) // 2]
    return logarithmic(lines) if is_wide else linear(lines)


def time(seconds: float) -> Axis:
    """Return an axis of a run's time, in the unit that its ticks have."""
    most = max(seconds, 1.0)
    step = next((step for step in _TIME_STEPS if most / step <= _MOST_TICKS), None)
    step = step or math.ceil(most / _MOST_TICKS / _HOUR_S) * _HOUR_S
    unit, name = (_HOUR_S, "h") if step >= _HOUR_S else (_MINUTE_S, "min") if step >= _MINUTE_S else (1, "s")
    ticks = range(0, math.floor(most) + 1, step)
    return Axis(0.0, most, [(tick, f"{tick / unit:g} {name}") for tick in ticks])


def percentiles(count: int) -> Axis:
    """Return an axis for ``1 / (1 - percentile)``, which gives each further nine the same room."""
    most = max(float(count), 10.0)
    nines = range(1, math.floor(math.log10(most) + 1e-9) + 1)
    ticks = [(1.0, "0"), (2.0, "50"), *((10.0**nine, f"{100 - 100 / 10**nine:.10g}") for nine in nines)]
    return Axis(1.0, most, ticks, is_log=True)


def short(value: float) -> str:
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.3g}"


def _values(lines: Iterable[Line]) -> Iterable[float]:
    return (value for line in lines for _, value in line.points if value is not None)


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, 20, … that is not below."""
    decade = 10.0 ** math.floor(math.log10(least))
    return next(digit * decade for digit in (1, 2, 5, 10) if digit * decade >= least * (1 - 1e-9))


def _thinned(rounds: Sequence[float]) -> Sequence[float]:
    if len(rounds) <= _MOST_TICKS + 1:
        return rounds
    return [value for value in rounds if f"{value:e}".startswith("1.0")]


def _x(axis: Axis, value: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * axis.place(value)


def _y(axis: Axis, value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * axis.place(value)


def _grid(x: Axis, y: Axis) -> str:
    rows = (
        f'<path class="grid" d="M{_LEFT} {_y(y, tick):.1f}H{_RIGHT}"/>'
        f'<text x="{_LEFT - 6}" y="{_y(y, tick) + 4:.1f}" text-anchor="end">{label}</text>'
        for tick, label in y.ticks
    )
    columns = (
        f'<path class="axis" d="M{_x(x, tick):.1f} {_BOTTOM}v4"/>'
        f'<text x="{_x(x, tick):.1f}" y="{_BOTTOM + 20}" text-anchor="middle">{label}</text>'
        for tick, label in x.ticks
    )
    return "".join([*rows, f'<path class="axis" d="M{_LEFT} {_BOTTOM}H{_RIGHT}"/>', *columns])


def _drawn(line: Line, x: Axis, y: Axis) -> str:
    runs = [[f"{_x(x, at):.1f} {_y(y, value):.1f}" for at, value in run] for run in _runs(line.points, y)]
    path = "".join(f"M{'L'.join(run)}" for run in runs if len(run) > 1)
    dots = "".join(f"M{run[0]}h0" for run in runs if len(run) == 1)
    return f'<path class="{_classes(line)}" d="{path}"/><path class="dots c{line.color % COLORS}" d="{dots}"/>'


def _runs(points: Sequence[tuple[float, float | None]], y: Axis) -> Iterator[list[tuple[float, float]]]:
    """Yield what lies between gaps."""
    run: list[tuple[float, float]] = []
    for at, value in points:
        if value is not None and (value > 0 or not y.is_log):
            run.append((at, value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _key(line: Line) -> str:
    return f'<svg viewBox="0 0 22 8" aria-hidden="true"><path class="{_classes(line)}" d="M2 4h18"/></svg>'


def _classes(line: Line) -> str:
    return f"line c{line.color % COLORS}{' dashed' if line.is_dashed else ''}"
