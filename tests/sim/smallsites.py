"""Small sites by seed, for tests that must be over soon. One that fails prints what plays it again;
`make soak` runs any number of them, and longer."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.sim.floor import draw_floor
from tests.sim.played import play
from tests.sim.recovery import WITHIN_S

DURATION_S, DEVICES = 600.0, 24
SLOW_TICK_S = 3.0


def parametrize(metafunc: pytest.Metafunc, seeds: Iterable[int]) -> None:
    """Those seeds, or the one that the command line names."""
    given = metafunc.config.getoption("--seed")
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", [given] if given is not None else list(seeds))


def slow_among(seeds: Iterable[int]) -> list[int]:
    """The sites that decide every three seconds or more: a third of the work, and no gentler."""
    return [seed for seed in seeds if draw_floor(seed, DEVICES).site.policy.tick_s >= SLOW_TICK_S]


def assert_safe_and_well(seed: int) -> None:
    """Nothing unsafe while faults last, all of the power back after."""
    result = play(seed, DURATION_S, DEVICES)

    where = f"--seed {seed} --minutes {DURATION_S / 60:g} --devices {DEVICES}"
    replay = f".venv/bin/python -m tests.sim.soak {where} --trace"
    assert (result.died, result.breaches) == ("", []), replay
    assert result.recovered, f"{result.amiss}; {replay}"
    assert result.recovery_s <= WITHIN_S, f"{result.amiss}; {replay}"
