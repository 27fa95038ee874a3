"""From what is printed on a breaker or a transformer to watts, rounded toward safety."""

from __future__ import annotations

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
