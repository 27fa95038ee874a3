"""What goes wrong in the worlds of the whole daemon: more kinds, in generators of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.daemon.fittings import USUAL_USD_PER_KWH, USUAL_USD_PER_THS_DAY, ZONES
from tests.sim.daemon.judge import Fault
from tests.sim.daemon.swarm import (
    APART,
    BREAKERS,
    CALM_S,
    END_S,
    FEED_TROUBLE,
    FORGETS_S,
    METERS,
    drawn_apart,
    end_s,
)
from tests.sim.daemon.world import World

WHOLE = {
    "reported_power_factor": 1.0,
    "price": USUAL_USD_PER_KWH,
    "feed_energy": USUAL_USD_PER_KWH,
    "feed_hash": USUAL_USD_PER_THS_DAY,
}
"""What is no trouble, where that is not nothing."""
SUBJECTS = {
    "meter_frozen": {("frozen_reads", meter) for meter in METERS},
    "meter_unit": {("reported_power_factor", meter) for meter in METERS},
    "clock_steps": {("clock_jump", "")},
    "trips": {*(("breaker_open", node) for node in BREAKERS), ("dead", "main"), ("dead", "a")},
    "foreign_load": {("foreign_w", "pdu-a"), ("foreign_w", "site")},
    "prices": {("price", ""), ("price_silent", ""), ("price_broken", "")},
    "price_feed": {(what, "") for what in ("feed_energy", "feed_hash", *FEED_TROUBLE)},
    "heat": {(what, zone) for what in ("fans_stopped", "supply_offset_c", "sensor_dead") for zone in ZONES},
}


@pytest.mark.parametrize("kind", APART)
def test_what_came_later_is_in_some_seeds_and_not_in_others(kind: str) -> None:
    told = [
        {(fault.what, fault.subject) for fault in drawn_apart(seed)} & SUBJECTS[kind] for seed in range(90)
    ]

    assert set().union(*told) == SUBJECTS[kind]
    assert 10 < len([found for found in told if found]) < 45


def test_what_is_broken_apart_is_mended_before_the_calm() -> None:
    for seed in range(60):
        faults = sorted(drawn_apart(seed, APART), key=lambda fault: fault.at_s)
        last = {(fault.what, fault.subject): fault for fault in faults}

        assert all(fault.at_s <= CALM_S for fault in faults)
        assert all(fault.value == WHOLE.get(fault.what, 0) for fault in last.values())


def test_a_clock_steps_both_ways_by_more_than_any_skew_makes_up_for() -> None:
    steps = {
        fault.value for seed in range(90) for fault in drawn_apart(seed) if fault.what == "clock_jump"
    } - {0.0}

    assert min(steps) < -3000
    assert max(steps) > 3000
    assert min(abs(by_s) for by_s in steps) > 5


def test_a_world_that_had_foreign_load_has_longer_to_forget_it(tmp_path: Path) -> None:
    world = World(1, tmp_path)
    assert end_s(world) == END_S

    world.faults = [Fault(100, "foreign_w", "site", 500.0)]

    assert end_s(world) == END_S + FORGETS_S
