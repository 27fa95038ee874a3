"""Sites that stop and start machines by two thresholds of what a kWh earns, with least times for both, while
the price of energy hovers where that turns. Both have a generator of their own: other seeds stay as they
are."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator

from controller.domain.devices import DeviceKind, DeviceSpec
from controller.domain.site import Site, Thresholds

KIND = "thresholds"
STOP_BELOW, BAND = (-0.02, 0.0, 0.01, 0.02), (0.0, 0.003, 0.01, 0.02)
"""USD per kWh."""
LEAST_S = (0.0, 60.0, 300.0, 900.0)
HOLDS_S = (30.0, 60.0, 300.0)
"""How long one price holds: real-time markets clear every five minutes, a feed may tell estimates between."""
WAVERS, TAU_S = (0.004, 0.015), 600.0


def draw_thresholds(seed: int) -> Thresholds:
    rnd = random.Random(f"{seed}/{KIND}")
    stop_below = rnd.choice(STOP_BELOW)
    return Thresholds(
        stop_below=stop_below,
        start_above=stop_below + rnd.choice(BAND),
        least_on_s=rnd.choice(LEAST_S),
        least_off_s=rnd.choice(LEAST_S),
    )


def hovering(seed: int, site: Site, specs: Collection[DeviceSpec], every_s: float) -> Iterator[float]:
    """USD per kWh, told every so many seconds for ever: around the price at which one machine turns."""
    rnd = random.Random(f"{seed}/{KIND}/feed")
    earns = [best_earned(spec, site.prices.usd_per_ths_day) for spec in specs if is_for_money(spec)]
    limits = site.policy.profit
    middle = rnd.choice(earns or [0.1]) - (limits.stop_below + limits.start_above) / 2
    holds_s, wavers = rnd.choice(HOLDS_S), rnd.uniform(*WAVERS)
    kept, off = math.exp(-holds_s / TAU_S), 0.0
    while True:
        off = kept * off + math.sqrt(1 - kept**2) * wavers * rnd.gauss(0.0, 1.0)
        yield from [round(middle + off, 5)] * max(1, round(holds_s / every_s))


def is_for_money(spec: DeviceSpec) -> bool:
    """A miner that can be told to stop."""
    return spec.kind is DeviceKind.ASIC and len(spec.points) > 1


def best_earned(spec: DeviceSpec, usd_per_ths_day: float) -> float:
    """What a kWh earns at the point at which it earns most, in USD, its cost not counted."""
    return max(point.rate / point.power.in_kw for point in spec.points[1:]) * usd_per_ths_day / 24
