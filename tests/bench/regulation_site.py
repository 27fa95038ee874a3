"""Following a regulation signal with a whole site: its score, with GPUs and by miners alone.

Run with `make bench-regulation-site`. The daemon with its real drivers runs in virtual time against the wire
protocols of a simulated container; base points come over its link, one every two seconds. What is scored is
what the plant truly draws at the moment at which each is sent, by the formula by which streams are settled.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from controller.decide.posts import floor_index
from controller.settlement.regulation import Floats, Score, score
from tests.bench.regulation import BAND, BASE, SAMPLE, read_signal
from tests.sim.daemon.container import CONTAINER, OTHER_W, SERVER_W, Container
from tests.sim.daemon.jobs import DEMAND_W
from tests.sim.daemon.regulated import PERIOD_S, STEP_S, Regulated

WARM_UP_S = 240.0
GPU_BASE_W = 475
"""About the middle between what a job needs and what it asks for."""
IN_MEMORY = Path("/dev/shm")
"""Every base point is made durable before it is followed."""
HEAD = """\
               the set-point             per miner and hour     GPU  P1: over  trips  dwell    CPU
          score (strict)     A     D     P   orders starts most  orders    s             s      s"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What following costs machines of a kind: per machine and hour; `most` is the most starts of any."""

    orders: float = 0.0
    starts: float = 0.0
    most: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`swing_w` is what the jobs let the GPUs give. `over_s` is for how long a node carried more than its
    limit, `trips` how often a breaker or machine switched off by itself, `dwell_s` the shortest time between
    two changes of a machine, less its dwell.
    """

    score: Score
    miners: Cost
    gpus: Cost
    swing_w: int
    over_s: float
    trips: int
    dwell_s: float
    cpu_s: float


def band_w(container: Container) -> float:
    """Half the width of the band."""
    return BAND * container.miners_w


def follow(signal: Floats, container: Container, *, seed: int) -> Result:
    began_s = time.process_time()
    base_w = BASE * container.miners_w + OTHER_W + container.servers * SERVER_W + container.gpus * GPU_BASE_W
    half_w = band_w(container)
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        site = Regulated(container, Path(folder), seed=seed)
        site.run([base_w + half_w * regd for regd in signal.tolist()], warm_up_s=WARM_UP_S)
    given = (np.array(site.drawn_w) - base_w) / half_w
    truth = site.plant.truth()
    hours = len(signal) * PERIOD_S / 3600
    return Result(
        score=score(signal[::SAMPLE], given[::SAMPLE]),
        miners=_cost(site, site.plant.miners, hours),
        gpus=_cost(site, site.plant.gpus, hours),
        swing_w=_swing_w(site),
        over_s=len({at_s for at_s, _, _ in site.over}) * STEP_S,
        trips=truth.breaker_trips + truth.miner_trips,
        dwell_s=site.told.shortest_dwell_s,
        cpu_s=time.process_time() - began_s,
    )


def _cost(site: Regulated, machines: Iterable[str], hours: float) -> Cost:
    names = list(machines)
    if not names:
        return Cost()
    starts = [site.told.starts(name, WARM_UP_S) for name in names]
    return Cost(
        orders=sum(site.told.sent(name, WARM_UP_S) for name in names) / len(names) / hours,
        starts=sum(starts) / len(names) / hours,
        most=max(starts),
    )


def _swing_w(site: Regulated) -> int:
    specs = [site.told.specs[name] for name in site.plant.gpus if name in site.told.specs]
    least_w = [spec.points[floor_index(spec, site.job)].power.watts for spec in specs]
    return len(specs) * DEMAND_W - sum(least_w)


def scaled(share: float, *, slower: float) -> Container:
    """So many of the container's machines."""
    kinds = tuple(replace(kind, count=max(1, round(share * kind.count))) for kind in CONTAINER)
    return Container(kinds=kinds, servers=max(1, round(share * 8)), slower=slower)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("signal", nargs="?", type=Path, help="a csv with a column `regd`, one row per 2 s")
    parser.add_argument("--share", type=float, default=1.0, help="of the container's machines")
    parser.add_argument("--seconds", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--slower", type=float, default=1.0, help="stretches the time that a miner takes to wake"
    )
    parser.add_argument("--only", choices=("gpus", "miners"))
    given = parser.parse_args(arguments)
    signal = read_signal(given.signal)[: given.seconds // 2 + 1]
    whole = scaled(given.share, slower=given.slower)
    half_w = band_w(whole)
    print(
        f"{sum(kind.count for kind in whole.kinds)} miners of {len(whole.kinds)} families with"
        f" {whole.miners_w / 1000:.0f} kW, {whole.gpus} GPUs;"
        f" +-{half_w / 1000:.0f} kW around {BASE:.0%} of the miners\n{HEAD}",
        flush=True,
    )
    for name, container in (("gpus", whole), ("miners", replace(whole, servers=0))):
        if given.only in (None, name):
            got = follow(signal, container, seed=given.seed)
            print(_row(name if name == "miners" else f"GPUs {got.swing_w / 2 / half_w:.0%}", got), flush=True)


def _row(name: str, got: Result) -> str:
    found, miners = got.score, got.miners
    return (
        f"{name:<9} {found.total:.3f} ({found.strict:.3f}) {found.accuracy:.3f} {found.delay:.3f}"
        f" {found.precision:.3f} {miners.orders:>7.1f} {miners.starts:>6.2f} {miners.most:>4}"
        f" {got.gpus.orders:>7.1f} {got.over_s:>5.1f} {got.trips:>9} {got.dwell_s:>6.1f} {got.cpu_s:>6.0f}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
