"""What a seed has in store."""

from __future__ import annotations

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.words import AlarmKind
from controller.domain.site import Site
from tests.sim.floor import draw_floor
from tests.sim.process import checked
from tests.sim.swarm import KINDS, SILENCES, Swarm, draw_swarm
from tests.sim.world import World

CALM_S = 6000.0


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
