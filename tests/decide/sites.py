"""Sites, machines and inputs drawn from a seed: the same seed always gives the same ones."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from controller.decide.inputs import Inputs, Sample
from controller.domain.devices import (
    Acknowledged,
    Cooling,
    DeviceKind,
    DeviceSpec,
    Failed,
    MeterReading,
    OperatingPoint,
    Outcome,
    Quality,
    Reading,
    Refused,
    ThermalLimits,
    ZoneReading,
)
from controller.domain.grid import GridEvent, Link
from controller.domain.jobs import FlexTier, JobState, JobStatus, OnShortage, QueueReading
from controller.domain.power import Limit, Power
from controller.domain.site import LinkLost, Node, Service, Site, Zone
from tests.decide.builders import NOW_S, UTC_S, bound, event, gpu, job, miner, node, site
from tests.decide.world import Machine, Queue, World, asleep

ANSWERS: tuple[Outcome, ...] = (Acknowledged(), Refused("no"), Failed("timeout"))
OPERATORS = ("", "dsx")
SERVICES = (Service.IN_SERVICE, Service.IN_SERVICE, Service.DRAINING, Service.ISOLATED)
ZONES = (Zone(id="hall", derate_c=30.0, trip_c=40.0),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A tree and what stands in it, without limits yet."""

    parents: dict[str, str]
    specs: tuple[DeviceSpec, ...]

    def way(self, place: str) -> tuple[str, ...]:
        return (place, *(self.way(self.parents[place]) if place in self.parents else ()))

    def range_w(self, place: str) -> tuple[int, int]:
        """The least and the most that the devices below a place are meant to draw."""
        below = [spec for spec in self.specs if place in self.way(spec.node)]
        return (
            sum(spec.floor.power.watts for spec in below),
            sum(spec.points[-1].power.watts for spec in below),
        )


def shape(draw: random.Random, devices: int) -> Shape:
    places, parents = ["site"], {}
    for at in range(draw.randint(0, 5)):
        parents[f"n{at}"] = draw.choice(places)
        places.append(f"n{at}")
    specs = tuple(_spec(draw, at, draw.choice(places)) for at in range(draw.randint(1, devices)))
    return Shape(parents=parents, specs=specs)


def _spec(draw: random.Random, at: int, where: str) -> DeviceSpec:
    dwell_s = draw.choice([0.0, 10.0, 60.0])
    zone = draw.choice([None, None, "hall"])
    if draw.random() < 0.35:
        return gpu(f"g{at:02}", where, dwell_s=dwell_s, zone=zone)
    return miner(
        f"m{at:02}",
        where,
        dwell_s=dwell_s,
        boots_s=draw.choice([0.0, 30.0]),
        zone=zone,
        keeps_limit=draw.random() < 0.3,
        keeps_sleep=at % 3 == 0,
        settle_down_s=draw.choice([5.0, 10.0]),
        stale_after_s=draw.choice([6.0, 15.0]),
        thermal=draw.choice([None, ThermalLimits(derate_c=80.0, trip_c=90.0)]),
    )


def site_of(draw: random.Random, of: Shape, *, least: float, margin: float = 0.01) -> Site:
    """Limits somewhere between `least` of the range of what is below a node and more than all of it."""

    def limit_w(place: str) -> int | None:
        low, high = of.range_w(place)
        return (
            None if draw.random() < 0.3 else round(low * 1.05 + draw.uniform(least, 1.1) * (high - low)) + 50
        )

    def meter(place: str) -> str | None:
        return f"{place}-meter" if draw.random() < 0.5 else None

    below: list[Node] = [
        node(place, parent, limit_w=limit_w(place), meter=meter(place))
        for place, parent in of.parents.items()
    ]
    return site(
        *below,
        limit_w=limit_w("site"),
        meter=meter("site"),
        zones=ZONES,
        margin=margin,
        retry_s=10.0,
        start_grace_s=10.0,
        event_lead_s=draw.choice([0.0, 15.0]),
    )


# A world that obeys, or does not


def world_of(seed: int, *, devices: int = 8, jobs: bool = True) -> World:
    """Machines at rest, in zones that are cool, on a site that can carry at least their floors."""
    draw = random.Random(seed)
    of = shape(draw, devices)
    machines = [
        asleep(
            spec,
            share=draw.choice([1.0, 1.0, 0.97, 0.92]),
            delay_s=draw.uniform(0.1, 2.5),
            rise_s=draw.choice([0.0, 0.0, 10.0, 40.0]),
            tells_setting=spec.kind is DeviceKind.GPU or draw.random() < 0.7,
            hottest_c=60.0,
        )
        for spec in of.specs
    ]
    here = site_of(draw, of, least=0.2)
    queues = _queues(draw, machines) if jobs else []
    world = World(
        here,
        machines,
        seed=seed,
        poll_s=draw.choice([1.0, 2.0, 4.0]),
        meter_lag_s=draw.choice([0.0, 1.0, 2.0, 4.0]),
        queues=queues,
    )
    cool = ZoneReading(zone="hall", inlet_c=20.0)
    world.zones = {"hall": Sample(math.inf, cool)}
    return world


def _queues(draw: random.Random, machines: list[Machine]) -> list[Queue]:
    gpus = tuple(machine.spec.id for machine in machines if machine.spec.kind is DeviceKind.GPU)
    queue = Queue("q", gpus)
    for at in range(draw.randint(0, len(gpus) + 1)):
        queue.submit(
            job(
                f"j{at}",
                gpus=draw.choice([1, 1, 2]),
                usd=draw.choice([0.5, 1.0, 3.0]),
                flex=draw.choice(list(FlexTier)),
                on_shortage=draw.choice(list(OnShortage)),
            )
        )
    return [queue]


FAULTS = ("silent", "lies", "refuses", "deaf", "forget", "meter", "event")


def trouble(world: World, draw: random.Random, kind: str) -> None:
    """One thing goes wrong, or the grid asks for less."""
    machine = draw.choice(list(world.machines.values()))
    match kind:
        case "forget":
            machine.go(machine.spec.points[-1], world.now_s)
        case "meter":
            world.dead_meters.update(place.meter for place in world.site.nodes if place.meter is not None)
        case "event":
            start_s = world.now_s + draw.uniform(0, 20)
            least_w = sum(machine.spec.floor.power.watts for machine in world.machines.values())
            limit_w = round(least_w * 1.1 + draw.uniform(0.1, 0.9) * max(0.0, world.watts() - least_w)) + 20
            name = f"event-{len(world.events)}"
            world.events += (
                event(name, limit_w=limit_w, start_s=start_s, end_s=start_s + draw.uniform(20, 60)),
            )
        case _:
            setattr(machine, kind, True)


def calm(world: World) -> None:
    for machine in world.machines.values():
        machine.silent = machine.lies = machine.refuses = machine.deaf = False
    world.dead_meters.clear()


# Inputs that mean nothing and must break nothing


class Chaos:
    """Inputs of one second after the other in which anything may be said by anybody."""

    def __init__(self, seed: int, devices: int = 7) -> None:
        self.draw = random.Random(seed)
        self.shape = shape(self.draw, devices)
        self.specs = list(self.shape.specs)
        self.site = site_of(self.draw, self.shape, least=-0.3)
        if self.draw.random() < 0.4:
            last = self.site.nodes[-1].id
            policy = replace(
                self.site.policy,
                starts_per_tick=self.draw.choice([0, 1, 1_000]),
                link_lost_limit=bound(self.draw.choice([None, 0, 3_000])),
                link_lost=self.draw.choice([(), (LinkLost(operator="dsx", limit=Power(2_000), node=last),)]),
            )
            places = [
                replace(
                    place,
                    ramp_up_per_s=bound(self.draw.choice([None, 0, 300, 5_000])),
                    ramp_down_per_s=bound(self.draw.choice([None, 300, 5_000])),
                )
                for place in self.site.nodes
            ]
            self.site = replace(self.site, nodes=tuple(places), policy=policy)
        if self.draw.random() < 0.3:
            places = [replace(place, service=self.draw.choice(SERVICES)) for place in self.site.nodes]
            self.site = replace(self.site, nodes=tuple(places))
        self.now_s = NOW_S
        self.readings: dict[str, Sample[Reading]] = {}
        self.outcomes: dict[str, Sample[Outcome]] = {}
        self.meters: dict[str, Sample[MeterReading]] = {}
        self.zones: dict[str, Sample[ZoneReading]] = {}
        self.queues: tuple[QueueReading, ...] = ()
        self.events: tuple[GridEvent, ...] = ()

    def inputs(self) -> Inputs:
        draw = self.draw
        self.now_s += draw.choice([0.2, 1.0, 1.0, 1.0, 5.0, 30.0])
        for spec in self.specs:
            if draw.random() < 0.6:
                self.readings[spec.id] = Sample(self._lately(), self._reading(spec))
            if draw.random() < 0.4:
                self.outcomes[spec.id] = Sample(self._lately(), draw.choice(ANSWERS))
        for place in self.site.nodes:
            if place.meter is not None and draw.random() < 0.7:
                power = Power(draw.choice([0, draw.randint(-500, 40_000)]))
                self.meters[place.meter] = Sample(
                    self._lately(), MeterReading(meter=place.meter, power=power)
                )
        if draw.random() < 0.5:
            cooling = draw.choice([Cooling.PROVEN, Cooling.PROVEN, Cooling.NOT_PROVEN])
            hall = ZoneReading(zone="hall", inlet_c=draw.uniform(10, 50), cooling=cooling)
            self.zones["hall"] = Sample(self._lately(), hall)
        if draw.random() < 0.3:
            self.queues = tuple(self._queue(name) for name in ("q0", "q1"))
        if draw.random() < 0.2:
            self.events = tuple(self._event(at) for at in range(draw.randint(0, 4)))
        if draw.random() < 0.1:
            self._narrow()
        return Inputs(
            now_s=self.now_s,
            utc_s=UTC_S + self.now_s - NOW_S,
            specs=tuple(self.specs),
            readings=dict(self.readings),
            outcomes=dict(self.outcomes),
            meters=dict(self.meters),
            zones=dict(self.zones),
            queues=self.queues,
            events=self.events,
            links={name: draw.choice([Link.UP, Link.LOST]) for name in OPERATORS if draw.random() < 0.5},
        )

    def _lately(self) -> float:
        return self.now_s - self.draw.choice([0.0, 0.0, 0.3, 2.0, 20.0])

    def _reading(self, spec: DeviceSpec) -> Reading:
        draw = self.draw
        point: OperatingPoint = draw.choice(spec.points)
        around_w = round(point.power.watts * draw.choice([1.0, 1.0, draw.uniform(0.8, 1.2)]))
        limit_w = draw.choice([None, point.power.watts, point.power.watts, draw.randint(0, 4_500)])
        return Reading(
            device=spec.id,
            draw=Power(draw.choice([around_w, around_w, draw.randint(0, 4_000)])),
            quality=draw.choice(list(Quality)),
            setting=bound(limit_w),
            hottest_c=draw.choice([None, draw.uniform(20, 110)]),
            margin_c=draw.choice([None, None, draw.uniform(-5, 40)]),
        )

    def _queue(self, name: str) -> QueueReading:
        draw = self.draw
        gpus = [spec.id for spec in self.specs if spec.kind is DeviceKind.GPU]
        jobs = []
        for at in range(draw.randint(0, 3)):
            it = job(
                f"j{at}",
                gpus=draw.randint(1, 2),
                usd=draw.choice([0.1, 2.0, 50.0]),
                flex=draw.choice(list(FlexTier)),
                on_shortage=draw.choice(list(OnShortage)),
            )
            state = draw.choice(list(JobState))
            holds = state in (JobState.RUNNING, JobState.SUSPENDED) and gpus
            held = tuple(draw.sample(gpus, min(it.gpus, len(gpus)))) if holds else ()
            jobs.append(JobStatus(job=it, state=state, gpus=held))
        return QueueReading(queue=name, jobs=tuple(jobs), gpus=(*gpus, "elsewhere"))

    def _event(self, at: int) -> GridEvent:
        draw = self.draw
        start_s = self.now_s + draw.uniform(-20, 60)
        return event(
            f"e{at}",
            start_s=start_s,
            end_s=start_s + draw.choice([5.0, 60.0, math.inf]),
            limit_w=draw.choice([None, 0, draw.randint(0, 30_000)]),
            target_w=draw.choice([None, None, draw.randint(0, 30_000)]),
            usd_per_kwh=draw.choice([None, None, draw.uniform(-2, 2), 1e9]),
            priority=draw.randint(0, 2),
            version_utc_s=float(draw.randint(0, 2)),
            best_effort=draw.random() < 0.2,
            ramp_deadline_s=draw.choice([0.0, 0.0, 30.0]),
            node=draw.choice(["", *(node.id for node in self.site.nodes)]) if draw.random() < 0.2 else "",
            operator=draw.choice(OPERATORS),
        )

    def _narrow(self) -> None:
        """The first contact tells that a device can do less than was configured, or something else."""
        draw = self.draw
        at = draw.randrange(len(self.specs))
        spec = self.specs[at]
        kept = tuple(point for point in spec.points if draw.random() < 0.7) or spec.points[:1]
        if draw.random() < 0.5:
            kept = tuple(replace(point, power=Power(point.power.watts - 7)) for point in kept)
        self.specs[at] = replace(spec, points=kept)


def limit_w(of: Site, place: Node) -> float:
    return place.limit.power.watts if isinstance(place.limit, Limit) else math.inf
