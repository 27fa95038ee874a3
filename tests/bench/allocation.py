"""What the allocation costs, and how far from the best it may be.

    python -m tests.bench.allocation [--sizes 100 1000 10000 100000] [--seeds 3] [--highs SECONDS]

Times are of whole calls, nothing kept between them: the median and the least. Each gap is to the relaxed
optimum, which no answer can pass. With `--highs` the same instances go to HiGHS: its optimum of the relaxed
problem must be the same, and its best whole answer in so many seconds is told as a gap to the same bound.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from controller.decide.allocate import Allocation, allocate
from tests.bench.fleets import Instance, breakers_only, fleet
from tests.decide.optimum import by_highs

SAME = 1e-9
"""Two optima of the relaxed problem that differ by no more, relative, are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    median_ms: float
    least_ms: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.allocation", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--highs", type=float, default=0.0, metavar="SECONDS")
    chosen = parser.parse_args()
    print(
        f"{'instance':20} {'devices':>7} {'seed':>4}  {'median ms':>9} {'least ms':>8}  {'gap %':>7}", end=""
    )
    print(f"  {'HiGHS gap %':>11}  {'ours less':>9}  {'relaxed':>9}" if chosen.highs else "")
    well = True
    for make in (fleet, breakers_only):
        for size in chosen.sizes:
            for seed in range(chosen.seeds):
                well = measure(make, size, seed, chosen.highs) and well
    return 0 if well else 1


def measure(make: Callable[[int, int], Instance], size: int, seed: int, highs_s: float) -> bool:
    """Prints a line; answers whether every promise was kept."""
    instance = make(size, seed)
    made = allocate(instance.menu, instance.room_w, instance.tree)
    cost = timed(instance, repeats=max(5, min(201, 200_000 // size)))
    line = f"{make.__name__:20} {size:7} {seed:4}  {cost.median_ms:9.2f} {cost.least_ms:8.2f}"
    line += f"  {100 * made.gap:7.4f}"
    well = bool(made.room_w.min() >= 0) and made.value <= made.bound
    if highs_s:
        relaxed = by_highs(instance.menu, instance.room_w, instance.tree, highs_s, whole=False)
        best = by_highs(instance.menu, instance.room_w, instance.tree, highs_s, whole=True)
        off = abs(relaxed - made.bound) / abs(made.bound)
        line += f"  {gap(best, made):11.4f}  {gap(made.value, made) - gap(best, made):9.4f}  {off:9.1e}"
        well = well and off < SAME
    print(line, flush=True)
    return well


def gap(value: float, made: Allocation) -> float:
    """In percent of the bound."""
    return 100 * (made.bound - value) / abs(made.bound)


def timed(instance: Instance, repeats: int) -> Cost:
    took: list[float] = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        allocate(instance.menu, instance.room_w, instance.tree)
        took.append(1000 * (time.perf_counter() - began_s))
    return Cost(median_ms=statistics.median(took), least_ms=min(took))


if __name__ == "__main__":
    sys.exit(main())
