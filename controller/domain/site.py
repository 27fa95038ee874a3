"""The fixed part of a site: its electrical tree, its cooling zones and its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.domain.devices import ThermalLimits
from controller.domain.power import NO_LIMIT, ZERO, Bound, Power


class Service(StrEnum):
    """Whether a node and all below it are used.

    `DRAINING` brings everything below to its lowest, so that it can be switched off; a job that this does not
    feed begins anew elsewhere, a protected one is suspended. `ISOLATED` says that there is no voltage below:
    a phase of the build that is not energised yet, or a breaker that is locked out. What is silent there
    draws nothing; what answers all the same counts, and is an alarm.
    """

    IN_SERVICE = "in_service"
    DRAINING = "draining"
    ISOLATED = "isolated"


class Mode(StrEnum):
    """Whether the site is commanded. `OBSERVE` decides all the same, and nothing of it leaves the program."""

    CONTROL = "control"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A place in the electrical tree. `fixed` is load under this node that no device accounts for.

    `ramp_up_per_s` and `ramp_down_per_s` are how fast its load may be changed, in watts per second.
    """

    id: str
    parent: str | None = None
    limit: Bound = NO_LIMIT
    fixed: Power = ZERO
    meter: str | None = None
    ramp_up_per_s: Bound = NO_LIMIT
    ramp_down_per_s: Bound = NO_LIMIT
    service: Service = Service.IN_SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A cooling zone: its devices derate from `derate_c` of inlet air and are at their floor at `trip_c`.

    `coolant` is the same for the liquid that cools them, where there is one.
    """

    id: str
    derate_c: float
    trip_c: float
    coolant: ThermalLimits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The prices in force. `usd_per_gpu_hour` goes by GPU model and holds for jobs without a price of their
    own; the last is what a grid operator pays for load given up.
    """

    usd_per_ths_day: float = 0.05
    usd_per_kwh: float = 0.05
    usd_per_gpu_hour: Mapping[str, float] = field(default_factory=dict)
    usd_per_kwh_reduced: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When a machine stops and starts for money, by what a kWh at its best point earns beyond its cost.

    It stops below `stop_below` USD per kWh and starts again above `start_above`; a verdict holds for at
    least `least_on_s` once it is to run, and `least_off_s` once it is not to.
    """

    stop_below: float = 0.0
    start_above: float = 0.0
    least_on_s: float = 0.0
    least_off_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.stop_below <= self.start_above:
            raise ValueError(
                f"stop_below {self.stop_below} must not lie above start_above {self.start_above}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLost:
    """What `node` (empty: the site) may draw while `operator` is not heard and has nothing in force there."""

    operator: str
    limit: Power
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The site's own choices; configs/site.example.toml says what each means to an operator.

    `margin` is the share of every limit that stays unused: a first-order decay never reaches an exact
    target. `step_margin` is the share of a sudden step down that is shed beyond it until the step is over:
    some machines are slow, and some do not obey. `link_lost` are the contracts for operators that are not
    heard, `link_lost_limit` is that of those who have none of their own. `switch_horizon_s` is the time over
    which the cost of a change must be earned back.
    """

    mode: Mode = Mode.CONTROL
    tick_s: float = 1.0
    margin: float = 0.01
    step_margin: float = 0.08
    event_lead_s: float = 20.0
    starts_per_tick: int = 1000
    meter_stale_after_s: float = 5.0
    start_grace_s: float = 20.0
    link_lost_limit: Bound = NO_LIMIT
    link_lost: tuple[LinkLost, ...] = ()
    network_fault_share: float = 0.3
    switch_horizon_s: float = 900.0
    retry_s: float = 20.0
    profit: Thresholds = field(default_factory=Thresholds)

    @property
    def observes(self) -> bool:
        """Whether nothing may be commanded, promised or claimed."""
        return self.mode is Mode.OBSERVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Nodes come parents first; the first is the root, the site's connection to the grid."""

    name: str
    nodes: tuple[Node, ...]
    zones: tuple[Zone, ...] = ()
    policy: Policy = field(default_factory=Policy)
    prices: Prices = field(default_factory=Prices)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            if node.id in seen:
                raise ValueError(f"node {node.id}: declared twice")
            if (node.parent is None) != (not seen):
                raise ValueError(f"node {node.id}: exactly the first node has no parent")
            if node.parent is not None and node.parent not in seen:
                raise ValueError(f"node {node.id}: parent {node.parent!r} is not declared before it")
            seen.add(node.id)

    @property
    def root(self) -> Node:
        return self.nodes[0]

    def isolated(self) -> frozenset[str]:
        """The nodes that have no voltage: they are declared so, or lie below one that is."""
        found: set[str] = set()
        for node in self.nodes:
            if node.service is Service.ISOLATED or node.parent in found:
                found.add(node.id)
        return frozenset(found)
