"""A set-point is met by miners and GPUs together, without churn, and never at the cost of a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.following import set_course
from controller.decide.freedom import freedom
from controller.decide.inputs import Inputs, Sample
from controller.decide.limits import Follow, limits_now
from controller.decide.plan import Plan
from controller.decide.snapshot import State, look
from controller.decide.swing import Course
from controller.decide.timeline import GridNow
from controller.decide.words import Reason, Truth
from controller.domain.devices import DeviceSpec, MeterReading, ThermalLimits
from controller.domain.jobs import FlexTier
from controller.domain.power import Power
from controller.domain.site import Site
from controller.settlement.regulation import score
from tests.bench.regulation import follow, regd_like
from tests.decide.builders import (
    FULL,
    GPU_POINTS,
    LOW,
    NOW_S,
    SLEEP,
    at_point,
    bound,
    device,
    event,
    gpu,
    inputs,
    job,
    miner,
    node,
    queue,
    reading,
    running,
    site,
    working,
)
from tests.decide.steps import decide
from tests.decide.strategies import bounded
from tests.decide.world import Queue, World, asleep, awake

MINERS = tuple(miner(f"m{at}", settle_down_s=10.0, settle_up_s=100.0) for at in range(4))


def course(
    state: State,
    asked: Inputs,
    target_w: int | None,
    *,
    here: Site | None = None,
    metered_w: int | None = None,
    before: Follow | None = None,
) -> Course:
    here = site(meter="main") if here is None else here
    grid = GridNow(target=bound(target_w))
    seen = look(here, state, asked)
    limits = limits_now(seen.ground, grid)
    meter = None
    if metered_w is not None:
        meter = Sample(NOW_S, MeterReading(meter="main", power=Power(metered_w)))
    everybody = np.ones(len(seen.fleet), dtype=np.bool_)
    may = freedom(seen, limits, everybody, seen.columns.now_w != seen.fleet.floor_w, NOW_S)
    return set_course(before or Follow(), seen, limits, may, asked.queues, meter, NOW_S)


def all_full(*specs: DeviceSpec) -> tuple[State, Inputs]:
    state = running({spec.id: device(spec.points[-1]) for spec in specs})
    return state, inputs(*specs, readings=[at_point(spec, spec.points[-1]) for spec in specs])


def asked_ago(seconds: float) -> dict[str, Any]:
    """When a device was told to go where it is."""
    return dict.fromkeys(("since_s", "asked_s", "sent_s"), NOW_S - seconds)


def moving(target_w: int) -> Follow:
    """What is remembered of a set-point that has long been moving."""
    return Follow(at_s=NOW_S - 1, goal_w=target_w, moves=50.0)


def test_without_a_set_point_nothing_is_remembered_and_the_aim_is_the_limit() -> None:
    free = course(*all_full(*MINERS), None, before=moving(9_000))

    assert (free.follow, free.limits.aim_w, int(free.may.pinned.sum())) == (Follow(), free.limits.goal_w, 0)


def test_a_machine_on_its_way_up_counts_as_what_it_will_draw_so_that_no_other_is_started_for_it() -> None:
    state, _ = all_full(*MINERS)
    climbing = device(FULL, Truth.ACKNOWLEDGED, draw_w=30, **asked_ago(5))
    state = replace(state, devices={**state.devices, "m3": climbing})
    said = [at_point(spec, FULL) for spec in MINERS[:3]] + [reading("m3", 30)]

    still = course(state, inputs(*MINERS, readings=said), 14_000)

    assert still.limits.aim_w == 14_000


def test_while_a_set_point_keeps_moving_more_is_started_than_is_short() -> None:
    asleep_all = running({spec.id: device(SLEEP) for spec in MINERS})
    asked = inputs(*MINERS, readings=[at_point(spec, SLEEP) for spec in MINERS])

    stands = course(asleep_all, asked, 5_000)
    moves = course(asleep_all, asked, 5_000, before=moving(4_900))

    assert (stands.limits.aim_w, moves.limits.aim_w) == (5_000, 5_500)


def test_what_is_too_much_now_is_stopped_though_a_machine_that_is_starting_is_left_to_arrive() -> None:
    state, _ = all_full(*MINERS)
    climbing = device(FULL, Truth.ACKNOWLEDGED, draw_w=1_500, **asked_ago(90))
    state = replace(state, devices={**state.devices, "m3": climbing})
    said = [at_point(spec, FULL) for spec in MINERS[:3]] + [reading("m3", 1_500)]

    down = course(state, inputs(*MINERS, readings=said), 8_000)
    far_down = course(state, inputs(*MINERS, readings=said), 200)

    assert down.limits.aim_w < 14_000
    assert down.may.dwells.tolist() == [False, False, False, True]
    assert far_down.may.dwells.tolist() == [False] * 4


def test_a_set_point_moves_where_it_changes_and_not_where_it_begins_or_stands() -> None:
    state, asked = all_full(*MINERS)

    def moves(before_w: int | None, target_w: int) -> float:
        before = Follow(at_s=NOW_S, goal_w=before_w)
        return course(state, asked, target_w, before=before).follow.moves

    assert (moves(None, 9_000), moves(9_000, 9_000), moves(9_000, 9_100)) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("less_w", "near_w", "over_w"),
    [(10, 13_990, 13_980), (60, 13_975, 13_965), (1_100, 13_940, 13_920)],
    ids=["a thousandth", "half of the least step", "half a percent"],
)
def test_miners_are_left_alone_near_a_set_point_and_asked_beyond(
    less_w: int, near_w: int, over_w: int
) -> None:
    """The meter's noise is about a thousandth; and who can only give much more leaves more missing."""
    lower = replace(LOW, power=Power(FULL.power.watts - less_w))
    state, asked = all_full(*(replace(spec, points=(SLEEP, lower, FULL)) for spec in MINERS))

    near, over = course(state, asked, near_w), course(state, asked, over_w)

    assert (near.limits.aim_w, over.limits.aim_w) == (14_000, over_w)


def test_miners_are_asked_once_gpus_are_a_quarter_of_their_way_from_the_middle() -> None:
    """Four GPUs between 300 W and 700 W have 800 W from the middle to either end."""
    state, gpus = gpus_at(3)
    miners = {spec.id: device(LOW) for spec in MINERS[:2]}
    said = [*(at_point(spec, GPU_POINTS[3]) for spec in gpus), *(at_point(spec, LOW) for spec in MINERS[:2])]
    jobs = queue(*(working(job(f"j-{spec.id}", flex=FlexTier.BROAD), spec.id) for spec in gpus))
    asked = inputs(*gpus, *MINERS[:2], readings=said, queues=(jobs,))
    state = replace(state, devices={**state.devices, **miners})

    gpus_alone, all_together = course(state, asked, 6_950), course(state, asked, 7_050)

    assert (gpus_alone.limits.aim_w, all_together.limits.aim_w) == (6_800, 7_050)


def test_while_a_set_point_keeps_moving_nobody_is_kept_up_below_a_place_that_is_over_its_limit() -> None:
    """Nor is one kept that may not be started yet: asleep it has nothing to give."""
    m0, m1, m2 = miner("m0"), miner("m1", "pdu"), miner("m2")
    state = running({"m0": device(LOW), "m1": device(FULL), "m2": device(SLEEP, rests_s=NOW_S + 100)})
    asked = inputs(m0, m1, m2, readings=[at_point(m0, LOW), at_point(m1, FULL), at_point(m2, SLEEP)])
    here = site(node("pdu", limit_w=3_000), meter="main")

    moves = course(state, asked, 6_000, here=here, before=moving(6_000))

    assert moves.may.kept.tolist() == [True, False, False]


def test_nobody_is_lowered_to_raise_another_while_the_set_point_keeps_moving() -> None:
    """To start m3 at its lowest, and lower others for it, would earn more: later."""
    points = {"m0": FULL, "m1": FULL, "m2": FULL, "m3": SLEEP}
    state = running({name: device(point) for name, point in points.items()})
    said = [at_point(spec, points[spec.id]) for spec in MINERS]
    asked = inputs(*MINERS, readings=said, events=(event(target_w=10_540),))

    _, stands = decide(site(), state, asked)
    _, moves = decide(site(), replace(state, follow=moving(10_540)), asked)

    assert {command.device: command.point for command in stands.commands}.get("m0") == LOW
    assert moves.commands == ()


def test_machines_that_hash_fill_in_for_those_that_are_starting_where_that_is_quick() -> None:
    climbing = device(
        FULL,
        Truth.ACKNOWLEDGED,
        draw_w=30,
        began=Power(30),
        **asked_ago(5),
        started_s=(NOW_S - 5,),
    )
    state = running({"m0": device(LOW), "m1": device(LOW), "m2": device(SLEEP), "m3": climbing})
    said = [at_point(spec, point) for spec, point in zip(MINERS, (LOW, LOW, SLEEP), strict=False)]
    asked = inputs(*MINERS, readings=[*said, reading("m3", 30)], events=(event(target_w=8_330),))

    slow = course(state, asked, 8_330, before=moving(8_330))
    quick = course(state, asked, 8_330, before=replace(moving(8_330), retunes=0.03))

    assert slow.limits.aim_w == 8_330 + 833  # another start, for what it shows in the next seconds
    assert not slow.may.rests.any()
    assert quick.limits.aim_w == 8_330 + 2_200
    assert quick.may.rests.tolist() == [False, False, True, False]


def test_a_set_point_stops_nothing_that_changed_a_moment_ago() -> None:
    specs = tuple(replace(spec, dwell_s=60.0) for spec in MINERS)
    state = running({spec.id: device(FULL, since_s=NOW_S - 30) for spec in specs})
    said = [at_point(spec, FULL) for spec in specs]

    _, plan = decide(site(), state, inputs(*specs, readings=said, events=(event(target_w=5_000),)))

    assert plan.commands == ()


def test_an_aim_counts_who_draws_more_than_was_learned_as_the_plan_does() -> None:
    """Else even the lowest plan lacks watts that only the set-point forbids, and a GPU at work is stopped."""
    more = device(FULL, worst_w=3_640, draw_w=3_640, **asked_ago(5))
    dwells = (miner("m0", dwell_s=60.0),)
    asked = inputs(*dwells, readings=[reading("m0", 3_640)])

    assert course(running({"m0": more}), asked, 1_000).limits.aim_w == 3_640


def test_what_the_meter_shows_beyond_the_model_is_taken_off_the_aim_a_little_at_a_time() -> None:
    state, asked = all_full(*MINERS)

    once = course(state, asked, 20_000, metered_w=14_400)
    again = course(state, asked, 20_000, metered_w=14_400, before=once.follow)
    wild = course(state, asked, 20_000, metered_w=90_000)

    assert once.follow.off_w == pytest.approx(20.0)
    assert again.follow.off_w == once.follow.off_w  # the same reading teaches nothing twice
    assert wild.follow.off_w == 2_000.0


def test_a_site_that_looks_less_often_learns_as_fast_from_its_meter() -> None:
    state, asked = all_full(*MINERS)

    def heard(before: Follow, after_s: float) -> Follow:
        """With one more reading of the meter, so long after the last one."""
        before = replace(before, meter_s=NOW_S - after_s)
        return course(state, asked, 20_000, metered_w=14_400, before=before).follow

    often = first = Follow(at_s=NOW_S - 1, goal_w=20_000)
    for _ in range(5):
        often = heard(often, 1.0)
    once, long_after = heard(first, 5.0), heard(first, 500.0)

    assert once.off_w == pytest.approx(often.off_w)
    assert long_after.off_w == once.off_w  # one reading alone is not believed whole


def two_silent() -> tuple[State, Inputs]:
    """Of four machines at full two have not been heard for a minute."""
    state, asked = all_full(*MINERS)
    gone = {name: device(FULL, at_s=NOW_S - 60) for name in ("m2", "m3")}
    heard = {name: sample for name, sample in asked.readings.items() if name not in gone}
    return replace(state, devices={**state.devices, **gone}), replace(asked, readings=heard)


def test_a_meter_may_take_off_all_that_silent_machines_are_taken_to_draw() -> None:
    """Their breaker is open, and others are wanted in their place."""
    state, asked = two_silent()

    found = course(state, asked, 14_000, metered_w=7_000)
    for _ in range(200):
        found = course(state, asked, 14_000, metered_w=7_000, before=replace(found.follow, meter_s=NOW_S - 1))

    assert found.follow.off_w == pytest.approx(-7_000, abs=10)


@pytest.mark.parametrize("works", [False, True])
def test_a_set_point_is_met_beside_gpus_that_draw_far_less_than_their_limits(works: bool) -> None:
    """Idle at 60 W, whose lowest limit is 200 W; or at work that draws half of what it may."""
    gpus = [awake(gpu(f"g{at:02}"), share=0.5) for at in range(40)]
    held = Queue("q", tuple(machine.spec.id for machine in gpus))
    for at in range(40 * works):
        held.submit(job(f"j{at}", flex=FlexTier.MODERATE))
    machines = [*gpus, *(awake(miner(f"m{at:02}"), rise_s=10.0) for at in range(16))]
    world = World(site(limit_w=200_000, meter="main"), machines, meter_lag_s=2.0, queues=[held])
    world.run(120)

    world.events = (event(target_w=30_100),)
    world.run(180)

    assert world.watts() == pytest.approx(30_100, rel=0.02)


def test_what_a_meter_took_off_for_gpus_is_given_back_once_they_draw_it() -> None:
    """Of five GPUs that count for 3.5 kW it shows 2.5 kW less, as they do themselves, until they draw all."""
    specs = tuple(gpu(f"g{at}") for at in range(5))
    held = queue(working(job("j", gpus=5), *(spec.id for spec in specs)))
    state = running({spec.id: device(GPU_POINTS[-1], draw_w=200) for spec in specs})

    def heard(draw_w: int, before: Follow | None) -> Follow:
        said = [replace(reading(spec.id, draw_w, 700), rate=0.5) for spec in specs]
        metered_w, asked = 5 * draw_w, inputs(*specs, readings=said, queues=(held,))
        return course(state, asked, 10_000, metered_w=metered_w, before=before).follow

    found = heard(200, None)
    for _ in range(200):
        found = heard(200, replace(found, meter_s=NOW_S - 1))
    after = heard(700, replace(found, meter_s=NOW_S - 1))

    assert found.off_w == pytest.approx(-2_500, abs=10)
    assert after.off_w >= -1_000


def test_a_set_point_that_begins_while_machines_are_dark_stops_no_others_for_what_those_drew() -> None:
    """What its meter shows too little, the silent do not draw, and did not before."""
    machines = [*(awake(miner(f"a{at}")) for at in range(8)), *(awake(miner(f"b{at}")) for at in range(8))]
    world = World(site(limit_w=80_000, meter="mains"), machines, noise=0.002)
    world.run(30)
    for name, machine in world.machines.items():
        if name.startswith("b"):
            machine.silent, machine.share = True, 0.0
    world.run(60)

    world.events = (event(target_w=6 * 3_500 + 100),)
    drawn_w = [world.watts() for _ in range(60) if world.tick()]

    assert min(drawn_w) > 5 * 3_500
    assert drawn_w[-1] < 7 * 3_500


def test_a_meter_may_add_all_that_silent_machines_may_draw_beyond_what_they_said_last() -> None:
    """They were starting when they fell silent: 30 W each."""
    state, asked = all_full(*MINERS)
    gone = {name: device(FULL, Truth.STALE, at_s=NOW_S - 60, draw_w=30) for name in ("m2", "m3")}
    heard = {name: sample for name, sample in asked.readings.items() if name not in gone}
    state, asked = replace(state, devices={**state.devices, **gone}), replace(asked, readings=heard)

    found = course(state, asked, 7_000, metered_w=14_000)
    for _ in range(200):
        found = course(state, asked, 7_000, metered_w=14_000, before=replace(found.follow, meter_s=NOW_S - 1))

    assert found.follow.off_w == pytest.approx(6_940, abs=10)


def test_what_a_meter_took_off_for_silent_machines_is_given_back_when_they_are_heard_again() -> None:
    """Else they would seem to lack all that they draw less than before, and others would be raised for it."""
    state, asked = two_silent()
    gone = course(state, asked, 14_000, before=Follow(at_s=NOW_S - 1, goal_w=14_000, off_w=-6_500)).follow
    state, asked = all_full(*MINERS)
    boots = {name: device(FULL, **asked_ago(0), draw_w=1_000, began=Power(1_000)) for name in ("m2", "m3")}
    said = [reading("m2", 1_000, 3_500), reading("m3", 1_000, 3_500)]
    asked = replace(asked, readings={**asked.readings, **inputs(*MINERS, readings=said).readings})

    found = course(replace(state, devices={**state.devices, **boots}), asked, 14_000, before=gone)

    assert found.follow.off_w == -1_500.0
    assert found.limits.aim_w <= 14_000 + 1_500


def test_what_was_given_back_is_not_taken_off_again_by_a_meter_that_is_late() -> None:
    """It shows what was drawn while they were silent: 7,500 W of the 14,000 W that the model said then."""
    state, asked = two_silent()
    before = Follow(at_s=NOW_S - 3, goal_w=20_000, off_w=-6_500, modelled=((NOW_S - 3, 14_000.0),))
    gone = course(state, asked, 20_000, before=before).follow
    state, asked = all_full(*MINERS)
    boots = {name: device(FULL, **asked_ago(0), draw_w=1_000, began=Power(1_000)) for name in ("m2", "m3")}
    said = [reading("m2", 1_000, 3_500), reading("m3", 1_000, 3_500)]
    asked = replace(asked, readings={**asked.readings, **inputs(*MINERS, readings=said).readings})
    state = replace(state, devices={**state.devices, **boots})

    found = course(state, asked, 20_000, metered_w=7_500, before=gone)

    assert found.follow.off_w == pytest.approx(-1_500.0)


def test_nothing_is_given_back_that_no_meter_took_off() -> None:
    """Two lost polls: they drew on."""
    state, asked = two_silent()
    gone = course(state, asked, 14_000, before=Follow(at_s=NOW_S - 1, goal_w=14_000, off_w=300.0)).follow

    found = course(*all_full(*MINERS), 14_000, before=gone)

    assert found.follow.off_w == 300.0
    assert found.follow.silent == ()


def test_a_meter_that_shows_what_cannot_be_does_not_correct_the_model() -> None:
    """It shows thousandths: believed, a tenth more than the set-point would be drawn for ever."""
    world = World(site(limit_w=75_000, meter="m"), [awake(miner(f"m{at:02}")) for at in range(20)])
    world.other_w["site"] = 3_000.0
    world.events = (event("e", start_s=world.now_s + 60, target_w=50_000),)
    world.run(100)
    world.dead_meters.add("m")

    for _ in range(200):
        power = Power(round(world.watts() / 1_000))
        world.meters["m"] = Sample(world.now_s + 1.0, MeterReading(meter="m", power=power))
        world.tick()

    assert world.state.follow.off_w == 0
    assert 48_500 < world.watts() < 51_500


def test_a_meter_that_stands_still_does_not_correct_the_model() -> None:
    """It froze while the site drew less: believed, the site would draw that much too much for ever."""
    world = World(site(limit_w=75_000, meter="m"), [awake(miner(f"m{at:02}")) for at in range(20)])
    world.events = (event("e", start_s=world.now_s + 60, target_w=50_000),)
    world.run(200)
    world.dead_meters.add("m")

    for _ in range(200):
        world.meters["m"] = Sample(world.now_s + 1.0, MeterReading(meter="m", power=Power(48_000)))
        world.tick()

    assert 49_000 < world.watts() < 51_000, world.watts()


def test_who_refused_for_long_is_asked_again_soon_while_the_site_draws_more_than_its_set_point() -> None:
    """After minutes of no, the pause between two orders would be longer than most set-points."""
    world = World(site(), [awake(miner(f"m{at}"), refuses=True) for at in range(3)])
    world.events = (event(target_w=500, start_s=world.now_s),)
    world.run(350)
    asked = [plan.now_s for plan in world.plans[-60:] if plan.commands]
    for machine in world.machines.values():
        machine.refuses = False

    world.run(25)

    assert 2 <= len(asked) <= 4  # and not in every second tick either
    assert world.watts() <= 500


def test_an_aim_never_passes_what_a_limit_leaves() -> None:
    asleep_all = running({spec.id: device(SLEEP) for spec in MINERS})
    asked = inputs(*MINERS, readings=[at_point(spec, SLEEP) for spec in MINERS])
    here = site(limit_w=5_200, margin=0.01)

    aimed = course(asleep_all, asked, 5_140, here=here, before=moving(5_000))

    assert aimed.limits.aim_w == 5_148


def gpus_at(at: int, count: int = 4) -> tuple[State, tuple[DeviceSpec, ...]]:
    specs = tuple(gpu(f"g{index}") for index in range(count))
    return running({spec.id: device(GPU_POINTS[at]) for spec in specs}), specs


def tick(at: int, target_w: int, here: Site | None = None, rigid: int = 0) -> Plan:
    """Four GPUs at work, the first of which cannot be lowered."""
    state, specs = gpus_at(at)
    jobs = Queue("q", tuple(spec.id for spec in specs))
    for index, spec in enumerate(specs):
        jobs.submit(job(f"j-{spec.id}", flex=FlexTier.RIGID if index < rigid else FlexTier.BROAD))
    statuses = [
        replace(status, state=status.state.RUNNING, gpus=(spec.id,))
        for status, spec in zip(jobs.jobs.values(), specs, strict=True)
    ]
    waiting = replace(statuses[0], job=job("waits"), state=statuses[0].state.QUEUED, gpus=())
    said = [at_point(spec, GPU_POINTS[at]) for spec in specs]
    held = queue(*statuses, waiting, gpus=[spec.id for spec in specs])
    asked = inputs(*specs, readings=said, queues=(held,), events=(event(target_w=target_w),))
    _, plan = decide(site() if here is None else here, state, asked)
    return plan


def test_gpus_at_work_take_what_is_left_of_a_set_point() -> None:
    up, down = tick(2, 2_100), tick(2, 1_390)

    assert sum(grant.point.power.watts for grant in up.grants) == 2_100
    assert sum(grant.point.power.watts for grant in down.grants) == 1_400
    assert {grant.reason for grant in up.grants} == {Reason.FOLLOWING}
    assert up.job_commands == ()


def test_gpus_keep_what_their_jobs_need_whatever_the_set_point() -> None:
    plan = tick(2, 100)

    assert {grant.point.power.watts for grant in plan.grants} == {300}


def test_a_gpu_whose_job_cannot_give_does_not_keep_the_others_from_giving() -> None:
    plan = tick(5, 2_500, rigid=1)

    assert [grant.point.power.watts for grant in plan.grants] == [700, 400, 700, 700]


def test_gpus_stay_where_they_are_while_a_set_point_is_met() -> None:
    assert tick(2, 1_601).commands == ()


def swings(
    at: Sequence[int],
    target_w: int,
    here: Site | None = None,
    off_w: float = 0.0,
    wide: int = 0,
    **g0: Any,
) -> list[int]:
    """The watts of GPUs at work that are at those points, once they follow; `g0` is what else is known of the
    first. They may have 300 W to 700 W each; so many of them work for one job."""
    specs = tuple(gpu(f"g{row}", dwell_s=60.0) for row in range(len(at)))
    known = {
        spec.id: device(GPU_POINTS[point], since_s=NOW_S - 90) for spec, point in zip(specs, at, strict=True)
    }
    known["g0"] = known["g0"]._replace(**g0)
    jobs = [working(job(f"j-{spec.id}", flex=FlexTier.BROAD), spec.id) for spec in specs[wide:]]
    if wide:
        jobs.append(working(job("wide", wide, flex=FlexTier.BROAD), *(spec.id for spec in specs[:wide])))
    said = [at_point(spec, GPU_POINTS[point]) for spec, point in zip(specs, at, strict=True)]
    asked = inputs(*specs, readings=said, queues=(queue(*jobs),), events=(event(target_w=target_w),))
    state = running(known, follow=Follow(at_s=NOW_S - 1, goal_w=target_w, off_w=off_w))
    _, plan = decide(here or site(), state, asked)
    return [grant.point.power.watts for grant in plan.grants]


@pytest.mark.parametrize(
    ("at", "target_w", "then_w"),
    [([2, 3], 1_000, [500, 500]), ([3, 2], 800, [400, 400]), ([2, 3], 500, [300, 300])],
    ids=["who has least takes", "who has most gives", "both give all they can"],
)
def test_gpus_share_what_is_left_of_a_set_point(at: list[int], target_w: int, then_w: list[int]) -> None:
    assert swings(at, target_w) == then_w


@pytest.mark.parametrize(
    ("at", "target_w", "then_w"),
    [
        ([5, 5, 5, 5], 2_400, [600, 600, 600, 600]),
        ([5, 5, 5, 5], 2_700, [600, 700, 700, 700]),
        ([5, 5, 5, 5], 2_000, [500, 500, 500, 500]),
        ([1, 1, 1, 1], 2_000, [500, 500, 500, 500]),
        ([2, 3, 4, 5], 1_800, [400, 500, 500, 400]),
        ([5, 5, 5, 5], 1_100, [300, 300, 300, 300]),
    ],
)
def test_gpus_of_one_job_follow_a_set_point_together(at: list[int], target_w: int, then_w: list[int]) -> None:
    """It goes as fast as the slowest: one at 300 W and three at 700 draw no less than four at 600."""
    assert sorted(swings(at, target_w, wide=4)) == sorted(then_w)


def test_one_job_gives_all_that_it_can_before_the_next_gives_anything() -> None:
    assert swings([5, 5, 5, 5, 5], 2_700, wide=3) == [400, 400, 500, 700, 700]


def test_gpus_leave_what_is_no_devices_and_what_the_meter_shows_beyond_the_model_out_of_a_set_point() -> None:
    assert sum(swings([2, 2], 1_500, site(fixed_w=500))) == 1_000
    assert sum(swings([2, 2], 1_500, off_w=500.0)) == 1_000
    assert sum(swings([2, 2], 1_100, off_w=-100.0)) == 1_200


def test_a_gpu_that_was_changed_a_moment_ago_follows_no_set_point_and_others_move_for_it() -> None:
    assert swings([2, 2, 2], 1_000, since_s=NOW_S - 10) == [400, 300, 300]


def test_gpus_follow_a_set_point_by_more_than_the_noise_of_its_meter() -> None:
    """A tenth of a percent of 6,400 W is less than a step."""
    assert sum(swings([2] * 16, 6_452)) == 6_500


def test_gpus_are_set_for_what_miners_draw_a_moment_later() -> None:
    """One that was told to stop just now is down to a fifth within the next second and a half."""
    stops = device(SLEEP, Truth.COMMANDED, worst_w=3_500, draw_w=3_500, began=FULL.power, **asked_ago(0))
    state, specs = gpus_at(1)
    state = replace(state, devices={**state.devices, "m0": stops})
    jobs = queue(*(working(job(f"j-{spec.id}", flex=FlexTier.BROAD), spec.id) for spec in specs))
    said = [*(at_point(spec, GPU_POINTS[1]) for spec in specs), at_point(MINERS[0], FULL)]
    left_w = 30 + 3_470 * math.exp(-1.5)
    asked = inputs(
        *specs, MINERS[0], readings=said, queues=(jobs,), events=(event(target_w=round(2_400 + left_w)),)
    )

    _, plan = decide(site(), state, asked)

    assert sum(grant.point.power.watts for grant in plan.grants if grant.device != "m0") == 2_400


def test_only_gpus_that_obey_and_have_what_their_job_needs_and_their_heat_allows_follow() -> None:
    specs = (
        gpu("follows"),
        gpu("hot", thermal=ThermalLimits(derate_c=80.0, trip_c=100.0)),
        gpu("idle"),
        gpu("refuses"),
        gpu("short"),
        gpu("strained", "pdu"),
    )
    refuses = device(GPU_POINTS[3], Truth.REFUSED, worst_w=700, draw_w=700, began=Power(700), **asked_ago(9))
    state = running({**{spec.id: device(GPU_POINTS[4]) for spec in specs}, "refuses": refuses})
    said = [at_point(spec, GPU_POINTS[4]) for spec in specs if spec.id != "refuses"]
    said = [replace(one, hottest_c=92.0) if one.device == "hot" else one for one in said]
    flex = {"short": FlexTier.RIGID}
    jobs = [
        working(job(it.id, flex=flex.get(it.id, FlexTier.BROAD)), it.id) for it in specs if it.id != "idle"
    ]
    asked = inputs(*specs, readings=[*said, reading("refuses", 700, 700)], queues=(queue(*jobs),))

    found = course(state, asked, 3_000, here=site(node("pdu", limit_w=500), meter="main"))

    assert dict(zip([spec.id for spec in specs], found.swing.gpus.tolist(), strict=True)) == {
        "follows": True,
        **dict.fromkeys(("hot", "idle", "refuses", "short", "strained"), False),
    }


def test_gpus_at_their_highest_for_a_set_point_follow_it() -> None:
    assert {grant.reason for grant in tick(5, 2_800).grants} == {Reason.FOLLOWING}


def test_a_gpu_follows_no_set_point_to_a_limit_that_its_heat_forbids() -> None:
    """What is short leads to 590 W, its heat allows 575 W, and the nearest of its points is 600 W."""
    warm = gpu("g0", thermal=ThermalLimits(derate_c=80.0, trip_c=100.0))
    running_job = working(job("j", flex=FlexTier.BROAD), "g0")
    asked = inputs(
        warm,
        readings=[reading("g0", 500, 500, hottest_c=85.0)],
        queues=(queue(running_job, gpus=["g0"]),),
        events=(event(target_w=590),),
    )

    _, plan = decide(site(), running({"g0": device(GPU_POINTS[3])}), asked)

    assert [grant.point.power.watts for grant in plan.grants] == [500]


def test_no_job_is_given_up_for_a_set_point_where_a_place_is_over_its_limit() -> None:
    plan = tick(4, 100, here=site(node("pdu"), limit_w=2_399))

    assert plan.job_commands == ()
    assert min(grant.point.power.watts for grant in plan.grants) >= 300


def test_gpus_follow_no_set_point_below_a_place_that_is_over_its_limit() -> None:
    plan = tick(4, 2_400, here=site(node("pdu"), limit_w=2_399))

    assert Reason.FOLLOWING not in {grant.reason for grant in plan.grants}


@bounded(4)
@given(st.integers(0, 10_000))
def test_no_set_point_passes_a_limit_and_one_that_stands_ends_without_changes(seed: int) -> None:
    draw = np.random.default_rng(seed)
    specs = [miner(f"m{at}", dwell_s=5.0, settle_up_s=30.0) for at in range(8)]
    made = [(awake if draw.random() < 0.5 else asleep)(spec, rise_s=15.0, share=1.02) for spec in specs]
    world = World(
        site(limit_w=20_000, margin=0.01, meter="main"), made, seed=seed, meter_lag_s=2.0, noise=0.002
    )
    world.run(60)  # it may begin above its limit, with nobody in charge
    world.breaches.clear()
    for _ in range(5):
        world.events = (event(target_w=int(draw.integers(0, 30_000))),)
        world.run(int(draw.integers(2, 20)))
    target_w = int(draw.integers(1_000, 19_000))
    world.events = (event(target_w=target_w),)
    world.run(200)
    changes = world.changes()

    world.run(100)

    assert world.breaches == []
    assert world.changes() == changes
    assert target_w - 2_500 <= world.watts() <= target_w * 1.01


def test_a_moving_set_point_is_followed_well_enough_to_be_paid_for_and_dwell_is_kept() -> None:
    got = follow(regd_like(900), asics=150, gpu_share=0.14, seed=3)

    assert got.score.total >= 0.93
    assert got.worst_dwell_s >= 0.0


def test_a_perfect_response_scores_one_and_a_late_one_less() -> None:
    signal = regd_like(2_400)[::5]

    assert score(signal, signal).total == pytest.approx(1.0)
    assert score(signal[6:], signal[:-6]).total < 0.9
