"""Whether the judge finds watts that are left unused without need, below limits and below set-points."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.plan import Inputs, Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.grid import GridEvent, Signal, TargetSignal
from controller.domain.power import Power
from controller.domain.site import Site
from tests.sim.judged import DEVICES, kinds_of, said
from tests.sim.operator import Message
from tests.sim.process import Decide, checked
from tests.sim.world import World

SEED, DURATION_S = 8, 420.0
"""What a machine was given a few minutes ago must show by the end."""
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


def test_a_limit_that_was_over_before_anybody_looked_again_is_no_want_of_use() -> None:
    """It was heard late, held for three seconds, and all machines have to start again."""
    brief = said(Power.kw(5), from_s=350.0, until_s=394.0, said_s=391.0)

    assert not found(checked, brief)
