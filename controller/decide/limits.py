"""Ratings, events and margins -> how many watts each node may carry now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from controller.decide.arrays import Floats, Ints
from controller.decide.ground import Ground, watts_of
from controller.decide.plan import UNLIMITED_W
from controller.decide.stuck import Still
from controller.decide.timeline import GridNow
from controller.decide.unmetered import spared
from controller.decide.words import CapReason
from controller.domain.power import NO_LIMIT, Bound, Limit, Power, tightest
from controller.domain.site import Node, Site

RISE_SHARE = 0.7
"""A raise is taken to be over within this share of the time in which it must show, until more is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMargin:
    """Watts that are kept free at the root for a sudden step down, and when; `cap` is what the root went by
    then: a lower one is a step."""

    watts: float = 0.0
    at_s: float = 0.0
    cap: Bound = NO_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """What following a set-point remembers. `off_w` is what the meter shows beyond the model, `still` the
    meter since it last moved; `modelled` has when and what the model said of late; `silent` who is not heard,
    and the watts that each is taken to draw on; `moves` counts the set-point's changes, old ones for less.
    `starts` and `retunes` are how long starts, and raises of machines that hash, take here, as shares of the
    time in which they must show: learned, and kept when the set-point ends.
    """

    at_s: float = 0.0
    goal_w: int | None = None
    off_w: float = 0.0
    meter_s: float = float("-inf")
    still: Still | None = None
    modelled: tuple[tuple[float, float], ...] = ()
    silent: tuple[tuple[str, float], ...] = ()
    moves: float = 0.0
    starts: float = RISE_SHARE
    retunes: float = RISE_SHARE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limits:
    """`bound_w` is what each node is to stay below, `usable_w` what may be used of it: that less the margin.
    `asked_w` is what it is asked to stay below, also by best effort, whatever that cannot reach.
    `held_w` and `to_hold_w` are the same without what a ramp may lead down to, for there is yet time.
    `coming` has in how many seconds which node may use no more than how much, the next first, where
    ramps may have to begin before that; `owed_in_s` when what is planned with is owed, at the nodes where it
    is not owed yet.

    `cap` is what the root goes by, a set-point included; `due` is what it must not pass at this moment: not
    yet what an event will ask for, nor what there is time for on a ramp. `goal_w` is what the root should
    come to: what it may use, or a set-point below that. `aim_w` is what it is planned with now, so that it
    comes there: never above what it may use.
    """

    cap: Bound
    due: Bound
    cap_reason: CapReason
    cap_event: str
    bound_w: Ints
    asked_w: Ints
    usable_w: Ints
    held_w: Ints
    to_hold_w: Ints
    coming: tuple[tuple[float, int, int], ...]
    owed_in_s: Mapping[int, float]
    goal_w: int
    aim_w: int

    @property
    def follows(self) -> bool:
        """Whether a set-point is to be met, and no limit is in its way."""
        return self.cap_reason is CapReason.TARGET

    def aimed_at(self, watts: int) -> Limits:
        return replace(self, aim_w=min(watts, int(self.usable_w[0])))

    def lowered(self, usable_w: Mapping[int, int]) -> Limits:
        """These limits with no more to be used of some nodes, by index."""
        found_w = self.usable_w.copy()
        for at, most_w in usable_w.items():
            found_w[at] = min(found_w[at], most_w)
        goal_w = min(self.goal_w, int(found_w[0]))
        return replace(self, usable_w=found_w, goal_w=goal_w, aim_w=min(self.aim_w, goal_w))

    def less_hidden(self, shares: Floats, other_w: Ints) -> Limits:
        """These limits for what devices claim, where they may draw by `shares` more, beside `other_w`."""
        if not shares.any():
            return self
        usable_w, to_hold_w = (spared(most_w, shares, other_w) for most_w in (self.usable_w, self.to_hold_w))
        return replace(self, usable_w=usable_w, to_hold_w=to_hold_w)

    def aimed_room_w(self, load_w: Ints) -> Ints:
        """What each node has left for the plan when it carries `load_w`."""
        room_w = self.room_w(load_w)
        room_w[0] = self.aim_w - (0 if self.aim_w == UNLIMITED_W else load_w[0])
        return room_w

    def room_w(self, load_w: Ints) -> Ints:
        """What each node may still take when it carries `load_w`; negative when that is too much already."""
        return left_w(self.usable_w, load_w)

    def held_room_w(self, load_w: Ints) -> Ints:
        """The same of what is to be held at once, whatever a ramp allows."""
        return left_w(self.to_hold_w, load_w)


def left_w(usable_w: Ints, load_w: Ints) -> Ints:
    """What is left of bounds beside a load."""
    return usable_w - np.where(usable_w == UNLIMITED_W, 0, load_w)


def limits_now(ground: Ground, grid: GridNow, works_w: Ints | None = None) -> Limits:
    """`works_w` is what each node carries when all jobs that run have their least and all else is at its
    lowest. No limit that is best effort goes below that; without `works_w` none limits anything.
    """
    site, tree, margin = ground.site, ground.tree, ground.site.policy.margin
    root, target = site.root, grid.target
    spared_w = _spared_w(site, grid, works_w)
    limit = grid.limit
    asked_w = {tree.index[name]: watts_of(here) for name, here in grid.nodes.items()}
    wanted_w = _bounded(ground, {0: watts_of(limit), **asked_w})
    if isinstance(limit, Limit):
        limit = Limit(max(limit.power, Power(spared_w.get(0, 0))))
    follows = tightest(limit, target) != limit and tightest(root.limit, target) == target
    cap = target if follows else tightest(root.limit, limit)
    asked_w = {at: max(most_w, spared_w.get(at, 0)) for at, most_w in asked_w.items()}
    bound_w = held_w = _bounded(ground, {0: watts_of(limit), **asked_w})
    usable_w = to_hold_w = usable(bound_w, margin)
    due = grid.due
    if ground.falls_w:
        owed_w = {tree.index[name]: watts_of(here) for name, here in grid.owed_at_nodes.items()}
        held_w, due = _bounded(ground, {0: watts_of(grid.owed), **owed_w}), grid.owed
        to_hold_w = usable(held_w, margin)
    # A set-point is to be met, not to be kept away from; limits above it keep their margin.
    goal_w = min(int(usable_w[0]), watts_of(cap))
    reason, name = _set_by(root, grid, limit, follows=follows)
    return Limits(
        cap=cap,
        due=tightest(root.limit, due),
        cap_reason=reason,
        cap_event=name,
        bound_w=bound_w,
        asked_w=wanted_w,
        usable_w=usable_w,
        held_w=held_w,
        to_hold_w=to_hold_w,
        coming=_coming(ground, grid) if ground.falls_w else (),
        owed_in_s=_owed_in_s(ground, grid, bound_w),
        goal_w=goal_w,
        aim_w=goal_w,
    )


def _bounded(ground: Ground, asked_w: Mapping[int, int]) -> Ints:
    """What each node is rated for, or what is asked of it if that is less."""
    bound_w = ground.rated_w.copy()
    for at, most_w in asked_w.items():
        bound_w[at] = min(bound_w[at], most_w)
    return bound_w


def usable(bound_w: Ints, margin: float) -> Ints:
    """What may be used of bounds: less the margin that is kept free."""
    return np.where(bound_w == UNLIMITED_W, bound_w, np.floor(bound_w * (1 - margin)).astype(np.int64))


def _coming(ground: Ground, grid: GridNow) -> tuple[tuple[float, int, int], ...]:
    share = 1 - ground.site.policy.margin
    return tuple(
        (one.ahead_s, ground.tree.index[one.node], math.floor(one.power.watts * share)) for one in grid.coming
    )


def _owed_in_s(ground: Ground, grid: GridNow, bound_w: Ints) -> dict[int, float]:
    """What a place is rated for is owed at any time."""
    found = {ground.tree.index[name]: left_s for name, left_s in grid.owed_in_s.items()}
    return {at: left_s for at, left_s in found.items() if bound_w[at] < ground.rated_w[at]}


def _spared_w(site: Site, grid: GridNow, works_w: Ints | None) -> dict[int, int]:
    """What limits that are best effort leave to each node of theirs, by its index; others may leave less."""
    found = {}
    for at, node in enumerate(site.nodes if grid.firm else ()):
        if node.id in grid.firm:
            found[at] = watts_of(grid.firm[node.id])
            if works_w is not None:
                found[at] = min(found[at], _least_w(int(works_w[at]), 1 - site.policy.margin))
    return found


def _least_w(used_w: int, share: float) -> int:
    """The lowest limit of which so many watts may be used."""
    least_w = math.ceil(used_w / share)
    return least_w if math.floor(least_w * share) >= used_w else least_w + 1  # 0.93 * 1,100 is below 1,023


def _set_by(root: Node, grid: GridNow, limit: Bound, *, follows: bool) -> tuple[CapReason, str]:
    """Why the root goes by what it does, and the event that asks for it."""
    if follows:
        return CapReason.TARGET, next(iter(grid.target_events), "")
    if isinstance(limit, Limit) and tightest(root.limit, limit) == limit:
        return grid.limit_reason, grid.limit_event
    return (CapReason.RATING if isinstance(root.limit, Limit) else CapReason.NONE), ""
