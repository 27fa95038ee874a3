"""The core against more plants, of sites that decide every few seconds; a file that runs beside the other."""

from __future__ import annotations

import pytest

from tests.sim.smallsites import assert_safe_and_well, parametrize, slow_among

pytestmark = pytest.mark.long

SEEDS = range(41, 341)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize(metafunc, slow_among(SEEDS))


def test_a_site_that_decides_every_few_seconds_passes_no_limit_and_has_its_power_back(seed: int) -> None:
    assert_safe_and_well(seed)
