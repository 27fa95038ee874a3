"""The most that heat allows each machine: its own bounds it alone, the air of its zone all that stand in it.

A machine has only so many points. Where each stayed within its share of a warm zone, machines that are only
on or off stopped all at once, for half a degree, and came back all at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controller.decide import thermal
from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.columns import Columns
from controller.decide.doubt import GIVEN_UP_S
from controller.decide.fleet import Fleet
from controller.decide.relaxed import relaxed
from controller.decide.tree import Tree, load
from controller.decide.value import without_work


def cool_w(fleet: Fleet, known: Columns, zone_share: Floats, now_s: float, tree: Tree, spare_w: Ints) -> Ints:
    """What its own heat and that of its zone, which takes `zone_share` of the range of its machines, leave
    each device. Between its points a miner counts as at the lower one; what all of them leave unused lifts
    some to their next point: first those that are there already, and then those that make most of a watt.
    Whom its breakers cannot feed is lifted last: each node has `spare_w` beside all at their worst. So is
    who has no work, or may not rise now.
    """
    own_w = thermal.allowed_w(fleet.floor_w, fleet.top_w, known.derate)
    zone_w = thermal.allowed_w(fleet.floor_w, fleet.top_w, zone_share)
    found = np.minimum(own_w, zone_w)
    warm = _shares_air(fleet, known) & (zone_share > 0)
    if not warm.any():
        return found
    within = (fleet.power_w <= zone_w[fleet.owner]).astype(np.int64)
    at = np.add.reduceat(within, fleet.start[:-1]) - 1
    at_w = fleet.power_w[fleet.start[:-1] + at]
    next_w = fleet.power_w[fleet.start[:-1] + np.minimum(at + 1, fleet.last)]
    rests = (known.now_w == fleet.floor_w) & (now_s < known.may_start_s)
    rests |= now_s - known.given_up_s < GIVEN_UP_S
    may_rise = warm & (at_w < next_w) & (next_w <= own_w)
    drawn_w = known.worst_w.copy()
    below = known.now_w < next_w
    order = np.lexsort((-fleet.ths_per_kw, below, without_work(fleet, known), rests & below))
    for zone in np.unique(fleet.zone[warm]).tolist():
        here = warm & (fleet.zone == zone)
        left_w = int((zone_w - at_w)[here].sum())
        rising: NDArray[np.intp] = order[(here & may_rise)[order]]
        beside_w = drawn_w.copy()
        beside_w[rising] = np.minimum(at_w, drawn_w)[rising]
        step_w = (next_w - beside_w)[rising]
        room_w = spare_w - load(tree, fleet.node, beside_w - known.worst_w)
        fed = relaxed(step_w, fleet.node[rising], room_w, tree) == step_w
        rising = np.concatenate((rising[fed], rising[~fed]))
        lifted = rising[_paid((next_w - at_w)[rising], left_w)]
        found[lifted] = next_w[lifted]
        drawn_w[lifted] = np.maximum(drawn_w, next_w)[lifted]
    return found


def _paid(steps_w: Ints, left_w: int) -> Flags:
    """Which steps `left_w` pays for, one after the other; one that is too large takes nothing of it."""
    paid = np.zeros(len(steps_w), dtype=np.bool_)
    open_to = np.arange(len(steps_w))
    while len(open_to := open_to[steps_w[open_to] <= left_w]):
        now = open_to[np.cumsum(steps_w[open_to]) <= left_w]
        paid[now] = True
        left_w -= int(steps_w[now].sum())
        open_to = open_to[len(now) :]
    return paid


def _shares_air(fleet: Fleet, known: Columns) -> Flags:
    """Miners that do what they are told, or draw less than that; a GPU's limits lie near to each other."""
    draws_on = known.disobeys & (known.draw_w >= known.now_w)
    found: Flags = known.seen & ~draws_on & ~fleet.gpu & ~fleet.draining & ~fleet.isolated
    return found
