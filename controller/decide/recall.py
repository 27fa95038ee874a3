"""What was allocated in the tick before: the same question has the same answer, and is not worked out twice.

It only saves time. Whoever recalls nothing, after a restart or with other devices, comes to the same plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from controller.decide.allocate import Allocation, Menu, allocate
from controller.decide.tree import Tree, load

Question = tuple[bytes, ...]
"""All that an allocation of the same devices depends on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recall:
    """The questions of one tick, and their answers, of devices at these very nodes of that tree."""

    node: NDArray[np.intp]
    tree: Tree
    answers: tuple[tuple[Question, Allocation], ...]

    def of(self, question: Question) -> Allocation | None:
        return next((answer for asked, answer in self.answers if asked == question), None)


class Recalling:
    """`allocate` for one tick, which recalls what the tick `before` it asked."""

    def __init__(self, before: Recall | None, node: NDArray[np.intp], tree: Tree) -> None:
        same = before is not None and before.node is node and before.tree is tree
        self._before = before if same else None
        self._node = node
        self._tree = tree
        self._answers: list[tuple[Question, Allocation]] = []

    def allocate(self, menu: Menu, room_w: NDArray[np.int64]) -> Allocation:
        """As `allocate`. Watts count from each device's lowest; a node that has room for the most that can
        come to be drawn below it is in nobody's way, however much more it has.
        """
        tree, low, sizes = self._tree, menu.start[:-1], np.diff(menu.start)
        low_w = menu.watts[low]
        left_w = room_w - load(tree, menu.node, low_w)
        most_w = load(tree, menu.node, menu.watts[menu.start[1:] - 1] - low_w)
        limits_w = np.where(most_w == 0, 0, np.minimum(left_w, most_w))
        group = b"" if menu.group is None else menu.group.tobytes()
        lockstep = () if menu.lockstep is None else menu.lockstep.parts
        steps_w = menu.watts - low_w.repeat(sizes)
        asked = (group, *(it.tobytes() for it in (limits_w, sizes, menu.values, steps_w, *lockstep)))
        answer = None if self._before is None else self._before.of(asked)
        if answer is None:
            answer = allocate(menu, room_w, tree)
        else:
            used_w = load(tree, menu.node, steps_w[low + answer.index])
            answer = replace(answer, room_w=left_w - used_w)
        self._answers.append((asked, answer))
        return answer

    @property
    def recall(self) -> Recall:
        return Recall(node=self._node, tree=self._tree, answers=tuple(self._answers))
