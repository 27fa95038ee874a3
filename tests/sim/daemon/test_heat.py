"""Whom the judge of heat blames in a hall whose fans stand still."""

from __future__ import annotations

import random

from simulators.config import PlantConfig
from simulators.physics.miner import Miner
from simulators.plant import Plant
from tests.sim.daemon.fittings import HEAT, plant_table
from tests.sim.daemon.heat import Heat
from tests.sim.daemon.memory import Network

STEP_S = 1.0


class Hall:
    """`hall-a` stands in its own heat from the start; machines named `deaf...` cannot be told."""

    def __init__(self, deaf: str = "nobody") -> None:
        self.plant = Plant(PlantConfig.model_validate(plant_table([HEAT])), seed=1)
        self.heat = Heat(self.plant, Network(random.Random(1)), self._obeys, STEP_S)
        self.plant.set_fault("hall-a", "fans_stopped")
        self._deaf = deaf

    def _obeys(self, miner: Miner) -> bool:
        return not miner.id.startswith(self._deaf)

    def goes_on(self, until_s: float) -> None:
        while self.plant.now_s < until_s:
            self.plant.advance(self.plant.now_s + STEP_S)
            self.heat.look(self.plant.now_s, in_charge=True)


def test_machines_that_nobody_brings_down_were_left_in_their_heat_and_trip() -> None:
    hall = Hall()

    hall.goes_on(300)

    found = " ".join(hall.heat.found)
    assert "luxos-000 was left in its heat" in found
    assert "luxos-003 tripped for its heat" in found
    assert "whatsminer" not in found


def test_machines_that_could_not_be_told_are_nobodys_fault() -> None:
    hall = Hall(deaf="luxos")

    hall.goes_on(300)

    assert hall.plant.truth().miner_trips >= 4
    assert hall.heat.found == []


def test_a_machine_is_not_to_be_raised_while_its_fans_stand_still() -> None:
    hall = Hall()
    for miner in hall.plant.miners.values():
        miner.sleep()
    hall.goes_on(20)

    for name in ("luxos-000", "whatsminer-000"):
        hall.heat.told(name, 3500, hall.plant.now_s)

    assert hall.heat.found == ["luxos-000 was raised at 20.0 s, its fans not proven for 20.0 s"]


def test_a_machine_without_work_that_is_told_less_is_not_raised() -> None:
    hall = Hall()
    hall.plant.set_fault("luxos-000", "pool_loss")
    hall.goes_on(20)

    hall.heat.told("luxos-000", 3_000, hall.plant.now_s)

    assert hall.plant.miners["luxos-000"].watts < 500
    assert hall.heat.found == []


def test_a_machine_that_boots_to_its_old_limit_is_not_raised_by_a_lower_one() -> None:
    hall = Hall()
    hall.plant.set_fault("luxos-000", "reboot_now")
    hall.goes_on(20)
    hall.heat.told("luxos-000", 25, hall.plant.now_s)  # while it boots: it never hears of that

    hall.heat.told("luxos-000", 2_000, hall.plant.now_s)

    assert hall.heat.found == []
