"""Energy by the clock minute: what meters show at every tick becomes one row a minute and node.

Between two ticks a node draws the mean of its two readings. Where either is missing nothing is guessed: the
minute was measured for that much less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from controller.decide.plan import UNLIMITED_W, NodeStates
from controller.run.journal.schema import microseconds
from controller.run.journal.seals import Row

MINUTE_S = 60.0
LONGEST_S = 5.0
"""Of a pause longer than this between two ticks nothing was measured, where nothing else is said."""


class Drawn(NamedTuple):
    """What the meter of a node shows, and its limit; None where it has none."""

    metered_w: float
    limit_w: float | None


@dataclass(slots=True)
class _Sums:
    """Over the seconds of a minute that were measured: watt-seconds, and those of limits where any held."""

    energy_ws: float = 0.0
    measured_s: float = 0.0
    limit_ws: float = 0.0
    limited_s: float = 0.0

    def add(self, mean: Drawn, for_s: float) -> None:
        self.energy_ws += mean.metered_w * for_s
        self.measured_s += for_s
        if mean.limit_w is not None:
            self.limit_ws += mean.limit_w * for_s
            self.limited_s += for_s


@dataclass(slots=True)
class MinuteMeter:
    """`tick` takes each plan's nodes and gives the rows of the minutes that are over. `now_s` is elapsed
    time, `utc_s` the wall clock: when that is set, what elapsed is as long as it was. Of a pause longer than
    `longest_s` between two ticks nothing was measured."""

    longest_s: float = LONGEST_S
    _minute: int | None = None
    _now_s: float = 0.0
    _before: Mapping[str, Drawn] = field(default_factory=dict)
    _sums: dict[str, _Sums] = field(default_factory=dict)
    _ids: tuple[str, ...] = ()
    _places: Mapping[str, int] = field(default_factory=dict)

    def tick(self, now_s: float, utc_s: float, nodes: NodeStates) -> list[Row]:
        return self.read(now_s, utc_s, self._readings(nodes))

    def read(self, now_s: float, utc_s: float, readings: Mapping[str, Drawn]) -> list[Row]:
        """The same of readings by node; one that is not fresh is left out."""
        elapsed_s = now_s - self._now_s
        means: dict[str, Drawn] = {}
        if 0 < elapsed_s <= self.longest_s:
            both = readings.keys() & self._before.keys()
            means = {node: _mean(self._before[node], readings[node]) for node in both}
        rows: list[Row] = []
        at_s = utc_s - elapsed_s if means else utc_s
        while at_s < utc_s:
            minute = int(at_s // MINUTE_S)
            rows += self._turn(minute)
            until_s = min(utc_s, (minute + 1) * MINUTE_S)
            for node, mean in means.items():
                self._sums.setdefault(node, _Sums()).add(mean, until_s - at_s)
            at_s = until_s
        rows += self._turn(int(utc_s // MINUTE_S))
        self._now_s, self._before = now_s, readings
        return rows

    def close(self) -> list[Row]:
        """The rows of the minute that is not over: whoever goes on writes the rest of it."""
        self._before = {}
        return self._turn(None)

    def _turn(self, minute: int | None) -> list[Row]:
        """Go on with `minute`; the rows of the one before."""
        if minute == self._minute:
            return []
        rows = [_row(self._minute or 0, node, sums) for node, sums in sorted(self._sums.items())]
        self._minute, self._sums = minute, {}
        return rows

    def _readings(self, nodes: NodeStates) -> Mapping[str, Drawn]:
        if nodes.ids is not self._ids:
            self._ids, self._places = nodes.ids, {node: at for at, node in enumerate(nodes.ids)}
        readings = {}
        for node, metered in nodes.metered.items():
            if metered is not None:
                limit_w = int(nodes.limit_w[self._places[node]])
                readings[node] = Drawn(metered.watts, None if limit_w == UNLIMITED_W else limit_w)
        return readings


def _mean(before: Drawn, after: Drawn) -> Drawn:
    """A limit that came or went between the two counts as the later says, for all of the time."""
    limit_w = after.limit_w
    if before.limit_w is not None and limit_w is not None:
        limit_w = (before.limit_w + limit_w) / 2
    return Drawn((before.metered_w + after.metered_w) / 2, limit_w)


def _row(minute: int, node: str, sums: _Sums) -> Row:
    return (
        microseconds(minute * MINUTE_S),
        node,
        round(sums.energy_ws / sums.measured_s),
        round(sums.energy_ws),
        round(sums.measured_s * 1000),
        round(sums.limit_ws / sums.limited_s) if sums.limited_s else None,
    )
