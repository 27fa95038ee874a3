"""When the interpreter looks for garbage: right after a tick, when nothing waits for the loop, and seldom.

Nearly all that a tick of thousands of machines makes is freed by itself. The collector goes through what is
left, 1.4 us for each value, whenever enough has come together: by itself in the middle of a decision, and for
a tenth of a second. So what a tick leaves is put by, which costs nothing, and gone through together.
"""

from __future__ import annotations

import gc

EVERY_TICKS = 300
"""So often all there is is gone through: 0.15 s at 10,000 machines. What failed polls leave until then is
some megabytes where a hundred machines are silent."""
MOST = 1_000_000
"""New values between two ticks at which the interpreter does not wait for the end of the second one."""


class Garbage:
    """From now on, garbage is looked for when this is told that a tick is over."""

    def __init__(self) -> None:
        self._ticks = 0
        gc.freeze()
        gc.set_threshold(MOST)

    def after_tick(self) -> None:
        self._ticks += 1
        if self._ticks % EVERY_TICKS == 0:
            gc.unfreeze()
            gc.collect()
        gc.freeze()


def leave_it() -> None:
    """For a process in which the interpreter may look for garbage whenever it likes."""
