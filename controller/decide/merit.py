"""The merit order as an operator reads it: who is shed first, what each device earns, what leaving it costs.

It explains a plan and decides nothing. The order is the one in which the allocation takes watts back while
the rest stays as it is: the least worth per kWh first. Heat, dwell and a node's own limit may ask another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from controller.decide.device import DeviceState
from controller.decide.doubt import without_work
from controller.decide.jobs import Placement, work_of
from controller.decide.plan import Grant, Plan
from controller.decide.posts import Work, enough_index, floor_index
from controller.decide.value import (
    IDLE_WORTH,
    RETUNE_ASIC_S,
    RETUNE_GPU_S,
    Valuation,
    pool_is_gone,
)
from controller.decide.value import leaving as leaving_of
from controller.decide.words import Reason
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint
from controller.domain.jobs import Job, JobState, OnShortage, QueueReading
from controller.domain.power import Power

NOTHING_SEEN: Mapping[str, DeviceState] = MappingProxyType({})
UNSHEDDABLE = frozenset({Reason.STALE, Reason.UNREACHABLE, Reason.LYING, Reason.REFUSING})
"""Who does not do as it is told has no place in the order: its watts are taken from others."""
LEFT = {
    OnShortage.PROTECT: "protected job",
    OnShortage.SUSPEND: "suspended job",
    OnShortage.REQUEUE: "requeued job",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Merit:
    """One device. `position` counts from 1, who is shed first; None for one that has nothing to give.

    `usd_per_hour` is what it earns at its point, less its energy. `next_usd_per_kwh` is what its next watts
    would earn per kWh, None at the top and beside a slower GPU of its job; `shed_usd_per_kwh` what the first
    kWh taken from it costs, None at the bottom and infinite where a job is protected. `leaving_usd` is lost
    once when it is left and taken up again, and `leaving` says by what.
    """

    device: str
    kind: DeviceKind
    node: str
    point: str
    power: Power
    draw: Power
    usd_per_hour: float
    next_usd_per_kwh: float | None
    shed_usd_per_kwh: float | None
    leaving_usd: float
    leaving: str
    reason: Reason
    limited_by: str
    position: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Money:
    """What `Merit` tells of a device in USD: the same for all of one kind at one point that hold no job."""

    usd_per_hour: float
    next_usd_per_kwh: float | None
    shed_usd_per_kwh: float | None
    leaving_usd: float
    leaving: str


def merit_order(
    plan: Plan,
    specs: Iterable[DeviceSpec],
    valuation: Valuation,
    queues: Iterable[QueueReading] = (),
    seen: Mapping[str, DeviceState] = NOTHING_SEEN,
) -> tuple[Merit, ...]:
    """Every device of `plan`, first shed first; those with nothing to give come last, by id. `seen` is what
    is known of their work."""
    by_id = {spec.id: spec for spec in specs}
    works, idle = _works(queues), _idle(plan, by_id, seen)
    alike: dict[tuple[object, ...], _Money] = {}
    found: list[tuple[Grant, DeviceSpec, _Money]] = []
    for grant in plan.grants:
        spec, work, is_idle = by_id[grant.device], works.get(grant.device), grant.device in idle
        if work is not None:
            money = _Case(spec, grant.point, valuation, work, _enough(spec, work, seen), False).money()
        else:  # thousands of machines are of a few kinds
            like = (spec.kind, spec.points, spec.restart_s, grant.point, is_idle)
            if like not in alike:
                alike[like] = _Case(spec, grant.point, valuation, None, spec.points[-1], is_idle).money()
            money = alike[like]
        found.append((grant, spec, money))
    found.sort(key=lambda one: _order(*one))
    return tuple(_merit(*one, at) for at, one in enumerate(found, start=1))


def _idle(plan: Plan, specs: Mapping[str, DeviceSpec], seen: Mapping[str, DeviceState]) -> frozenset[str]:
    """The miners that do no work, whose watts others could use."""
    idle = frozenset(name for name, state in seen.items() if without_work(state))
    running = sum(
        specs[grant.device].kind is DeviceKind.ASIC and grant.point != specs[grant.device].floor
        for grant in (plan.grants if idle else ())
    )
    return frozenset() if pool_is_gone(len(idle), running) else idle


def _enough(spec: DeviceSpec, work: Work, seen: Mapping[str, DeviceState]) -> OperatingPoint:
    demand_w = seen[spec.id].demand_w if spec.id in seen else math.inf
    return spec.points[enough_index(spec, work.job, demand_w)]


def _order(grant: Grant, spec: DeviceSpec, money: _Money) -> tuple[bool, float, str]:
    shed = _given_for(grant, money)
    return shed is None, 0.0 if shed is None else shed, spec.id


def _given_for(grant: Grant, money: _Money) -> float | None:
    """What the first kWh costs of a device that gives one when it is told to."""
    return None if grant.reason in UNSHEDDABLE else money.shed_usd_per_kwh


def _works(queues: Iterable[QueueReading]) -> Mapping[str, Work]:
    return work_of(
        Placement(queue=queue.queue, status=status, gpus=status.gpus)
        for queue in queues
        for status in queue.jobs
    )


def _merit(grant: Grant, spec: DeviceSpec, money: _Money, position: int) -> Merit:
    shed = _given_for(grant, money)
    return Merit(
        device=spec.id,
        kind=spec.kind,
        node=spec.node,
        point=grant.point.name,
        power=grant.power,
        draw=grant.draw,
        usd_per_hour=money.usd_per_hour,
        next_usd_per_kwh=None if grant.reason is Reason.PACED else money.next_usd_per_kwh,
        shed_usd_per_kwh=shed,
        leaving_usd=money.leaving_usd,
        leaving=money.leaving,
        reason=grant.reason,
        limited_by=grant.limited_by,
        position=None if shed is None else position,
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One device at its point `now`. Its work wants no more than `enough`; `is_idle`, it has none to do."""

    spec: DeviceSpec
    now: OperatingPoint
    valuation: Valuation
    work: Work | None
    enough: OperatingPoint
    is_idle: bool

    def money(self) -> _Money:
        here, now = self.worth(self.now), self.now
        higher = [
            (self.worth(point) - here) / (point.power - now.power).in_kw
            for point in self.points()
            if now.power < point.power <= self.enough.power
        ]
        lost_usd, lost_by = self.leaving()
        return _Money(
            usd_per_hour=self.earned(now, self.valuation.spent_usd_per_kwh)
            - (self.output(now) if self.is_idle else 0.0),
            next_usd_per_kwh=max(higher, default=None),
            shed_usd_per_kwh=self.shed(),
            leaving_usd=lost_usd,
            leaving=lost_by,
        )

    def points(self) -> tuple[OperatingPoint, ...]:
        """The points that it may be given: a GPU's go by its job, without one it has its floor."""
        spec = self.spec
        if spec.kind is DeviceKind.ASIC:
            return spec.points
        if self.work is None:
            return spec.points[:1]
        return (spec.floor, *spec.points[max(1, floor_index(spec, self.work.job)) :])

    def output(self, point: OperatingPoint) -> float:
        """USD per hour of what it produces at `point`. A floor that does not feed its job has none."""
        if self.spec.kind is DeviceKind.ASIC:
            return point.rate * self.valuation.prices.usd_per_ths_day / 24
        if self.work is None or (point == self.spec.floor and floor_index(self.spec, self.work.job) > 0):
            return 0.0
        return point.rate * self.work.job.usd_per_gpu_hour

    def earned(self, point: OperatingPoint, usd_per_kwh: float) -> float:
        """Beyond what its work wants it neither makes more nor draws more."""
        if self.work is not None and point.power > self.enough.power:
            point = self.enough
        return self.output(point) - point.power.in_kw * usd_per_kwh

    def worth(self, point: OperatingPoint) -> float:
        """One that is idle may get work at any moment."""
        earned = self.earned(point, self.valuation.usd_per_kwh)
        return earned * IDLE_WORTH if self.is_idle and earned > 0 else earned

    def shed(self) -> float | None:
        """The least that a kWh taken from here costs: what keeps a job where it is included, and the output
        that it loses by going to a lower point than it is at, and a miner by being started again."""
        spec, now, shed_s = self.spec, self.now, self.valuation.shed_s
        lower = [point for point in self.points() if point.power < now.power]
        if lower == [spec.floor] and _protected(self.stopped()):
            return math.inf
        asic, premium = spec.kind is DeviceKind.ASIC, self.premium()
        retuned = min(1.0, (RETUNE_ASIC_S if asic else RETUNE_GPU_S) / shed_s)
        restarted = min(1.0, spec.restart_s / shed_s) * (IDLE_WORTH if self.is_idle else 1.0) if asic else 0.0
        costs = []
        for point in lower:
            lost = 0.0 if point == self.enough else self.output(point) * retuned
            if point == spec.floor:
                lost += self.output(spec.points[-1]) * restarted + premium
            costs.append((self.worth(now) - self.worth(point) + lost) / (now.power - point.power).in_kw)
        return min(costs, default=None)

    def stopped(self) -> Job | None:
        """The job that runs here, where the floor does not feed it: it is set aside there."""
        work = self.work
        if work is None or work.state is not JobState.RUNNING or floor_index(self.spec, work.job) == 0:
            return None
        return work.job

    def premium(self) -> float:
        """USD per hour that keep a job from being set aside here."""
        stopped = self.stopped()
        return leaving_of(stopped) if stopped is not None and self.now != self.spec.floor else 0.0

    def leaving(self) -> tuple[float, str]:
        """USD lost once by going to the lowest point and coming back, and what loses it."""
        if self.now == self.spec.floor:
            return 0.0, ""
        restart_usd = self.output(self.now) * self.spec.restart_s / 3600
        stopped = self.stopped()
        if stopped is None:
            return restart_usd, "restart" if restart_usd > 0 else ""
        lost_usd = restart_usd + self.premium() * self.valuation.horizon_s / 3600
        return math.inf if _protected(stopped) else lost_usd, LEFT[stopped.on_shortage]


def _protected(job: Job | None) -> bool:
    return job is not None and job.on_shortage is OnShortage.PROTECT
