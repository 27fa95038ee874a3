"""Amperes and kilovolt-amperes become watts, never too many."""

from __future__ import annotations

import pytest

from controller.domain.power import Power
from controller.domain.rating import Phases, apparent_power, breaker_power


def test_a_three_phase_30_a_breaker_at_415_v_carries_17_2_kw_continuously() -> None:
    assert breaker_power(30, 415, Phases.THREE) == Power(17_251)


def test_a_single_phase_breaker_has_no_square_root_of_three() -> None:
    assert breaker_power(20, 240, Phases.ONE) == Power(3_840)


def test_a_poor_power_factor_leaves_fewer_watts() -> None:
    assert breaker_power(100, 400, Phases.THREE, power_factor=0.9) < breaker_power(100, 400, Phases.THREE)


def test_a_breaker_rated_for_full_continuous_load_keeps_all_of_it() -> None:
    assert breaker_power(100, 230, Phases.ONE, continuous_share=1.0) == Power(23_000)


@pytest.mark.parametrize("amps", [16, 32, 63, 125, 250])
def test_a_rating_is_never_rounded_up(amps: float) -> None:
    exact_w = amps * 400 * 3**0.5 * 0.8

    assert breaker_power(amps, 400, Phases.THREE).watts <= exact_w


def test_a_transformer_carries_its_kva_times_the_power_factor() -> None:
    assert apparent_power(1500, power_factor=0.95) == Power(1_425_000)
