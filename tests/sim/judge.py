"""What must be true of the plant, judged at every step of it from physical truth and from nothing else.

P1: `response_s` after a limit came into force by the site's clock, the site is within it, and every node is
within its own. P2: no breaker opens by its curve, no miner trips by heat, no GPU throttles. P3: watts that
the controller's own orders move keep to the ramp limits. P4: a lost link is a limit like any other, so it is
judged by P1.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from controller.domain.power import Limit
from tests.sim.case import Case
from tests.sim.operator import Asked
from tests.sim.possible import OBEYS_AFTER_S
from tests.sim.verdict import GAP_S

NOTICED_S = 15.0
"""Watts that a machine takes beyond what it was told are seen at its next reading, which may be lost once;
with two ticks on top, others have come down for it."""
NOTHING_LEFT, NOTHING_LEFT_W = 0.01, 30.0
"""A node that so nearly draws the least that it could be brought to was brought there: its other load moves.
A limit that cannot be kept is no leave to draw what one likes."""
EFFORT_S, EFFORT_SLACK = 120.0, 0.05
"""A limit by best effort, and a set-point, may be met so much later; what each job needs is not known to the
watt, and a set-point is met within as much."""
STEP_W = 4000.0
"""... and within one step of the largest machine."""
HARD = ("cap", "node", "event")
RETOLD_S = 180.0
"""Who refused is told again every eighth `retry_s` for a set-point, which is no limit."""
DWELL_S = 60.0
"""A set-point waits for dwells, and who comes back when nobody knows of its last change begins one."""


class Due:
    """The loosest limit of the last `response_s`: what the site must have come down to by now."""

    def __init__(self, response_s: float) -> None:
        self._response_s = response_s
        self._lately: deque[tuple[float, float]] = deque([(0.0, math.inf)])

    def holds(self, now_s: float, limit_w: float, *, heard: bool = True) -> None:
        """While nobody is there to have `heard` of it, a limit is not tightened."""
        limit_w = limit_w if heard else max(limit_w, self._lately[-1][1])
        self._lately[-1] = now_s, self._lately[-1][1]  # what held last did so until now
        while self._lately and self._lately[-1][1] <= limit_w:
            self._lately.pop()
        self._lately.append((now_s, limit_w))
        while len(self._lately) > 1 and self._lately[0][0] < now_s - self._response_s:
            self._lately.popleft()

    @property
    def watts(self) -> float:
        return self._lately[0][1]


class Judge:
    def __init__(self, case: Case, response_s: float) -> None:
        self.due = Due(response_s)
        self.nodes_from_s = math.inf
        """From here on nodes are judged: the plant begins above its limits, with nobody in charge."""
        self.spared_w: Callable[[str], float] = lambda _: 0.0
        """What the jobs that run at a place need above the lowest of their GPUs."""
        self.away_s = -math.inf
        """When the controller was last away, or had not seen the site yet."""
        self._plant = plant = case.plant
        self._possible = case.possible
        self._verdict = case.verdict
        site = case.floor.site
        self._react_s = NOTICED_S + 2 * site.policy.tick_s
        self._grace_s = site.policy.start_grace_s + site.policy.tick_s
        self._root = plant.nodes[site.root.id]
        self._limited = [
            (plant.nodes[node.id], float(node.limit.power.watts))
            for node in site.nodes[1:]
            if isinstance(node.limit, Limit)
        ]
        self._trips = dict.fromkeys(plant.nodes, 0)
        self._excuse: dict[tuple[str, str], tuple[float, str]] = {}
        self._asked: dict[tuple[str, str], Due] = {}
        """What operators ask of places within the site, and what may be late: limits by best effort, and
        set-points, of which only is asked that no more is drawn."""
        self._response_s = response_s

    def asks(self, ask: Asked, limit_w: float, *, heard: bool) -> None:
        """`limit_w` is what the whole site may draw now, for whatever reason."""
        now_s = self._plant.now_s
        self.due.holds(now_s, limit_w, heard=heard)
        now_w = {("event", node): watts for node, watts in ask.at_nodes.items()}
        now_w |= {("effort", node or self._root.id): watts for node, watts in ask.efforts.items()}
        if ask.target_w < math.inf:
            now_w["target", self._root.id] = ask.target_w * (1 + EFFORT_SLACK) + STEP_W
        for what, node in now_w.keys() - self._asked.keys():
            late_s = 0.0 if what == "event" else EFFORT_S
            self._asked[what, node] = Due(self._response_s + late_s)
        for place, due in self._asked.items():
            due.holds(now_s, now_w.get(place, math.inf), heard=heard)

    def step(self, dt_s: float) -> None:
        """All watts were for `dt_s` what they are in the plant now."""
        now_s = self._plant.now_s
        if self._root.power_w > self.due.watts:
            self._passed("cap", self._root.id, self._root.power_w, self.due.watts, dt_s)
        if now_s >= self.nodes_from_s:
            for node, limit_w in self._limited:
                if node.power_w > limit_w:
                    self._passed("node", node.id, node.power_w, limit_w, dt_s)
            for (what, where), due in self._asked.items():
                if self._plant.nodes[where].power_w > due.watts:
                    self._passed(what, where, self._plant.nodes[where].power_w, due.watts, dt_s)

    def awaits(self, waited_s: float) -> None:
        """A plan that is not ready, of a process that began `waited_s` ago: nothing is asked of it in its
        grace, and so that must end."""
        if waited_s > self._grace_s:
            self._verdict.note(self._plant.now_s, "charge", self._root.id)

    def look(self) -> None:
        """Every few seconds: who cannot be moved, and what has tripped."""
        self._possible.look()
        now_s = self._plant.now_s
        for node in self._plant.nodes.values():
            if node.trips > self._trips[node.id]:
                self._trips[node.id] = node.trips
                excuse = self._was_excused(node.id) if now_s >= self.nodes_from_s else "start"
                self._verdict.note(now_s, "breaker", node.id, excuse=excuse)

    def _passed(self, what: str, where: str, power_w: float, limit_w: float, dt_s: float) -> None:
        excuse = self._excused(what, where, limit_w)
        new_s = self._react_s + (DWELL_S if what == "target" else 0.0)
        if what != "cap" and self._plant.now_s - self.away_s <= new_s:
            excuse = excuse or "nobody in charge"
        self._verdict.note(self._plant.now_s, what, where, power_w - limit_w, excuse, dt_s)

    def _excused(self, what: str, node: str, limit_w: float) -> str:
        """Why the node could not have been within its limit; reckoned anew every half second, until it is
        dead."""
        now_s = self._plant.now_s
        at_s, excuse = self._excuse.get((what, node), (-math.inf, ""))
        if now_s - at_s >= 0.5 and self._plant.nodes[node].live:
            excuse = self._why(node, limit_w) if what in HARD else self._works(what, node, limit_w)
            self._excuse[what, node] = now_s, excuse
        return excuse

    def _why(self, node: str, limit_w: float, obeys_after_s: float = OBEYS_AFTER_S) -> str:
        power_w = min(self._plant.nodes[node].power_w, self._possible.carried_w(node))
        least = self._possible.least(node, within_s=obeys_after_s)
        if least.watts > limit_w:
            least = self._possible.least(node, nobody_else=True, within_s=obeys_after_s)
        known_w = power_w - self._possible.unforeseen_w(node, self._react_s)
        if _more_than(power_w) < least.watts:
            return "+".join(sorted(least.because)) or "load alone"
        if known_w <= limit_w or _more_than(known_w) < least.watts:
            return "unforeseen"
        return "claims" if self._possible.claimed_w(node) <= limit_w else ""

    def _works(self, what: str, node: str, limit_w: float) -> str:
        """The same by best effort: every job that runs keeps its least."""
        obeys_after_s = RETOLD_S if what == "target" else OBEYS_AFTER_S
        works_w = self.works_w(node, obeys_after_s)
        if what == "target":
            works_w += self._possible.dwelling_w(node, DWELL_S)
        allowed_w = max(limit_w, works_w * (1 + EFFORT_SLACK) + NOTHING_LEFT_W)
        power_w = self._plant.nodes[node].power_w
        if power_w <= allowed_w:
            return "work"
        # Below a set-point nothing is kept free: what comes up by itself has to be seen.
        if what == "target" and power_w - self._possible.came_up_w(node, self._react_s) <= allowed_w:
            return "unforeseen"
        return self._why(node, allowed_w, obeys_after_s)

    def works_w(self, node: str, obeys_after_s: float = RETOLD_S) -> float:
        """The least that a node may be brought to where every job that runs keeps its own."""
        return self._possible.least(node, within_s=obeys_after_s).watts + self.spared_w(node)

    def _was_excused(self, node: str) -> str:
        """The same of what opened its breaker a moment ago: by now it carries nothing."""
        now_s = self._plant.now_s
        whys = [(at_s, why) for (_, where), (at_s, why) in self._excuse.items() if where == node]
        return next((why for at_s, why in sorted(whys, reverse=True) if now_s - at_s <= GAP_S), "")


def _more_than(watts: float) -> float:
    """What is surely less than `watts`, whatever other load does in a moment."""
    return watts * (1 - NOTHING_LEFT) - NOTHING_LEFT_W
