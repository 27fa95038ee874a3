"""The core against the plant, seed by seed."""

from __future__ import annotations

import pytest

from tests.sim.smallsites import assert_safe_and_well, parametrize

pytestmark = pytest.mark.long

SEEDS = range(1, 41)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize(metafunc, SEEDS)


def test_no_limit_is_passed_whatever_breaks_and_the_power_comes_back(seed: int) -> None:
    assert_safe_and_well(seed)
