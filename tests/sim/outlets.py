"""Switched outlets of the simulated site: which machines hang at one, and what an outlet makes of what they
say and are told.

It stands in for the driver of a machine behind an outlet. It has a generator of its own, so that other seeds
stay as they are.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import dataclass, replace

from controller.domain.devices import (
    Acknowledged,
    DeviceSpec,
    Failed,
    Means,
    Outcome,
    Quality,
    Reading,
    Refused,
    SetPoint,
)
from controller.domain.power import ZERO, Limit, Power
from drivers.feed import STAYS_S, has_other_feed
from drivers.outlet import Offers
from drivers.outletstate import OutletState, Relay
from drivers.switching import Switching
from simulators.config import PduConfig, PlantConfig
from simulators.plant import Plant

KIND = "outlets"
FED, METERED, CROSSED = 0.7, 0.7, 0.3
"""How likely a breaker's machines hang at outlets, these tell watts, and two cords of a site are crossed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """Where the site's file says that a machine is plugged in."""

    pdu: str
    number: int
    metered: bool


def plugged(
    seed: int, plant: PlantConfig, specs: Collection[DeviceSpec]
) -> tuple[PlantConfig, dict[str, Outlet]]:
    """The plant with its PDUs as they are, and the outlets of machines as the site's file has them."""
    rnd = random.Random(f"{seed}/{KIND}")
    known: dict[str, Outlet] = {}
    obeys = {spec.id for spec in specs if len(spec.points) > 1}
    for group in plant.miners:
        if obeys.issuperset(group.ids) and rnd.random() < FED:
            metered = rnd.random() < METERED
            for number, name in enumerate(group.ids, start=1):
                known[name] = Outlet(pdu=f"rpdu-{group.name}", number=number, metered=metered)
    feeds = {name: name for name in known}
    if len(known) > 1 and rnd.random() < CROSSED:
        one, other = rnd.sample(sorted(known), 2)
        feeds[one], feeds[other] = other, one
    pdus: dict[str, dict[int, str]] = {}
    for name, outlet in known.items():
        pdus.setdefault(outlet.pdu, {})[outlet.number] = feeds[name]
    found = tuple(PduConfig(id=name, outlets=outlets) for name, outlets in pdus.items())
    return plant.model_copy(update={"pdus": found}), known


class Remembered:
    """Which outlets were switched off from here, as it outlives a process of the controller."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._seen_s: dict[str, float] = {}

    def unseen_s(self, outlet: str, _device: str) -> float | None:
        seen_s = self._seen_s.get(outlet)
        return None if seen_s is None else self._plant.now_s - seen_s

    def keep(self, outlet: str, _device: str) -> None:
        self._seen_s[outlet] = self._plant.now_s

    def drop(self, outlet: str) -> None:
        self._seen_s.pop(outlet, None)

    async def forget(self, outlet: str) -> None:
        self.drop(outlet)


class Plug:
    """One machine's outlet, as one process of the controller knows it.

    While it is off its machine is at its floor, unless that answers all the same: then it has another feed,
    and no outlet. Who switched it off, and whether it obeys, is reckoned as the driver does.
    """

    def __init__(self, plant: Plant, outlet: Outlet, spec: DeviceSpec, cuts: Remembered) -> None:
        self._plant = plant
        self._outlet = outlet
        self._pdu = plant.pdus[outlet.pdu]
        self._name = f"{outlet.pdu}:{outlet.number}"
        self._cuts = cuts
        self._switching = Switching(spec.id, self._name, cuts)
        self._offers = Offers(spec)
        self._bare = spec
        self._first_s: float | None = None
        self._last_s = -math.inf
        self._said: Reading | None = None
        self._carried_w = math.nan
        self._told: Reading
        """What came of what the machine and its outlet said last."""

    @property
    def answers(self) -> bool:
        return not self._pdu.faults.dead

    @property
    def is_off(self) -> bool:
        return self.answers and not self._pdu.says_closed(self._outlet.number)

    @property
    def spec(self) -> DeviceSpec:
        if self._first_s is not None:
            return self._bare
        if self.is_off:
            return self._offers.unfed(self._switching)
        return self._offers.fed if self._switching.obeys(lambda: self._plant.now_s) else self._bare

    def read(self, said: Reading | None, now_s: float) -> Reading | None:
        """What is known of the machine that `said` that, or did not answer."""
        self.look(now_s)
        if not self.is_off:
            if self.answers:
                self._first_s = None
            return None if said is None else self._metered(said)
        if said is not None:
            self._first_s = now_s if self._first_s is None else self._first_s
            self._last_s = now_s
            return self._metered(said)
        if self._first_s is not None and self._last_s - self._first_s >= STAYS_S:
            return None
        self._first_s = None
        return Reading(
            device=self._bare.id,
            draw=Power.up(self._pdu.watts(self._outlet.number)) if self._outlet.metered else ZERO,
            quality=Quality.MEASURED if self._outlet.metered else Quality.ESTIMATED,
            setting=Limit(self._bare.floor.power),
        )

    def _metered(self, said: Reading) -> Reading:
        """With the watts of the outlet. A machine at rest says the same thing again."""
        if not (self._outlet.metered and self.answers):
            return said
        carries_w = self._pdu.watts(self._outlet.number)
        if said is not self._said or carries_w != self._carried_w:
            self._said, self._carried_w = said, carries_w
            carries = Power.up(carries_w)
            if has_other_feed(self._bare, said, carries):
                self._told = replace(said, draw=max(said.draw, carries))
            else:
                self._told = replace(said, draw=carries, quality=Quality.MEASURED)
        return self._told

    def look(self, now_s: float) -> None:
        """Whether or not its machine answers."""
        relay = Relay.UNKNOWN if not self.answers else Relay.OFF if self.is_off else Relay.ON
        self._switching.seen(OutletState(relay=relay, asked_s=now_s))

    def takes(self, command: SetPoint) -> bool:
        """Whether a command is one for the outlet, and not for the machine."""
        return command.means is Means.OUTLET or (self.is_off and self._first_s is None)

    def obey(self, command: SetPoint, now_s: float) -> Outcome:
        """What comes of what it is told, if its PDU answers."""
        self.look(now_s)
        if command.means is Means.OUTLET:
            if self.is_off:
                return Acknowledged() if self._first_s is None else Refused("does not feed it")
            return self._switch(Relay.OFF, now_s)
        if command.point.power <= self._bare.floor.power or not self.is_off:
            return Acknowledged()
        if not self._switching.ours:
            return Refused(self._switching.why_not)
        self._cuts.drop(self._name)
        return self._switch(Relay.ON, now_s)

    def unanswered(self, command: SetPoint, outcome: Failed, now_s: float) -> None:
        """Its PDU did not answer."""
        if command.means is Means.OUTLET:
            self._switching.told(Relay.OFF, outcome, was_on=False, sent_s=now_s, now_s=now_s)

    def _switch(self, to: Relay, now_s: float) -> Outcome:
        said, was_on = Acknowledged(), not self.is_off
        self._plant.switch_outlet(self._outlet.pdu, self._outlet.number, closed=to is Relay.ON)
        self._switching.told(to, said, was_on=was_on, sent_s=now_s, now_s=now_s)
        return said

    @property
    def will_be_closed(self) -> bool:
        """Whether its machine is the one that this process took the power from, or the one before, and that
        will be given it back: not one that seemed to have another feed."""
        ours = self._switching.ours and self.is_off and self._first_s is None
        return ours and self._pdu.machines[self._outlet.number].id == self._bare.id
