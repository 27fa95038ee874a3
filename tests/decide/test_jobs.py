"""Which GPUs work for which job, and what the queues are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controller.decide.device import DeviceState
from controller.decide.jobs import Placement, Sent, commands, place, to_set_aside, work_of
from controller.decide.leaving import LOST_S
from controller.decide.words import Truth
from controller.domain.devices import Cooling, ThermalLimits
from controller.domain.jobs import (
    FlexTier,
    Job,
    JobAction,
    JobCommand,
    JobState,
    JobStatus,
    OnShortage,
    QueueReading,
)
from controller.domain.power import Power
from controller.domain.site import Service, Zone
from tests.decide.builders import (
    GPU_POINTS,
    NOW_S,
    at_point,
    device,
    event,
    gpu,
    inputs,
    job,
    miner,
    node,
    queue,
    running,
    site,
    told,
    waiting,
    working,
    zone_reading,
)
from tests.decide.steps import decide
from tests.decide.world import Queue, World, asleep, awake

FREE = dict.fromkeys(("g0", "g1", "g2", "g3"), True)


def where(
    *queues: QueueReading,
    usable: dict[str, bool] | None = None,
    before: dict[str, tuple[str, ...]] | None = None,
    may: Callable[[str, Job], bool] = lambda gpu, job: True,
) -> dict[str, tuple[str, ...]]:
    def fits(placement: Placement) -> Callable[[str], bool]:
        return lambda gpu: may(gpu, placement.status.job)

    placed = place(queues, FREE if usable is None else usable, before or {}, fits)
    return {placement.status.job.id: placement.gpus for placement in placed}


def placement(it: Job, *gpus: str, state: JobState = JobState.RUNNING, queue: str = "q") -> Placement:
    return Placement(queue=queue, status=JobStatus(job=it, state=state, gpus=gpus), gpus=gpus)


def say(
    kept: tuple[Placement, ...] = (),
    aside: tuple[Placement, ...] = (),
    *,
    may_begin: Callable[[Placement], bool] = lambda placement: True,
    closed: Callable[[str], bool] = lambda gpu: False,
    sent: dict[str, Sent] | None = None,
) -> tuple[tuple[JobCommand, ...], dict[str, Sent]]:
    return commands(kept, aside, may_begin, lambda it: any(map(closed, it.gpus)), sent or {}, NOW_S, 20.0)


# Where jobs go


def test_a_job_that_holds_gpus_keeps_them_even_where_they_are_not_usable() -> None:
    assert where(queue(working(job("a"), "g7"), gpus=["g7"])) == {"a": ("g7",)}


def test_waiting_jobs_take_free_gpus_dearest_first_and_in_order_of_submission_among_equals() -> None:
    jobs = (waiting(job("first", usd=1)), waiting(job("dear", usd=9)), waiting(job("second", usd=1)))

    placed = where(queue(*jobs, gpus=["g1", "g0"]))

    assert placed == {"dear": ("g0",), "first": ("g1",)}


def test_a_job_has_all_of_its_gpus_or_none_and_a_smaller_one_may_pass_it() -> None:
    jobs = (waiting(job("big", gpus=3, usd=9)), waiting(job("small", gpus=2, usd=1)))

    assert where(queue(*jobs, gpus=["g0", "g1"])) == {"small": ("g0", "g1")}


def test_a_job_without_gpus_is_not_placed() -> None:
    assert where(queue(waiting(job(gpus=0)), gpus=["g0"])) == {}


def test_a_gpu_is_given_to_one_job_only_however_many_queues_may_use_it() -> None:
    one = queue(waiting(job("a")), name="one", gpus=["g0", "g1"])
    two = queue(waiting(job("b")), name="two", gpus=["g0", "g1"])

    assert where(one, two) == where(two, one) == {"a": ("g0",), "b": ("g1",)}


def test_a_gpu_that_works_for_one_queue_is_not_free_for_another() -> None:
    one = queue(waiting(job("a")), name="one", gpus=["g0", "g1"])
    two = queue(working(job("b"), "g0"), name="two", gpus=["g0", "g1"])

    assert where(one, two) == {"a": ("g1",), "b": ("g0",)}


def test_gpus_that_do_not_come_up_as_told_are_taken_last() -> None:
    usable = {"g0": False, "g1": True}
    one, two = queue(waiting(job("a")), gpus=usable), queue(waiting(job("a", gpus=2)), gpus=usable)

    assert where(one, usable=usable) == {"a": ("g1",)}
    assert where(two, usable=usable) == {"a": ("g1", "g0")}


def test_a_waiting_job_keeps_the_gpus_that_are_being_raised_for_it() -> None:
    jobs = queue(waiting(job("cheap", usd=1)), waiting(job("dear", usd=9)), gpus=["g0", "g1"])

    assert where(jobs, before={"q/cheap": ("g0",)}) == {"cheap": ("g0",), "dear": ("g1",)}


@pytest.mark.parametrize("usable", [{"g0": False, "g1": True}, {"g1": True}])
def test_a_waiting_job_leaves_a_gpu_that_does_not_come_up_or_is_no_longer_usable(
    usable: dict[str, bool],
) -> None:
    jobs = queue(waiting(job("a")), gpus=["g0", "g1"])

    assert where(jobs, usable=usable, before={"q/a": ("g0",)}) == {"a": ("g1",)}


def test_a_waiting_job_leaves_a_gpu_that_another_took_or_its_queue_lost_or_that_cannot_feed_it() -> None:
    taken = queue(waiting(job("a")), working(job("b"), "g0"), gpus=["g0", "g1"])
    withdrawn = queue(waiting(job("a")), gpus=["g1"])
    starved = queue(waiting(job("a")), gpus=["g0", "g1"])

    assert where(taken, before={"q/a": ("g0",)}) == {"a": ("g1",), "b": ("g0",)}
    assert where(withdrawn, before={"q/a": ("g0",)}) == {"a": ("g1",)}
    assert where(starved, before={"q/a": ("g0",)}, may=lambda gpu, _: gpu != "g0") == {"a": ("g1",)}


def test_a_waiting_job_that_now_asks_for_another_number_of_gpus_is_placed_anew() -> None:
    jobs = queue(waiting(job("a", gpus=2)), gpus=["g0", "g1"])

    assert where(jobs, before={"q/a": ("g1",)}) == {"a": ("g0", "g1")}


def test_a_job_goes_only_where_it_may() -> None:
    hungry = [waiting(job(name, usd=9, flex=FlexTier.RIGID)) for name in ("hungry", "as hungry")]
    jobs = queue(*hungry, waiting(job("modest", flex=FlexTier.BROAD)), gpus=["g0", "g1"])

    assert where(jobs, may=lambda gpu, it: it.flex is FlexTier.BROAD) == {"modest": ("g0",)}
    assert where(jobs, may=lambda gpu, it: gpu == "g1") == {"hungry": ("g1",)}


def test_a_gpu_works_for_the_job_that_holds_it() -> None:
    running_job = placement(job("a"), "g0", "g1")

    work = work_of([running_job])

    assert {name: it.job.id for name, it in work.items()} == {"g0": "a", "g1": "a"}


def test_a_gpu_that_several_claim_works_for_who_runs_there_and_needs_most_of_it() -> None:
    rigid = placement(job("rigid", flex=FlexTier.RIGID), "g0", state=JobState.SUSPENDED)
    slight, broad = (placement(job(flex.name, flex=flex), "g0") for flex in (FlexTier.SLIGHT, FlexTier.BROAD))

    for claims in ((rigid, slight, broad), (broad, slight, rigid)):
        assert work_of(claims)["g0"].job == slight.status.job


# Which job gives way

JOBS = {"a": 5.0, "b": 2.0, "c": 9.0}


def test_of_the_jobs_that_hold_watts_the_cheapest_gives_way_and_a_protected_one_last() -> None:
    protected = placement(job("protected", usd=1, on_shortage=OnShortage.PROTECT), "g0")
    cheap, dear = placement(job("cheap", usd=2), "g1"), placement(job("dear", usd=9), "g2")
    holding = {"g0", "g1", "g2"}

    assert to_set_aside([dear, protected, cheap], holding, {}) == [cheap]
    assert to_set_aside([dear, protected], holding, {}) == [dear]
    assert to_set_aside([protected], holding, {}) == [protected]


def test_a_job_that_holds_no_watts_waits_for_what_the_others_give_back() -> None:
    unfed, fed = placement(job("unfed", usd=1), "g0"), placement(job("fed", usd=9, gpus=2), "g1", "g2")

    assert to_set_aside([unfed, fed], {"g2"}, {}) == [fed]


def test_jobs_that_wait_at_different_nodes_give_way_one_at_each() -> None:
    halves = {
        name: placement(job(name, usd=usd, gpus=2), f"{name}0", f"{name}1") for name, usd in JOBS.items()
    }
    holding = {f"{name}0" for name in JOBS}
    nodes = {"a0": (1, 0), "b0": (1, 0), "c0": (2, 0), "a1": (1,), "b1": (1,), "c1": (2,)}

    given = to_set_aside([*halves.values()], holding, nodes)

    assert given == [halves["c"], halves["b"]]


def test_nobody_gives_way_at_a_node_below_which_another_does_already() -> None:
    cheap, dear = (placement(job(name, usd=JOBS[name], gpus=2), f"{name}0", f"{name}1") for name in "bc")
    nodes = {"b0": (1, 0), "b1": (0,), "c0": (2, 0), "c1": (2,)}

    assert to_set_aside([cheap, dear], {"b0", "c0"}, nodes) == [dear]


def test_jobs_of_which_none_holds_watts_give_way_together() -> None:
    jobs = [placement(job("a"), "g0"), placement(job("b"), "g1")]

    assert to_set_aside(jobs, frozenset(), {}) == jobs


# What the queues are told


@pytest.mark.parametrize(
    ("state", "action"),
    [
        (JobState.QUEUED, JobAction.START),
        (JobState.SUSPENDED, JobAction.RESUME),
        (JobState.RUNNING, None),
        (JobState.DONE, None),
        (JobState.FAILED, None),
    ],
)
def test_a_job_that_has_its_watts_is_started_or_resumed(state: JobState, action: JobAction | None) -> None:
    orders, _ = say((placement(job(), "g0", state=state),))

    assert [order.action for order in orders] == ([action] if action else [])


def test_a_job_is_started_on_the_gpus_that_were_raised_for_it() -> None:
    orders, _ = say((placement(job(gpus=2), "g0", "g1", state=JobState.QUEUED),))

    assert orders[0].gpus == ("g0", "g1")


def test_a_job_that_may_not_begin_yet_is_not_told_to_and_not_taken_to_have_been() -> None:
    first, second = (placement(job(name), "g0", state=JobState.QUEUED) for name in ("first", "second"))

    orders, sent = say((first, second), may_begin=lambda placement: placement is second)

    assert ([order.job for order in orders], list(sent)) == (["second"], [second.id])


@pytest.mark.parametrize(
    ("on_shortage", "action"),
    [
        (OnShortage.REQUEUE, JobAction.REQUEUE),
        (OnShortage.SUSPEND, JobAction.SUSPEND),
        (OnShortage.PROTECT, JobAction.SUSPEND),
    ],
)
def test_a_running_job_without_watts_is_set_aside_as_it_allows(
    on_shortage: OnShortage, action: JobAction
) -> None:
    orders, _ = say((), (placement(job(on_shortage=on_shortage), "g0"),))

    assert [order.action for order in orders] == [action]


@pytest.mark.parametrize(
    ("on_shortage", "state", "actions"),
    [
        (OnShortage.REQUEUE, JobState.RUNNING, [JobAction.REQUEUE]),
        (OnShortage.REQUEUE, JobState.SUSPENDED, [JobAction.REQUEUE]),
        (OnShortage.SUSPEND, JobState.RUNNING, [JobAction.REQUEUE]),
        (OnShortage.SUSPEND, JobState.SUSPENDED, [JobAction.REQUEUE]),
        (OnShortage.PROTECT, JobState.RUNNING, [JobAction.SUSPEND]),
        (OnShortage.PROTECT, JobState.SUSPENDED, []),
        (OnShortage.SUSPEND, JobState.QUEUED, []),
    ],
)
def test_a_job_of_which_a_gpu_is_to_be_switched_off_begins_anew_elsewhere_unless_it_is_protected(
    on_shortage: OnShortage, state: JobState, actions: list[JobAction]
) -> None:
    it = placement(job(on_shortage=on_shortage), "g0", "g1", state=state)
    orders, _ = say((), (it,), closed=lambda gpu: gpu == "g1")

    assert [order.action for order in orders] == actions


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SUSPENDED])
def test_a_job_that_does_not_run_is_not_set_aside(state: JobState) -> None:
    orders, _ = say((), (placement(job(), "g0", state=state),))

    assert orders == ()


@pytest.mark.parametrize(
    ("last", "again"),
    [
        (Sent(action=JobAction.START, at_s=NOW_S - 19), False),
        (Sent(action=JobAction.START, at_s=NOW_S - 20), True),
        (Sent(action=JobAction.REQUEUE, at_s=NOW_S - 1), True),
    ],
)
def test_a_command_is_repeated_only_after_the_queue_had_its_time(last: Sent, again: bool) -> None:
    orders, sent = say((placement(job("a"), "g0", state=JobState.QUEUED),), sent={"q/a": last})

    assert bool(orders) is again
    assert sent["q/a"].at_s == (NOW_S if again else last.at_s)


def test_what_was_told_to_a_job_that_is_over_is_forgotten() -> None:
    _, sent = say(sent={"q/a": Sent(action=JobAction.START, at_s=NOW_S)})

    assert sent == {}


def test_jobs_of_two_queues_may_have_the_same_id() -> None:
    one = placement(job("1"), "g0", state=JobState.QUEUED, queue="one")
    two = placement(job("1"), "g1", state=JobState.QUEUED, queue="two")

    orders, sent = say((one, two), sent={"one/1": Sent(action=JobAction.START, at_s=NOW_S)})

    assert [(order.queue, order.job) for order in orders] == [("two", "1")]
    assert sorted(sent) == ["one/1", "two/1"]


# In a whole plan


def test_two_queues_never_start_two_jobs_on_one_gpu() -> None:
    spec = gpu("g0")
    queues = (
        queue(waiting(job("a")), name="one", gpus=["g0"]),
        queue(waiting(job("b")), name="two", gpus=["g0"]),
    )
    state = running({"g0": device(GPU_POINTS[5])})

    _, plan = decide(site(), state, inputs(spec, readings=[at_point(spec, GPU_POINTS[5])], queues=queues))

    assert [(order.queue, order.job) for order in plan.job_commands] == [("one", "a")]


def test_a_job_that_started_on_a_gpu_changed_a_moment_ago_is_not_killed_for_that() -> None:
    spec = gpu("g0", dwell_s=60.0)
    state = running({"g0": device(GPU_POINTS[0], since_s=NOW_S - 10)})
    started = queue(working(job(), "g0"), gpus=["g0"])

    _, plan = decide(site(), state, inputs(spec, readings=[at_point(spec, GPU_POINTS[0])], queues=(started,)))

    assert plan.job_commands == ()


def test_a_gpu_that_cannot_be_raised_does_not_keep_a_job_from_the_others() -> None:
    gpus = Queue("q", ("g0", "g1"))
    gpus.submit(job())
    world = World(site(), [asleep(gpu("g0"), refuses=True), asleep(gpu("g1"))], queues=[gpus])

    world.run(20)

    assert gpus.busy == {"g1"}


def test_the_only_gpu_refusing_to_be_raised_is_not_asked_without_pause() -> None:
    gpus = Queue("q", ("g0",))
    gpus.submit(job())
    world = World(site(), [asleep(gpu("g0"), refuses=True)], queues=[gpus])

    world.run(120)

    assert sum(len(plan.commands) for plan in world.plans) <= 5


@pytest.mark.parametrize("service", [Service.DRAINING, Service.ISOLATED])
def test_no_job_begins_on_a_gpu_that_is_to_be_switched_off_though_its_lowest_limit_would_do(
    service: Service,
) -> None:
    frugal = gpu("g0", "row", points=GPU_POINTS[1:])  # its lowest limit gives 62 %
    state = running({"g0": device(frugal.floor)})
    suspended = JobStatus(job=job("a", flex=FlexTier.BROAD), state=JobState.SUSPENDED, gpus=("g0",))

    def orders(it: JobStatus) -> tuple[JobCommand, ...]:
        now = inputs(frugal, readings=[at_point(frugal, frugal.floor)], queues=(queue(it, gpus=["g0"]),))
        return decide(site(node("row", service=service)), state, now)[1].job_commands

    assert [order.action for order in orders(suspended)] == [JobAction.REQUEUE]
    assert orders(waiting(job("a", flex=FlexTier.BROAD))) == ()


def test_a_job_that_may_be_suspended_goes_on_elsewhere_when_its_node_is_drained() -> None:
    jobs_queue = Queue("q", ("g0", "g1"))
    jobs_queue.submit(job(on_shortage=OnShortage.SUSPEND))
    world = World(site(node("row")), [asleep(gpu("g0", "row")), asleep(gpu("g1"))], queues=[jobs_queue])
    world.run(60)
    assert jobs_queue.busy == {"g0"}

    world.site = site(node("row", service=Service.DRAINING))
    world.run(60)

    assert jobs_queue.busy == {"g1"}


@pytest.mark.parametrize(
    ("on_shortage", "goes_on"), [(OnShortage.SUSPEND, {"g1"}), (OnShortage.PROTECT, set())]
)
def test_a_suspended_job_goes_on_elsewhere_once_its_gpu_is_not_heard_for_good_unless_it_is_protected(
    on_shortage: OnShortage, goes_on: set[str]
) -> None:
    jobs_queue = Queue("q", ("g0", "g1"))
    jobs_queue.submit(job(on_shortage=on_shortage))
    world = World(site(node("row")), [asleep(gpu("g0", "row")), asleep(gpu("g1"))], queues=[jobs_queue])
    world.run(60)
    assert jobs_queue.busy == {"g0"}

    world.machines["g0"].silent = True
    world.run(60)
    jobs_queue.jobs["j"] = replace(jobs_queue.jobs["j"], state=JobState.SUSPENDED)
    world.run(round(LOST_S) - 70)
    assert jobs_queue.busy == set()
    world.run(60)

    assert jobs_queue.busy == goes_on


def test_a_new_process_waits_before_it_takes_a_gpu_for_lost_that_it_never_heard() -> None:
    its = replace(working(job(on_shortage=OnShortage.SUSPEND), "g0"), state=JobState.SUSPENDED)
    unheard = replace(inputs(gpu("g0"), queues=(queue(its),)), readings={})
    state = running({"g0": DeviceState()})

    def orders(up_s: float) -> list[tuple[JobAction, str]]:
        _, plan = decide(site(), replace(state, first_s=NOW_S - up_s), unheard)
        return [(order.action, order.why) for order in plan.job_commands]

    assert orders(LOST_S - 1) == []
    assert orders(LOST_S) == [(JobAction.REQUEUE, "stale")]


@pytest.mark.parametrize(("cooling", "begins"), [(Cooling.PROVEN, True), (Cooling.NOT_PROVEN, False)])
def test_no_job_begins_on_a_gpu_whose_cooling_is_not_proven_though_its_limit_would_do(
    cooling: Cooling, begins: bool
) -> None:
    spec = gpu("g0", zone="hall")
    here = site(zones=[Zone(id="hall", derate_c=30.0, trip_c=40.0)])
    said, air = at_point(spec, GPU_POINTS[-1]), zone_reading("hall", cooling=cooling)
    for it in (waiting(job("a")), JobStatus(job=job("a"), state=JobState.SUSPENDED, gpus=("g0",))):
        now = inputs(spec, readings=[said], zones=[air], queues=(queue(it, gpus=["g0"]),))

        _, plan = decide(here, running({"g0": device(GPU_POINTS[-1])}), now)

        assert bool(plan.job_commands) is begins


def test_a_job_at_work_goes_on_while_its_cooling_is_not_proven() -> None:
    spec = gpu("g0", zone="hall")
    here = site(zones=[Zone(id="hall", derate_c=30.0, trip_c=40.0)])
    said, air = at_point(spec, GPU_POINTS[-1]), zone_reading("hall", cooling=Cooling.NOT_PROVEN)
    now = inputs(spec, readings=[said], zones=[air], queues=(queue(working(job("a"), "g0"), gpus=["g0"]),))

    _, plan = decide(here, running({"g0": device(GPU_POINTS[-1])}), now)

    assert (plan.job_commands, told(plan)) == ((), {})


def test_a_gpu_nobody_can_see_neither_starts_nor_sets_aside_a_job() -> None:
    spec = gpu("g0")
    holding = queue(working(job("a"), "g0"), waiting(job("b")), gpus=["g0"])
    state = running({"g0": device(GPU_POINTS[0], Truth.STALE, worst_w=700)})
    held = replace(inputs(spec, queues=(holding,)), readings={})

    _, plan = decide(site(), state, held)

    assert (plan.job_commands, told(plan)) == ((), {})


def test_a_queue_may_name_a_gpu_the_site_does_not_have() -> None:
    strange = queue(working(job("a"), "elsewhere"), waiting(job("b")), gpus=["elsewhere", "g0"])
    spec = gpu("g0", ceiling=Power(700))
    state = running({"g0": device(GPU_POINTS[5])})

    _, plan = decide(site(), state, inputs(spec, readings=[at_point(spec, GPU_POINTS[5])], queues=(strange,)))

    assert [(order.job, order.gpus) for order in plan.job_commands] == [("b", ("g0",))]


def test_a_suspended_job_on_a_gpu_that_the_site_does_not_have_is_not_resumed_and_has_no_watts() -> None:
    aside = replace(working(job(), "g0", "elsewhere"), state=JobState.SUSPENDED)
    state = running({"g0": device(GPU_POINTS[5])})

    _, plan = decide(
        site(),
        state,
        inputs(gpu("g0"), readings=[at_point(gpu("g0"), GPU_POINTS[5])], queues=(queue(aside),)),
    )

    assert (plan.job_commands, told(plan)) == ((), {"g0": "200w"})


def test_a_job_that_one_gpu_cannot_feed_is_tried_on_the_others() -> None:
    gpus = Queue("q", ("g0", "g1", "g2"))
    gpus.submit(job(flex=FlexTier.RIGID))
    starved = node("starved", limit_w=800)
    machines = [asleep(gpu("g0", "starved")), asleep(gpu("g1", "starved")), asleep(gpu("g2"))]
    world = World(site(starved), machines, queues=[gpus])

    world.run(20)

    assert gpus.busy == {"g2"}


def test_a_job_that_a_whole_breaker_cannot_feed_is_tried_elsewhere_in_the_same_tick() -> None:
    gpus = Queue("q", tuple(f"g{at:02}" for at in range(20)))
    gpus.submit(job(flex=FlexTier.RIGID))
    starved = node("starved", limit_w=16 * 200 + 400)
    machines = [asleep(gpu(name, "starved" if name < "g16" else "site")) for name in gpus.gpus]
    world = World(site(starved), machines, queues=[gpus])

    world.run(10)

    assert gpus.busy == {"g16"}


def test_a_job_goes_past_gpus_that_are_too_hot_for_it() -> None:
    hot = ThermalLimits(derate_c=80.0, trip_c=90.0)
    gpus = Queue("q", tuple(f"g{at:02}" for at in range(12)))
    gpus.submit(job(flex=FlexTier.RIGID))
    machines = [
        asleep(gpu(name, thermal=hot), hottest_c=85.0 if name < "g10" else 50.0) for name in gpus.gpus
    ]
    world = World(site(), machines, queues=[gpus])

    world.run(10)

    assert gpus.busy == {"g10"}


@pytest.mark.parametrize(
    ("hottest_c", "flex", "runs_on"),
    [
        (85.0, FlexTier.MODERATE, {"g00"}),
        (86.0, FlexTier.MODERATE, {"g00"}),
        (86.1, FlexTier.MODERATE, {"g10"}),
        (88.1, FlexTier.BROAD, {"g10"}),
    ],
)
def test_a_job_goes_to_a_hot_gpu_as_long_as_heat_allows_what_it_needs(
    hottest_c: float, flex: FlexTier, runs_on: set[str]
) -> None:
    """From 80 to 90 degrees heat takes all that a GPU may draw above its floor."""
    hot = ThermalLimits(derate_c=80.0, trip_c=90.0)
    gpus = Queue("q", tuple(f"g{at:02}" for at in range(12)))
    gpus.submit(job(flex=flex))
    machines = [
        asleep(gpu(name, thermal=hot), hottest_c=hottest_c if name < "g10" else 50.0) for name in gpus.gpus
    ]
    world = World(site(), machines, queues=[gpus])

    world.run(10)

    assert gpus.busy == runs_on


def test_a_gpu_that_was_told_twice_without_an_answer_does_not_keep_a_job_from_the_others() -> None:
    gpus = Queue("q", ("g0", "g1"))
    gpus.submit(job())
    world = World(site(), [asleep(gpu("g0"), deaf=True), asleep(gpu("g1"))], queues=[gpus])

    world.run(30)

    assert gpus.busy == {"g1"}


def test_a_job_gives_up_for_this_tick_after_some_tries_and_keeps_nobody_waiting() -> None:
    gpus = Queue("q", tuple(f"g{at}" for at in range(9)))
    gpus.submit(job("hungry", usd=9, flex=FlexTier.RIGID))
    gpus.submit(job("modest", usd=1, flex=FlexTier.BROAD))
    breakers = [node(f"n{at}", limit_w=400) for at in range(9)]
    machines = [asleep(gpu(f"g{at}", f"n{at}")) for at in range(9)]
    world = World(site(*breakers), machines, queues=[gpus])

    world.run(10)

    assert (gpus.jobs["hungry"].state, gpus.jobs["modest"].state) == (JobState.QUEUED, JobState.RUNNING)


def test_a_job_that_can_never_be_fed_does_not_keep_others_from_its_gpus() -> None:
    gpus = Queue("q", ("g0", "g1"))
    gpus.submit(job("hungry", usd=9, gpus=2, flex=FlexTier.RIGID))
    gpus.submit(job("modest", usd=1, gpus=2, flex=FlexTier.MODERATE))
    world = World(site(limit_w=1_100), [asleep(gpu("g0")), asleep(gpu("g1"))], queues=[gpus])

    world.run(20)

    assert gpus.busy == {"g0", "g1"}
    assert gpus.jobs["modest"].state is JobState.RUNNING


def test_jobs_that_cannot_all_be_fed_do_not_take_turns() -> None:
    """Three GPUs of which one can feed the dear job, which needs two: only the cheap one can ever run."""
    gpus = Queue("q", ("g0", "g1", "g2"))
    gpus.submit(job("dear", usd=3, gpus=2, flex=FlexTier.RIGID))
    gpus.submit(job("cheap", usd=1, flex=FlexTier.MODERATE))
    below = (node("n0", limit_w=541), node("n2", limit_w=600))
    machines = [
        asleep(gpu("g0", "n0", dwell_s=10.0)),
        asleep(gpu("g1")),
        asleep(gpu("g2", "n2", dwell_s=60.0)),
    ]
    world = World(site(*below, limit_w=5_000), machines, queues=[gpus])

    world.run(30)
    changes = world.changes()
    world.run(90)

    assert len(gpus.busy) == 1
    assert world.changes() == changes


def test_a_job_that_does_not_fit_beside_another_is_not_tried_each_time_a_gpu_of_it_dwells() -> None:
    gpus = Queue("q", ("g0", "g1", "g2"))
    gpus.submit(job("runs", usd=3, flex=FlexTier.RIGID))
    gpus.submit(job("waits", usd=1, gpus=2, flex=FlexTier.RIGID))
    machines = [asleep(gpu("g0")), asleep(gpu("g1", dwell_s=5.0)), asleep(gpu("g2", dwell_s=8.0))]
    world = World(site(limit_w=2 * 700 + 300), machines, queues=[gpus])

    world.run(30)
    changes = world.changes()
    world.run(60)

    assert gpus.busy == {"g0"}
    assert world.changes() == changes


def test_what_keeps_a_protected_job_where_it_is_is_not_earned() -> None:
    spec = gpu("g0")
    state = running({"g0": device(GPU_POINTS[5])})
    protected = queue(working(job(usd=3.0, on_shortage=OnShortage.PROTECT), "g0"), gpus=["g0"])
    said = [at_point(spec, GPU_POINTS[5])]

    _, fed = decide(site(), state, inputs(spec, readings=said, queues=(protected,)))
    _, starved = decide(site(limit_w=300), state, inputs(spec, readings=said, queues=(protected,)))

    assert fed.value_per_hour == pytest.approx(3.0 - 0.7 * 0.05)
    assert fed.gap < 1e-6
    assert starved.value_per_hour == pytest.approx(-0.2 * 0.05)


def test_a_job_that_runs_is_fed_by_what_a_dearer_one_gives_back_that_cannot_be_fed_whole() -> None:
    specs = (gpu("g0"), gpu("g1", "starved"), gpu("g2"))
    dear, cheap = job("dear", gpus=2, usd=9, flex=FlexTier.RIGID), job("cheap", usd=1, flex=FlexTier.RIGID)
    state = running({spec.id: device(GPU_POINTS[5]) for spec in specs})
    said = [at_point(spec, GPU_POINTS[5]) for spec in specs]
    works = queue(working(dear, "g0", "g1"), working(cheap, "g2"), gpus=[spec.id for spec in specs])

    _, plan = decide(
        site(node("starved", limit_w=400), limit_w=1_200),
        state,
        inputs(*specs, readings=said, queues=(works,)),
    )

    assert [(order.job, order.action) for order in plan.job_commands] == [("dear", JobAction.REQUEUE)]


def test_many_jobs_without_watts_are_set_aside_in_one_tick() -> None:
    gpus = Queue("q", tuple(f"g{at:02}" for at in range(30)))
    for at in range(60):
        gpus.submit(job(f"j{at:02}", flex=FlexTier.RIGID))
    world = World(site(limit_w=10_000), [asleep(gpu(name)) for name in gpus.gpus], queues=[gpus])

    world.run(15)

    assert len(gpus.busy) == (10_000 - 30 * 200) // (700 - 200)


# Jobs that cannot be fed, and those beside them

ASIDE = (JobAction.SUSPEND, JobAction.REQUEUE)
FLOOR_FEEDS = tuple(
    replace(point, rate=rate)
    for point, rate in zip(GPU_POINTS, (0.55, 0.70, 0.80, 0.90, 0.96, 1.0), strict=True)
)
"""As H100s that train: at 200 of 700 W they have more than half of their throughput."""


def at_work(*queues: Queue) -> set[str]:
    return {
        status.job.id for one in queues for status in one.jobs.values() if status.state is JobState.RUNNING
    }


def set_aside(jobs_queue: Queue) -> list[str]:
    return [command.job for command in jobs_queue.told if command.action in ASIDE]


def farm(gpus: int, *jobs: Job, limit_w: int | None = None, miners: int = 0, **gpu_is: Any) -> World:
    names = tuple(f"g{at}" for at in range(gpus))
    jobs_queue = Queue("q", names)
    for one in jobs:
        jobs_queue.submit(one)
    machines = [asleep(gpu(name, **gpu_is)) for name in names]
    machines += [asleep(miner(f"m{at}", dwell_s=60.0)) for at in range(miners)]
    return World(site(limit_w=limit_w, meter="main"), machines, queues=[jobs_queue])


def test_a_running_job_is_not_set_aside_for_a_dearer_one_that_cannot_be_fed_all_the_same() -> None:
    """600 W above the floors: the running job needs 400 of them, the one that waits 800."""
    world = farm(4, job("runs", gpus=2, usd=2.0, on_shortage=OnShortage.SUSPEND), limit_w=4 * 200 + 600)
    jobs_queue = world.queues["q"]
    world.run(60)

    jobs_queue.submit(job("waits", gpus=2, usd=4.0, flex=FlexTier.SLIGHT))
    world.run(120)

    assert set_aside(jobs_queue) == []
    assert at_work(jobs_queue) == {"runs"}


def test_a_suspended_job_is_resumed_where_the_dearer_one_that_waits_cannot_be_fed() -> None:
    world = farm(4, limit_w=4 * 200 + 600)
    jobs_queue = world.queues["q"]
    suspended = job("holds", gpus=2, usd=2.0, on_shortage=OnShortage.SUSPEND)
    jobs_queue.jobs["holds"] = JobStatus(job=suspended, state=JobState.SUSPENDED, gpus=("g0", "g1"))
    jobs_queue.submit(job("waits", gpus=2, usd=4.0, flex=FlexTier.SLIGHT))

    world.run(120)

    assert at_work(jobs_queue) == {"holds"}


def test_a_job_is_not_started_and_requeued_for_ever_beside_one_that_can_never_be_fed() -> None:
    world = farm(6, job("runs", gpus=2, usd=2.0), limit_w=6 * 200 + 800, dwell_s=5.0)
    jobs_queue = world.queues["q"]
    world.run(60)

    jobs_queue.submit(job("waits", gpus=2, usd=20.0, flex=FlexTier.RIGID))
    world.run(200)

    assert len(set_aside(jobs_queue)) <= 1


def test_a_running_job_is_not_requeued_for_one_that_a_breaker_elsewhere_can_never_feed() -> None:
    names = ("g0", "g1", "g2", "g3")
    jobs_queue = Queue("q", names)
    jobs_queue.submit(job("runs", gpus=2, usd=2.0))
    small = node("small", limit_w=300)
    machines = [*(asleep(gpu(name)) for name in names[:3]), asleep(gpu("g3", "small"))]
    world = World(site(small, limit_w=4 * 200 + 800), machines, queues=[jobs_queue])
    world.run(60)

    jobs_queue.submit(job("waits", gpus=2, usd=20.0, flex=FlexTier.RIGID))
    world.run(60)
    changes = world.changes()
    world.run(60)

    assert set_aside(jobs_queue) == []
    assert at_work(jobs_queue) == {"runs"}
    assert world.changes() == changes


def test_small_jobs_in_which_two_gpus_fit_are_started_behind_one_that_no_gpu_can_feed() -> None:
    """No GPU may have 700 W. Both may have the 400 W that the job of two needs."""
    jobs_queue = Queue("q", ("g0", "g1"))
    jobs_queue.submit(job("hungry", gpus=1, usd=9.0, flex=FlexTier.RIGID))
    jobs_queue.submit(job("modest", gpus=2, usd=1.0))
    breakers = (node("n0", limit_w=600), node("n1", limit_w=600))
    world = World(site(*breakers), [asleep(gpu("g0", "n0")), asleep(gpu("g1", "n1"))], queues=[jobs_queue])

    world.run(120)

    assert at_work(jobs_queue) == {"modest"}


def test_a_job_of_two_gpus_is_started_where_a_breaker_can_feed_one_and_another_breaker_the_other() -> None:
    jobs_queue = Queue("q", ("g0", "g1", "g2"))
    jobs_queue.submit(job("two", gpus=2, usd=9.0, flex=FlexTier.RIGID))
    half = node("half", limit_w=2 * 200 + 550)
    machines = [asleep(gpu("g0", "half")), asleep(gpu("g1", "half")), asleep(gpu("g2"))]
    world = World(site(half), machines, queues=[jobs_queue])

    world.run(120)

    assert at_work(jobs_queue) == {"two"}


@pytest.mark.parametrize("on_shortage", [OnShortage.PROTECT, OnShortage.REQUEUE])
def test_a_job_whose_floor_feeds_it_does_not_take_the_watts_that_another_needs_to_run(
    on_shortage: OnShortage,
) -> None:
    """600 W: one job runs on 200 W, the other one on 400. Both can run."""
    fed = job("fed", usd=1.0, flex=FlexTier.BROAD, on_shortage=on_shortage)
    world = farm(2, fed, job("other", usd=0.9, flex=FlexTier.MODERATE), points=FLOOR_FEEDS)
    world.run(60)
    assert at_work(world.queues["q"]) == {"fed", "other"}

    world.events = (event(limit_w=600, start_s=world.now_s),)
    world.run(60)

    assert at_work(world.queues["q"]) == {"fed", "other"}


def test_a_suspended_job_of_which_a_gpu_died_holds_no_watts_that_a_miner_could_use() -> None:
    """5.6 kW: with the seven other GPUs at their floor and the dead one at its ceiling, a miner needs 3.5."""
    world = farm(8, job("j", gpus=8, on_shortage=OnShortage.SUSPEND), limit_w=5_600, miners=1)
    world.run(60)
    world.events = (event(limit_w=1_700, start_s=world.now_s, end_s=world.now_s + 60),)
    world.run(60)
    world.machines["g7"].silent = True

    world.run(600)

    assert world.machines["m0"].at.name == "full"


@pytest.mark.parametrize("how", ["lies", "refuses", "deaf"])
def test_a_job_that_waits_for_one_gpu_to_come_up_holds_no_watts_of_its_others(how: str) -> None:
    """5.6 kW: the job needs 400 W of each of its GPUs, beside which a miner can have no more than 2.4 kW."""
    world = farm(8, job("j", gpus=8, on_shortage=OnShortage.SUSPEND), limit_w=5_600, miners=1)
    world.run(60)
    world.events = (event(limit_w=1_700, start_s=world.now_s, end_s=world.now_s + 60),)
    world.run(50)
    setattr(world.machines["g7"], how, True)
    world.run(240)
    assert world.machines["m0"].at.name == "full"
    changes = world.changes()
    world.run(300)
    assert world.changes() == changes

    setattr(world.machines["g7"], how, False)
    world.run(300)

    assert at_work(world.queues["q"]) == {"j"}


def test_a_queued_job_that_waits_for_one_gpu_to_come_up_holds_no_watts_of_its_others() -> None:
    world = farm(8, job("j", gpus=8), limit_w=5_600, miners=1)
    world.machines["g7"].refuses = True

    world.run(300)

    assert world.machines["m0"].at.name == "full"


def two_queues(first: Job, second: Job) -> tuple[Queue, Queue]:
    queues = Queue("a", ("g0",)), Queue("b", ("g0",))
    queues[0].submit(first)
    queues[1].submit(second)
    World(site(), [asleep(gpu("g0"))], queues=queues).run(60)
    return queues


def test_a_job_that_is_worth_nothing_keeps_no_other_queue_from_the_gpu_it_waits_for() -> None:
    assert at_work(*two_queues(job("worthless", usd=0.0), job("dear", usd=9.0))) == {"dear"}


def test_of_two_queues_that_offer_one_gpu_the_dearer_job_has_it_whatever_they_are_called() -> None:
    assert at_work(*two_queues(job("cheap", usd=0.5), job("dear", usd=9.0))) == {"dear"}


def test_a_suspended_job_is_not_resumed_on_a_gpu_on_which_another_runs() -> None:
    one, two = Queue("a", ("g0",)), Queue("b", ("g0",))
    one.jobs["held"] = JobStatus(job=job("held"), state=JobState.SUSPENDED, gpus=("g0",))
    two.jobs["runs"] = JobStatus(job=job("runs"), state=JobState.RUNNING, gpus=("g0",))
    world = World(site(), [asleep(gpu("g0"))], queues=[one, two])

    world.run(30)

    assert at_work(one, two) == {"runs"}


@pytest.mark.parametrize(("needy", "modest"), [("a", "b"), ("b", "a")])
def test_of_two_jobs_that_run_on_one_gpu_the_needier_has_its_watts_whatever_the_queues_are_called(
    needy: str, modest: str
) -> None:
    one, two = Queue(needy, ("g0",)), Queue(modest, ("g0",))
    rigid, broad = job("needy", usd=9.0, flex=FlexTier.RIGID), job("modest", usd=0.1, flex=FlexTier.BROAD)
    one.jobs["needy"] = JobStatus(job=rigid, state=JobState.RUNNING, gpus=("g0",))
    two.jobs["modest"] = JobStatus(job=broad, state=JobState.RUNNING, gpus=("g0",))
    world = World(site(limit_w=4_000), [asleep(gpu("g0")), awake(miner("m0"))], queues=[one, two])

    world.run(60)

    assert set_aside(one) == []


@pytest.mark.parametrize("starved", [5, 6, 20])
def test_a_job_is_started_on_the_one_gpu_that_can_feed_it_however_many_breakers_cannot(starved: int) -> None:
    gpus = Queue("q", tuple(f"g{at:02}" for at in range(starved + 1)))
    gpus.submit(job(flex=FlexTier.RIGID))
    breakers = [node(f"n{at}", limit_w=800 if at == starved else 400) for at in range(starved + 1)]
    machines = [asleep(gpu(name, f"n{at}")) for at, name in enumerate(gpus.gpus)]
    world = World(site(*breakers), machines, queues=[gpus])

    world.run(60)

    assert gpus.busy == {f"g{starved:02}"}


def racks(count: int, busy: int) -> tuple[World, Queue]:
    """Racks of two GPUs that can feed one of them, of which the first so many do."""
    gpus = Queue("q", tuple(f"g{at:02}" for at in range(2 * count)))
    for at in range(busy):
        gpus.submit(job(f"j{at}", usd=9, flex=FlexTier.RIGID))
    machines = [asleep(gpu(name, f"rack{at // 2}")) for at, name in enumerate(gpus.gpus)]
    world = World(site(*(node(f"rack{at}", limit_w=1_000) for at in range(count))), machines, queues=[gpus])
    world.run(60)
    return world, gpus


def test_a_free_rack_is_used_beside_many_that_can_feed_no_more_than_the_job_that_each_has() -> None:
    world, gpus = racks(21, busy=20)
    first = len(gpus.busy)

    gpus.submit(job("late", flex=FlexTier.RIGID))
    world.run(60)

    assert (first, gpus.jobs["late"].state) == (20, JobState.RUNNING)


def test_a_job_that_none_of_many_full_racks_can_feed_waits_and_disturbs_none_of_those_at_work() -> None:
    world, gpus = racks(10, busy=10)
    told = len(gpus.told)

    gpus.submit(job("late", flex=FlexTier.RIGID))
    world.run(60)

    assert (len(gpus.busy), gpus.jobs["late"].state) == (10, JobState.QUEUED)
    assert len(gpus.told) == told
