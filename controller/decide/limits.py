"""Ratings, events, ramps and margins -> how many watts each node may carry now."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from controller.decide.arrays import Ints
from controller.decide.plan import UNLIMITED_W, CapReason
from controller.decide.timeline import GridNow
from controller.domain.power import NO_LIMIT, Bound, Limit, NoLimit, Power, tightest
from controller.domain.site import Node, Site

RISE_SHARE = 0.7
"""A raise is taken to be over within this share of the time in which it must show, until more is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The most that each node could draw when the last plan was made, by its index. A ramp down starts from
    there."""

    power_w: tuple[int, ...] = ()
    at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMargin:
    """Watts that are kept free at the root for a sudden step down, and when; `cap` is what the root went by
    then: a lower one is a step."""

    watts: float = 0.0
    at_s: float = 0.0
    cap: Bound = NO_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """What following a set-point remembers. `off_w` is what the meter shows beyond the model; `modelled` has
    when and what the model said of late; `moves` counts the set-point's changes, old ones for less. `starts`
    and `retunes` are how long starts, and raises of machines that hash, take here, as shares of the time in
    which they must show: learned, and kept when the set-point ends.
    """

    at_s: float = 0.0
    goal_w: int | None = None
    off_w: float = 0.0
    meter_s: float = float("-inf")
    modelled: tuple[tuple[float, float], ...] = ()
    moves: float = 0.0
    starts: float = RISE_SHARE
    retunes: float = RISE_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The time of a tick on both clocks, and how far the site reached before it."""

    now_s: float
    utc_s: float
    reach: Reach = field(default_factory=Reach)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limits:
    """`bound_w` is what each node must not pass, `usable_w` what may be used of it: that less the margin.

    `cap` is what the root goes by, a set-point included; `due` is what it must not pass at this moment: not
    yet what an event will ask for, nor what its ramp still leads down to. `goal_w` is what the root should
    come to: what it may use, or a set-point below that. `aim_w` is what it is planned with now, so that it
    comes there: never above what it may use.
    """

    cap: Bound
    due: Bound
    cap_reason: CapReason
    cap_event: str
    bound_w: Ints
    usable_w: Ints
    goal_w: int
    aim_w: int

    @property
    def follows(self) -> bool:
        """Whether a set-point is to be met, and no limit is in its way."""
        return self.cap_reason is CapReason.TARGET

    def aimed_at(self, watts: int) -> Limits:
        return replace(self, aim_w=min(watts, int(self.usable_w[0])))

    def aimed_room_w(self, load_w: Ints) -> Ints:
        """What each node has left for the plan when it carries `load_w`."""
        room_w = self.room_w(load_w)
        room_w[0] = self.aim_w - (0 if self.aim_w == UNLIMITED_W else load_w[0])
        return room_w

    def room_w(self, load_w: Ints) -> Ints:
        """What each node may still take when it carries `load_w`; negative when that is too much already."""
        return self.usable_w - np.where(self.usable_w == UNLIMITED_W, 0, load_w)


def rated_w(site: Site) -> Ints:
    """What each node is rated for."""
    return np.array([_watts(node.limit) for node in site.nodes], dtype=np.int64)


def limits_now(site: Site, rated: Ints, grid: GridNow, moment: Moment, works_w: Ints | None = None) -> Limits:
    """`rated` are the ratings of the nodes of `site`; `works_w` is what each carries when all jobs that run
    have their least and all else is at its lowest. No limit that is best effort goes below that; without
    `works_w` none limits anything.
    """
    root, margin = site.root, site.policy.margin
    spared_w = _spared_w(site, grid, works_w)
    limit = _ramped(0, root.ramp_down_per_s, grid.limit, grid.owed, moment)
    if isinstance(limit, Limit):
        limit = Limit(max(limit.power, Power(spared_w.get(0, 0))))
    target = grid.target
    follows = tightest(limit, target) != limit and tightest(root.limit, target) == target
    cap = target if follows else tightest(root.limit, limit)
    bound_w = rated.copy()
    bound_w[0] = _watts(tightest(root.limit, limit))
    falls_per_s = site.falls_per_s(grid.nodes)
    for at, node in enumerate(site.nodes if grid.nodes else ()):
        if node.id in grid.nodes:
            owed = grid.owed_at_nodes.get(node.id, NO_LIMIT)
            here = _ramped(at, falls_per_s[node.id], grid.nodes[node.id], owed, moment)
            bound_w[at] = min(bound_w[at], max(_watts(here), spared_w.get(at, 0)))
    usable_w = np.where(bound_w == UNLIMITED_W, bound_w, np.floor(bound_w * (1 - margin)).astype(np.int64))
    # A set-point is to be met, not to be kept away from; limits above it keep their margin.
    goal_w = min(int(usable_w[0]), _watts(cap)) if follows else int(usable_w[0])
    reason, name = _set_by(root, grid, limit, follows=follows)
    return Limits(
        cap=cap,
        due=tightest(root.limit, grid.owed if limit != grid.limit else grid.due),
        cap_reason=reason,
        cap_event=name,
        bound_w=bound_w,
        usable_w=usable_w,
        goal_w=goal_w,
        aim_w=goal_w,
    )


def _spared_w(site: Site, grid: GridNow, works_w: Ints | None) -> dict[int, int]:
    """What limits that are best effort leave to each node of theirs, by its index; others may leave less."""
    found = {}
    for at, node in enumerate(site.nodes if grid.firm else ()):
        if node.id in grid.firm:
            found[at] = _watts(grid.firm[node.id])
            if works_w is not None:
                found[at] = min(found[at], _least_w(int(works_w[at]), 1 - site.policy.margin))
    return found


def _least_w(watts: int, share: float) -> int:
    """The lowest limit of which so many watts may be used."""
    least_w = math.ceil(watts / share)
    return least_w if math.floor(least_w * share) >= watts else least_w + 1  # 0.93 * 1,100 is less than 1,023


def _set_by(root: Node, grid: GridNow, limit: Bound, *, follows: bool) -> tuple[CapReason, str]:
    """Why the root goes by what it does, and the event that asks for it."""
    if follows:
        return CapReason.TARGET, next(iter(grid.target_events), "")
    if isinstance(limit, Limit) and tightest(root.limit, limit) == limit:
        return grid.limit_reason, grid.limit_event
    return (CapReason.RATING if isinstance(root.limit, Limit) else CapReason.NONE), ""


def _ramped(at: int, per_s: Bound, limit: Bound, owed: Bound, moment: Moment) -> Bound:
    """The grid's limit of a node, until it is owed in full no further below what was drawn there than the
    ramp allows, nor above what is owed already: all that counts as long as nobody knows how far down it is.
    A set-point is followed along the ramp by itself."""
    if isinstance(per_s, NoLimit) or isinstance(limit, NoLimit):
        return limit
    if at >= len(moment.reach.power_w):
        return owed
    fallen = Power.down(per_s.power.watts * max(0.0, moment.now_s - moment.reach.at_s))
    return tightest(Limit(max(limit.power, Power(moment.reach.power_w[at]) - fallen)), owed)


def _watts(bound: Bound) -> int:
    return min(bound.power.watts, UNLIMITED_W) if isinstance(bound, Limit) else UNLIMITED_W
