"""What passes between the core and the machines, and how it fails: polls, commands, meters, jobs.

It stands in for the daemon's own shell, with a lane to each machine. What a driver would refuse to believe is
refused here too: a meter beyond its range.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from controller.decide.inputs import Sample
from controller.domain.devices import (
    Cooling,
    DeviceSpec,
    MeterReading,
    SetPoint,
    ZoneReading,
)
from controller.domain.power import Limit, Power
from simulators.plant import Plant
from tests.sim.clockwork import Clockwork
from tests.sim.floor import SLEEP_W, Floor
from tests.sim.lane import Heard, Lane, Lost, Told
from tests.sim.outlets import Remembered
from tests.sim.swarm import Rates

SPREAD_S = 2.0
METER_POLL_S = 1.0
METER_RANGE = 2.0
"""Times its node's limit up to which a meter's value is believed, as a site file would have it."""


class Shell:
    """`silenced` devices are behind a dead switch, as sensors of zones and queues may be; `ordered` is called
    when a machine truly gets an order."""

    def __init__(
        self, seed: int, floor: Floor, plant: Plant, clock: Clockwork, ordered: Callable[[str], None]
    ) -> None:
        self.plant = plant
        self.clock = clock
        self.random = random.Random(f"{seed}/shell")
        self.quality = floor.quality
        self.outlets = floor.outlets
        self.cuts = Remembered(plant)
        self.rates = Rates()
        self.silenced: set[str] = set()
        self.told: dict[str, Told] = {}
        """The newest order that truly reached each device."""
        self.lost: dict[str, Lost] = {}
        self.failed_s: dict[str, float] = {}
        """When an order to each device was last lost or refused."""
        self.late_s: dict[str, float] = {}
        """When one was last sent that took so long that it may have seemed lost."""
        self.heard = Heard()
        self.ordered = ordered
        self._specs = floor.specs
        self._ranges = {
            node.meter: METER_RANGE * node.limit.power.watts
            for node in floor.site.nodes
            if node.meter is not None and isinstance(node.limit, Limit)
        }
        self._lanes: dict[str, Lane] = {}
        self._offered = floor.specs
        self._process = 0

    def start(self) -> None:
        """A new process: it has heard nothing, and every device is a stranger. What an earlier one sent is
        on its way, and its answers reach nobody."""
        self.stop()
        self.heard = Heard()
        self.told.update(self._hidden())
        self._lanes = {spec.id: Lane(self, spec) for spec in self._specs}
        for at, lane in enumerate(self._lanes.values()):
            lane.start(SPREAD_S * at / len(self._lanes))
        self._watch(self._process)

    def stop(self) -> None:
        for lane in self._lanes.values():
            lane.stop()
        self._lanes = {}
        self._process += 1

    @property
    def specs(self) -> tuple[DeviceSpec, ...]:
        """What every device can do now: what hangs at an outlet that is off can do less."""
        for spec, offered in zip(self._specs, self._offered, strict=True) if self.outlets else ():
            plug = self._lanes[spec.id].plug
            if plug is not None and plug.spec is not offered:
                self._offered = tuple(
                    spec if lane.plug is None else lane.plug.spec
                    for spec, lane in zip(self._specs, self._lanes.values(), strict=True)
                )
                break
        return self._offered

    def put_right(self) -> None:
        """A person goes round the outlets, plugs cords in where they should be, and switches on what no
        controller will."""
        crossed = {name for name in self.outlets if self.is_crossed(name)}
        for name in crossed:
            outlet = self.outlets[name]
            self.plant.pdus[outlet.pdu].machines[outlet.number] = self.plant.machines[name]
        for name in self.outlets:
            lane = self._lanes.get(name)
            if name in crossed or lane is None or lane.plug is None or not lane.plug.will_be_closed:
                self.switch_on(name)

    def switch_on(self, name: str) -> None:
        """A person does, at the outlet."""
        outlet = self.outlets[name]
        self.plant.switch_outlet(outlet.pdu, outlet.number, closed=True)

    def is_crossed(self, name: str) -> bool:
        """Whether another machine's cord is in the outlet that is said to be this one's."""
        outlet = self.outlets.get(name)
        return outlet is not None and self.plant.pdus[outlet.pdu].machines[outlet.number].id != name

    def most_told_w(self, name: str) -> float:
        """The most that its newest order lets a machine draw; nothing before the first."""
        told = self.told.get(name)
        return 0.0 if told is None else float(told.most_w(self.clock.now_s))

    def ordered_s(self, name: str) -> float:
        """When the newest order reached it."""
        told = self.told.get(name)
        return -math.inf if told is None else told.at_s

    def was_lowered(self, name: str) -> bool:
        """Whether its newest order was to come down."""
        told = self.told.get(name)
        return told is not None and told.watts < told.before_w

    def shown_w(self, name: str) -> float:
        """What it was last heard to draw."""
        heard = self.heard.readings.get(name)
        return 0.0 if heard is None else float(heard.value.draw.watts)

    def gives_back(self, name: str) -> bool:
        """Whether the controller took the power of a machine, and has yet to give it back."""
        lane = self._lanes.get(name)
        return lane is not None and lane.plug is not None and lane.plug.will_be_closed

    def _hidden(self) -> dict[str, Told]:
        """Where a machine's readings stand still, what it shows is all that a new process can know of the
        orders of the one before."""
        now_s, hidden = self.clock.now_s, {}
        for name in self.told:
            machine = self.plant.miners.get(name)
            if machine is not None and machine.faults.frozen_reads:
                report = machine.report(now_s)
                shown_w = SLEEP_W if report.asleep else round(report.setting_w)
                hidden[name] = Told(now_s, shown_w, shown_w)
        return hidden

    def post(self, command: SetPoint) -> None:
        self._lanes[command.device].post(command)

    def _watch(self, process: int) -> None:
        if process != self._process:
            return
        now_s = self.clock.now_s
        for name, meter in self.plant.meters.items():
            if not meter.faults.dead and 0 <= meter.value_w <= self._ranges[name]:
                reading = MeterReading(meter=name, power=Power.up(meter.value_w))
                self.heard.meters[name] = Sample(now_s, reading)
        for name, zone in self.plant.zones.items():
            if name in self.silenced:
                continue
            cooling = Cooling.PROVEN if zone.fans_proven else Cooling.NOT_PROVEN
            reading_of = ZoneReading(zone=name, inlet_c=zone.inlet_c, cooling=cooling)
            self.heard.zones[name] = Sample(now_s, reading_of)
        self.clock.after(METER_POLL_S, lambda: self._watch(process))
