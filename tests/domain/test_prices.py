"""What may be called a price, and which one of a series is in force."""

from __future__ import annotations

import math

import pytest

from controller.domain.prices import MARKETS, NO_SERIES, Price, PriceKey, Quote, Series, in_base_unit
from controller.domain.site import Thresholds


@pytest.mark.parametrize(
    ("price", "value", "unit", "base"),
    [
        (Price.HASH, 0.05, "USD/TH/s/day", 0.05),
        (Price.HASH, 50.0, "USD/PH/s/day", 0.05),
        (Price.ENERGY, 45.0, "USD/MWh", 0.045),
        (Price.ENERGY, -70.24, "USD/MWh", -0.07024),
        (Price.ENERGY, 4857.82, "USD/MWh", 4.85782),
        (Price.ENERGY, 23_400.0, "USD/MWh", 23.4),
        (Price.ENERGY, -15_000.0, "USD/MWh", -15.0),
        (Price.GPU_HOUR, 2.5, "USD/GPU/h", 2.5),
        (Price.REDUCTION, 300.0, "USD/MWh", 0.3),
    ],
)
def test_a_price_is_turned_into_the_first_unit_of_its_market(
    price: Price, value: float, unit: str, base: float
) -> None:
    assert in_base_unit(price, value, unit) == pytest.approx(base)


@pytest.mark.parametrize(
    ("price", "value", "unit", "why"),
    [
        (Price.ENERGY, 27.0, "USD/kWh", r"energy 27 USD/kWh is outside -25\.\.25 USD/kWh"),
        (Price.ENERGY, -25_000.01, "USD/MWh", "is outside"),
        (Price.ENERGY, math.nan, "USD/kWh", "energy nan USD/kWh is outside"),
        (Price.ENERGY, math.inf, "USD/kWh", "energy inf USD/kWh is outside"),
        (Price.HASH, 50.0, "USD/TH/s/day", r"hash 50 USD/TH/s/day is outside 0\.001\.\.5"),
        (Price.HASH, 0.05, "USD/PH/s/day", "is outside"),
        (Price.HASH, 0.0, "USD/TH/s/day", "is outside"),
        (Price.HASH, -0.01, "USD/TH/s/day", "is outside"),
        (Price.GPU_HOUR, -1.0, "USD/GPU/h", "is outside"),
        (Price.ENERGY, 0.05, "EUR/kWh", "unit 'EUR/kWh' of energy is not USD/kWh or USD/MWh"),
        (Price.HASH, 0.05, "USD/MWh", "unit 'USD/MWh' of hash is not"),
        (Price.ENERGY, 0.05, "", "unit '' of energy"),
    ],
)
def test_what_is_no_price_is_refused_by_name_and_value(
    price: Price, value: float, unit: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        in_base_unit(price, value, unit)


def test_every_price_has_a_market_and_only_hashing_is_never_paid_nothing() -> None:
    assert set(MARKETS) == set(Price)
    assert [price for price, market in MARKETS.items() if market.least > 0.0] == [Price.HASH]


def test_a_value_is_in_force_from_its_moment_until_the_next() -> None:
    series = Series((100.0, 200.0), (1.0, 2.0))

    assert [series.at(utc_s) for utc_s in (99.9, 100.0, 199.9, 200.0, 1e12)] == [
        None,
        Quote(value=1.0, from_utc_s=100.0),
        Quote(value=1.0, from_utc_s=100.0),
        Quote(value=2.0, from_utc_s=200.0),
        Quote(value=2.0, from_utc_s=200.0),
    ]
    assert NO_SERIES.at(0.0) is None


def test_a_series_has_a_time_for_each_value() -> None:
    with pytest.raises(ValueError, match="2 times and 1 values"):
        Series((1.0, 2.0), (1.0,))


def test_a_key_is_written_with_its_model_where_it_has_one() -> None:
    keys = [PriceKey(price=Price.ENERGY), PriceKey(price=Price.GPU_HOUR, model="H100")]

    assert [str(key) for key in keys] == ["energy", "gpu_hour H100"]


def test_a_machine_cannot_be_started_at_a_price_that_stops_it() -> None:
    with pytest.raises(ValueError, match=r"stop_below 0\.02 must not lie above start_above 0\.01"):
        Thresholds(stop_below=0.02, start_above=0.01)
