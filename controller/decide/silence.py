"""What the site's meter says of machines that say nothing themselves.

Each silent machine counts at its ceiling, for it may have been started by hand or have forgotten its limit.
All of them together do not, while a meter above them shows what the site draws: then they count where they
were last known to be, with room for some of them to rise at once, and for whatever the meter shows beyond.
"""

from __future__ import annotations

import math

import numpy as np

from controller.decide.arrays import Flags, Ints
from controller.decide.columns import CODE, Columns
from controller.decide.fleet import Fleet
from controller.decide.nodes import METER_ERROR, NodeMemory
from controller.decide.plan import Truth

RISING = 1 / 8
RISING_AT_LEAST = 2
"""So many of the silent ones, those with the most to gain, may rise before the meter has shown it and others
have come down."""


def relief_w(known: Columns, fleet: Fleet, uncertain: Flags, meter: NodeMemory, other_w: int) -> int:
    """Watts that the silent below a meter count too much, all together. None where it cannot be told.

    `other_w` is load that is no device's. A meter that stood still for as long as is remembered may be stuck.
    """
    silent = (known.truth == CODE[Truth.STALE]) & ~fleet.isolated
    shown_w = [seen.metered_w for seen in meter.recent if seen.metered_w is not None]
    if meter.doubted or len(set(shown_w)) < 2 or not silent.any():
        return 0
    may_rise_w = np.maximum(known.worst_w - known.last_w, 0)[silent]
    rising = max(RISING_AT_LEAST, math.ceil(RISING * len(may_rise_w)))
    seen_w = np.where(uncertain, known.worst_w, known.draw_w)[known.seen].sum()
    expected_w = int(seen_w + known.last_w[silent].sum()) + other_w
    beyond_w = max(0.0, shown_w[-1] * (1 - METER_ERROR) - expected_w)
    spared_w = may_rise_w.sum() - np.sort(may_rise_w)[-rising:].sum() - beyond_w
    return max(0, math.floor(float(spared_w)))


def beside_w(other_w: Ints, relief_w: int) -> Ints:
    """What each node carries beside its devices at their worst, with so much relief at the root."""
    beside = other_w.copy()
    beside[0] -= relief_w
    return beside
