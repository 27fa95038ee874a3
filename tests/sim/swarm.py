"""What goes wrong, chosen by a seed: a random subset of all faults, each with a random intensity.

Every seed turns on its own mix, so that rare faults are not always drowned by common ones. Nothing here
acts: the shell, the grid's side and the world play what was drawn.

No machine both breaks an order and misreports its watts by a unit: below a node without a meter nobody could
ever know. Firmware that the operator declared to keep limits is not made to forget them.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from controller.domain.devices import DeviceKind
from controller.domain.jobs import FlexTier, Job, OnShortage
from controller.domain.power import Limit
from controller.domain.site import Prices
from tests.sim import asks, fittings, maintenance, market, outlets
from tests.sim.floor import QUEUE, Floor
from tests.sim.maintenance import Maintenance, draw_commissioning, draw_maintenance
from tests.sim.market import Feed, draw_feed
from tests.sim.operator import SECOND, Message, draw_messages

OPERATORS = "operators"
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
APART = (*asks.KINDS, *fittings.KINDS, "hot_zones", *maintenance.KINDS, market.KIND, OPERATORS)
"""What came later has a generator of its own, so that the rest of a seed stays as it was."""
KINDS = (*FAULTS, *APART)
ON = 0.3
"""How likely each kind of fault is in a seed."""
UNSETTLED_S = 90.0
"""The first faults come after the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A fault of one part of the plant, from `at_s` to `until_s`; one whose `until_s` is `at_s` acts once."""

    at_s: float
    until_s: float
    part: str
    fault: str
    value: bool | float = True


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
    """At the first tick from `at_s` on, after `sent` of its commands; a new process starts `down_s` later."""

    at_s: float
    sent: int
    down_s: float


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


@dataclass(slots=True)
class _Draw:
    random: random.Random
    floor: Floor
    calm_s: float
    on: tuple[str, ...]
    intensity: float
    used: set[str] = field(default_factory=set)

    def times(self, per_hour: float) -> list[float]:
        """When something begins that happens so often."""
        hours = (self.calm_s - UNSETTLED_S) / 3600
        count = max(1, round(per_hour * self.intensity * hours * self.random.uniform(0.5, 1.5)))
        return sorted(self.random.uniform(UNSETTLED_S, self.calm_s) for _ in range(count))

    def span(self, at_s: float, shortest_s: float, longest_s: float) -> tuple[float, float]:
        return at_s, min(self.calm_s, at_s + self.random.uniform(shortest_s, longest_s))

    def victims(self, of: Sequence[str], share: float) -> list[str]:
        """A share of those that no other lasting fault has yet; at least one."""
        free = [name for name in of if name not in self.used]
        count = max(1, round(share * self.intensity * len(of) * self.random.uniform(0.5, 1.5)))
        chosen = self.random.sample(free, min(count, len(free)))
        self.used.update(chosen)
        return chosen


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
    draw = _Draw(random=rnd, floor=floor, calm_s=calm_s, on=on, intensity=rnd.choice([0.5, 1.0, 1.0, 2.0]))
    response_s = rnd.choice([30.0, 45.0, 60.0])
    contract = floor.site.root.limit
    assert isinstance(contract, Limit)
    second: Sequence[Message] = ()
    if OPERATORS in on:
        second = draw_messages(
            random.Random(f"{seed}/{OPERATORS}"), contract.power.watts, calm_s, response_s, on, SECOND
        )
    messages = draw_messages(random.Random(f"{seed}/grid"), contract.power.watts, calm_s, response_s, on)
    return Swarm(
        on=on,
        calm_s=calm_s,
        knobs=tuple(
            sorted(
                (*_knobs(draw), *_hot_zones(seed, draw), *_at_outlets(seed, draw)),
                key=lambda knob: (knob.at_s, knob.part, knob.fault),
            )
        ),
        silences=(*_switch_failures(draw), *_silences(replace(draw, random=quiet))),
        operator_silences=(*_operator_silences(draw), *_second_silences(seed, draw)),
        rates=_rates(draw),
        kills=tuple(_kills(draw)),
        overruns=tuple((at_s, rnd.uniform(1, 8)) for at_s in draw.times(15)) if "overruns" in on else (),
        jumps=tuple(_jumps(draw)),
        prices=tuple(_prices(draw)),
        jobs=tuple(_jobs(random.Random(f"{seed}/jobs"), floor, calm_s)),
        messages=(*messages, *second, *asks.draw_asks(seed, floor, calm_s, response_s, on)),
        response_s=response_s,
        maintenance=(
            *draw_maintenance(seed, floor, calm_s, on),
            *draw_commissioning(seed, floor, calm_s, on),
        ),
        feed=draw_feed(seed, calm_s, floor.site.prices.usd_per_kwh, on),
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


def _rates(draw: _Draw) -> Rates:
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


def _knobs(draw: _Draw) -> Iterator[Knob]:
    asics = [spec.id for spec in draw.floor.specs if spec.kind is DeviceKind.ASIC]
    gpus = [spec.id for spec in draw.floor.specs if spec.kind is DeviceKind.GPU]
    forgetful = [spec.id for spec in draw.floor.specs if not spec.keeps_limit and spec.id in asics]
    yield from _lasting(draw, asics, "lies_stop", "lies_about_stop", 0.04)
    yield from _lasting(draw, [*asics, *gpus], "lies_limit", "lies_about_limit", 0.04)
    yield from _lasting(draw, asics, "lies_resume", "lies_about_resume", 0.04)
    yield from _lasting(draw, asics, "refuses", "refuses", 0.04)
    yield from _lasting(draw, asics, "unit_reads", "reported_power_factor", 0.05, 0.001)
    yield from _lasting(draw, asics, "unit_reads_up", "reported_power_factor", 0.03, 1000.0)
    yield from _passing(draw, asics, "frozen", "frozen_reads", 20, (20, 300))
    yield from _passing(draw, asics, "hangs", "hangs", 30, (10, 400))
    yield from _passing(draw, asics, "dead", "dead", 10, (60, 1200))
    yield from _passing(draw, asics, "pool_loss", "pool_loss", 20, (20, 600))
    yield from _passing(draw, gpus, "gpu_lost", "lost", 6, (20, 300))
    if "reboots" in draw.on:
        yield from (_once(at_s, draw.random.choice(asics), "reboot_now") for at_s in draw.times(30))
    if "gpu_reset" in draw.on:
        yield from (_once(at_s, draw.random.choice(gpus), "reset_limit_now") for at_s in draw.times(10))
    if "forgetful_reboots" in draw.on and forgetful:
        for at_s in draw.times(20):
            name = draw.random.choice(forgetful)
            yield _once(at_s, name, "forgets_limit_on_reboot")
            yield _once(at_s + 0.1, name, "reboot_now")
    yield from _of_the_site(draw, asics)


def _of_the_site(draw: _Draw, asics: Sequence[str]) -> Iterator[Knob]:
    """What many machines share: pools, meters, cooling, an electrician."""
    meters = [meter.id for meter in draw.floor.plant.meters]
    zones = [zone.id for zone in draw.floor.plant.zones]
    breakers = [node.id for node in draw.floor.plant.nodes if node.id.startswith("brk")]
    if "site_pool_loss" in draw.on:
        for at_s in draw.times(1.5):
            begin_s, end_s = draw.span(at_s, 30, 600)
            yield from (Knob(at_s=begin_s, until_s=end_s, part=name, fault="pool_loss") for name in asics)
    yield from _passing(draw, meters, "meter_dead", "dead", 8, (10, 300))
    yield from _passing(draw, meters, "meter_frozen", "frozen_reads", 4, (20, 300))
    yield from _passing(draw, meters, "meter_unit", "reported_power_factor", 4, (20, 200), 0.001)
    yield from _passing(draw, zones, "fans_stop", "fans_stopped", 2, (60, 900))
    yield from _passing(
        draw, zones, "heat_wave", "supply_offset_c", 1, (600, 2400), draw.random.uniform(4, 14)
    )
    yield from _passing(draw, breakers, "breaker_off", "breaker_open", 3, (30, 300))


def _hot_zones(seed: int, draw: _Draw) -> Iterator[Knob]:
    """Fans stop on a hot day: the one or the other is borne, both are not."""
    draw = replace(draw, random=random.Random(f"{seed}/hot_zones"))
    if "hot_zones" not in draw.on:
        return
    zones = [zone.id for zone in draw.floor.plant.zones]
    for at_s in draw.times(4):
        zone, offset_c = draw.random.choice(zones), draw.random.uniform(6, 14)
        begin_s, end_s = draw.span(at_s, 200, 900)
        yield Knob(at_s=begin_s, until_s=end_s, part=zone, fault="supply_offset_c", value=offset_c)
        stops_s, runs_s = draw.span(begin_s + 30, 60, 300)
        if stops_s < runs_s:
            yield Knob(at_s=stops_s, until_s=runs_s, part=zone, fault="fans_stopped")


def _at_outlets(seed: int, draw: _Draw) -> Iterator[Knob]:
    """Machines that do not stop, one or many at once, and PDUs that are no help."""
    draw = replace(draw, random=random.Random(f"{seed}/{outlets.KIND}/faults"))
    if outlets.KIND not in draw.on:
        return
    pdus, machines = [pdu.id for pdu in draw.floor.plant.pdus], sorted(draw.floor.outlets)
    for at_s in draw.times(8) if machines else ():
        begin_s, end_s = draw.span(at_s, 200, 1500)
        fault = draw.random.choice(["refuses", "lies_about_stop"])
        for name in draw.victims(machines, draw.random.choice([0.05, 0.3])):
            yield Knob(at_s=begin_s, until_s=end_s, part=name, fault=fault)
        if draw.random.random() < 0.5:
            yield _of_a_pdu(draw, draw.random.choice(pdus), begin_s)


def _of_a_pdu(draw: _Draw, pdu: str, at_s: float) -> Knob:
    fault = draw.random.choice(["welded", "ignores_orders", "late_s", "dead"])
    value: bool | float = draw.random.uniform(1, 20) if fault == "late_s" else True
    begin_s, end_s = draw.span(at_s, 60, 1200)
    return Knob(at_s=begin_s, until_s=end_s, part=pdu, fault=fault, value=value)


def _lasting(
    draw: _Draw, of: Sequence[str], kind: str, fault: str, share: float, value: bool | float = True
) -> Iterator[Knob]:
    """Some machines are like this, most from the start and some later, until faults end."""
    if kind not in draw.on:
        return
    for name in draw.victims(of, share):
        at_s = 0.0 if draw.random.random() < 0.6 else draw.random.uniform(0, draw.calm_s)
        yield Knob(at_s=at_s, until_s=draw.calm_s, part=name, fault=fault, value=value)


def _passing(
    draw: _Draw,
    of: Sequence[str],
    kind: str,
    fault: str,
    per_hour: float,
    lasts_s: tuple[float, float],
    value: bool | float = True,
) -> Iterator[Knob]:
    if kind not in draw.on or not of:
        return
    for at_s in draw.times(per_hour):
        begin_s, end_s = draw.span(at_s, *lasts_s)
        yield Knob(at_s=begin_s, until_s=end_s, part=draw.random.choice(of), fault=fault, value=value)


def _once(at_s: float, part: str, fault: str) -> Knob:
    return Knob(at_s=at_s, until_s=at_s, part=part, fault=fault)


def _switch_failures(draw: _Draw) -> Iterator[Silence]:
    """A network switch goes: everything behind it is silent at once."""
    if "switch_failure" not in draw.on:
        return
    names = [spec.id for spec in draw.floor.specs]
    for at_s in draw.times(3):
        begin_s, end_s = draw.span(at_s, 10, 240)
        count = round(len(names) * draw.random.uniform(0.1, 0.7))
        yield Silence(at_s=begin_s, until_s=end_s, parts=frozenset(draw.random.sample(names, count)))


def _silences(draw: _Draw) -> Iterator[Silence]:
    """A sensor, or the program that keeps the queue, does not answer."""
    zones = [zone.id for zone in draw.floor.plant.zones]
    for kind, of in zip(SILENCES, (zones, [QUEUE]), strict=True):
        for at_s in draw.times(4) if kind in draw.on else ():
            begin_s, end_s = draw.span(at_s, 10, 400)
            yield Silence(at_s=begin_s, until_s=end_s, parts=frozenset([draw.random.choice(of)]))


def _operator_silences(draw: _Draw) -> Iterator[Silence]:
    if "broker_silence" not in draw.on:
        return
    for at_s in draw.times(4):
        begin_s, end_s = draw.span(at_s, 5, 400)
        yield Silence(at_s=begin_s, until_s=end_s)


def _second_silences(seed: int, draw: _Draw) -> Iterator[Silence]:
    """Each operator has a broker of its own."""
    if OPERATORS in draw.on:
        draw = replace(draw, random=random.Random(f"{seed}/{OPERATORS}/silences"))
        for at_s in draw.times(4):
            begin_s, end_s = draw.span(at_s, 5, 400)
            yield Silence(at_s=begin_s, until_s=end_s, operator=SECOND)


def _kills(draw: _Draw) -> Iterator[Kill]:
    """Apart far enough for each new process to take over."""
    if "kills" not in draw.on:
        return
    last_s = 0.0
    for at_s in draw.times(8):
        if at_s - last_s > 150 and at_s < draw.calm_s - 60:
            last_s = at_s
            yield Kill(at_s=at_s, sent=draw.random.randint(0, 6), down_s=draw.random.uniform(1, 12))


def _jumps(draw: _Draw) -> Iterator[tuple[float, float]]:
    """The wall clock steps, and is set right again."""
    if "utc_jumps" not in draw.on:
        return
    for at_s in draw.times(3):
        by_s = draw.random.choice([-1, 1]) * draw.random.choice([0.5, 3.0, 60.0, 3600.0])
        begin_s, end_s = draw.span(at_s, 5, 300)
        yield begin_s, by_s
        yield end_s, -by_s


def _prices(draw: _Draw) -> Iterator[tuple[float, Prices]]:
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
