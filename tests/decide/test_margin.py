"""A sudden step sheds a little more than itself, and gives it back."""

from __future__ import annotations

import math

import pytest

from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.words import Truth
from controller.domain.devices import DeviceSpec
from controller.domain.jobs import FlexTier, JobState, JobStatus
from tests.decide.builders import (
    FULL,
    GPU_POINTS,
    NOW_S,
    SLEEP,
    at_point,
    device,
    event,
    gpu,
    inputs,
    job,
    miner,
    queue,
    running,
    site,
)
from tests.decide.steps import decide

MINERS = tuple(miner(f"m{at:02}", dwell_s=60.0) for at in range(40))


def stepped(
    limit_w: int, specs: tuple[DeviceSpec, ...] = MINERS, *, ahead_s: float = 0.0, lead_s: float = 20.0
) -> tuple[State, Plan]:
    state = running({spec.id: device(FULL) for spec in specs})
    said = [at_point(spec, FULL) for spec in specs]
    asked = inputs(*specs, readings=said, events=(event(limit_w=limit_w, start_s=NOW_S + ahead_s),))
    return decide(site(event_lead_s=lead_s), state, asked)


def left_w(plan: Plan) -> int:
    return sum(grant.point.power.watts for grant in plan.grants)


def test_a_sudden_step_sheds_a_share_of_itself_beyond_it() -> None:
    _, plan = stepped(70_000)

    assert left_w(plan) <= 70_000 - 0.08 * 70_000


def test_a_step_that_is_announced_in_time_sheds_no_more_than_it_asks_for() -> None:
    _, plan = stepped(70_000, ahead_s=20.0)

    assert 70_000 - 3_500 < left_w(plan) <= 70_000


def test_a_step_heard_of_late_sheds_as_much_beyond_it_as_is_missing_of_the_lead_time() -> None:
    state, plan = stepped(70_000, ahead_s=5.0)

    assert state.margin.watts == pytest.approx(0.75 * 0.08 * 70_000)
    assert left_w(plan) <= 70_000 - 0.75 * 0.08 * 70_000


@pytest.mark.parametrize("lead_s", [20.0, 0.0])
def test_a_step_heard_of_after_its_start_sheds_no_more_beyond_it_than_one_at_its_start(lead_s: float) -> None:
    state, _ = stepped(70_000, ahead_s=-30.0, lead_s=lead_s)

    assert state.margin.watts == pytest.approx(0.08 * 70_000)


def test_a_step_that_was_seen_in_time_sheds_no_more_when_its_lead_time_runs_out() -> None:
    early, _ = stepped(70_000, ahead_s=20.0)
    ask = event(limit_w=70_000, start_s=NOW_S + 20)
    said = [at_point(spec, FULL) for spec in MINERS]

    after, _ = decide(
        site(event_lead_s=20.0), early, inputs(*MINERS, now_s=NOW_S + 15, readings=said, events=(ask,))
    )

    assert after.margin.watts == 0.0


def test_a_set_point_that_falls_at_once_is_met_and_not_passed() -> None:
    said = [at_point(spec, FULL) for spec in MINERS]
    asked = inputs(*MINERS, readings=said, events=(event(target_w=70_000),))

    state, _ = decide(site(event_lead_s=20.0), running({spec.id: device(FULL) for spec in MINERS}), asked)

    assert state.margin.watts == 0.0


def test_a_step_of_less_than_a_tenth_sheds_nothing_beyond_it_however_many_machines_that_is() -> None:
    many = tuple(miner(f"m{at:03}") for at in range(200))

    small, _ = stepped(640_000, many)
    large, _ = stepped(620_000, many)

    assert small.margin.watts == 0.0
    assert large.margin.watts == pytest.approx(0.08 * 80_000)


def test_a_small_step_and_one_of_few_machines_shed_no_more_than_they_ask_for() -> None:
    _, small = stepped(130_000)
    _, few = stepped(14_000, MINERS[:8])

    assert left_w(small) > 130_000 - 3_500
    assert left_w(few) > 14_000 - 1_200


def after(waited_s: float) -> tuple[State, Plan]:
    """A step that all obeyed, so long after it."""
    state, _ = stepped(70_000)
    at_rest = {
        name: one._replace(worst=one.point.power, draw=one.point.power, truth=one.truth.CONFIRMED)
        for name, one in state.devices.items()
        if one.point is not None
    }
    said = [at_point(spec, one.point or SLEEP) for spec, one in zip(MINERS, at_rest.values(), strict=True)]
    asked = inputs(*MINERS, now_s=NOW_S + waited_s, readings=said, events=(event(limit_w=70_000),))

    return decide(site(), running(at_rest, margin=state.margin), asked)


def test_what_was_shed_too_much_is_given_back_little_by_little() -> None:
    soon, _ = after(30.0)
    later, plan = after(400.0)

    assert soon.margin.watts == pytest.approx(0.08 * 70_000 / math.e)
    assert later.margin.watts == 0.0
    assert sum(grant.wanted.power.watts for grant in plan.grants) > 70_000 - 1_200


@pytest.mark.parametrize("refuses_w", [0, 3_500], ids=["all obey", "one refuses"])
def test_no_job_gives_way_to_what_is_shed_beyond_a_step(refuses_w: int) -> None:
    gpus = tuple(gpu(f"g{at}") for at in range(2))
    known = {spec.id: device(FULL) for spec in MINERS} | {spec.id: device(GPU_POINTS[5]) for spec in gpus}
    if refuses_w:
        known["m00"] = device(SLEEP, Truth.REFUSED, worst_w=refuses_w, draw_w=refuses_w)
    state = running(known)
    said = [at_point(spec, spec.points[-1]) for spec in (*MINERS, *gpus)]
    rigid = [
        JobStatus(job=job(f"j{spec.id}", flex=FlexTier.RIGID), state=JobState.RUNNING, gpus=(spec.id,))
        for spec in gpus
    ]
    held = queue(*rigid, gpus=[spec.id for spec in gpus])
    least_w, fans_w = 2 * 700 + 40 * 30, 500
    limit_w = least_w + fans_w + max(0, refuses_w - 30)
    asked = inputs(*MINERS, *gpus, readings=said, queues=(held,), events=(event(limit_w=limit_w),))

    _, plan = decide(site(fixed_w=fans_w), state, asked)

    assert plan.job_commands == ()
    assert left_w(plan) == least_w
