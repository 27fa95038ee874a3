"""What one reading shows of a device: which point it is in, and whether it is where it was told to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.decide.device import TOLERANCE, TOLERANCE_W, DeviceState, with_slack_w
from controller.decide.inputs import Sample
from controller.domain.devices import (
    DeviceKind,
    DeviceSpec,
    OperatingPoint,
    Quality,
    Reading,
    draw_by_hash,
)
from controller.domain.power import Limit, Power

SETTING_TOLERANCE = 0.02
"""A reported limit within this share of the commanded one is that limit."""
ABSURD = 2.0
"""Above this share of its ceiling a device does not draw: it was read in another unit,"""
A_THOUSAND = 1000
"""... in milliwatts taken for watts, or watts for kilowatts."""
ASLEEP = 0.5
"""A miner asleep draws no less than this share of its sleep point."""
HASHES = 0.5
"""At so much of what its lowest working point makes, a miner's rate is no remainder of an average."""
AT_REST = 0.01
"""A board that does nothing at all draws more than this share of its most: an H100 a tenth, a T4 half."""
AWAKE = 0.08
"""A miner that says it sleeps and draws this share of its most runs, and has lost its work."""


def believable(spec: DeviceSpec, sample: Sample[Reading]) -> Sample[Reading]:
    """A draw that no such device can have is one in another unit, and an estimate: by its hash where it is
    too little for that, by its limit if it is a GPU. Where a thousandth is less than it can draw, another
    machine may be in its place: then it counts at its ceiling."""
    reading = sample.value
    if _works_on_nothing(spec, reading):
        draw = draw_by_hash(reading.rate, found_at(spec, reading), spec.points)
    elif _computes_on_nothing(spec, reading):
        draw = (
            min(reading.setting.power, spec.ceiling) if isinstance(reading.setting, Limit) else spec.ceiling
        )
    elif reading.draw.watts <= ABSURD * spec.ceiling.watts:
        return sample
    else:
        draw = Power.up(reading.draw.watts / A_THOUSAND)
        if draw > spec.ceiling or draw.watts < _least_possible_w(spec, reading):
            draw = spec.ceiling
    return Sample(sample.at_s, replace(reading, draw=draw, quality=Quality.ESTIMATED))


def _works_on_nothing(spec: DeviceSpec, reading: Reading) -> bool:
    """Whether a miner hashes with less than it draws asleep: it tells kilowatts. Where it says it sleeps,
    its rate may be an average that goes on for a while."""
    if spec.kind is not DeviceKind.ASIC or len(spec.points) == 1 or set_to(spec, spec.floor, reading):
        return False
    little = reading.draw.watts < ASLEEP * spec.floor.power.watts
    return little and reading.rate >= HASHES * spec.points[1].rate


def _computes_on_nothing(spec: DeviceSpec, reading: Reading) -> bool:
    """Whether a GPU at work says that it draws less than any board does at rest; what is less than a watt is
    told as one."""
    works = spec.kind is DeviceKind.GPU and reading.rate > 0
    return works and reading.draw.watts <= max(1.0, AT_REST * spec.ceiling.watts)


def _least_possible_w(spec: DeviceSpec, reading: Reading) -> float:
    """A miner draws what its sleep takes, and hardly less while it says that it sleeps. A GPU without work
    draws less than its lowest limit."""
    if spec.kind is not DeviceKind.ASIC:
        return 0.0
    says_it_sleeps = reading.rate == 0 and set_to(spec, spec.floor, reading)
    return spec.floor.power.watts * (ASLEEP if says_it_sleeps else 1.0)


def found_at(spec: DeviceSpec, reading: Reading) -> OperatingPoint:
    """The point a device is in: by its reported limit, else the lowest that covers its draw."""
    if isinstance(reading.setting, Limit):
        return _set_at(spec, reading.setting.power)
    return covering(spec.points, reading.draw)


def covering(points: Sequence[OperatingPoint], draw: Power) -> OperatingPoint:
    """The lowest of some points that covers a draw; the highest where none does."""
    covers = (point for point in points if draw.watts <= with_slack_w(point.power, TOLERANCE))
    return next(covers, points[-1])


def _set_at(spec: DeviceSpec, limit: Power) -> OperatingPoint:
    """The lowest point that a limit may be that of; of points that lie nearer than that, the nearest."""
    found = spec.points[-1]
    for point in reversed(spec.points[:-1]):
        covers = limit.watts <= with_slack_w(point.power, SETTING_TOLERANCE)
        if not covers or limit.watts - point.power.watts >= abs(found.power.watts - limit.watts):
            break
        found = point
    return found


def has_point(spec: DeviceSpec, point: OperatingPoint) -> bool:
    """Whether a device still has a point: a spec may become narrower."""
    return any(map(point.is_at, spec.points))


def most(spec: DeviceSpec, state: DeviceState, at: OperatingPoint, reading: Reading) -> Power:
    """The most that a device found at `at` may draw: its own limit counts where it lies above that point."""
    reach = max(reading.draw, state.counted(at))
    limit = reading.setting
    if isinstance(limit, Limit) and limit.power.watts > with_slack_w(at.power, SETTING_TOLERANCE):
        return max(reach, min(limit.power, spec.ceiling))
    return reach


def covers(state: DeviceState, point: OperatingPoint, draw: Power) -> bool:
    """Whether a device at `point` may draw that."""
    return draw.watts <= with_slack_w(max(point.power, state.reckoned(point)), TOLERANCE)


def agrees(spec: DeviceSpec, state: DeviceState, point: OperatingPoint, reading: Reading) -> bool:
    """Both the watts and the reported limit, where there is one, are those of `point`."""
    if not covers(state, point, reading.draw):
        return False
    if isinstance(reading.setting, Limit):
        return set_to(spec, point, reading)
    return reading.draw.watts >= least_w(state, point)


def set_to(spec: DeviceSpec, point: OperatingPoint, reading: Reading) -> bool:
    """Whether the device reports the limit of `point` as its own."""
    if not isinstance(reading.setting, Limit):
        return False
    off_w = abs(reading.setting.power.watts - point.power.watts)
    near = off_w <= SETTING_TOLERANCE * point.power.watts + 1
    return near and (off_w <= 1 or found_at(spec, reading).is_at(point))


def stands_still(spec: DeviceSpec, state: DeviceState, reading: Reading) -> bool:
    """Whether a GPU reports its new limit and, to the watt, the draw that it had when it was told. At work no
    board does that, its sensor may: nothing is shown by it, neither that it obeys nor that it does not.
    """
    same = spec.kind is DeviceKind.GPU and state.draw == state.began
    return same and state.point is not None and set_to(spec, state.point, reading)


def awake(spec: DeviceSpec, draw: Power) -> bool:
    """Whether a miner that should sleep draws what one without work does."""
    slept = draw.watts <= with_slack_w(spec.floor.power, TOLERANCE)
    return spec.kind is DeviceKind.ASIC and not slept and draw.watts >= AWAKE * spec.points[-1].power.watts


def starts(spec: DeviceSpec, reading: Reading) -> bool:
    """Whether a miner that tells no limit may be on its way up: it neither hashes nor draws what any work
    takes, and who sleeps says so."""
    if spec.kind is not DeviceKind.ASIC or len(spec.points) == 1 or isinstance(reading.setting, Limit):
        return False
    least = spec.points[1]
    works_w = least.power.watts * (1 - TOLERANCE) - TOLERANCE_W
    return reading.rate < HASHES * least.rate and reading.draw.watts < works_w


def lags(spec: DeviceSpec, state: DeviceState) -> bool:
    """Whether a miner that works draws too little for where it is, by its own measure."""
    point = state.point
    if point is None or spec.kind is not DeviceKind.ASIC or point.power <= spec.floor.power:
        return False
    measured = state.quality is Quality.MEASURED and state.idle_s is None
    return measured and state.draw.watts < least_w(state, point)


def least_w(state: DeviceState, point: OperatingPoint) -> float:
    """The least that shows a device to be at `point`; a wrong bias must not hide it from us for ever."""
    return min(point.power, state.reckoned(point)).watts * (1 - TOLERANCE) - TOLERANCE_W
