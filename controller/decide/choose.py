"""What every device should be doing: candidates and their worth, the allocation, and the jobs that fit it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.decide import jobs, thermal, truth, value
from controller.decide.allocation import Allocation, Choice, allocate
from controller.decide.commands import Wish
from controller.decide.jobs import Placement
from controller.decide.limits import Limits
from controller.decide.plan import Truth
from controller.decide.snapshot import Snapshot
from controller.decide.value import Valuation, Work
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint
from controller.domain.jobs import Job, QueueReading
from controller.domain.power import Power

OTHER_TRIES = 5
"""How often jobs that lack watts are tried on other GPUs before they have to wait for the next tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A point a device may be given, what it counts for on this very device, and its USD per hour."""

    point: OperatingPoint
    counts: Power
    worth: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """`options` and `points` hold the devices that obey. `kept` jobs have their watts, `aside` not.

    `forgiven` are doubtful devices whose watts nobody needs; `least` is what all devices together can be
    brought down to. `earns` is in USD per hour, without the premiums that keep jobs and dwelling devices
    where they are.
    """

    options: Mapping[str, tuple[Option, ...]]
    points: Mapping[str, OperatingPoint]
    allocation: Allocation
    kept: tuple[Placement, ...]
    aside: tuple[Placement, ...]
    forgiven: frozenset[str]
    least: Power
    earns: float

    @property
    def gap(self) -> float:
        """How far `earns` can at most lie below the best possible, as a fraction of that."""
        missed = max(0.0, self.allocation.bound - self.allocation.value)
        return missed / (missed + abs(self.earns)) if missed else 0.0


def choose(
    seen: Snapshot,
    limits: Limits,
    queues: Sequence[QueueReading],
    placed: Mapping[str, tuple[str, ...]],
    valuation: Valuation,
    now_s: float,
) -> Chosen:
    """Allocate; set aside what lacks watts on some GPU, try it on others, and allocate again.

    `placed` are the GPUs that queued jobs were given before.
    """
    room_w = limits.room_w(seen.other)
    usable = _usable(seen, now_s)
    too_much = _too_hot(seen, usable)

    def place(before: Mapping[str, tuple[str, ...]]) -> list[Placement]:
        return list(jobs.place(queues, usable, before, lambda gpu, job: _may(seen, too_much, gpu, job)))

    kept, aside = place(placed), dict[str, Placement]()
    tries = 0
    while True:  # it ends: each time a job leaves, or a GPU is no longer tried for as much
        working = jobs.work_of(kept)
        options = _options(seen, working, valuation, now_s)
        choices = [_choice(seen, name, options) for name in seen.devices]
        allocation = allocate(choices, room_w, seen.ways)
        points = {name: options[name][allocation.index[name]].point for name in options}
        short = [
            job for job in kept if not all(_has_enough(seen, points, now_s, gpu, job) for gpu in job.gpus)
        ]
        if not short:
            return Chosen(
                options=options,
                points=points,
                allocation=allocation,
                kept=tuple(kept),
                aside=tuple(job for job in aside.values() if job not in kept),
                forgiven=_forgiven(seen, limits, working, valuation, now_s),
                least=Power(sum(choice.watts[0] for choice in choices)),
                earns=sum(
                    valuation.earned(seen.specs[name], point, working.get(name))
                    for name, point in points.items()
                ),
            )
        holding = {name for name, point in points.items() if point != seen.specs[name].floor}
        dropped = jobs.to_set_aside(short, holding)
        aside |= {job.id: job for job in dropped}
        kept = [job for job in kept if job not in dropped]
        tries += 1
        if tries <= OTHER_TRIES:
            spare = usable.keys() - jobs.work_of(kept)
            for job in dropped:
                for gpu in job.gpus:
                    if not _has_enough(seen, points, now_s, gpu, job):
                        _rule_out(seen, spare, too_much, _least(seen, gpu, job.status.job), gpu, allocation)
            kept = [job for job in place(jobs.queued(kept)) if job.id not in aside or not job.status.gpus]


def wishes(seen: Snapshot, chosen: Chosen) -> tuple[Wish, ...]:
    """Where each device that was ever seen should be.

    A doubtful one is asked again for what it has not shown; a forgiven one is taken to be where it may be.
    """
    wanted: list[Wish] = []
    for name, state in seen.devices.items():
        spec = seen.specs[name]
        if name in chosen.points:
            index = chosen.allocation.index[name]
            option = chosen.options[name][index]
            merit = option.worth / max(1, option.counts.watts)
            wanted.append(Wish(spec=spec, state=state, point=option.point, merit=merit))
        elif state.seen and state.point is not None:
            if name in chosen.forgiven:
                state = truth.forgiven(spec, state)
            assert state.point is not None
            wanted.append(Wish(spec=spec, state=state, point=state.point, merit=0.0))
    return tuple(wanted)


def _forgiven(
    seen: Snapshot,
    limits: Limits,
    working: Mapping[str, Work],
    valuation: Valuation,
    now_s: float,
) -> frozenset[str]:
    """The doubtful devices that a plan would leave where they may be, if everybody obeyed at once.

    Not while a node above still waits for watts to fall: who did not obey then cannot be counted on now.
    """
    spare_w = limits.room_w(seen.worst)
    may_be_at = {
        name: truth.forgiven(seen.specs[name], state).point
        for name, state in seen.devices.items()
        if state.seen
        and state.point is not None
        and not obeys(seen, name, now_s)
        and all(spare_w[node] >= 0 for node in seen.ways[seen.specs[name].node])
    }
    if not may_be_at:
        return frozenset()
    options = {
        name: _options_of(seen, name, working.get(name), valuation, float("inf"))
        for name, state in seen.devices.items()
        if state.seen and state.point is not None
    }
    allocation = allocate(
        [_choice(seen, name, options) for name in seen.devices], limits.room_w(seen.other), seen.ways
    )
    return frozenset(
        name
        for name, at in may_be_at.items()
        if at is not None and options[name][allocation.index[name]].point.power >= at.power
    )


def obeys(seen: Snapshot, name: str, now_s: float) -> bool:
    """Whether a device can be planned with: seen, and doing what it was told or still within its time."""
    state = seen.devices[name]
    return state.seen and state.point is not None and not truth.doubtful(seen.specs[name], state, now_s)


def _usable(seen: Snapshot, now_s: float) -> dict[str, bool]:
    """The GPUs that a job may be given, and whether each comes up as it is told."""
    return {
        name: state.attempts < 2 and state.truth not in (Truth.REFUSED, Truth.LYING)
        for name, state in seen.devices.items()
        if seen.specs[name].kind is DeviceKind.GPU and obeys(seen, name, now_s)
    }


def _may(seen: Snapshot, too_much: Mapping[str, Power], gpu: str, job: Job) -> bool:
    return gpu not in too_much or _least(seen, gpu, job) < too_much[gpu]


def _least(seen: Snapshot, gpu: str, job: Job) -> Power:
    """What a GPU must have for the job to keep the throughput its flex tier demands."""
    spec = seen.specs[gpu]
    return spec.points[value.floor_index(spec, job)].power


def _too_hot(seen: Snapshot, gpus: Iterable[str]) -> dict[str, Power]:
    """The lowest power that heat forbids each of the GPUs; nothing for those that it forbids none."""
    found: dict[str, Power] = {}
    for gpu in gpus:
        spec = seen.specs[gpu]
        most = bound_of(seen, spec)
        forbidden = [point.power for point in spec.points[1:] if point.power > most]
        if forbidden:
            found[gpu] = forbidden[0]
    return found


def _rule_out(
    seen: Snapshot,
    gpus: Iterable[str],
    too_much: dict[str, Power],
    least: Power,
    gpu: str,
    allocation: Allocation,
) -> None:
    """`least` was too much for a GPU, and so it is for all others below the node that was in its way."""
    node = allocation.blocked_by.get(gpu)
    for other in gpus:
        if other == gpu or node in seen.ways[seen.specs[other].node]:
            too_much[other] = min(least, too_much.get(other, least))


def _options(
    seen: Snapshot, working: Mapping[str, Work], valuation: Valuation, now_s: float
) -> dict[str, tuple[Option, ...]]:
    return {
        name: _options_of(seen, name, working.get(name), valuation, now_s)
        for name in seen.devices
        if obeys(seen, name, now_s)
    }


def _options_of(
    seen: Snapshot, name: str, work: Work | None, valuation: Valuation, now_s: float
) -> tuple[Option, ...]:
    spec, state = seen.specs[name], seen.devices[name]
    assert state.point is not None
    dwelling = now_s - state.since_s < spec.dwell_s
    most = bound_of(seen, spec)
    return tuple(
        Option(point=point, counts=state.counted(point), worth=worth)
        for point, worth in value.candidates(spec, state.point, work, valuation, dwelling=dwelling)
        if point.power <= most or point == spec.floor
    )


def bound_of(seen: Snapshot, spec: DeviceSpec) -> Power:
    """The most that heat allows a device; where cooling is not proven, no more than it has."""
    most = thermal.allowed(spec, seen.derate(spec))
    point = seen.devices[spec.id].point
    return min(most, point.power) if spec.zone in seen.uncooled and point is not None else most


def _choice(seen: Snapshot, name: str, options: Mapping[str, tuple[Option, ...]]) -> Choice:
    """The candidates of a device that obeys; of any other the worst it may draw, without a choice."""
    node = seen.specs[name].node
    if name not in options:
        return Choice(device=name, node=node, watts=(seen.devices[name].worst.watts,), values=(0.0,))
    return Choice(
        device=name,
        node=node,
        watts=tuple(option.counts.watts for option in options[name]),
        values=tuple(option.worth for option in options[name]),
    )


def _has_enough(
    seen: Snapshot, points: Mapping[str, OperatingPoint], now_s: float, gpu: str, placement: Placement
) -> bool:
    """Whether a GPU gives the job its least throughput.

    One that cannot be seen is left as it is; one that waits for its dwell will have enough after it.
    """
    if gpu not in points:
        return True
    spec, state = seen.specs[gpu], seen.devices[gpu]
    waits = now_s - state.since_s < spec.dwell_s and points[gpu] == state.point
    return waits or points[gpu].power >= _least(seen, gpu, placement.status.job)
