"""Stamped readings -> what is seen, what is silent and what is lying; draw and heat of every place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from controller.decide import nodes, thermal, truth
from controller.decide.jobs import Sent
from controller.decide.nodes import NodeMemory
from controller.decide.plan import Inputs
from controller.decide.truth import DeviceState
from controller.domain.devices import DeviceSpec
from controller.domain.power import Power
from controller.domain.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that one tick hands to the next. `ready_s` is None until the first whole snapshot.

    `placed` are the GPUs that are being raised for queued jobs.
    """

    devices: Mapping[str, DeviceState] = field(default_factory=dict)
    nodes: Mapping[str, NodeMemory] = field(default_factory=dict)
    zones: Mapping[str, float] = field(default_factory=dict)
    jobs: Mapping[str, Sent] = field(default_factory=dict)
    placed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    first_s: float | None = None
    ready_s: float | None = None
    last_s: float | None = None
    rise_w: float = 0.0

    def up_s(self, now_s: float) -> float:
        """Seconds since the first tick."""
        return 0.0 if self.first_s is None else now_s - self.first_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Every device, node and zone at one moment.

    `ways` leads from each node up to the root. `other` is load that is no device's, of a node and all
    below it; `worst` is the most that a node may carry, other load included. `zones` holds the share of
    its range that each zone's devices must give up, `uncooled` the zones whose cooling is not proven.
    """

    specs: Mapping[str, DeviceSpec]
    devices: Mapping[str, DeviceState]
    ways: Mapping[str, tuple[str, ...]]
    memory: Mapping[str, NodeMemory]
    metered: Mapping[str, Power | None]
    other: Mapping[str, Power]
    worst: Mapping[str, Power]
    zones: Mapping[str, float]
    uncooled: frozenset[str]

    @property
    def silent(self) -> int:
        return sum(not device.seen for device in self.devices.values())

    def network_suspect(self, share: float) -> bool:
        """Whether so many devices are silent at once that the network may be the cause; one never is."""
        return self.silent > max(1.0, share * len(self.devices))

    def derate(self, spec: DeviceSpec) -> float:
        zone = self.zones.get(spec.zone, 0.0) if spec.zone is not None else 0.0
        return max(self.devices[spec.id].derate, zone)


def look(site: Site, state: State, inputs: Inputs) -> Snapshot:
    specs = {spec.id: spec for spec in sorted(inputs.specs, key=lambda spec: spec.id)}
    devices = {name: _device(spec, state, inputs) for name, spec in specs.items()}
    ways = nodes.ancestors(site)
    stale_after_s = site.policy.meter_stale_after_s
    meters = {
        node.id: nodes.fresh(inputs.meters, node.meter, inputs.now_s, stale_after_s) for node in site.nodes
    }
    below = nodes.sum_below(
        site,
        ways,
        (
            (specs[name].node, device.worst, device.draw, device.in_flight or not device.seen)
            for name, device in devices.items()
        ),
    )
    memory, own = nodes.reconcile(site, ways, below, state.nodes, meters, inputs.now_s)
    other = nodes.other_below(site, ways, own)
    return Snapshot(
        specs=specs,
        devices=devices,
        ways=ways,
        memory=memory,
        metered={name: sample.value.power if sample else None for name, sample in meters.items()},
        other=other,
        worst={node.id: Power(below[node.id].worst_w) + other[node.id] for node in site.nodes},
        zones={
            zone.id: thermal.zone_derate(
                zone, inputs.zones.get(zone.id), state.zones.get(zone.id, 0.0), inputs.now_s
            )
            for zone in site.zones
        },
        uncooled=frozenset(
            zone.id
            for zone in site.zones
            if not thermal.cooling_proven(inputs.zones.get(zone.id), inputs.now_s)
        ),
    )


def _device(spec: DeviceSpec, state: State, inputs: Inputs) -> DeviceState:
    before = state.devices.get(spec.id, DeviceState())
    sample = inputs.readings.get(spec.id)
    after = truth.observe(spec, before, sample, inputs.outcomes.get(spec.id), inputs.now_s)
    if sample is None or not after.seen:
        return after
    share = thermal.device_derate(spec, sample.value, before.derate)
    return after if share == before.derate else replace(after, derate=share)
