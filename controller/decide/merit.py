"""The merit order as an operator reads it: who is shed first, what each device earns, what leaving it costs.

It explains a plan and decides nothing. The order is the one in which the allocation takes watts back while
the rest stays as it is: the least worth per kWh first. Heat, dwell and a node's own limit may ask another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controller.decide.plan import Grant, Plan, Reason
from controller.decide.value import Valuation, Work, candidates
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint
from controller.domain.jobs import JobState, OnShortage, QueueReading
from controller.domain.power import Power

UNSHEDDABLE = frozenset({Reason.STALE, Reason.UNREACHABLE, Reason.LYING, Reason.REFUSING})
"""Who does not do as it is told has no place in the order: its watts are taken from others."""


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
    works = dict(_works(queues))
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


def _works(queues: Iterable[QueueReading]) -> Iterator[tuple[str, Work]]:
    for queue in queues:
        for status in queue.jobs:
            yield from ((gpu, Work(job=status.job, state=status.state)) for gpu in status.gpus)


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
    worths = dict(candidates(spec, now, work, valuation, dwelling=False))
    staying = valuation.worth(spec, now, now, work)
    here = worths.get(now, staying)  # a GPU whose job is gone may still stand above what it may have now
    lost_usd, lost_by = _leaving(spec, now, valuation, work, premium_usd_per_hour=here - staying)
    return _Money(
        usd_per_hour=valuation.earned(spec, now, work),
        next_usd_per_kwh=_next(spec, now, valuation, work, worths),
        shed_usd_per_kwh=_shed(now, here, work, worths),
        leaving_usd=lost_usd,
        leaving=lost_by,
    )


def _next(
    spec: DeviceSpec,
    now: OperatingPoint,
    valuation: Valuation,
    work: Work | None,
    points: Iterable[OperatingPoint],
) -> float | None:
    """The best that a kWh above this point earns, the cost of going there left out."""
    here = valuation.earned(spec, now, work)
    return max(
        (
            (valuation.earned(spec, point, work) - here) / (point.power - now.power).in_kw
            for point in points
            if point.power > now.power
        ),
        default=None,
    )


def _shed(
    now: OperatingPoint, here: float, work: Work | None, worths: Mapping[OperatingPoint, float]
) -> float | None:
    """The least that a kWh taken from here costs, what keeps a job where it is included."""
    lower = {point: worth for point, worth in worths.items() if point.power < now.power}
    if len(lower) == 1 and _protected(work):
        return math.inf
    return min(
        ((here - worth) / (now.power - point.power).in_kw for point, worth in lower.items()), default=None
    )


def _protected(work: Work | None) -> bool:
    return work is not None and work.state is JobState.RUNNING and work.job.on_shortage is OnShortage.PROTECT


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
    restart_usd = valuation.output(spec, now, work) * spec.restart_s / 3600
    if work is None or work.state is not JobState.RUNNING:
        return restart_usd, "restart" if restart_usd > 0 else ""
    lost_usd = restart_usd + premium_usd_per_hour * valuation.horizon_s / 3600
    match work.job.on_shortage:
        case OnShortage.PROTECT:
            return math.inf, "protected job"
        case OnShortage.SUSPEND:
            return lost_usd, "suspended job"
        case OnShortage.REQUEUE:
            return lost_usd, "requeued job"
