"""Which earlier days are like the day of an event, and what was drawn on them in the same hours.

High X of Y, X of X and middle X of Y are one rule with different numbers (what NAESB calls Baseline
Type-I): the latest Y like days without an event and without a hole, then X of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from controller.settlement.days import Calendar, DayKind
from controller.settlement.metering import Metering, Span
from controller.settlement.methods import Lack, NoBaseline, Pick, XOfY


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What is known when a baseline is asked for. `event` has an end; `others` are the times of all events
    that moved the site, this one or not; `usage` is the meter at whatever grain it was kept."""

    calendar: Calendar
    usage: Metering
    event: Span
    others: tuple[Span, ...]
    now_utc_s: float
    _loads: dict[Span, float | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def day(self) -> date:
        return self.calendar.day_of(self.event.start_utc_s)

    def load_w(self, interval: Span) -> float | None:
        """The mean draw of an interval, None where too little of it was measured."""
        if interval not in self._loads:
            self._loads[interval] = self.usage.mean_w(interval)
        return self._loads[interval]

    def alike_w(self, interval: Span, days_ago: int) -> float | None:
        """The same hour so many days earlier; an hour that the clock showed twice counts as the mean of both,
        one that it skipped is not there."""
        loads = [self.load_w(other) for other in self.calendar.alike(interval, days_ago)]
        known = [load for load in loads if load is not None]
        return sum(known) / len(known) if known and len(known) == len(loads) else None

    def is_disturbed(self, day: date) -> bool:
        """Whether an event moved the site on that day; a long one is none of its own like days."""
        whole = self.calendar.span_of(day)
        return any(other.overlaps(whole) for other in (self.event, *self.others))

    def disturber(self, span: Span) -> Span | None:
        """An event that reaches into `span`."""
        return next((other for other in sorted(self.others) if other.overlaps(span)), None)


@dataclass(frozen=True, slots=True)
class LikeDay:
    """`loads_w` are its draws in the intervals of the event, `beside_w` in those that it is compared by."""

    day: date
    loads_w: tuple[float, ...]
    beside_w: tuple[float, ...] = ()

    @property
    def mean_w(self) -> float:
        return sum(self.loads_w) / len(self.loads_w)


@dataclass(slots=True)
class Passed:
    """Why days were passed over, for people."""

    events: int = 0
    missing: int = 0
    low: int = 0

    def __str__(self) -> str:
        counts = (("with events", self.events), ("not measured", self.missing), ("low", self.low))
        return ", ".join(f"{count} {why}" for why, count in counts if count) or "none passed over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Days of the kind of `day`, on which the event is or a part of it, as far back as `look_back_days`."""

    history: History
    day: date
    look_back_days: int
    saturdays_apart: bool

    @property
    def kind(self) -> DayKind:
        calendar = self.history.calendar
        return calendar.kind_of(self.day, saturdays_apart=self.saturdays_apart)

    def days(self, intervals: Sequence[Span], beside: Sequence[Span], passed: Passed) -> Iterator[LikeDay]:
        """Those without an event and without a hole, latest first. `passed` counts the others."""
        history, kind = self.history, self.kind
        for days_ago in range(1, self.look_back_days + 1):
            day = self.day - timedelta(days=days_ago)
            if history.calendar.kind_of(day, saturdays_apart=self.saturdays_apart) is not kind:
                continue
            if any(history.is_disturbed(day) for day in self._touched(days_ago, [*intervals, *beside])):
                passed.events += 1
                continue
            loads, others = self._loads(days_ago, intervals), self._loads(days_ago, beside)
            if loads is None or others is None:
                passed.missing += 1
                continue
            yield LikeDay(day, loads, others)

    def _touched(self, days_ago: int, intervals: Sequence[Span]) -> set[date]:
        calendar = self.history.calendar
        return {
            calendar.day_of(other.start_utc_s)
            for interval in intervals
            for other in calendar.alike(interval, days_ago)
        }

    def _loads(self, days_ago: int, intervals: Sequence[Span]) -> tuple[float, ...] | None:
        loads = [self.history.alike_w(interval, days_ago) for interval in intervals]
        known = tuple(load for load in loads if load is not None)
        return known if len(known) == len(loads) else None


def chosen(
    history: History, method: XOfY, day: date, intervals: Sequence[Span], beside: Sequence[Span]
) -> list[LikeDay] | NoBaseline:
    """The days of the method that are like `day`, latest first."""
    search = Search(
        history=history,
        day=day,
        look_back_days=method.look_back_days,
        saturdays_apart=method.saturdays_apart,
    )
    is_weekday = search.kind is DayKind.WEEKDAY
    take, of = (method.take, method.of) if is_weekday else (method.rest_take, method.rest_of)
    passed = Passed()
    found: list[LikeDay] = []
    for like in search.days(intervals, beside, passed):
        found.append(like)
        if len(found) == of:
            found = _without_low(found, method.low_day_share, passed)
            if len(found) == of:
                return _picked(found, method.pick, take)
    days = f"{len(found)} of {of} days ({search.kind}) in the {method.look_back_days} before {day}"
    return NoBaseline(method=method.name, lack=Lack.LIKE_DAYS, detail=f"{days}; {passed}")


def _without_low(days: list[LikeDay], share: float, passed: Passed) -> list[LikeDay]:
    mean_w = sum(day.mean_w for day in days) / len(days)
    kept = [day for day in days if share <= 0 or day.mean_w >= share * mean_w]
    passed.low += len(days) - len(kept)
    return kept


def _picked(days: list[LikeDay], pick: Pick, take: int) -> list[LikeDay]:
    """Of equal days the later counts as the higher."""
    ranked = sorted(days, key=lambda like: (-like.mean_w, -like.day.toordinal()))
    off = {Pick.ALL: 0, Pick.HIGHEST: 0, Pick.MIDDLE: (len(days) - take) // 2}[pick]
    kept = ranked if pick is Pick.ALL else ranked[off : off + take]
    return sorted(kept, key=lambda like: like.day, reverse=True)
