"""Where events stand: what is complied with, what is on its way, and what cannot be, with what can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.plan import Plan, Standing
from controller.decide.snapshot import State
from controller.domain.devices import DeviceSpec, OperatingPoint
from controller.domain.grid import Alert, AlertSignal, EventStatus, GridEvent, LimitSignal
from controller.domain.jobs import FlexTier, OnShortage
from controller.domain.power import Power
from controller.domain.site import Site
from tests.decide.builders import (
    FULL,
    GPU_POINTS,
    LOW,
    NOW_S,
    SLEEP,
    at_point,
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
from tests.decide.world import Queue, World, asleep, awake

HERE = site(limit_w=50_000, meter="m")
S = EventStatus


def at(
    *stands: tuple[DeviceSpec, OperatingPoint],
    events: tuple[GridEvent, ...],
    metered_w: int | None = None,
    here: Site = HERE,
    state: State | None = None,
    **changes: object,
) -> Plan:
    """The plan for devices that stand where they are said to, all of them obedient."""
    said = inputs(
        *(spec for spec, _ in stands),
        readings=[at_point(spec, point) for spec, point in stands],
        metered_w={} if metered_w is None else {"m": metered_w},
        events=events,
    )
    known = running({spec.id: device(point) for spec, point in stands}) if state is None else state
    _, plan = decide(here, known, replace(said, **changes))  # type: ignore[arg-type]  # fields of Inputs
    return plan


def miners(count: int, point: OperatingPoint = FULL) -> list[tuple[DeviceSpec, OperatingPoint]]:
    return [(miner(f"m{number}"), point) for number in range(count)]


def stands(plan: Plan, name: str = "e") -> tuple[EventStatus, int]:
    [found] = [standing for standing in plan.standings if standing.event == name]
    return found.status, found.possible.watts


# --- limits


def test_a_limit_below_what_all_can_be_brought_to_is_infeasible_and_the_number_is_that() -> None:
    plan = at(*miners(3), events=(event(limit_w=50),), metered_w=10_500)

    assert stands(plan) == (S.INFEASIBLE, 90)


def test_a_limit_that_can_be_kept_is_in_flight_until_the_meter_shows_it() -> None:
    assert stands(at(*miners(3), events=(event(limit_w=90),), metered_w=10_500)) == (S.STARTED, 90)
    assert stands(at(*miners(3, SLEEP), events=(event(limit_w=90),), metered_w=90)) == (S.COMPLIANT, 90)


@pytest.mark.parametrize(
    ("metered_w", "found"),
    [
        (60, (S.COMPLIANT, 60)),
        (2_000, (S.INFEASIBLE, 2_000)),
        (4_000, (S.INFEASIBLE, 4_000)),
        (None, (S.INFEASIBLE, 3_730)),
    ],
)
def test_what_is_silent_counts_at_its_worst_but_for_no_more_than_the_meter_shows(
    metered_w: int | None, found: tuple[EventStatus, int]
) -> None:
    specs = (miner("m0"), miner("m1"))
    said = inputs(
        *specs,
        readings=[at_point(specs[0], SLEEP)],
        metered_w={} if metered_w is None else {"m": metered_w},
        events=(event(limit_w=1_000),),
    )
    known = running({"m0": device(SLEEP), "m1": device(FULL, at_s=900.0)})

    _, plan = decide(HERE, known, said)

    assert stands(plan) == found


def test_jobs_that_no_best_effort_sets_aside_are_possible_at_what_the_meter_shows_of_them() -> None:
    """Its job needs a limit of 300 W, and draws 250 W."""
    soft = event(limit_w=100, best_effort=True)
    said = replace(reading("g0", 250, 300), rate=0.6)
    held = queue(working(job(flex=FlexTier.BROAD), "g0"), gpus=["g0"])
    asked = inputs(gpu("g0"), readings=[said], metered_w={"m": 250}, events=(soft,), queues=(held,))

    _, plan = decide(HERE, running({"g0": device(GPU_POINTS[1])}), asked)

    assert stands(plan) == (S.INFEASIBLE, 250)


def test_an_event_of_two_limits_is_complied_with_only_where_the_lower_is_kept() -> None:
    both = event("e", LimitSignal(Power(8_000)), LimitSignal(Power(4_000)))

    assert stands(at(*miners(3, LOW), events=(both,), metered_w=7_200))[0] == S.STARTED
    assert stands(at(*miners(3, SLEEP), events=(both,), metered_w=90))[0] == S.COMPLIANT


def test_each_event_is_judged_by_its_own_limit() -> None:
    events = (event("loose", limit_w=8_000), event("tight", limit_w=4_000))

    plan = at(*miners(3, LOW), events=events, metered_w=7_200)

    assert (stands(plan, "loose")[0], stands(plan, "tight")[0]) == (S.COMPLIANT, S.STARTED)


def test_a_limit_at_a_node_is_judged_there() -> None:
    here = site(node("row-a", meter="a"), node("row-b"), limit_w=50_000, meter="m")
    specs = [miner("a1", "row-a"), miner("a2", "row-a"), miner("b1", "row-b")]
    said = inputs(
        *specs, readings=[at_point(spec, FULL) for spec in specs], metered_w={"m": 10_500, "a": 7_000}
    )
    events = (
        event("a", limit_w=40, node="row-a"),
        event("a-holds", limit_w=7_000, node="row-a"),
        event("b", limit_w=9_000, node="row-b"),
    )
    _, plan = decide(here, running({spec.id: device(FULL) for spec in specs}), replace(said, events=events))

    assert (stands(plan, "a"), stands(plan, "a-holds")[0]) == ((S.INFEASIBLE, 60), S.COMPLIANT)
    assert stands(plan, "b")[0] is S.STARTED  # nothing measures row-b


def test_before_the_site_was_looked_at_nothing_is_called_impossible() -> None:
    plan = at(*miners(2), events=(event(limit_w=10),), state=State(), readings={})

    assert not plan.ready
    assert stands(plan)[0] is S.STARTED


@pytest.mark.parametrize("asked", [event(usd_per_kwh=0.1), event("e", AlertSignal(Alert.FIRE, "smoke"))])
def test_what_asks_for_nothing_is_complied_with(asked: GridEvent) -> None:
    assert stands(at(*miners(1), events=(asked,)))[0] is S.COMPLIANT


# --- set-points


@pytest.mark.parametrize(
    ("metered_w", "status"), [(9_499, S.STARTED), (9_500, S.COMPLIANT), (10_501, S.STARTED)]
)
def test_a_set_point_is_complied_with_within_five_percent_of_it(metered_w: int, status: EventStatus) -> None:
    assert stands(at(*miners(3), events=(event(target_w=10_000),), metered_w=metered_w))[0] is status


def test_a_set_point_above_all_that_can_be_drawn_is_infeasible_with_the_most() -> None:
    plan = at(*miners(3, SLEEP), events=(event(target_w=20_000),), metered_w=90)

    assert stands(plan) == (S.INFEASIBLE, 10_500)


def test_gpus_without_work_add_to_the_most_what_they_draw_and_not_their_lowest_limit() -> None:
    specs = (gpu("g0"), gpu("g1"), miner())
    said = [reading("g0", 60, 200), reading("g1", 60, 200), at_point(miner(), SLEEP)]
    asked = inputs(*specs, readings=said, metered_w={"m": 150}, events=(event(target_w=20_000),))
    known = running({"g0": device(GPU_POINTS[0]), "g1": device(GPU_POINTS[0]), "m": device(SLEEP)})

    _, plan = decide(HERE, known, asked)

    assert stands(plan) == (S.INFEASIBLE, 3_500 + 2 * 60)


def test_a_set_point_below_all_that_can_be_shed_is_infeasible_with_the_least() -> None:
    plan = at(*miners(3), events=(event(target_w=0),), metered_w=10_500)

    assert stands(plan) == (S.INFEASIBLE, 90)


def test_the_most_is_bounded_by_every_node_on_the_way() -> None:
    here = site(node("row", limit_w=5_000), limit_w=50_000, meter="m", fixed_w=100, margin=0.0)
    specs = [(miner(f"m{number}", "row"), SLEEP) for number in range(3)] + [(miner("n"), SLEEP)]

    plan = at(*specs, events=(event(target_w=30_000),), metered_w=220, here=here)

    assert stands(plan) == (S.INFEASIBLE, 5_000 + 3_500 + 100)


def test_a_limit_in_the_way_of_a_set_point_is_what_is_possible_of_it() -> None:
    events = (event("wants", target_w=9_000), event("cap", limit_w=5_000))

    plan = at(
        *miners(3, SLEEP), events=events, metered_w=90, here=site(limit_w=50_000, margin=0.0, meter="m")
    )

    assert stands(plan, "wants") == (S.INFEASIBLE, 5_000)


def test_a_set_point_that_another_one_outranks_is_in_flight() -> None:
    events = (event("first", target_w=9_000, priority=1), event("second", target_w=3_000, priority=2))

    plan = at(*miners(3), events=events, metered_w=9_000)

    assert (stands(plan, "first")[0], stands(plan, "second")[0]) == (S.COMPLIANT, S.STARTED)


# --- GPUs that follow a set-point


def following(target_w: int, metered_w: int = 2_000, **limit: int) -> Plan:
    """Two GPUs at 500 W whose jobs need 300 W, and a miner at full."""
    specs = (gpu("g0"), gpu("g1"))
    it = job("j", gpus=2, flex=FlexTier.BROAD, on_shortage=OnShortage.REQUEUE)
    held = queue(working(it, "g0", "g1"), gpus=["g0", "g1"])
    stand = [(spec, GPU_POINTS[3]) for spec in specs] + [(miner(), FULL)]
    events = [event(target_w=target_w)] + [event("cap", limit_w=watts) for watts in limit.values()]
    return at(*stand, events=tuple(events), metered_w=metered_w, queues=(held,))


def test_a_limit_may_set_jobs_aside_so_what_is_least_counts_gpus_at_their_lowest_though_they_follow() -> None:
    plan = following(4_500)

    assert plan.least == Power(30 + 2 * 200)


def test_for_a_set_point_no_job_is_set_aside_so_what_is_possible_counts_what_jobs_need() -> None:
    assert stands(following(300)) == (S.INFEASIBLE, 30 + 2 * 300)
    assert stands(following(6_000)) == (S.INFEASIBLE, 3_500 + 2 * 700)
    assert stands(following(4_900))[0] is S.STARTED


# --- on a site that moves


def test_what_is_possible_is_what_the_site_then_comes_to() -> None:
    for target_w, comes_to in ((20_000, 14_000), (10, 120)):
        plant = World(
            site(limit_w=30_000, margin=0.0, meter="main"),
            [
                (awake if number % 2 else asleep)(miner(f"m{number}", settle_up_s=30.0), rise_s=10.0)
                for number in range(4)
            ],
        )
        plant.run(30)
        plant.events = (event(target_w=target_w, start_s=plant.now_s),)
        plan = plant.run(2)
        told: Standing = plan.standings[0]
        plant.run(100)

        assert (told.status, told.possible.watts) == (S.INFEASIBLE, comes_to)
        assert plant.watts() == comes_to


@pytest.mark.parametrize("target_w", [500, 60_000])
@pytest.mark.parametrize("works", [False, True])
def test_what_is_possible_beside_gpus_is_what_they_draw_and_not_what_they_may(
    target_w: int, works: bool
) -> None:
    """Idle at 60 W, whose lowest limit is 200 W; or at work that draws half of what it may."""
    gpus = [awake(gpu(f"g{number}"), share=0.5) for number in range(10)]
    held = Queue("q", tuple(machine.spec.id for machine in gpus))
    for number in range(10 * works):
        held.submit(job(f"j{number}", flex=FlexTier.MODERATE))
    machines = [*gpus, *(awake(miner(f"m{number}")) for number in range(4))]
    plant = World(site(limit_w=100_000, margin=0.0, meter="m"), machines, queues=[held])
    plant.run(120)

    plant.events = (event(target_w=target_w, start_s=plant.now_s),)
    plan = plant.run(180)

    status, possible_w = stands(plan)
    assert status is S.INFEASIBLE
    assert possible_w == pytest.approx(plant.watts(), rel=0.02)


@pytest.mark.parametrize(
    ("count", "target_w", "on_the_way", "then"),
    [
        (2, 3_000, (S.STARTED, 60), (S.INFEASIBLE, 2_430)),
        (1, 1_000, (S.STARTED, 30), (S.INFEASIBLE, 30)),
        (2, 5_900, (S.STARTED, 60), (S.COMPLIANT, 60)),
    ],
)
def test_a_set_point_between_the_points_of_few_machines_is_told_once_they_are_as_near_as_they_come(
    count: int, target_w: int, on_the_way: tuple[S, int], then: tuple[S, int]
) -> None:
    machines = [awake(miner(f"m{number}"), delay_s=5.0) for number in range(count)]
    plant = World(site(limit_w=30_000, margin=0.0, meter="main"), machines)
    plant.run(60)
    plant.events = (event(target_w=target_w, start_s=plant.now_s),)

    assert stands(plant.run(2)) == on_the_way
    assert stands(plant.run(120)) == then


@pytest.mark.parametrize("how", ["refuses", "deaf", "lies"])
def test_a_machine_that_will_not_come_down_does_not_keep_such_a_set_point_from_being_told(how: str) -> None:
    """Asked for 5 kW: 3.5 kW of the one that does not obey, and nothing or 2.4 kW of each of the others."""
    machines = [awake(miner(f"m{number}")) for number in range(3)]
    setattr(machines[2], how, True)
    plant = World(site(limit_w=30_000, margin=0.0, meter="main"), machines)
    plant.run(60)
    plant.events = (event(target_w=5_000, start_s=plant.now_s),)

    assert stands(plant.run(180)) == (S.INFEASIBLE, 3_560)


def test_a_machine_that_rests_keeps_such_a_set_point_from_being_told_only_when_that_is_nearly_over() -> None:
    worn = miner("m1", starts_per_hour=1)
    plant = World(site(limit_w=30_000, margin=0.0, meter="main"), [awake(miner("m0")), asleep(worn)])
    plant.state = running({"m1": device(SLEEP, started_s=(NOW_S - 3_000,))})
    plant.run(60)
    plant.events = (event(target_w=3_000, start_s=plant.now_s),)

    assert stands(plant.run(180))[0] is S.INFEASIBLE
    plant.run(300)
    assert stands(plant.run(1))[0] is S.STARTED


def test_an_infeasible_limit_is_told_while_it_lasts_and_no_longer() -> None:
    plant = World(site(limit_w=30_000, margin=0.0, meter="main"), [awake(miner(), delay_s=1.0)])
    plant.run(30)
    plant.other_w["site"] = 500.0
    plant.run(60)
    plant.events = (event(limit_w=300, start_s=plant.now_s),)

    plant.run(20)
    before = plant.plan.standings[0]
    plant.other_w["site"] = 0.0
    plant.run(300)

    assert (before.status, before.possible >= Power(530)) == (S.INFEASIBLE, True)
    assert plant.plan.standings[0].status is S.COMPLIANT
