"""Stamped readings -> what is seen, what is silent and what is lying; draw and heat of every place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from controller.decide import nodes, silence, unmetered, warmth
from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.beyond import OtherLoad
from controller.decide.columns import Columns, never_drew_w
from controller.decide.device import DeviceState
from controller.decide.fleet import Fleet
from controller.decide.inputs import Inputs
from controller.decide.jobs import Sent
from controller.decide.limits import Follow, StepMargin, left_w, usable
from controller.decide.metering import LEAST_SHARE, NodeMemory
from controller.decide.mirror import Mirror, idle_gpus, known_before, observed
from controller.decide.pace import Saved
from controller.decide.profit import Verdicts
from controller.decide.recall import Recall
from controller.decide.relative import Before
from controller.decide.sums import sums_of
from controller.decide.tree import Tree, load, sum_up
from controller.decide.zones import ZoneState, zone_now
from controller.domain.devices import DeviceSpec
from controller.domain.power import Power
from controller.domain.site import Site

NETWORK_FAULT_S = 900.0
"""Devices that are silent for longer are off or broken. They count at their worst, and hold up nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that one tick hands to the next. `ready_s` is None until the first whole snapshot.

    `placed` are the GPUs that are being raised for queued jobs, `waits` since when others wait for GPUs;
    `ramps` is room that ramps did not use;
    `before` is what relative set-points are relative to. Until all was heard, `stands_s` says since when who
    stands that an earlier process stopped for money. Who is not in `devices` was changed no later than at
    `unchanged_s`, as far as that process said. `judged` has the row of each device in `verdicts`.
    `mirror` says the same as `devices`, for arithmetic on all at once; without it, it is made anew. `recall`
    only saves time.
    """

    devices: Mapping[str, DeviceState] = field(default_factory=dict)
    nodes: Mapping[str, NodeMemory] = field(default_factory=dict)
    zone_states: Mapping[str, ZoneState] = field(default_factory=dict)
    jobs: Mapping[str, Sent] = field(default_factory=dict)
    placed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    waits: Mapping[str, float] = field(default_factory=dict)
    stands_s: Mapping[str, float] = field(default_factory=dict)
    unchanged_s: float = -math.inf
    first_s: float | None = None
    ready_s: float | None = None
    ramps: Saved = field(default_factory=Saved)
    verdicts: Verdicts | None = None
    judged: Mapping[str, int] = field(default_factory=dict, repr=False)
    margin: StepMargin = field(default_factory=StepMargin)
    follow: Follow = field(default_factory=Follow)
    before: Before = field(default_factory=Before)
    mirror: Mirror | None = field(default=None, compare=False, repr=False)
    recall: Recall | None = field(default=None, compare=False, repr=False)

    @property
    def unknown(self) -> DeviceState:
        """A device that is not in `devices`."""
        return DeviceState(since_s=self.unchanged_s)

    def up_s(self, now_s: float) -> float:
        """Seconds since the first tick."""
        return 0.0 if self.first_s is None else now_s - self.first_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot(Mirror):
    """Every device, node and zone at one moment.

    `other_w` is load that is no device's now, of a node and all below it; `spared_w` what the silent count
    too much together; `beside_w` is the `other` load where all devices draw their worst, less that, and
    `worst_w` the most that a node may carry, that included. `hidden` is the share by which more may be drawn
    below a node than is claimed, where no meter of its own shows it. `cool_w` is the most that each device
    may be granted for its own heat and its zone's, `heat_w` no more than it has where cooling is not proven;
    `uncooled` are the devices in such zones, `uncooled_zones` those of them that are not without voltage.
    `unpowered` are the silent whose meter shows that they draw nothing, `fell_silent` is how many others
    answered not long ago.
    """

    memory: Mapping[str, NodeMemory]
    metered: Mapping[str, Power | None]
    other: OtherLoad
    other_w: Ints
    spared_w: Ints
    beside_w: Ints
    worst_w: Ints
    hidden: Floats
    zones: Mapping[str, ZoneState]
    cool_w: Ints
    heat_w: Ints
    uncooled: Flags
    uncooled_zones: frozenset[str]
    unpowered: Flags
    fell_silent: int

    @property
    def tree(self) -> Tree:
        return self.ground.tree

    @property
    def claimed_w(self) -> Ints:
        """What the devices below each node claim, of those that answer."""
        claims_w = np.where(self.columns.seen, self.columns.draw_w, 0)
        return load(self.tree, self.fleet.node, claims_w)

    def carried_w(self, device_w: Ints) -> Ints:
        """What each node carries when devices draw `device_w`, by row, beside all else that is there then."""
        load_w = load(self.tree, self.fleet.node, device_w)
        return load_w + sum_up(self.tree, self.other.at_w(load_w)) - self.spared_w

    def reconciled_w(self, device_w: Ints) -> Ints:
        """The same with what the nearest meter above shows to be hidden below a node without one."""
        carried_w = self.carried_w(device_w)
        hidden_w: Ints = np.floor(self.hidden * np.maximum(0, carried_w - self.other_w)).astype(np.int64)
        return carried_w + hidden_w

    @property
    def top_w(self) -> Ints:
        """The highest points of all devices below each node together."""
        return load(self.tree, self.fleet.node, self.fleet.top_w)

    @property
    def silent(self) -> int:
        """How many devices are silent that should not be."""
        return int(np.count_nonzero(~self.columns.seen & ~self.fleet.isolated))

    @property
    def expected(self) -> int:
        """How many devices should answer."""
        return int(np.count_nonzero(~self.fleet.isolated))

    def network_suspect(self, share: float) -> bool:
        """Whether so many devices fell silent at once that the network may be the cause; one never is."""
        return self.fell_silent > max(1.0, share * self.expected)

    def spec(self, name: str) -> DeviceSpec:
        return self.fleet.specs[self.fleet.row[name]]

    def changed(self, changes: Mapping[str, DeviceState]) -> Snapshot:
        """This snapshot with other states of some devices."""
        if not changes:
            return self
        after = self.columns.copy()
        after.put(self.fleet, changes)
        return replace(self, devices={**self.devices, **changes}, columns=after)

    def mirror(self) -> Mirror:
        """What the next tick needs of it."""
        return Mirror(
            ground=self.ground,
            fleet=self.fleet,
            devices=self.devices,
            columns=self.columns,
            readings=self.readings,
            outcomes=self.outcomes,
        )


def _claims_little(fleet: Fleet, known: Columns, inputs: Inputs) -> Flags:
    """Who claims far less than it may draw. A GPU that nothing runs on does so all the time; the watts of one
    at work may stand still, and what it draws must not count as load of nobody's beside its limit."""
    found: Flags = known.draw_w < LEAST_SHARE * known.worst_w
    found[idle_gpus(fleet, inputs.readings, found & known.seen)] = False
    return found


def look(site: Site, state: State, inputs: Inputs) -> Snapshot:
    seen = observed(site, state.mirror, state.devices, inputs, state.unknown)
    tree, fleet, known = seen.ground.tree, seen.fleet, seen.columns
    stale_after_s = site.policy.meter_stale_after_s
    meters = {
        node.id: nodes.fresh(inputs.meters, node.meter, inputs.now_s, stale_after_s)
        for node in site.nodes
        if node.meter is not None
    }
    # What was measured a moment ago is known also of a device that changes; but one that claims far less than
    # it may draw may be drawing it, and a miner that estimates claims all of it while it still starts.
    uncertain = ~known.seen | (known.in_flight & ~known.measured)
    uncertain |= _claims_little(fleet, known, inputs)
    changed = inputs.now_s - known.since_s <= fleet.settle_up_s
    guessed = ~known.measured & changed
    top_w = np.where(fleet.isolated, 0, fleet.top_w)
    sums = sums_of(tree, fleet.node, known.worst_w, known.draw_w, top_w, uncertain, guessed, known.measured)
    before = known_before(seen, state.mirror, state.devices, state.unknown)
    never_w = load(tree, fleet.node, never_drew_w(fleet, before, known))
    memory, other = nodes.reconcile(site, tree, sums, state.nodes, meters, inputs.now_s, never_w)
    other_w = sum_up(tree, other.now_w)
    heard = {tree.index[name]: memory[name] for name, sample in meters.items() if sample is not None}
    metered = {
        name: sample.value.power if sample and not memory[name].doubted else None
        for name, sample in meters.items()
    }
    shown_w = {tree.index[name]: watts.watts for name, watts in metered.items() if watts is not None}
    dark = silence.dark_nodes(tree, fleet, known, shown_w)
    unpowered = ~known.seen & ~fleet.isolated & tree.under(dark, fleet.node)
    dark_s = np.full(len(dark), -math.inf)
    for name, sample in meters.items():
        if sample is not None and dark[tree.index[name]]:
            dark_s[tree.index[name]] = sample.at_s
    off = silence.surely_off(seen.ground, fleet, known, unpowered, dark_s, inputs.now_s)
    spared_w = silence.spared_w(
        tree, fleet, known, uncertain, changed, off, heard, other_w, site.policy.margin
    )
    beside_w = sum_up(tree, other.at_w(sums.worst_w)) - spared_w
    zones = {
        zone.id: zone_now(
            zone, inputs.zones.get(zone.id), state.zone_states.get(zone.id, ZoneState()), inputs.now_s
        )
        for zone in site.zones
    }
    uncooled = [not zone.is_cooled(inputs.now_s) for zone in zones.values()]
    live = known.seen | ~fleet.isolated
    lifeless = set(fleet.zone[~live].tolist()) - set(fleet.zone[live].tolist())
    began_s = inputs.now_s if state.first_s is None else state.first_s
    lately = inputs.now_s - np.maximum(known.heard_s, began_s) <= NETWORK_FAULT_S
    blind = unmetered.blind_nodes(seen.ground, memory, state.up_s(inputs.now_s))
    hidden = unmetered.hidden_shares(seen.ground, memory, sums.top_w, blind)
    # The last one is for devices in no zone.
    share = np.array([*(zone.share for zone in zones.values()), 0.0])[fleet.zone]
    unproven = np.array([*uncooled, False])[fleet.zone]
    worst_w = sums.worst_w + beside_w
    rated_w = usable(seen.ground.rated_w, site.policy.margin)
    spare_w = left_w(unmetered.spared(rated_w, hidden, other_w), worst_w)
    cool_w = warmth.cool_w(fleet, known, share, inputs.now_s, tree, spare_w)
    return Snapshot(
        ground=seen.ground,
        fleet=fleet,
        devices=seen.devices,
        columns=known,
        readings=inputs.readings,
        outcomes=inputs.outcomes,
        memory=memory,
        metered=metered,
        other=other,
        other_w=other_w,
        spared_w=spared_w,
        beside_w=beside_w,
        worst_w=worst_w,
        hidden=hidden,
        zones=zones,
        cool_w=cool_w,
        heat_w=np.where(unproven & (known.now_w >= 0), np.minimum(cool_w, known.now_w), cool_w),
        uncooled=unproven,
        uncooled_zones=frozenset(
            zone.id for at, zone in enumerate(site.zones) if uncooled[at] and at not in lifeless
        ),
        unpowered=unpowered,
        fell_silent=int(np.count_nonzero(~known.seen & ~fleet.isolated & lately & ~unpowered)),
    )
