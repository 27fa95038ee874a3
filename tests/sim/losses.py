"""Whether miners are stopped that surely cost more than they make."""

from __future__ import annotations

import math

from controller.domain.devices import DeviceSpec
from controller.domain.site import Prices
from tests.sim.case import Case

COSTS = 1.3
"""Times what a point makes that its energy surely costs more than it."""
STOPS_S = 120.0
"""A price is heard, orders are sent, lost and sent again; on a ramp the site falls more slowly."""
HELD_S = 180.0
"""One that would not stop, or answered nothing, is told again every eighth `retry_s`."""
SLACK, SLACK_W = 1.1, 60.0


class Losses:
    """`look` must be called every few seconds, `steered` with every plan that is made for a set-point."""

    def __init__(self, case: Case) -> None:
        self._plant = case.plant
        self._possible = case.possible
        self._doubts = case.doubts
        self._verdict = case.verdict
        miners = [case.specs[name] for name in case.plant.miners]
        self._specs = [spec for spec in miners if len(spec.points) > 1]
        self._pays_s: dict[str, float] = {}
        self._steered_s = -math.inf
        self._losing: set[str] = set()
        """Who loses at the prices that follow."""
        self._losing_at: tuple[Prices, float] | None = None

    def steered(self) -> None:
        """A set-point asks for watts now, however shortly: who started for it is there for its dwell."""
        self._steered_s = self._plant.now_s

    def look(self, prices: Prices, usd_per_kwh: float, *, excused: bool) -> None:
        """`excused` while a set-point asks for watts, or nobody is in charge."""
        now_s = self._plant.now_s
        if self._losing_at != (prices, usd_per_kwh):
            self._losing_at = prices, usd_per_kwh
            self._losing = {spec.id for spec in self._specs if _loses(spec, prices, usd_per_kwh)}
        for spec in self._specs:
            if excused or spec.id not in self._losing:
                self._pays_s[spec.id] = now_s
                continue
            late = now_s - max(self._steered_s, self._pays_s.setdefault(spec.id, now_s)) > STOPS_S
            most_w = spec.floor.power.watts * SLACK + SLACK_W
            runs = self._plant.miners[spec.id].watts > most_w
            held = self._possible.held_by(spec.id, within_s=HELD_S) or self._doubts.within(spec.id, HELD_S)
            if late and runs and not held:
                self._verdict.note(now_s, "loss", spec.id)


def _loses(spec: DeviceSpec, prices: Prices, usd_per_kwh: float) -> bool:
    return all(
        COSTS * point.rate * prices.usd_per_ths_day / 24 < point.power.in_kw * usd_per_kwh
        for point in spec.points[1:]
    )
