"""Half of the site off: how long 10,000 machines take to be at or below a new cap, and if they stay there.

Run with `make bench-capstep`. The plant is `tests/bench/bigplant.py`; true power is judged every 0.1 s,
against the cap and no tolerance. The clock is virtual, so what the deciding itself costs is told beside it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from controller.domain.grid import LimitSignal
from controller.domain.power import Power
from tests.bench.bigplant import BigPlant, Makeup
from tests.bench.rig import LOOK_S, Rig, event

SETTLE_S = 60.0
"""Before the step: long enough to learn what each machine draws, and which ones are silent."""
AFTER_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`within_s` is when the site was at or below the cap for the first time, after the start of the event;
    `last_over_s` when it was above it for the last time.
    """

    within_s: float
    last_over_s: float
    kwh_over: float
    used: float
    commands: int
    event_cpu_s: float
    tick_cpu_s: float


def cap_step(seed: int, *, devices: int, notice_s: float, share: float = 0.5) -> Outcome:
    plant = BigPlant(Makeup(asics=devices), seed=seed)
    full_w = plant.site_w()
    rig = Rig(plant, limit_w=round(1.2 * full_w))
    rig.run(SETTLE_S)
    rig.until(plant.now_s + 0.37)  # an event does not wait for a tick, nor a tick for an event
    told_s, cap_w = plant.now_s, round(share * full_w)
    starts_s = told_s + notice_s
    rig.events = (event("half", LimitSignal(Power(cap_w)), starts_s),)
    ticks_before = len(rig.cpu_s)
    commands = len(rig.tick().commands)
    rig.until(SETTLE_S + 1)
    rig.tick()
    rig.run(notice_s + AFTER_S)
    drawn = np.array([(at_s - starts_s, watts) for at_s, watts in rig.drawn if at_s > starts_s])
    over_w = np.maximum(0.0, drawn[:, 1] - cap_w)
    late = np.flatnonzero(over_w > 0)
    within = np.flatnonzero(over_w == 0)
    end = drawn[-round(60 / LOOK_S) :, 1]
    return Outcome(
        within_s=float(drawn[within[0], 0]) if len(within) else float("inf"),
        last_over_s=float(drawn[late[-1], 0]) if len(late) else 0.0,
        kwh_over=float(over_w.sum()) * LOOK_S / 3.6e6,
        used=float(end.mean()) / cap_w,
        commands=commands,
        event_cpu_s=rig.cpu_s[ticks_before],
        tick_cpu_s=float(np.median(rig.cpu_s)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--notice", type=float, nargs="*", default=[0.0, 15.0])
    given = parser.parse_args()
    print(
        f"{given.devices} machines, cap at 50 %; seconds after the event begins; used: the last minute's\n"
        "draw over the cap; the CPU is that of the event's tick and of a usual one, and is not in the times"
    )
    print("notice_s  seed  within_s  last_over_s  kwh_over   used  commands  event_ms  tick_ms")
    for notice_s in given.notice:
        for seed in range(given.seeds):
            got = cap_step(seed, devices=given.devices, notice_s=notice_s)
            print(
                f"{notice_s:>8.0f} {seed:>5} {got.within_s:>9.1f} {got.last_over_s:>12.1f}"
                f" {got.kwh_over:>9.2f} {got.used:>6.3f} {got.commands:>9}"
                f" {1000 * got.event_cpu_s:>9.0f} {1000 * got.tick_cpu_s:>8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
