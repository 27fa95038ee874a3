"""The plan as it is told to people and programs: each grant with its reason, each alarm with numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.decide import economics, jobs, truth
from controller.decide.choose import Chosen, bound_of
from controller.decide.commands import Orders
from controller.decide.limits import Limits
from controller.decide.plan import (
    Alarm,
    AlarmKind,
    Grant,
    Inputs,
    NodeState,
    Plan,
    Reason,
    Standing,
    Truth,
)
from controller.decide.snapshot import Snapshot
from controller.decide.timeline import GridNow
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint, SetPoint
from controller.domain.grid import EventStatus, GridEvent, Link, PriceSignal
from controller.domain.jobs import JobCommand
from controller.domain.power import Limit, Power
from controller.domain.site import Site

UNEXPLAINED_SHARE = 0.05
"""Unexplained load above this share of a node's limit is worth an alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a pass came to. `after` is the site as it is once the orders are given."""

    grid: GridNow
    limits: Limits
    after: Snapshot
    chosen: Chosen
    orders: Orders
    job_commands: tuple[JobCommand, ...]
    ready: bool


def draw_up(site: Site, inputs: Inputs, made: Decision) -> Plan:
    grants = tuple(_grant(name, inputs, made) for name in made.after.devices)
    told = (*made.orders.lowers, *made.orders.raises)
    return Plan(
        now_s=inputs.now_s,
        cap=made.limits.cap,
        cap_reason=made.limits.cap_reason,
        cap_event=made.limits.cap_event,
        grants=grants,
        nodes=_nodes(site, made, grants),
        ready=made.ready,
        least=made.chosen.least + made.after.other[site.root.id],
        commands=tuple(SetPoint(device=wish.spec.id, point=wish.point) for wish in told),
        raised=tuple(
            wish.spec.id for wish in told if made.after.devices[wish.spec.id].worst > wish.state.worst
        ),
        job_commands=made.job_commands,
        alarms=tuple(_alarms(site, inputs, made)) if made.ready else (),
        standings=_standings(site, made),
        value_per_hour=made.chosen.earns,
        gap=made.chosen.gap,
        next_change_utc_s=made.grid.next_change_utc_s,
    )


def _grant(name: str, inputs: Inputs, made: Decision) -> Grant:
    spec, state = made.after.specs[name], made.after.devices[name]
    point = state.point if state.point is not None else spec.points[-1]
    reason, node = _reason(spec, point, inputs.now_s, made)
    obeying = name in made.chosen.points
    return Grant(
        device=name,
        point=point,
        power=state.counted(point) if obeying else state.worst,
        worst=state.worst,
        draw=state.draw,
        age_s=inputs.now_s - state.at_s,
        wanted=made.chosen.points.get(name, point),
        reason=reason,
        truth=state.truth,
        limited_by=node,
    )


def _reason(spec: DeviceSpec, point: OperatingPoint, now_s: float, made: Decision) -> tuple[Reason, str]:
    """The one thing that keeps the device from its best point, and the node if it is a node."""
    after, chosen, waiting = made.after, made.chosen, made.orders.waiting
    state = after.devices[spec.id]
    blocked = chosen.allocation.blocked_by.get(spec.id, "")
    if state.truth is Truth.UNREACHABLE:
        return Reason.UNREACHABLE, ""
    if state.truth is Truth.STALE:
        return Reason.STALE, ""
    if spec.id not in chosen.points:
        return (Reason.LYING if state.truth is Truth.LYING else Reason.REFUSING), ""
    if spec.id in waiting:
        return waiting[spec.id], ""
    options = chosen.options[spec.id]
    at_best = point == max(options, key=lambda option: (option.worth, option.counts)).point
    if spec.kind is DeviceKind.GPU and spec.id not in jobs.work_of(chosen.kept):
        return Reason.IDLE, ""
    if point == spec.points[-1]:
        return Reason.FULL, ""
    if blocked and not at_best:
        return Reason.LIMITED, blocked
    if bound_of(after, spec) < spec.points[-1].power and point == options[-1].point:
        return Reason.THERMAL, ""
    if now_s - state.since_s < spec.dwell_s and point == options[-1].point:
        return Reason.DWELLING, ""
    return Reason.UNPROFITABLE, ""


def _nodes(site: Site, made: Decision, grants: tuple[Grant, ...]) -> tuple[NodeState, ...]:
    after = made.after
    granted = {name: other.watts for name, other in after.other.items()}
    worst = dict(granted)
    for grant in grants:
        for node in after.ways[after.specs[grant.device].node]:
            granted[node] += grant.power.watts
            worst[node] += grant.worst.watts
    return tuple(
        NodeState(
            node=node.id,
            limit=made.limits.bound[node.id],
            granted=Power(granted[node.id]),
            worst=Power(worst[node.id]),
            unexplained=Power.up(after.memory[node.id].unexplained_w),
            metered=after.metered[node.id],
            feasible=node.id not in made.chosen.allocation.infeasible,
        )
        for node in site.nodes
    )


def _standings(site: Site, made: Decision) -> tuple[Standing, ...]:
    """An event is complied with when a fresh meter says so, and only then."""
    metered, cap = made.after.metered[site.root.id], made.limits.due
    holds = metered is not None and isinstance(cap, Limit) and metered <= cap.power
    return tuple(
        Standing(
            event=event.id,
            version_utc_s=event.version_utc_s,
            status=EventStatus.COMPLIANT if holds or _only_prices(event) else EventStatus.STARTED,
            cap=cap,
            possible=made.chosen.least + made.after.other[site.root.id],
        )
        for event in made.grid.active
    )


def _alarms(site: Site, inputs: Inputs, made: Decision) -> Iterator[Alarm]:
    yield from _node_alarms(site, made)
    yield from _device_alarms(site, inputs, made.after)
    yield from _surrounding_alarms(site, inputs, made.after)


def _node_alarms(site: Site, made: Decision) -> Iterator[Alarm]:
    room_w = made.chosen.allocation.room_w
    for node in site.nodes:
        metered = made.after.metered[node.id]
        bound = made.limits.due if node == site.root else node.limit
        if room_w[node.id] < 0:
            detail = f"all at their lowest is {Power(-room_w[node.id])} too much"
            yield Alarm(kind=AlarmKind.INFEASIBLE, subject=node.id, detail=detail)
        if node.meter is not None and metered is None:
            yield Alarm(
                kind=AlarmKind.METER_STALE, subject=node.meter, detail=f"no fresh reading of {node.id}"
            )
        if metered is None or not isinstance(bound, Limit):
            continue
        if metered > bound.power:
            detail = f"{metered} measured, {bound.power} allowed"
            yield Alarm(kind=AlarmKind.CAP_PASSED, subject=node.id, detail=detail)
        unexplained = Power.up(made.after.memory[node.id].unexplained_w)
        if unexplained > node.fixed + bound.power.scaled(UNEXPLAINED_SHARE):
            detail = f"{unexplained} that no device accounts for"
            yield Alarm(kind=AlarmKind.UNEXPLAINED, subject=node.id, detail=detail)


def _device_alarms(site: Site, inputs: Inputs, after: Snapshot) -> Iterator[Alarm]:
    for name, device in after.devices.items():
        if not device.seen:
            heard = f"silent for {inputs.now_s - device.at_s:.0f} s" if device.at_s > 0 else "never answered"
            yield Alarm(kind=AlarmKind.DEVICE_SILENT, subject=name, detail=heard)
        elif device.truth is Truth.LYING or truth.doubtful(after.specs[name], device, inputs.now_s):
            told = device.point.name if device.point is not None else "nothing"
            detail = f"told {told}, draws {device.draw}"
            yield Alarm(kind=AlarmKind.DEVICE_LYING, subject=name, detail=detail)
    if after.network_suspect(site.policy.network_fault_share):
        detail = f"{after.silent} of {len(after.devices)} devices are silent; nothing is raised"
        yield Alarm(kind=AlarmKind.NETWORK_FAULT, subject=site.name, detail=detail)


def _surrounding_alarms(site: Site, inputs: Inputs, after: Snapshot) -> Iterator[Alarm]:
    for zone in sorted(after.uncooled):
        yield Alarm(kind=AlarmKind.COOLING, subject=zone, detail="not proven; nothing is raised there")
    if inputs.link is Link.LOST:
        detail = "no heartbeat, or no snapshot of events since it came back"
        yield Alarm(kind=AlarmKind.LINK_LOST, subject=site.name, detail=detail)
    yield from economics.alarms(inputs.prices_now)


def _only_prices(event: GridEvent) -> bool:
    return all(isinstance(signal, PriceSignal) for interval in event.intervals for signal in interval.signals)
