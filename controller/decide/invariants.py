"""What every plan must meet. Tests and production call this function; a plan that breaks one is not sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from controller.decide import thermal, truth
from controller.decide.arrays import Flags, Ints
from controller.decide.columns import CODE, SEEN
from controller.decide.doubt import GIVEN_UP_S, may_start_s, sleeps_on
from controller.decide.fleet import Fleet, fleet_of
from controller.decide.ground import Ground, ground_of
from controller.decide.inputs import Inputs
from controller.decide.limits import limits_now
from controller.decide.plan import UNLIMITED_W, Plan
from controller.decide.snapshot import State
from controller.decide.step import Draft
from controller.decide.timeline import grid_now, lost_operators
from controller.decide.tree import Tree, load, sum_up
from controller.decide.words import REASONS, Reason, Truth
from controller.decide.zones import ZoneState
from controller.domain.devices import SetPoint
from controller.domain.site import Site

CANNOT_BE_TOLD = np.array(
    [r in (Reason.STALE, Reason.UNREACHABLE, Reason.LYING, Reason.REFUSING) for r in REASONS]
)


class BrokenInvariantError(Exception):
    """A plan that must not be sent."""


def check(site: Site, before: State, inputs: Inputs, after: State, plan: Plan) -> None:
    """Raise `BrokenInvariantError` naming every statement that `plan` breaks."""
    ground, fleet = _laid_out(site, after, inputs)
    broken = [*_grants_are_points(fleet, after, plan), *_dwell(fleet, before, inputs, plan)]
    if not _one_grant_each(fleet, plan):
        granted = [spec.id for spec in plan.grants.specs]
        broken.insert(0, f"I6: grants for {granted}, devices {[spec.id for spec in fleet.specs]}")
    else:
        broken += _unseen_count_at_their_worst(fleet, after, plan)
        broken += _counts_what_is_told_and_drawn(fleet, after, plan)
        broken += _sums_hold_their_grants(ground.tree, fleet, plan)
        if site.policy.observes:
            broken += _commands_nothing(plan)
        elif plan.ready:
            broken += _within_limits(ground, before, inputs, fleet, after, plan)
    if broken:
        raise BrokenInvariantError("; ".join(broken))


def _commands_nothing(plan: Plan) -> Iterator[str]:
    """I8: a site that is only observed is told nothing, and nothing is reckoned as if it had been."""
    for command in plan.commands:
        yield f"I8: {command.device} is told {command.point.name}, and the site is only observed"
    for job in plan.job_commands:
        yield f"I8: {job.job} is told {job.action}, and the site is only observed"
    yield from (f"I8: {device} is raised, and the site is only observed" for device in plan.raised)


def check_lowers(made: Draft, commands: Iterable[SetPoint]) -> None:
    """The same for commands that are sent before their plan is made: they must be points that the devices
    have, and no device may draw more by them than it may already.
    """
    broken = []
    for command in commands:
        if made.site.policy.observes:
            broken.append(f"I8: {command.device} is told something, and the site is only observed")
        spec = made.seen.spec(command.device)
        state = made.seen.devices[command.device]
        if command.point not in spec.points:
            broken.append(f"I2: {command.device} has no point {command.point.name}")
        lower = state.point is not None and command.point.power <= state.point.power
        if command.point != spec.floor and not (lower and state.counted(command.point) <= state.worst):
            broken.append(f"I4: {command.device} is raised to {command.point.name} before there is a plan")
    if broken:
        raise BrokenInvariantError("; ".join(broken))


def _laid_out(site: Site, after: State, inputs: Inputs) -> tuple[Ground, Fleet]:
    """What holds of every plan is checked on the very site and devices that it is about."""
    mirror = after.mirror
    if mirror is not None and mirror.ground.site is site and mirror.fleet.made_of(inputs.specs):
        return mirror.ground, mirror.fleet
    ground = ground_of(site)
    return ground, fleet_of(site, ground.tree, inputs.specs)


def _one_grant_each(fleet: Fleet, plan: Plan) -> bool:
    """I6: every device has exactly one grant, and so exactly one reason."""
    granted = plan.grants.specs
    return granted is fleet.specs or [spec.id for spec in granted] == [spec.id for spec in fleet.specs]


def _grants_are_points(fleet: Fleet, after: State, plan: Plan) -> Iterator[str]:
    """I2: every command is an operating point the device has, within its thermal derate."""
    raised = frozenset(plan.raised)
    for command in plan.commands:
        spec = fleet.specs[fleet.row[command.device]]
        if command.point not in spec.points:
            yield f"I2: {command.device} has no point {command.point.name}"
        if command.device not in raised:
            continue
        zone = after.zone_states.get(spec.zone or "", ZoneState()).share
        share = after.devices[spec.id].derate
        if command.point.power > min(thermal.allowed(spec, share), thermal.allowed_at_most(spec, zone)):
            shares = f"{share:.2f}, and {zone:.2f} of its zone"
            yield f"I2: {command.device} raised to {command.point.name} against a derate of {shares}"


def _unseen_count_at_their_worst(fleet: Fleet, after: State, plan: Plan) -> Iterator[str]:
    """I3: the unseen counts at its ceiling, or at its last confirmed limit, or sleep, if the firmware keeps
    that, or where it was while it cannot have restarted yet."""
    stale, grants, seen = CODE[Truth.STALE], plan.grants, SEEN[plan.grants.truth]
    for row in np.flatnonzero(seen & (grants.age_s > fleet.stale_after_s)).tolist():
        yield f"I3: {fleet.specs[row].id} was last heard {grants.age_s[row]:.1f} s ago and counts as seen"
    for row in np.flatnonzero(~seen & ~fleet.isolated & (grants.power_w < fleet.ceiling_w)).tolist():
        spec = fleet.specs[row]
        state = after.devices[spec.id]
        may_keep = (spec.keeps_limit or sleeps_on(spec, state)) and grants.truth[row] == stale
        keeps = state.keeps if may_keep else None
        if grants.truth[row] == stale and not may_keep and grants.age_s[row] < spec.boots_s:
            keeps = state.last
        least_w = fleet.ceiling_w[row] if keeps is None else keeps.watts
        if grants.power_w[row] < least_w:
            yield f"I3: {spec.id} is unseen and counts {grants.power_w[row]} W, not {least_w} W"


def _counts_what_is_told_and_drawn(fleet: Fleet, after: State, plan: Plan) -> Iterator[str]:
    """I4: nobody is told two things; whoever is told something counts for that at worst, and for what it was
    seen to draw."""
    grants, told = plan.grants, set[str]()
    for row in np.flatnonzero(SEEN[plan.grants.truth] & (grants.worst_w < grants.draw_w)).tolist():
        name = fleet.specs[row].id
        yield f"I4: {name} draws {grants.draw_w[row]} W and counts {grants.worst_w[row]} W at worst"
    for command in plan.commands:
        name = command.device
        if name in told:
            yield f"I4: {name} is told two things at once"
        told.add(name)
        counts, worst_w = after.devices[name].counted(command.point), grants.worst_w[fleet.row[name]]
        if worst_w < counts.watts:
            yield f"I4: {name} is told {command.point.name} and counts {worst_w} W at worst, not {counts}"


def _sums_hold_their_grants(tree: Tree, fleet: Fleet, plan: Plan) -> Iterator[str]:
    """I1: no node says less than what is granted to those below it that are seen, nor less than they may
    draw. (What is silent below a meter counts by that.)"""
    grants, nodes, seen = plan.grants, plan.nodes, SEEN[plan.grants.truth]
    seen_w = load(tree, fleet.node, np.where(seen, grants.power_w, 0))
    for at in np.flatnonzero(nodes.granted_w < seen_w).tolist():
        yield f"I1: {tree.ids[at]} grants {nodes.granted_w[at]} W in all, and {seen_w[at]} W to what is seen"
    worst_w = load(tree, fleet.node, np.where(seen, grants.worst_w, 0))
    for at in np.flatnonzero(nodes.worst_w < worst_w).tolist():
        yield f"I1: {tree.ids[at]} may draw {nodes.worst_w[at]} W, and what is seen below it {worst_w[at]} W"


def _dwell(fleet: Fleet, before: State, inputs: Inputs, plan: Plan) -> Iterator[str]:
    """I5: no device is raised from where it is seen sooner than its dwell after it was changed."""
    for command in plan.commands:
        name, spec = command.device, fleet.specs[fleet.row[command.device]]
        if command.point is spec.floor or command.point == spec.floor:
            continue  # lower than anything it may be seen at
        known, sample = before.devices.get(name, before.unknown), inputs.readings.get(name)
        news = sample is None or sample.at_s > known.at_s
        if not news and known.point is not None and command.point.power <= known.point.power:
            continue  # lower than it was, and nothing was heard of it since
        seen = truth.observe(spec, known, sample, inputs.outcomes.get(name), inputs.now_s)
        higher = seen.point is not None and command.point.power > seen.point.power
        if higher and inputs.now_s - seen.since_s < spec.dwell_s:
            yield f"I5: {name} raised {inputs.now_s - seen.since_s:.1f} s after its last change"
        starts = higher and seen.point == spec.floor
        if starts and inputs.now_s < may_start_s(spec, seen):
            yield f"I5: {name} started {may_start_s(spec, seen) - inputs.now_s:.1f} s before it may be"
        elif higher and not starts and inputs.now_s - seen.given_up_s < GIVEN_UP_S:
            yield f"I5: {name} raised {inputs.now_s - seen.given_up_s:.1f} s after it was given up"


def _within_limits(
    ground: Ground, before: State, inputs: Inputs, fleet: Fleet, after: State, plan: Plan
) -> Iterator[str]:
    """I1: grants fit what every node is held to, or the plan says infeasible and all that obeys is at its
    lowest.

    I4: wherever something is raised, the worst case of everything still fits.
    """
    site, tree = ground.site, ground.tree
    lost = lost_operators(inputs.links, before.up_s(inputs.now_s), site.policy)
    grid = grid_now(after.before.told(inputs.events), inputs.utc_s, lost, site)
    limits = limits_now(ground, grid)
    usable_w, to_hold_w = limits.usable_w, limits.to_hold_w
    raised = np.zeros(len(tree.ids), dtype=np.int64)
    for name in plan.raised:
        raised[fleet.node[fleet.row[name]]] = 1
    raised_at = sum_up(tree, raised) > 0
    nodes = plan.nodes
    over = (to_hold_w != UNLIMITED_W) & (nodes.granted_w > to_hold_w)
    above = _high(tree, fleet, plan, over)
    for at in np.flatnonzero(over).tolist():
        rows = above[(tree.way[fleet.node[above]] == at).any(axis=1)].tolist()
        high = [fleet.specs[row].id for row in rows if not _lower_still(fleet, row, after)]
        if nodes.feasible[at] or high:
            granted = f"{nodes.granted_w[at]} W of {to_hold_w[at]} W"
            yield f"I1: {tree.ids[at]} grants {granted}; not at their lowest: {high}"
    raised_over = (usable_w != UNLIMITED_W) & (nodes.worst_w > usable_w) & raised_at
    for at in np.flatnonzero(raised_over).tolist():
        worst = f"{nodes.worst_w[at]} W of {usable_w[at]} W"
        yield f"I4: raised under {tree.ids[at]} to a worst case of {worst}"


def _high(tree: Tree, fleet: Fleet, plan: Plan, nodes: Flags) -> Ints:
    """The rows of the devices below any of `nodes` that are above their lowest. One that cannot be told
    anything is not, nor is one that has no voltage."""
    told = SEEN[plan.grants.truth] & ~CANNOT_BE_TOLD[plan.grants.reason]
    high = tree.under(nodes, fleet.node) & (plan.grants.at != 0) & told
    return np.flatnonzero(high)


def _lower_still(fleet: Fleet, row: int, after: State) -> bool:
    """Whether a device is at a point that it no longer has, below all those that it has."""
    spec = fleet.specs[row]
    point = after.devices[spec.id].point
    return point is not None and point not in spec.points and point.power < spec.floor.power
