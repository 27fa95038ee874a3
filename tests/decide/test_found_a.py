"""Sequences after which the core once counted too little, kept watts for nothing, or never came to rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide import truth
from controller.decide.device import DeviceState
from controller.decide.plan import Sample, Truth
from controller.domain.devices import Acknowledged, Failed, MeterReading, OperatingPoint
from controller.domain.power import Power
from tests.decide.builders import (
    FULL,
    LOW,
    NOW_S,
    SLEEP,
    device,
    event,
    gpu,
    miner,
    node,
    node_of,
    reading,
    site,
)
from tests.decide.observing import see, told
from tests.decide.world import World, asleep, awake


def point(watts: int, rate: float) -> OperatingPoint:
    return OperatingPoint(name=f"{watts}w", power=Power(watts), rate=rate)


def test_a_miner_that_lied_once_and_draws_more_than_its_points_say_is_not_sent_up_and_down_for_ever() -> None:
    """What it draws too much is learned, as of any other: else it counts for less wherever it is not."""
    modest = miner("a", points=(SLEEP, point(2_135, 111.7), point(3_050, 148.6)), dwell_s=20.0)
    hungry = miner("b", points=(SLEEP, point(2_380, 134.6), point(3_400, 179.0)), dwell_s=20.0)
    world = World(site(limit_w=4_596), [awake(modest), awake(hungry, share=1.08)])
    world.events = (event("e", end_s=world.now_s + 60, limit_w=200),)
    world.machines["b"].lies = True
    world.run(40)
    world.machines["b"].lies = False
    world.run(400)
    lies, before = world.state.devices["b"].lies, world.changes()

    world.run(400)

    assert lies > 0
    assert world.changes() - before == 0


def test_a_limit_is_that_of_the_point_nearest_to_it_where_points_lie_close_together() -> None:
    """A GPU of 1,200 W in steps of 25 W: two percent are more than half a step."""
    close = gpu(points=tuple(point(watts, watts / 1_200) for watts in range(200, 1_201, 25)), ceiling=Power(1_200))
    top, below = close.points[-1], close.points[-2]
    lowered = truth.commanded(close, device(top, draw_w=90), below, NOW_S - 2)

    met = see(DeviceState(), reading("g", draw_w=90, setting_w=1_200), spec=close)
    unmoved = see(lowered, reading("g", draw_w=90, setting_w=1_200), spec=close)

    assert (met.point, met.worst) == (top, Power(1_200))
    assert (unmoved.truth, unmoved.worst) == (Truth.COMMANDED, Power(1_200))
