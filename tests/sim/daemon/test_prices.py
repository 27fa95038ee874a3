"""The file of prices of the worlds, how it is written badly, and who is blamed for what is spent or left."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.domain.prices import Price
from drivers.pricefile import Look, look_at
from drivers.pricetables import PriceFileConfig
from simulators.config import PlantConfig
from simulators.plant import Plant
from tests.sim.daemon.fittings import PRICE_STALE_S, USUAL_USD_PER_KWH, plant_table
from tests.sim.daemon.prices import EVERY_S, STARTS_S, STOPS_S, Known, PriceFile, Spending, unsettled

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


def spending(plant: Plant, *, working: str = "") -> Spending:
    """The judge of a plant whose machines sleep, but for those `working`."""
    for name, miner in plant.miners.items():
        if name not in working:
            miner.sleep()
    plant.advance(10)
    return Spending(plant, lambda miner: miner.id != "luxos-000", 1.0)


@pytest.fixture
def plant() -> Plant:
    return Plant(PlantConfig.model_validate(plant_table(())), seed=1)


DEAR = [Known(0.5), Known(0.05, usd_per_ths_day=0.008)]


@pytest.mark.parametrize("known", DEAR)
def test_a_machine_that_goes_on_at_prices_at_which_none_earns_is_found_once_it_must_have_stopped(
    plant: Plant, known: Known
) -> None:
    judge = spending(plant, working="luxos-000 luxos-001")

    for second in range(round(STOPS_S)):
        judge.look(second, known, in_charge=True)
    assert judge.found == []

    judge.look(STOPS_S, known, in_charge=True)
    judge.look(STOPS_S, known, in_charge=True)
    assert judge.found == [f"luxos-001 still works at {STOPS_S} s for {known.usd_per_kwh} USD/kWh"]


def test_a_site_that_stands_still_at_a_price_at_which_every_machine_earns_is_found_once_one_must_have_started(
    plant: Plant,
) -> None:
    judge = spending(plant)

    for second in range(round(STARTS_S)):
        judge.look(second, Known(0.05), in_charge=True, is_free=True)
    assert judge.found == []

    judge.look(STARTS_S, Known(0.05), in_charge=True, is_free=True)
    judge.look(STARTS_S, Known(0.05), in_charge=True, is_free=True)
    assert judge.found == [f"nothing works at {STARTS_S} s for 0.05 USD/kWh"]


@pytest.mark.parametrize(
    ("known", "is_free", "working"),
    [(Known(0.05), False, ""), (Known(0.1), True, ""), (Known(0.05), True, "luxos-001"), (DEAR[1], True, "")],
)
def test_a_site_may_stand_still_while_it_is_held_down_or_it_does_not_pay_and_it_does_not_while_one_works(
    plant: Plant, known: Known, is_free: bool, working: str
) -> None:
    judge = spending(plant, working=working)

    for second in range(2 * round(STARTS_S)):
        judge.look(second, known, in_charge=True, is_free=is_free)

    assert [found for found in judge.found if "nothing" in found] == []


FIRST = {"energy": "exchange"}
FELL_BACK = {"event": "price_source", "price": "energy", "source": "constant"}
CAME_BACK = {"event": "price_source", "price": "energy", "source": "exchange"}
FAILS = {"event": "price_source_failing", "subject": "exchange", "why": "not JSON"}
ANSWERS = {"event": "price_source_answers_again", "subject": "exchange"}


def test_a_price_that_fell_back_and_a_source_that_fails_are_found_unless_they_came_back() -> None:
    broken = list(unsettled([FELL_BACK, FAILS], FIRST))

    assert broken == [
        "energy is from constant at the end, not from exchange",
        "exchange fails at the end: not JSON",
    ]
    assert list(unsettled([FELL_BACK, FAILS, CAME_BACK, ANSWERS], FIRST)) == []
    assert list(unsettled([FELL_BACK, FAILS, {"event": "started"}], FIRST)) == []
