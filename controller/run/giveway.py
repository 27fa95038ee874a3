"""A thread that computes beside the event loop lets it go first.

The interpreter runs one thread at a time. Who wants it back from a thread that computes waits 5 ms for it
(`sys.getswitchinterval()`), and has it only half of the time from then on: a decision takes twice as long. A
thread that is away for a moment every two milliseconds costs the loop no more than those, and then a quarter.
"""

from __future__ import annotations

import time

PIECES = 200
"""So many pieces of work, of some ten microseconds each, are done in a row,"""
AWAY_S = 0.0002
"""and then nothing for so long: time enough for a thread that waits to be woken."""


class GiveWay:
    """Called after each piece of work, on the thread that does it. In a `hurry` it does not give way: where
    the processors are busy with other things, each time away may last for milliseconds."""

    def __init__(self) -> None:
        self.hurry = False
        self._pieces = 0

    def __call__(self) -> None:
        self._pieces += 1
        if self._pieces >= PIECES:
            self._pieces = 0
            if not self.hurry:
                time.sleep(AWAY_S)


def keep_going() -> None:
    """For whoever has no loop beside it."""
