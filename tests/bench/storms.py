"""What the core costs in bad moments: each tick of a storm over 10,000 miners and 1,000 GPUs, or a campus.

Run with `make bench-storms`; STORMS= names some of them. The times are of the CPU, of `step` and `check`
together: `usual` is the median before the storm, `median` and `worst` are of the storm itself, `second` is
when the worst was. Where two versions have the same `plans`, they decided the same in every tick.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import math
import multiprocessing
import statistics
import sys
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np

from controller.decide.plan import Plan
from controller.domain.devices import Cooling
from controller.domain.grid import GridEvent, LimitSignal, Signal, TargetSignal
from controller.domain.power import Limit, Power
from controller.domain.site import Node
from tests.bench.rig import event
from tests.bench.stormsite import Kind, Storm

BEGINS = 5
"""The second in which a storm begins; those before it are usual."""
Happens = Callable[[Storm, int], None]
"""Changes a site before the tick of that second."""

SITE, CAMPUS = Kind(), Kind(gpus=10_900)
RAMPS = replace(SITE, ramps=True)


def capped(share: float, ends: int = 60) -> Happens:
    """A limit without notice, and its end: thousands stop, and start again."""

    def happens(storm: Storm, second: int) -> None:
        if second == BEGINS:
            storm.events = (told(storm, "cap", LimitSignal(part(storm.site.root, share))),)
        if second == ends:
            storm.events = ()

    return happens


def steered(storm: Storm, second: int) -> None:
    """A set-point that moves every four seconds."""
    if second >= BEGINS and (second - BEGINS) % 4 == 0:
        share = 0.6 + 0.25 * math.sin(second / 15)
        storm.events = (told(storm, "agc", TargetSignal(part(storm.site.root, share))),)


def silent(share: float, ends: int = 60) -> Happens:
    """A dead switch: the first of all machines neither hear nor are heard, and are back later."""

    def happens(storm: Storm, second: int) -> None:
        plant = storm.plant
        if second == BEGINS:
            rows = slice(round(share * len(plant.specs)))
            plant.silent[rows] = plant.deaf[rows] = True
        if second == ends:
            plant.speak()

    return happens


def unheard(storm: Storm, second: int) -> None:
    """All telemetry is lost: no machine is heard, and no meter."""
    silent(1.0)(storm, second)
    if second == BEGINS:
        storm.dead_meters = {node.meter for node in storm.site.nodes if node.meter is not None}
    if second == 60:
        storm.dead_meters = set()


def disobeyed(share: float, *, lies: bool) -> Happens:
    """A limit that so many miners refuse, or say yes to and do nothing."""

    def happens(storm: Storm, second: int) -> None:
        capped(0.5)(storm, second)
        if second == BEGINS:
            plant = storm.plant
            some = (plant.random.random(len(plant.specs)) < share) & ~plant.gpu
            plant.lies, plant.refuses = some & lies, some & (not lies)

    return happens


def hot(storm: Storm, second: int) -> None:
    """Two thousand machines at once, then the air of four halls, then one that is not proven to be cooled."""
    halls = list(storm.zones)
    if second == BEGINS:
        storm.plant.hottest_c[storm.draw.sample(range(len(storm.plant.specs)), 2_000)] = 88.0
    if second == 20:
        storm.zones |= {hall: replace(storm.zones[hall], inlet_c=35.0) for hall in halls[:4]}
    if second == 35:
        storm.zones[halls[5]] = replace(storm.zones[halls[5]], cooling=Cooling.NOT_PROVEN)


def priced(storm: Storm, second: int) -> None:
    """Other prices each second, and now and then many machines are not worth their power."""
    if second >= BEGINS:
        usd_per_kwh = 0.09 + 0.03 * math.sin(second / 3)
        storm.prices = replace(storm.prices, usd_per_kwh=usd_per_kwh)


def feeders(storm: Storm, second: int) -> None:
    """A limit for each feeder by itself: jobs lack watts in many places."""
    if second == BEGINS:
        storm.events = tuple(limit_of(storm, node, 0.5) for node in storm.nodes("feeder"))


def announced(storm: Storm, second: int) -> None:
    """Fifty events at once for later: limits and set-points, of the site and of places within it."""
    if second != BEGINS:
        return
    found, places = [], storm.nodes("feeder")
    for at in range(50):
        node = storm.site.root if at % 2 == 0 else places[at % len(places)]
        watts = part(node, 0.02 + 0.018 * at)
        signal = TargetSignal(watts) if at % 4 == 2 else LimitSignal(watts)
        one = told(storm, f"e{at}", signal, in_s=30 + 40 * at)
        found.append(replace(one, node=node.id, best_effort=at % 8 == 4))
    storm.events = tuple(found)


def gpus_capped(storm: Storm, second: int) -> None:
    """Each hall of GPUs may draw half of what it is rated for: a third of the jobs is set aside."""
    if second == BEGINS:
        halls = storm.nodes("transformer")[storm.kind.asics // 1_000 :]
        storm.events = tuple(limit_of(storm, hall, 0.5) for hall in halls)


STORMS: dict[str, tuple[Kind, Happens, int]] = {
    "cap-0": (SITE, capped(0.0), 90),
    "cap-10": (SITE, capped(0.1), 90),
    "cap-50": (SITE, capped(0.5), 90),
    "steered": (SITE, steered, 40),
    "silent-half": (SITE, silent(0.5), 80),
    "unheard": (SITE, unheard, 80),
    "refused": (SITE, disobeyed(0.3, lies=False), 60),
    "lied": (SITE, disobeyed(1.0, lies=True), 60),
    "hot": (SITE, hot, 45),
    "priced": (SITE, priced, 30),
    "feeders": (SITE, feeders, 20),
    "announced": (SITE, announced, 40),
    "gpus-capped": (SITE, gpus_capped, 20),
    "ramps-cap-10": (RAMPS, capped(0.1), 90),
    "campus-cap-10": (CAMPUS, capped(0.1, ends=15), 30),
    "campus-gpus-capped": (CAMPUS, gpus_capped, 10),
}


def told(storm: Storm, name: str, signal: Signal, in_s: float = 0.0) -> GridEvent:
    """It lasts for an hour from the next second on, or from later."""
    start_s = storm.now_s + 1 + in_s
    return event(name, signal, start_s, start_s + 3600, version=round(storm.now_s))


def part(node: Node, share: float) -> Power:
    """A share of what a node may carry."""
    assert isinstance(node.limit, Limit)
    return node.limit.power.scaled(share)


def limit_of(storm: Storm, node: Node, share: float) -> GridEvent:
    return replace(told(storm, node.id, LimitSignal(part(node, share))), node=node.id)


def settled(kind: Kind) -> Storm:
    """A site at rest: all was told and heard long ago."""
    storm = Storm(kind)
    for second in range(85):
        storm.tick(1.0 if second < 20 or second >= 80 else 5.0)
    gc.collect()
    gc.freeze()
    return storm


def play(storm: Storm, name: str) -> None:
    """One storm, in a process of its own."""
    _, happens, lasts = STORMS[name]
    ticks_ms, mark = [], hashlib.sha256()
    for second in range(lasts):
        happens(storm, second)
        cpu_s, plan = storm.tick()
        ticks_ms.append(1000 * cpu_s)
        mark.update(said(plan))
    during_ms = ticks_ms[BEGINS:]
    usual_ms, median_ms = (statistics.median(some) for some in (ticks_ms[:BEGINS], during_ms))
    worst_ms, plans = max(during_ms), mark.hexdigest()[:8]
    print(
        f"{name:<20} {usual_ms:>9.0f} {median_ms:>10.0f} {worst_ms:>9.0f}"
        f" {during_ms.index(worst_ms):>7}   {plans}",
        flush=True,
    )


def said(plan: Plan) -> bytes:
    """All that a plan says."""
    parts: list[object] = []
    for of in (plan.grants, plan.nodes):
        values = [getattr(of, field.name) for field in fields(of) if field.name not in ("specs", "row")]
        parts += [one.tobytes() if isinstance(one, np.ndarray) else one for one in values]
    orders = (plan.commands, plan.raised, plan.job_commands, plan.alarms, plan.standings, plan.outlooks)
    return repr((parts, orders, plan.cap, plan.cap_event, plan.least, plan.value_per_hour, plan.gap)).encode()


def main(names: list[str]) -> None:
    if unknown := set(names) - STORMS.keys():
        sys.exit(f"no such storm: {', '.join(sorted(unknown))}; there are {', '.join(STORMS)}")
    print(f"{'storm':<20} {'usual ms':>9} {'median ms':>10} {'worst ms':>9} {'second':>7}   plans")
    wanted = [name for name in STORMS if not names or name in names]
    gc.set_threshold(10_000_000)  # as the daemon, which looks for garbage between ticks
    for kind in dict.fromkeys(STORMS[name][0] for name in wanted):
        storm = settled(kind)
        for name in wanted:
            if STORMS[name][0] == kind:
                playing = multiprocessing.get_context("fork").Process(target=play, args=(storm, name))
                playing.start()
                playing.join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("storms", nargs="*", help=f"of {', '.join(STORMS)}; all if none is named")
    main(parser.parse_args().storms)
