"""What meters say of machines that say nothing themselves.

Each silent machine counts at its ceiling, for it may have been started by hand or have forgotten its limit.
All of them together do not, while a meter above them shows what they draw: then they count where they were
last known to be, with room for some of them to rise at once, and for whatever the meter shows beyond. Where a
node's machines are all silent it may have been switched off, and they all rise once it is switched on; where
the pool is gone they may run idle as the others do, and all rise once it is back. That room is taken from the
margin first, which is kept free at every node for what is not seen yet. Of one that was never heard, by this
process nor by one before it, nothing is known but that. Where a node's own meter shows that it carries
nothing at all, its machines are off, and have to boot before they draw more: that leaves the time to make
room for them then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.columns import CODE, Columns
from controller.decide.fleet import Fleet
from controller.decide.ground import Ground
from controller.decide.metering import METER_ERROR, NodeMemory, shown_w
from controller.decide.stuck import moves
from controller.decide.tree import Tree, load, sum_up
from controller.decide.value import work_is_gone
from controller.decide.words import Truth

NEVER = CODE[Truth.UNREACHABLE]
WITHOUT_POWER = 0.5
"""Miners that have power draw more than this share of what they draw asleep, whatever else they do."""
REACT_S = 5.0
"""A meter is read, a plan made of it and told, in so long."""
RISING = 1 / 8
"""So many of the silent ones, those with the most to gain, may rise before the meter has shown it and others
have come down; one at least. A machine takes longer to start than others take to stop."""


def spared_w(
    tree: Tree,
    fleet: Fleet,
    known: Columns,
    uncertain: Flags,
    changed: Flags,
    off: Flags,
    meters: Mapping[int, NodeMemory],
    other_w: Ints,
    margin: float,
) -> Ints:
    """What the silent below each node count too much together, by the best of the meters at it and below it,
    beside `other_w`. `uncertain` may draw their worst, `changed` are those that may still rise to where
    they were told to be; who is `off` draws no more than asleep. `meters` are those that were heard just now,
    by their node; `margin` is the share of its limit that every node keeps free.
    """
    off_w = load(tree, fleet.node, np.where(off, np.maximum(0, known.worst_w - fleet.floor_w), 0))
    silent = ~known.seen & ~fleet.isolated & ~off
    if not silent.any():
        return off_w
    count = load(tree, fleet.node, silent.astype(np.int64))
    may_rise_w = np.where(silent, np.maximum(known.worst_w - known.last_w, 0), 0)
    dark = count == load(tree, fleet.node, (~fleet.isolated).astype(np.int64))
    as_one = dark | work_is_gone(fleet, known)
    together_w = np.where(as_one, load(tree, fleet.node, may_rise_w), 0)
    claimed_w = np.where(uncertain, known.worst_w, known.draw_w)
    expected_w = load(tree, fleet.node, np.where(silent, known.last_w, known.seen * claimed_w)) + other_w
    unheard = silent & (known.truth == NEVER) & (known.last_w == 0)
    unheard_w = load(tree, fleet.node, np.where(unheard, known.worst_w, 0))
    behind_w = np.zeros_like(other_w)
    if unheard_w.any():
        sure_w = np.where(known.measured, known.draw_w, 0)  # an estimate claims all from the first moment
        spare_w = np.where(changed & known.seen, np.maximum(0, claimed_w - sure_w), 0)
        behind_w = load(tree, fleet.node, spare_w)
    risers = np.flatnonzero(may_rise_w)
    risers = risers[np.argsort(-may_rise_w[risers])]
    relief_w, carried_w = np.zeros_like(other_w), np.zeros_like(other_w)
    for node in sorted(meters, reverse=True):  # what is below comes after what it is fed by
        if count[node] == 0:
            continue
        here = risers[(tree.way[fleet.node[risers]] == node).any(axis=1)]
        at_once_w = int(together_w[tree.below(node)].max())
        hidden = int(unheard_w[node]), int(behind_w[node])
        spared_w = _spared_w(may_rise_w[here], at_once_w, int(expected_w[node]), hidden, meters[node], margin)
        relief_w[node] = max(0, spared_w - int(carried_w[node]))
        carried_w[list(tree.paths[node])] += relief_w[node]
    return off_w + sum_up(tree, relief_w)


def _spared_w(
    may_rise_w: Ints,
    at_once_w: int,
    expected_w: int,
    hidden: tuple[int, int],
    meter: NodeMemory,
    margin: float,
) -> int:
    """Watts that the silent below one meter count too much, who may rise by so much, the most first, of those
    some together. Of who was heard it is known what they drew. What those draw that never were may be
    `hidden`: so many watts at most, behind so many that changing machines may draw and do not. A meter that
    stood still for as long as is remembered may be stuck, and says nothing.
    """
    metered_w = shown_w(meter.recent)
    if meter.doubted or not moves(metered_w):
        return 0
    risers_w = max(int(may_rise_w[: math.ceil(RISING * len(may_rise_w))].sum()), at_once_w)
    beyond_w = metered_w[-1] * (1 - METER_ERROR) - expected_w
    unheard_w, behind_w = hidden
    beyond_w = max(0.0, beyond_w, min(unheard_w, beyond_w + behind_w))
    # Part of the margin is for the meter's own error; the rest is for what it will show next.
    in_margin_w = min(risers_w, max(0.0, margin - METER_ERROR) * metered_w[-1])
    return math.floor(int(may_rise_w.sum()) - risers_w + in_margin_w - beyond_w)


def dark_nodes(tree: Tree, fleet: Fleet, known: Columns, metered_w: Mapping[int, int]) -> Flags:
    """The nodes whose own meter, by their index, shows less than their miners would draw asleep, and below
    which nobody answers: a breaker is open there. Who was switched off at an outlet, which answers for it,
    shows nothing."""
    dark = np.zeros(len(tree.ids), np.bool_)
    if not metered_w or known.seen.all():
        return dark
    given_up = np.isfinite(known.given_up_s) & (known.given_up_s >= known.sent_s)
    switched_off = known.seen & given_up & (known.draw_w == 0)
    rests = fleet.gpu | fleet.isolated | switched_off
    asleep_w = load(tree, fleet.node, np.where(rests, 0, fleet.floor_w))
    answering = load(tree, fleet.node, (known.seen & ~switched_off).astype(np.int64))
    for node, watts in metered_w.items():
        dark[node] = not answering[node] and watts < WITHOUT_POWER * asleep_w[node]
    return dark


def surely_off(
    ground: Ground, fleet: Fleet, known: Columns, without_power: Flags, dark_s: Floats, now_s: float
) -> Flags:
    """Of the devices below a dark node, those that cannot draw more than asleep before all others have come
    down for them: each boots first, from when its node was last seen to be dark (`dark_s`, by node) at the
    soonest, and the site needs less time than that to see it and to lower the others, on its ramp if it has
    one. (Ramps within it give way to a limit.)
    """
    if not without_power.any():
        return without_power
    lowered_s = fleet.settle_down_s[fleet.has_choice & ~fleet.gpu].max(initial=0.0) + REACT_S
    if 0 in ground.falls_w:
        lowered_s += int(known.worst_w[without_power].sum()) / max(1, ground.falls_w[0])
    seen_s = np.append(dark_s, -math.inf)[ground.tree.way[fleet.node]].max(axis=1)
    off: Flags = without_power & (seen_s + fleet.boots_s >= now_s + lowered_s)
    return off


def in_the_way(tree: Tree, fleet: Fleet, known: Columns, lacking: Flags) -> Ints:
    """The rows of silent devices below a node that is `lacking` watts with everybody at the lowest."""
    if not lacking.any():
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(~known.seen & ~fleet.isolated & tree.under(lacking, fleet.node))
