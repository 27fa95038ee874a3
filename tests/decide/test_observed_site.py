"""A site that is only observed: it is decided for as ever, told nothing, and never believes that it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.invariants import BrokenInvariantError, check
from controller.decide.step import step
from controller.decide.words import AlarmKind, Reason, Truth
from controller.domain.grid import Alert, AlertSignal, EventStatus, RelativeTargetSignal
from controller.domain.power import Limit, Power
from controller.domain.site import Mode
from tests.decide.builders import FULL, LOW, NOW_S, SLEEP, event, gpu, grant_of, job, miner, node, site
from tests.decide.world import Machine, Queue, World, asleep, awake

OBSERVED = Mode.OBSERVE


def world(*machines: Machine, limit_w: int = 20_000, meter: str | None = "main", **more: object) -> World:
    return World(site(limit_w=limit_w, meter=meter, mode=OBSERVED), machines, **more)  # type: ignore[arg-type]


def test_no_machine_and_no_job_is_ever_told_anything() -> None:
    queue = Queue("q", gpus=("g",))
    queue.submit(job("j"))
    seen = world(awake(miner("a")), asleep(miner("b")), asleep(gpu("g")), queues=[queue])
    seen.run(5)
    seen.events = (event(limit_w=2_000, start_s=seen.now_s),)

    seen.run(120)

    assert [plan.commands for plan in seen.plans if plan.commands] == []
    assert queue.told == []
    assert seen.watts() == 3_500 + 30 + 60


def test_it_is_shown_where_each_machine_would_be_and_that_nothing_of_it_is_done() -> None:
    seen = world(awake(miner("a")), asleep(miner("b")))
    raised = seen.run(20)
    seen.events = (event(limit_w=2_600, start_s=seen.now_s),)

    lowered = seen.run(20)

    assert grant_of(raised, "b").wanted == FULL
    assert (grant_of(lowered, "a").wanted, grant_of(lowered, "a").point) == (LOW, FULL)
    assert {grant_of(raised, "b").reason, grant_of(lowered, "a").reason} == {Reason.OBSERVED}
    assert grant_of(lowered, "b").reason is not Reason.OBSERVED


def test_what_was_never_ordered_is_no_lie_and_nobody_is_told_again() -> None:
    seen = world(awake(miner("a")), asleep(miner("b")))
    seen.events = (event(limit_w=100, start_s=NOW_S),)

    seen.run(300)

    assert {grant.truth for plan in seen.plans[10:] for grant in plan.grants} == {Truth.CONFIRMED}
    assert [(state.lies, state.reasserts) for state in seen.state.devices.values()] == [(0, 0), (0, 0)]


def test_a_machine_that_somebody_else_moves_is_where_it_shows_and_dwells_there() -> None:
    seen = world(awake(miner("a", dwell_s=60.0)))
    seen.run(90)
    for point in (SLEEP, FULL, LOW):
        seen.machines["a"].go(point, seen.now_s)
        plan = seen.run(3)
        moved_s = seen.now_s - seen.state.devices["a"].since_s

        assert (grant_of(plan, "a").point, grant_of(plan, "a").truth) == (point, Truth.CONFIRMED)
        assert moved_s <= 3

    assert {alarm.kind for alarm in seen.plan.alarms} == {AlarmKind.OBSERVED}


def test_a_machine_at_no_point_of_its_own_is_adopted_anew_and_its_dwell_begins_once() -> None:
    seen = world(awake(miner("a", dwell_s=30.0), tells_setting=False, share=0.5))
    seen.run(60)

    assert seen.now_s - seen.state.devices["a"].since_s >= 50
    assert grant_of(seen.plan, "a").truth is Truth.CONFIRMED


def test_it_is_alarmed_from_the_first_tick_on_that_the_site_is_only_observed() -> None:
    first = world(awake(miner("a"))).tick()

    assert [(alarm.kind, alarm.subject) for alarm in first.alarms] == [(AlarmKind.OBSERVED, "test")]


def test_a_rating_that_is_passed_is_an_alarm_and_the_limit_of_an_event_is_none() -> None:
    seen = world(awake(miner("a")), awake(miner("b")), limit_w=6_000)
    rated = seen.run(10)
    roomy = world(awake(miner("a")), awake(miner("b")), limit_w=9_000)
    roomy.events = (event(limit_w=6_000, start_s=NOW_S),)
    asked = roomy.run(10)

    assert AlarmKind.CAP_PASSED in {alarm.kind for alarm in rated.alarms}
    assert AlarmKind.CAP_PASSED not in {alarm.kind for alarm in asked.alarms}


def test_a_limit_that_nobody_promised_to_keep_is_neither_told_as_one_nor_as_impossible() -> None:
    seen = world(awake(miner("a")), limit_w=9_000)
    seen.events = (event(limit_w=10, start_s=NOW_S),)

    plan = seen.run(10)

    root = plan.nodes[0]
    assert (root.limit, root.feasible) == (Limit(Power(9_000)), True)
    assert {alarm.kind for alarm in plan.alarms} == {AlarmKind.OBSERVED}
    assert (plan.cap, plan.cap_event) == (Limit(Power(10)), "e")


@pytest.mark.parametrize("asks", [{"limit_w": 9_000}, {"target_w": 3_500}, {"usd_per_kwh": 0.1}])
def test_an_event_that_asks_for_anything_stands_as_refused_though_the_draw_be_what_it_asks_for(
    asks: dict[str, float],
) -> None:
    seen = world(awake(miner("a")))
    seen.events = (event(start_s=NOW_S, **asks),)  # type: ignore[arg-type]

    plan = seen.run(30)

    assert [standing.status for standing in plan.standings] == [EventStatus.REJECTED]


def test_an_event_that_only_informs_stands_as_ever() -> None:
    seen = world(awake(miner("a")))
    seen.events = (event("e", AlertSignal(Alert.FLEX_ALERT, "hot"), start_s=NOW_S),)

    plan = seen.run(5)

    assert [standing.status for standing in plan.standings] != [EventStatus.REJECTED]


def test_a_change_of_draw_is_reckoned_from_what_the_site_draws_though_set_points_are_in_force() -> None:
    seen = world(awake(miner("a")), awake(miner("b")))
    seen.events = (event("one", target_w=3_500, start_s=NOW_S),)
    seen.run(70)
    change = RelativeTargetSignal(Power(-3_000))
    seen.events = (*seen.events, event("two", change, start_s=seen.now_s + 1, priority=1))

    plan = seen.run(5)

    drawn = {standing.event: standing.drawn_before for standing in plan.standings}
    assert drawn["two"] == Power(7_000)


def test_a_step_that_is_never_taken_asks_for_no_margin_beyond_it() -> None:
    machines = [awake(miner(f"m{at}")) for at in range(20)]
    seen = world(*machines, limit_w=80_000)
    seen.events = (event(limit_w=35_000, start_s=NOW_S + 5),)

    plan = seen.run(60)

    would_w = sum(grant.wanted.power.watts for grant in plan.grants)
    assert 35_000 - 2_400 < would_w <= 35_000


def test_a_plan_for_an_observed_site_that_commands_anything_is_never_sent() -> None:
    commanded = World(site(limit_w=20_000), [asleep(miner("a"))])
    commanded.run(3)
    before, inputs = commanded.state, commanded.inputs()
    commanded.machines["a"].go(SLEEP, commanded.now_s)
    told = next(plan for plan in commanded.plans if plan.commands)
    observed = replace(commanded.site, policy=replace(commanded.site.policy, mode=OBSERVED))
    after, plan = step(observed, before, inputs)

    with pytest.raises(BrokenInvariantError, match="I8: a is told full"):
        check(observed, before, inputs, after, replace(plan, commands=told.commands))


def test_limits_of_nodes_are_looked_at_without_being_enforced() -> None:
    place = node("pdu", limit_w=3_000, meter="pdu")
    seen = World(site(place, limit_w=9_000, mode=OBSERVED), [awake(miner("a", node="pdu"))])

    plan = seen.run(10)

    assert ("pdu", AlarmKind.CAP_PASSED) in {(alarm.subject, alarm.kind) for alarm in plan.alarms}
    assert grant_of(plan, "a").wanted == LOW
