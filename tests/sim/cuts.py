"""Whether power is taken at outlets only where it must be, and given back when there is some to give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from controller.decide.doubt import GIVEN_UP_S
from controller.domain.devices import DeviceSpec, Means, SetPoint
from controller.domain.site import Prices
from tests.sim.case import BEYOND, Case
from tests.sim.possible import slack_w
from tests.sim.recovery import LOOK_EVERY_S

DISOBEYED_S = 120.0
"""A machine that obeyed for so long has done nothing for which its power could be taken."""
DOUBTED_S = 300.0
SURE, SURE_W = 0.9, 200.0
"""Of a limit so much is left by margins, and by what is kept for those that are on their way."""
BACK_S = GIVEN_UP_S + 240.0
"""A machine rests after its power was taken, waits for its turn, and for a dwell of others."""
EARNS = 1.3
ROOM_S = 240.0
"""So long there has to be room for it without a break."""


class Cuts:
    """`told` with every plan's commands before they are sent; `look` every `LOOK_EVERY_S`. `limit_w` is what
    a node may carry now or soon."""

    def __init__(self, case: Case, limit_w: Callable[[str], float]) -> None:
        self._case = case
        self._shell = case.shell
        self._plant = case.plant
        self._possible = case.possible
        self._doubts = case.doubts
        self._usable = case.usable
        self._verdict = case.verdict
        self._limit_w = limit_w
        self._specs = case.specs
        self._ways = case.ways
        self._outlets = case.floor.outlets
        self._told_s: dict[str, float] = {}
        """When the power of each machine was last told to be taken, in vain or not."""
        self._cut_s: dict[str, float] = {}
        self._room_s: dict[str, float] = {}
        """Since when there has been room for each machine that is without power."""

    def told(self, commands: Iterable[SetPoint]) -> None:
        for command in commands:
            if command.means is not Means.OUTLET:
                continue
            self._told_s[command.device] = self._plant.now_s
            if not self._is_needed(command.device):
                self._verdict.note(self._plant.now_s, "cut", command.device)

    def is_given_up(self, name: str) -> bool:
        """Whether it need not be raised yet, whose power was told to be taken."""
        return self._plant.now_s - self._told_s.get(name, -math.inf) <= BACK_S

    def look(self, prices: Prices, usd_per_kwh: float, *, steered: bool) -> None:
        """While the site is `steered` by a set-point there is no room that is free for the taking."""
        now_s = self._plant.now_s
        for name in self._outlets:
            if self._plant.machines[name].fed or not self._shell.gives_back(name):
                self._cut_s.pop(name, None)
                continue
            since_s = self._cut_s.setdefault(name, now_s)
            pays = _pays(self._specs[name], prices, usd_per_kwh)
            if steered or not pays or not self._may_run(name) or not self.has_room(name):
                self._room_s.pop(name, None)
            roomy_s = now_s - self._room_s.setdefault(name, now_s)
            if now_s - since_s > BACK_S and roomy_s > ROOM_S:
                self._verdict.note(now_s, "dark", name, dt_s=LOOK_EVERY_S)

    def _is_needed(self, name: str) -> bool:
        """Whether a machine has not obeyed, or was not heard, and a limit above it might be passed: of one
        that is silent, even with all others at their lowest."""
        if self._shell.shown_w(name) > slack_w(self._shell.most_told_w(name)):
            return True  # by an outlet that another machine's cord is in, it does not obey
        held_by = self._possible.held_by(name, within_s=DISOBEYED_S)
        if not held_by and not self._doubts.within(name, DISOBEYED_S):
            return False
        silent = held_by == "silent" and self._possible.held_by(name, within_s=LOOK_EVERY_S) == "silent"
        return any(
            self._worst_w(node, others_lowest=silent) > SURE * self._limit_w(node) - SURE_W
            for node in self._ways[self._specs[name].node]
        )

    def _worst_w(self, node: str, *, others_lowest: bool) -> float:
        """What a place may carry by what is known of it."""
        return self._case.most_load_w(node) + sum(
            self._most_w(self._specs[machine.id], others_lowest=others_lowest)
            for machine in self._possible.machines_below[node]
        )

    def _most_w(self, spec: DeviceSpec, *, others_lowest: bool) -> float:
        watts = self._plant.machines[spec.id].watts
        if spec.id in self._cut_s:
            return 0.0  # it is dark, and that is known
        if self._doubts.within(spec.id, DOUBTED_S):
            return self._case.worst_w(spec.id)
        return spec.floor.power.watts if others_lowest else max(watts, self._shell.most_told_w(spec.id))

    def _may_run(self, name: str) -> bool:
        spec = self._specs[name]
        is_cooled = spec.zone is None or self._possible.is_cooled(spec.zone)
        return self._plant.nodes[spec.node].live and is_cooled and not self._usable.rests(name)

    def has_room(self, name: str) -> bool:
        """For all that it may draw: it boots as it likes."""
        spec = self._specs[name]
        return all(self._room_w(node) > BEYOND * spec.ceiling.watts for node in self._ways[spec.node])

    def _room_w(self, node: str) -> float:
        if self._doubts.within(node, DOUBTED_S):
            return -math.inf
        return SURE * self._limit_w(node) - SURE_W - self._worst_w(node, others_lowest=False)


def _pays(spec: DeviceSpec, prices: Prices, usd_per_kwh: float) -> bool:
    """Whether it surely earns its energy and its start."""
    best = spec.points[-1]
    return best.rate * prices.usd_per_ths_day / 24 > EARNS * best.power.in_kw * usd_per_kwh
