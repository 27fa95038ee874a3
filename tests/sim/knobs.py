"""Faults of single parts of the plant: which, when, and for how long.

Kinds that last leave each other's machines alone, where they can.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from controller.domain.devices import DeviceKind
from tests.sim import outlets
from tests.sim.floor import Floor

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


@dataclass(slots=True)
class Draw:
    """How a seed draws: how much goes wrong, on what, and who has a lasting fault already."""

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


def draw_knobs(seed: int, draw: Draw) -> tuple[Knob, ...]:
    """Those of later kinds have generators of their own."""
    return (*_of_machines(draw), *_hot_zones(seed, draw), *_at_outlets(seed, draw))


def by_time(knobs: Iterable[Knob]) -> tuple[Knob, ...]:
    return tuple(sorted(knobs, key=lambda knob: (knob.at_s, knob.part, knob.fault)))


def _of_machines(draw: Draw) -> Iterator[Knob]:
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


def _of_the_site(draw: Draw, asics: Sequence[str]) -> Iterator[Knob]:
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


def _hot_zones(seed: int, draw: Draw) -> Iterator[Knob]:
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


def _at_outlets(seed: int, draw: Draw) -> Iterator[Knob]:
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


def _of_a_pdu(draw: Draw, pdu: str, at_s: float) -> Knob:
    fault = draw.random.choice(["welded", "ignores_orders", "late_s", "dead"])
    value: bool | float = draw.random.uniform(1, 20) if fault == "late_s" else True
    begin_s, end_s = draw.span(at_s, 60, 1200)
    return Knob(at_s=begin_s, until_s=end_s, part=pdu, fault=fault, value=value)


def _lasting(
    draw: Draw, of: Sequence[str], kind: str, fault: str, share: float, value: bool | float = True
) -> Iterator[Knob]:
    """Some machines are like this, most from the start and some later, until faults end."""
    if kind not in draw.on:
        return
    for name in draw.victims(of, share):
        at_s = 0.0 if draw.random.random() < 0.6 else draw.random.uniform(0, draw.calm_s)
        yield Knob(at_s=at_s, until_s=draw.calm_s, part=name, fault=fault, value=value)


def _passing(
    draw: Draw,
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
