"""Which GPU works for which job, and what the job queue must be told.

A job has all of its GPUs or none: when one of them cannot have its least watts, the whole job waits.
A job starts only on GPUs whose raised limits were confirmed, so its watts are free before they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice

from controller.decide.posts import Work
from controller.domain.jobs import (
    FlexTier,
    JobAction,
    JobCommand,
    JobState,
    JobStatus,
    OnShortage,
    QueueReading,
)

BEGUN_BY = {JobState.QUEUED: JobAction.START, JobState.SUSPENDED: JobAction.RESUME}
"""What a job that has its watts is told, where it does not run yet."""


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


def place(
    queues: Iterable[QueueReading],
    usable: Mapping[str, bool],
    before: Mapping[str, tuple[str, ...]],
    may: Callable[[Placement], Callable[[str], bool]],
    due: Set[str] = frozenset(),
) -> tuple[Placement, ...]:
    """Jobs that hold GPUs keep them; queued ones take free and usable ones, dearest first.

    `usable` tells of each such GPU, those to take first coming first, whether it comes up as told; who does
    not is taken last, by those that find no place without. A queued job stays with the GPUs it had `before`,
    which are being raised for it. It goes only to those that it `may` have, asked for one by one. What a
    `due` one has too few of is kept for it, if there are enough in all.
    """
    queues = sorted(queues, key=lambda queue: queue.queue)
    placed = [
        Placement(queue=queue.queue, status=status, gpus=status.gpus)
        for queue in queues
        for status in queue.jobs
        if status.gpus
    ]
    queued = [
        Placement(queue=queue.queue, status=status, gpus=())
        for queue in queues
        for status in queue.jobs
        if status.state is JobState.QUEUED and not status.gpus and status.job.gpus > 0
    ]
    queued.sort(key=lambda placement: (-placement.status.job.usd_per_gpu_hour, placement.queue))
    offers = {queue.queue: frozenset(queue.gpus) for queue in queues}
    taken = {gpu for placement in placed for gpu in placement.gpus}
    good = [gpu for gpu in usable if usable[gpu]]
    free = dict.fromkeys(gpu for gpu in good if gpu not in taken)
    slow = dict.fromkeys(gpu for gpu in usable if not usable[gpu] and gpu not in taken)
    moving: list[Placement] = []
    for placement in queued:
        job, had = placement.status.job, before.get(placement.id, ())
        offered, fits = offers[placement.queue].issuperset(had), may(placement)
        if offered and len(had) == job.gpus and all(gpu in free and fits(gpu) for gpu in had):
            placed.append(_put(placement, had, free))
        else:
            moving.append(placement)

    def found(placement: Placement, among: Iterable[str]) -> tuple[str, ...]:
        fits, offer = may(placement), offers[placement.queue]
        return tuple(islice((gpu for gpu in among if gpu in offer and fits(gpu)), placement.status.job.gpus))

    placed += _placed_anew(moving, free, lambda job: found(job, free), lambda job: found(job, good), due)
    if slow:
        there = {placement.id for placement in placed}
        left = [placement for placement in moving if placement.id not in there]
        free |= slow
        placed += _placed_anew(left, free, lambda job: found(job, free), lambda _: (), frozenset())
    return tuple(placed)


def _placed_anew(
    moving: Iterable[Placement],
    free: dict[str, None],
    found: Callable[[Placement], tuple[str, ...]],
    at_best: Callable[[Placement], tuple[str, ...]],
    due: Set[str],
) -> Iterator[Placement]:
    """Takes out of `free` the GPUs that it gives, and keeps for a `due` job that would be placed `at_best`,
    if nobody were at work. What asks as much as one that `found` no place finds none."""
    hopeless: set[tuple[str, int, FlexTier]] = set()
    for placement in moving:
        job, waited = placement.status.job, placement.id in due
        asks = (placement.queue, job.gpus, job.flex)
        if asks in hopeless and not waited:
            continue
        gpus = found(placement)
        if len(gpus) == job.gpus:
            yield _put(placement, gpus, free)
            continue
        hopeless.add(asks)
        if waited and gpus and len(at_best(placement)) == job.gpus:
            _put(placement, gpus, free)


def _put(placement: Placement, gpus: tuple[str, ...], free: dict[str, None]) -> Placement:
    for gpu in gpus:
        del free[gpu]
    return replace(placement, gpus=gpus)


def work_of(placements: Iterable[Placement]) -> dict[str, Work]:
    """The work of each GPU, by device id."""
    held_by = holders(placements)
    return {gpu: Work(job=one.status.job, state=one.status.state) for gpu, one in held_by.items()}


def holders(placements: Iterable[Placement]) -> dict[str, Placement]:
    """Whose each GPU is, by device id: of several that claim one, who runs there and needs most of it."""
    claimed: dict[str, Placement] = {}
    for placement in placements:
        for gpu in placement.gpus:
            other = claimed.setdefault(gpu, placement)
            if other is not placement:
                claimed[gpu] = max(other, placement, key=_claim)
    return claimed


def _claim(placement: Placement) -> tuple[bool, float, float, str]:
    job, runs = placement.status.job, placement.status.state is JobState.RUNNING
    return runs, -job.flex.allowed_loss, job.usd_per_gpu_hour, placement.id


def busy(queues: Iterable[QueueReading]) -> frozenset[str]:
    """The GPUs on which a job runs."""
    running = (status for queue in queues for status in queue.jobs if status.state is JobState.RUNNING)
    return frozenset(gpu for status in running for gpu in status.gpus)


def queued(placements: Iterable[Placement]) -> dict[str, tuple[str, ...]]:
    """The GPUs of each job that still waits for them."""
    return {
        placement.id: placement.gpus for placement in placements if placement.status.state is JobState.QUEUED
    }


def to_set_aside(
    short: Sequence[Placement], holding: Collection[str], nodes: Mapping[str, Sequence[int]]
) -> Sequence[Placement]:
    """Which of the jobs that lack watts give way first. `holding` are the GPUs above their floor; `nodes` are
    those above each of these, and the one in the way of each other GPU that lacks watts.

    Of those that hold watts the cheapest at each full node: what it gives back may be enough for the others
    there, and at all nodes above. If none does, all of them, as nothing is gained by trying one after the
    other.
    """
    fed = [placement for placement in short if any(gpu in holding for gpu in placement.gpus)]
    if not fed:
        return short
    at = {placement.id: {node for gpu in placement.gpus for node in nodes.get(gpu, ())} for placement in fed}
    full = {node for one in fed for gpu in one.gpus if gpu not in holding for node in nodes.get(gpu, ())}
    first: list[Placement] = []
    served: set[int] = set()
    for node in sorted(full, reverse=True):  # parents come last
        if node not in served:
            first.append(min((one for one in fed if node in at[one.id]), key=_first_to_give_way))
            served |= at[first[-1].id]
    return first or [min(fed, key=_first_to_give_way)]


def _first_to_give_way(placement: Placement) -> tuple[bool, bool, float, str]:
    """Who does not run loses no work by that: nobody who runs gives way to one that lacks watts as well."""
    job, runs = placement.status.job, placement.status.state is JobState.RUNNING
    return runs, job.on_shortage is OnShortage.PROTECT, job.usd_per_gpu_hour, placement.id


def commands(
    kept: Iterable[Placement],
    set_aside: Iterable[Placement],
    may_begin: Callable[[Placement], bool],
    leaves: Callable[[Placement], bool],
    sent: Mapping[str, Sent],
    now_s: float,
    retry_s: float,
) -> tuple[tuple[JobCommand, ...], dict[str, Sent]]:
    """What the queues are told now, and what was told last to every job that still exists. Who `leaves` will
    not go on where it is. Only those are asked whether they `may_begin` that are told so then."""

    def is_fresh(placement: Placement, action: JobAction) -> bool:
        last = sent.get(placement.id)
        return last is None or last.action is not action or now_s - last.at_s >= retry_s

    orders: list[JobCommand] = []
    for placement in set_aside:
        action = _setting_aside(placement, leaves)
        if action is not None and is_fresh(placement, action):
            orders.append(_order(placement, action))
    for placement in kept:
        action = BEGUN_BY.get(placement.status.state)
        if action is not None and is_fresh(placement, action) and may_begin(placement):
            orders.append(_order(placement, action))
    alive = {placement.id for placement in (*kept, *set_aside)}
    remembered = {job: last for job, last in sent.items() if job in alive}
    remembered |= {_id(order): Sent(action=order.action, at_s=now_s) for order in orders}
    return tuple(orders), remembered


def _setting_aside(placement: Placement, leaves: Callable[[Placement], bool]) -> JobAction | None:
    """A suspended job waits for its own GPUs. It would lose its work with one that is switched off: unless it
    is protected, it is ended while it can still save that, and begins anew elsewhere."""
    job, state = placement.status.job, placement.status.state
    ends = job.on_shortage is not OnShortage.PROTECT and leaves(placement)
    if state is JobState.RUNNING:
        return JobAction.REQUEUE if ends or job.on_shortage is OnShortage.REQUEUE else JobAction.SUSPEND
    return JobAction.REQUEUE if ends and state is JobState.SUSPENDED else None


def _order(placement: Placement, action: JobAction) -> JobCommand:
    gpus = placement.gpus if action is JobAction.START else ()
    return JobCommand(queue=placement.queue, job=placement.status.job.id, action=action, gpus=gpus)


def _id(order: JobCommand) -> str:
    return f"{order.queue}/{order.job}"
