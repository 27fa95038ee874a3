"""The best there is, by HiGHS: an independent solver that knows nothing of hulls or trees."""

from __future__ import annotations

from collections.abc import Sequence

import highspy
import numpy as np
from numpy.typing import NDArray

from controller.decide.allocate import Menu
from controller.decide.tree import Tree


def by_highs(
    menu: Menu, room_w: NDArray[np.int64], tree: Tree, seconds: float = 60.0, *, whole: bool
) -> float:
    """The best value that HiGHS finds. `whole`: each device at one of its candidates, not at a mixture."""
    solver = highspy.Highs()  # type: ignore[no-untyped-call]  # its stubs leave it out
    solver.setOptionValue("output_flag", False)
    if whole:
        solver.setOptionValue("time_limit", seconds)
        solver.setOptionValue("mip_rel_gap", 1e-6)
    solver.passModel(model(menu, room_w, tree, whole=whole))
    solver.run()
    return float(solver.getInfo().objective_function_value)


def model(menu: Menu, room_w: NDArray[np.int64], tree: Tree, *, whole: bool) -> highspy.HighsLp:
    """A column per candidate; a row per device, whose candidates' shares are one, and a row per node."""
    devices, nodes, columns = len(menu.node), len(tree.ids), len(menu.watts)
    ways: Sequence[Sequence[int]] = [[node for node in way if node != tree.none] for way in tree.way.tolist()]
    rows: list[int] = []
    entries: list[float] = []
    begins = [0]
    for device, at in enumerate(menu.node.tolist()):
        for candidate in range(menu.start[device], menu.start[device + 1]):
            rows += [device, *(devices + node for node in ways[at])]
            entries += [1.0, *[float(menu.watts[candidate])] * len(ways[at])]
            begins.append(len(rows))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = columns, devices + nodes
    lp.sense_ = highspy.ObjSense.kMaximize
    lp.col_cost_ = menu.values
    lp.col_lower_, lp.col_upper_ = np.zeros(columns), np.ones(columns)
    lp.row_lower_ = np.concatenate([np.ones(devices), np.full(nodes, -highspy.kHighsInf)])
    lp.row_upper_ = np.concatenate([np.ones(devices), room_w.astype(np.float64)])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = begins, rows, entries
    if whole:
        lp.integrality_ = [highspy.HighsVarType.kInteger] * columns
    return lp
