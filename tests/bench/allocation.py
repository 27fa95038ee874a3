"""What the allocation costs, and how far from the best it may be.

    python -m tests.bench.allocation [--sizes 100 1000 10000 100000] [--seeds 3] [--highs SECONDS]

Times are medians over whole calls, nothing kept between them: on the clock, and of the processor. Each gap
is to the relaxed optimum, which no answer can pass. With `--highs` the same instances go to HiGHS: its
optimum of the relaxed problem must be the same, and its best whole answer in so many seconds is told as a
gap to the same bound.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from controller.decide.allocate import Allocation, Menu, allocate
from controller.decide.curve import Curve, chords, curve_of
from controller.decide.hulls import by_falling, hulls
from controller.decide.relaxed import relaxed
from controller.decide.tree import tree_of
from controller.domain.site import Node, Site
from tests.bench.fleets import Instance, breakers_only, fleet
from tests.decide.optimum import by_highs

SAME = 1e-9
"""Two optima of the relaxed problem that differ by no more, relative, are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of a call: time on the clock, and of the processor, which neighbours on the machine disturb less."""

    median_ms: float
    cpu_ms: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.allocation", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--highs", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--chords", type=int, default=32)
    chosen = parser.parse_args()
    print(f"{'instance':20} {'devices':>7} {'seed':>4}  {'median ms':>9} {'CPU ms':>8}  {'gap %':>7}", end="")
    print(f"  {'HiGHS gap %':>11}  {'ours less':>9}  {'relaxed':>9}" if chosen.highs else "")
    well = True
    for make in (fleet, breakers_only):
        for size in chosen.sizes:
            for seed in range(chosen.seeds):
                well = measure(make, size, seed, chosen.highs) and well
    exported(chosen.chords)
    return 0 if well else 1


def exported(k: int) -> None:
    """What it costs a parent to know each transformer's curve by `k` chords only."""
    lost = []
    for seed in range(3):
        instance = fleet(5_000, seed)
        menu, tree = instance.menu, instance.tree
        children = np.flatnonzero(tree.parent == 0).tolist()
        curves = [curve_of(menu, instance.room_w, tree, child) for child in children]
        known = [chords(curve, k) for curve in curves]
        exact = merged(curves, int(instance.room_w[0]))
        given = merged(known, int(instance.room_w[0]))
        gain = sum(np.interp(w, *curve) - curve[1][0] for w, curve in zip(exact, curves, strict=True))
        kept = sum(np.interp(w, *curve) - curve[1][0] for w, curve in zip(given, curves, strict=True))
        lost.append(100 * (1 - kept / gain))
    print(f"curves of 5 transformers by {k} chords: {min(lost):.4f} to {max(lost):.4f} % of the gain is lost")


def merged(curves: Sequence[Curve], room_w: int) -> list[int]:
    """Each child's grant, when a parent divides its room by these curves."""
    menu = Menu(
        node=np.zeros(len(curves), np.intp),
        start=np.cumsum([0, *(len(watts) for watts, _ in curves)]),
        watts=np.concatenate([watts for watts, _ in curves]),
        values=np.concatenate([values for _, values in curves]),
    )
    steps = hulls(menu.start, menu.watts, menu.values)
    steps = steps.take(by_falling(steps.slope))
    low = menu.start[:-1]
    site = tree_of(Site(name="parent", nodes=(Node(id="site"),)))
    left_w = np.array([room_w - menu.watts[low].sum()])
    taken_w = relaxed(steps.watts, menu.node[steps.device], left_w, site)
    grants = menu.watts[low].astype(np.float64) + np.bincount(steps.device, taken_w, len(curves))
    return [int(watts) for watts in grants]


def measure(make: Callable[[int, int], Instance], size: int, seed: int, highs_s: float) -> bool:
    """Prints a line; answers whether every promise was kept."""
    instance = make(size, seed)
    made = allocate(instance.menu, instance.room_w, instance.tree)
    cost = timed(instance, repeats=max(5, min(201, 200_000 // size)))
    line = f"{make.__name__:20} {size:7} {seed:4}  {cost.median_ms:9.2f} {cost.cpu_ms:8.2f}"
    line += f"  {100 * made.gap:7.4f}"
    well = bool(made.room_w.min() >= 0) and made.value <= made.bound
    if highs_s:
        relaxed = by_highs(instance.menu, instance.room_w, instance.tree, highs_s, whole=False)
        best = by_highs(instance.menu, instance.room_w, instance.tree, highs_s, whole=True)
        off = abs(relaxed - made.bound) / abs(made.bound)
        found = math.isfinite(best)  # within the time it may find no answer at all
        line += f"  {gap(best, made):11.4f}" if found else f"  {'none':>11}"
        line += f"  {100 * (best - made.value) / abs(made.bound):9.4f}" if found else f"  {'':9}"
        line += f"  {off:9.1e}"
        well = well and off < SAME
    print(line, flush=True)
    return well


def gap(value: float, made: Allocation) -> float:
    """In percent of the bound."""
    return 100 * (made.bound - value) / abs(made.bound)


def timed(instance: Instance, repeats: int) -> Cost:
    took_ms: list[float] = []
    cpu_ms: list[float] = []
    for _ in range(repeats):
        began_s, cpu_s = time.perf_counter(), time.thread_time()
        allocate(instance.menu, instance.room_w, instance.tree)
        took_ms.append(1000 * (time.perf_counter() - began_s))
        cpu_ms.append(1000 * (time.thread_time() - cpu_s))
    return Cost(median_ms=statistics.median(took_ms), cpu_ms=statistics.median(cpu_ms))


if __name__ == "__main__":
    sys.exit(main())
