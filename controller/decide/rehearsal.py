"""Where ramps lead before a limit comes: each node that has one begins as late as it may, and no later.

How much each will have to give is what the plan would have it give if the limit held now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np

from controller.decide.arrays import Ints
from controller.decide.choose import Choosing
from controller.decide.columns import counted_w
from controller.decide.feeding import Feeding
from controller.decide.freedom import Freedom
from controller.decide.limits import Limits
from controller.decide.snapshot import Snapshot
from controller.decide.tree import load
from controller.decide.value import Valuation
from controller.domain.jobs import QueueReading


def begun(
    seen: Snapshot,
    limits: Limits,
    queues: Sequence[QueueReading],
    placed: Mapping[str, tuple[str, ...]],
    valuation: Valuation,
    may: Freedom,
) -> Limits:
    """`limits` with no more at each node that has a ramp down than leads to the limits that are coming."""
    if not limits.coming:
        return limits

    def carried_w(then: Limits) -> Ints:
        """What each node would carry in a plan with these limits, if all could be changed at once."""
        choosing = Choosing(seen, then, valuation, may, None)
        feeding = Feeding(seen, may, queues, placed, choosing.room_w)
        found, allocation = choosing.allocated(feeding.working(), feeding.lagging(), dwells=False)
        return seen.carried_w(found.watts[found.start[:-1] + allocation.index])

    falls_w = seen.ground.falls_w
    at, per_s_w = np.array(list(falls_w)), np.array(list(falls_w.values()))
    known, fleet = seen.columns, seen.fleet
    top_w = np.maximum(known.worst_w, counted_w(fleet.top_w, known.bias))
    most_w = load(seen.tree, fleet.node, top_w)[at]
    then, begun_w = limits, limits.usable_w[at]
    for ahead_s, coming in groupby(limits.coming, itemgetter(0)):
        led_w = np.floor(per_s_w * ahead_s).astype(np.int64)
        if (led_w >= most_w).all():
            break  # there is time for all of it, and for what comes later too
        then = then.lowered({node: watts for _, node, watts in coming})
        begun_w = np.minimum(begun_w, carried_w(then)[at] + led_w)
    return limits.lowered(dict(zip(falls_w, begun_w.tolist(), strict=True)))
