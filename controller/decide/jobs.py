"""Which GPU works for which job, and what the job queue must be told.

A job has all of its GPUs or none: when one of them cannot have its least watts, the whole job waits.
A job starts only on GPUs whose raised limits were confirmed, so its watts are free before they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.decide.value import Work
from controller.domain.jobs import JobAction, JobCommand, JobState, JobStatus, OnShortage, QueueReading


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A job and the GPUs it holds or would be started on."""

    queue: str
    status: JobStatus
    gpus: tuple[str, ...]

    @property
    def id(self) -> str:
        """Unique over all queues: each of them numbers its own jobs."""
        return f"{self.queue}/{self.status.job.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The last command given for a job, so that it is not repeated before the queue could answer."""

    action: JobAction
    at_s: float


def place(queues: Iterable[QueueReading], usable: Mapping[str, int]) -> tuple[Placement, ...]:
    """Jobs that hold GPUs keep them; queued ones take free and usable ones, dearest first.

    `usable` tells the watts that each such GPU has already: with those a job starts soonest.
    """
    queues = sorted(queues, key=lambda queue: queue.queue)
    placed = [
        Placement(queue=queue.queue, status=status, gpus=status.gpus)
        for queue in queues
        for status in queue.jobs
        if status.gpus
    ]
    taken = {gpu for placement in placed for gpu in placement.gpus}
    for queue in queues:
        free = [gpu for gpu in set(queue.gpus) - taken if gpu in usable]
        free.sort(key=lambda gpu: (-usable[gpu], gpu))
        waiting = [status for status in queue.jobs if status.state is JobState.QUEUED]
        for status in sorted(waiting, key=lambda status: -status.job.usd_per_gpu_hour):
            if 0 < status.job.gpus <= len(free):
                gpus, free = tuple(free[: status.job.gpus]), free[status.job.gpus :]
                placed.append(Placement(queue=queue.queue, status=status, gpus=gpus))
                taken.update(gpus)
    return tuple(placed)


def work_of(placements: Iterable[Placement]) -> dict[str, Work]:
    """The work of each GPU, by device id."""
    return {
        gpu: Work(job=placement.status.job, state=placement.status.state)
        for placement in placements
        for gpu in placement.gpus
    }


def to_set_aside(placements: Sequence[Placement], has_enough: Callable[[str, Placement], bool]) -> str | None:
    """The id of the cheapest job of which some GPU does not get its least watts; None when all do.

    A protected one comes last: without the others it may have enough.
    """
    short = [
        placement for placement in placements if not all(has_enough(gpu, placement) for gpu in placement.gpus)
    ]
    if not short:
        return None
    return min(short, key=_first_to_give_way).id


def _first_to_give_way(placement: Placement) -> tuple[bool, float, str]:
    job = placement.status.job
    return job.on_shortage is OnShortage.PROTECT, job.usd_per_gpu_hour, placement.id


def commands(
    kept: Iterable[Placement],
    set_aside: Iterable[Placement],
    ready: Callable[[str, Placement], bool],
    sent: Mapping[str, Sent],
    now_s: float,
    retry_s: float,
) -> tuple[tuple[JobCommand, ...], dict[str, Sent]]:
    """What the queues are told now, and what was told last to every job that still exists."""
    orders: list[JobCommand] = []
    for placement in set_aside:
        if placement.status.state is JobState.RUNNING:
            suspend = placement.status.job.on_shortage is not OnShortage.REQUEUE
            orders.append(_order(placement, JobAction.SUSPEND if suspend else JobAction.REQUEUE))
    for placement in kept:
        if all(ready(gpu, placement) for gpu in placement.gpus):
            match placement.status.state:
                case JobState.QUEUED:
                    orders.append(_order(placement, JobAction.START))
                case JobState.SUSPENDED:
                    orders.append(_order(placement, JobAction.RESUME))
                case JobState.RUNNING | JobState.DONE | JobState.FAILED:
                    pass
    fresh = tuple(
        order
        for order in orders
        if not (
            (last := sent.get(_id(order))) and last.action is order.action and now_s - last.at_s < retry_s
        )
    )
    alive = {placement.id for placement in (*kept, *set_aside)}
    remembered = {job: last for job, last in sent.items() if job in alive}
    remembered |= {_id(order): Sent(action=order.action, at_s=now_s) for order in fresh}
    return fresh, remembered


def _order(placement: Placement, action: JobAction) -> JobCommand:
    gpus = placement.gpus if action is JobAction.START else ()
    return JobCommand(queue=placement.queue, job=placement.status.job.id, action=action, gpus=gpus)


def _id(order: JobCommand) -> str:
    return f"{order.queue}/{order.job}"
