"""What a seed has in store."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.words import AlarmKind
from controller.domain.site import Site
from simulators.physics.miner import MinerState
from tests.sim.floor import draw_floor
from tests.sim.process import checked
from tests.sim.swarm import KILLS_APART_S, KINDS, SILENCES, Swarm, draw_swarm
from tests.sim.world import World

CALM_S = 6000.0
STARTS, MOST_DOWN_S = "the controller starts", 12.0


def drawn(seed: int, exactly: tuple[str, ...] | None) -> Swarm:
    return draw_swarm(seed, draw_floor(seed, 24), CALM_S, exactly=exactly)


def test_every_seed_has_exactly_the_faults_that_were_asked_for() -> None:
    swarms = [drawn(seed, ("hangs", "lost_writes")) for seed in range(1, 9)]

    assert {swarm.on for swarm in swarms} == {("lost_writes", "hangs")}
    assert all({knob.fault for knob in swarm.knobs} == {"hangs"} for swarm in swarms)
    assert all(swarm.rates.lost_writes > 0 and swarm.rates.lost_reads == 0 for swarm in swarms)


def test_seeds_mix_all_faults_where_none_were_asked_for() -> None:
    mixes = [set(drawn(seed, None).on) for seed in range(1, 40)]

    assert set().union(*mixes) == set(KINDS)
    assert len({frozenset(mix) for mix in mixes}) == len(mixes)


def test_zones_and_queues_fall_silent_and_are_heard_again() -> None:
    silent: list[set[AlarmKind]] = []

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        state, plan = checked(site, state, inputs)
        silent.append({alarm.kind for alarm in plan.alarms} & {AlarmKind.COOLING, AlarmKind.QUEUE_SILENT})
        return state, plan

    World(7, 1600.0, 24, exactly=SILENCES, decide=decide).run()

    assert set().union(*silent) == {AlarmKind.COOLING, AlarmKind.QUEUE_SILENT}
    assert silent[-1] == set()


def test_a_reading_that_stood_still_as_a_process_began_moves_once_the_fault_is_over() -> None:
    """The machine itself did not change meanwhile."""
    world = World(8, 30.0, devices=24, only=())
    world.run()
    plant = world.plant
    name, miner = next((name, one) for name, one in plant.miners.items() if one.state is MinerState.HASHING)
    miner.report(plant.now_s)
    plant.set_fault(name, "frozen_reads", True)
    miner.sleep()
    plant.advance(plant.now_s + 120.0)
    world.shell.stop()
    world.shell.start()
    lane = world.shell._lanes[name]

    frozen, plant_s = lane._reading(plant.now_s), plant.now_s
    plant.set_fault(name, "frozen_reads", False)
    after = lane._reading(plant_s + 5.0)

    assert frozen is not None
    assert after is not None
    assert after.draw.watts < 100 < frozen.draw.watts


def test_kills_that_waited_for_something_to_be_told_leave_each_new_process_the_time_to_take_over() -> None:
    starts: list[float] = []

    def say(text: str) -> None:
        if text == STARTS:
            starts.append(world.clock.now_s)

    kills = drawn(5, ("kills", "job_kills")).kills
    world = World(5, 600.0, 24, only=(), say=say)
    world.process.kill_at(replace(kill, at_s=60.0, among_jobs=False) for kill in kills)

    world.run()

    assert len(starts) > 2
    assert all(after - before >= KILLS_APART_S - MOST_DOWN_S for before, after in pairwise(starts[1:]))
