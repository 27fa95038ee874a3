"""The report of an event or a stream on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from controller.grid.isotime import stamp
from controller.run.journal.rows import StreamRow
from controller.run.settling.gathering import KnownEvent
from controller.settlement.evidence import Evidence
from controller.settlement.figures import Figure, figures_of, kw_of, local, number
from controller.settlement.performance import Compliance, Judged
from controller.settlement.stream import Followed
from controller.settlement.streamevidence import StreamEvidence
from controller.settlement.streampage import stream_figures

Interval = TypeVar("Interval", Judged, Followed)

MOST_LINES = 60
DAY_S = 86_400
STYLES = {Compliance.NOT_COMPLIANT: "red", Compliance.UNKNOWN: "yellow", Compliance.RAMPING: "dim"}


def tables(evidence: Evidence) -> Iterator[RenderableType]:
    """The numbers, then the intervals."""
    yield Text(f"{evidence.site}  event {evidence.name}", style="bold")
    yield _figures(figures_of(evidence))
    shown = _shown(evidence.intervals)
    yield _interval_table(evidence, shown)
    yield from _closing(len(evidence.intervals) - len(shown), evidence.notes)


def _interval_table(evidence: Evidence, shown: tuple[Judged, ...]) -> Table:
    """Columns without a single value are left out: a terminal is narrow."""
    form = "%H:%M:%S" if evidence.course.span.length_s < DAY_S else "%m-%d %H:%M:%S"
    columns: list[tuple[str, list[str]]] = [
        ("from", [local(item.span.start_utc_s, evidence.zone, form) for item in shown]),
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
        table.add_row(*row, _verdict(item))
    return table


def stream_tables(evidence: StreamEvidence) -> Iterator[RenderableType]:
    yield Text(f"{evidence.site}  set-points {evidence.stream}", style="bold")
    yield _figures(stream_figures(evidence))
    shown = _shown(evidence.intervals)
    yield _stream_table(evidence, shown)
    yield from _closing(len(evidence.intervals) - len(shown), evidence.notes)


def _stream_table(evidence: StreamEvidence, shown: Sequence[Followed]) -> Table:
    form = "%H:%M:%S" if evidence.span.length_s < DAY_S else "%m-%d %H:%M:%S"
    table = Table(box=None)
    table.add_column("from", no_wrap=True)
    for head in ("s", "target kW", "mean kW", "error", "mean size", "worst"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("quality", no_wrap=True)
    table.add_column("verdict")
    for item in shown:
        watts = (item.target_w, item.mean_w, item.error_w, item.abs_error_w, item.worst_w)
        table.add_row(
            local(item.span.start_utc_s, evidence.zone, form),
            f"{round(item.span.length_s, 3):g}",
            *(number(value) for value in watts),
            item.quality.value,
            _verdict(item),
        )
    return table


def _figures(figures: Iterable[Figure]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for figure in figures:
        grid.add_row(Text(figure.name), Text(figure.value))
    return grid


def _shown(intervals: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """Of many the first and those that need an explanation."""
    later = tuple(item for item in intervals[MOST_LINES:] if item.compliance in STYLES)
    return intervals[:MOST_LINES] + later[:MOST_LINES]


def _closing(left_out: int, notes: Iterable[str]) -> Iterator[Text]:
    if left_out > 0:
        yield Text(f"{left_out} more intervals: --format csv or json", style="dim")
    for note in notes:
        yield Text(note, style="dim")


def _verdict(item: Judged | Followed) -> Text:
    words = item.compliance.replace("_", " ") + (f" ({item.excuse})" if item.excuse else "")
    return Text(words, style=STYLES.get(item.compliance, ""))


def listing(found: list[KnownEvent], streams: Sequence[StreamRow] = ()) -> Table | str:
    """The newest word on every event, or on each part of one whose id was used again, and how many versions
    of it were accepted; then the streams."""
    streamed = {stream.id for stream in streams}
    found = [event for event in found if event.id not in streamed]
    if not found and not streams:
        return "no event is known"
    names = [*(event.id for event in found), *(stream.id for stream in streams)]
    table = Table(box=None)
    table.add_column("event", overflow="fold", min_width=min(max(map(len, names), default=0), 40))
    has_parts = any(event.parts > 1 for event in found)
    for head in (*(["part"] if has_parts else []), "status", "told", "start", "end", "versions"):
        table.add_column(head)
    for event in found:
        version = event.version
        times = ("", "") if version is None else (_short(version.start_utc_s), _short(version.end_utc_s))
        part = [str(event.part) if event.parts > 1 else ""] if has_parts else []
        table.add_row(Text(event.id), *part, event.status, _short(event.utc_s), *times, str(event.versions))
    for stream in streams:
        ends = (_short(stream.first_utc_s), _short(stream.last_utc_s))
        part = [""] if has_parts else []
        table.add_row(Text(stream.id), *part, "set-points", ends[1], *ends, str(stream.points))
    return table


def _short(utc_s: float) -> str:
    return "open" if math.isinf(utc_s) else stamp(utc_s)[:19] + "Z"
