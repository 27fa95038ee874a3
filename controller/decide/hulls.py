"""The rising part of every device's upper concave hull, as steps from one candidate to a better one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 5_000
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

    def take(self, which: NDArray[np.intp] | slice) -> Steps:
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
    steps, found = _empty(len(watts)), 0
    for first in range(0, len(starts) - 1, AT_ONCE):
        some = _hulls(first, starts[first : first + AT_ONCE + 1], watts, values)
        into = steps.take(slice(found, found := found + len(some.end)))
        into.device[:] = some.device
        into.end[:] = some.end
        into.watts[:] = some.watts
        into.slope[:] = some.slope
    return steps.take(slice(found))


def _empty(most: int) -> Steps:
    return Steps(
        device=np.empty(most, np.intp),
        end=np.empty(most, np.intp),
        watts=np.empty(most, np.int64),
        slope=np.empty(most),
    )


def _hulls(
    first: int, starts: NDArray[np.intp], watts: NDArray[np.int64], values: NDArray[np.float64]
) -> Steps:
    """The steps of the devices from `first` on that begin at `starts`, all but the last of these."""
    begin = int(starts[0])
    watts, values = watts[begin : starts[-1]], values[begin : starts[-1]]
    slope, before = _corners(starts - begin, watts.astype(np.float64), values)
    end = (slope > 0).nonzero()[0]
    device = np.arange(first, first + len(starts) - 1).repeat(starts[1:] - starts[:-1])
    return Steps(
        device=device[end],
        end=end + begin,
        watts=watts[end] - watts[before[end]],
        slope=slope[end],
    )


def _corners(
    starts: NDArray[np.intp], watts: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The slope that leads up to each corner, and the corner before it; for a device's first candidate and
    where there is no corner, the slope is not a number, and compares with none.

    A candidate on or below the line between two others of its device is no corner, so all that lie so
    between their present neighbours go at once. Then the neighbours of those that went are looked at again.
    """
    slope = np.full(len(watts) + 1, np.nan)
    before, after = np.arange(-1, len(watts)), np.arange(1, len(watts) + 2)
    with np.errstate(divide="ignore", invalid="ignore"):  # from one device to the next
        np.divide(values[1:] - values[:-1], watts[1:] - watts[:-1], out=slope[1:-1])
        slope[starts] = np.nan
        low = (slope[1:] >= slope[:-1]).nonzero()[0]
        while len(low):
            apart = np.ones(len(low) + 1, bool)  # who is not the next after the one named before it
            np.not_equal(after[low[:-1]], low[1:], out=apart[1:-1])
            slope[low] = np.nan
            left, right = before[low[apart[:-1]]], after[low[apart[1:]]]
            before[right], after[left] = left, right
            slope[right] = across = (values[right] - values[left]) / (watts[right] - watts[left])
            beside, sinks = np.empty(2 * len(left), np.intp), np.empty(2 * len(left), bool)
            beside[::2], beside[1::2] = left, right
            np.greater_equal(across, slope[left], out=sinks[::2])
            np.greater_equal(slope[after[right]], across, out=sinks[1::2])
            sinks[2::2] &= beside[2::2] != beside[1:-1:2]  # named once
            low = beside[sinks]
    return slope, before


def by_falling(slope: NDArray[np.float64]) -> NDArray[np.intp]:
    """The order of falling slope, as `falling` gives it."""
    key = falling(slope)
    key.sort()
    key &= (1 << len(slope).bit_length()) - 1
    return key.view(np.intp)


def falling(slope: NDArray[np.float64], place: NDArray[np.intp] | None = None) -> NDArray[np.uint64]:
    """Numbers, each of them different, that rise as slopes fall. Slopes that differ by less than a billionth
    may count as equal, and equal ones go by their `place`, or as they stand. Slopes are positive.

    The bits of positive floats rise with their value, and the last of them give way to the place.
    """
    bits = len(slope).bit_length()
    key = ~slope.view(np.uint64)
    key >>= bits
    key <<= bits
    key |= np.arange(len(slope), dtype=np.uint64) if place is None else place.view(np.uint64)
    return key
