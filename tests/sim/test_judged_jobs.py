"""Jobs that are left, kills among what a queue is told, and boards that are misread."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from controller.decide.inputs import Inputs, Sample
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.devices import DeviceKind
from controller.domain.jobs import JobAction, JobCommand, JobState
from controller.domain.site import Site
from tests.sim.judged import DEVICES, kinds_of
from tests.sim.process import Decide, checked
from tests.sim.swarm import Kill, Rates
from tests.sim.world import World

SEED, DURATION_S, LONG_S = 14, 1_100.0, 1_500.0
"""Jobs come for a share of a long run."""
BEGINS = (JobAction.START, JobAction.RESUME)


def world(decide: Decide, duration_s: float = DURATION_S) -> World:
    made = World(SEED, LONG_S, DEVICES, only=(), decide=decide, messages=[])
    made.end_s = duration_s
    return made


def idle(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that begins no job."""
    after, plan = step(site, state, inputs)
    told = tuple(command for command in plan.job_commands if command.action not in BEGINS)
    return after, replace(plan, job_commands=told)


def test_a_controller_that_leaves_jobs_waiting_is_found_out() -> None:
    careless = world(idle)
    careless.run()

    assert "left" in kinds_of(careless)


def in_order(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that begins no job while a dearer one waits."""
    after, plan = step(site, state, inputs)
    jobs = {status.job.id: status for queue in inputs.queues for status in queue.jobs}
    dearest = max(
        (one.job.usd_per_gpu_hour for one in jobs.values() if one.state is not JobState.RUNNING), default=0.0
    )
    told = tuple(
        command
        for command in plan.job_commands
        if command.action not in BEGINS or jobs[command.job].job.usd_per_gpu_hour >= dearest
    )
    return after, replace(plan, job_commands=told)


def test_a_controller_that_has_jobs_wait_behind_dearer_ones_that_lack_gpus_is_found_out() -> None:
    good, careless = world(checked), world(in_order)
    good.run()
    careless.run()

    assert "left" not in kinds_of(good)
    assert "left" in kinds_of(careless)


def begins_anew(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that sets all jobs aside that it finds running."""
    after, plan = step(site, state, inputs)
    found = [
        JobCommand(queue=queue.queue, job=one.job.id, action=JobAction.SUSPEND)
        for queue in inputs.queues
        for one in queue.jobs
        if one.state is JobState.RUNNING and plan.ready and state.ready_s is None
    ]
    return after, replace(plan, job_commands=(*plan.job_commands, *found))


def killed(decide: Decide, lost_reads: float = 0.0) -> World:
    """The first process is killed as it tells its queue something, before or after that is carried out."""
    kills = tuple(
        Kill(at_s=at_s, sent=1000, down_s=5.0, among_jobs=True, jobs=jobs, later_s=later_s)
        for at_s, jobs, later_s in ((50.0, 1, 0.0), (200.0, 0, 0.0), (350.0, 2, 1.5))
    )
    made = world(decide, 900.0)
    made.process.kill_at(kills)
    made.clock.at(50.0, lambda: setattr(made.shell, "rates", Rates(lost_reads=lost_reads)))
    made.run()
    return made


def test_a_process_that_is_killed_among_what_it_tells_its_queue_leaves_nothing_amiss() -> None:
    good = killed(checked)

    assert not kinds_of(good)
    assert good.process.began_s > 300.0
    assert good.queue.finished > 0


def test_a_process_that_sets_aside_what_it_finds_running_is_found_out() -> None:
    careless = killed(begins_anew)

    assert "dropped" in kinds_of(careless)


def test_nobody_has_to_leave_jobs_as_they_were_found_while_machines_are_not_heard() -> None:
    assert "dropped" not in kinds_of(killed(begins_anew, lost_reads=0.7))


def credulous(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that believes a board whatever it says: that it draws a watt at work."""
    gpus = {spec.id for spec in inputs.specs if spec.kind is DeviceKind.GPU}
    readings = {
        name: Sample(sample.at_s, replace(sample.value, rate=0.0)) if name in gpus else sample
        for name, sample in inputs.readings.items()
    }
    return step(site, state, replace(inputs, readings=readings))


def misread(decide: Decide) -> set[str]:
    made = world(decide, 1_000.0)
    for name in made.plant.gpus:
        made.clock.at(200.0, partial(made.plant.set_fault, name, "reported_power_factor", 0.001))
        made.clock.at(980.0, partial(made.plant.set_fault, name, "reported_power_factor", 1.0))
    made.run()
    return set(kinds_of(made))


def test_a_controller_that_believes_that_boards_work_on_a_watt_gives_jobs_up_for_nothing() -> None:
    assert "needless" in misread(credulous)
    assert not misread(checked)
