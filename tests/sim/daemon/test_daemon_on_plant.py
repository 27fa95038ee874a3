"""The whole daemon against the plant's protocols, seed by seed: nothing unsafe while things break, all of the
power back after, and the same again for the same seed.

A failing seed replays with `pytest tests/sim/daemon --seed N`; `make soak-daemon SEEDS=N` runs many.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

from tests.sim.daemon.fittings import FEED, HEAT, PRICES
from tests.sim.daemon.judge import SITE_W, UTC_S, Event, Fault
from tests.sim.daemon.problems import RECOVERED, problems
from tests.sim.daemon.soak import world_of
from tests.sim.daemon.world import World

SEEDS = (2, 9)
TWICE = 5
UNTIL_S = 130.0
SOAK = (sys.executable, "-m", "tests.sim.daemon.soak")
ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.slow


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        given = metafunc.config.getoption("--seed")
        metafunc.parametrize("seed", [given] if given is not None else SEEDS)


def test_no_limit_is_passed_whatever_breaks_and_the_power_comes_back(seed: int) -> None:
    world, found = world_of(seed)

    assert found == [], f"{found}; again: pytest tests/sim/daemon --seed {seed}"
    assert world.commands > 0


def test_an_event_that_was_never_acknowledged_is_a_problem(tmp_path: Path) -> None:
    world = World(1, tmp_path)
    world.run(100)
    assert "dr was never acknowledged" not in problems(world)

    world.events = [Event(at_s=200, name="dr", kw=14, in_s=60, for_s=200)]

    assert "dr was never acknowledged" in problems(world)


def test_one_seed_is_one_world_whatever_the_process_hashes_with() -> None:
    """In this process, and in another whose sets and dictionaries fall otherwise."""
    here, _ = world_of(TWICE, UNTIL_S)
    other = subprocess.run(
        [*SOAK, "--digest", "--seeds=1", f"--first={TWICE}", f"--until={UNTIL_S}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "4711"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=300,
        check=True,
    )

    assert other.stdout.split() == [str(TWICE), here.digest]


def test_a_controller_killed_between_two_commands_is_followed_by_one_that_finishes_its_work(
    tmp_path: Path,
) -> None:
    world = World(1, tmp_path)
    world.events = [Event(at_s=40, name="dr", kw=14, in_s=60, for_s=200)]
    world.kill_after = frozenset({2, 5, 9, 12})

    world.run(330)

    assert world.lives == 1 + len(world.kill_after)
    assert world.judge.verdict.breaches == []
    received = [ack for ack in world.operator.acks if (ack.event, ack.status) == ("dr", "RECEIVED")]
    assert len({ack.id for ack in received}) == 1
    assert world.operator.acked("dr", "COMPLETED") is not None


def test_an_operator_hears_before_its_event_begins_that_it_cannot_be_met_and_kills_take_nothing_back(
    tmp_path: Path,
) -> None:
    """Nine miners asleep, two GPUs and the load of the hall draw more than 0.2 kW."""
    world = World(1, tmp_path)
    world.events = [
        Event(at_s=60, name="too-much", kw=0.2, in_s=120, for_s=60),
        Event(at_s=60, name="can-be-had", kw=14, in_s=150, for_s=60),
        Event(at_s=95, name="now", kw=20, in_s=0, for_s=10),
    ]
    world.kill_after = frozenset({20, 23})

    world.run(280)

    told = {event.name: [ack.status for ack in world.operator.acks if ack.event == event.name]
            for event in world.events}  # fmt: skip
    early = world.operator.acked("too-much", "INFEASIBLE")
    assert early is not None
    assert early.arrived_utc_s - UTC_S < 65
    words = [status for status, _ in groupby(told["too-much"])]
    assert words == ["RECEIVED", "INFEASIBLE", "STARTED", "INFEASIBLE", "COMPLETED"]
    assert told["can-be-had"] == ["RECEIVED", "STARTED", "COMPLIANT", "COMPLETED"]
    assert world.lives == 1 + len(world.kill_after)


def test_an_event_outlives_a_clock_that_steps_while_it_is_in_force_or_announced(tmp_path: Path) -> None:
    """It is obeyed again as soon as the clock is right, and no longer than it lasts."""
    world = World(1, tmp_path)
    world.events = [
        Event(at_s=40, name="before", kw=14, in_s=60, for_s=60),
        Event(at_s=172, name="meanwhile", kw=12, in_s=20, for_s=50),
    ]
    world.faults = [
        Fault(112, "clock_jump", "", 3600.0),
        Fault(130, "clock_jump", "", 0.0),
        Fault(168, "clock_jump", "", -3600.0),
        Fault(185, "clock_jump", "", 0.0),
    ]

    world.run(300)

    assert world.judge.verdict.breaches == []
    assert world.judge.verdict.used[-1] > RECOVERED
    assert all(world.operator.acked(event.name, "COMPLETED") for event in world.events)


def test_half_a_site_that_boots_as_its_breaker_is_closed_stays_within_an_event_and_comes_back(
    tmp_path: Path,
) -> None:
    world = World(1, tmp_path)
    world.events = [Event(at_s=60, name="dr", kw=14, in_s=60, for_s=90)]
    world.faults = [Fault(100, "breaker_open", "pdu-a", True), Fault(150, "breaker_open", "pdu-a", False)]
    world.run(290)

    assert all(miner.boots == (miner.node == "pdu-a") for miner in world.plant.miners.values())
    assert world.judge.verdict.breaches == []
    assert world.judge.verdict.used[-1] > RECOVERED


def test_a_hall_whose_fans_stop_and_say_so_to_nobody_is_brought_down_by_its_chips_and_comes_back(
    tmp_path: Path,
) -> None:
    world = World(1, tmp_path, fitted=[HEAT])
    world.faults = [
        Fault(100, "fans_stopped", "hall-a", True),
        Fault(100, "sensor_dead", "hall-a", True),
        Fault(190, "fans_stopped", "hall-a", False),
        Fault(190, "sensor_dead", "hall-a", False),
    ]

    world.run(330)

    assert world.heat.found == []
    assert world.plant.truth().miner_trips == 0
    assert world.judge.verdict.used[-1] + world.heat.kept_w / SITE_W > RECOVERED
    assert world.judge.verdict.used[-1] > 0.8


def test_machines_stand_while_a_kwh_costs_more_than_it_earns_whatever_becomes_of_the_file(
    tmp_path: Path,
) -> None:
    """Broken it says what it said last; not written any more it is stale, and the usual price holds."""
    world = World(1, tmp_path, fitted=[PRICES])
    world.faults = [
        Fault(60, "price", "", 0.5),
        Fault(110, "price_broken", "", 1),
        Fault(150, "price_broken", "", 0),
        Fault(160, "price_silent", "", 1),
    ]
    drawn_w = played(world, until_s=300)

    assert world.spending.found == []
    assert max(watts for at_s, watts in drawn_w.items() if 130 <= at_s < 230) < 3_000
    assert world.judge.verdict.used[-1] > RECOVERED


def test_machines_stand_and_start_by_prices_over_mqtt_and_by_the_usual_ones_when_those_are_silent(
    tmp_path: Path,
) -> None:
    """What is damaged, or comes late from before, changes nothing; hashing that pays too little stops them
    like energy that costs too much."""
    world = World(1, tmp_path, fitted=[FEED])
    world.faults = [
        Fault(40, "feed_doubles", "", 1.0),
        Fault(60, "feed_energy", "", 0.5),
        Fault(105, "feed_spoilt", "", 1),
        Fault(106, "feed_energy", "", 0.05),
        Fault(140, "feed_spoilt", "", 0),
        Fault(210, "feed_hash", "", 0.008),
        Fault(235, "feed_is_silent", "", True),
    ]

    drawn_w = played(world, until_s=400)

    assert world.spending.found == []
    assert max(watts for at_s, watts in drawn_w.items() if 105 <= at_s < 140) < 3_000
    assert drawn_w[209] > RECOVERED * SITE_W
    assert max(watts for at_s, watts in drawn_w.items() if 250 <= at_s < 270) < 3_000
    assert world.judge.verdict.used[-1] > RECOVERED


def played(world: World, *, until_s: float) -> dict[int, float]:
    """What the site drew in each second."""
    drawn_w: dict[int, float] = {}
    look = world.judge.look

    def note(seen: World) -> None:
        drawn_w[round(seen.now_s)] = seen.plant.site_power_w
        look(seen)

    world.judge.look = note  # type: ignore[method-assign, assignment]  # it looks too
    world.run(until_s)
    return drawn_w
