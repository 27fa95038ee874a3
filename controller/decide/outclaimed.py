"""Meters that show less than the machines below them measure themselves: a current transformer of another
ratio, generation behind the meter, machines that hang elsewhere than the site file says.

Such a meter frees no watts by what it shows. A few machines may be wrong by anything, and all of them by so
much that only a large difference convicts a meter, once it has lasted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from controller.decide.arrays import Ints
from controller.decide.beyond import LITTLE
from controller.decide.stuck import COARSE_W

CLAIM_ERROR = 0.2
"""Claims of real machines are wrong by up to this share."""
FEW = 1 / 16
"""So many of the machines below a meter may be altogether wrong, one at least."""
LASTS_S = 60.0
"""For so long a meter is believed all the same: what changes, and who is read late, is over by then."""
ACQUITS = 4.0
"""A reading that is enough counts as so many that are not."""


class Outclaimed(NamedTuple):
    """Whether the last reading of a meter was so, for how long they were, `LASTS_S` at most, and whether it
    is `convicted` of that."""

    now: bool = False
    for_s: float = 0.0
    convicted: bool = False

    def on(self, metered_w: int, surely_w: int, top_w: int, elapsed_s: float) -> Outclaimed:
        """After another reading: machines that can draw `top_w` surely draw `surely_w`. While they draw next
        to nothing it acquits no meter."""
        least_w = surely_w / (1 + CLAIM_ERROR)
        now = metered_w + COARSE_W < least_w
        acquits = metered_w >= least_w and surely_w >= LITTLE * top_w
        for_s = self.for_s + (elapsed_s if now else -ACQUITS * elapsed_s if acquits else 0.0)
        for_s = min(max(for_s, 0.0), LASTS_S)
        return Outclaimed(now, for_s, for_s >= LASTS_S or (self.convicted and for_s > 0))


def surely_w(measured_w: Ints, top_w: Ints) -> Ints:
    """What machines surely draw that measure `measured_w` below each node, and draw `top_w` each at most."""
    few_w = np.maximum(np.ceil(measured_w * FEW).astype(np.int64), top_w.max(initial=0))
    found: Ints = np.maximum(0, measured_w - few_w)
    return found
