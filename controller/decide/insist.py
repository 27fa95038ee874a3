"""Who is told to stop, or has its power taken, where a limit is not held without that."""

from __future__ import annotations

import numpy as np

from controller.decide import doubt
from controller.decide.arrays import Ints
from controller.decide.columns import counted_w
from controller.decide.freedom import Freedom
from controller.decide.limits import Limits
from controller.decide.silence import in_the_way
from controller.decide.snapshot import Snapshot


def to_stop(seen: Snapshot, may: Freedom, room_w: Ints) -> frozenset[str]:
    """Who was asked for less in vain, or was caught ignoring it, and may yet obey a stop: where heat forbids
    even what it was asked for, or where all others at their lowest are too much (`room_w`, by node), as few
    as are enough.
    """
    known, floor_w = seen.columns, seen.fleet.floor_w
    rows = np.flatnonzero(known.seen & (known.at > 0) & ~may.obeys)
    lacking_w = -room_w
    found = set()
    for row in rows[np.argsort(-known.worst_w[rows], kind="stable")].tolist():
        spec, way = seen.fleet.specs[row], list(seen.tree.paths[seen.fleet.node[row]])
        pressing = may.most_w[row] < known.now_w[row] or (lacking_w[way] > 0).any()
        state = seen.devices[spec.id]
        if pressing and (doubt.ignores(state) or doubt.in_vain(spec, state, may.now_s)):
            found.add(spec.id)
            lacking_w[way] -= known.worst_w[row] - floor_w[row]
    return frozenset(found)


def unheard_to_stop(seen: Snapshot, left_w: Ints) -> frozenset[str]:
    """The silent below a node that all others at their lowest leave too little: one whose answers are lost,
    or make no sense, may well hear. `left_w`, by node, is what they leave of its limit."""
    fleet, known = seen.fleet, seen.columns
    may = (known.now_w >= 0) & fleet.has_choice & (known.worst_w > counted_w(fleet.floor_w, known.bias))
    silent = in_the_way(seen.tree, fleet, known, left_w < 0)
    return frozenset(fleet.specs[row].id for row in silent[may[silent]].tolist())


def to_cut(seen: Snapshot, may: Freedom, limits: Limits, left_w: Ints) -> frozenset[str]:
    """Whose power is taken at the outlet: of those that answer, while a limit above them is passed at worst;
    of the silent, which may well draw nothing, only where all others at their lowest leave too little. Of
    what has no voltage, or draws nothing by its meter, none is taken.
    """
    fleet, known = seen.fleet, seen.columns
    spare_w = limits.held_room_w(seen.worst_w)
    found = set()
    fed = known.seen | ~(fleet.isolated | seen.unpowered)
    for row in np.flatnonzero(fleet.has_outlet & ~may.obeys & fed).tolist():
        spec = fleet.specs[row]
        missing_w = spare_w if known.seen[row] else left_w
        pressing = any(missing_w[node] < 0 for node in seen.tree.paths[fleet.node[row]])
        if pressing and doubt.in_vain(spec, seen.devices[spec.id], may.now_s):
            found.add(spec.id)
    return frozenset(found)
