"""The rising part of every device's upper concave hull, as steps from one candidate to a better one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RADIX_FROM = 1 << 13
"""From so many steps on, two passes over 16 bits of the slope sort faster than comparing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """Parallel arrays. `start` and `end` are positions among all devices' candidates; `slope` is what a watt
    more earns, USD per hour, and positive.
    """

    device: NDArray[np.intp]
    start: NDArray[np.intp]
    end: NDArray[np.intp]
    watts: NDArray[np.int64]
    slope: NDArray[np.float64]

    def take(self, which: NDArray[np.intp]) -> Steps:
        return Steps(
            device=self.device[which],
            start=self.start[which],
            end=self.end[which],
            watts=self.watts[which],
            slope=self.slope[which],
        )


def hulls(
    device: NDArray[np.intp],
    starts: NDArray[np.intp],
    watts: NDArray[np.int64],
    values: NDArray[np.float64],
) -> Steps:
    """The steps of each device by falling slope, devices in their order.

    `device` is whose each candidate is, rising; those of device i are at `starts[i]` up to `starts[i + 1]`,
    their `watts` rising.
    """
    corner = _corners(device, starts, watts, values)
    corner_w, worth = watts[corner], values[corner]
    better = worth[1:] > worth[:-1]
    owner = device[corner]
    better &= owner[1:] == owner[:-1]
    to = np.flatnonzero(better) + 1
    start, end = corner[to - 1], corner[to]
    step_w = corner_w[to] - corner_w[to - 1]
    slope = (worth[to] - worth[to - 1]) / step_w
    return Steps(device=owner[to], start=start, end=end, watts=step_w, slope=slope)


def _corners(
    device: NDArray[np.intp],
    starts: NDArray[np.intp],
    watts: NDArray[np.int64],
    values: NDArray[np.float64],
) -> NDArray[np.intp]:
    """A candidate on or below the line between two others of its device is no corner, so all that lie so
    between their present neighbours go at once; then their devices are looked at again.
    """
    corner = np.ones(len(device), bool)
    last = starts[1:] - 1
    where: NDArray[np.intp] | None = None
    power, worth, owner = watts.astype(np.float64), values, device
    while True:
        step_w = power[1:] - power[:-1]
        step_w[last[:-1]] = np.nan  # nothing compares with a step across two devices
        slope = (worth[1:] - worth[:-1]) / step_w
        low = np.flatnonzero(slope[1:] >= slope[:-1]) + 1
        if not len(low):
            return np.flatnonzero(corner)
        corner[low if where is None else where[low]] = False
        again = np.zeros(len(starts), bool)
        again[owner[low]] = True
        keep = again[owner]
        keep[low] = False
        kept = np.flatnonzero(keep)
        power, worth, owner = power[kept], worth[kept], owner[kept]
        where = kept if where is None else where[kept]
        last = np.append(np.flatnonzero(owner[1:] != owner[:-1]), len(owner) - 1)


def by_falling(slope: NDArray[np.float64]) -> NDArray[np.intp]:
    """The order of falling slope, ties as they stand. Slopes are positive."""
    if len(slope) < RADIX_FROM:
        return np.argsort(-slope, kind="stable")
    key = ~slope.astype(np.float32).view(np.uint32)  # the bits of positive floats rise with their value
    order = np.argsort(key.astype(np.uint16), kind="stable")
    order = order[np.argsort((key >> 16).astype(np.uint16)[order], kind="stable")]
    return _mended(order, key, slope)


def _mended(order: NDArray[np.intp], key: NDArray[np.uint32], slope: NDArray[np.float64]) -> NDArray[np.intp]:
    """Slopes that differ only beyond what `key` holds, put in order too."""
    sorted_slope = slope[order]
    wrong = sorted_slope[1:] > sorted_slope[:-1]
    if not wrong.any():
        return order
    sorted_key = key[order]
    run = np.zeros(len(order), np.intp)
    np.cumsum(sorted_key[1:] != sorted_key[:-1], out=run[1:])
    broken = np.zeros(run[-1] + 1, bool)
    broken[run[1:][wrong]] = True
    at = np.flatnonzero(broken[run])
    order[at] = order[at[np.lexsort((order[at], -sorted_slope[at], run[at]))]]
    return order
