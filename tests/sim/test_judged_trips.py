"""Breakers that open by nuisance, and machines that are called liars without being any."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

import numpy as np

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.words import TRUTHS, Truth
from controller.domain.power import ZERO, Power
from controller.domain.site import Site
from tests.sim.floor import draw_floor
from tests.sim.judged import DEVICES, kinds_of, said
from tests.sim.knobs import Draw
from tests.sim.process import Decide, checked
from tests.sim.trips import KIND, draw_trips
from tests.sim.world import World

SEED, DURATION_S = 14, 700.0
OPENS_S, CLOSES_S = 200.0, 400.0
HALF_SEED, HALF = 28, ("pdu-0-0", 40)
"""A site with a meter at the node that feeds about half of its machines."""
LYING = TRUTHS.index(Truth.LYING)


def world(decide: Decide = checked) -> World:
    """The breaker above most machines opens, and is closed by a person."""
    made = World(SEED, DURATION_S, DEVICES, only=(), decide=decide, messages=[])
    node = max(made.plant.nodes.values(), key=lambda one: (one.parent is not None, one.power_w)).id
    made.clock.at(OPENS_S, partial(made.plant.set_fault, node, "breaker_open", True))
    made.clock.at(CLOSES_S, partial(made.plant.set_fault, node, "breaker_open", False))
    return made


def suspicious(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that calls a liar whoever it does not hear."""
    after, plan = step(site, state, inputs)
    truth = np.where(plan.grants.age_s > 20.0, LYING, plan.grants.truth).astype(np.int8)
    return after, replace(plan, grants=replace(plan.grants, truth=truth))


def distrustful(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that calls everybody a liar."""
    after, plan = step(site, state, inputs)
    truth = np.full_like(plan.grants.truth, LYING)
    return after, replace(plan, grants=replace(plan.grants, truth=truth))


def test_a_controller_that_calls_machines_liars_that_have_no_voltage_is_found_out() -> None:
    careless = world(suspicious)
    careless.run()
    dark = kinds_of(careless).get("accused", set())

    assert dark
    assert all(careless.plant.machines[name].powered for name in dark)


def test_nobody_is_blamed_for_doubting_a_machine_whose_outlet_is_off() -> None:
    """It may have been told to be on, and said yes."""
    doubting = world(suspicious)
    name, miner = min(doubting.plant.miners.items())
    miner.fed = False
    doubting.clock.at(OPENS_S - 100.0, lambda: miner.power_off(OPENS_S - 100.0))
    doubting.end_s = OPENS_S
    doubting.run()

    assert not miner.powered
    assert name not in kinds_of(doubting).get("accused", set())


def test_a_controller_that_calls_machines_liars_that_do_what_they_were_told_is_found_out() -> None:
    careless = world(distrustful)
    careless.end_s = OPENS_S
    careless.run()

    assert "accused" in kinds_of(careless)


def test_a_breaker_that_opens_and_is_closed_again_is_nobodys_fault_and_all_comes_back() -> None:
    good = world()
    good.run()

    assert not kinds_of(good)
    assert all(machine.powered for machine in good.plant.machines.values())
    assert not good.court.recovery.is_amiss


def hesitant(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that sees no dark place, and takes its machines for a fault of the network."""
    lit = {name: sample for name, sample in inputs.meters.items() if sample.value.power > ZERO}
    return step(site, state, replace(inputs, meters=lit))


def half_dark(decide: Decide) -> set[str]:
    """Half of a site goes dark while a limit holds, and that is over long before the breaker is closed."""
    node, devices = HALF
    limit = said(Power.kw(12), from_s=150.0, until_s=300.0)
    made = World(HALF_SEED, 900.0, devices, only=(), decide=decide, messages=[limit])
    made.clock.at(250.0, partial(made.plant.set_fault, node, "breaker_open", True))
    made.end_s = 880.0
    made.swarm = replace(made.swarm, calm_s=890.0)
    made.run()
    return set(kinds_of(made))


def test_a_controller_that_takes_a_dark_half_for_a_fault_of_the_network_is_found_out() -> None:
    assert "unused" in half_dark(hesitant)
    assert not half_dark(checked)


def test_a_breaker_opens_at_any_level_and_is_closed_when_faults_end() -> None:
    floor = draw_floor(SEED, DEVICES)
    draw = Draw(random=random.Random(0), floor=floor, calm_s=6_000.0, on=(KIND,), intensity=2.0)
    knobs = [knob for seed in range(12) for knob in draw_trips(seed, draw)]

    assert {knob.part.split("-")[0] for knob in knobs} >= {"brk", "gpu", "pdu", "tx"}
    assert all(knob.at_s < knob.until_s <= 6_000.0 for knob in knobs)
