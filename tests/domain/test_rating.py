"""From what is printed on a breaker or a transformer to watts, rounded toward safety."""

from __future__ import annotations

import math
from itertools import product

import pytest

from controller.domain.power import Power
from controller.domain.rating import Phases, apparent_power, breaker_power


@pytest.mark.parametrize(
    ("amps", "volts", "phases", "watts"),
    [
        (20.0, 120.0, Phases.ONE, 1_920),
        (30.0, 208.0, Phases.THREE, 8_646),
        (60.0, 415.0, Phases.THREE, 34_502),
        (32.0, 230.0, Phases.ONE, 5_888),
        (30.0, 208.0, Phases.PAIR, 2_882),
    ],
)
def test_a_breaker_may_carry_four_fifths_of_what_is_printed_on_it_for_long(
    amps: float, volts: float, phases: Phases, watts: int
) -> None:
    assert breaker_power(amps, volts, phases) == Power(watts)


def test_a_breaker_rated_for_its_full_current_may_carry_all_of_it() -> None:
    assert breaker_power(20.0, 120.0, Phases.ONE, continuous_share=1.0) == Power(2_400)


def test_reactive_current_takes_its_share_of_a_rating() -> None:
    assert breaker_power(20.0, 120.0, Phases.ONE, power_factor=0.95) == Power(1_824)
    assert apparent_power(1_000.0, power_factor=0.95) == Power(950_000)


def test_a_transformer_at_unity_carries_its_kilovoltamperes_in_kilowatts() -> None:
    assert apparent_power(1_500.0) == Power(1_500_000)


def test_no_line_carries_more_than_it_may_however_unequal_the_loads_between_three_lines_are() -> None:
    pair_a = breaker_power(30.0, 208.0, Phases.PAIR).watts / 208.0

    for one_a, other_a in product([0.0, pair_a / 3, pair_a], repeat=2):
        line_a = math.sqrt(one_a**2 + other_a**2 + one_a * other_a)  # of two loads, 120 degrees apart
        assert line_a <= 0.8 * 30.0


def test_what_hangs_between_three_lines_is_together_what_three_phases_carry() -> None:
    together = 3 * breaker_power(100.0, 208.0, Phases.PAIR).watts

    assert breaker_power(100.0, 208.0, Phases.THREE).watts - 3 <= together
    assert together <= breaker_power(100.0, 208.0, Phases.THREE).watts
