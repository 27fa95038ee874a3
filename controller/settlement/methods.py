"""The baselines that contracts know, as values: which days, how adjusted, from which readings.

A baseline is what the site would have drawn without the event. The numbers here are those that the named
market is known for; the contract is what counts, and the site file can say each of them.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from controller.domain.power import Power
from controller.settlement.metering import Span

HOUR_S = 3600.0


class Pick(StrEnum):
    """Which of the like days count: all, those with the highest load in the hours of the event, or all but
    as many of the highest as of the lowest."""

    ALL = "all"
    HIGHEST = "highest"
    MIDDLE = "middle"


class Shift(StrEnum):
    """How a baseline of other days is brought to the level of this day."""

    ADDITIVE = "additive"
    MULTIPLICATIVE = "multiplicative"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """From the `window_s` that end `gap_s` before the event. It moves the baseline by no more than
    `most_share` of itself; None is no such bound."""

    shift: Shift
    window_s: float = 3 * HOUR_S
    gap_s: float = HOUR_S
    most_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class XOfY:
    """`take` of the latest `of` like days, looked for `look_back_days` back; `rest_take` of `rest_of` for
    events on weekends and holidays.

    A day whose load in the hours of the event is below `low_day_share` of the mean of the days in hand is
    replaced by an earlier one. `saturdays_apart`: Saturdays are like no other day.
    """

    name: str
    pick: Pick
    take: int
    of: int
    rest_take: int
    rest_of: int
    look_back_days: int = 45
    low_day_share: float = 0.0
    saturdays_apart: bool = False
    adjustment: Adjustment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SameDay:
    """The mean of `before_s` before the event and `after_s` after it, `skip_s` left out on both sides."""

    name: str = "pjm-same-day-3-2"
    before_s: float = 3 * HOUR_S
    after_s: float = 2 * HOUR_S
    skip_s: float = HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchDay:
    """The mean of the `take` like days that are nearest to the day of the event in the hours without an
    event, `skip_s` left out on both sides of each."""

    name: str = "pjm-match-day"
    take: int = 3
    look_back_days: int = 45
    skip_s: float = HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterBefore:
    """What the meter showed for `length_s`, until `gap_s` before the event: a site goes down before it."""

    name: str = "meter-before"
    length_s: float = 60.0
    gap_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmServiceLevel:
    """No baseline: whatever the site would have drawn, it may draw `level` at most."""

    level: Power
    name: str = "firm-service-level"


Method = XOfY | SameDay | MatchDay | MeterBefore | FirmServiceLevel


class Lack(StrEnum):
    """Why there is no baseline. A public contract: operators and programs read these strings."""

    LIKE_DAYS = "too_few_like_days"
    METER = "meter_not_measured"
    OTHER_EVENT = "another_event"
    NOT_OVER = "not_over_yet"
    NO_SUCH_THING = "method_has_no_baseline"
    NOT_IN_TIME = "not_computed_in_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoBaseline:
    """Nothing is guessed: it is not known what the site would have drawn, for this reason."""

    method: str
    lack: Lack
    detail: str


@dataclass(frozen=True, slots=True)
class Step:
    span: Span
    power: Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """`steps` ascend and cover the event. `days` are those it was made of, `detail` how it was adjusted."""

    method: str
    steps: tuple[Step, ...]
    days: tuple[date, ...] = ()
    detail: str = ""

    def at(self, utc_s: float) -> Power | None:
        found = self._within(Span(utc_s, math.nextafter(utc_s, math.inf)))
        return found[0].power if found else None

    def over(self, span: Span) -> Power | None:
        """The mean over a span that the steps cover wholly, rounded down: a baseline never overstates what
        was given up."""
        energy_ws, covered_s = 0.0, 0.0
        for step in self._within(span):
            if (inside := step.span.clipped(span)) is not None:
                energy_ws += step.power.watts * inside.length_s
                covered_s += inside.length_s
        if covered_s <= 0 or covered_s < span.length_s - 1e-3:
            return None
        return Power.down(energy_ws / covered_s + 1e-6)

    def _within(self, span: Span) -> Sequence[Step]:
        """The steps that have a part in `span`. An event of weeks has thousands, and as many intervals."""
        first = bisect_right(self.steps, span.start_utc_s, key=lambda step: step.span.end_utc_s)
        last = bisect_left(self.steps, span.end_utc_s, key=lambda step: step.span.start_utc_s)
        return self.steps[first:last]


def ten_of_ten(name: str = "10-of-10") -> XOfY:
    """All of the ten latest like days; of weekends and holidays four.

    CAISO's day matching, which AEMO's methodology register builds on too ("10 of 10").
    """
    return XOfY(name=name, pick=Pick.ALL, take=10, of=10, rest_take=4, rest_of=4)


_FIVE_OF_TEN = XOfY(name="high-5-of-10", pick=Pick.HIGHEST, take=5, of=10, rest_take=2, rest_of=3)
_PJM = XOfY(
    name="pjm-high-4-of-5",
    pick=Pick.HIGHEST,
    take=4,
    of=5,
    rest_take=2,
    rest_of=3,
    low_day_share=0.25,
    saturdays_apart=True,
)
_MIDDLE = XOfY(name="middle-8-of-10", pick=Pick.MIDDLE, take=8, of=10, rest_take=8, rest_of=10)

KNOWN: dict[str, XOfY | SameDay | MatchDay | MeterBefore] = {
    method.name: method
    for method in (
        ten_of_ten(),
        replace(
            ten_of_ten("caiso-10-of-10"), adjustment=Adjustment(shift=Shift.MULTIPLICATIVE, most_share=0.2)
        ),
        _FIVE_OF_TEN,
        _MIDDLE,
        _PJM,
        replace(_PJM, name="pjm-high-4-of-5-saa", adjustment=Adjustment(shift=Shift.ADDITIVE)),
        SameDay(),
        MatchDay(),
        MeterBefore(),
    )
}
"""Every method that needs no number of the contract, by the name that the site file calls it."""
