"""The core against the plant, seed by seed: nothing unsafe while faults last, all of the power back after.

A failing seed replays with `pytest tests/sim/test_core_on_plant.py --seed N`.
"""

from __future__ import annotations

import pytest

from tests.sim.world import World

SETTLED_S = 60
"""The plant begins above its limit, with nobody in charge: from here on it is ours."""
CALM_S = 500
END_S = 700
CAP_W = 45_000


def faulty(seed: int) -> World:
    """Faults chosen by the seed: two liars, and one machine each that hangs, dies, reboots."""
    world = World(seed)
    miners = list(world.plant.miners)
    liars = world.random.sample(miners, 2)
    for liar in liars:
        world.plant.set_fault(liar, "lies_about_stop")
    honest = [miner for miner in miners if miner not in liars]
    hangs, dies, reboots = world.random.sample(honest, 3)
    start_s = world.random.randint(150, 260)
    world.faults = [
        (world.random.randint(70, 400), hangs, "hangs", True),
        (world.random.randint(70, 400), dies, "dead", True),
        (world.random.randint(70, 400), reboots, "reboot_now", True),
        (CALM_S, hangs, "hangs", False),
        (CALM_S, dies, "dead", False),
        *((CALM_S, liar, "lies_about_stop", False) for liar in liars),
    ]
    world.announce_at = [(start_s - 40, {"cap_w": CAP_W, "in_s": 40, "for_s": 150})]
    return world


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = metafunc.config.getoption("--seed")
    metafunc.parametrize("seed", [given] if given is not None else range(20))


def test_no_limit_is_passed_whatever_breaks_and_the_power_comes_back(seed: int) -> None:
    world = faulty(seed)

    for _ in range(END_S):
        world.tick()

    assert [breach for breach in world.verdict.breaches if breach[0] > SETTLED_S] == []
    assert world.plant.truth().breaker_trips == 0
    assert sum(world.verdict.used[-20:]) / 20 > 0.95
    assert world.plans[-1].alarms == ()
