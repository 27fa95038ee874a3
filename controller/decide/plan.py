"""What comes out of a decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from controller.decide.words import REASONS, TRUTHS, AlarmKind, CapReason, Reason, Truth
from controller.domain.devices import DeviceSpec, OperatingPoint, SetPoint
from controller.domain.grid import EventStatus
from controller.domain.jobs import JobCommand
from controller.domain.power import NO_LIMIT, ZERO, Bound, Limit, Power

UNLIMITED_W = 10**12
"""No limit, in an array of watts: a terawatt, which no node has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    kind: AlarmKind
    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What one device may do until the next plan, and why.

    `power` is what the grant counts for, `worst` the most the device may draw at this moment; `wanted` is
    the point it would have if every change were immediate; `limited_by` names the node in its way.
    """

    device: str
    point: OperatingPoint
    power: Power
    worst: Power
    draw: Power
    age_s: float
    wanted: OperatingPoint
    reason: Reason
    truth: Truth
    limited_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grants(Sequence[Grant]):
    """Every device's grant, in order of id: arrays by row, of which a `Grant` is made when one is looked at.

    `at` and `wanted` are indices of points, `truth` and `reason` places in `TRUTHS` and `REASONS`, and
    `limited_by` an index of `nodes` (-1: none).
    """

    specs: tuple[DeviceSpec, ...]
    row: Mapping[str, int]
    nodes: tuple[str, ...]
    at: NDArray[np.int64]
    wanted: NDArray[np.int64]
    power_w: NDArray[np.int64]
    worst_w: NDArray[np.int64]
    draw_w: NDArray[np.int64]
    age_s: NDArray[np.float64]
    truth: NDArray[np.int8]
    reason: NDArray[np.int64]
    limited_by: NDArray[np.int64]

    def of(self, device: str) -> Grant:
        """Raises `KeyError` for a device that the plan is not about."""
        return self._grant(self.row[device])

    def why(self, device: str) -> str:
        """Its reason, and the node in its way if one is."""
        row = self.row[device]
        by = int(self.limited_by[row])
        return f"{REASONS[self.reason[row]]} {self.nodes[by]}" if by >= 0 else str(REASONS[self.reason[row]])

    def __len__(self) -> int:
        return len(self.specs)

    @overload
    def __getitem__(self, at: int) -> Grant: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Grant]: ...
    def __getitem__(self, at: int | slice) -> Grant | Sequence[Grant]:
        if isinstance(at, slice):
            return [self._grant(row) for row in range(*at.indices(len(self)))]
        return self._grant(range(len(self))[at])

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Grants) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as any sequence that compares by what is in it

    def _grant(self, row: int) -> Grant:
        spec, by = self.specs[row], int(self.limited_by[row])
        return Grant(
            device=spec.id,
            point=spec.points[self.at[row]],
            power=Power(int(self.power_w[row])),
            worst=Power(int(self.worst_w[row])),
            draw=Power(int(self.draw_w[row])),
            age_s=float(self.age_s[row]),
            wanted=spec.points[self.wanted[row]],
            reason=REASONS[self.reason[row]],
            truth=TRUTHS[self.truth[row]],
            limited_by=self.nodes[by] if by >= 0 else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """`metered` is None where no fresh meter reading exists. `drawn` is what devices claim, silent ones at
    worst, and all other load; `unexplained` is load no device claims. `wanted` is what would be drawn if all
    changes were immediate."""

    node: str
    limit: Bound
    granted: Power
    worst: Power
    drawn: Power
    unexplained: Power
    wanted: Power = ZERO
    metered: Power | None = None
    feasible: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NodeStates(Sequence[NodeState]):
    """Every node's state, parents first: arrays, of which a `NodeState` is made when one is looked at.

    `limit_w` is `UNLIMITED_W` where there is no limit; `metered` has the nodes with a meter.
    """

    ids: tuple[str, ...]
    limit_w: NDArray[np.int64]
    granted_w: NDArray[np.int64]
    worst_w: NDArray[np.int64]
    drawn_w: NDArray[np.int64]
    wanted_w: NDArray[np.int64]
    unexplained: Mapping[str, Power]
    metered: Mapping[str, Power | None]
    feasible: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, at: int) -> NodeState: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[NodeState]: ...
    def __getitem__(self, at: int | slice) -> NodeState | Sequence[NodeState]:
        if isinstance(at, slice):
            return [self._node(index) for index in range(*at.indices(len(self)))]
        return self._node(range(len(self))[at])

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, NodeStates) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as any sequence that compares by what is in it

    def _node(self, at: int) -> NodeState:
        name, limit_w = self.ids[at], int(self.limit_w[at])
        return NodeState(
            node=name,
            limit=NO_LIMIT if limit_w == UNLIMITED_W else Limit(Power(limit_w)),
            granted=Power(int(self.granted_w[at])),
            worst=Power(int(self.worst_w[at])),
            drawn=Power(int(self.drawn_w[at])),
            wanted=Power(int(self.wanted_w[at])),
            unexplained=self.unexplained.get(name, ZERO),
            metered=self.metered.get(name),
            feasible=bool(self.feasible[at]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where an event in force stands: STARTED, COMPLIANT or INFEASIBLE. `possible` is the least that its
    place can be brought to, or the draw nearest to what it asks for and cannot have. `drawn_before` is what
    its relative set-points are relative to, and must survive the process. `outranked`, it asks for a
    set-point that is not followed, for another one comes first."""

    event: str
    version_utc_s: float
    status: EventStatus
    cap: Bound
    possible: Power
    drawn_before: Power | None = None
    outranked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Whether an event that has not begun can be met, by what is known now: RECEIVED or INFEASIBLE.
    `possible` is the draw nearest to `asked` that its place can come to: to the lowest of its limits, or the
    set-point that it would miss by more."""

    event: str
    version_utc_s: float
    start_utc_s: float
    status: EventStatus
    asked: Power
    possible: Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`commands` come in the order in which they must be sent: what lowers before what raises.

    `raised` are the devices whose worst case grows by this plan. Nothing is commanded until `ready`, nor ever
    where the site is only observed.
    `least` is what the whole site can be brought down to.
    `value_per_hour` is what the grants earn in USD; `gap` is how far that can at most lie below the best
    possible with the same jobs on the same GPUs, as a fraction.
    """

    now_s: float
    cap: Bound
    cap_reason: CapReason
    cap_event: str
    grants: Grants
    nodes: NodeStates
    ready: bool
    least: Power
    commands: tuple[SetPoint, ...] = ()
    raised: tuple[str, ...] = ()
    job_commands: tuple[JobCommand, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    standings: tuple[Standing, ...] = ()
    outlooks: tuple[Outlook, ...] = ()
    value_per_hour: float = 0.0
    gap: float = 0.0
    next_change_utc_s: float = float("inf")
