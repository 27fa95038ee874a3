"""Following a regulation signal: the score that a grid operator would give, and what it costs in switches.

Run with `make bench-regulation`. The plant is `tests/bench/bigplant.py`; what it draws is judged, not what
the controller believes. The score is the one by which streams are settled.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from controller.decide.plan import Plan
from controller.domain.grid import TargetSignal
from controller.domain.power import Power
from controller.settlement.regulation import Floats, Score, score
from tests.bench.bigplant import BigPlant, Makeup
from tests.bench.rig import Rig, event

TICK_S = 2.0
SAMPLE = 5
"""A score takes every fifth 2-s value."""
BAND = 0.10
"""Half the width of the band, as a share of the site at full."""
BASE = 0.85
WARM_UP_S = 240.0


def regd_like(seconds: int, seed: int = 7) -> Floats:
    """A signal like PJM's fast one, every two seconds: back at zero within minutes, always in -1..1."""
    random = np.random.default_rng(seed)
    steps = seconds // 2 + 1
    slow, found = 0.0, np.zeros(steps)
    speed = 0.0
    for at in range(1, steps):
        speed = 0.93 * speed - 0.0006 * slow + 0.0075 * float(random.normal())
        slow = min(1.0, max(-1.0, slow + speed))
        if abs(slow) == 1.0:
            speed = 0.0
        found[at] = slow
    return found


def read_signal(path: Path | None) -> Floats:
    if path is None:
        return regd_like(2400)
    with path.open(newline="") as lines:
        return np.array([float(row["regd"]) for row in csv.DictReader(lines)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    score: Score
    switches_per_hour: float
    most_switches: int
    worst_dwell_s: float
    cpu_ms: float


def follow(signal: Floats, *, asics: int, gpu_share: float, seed: int) -> Result:
    """`gpu_share` is the whole swing of the GPUs over the whole width of the band."""
    makeup = Makeup(asics=asics)
    full_w = asics * makeup.asic_w * (1 + makeup.bias)
    swing_w = makeup.gpu_w[1] - makeup.gpu_w[0]
    gpus = round(gpu_share * 2 * BAND * full_w / swing_w)
    plant = BigPlant(Makeup(asics=asics, gpus=gpus), seed=seed, awake=BASE)
    base_w = BASE * full_w + gpus * sum(makeup.gpu_w) / 2
    band_w = BAND * full_w
    rig = Rig(plant, tick_s=TICK_S, limit_w=round(1.5 * (full_w + gpus * makeup.gpu_w[1])), lead_s=0.0)
    dwell = DwellWatch(plant)

    def ask(regd: float, version: int) -> None:
        target = TargetSignal(Power(round(base_w + regd * band_w)))
        rig.events = (event("agc", target, 0.0, version=version),)
        rig.until(plant.now_s + TICK_S, look_s=TICK_S)
        dwell.told(rig.tick(), plant.now_s)

    for at in range(round(WARM_UP_S / TICK_S)):
        ask(float(signal[0]), at)
    plant.switches[:] = 0
    response = []
    for at, regd in enumerate(signal.tolist()):
        response.append((plant.site_w() - base_w) / band_w)
        ask(regd, 1000 + at)
    given = np.array([*response[1:], (plant.site_w() - base_w) / band_w])
    hours = len(signal) * TICK_S / 3600
    return Result(
        score=score(signal[::SAMPLE], given[::SAMPLE]),
        switches_per_hour=float(plant.switches[:asics].mean()) / hours,
        most_switches=int(plant.switches[:asics].max()),
        worst_dwell_s=dwell.shortest_s,
        cpu_ms=1000 * float(np.median(rig.cpu_s)),
    )


class DwellWatch:
    """The shortest time between two commands that put a machine somewhere else, less its dwell; of machines
    that do what they are told.
    """

    def __init__(self, plant: BigPlant) -> None:
        self.plant = plant
        self.last: dict[str, tuple[float, str]] = {}
        self.shortest_s = float("inf")

    def told(self, plan: Plan, now_s: float) -> None:
        plant = self.plant
        for command in plan.commands:
            row = plant.row[command.device]
            if plant.deaf[row] or plant.refuses[row] or plant.lies[row]:
                continue
            spec = plant.specs[row]
            at_s, point = self.last.get(command.device, (-1e9, ""))
            if point != command.point.name:
                self.shortest_s = min(self.shortest_s, now_s - at_s - spec.dwell_s)
                self.last[command.device] = (now_s, command.point.name)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("signal", nargs="?", type=Path, help="a csv with a column `regd`, one row per 2 s")
    parser.add_argument("--asics", type=int, default=2_000)
    parser.add_argument("--shares", type=float, nargs="*", default=[0.0, 0.07, 0.14, 0.26])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=2400)
    given = parser.parse_args(arguments)
    signal = read_signal(given.signal)[: given.seconds // 2 + 1]
    print(
        f"{given.asics} miners, +-{BAND:.0%} of the site around {BASE:.0%}; GPUs: their swing over the\n"
        "band's width; switches: of a miner, per hour on average, and the most of any in the whole run;\n"
        "dwell: the shortest time between two changes of a machine, less its dwell"
    )
    print(" GPUs  score      A      D      P  per hour  most  dwell_s  tick_ms")
    for share in given.shares:
        got = follow(signal, asics=given.asics, gpu_share=share, seed=given.seed)
        print(
            f"{share:>5.0%} {got.score.total:>6.3f} {got.score.accuracy:>6.3f} {got.score.delay:>6.3f}"
            f" {got.score.precision:>6.3f} {got.switches_per_hour:>9.1f} {got.most_switches:>5}"
            f" {got.worst_dwell_s:>8.1f} {got.cpu_ms:>8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
