"""What every device should be doing: candidates and their worth, the allocation, and the jobs that fit it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from controller.decide import jobs, thermal, truth, value
from controller.decide.allocation import Allocation, Choice, allocate
from controller.decide.commands import Wish
from controller.decide.jobs import Placement
from controller.decide.limits import Limits
from controller.decide.plan import Truth
from controller.decide.snapshot import Snapshot
from controller.decide.value import Valuation, Work
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint
from controller.domain.jobs import QueueReading
from controller.domain.power import Power


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
    brought down to.
    """

    options: Mapping[str, tuple[Option, ...]]
    points: Mapping[str, OperatingPoint]
    allocation: Allocation
    kept: tuple[Placement, ...]
    aside: tuple[Placement, ...]
    forgiven: frozenset[str]
    least: Power


def choose(
    seen: Snapshot,
    limits: Limits,
    queues: Sequence[QueueReading],
    valuation: Valuation,
    now_s: float,
) -> Chosen:
    """Allocate; set aside the cheapest job that lacks watts on some GPU, and allocate again without it."""
    room_w = limits.room_w(seen.other)
    kept = list(jobs.place(queues, _usable(seen, now_s)))
    aside: list[Placement] = []
    while True:
        options = _options(seen, jobs.work_of(kept), valuation, now_s)
        choices = [_choice(seen, name, options) for name in seen.devices]
        allocation = allocate(choices, room_w, seen.ways)
        points = {name: options[name][allocation.index[name]].point for name in options}
        short = jobs.to_set_aside(kept, partial(_has_enough, seen, points, now_s))
        if short is None:
            return Chosen(
                options=options,
                points=points,
                allocation=allocation,
                kept=tuple(kept),
                aside=tuple(aside),
                forgiven=_forgiven(seen, room_w, jobs.work_of(kept), valuation, now_s),
                least=Power(sum(choice.watts[0] for choice in choices)),
            )
        aside += [placement for placement in kept if placement.id == short]
        kept = [placement for placement in kept if placement.id != short]


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
    room_w: Mapping[str, int],
    working: Mapping[str, Work],
    valuation: Valuation,
    now_s: float,
) -> frozenset[str]:
    """The doubtful devices that a plan would leave where they may be, if everybody obeyed at once."""
    may_be_at = {
        name: truth.forgiven(seen.specs[name], state).point
        for name, state in seen.devices.items()
        if state.seen and state.point is not None and not obeys(seen, name, now_s)
    }
    if not may_be_at:
        return frozenset()
    options = {
        name: _options_of(seen, name, working.get(name), valuation, float("inf"))
        for name, state in seen.devices.items()
        if state.seen and state.point is not None
    }
    allocation = allocate([_choice(seen, name, options) for name in seen.devices], room_w, seen.ways)
    return frozenset(
        name
        for name, at in may_be_at.items()
        if at is not None and options[name][allocation.index[name]].point.power >= at.power
    )


def obeys(seen: Snapshot, name: str, now_s: float) -> bool:
    """Whether a device can be planned with: seen, and doing what it was told or still within its time."""
    state = seen.devices[name]
    return state.seen and state.point is not None and not truth.doubtful(seen.specs[name], state, now_s)


def _usable(seen: Snapshot, now_s: float) -> dict[str, int]:
    """The GPUs a job may be given, and the watts each has already; one that does not come up goes last."""
    return {
        name: -1
        if state.attempts > 1 or state.truth in (Truth.REFUSED, Truth.LYING)
        else state.point.power.watts
        for name, state in seen.devices.items()
        if seen.specs[name].kind is DeviceKind.GPU and state.point is not None and obeys(seen, name, now_s)
    }


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
    least = spec.points[value.floor_index(spec, placement.status.job)].power
    dwelling = now_s - state.since_s < spec.dwell_s
    waits = dwelling and state.point is not None and points[gpu] == state.point
    return points[gpu].power >= least or waits
