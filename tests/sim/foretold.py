"""Whether operators hear in time of what cannot be had, and of nothing that surely can."""

from __future__ import annotations

import math
from collections.abc import Iterable

from controller.decide.plan import Plan
from controller.domain.grid import EventStatus, GridEvent, LimitSignal
from controller.domain.power import Limit
from tests.sim.case import BEYOND, Case

KNOWN_S = 5.0
"""Within so long of its acceptance an event is answered, or of what changed."""
SOUND_S, METERED_S = 120.0, 600.0
"""With whom nothing was wrong for so long, that one obeys. What a broken meter taught is forgotten later."""
SURELY, SURELY_W = 0.9, 300.0
"""Machines differ from what their points say, and load wanders: below this share of the least, less so many
watts, nobody could bring a place."""
GUESSED = 0.1
"""Of what a place is rated for, a meter and what machines claim may differ."""


class Foretold:
    """`look` must be called every few seconds."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._plant = case.plant
        self._possible = case.possible
        self._doubts = case.doubts
        self._verdict = case.verdict
        self._root = case.floor.site.root.id
        self._limits = {node.id: node.limit for node in case.floor.site.nodes}
        self._since_s: dict[tuple[str, float], float] = {}
        """Since when each version of an event that is ahead is known."""
        self._beyond_s: dict[tuple[str, float], float] = {}
        """Since when each of them asks for what cannot be had."""

    def look(self, plan: Plan, events: Iterable[GridEvent], utc_s: float, *, in_charge: bool) -> None:
        now_s = self._plant.now_s
        ahead = [event for event in events if event.start_utc_s > utc_s] if in_charge else []
        keys = {(event.id, event.version_utc_s) for event in ahead}
        self._since_s = {key: self._since_s.get(key, now_s) for key in keys}
        said = {(one.event, one.version_utc_s): one.status for one in plan.outlooks}
        for event in ahead:
            key, place = (event.id, event.version_utc_s), event.node or self._root
            limit_w = _lowest_w(event)
            if limit_w is None or now_s - self._since_s[key] < KNOWN_S:
                continue
            status, lacking_w = said.get(key), self._never_w(place) - limit_w
            if lacking_w <= 0:
                self._beyond_s.pop(key, None)
            is_late = lacking_w > 0 and now_s - self._beyond_s.setdefault(key, now_s) >= KNOWN_S
            if status is not EventStatus.INFEASIBLE and is_late:
                self._verdict.note(now_s, "untold", place, lacking_w)
            elif status is EventStatus.INFEASIBLE and limit_w > self._surely_w(place):
                self._verdict.note(now_s, "wolf", place, limit_w - self._surely_w(place))

    def _never_w(self, place: str) -> float:
        """Below this a place cannot be brought, whoever obeys; 0 where its meters may show something else."""
        if self._is_misread(place):
            return 0.0
        return SURELY * self._possible.never_below(place) - SURELY_W

    def _surely_w(self, place: str) -> float:
        """To this a place can be brought, with all at their worst that were in doubt of late; infinite where
        meters may show something else."""
        if self._is_misread(place):
            return math.inf
        machines_w = sum(self._at_most_w(machine.id) for machine in self._possible.machines_below[place])
        limit = self._limits[place]
        rated_w = limit.power.watts if isinstance(limit, Limit) else math.inf
        return self._case.most_load_w(place) + machines_w + GUESSED * rated_w

    def _at_most_w(self, name: str) -> float:
        """At its lowest, or at its worst where it may not obey, or can be told nothing."""
        spec = self._case.specs[name]
        if len(spec.points) == 1 or self._doubts.within(name, SOUND_S):
            return self._case.worst_w(name)
        return BEYOND * spec.floor.power.watts

    def _is_misread(self, place: str) -> bool:
        return any(self._doubts.within(node.id, METERED_S) for node in self._possible.nodes_below(place))


def _lowest_w(event: GridEvent) -> int | None:
    limits = (
        signal.power.watts
        for piece in event.intervals
        for signal in piece.signals
        if isinstance(signal, LimitSignal)
    )
    return min(limits, default=None)
