"""Days as the contract counts them: of the site's own calendar, 23 or 25 hours long where the clock changes.

An interval of a day is known by what the wall clock shows as it begins, so that hours of two days compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from controller.settlement.metering import Span


class DayKind(StrEnum):
    """Days that are like each other."""

    WEEKDAY = "weekday"
    SATURDAY = "saturday"
    SUNDAY_OR_HOLIDAY = "sunday_or_holiday"
    WEEKEND_OR_HOLIDAY = "weekend_or_holiday"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A site's days, cut into intervals of `interval_s` from local midnight on. `holidays` are the days that
    the contract names as such."""

    zone: tzinfo
    interval_s: int
    holidays: frozenset[date] = frozenset()

    def day_of(self, utc_s: float) -> date:
        return datetime.fromtimestamp(utc_s, self.zone).date()

    def span_of(self, day: date) -> Span:
        """From one local midnight to the next."""
        return Span(self._midnight_utc_s(day), self._midnight_utc_s(day + timedelta(days=1)))

    def kind_of(self, day: date, *, saturdays_apart: bool) -> DayKind:
        rests = day in self.holidays or day.weekday() >= 5
        if not rests:
            return DayKind.WEEKDAY
        if not saturdays_apart:
            return DayKind.WEEKEND_OR_HOLIDAY
        is_saturday = day.weekday() == 5 and day not in self.holidays
        return DayKind.SATURDAY if is_saturday else DayKind.SUNDAY_OR_HOLIDAY

    def intervals_of(self, day: date) -> Iterator[Span]:
        yield from self._intervals(day, self.span_of(day))

    def intervals_in(self, span: Span) -> tuple[Span, ...]:
        """The intervals that have a part in `span`, whole."""
        day, last = self.day_of(span.start_utc_s), self.day_of(span.end_utc_s)
        found: list[Span] = []
        while day <= last:
            found += self._intervals(day, span)
            day += timedelta(days=1)
        return tuple(found)

    def whole_in(self, span: Span) -> tuple[Span, ...]:
        """The intervals that lie wholly in `span`."""
        return tuple(found for found in self.intervals_in(span) if found.clipped(span) == found)

    def alike(self, interval: Span, days_ago: int) -> tuple[Span, ...]:
        """The intervals so many days earlier that begin at the same time on the wall clock: one as a rule,
        none where the clock skipped it, two where the clock showed it twice."""
        begins = datetime.fromtimestamp(interval.start_utc_s, self.zone)
        wall = begins.replace(tzinfo=None, fold=0) - timedelta(days=days_ago)
        starts = []
        for fold in (0, 1):
            moment = wall.replace(tzinfo=self.zone, fold=fold)
            utc_s = moment.timestamp()
            is_shown = datetime.fromtimestamp(utc_s, self.zone).replace(tzinfo=None, fold=0) == wall
            if is_shown and utc_s not in starts:
                starts.append(utc_s)
        return tuple(Span(utc_s, utc_s + interval.length_s) for utc_s in starts)

    def _intervals(self, day: date, wanted: Span) -> Iterator[Span]:
        """Those of a day that have a part in `wanted`."""
        whole = self.span_of(day)
        passed = max(int((wanted.start_utc_s - whole.start_utc_s) // self.interval_s), 0)
        start_utc_s = whole.start_utc_s + passed * self.interval_s
        while start_utc_s < min(whole.end_utc_s, wanted.end_utc_s):
            interval = Span(start_utc_s, min(start_utc_s + self.interval_s, whole.end_utc_s))
            if interval.overlaps(wanted):
                yield interval
            start_utc_s += self.interval_s

    def _midnight_utc_s(self, day: date) -> float:
        return datetime.combine(day, time(), self.zone).timestamp()
