"""What every plan must meet. Tests and production call this function; a plan that breaks one is not sent."""

from __future__ import annotations

from collections.abc import Iterator

from controller.decide import nodes, thermal, truth
from controller.decide.limits import limits_now
from controller.decide.plan import Grant, Inputs, Plan, Truth
from controller.decide.snapshot import State
from controller.decide.timeline import grid_now, link_since
from controller.decide.truth import DeviceState
from controller.domain.devices import DeviceSpec
from controller.domain.power import Limit
from controller.domain.site import Site


class BrokenInvariantError(Exception):
    """A plan that must not be sent."""


def check(site: Site, before: State, inputs: Inputs, after: State, plan: Plan) -> None:
    """Raise `BrokenInvariantError` naming every statement that `plan` breaks."""
    specs = {spec.id: spec for spec in inputs.specs}
    broken = [
        *_one_grant_each(specs, plan),
        *_grants_are_points(specs, after, plan),
        *_unseen_count_at_their_worst(specs, after, plan),
        *_dwell(specs, before, inputs, plan),
    ]
    if plan.ready:
        broken += _within_limits(site, before, inputs, specs, plan)
    if broken:
        raise BrokenInvariantError("; ".join(broken))


def _one_grant_each(specs: dict[str, DeviceSpec], plan: Plan) -> Iterator[str]:
    """I6: every device has exactly one grant, and so exactly one reason."""
    granted = sorted(grant.device for grant in plan.grants)
    if granted != sorted(specs):
        yield f"I6: grants for {granted}, devices {sorted(specs)}"


def _grants_are_points(specs: dict[str, DeviceSpec], after: State, plan: Plan) -> Iterator[str]:
    """I2: every command is an operating point the device has, within its thermal derate."""
    for command in plan.commands:
        spec = specs[command.device]
        if command.point not in spec.points:
            yield f"I2: {command.device} has no point {command.point.name}"
        zone = after.zones.get(spec.zone, 0.0) if spec.zone is not None else 0.0
        share = max(after.devices[spec.id].derate, zone)
        raised = command.device in plan.raised
        if raised and command.point != spec.floor and command.point.power > thermal.allowed(spec, share):
            yield f"I2: {command.device} raised to {command.point.name} against a derate of {share:.2f}"


def _unseen_count_at_their_worst(specs: dict[str, DeviceSpec], after: State, plan: Plan) -> Iterator[str]:
    """I3: the unseen counts at its ceiling, or at its last confirmed limit if the firmware keeps that."""
    for grant in plan.grants:
        if grant.truth in (Truth.STALE, Truth.UNREACHABLE):
            least = _kept(specs[grant.device], after.devices[grant.device])
            if grant.power.watts < least:
                yield f"I3: {grant.device} is unseen and counts {grant.power}, not {least} W"


def _kept(spec: DeviceSpec, state: DeviceState) -> int:
    keeps = spec.keeps_limit and state.keeps is not None and state.truth is Truth.STALE
    return state.keeps.watts if keeps and state.keeps is not None else spec.ceiling.watts


def _dwell(specs: dict[str, DeviceSpec], before: State, inputs: Inputs, plan: Plan) -> Iterator[str]:
    """I5: no device is raised from where it is seen sooner than its dwell after it was changed."""
    for command in plan.commands:
        name, spec = command.device, specs[command.device]
        known = before.devices.get(name, DeviceState())
        seen = truth.observe(spec, known, inputs.readings.get(name), inputs.outcomes.get(name), inputs.now_s)
        higher = seen.point is not None and command.point.power > seen.point.power
        if higher and inputs.now_s - seen.since_s < spec.dwell_s:
            yield f"I5: {name} raised {inputs.now_s - seen.since_s:.1f} s after its last change"


def _within_limits(
    site: Site, before: State, inputs: Inputs, specs: dict[str, DeviceSpec], plan: Plan
) -> Iterator[str]:
    """I1: grants fit every node, or the plan says infeasible and all that obeys is at its lowest.

    I4: wherever something is raised, the worst case of everything still fits.
    """
    link = link_since(inputs.link, before.up_s(inputs.now_s), site.policy)
    usable = limits_now(site, grid_now(inputs.events, inputs.utc_s, link, site.policy)).usable
    ways = nodes.ancestors(site)
    raised_at = {node for name in plan.raised for node in ways[specs[name].node]}
    for state in plan.nodes:
        bound = usable[state.node]
        if not isinstance(bound, Limit):
            continue
        if state.granted > bound.power:
            below = [grant for grant in plan.grants if state.node in ways[specs[grant.device].node]]
            high = [grant.device for grant in below if not _at_lowest(specs[grant.device], grant)]
            if state.feasible or high:
                yield f"I1: {state.node} grants {state.granted} of {bound.power}; not at their lowest: {high}"
        if state.node in raised_at and state.worst > bound.power:
            yield f"I4: raised under {state.node} to a worst case of {state.worst} of {bound.power}"


def _at_lowest(spec: DeviceSpec, grant: Grant) -> bool:
    """A device that cannot be told anything counts as lowered as far as it goes."""
    return grant.point == spec.floor or grant.reason.value in ("stale", "unreachable", "lying", "refusing")
