"""Whether machines are called liars that do what they were told, or that have no voltage to do it with."""

from __future__ import annotations

from collections.abc import Iterable

from controller.decide.plan import Plan
from controller.decide.words import TRUTHS, Truth
from controller.domain.power import Limit
from simulators.physics.miner import Miner
from tests.sim.case import Case
from tests.sim.lane import Told
from tests.sim.possible import slack_w

DOUBTED_S = 300.0
OBEYS_S = 60.0
"""So long after an order a machine is there, was read, and is known to be."""
LOOKED_S = 5.0
"""It is looked at once in so long, and read as seldom."""
SHORT, SHORT_W = 0.1, 60.0
"""So much less than its order a machine may draw that is there."""


class Accused:
    """`look` must be called every few seconds. Of one that loses its voltage counts what was said of it
    before: a liar that goes dark may be called one still."""

    def __init__(self, case: Case) -> None:
        self._plant = case.plant
        self._possible = case.possible
        self._doubts = case.doubts
        self._shell = case.shell
        self._verdict = case.verdict
        self._specs = case.specs
        self._dark: dict[str, tuple[float, bool]] = {}
        """When machines lost their voltage, and whether they were called liars then."""

    def look(self, plan: Plan, *, in_charge: bool) -> None:
        liars = frozenset(_liars(plan))
        for name, machine in self._plant.machines.items():
            if machine.powered:
                self._dark.pop(name, None)
            else:
                self._dark.setdefault(name, (self._plant.now_s, name in liars))
        for name in liars if in_charge else ():
            wronged = self._is_known_dark(name) if name in self._dark else self._obeys(name)
            if wronged:
                self._verdict.note(self._plant.now_s, "accused", name)

    def _is_known_dark(self, name: str) -> bool:
        """It was no liar when it lost its voltage, so long ago that its last reading is too old by now. Whose
        outlet is off may have been told to be on, and its outlet said yes."""
        since_s, lied = self._dark[name]
        is_stale = self._plant.now_s - since_s > self._specs[name].stale_after_s + LOOKED_S
        return is_stale and not lied and self._plant.machines[name].fed

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
