"""What a site would have drawn without an event: one function per method, each with its formula.

k is an interval of the event, D the chosen days, L the load, B the baseline. A baseline that cannot be
computed as its method says is none: the reason is told, and nothing takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from controller.domain.power import ZERO, Power
from controller.settlement.likedays import History, LikeDay, Passed, Search, chosen
from controller.settlement.metering import Span
from controller.settlement.methods import (
    Adjustment,
    Baseline,
    FirmServiceLevel,
    Lack,
    MatchDay,
    MeterBefore,
    Method,
    NoBaseline,
    SameDay,
    Shift,
    Step,
    XOfY,
)

MATCHED_SHARE = 0.9
"""A day is matched by at least this share of its hours without the event."""


def baseline_of(method: Method, history: History) -> Baseline | NoBaseline:
    """The baseline over the whole event."""
    match method:
        case XOfY():
            return _x_of_y(method, history)
        case SameDay():
            return _same_day(method, history)
        case MatchDay():
            return _match_day(method, history)
        case MeterBefore():
            return _meter_before(method, history)
        case FirmServiceLevel():
            return NoBaseline(
                method=method.name,
                lack=Lack.NO_SUCH_THING,
                detail=f"the site may draw {method.level.in_kw:g} kW, whatever it would have drawn",
            )


def _x_of_y(method: XOfY, history: History) -> Baseline | NoBaseline:
    """B_k = mean over D of L_d,k, for each day of the event with like days of its own. With an adjustment,
    which is of the whole event, those of its first day must have been measured in its window as well."""
    by_day = _by_day(history)
    if (max(by_day) - min(by_day)).days >= method.look_back_days:
        detail = f"no day of the {method.look_back_days} before the last one of the event is without it"
        return _lack(method, Lack.NO_SUCH_THING, detail)
    window = _window(method.adjustment, history)
    move: Move | None = None
    steps: list[Step] = []
    dates: set[date] = set()
    for day, intervals in by_day.items():
        days = chosen(history, method, day, intervals, window if move is None else ())
        if isinstance(days, NoBaseline):
            return days
        if move is None:
            found = _move(method, history, days, window)
            if isinstance(found, NoBaseline):
                return found
            move = found
        steps += _steps(intervals, [move.of(w) for w in _means_w([like.loads_w for like in days])])
        dates.update(like.day for like in days)
    return Baseline(
        method=method.name,
        steps=tuple(steps),
        days=tuple(sorted(dates, reverse=True)),
        detail="" if move is None else move.detail,
    )


def _by_day(history: History) -> dict[date, list[Span]]:
    """The intervals of the event by the day on which they begin."""
    found: dict[date, list[Span]] = {}
    for interval in history.calendar.intervals_in(history.event):
        found.setdefault(history.calendar.day_of(interval.start_utc_s), []).append(interval)
    return found


@dataclass(frozen=True, slots=True)
class Move:
    """A baseline of other days as it is brought to this one."""

    factor: float = 1.0
    offset_w: float = 0.0
    detail: str = ""

    def of(self, watts: float) -> float:
        return watts * self.factor + self.offset_w


def _window(adjustment: Adjustment | None, history: History) -> tuple[Span, ...]:
    if adjustment is None:
        return ()
    end_utc_s = history.event.start_utc_s - adjustment.gap_s
    return history.calendar.whole_in(Span(end_utc_s - adjustment.window_s, end_utc_s))


def _move(
    method: XOfY, history: History, days: Sequence[LikeDay], window: Sequence[Span]
) -> Move | NoBaseline:
    """Additive: B'_k = B_k + mean over the window of (L - B). Multiplicative: B'_k = B_k x sum L / sum B.
    Either way the baseline of the window, moved like that of the event, has the sum that was drawn in it."""
    adjustment = method.adjustment
    if adjustment is None:
        return Move()
    if not window:
        return _lack(method, Lack.METER, "the adjustment's window has no whole interval")
    if (other := history.disturber(Span(window[0].start_utc_s, window[-1].end_utc_s))) is not None:
        return _lack(
            method, Lack.OTHER_EVENT, f"one of {other.length_s:.0f} s reaches into the adjustment's window"
        )
    drawn_w = [load for interval in window if (load := history.load_w(interval)) is not None]
    if len(drawn_w) < len(window):
        return _lack(
            method, Lack.METER, f"{len(drawn_w)} of {len(window)} intervals of the adjustment's window"
        )
    base_w = sum(_means_w([day.beside_w for day in days])) / len(window)
    wanted_w = sum(drawn_w) / len(window) - base_w
    most_w = abs(wanted_w) if adjustment.most_share is None else abs(base_w) * adjustment.most_share
    offset_w = min(max(wanted_w, -most_w), most_w)
    clipped = "" if offset_w == wanted_w else ", the most that is allowed"
    if adjustment.shift is Shift.ADDITIVE:
        return Move(offset_w=offset_w, detail=f"{offset_w / 1000:+.3f} kW{clipped}")
    if base_w <= 0:
        return _lack(method, Lack.METER, "nothing was drawn in the adjustment's window on the like days")
    factor = 1 + offset_w / base_w
    return Move(factor=factor, detail=f"x {factor:.4f}{clipped}")


def _same_day(method: SameDay, history: History) -> Baseline | NoBaseline:
    """B = mean of L over `before_s` before the event and `after_s` after it, without the hour next to it on
    both sides. An event of hours ending 13 to 17 takes those ending 9 to 11, 19 and 20 (PJM Manual 11 as told
    by rtowww.com/23098)."""
    event = history.event
    before_end, after_start = event.start_utc_s - method.skip_s, event.end_utc_s + method.skip_s
    spans = (Span(before_end - method.before_s, before_end), Span(after_start, after_start + method.after_s))
    if history.now_utc_s < spans[1].end_utc_s:
        wait_s = method.skip_s + method.after_s
        return _lack(method, Lack.NOT_OVER, f"it needs the {wait_s:.0f} s after the event")
    for span in spans:
        if history.disturber(span) is not None:
            return _lack(method, Lack.OTHER_EVENT, "one lies in the hours that are averaged")
    measures = [history.usage.mean_w(span) for span in spans]
    known = [(w, span.length_s) for w, span in zip(measures, spans, strict=True) if w is not None]
    if len(known) < len(spans):
        return _lack(method, Lack.METER, "before or after the event")
    mean_w = sum(w * length_s for w, length_s in known) / sum(length_s for _, length_s in known)
    return Baseline(method=method.name, steps=(Step(event, _power(mean_w)),))


def _match_day(method: MatchDay, history: History) -> Baseline | NoBaseline:
    """B_k = mean over D of L_d,k; D are for each day of the event those with the least sum of |L_d,h - L_h|
    over the hours h without an event (PJM Manual 11 as told by rtowww.com/23098). That sum is our reading of
    "most similar"."""
    by_day = _by_day(history)
    if history.now_utc_s < history.calendar.span_of(max(by_day)).end_utc_s:
        return _lack(method, Lack.NOT_OVER, f"it needs the whole day {max(by_day)}")
    steps: list[Step] = []
    dates: set[date] = set()
    for day, intervals in by_day.items():
        near = _nearest(method, history, day, intervals)
        if isinstance(near, NoBaseline):
            return near
        steps += _steps(intervals, _means_w([like.loads_w for like in near]))
        dates.update(like.day for like in near)
    return Baseline(method=method.name, steps=tuple(steps), days=tuple(sorted(dates, reverse=True)))


def _nearest(
    method: MatchDay, history: History, day: date, intervals: Sequence[Span]
) -> list[LikeDay] | NoBaseline:
    reaches = [
        Span(one.start_utc_s - method.skip_s, one.end_utc_s + method.skip_s)
        for one in (history.event, *history.others)
    ]
    quiet = [
        interval
        for interval in history.calendar.intervals_of(day)
        if not any(interval.overlaps(reach) for reach in reaches)
    ]
    today = [(interval, load) for interval in quiet if (load := history.load_w(interval)) is not None]
    if not today or len(today) < MATCHED_SHARE * len(quiet):
        measured = f"{len(today)} of {len(quiet)} intervals without the event on {day}"
        return _lack(method, Lack.METER, measured)
    passed = Passed()
    search = Search(history=history, day=day, look_back_days=method.look_back_days, saturdays_apart=False)
    found = search.days(intervals, [interval for interval, _ in today], passed)
    loads = [load for _, load in today]
    ranked = sorted(found, key=lambda like: (_apart(like.beside_w, loads), -like.day.toordinal()))
    if len(ranked) < method.take:
        detail = f"{len(ranked)} of {method.take} in the {method.look_back_days} before {day}; {passed}"
        return _lack(method, Lack.LIKE_DAYS, detail)
    return ranked[: method.take]


def _apart(some_w: Sequence[float], others_w: Sequence[float]) -> float:
    return sum(abs(some - other) for some, other in zip(some_w, others_w, strict=True))


def _meter_before(method: MeterBefore, history: History) -> Baseline | NoBaseline:
    """B = P(t0-): the mean of the last interval before deployment, so that P(t0-) - P_k is delivered (NAESB's
    Meter Before / Meter After)."""
    event = history.event
    end_utc_s = event.start_utc_s - method.gap_s
    span = Span(end_utc_s - method.length_s, end_utc_s)
    if history.disturber(span) is not None:
        return _lack(method, Lack.OTHER_EVENT, f"one holds in the {method.length_s:.0f} s that are read")
    mean_w = history.usage.mean_w(span)
    if mean_w is None:
        return _lack(
            method, Lack.METER, f"the {method.length_s:.0f} s until {method.gap_s:.0f} s before the event"
        )
    return Baseline(method=method.name, steps=(Step(event, _power(mean_w)),))


def _means_w(loads_w: Sequence[Sequence[float]]) -> list[float]:
    """Interval by interval over the days. `fsum`: the order of the days does not matter to the last bit."""
    return [math.fsum(loads) / len(loads) for loads in zip(*loads_w, strict=True)]


def _steps(intervals: Sequence[Span], means_w: Sequence[float]) -> tuple[Step, ...]:
    return tuple(Step(interval, _power(w)) for interval, w in zip(intervals, means_w, strict=True))


def _power(watts: float) -> Power:
    """Rounded down, a float's noise aside."""
    return max(Power.down(watts + 1e-6), ZERO)


def _lack(method: Method, lack: Lack, detail: str) -> NoBaseline:
    return NoBaseline(method=method.name, lack=lack, detail=detail)
