"""Whole watts, rounded toward safety; zero is a number and the absence of a limit a type of its own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.power import NO_LIMIT, ZERO, Limit, NoLimit, Power, tightest, total


@pytest.mark.parametrize("watts", [1.0, True, "5", None, Decimal(5)])
def test_power_takes_whole_watts_only(watts: Any) -> None:
    with pytest.raises(TypeError, match="whole watts"):
        Power(watts)


@pytest.mark.parametrize(
    ("watts", "up", "down"), [(3.2, 4, 3), (3.0, 3, 3), (-3.2, -3, -4), (0.0, 0, 0), (1e-9, 1, 0)]
)
def test_a_draw_rounds_up_and_a_limit_down(watts: float, up: int, down: int) -> None:
    assert (Power.up(watts), Power.down(watts)) == (Power(up), Power(down))


@pytest.mark.parametrize("watts", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_no_power(watts: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        Power.up(watts)
    with pytest.raises((ValueError, OverflowError)):
        Power.down(watts)


@pytest.mark.parametrize(
    ("kilowatts", "watts"), [(450.0, 450_000), (0.001, 1), (2.3, 2_300), (1.0005, 1_000), (-0.5, -500)]
)
def test_kilowatts_are_watts_rounded_down_but_for_the_noise_of_floats(kilowatts: float, watts: int) -> None:
    assert Power.kw(kilowatts) == Power(watts)


@given(st.integers(0, 10**9))
def test_whole_watts_survive_being_written_in_kilowatts(watts: int) -> None:
    assert Power.kw(Power(watts).in_kw) == Power(watts)


def test_power_scales_down() -> None:
    assert Power(999).scaled(0.5) == Power(499)


def test_power_adds_and_compares_with_power_only() -> None:
    assert Power(5) + Power(7) - Power(2) == Power(10)
    assert Power(5) < Power(7)
    for wrong in (5, 5.0, "5"):
        with pytest.raises(TypeError):
            Power(5) + wrong  # type: ignore[operator]  # what must not work
        with pytest.raises(TypeError):
            Power(5) - wrong  # type: ignore[operator]  # what must not work
        with pytest.raises(TypeError):
            assert Power(5) < wrong  # type: ignore[operator]  # what must not work


def test_no_watts_cannot_be_mistaken_for_no_power() -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(ZERO)


@pytest.mark.parametrize(
    ("watts", "text"), [(0, "0 W"), (9_999, "9999 W"), (10_000, "10.0 kW"), (-12_345, "-12.3 kW")]
)
def test_power_prints_with_its_unit(watts: int, text: str) -> None:
    assert str(Power(watts)) == text


@given(st.lists(st.integers(-(10**12), 10**12)))
def test_a_total_is_exact(watts: list[int]) -> None:
    assert total(Power(one) for one in watts) == Power(sum(watts))


def test_the_tightest_of_bounds_is_the_lowest_limit_among_them() -> None:
    assert tightest(Limit(Power(5)), NO_LIMIT, Limit(Power(3))) == Limit(Power(3))


def test_a_limit_of_nothing_is_the_tightest_there_is() -> None:
    assert tightest(Limit(ZERO), NO_LIMIT, Limit(Power(1))) == Limit(ZERO)


def test_there_is_no_limit_only_where_nothing_limits() -> None:
    assert tightest(NO_LIMIT, NoLimit()) == tightest() == NO_LIMIT
