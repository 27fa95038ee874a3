"""Alarms of places, each with numbers: limits that are passed or cannot be kept, load of nobody's, meters in
trouble."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from controller.decide.arrays import Ints
from controller.decide.decision import Decision
from controller.decide.inputs import Inputs
from controller.decide.metering import METER_ERROR, shown_w
from controller.decide.plan import UNLIMITED_W, Alarm
from controller.decide.snapshot import Snapshot
from controller.decide.standing import least_w, lowest_w
from controller.decide.stuck import METER_LAG_S
from controller.decide.words import AlarmKind
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power, tightest
from controller.domain.site import Site

UNEXPLAINED_SHARE = 0.05
"""Unexplained load above this share of a limit, or of what machines there can draw, is worth an alarm."""


def node_alarms(site: Site, inputs: Inputs, made: Decision) -> Iterator[Alarm]:
    yield from _shortfalls(made)
    for at, node in enumerate(site.nodes):
        if node.meter is None:
            continue
        metered = made.after.metered[node.id]
        if metered is not None:
            yield from _metered_alarms(site, made, at, metered)
        elif detail := _meter_trouble(site, inputs, made, at):
            yield Alarm(kind=AlarmKind.METER_STALE, subject=node.meter, detail=detail)


def _shortfalls(made: Decision) -> Iterator[Alarm]:
    """Limits that all at their lowest may pass, and whether a meter shows them to be kept. A margin that is
    lacking is no limit that is passed."""
    after, observes = made.after, made.after.ground.site.policy.observes
    limit_w = after.ground.rated_w if observes else made.limits.bound_w
    short_w = after.reconciled_w(lowest_w(after, made.chosen.may.obeys)) - limit_w
    for at in np.flatnonzero((lacking_w(made) > 0) & (short_w > 0)).tolist():
        node, short, limit = after.tree.ids[at], Power(int(short_w[at])), Power(int(limit_w[at]))
        shown = _shown_of_late(after, at)
        if shown is None or shown[0] > limit:
            detail = f"all at their lowest is {short} too much"
            yield Alarm(kind=AlarmKind.INFEASIBLE, subject=node, detail=detail)
        else:
            may = f"all at their lowest may draw {short} more than the {limit} allowed"
            detail = f"kept now, {shown[0]} measured at {shown[1]}; {may}"
            yield Alarm(kind=AlarmKind.NOT_ASSURED, subject=node, detail=detail)


def _shown_of_late(after: Snapshot, at: int) -> tuple[Power, str] | None:
    """The most that the nearest meter that can be gone by, at the node or above it, showed for as long as it
    may be late, and where it stands."""
    for up in after.tree.paths[at]:
        node = after.tree.ids[up]
        metered = after.metered.get(node)
        if metered is not None:
            recent = after.memory[node].recent
            lately = (seen for seen in recent if recent[-1].at_s - seen.at_s <= METER_LAG_S)
            return max([metered, *map(Power, shown_w(lately))]), node
    return None


def _metered_alarms(site: Site, made: Decision, at: int, metered: Power) -> Iterator[Alarm]:
    node, isolated, top_w = site.nodes[at], bool(made.after.tree.isolated[at]), int(made.after.top_w[at])
    owed = made.grid.owed_at_nodes.get(node.id, NO_LIMIT)
    bound = made.limits.due if at == 0 else tightest(node.limit, owed)
    if site.policy.observes:  # what nobody was promised is not passed
        bound = node.limit
    if isinstance(bound, Limit) and metered > bound.power:
        detail = f"{metered} measured, {bound.power} allowed"
        yield Alarm(kind=AlarmKind.CAP_PASSED, subject=node.id, detail=detail)
    declared = ZERO if isolated else node.fixed
    unexplained = Power.up(made.after.memory[node.id].unexplained_w - declared.watts)
    machines = Limit(Power(top_w)) if top_w else NO_LIMIT
    rating = next((it for it in (node.limit, bound, machines) if isinstance(it, Limit)), NO_LIMIT)
    if isinstance(rating, Limit) and unexplained > rating.power.scaled(UNEXPLAINED_SHARE):
        detail = f"{unexplained} that neither a device nor fixed_kw accounts for"
        yield Alarm(kind=AlarmKind.UNEXPLAINED, subject=node.id, detail=detail)
    error = rating.power.scaled(METER_ERROR) if isinstance(rating, Limit) else ZERO
    if isolated and metered > error:
        detail = f"{metered} measured, below a node declared isolated"
        yield Alarm(kind=AlarmKind.ENERGISED, subject=node.id, detail=detail)


def lacking_w(made: Decision) -> Ints:
    """By how much each node is too small for the lowest that everything below it can be brought to.

    The root is what it may be used for: a set-point below what can be reached is missed, and no limit is.
    Where a site is only observed its ratings alone must be kept.
    """
    ground = made.after.ground
    if ground.site.policy.observes:
        over_w = least_w(made.after, made.chosen.may) - ground.rated_w
        return np.where(ground.rated_w == UNLIMITED_W, 0, over_w)
    over_w = -made.chosen.allocation.room_w
    over_w[0] -= made.limits.usable_w[0] - made.limits.aim_w
    return over_w


def _meter_trouble(site: Site, inputs: Inputs, made: Decision, at: int) -> str:
    """What is wrong with a meter that cannot be gone by; nothing, where none is expected to show anything, or
    what it shows may be true of what was not read again yet."""
    node, known = site.nodes[at].id, made.after.memory[site.nodes[at].id]
    is_fresh = inputs.now_s - known.at_s <= site.policy.meter_stale_after_s
    if is_fresh and known.last_w < 0:
        return (
            f"shows {Power(known.last_w)} at {node}: it is the wrong way round, or power is fed in behind it"
        )
    if known.contradicts:
        said = int(made.after.claimed_w[at])
        beside = f": {Power(known.last_w)}, and machines there draw {Power(said)} by their own word"
        return f"shows what cannot be at {node}" + (beside if said > known.last_w else "")
    if made.after.tree.isolated[at] or (known.doubted and is_fresh):
        return ""
    if site.nodes[at].meter not in inputs.meters and made.has_just_begun:
        return ""
    return f"no fresh reading of {node}"
