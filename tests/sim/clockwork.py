"""Virtual time for what surrounds the plant: actions at moments on a grid of 0.1 s, in order of asking."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

GRID_S = 0.1
Action = Callable[[], None]


class Clockwork:
    """`now_s` only moves in `moments`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._at = 0
        self._moments: list[int] = []
        self._actions: dict[int, list[Action]] = {}

    def at(self, at_s: float, action: Action) -> None:
        """At `at_s`, or at the next moment if that has passed."""
        self._set(max(self._at + 1, math.ceil(at_s / GRID_S - 1e-6)), action)

    def after(self, by_s: float, action: Action, every: int = 1) -> None:
        """At least `by_s` from now, at the next moment at the soonest, on a moment divisible by `every`."""
        at = self._at + max(1, math.ceil(by_s / GRID_S - 1e-6))
        self._set(at if every == 1 else -(-at // every) * every, action)

    def every(self, period_s: float, action: Action) -> None:
        def again() -> None:
            self.after(period_s, again)
            action()

        self.after(period_s, again)

    def moments(self, end_s: float) -> Iterator[list[Action]]:
        """Every moment at which something is to be done, until `end_s`; `now_s` is there already."""
        while self._moments and self._moments[0] * GRID_S <= end_s + 1e-9:
            self._at = heappop(self._moments)
            self.now_s = self._at / 10
            yield self._actions.pop(self._at)

    def _set(self, at: int, action: Action) -> None:
        waiting = self._actions.get(at)
        if waiting is None:
            self._actions[at] = [action]
            heappush(self._moments, at)
        else:
            waiting.append(action)
