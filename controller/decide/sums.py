"""What all devices below a node draw, may draw and say that they draw: sums over the tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from controller.decide.arrays import Flags, Ints
from controller.decide.outclaimed import surely_w
from controller.decide.tree import Tree, load


class Below(NamedTuple):
    """Sums over every device below a node.

    A device that is silent or changing draws something between nothing and its worst: `settled_w` has it at
    nothing, `busy_w` at its worst; both have all others at what they claim. `worst_w` has all at their worst.
    `guessed_w` of what is settled is no more than an estimate of machines that still start, `other_w` of it
    is no device's; `surely_w` is drawn whoever of those that measure themselves is wrong.
    """

    worst_w: int = 0
    busy_w: int = 0
    settled_w: int = 0
    guessed_w: int = 0
    other_w: int = 0
    surely_w: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """`Below` of every node, as arrays over the tree. `top_w` has all devices at their highest points."""

    worst_w: Ints
    busy_w: Ints
    settled_w: Ints
    guessed_w: Ints
    surely_w: Ints
    top_w: Ints

    def below(self, node: int, other_w: int = 0) -> Below:
        """`other_w` is load that is no device's."""
        return Below(
            worst_w=int(self.worst_w[node]) + other_w,
            busy_w=int(self.busy_w[node]) + other_w,
            settled_w=int(self.settled_w[node]) + other_w,
            guessed_w=int(self.guessed_w[node]),
            other_w=other_w,
            surely_w=int(self.surely_w[node]),
        )


def sums_of(
    tree: Tree,
    node: Ints,
    worst_w: Ints,
    draw_w: Ints,
    top_w: Ints,
    changing: Flags,
    guessed: Flags,
    measured: Flags,
) -> Sums:
    """Sums per node over devices, given by row: their node, worst case, claim, highest point, whether they
    change, and whether the claim is a guess, or was measured."""
    claims_w, changes_w = np.where(changing, 0, draw_w), np.where(changing, worst_w, 0)
    settled_w = load(tree, node, claims_w)
    return Sums(
        worst_w=load(tree, node, worst_w),
        busy_w=settled_w + load(tree, node, changes_w),
        settled_w=settled_w,
        guessed_w=load(tree, node, np.where(guessed, claims_w, 0)),
        surely_w=surely_w(load(tree, node, np.where(measured, claims_w, 0)), top_w),
        top_w=load(tree, node, top_w),
    )
