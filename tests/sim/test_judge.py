"""Whether the judge finds what is wrong: limits, use, recovery, and controllers that are bad on purpose."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest

from controller.decide.inputs import Inputs, Sample
from controller.decide.plan import Alarm, Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.words import AlarmKind
from controller.domain.devices import DeviceKind, Quality, Reading
from controller.domain.grid import GridEvent, LimitSignal
from controller.domain.jobs import JobAction
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power
from controller.domain.site import Site
from simulators.physics.miner import MinerState
from tests.sim.careless import careless
from tests.sim.clockwork import Clockwork
from tests.sim.floor import SLEEP, draw_floor
from tests.sim.judge import Due
from tests.sim.lane import Lost, Told
from tests.sim.played import Result, play
from tests.sim.possible import LOST_KNOWN_S, Possible
from tests.sim.process import Decide, checked
from tests.sim.recovery import ENOUGH, ONE_STEP_W, PROVEN_WITHIN_S, WITHIN_S, Recovery
from tests.sim.usable import best_sum
from tests.sim.world import CALM_SHARE, World

SEED = 330
"""A site with a slow ramp, curtailed to under a half from 96 s to 269 s; without faults, unless named."""
SILENT_SEED = 5
"""Machines restart, and switches fail."""
NOTHING_SEED = 29
"""Curtailed to nothing at all from 262 s to 351 s."""
JOBS_SEED = 14
"""A job is suspended, and resumed; without faults."""
ANTMINER_SEED = 331
"""Some machines tell no watts."""


def bad(change_inputs: dict[str, object], change_plan: dict[str, object]) -> Result:
    """Ten minutes of a controller that is fine, but for what it is told or what it does."""

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = checked(site, state, replace(inputs, **change_inputs))  # type: ignore[arg-type]
        return after, replace(plan, **change_plan)  # type: ignore[arg-type]

    return play(SEED, 600.0, devices=24, only=(), decide=decide)


def kinds(result: Result) -> set[str]:
    return {breach.split()[0] for breach in result.breaches}


def test_a_controller_that_commands_nothing_passes_its_limits() -> None:
    assert "cap" in kinds(bad({}, {"commands": ()}))


def test_a_controller_that_hears_no_events_passes_their_limits() -> None:
    assert "cap" in kinds(bad({"events": ()}, {}))


def test_a_controller_that_never_takes_the_site_over_is_found_out() -> None:
    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = step(site, replace(state, first_s=None, ready_s=None), inputs)
        return after, replace(plan, ready=False, commands=())

    assert kinds(play(SEED, 120.0, devices=24, only=(), decide=decide)) == {"charge"}


def test_a_controller_that_draws_what_it_likes_under_a_limit_of_nothing_is_found_out() -> None:
    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        heard = tuple(event for event in inputs.events if not asks_nothing(event))
        return step(site, state, replace(inputs, events=heard))

    def asks_nothing(event: GridEvent) -> bool:
        return LimitSignal(ZERO) in [signal for interval in event.intervals for signal in interval.signals]

    assert "cap" in kinds(play(NOTHING_SEED, 800.0, devices=24, only=(), decide=decide))
    assert not kinds(play(NOTHING_SEED, 800.0, devices=24, only=()))


def test_a_controller_that_knows_no_ramp_limit_breaks_it() -> None:
    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        root = replace(site.root, ramp_up_per_s=NO_LIMIT)
        policy = replace(site.policy, starts_per_tick=1000)
        unbound = replace(site, nodes=(root, *site.nodes[1:]), policy=policy)
        return checked(unbound, state, inputs)

    assert "ramp" in kinds(play(SEED, 600.0, devices=24, only=(), decide=decide))


def test_a_controller_that_rises_at_four_times_its_ramp_breaks_it() -> None:
    """What was on its way, and one machine, are no small part of so small a site."""

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        ramp = site.root.ramp_up_per_s
        assert isinstance(ramp, Limit)
        root = replace(site.root, ramp_up_per_s=Limit(Power(4 * ramp.power.watts)))
        return step(replace(site, nodes=(root, *site.nodes[1:])), state, inputs)

    assert "ramp" in kinds(play(SEED, 600.0, devices=24, only=(), decide=decide))
    assert not kinds(play(SEED, 600.0, devices=24, only=()))


def test_a_controller_that_believes_the_last_reading_of_the_silent_passes_its_limits() -> None:
    only = ("switch_failure", "hangs", "reboots", "forgetful_reboots")

    assert "cap" in kinds(play(SILENT_SEED, 1800.0, devices=24, only=only, decide=careless))
    assert not kinds(play(SILENT_SEED, 1800.0, devices=24, only=only))


def test_a_breaker_that_opens_below_a_limit_that_is_kept_has_no_excuse() -> None:
    world = World(SEED, 200.0, devices=24, only=())
    node = world.plant.nodes["brk-0"]
    node.config = node.config.model_copy(update={"breaker_w": 0.3 * node.power_w})

    world.run()

    assert {breach.where for breach in world.court.verdict.breaches if not breach.excuse} == {"brk-0"}


def test_a_controller_that_feels_no_heat_has_miners_trip() -> None:
    def numb(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        zones = tuple(replace(zone, derate_c=1000.0, trip_c=2000.0) for zone in site.zones)
        cool = {
            name: Sample(sample.at_s, replace(sample.value, hottest_c=20.0, margin_c=None))
            for name, sample in inputs.readings.items()
        }
        return step(replace(site, zones=zones), state, replace(inputs, readings=cool))

    def hot(decide: Decide) -> set[str]:
        def undisturbed(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
            return decide(site, state, replace(inputs, events=()))

        world = World(SEED, 400.0, devices=24, only=(), decide=undisturbed)
        for zone in world.plant.zones:
            world.clock.at(60.0, partial(world.plant.set_fault, zone, "fans_stopped", True))
        world.run()
        return {breach.what for breach in world.court.verdict.unexcused} & {"hot", "heat"}

    assert {"hot", "heat"} <= hot(numb)
    assert not hot(checked)


@pytest.mark.parametrize(("silent_s", "excused"), [(20.0, ""), (150.0, "silent")])
def test_a_machine_that_was_silent_for_a_moment_has_no_excuse_for_the_heat_that_it_was_left_in(
    silent_s: float, excused: str
) -> None:
    """Its controller tells nobody anything; from 130 s on it draws more than its heat allows."""

    def mute(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = step(site, state, inputs)
        return after, replace(plan, commands=())

    world = World(SEED, 200.0, devices=24, only=(), decide=mute)
    name, miner = next((name, miner) for name, miner in world.plant.miners.items() if miner.watts > 2000)

    def hotter() -> None:
        miner.temperature_c = 91.0

    def trips() -> None:
        miner.trips += 1

    for second in range(130, 190):
        world.clock.at(float(second), hotter)
    world.clock.at(190.0 - silent_s, lambda: world.shell.silenced.add(name))
    world.clock.at(190.0, trips)
    world.run()

    heat = [breach.excuse for breach in world.court.verdict.breaches if breach.what == "heat"]
    assert heat == [excused]


def test_a_gpu_that_throttles_got_too_hot() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name, gpu = min(world.plant.gpus.items())
    gpu.trips += 1

    world.court.heat.look(in_charge=True)

    assert [str(breach) for breach in world.court.verdict.unexcused] == [
        f"heat at {name} from 0.0 s for 0.0 s, 0 W over"
    ]


def test_watts_that_a_starting_machine_was_given_are_usable_by_nobody_else() -> None:
    world = World(SEED, 200.0, devices=24, only=())
    world.run()
    usable, miner = world.court.usable, next(iter(world.plant.miners.values()))
    assert usable.held_w() == 0

    miner.sleep()
    world.plant.advance(260.0)
    miner.wake()
    world.plant.advance(262.0)

    assert miner.state is MinerState.STARTING
    assert usable.held_w() == pytest.approx(miner.said_setting_w * miner.bias - miner.watts)


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


def test_a_miner_that_boots_as_its_breaker_closes_moves_by_nobodys_order() -> None:
    world = World(SEED, 200.0, devices=24, only=())
    below = {name: miner for name, miner in world.plant.miners.items() if miner.node == "brk-0"}
    world.clock.at(150.0, lambda: world.plant.set_fault("brk-0", "breaker_open", True))
    world.clock.at(160.0, lambda: world.orders.update(world.plant.miners))
    world.clock.at(170.0, lambda: world.plant.set_fault("brk-0", "breaker_open", False))

    world.run()

    assert below
    assert world.orders & below.keys() == set()
    assert world.orders - below.keys()


@pytest.mark.parametrize(("orders", "excused"), [(2, ""), (3, "unheard")])
def test_a_machine_that_three_orders_in_a_row_did_not_reach_cannot_be_moved(
    orders: int, excused: str
) -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name = min(world.plant.miners)
    world.shell.lost[name] = Lost(orders, 0.0)

    world.court.possible.look()

    assert world.court.possible.held_by(name) == excused


@pytest.mark.parametrize(("factor", "excused"), [(1_000.0, "silent"), (1.25, ""), (0.001, "")])
def test_a_board_whose_watts_nobody_believes_is_as_good_as_silent(factor: float, excused: str) -> None:
    world = World(SEED, 60.0, devices=24, only=())
    world.run()
    name = min(world.plant.gpus)
    world.plant.set_fault(name, "reported_power_factor", factor)

    world.court.possible.look()

    assert world.court.possible.held_by(name) == excused


def test_a_miner_that_lies_about_limits_can_be_brought_down_but_not_while_it_was_just_silent() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name = min(world.plant.miners)
    world.plant.set_fault(name, "lies_about_limit", True)

    world.court.possible.look()
    heard = world.court.possible.held_by(name), world.court.possible.held_up_by(name)
    world.shell.silenced.add(name)
    world.court.possible.look()
    world.shell.silenced.discard(name)
    world.court.possible.look()

    assert heard == ("liar", "")
    assert world.court.possible.held_up_by(name) == "silent"


def test_a_machine_that_is_not_sent_any_more_orders_can_be_moved() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name = min(world.plant.miners)
    world.shell.lost[name] = Lost(9, -LOST_KNOWN_S - 1)

    world.court.possible.look()

    assert world.court.possible.held_by(name) == ""


@pytest.mark.parametrize(
    ("silent_from_s", "looked_s", "unforeseen"),
    [(99, 15, True), (99, 20, False), (10, 30, True), (10, 40, False), (20, 30, False)],
)
def test_what_a_liar_takes_is_unforeseen_until_it_was_read_or_is_stale(
    silent_from_s: int, looked_s: int, unforeseen: bool
) -> None:
    """It takes more than it was told from the start, its readings are stale after 15 s, 17 s are given."""
    world = World(SEED, 60.0, devices=24, only=())
    name, miner = min(world.plant.miners.items())
    possible = Possible(world.floor, world.plant, world.shell)
    world.shell.told[name] = Told(-100.0, 30, 30)

    def at(second: int) -> float:
        for _ in world.plant.steps(float(second)):
            pass
        if second >= silent_from_s:
            world.shell.silenced.add(name)
        return possible.unforeseen_w(miner.node, within_s=17.0)

    assert [at(second) > 0 for second in range(looked_s + 1)][-1] is unforeseen


@pytest.mark.parametrize("quality", [Quality.MEASURED, Quality.ESTIMATED])
@pytest.mark.parametrize(("says_w", "looked_s", "unforeseen"), [(30, 50, True), (3000, 20, False)])
def test_what_a_liar_takes_is_unforeseen_while_its_reading_stays_where_it_was_told_to_be(
    says_w: int, looked_s: int, unforeseen: bool, quality: Quality
) -> None:
    """It stands still, or is reckoned by the hash, which comes later."""
    floor = draw_floor(SEED, 24)
    name = min(spec.id for spec in floor.specs if spec.kind is DeviceKind.ASIC)
    floor = replace(floor, quality={**floor.quality, name: quality})
    world = World(SEED, 60.0, devices=24, only=(), floor=floor)
    miner, possible = world.plant.miners[name], world.court.possible
    world.shell.told[name] = Told(-100.0, 30, 30)
    world.plant.set_fault(name, "frozen_reads", quality is Quality.MEASURED)
    stuck = Reading(device=name, draw=Power(says_w), quality=quality)
    world.shell.heard.readings[name] = Sample(0.0, stuck)

    def unforeseen_at(second: int) -> bool:
        world.plant.advance(float(second))
        return possible.unforeseen_w(miner.node, within_s=17.0) > 0

    assert [unforeseen_at(second) for second in range(looked_s + 1)][-1] is unforeseen


def test_what_a_miner_takes_as_its_pool_is_back_has_to_be_seen_before_others_can_come_down() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    plant, possible = world.plant, world.court.possible
    name, miner = min(plant.miners.items())
    plant.set_fault(name, "pool_loss", True)
    plant.advance(30.0)
    possible.look()
    idle_w = miner.watts
    plant.set_fault(name, "pool_loss", False)

    def taken_at(second: float) -> float:
        plant.advance(second)
        return possible.found_work_w(miner.node, within_s=17.0)

    assert [taken_at(second) for second in (32.0, 50.0)] == [miner.watts - idle_w, 0.0]


def test_a_new_process_cannot_know_of_an_order_that_its_machine_does_not_show() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    (still, miner), (other, _), *_ = sorted(world.plant.miners.items())
    world.plant.set_fault(still, "frozen_reads", True)
    shown_w = round(miner.report(0.0).setting_w)
    told = Told(-100.0, shown_w + 1000, shown_w + 1000)
    world.shell.told = {still: told, other: told}
    world.shell.start()
    assert world.shell.told == {still: Told(0.0, shown_w, shown_w), other: told}


def test_a_boot_that_a_reading_hides_which_stands_still_is_unforeseen_after_a_silence_too() -> None:
    world = World(SEED, 60.0, devices=24, only=())
    name, miner = min(world.plant.miners.items())
    world.shell.silenced.add(name)
    world.court.possible.look()
    world.shell.silenced.discard(name)
    world.shell.told[name] = Told(-100.0, 30, 30)
    world.plant.set_fault(name, "frozen_reads", True)
    stuck = Reading(device=name, draw=Power(30), quality=Quality.MEASURED)
    world.shell.heard.readings[name] = Sample(0.0, stuck)

    assert world.court.possible.unforeseen_w(miner.node, within_s=17.0) > 0


def test_what_a_liar_without_a_power_meter_takes_when_it_has_work_again_is_unforeseen() -> None:
    world = World(ANTMINER_SEED, 60.0, devices=24, only=())
    plant, possible = world.plant, Possible(world.floor, world.plant, world.shell)
    name = min(name for name, quality in world.floor.quality.items() if quality is Quality.ESTIMATED)
    miner = plant.miners[name]
    plant.set_fault(name, "lies_about_stop", True)
    plant.set_fault(name, "pool_loss", True)
    miner.sleep()
    world.shell.told[name] = Told(-100.0, 30, 30)

    def unforeseen_at(second: float) -> bool:
        plant.advance(second)
        return possible.unforeseen_w(miner.node, within_s=17.0) > 0

    assert [unforeseen_at(second) for second in (5.0, 60.0)] == [True, False]
    plant.set_fault(name, "pool_loss", False)
    assert [unforeseen_at(second) for second in (65.0, 90.0)] == [True, False]


def test_a_tighter_limit_is_due_once_it_has_held_for_the_response_time() -> None:
    due = Due(response_s=30)
    seen = []
    for second in range(100):
        due.holds(float(second), 1000 if second < 60 else 400)
        seen.append(due.watts)

    assert seen[89] == 1000
    assert seen[91] == 400


def test_a_looser_limit_holds_at_once_and_a_short_tightening_is_never_due() -> None:
    due = Due(response_s=30)
    seen = []
    for second in range(100):
        due.holds(float(second), 400 if 50 <= second < 70 else 1000)
        seen.append(due.watts)

    assert set(seen[31:]) == {1000}
    assert seen[0] == math.inf


@pytest.mark.parametrize(
    ("machines", "room_w", "best_w"),
    [
        ([[30, 700, 1000]] * 3, 3000, 3000),
        ([[30, 700, 1000]] * 3, 2900, 2700),
        ([[30, 700, 1000]] * 3, 2000, 1730),
        ([[30, 700, 1000]] * 3, 20, 90),
        ([[30, 1000], [30, 600]], 1100, 1030),
    ],
)
def test_a_breaker_carries_the_best_sum_of_points_that_fits(
    machines: list[list[float]], room_w: float, best_w: float
) -> None:
    assert best_sum(machines, room_w) == pytest.approx(best_w, abs=16)


def test_actions_come_in_the_order_of_their_moments_and_of_their_asking() -> None:
    clock, done = Clockwork(), []
    clock.at(2.0, lambda: done.append("late"))
    clock.at(1.0, lambda: done.append("first"))
    clock.at(1.0, lambda: clock.after(0.0, lambda: done.append("next")))
    for actions in clock.moments(3.0):
        for action in actions:
            action()

    assert done == ["first", "next", "late"]


def test_a_seed_plays_the_same_way_twice() -> None:
    assert play(3, 300.0, devices=24) == play(3, 300.0, devices=24)


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


@pytest.mark.parametrize("rests", [False, True])
def test_watts_of_a_machine_that_had_to_rest_are_wanted_of_nobody_while_it_starts(rests: bool) -> None:
    world = World(SEED, 400.0, devices=24, only=())
    world.run()
    plant, plan, miner = world.plant, world.plan, min(world.plant.miners.values(), key=lambda one: one.id)
    recovery = Recovery(0.0, rests=lambda name: rests and name == miner.id)
    assert plan is not None
    most_w = plant.site_power_w

    miner.sleep()
    plant.advance(plant.now_s + 60.0)
    recovery.look(plant, most_w, plan)
    miner.wake()
    plant.advance(plant.now_s + 5.0)
    for _ in range(12):
        recovery.look(plant, (most_w + ONE_STEP_W) / ENOUGH, plan)

    assert ("used" in recovery.amiss) is not rests
