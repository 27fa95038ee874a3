"""What goes wrong, chosen by a seed: a random subset of all faults, each with a random intensity.

Every seed turns on its own mix, so that rare faults are not always drowned by common ones. Nothing here
acts: the shell, the grid's side and the world play what was drawn.

No machine both breaks an order and misreports its watts by a unit: below a node without a meter nobody could
ever know. Firmware that the operator declared to keep limits is not made to forget them.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from controller.domain.jobs import FlexTier, Job, OnShortage
from controller.domain.power import Limit
from controller.domain.site import Prices
from tests.sim import asks, boards, fittings, maintenance, market, operators, regulation, trips
from tests.sim.floor import QUEUE, Floor
from tests.sim.knobs import Draw, Knob, by_time, draw_knobs
from tests.sim.maintenance import Maintenance, draw_commissioning, draw_maintenance
from tests.sim.market import Feed, draw_feed
from tests.sim.operator import FIRST, SECOND, Message, draw_messages

JOB_KILLS = "job_kills"
SILENCES = ("zone_silence", "queue_silence")
FAULTS = (
    *("lost_reads", "late_reads", "frozen", "unit_reads", "unit_reads_up"),
    *("lost_writes", "late_writes", "refused_writes", "unanswered_writes", "lost_job_commands"),
    *("hangs", "dead", "reboots", "forgetful_reboots", "lies_stop", "lies_limit", "lies_resume", "refuses"),
    *("gpu_lost", "gpu_reset", "pool_loss", "site_pool_loss", "switch_failure"),
    *("meter_dead", "meter_frozen", "meter_unit", "fans_stop", "heat_wave", "breaker_off"),
    *("messages_late", "messages_doubled", "messages_lost", "broker_silence"),
    *("utc_jumps", "overruns", "kills", "prices"),
    *SILENCES,
)
APART = (
    *(*asks.KINDS, *fittings.KINDS, "hot_zones", *maintenance.KINDS, market.KIND, *operators.KINDS),
    *(trips.KIND, *boards.KINDS, JOB_KILLS, regulation.KIND),
)
"""What came later has a generator of its own, so that the rest of a seed stays as it was."""
KINDS = (*FAULTS, *APART)
KILLS_APART_S = 150.0
"""A new process takes over within that time."""
ON = 0.3
"""How likely each kind of fault is in a seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Machines, sensors of zones and queues (or, with none named, the operator) that cannot be heard, and
    cannot hear."""

    at_s: float
    until_s: float
    parts: frozenset[str] = frozenset()
    operator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How likely each is, of every single read and write."""

    lost_reads: float = 0.0
    late_reads: float = 0.0
    lost_writes: float = 0.0
    late_writes: float = 0.0
    refused_writes: float = 0.0
    unanswered_writes: float = 0.0
    lost_job_commands: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """At the first tick from `at_s` on that commands machines, after `sent` of its commands; `among_jobs`, at
    the first that tells its queue something, after `jobs` of that, and `later_s` on. A new process starts
    `down_s` later. One that waited comes no sooner than `apart_s` after the one before it."""

    at_s: float
    sent: int
    down_s: float
    among_jobs: bool = False
    jobs: int = 0
    later_s: float = 0.0
    apart_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class JobArrival:
    at_s: float
    job: Job
    demand_w: float
    work_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Swarm:
    """`jumps` are (when, by how many seconds the wall clock steps), `overruns` (when, how late a tick is)."""

    on: tuple[str, ...]
    calm_s: float
    knobs: tuple[Knob, ...]
    silences: tuple[Silence, ...]
    operator_silences: tuple[Silence, ...]
    rates: Rates
    kills: tuple[Kill, ...]
    overruns: tuple[tuple[float, float], ...]
    jumps: tuple[tuple[float, float], ...]
    prices: tuple[tuple[float, Prices], ...]
    jobs: tuple[JobArrival, ...]
    messages: tuple[Message, ...]
    response_s: float
    maintenance: tuple[Maintenance, ...] = ()
    feed: Feed | None = None
    operators: tuple[str, ...] = (FIRST,)


def draw_swarm(
    seed: int,
    floor: Floor,
    calm_s: float,
    only: Collection[str] | None = None,
    exactly: Collection[str] | None = None,
) -> Swarm:
    """`only` takes away all other kinds, to find out which of them a failure needs; it may move the times at
    which the rest come. `exactly` these are in every seed, and no others."""
    rnd, quiet = random.Random(f"{seed}/swarm"), random.Random(f"{seed}/silences")
    drawn = [kind for kind in FAULTS if (quiet if kind in SILENCES else rnd).random() < ON]
    on = (*_chosen(drawn, FAULTS, only, exactly), *drawn_apart(seed, only, exactly))
    draw = Draw(random=rnd, floor=floor, calm_s=calm_s, on=on, intensity=rnd.choice([0.5, 1.0, 1.0, 2.0]))
    response_s = rnd.choice([30.0, 45.0, 60.0])
    contract = floor.site.root.limit
    assert isinstance(contract, Limit)
    theirs = operators.draw_theirs(seed, contract.power.watts, calm_s, response_s, on)
    messages = draw_messages(random.Random(f"{seed}/grid"), contract.power.watts, calm_s, response_s, on)
    return Swarm(
        on=on,
        calm_s=calm_s,
        knobs=by_time(
            [*draw_knobs(seed, draw), *trips.draw_trips(seed, draw), *boards.draw_boards(seed, draw)]
        ),
        silences=(*_switch_failures(draw), *_silences(replace(draw, random=quiet))),
        operator_silences=(*_operator_silences(draw), *_other_silences(seed, draw)),
        rates=_rates(draw),
        kills=(*_kills(draw), *_job_kills(seed, draw)),
        overruns=tuple((at_s, rnd.uniform(1, 8)) for at_s in draw.times(15)) if "overruns" in on else (),
        jumps=tuple(_jumps(draw)),
        prices=tuple(_prices(draw)),
        jobs=tuple(_jobs(random.Random(f"{seed}/jobs"), floor, calm_s)),
        messages=(
            *messages,
            *theirs,
            *asks.draw_asks(seed, floor, calm_s, response_s, on),
            *regulation.draw_regulation(seed, floor, calm_s, response_s, on),
        ),
        response_s=response_s,
        maintenance=(
            *draw_maintenance(seed, floor, calm_s, on),
            *draw_commissioning(seed, floor, calm_s, on),
        ),
        feed=draw_feed(seed, calm_s, floor.site, floor.specs, on),
        operators=operators.operators(seed, on),
    )


def drawn_apart(seed: int, only: Collection[str] | None, exactly: Collection[str] | None) -> tuple[str, ...]:
    drawn = [kind for kind in APART if random.Random(f"{seed}/{kind}/on").random() < ON]
    return _chosen(drawn, APART, only, exactly)


def _chosen(
    drawn: Collection[str],
    of: Collection[str],
    only: Collection[str] | None,
    exactly: Collection[str] | None,
) -> tuple[str, ...]:
    kinds = drawn if exactly is None else [kind for kind in of if kind in exactly]
    return tuple(kind for kind in kinds if only is None or kind in only)


def _rates(draw: Draw) -> Rates:
    most = {
        "lost_reads": 0.3,
        "late_reads": 0.3,
        "lost_writes": 0.3,
        "late_writes": 0.3,
        "refused_writes": 0.2,
        "unanswered_writes": 0.3,
        "lost_job_commands": 0.3,
    }
    drawn = {kind: draw.random.uniform(0.01, most[kind]) for kind in most if kind in draw.on}
    return replace(Rates(), **drawn)


def _switch_failures(draw: Draw) -> Iterator[Silence]:
    """A network switch goes: everything behind it is silent at once."""
    if "switch_failure" not in draw.on:
        return
    names = [spec.id for spec in draw.floor.specs]
    for at_s in draw.times(3):
        begin_s, end_s = draw.span(at_s, 10, 240)
        count = round(len(names) * draw.random.uniform(0.1, 0.7))
        yield Silence(at_s=begin_s, until_s=end_s, parts=frozenset(draw.random.sample(names, count)))


def _silences(draw: Draw) -> Iterator[Silence]:
    """A sensor, or the program that keeps the queue, does not answer."""
    zones = [zone.id for zone in draw.floor.plant.zones]
    for kind, of in zip(SILENCES, (zones, [QUEUE]), strict=True):
        for at_s in draw.times(4) if kind in draw.on else ():
            begin_s, end_s = draw.span(at_s, 10, 400)
            yield Silence(at_s=begin_s, until_s=end_s, parts=frozenset([draw.random.choice(of)]))


def _operator_silences(draw: Draw) -> Iterator[Silence]:
    if "broker_silence" not in draw.on:
        return
    for at_s in draw.times(4):
        begin_s, end_s = draw.span(at_s, 5, 400)
        yield Silence(at_s=begin_s, until_s=end_s)


def _other_silences(seed: int, draw: Draw) -> Iterator[Silence]:
    """Each operator has a broker of its own."""
    for name in operators.operators(seed, draw.on)[1:]:
        whose = operators.TWO if name == SECOND else f"{operators.MORE}/{name}"
        draw = replace(draw, random=random.Random(f"{seed}/{whose}/silences"))
        for at_s in draw.times(4):
            begin_s, end_s = draw.span(at_s, 5, 400)
            yield Silence(at_s=begin_s, until_s=end_s, operator=name)


def _kills(draw: Draw) -> Iterator[Kill]:
    """Apart far enough for each new process to take over."""
    if "kills" not in draw.on:
        return
    last_s = 0.0
    for at_s in draw.times(8):
        if at_s - last_s > KILLS_APART_S and at_s < draw.calm_s - 60:
            last_s = at_s
            yield Kill(
                at_s=at_s,
                sent=draw.random.randint(0, 6),
                down_s=draw.random.uniform(1, 12),
                apart_s=KILLS_APART_S,
            )


def _job_kills(seed: int, draw: Draw) -> Iterator[Kill]:
    """Between what a queue is told and what follows from it."""
    if JOB_KILLS not in draw.on:
        return
    rnd = random.Random(f"{seed}/{JOB_KILLS}")
    last_s = 0.0
    for at_s in replace(draw, random=rnd).times(8):
        if at_s - last_s > KILLS_APART_S and at_s < draw.calm_s - 60:
            last_s = at_s
            yield Kill(
                at_s=at_s,
                sent=rnd.choice([0, 1, 3, 1000]),
                down_s=rnd.uniform(1, 12),
                among_jobs=True,
                jobs=rnd.randint(0, 3),
                later_s=rnd.choice([0.0, rnd.uniform(0.1, 4)]),
                apart_s=KILLS_APART_S,
            )


def _jumps(draw: Draw) -> Iterator[tuple[float, float]]:
    """The wall clock steps, and is set right again."""
    if "utc_jumps" not in draw.on:
        return
    for at_s in draw.times(3):
        by_s = draw.random.choice([-1, 1]) * draw.random.choice([0.5, 3.0, 60.0, 3600.0])
        begin_s, end_s = draw.span(at_s, 5, 300)
        yield begin_s, by_s
        yield end_s, -by_s


def _prices(draw: Draw) -> Iterator[tuple[float, Prices]]:
    if "prices" not in draw.on:
        return
    normal = draw.floor.site.prices
    for at_s in draw.times(4):
        usd = draw.random.choice([-0.02, 0.0, 0.05, 0.06, 0.08, 0.2])
        yield at_s, replace(normal, usd_per_kwh=usd)
    yield draw.calm_s, normal


def _jobs(rnd: random.Random, floor: Floor, calm_s: float) -> Iterator[JobArrival]:
    """Work comes about as fast as the GPUs can do it, and keeps coming after the faults."""
    at_s, serial = 20.0, 0
    most = min(4, len(floor.queued_gpus))
    while at_s < calm_s:
        job = Job(
            id=f"job-{serial}",
            gpus=rnd.randint(1, most),
            usd_per_gpu_hour=rnd.uniform(0.5, 4.0),
            flex=rnd.choice(list(FlexTier)),
            on_shortage=rnd.choice(list(OnShortage)),
        )
        yield JobArrival(at_s=at_s, job=job, demand_w=rnd.uniform(350, 690), work_s=rnd.uniform(60, 1200))
        at_s += rnd.expovariate(1 / 150)
        serial += 1
