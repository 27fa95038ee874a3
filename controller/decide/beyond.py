"""What a meter shows beyond the claims below it, by how much is claimed: a fixed part, and a share of claims.

Machines that draw a few percent more than they say do so again when they come back, however long they were
idle. What a meter shows while little is claimed says much of the fixed part and next to nothing of the share;
what it shows at full claims is put down to the share. So each is unlearned only by what contradicts it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from controller.decide.arrays import Floats, Ints

MOST_SHARE = 0.06
"""Claims of many machines are rarely wrong by more than this share, either way. What is more belongs to
single machines, to load of its own or to a meter in trouble: it does not rise with claims."""
LITTLE = 0.25
"""Claims below this share of all that could be claimed say nothing of what a site comes to."""
BEYOND_TAU_S = 60.0
"""Time constant with which both parts are learned."""


class Beyond(NamedTuple):
    """Watts that no machine claims are `fixed_w` and the `share` of what machines claim. They were learned at
    claims of up to `most_w`."""

    fixed_w: float = 0.0
    share: float = 0.0
    most_w: int = 0

    def at(self, claims_w: float) -> float:
        """What is reckoned with where so much is claimed: never less than nothing."""
        return max(0.0, self.fixed_w + self.share * claims_w)

    def planned(self) -> Beyond:
        """What plans reckon with: never more the less is claimed, or a plan that lowers machines would grant
        more than it counted on. What those hide that claim more than they draw is met as it shows."""
        return self if self.share >= 0 else Beyond(fixed_w=self.at(self.most_w))

    def taught(self, more_w: float, claims_w: int, top_w: int, elapsed_s: float) -> Beyond:
        """After `elapsed_s` in which there was `more_w` than is reckoned with where machines claim `claims_w`
        of `top_w` that they could. At the most that they came to, all of it is put down to the share; where
        nothing is claimed, to the fixed part, so that what was seen at the most stays as it was."""
        step_w = more_w * (1 - math.exp(-elapsed_s / BEYOND_TAU_S))
        came_to_it = self.most_w >= LITTLE * top_w
        full_w = max(1.0, min(top_w, max(self.most_w, LITTLE * top_w)))
        level = min(1.0, claims_w / full_w)
        slope = (2 * level - 1) / ((1 - level) ** 2 + level**2)
        share = self.share + (slope if came_to_it else max(0.0, slope)) * step_w / full_w
        share = min(max(share, -MOST_SHARE), MOST_SHARE)
        fixed_w = self.fixed_w + step_w + (self.share - share) * claims_w
        if fixed_w < 0 and more_w < 0:  # less than no fixed part must not become more of a share
            share = min(share, self.share)
        return self._replace(fixed_w=max(0.0, fixed_w), share=share)


NOTHING = Beyond()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OtherLoad:
    """Load that is no device's, of each node itself: `now_w` is what is there now, what a meter shows beyond
    claims included; `fixed_w` and `share` are `Beyond` of the nodes that have a meter."""

    now_w: Ints
    fixed_w: Floats
    share: Floats

    def at_w(self, device_w: Ints) -> Ints:
        """Of each node itself, where devices send `device_w` through it: what is there now, or what was
        learned to be at such a load if that is more."""
        learned_w = np.ceil(self.fixed_w + self.share * device_w).astype(np.int64)
        return np.maximum(self.now_w, learned_w)


class Room:
    """What nodes have left while devices are raised one after the other: what is drawn beyond the claims of
    devices rises with them. `left_w` is beside devices that draw `device_w` and the `other` load at that."""

    def __init__(self, left_w: Ints, other: OtherLoad, device_w: Ints) -> None:
        self._left_w: list[int] = left_w.tolist()
        self._share: list[float] = other.share.tolist()
        hidden_w = np.maximum(0.0, other.now_w - other.fixed_w - other.share * device_w)
        self._hidden_w: list[float] = hidden_w.tolist()
        """So far it may rise before it is more than what is there now."""
        self._raised_w = [0] * len(self._left_w)

    def has(self, way: Sequence[int], step_w: int) -> bool:
        """Whether every node of `way`, which leads up, has room for a device's step."""
        return all(self._left_w[node] >= watts for node, watts in self._carried_w(way, step_w))

    def take(self, way: Sequence[int], step_w: int) -> None:
        for node, watts in list(self._carried_w(way, step_w)):
            self._left_w[node] -= watts
            self._raised_w[node] += step_w

    def _carried_w(self, way: Sequence[int], step_w: int) -> Iterator[tuple[int, int]]:
        """What the step adds at each node of the way."""
        carried_w = step_w
        for node in way:
            raised_w = self._raised_w[node]
            carried_w += self._beyond_w(node, raised_w + step_w) - self._beyond_w(node, raised_w)
            yield node, carried_w

    def _beyond_w(self, node: int, raised_w: int) -> int:
        share, hidden_w = self._share[node], self._hidden_w[node]
        return max(0, math.ceil(share * raised_w - hidden_w))
