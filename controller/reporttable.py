"""The report of an event on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from controller.grid.isotime import stamp
from controller.run.history import EventRow
from controller.settlement.evidence import Evidence
from controller.settlement.figures import figures_of, kw_of, local, number
from controller.settlement.performance import Compliance, Judged

MOST_LINES = 60
DAY_S = 86_400
STYLES = {Compliance.NOT_COMPLIANT: "red", Compliance.UNKNOWN: "yellow", Compliance.RAMPING: "dim"}


def tables(evidence: Evidence) -> Iterator[RenderableType]:
    """The numbers, then the intervals; of many the first and those that need an explanation."""
    yield Text(f"{evidence.site}  event {evidence.course.event}", style="bold")
    grid = Table.grid(padding=(0, 2))
    for figure in figures_of(evidence):
        grid.add_row(Text(figure.name), Text(figure.value))
    yield grid
    shown = evidence.intervals[:MOST_LINES]
    shown += tuple(item for item in evidence.intervals[MOST_LINES:] if item.compliance in STYLES)[:MOST_LINES]
    yield _interval_table(evidence, shown)
    if len(shown) < len(evidence.intervals):
        yield Text(
            f"{len(evidence.intervals) - len(shown)} more intervals: --format csv or json", style="dim"
        )
    for note in evidence.notes:
        yield Text(note, style="dim")


def _interval_table(evidence: Evidence, shown: tuple[Judged, ...]) -> Table:
    """Columns without a single value are left out: a terminal is narrow."""
    form = "%H:%M:%S" if evidence.course.span.length_s < DAY_S else "%m-%d %H:%M:%S"
    columns: list[tuple[str, list[str]]] = [
        ("from", [local(item.span.start_utc_s, evidence, form) for item in shown]),
        ("s", [f"{round(item.span.length_s, 3):g}" for item in shown]),
        ("mean kW", [number(item.mean_w) for item in shown]),
        ("peak", [number(item.measure.peak_w) for item in shown]),
        ("limit", [kw_of(item.limit) for item in shown]),
        ("target", [kw_of(item.target) for item in shown]),
        ("baseline", [kw_of(item.baseline) for item in shown]),
        ("less", [number(item.reduction_w) for item in shown]),
        ("quality", [item.quality.value for item in shown]),
    ]
    table = Table(box=None)
    for head, cells in columns:
        if any(cells):
            table.add_column(head, justify="left" if head in ("from", "quality") else "right", no_wrap=True)
    table.add_column("verdict")
    kept = [cells for _, cells in columns if any(cells)]
    for item, row in zip(shown, zip(*kept, strict=True), strict=True):
        verdict = item.compliance.replace("_", " ") + (f" ({item.excuse})" if item.excuse else "")
        table.add_row(*row, Text(verdict, style=STYLES.get(item.compliance, "")))
    return table


def listing(found: list[tuple[EventRow, int]]) -> Table | str:
    """The newest word on every event, and how many versions of it were accepted."""
    if not found:
        return "no event is known"
    table = Table("event", "status", "told", "start", "end", "versions", box=None)
    for row, versions in found:
        event = row.version
        times = ("", "") if event is None else (_short(event.start_utc_s), _short(event.end_utc_s))
        table.add_row(Text(row.id), row.status, _short(row.utc_s), *times, str(versions))
    return table


def _short(utc_s: float) -> str:
    return "open" if math.isinf(utc_s) else stamp(utc_s)[:19] + "Z"
