"""Figures, and whether they keep what was promised."""

from collections.abc import Sequence

import msgspec


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure; ``most`` or ``least`` where one is promised."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def is_kept(self) -> bool:
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def promise(self) -> str:
        if self.most is None and self.least is None:
            return ""
        limit = f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"
        return f"{limit}: {'kept' if self.is_kept else 'NOT REACHED'}"


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table in Markdown."""
    rows = [f"| {f.name} | {f.value:,.2f} {f.unit} | {f.promise} |" for f in figures]
    return "\n".join(["| what | measured | promised |", "| --- | --- | --- |", *rows])
