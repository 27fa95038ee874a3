"""The core against the plant, seed by seed: nothing unsafe while faults last, all of the power back after.

A failing seed prints the command that plays it again; `make soak` runs any number of them, and longer.
"""

from __future__ import annotations

import pytest

from tests.sim.recovery import WITHIN_S
from tests.sim.world import play

DURATION_S, DEVICES = 600.0, 24
SEEDS = (*range(1, 9), *range(10, 42))
"""A fixed set of small sites, so that a change that breaks one is seen at once; `make soak` finds more."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    given = metafunc.config.getoption("--seed")
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", [given] if given is not None else SEEDS)


def test_no_limit_is_passed_whatever_breaks_and_the_power_comes_back(seed: int) -> None:
    result = play(seed, DURATION_S, DEVICES)

    where = f"--seed {seed} --minutes {DURATION_S / 60:g} --devices {DEVICES}"
    replay = f".venv/bin/python -m tests.sim.soak {where} --trace"
    assert (result.died, result.breaches) == ("", []), replay
    assert result.recovery_s <= WITHIN_S, f"{result.amiss}; {replay}"
