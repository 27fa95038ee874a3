"""What the site says of itself to a grid operator: one value, made by the loop on every tick.

Plain facts in watts: units, averages and report shapes are the codec's business.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from controller.domain.grid import EventStatus
from controller.domain.power import NO_LIMIT, ZERO, Bound, Power


class DataQuality(StrEnum):
    OK = "OK"
    ESTIMATED = "ESTIMATED"
    MISSING = "MISSING"


class OperatingState(StrEnum):
    """The words of the standard that a site has use for."""

    RUNNING_NORMAL = "RUNNING_NORMAL"
    RUNNING_CURTAILED = "RUNNING_CURTAILED"
    RUNNING_OPTED_OUT = "RUNNING_OPTED_OUT"
    IDLE_NORMAL = "IDLE_NORMAL"
    IDLE_CURTAILED = "IDLE_CURTAILED"
    IDLE_OPTED_OUT = "IDLE_OPTED_OUT"
    ERROR = "ERROR"

    @property
    def opted_out(self) -> OperatingState:
        """The same of a site that does not do what an event asks for."""
        is_idle = self.value.startswith("IDLE")
        return OperatingState.IDLE_OPTED_OUT if is_idle else OperatingState.RUNNING_OPTED_OUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The site at one instant: draw at the grid meter, and the cap it holds."""

    demand: Power = ZERO
    setpoint: Bound = NO_LIMIT
    quality: DataQuality = DataQuality.MISSING
    state: OperatingState = OperatingState.RUNNING_NORMAL


UNMEASURED = Measured()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the site is with one version of an event: STARTED, COMPLIANT, INFEASIBLE or COMPLETED. With
    INFEASIBLE, `possible` is the draw nearest to what was asked for that the site can come to. `drawn_before`
    is what it drew before it began to follow the event, where that matters. A set-point that another one
    outranks is not followed: `outranked`."""

    event: str
    version_utc_s: float
    status: EventStatus
    possible: Power | None = None
    drawn_before: Power | None = None
    outranked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What the site foresees of one version of an event that has not begun: INFEASIBLE, or RECEIVED where it
    can be met. `possible` is the draw nearest to what is `asked` for."""

    event: str
    version_utc_s: float
    status: EventStatus
    asked: Power
    possible: Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A sub-meter, for information: the site meter alone is what counts."""

    name: str
    demand: Power
    quality: DataQuality


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A node of the site's tree: what it draws, and what the plan lets it draw."""

    node: str
    demand: Power
    granted: Power
    quality: DataQuality = DataQuality.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """One tick's worth of telling. `demand` means nothing while `quality` is MISSING.

    `baseline` is what the site would draw without events; `shed_available` what it could still drop, and
    `rise_available` what it could take on within its limits. `granted` is what the plan lets it draw. `seal`
    names the newest seal of the site's journal. Of a pause longer than `holds_s` before it nothing was
    measured.
    """

    now_utc_s: float
    demand: Power
    setpoint: Bound = NO_LIMIT
    quality: DataQuality = DataQuality.OK
    state: OperatingState = OperatingState.RUNNING_NORMAL
    baseline: Power | None = None
    shed_available: Power | None = None
    rise_available: Power | None = None
    granted: Power | None = None
    parts: tuple[Part, ...] = ()
    places: tuple[Place, ...] = ()
    progress: tuple[Progress, ...] = ()
    foreseen: tuple[Foreseen, ...] = ()
    seal: str = ""
    holds_s: float = math.inf

    @property
    def measured(self) -> Measured:
        return Measured(demand=self.demand, setpoint=self.setpoint, quality=self.quality, state=self.state)
