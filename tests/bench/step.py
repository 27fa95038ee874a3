"""What one decision costs: `step` and `check` over a site of miners and GPUs in steady polling.

Run with `make bench-step`; the times are of the CPU. Every machine is read every five seconds, so each tick
hears a fifth of them.
"""

from __future__ import annotations

import random
import statistics
import sys
import time

from controller.decide.inputs import Inputs, Sample
from controller.decide.invariants import check
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.devices import (
    DeviceKind,
    DeviceSpec,
    MeterReading,
    OperatingPoint,
    Quality,
    Reading,
)
from controller.domain.grid import EventInterval, GridEvent, LimitSignal
from controller.domain.power import Limit, Power, total
from controller.domain.site import Node, Policy, Site

PER_BREAKER, PER_PDU, PER_TRANSFORMER = 8, 40, 1000
POLLS_APART = 5
TICKS = 40
UTC_S = 1.7e9


def plant(devices: int) -> tuple[Site, tuple[DeviceSpec, ...]]:
    """Four levels of nodes, four miners to one GPU, a site limit of 80 % of what everything wants."""
    nodes: list[Node] = []
    specs: list[DeviceSpec] = []
    for at in range(devices):
        if at % PER_TRANSFORMER == 0:
            nodes.append(Node(id=f"t{at}", parent="site", limit=Limit(Power(3_000_000)), meter=f"mt{at}"))
        if at % PER_PDU == 0:
            nodes.append(Node(id=f"p{at}", parent=nodes_id(nodes, "t"), limit=Limit(Power(120_000))))
        if at % PER_BREAKER == 0:
            nodes.append(Node(id=f"b{at}", parent=nodes_id(nodes, "p"), limit=Limit(Power(26_000))))
        specs.append(machine(at, nodes[-1].id if nodes[-1].id[0] == "b" else nodes_id(nodes, "b")))
    wanted = total(spec.points[-1].power for spec in specs)
    root = Node(id="site", limit=Limit(wanted.scaled(0.8)), meter="main")
    return Site(name="bench", nodes=(root, *nodes), policy=Policy(event_lead_s=0)), tuple(specs)


def nodes_id(nodes: list[Node], level: str) -> str:
    return next(node.id for node in reversed(nodes) if node.id[0] == level)


def machine(at: int, node: str) -> DeviceSpec:
    if at % 5 == 4:
        watts = range(200, 701, 25)
        points = [(f"{w}w", w, (w / 700) ** 0.6) for w in watts]
        kind, ceiling_w = DeviceKind.GPU, 700
    else:
        full_w = 3_000 + at % 7 * 100
        points = [("sleep", 20, 0.0), ("eco", round(full_w * 0.7), 150.0), ("full", full_w, 200.0)]
        kind, ceiling_w = DeviceKind.ASIC, full_w + 200
    return DeviceSpec(
        id=f"d{at:06}",
        kind=kind,
        node=node,
        points=tuple(OperatingPoint(name=name, power=Power(w), rate=rate) for name, w, rate in points),
        ceiling=Power(ceiling_w),
        dwell_s=0.0,
    )


class Bench:
    """A site whose machines are where they were told to be, with one per cent of noise."""

    def __init__(self, devices: int) -> None:
        self.site, self.specs = plant(devices)
        self.random = random.Random(1)
        self.at = {spec.id: spec.points[-1] for spec in self.specs}
        self.readings = {spec.id: self._reading(spec, 0.0) for spec in self.specs}
        self.state = State()
        self.events: tuple[GridEvent, ...] = ()

    def _reading(self, spec: DeviceSpec, now_s: float) -> Sample[Reading]:
        point = self.at[spec.id]
        draw = Power(round(point.power.watts * self.random.uniform(0.99, 1.0)))
        setting = Limit(point.power)
        reading = Reading(
            device=spec.id, draw=draw, quality=Quality.MEASURED, setting=setting, hottest_c=60.0
        )
        return Sample(now_s, reading)

    def tick(self, now_s: float) -> tuple[float, float]:
        """CPU seconds of `step` and of `check`."""
        for spec in self.specs[int(now_s) % POLLS_APART :: POLLS_APART]:
            self.readings[spec.id] = self._reading(spec, now_s)
        drawn = Power(sum(sample.value.draw.watts for sample in self.readings.values()))
        inputs = Inputs(
            now_s=now_s,
            utc_s=UTC_S + now_s,
            specs=self.specs,
            readings=dict(self.readings),
            meters={"main": Sample(now_s, MeterReading(meter="main", power=drawn))},
            events=self.events,
        )
        began_s = time.process_time()
        state, plan = step(self.site, self.state, inputs)
        stepped_s = time.process_time()
        check(self.site, self.state, inputs, state, plan)
        checked_s = time.process_time()
        self.state = state
        for command in plan.commands:
            self.at[command.device] = command.point
        return stepped_s - began_s, checked_s - stepped_s

    def curtail(self, share: float, now_s: float) -> None:
        power = total(spec.points[-1].power for spec in self.specs).scaled(share)
        interval = EventInterval(
            start_utc_s=UTC_S + now_s, end_utc_s=UTC_S + now_s + 3600, signals=(LimitSignal(power),)
        )
        self.events = (GridEvent(id="e", version_utc_s=UTC_S, source="bench", intervals=(interval,)),)


def main(sizes: list[int]) -> None:
    print(f"{'devices':>8} {'step ms':>9} {'check ms':>9} {'event tick ms':>14}   medians of {TICKS} ticks")
    for devices in sizes:
        bench = Bench(devices)
        for second in range(1, 16):
            bench.tick(float(second))
        times = [bench.tick(float(second)) for second in range(16, 16 + TICKS)]
        bench.curtail(0.4, 16.0 + TICKS)
        event_s = sum(bench.tick(16.0 + TICKS))
        step_ms, check_ms = (1000 * statistics.median(of) for of in zip(*times, strict=True))
        print(f"{devices:>8} {step_ms:>9.2f} {check_ms:>9.2f} {1000 * event_s:>14.1f}")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [100, 1_000, 10_000])
