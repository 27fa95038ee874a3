"""Why a job is told to begin, to stop or to go: what its owner reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.decide.plan import Plan
from controller.domain.jobs import FlexTier, JobAction, JobStatus, OnShortage
from controller.domain.site import Node, Service
from tests.decide.builders import (
    GPU_POINTS,
    at_point,
    device,
    event,
    gpu,
    inputs,
    job,
    node,
    queue,
    running,
    site,
    waiting,
    working,
)
from tests.decide.steps import decide

FULL = GPU_POINTS[-1]
MAY_STOP = job("a", on_shortage=OnShortage.SUSPEND, flex=FlexTier.RIGID)


def told_why(plan: Plan) -> list[tuple[JobAction, str]]:
    return [(command.action, command.why) for command in plan.job_commands]


def plan_of(*below: Node, status: JobStatus, margin_c: float | None = None, **rest: Any) -> Plan:
    events = rest.pop("events", ())
    spec = gpu("g0", "row" if below else "site")
    said = replace(at_point(spec, FULL), margin_c=margin_c)
    now = inputs(spec, readings=[said], queues=(queue(status, gpus=["g0"]),), events=events)
    return decide(site(*below, **rest), running({"g0": device(FULL)}), now)[1]


def test_a_job_that_an_event_leaves_no_watts_is_told_which_event() -> None:
    plan = plan_of(status=working(MAY_STOP, "g0"), events=(event("dr-7", limit_w=210),), limit_w=20_000)

    assert told_why(plan) == [(JobAction.SUSPEND, "limited site event dr-7")]


def test_a_job_below_a_node_that_is_full_is_told_which_node() -> None:
    plan = plan_of(node("row", limit_w=210), status=working(MAY_STOP, "g0"))

    assert told_why(plan) == [(JobAction.SUSPEND, "limited row")]


@pytest.mark.parametrize("service", [Service.DRAINING, Service.ISOLATED])
def test_a_job_on_what_is_to_be_switched_off_or_should_be_is_told_so(service: Service) -> None:
    plan = plan_of(node("row", service=service), status=working(MAY_STOP, "g0"))

    assert told_why(plan) == [(JobAction.REQUEUE, "draining")]


def test_a_job_whose_gpu_is_too_hot_for_it_is_told_so() -> None:
    plan = plan_of(status=working(MAY_STOP, "g0"), margin_c=-10.0)

    assert told_why(plan) == [(JobAction.SUSPEND, "thermal")]


def test_a_job_whose_watts_cost_more_than_it_earns_is_told_so() -> None:
    plan = plan_of(status=working(MAY_STOP, "g0"), events=(event(usd_per_kwh=1_000.0),))

    assert told_why(plan) == [(JobAction.SUSPEND, "unprofitable")]


def test_a_job_that_begins_is_told_where_its_gpu_stands() -> None:
    plan = plan_of(status=waiting(job("a")))

    assert told_why(plan) == [(JobAction.START, "full")]


@pytest.mark.parametrize(("limit_w", "why"), [(1_199, "limited row"), (1_200, "unprofitable")])
def test_a_job_lacks_watts_where_all_its_gpus_together_do_and_not_where_they_just_fit(
    limit_w: int, why: str
) -> None:
    """Either of them would fit by itself, in its rack and in the row; energy costs more than both earn."""
    both = job("a", gpus=2, on_shortage=OnShortage.SUSPEND, flex=FlexTier.RIGID)
    places = (node("row", limit_w=limit_w), node("rack", "row"))
    specs = tuple(gpu(name, "rack", points=(GPU_POINTS[0], GPU_POINTS[4])) for name in ("g0", "g1"))
    known = running({spec.id: device(spec.points[-1]) for spec in specs})
    jobs = queue(working(both, "g0", "g1"), gpus=["g0", "g1"])
    dear = event(usd_per_kwh=1_000.0)

    now = inputs(
        *specs, readings=[at_point(it, it.points[-1]) for it in specs], queues=(jobs,), events=(dear,)
    )
    _, plan = decide(site(*places), known, now)

    assert told_why(plan) == [(JobAction.SUSPEND, why)]


def test_a_job_that_begins_is_told_what_keeps_the_slowest_of_its_gpus_where_it_is() -> None:
    at = {gpu("g0", "row"): GPU_POINTS[3], gpu("g1"): GPU_POINTS[3]}
    known = running({spec.id: device(point) for spec, point in at.items()})
    jobs = queue(waiting(job("a", gpus=2)), gpus=["g0", "g1"])

    now = inputs(*at, readings=[at_point(*one) for one in at.items()], queues=(jobs,))
    _, plan = decide(site(node("row", limit_w=500)), known, now)

    assert told_why(plan) == [(JobAction.START, "limited row")]


def test_of_two_nodes_that_lack_as_much_a_job_is_told_the_upper_one() -> None:
    plan = plan_of(node("row", limit_w=210), status=working(MAY_STOP, "g0"), limit_w=210)

    assert told_why(plan) == [(JobAction.SUSPEND, "limited site rating")]


def test_what_ails_a_gpu_that_a_job_does_not_have_is_not_told_as_its_reason() -> None:
    """And one that it has is no more in the site file."""
    wide = job("a", gpus=2, on_shortage=OnShortage.SUSPEND, flex=FlexTier.RIGID)
    specs = (gpu("g0", "row"), gpu("a1", "yard"))
    here = site(node("row", limit_w=210), node("yard", service=Service.DRAINING))
    jobs = queue(working(wide, "g0", "gone"), gpus=["g0", "gone", "a1"])

    now = inputs(*specs, readings=[at_point(it, FULL) for it in specs], queues=(jobs,))
    _, plan = decide(here, running({it.id: device(FULL) for it in specs}), now)

    assert told_why(plan) == [(JobAction.SUSPEND, "limited row")]
