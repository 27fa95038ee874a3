"""The rising part of every device's upper concave hull, as steps from one candidate to a better one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2_000
"""Devices whose hulls are found together: their arrays stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """Parallel arrays. `end` is where a step leads, a position among all devices' candidates; `slope` is
    what a watt more earns, USD per hour, and positive.
    """

    device: NDArray[np.intp]
    end: NDArray[np.intp]
    watts: NDArray[np.int64]
    slope: NDArray[np.float64]

    def take(self, which: NDArray[np.intp]) -> Steps:
        return Steps(
            device=self.device[which],
            end=self.end[which],
            watts=self.watts[which],
            slope=self.slope[which],
        )


def hulls(starts: NDArray[np.intp], watts: NDArray[np.int64], values: NDArray[np.float64]) -> Steps:
    """The steps of each device by falling slope, devices in their order.

    The candidates of device i are at `starts[i]` up to `starts[i + 1]`, their `watts` rising.
    """
    devices = len(starts) - 1
    found = [
        _hulls(first, starts[first : first + AT_ONCE + 1], watts, values)
        for first in range(0, max(1, devices), AT_ONCE)
    ]
    if len(found) == 1:
        return found[0]
    return Steps(
        device=np.concatenate([some.device for some in found]),
        end=np.concatenate([some.end for some in found]),
        watts=np.concatenate([some.watts for some in found]),
        slope=np.concatenate([some.slope for some in found]),
    )


def _hulls(
    first: int, starts: NDArray[np.intp], watts: NDArray[np.int64], values: NDArray[np.float64]
) -> Steps:
    """The steps of the devices from `first` on that begin at `starts`, all but the last of these."""
    begin = int(starts[0])
    watts, values = watts[begin : starts[-1]], values[begin : starts[-1]]
    sizes = starts[1:] - starts[:-1]
    device = np.arange(first, first + len(sizes)).repeat(sizes)
    corner = _corners(device, watts, values)
    corner_w, worth, owner = watts[corner], values[corner], device[corner]
    to = ((worth[1:] > worth[:-1]) & (owner[1:] == owner[:-1])).nonzero()[0] + 1
    step_w = corner_w[to] - corner_w[to - 1]
    return Steps(
        device=owner[to],
        end=corner[to] + begin,
        watts=step_w,
        slope=(worth[to] - worth[to - 1]) / step_w,
    )


def _corners(
    device: NDArray[np.intp], watts: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.intp]:
    """A candidate on or below the line between two others of its device is no corner, so all that lie so
    between their present neighbours go at once; then their devices are looked at again.
    """
    corner = np.ones(len(device), bool)
    power, worth, where = watts.astype(np.float64), values, None
    while True:
        same = device[1:] == device[:-1]
        with np.errstate(divide="ignore", invalid="ignore"):  # across two devices, where nothing compares
            slope = (worth[1:] - worth[:-1]) / (power[1:] - power[:-1])
        low = (same[1:] & same[:-1] & (slope[1:] >= slope[:-1])).nonzero()[0] + 1
        if not len(low):
            return corner.nonzero()[0]
        corner[low if where is None else where[low]] = False
        of = device[low]
        again = np.zeros(device[-1] + 1, bool)
        again[of] = True
        keep = again[device]
        keep[low] = False
        kept = keep.nonzero()[0]
        power, worth, device = power[kept], worth[kept], device[kept]
        where = kept if where is None else where[kept]


def by_falling(slope: NDArray[np.float64]) -> NDArray[np.intp]:
    """The order of falling slope. Those that differ by less than a billionth may count as equal, and equal
    ones stand as they do. Slopes are positive.

    The bits of positive floats rise with their value, so the last of them give way to the position, and whole
    numbers, each of them different, are all there is to sort.
    """
    bits = len(slope).bit_length()
    key = ~slope.view(np.uint64) >> bits << bits
    key |= np.arange(len(slope), dtype=np.uint64)
    key.sort()
    key &= (1 << bits) - 1
    return key.view(np.intp)
