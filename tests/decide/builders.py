"""Builders with sane defaults, so that a test of the decision core says only what matters to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.decide.device import DeviceState
from controller.decide.inputs import Inputs, Sample
from controller.decide.plan import UNLIMITED_W, Grant, Grants, NodeState, NodeStates, Plan
from controller.decide.snapshot import State
from controller.decide.words import REASONS, TRUTHS, Reason, Truth
from controller.domain.devices import (
    Cooling,
    DeviceKind,
    DeviceSpec,
    MeterReading,
    OperatingPoint,
    Quality,
    Reading,
    ZoneReading,
)
from controller.domain.grid import (
    EventInterval,
    GridEvent,
    LimitSignal,
    PriceSignal,
    Signal,
    TargetSignal,
)
from controller.domain.jobs import FlexTier, Job, JobState, JobStatus, OnShortage, QueueReading
from controller.domain.power import NO_LIMIT, Bound, Limit, NoLimit, Power
from controller.domain.site import Node, Policy, Service, Site, Zone

NOW_S = 1_000.0
UTC_S = 1_700_000_000.0

SLEEP = OperatingPoint(name="sleep", power=Power(30), rate=0.0)
LOW = OperatingPoint(name="low", power=Power(2_400), rate=150.0)
FULL = OperatingPoint(name="full", power=Power(3_500), rate=200.0)
GPU_POINTS = tuple(
    OperatingPoint(name=f"{watts}w", power=Power(watts), rate=rate)
    for watts, rate in ((200, 0.45), (300, 0.62), (400, 0.76), (500, 0.88), (600, 0.96), (700, 1.0))
)


def bound(watts: int | None) -> Bound:
    return NO_LIMIT if watts is None else Limit(Power(watts))


def node(
    name: str,
    parent: str | None = "site",
    *,
    limit_w: int | None = None,
    fixed_w: int = 0,
    meter: str | None = None,
    ramp_up_w: int | None = None,
    ramp_down_w: int | None = None,
    service: Service = Service.IN_SERVICE,
) -> Node:
    """Ramps are in watts per second."""
    return Node(
        id=name,
        parent=parent,
        limit=bound(limit_w),
        fixed=Power(fixed_w),
        meter=meter,
        ramp_up_per_s=bound(ramp_up_w),
        ramp_down_per_s=bound(ramp_down_w),
        service=service,
    )


def site(
    *below: Node,
    limit_w: int | None = None,
    fixed_w: int = 0,
    meter: str | None = None,
    zones: Iterable[Zone] = (),
    ramp_up_w: int | None = None,
    ramp_down_w: int | None = None,
    **policy: Any,
) -> Site:
    """A site whose root is called `site`. No margin and no ramp unless the test asks for them."""
    root = node(
        "site",
        None,
        limit_w=limit_w,
        fixed_w=fixed_w,
        meter=meter,
        ramp_up_w=ramp_up_w,
        ramp_down_w=ramp_down_w,
    )
    chosen = {"margin": 0.0, "event_lead_s": 0.0, **policy}
    return Site(name="test", nodes=(root, *below), zones=tuple(zones), policy=Policy(**chosen))


def miner(name: str = "m", node: str = "site", **changes: Any) -> DeviceSpec:
    """A miner of three points that needs no dwell, settles down in 10 s and is silent after 15 s."""
    spec = DeviceSpec(
        id=name,
        kind=DeviceKind.ASIC,
        node=node,
        points=(SLEEP, LOW, FULL),
        ceiling=Power(3_700),
        dwell_s=0.0,
        settle_down_s=10.0,
        settle_up_s=60.0,
    )
    return replace(spec, **changes)


def gpu(name: str = "g", node: str = "site", **changes: Any) -> DeviceSpec:
    spec = DeviceSpec(
        id=name,
        kind=DeviceKind.GPU,
        node=node,
        points=GPU_POINTS,
        ceiling=Power(700),
        dwell_s=0.0,
        settle_down_s=5.0,
        settle_up_s=5.0,
        restart_s=0.0,
    )
    return replace(spec, **changes)


def reading(
    device: str = "m",
    draw_w: int = 3_500,
    setting_w: int | None = None,
    *,
    quality: Quality = Quality.MEASURED,
    hottest_c: float | None = None,
    margin_c: float | None = None,
) -> Reading:
    return Reading(
        device=device,
        draw=Power(draw_w),
        quality=quality,
        setting=bound(setting_w),
        hottest_c=hottest_c,
        margin_c=margin_c,
    )


def at_point(spec: DeviceSpec, point: OperatingPoint) -> Reading:
    """What a device says that is exactly where `point` puts it."""
    return reading(spec.id, point.power.watts, point.power.watts)


def inputs(
    *specs: DeviceSpec,
    now_s: float = NOW_S,
    readings: Iterable[Reading] = (),
    metered_w: Mapping[str, int] | None = None,
    zones: Iterable[ZoneReading] = (),
    **rest: Any,
) -> Inputs:
    """Inputs of one tick in which everything given was heard just now."""
    return Inputs(
        now_s=now_s,
        utc_s=UTC_S + now_s - NOW_S,
        specs=specs,
        readings={said.device: Sample(now_s, said) for said in readings},
        meters={
            name: Sample(now_s, MeterReading(meter=name, power=Power(watts)))
            for name, watts in (metered_w or {}).items()
        },
        zones={zone.zone: Sample(now_s, zone) for zone in zones},
        **rest,
    )


def device(
    point: OperatingPoint | None = FULL,
    truth: Truth = Truth.CONFIRMED,
    *,
    worst_w: int | None = None,
    draw_w: int | None = None,
    **changes: Any,
) -> DeviceState:
    """What is remembered of a device that was last heard a second ago, at `point` and drawing that."""
    watts = point.power.watts if point is not None else 0
    return DeviceState(
        point=point,
        truth=truth,
        worst=Power(watts if worst_w is None else worst_w),
        draw=Power(watts if draw_w is None else draw_w),
        **{"at_s": NOW_S - 1, **changes},
    )


def running(devices: Mapping[str, DeviceState] | None = None, **changes: Any) -> State:
    """The state of a site that was taken over long ago."""
    known = State(devices=devices or {}, first_s=0.0, ready_s=0.0)
    return replace(known, **changes)


def event(
    name: str = "e",
    *signals: Signal,
    start_s: float = NOW_S,
    end_s: float = float("inf"),
    limit_w: int | None = None,
    target_w: int | None = None,
    usd_per_kwh: float | None = None,
    **rest: Any,
) -> GridEvent:
    """An event of one interval; its times are those of the monotonic clock of `inputs`."""
    said = list(signals)
    if limit_w is not None:
        said.append(LimitSignal(Power(limit_w)))
    if target_w is not None:
        said.append(TargetSignal(Power(target_w)))
    if usd_per_kwh is not None:
        said.append(PriceSignal(usd_per_kwh))
    return GridEvent(
        id=name,
        source="test",
        intervals=(interval(start_s, end_s, *said),),
        **{"version_utc_s": UTC_S, **rest},
    )


def interval(start_s: float, end_s: float, *signals: Signal) -> EventInterval:
    shift_s = UTC_S - NOW_S
    return EventInterval(start_utc_s=shift_s + start_s, end_utc_s=shift_s + end_s, signals=signals)


def job(
    name: str = "j",
    gpus: int = 1,
    usd: float = 2.0,
    *,
    flex: FlexTier = FlexTier.MODERATE,
    on_shortage: OnShortage = OnShortage.REQUEUE,
) -> Job:
    return Job(id=name, gpus=gpus, usd_per_gpu_hour=usd, flex=flex, on_shortage=on_shortage)


def queue(*jobs: JobStatus, name: str = "q", gpus: Iterable[str] = ()) -> QueueReading:
    return QueueReading(queue=name, jobs=jobs, gpus=tuple(gpus))


def waiting(it: Job) -> JobStatus:
    return JobStatus(job=it, state=JobState.QUEUED)


def working(it: Job, *gpus: str) -> JobStatus:
    return JobStatus(job=it, state=JobState.RUNNING, gpus=gpus)


def zone_reading(zone: str, inlet_c: float = 20.0, cooling: Cooling = Cooling.PROVEN) -> ZoneReading:
    return ZoneReading(zone=zone, inlet_c=inlet_c, cooling=cooling)


def grant_of(plan: Plan, name: str) -> Grant:
    return plan.grants.of(name)


def grants_of(specs: Iterable[DeviceSpec], said: Iterable[Grant], nodes: Sequence[str] = ("site",)) -> Grants:
    """Grants as a plan holds them, row by row of `specs`."""
    specs, said = tuple(specs), tuple(said)

    def watts(powers: Iterable[Power]) -> NDArray[np.int64]:
        return np.array([power.watts for power in powers], dtype=np.int64)

    def places(of: Iterable[int]) -> NDArray[np.int64]:
        return np.array(list(of), dtype=np.int64)

    return Grants(
        specs=specs,
        row={spec.id: row for row, spec in enumerate(specs)},
        nodes=tuple(nodes),
        at=places(spec.points.index(one.point) for spec, one in zip(specs, said, strict=True)),
        wanted=places(spec.points.index(one.wanted) for spec, one in zip(specs, said, strict=True)),
        power_w=watts(one.power for one in said),
        worst_w=watts(one.worst for one in said),
        draw_w=watts(one.draw for one in said),
        age_s=np.array([one.age_s for one in said]),
        truth=np.array([TRUTHS.index(one.truth) for one in said], dtype=np.int8),
        reason=places(REASONS.index(one.reason) for one in said),
        limited_by=places(nodes.index(one.limited_by) if one.limited_by else -1 for one in said),
    )


def nodes_of(*states: NodeState) -> NodeStates:
    """Node states as a plan holds them."""
    limits = [UNLIMITED_W if isinstance(it.limit, NoLimit) else it.limit.power.watts for it in states]
    return NodeStates(
        ids=tuple(it.node for it in states),
        limit_w=np.array(limits, dtype=np.int64),
        granted_w=np.array([it.granted.watts for it in states], dtype=np.int64),
        worst_w=np.array([it.worst.watts for it in states], dtype=np.int64),
        drawn_w=np.array([it.drawn.watts for it in states], dtype=np.int64),
        wanted_w=np.array([it.wanted.watts for it in states], dtype=np.int64),
        unexplained={it.node: it.unexplained for it in states},
        metered={it.node: it.metered for it in states},
        feasible=np.array([it.feasible for it in states], dtype=np.bool_),
    )


def node_of(plan: Plan, name: str) -> NodeState:
    return next(state for state in plan.nodes if state.node == name)


def told(plan: Plan) -> dict[str, str]:
    """The commands of a plan: device -> point."""
    return {command.device: command.point.name for command in plan.commands}


def reasons(plan: Plan) -> dict[str, Reason]:
    return {grant.device: grant.reason for grant in plan.grants}
