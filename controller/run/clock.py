"""The one place that asks what time it is.

Elapsed time is the event loop's, so that a test may run hours in seconds; wall time exists only to read
event schedules and to print.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


def elapsed_s() -> float:
    """Seconds of the event loop, since a moment of its own."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Clock:
    """`utc` is the wall clock, in Unix seconds."""

    utc: Callable[[], float] = time.time

    def now_s(self) -> float:
        return elapsed_s()

    def utc_s(self) -> float:
        return self.utc()
