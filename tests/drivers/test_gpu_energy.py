"""The energy counter of a GPU: it only rises, whatever the board's own does."""

from __future__ import annotations

import pytest

from drivers.gpu_energy import WRAP_MJ, EnergyCounter


def counted(*told: tuple[float, float]) -> float | None:
    """Joules after the counter was told `(seconds, millijoules)` by a board of 700 W."""
    counter = EnergyCounter(700)
    for at_s, millijoules in told:
        counter.add(millijoules, at_s)
    return counter.joules


def test_before_the_board_told_its_counter_there_is_none() -> None:
    assert counted() is None


def test_what_the_board_used_before_it_was_first_asked_does_not_count() -> None:
    assert counted((0, 9e12)) == 0
    assert counted((0, 9e12), (10, 9e12 + 5e6)) == 5000


def test_a_counter_that_begins_anew_with_its_driver_goes_on_from_there() -> None:
    assert counted((0, 50e6), (10, 55e6), (20, 2e6), (30, 7e6)) == 5000 + 2000 + 5000


def test_a_counter_of_32_bits_that_wraps_has_wrapped() -> None:
    assert counted((0, WRAP_MJ - 1e6), (10, 2e6)) == pytest.approx(3000)


def test_more_than_the_board_can_have_used_counts_as_nothing() -> None:
    assert counted((0, 0), (1, 2**63), (2, 2**63 + 4e5)) == pytest.approx(400, abs=2)
