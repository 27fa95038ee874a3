"""The plan as it is told to people and programs: each grant with its reason, each alarm with numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from controller.decide import doubt, economics, thermal
from controller.decide.arrays import Flags, Ints
from controller.decide.columns import CODE, counted_w
from controller.decide.decision import Decision
from controller.decide.feeding import running_w
from controller.decide.freedom import heat_in_the_way
from controller.decide.inputs import Inputs
from controller.decide.jobreasons import reasoned
from controller.decide.nodealarms import lacking_w, node_alarms
from controller.decide.outlook import outlooks
from controller.decide.plan import Alarm, Grants, NodeStates, Plan, Standing
from controller.decide.standing import Means, least_w, shown_lowest_w, standings
from controller.decide.timeline import GridNow, lost_operators
from controller.decide.words import REASONS, AlarmKind, Reason, Truth
from controller.domain.grid import EventStatus
from controller.domain.power import Power, tightest
from controller.domain.site import Site

REASON_CODE = {reason: code for code, reason in enumerate(REASONS)}


def draw_up(site: Site, inputs: Inputs, made: Decision) -> Plan:
    grants = _grants(inputs, made)
    orders, fleet = made.orders, made.after.fleet
    promised_w = least_w(made.after, made.chosen.may)
    asked = (*made.grid.active, *made.grid.announced)
    shown_w = made.after.carried_w(shown_lowest_w(made.after, made.chosen.may.obeys)) if asked else promised_w
    means = Means(
        lowest_w=shown_w,
        running_w=running_w(made.after, inputs.queues if _spares_work(made.grid) else ()),
        limits=made.limits,
        after=made.after,
        may=made.chosen.may,
        swing=made.swing,
        ready=made.ready,
        at=made.chosen.at,
        now_s=inputs.now_s,
    )
    held_to = tightest(site.root.limit, made.grid.due)
    stands = tuple(standings(made.grid, inputs.utc_s, held_to, means))
    promises = made.ready and not site.policy.observes
    return Plan(
        now_s=inputs.now_s,
        cap=made.limits.cap,
        cap_reason=made.limits.cap_reason,
        cap_event=made.limits.cap_event,
        grants=grants,
        nodes=_nodes(made, grants),
        ready=made.ready,
        least=Power(int(promised_w[0])),
        commands=(*orders.lowers.set_points(fleet), *orders.raises.set_points(fleet)),
        raised=tuple(fleet.specs[row].id for row in made.raised.tolist()),
        job_commands=reasoned(made.job_commands, made.after, made.chosen, made.limits, grants),
        alarms=tuple(_alarms(site, inputs, made)),
        standings=_declined(made.grid, stands) if site.policy.observes else stands,
        outlooks=tuple(outlooks(made.grid.announced, inputs.utc_s, means)) if promises else (),
        value_per_hour=made.chosen.earns,
        gap=made.chosen.gap,
        next_change_utc_s=made.grid.next_change_utc_s,
    )


def _spares_work(grid: GridNow) -> bool:
    """Whether anything may be asked for that no job is set aside for."""
    return bool(grid.announced) or any(one.best_effort for one in grid.active)


def _grants(inputs: Inputs, made: Decision) -> Grants:
    after, chosen = made.after, made.chosen
    fleet, known = after.fleet, after.columns
    reason, limited_by = _reasons(inputs.now_s, made, observes=after.ground.site.policy.observes)
    return Grants(
        specs=fleet.specs,
        row=fleet.row,
        nodes=after.tree.ids,
        at=known.at,
        wanted=np.where(chosen.may.obeys, chosen.at, known.at),
        power_w=known.present_w(chosen.may.obeys),
        worst_w=known.worst_w,
        draw_w=known.draw_w,
        age_s=inputs.now_s - known.heard_s,
        truth=known.truth,
        reason=reason,
        limited_by=limited_by,
    )


def _declined(grid: GridNow, stands: tuple[Standing, ...]) -> tuple[Standing, ...]:
    """What asks for anything is not done where the site is only observed, whatever its meter shows."""
    asking = frozenset(event.id for event in grid.active if event.asks)
    return tuple(replace(one, status=EventStatus.REJECTED) if one.event in asking else one for one in stands)


def _reasons(now_s: float, made: Decision, *, observes: bool) -> tuple[Ints, Ints]:
    """The one thing that keeps each device from its best point, and the node if it is a node."""
    after, chosen = made.after, made.chosen
    fleet, known = after.fleet, after.columns
    highest = chosen.offers.highest
    at_top = known.at == fleet.last
    at_highest = known.at == highest
    blocked = chosen.allocation.blocked_by
    limited = blocked >= 0
    if limited.any():
        limited &= known.at != chosen.offers.best
    idle = fleet.gpu.copy()
    idle[[fleet.row[gpu] for job in chosen.kept for gpu in job.gpus if gpu in fleet.row]] = False
    runs = known.at > 0
    timed = made.timed & np.where(runs, chosen.may.held, chosen.may.barred)
    kept_on = runs & (timed | (chosen.may.barred & chosen.may.dwells))
    waiting = np.full(len(fleet), -1, dtype=np.int64)
    for row, reason in made.orders.waiting.items():
        waiting[row] = REASON_CODE[reason]
    cases: list[tuple[Flags, Ints | Reason]] = [
        (fleet.isolated & ~known.seen, Reason.ISOLATED),
        (known.truth == CODE[Truth.UNREACHABLE], Reason.UNREACHABLE),
        (known.truth == CODE[Truth.STALE], Reason.STALE),
        (~chosen.may.obeys & (known.truth == CODE[Truth.LYING]), Reason.LYING),
        (~chosen.may.obeys, Reason.REFUSING),
        (np.full(len(fleet), not made.ready), Reason.HELD),
        (waiting >= 0, waiting),
        (fleet.isolated, Reason.ISOLATED),
        ((known.at != chosen.at) & observes, Reason.OBSERVED),
        (fleet.draining, Reason.DRAINING),
        (fleet.left_off, Reason.OUTLET_OFF),
        (idle, Reason.IDLE),
        (chosen.may.pinned, Reason.FOLLOWING),
        (kept_on, Reason.DWELLING),
        (at_top, Reason.FULL),
        (limited, Reason.LIMITED),
        (chosen.allocation.paced, Reason.PACED),
        (heat_in_the_way(after, chosen.may), Reason.THERMAL),
        (chosen.may.rests | chosen.may.in_vain, Reason.RESTING),
        (chosen.may.late & at_highest, Reason.RAMPING),
        (timed | (chosen.may.dwells & (at_highest | (chosen.at < chosen.then))), Reason.DWELLING),
    ]
    found = np.full(len(fleet), REASON_CODE[Reason.UNPROFITABLE], dtype=np.int64)
    for case, why in reversed(cases):  # the first that holds is the one
        np.copyto(found, REASON_CODE[why] if isinstance(why, Reason) else why, where=case)
    return found, np.where(found == REASON_CODE[Reason.LIMITED], blocked, -1)


def _nodes(made: Decision, grants: Grants) -> NodeStates:
    after, ground = made.after, made.after.ground
    fleet = after.fleet
    at_wanted_w = counted_w(fleet.power_w[fleet.start[:-1] + grants.wanted], after.columns.bias)
    return NodeStates(
        ids=after.tree.ids,
        limit_w=ground.rated_w if ground.site.policy.observes else made.limits.bound_w,
        granted_w=after.reconciled_w(grants.power_w),
        worst_w=after.reconciled_w(grants.worst_w),
        drawn_w=after.reconciled_w(np.where(after.columns.seen, grants.draw_w, grants.worst_w)),
        wanted_w=after.reconciled_w(np.where(made.chosen.may.obeys, at_wanted_w, grants.worst_w)),
        unexplained={name: Power.up(memory.unexplained_w) for name, memory in after.memory.items()},
        metered=after.metered,
        feasible=lacking_w(made) <= 0,
    )


def _alarms(site: Site, inputs: Inputs, made: Decision) -> Iterator[Alarm]:
    if site.policy.observes:
        detail = "nothing is commanded, and no event is followed: controller.mode is observe"
        yield Alarm(kind=AlarmKind.OBSERVED, subject=site.name, detail=detail)
    if not made.ready:
        return
    yield from node_alarms(site, inputs, made)
    yield from _device_alarms(site, inputs, made)
    yield from _surrounding_alarms(site, inputs, made)
    yield from economics.alarms(inputs.prices_now, made.grid.usd_per_kwh)


def _device_alarms(site: Site, inputs: Inputs, made: Decision) -> Iterator[Alarm]:
    after, lying = made.after, made.after.columns.truth == CODE[Truth.LYING]
    # One that obeyed, and was told something only now, is given its time.
    for row in np.flatnonzero(lying | ~made.chosen.may.obeys).tolist():
        spec = after.fleet.specs[row]
        device = after.devices[spec.id]
        if after.fleet.isolated[row] and not device.seen:
            continue
        if not device.seen:
            if device.truth is Truth.UNREACHABLE and made.has_just_begun:
                continue
            heard = f"silent for {inputs.now_s - device.at_s:.0f} s" if device.at_s > 0 else "never answered"
            yield Alarm(kind=AlarmKind.DEVICE_SILENT, subject=spec.id, detail=heard)
        elif doubt.accused(spec, device):
            told = device.point.name if device.point is not None else "nothing"
            detail = f"told {told}, draws {device.draw}"
            yield Alarm(kind=AlarmKind.DEVICE_LYING, subject=spec.id, detail=detail)
    for row in np.flatnonzero(after.columns.warned & after.columns.seen).tolist():
        spec = after.fleet.specs[row]
        heat = thermal.heat(spec, inputs.readings[spec.id].value)
        detail = ", ".join(f"{value_c:.0f} of {limits.trip_c:.0f} C" for value_c, limits in heat)
        yield Alarm(kind=AlarmKind.HOT, subject=spec.id, detail=detail)
    for row in np.flatnonzero(after.fleet.isolated & after.columns.seen).tolist():
        name = after.fleet.specs[row].id
        detail = f"answers and draws {after.devices[name].draw}, below a node declared isolated"
        yield Alarm(kind=AlarmKind.ENERGISED, subject=name, detail=detail)
    for row in np.flatnonzero(after.fleet.left_off & ~after.fleet.draining & ~after.fleet.isolated).tolist():
        spec = after.fleet.specs[row]
        detail = f"its outlet is off and {spec.left_off}: switch it on by hand"
        yield Alarm(kind=AlarmKind.OUTLET_OFF, subject=spec.id, detail=detail)
    if after.network_suspect(site.policy.network_fault_share):
        detail = f"{after.silent} of {after.expected} devices are silent; nothing is raised"
        yield Alarm(kind=AlarmKind.NETWORK_FAULT, subject=site.name, detail=detail)


def _surrounding_alarms(site: Site, inputs: Inputs, made: Decision) -> Iterator[Alarm]:
    for zone in sorted(made.after.uncooled_zones):
        if zone not in inputs.zones and made.has_just_begun:
            continue
        yield Alarm(kind=AlarmKind.COOLING, subject=zone, detail="not proven; nothing is raised there")
    yield from _hot_zones(site, made)
    if lost := sorted(lost_operators(inputs.links, made.up_s, site.policy)):
        whose = f" of {', '.join(name or 'grid' for name in lost)}" if any(lost) else ""
        detail = f"no heartbeat{whose}, or no snapshot of events since it came back"
        yield Alarm(kind=AlarmKind.LINK_LOST, subject=site.name, detail=detail)
    for queue in inputs.silent_queues:
        known = "not known" if queue in inputs.unheard_queues else "as it said last"
        detail = f"does not answer; what its GPUs work on is {known}"
        yield Alarm(kind=AlarmKind.QUEUE_SILENT, subject=queue, detail=detail)
    for pdu in inputs.silent_pdus:
        detail = "does not answer: none of its outlets can be switched, or read"
        yield Alarm(kind=AlarmKind.PDU_SILENT, subject=pdu, detail=detail)


def _hot_zones(site: Site, made: Decision) -> Iterator[Alarm]:
    for zone in site.zones:
        known = made.after.zones[zone.id]
        if known.share == 0 or known.heard is None:
            continue
        said, coolant = known.heard.value, zone.coolant
        detail = f"its heat takes {known.share:.0%} of its machines' range: "
        detail += f"air {said.inlet_c:.1f} of {zone.trip_c:.1f} C"
        if coolant is not None and said.coolant_c is not None:
            detail += f", coolant {said.coolant_c:.1f} of {coolant.trip_c:.1f} C"
        yield Alarm(kind=AlarmKind.HOT, subject=zone.id, detail=detail)
