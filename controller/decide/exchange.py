"""At a set-point that stands, machines are exchanged for better ones a few at a time.

Who is stopped is gone within seconds, and who is started in its place comes in minutes: if all that pays for
itself were exchanged in one tick, as when a dwell is over for many, the set-point would be missed by as much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from controller.decide import arrival
from controller.decide.arrays import Flags, Floats
from controller.decide.choose import Chosen
from controller.decide.freedom import Freedom, may_stay
from controller.decide.snapshot import Snapshot
from controller.decide.swing import Course

AT_ONCE_SHARE = 0.03
"""Of the set-point, so much may be on its way up in place of what was lowered for it; or one machine."""


def unhurried(course: Course, seen: Snapshot, choose: Callable[[Freedom], Chosen]) -> Chosen:
    """What is chosen, with no more exchanged at once than a set-point bears."""
    chosen = choose(course.may)
    slower = _slower(course, seen, chosen) if course.limits.follows else None
    return chosen if slower is None else choose(slower)


def _slower(course: Course, seen: Snapshot, chosen: Chosen) -> Freedom | None:
    """What may be done so that of those whom `chosen` lowers to raise others only a few are, and nobody
    else in their place; None where it may all be done at once. GPUs have the watts for their jobs at once.
    """
    may, most_w = course.may, AT_ONCE_SHARE * course.limits.goal_w
    here_w = arrival.settled_w(seen, may)
    given_w = chosen.offers.given_w(chosen.allocation.index)
    moved_w = np.where(may.obeys & ~course.swing.gpus, given_w - here_w, 0)
    kept = may_stay(seen, course.limits, may)
    down_w = np.where(kept, np.maximum(0, -moved_w), 0)
    up_w = moved_w[(moved_w > 0) & ~seen.fleet.gpu]
    needed_w = min(down_w.sum(), max(0.0, moved_w[seen.fleet.gpu].sum() - course.change_w))
    exchanged_w = down_w.sum() - needed_w
    coming_w = np.maximum(0, here_w - seen.columns.draw_w)[may.obeys & seen.columns.in_flight].sum()
    now_w = max(0.0, most_w - coming_w)
    if exchanged_w <= now_w:
        return None
    gives = _beside_gpus(seen, moved_w)
    rows = np.flatnonzero(down_w)
    rows = rows[np.lexsort((seen.fleet.ths_per_kw[rows], ~gives[rows]))]
    for_one_w = up_w.min(initial=exchanged_w) if coming_w < most_w else 0
    before_w = np.cumsum(down_w[rows]) - down_w[rows]
    goes = gives[rows] | (before_w < needed_w + for_one_w) | (before_w + down_w[rows] <= needed_w + now_w)
    kept[rows[goes]] = False
    return replace(may, kept=kept)


def _beside_gpus(seen: Snapshot, moved_w: Floats) -> Flags:
    """Who shares a place, other than the site, with a GPU that is given more."""
    shared = np.zeros(len(seen.tree.ids), dtype=np.bool_)
    for row in np.flatnonzero(seen.fleet.gpu & (moved_w > 0)).tolist():
        shared[list(seen.tree.paths[seen.fleet.node[row]])] = True
    shared[0] = False
    return seen.tree.under(shared, seen.fleet.node)
