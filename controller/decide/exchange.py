"""Machines are exchanged for better ones no faster than those can come up.

Who is stopped is gone within seconds, and who is started in its place comes in minutes, or once a ramp up has
the room. If all that pays for itself were exchanged in one tick, as when a dwell is over for many, a
set-point would be missed by as much, and a site on a slow ramp would stand still for minutes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from controller.decide import arrival
from controller.decide.arrays import Flags, Ints
from controller.decide.choose import Chosen
from controller.decide.freedom import Freedom, may_stay
from controller.decide.pace import Pace, Purse
from controller.decide.snapshot import Snapshot
from controller.decide.swing import Course

AT_ONCE_SHARE = 0.03
"""Of the set-point, so much may be on its way up in place of what was lowered for it; or one machine."""


def unhurried(course: Course, seen: Snapshot, pace: Pace, choose: Callable[[Freedom], Chosen]) -> Chosen:
    """What is chosen, with no more exchanged at once than a set-point bears, and than `pace` lets rise."""
    chosen = choose(course.may)
    slower = _slower(course, seen, pace, chosen)
    return chosen if slower is None else choose(slower)


def _slower(course: Course, seen: Snapshot, pace: Pace, chosen: Chosen) -> Freedom | None:
    """What may be done so that of those whom `chosen` lowers to raise others only a few are, and nobody
    else in their place; None where it may all be done at once. GPUs have the watts for their jobs at once.
    """
    may, fleet = course.may, seen.fleet
    here_w = arrival.told_w(seen, may)
    given_w = chosen.offers.given_w(chosen.allocation.index)
    moved_w = np.where(may.obeys & ~course.swing.gpus, given_w - here_w, 0)
    kept = may_stay(seen, course.limits, may)
    down_w = np.where(kept, np.maximum(0, -moved_w), 0)
    # What is lowered for a set-point, or because that earns more, makes room for nobody.
    less_w = -course.change_w if course.limits.follows else max(0.0, -moved_w.sum())
    needed_w = min(down_w.sum(), max(0.0, moved_w[fleet.gpu].sum() + less_w))
    exchanged_w = down_w.sum() - needed_w
    if exchanged_w <= 0:
        return None
    # What is raised anyway takes of a ramp, and not of what a set-point bears: it is missed less for that.
    rises_w = _rises_w(seen, pace, moved_w) - max(0.0, moved_w.sum())
    now_w = min(_borne_w(course, seen, here_w), rises_w)
    if exchanged_w <= now_w:
        return None
    gives = _beside_gpus(seen, moved_w)
    rows = np.flatnonzero(down_w)
    rows = rows[np.lexsort((fleet.ths_per_kw[rows], ~gives[rows]))]
    for_one_w = moved_w[(moved_w > 0) & ~fleet.gpu].min(initial=exchanged_w) if now_w > 0 else 0
    before_w = np.cumsum(down_w[rows]) - down_w[rows]
    goes = gives[rows] | (before_w < needed_w + for_one_w) | (before_w + down_w[rows] <= needed_w + now_w)
    kept[rows[goes]] = False
    return replace(may, kept=kept)


def _borne_w(course: Course, seen: Snapshot, here_w: Ints) -> float:
    """How much more may be on its way up, in place of what was lowered for it, than is already."""
    if not course.limits.follows:
        return math.inf
    known = seen.columns
    coming_w = np.maximum(0, here_w - known.draw_w)[course.may.obeys & known.in_flight].sum()
    return AT_ONCE_SHARE * course.limits.goal_w - float(coming_w)


def _rises_w(seen: Snapshot, pace: Pace, moved_w: Ints) -> float:
    """How much of what is to be raised can be in this tick, whatever room there is."""
    if pace.held:
        return 0.0
    up = np.flatnonzero(moved_w > 0)
    starting = seen.columns.now_w[up] == seen.fleet.floor_w[up]
    if not pace.rise_w and np.count_nonzero(starting) <= pace.starts:
        return math.inf
    rise, starts, rises_w = Purse(pace.rise_w), round(pace.starts), 0.0
    for row, starts_now in zip(up.tolist(), starting.tolist(), strict=True):
        watts = int(moved_w[row])
        if starts >= starts_now and rise.pays(seen.way(row), watts):
            starts -= starts_now
            rises_w += watts
    return rises_w


def _beside_gpus(seen: Snapshot, moved_w: Ints) -> Flags:
    """Who shares a place, other than the site, with a GPU that is given more."""
    shared = np.zeros(len(seen.tree.ids), dtype=np.bool_)
    for row in np.flatnonzero(seen.fleet.gpu & (moved_w > 0)).tolist():
        shared[list(seen.tree.paths[seen.fleet.node[row]])] = True
    shared[0] = False
    return seen.tree.under(shared, seen.fleet.node)
