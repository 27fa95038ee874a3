"""Piecewise-linear curves: flat outside their corners."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class Curve:
    """Corners (x, y), given in ascending x."""

    __slots__ = ("_xs", "_ys")

    def __init__(self, corners: Iterable[tuple[float, float]]) -> None:
        self._xs, self._ys = zip(*corners, strict=True)

    def __call__(self, x: float) -> float:
        right = bisect_right(self._xs, x)
        if right == 0:
            return float(self._ys[0])
        if right == len(self._xs):
            return float(self._ys[-1])
        x0, x1 = self._xs[right - 1], self._xs[right]
        y0, y1 = self._ys[right - 1], self._ys[right]
        return float(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
