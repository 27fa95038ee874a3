"""Whether the judge finds what must not be done to jobs, and nothing where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.jobs import FlexTier, Job, JobAction, JobCommand, JobState, JobStatus, OnShortage
from controller.domain.power import ZERO, Power
from controller.domain.site import Site
from tests.sim.floor import draw_floor
from tests.sim.judged import DEVICES, DURATION_S, LIMIT_S, found, kinds_of, said
from tests.sim.process import Decide, checked
from tests.sim.swarm import JobArrival, Rates
from tests.sim.world import World

SEED = 14
"""A protected job runs from the start on, one that may be suspended comes and goes; without faults."""
RACK = "gpu-rack-0"
GIVES_UP = (JobAction.SUSPEND, JobAction.REQUEUE)
Tell = Callable[[Inputs, Sequence[JobCommand]], Sequence[JobCommand]]


def telling(tell: Tell) -> Decide:
    """A controller that is fine, but for what it tells its queue."""

    def decide(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = step(site, state, inputs)
        return after, replace(plan, job_commands=tuple(tell(inputs, plan.job_commands)))

    return decide


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


def test_a_controller_that_gives_up_no_job_has_them_run_with_less_than_they_were_promised() -> None:
    assert "starved" in found(SEED, said(ZERO), decide=telling(lets_all_run))


def test_a_controller_that_requeues_what_may_only_be_suspended_is_found_out() -> None:
    assert "requeued" in found(SEED, said(ZERO), decide=telling(requeues_all))


def test_a_controller_that_gives_up_jobs_for_a_limit_that_miners_can_keep_is_found_out() -> None:
    assert "needless" in found(SEED, said(Power.kw(30)), decide=telling(gives_up_all))


@pytest.mark.parametrize("limit", [ZERO, Power.kw(8), Power.kw(30)])
def test_a_controller_that_gives_jobs_up_for_nothing_but_a_limit_is_not_blamed(limit: Power) -> None:
    assert not found(SEED, said(limit))


def with_two_more_jobs(decide: Decide) -> dict[str, set[str]]:
    """A rack has to come down so far that it feeds its protected jobs, and no other."""
    world = World(SEED, DURATION_S, DEVICES, only=(), decide=decide, messages=[said(Power(1_450), node=RACK)])
    mine = Job(id="mine", gpus=1, usd_per_gpu_hour=0.5, on_shortage=OnShortage.PROTECT)
    dear = Job(id="dear", gpus=1, usd_per_gpu_hour=4.0, flex=FlexTier.RIGID, on_shortage=OnShortage.SUSPEND)
    for job in (mine, dear):
        arrival = JobArrival(at_s=100.0, job=job, demand_w=650.0, work_s=2_000.0)
        world.clock.at(100.0, partial(world.queue.submit, arrival))
    world.run()
    return kinds_of(world)


def upside_down(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that protects the dear jobs, and not those that are protected."""
    queues = tuple(
        replace(queue, jobs=tuple(replace(one, job=swapped(one.job)) for one in queue.jobs))
        for queue in inputs.queues
    )
    return step(site, state, replace(inputs, queues=queues))


def swapped(job: Job) -> Job:
    protected = job.on_shortage is OnShortage.PROTECT
    return replace(job, on_shortage=OnShortage.SUSPEND if protected else OnShortage.PROTECT)


def test_a_controller_that_gives_up_a_protected_job_for_another_is_found_out() -> None:
    assert "mine" in with_two_more_jobs(upside_down).get("needless", set())
    assert not with_two_more_jobs(checked)


def test_nobody_is_blamed_for_jobs_given_up_while_orders_to_their_neighbours_take_seconds() -> None:
    """An order without an answer may be lost: its GPU counts at its highest."""
    world = World(SEED, DURATION_S, DEVICES, only=(), messages=[said(Power(1_450), node=RACK)])
    world.shell.random.seed(0)
    world.clock.at(LIMIT_S - 20, lambda: setattr(world.shell, "rates", Rates(late_writes=1.0)))

    world.run()

    assert not kinds_of(world)


@pytest.mark.parametrize(("shows_it", "found"), [(True, {"starved"}), (False, set())])
def test_nobody_is_blamed_for_a_gpu_that_shows_another_limit_than_the_one_that_it_obeys(
    shows_it: bool, found: set[str]
) -> None:
    """It lied when it was told, and does not any more."""
    world = World(SEED, 200.0, DEVICES, only=(), messages=[])
    world.run()
    gpu = next(world.plant.gpus[one.gpus[0]] for one in world.queue.statuses if one.state is JobState.RUNNING)
    gpu.cap_w, gpu.moving = gpu.group.min_w, True
    gpu.limit_w = gpu.group.min_w if shows_it else gpu.group.max_w

    for at_s in (210.0, 280.0):
        for _ in world.plant.steps(at_s):
            pass
        world.court.work.look(world.queue.statuses, is_away=False)

    assert kinds_of(world).keys() == found


@pytest.mark.parametrize("held", [True, False])
def test_nobody_is_blamed_for_a_job_that_starves_while_nothing_may_be_raised(held: bool) -> None:
    world = World(SEED, 200.0, DEVICES, only=(), messages=[])
    world.run()
    works = next(one.gpus[0] for one in world.queue.statuses if one.state is JobState.RUNNING)
    world.plant.gpus[works].set_limit(world.plant.gpus[works].group.min_w)

    for at_s in (210.0, 280.0):
        world.plant.advance(at_s)
        world.court.work.look(world.queue.statuses, is_away=False, is_held=held)

    assert kinds_of(world).keys() == (set() if held else {"starved"})


@pytest.mark.parametrize("stand_still", [True, False])
def test_nobody_is_blamed_for_jobs_that_starve_beside_boards_whose_watts_stand_still(
    stand_still: bool,
) -> None:
    world = World(SEED, 200.0, DEVICES, only=(), messages=[])
    world.run()
    works = next(
        world.plant.gpus[one.gpus[0]] for one in world.queue.statuses if one.state is JobState.RUNNING
    )
    other = next(gpu for gpu in world.plant.gpus.values() if gpu.node == works.node and gpu is not works)
    works.set_limit(works.group.min_w)
    other.faults.frozen_reads = stand_still

    for at_s in (210.0, 280.0):
        world.plant.advance(at_s)
        world.court.work.look(world.queue.statuses, is_away=False)

    assert kinds_of(world).keys() == (set() if stand_still else {"starved"})


@pytest.mark.parametrize(("usd_per_gpu_hour", "found"), [(0.4, {"needless"}), (4.0, set())])
def test_a_job_may_give_way_to_a_dearer_one_that_runs_and_could_use_more(
    usd_per_gpu_hour: float, found: set[str]
) -> None:
    """Both have their least in a rack in which all others may be at their highest, but not one more."""
    gpus = [spec for spec in draw_floor(SEED, DEVICES).specs if spec.node == RACK]
    full_w = gpus[0].ceiling.watts
    load_w = World(SEED, 0.0, DEVICES).plant.nodes[RACK].config.load_w * 1.21
    limit = Power(int(((len(gpus) - 2) * full_w + 2 * 300 + load_w + 150) / 0.95))
    world = World(SEED, 400.0, DEVICES, only=(), messages=[said(limit, node=RACK)])
    world.run()
    one, other = (
        JobStatus(
            job=Job(
                id=str(usd), gpus=1, usd_per_gpu_hour=usd, flex=FlexTier.BROAD, on_shortage=OnShortage.SUSPEND
            ),
            state=JobState.RUNNING,
            gpus=(spec.id,),
        )
        for usd, spec in zip((1.0, usd_per_gpu_hour), gpus, strict=False)
    )

    world.court.work.carried_out(JobAction.SUSPEND, one, (one, other))

    assert kinds_of(world).keys() == found
