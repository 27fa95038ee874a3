"""A whole site for storms: `BigPlant` behind a tree of breakers, PDUs, feeders and transformers, with meters,
cooling zones, outlets and a queue of GPU jobs; every tick is decided and checked, and its time taken.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from controller.decide.inputs import Inputs, Sample
from controller.decide.invariants import check
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.tree import load, tree_of
from controller.domain.devices import (
    DeviceSpec,
    MeterReading,
    OperatingPoint,
    Outcome,
    Reading,
    ThermalLimits,
    ZoneReading,
)
from controller.domain.grid import GridEvent
from controller.domain.jobs import FlexTier, Job, JobCommand, OnShortage
from controller.domain.power import Limit, Power
from controller.domain.site import Node, Policy, Prices, Site, Zone
from tests.bench.bigplant import BigPlant, Floats, Heard, Ints, Makeup
from tests.decide.world import Queue

UTC_S = 1.7e9
SIZES = (("transformer", 1_000), ("feeder", 200), ("pdu", 40), ("breaker", 8))
"""How many machines are below a node of each level."""
METERED = ("transformer", "feeder", "pdu")
SLEEP_W, IDLE_W = 20, 80
WIDTHS = (1, 1, 1, 2, 4, 8, 16)
RAMP_W_PER_S = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a site is made of. `busy` is the share of its GPUs that jobs run on at first, and as much waits
    as `waiting` says, beside it; `ramps`, its load may change only so fast."""

    asics: int = 10_000
    gpus: int = 1_000
    busy: float = 0.7
    waiting: float = 0.5
    ramps: bool = False


class Plant(BigPlant):
    """The machines, each behind its breaker: miners of four points, and GPUs that draw next to nothing while
    no job runs on them."""

    def __init__(self, kind: Kind, seed: int) -> None:
        super().__init__(Makeup(asics=kind.asics, gpus=kind.gpus), seed=seed)
        draw = random.Random(seed)
        self.site = site_of(kind)
        breakers = [node.id for node in self.site.nodes if node.id.startswith("breaker")]
        self.specs = tuple(
            _placed(spec, breakers[at // SIZES[-1][1]], draw) for at, spec in enumerate(self.specs)
        )
        self.site = _bounded(self.site, self.specs, draw)
        self.tree = tree_of(self.site)
        self.node = np.array([self.tree.index[spec.node] for spec in self.specs])
        self.told_w = np.array([float(spec.points[-1].power.watts) for spec in self.specs])
        self.goal_w = self._true_w(np.arange(len(self.specs)), self.told_w)
        self.from_w = self.goal_w.copy()
        self.working = np.zeros(len(self.specs), dtype=np.bool_)
        self.hottest_c = np.full(len(self.specs), 60.0)

    def watts(self, at_s: float | Floats, rows: Ints | None = None) -> Floats:
        drawn_w = super().watts(at_s, rows)
        idle = self.gpu & ~self.working
        idle = idle if rows is None else idle[rows]
        return np.where(idle, np.minimum(drawn_w, IDLE_W), drawn_w)

    def _reading(self, row: int, claims_w: int) -> Reading:
        found = super()._reading(row, claims_w)
        rate = float(self.working[row]) if self.gpu[row] else 0.0
        return replace(found, hottest_c=float(self.hottest_c[row]), rate=rate)

    def speak(self) -> None:
        """All machines hear and are heard again."""
        self.silent[:] = self.deaf[:] = False
        self._poll_s = np.maximum(self._poll_s, self.now_s)

    def metered(self) -> Iterator[Heard]:
        """What each meter of the site shows now."""
        noise = 1 + self.random.normal(0, 0.002, len(self.site.nodes))
        shown_w = load(self.tree, self.node, np.rint(self.watts(self.now_s)).astype(np.int64)) * noise
        for node, watts in zip(self.site.nodes, shown_w.tolist(), strict=True):
            if node.meter is not None:
                yield Heard(self.now_s, MeterReading(meter=node.meter, power=Power(round(watts))))


def site_of(kind: Kind) -> Site:
    """The tree without limits, and a cooling zone per transformer."""
    nodes = [Node(id="site", meter="site")]
    here = dict.fromkeys(("site", *(level for level, _ in SIZES)), "site")
    for at in range(kind.asics + kind.gpus):
        above = "site"
        for level, size in SIZES:
            if at % size == 0:
                here[level] = f"{level}{at:05}"
                meter = here[level] if level in METERED else None
                nodes.append(Node(id=here[level], parent=here[above], meter=meter))
            above = level
    zones = [node.id for node in nodes if node.id.startswith("transformer")]
    if kind.ramps:
        ramp = Limit(Power(RAMP_W_PER_S))
        nodes[0] = replace(nodes[0], ramp_up_per_s=ramp, ramp_down_per_s=ramp)
    return Site(
        name="storms",
        nodes=tuple(nodes),
        zones=tuple(Zone(id=zone, derate_c=32, trip_c=42) for zone in zones),
        policy=Policy(starts_per_tick=100),
    )


def _bounded(site: Site, specs: Iterable[DeviceSpec], draw: random.Random) -> Site:
    """With limits: three of ten breakers and PDUs bind, and so does the site."""
    tree = tree_of(site)
    top_w = np.array([spec.points[-1].power.watts for spec in specs])
    wanted_w = load(tree, np.array([tree.index[spec.node] for spec in specs]), top_w)
    share = [0.95 if draw.random() < 0.3 else draw.uniform(1.05, 1.3) for _ in site.nodes]
    share[0] = 0.97
    return replace(
        site,
        nodes=tuple(
            replace(node, limit=Limit(Power(round(watts * part))))
            for node, watts, part in zip(site.nodes, wanted_w.tolist(), share, strict=True)
        ),
    )


def _placed(spec: DeviceSpec, breaker: str, draw: random.Random) -> DeviceSpec:
    at = int(breaker.removeprefix("breaker"))
    zone = f"transformer{at - at % SIZES[0][1]:05}"
    spec = replace(spec, node=breaker, zone=zone, thermal=ThermalLimits(derate_c=85, trip_c=95, warn_c=80))
    if spec.id[0] == "g":
        return spec
    full_w, ths = 3_000 + draw.randrange(8) * 100, draw.uniform(150, 220)
    points = [(SLEEP_W, 0.0), (full_w * 7 // 10, 0.78), (full_w * 85 // 100, 0.9), (full_w, 1.0)]
    return replace(
        spec,
        points=tuple(
            OperatingPoint(name=f"{watts}w", power=Power(watts), rate=ths * rate) for watts, rate in points
        ),
        ceiling=Power(full_w * 11 // 10),
        has_outlet=draw.random() < 0.3,
    )


def jobs_of(gpus: int, draw: random.Random, name: str) -> Iterator[Job]:
    """Jobs of all kinds for so many GPUs."""
    while gpus > 0:
        width = min(gpus, draw.choice(WIDTHS))
        gpus -= width
        yield Job(
            id=f"{name}{gpus:05}",
            gpus=width,
            usd_per_gpu_hour=round(draw.uniform(0.3, 4), 2),
            flex=draw.choice(tuple(FlexTier)),
            on_shortage=draw.choice(tuple(OnShortage)),
        )


class Storm:
    """The site under the core, a tick at a time; scenarios change it between ticks."""

    def __init__(self, kind: Kind, *, seed: int = 1) -> None:
        self.draw = random.Random(seed)
        self.plant = Plant(kind, seed)
        self.site = self.plant.site
        self.kind = kind
        gpus = tuple(spec.id for spec in self.plant.specs[kind.asics :])
        self.queue = Queue("q", gpus)
        self.events: tuple[GridEvent, ...] = ()
        self.prices = Prices()
        self.dead_meters: set[str | None] = set()
        self.zones = {zone.id: ZoneReading(zone=zone.id, inlet_c=25.0) for zone in self.site.zones}
        self.readings: dict[str, Sample[Reading]] = {}
        self.meters: dict[str, Sample[MeterReading]] = {}
        self.outcomes: dict[str, Sample[Outcome]] = {}
        self.state = State()
        self._job_orders: list[JobCommand] = []
        for share, name in ((kind.busy, "r"), (kind.waiting, "w")):
            for job in jobs_of(round(kind.gpus * share), self.draw, name):
                self.queue.submit(job)

    @property
    def now_s(self) -> float:
        return self.plant.now_s

    def nodes(self, level: str) -> list[Node]:
        """Those of one level of the tree."""
        return [node for node in self.site.nodes if node.id.startswith(level)]

    def tick(self, tick_s: float = 1.0) -> tuple[float, Plan]:
        """Let time go on, and decide: the CPU seconds of that and of its check, and the plan."""
        self.plant.advance(self.now_s + tick_s)
        for order in self._job_orders:
            self.queue.carry_out(order)
        self.plant.working[:] = False
        self.plant.working[[self.plant.row[gpu] for gpu in self.queue.busy]] = True
        self._hear()
        inputs = Inputs(
            now_s=self.now_s,
            utc_s=UTC_S + self.now_s,
            specs=self.plant.specs,
            readings=dict(self.readings),
            meters=dict(self.meters),
            zones={zone: Sample(self.now_s, reading) for zone, reading in self.zones.items()},
            outcomes=dict(self.outcomes),
            queues=(self.queue.reading,),
            events=self.events,
            prices=self.prices,
        )
        began_s = time.process_time()
        state, plan = step(self.site, self.state, inputs)
        check(self.site, self.state, inputs, state, plan)
        took_s = time.process_time() - began_s
        self.plant.send(plan.commands)
        self._job_orders = list(plan.job_commands)
        self.state = state
        gc.freeze()
        return took_s, plan

    def _hear(self) -> None:
        for heard in (*self.plant.heard(), *self.plant.metered()):
            match heard.said:
                case Reading():
                    self.readings[heard.said.device] = Sample(heard.at_s, heard.said)
                case MeterReading():
                    if heard.said.meter not in self.dead_meters:
                        self.meters[heard.said.meter] = Sample(heard.at_s, heard.said)
                case (device, outcome):
                    self.outcomes[device] = Sample(heard.at_s, outcome)
