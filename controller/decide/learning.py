"""What is learned of a device from many readings: what its points truly draw, and what its work wants."""

from __future__ import annotations

import math

from controller.decide.device import DeviceState
from controller.decide.inputs import Sample
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


def with_demand(state: DeviceState, sample: Sample[Reading]) -> DeviceState:
    """What the work on a GPU wants: the most that it drew, which is slowly forgotten. One at its limit may
    want anything."""
    assert state.point is not None
    draw_w, limit_w = sample.value.draw.watts, state.point.power.watts
    if draw_w >= AT_LIMIT * limit_w:
        return state if state.demand_w == math.inf else state._replace(demand_w=math.inf)
    beyond_w = max(0.0, min(state.demand_w, limit_w) - draw_w)
    return state._replace(demand_w=draw_w + beyond_w * math.exp((state.at_s - sample.at_s) / DEMAND_S))


def rises(before: DeviceState, reading: Reading) -> bool:
    """Whether a device draws clearly more than it did when it was heard `before`."""
    return reading.draw.watts > RISING * before.draw.watts


def learned(
    spec: DeviceSpec, state: DeviceState, reading: Reading, now_s: float, *, rises: bool
) -> DeviceState:
    """Points are nominal; this very device draws a few percent more or less.

    More counts at once. Less counts only for a miner whose draw is measured, had its time to rise, and rises
    no more: an order may be carried out late. To a GPU its limit is no demand.
    """
    point = state.point
    assert point is not None
    if point.power == ZERO or (spec.kind is DeviceKind.ASIC and point == spec.floor):
        forgotten = state.bias + BIAS_FORGOTTEN * (1.0 - state.bias)
        return state if state.bias == 1.0 else state._replace(bias=forgotten)
    ratio = reading.draw.watts / point.power.watts
    is_early = rises or now_s - state.asked_s <= spec.settle_up_s
    if spec.kind is DeviceKind.GPU or reading.quality is Quality.ESTIMATED:
        ratio = max(1.0, ratio)
    elif ratio < BIAS_RANGE[0] or (ratio < state.bias and is_early):
        return state
    elif state.lies:
        ratio = max(1.0, ratio)
    bias = state.bias + BIAS_GAIN * (min(ratio, BIAS_RANGE[1]) - state.bias)
    return state if bias == state.bias else state._replace(bias=bias)
