"""How fast the site may change: ramps of nodes, starts at once. What was not used is saved for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.domain.power import Bound, Limit, Power
from controller.domain.site import Site

RAMP_WINDOW_S = 5.0
"""Ramp room that was not used is saved for this long."""
LARGEST_STEP = 1.2
"""... and at least for one change of the largest machine, which cannot be divided. What a tick gives is not
lost either to what was too little for such a change before it, however long the tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What may be changed in one tick: by index of each node with a ramp, the watts that may be added and
    taken away, and the most that each ramp up can save; and how many machines may be started, to the nearest
    whole one. `uncooled` are the rows of
    those that may not be raised for want of cooling, `hot` of those whose heat waits for no ramp.
    """

    held: bool = False
    uncooled: frozenset[int] = frozenset()
    hot: frozenset[int] = frozenset()
    starts: float = 1000.0
    rise_w: Mapping[int, float] = field(default_factory=dict)
    fall_w: Mapping[int, float] = field(default_factory=dict)
    saves_w: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Starts and ramp room left over, the latter by index of node, and since when."""

    at_s: float | None = None
    starts: float = 0.0
    rise_w: Mapping[int, float] = field(default_factory=dict)
    fall_w: Mapping[int, float] = field(default_factory=dict)


def pace_now(
    site: Site,
    saved: Saved,
    now_s: float,
    *,
    largest: Power,
    held: bool,
    uncooled: frozenset[int] = frozenset(),
    hot: frozenset[int] = frozenset(),
) -> Pace:
    """`largest` is the most that one machine draws; `held` lets nothing be raised. A tick that a message woke
    before its time may start as much less."""
    largest_w = LARGEST_STEP * largest.watts
    elapsed_s = 0.0 if saved.at_s is None else max(0.0, now_s - saved.at_s)

    def most_w(per_s: Limit) -> float:
        a_tick_w = per_s.power.watts * site.policy.tick_s
        return max(per_s.power.watts * RAMP_WINDOW_S, largest_w, a_tick_w + largest.watts)

    def room(ramps: Mapping[int, Limit], before: Mapping[int, float]) -> dict[int, float]:
        return {
            at: min(before.get(at, 0.0) + per_s.power.watts * elapsed_s, most_w(per_s))
            for at, per_s in ramps.items()
        }

    most = site.policy.starts_per_tick
    saved_starts = most if saved.at_s is None else saved.starts + most * elapsed_s / site.policy.tick_s
    rises = _ramps(node.ramp_up_per_s for node in site.nodes)
    return Pace(
        held=held,
        uncooled=uncooled,
        hot=hot,
        starts=min(float(most), saved_starts),
        rise_w=room(rises, saved.rise_w),
        fall_w=room(_ramps(node.ramp_down_per_s for node in site.nodes), saved.fall_w),
        saves_w={at: most_w(per_s) for at, per_s in rises.items()},
    )


def _ramps(of_nodes: Iterable[Bound]) -> dict[int, Limit]:
    return {at: per_s for at, per_s in enumerate(of_nodes) if isinstance(per_s, Limit)}


class Purse:
    """The ramp room of one direction: what is spent at a node is spent at all above it."""

    def __init__(self, room_w: Mapping[int, float]) -> None:
        self.left_w = dict(room_w)
        self._waiting: set[int] = set()

    def pays(self, way: tuple[int, ...], watts: int) -> bool:
        """Take `watts` at every node of `way`, or nothing at all.

        Who cannot be paid for keeps its turn: smaller ones must not take what a node is saving up for it.
        """
        short = [at for at in way if at in self.left_w and (at in self._waiting or self.left_w[at] < watts)]
        if short and watts > 0:
            self._waiting.update(short)
            return False
        self.take(way, watts)
        return True

    def take(self, way: tuple[int, ...], watts: int) -> None:
        """What must be, and may leave a debt."""
        for at in way:
            if at in self.left_w:
                self.left_w[at] -= watts
