"""Where the intervals of an event lie in time: chained, absolute, packed, looped, cut.

Whatever a sender wrote, the result ascends, does not overlap and has at most `MAX_INTERVALS` entries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from controller.domain.grid import EventInterval, Signal
from controller.grid.isotime import Now
from controller.grid.results import MAX_INTERVALS, Reason
from controller.grid.strictjson import MessageError

MAX_COUNTED = 512
"""A steady signal that loops through more intervals than this is one, even to whoever counts them."""
_TOLERANCE_S = 1e-3
"""Two stamps closer than this are the same: a double holds Unix time to a quarter of a microsecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """An interval period as written; what is None was not given."""

    start: float | Now | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One interval as written: its own period and its signals, in one or more equal slices of its time."""

    period: Period
    slices: tuple[tuple[Signal, ...], ...] = ((),)
    label: int = 0


def lay_out(
    event: Period,
    intervals: tuple[Written, ...],
    *,
    now_utc_s: float,
    life_s: float | None,
    counted: bool = False,
) -> tuple[EventInterval, ...]:
    """The intervals in time. `now_utc_s` is what the sentinel start means; `life_s` is `event.duration`.
    Where intervals are `counted`, as reports do, a signal that never changes keeps every turn of a loop."""
    placed = _place(event, intervals, now_utc_s)
    pieces = [piece for start_s, end_s, written in placed for piece in _slices(start_s, end_s, written)]
    pieces.sort(key=lambda piece: piece.start_utc_s)
    _check_count(len(pieces))
    pieces = _without_overlap(pieces)
    if not pieces:
        raise MessageError(Reason.BAD_DURATION, "every interval has zero length")
    if life_s is None:
        return tuple(pieces)
    if life_s <= _TOLERANCE_S:
        raise MessageError(Reason.BAD_DURATION, "duration: the event has zero length, its intervals have not")
    return tuple(_cut(_loop(pieces, life_s, counted), pieces[0].start_utc_s + life_s))


def _place(
    event: Period, intervals: tuple[Written, ...], now_utc_s: float
) -> list[tuple[float, float, Written]]:
    event_start_s = now_utc_s if isinstance(event.start, Now) else event.start
    cursor_s = event_start_s
    placed = []
    for index, written in enumerate(intervals):
        start_s = written.period.start
        if start_s is None or isinstance(start_s, Now):
            if isinstance(start_s, Now) and cursor_s is None:
                cursor_s = now_utc_s
            start_s = cursor_s
        length_s = written.period.duration_s
        length_s = event.duration_s if length_s is None else length_s
        if start_s is None:
            raise MessageError(Reason.BAD_INTERVALS, f"intervals.{index}: no start here and none before it")
        if length_s is None:
            raise MessageError(Reason.BAD_DURATION, f"intervals.{index}: no duration here nor in the event")
        if math.isinf(start_s):
            raise MessageError(Reason.BAD_INTERVALS, f"intervals.{index}: follows an interval without end")
        cursor_s = start_s + length_s
        placed.append((start_s, cursor_s, written))
    return placed


def _slices(start_s: float, end_s: float, written: Written) -> list[EventInterval]:
    count = len(written.slices)
    if end_s <= start_s:
        return []
    if count > 1 and math.isinf(end_s):
        raise MessageError(Reason.BAD_INTERVALS, f"{count} packed values in an interval without end")
    step_s = (end_s - start_s) / count
    edges = [start_s + index * step_s if index else start_s for index in range(count)] + [end_s]
    return [
        EventInterval(
            start_utc_s=edges[index], end_utc_s=edges[index + 1], signals=signals, label=written.label
        )
        for index, signals in enumerate(written.slices)
    ]


def _without_overlap(pieces: list[EventInterval]) -> list[EventInterval]:
    result: list[EventInterval] = []
    for piece in pieces:
        if result and result[-1].end_utc_s > piece.start_utc_s:
            if result[-1].end_utc_s - piece.start_utc_s > _TOLERANCE_S:
                raise MessageError(Reason.BAD_INTERVALS, f"intervals overlap at {piece.start_utc_s:.3f}")
            result[-1] = replace(result[-1], end_utc_s=piece.start_utc_s)
        result.append(piece)
    return [piece for piece in result if piece.start_utc_s < piece.end_utc_s]


def _loop(pieces: list[EventInterval], life_s: float, counted: bool) -> list[EventInterval]:
    """`pieces` over and over until `life_s` is filled. A limit that never changes stays one interval, unless
    somebody counts and there are not too many."""
    first_s, round_s = pieces[0].start_utc_s, pieces[-1].end_utc_s - pieces[0].start_utc_s
    if life_s <= round_s:
        return pieces
    rounds = math.inf if math.isinf(life_s) else math.ceil(life_s / round_s)
    if _is_constant(pieces) and not (counted and rounds * len(pieces) <= MAX_COUNTED):
        return [replace(pieces[0], end_utc_s=first_s + life_s)]
    _check_count(rounds * len(pieces))
    return [
        replace(
            piece, start_utc_s=piece.start_utc_s + turn * round_s, end_utc_s=piece.end_utc_s + turn * round_s
        )
        for turn in range(int(rounds))
        for piece in pieces
    ]


def _cut(pieces: list[EventInterval], end_s: float) -> list[EventInterval]:
    kept = [piece for piece in pieces if piece.start_utc_s < end_s]
    return [*kept[:-1], replace(kept[-1], end_utc_s=min(kept[-1].end_utc_s, end_s))]


def _is_constant(pieces: list[EventInterval]) -> bool:
    return all(
        after.signals == before.signals and after.start_utc_s - before.end_utc_s <= _TOLERANCE_S
        for before, after in pairwise(pieces)
    )


def _check_count(count: float) -> None:
    if count > MAX_INTERVALS:
        raise MessageError(Reason.TOO_MANY_INTERVALS, f"{count:g} intervals, at most {MAX_INTERVALS}")
