"""Between the loop and the link to the grid operator: a plan becomes what the site says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from controller.decide.plan import REASONS, TRUTHS, CapReason, Inputs, Plan, Reason, Truth
from controller.domain.devices import DeviceKind
from controller.domain.grid import EventStatus, GridEvent, Link, Right
from controller.domain.power import ZERO, Limit, Power, total
from controller.grid.site import DataQuality, OperatingState, Part, Place, Progress, SiteReport
from controller.run.gridlink import GridLink
from controller.run.livebaseline import LiveBaselines
from controller.run.seals import Anchor

_COMMANDS = frozenset({Right.LIMIT, Right.TARGET})
_CAN_RISE = frozenset(
    {Reason.FULL, Reason.LIMITED, Reason.WAITING, Reason.RAMPING, Reason.DWELLING, Reason.UNPROFITABLE}
)
"""What keeps a machine down and would not keep it from being raised if the grid asked."""
_UNSEEN = tuple(TRUTHS.index(truth) for truth in (Truth.STALE, Truth.UNREACHABLE))


class Instructor(Protocol):
    """Somebody whose events the site obeys beside its grid operators: its own rules and its own people."""

    @property
    def events(self) -> tuple[GridEvent, ...]: ...

    def planned(self, inputs: Inputs, report: SiteReport) -> None: ...


class LinkedGrid:
    """A site with grid operators, and with rules of its own; the loop's `GridSide`. `anchor` gives the newest
    seal of the journal, which operators are told. `link_changed` hears the name of each operator whose link
    is lost (True) or back; one that was not heard yet is lost only after `start_grace_s`."""

    def __init__(
        self,
        *links: GridLink,
        own: Instructor | None = None,
        anchor: Callable[[], Anchor | None] = lambda: None,
        baselines: LiveBaselines | None = None,
        link_changed: Callable[[str, bool], None] = lambda _operator, _lost: None,
        start_grace_s: float = 0.0,
    ) -> None:
        self._links = links
        self._own = own
        self._anchor = anchor
        self._baselines = baselines
        self._link_changed = link_changed
        self._start_grace_s = start_grace_s
        self._began_s: float | None = None
        self._lost: set[str] = set()

    @property
    def state(self) -> Link:
        """Lost as soon as one operator is whose commands count: what it may want now is not known."""
        states = [link.state for link in self._links if link.rights & _COMMANDS]
        if not self._links:
            return Link.NONE
        return Link.LOST if Link.LOST in states else Link.UP

    @property
    def events(self) -> tuple[GridEvent, ...]:
        own = self._own.events if self._own is not None else ()
        return (*(event for link in self._links for event in link.events), *own)

    def planned(self, inputs: Inputs, plan: Plan) -> None:
        self._look_at_links(inputs.now_s)
        seal = self._anchor()
        report = replace(site_report(inputs, plan), seal="" if seal is None else str(seal))
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


def site_report(inputs: Inputs, plan: Plan) -> SiteReport:
    """The site meter is what counts. Without it, what devices say and all other load is an estimate."""
    parts = tuple(_part(plan, kind) for kind in DeviceKind)
    metered = plan.nodes[0].metered
    other = plan.nodes[0].granted - Power(int(plan.grants.power_w.sum()))
    demand = metered if metered is not None else total(part.demand for part in parts) + other
    return SiteReport(
        now_utc_s=inputs.utc_s,
        demand=demand,
        setpoint=plan.cap,
        quality=DataQuality.OK if metered is not None else DataQuality.ESTIMATED,
        state=_operating(plan),
        shed_available=max(demand - plan.least, ZERO),
        rise_available=_rise(plan, demand),
        granted=plan.nodes[0].granted,
        parts=parts,
        places=tuple(
            Place(
                node=node.node,
                demand=node.metered if node.metered is not None else node.granted,
                granted=node.granted,
                quality=DataQuality.OK if node.metered is not None else DataQuality.ESTIMATED,
            )
            for node in plan.nodes
        ),
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
    )


def _rise(plan: Plan, demand: Power) -> Power:
    """How much more the site could draw now: machines that are seen and obey, up to their highest point, and
    only as far as the limit of their own node and of the site leaves room."""
    room = {
        node.node: node.limit.power - node.worst if isinstance(node.limit, Limit) else None
        for node in plan.nodes
    }
    grants, wanted = plan.grants, dict[str, int]()
    for spec, reason, worst_w in zip(
        grants.specs, grants.reason.tolist(), grants.worst_w.tolist(), strict=True
    ):
        if REASONS[reason] in _CAN_RISE:
            wanted[spec.node] = wanted.get(spec.node, 0) + max(spec.points[-1].power.watts - worst_w, 0)
    rises = (
        Power(more_w) if (left := room.get(node)) is None else min(Power(more_w), left)
        for node, more_w in wanted.items()
    )
    rise = max(total(rises), ZERO)
    cap = [plan.cap.power - demand] if isinstance(plan.cap, Limit) else []
    site = room[plan.nodes[0].node]
    return max(min([rise, *cap, *([] if site is None else [site])]), ZERO)


def _operating(plan: Plan) -> OperatingState:
    """Curtailed is a site whose cap is the grid's doing; idle is one in which nothing is at work."""
    curtailed = plan.cap_reason in (CapReason.EVENT, CapReason.TARGET, CapReason.LINK_LOST)
    rows = zip(plan.grants.specs, plan.grants.at.tolist(), plan.grants.reason.tolist(), strict=True)
    works = (spec.points[at].rate > 0 and REASONS[reason] is not Reason.IDLE for spec, at, reason in rows)
    if len(plan.grants) and not any(works):
        return OperatingState.IDLE_CURTAILED if curtailed else OperatingState.IDLE_NORMAL
    return OperatingState.RUNNING_CURTAILED if curtailed else OperatingState.RUNNING_NORMAL


def _part(plan: Plan, kind: DeviceKind) -> Part:
    """What a silent device draws nobody knows: it is not told as less than it may be."""
    grants = plan.grants
    drawn_w = np.where(np.isin(grants.truth, _UNSEEN), grants.worst_w, grants.draw_w)
    of_kind = np.array([spec.kind is kind for spec in grants.specs], dtype=np.bool_)
    demand = Power(int(drawn_w[of_kind].sum()))
    return Part(name=kind.value, demand=demand, quality=DataQuality.ESTIMATED)
