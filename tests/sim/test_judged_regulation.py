"""Whether the judge finds a controller that does not follow a set-point that moves."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.grid import EventInterval, GridEvent, TargetSignal
from controller.domain.power import Power
from controller.domain.site import Site
from controller.grid.results import Accepted
from tests.sim.floor import draw_floor
from tests.sim.judged import DEVICES, kinds_of
from tests.sim.operator import UTC_S, Message
from tests.sim.process import Decide, checked
from tests.sim.recovery import LOOK_EVERY_S
from tests.sim.regulation import EVERY_S, KIND, draw_regulation
from tests.sim.trailing import Trailing
from tests.sim.verdict import Verdict
from tests.sim.world import World

SEED, DURATION_S = 8, 1_000.0
BEGINS_S, ENDS_S, TURNS_S = 120.0, 900.0, 450.0
HIGH_W, LOW_W, SWINGS_W = 45_000, 25_000, 2_000


def signal() -> list[Message]:
    """High for some minutes, and low from then on; never twice the same."""
    messages = []
    for at in range(int((ENDS_S - BEGINS_S) / 4)):
        said_s = BEGINS_S + 4.0 * at
        watts = (HIGH_W if said_s < TURNS_S else LOW_W) + SWINGS_W * (at % 3 - 1)
        piece = EventInterval(
            start_utc_s=UTC_S + BEGINS_S, end_utc_s=UTC_S + ENDS_S, signals=(TargetSignal(Power(watts)),)
        )
        event = GridEvent(
            id="moves", version_utc_s=UTC_S + said_s, source="operator", intervals=(piece,), priority=1
        )
        messages.append(
            Message(said_s=said_s, arrives_s=(said_s,), result=Accepted(event=event, stamp=str(said_s)))
        )
    return messages


def stubborn() -> Decide:
    """A controller that goes by the first version of every event."""
    first: dict[str, GridEvent] = {}

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        events = tuple(first.setdefault(event.id, event) for event in inputs.events)
        return step(site, state, replace(inputs, events=events))

    return decide


def found(decide: Decide) -> set[str]:
    world = World(SEED, DURATION_S, DEVICES, only=(), decide=decide, messages=signal())
    world.swarm = replace(world.swarm, calm_s=DURATION_S - 10.0)
    world.run()
    return set(kinds_of(world))


def test_a_controller_that_does_not_follow_is_found_out() -> None:
    assert "trail" in found(stubborn())
    assert "trail" not in found(checked)


def test_a_signal_is_told_anew_every_few_seconds_and_is_over_when_faults_end() -> None:
    floor = draw_floor(SEED, DEVICES)
    said = [one for seed in range(6) for one in draw_regulation(seed, floor, 3_600.0, 30.0, [KIND])]
    events = [one.result.event for one in said if isinstance(one.result, Accepted)]
    gaps_s = {
        round(after.said_s - before.said_s, 6)
        for before, after in pairwise(said)
        if before.result.event.id == after.result.event.id  # type: ignore[union-attr]
    }

    assert {gap_s for gap_s in gaps_s if 0 < gap_s < 10} == set(EVERY_S)
    assert {event.best_effort for event in events} == {True, False}
    assert max(event.end_utc_s for event in events) <= UTC_S + 3_600.0
    assert len({event.intervals[0].signals for event in events}) > len(events) / 2


def test_a_set_point_that_jumps_far_is_a_new_one_and_one_that_is_never_reached_is_found() -> None:
    world = World(SEED, 60.0, DEVICES, only=())
    world.run()
    plant, verdict = world.plant, Verdict()
    trailing = Trailing(plant, "site", contract_w=50_000.0, verdict=verdict)
    here_w = plant.site_power_w

    def looks(target_w: float, seconds: float) -> bool:
        for _ in range(round(seconds / LOOK_EVERY_S)):
            plant.advance(plant.now_s + LOOK_EVERY_S)
            trailing.look(target_w, 0.0, math.inf, excused=False)
        return bool(verdict.breaches)

    assert not looks(here_w, 400.0)
    assert not looks(here_w + 100_000.0, 60.0)
    assert looks(here_w + 100_000.0, 400.0)
