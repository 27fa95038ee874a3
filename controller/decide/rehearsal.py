"""Where ramps lead before a limit is owed: each node that has one begins as late as it may, and no later.

How much each will have to give is what the plan would have it give if the limit held now. What a ramp cannot
give in time is asked of others, which can, as long as there are any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

import numpy as np

from controller.decide.arrays import Flags, Ints
from controller.decide.choose import Choosing
from controller.decide.columns import counted_w
from controller.decide.feeding import Feeding
from controller.decide.freedom import Freedom
from controller.decide.limits import Limits
from controller.decide.pace import Purse
from controller.decide.snapshot import Snapshot
from controller.decide.tree import load
from controller.decide.value import Valuation
from controller.domain.jobs import QueueReading


class Rehearsal:
    """Plans as they would be made if all could be changed at once. `saved_w` is the room that each ramp down
    has already."""

    def __init__(
        self,
        seen: Snapshot,
        queues: Sequence[QueueReading],
        placed: Mapping[str, tuple[str, ...]],
        valuation: Valuation,
        may: Freedom,
        saved_w: Mapping[int, float],
    ) -> None:
        self._seen = seen
        self._may = may
        self._queues = queues
        self._placed = placed
        self._valuation = valuation
        self._saved_w = saved_w

    def begun(self, limits: Limits) -> Limits:
        """`limits` with no more at each node with a ramp than leads down to the limits that are coming."""
        if not limits.coming:
            return limits
        seen, falls_w = self._seen, self._seen.ground.falls_w
        at, per_s_w = np.array(list(falls_w)), np.array(list(falls_w.values()))
        known, fleet = seen.columns, seen.fleet
        top_w = np.maximum(known.worst_w, counted_w(fleet.top_w, known.bias))
        most_w = load(seen.tree, fleet.node, top_w)[at]
        then, begun_w = limits, limits.usable_w[at]
        for ahead_s, coming in groupby(limits.coming, itemgetter(0)):
            led_w = np.floor(per_s_w * ahead_s).astype(np.int64)
            if (led_w >= most_w).all():
                break  # there is time for all of it, and for what comes later too
            then = then.lowered({node: watts for _, node, watts in coming})
            planned_w = self._planned_w(then)
            late = self._late(planned_w, dict.fromkeys(falls_w, ahead_s))
            if late.any():
                planned_w = self._planned_w(then, late)
            begun_w = np.minimum(begun_w, seen.carried_w(planned_w)[at] + led_w)
        return limits.lowered(dict(zip(falls_w, begun_w.tolist(), strict=True)))

    def late(self, limits: Limits) -> Flags:
        """Who cannot fall along its ramps before what `limits` ask for is owed."""
        tree = self._seen.tree
        lacking = np.flatnonzero(limits.room_w(self._seen.carried_w(self._here_w)) < 0).tolist()

        def left_s(ramp: int) -> float:
            """Of the places that lack watts, those count that have a machine below them and the ramp."""
            shared = (at for at in lacking if at in tree.paths[ramp] or ramp in tree.paths[at])
            return min((limits.owed_in_s.get(at, 0.0) for at in shared), default=math.inf)

        pressed_s = {ramp: left_s(ramp) for ramp in self._seen.ground.falls_w}
        if min(pressed_s.values()) == math.inf:
            return np.zeros(len(self._seen.fleet), dtype=np.bool_)
        return self._late(self._planned_w(limits), pressed_s)

    @property
    def _here_w(self) -> Ints:
        return self._seen.columns.present_w(self._may.obeys)

    def _late(self, planned_w: Ints, left_s: Mapping[int, float]) -> Flags:
        """Who cannot come down to what is planned when each ramp has so long: all below one that would have
        to give more than it can, but for those that it has room for."""
        tree, node = self._seen.tree, self._seen.fleet.node
        sheds_w = np.maximum(0, self._here_w - planned_w)
        falls_w = load(tree, node, sheds_w)
        gives_w = {
            ramp: self._saved_w[ramp] + per_s_w * left_s[ramp]
            for ramp, per_s_w in self._seen.ground.falls_w.items()
        }
        short = np.zeros(len(tree.ids), dtype=np.bool_)
        short[[ramp for ramp, watts in gives_w.items() if watts < falls_w[ramp]]] = True
        late = tree.under(short, node) & self._may.obeys & (self._seen.columns.at > 0)
        if late.any():
            gives = Purse(gives_w)
            for row in np.argsort(-sheds_w, kind="stable")[: np.count_nonzero(sheds_w)].tolist():
                late[row] &= not gives.pays(tree.paths[node[row]], int(sheds_w[row]))
        return late

    def _planned_w(self, limits: Limits, late: Flags | None = None) -> Ints:
        """What each device would have. Those that would be `late` stay where they are if others can give
        their watts."""
        nobody = np.zeros(len(self._seen.fleet), dtype=np.bool_)
        may = replace(self._may, dwells=nobody if late is None else late)
        choosing = Choosing(self._seen, limits, self._valuation, may, None)
        feeding = Feeding(self._seen, may, self._queues, self._placed, choosing.room_w)
        found, allocation = choosing.allocated(feeding.working(), feeding.lagging(), dwells=True)
        return found.given_w(allocation.index)
