"""Figures, whether they keep what was promised, and what became of them since another run."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure; ``most`` or ``least`` where one is promised."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None
    is_better_high: bool = False
    noise: float = 0.1
    """By how much of itself it differs from run to run on one machine."""

    @property
    def is_kept(self) -> bool:
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def promise(self) -> str:
        if self.most is None and self.least is None:
            return ""
        limit = f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"
        return f"{limit}: {'kept' if self.is_kept else 'NOT REACHED'}"

    @property
    def shown(self) -> str:
        digits = 0 if self.value >= 100 or self.value == int(self.value) else 2  # noqa: PLR2004
        return f"{self.value:,.{digits}f} {self.unit}".rstrip()


class Run(msgspec.Struct, frozen=True):
    """All figures of a run, and on what they were measured."""

    day: date
    machine: str
    figures: list[Figure]

    @property
    def is_kept(self) -> bool:
        return all(figure.is_kept for figure in self.figures)


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table in Markdown."""
    rows = [f"| {f.name} | {f.shown} | {f.promise} |" for f in figures]
    return "\n".join(["| what | measured | promised |", "| --- | --- | --- |", *rows])


def comparison(before: Run, after: Run) -> str:
    """Return a table of the figures that both runs have, with what got better or worse beyond noise."""
    then = {figure.name: figure for figure in before.figures}
    rows = [
        f"| {now.name} | {then[now.name].shown} | {now.shown} | {_change(then[now.name], now)} |"
        for now in after.figures
        if now.name in then
    ]
    return "\n".join(["| what | before | after | |", "| --- | --- | --- | --- |", *rows])


def _change(then: Figure, now: Figure) -> str:
    if not then.value:
        return "" if not now.value else "new"
    change = now.value / then.value - 1
    if abs(change) <= now.noise:
        return "the same"
    is_better = (change > 0) is now.is_better_high
    return f"{'better' if is_better else 'WORSE'} by {abs(change):.0%}"


def read(file: Path) -> Run:
    """Return a run that was written with ``--json``."""
    return msgspec.json.decode(file.read_bytes(), type=Run)
