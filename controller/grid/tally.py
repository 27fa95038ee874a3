"""What a place of the site drew over a while: readings added up, and the mean of what was measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.domain.grid import EventStatus
from controller.domain.power import NO_LIMIT, ZERO, Bound, Power
from controller.grid.site import DataQuality, OperatingState, Part, Place, Progress, SiteReport

WHOLE_SHARE = 0.99
"""A while is measured where ticks cover this share of it, but for one tick: edges fall between two."""
LONGEST_TICK_S = 60.0
LEAST_S = 1e-3
"""What two reports of one instant, or by a clock that was set back, lie apart."""
NOISE_W = 1e-6
"""Of a float: a draw that stood still is told as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """A place over one report period of one event; an empty `node` is the site. `index` numbers the period,
    `payloads` were asked; `status` and `possible` are where the event stood at its end."""

    event: str
    index: int
    start_utc_s: float
    end_utc_s: float
    demand: Power
    quality: DataQuality
    node: str = ""
    setpoint: Bound = NO_LIMIT
    state: OperatingState = OperatingState.RUNNING_NORMAL
    baseline: Power | None = None
    shed_available: Power | None = None
    rise_available: Power | None = None
    parts: tuple[Part, ...] = ()
    status: EventStatus | None = None
    possible: Power | None = None
    payloads: frozenset[str] = frozenset()

    @property
    def usage_kwh(self) -> float:
        """Energy drawn, taken from the mean: what was not measured counts as what was."""
        return self.demand.in_kw * (self.end_utc_s - self.start_utc_s) / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """`reports` of the site so far, from `first_utc_s` on. Each says what was drawn since the one before it:
    a loop that is woken often does not weigh its wakings. The first says it since the while began, `first_s`
    before it, or since a tick before it where that is later.

    `sum_ws` and `measured_s` are of all others in which something was measured; `first_w` is None where the
    first did not. Of a pause, as of a loop that hung, they have only what the reading at its end stands for;
    `pauses` and `paused_s` are how many there were, and all of their time.
    """

    reports: int = 0
    measured: int = 0
    estimated: int = 0
    sum_ws: float = 0.0
    measured_s: float = 0.0
    pauses: int = 0
    paused_s: float = 0.0
    first_w: int | None = None
    first_s: float = 0.0
    first_utc_s: float = 0.0
    last: SiteReport | None = None

    def plus(self, report: SiteReport, node: str, since_utc_s: float) -> Tally:
        """One more report on a while that began at `since_utc_s`."""
        place = _place(report, node)
        watts = None if place is None or place.quality is DataQuality.MISSING else place.demand.watts
        before_utc_s = since_utc_s if self.last is None else self.last.now_utc_s
        elapsed_s = max(report.now_utc_s - before_utc_s, LEAST_S)
        stands_s = min(elapsed_s, report.holds_s)
        counted = replace(
            self,
            reports=self.reports + 1,
            measured=self.measured + (watts is not None),
            estimated=self.estimated + (place is not None and place.quality is DataQuality.ESTIMATED),
            last=report,
        )
        if self.last is None:
            return replace(counted, first_w=watts, first_s=stands_s, first_utc_s=report.now_utc_s)
        if elapsed_s > stands_s:
            counted = replace(counted, pauses=self.pauses + 1, paused_s=self.paused_s + elapsed_s)
        if watts is None:
            return counted
        return replace(counted, sum_ws=self.sum_ws + watts * stands_s, measured_s=self.measured_s + stands_s)

    def quality(self, length_s: float) -> DataQuality:
        """Of a while of `length_s`: with gaps or estimates in it, or begun late, its mean is an estimate."""
        if not self.measured:
            return DataQuality.MISSING
        whole = self.measured == self.reports and not self.estimated and self._covers(length_s)
        return DataQuality.OK if whole else DataQuality.ESTIMATED

    @property
    def demand(self) -> Power:
        """The mean of what was measured."""
        first_s = 0.0 if self.first_w is None else min(self.first_s, self._step_s or self.first_s)
        sum_ws = self.sum_ws + (self.first_w or 0) * first_s
        return Power.up(sum_ws / max(self.measured_s + first_s, LEAST_S) - NOISE_W)

    @property
    def _step_s(self) -> float | None:
        """The mean time between two reports, but for pauses."""
        steps = self.reports - 1 - self.pauses
        if self.last is None or steps < 1:
            return None
        return max(self.last.now_utc_s - self.first_utc_s - self.paused_s, LEAST_S) / steps

    def _covers(self, length_s: float) -> bool:
        if (step_s := self._step_s) is None:
            most_s = LONGEST_TICK_S if self.last is None else min(LONGEST_TICK_S, self.last.holds_s)
            return not self.pauses and length_s <= most_s
        return step_s * (self.reports + 1 - self.pauses) >= WHOLE_SHARE * length_s


NO_TALLY = Tally()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a report is about. `alone`, the parts of the site are not told beside it."""

    event: str
    node: str
    alone: bool
    payloads: frozenset[str]


def average(
    scope: Scope, tally: Tally, now: SiteReport, *, index: int, start_s: float, end_s: float
) -> Average:
    """The mean of what was measured; everything else is as it is `now`. Of a node only its draw is told."""
    stands = next((one for one in now.progress if one.event == scope.event), None)
    about = Average(
        event=scope.event,
        index=index,
        start_utc_s=start_s,
        end_utc_s=end_s,
        demand=tally.demand if tally.measured else ZERO,
        quality=tally.quality(end_s - start_s),
        node=scope.node,
        payloads=scope.payloads,
        status=None if stands is None else stands.status,
        possible=None if stands is None else stands.possible,
    )
    if scope.node:
        return about
    return replace(
        about,
        setpoint=now.setpoint,
        state=_state(now, stands),
        baseline=now.baseline,
        shed_available=now.shed_available,
        rise_available=now.rise_available,
        parts=() if scope.alone else now.parts,
    )


def _state(now: SiteReport, stands: Progress | None) -> OperatingState:
    """Towards an operator whose set-point is not followed the site has opted out."""
    return now.state.opted_out if stands is not None and stands.outranked else now.state


def _place(report: SiteReport, node: str) -> Place | None:
    if not node:
        return Place(node="", demand=report.demand, granted=report.demand, quality=report.quality)
    return next((place for place in report.places if place.node == node), None)
