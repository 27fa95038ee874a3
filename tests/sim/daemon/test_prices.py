"""The file of prices of the worlds, how it is written badly, and who is blamed for what is spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.domain.prices import Price
from drivers.pricefile import Look, look_at
from drivers.pricetables import PriceFileConfig
from simulators.config import PlantConfig
from simulators.plant import Plant
from tests.sim.daemon.fittings import PRICE_STALE_S, USUAL_USD_PER_KWH, plant_table
from tests.sim.daemon.prices import EVERY_S, STOPS_S, PriceFile, Spending

BEGAN_S = 1_800_000_000.0


class Written:
    """A file that was told 0.5 USD/kWh a minute ago, and the driver that reads it."""

    def __init__(self, folder: Path) -> None:
        self.utc_s = BEGAN_S
        path = folder / "prices.csv"
        self.file = PriceFile(path, lambda: self.utc_s)
        self._config = PriceFileConfig(
            id="market", price=Price.ENERGY, path=path, unit="USD/kWh", stale_after_s=PRICE_STALE_S
        )
        self._last = Look()
        self.file.tell(0.5)
        self.pass_s(60)

    def pass_s(self, for_s: float) -> None:
        until_s = self.utc_s + for_s
        while self.utc_s < until_s:
            self.utc_s += EVERY_S
            self.file.advance()

    def read(self) -> Look:
        self._last = look_at(self._config, self._last)
        return self._last

    def known_usd(self, began_utc_s: float = BEGAN_S) -> float:
        return self.file.known_usd(self.utc_s, began_utc_s)


@pytest.mark.parametrize("how", [1, 2, 3, 4])
def test_a_broken_file_is_refused_until_it_is_mended_and_the_last_price_stands(
    tmp_path: Path, how: int
) -> None:
    written = Written(tmp_path)
    assert written.read().trouble == ""

    written.file.damage(how)

    assert written.read().trouble != ""
    assert written.read().series.values[-1] == 0.5
    assert written.known_usd() == 0.5
    assert written.known_usd(began_utc_s=written.utc_s) == USUAL_USD_PER_KWH
    written.file.damage(0)
    assert written.read().trouble == ""


def test_a_price_is_known_until_it_is_stale_by_the_sites_clock(tmp_path: Path) -> None:
    written = Written(tmp_path)
    written.file.is_silent = True

    written.pass_s(PRICE_STALE_S - EVERY_S)
    assert written.known_usd() == 0.5
    assert written.file.known_usd(written.utc_s - 3600, BEGAN_S) == USUAL_USD_PER_KWH

    written.pass_s(2 * EVERY_S)
    assert written.known_usd() == USUAL_USD_PER_KWH


def test_a_machine_that_goes_on_at_a_price_that_none_earns_is_found_once_it_must_have_stopped() -> None:
    plant = Plant(PlantConfig.model_validate(plant_table(())), seed=1)
    spending = Spending(plant, lambda miner: miner.id != "luxos-000", 1.0)
    for name, miner in plant.miners.items():
        if name not in ("luxos-000", "luxos-001"):
            miner.sleep()
    plant.advance(10)

    for second in range(round(STOPS_S)):
        spending.look(second, 0.5, in_charge=True)
    assert spending.found == []

    spending.look(STOPS_S, 0.5, in_charge=True)
    spending.look(STOPS_S, 0.5, in_charge=True)
    assert spending.found == [f"luxos-001 still works at {STOPS_S} s for 0.5 USD/kWh"]
