"""Whether the judge finds what must not be done to jobs, and nothing where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from controller.decide.plan import Inputs, Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.grid import EventInterval, GridEvent, LimitSignal
from controller.domain.jobs import JobAction, JobCommand, JobState
from controller.domain.power import ZERO, Power
from controller.domain.site import Site
from controller.grid.results import Accepted
from tests.sim.operator import UTC_S, Message
from tests.sim.world import World

SEED = 14
"""A protected job runs from the start on, one that may be suspended comes and goes; without faults."""
DEVICES, DURATION_S = 24, 600.0
LIMIT_S, OVER_S = 350.0, 500.0
GIVES_UP = (JobAction.SUSPEND, JobAction.REQUEUE)
Tell = Callable[[Inputs, Sequence[JobCommand]], Sequence[JobCommand]]


def limited(power: Power) -> Message:
    """One limit of the whole site, said in good time."""
    interval = EventInterval(
        start_utc_s=UTC_S + LIMIT_S, end_utc_s=UTC_S + OVER_S, signals=(LimitSignal(power),)
    )
    event = GridEvent(
        id="e", version_utc_s=UTC_S + 1, source="operator", intervals=(interval,), ramp_deadline_s=30.0
    )
    return Message(said_s=100.0, arrives_s=(100.0,), result=Accepted(event=event, stamp="1"))


def as_it_is(_inputs: Inputs, told: Sequence[JobCommand]) -> Sequence[JobCommand]:
    return told


def lets_all_run(_inputs: Inputs, told: Sequence[JobCommand]) -> Sequence[JobCommand]:
    return [command for command in told if command.action not in GIVES_UP]


def requeues_all(_inputs: Inputs, told: Sequence[JobCommand]) -> Sequence[JobCommand]:
    return [
        replace(command, action=JobAction.REQUEUE) if command.action in GIVES_UP else command
        for command in told
    ]


def gives_up_all(inputs: Inputs, told: Sequence[JobCommand]) -> Sequence[JobCommand]:
    """Whatever runs when a limit begins, however little that limit asks."""
    runs = [
        JobCommand(queue=queue.queue, job=status.job.id, action=JobAction.SUSPEND)
        for queue in inputs.queues
        for status in queue.jobs
        if status.state is JobState.RUNNING
    ]
    return [*told, *(runs if inputs.now_s > LIMIT_S else ())]


def found(tell: Tell, message: Message) -> dict[str, set[str]]:
    """What the judge found, and the jobs that it was about."""

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = step(site, state, inputs)
        return after, replace(plan, job_commands=tuple(tell(inputs, plan.job_commands)))

    world = World(SEED, DURATION_S, DEVICES, only=(), decide=decide, messages=[message])
    world.run()
    kinds: dict[str, set[str]] = {}
    for breach in world.judge.verdict.unexcused:
        kinds.setdefault(breach.what, set()).add(breach.where)
    return kinds


def test_a_controller_that_gives_up_no_job_has_them_run_with_less_than_they_were_promised() -> None:
    assert "starved" in found(lets_all_run, limited(ZERO))


def test_a_controller_that_requeues_what_may_only_be_suspended_is_found_out() -> None:
    assert "requeued" in found(requeues_all, limited(ZERO))


def test_a_controller_that_gives_up_jobs_for_a_limit_that_miners_can_keep_is_found_out() -> None:
    assert "needless" in found(gives_up_all, limited(Power.kw(30)))


@pytest.mark.parametrize("limit", [ZERO, Power.kw(8), Power.kw(30)])
def test_a_controller_that_gives_jobs_up_for_nothing_but_a_limit_is_not_blamed(limit: Power) -> None:
    assert not found(as_it_is, limited(limit))
