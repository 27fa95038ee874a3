"""How long the economics of 10,000 machines take: profit, a price out of ten months, the merit order.

`make bench-economics`. Medians; what counts is their share of a tick.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from controller.decide.economics import prices_now
from controller.decide.merit import merit_order
from controller.decide.plan import Grant, Plan
from controller.decide.profit import best_ths_per_kw, judge
from controller.decide.value import Valuation
from controller.decide.words import CapReason, Reason, Truth
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint
from controller.domain.power import NO_LIMIT, ZERO, Power
from controller.domain.prices import Ladder, Price, PriceKey, Rung, Series
from controller.domain.site import Prices, Thresholds
from tests.decide.builders import grants_of, nodes_of

DEVICES = 10_000
QUARTERS = 28_800
ROUNDS = 200


def main() -> None:
    random = np.random.default_rng(1)
    specs, plan = fleet()
    best = best_ths_per_kw(specs)
    running = random.random(DEVICES) < 0.5
    band = Thresholds(stop_below=0.0, start_above=0.01, least_on_s=900, least_off_s=900)
    judged = partial(judge, usd_per_ths_day=0.05, usd_per_kwh=0.08, thresholds=band)
    verdicts = judged(None, best, running, 0.0)
    told(f"best TH/s per kW of {DEVICES:,}, once", lambda: best_ths_per_kw(specs), rounds=10)
    told(f"verdicts of {DEVICES:,}", lambda: judged(verdicts, best, running, 1e4))

    series = {"dam": Series(tuple(900.0 * at for at in range(QUARTERS)), tuple(random.random(QUARTERS)))}
    ladder = [
        Ladder(
            key=PriceKey(price=Price.ENERGY),
            constant=0.05,
            rungs=(Rung(source="rtm", stale_after_s=900.0), Rung(source="dam", stale_after_s=900.0)),
        )
    ]
    valuation = Valuation(prices=Prices(), usd_per_kwh=0.05, horizon_s=900.0, shed_s=900.0)
    told(f"merit order of {DEVICES:,}", lambda: merit_order(plan, specs, valuation), rounds=10)
    told(f"a price out of {QUARTERS:,}", lambda: prices_now(ladder, series, 900.0 * QUARTERS / 2))


def fleet() -> tuple[tuple[DeviceSpec, ...], Plan]:
    """Miners of twenty kinds, each at its highest point."""
    specs = tuple(
        DeviceSpec(
            id=f"m-{at:05d}",
            kind=DeviceKind.ASIC,
            node="site",
            points=tuple(
                OperatingPoint(name=f"{watts}", power=Power(watts), rate=watts / (15 + at % 20))
                for watts in (30, 2000, 2500, 3000, 3250, 3500)
            ),
            ceiling=Power(3600),
        )
        for at in range(DEVICES)
    )
    grants = tuple(
        Grant(
            device=spec.id,
            point=spec.points[-1],
            power=spec.points[-1].power,
            worst=spec.ceiling,
            draw=spec.points[-1].power,
            age_s=1.0,
            wanted=spec.points[-1],
            reason=Reason.FULL,
            truth=Truth.CONFIRMED,
        )
        for spec in specs
    )
    return specs, Plan(
        now_s=0.0,
        cap=NO_LIMIT,
        cap_reason=CapReason.NONE,
        cap_event="",
        grants=grants_of(specs, grants),
        nodes=nodes_of(),
        ready=True,
        least=ZERO,
    )


def told(what: str, work: Callable[[], object], *, rounds: int = ROUNDS) -> None:
    took_s = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        work()
        took_s.append(time.perf_counter() - began_s)
    print(f"{what:36} median {1e3 * statistics.median(took_s):8.3f} ms   worst {1e3 * max(took_s):8.3f} ms")


if __name__ == "__main__":
    main()
