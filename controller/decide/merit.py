"""The merit order as an operator reads it: who is shed first, what each device earns, what leaving it costs.

It explains a plan and decides nothing. The order is the one in which the allocation takes watts back while
the rest stays as it is: the least worth per kWh first. Heat, dwell and a node's own limit may ask another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from controller.decide.jobs import Placement, work_of
from controller.decide.plan import Grant, Plan, Reason
from controller.decide.value import RETUNE_ASIC_S, RETUNE_GPU_S, Valuation, Work, floor_index
from controller.decide.value import leaving as leaving_of
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint
from controller.domain.jobs import Job, JobState, OnShortage, QueueReading
from controller.domain.power import Power

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
    would earn per kWh, None at the top; `shed_usd_per_kwh` what the first kWh taken from it costs, None at
    the bottom and infinite where a job is protected. `leaving_usd` is lost once when it is left and taken up
    again, and `leaving` says by what.
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
) -> tuple[Merit, ...]:
    """Every device of `plan`, first shed first; those with nothing to give come last, by id."""
    by_id = {spec.id: spec for spec in specs}
    works = _works(queues)
    alike: dict[tuple[object, ...], _Money] = {}
    found: list[tuple[Grant, DeviceSpec, _Money]] = []
    for grant in plan.grants:
        spec, work = by_id[grant.device], works.get(grant.device)
        if work is not None:
            money = _money(spec, grant.point, valuation, work)
        else:  # thousands of machines are of a few kinds
            like = (spec.kind, spec.points, spec.restart_s, grant.point)
            if like not in alike:
                alike[like] = _money(spec, grant.point, valuation, None)
            money = alike[like]
        found.append((grant, spec, money))
    found.sort(key=lambda one: _order(*one))
    return tuple(_merit(*one, at) for at, one in enumerate(found, start=1))


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
        next_usd_per_kwh=money.next_usd_per_kwh,
        shed_usd_per_kwh=shed,
        leaving_usd=money.leaving_usd,
        leaving=money.leaving,
        reason=grant.reason,
        limited_by=grant.limited_by,
        position=None if shed is None else position,
    )


def _money(spec: DeviceSpec, now: OperatingPoint, valuation: Valuation, work: Work | None) -> _Money:
    here = _earned(spec, now, valuation, work)
    stopped = _stopped_at_floor(spec, work)
    premium = leaving_of(stopped) if stopped is not None and now != spec.floor else 0.0
    lost_usd, lost_by = _leaving(spec, now, valuation, work, premium_usd_per_hour=premium)
    points = _points(spec, work)
    higher = [
        (_earned(spec, point, valuation, work) - here) / (point.power - now.power).in_kw
        for point in points
        if point.power > now.power
    ]
    return _Money(
        usd_per_hour=here,
        next_usd_per_kwh=max(higher, default=None),
        shed_usd_per_kwh=_shed(spec, now, valuation, work, here + premium, premium),
        leaving_usd=lost_usd,
        leaving=lost_by,
    )


def _points(spec: DeviceSpec, work: Work | None) -> tuple[OperatingPoint, ...]:
    """The points that a device may be given: a GPU's go by its job, without one it has its floor."""
    if spec.kind is DeviceKind.ASIC:
        return spec.points
    return (
        spec.points[:1] if work is None else (spec.floor, *spec.points[max(1, floor_index(spec, work.job)) :])
    )


def _output(spec: DeviceSpec, point: OperatingPoint, valuation: Valuation, work: Work | None) -> float:
    """USD per hour of what a device produces at `point`. A floor that does not feed its job has none."""
    if spec.kind is DeviceKind.ASIC:
        return point.rate * valuation.prices.usd_per_ths_day / 24
    if work is None or (point == spec.floor and floor_index(spec, work.job) > 0):
        return 0.0
    return point.rate * work.job.usd_per_gpu_hour


def _earned(spec: DeviceSpec, point: OperatingPoint, valuation: Valuation, work: Work | None) -> float:
    return _output(spec, point, valuation, work) - point.power.in_kw * valuation.usd_per_kwh


def _shed(
    spec: DeviceSpec,
    now: OperatingPoint,
    valuation: Valuation,
    work: Work | None,
    here: float,
    premium: float,
) -> float | None:
    """The least that a kWh taken from here costs: what keeps a job where it is included, and the output that
    a device loses by going to a lower point than it is at, and a miner by being started again."""
    lower = [point for point in _points(spec, work) if point.power < now.power]
    if lower == [spec.floor] and _protected(_stopped_at_floor(spec, work)):
        return math.inf
    asic = spec.kind is DeviceKind.ASIC
    retuned = min(1.0, (RETUNE_ASIC_S if asic else RETUNE_GPU_S) / valuation.shed_s)
    restarted = min(1.0, spec.restart_s / valuation.shed_s) if asic else 0.0
    costs = []
    for point in lower:
        lost = _output(spec, point, valuation, work) * retuned
        if point == spec.floor:
            lost += _output(spec, spec.points[-1], valuation, work) * restarted
        kept = premium if point != spec.floor else 0.0
        worth = _earned(spec, point, valuation, work) - lost + kept
        costs.append((here - worth) / (now.power - point.power).in_kw)
    return min(costs, default=None)


def _stopped_at_floor(spec: DeviceSpec, work: Work | None) -> Job | None:
    """The job that runs here, where the floor does not feed it: it is set aside when its GPU goes there."""
    if work is None or work.state is not JobState.RUNNING or floor_index(spec, work.job) == 0:
        return None
    return work.job


def _protected(job: Job | None) -> bool:
    return job is not None and job.on_shortage is OnShortage.PROTECT


def _leaving(
    spec: DeviceSpec,
    now: OperatingPoint,
    valuation: Valuation,
    work: Work | None,
    *,
    premium_usd_per_hour: float,
) -> tuple[float, str]:
    """USD lost once by going to the lowest point and coming back, and what loses it."""
    if now == spec.floor:
        return 0.0, ""
    restart_usd = _output(spec, now, valuation, work) * spec.restart_s / 3600
    stopped = _stopped_at_floor(spec, work)
    if stopped is None:
        return restart_usd, "restart" if restart_usd > 0 else ""
    lost_usd = restart_usd + premium_usd_per_hour * valuation.horizon_s / 3600
    return math.inf if _protected(stopped) else lost_usd, LEFT[stopped.on_shortage]
