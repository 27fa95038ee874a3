"""How long the economics of 10,000 machines take: profit, a price out of ten months, the merit order.

`make bench-economics`. Medians; what counts is their share of a tick.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np

from controller.decide.economics import prices_now
from controller.decide.profit import advance, bands, begin, best_points
from controller.domain.prices import Ladder, Price, PriceKey, Rung, Series
from controller.domain.site import Thresholds

DEVICES = 10_000
POINTS = 6
QUARTERS = 28_800
ROUNDS = 200


def main() -> None:
    random = np.random.default_rng(1)
    watts = np.sort(random.uniform(30, 3500, (DEVICES, POINTS)), axis=1)
    earned = random.normal(0.0, 0.2, (DEVICES, POINTS))
    limits = bands(Thresholds(stop_below=0.0, start_above=0.01, least_on_s=900, least_off_s=900), DEVICES)
    verdicts = begin(random.random(DEVICES) < 0.5, 0.0)
    best, at_watts = best_points(earned, watts)
    told(f"best points of {DEVICES:,} x {POINTS}", lambda: best_points(earned, watts))
    told(f"verdicts of {DEVICES:,}", lambda: advance(verdicts, 1e4, best, at_watts, limits))

    series = {"dam": Series(tuple(900.0 * at for at in range(QUARTERS)), tuple(random.random(QUARTERS)))}
    ladder = [
        Ladder(
            key=PriceKey(price=Price.ENERGY),
            constant=0.05,
            rungs=(Rung(source="rtm", stale_after_s=900.0), Rung(source="dam", stale_after_s=900.0)),
        )
    ]
    told(f"a price out of {QUARTERS:,}", lambda: prices_now(ladder, series, 900.0 * QUARTERS / 2))


def told(what: str, work: Callable[[], object]) -> None:
    took_s = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        work()
        took_s.append(time.perf_counter() - began_s)
    print(f"{what:36} median {1e3 * statistics.median(took_s):8.3f} ms   worst {1e3 * max(took_s):8.3f} ms")


if __name__ == "__main__":
    main()
