"""Sequences after which the core once counted too little, kept watts for nothing, or never came to rest."""

from __future__ import annotations



from controller.domain.devices import OperatingPoint
from controller.domain.power import Power
from tests.decide.builders import SLEEP, event, miner, site
from tests.decide.world import World, awake


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
