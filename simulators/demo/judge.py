"""The verdict on a run, from the plant's physical truth alone: what the controller believes is not asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.table import Table

Sample = tuple[float, float]
"""Plant seconds, true watts of the whole site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """How far and how long a limit was passed: the worst instant in watts, and all seconds above."""

    watts: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The event: its limit in watts, from start to end in plant seconds."""

    limit_w: float
    start_s: float
    end_s: float


def excess(samples: Sequence[Sample], limit_w: float, start_s: float, end_s: float) -> Excess:
    worst = above_s = 0.0
    for (at_s, watts), (next_s, _) in pairwise(samples):
        if start_s <= at_s < end_s and watts > limit_w:
            worst = max(worst, watts - limit_w)
            above_s += min(next_s, end_s) - at_s
    return Excess(watts=worst, seconds=above_s)


def compliant_after_s(samples: Sequence[Sample], window: Window) -> float:
    """Seconds from the event's start to the instant after which its limit always held."""
    above = [
        at_s for at_s, watts in samples if window.start_s <= at_s < window.end_s and watts > window.limit_w
    ]
    return above[-1] - window.start_s if above else 0.0


def energy_kwh(samples: Sequence[Sample], start_s: float, end_s: float) -> float:
    joules = sum(
        watts * (next_s - at_s) for (at_s, watts), (next_s, _) in pairwise(samples) if start_s <= at_s < end_s
    )
    return joules / 3.6e6


def mean_w(samples: Sequence[Sample], start_s: float, end_s: float) -> float:
    inside = [watts for at_s, watts in samples if start_s <= at_s < end_s]
    return sum(inside) / len(inside) if inside else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the verdict; `passed` is None where there is nothing to pass."""

    what: str
    value: str
    passed: bool | None = None


def as_table(title: str, rows: Sequence[Row]) -> Table:
    table = Table("", "measured", "", title=title, title_justify="left")
    for row in rows:
        mark = {None: "", True: "[green]kept[/]", False: "[bold red]FAILED[/]"}[row.passed]
        table.add_row(row.what, row.value, mark)
    return table
