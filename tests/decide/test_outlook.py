"""Events that have not begun: whether they can be met by what is known now, and what comes nearest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from controller.decide.device import DeviceState
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.words import Truth
from controller.domain.devices import DeviceSpec, OperatingPoint
from controller.domain.grid import (
    Alert,
    AlertSignal,
    EventStatus,
    GridEvent,
    LimitSignal,
    RelativeTargetSignal,
    TargetSignal,
)
from controller.domain.jobs import FlexTier
from controller.domain.power import Power
from controller.domain.site import Mode, Site
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
    interval,
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
from tests.decide.world import World, awake

HERE = site(limit_w=50_000, meter="m")
S = EventStatus
DAY_S, HALF_HOUR_S, SOON_S = 86_400.0, 1_800.0, 30.0


def ahead(name: str = "e", *, in_s: float = HALF_HOUR_S, **asks: Any) -> GridEvent:
    return event(name, start_s=NOW_S + in_s, end_s=NOW_S + in_s + 3_600, **asks)


def at(
    *stands: tuple[DeviceSpec, OperatingPoint],
    events: tuple[GridEvent, ...],
    metered_w: int | None = None,
    here: Site = HERE,
    state: State | None = None,
    known: dict[str, DeviceState] | None = None,
    unheard: frozenset[str] = frozenset(),
    draws_w: int | None = None,
    idle_w: Mapping[str, int] = MappingProxyType({}),
    **more: Any,
) -> Plan:
    """The plan for devices that stand where they are said to; those in `known` as they are remembered, and
    what is `unheard` says nothing. Others draw what `idle_w` says, or `draws_w`, or what their points do."""
    said = inputs(
        *(spec for spec, _ in stands),
        readings=[
            at_point(spec, point)
            if (watts := idle_w.get(spec.id, draws_w)) is None
            else reading(spec.id, watts, point.power.watts)
            for spec, point in stands
            if spec.id not in unheard
        ],
        metered_w={} if metered_w is None else {"m": metered_w},
        events=events,
        **more,
    )
    memory = {spec.id: device(point) for spec, point in stands} | (known or {})
    return decide(here, running(memory) if state is None else state, said)[1]


def miners(count: int, point: OperatingPoint = FULL) -> list[tuple[DeviceSpec, OperatingPoint]]:
    return [(miner(f"m{number}"), point) for number in range(count)]


def told(plan: Plan, name: str = "e") -> tuple[EventStatus, int, int]:
    [found] = [one for one in plan.outlooks if one.event == name]
    return found.status, found.asked.watts, found.possible.watts


# --- limits


@pytest.mark.parametrize("in_s", [1.0, HALF_HOUR_S, DAY_S])
def test_an_announced_limit_below_what_all_can_be_brought_to_is_infeasible_as_soon_as_it_is_known(
    in_s: float,
) -> None:
    plan = at(*miners(3), events=(ahead(limit_w=80, in_s=in_s),), metered_w=10_500)

    assert told(plan) == (S.INFEASIBLE, 80, 90)
    assert plan.outlooks[0].start_utc_s - in_s == pytest.approx(plan.outlooks[0].version_utc_s)
    assert plan.standings == ()


def test_an_event_whose_limit_cannot_be_kept_is_infeasible_though_its_set_point_can_be_met() -> None:
    plan = at(*miners(3), events=(ahead(limit_w=80, target_w=5_000),), metered_w=10_500)

    assert told(plan) == (S.INFEASIBLE, 80, 90)


def test_an_announced_limit_that_can_be_kept_is_received_with_the_least_that_can_be_had() -> None:
    assert told(at(*miners(3), events=(ahead(limit_w=90),), metered_w=10_500)) == (S.RECEIVED, 90, 90)


def test_of_several_intervals_the_lowest_limit_counts() -> None:
    pieces = [
        interval(NOW_S + begin_s, NOW_S + begin_s + 60, LimitSignal(Power(watts)))
        for begin_s, watts in ((600, 9_000), (700, 50), (800, 4_000))
    ]

    plan = at(*miners(2), events=(replace(ahead(), intervals=tuple(pieces)),), metered_w=7_000)

    assert told(plan) == (S.INFEASIBLE, 50, 60)


def test_an_announced_limit_at_a_node_is_judged_there() -> None:
    here = site(node("row-a", fixed_w=500), node("row-b"), limit_w=50_000, meter="m")
    stands = [(miner("a", "row-a"), FULL), (miner("b", "row-b"), FULL)]
    events = (ahead("a", limit_w=400, node="row-a"), ahead("b", limit_w=400, node="row-b"))

    plan = at(*stands, events=events, metered_w=7_500, here=here)

    assert (told(plan, "a"), told(plan, "b")) == ((S.INFEASIBLE, 400, 530), (S.RECEIVED, 400, 30))


def test_gpus_at_work_count_at_their_lowest_for_jobs_are_set_aside_for_a_limit() -> None:
    stands = [(gpu("g0"), GPU_POINTS[3]), (gpu("g1"), GPU_POINTS[3])]

    assert told(at(*stands, events=(ahead(limit_w=399),), metered_w=1_000)) == (S.INFEASIBLE, 399, 400)
    assert told(at(*stands, events=(ahead(limit_w=400),), metered_w=1_000))[0] is S.RECEIVED


def test_what_a_place_draws_now_it_can_draw_then() -> None:
    """GPUs without work draw less than their lowest limit."""
    stands = [(gpu("g0"), GPU_POINTS[0]), (gpu("g1"), GPU_POINTS[0])]

    def idle(limit_w: int) -> Plan:
        return at(*stands, events=(ahead(limit_w=limit_w),), metered_w=120, draws_w=60)

    assert told(idle(300)) == (S.RECEIVED, 300, 120)
    assert told(idle(100)) == (S.INFEASIBLE, 100, 120)


def test_gpus_without_work_count_at_what_they_draw_beside_machines_that_are_to_come_down() -> None:
    stands = [(miner(), FULL), *((gpu(name), GPU_POINTS[0]) for name in ("g0", "g1"))]

    def told_of(*events: GridEvent) -> Plan:
        return at(*stands, events=events, metered_w=3_620, idle_w={"g0": 60, "g1": 60})

    assert told(told_of(ahead(limit_w=300))) == (S.RECEIVED, 300, 150)
    assert told(told_of(ahead(limit_w=140))) == (S.INFEASIBLE, 140, 150)
    assert told_of().least == Power(430), "more is not promised: anybody may put them to work"


def test_a_gpu_that_a_process_is_on_counts_at_its_lowest_though_it_draws_less_for_a_moment() -> None:
    busy, here = replace(reading("g0", 60, 200), rate=0.4), at_point(miner(), FULL)
    said = inputs(
        gpu("g0"), miner(), readings=[busy, here], metered_w={"m": 3_560}, events=(ahead(limit_w=150),)
    )

    plan = decide(HERE, running({"g0": device(GPU_POINTS[0]), "m": device(FULL)}), said)[1]

    assert told(plan) == (S.INFEASIBLE, 150, 230)


def test_an_event_that_has_begun_is_not_infeasible_for_gpus_without_work() -> None:
    stands = [(miner(), FULL), (gpu("g0"), GPU_POINTS[0])]

    plan = at(*stands, events=(event(limit_w=150),), metered_w=3_560, idle_w={"g0": 60})

    assert [(one.status, one.possible.watts) for one in plan.standings] == [(S.STARTED, 90)]


@pytest.mark.parametrize(("best_effort", "possible_w"), [(False, 230), (True, 430)])
def test_what_is_possible_by_best_effort_leaves_running_jobs_what_they_need(
    best_effort: bool, possible_w: int
) -> None:
    stands = [(miner(), FULL), (gpu("g0"), GPU_POINTS[3])]

    def told_of(*events: GridEvent) -> Plan:
        return at(*stands, events=events, metered_w=4_000, queues=(queue(working(job(), "g0")),))

    soft = told_of(ahead(limit_w=100, best_effort=best_effort))
    begun = told_of(event(limit_w=100, best_effort=best_effort))

    assert told(soft) == (S.INFEASIBLE, 100, possible_w)
    assert [(one.status, one.possible.watts) for one in begun.standings] == [(S.INFEASIBLE, possible_w)]


def test_a_ramp_down_makes_no_limit_infeasible_for_it_gives_way() -> None:
    here = site(limit_w=50_000, meter="m", ramp_down_w=1)

    plan = at(*miners(3), events=(ahead(limit_w=100, in_s=SOON_S),), metered_w=10_500, here=here)

    assert told(plan)[0] is S.RECEIVED


# --- what does not obey


@pytest.mark.parametrize(
    ("silent_s", "in_s", "status"),
    [
        (100.0, DAY_S, S.RECEIVED),
        (299.0, 301.0, S.RECEIVED),
        (301.0, DAY_S, S.INFEASIBLE),
        (100.0, 299.0, S.INFEASIBLE),
        (50.0, 61.0, S.RECEIVED),
        (50.0, 59.0, S.INFEASIBLE),
    ],
)
def test_a_silent_machine_counts_at_its_worst_once_it_was_silent_for_long_enough_for_so_distant_a_start(
    silent_s: float, in_s: float, status: EventStatus
) -> None:
    silent = {"m1": device(FULL, at_s=NOW_S - silent_s)}

    plan = at(
        *miners(2),
        events=(ahead(limit_w=1_000, in_s=in_s),),
        metered_w=7_000,
        known=silent,
        unheard=frozenset({"m1"}),
    )

    assert told(plan) == (status, 1_000, 60 if status is S.RECEIVED else 3_730)


def test_a_machine_that_refuses_counts_once_it_did_for_long() -> None:
    def stubborn(asked_s: float) -> DeviceState:
        return device(
            SLEEP,
            Truth.LYING,
            worst_w=3_500,
            draw_w=3_500,
            asked_s=asked_s,
            since_s=asked_s,
            sent_s=NOW_S - 20,
        )

    for since_s, status in ((30.0, S.RECEIVED), (400.0, S.INFEASIBLE)):
        plan = at(
            (miner("m0"), FULL),
            (miner("m1"), FULL),
            events=(ahead(limit_w=1_000),),
            metered_w=7_000,
            known={"m1": stubborn(NOW_S - since_s)},
        )
        assert told(plan)[0] is status


def test_what_the_meter_says_of_some_silent_machines_makes_nobody_elses_watts_less() -> None:
    """Ten fell silent a moment ago and draw nothing, one was silent for long."""
    stands = [*miners(11), (miner("seen"), FULL)]
    silent = {f"m{at}": device(SLEEP, at_s=NOW_S - (60 if at else 900)) for at in range(11)}

    plan = at(
        *stands,
        events=(ahead(limit_w=300),),
        metered_w=3_800,
        known=silent,
        unheard=frozenset(silent),
    )

    status, _, possible_w = told(plan)
    assert possible_w >= 12 * 30
    assert status is S.INFEASIBLE


def test_a_miner_that_falls_silent_for_a_moment_moves_no_announcement_of_a_distant_event() -> None:
    plant = World(site(limit_w=30_000, margin=0.0, meter="main"), [awake(miner(f"m{at}")) for at in range(3)])
    plant.run(60)
    plant.events = (replace(ahead(limit_w=100), version_utc_s=0.0),)

    said = []
    for silent in (False, True, False, True, False):
        plant.machines["m1"].silent = silent
        for _ in range(45):
            said.append(told(plant.run(1))[0])

    assert set(said) == {S.RECEIVED}


# --- set-points


@pytest.mark.parametrize(
    ("target_w", "found"),
    [
        (20_000, (S.INFEASIBLE, 10_500)),
        (11_000, (S.RECEIVED, 10_500)),
        (9_000, (S.RECEIVED, 9_000)),
        (0, (S.INFEASIBLE, 90)),
    ],
)
def test_an_announced_set_point_out_of_reach_is_infeasible_with_the_nearest_draw(
    target_w: int, found: tuple[EventStatus, int]
) -> None:
    for point, metered_w in ((SLEEP, 90), (FULL, 10_500)):
        status, asked_w, possible_w = told(
            at(*miners(3, point), events=(ahead(target_w=target_w),), metered_w=metered_w)
        )
        assert (status, possible_w) == found
        assert asked_w == target_w


def test_the_most_is_bounded_by_what_every_node_on_the_way_is_rated_for_and_not_by_events_of_now() -> None:
    here = site(node("row", limit_w=5_000), limit_w=50_000, meter="m", fixed_w=100, margin=0.0)
    stands = [(miner(f"m{number}", "row"), SLEEP) for number in range(3)] + [(miner("n"), SLEEP)]
    events = (ahead(target_w=30_000), event("now", limit_w=1_000))

    plan = at(*stands, events=events, metered_w=220, here=here)

    assert told(plan) == (S.INFEASIBLE, 30_000, 5_000 + 3_500 + 100)


def test_who_was_silent_for_long_draws_no_more_for_a_set_point_and_what_rests_today_may_run_then() -> None:
    worn = device(SLEEP, started_s=tuple(NOW_S - 60 for _ in range(10)))
    gone = device(FULL, at_s=NOW_S - 900)

    plan = at(
        *miners(3, SLEEP),
        events=(ahead(target_w=20_000),),
        metered_w=3_590,
        known={"m0": worn, "m2": gone},
        unheard=frozenset({"m2"}),
    )

    assert told(plan)[:2] == (S.INFEASIBLE, 20_000)
    assert told(plan)[2] < 3 * 3_600


@pytest.mark.parametrize(
    ("in_s", "found"), [(DAY_S, (S.RECEIVED, 450)), (240.0, (S.INFEASIBLE, 630)), (30.0, (S.INFEASIBLE, 630))]
)
def test_no_job_that_runs_is_reckoned_to_make_way_for_a_set_point_that_begins_soon(
    in_s: float, found: tuple[EventStatus, int]
) -> None:
    """Two GPUs at 500 W whose jobs need 300 W: for a set-point nothing is set aside."""
    stands = [(miner(), FULL), (gpu("g0"), GPU_POINTS[3]), (gpu("g1"), GPU_POINTS[3])]
    held = queue(working(job(gpus=2, flex=FlexTier.BROAD), "g0", "g1"))

    plan = at(*stands, events=(ahead(target_w=450, in_s=in_s),), metered_w=4_500, queues=(held,))

    assert (told(plan)[0], told(plan)[2]) == found


def test_of_a_limit_and_a_set_point_that_cannot_be_met_the_one_that_misses_by_more_is_told() -> None:
    pieces = (
        interval(NOW_S + 600, NOW_S + 660, LimitSignal(Power(80))),
        interval(NOW_S + 660, NOW_S + 720, TargetSignal(Power(30_000))),
    )

    plan = at(*miners(3), events=(replace(ahead(), intervals=pieces),), metered_w=10_500)

    assert told(plan) == (S.INFEASIBLE, 30_000, 10_500)


# --- of what nothing is said


def test_nothing_is_foretold_of_what_asks_for_no_draw_or_for_a_change_of_an_unknown_one() -> None:
    asked = (
        ahead("price", usd_per_kwh=1),
        event("fire", AlertSignal(Alert.FIRE, "smoke"), start_s=NOW_S + 600),
        event("less", RelativeTargetSignal(Power(-90_000)), start_s=NOW_S + 600),
        replace(ahead("cancelled"), intervals=()),
        ahead("target at a node", target_w=1, node="row"),
    )
    here = site(node("row"), limit_w=50_000, meter="m")

    assert at(*miners(2), events=asked, metered_w=7_000, here=here).outlooks == ()


def test_of_what_a_site_asks_of_itself_nothing_is_foretold_for_nobody_waits_to_hear_it() -> None:
    """A rule of zero watts means as little as can be had, every day."""
    assert at(*miners(2), events=(ahead(limit_w=0, is_own=True),), metered_w=7_000).outlooks == ()


def test_an_event_that_has_begun_is_told_as_it_stands_and_not_foretold() -> None:
    plan = at(*miners(2), events=(event(limit_w=10),), metered_w=7_000)

    assert (plan.outlooks, len(plan.standings)) == ((), 1)


def test_before_the_site_was_looked_at_nothing_is_foretold() -> None:
    said = at(*miners(2), events=(ahead(limit_w=10),), state=State(), unheard=frozenset({"m0", "m1"}))

    assert (said.ready, said.outlooks) == (False, ())


def test_a_site_that_is_only_observed_foretells_nothing() -> None:
    here = site(limit_w=50_000, meter="m", mode=Mode.OBSERVE)

    assert at(*miners(2), events=(ahead(limit_w=10),), metered_w=7_000, here=here).outlooks == ()


def test_what_was_foretold_is_what_is_told_once_the_event_has_begun() -> None:
    plant = World(
        site(limit_w=30_000, margin=0.0, meter="main", fixed_w=500),
        [awake(miner(f"m{at}"), delay_s=1.0) for at in range(3)],
    )
    plant.run(60)
    plant.events = (ahead(limit_w=300, in_s=plant.now_s - NOW_S + 90),)
    foretold = told(plant.run(2))
    plant.run(100)

    assert foretold == (S.INFEASIBLE, 300, 590)
    [stands] = plant.plan.standings
    assert (stands.status, stands.possible.watts, plant.plan.outlooks) == (S.INFEASIBLE, 590, ())
    assert LOW.power > stands.possible
