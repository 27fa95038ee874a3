"""What goes wrong in the worlds of the whole daemon: more kinds, in generators of their own."""

from __future__ import annotations

from tests.sim.daemon.swarm import CALM_S, METERS, drawn_apart


def test_meters_stand_still_or_tell_another_unit_in_some_seeds_and_not_in_others() -> None:
    told = [{(fault.what, fault.subject) for fault in drawn_apart(seed)} for seed in range(60)]

    meters = {(what, meter) for what in ("frozen_reads", "reported_power_factor") for meter in METERS}
    assert set().union(*told) == meters
    assert 10 < told.count(set()) < 50


def test_what_is_broken_apart_is_mended_before_the_calm() -> None:
    for seed in range(60):
        last = {(fault.what, fault.subject): fault for fault in drawn_apart(seed)}

        assert all(fault.at_s < CALM_S and fault.value in (False, 1.0) for fault in last.values())
