"""Whether machines are called liars that do what they were told, or that have no voltage to do it with."""

from __future__ import annotations

from collections.abc import Iterable

from controller.decide.plan import Plan
from controller.decide.words import TRUTHS, Truth
from controller.domain.power import Limit
from simulators.physics.miner import Miner
from simulators.plant import Plant
from tests.sim.doubts import Doubts
from tests.sim.lane import Told
from tests.sim.possible import Possible, slack_w
from tests.sim.shell import Shell
from tests.sim.verdict import Verdict

DOUBTED_S = 300.0
OBEYS_S = 60.0
"""So long after an order a machine is there, was read, and is known to be."""
SHORT, SHORT_W = 0.1, 60.0
"""So much less than its order a machine may draw that is there."""


class Accused:
    """`look` must be called every few seconds. Of one that loses its voltage counts what was said of it
    before: a liar that goes dark may be called one still."""

    def __init__(
        self, plant: Plant, possible: Possible, doubts: Doubts, shell: Shell, verdict: Verdict
    ) -> None:
        self._plant = plant
        self._possible = possible
        self._doubts = doubts
        self._shell = shell
        self._verdict = verdict
        self._dark: dict[str, bool] = {}
        """Of machines without voltage: whether they were called liars when they lost it."""

    def look(self, plan: Plan, *, in_charge: bool) -> None:
        liars = frozenset(_liars(plan))
        for name, machine in self._plant.machines.items():
            if machine.powered:
                self._dark.pop(name, None)
            else:
                self._dark.setdefault(name, name in liars)
        for name in liars if in_charge else ():
            is_dark = name in self._dark
            if is_dark and not self._plant.machines[name].fed:
                continue  # its outlet may have said yes, and nothing came of it
            if (is_dark and not self._dark[name]) or (not is_dark and self._obeys(name)):
                self._verdict.note(self._plant.now_s, "accused", name)

    def _obeys(self, name: str) -> bool:
        """It does what it was last told, says so, and there was nothing wrong with it for long."""
        told, heard = self._shell.told.get(name), self._shell.heard.readings.get(name)
        if told is None or heard is None or self._plant.now_s - told.at_s <= OBEYS_S:
            return False
        if self._possible.held_by(name, within_s=DOUBTED_S) or self._doubts.within(name, DOUBTED_S):
            return False
        said = heard.value.setting
        tells_it = isinstance(said, Limit) and said.power.watts == told.watts
        return tells_it and all(
            _is_there(watts, told, asks=self._asks(name))
            for watts in (self._plant.machines[name].watts, heard.value.draw.watts)
        )

    def _asks(self, name: str) -> bool:
        """Whether it has to draw what it was told: a GPU's limit is no demand."""
        return isinstance(self._plant.machines[name], Miner)


def _is_there(watts: float, told: Told, *, asks: bool) -> bool:
    least_w = told.watts * (1 - SHORT) - SHORT_W if asks else 0.0
    return least_w <= watts <= slack_w(told.watts)


def _liars(plan: Plan) -> Iterable[str]:
    codes = plan.grants.truth.tolist()
    return (
        spec.id for spec, code in zip(plan.grants.specs, codes, strict=True) if TRUTHS[code] is Truth.LYING
    )
