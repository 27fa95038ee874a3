"""Whether the judge finds watts that are left unused without need, below limits and below set-points."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.grid import GridEvent, Signal, TargetSignal
from controller.domain.power import Limit, Power
from controller.domain.site import Site
from tests.sim.judged import DEVICES, kinds_of, said
from tests.sim.operator import Message
from tests.sim.process import Decide, checked
from tests.sim.recovery import LOOK_EVERY_S
from tests.sim.unused import REACHED_S
from tests.sim.world import World

SEED, DURATION_S = 8, 420.0
"""What a machine was given a few minutes ago must show by the end."""
LOST_S = 210.0
LOSING, HOT_C = "brk-1", 89.0
TARGET = said(TargetSignal(Power.kw(45)), from_s=110.0, until_s=1000.0)


def frugal(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that leaves a tenth more unused than its site's margin says."""
    return step(replace(site, policy=replace(site.policy, margin=0.11)), state, inputs)


def short(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that takes a set-point for nine tenths of it."""
    return step(site, state, replace(inputs, events=tuple(map(_less, inputs.events))))


def _less(event: GridEvent) -> GridEvent:
    def less(signal: Signal) -> Signal:
        return (
            TargetSignal(Power(signal.power.watts * 9 // 10)) if isinstance(signal, TargetSignal) else signal
        )

    pieces = (replace(one, signals=tuple(map(less, one.signals))) for one in event.intervals)
    return replace(event, intervals=tuple(pieces))


def found(decide: Decide, *messages: Message, exactly: tuple[str, ...] = ()) -> set[str]:
    world = World(SEED, DURATION_S, DEVICES, exactly=exactly, decide=decide, messages=messages)
    world.run()
    return set(kinds_of(world))


@pytest.mark.parametrize("exactly", [(), ("lost_writes", "late_reads", "hangs")])
def test_a_controller_that_leaves_a_tenth_unused_is_found_out_whatever_goes_wrong(
    exactly: tuple[str, ...],
) -> None:
    assert "unused" in found(frugal, exactly=exactly)
    assert not found(checked, exactly=exactly)


def test_a_controller_that_does_not_reach_a_set_point_is_found_out() -> None:
    assert "unused" in found(short, TARGET)
    assert not found(checked, TARGET)


@pytest.mark.parametrize("lost_by", ["work", "heat", "limit"])
def test_others_have_their_time_to_come_up_for_machines_that_lost_their_work_or_must_go_down(
    lost_by: str,
) -> None:
    world: World

    def lowers_only_them(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        """Once the set-point is met nobody else is told anything more."""
        after, plan = checked(site, state, inputs)
        told = tuple(one for one in plan.commands if one.device in losing and lost_by != "work")
        return after, plan if inputs.now_s < 140.0 else replace(plan, commands=told)

    limit = said(Power(0), node=LOSING, from_s=LOST_S, until_s=1000.0, said_s=LOST_S)
    asked = (TARGET, limit) if lost_by == "limit" else (TARGET,)
    world = World(SEED, DURATION_S, DEVICES, exactly=(), decide=lowers_only_them, messages=asked)
    losing = [name for name, miner in world.plant.miners.items() if miner.node == LOSING][:3]
    for name in losing:
        if lost_by == "work":
            world.clock.at(LOST_S, partial(world.plant.set_fault, name, "pool_loss", True))
        for second in range(round(LOST_S), 500) if lost_by == "heat" else ():
            world.clock.at(float(second), partial(setattr, world.plant.miners[name], "temperature_c", HOT_C))
    world.run()

    charged_s = min(breach.at_s for breach in world.court.verdict.unexcused if breach.what == "unused")
    assert LOST_S + REACHED_S <= charged_s + LOOK_EVERY_S <= LOST_S + REACHED_S + 3 * LOOK_EVERY_S


RAMPED_SEED, RAMPED_S = 2295, 600.0
"""Its ramp up takes most of five minutes."""


def ramped(decide: Decide) -> set[str]:
    world = World(RAMPED_SEED, RAMPED_S, DEVICES, exactly=(), decide=decide)
    world.run()
    return set(kinds_of(world))


def test_a_ramp_up_of_many_minutes_is_no_want_of_use_and_a_third_of_it_is() -> None:
    def timid(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        root = site.root
        assert isinstance(root.ramp_up_per_s, Limit)
        slow = replace(root, ramp_up_per_s=Limit(root.ramp_up_per_s.power.scaled(1 / 3)))
        return step(replace(site, nodes=(slow, *site.nodes[1:])), state, inputs)

    assert not ramped(checked)
    assert "unused" in ramped(timid)


def test_a_limit_that_was_over_before_anybody_looked_again_is_no_want_of_use() -> None:
    """It was heard late, held for three seconds, and all machines have to start again."""
    brief = said(Power.kw(5), from_s=350.0, until_s=394.0, said_s=391.0)

    assert not found(checked, brief)
