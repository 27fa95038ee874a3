"""Every device of a site as arrays: what does not change from tick to tick, for arithmetic on all at once.

Rows are devices in order of id, so that the order in which they were declared or heard changes nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from controller.decide.arrays import Flags, Floats, Ints
from controller.decide.profit import best_ths_per_kw
from controller.decide.tree import Tree
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint
from controller.domain.jobs import FlexTier
from controller.domain.site import Service, Site


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fleet:
    """`node` and `zone` are indices (zone -1: none). The points of row i are those from `start[i]` to just
    before `start[i + 1]`, ascending in watts; `owner` is the row of each point and `rank` its place
    among those of its device, the first of which is `at_floor`. `ths_per_kw` is each miner's best, NaN for
    what is none. `draining` and `isolated` are devices below a node that is. Who `has_choice` has more than
    one point; `last` is the place of its highest. `keeps` has a row per flex tier: each device's lowest point
    at which a job of it keeps the throughput that it demands.
    """

    given: tuple[DeviceSpec, ...]
    specs: tuple[DeviceSpec, ...]
    row: Mapping[str, int]
    node: Ints
    zone: Ints
    gpu: Flags
    draining: Flags
    isolated: Flags
    has_outlet: Flags
    left_off: Flags
    ceiling_w: Ints
    stale_after_s: Floats
    boots_s: Floats
    dwell_s: Floats
    settle_down_s: Floats
    settle_up_s: Floats
    restart_s: Floats
    start: Ints
    owner: Ints
    power_w: Ints
    rate: Floats
    ths_per_kw: Floats
    floor_w: Ints
    top_w: Ints
    has_choice: Flags
    last: Ints
    rank: Ints
    at_floor: Flags
    keeps: Ints

    def __len__(self) -> int:
        return len(self.specs)

    def index_of(self, row: int, point: OperatingPoint | None) -> int:
        """Which of a device's points `point` is; -1 for none, and for one that it no longer has."""
        if point is None:
            return -1
        points = self.specs[row].points
        for at, own in enumerate(points):
            if own is point:  # nearly always: told apart by what is in them only after a restart
                return at
        return next((at for at, own in enumerate(points) if own.is_at(point)), -1)

    def places_in(self, before: Mapping[str, int]) -> Ints | None:
        """The row that each device had `before`, -1 for a new one; nothing if all have theirs still."""
        if self.row is before or self.row == before:
            return None
        return np.array([before.get(spec.id, -1) for spec in self.specs], dtype=np.int64)

    def made_of(self, specs: Sequence[DeviceSpec]) -> bool:
        """Whether nothing was added, removed or changed since these rows were laid out."""
        return len(specs) == len(self.given) and all(map(operator.is_, specs, self.given))


def fleet_of(site: Site, tree: Tree, given: Sequence[DeviceSpec]) -> Fleet:
    specs = tuple(sorted(given, key=lambda spec: spec.id))
    node = np.array([tree.index[spec.node] for spec in specs], dtype=np.int64)
    zones: dict[str | None, int] = {zone.id: at for at, zone in enumerate(site.zones)}
    counts = np.array([len(spec.points) for spec in specs], dtype=np.int64)
    points = [point for spec in specs for point in spec.points]
    start = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    owner = np.repeat(np.arange(len(specs)), counts)
    rank = np.arange(len(owner)) - start[owner]
    power_w = np.array([point.power.watts for point in points], dtype=np.int64)
    rate = np.array([point.rate for point in points], dtype=np.float64)
    return Fleet(
        given=tuple(given),
        specs=specs,
        row={spec.id: at for at, spec in enumerate(specs)},
        node=node,
        zone=np.array([zones.get(spec.zone, -1) for spec in specs], dtype=np.int64),
        gpu=np.array([spec.kind is DeviceKind.GPU for spec in specs], dtype=np.bool_),
        draining=tree.under(np.array([place.service is Service.DRAINING for place in site.nodes]), node),
        isolated=tree.isolated[node],
        has_outlet=np.array([spec.has_outlet for spec in specs], dtype=np.bool_),
        left_off=np.array([bool(spec.left_off) for spec in specs], dtype=np.bool_),
        ceiling_w=np.array([spec.ceiling.watts for spec in specs], dtype=np.int64),
        stale_after_s=np.array([spec.stale_after_s for spec in specs], dtype=np.float64),
        boots_s=np.array([spec.boots_s for spec in specs], dtype=np.float64),
        dwell_s=np.array([spec.dwell_s for spec in specs], dtype=np.float64),
        settle_down_s=np.array([spec.settle_down_s for spec in specs], dtype=np.float64),
        settle_up_s=np.array([spec.settle_up_s for spec in specs], dtype=np.float64),
        restart_s=np.array([spec.restart_s for spec in specs], dtype=np.float64),
        start=start,
        owner=owner,
        power_w=power_w,
        rate=rate,
        ths_per_kw=best_ths_per_kw(specs),
        floor_w=power_w[start[:-1]],
        top_w=power_w[start[1:] - 1],
        has_choice=counts > 1,
        last=counts - 1,
        rank=rank,
        at_floor=rank == 0,
        keeps=np.array([_keeping(tier, rate, rank, start, owner) for tier in FlexTier]),
    )


def _keeping(tier: FlexTier, rate: Floats, rank: Ints, start: Ints, owner: Ints) -> Ints:
    """Each device's lowest point that loses no more of its highest rate than the tier allows."""
    least = rate[start[1:] - 1] * (1 - tier.allowed_loss) - 1e-9
    found: Ints = np.minimum.reduceat(np.where(rate >= least[owner], rank, len(rank)), start[:-1])
    return found
