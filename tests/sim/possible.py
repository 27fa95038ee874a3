"""How far down the machines could be brought at one moment, and what nobody could know, from the plant.

It excuses the controller where nobody could have done better, and only there. Each excuse has a name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass

from controller.domain.devices import Quality
from simulators.physics.electrical import Node as PlantNode
from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner, MinerState
from simulators.plant import Plant
from tests.sim.floor import Floor, ways_up
from tests.sim.lane import is_believed
from tests.sim.shell import Shell

OBEYS_AFTER_S = 30.0
"""A machine that could not be moved counts as such for this long after: to be found, told, and come down."""
LOST_IN_A_ROW, LOST_KNOWN_S = 3, 10.0
"""A machine that so many orders in a row did not reach is as good as silent, for as long as it is tried
again: an order is known to be lost only when its deadline has passed, and then another can be sent."""
TOLD_SLACK, TOLD_SLACK_W = 0.05, 30.0
"""So much a machine may draw beyond the nominal power of its point: they differ by their bias."""
STANDS = frozenset({MinerState.IDLE, MinerState.DARK, MinerState.REBOOTING})
"""What a miner comes up from by itself."""
AFTER_SILENCE_S = 120.0
"""A miner that was silent may have booted and forgotten its limit: that is to be reckoned with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Least:
    """The least a node could be brought to; `because` is what holds up how many watts."""

    watts: float
    because: Counter[str]


class Possible:
    """`look` must be called every few seconds: what could not be moved a moment ago is remembered."""

    def __init__(self, floor: Floor, plant: Plant, shell: Shell) -> None:
        self._plant = plant
        self._shell = shell
        self._specs = {spec.id: spec for spec in floor.specs}
        self._machines = plant.machines
        self._held_s: dict[str, tuple[float, str]] = {}
        self._held_up_s: dict[str, tuple[float, str]] = {}
        self._meters = {node.id: node.meter for node in floor.site.nodes if node.meter is not None}
        self._surplus: dict[str, tuple[float, float]] = {}
        """Since when each machine draws more than it was told, and the least that it drew since."""
        self._hidden_s: dict[str, float] = {}
        """When a reading that stood still last hid that."""
        self._stood: dict[str, tuple[float, float]] = {}
        """When each miner was last without work, without voltage or booting, and what it drew."""
        self._silent_s: dict[str, float] = {}
        self._quality = floor.quality
        self._ways = ways_up(floor.site)
        self.isolated: Callable[[], Set[str]] = frozenset
        """The nodes declared to have no voltage: nobody can know that one comes up all the same."""
        self.machines_below = _machines_below(floor, self._machines)

    def look(self) -> None:
        now_s = self._plant.now_s
        self._note_surplus()
        for name, machine in self._machines.items():
            if isinstance(machine, Miner) and machine.state in STANDS:
                self._stood[name] = now_s, machine.watts
            held_by = self._held_by(name, machine)
            if held_by:
                self._held_s[name] = now_s, held_by
            if held_by and not (held_by == "liar" and _obeys_stops(machine)):
                self._held_up_s[name] = now_s, held_by

    def least(self, node: str, *, nobody_else: bool = False, within_s: float = OBEYS_AFTER_S) -> Least:
        """Machines that cannot be moved, or could not within the last seconds, draw on as they do; all others
        are at their floor. Where there is nobody else to be told in its place, one that a single order did
        not reach cannot be moved either.
        """
        because: Counter[str] = Counter()
        watts = self._loads_w(node)
        for machine in self.machines_below[node]:
            floor_w = self._floor_w(machine)
            held_by = self.held_up_by(machine.id, within_s)
            if nobody_else and not held_by and self._plant.now_s - self._failed_s(machine) <= OBEYS_AFTER_S:
                held_by = "unheard"
            if held_by and machine.watts > floor_w:
                because[held_by] += round(machine.watts - floor_w)
                watts += machine.watts
            else:
                watts += floor_w
        return Least(watts=watts, because=because)

    def carried_w(self, node: str) -> float:
        """What a node carries by its loads of this moment; its power is still that of the moment before."""
        foreign_w = sum(at.faults.foreign_w for at in self.nodes_below(node) if at.live)
        machines_w = sum(machine.watts for machine in self.machines_below[node])
        return self._loads_w(node) + foreign_w + machines_w

    def _loads_w(self, node: str) -> float:
        """The load at a node and below it that is expected there."""
        return sum(at.load_w for at in self.nodes_below(node) if at.live)

    def never_below(self, node: str) -> float:
        """What a node draws when every machine that can be told anything obeys at its lowest."""
        return self._loads_w(node) + sum(
            machine.watts if len(self._specs[machine.id].points) == 1 else self._floor_w(machine)
            for machine in self.machines_below[node]
        )

    def dwelling_w(self, node: str, dwell_s: float) -> float:
        """What miners draw above their floor that were told something so short a time ago, and could be moved
        else: only for a limit are they told something else yet, and who lies about limits told to stop."""
        told, now_s = self._shell.told, self._plant.now_s
        return sum(
            max(0.0, machine.watts - self._floor_w(machine))
            for machine in self.machines_below[node]
            if isinstance(machine, Miner)
            and (
                (machine.id in told and now_s - told[machine.id].at_s <= dwell_s)
                or self.held_by(machine.id) == "liar"
            )
            and not self.held_up_by(machine.id, OBEYS_AFTER_S + dwell_s)
        )

    def nodes_below(self, node: str) -> list[PlantNode]:
        """It, and all below it."""
        found = [self._plant.nodes[node]]
        for at in found:
            found += at.children
        return found

    def is_cooled(self, zone: str) -> bool:
        """Whether fans run there and that is told: nothing may be raised otherwise."""
        return self._plant.zones[zone].fans_proven and self.is_told(zone)

    def is_told(self, zone: str) -> bool:
        return zone not in self._shell.silenced

    def _failed_s(self, machine: Miner | Gpu) -> float:
        return self._shell.failed_s.get(machine.id, -math.inf)

    def unforeseen_w(self, node: str, within_s: float) -> float:
        """Watts that machines below a node took beyond what they were told, no longer ago than that: a first
        lie about a limit, a limit that another administrator reset. After a silence that is foreseeable.

        Of one that fell silent before that could be noticed, nothing is to be known until it is stale."""
        self._note_surplus()
        now_s = self._plant.now_s
        watts = 0.0
        for machine in self.machines_below[node]:
            name = machine.id
            since_s, _ = self._surplus.get(name, (-math.inf, 0.0))
            silent_s = self._silent_s.get(name, math.inf)
            hidden_s = self._specs[name].stale_after_s if silent_s <= since_s + within_s else 0.0
            if now_s - since_s <= within_s + hidden_s:
                watts += machine.watts - self._told_w(name)
        return watts

    def came_up_w(self, node: str, within_s: float) -> float:
        """Watts that miners below a node took by themselves as they had work or voltage again, no longer ago
        than that."""
        taken_w = 0.0
        for machine in self.machines_below[node]:
            at_s, stood_w = self._stood.get(machine.id, (-math.inf, 0.0))
            if self._plant.now_s - at_s <= within_s:
                taken_w += max(0.0, machine.watts - stood_w)
        return taken_w

    def _told_w(self, name: str) -> float:
        if self._should_be_dark(name):
            return 0.0
        told = self._shell.told.get(name)
        return math.inf if told is None else told.most_w(self._plant.now_s)

    def _note_surplus(self) -> None:
        now_s = self._plant.now_s
        for name, machine in self._machines.items():
            told_w = self._told_w(name)
            if machine.watts > (told_w if _was_reset(machine, told_w) else slack_w(told_w)):
                self._note_beyond(name, machine)
            else:
                self._surplus.pop(name, None)
            if self._is_silent(name, machine):
                self._silent_s.setdefault(name, now_s)
            else:
                self._silent_s.pop(name, None)

    def _note_beyond(self, name: str, machine: Miner | Gpu) -> None:
        """It draws more than it was told."""
        now_s = self._plant.now_s
        silent_s, why = self._held_s.get(name, (-math.inf, ""))
        hidden = self._stands_still(name, machine)
        lately = isinstance(machine, Miner) and why == "silent" and now_s - silent_s < AFTER_SILENCE_S
        if hidden:
            self._hidden_s[name] = now_s
        was_seen = now_s - self._hidden_s.get(name, -math.inf) > AFTER_SILENCE_S
        if lately and was_seen and not self._should_be_dark(name):
            self._surplus.pop(name, None)  # it may have booted
            return
        since_s, least_w = self._surplus.get(name, (now_s, machine.watts))
        if machine.watts > 2 * least_w and self._says_nothing(name, machine):
            since_s, least_w = now_s, machine.watts
        self._surplus[name] = now_s if hidden else since_s, min(least_w, machine.watts)

    def _should_be_dark(self, name: str) -> bool:
        isolated = self.isolated()
        return bool(isolated) and not isolated.isdisjoint(self._ways[self._specs[name].node])

    def _stands_still(self, name: str, machine: Miner | Gpu) -> bool:
        """Whether its reading does, at no more than it was told: nobody sees what it takes beyond that. The
        hash by which a miner without watts is reckoned comes some seconds after what it draws."""
        heard = self._shell.heard.readings.get(name)
        frozen = isinstance(machine, Miner) and machine.faults.frozen_reads
        lags = self._quality.get(name) is Quality.ESTIMATED
        if heard is None or not (frozen or lags):
            return False
        return heard.value.draw.watts <= slack_w(self._told_w(name))

    def _says_nothing(self, name: str, machine: Miner | Gpu) -> bool:
        """Whether it says it sleeps, and tells no watts: whether it idles or works then is not to be seen."""
        asleep = isinstance(machine, Miner) and machine.said_asleep
        return asleep and self._quality.get(name) is Quality.ESTIMATED

    def claimed_w(self, node: str) -> float:
        """What a node carries by the honest claims of its machines, each as wrong as its own sensor is; more
        is not to be known where no working meter of that very node shows it. Infinite where one does."""
        meter = self._meters.get(node)
        faults = None if meter is None else self._plant.meters[meter].faults
        if faults is not None and not (
            faults.dead or faults.frozen_reads or faults.reported_power_factor != 1
        ):
            return math.inf
        claims = sum(
            machine.watts / machine.bias if isinstance(machine, Miner) else machine.watts
            for machine in self.machines_below[node]
        )
        return claims + self._loads_w(node)

    def held_by(self, name: str, within_s: float = OBEYS_AFTER_S) -> str:
        """Why a machine cannot be moved, or could not be within the last seconds; empty if it can."""
        return self._lately(self._held_s, name, within_s)

    def held_up_by(self, name: str, within_s: float = OBEYS_AFTER_S) -> str:
        """The same of being brought down: a miner that only lies about limits obeys a stop."""
        return self._lately(self._held_up_s, name, within_s)

    def _lately(self, held_s: dict[str, tuple[float, str]], name: str, within_s: float) -> str:
        held = held_s.get(name)
        return held[1] if held is not None and self._plant.now_s - held[0] <= within_s else ""

    def _held_by(self, name: str, machine: Miner | Gpu) -> str:
        if len(self._specs[name].points) == 1:
            return "watched"
        if name in self._shell.silenced:
            return "silent"
        lost = self._shell.lost.get(name)
        if lost is not None and lost.count >= LOST_IN_A_ROW and self._plant.now_s - lost.at_s <= LOST_KNOWN_S:
            return "unheard"
        if self._is_silent(name, machine):
            return "silent"
        if machine.faults.lies_about_limit or (isinstance(machine, Miner) and machine.faults.lies_about_stop):
            return "liar"
        return "refusing" if isinstance(machine, Miner) and machine.faults.refuses else ""

    def _is_silent(self, name: str, machine: Miner | Gpu) -> bool:
        if isinstance(machine, Gpu):
            says_w = machine.watts * machine.faults.reported_power_factor
            is_heard = is_believed(self._specs[name], says_w) and not machine.faults.lost
            return name in self._shell.silenced or not is_heard
        faults = machine.faults
        return name in self._shell.silenced or faults.hangs or faults.dead or not machine.reachable

    def _floor_w(self, machine: Miner | Gpu) -> float:
        if isinstance(machine, Gpu):
            return min(machine.watts, machine.group.min_w)
        return min(machine.watts, machine.group.standby_w * machine.bias)


def slack_w(told_w: float) -> float:
    """What a machine that was told so much may draw."""
    return told_w * (1 + TOLD_SLACK) + TOLD_SLACK_W


def _was_reset(machine: Miner | Gpu, told_w: float) -> bool:
    """Whether a GPU has its usual limit again, whoever told it that: its watts follow in a moment."""
    return isinstance(machine, Gpu) and told_w < machine.limit_w == machine.group.default_limit_w


def _obeys_stops(machine: Miner | Gpu) -> bool:
    return isinstance(machine, Miner) and not machine.faults.lies_about_stop


def _machines_below(floor: Floor, machines: dict[str, Miner | Gpu]) -> dict[str, list[Miner | Gpu]]:
    ways = ways_up(floor.site)
    below: dict[str, list[Miner | Gpu]] = {node: [] for node in ways}
    for machine in machines.values():
        for node in ways[machine.node]:
            below[node].append(machine)
    return below
