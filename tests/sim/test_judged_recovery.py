"""What is amiss once faults are over, for how long it may be, and who is found not to have recovered."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Alarm, Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.words import AlarmKind
from controller.domain.jobs import JobAction
from controller.domain.site import Site
from tests.sim.floor import SLEEP
from tests.sim.played import play
from tests.sim.process import checked
from tests.sim.recovery import ENOUGH, ONE_STEP_W, PROVEN_WITHIN_S, WITHIN_S, Recovery
from tests.sim.world import CALM_SHARE, World

SEED = 330
"""A site with a slow ramp, curtailed to under a half from 96 s to 269 s; without faults, unless named."""
JOBS_SEED = 14
"""A job is suspended, and resumed; without faults."""


def test_a_controller_that_leaves_machines_asleep_has_not_recovered() -> None:
    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = checked(site, state, inputs)
        sleeps = tuple(command for command in plan.commands if command.point.name == SLEEP)
        return after, replace(plan, commands=sleeps)

    result = play(SEED, 600.0, devices=24, only=(), decide=decide)

    assert not result.recovered


@pytest.mark.parametrize("never", [JobAction.START, JobAction.RESUME])
def test_a_controller_that_lets_jobs_wait_beside_free_gpus_is_found_out(never: JobAction) -> None:
    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = step(site, state, inputs)
        told = tuple(command for command in plan.job_commands if command.action is not never)
        return after, replace(plan, job_commands=told)

    result = play(JOBS_SEED, 600.0, devices=24, only=(), decide=decide)

    assert result.amiss.startswith("job ")
    assert not play(JOBS_SEED, 600.0, devices=24, only=()).amiss.startswith("job ")


def test_a_run_that_ends_before_a_site_had_its_time_to_recover_goes_on_until_it_is_well() -> None:
    ends_s, wakes_s = 400.0, 450.0

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = checked(site, state, inputs)
        sleeps = tuple(command for command in plan.commands if command.point.name == SLEEP)
        return after, plan if inputs.now_s > wakes_s else replace(plan, commands=sleeps)

    result = play(SEED, ends_s, devices=24, only=(), decide=decide)

    assert result.recovered
    assert wakes_s - ends_s * CALM_SHARE < result.recovery_s <= WITHIN_S


def test_a_dip_of_a_moment_is_not_amiss_and_one_of_a_minute_is() -> None:
    world = World(SEED, 400.0, devices=24, only=())
    world.run()
    plant, plan, recovery = world.plant, world.plan, Recovery(0.0)
    assert plan is not None

    def looks(count: int, usable_w: float) -> list[bool]:
        found = []
        for _ in range(count):
            recovery.look(plant, usable_w, plan)
            found.append(recovery.is_amiss)
        return found

    assert looks(12, plant.site_power_w) == [False] * 12
    assert looks(3, 1.2 * plant.site_power_w) == [False] * 3
    assert looks(9, 1.2 * plant.site_power_w)[-1]
    assert looks(1, plant.site_power_w) == [False]


def test_a_silent_machine_is_amiss_unless_it_boots_as_its_power_was_given_back() -> None:
    world = World(SEED, 400.0, devices=24, only=())
    name = min(world.plant.miners)
    world.clock.at(320.0, partial(world.plant.set_fault, name, "hangs", True))
    world.run()
    plan, recovery = world.plan, Recovery(0.0)
    assert plan is not None

    def amiss() -> str:
        recovery.look(world.plant, 0.0, plan)
        return recovery.amiss if recovery.is_amiss else ""

    assert f"device_silent {name}" in amiss()
    recovery.rested_s[name] = world.clock.now_s - 1.0
    assert not amiss()


def test_a_gpu_whose_limit_is_not_the_one_that_it_is_taken_to_have_is_amiss() -> None:
    world = World(SEED, 400.0, devices=24, only=())
    world.run()
    plan, recovery = world.plan, Recovery(0.0)
    name, gpu = min(world.plant.gpus.items())
    assert plan is not None

    def amiss() -> str:
        recovery.look(world.plant, world.plant.site_power_w, plan)
        return recovery.amiss

    assert not amiss()
    gpu.limit_w += 25
    assert amiss().startswith(f"limit {name}")


def test_a_machine_that_has_its_power_back_is_given_its_time_to_boot_and_start_and_no_more() -> None:
    world = World(SEED, 400.0, devices=24, only=())
    world.run()
    plant, plan, recovery = world.plant, world.plan, Recovery(0.0)
    assert plan is not None
    (name, miner), usable_w = min(plant.miners.items()), plant.site_power_w / ENOUGH
    silent = Alarm(kind=AlarmKind.DEVICE_SILENT, subject=name, detail="")

    def amiss(after_s: float) -> str:
        plant.advance(plant.now_s + after_s)
        for _ in range(12):
            recovery.look(plant, usable_w, replace(plan, alarms=(silent,)))
        return recovery.amiss if recovery.is_amiss else ""

    miner.fed = False
    assert amiss(1.0).startswith("alarm")
    miner.fed = True
    miner.reboot(plant.now_s)
    assert not amiss(5.0)
    assert "alarm" in amiss(PROVEN_WITHIN_S)


def test_a_machine_that_booted_and_rests_by_now_still_has_its_time_to_be_heard() -> None:
    """Its boot was one start too many."""
    world = World(SEED, 400.0, devices=24, only=())
    world.run()
    plant, plan = world.plant, world.plan
    name, miner = min(plant.miners.items())
    recovery = Recovery(0.0, rests=lambda one: one == name)
    assert plan is not None
    silent = Alarm(kind=AlarmKind.DEVICE_SILENT, subject=name, detail="")

    def amiss(after_s: float) -> str:
        plant.advance(plant.now_s + after_s)
        recovery.look(plant, 0.0, replace(plan, alarms=(silent,)))
        return recovery.amiss if recovery.is_amiss else ""

    miner.fed = False
    assert "alarm" in amiss(1.0)
    miner.fed = True
    miner.sleep()
    assert "alarm" not in amiss(5.0)
    assert "alarm" in amiss(PROVEN_WITHIN_S)


@pytest.mark.parametrize("rests", [False, True])
def test_watts_of_a_machine_that_had_to_rest_are_wanted_of_nobody_while_it_starts(rests: bool) -> None:
    world = World(SEED, 400.0, devices=24, only=())
    world.run()
    plant, plan, miner = world.plant, world.plan, min(world.plant.miners.values(), key=lambda one: one.id)
    recovery = Recovery(0.0, rests=lambda name: rests and name == miner.id)
    assert plan is not None
    most_w = plant.site_power_w - (1 - ENOUGH) * 2 * miner.watts  # it is wanted to 95 %

    miner.sleep()
    plant.advance(plant.now_s + 60.0)
    recovery.look(plant, most_w, plan)
    miner.wake()
    plant.advance(plant.now_s + 5.0)
    for _ in range(12):
        recovery.look(plant, (most_w + ONE_STEP_W) / ENOUGH, plan)

    assert ("used" in recovery.amiss) is not rests


@pytest.mark.parametrize("given_up", [False, True])
def test_watts_of_a_machine_whose_power_was_to_be_taken_are_wanted_of_nobody_while_it_rests(
    given_up: bool,
) -> None:
    world = World(SEED, 400.0, devices=24, only=())
    world.run()
    plant, plan, miner = world.plant, world.plan, min(world.plant.miners.values(), key=lambda one: one.id)
    recovery = Recovery(0.0, is_given_up=lambda name: given_up and name == miner.id)
    assert plan is not None
    most_w = plant.site_power_w - (1 - ENOUGH) * 2 * miner.watts  # it is wanted to 95 %

    miner.sleep()
    plant.advance(plant.now_s + 60.0)
    for _ in range(12):
        recovery.look(plant, (most_w + ONE_STEP_W) / ENOUGH, plan)

    assert ("used" in recovery.amiss) is not given_up
