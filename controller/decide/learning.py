"""What is learned of a device from many readings: what its points truly draw, and what its work wants."""

from __future__ import annotations

import math

from controller.decide.device import DeviceState
from controller.domain.devices import DeviceKind, DeviceSpec, Quality, Reading
from controller.domain.power import ZERO

BIAS_RANGE = (0.85, 1.15)
"""How far a device's measured draw may move what its points are reckoned to draw."""
BIAS_GAIN = 0.2
AT_LIMIT = 0.95
"""A GPU that draws this share of its limit may want more."""
DEMAND_S = 300.0
"""Time constant with which it is forgotten what the work on a GPU once drew."""
RISING = 1.02
"""Times its last reading: what draws more than that is still on its way up."""
BIAS_FORGOTTEN = 0.02
"""Asleep, a machine shows nothing of it: with each reading that much of what was learned is forgotten."""


def demand_w(state: DeviceState, draw_w: int, at_s: float) -> float:
    """What the work on a GPU wants that draws so much now: the most that it drew, which is slowly forgotten.
    One at its limit may want anything."""
    assert state.point is not None
    limit_w = state.point.power.watts
    if draw_w >= AT_LIMIT * limit_w:
        return math.inf
    beyond_w = max(0.0, min(state.demand_w, limit_w) - draw_w)
    return draw_w + beyond_w * math.exp((state.at_s - at_s) / DEMAND_S)


def rises(before: DeviceState, reading: Reading) -> bool:
    """Whether a device draws clearly more than it did when it was heard `before`."""
    return reading.draw.watts > RISING * before.draw.watts


def bias(spec: DeviceSpec, state: DeviceState, *, is_early: bool) -> float:
    """Points are nominal; this very device, by what it said last, draws a few percent more or less.

    More counts at once. Less counts only for a miner whose draw is measured, and for which it is not too
    early: it had its time to rise, and rises no more, as an order may be carried out late. To a GPU its limit
    is no demand.
    """
    point = state.point
    assert point is not None
    if point.power == ZERO or (spec.kind is DeviceKind.ASIC and point == spec.floor):
        return state.bias + BIAS_FORGOTTEN * (1.0 - state.bias)
    ratio = state.draw.watts / point.power.watts
    if spec.kind is DeviceKind.GPU or state.quality is Quality.ESTIMATED:
        ratio = max(1.0, ratio)
    elif ratio < BIAS_RANGE[0] or (ratio < state.bias and is_early):
        return state.bias
    elif state.lies:
        ratio = max(1.0, ratio)
    return state.bias + BIAS_GAIN * (min(ratio, BIAS_RANGE[1]) - state.bias)
