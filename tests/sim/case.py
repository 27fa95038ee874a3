"""What all judges of one world go by, and where they note what they find."""

from __future__ import annotations

from simulators.plant import Plant
from tests.sim.doubts import Doubts
from tests.sim.floor import MOST_LOAD, Floor, ways_up
from tests.sim.possible import Possible
from tests.sim.shell import Shell
from tests.sim.usable import Usable
from tests.sim.verdict import Verdict

BEYOND = 1.1
"""Times its ceiling that a machine may count at of which nothing is known, and other load at its mean."""


class Case:
    """The site as it was drawn, its plant, and what passes between that and the core; who could be moved, who
    was to be doubted, and what could be drawn. `specs` are by device, `ways` lead from each node to the root.
    """

    def __init__(self, floor: Floor, plant: Plant, shell: Shell) -> None:
        self.floor = floor
        self.plant = plant
        self.shell = shell
        self.possible = Possible(floor, plant, shell)
        self.doubts = Doubts(floor, plant, self.possible, shell)
        self.usable = Usable(floor, plant, self.possible)
        self.verdict = Verdict()
        self.specs = {spec.id: spec for spec in floor.specs}
        self.ways = ways_up(floor.site)

    def most_load_w(self, node: str) -> float:
        """What other load may count at, at a place and all below it."""
        below = self.possible.nodes_below(node)
        return sum(at.config.load_w for at in below) * MOST_LOAD * BEYOND

    def worst_w(self, name: str) -> float:
        """What a machine may count at of which nothing is known."""
        return BEYOND * max(self.specs[name].ceiling.watts, self.plant.machines[name].watts)
