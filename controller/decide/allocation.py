"""One operating point per device, for the most value under every node's room.

The tree's limits form a laminar family, so the feasible region of the relaxed problem is a polymatroid:
taking the segments of all devices' concave hulls by falling value per watt, each as far as its tightest
ancestor allows, is optimal (Edmonds 1970; Federgruen and Groenevelt, Operations Research 34(6), 1986).
The integer answer takes whole segments in the same order, then fills what is left, off-hull points allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A device's candidate points: whole watts ascending, and what each is worth per hour."""

    device: str
    node: str
    watts: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """`index` into each device's candidates; `blocked_by` the node that stopped a device; `room_w` what is
    left per node, negative where even the lowest points do not fit; `bound` on the value of any allocation.
    """

    index: Mapping[str, int]
    blocked_by: Mapping[str, str]
    room_w: Mapping[str, int]
    value: float
    bound: float

    @property
    def infeasible(self) -> tuple[str, ...]:
        return tuple(node for node, room in self.room_w.items() if room < 0)

    @property
    def gap(self) -> float:
        """How far the value can at most lie below the best possible, as a fraction of it."""
        return max(0.0, (self.bound - self.value) / abs(self.bound)) if self.bound else 0.0


@dataclass(frozen=True, slots=True)
class _Segment:
    """A step of a hull from one candidate to a better one."""

    slope: float
    device: str
    start: int
    end: int


def allocate(
    choices: Sequence[Choice], room_w: Mapping[str, int], ways: Mapping[str, tuple[str, ...]]
) -> Allocation:
    """Allocate `room_w` (per node, for the devices below it). The order of `choices` changes nothing."""
    by_device = {choice.device: choice for choice in sorted(choices, key=lambda choice: choice.device)}
    room = dict(room_w)
    for choice in by_device.values():
        _take(room, ways[choice.node], choice.watts[0])
    segments = sorted(
        (segment for choice in by_device.values() for segment in _hull(choice)),
        key=lambda segment: (-segment.slope, segment.device, segment.start),
    )
    bound = sum(choice.values[0] for choice in by_device.values()) + _relaxed(segments, by_device, room, ways)
    index = dict.fromkeys(by_device, 0)
    blocked: dict[str, str] = {}
    for segment in segments:
        if segment.device not in blocked:
            choice = by_device[segment.device]
            step = choice.watts[segment.end] - choice.watts[segment.start]
            full = _first_full(room, ways[choice.node], step)
            if full is None:
                _take(room, ways[choice.node], step)
                index[segment.device] = segment.end
            else:
                blocked[segment.device] = full
    _fill(blocked, by_device, index, room, ways)
    value = sum(choice.values[index[device]] for device, choice in by_device.items())
    return Allocation(index=index, blocked_by=blocked, room_w=room, value=value, bound=bound)


def _hull(choice: Choice) -> list[_Segment]:
    """The rising part of the upper concave hull of a device's points, as segments."""
    corners = [0]
    for point in range(1, len(choice.watts)):
        while len(corners) > 1 and _slope(choice, corners[-1], point) >= _slope(
            choice, corners[-2], corners[-1]
        ):
            corners.pop()
        corners.append(point)
    return [
        _Segment(slope, choice.device, start, end)
        for start, end in pairwise(corners)
        if (slope := _slope(choice, start, end)) > 0
    ]


def _slope(choice: Choice, start: int, end: int) -> float:
    return (choice.values[end] - choice.values[start]) / (choice.watts[end] - choice.watts[start])


def _fill(
    blocked: Mapping[str, str],
    by_device: Mapping[str, Choice],
    index: dict[str, int],
    room: dict[str, int],
    ways: Mapping[str, tuple[str, ...]],
) -> None:
    """Give what whole segments left over to the devices that were stopped, best value per watt first."""
    for device in blocked:
        choice = by_device[device]
        at = index[device]
        fitting = [
            point
            for point in range(at + 1, len(choice.watts))
            if choice.values[point] > choice.values[at]
            and _first_full(room, ways[choice.node], choice.watts[point] - choice.watts[at]) is None
        ]
        if fitting:
            best = max(fitting, key=lambda point: (choice.values[point], -point))
            _take(room, ways[choice.node], choice.watts[best] - choice.watts[at])
            index[device] = best


def _relaxed(
    segments: Sequence[_Segment],
    by_device: Mapping[str, Choice],
    room_w: Mapping[str, int],
    ways: Mapping[str, tuple[str, ...]],
) -> float:
    """The optimum when points may be mixed: no integer allocation is worth more."""
    room = dict(room_w)
    value = 0.0
    for segment in segments:
        choice = by_device[segment.device]
        step = choice.watts[segment.end] - choice.watts[segment.start]
        part = max(0, min(step, *(room[node] for node in ways[choice.node])))
        _take(room, ways[choice.node], part)
        value += segment.slope * part
    return value


def _first_full(room: Mapping[str, int], way: Sequence[str], step_w: int) -> str | None:
    """The lowest node on the way up that has no room for `step_w` more."""
    for node in way:
        if room[node] < step_w:
            return node
    return None


def _take(room: dict[str, int], way: Sequence[str], watts: int) -> None:
    for node in way:
        room[node] -= watts
