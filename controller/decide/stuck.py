"""Meters that stand still to the watt while what is above or below them says otherwise.

A register that is no longer written, or a gateway that answers from its memory, is as fresh as any. What such
a meter shows too much nobody can ever bring down, and a site would shed all it has for it. Only other meters
convict it of that: machines alone may lie, and a meter that stands still may be right. That it shows too
little, machines may say: what they lie about it adds no watt to what others are granted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from controller.decide.tree import Tree

STILL_READINGS = 3
"""So many readings alike, of a load that never is, are one and the same."""
CONTRADICTED = 1.05
"""Meters differ by their errors and by their delays; beyond that one of them is wrong."""
OUTRUN = 1.01
"""A model of the load is less exact than a meter, but what it says of changes is better than that."""
STANDS_S = 60.0
"""A gateway may be slow to ask its meter."""
METER_LAG_S = 6.0
"""A meter may show what devices drew this long ago."""
COARSE_W = 1_000
"""No meter shows its watts in larger steps."""

Shown = Mapping[int, Sequence[int]]
"""What the meter of each node that has a new reading showed of late, in watts, the newest last."""


class Standing(NamedTuple):
    """What a meter shows since it last moved. Since then, what is below it claimed as little as `claimed_w`,
    and surely drew no more than `most_w` for a while. `stuck` is what other meters said of it last."""

    metered_w: int
    since_s: float
    claimed_w: int
    most_w: int
    stuck: bool = False

    def on(self, before: Standing | None) -> Standing:
        """This one, which begins now, as what `before` goes on with where the meter shows the same."""
        if before is None or before.metered_w != self.metered_w:
            return self
        claimed_w, most_w = min(before.claimed_w, self.claimed_w), min(before.most_w, self.most_w)
        return before._replace(claimed_w=claimed_w, most_w=most_w)

    def woke(self, metered_w: int, now_s: float) -> bool:
        """Whether the meter moves now, after it stood still for so long that it may have been asleep."""
        return metered_w != self.metered_w and now_s - self.since_s >= STANDS_S

    def slept(self, surely_w: int, now_s: float) -> bool:
        """Whether what is below the meter draws more by now than it may have when the meter last moved."""
        least_w = max(CONTRADICTED * self.most_w, self.most_w + COARSE_W)
        return now_s - self.since_s >= STANDS_S and surely_w > least_w


class Still(NamedTuple):
    """What a site's meter shows since it last moved, what it had taught a set-point by then, and between what
    the model of the site was since, but for the time by which a meter may be late."""

    metered_w: int
    since_s: float
    off_w: float
    least_w: float
    most_w: float

    def on(self, before: Still | None) -> Still:
        """This one, which begins now, as what `before` goes on with where the meter shows the same."""
        if before is None or before.metered_w != self.metered_w:
            return self
        if self.since_s - before.since_s <= METER_LAG_S:
            return self._replace(since_s=before.since_s, off_w=before.off_w)
        least_w, most_w = min(before.least_w, self.least_w), max(before.most_w, self.most_w)
        return before._replace(least_w=least_w, most_w=most_w)

    @property
    def outrun(self) -> bool:
        """Whether the model went so far that a meter that is alive would have moved."""
        return self.most_w > max(OUTRUN * self.least_w, self.least_w + COARSE_W)


def moves(watts: Sequence[int]) -> bool:
    return len(set(watts)) > 1


def stands_still(watts: Sequence[int]) -> bool:
    return len(watts) >= STILL_READINGS and not moves(watts)


def stuck_before(standing: Standing | None, watts: Sequence[int]) -> bool:
    """Whether a meter was found to be stuck, and has not moved since."""
    return standing is not None and standing.stuck and not moves([standing.metered_w, *watts[-1:]])


def contradicted(at: int, shown: Shown, loads_w: Sequence[int], tree: Tree, *, before: bool) -> bool:
    """Whether meters that move say that node `at` carries less than its own shows, or those below it that it
    carries more. `loads_w` is the most that each node may carry by what is known of it. Where no such meter
    is heard it is what it was `before`: they may be read less often, or fail as well.
    """
    own = shown[at]
    above = next((shown[node] for node in tree.paths[at][1:] if moves(shown.get(node, ()))), None)
    if above is not None and own[-1] > CONTRADICTED * max(above):
        return True
    below = [node for node in _metered_below(at, shown, tree) if moves(shown[node])]
    if not below:
        return before and above is None
    if sum(min(shown[node]) for node in below) > CONTRADICTED * own[-1]:
        return True
    metered_w = sum(max(shown[node]) for node in below)
    rest_w = loads_w[at] - sum(loads_w[node] for node in below)
    return own[-1] > CONTRADICTED * (metered_w + max(0, rest_w))


def _metered_below(at: int, shown: Shown, tree: Tree) -> list[int]:
    """The nearest nodes below `at` whose meters were heard: none of them lies below another."""
    found: list[int] = []
    for node in tree.below(at)[1:].tolist():
        if node in shown and not any(above in found for above in tree.paths[node][1:]):
            found.append(node)
    return found
