"""One physical site in memory: electrical tree, miners, GPUs, meters and cooling, under one clock of its own.

Pure Python and seeded: the same seed and the same calls give the same values. It must never ask for the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from simulators.config import PlantConfig
from simulators.groups import FaultConfig
from simulators.physics.cooling import Zone
from simulators.physics.electrical import Meter, Node
from simulators.physics.faults import BadFaultError, Faults, set_fault
from simulators.physics.gpu import Gpu
from simulators.physics.machine import Machine
from simulators.physics.miner import Miner
from simulators.physics.pdu import Pdu
from simulators.physics.truth import J_PER_WH, GpuTruth, MinerTruth, NodeTruth, PlantTruth, ZoneTruth

RESOLUTION_S = 0.001
STEP_MS = 100
NEVER_MS = 1 << 62
SLOW_MS = 1000
"""Heat, hash and other load change slowly: they are stepped once a second, watts that move ten times."""
WARM_TURNS = 5
"""A machine far from its trip temperature has its heat followed every so many seconds, in turns."""


class Plant:
    """`advance(to_s)` is the only way time passes. `miners`, `nodes`, `meters` and the like are by id.

    Where nothing moves, time goes from one event to the next; sums are made anew only above what moved.
    """

    def __init__(self, config: PlantConfig, seed: int | None = None) -> None:
        self.config = config
        self.seed = config.seed if seed is None else seed
        self.nodes: dict[str, Node] = {}
        for node in config.nodes:
            parent = None if node.parent is None else self.nodes[node.parent]
            self.nodes[node.id] = Node(node, parent, self.seed)
        self.miners = {
            miner.id: miner
            for group in config.miners
            for miner in (Miner(group, index, self.seed) for index in range(group.count))
        }
        self.gpus = {
            gpu.id: gpu
            for group in config.gpus
            for gpu in (Gpu(group, index) for index in range(len(group.uuids)))
        }
        self.machines: dict[str, Miner | Gpu] = {**self.miners, **self.gpus}
        self._machines: list[Machine] = [*self.machines.values()]
        self.pdus = {
            pdu.id: Pdu(pdu, {outlet: self.machines[device] for outlet, device in pdu.outlets.items()})
            for pdu in config.pdus
        }
        self._placed = [(machine, self.nodes[machine.node]) for machine in self._machines]
        self._relays: dict[tuple[str, int], int] = {}
        """When each relay acts that was given an order."""
        self._movers: dict[str, Machine] = {}
        self._settlers: dict[str, Machine] = {}
        self._waiting: dict[str, Machine] = {}
        for machine, at in self._placed:
            at.machines.append(machine)
            machine.movers = self._movers
        self.zones = {
            zone.id: Zone(zone, [machine for machine in self._machines if machine.zone == zone.id])
            for zone in config.zones
        }
        self.meters = {meter.id: Meter(meter, self.nodes[meter.node], self.seed) for meter in config.meters}
        self._bottom_up = tuple(reversed(self.nodes.values()))
        self._with_breakers = [node for node in self._bottom_up if node.config.breaker_w is not None]
        self._wandering = [node for node in self.nodes.values() if node.wanders]
        self._restless = set(self.nodes.values())
        self._overloaded: list[Node] = []
        self._warm_turns = [self._machines[turn::WARM_TURNS] for turn in range(WARM_TURNS)]
        self._near_trip: dict[str, Machine] = {}
        self._now_ms = 0
        self._next_slow_ms = SLOW_MS
        self._meters_due_ms = 0 if self.meters else NEVER_MS
        self._settle()
        self._set_configured_faults()

    @property
    def now_s(self) -> float:
        return self._now_ms / 1000

    def advance(self, to_s: float) -> None:
        """Let time pass until `to_s`, to the millisecond; a time already reached changes nothing."""
        for _ in self.steps(to_s):
            pass

    def steps(self, to_s: float) -> Iterator[float]:
        """`advance`, and after each step say how many seconds it took: all watts were the same throughout."""
        to_ms = round(to_s * 1000)
        if self._now_ms < to_ms:
            self._switch(self.now_s)
        while self._now_ms < to_ms:
            yield self._step(to_ms) / 1000

    def set_fault(self, device: str, fault: str, value: bool | float = True) -> None:
        """Turn a knob of a miner, GPU, meter, zone or node; `BadFaultError` if there is no such thing."""
        set_fault(self._faults_of(device), fault, value)
        miner = self.miners.get(device)
        if miner is not None:
            if miner.faults.reboot_now:
                miner.faults.reboot_now = False
                miner.reboot(self.now_s)
            miner.moving = True
        gpu = self.gpus.get(device)
        if gpu is not None:
            gpu.moving = True
            if gpu.faults.reset_limit_now:
                gpu.faults.reset_limit_now = False
                gpu.reset_limit()
        if device in self.nodes:
            self._restless.add(self.nodes[device])

    def faults(self) -> dict[str, dict[str, bool | float]]:
        """Every knob of every part, by id, as it stands."""
        return {id_: asdict(part.faults) for parts in self._parts() for id_, part in parts.items()}

    def switch_outlet(self, pdu: str, outlet: int, *, closed: bool) -> None:
        """Take the power from what hangs at an outlet, or give it back: now, or as late as its relay acts."""
        self.pdus[pdu].order(outlet, closed=closed)
        self._relays[pdu, outlet] = self._now_ms + round(self.pdus[pdu].faults.late_s * 1000)
        self._act(self._now_ms)

    def node_power_w(self, node: str) -> float:
        return self.nodes[node].power_w

    @property
    def site_power_w(self) -> float:
        return self.nodes[self.config.root].power_w

    def truth(self) -> PlantTruth:
        for machine in self._machines:
            machine.account(self.now_s)
        for node in self.nodes.values():
            node.account(self.now_s)
        miners, gpus = self.miners.values(), self.gpus.values()
        return PlantTruth(
            now_s=self.now_s,
            site_power_w=self.site_power_w,
            site_energy_wh=self.nodes[self.config.root].energy_j / J_PER_WH,
            miner_power_w=sum(miner.watts for miner in miners),
            gpu_power_w=sum(gpu.watts for gpu in gpus),
            rate_ths=sum(miner.rate for miner in miners),
            terahashes=sum(miner.output for miner in miners),
            gpu_hours=sum(gpu.output for gpu in gpus) / 3600,
            miner_trips=sum(miner.trips for miner in miners),
            breaker_trips=sum(node.trips for node in self.nodes.values()),
            orders=sum(machine.orders for machine in self._machines)
            + sum(pdu.orders for pdu in self.pdus.values()),
            nodes={node.id: NodeTruth.of(node) for node in self.nodes.values()},
            miners={miner.id: MinerTruth.of(miner, self.now_s) for miner in miners},
            gpus={gpu.id: GpuTruth.of(gpu) for gpu in gpus},
            zones={zone.id: ZoneTruth.of(zone) for zone in self.zones.values()},
            meters={meter.id: meter.value_w for meter in self.meters.values()},
        )

    def _settle(self) -> None:
        """Begin in the steady state that the configuration describes."""
        for machine in self._machines:
            machine.moving = True
            machine.move(0.0)
            machine.settle(0.0, 0.0)
            machine.moving = False
        self._movers.clear()
        for zone in self.zones.values():
            zone.warm(1e6)
        for machine in self._machines:
            machine.begin_warm(self._inlet_c(machine))
            machine.warm(0.0, self._inlet_c(machine))
        self._sum(0.0)
        for meter in self.meters.values():
            meter.value_w = meter.node.power_w
            meter.sample(0)

    def _set_configured_faults(self) -> None:
        configured: list[tuple[list[str], tuple[FaultConfig, ...]]] = [
            *((group.ids, group.faults) for group in self.config.miners),
            *((group.ids, group.faults) for group in self.config.gpus),
        ]
        for ids, faults in configured:
            for fault in faults:
                self.set_fault(ids[fault.index], fault.fault, fault.value)

    def _step(self, to_ms: int) -> int:
        """Go as far as nothing changes, but no further than `to_ms`; how far that was."""
        now_s = self.now_s
        if self._relays:
            self._act(self._now_ms)
        if self._waiting:
            self._rouse(now_s)
        if self._movers:
            self._move(now_s)
        if self._restless:
            self._sum(now_s)
        dt_ms = max(1, min(to_ms, self._next_ms()) - self._now_ms)
        self._now_ms += dt_ms
        if self._overloaded:
            for node in self._overloaded:
                node.account(self.now_s)
            self._switch(self.now_s)
        if self._now_ms >= self._meters_due_ms:
            for meter in self.meters.values():
                meter.sample(self._now_ms)
            self._meters_due_ms = min(meter.due_ms for meter in self.meters.values())
        if self._now_ms >= self._next_slow_ms:
            self._next_slow_ms += SLOW_MS
            self._step_slowly()
        return dt_ms

    def _next_ms(self) -> int:
        """When something changes next, as things are."""
        until_s = math.inf
        for machine in self._movers.values():
            if machine.next_s < until_s:
                until_s = machine.next_s
        for machine in self._waiting.values():
            if machine.due_s < until_s:
                until_s = machine.due_s
        until_ms = min(self._next_slow_ms, self._meters_due_ms, *self._relays.values())
        if until_s * 1000 < until_ms:
            until_ms = math.ceil(until_s * 1000 - 1e-6)
        return min(until_ms, self._now_ms + STEP_MS) if self._overloaded else until_ms

    def _act(self, now_ms: int) -> None:
        """Switch what is due by now."""
        due = [place for place, due_ms in self._relays.items() if due_ms <= now_ms]
        for place in due:
            del self._relays[place]
            pdu, outlet = place
            self.pdus[pdu].act(outlet)
        if due:
            self._feed(self.now_s)

    def _rouse(self, now_s: float) -> None:
        for machine in self._waiting.values():
            if machine.due_s <= now_s and not machine.moving:
                machine.moving = True

    def _move(self, now_s: float) -> None:
        for machine in tuple(self._movers.values()):
            if machine.next_s > now_s + 1e-6:
                continue
            machine.move(now_s)
            self._restless.add(self.nodes[machine.node])
            if machine.due_s < math.inf:
                self._waiting[machine.id] = machine
            else:
                self._waiting.pop(machine.id, None)
            if machine.settling:
                self._settlers[machine.id] = machine
            if not machine.moving:
                del self._movers[machine.id]

    def _step_slowly(self) -> None:
        dt_s, now_s = SLOW_MS / 1000, self.now_s
        for node in self._wandering:
            node.wander(dt_s)
            self._restless.add(node)
        for zone in self.zones.values():
            zone.warm(dt_s)
        for machine in tuple(self._settlers.values()):
            machine.settle(now_s, dt_s)
            if not machine.settling and not machine.moving:
                del self._settlers[machine.id]
        turn = self._warm_turns[self._now_ms // SLOW_MS % WARM_TURNS]
        for machine in (*turn, *self._near_trip.values()):
            machine.warm(now_s, self._inlet_c(machine))
            if machine.near_trip:
                self._near_trip[machine.id] = machine
            else:
                self._near_trip.pop(machine.id, None)

    def _switch(self, now_s: float) -> None:
        """Take the voltage from what hangs below an open breaker, and give it back."""
        before = [node.live for node in self.nodes.values()]
        if before == [node.find_live() for node in self.nodes.values()]:
            return
        self._restless.update(self.nodes.values())
        self._feed(now_s)

    def _feed(self, now_s: float) -> None:
        for machine, node in self._placed:
            live = node.live and machine.fed
            if machine.powered and not live:
                machine.power_off(now_s)
                self._restless.add(node)
            elif live and not machine.powered:
                machine.power_on(now_s)

    def _sum(self, now_s: float) -> None:
        restless = self._restless
        for node in self._bottom_up:
            if node in restless:
                watts = node.summed_w()
                if watts != node.power_w:
                    node.carry(watts, now_s)
                    if node.parent is not None:
                        restless.add(node.parent)
        restless.clear()
        self._overloaded = [node for node in self._with_breakers if node.overloaded]

    def _inlet_c(self, machine: Machine) -> float:
        return 24.0 if machine.zone is None else self.zones[machine.zone].inlet_c

    def _faults_of(self, device: str) -> Faults:
        for parts in self._parts():
            if device in parts:
                return parts[device].faults
        raise BadFaultError(f"device {device!r} does not exist")

    def _parts(
        self,
    ) -> Iterable[
        dict[str, Miner]
        | dict[str, Gpu]
        | dict[str, Meter]
        | dict[str, Pdu]
        | dict[str, Zone]
        | dict[str, Node]
    ]:
        return (self.miners, self.gpus, self.meters, self.pdus, self.zones, self.nodes)
