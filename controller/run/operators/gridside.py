"""Between the loop and the link to the grid operator: a plan becomes what the site says of itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from controller.decide.inputs import Inputs
from controller.decide.plan import UNLIMITED_W, Plan
from controller.decide.words import REASONS, TRUTHS, CapReason, Reason, Truth
from controller.domain.devices import DeviceKind, DeviceSpec
from controller.domain.grid import COMMANDS, EventStatus, GridEvent, Link
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power, total
from controller.grid.site import DataQuality, Foreseen, OperatingState, Part, Place, Progress, SiteReport
from controller.run.journal.seals import Anchor
from controller.run.operators.gridlink import GridLink
from controller.run.settling.livebaseline import LiveBaselines

_CAN_RISE = np.isin(
    REASONS,
    (Reason.FULL, Reason.LIMITED, Reason.WAITING, Reason.RAMPING, Reason.DWELLING, Reason.UNPROFITABLE),
)
"""What keeps a machine down and would not keep it from being raised if the grid asked."""
_IDLE = REASONS.index(Reason.IDLE)
_UNSEEN = tuple(TRUTHS.index(truth) for truth in (Truth.STALE, Truth.UNREACHABLE))


class Instructor(Protocol):
    """Somebody whose events the site obeys beside its grid operators: its own rules and its own people."""

    @property
    def events(self) -> tuple[GridEvent, ...]: ...

    def planned(self, inputs: Inputs, report: SiteReport) -> None: ...


class LinkedGrid:
    """A site with grid operators, and with rules of its own; the loop's `GridSide`. `anchor` gives the newest
    seal of the journal, which operators are told. `link_changed` hears the name of each operator whose link
    is lost (True) or back; one that was not heard yet is lost only after `start_grace_s`. Of a pause longer
    than `holds_s` between two plans nothing was measured. Of a site that only `observes` nothing is said but
    what it draws."""

    def __init__(
        self,
        *links: GridLink,
        own: Instructor | None = None,
        anchor: Callable[[], Anchor | None] = lambda: None,
        baselines: LiveBaselines | None = None,
        link_changed: Callable[[str, bool], None] = lambda _operator, _lost: None,
        start_grace_s: float = 0.0,
        holds_s: float = math.inf,
        observes: bool = False,
    ) -> None:
        self._links = links
        self._own = own
        self._anchor = anchor
        self._baselines = baselines
        self._layout: Layout | None = None
        self._link_changed = link_changed
        self._start_grace_s = start_grace_s
        self._holds_s = holds_s
        self._observes = observes
        self._began_s: float | None = None
        self._lost: set[str] = set()

    @property
    def states(self) -> Mapping[str, Link]:
        """Of those whose commands count: what another one says, or would say, is not missed."""
        return {link.name: link.state for link in self._links if link.rights & COMMANDS}

    @property
    def settling(self) -> bool:
        return any(link.settling for link in self._links)

    @property
    def events(self) -> tuple[GridEvent, ...]:
        own = self._own.events if self._own is not None else ()
        return (*(event for link in self._links for event in link.events), *own)

    def planned(self, inputs: Inputs, plan: Plan) -> None:
        self._look_at_links(inputs.now_s)
        seal = self._anchor()
        if self._layout is None or self._layout.specs is not plan.grants.specs:
            self._layout = layout_of(plan.grants.specs)
        report = site_report(inputs, plan, self._layout)
        if self._observes:
            report = only_observed(report)
        report = replace(report, seal="" if seal is None else str(seal), holds_s=self._holds_s)
        for link in self._links:
            link.observe(self._with_baseline(report, link))
        if self._own is not None:
            self._own.planned(inputs, report)

    def _look_at_links(self, now_s: float) -> None:
        """Evidence is of one operator: that another one's link was lost excuses nothing towards it."""
        if self._began_s is None:
            self._began_s = now_s
        for link in self._links:
            is_lost = link.state is Link.LOST and now_s - self._began_s >= self._start_grace_s
            if is_lost == (link.name in self._lost):
                continue
            (self._lost.add if is_lost else self._lost.discard)(link.name)
            self._link_changed(link.name, is_lost)

    def _with_baseline(self, report: SiteReport, link: GridLink) -> SiteReport:
        """Each operator has a contract of its own, and so a baseline of its own."""
        if self._baselines is None:
            return report
        baseline = self._baselines.now(link.name, link.events, report.now_utc_s)
        return replace(report, baseline=baseline)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """What does not change from plan to plan for the same devices, as arrays: where each one's points begin
    among those of all, and at which of them it produces something; `node` is an index of `nodes`.
    """

    specs: tuple[DeviceSpec, ...]
    of_kind: Mapping[DeviceKind, NDArray[np.bool_]]
    nodes: tuple[str, ...]
    node: NDArray[np.int64]
    top_w: NDArray[np.int64]
    start: NDArray[np.int64]
    produces: NDArray[np.bool_]


def layout_of(specs: tuple[DeviceSpec, ...]) -> Layout:
    nodes = {spec.node: 0 for spec in specs}
    place = {name: at for at, name in enumerate(nodes)}
    return Layout(
        specs=specs,
        of_kind={
            kind: np.array([spec.kind is kind for spec in specs], dtype=np.bool_) for kind in DeviceKind
        },
        nodes=tuple(nodes),
        node=np.array([place[spec.node] for spec in specs], dtype=np.int64),
        top_w=np.array([spec.points[-1].power.watts for spec in specs], dtype=np.int64),
        start=np.cumsum([0, *(len(spec.points) for spec in specs)], dtype=np.int64),
        produces=np.array([point.rate > 0 for spec in specs for point in spec.points], dtype=np.bool_),
    )


def site_report(inputs: Inputs, plan: Plan, layout: Layout) -> SiteReport:
    """The site meter is what counts. Without it, what devices say and all other load is an estimate."""
    parts = tuple(_part(plan, layout, kind) for kind in DeviceKind)
    metered = plan.nodes[0].metered
    other = plan.nodes[0].granted - Power(int(plan.grants.power_w.sum()))
    demand = metered if metered is not None else total(part.demand for part in parts) + other
    return SiteReport(
        now_utc_s=inputs.utc_s,
        demand=demand,
        setpoint=plan.cap,
        quality=DataQuality.OK if metered is not None else DataQuality.ESTIMATED,
        state=_operating(plan, layout),
        shed_available=max(demand - plan.least, ZERO),
        rise_available=_rise(plan, layout, demand),
        granted=plan.nodes[0].granted,
        parts=parts,
        places=tuple(_places(plan)),
        progress=tuple(
            Progress(
                event=standing.event,
                version_utc_s=standing.version_utc_s,
                status=standing.status,
                possible=standing.possible if standing.status is EventStatus.INFEASIBLE else None,
                drawn_before=standing.drawn_before,
                outranked=standing.outranked,
            )
            for standing in plan.standings
        ),
        foreseen=tuple(
            Foreseen(
                event=outlook.event,
                version_utc_s=outlook.version_utc_s,
                status=outlook.status,
                asked=outlook.asked,
                possible=outlook.possible,
            )
            for outlook in plan.outlooks
        ),
    )


def only_observed(report: SiteReport) -> SiteReport:
    """What a site says of itself that nobody commands from here: what it draws is true, and nothing is kept,
    granted or to be had."""
    return replace(
        report,
        setpoint=NO_LIMIT,
        state=report.state.opted_out,
        shed_available=ZERO,
        rise_available=ZERO,
        granted=report.demand,
        places=tuple(replace(place, granted=place.demand) for place in report.places),
    )


def _places(plan: Plan) -> Iterator[Place]:
    """Every node by its meter, or without one by what is claimed below it."""
    nodes = plan.nodes
    each = zip(nodes.ids, nodes.granted_w.tolist(), nodes.drawn_w.tolist(), strict=True)
    for name, granted_w, drawn_w in each:
        metered = nodes.metered.get(name)
        yield Place(
            node=name,
            demand=metered if metered is not None else Power(drawn_w),
            granted=Power(granted_w),
            quality=DataQuality.OK if metered is not None else DataQuality.ESTIMATED,
        )


def _rise(plan: Plan, layout: Layout, demand: Power) -> Power:
    """How much more the site could draw now: machines that are seen and obey, up to their highest point, and
    only as far as the limit of their own node and of the site leaves room."""
    nodes, can_rise = plan.nodes, _CAN_RISE[plan.grants.reason]
    left_w = np.where(nodes.limit_w == UNLIMITED_W, UNLIMITED_W, nodes.limit_w - nodes.worst_w)
    room_w = dict(zip(nodes.ids, left_w.tolist(), strict=True))
    more_w = np.where(can_rise, np.maximum(layout.top_w - plan.grants.worst_w, 0), 0)
    wanted_w = np.bincount(layout.node, weights=more_w, minlength=len(layout.nodes)).astype(np.int64)
    may = np.bincount(layout.node[can_rise], minlength=len(layout.nodes)) > 0
    rises_w = (
        min(watts, room_w.get(name, UNLIMITED_W))
        for name, watts, some in zip(layout.nodes, wanted_w.tolist(), may.tolist(), strict=True)
        if some
    )
    rise = max(Power(sum(rises_w)), ZERO)
    cap = [plan.cap.power - demand] if isinstance(plan.cap, Limit) else []
    return max(min([rise, *cap, Power(room_w[nodes.ids[0]])]), ZERO)


def _operating(plan: Plan, layout: Layout) -> OperatingState:
    """Curtailed is a site whose cap is the grid's doing; idle is one in which nothing is at work."""
    curtailed = plan.cap_reason in (CapReason.EVENT, CapReason.TARGET, CapReason.LINK_LOST)
    at = plan.grants.at
    point = np.where(at < 0, layout.start[1:] - 1, layout.start[:-1] + at)
    works = layout.produces[point] & (plan.grants.reason != _IDLE)
    if len(plan.grants) and not works.any():
        return OperatingState.IDLE_CURTAILED if curtailed else OperatingState.IDLE_NORMAL
    return OperatingState.RUNNING_CURTAILED if curtailed else OperatingState.RUNNING_NORMAL


def _part(plan: Plan, layout: Layout, kind: DeviceKind) -> Part:
    """What a silent device draws nobody knows: it is not told as less than it may be."""
    grants = plan.grants
    drawn_w = np.where(np.isin(grants.truth, _UNSEEN), grants.worst_w, grants.draw_w)
    demand = Power(int(drawn_w[layout.of_kind[kind]].sum()))
    return Part(name=kind.value, demand=demand, quality=DataQuality.ESTIMATED)
