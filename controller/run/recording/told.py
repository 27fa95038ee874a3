"""The short form of a plan: what was told, to whom and why, small enough to keep for every tick."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from controller.decide.plan import Grants, Plan
from controller.decide.words import REASONS, AlarmKind, CapReason, Reason
from controller.domain.devices import SetPoint
from controller.domain.grid import EventStatus
from controller.domain.jobs import JobCommand
from controller.domain.power import ZERO, Bound


@dataclass(frozen=True, slots=True)
class Given:
    """The point that one device was granted, and why."""

    point: str
    reason: Reason
    limited_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`watts` is a checksum of every grant's and node's watts: plans with one checksum are alike in those."""

    ready: bool
    cap: Bound
    cap_reason: CapReason
    cap_event: str
    commands: tuple[SetPoint, ...] = ()
    job_commands: tuple[JobCommand, ...] = ()
    alarms: tuple[tuple[AlarmKind, str], ...] = ()
    standings: tuple[tuple[str, EventStatus], ...] = ()
    given: Mapping[str, Given] = field(default_factory=dict)
    watts: int = 0


def told(plan: Plan) -> Told:
    return Told(
        ready=plan.ready,
        cap=plan.cap,
        cap_reason=plan.cap_reason,
        cap_event=plan.cap_event,
        commands=plan.commands,
        job_commands=plan.job_commands,
        alarms=tuple(sorted((alarm.kind, alarm.subject) for alarm in plan.alarms)),
        standings=tuple(sorted((standing.event, standing.status) for standing in plan.standings)),
        given=_given(plan.grants),
        watts=_checksum(plan),
    )


def _given(grants: Grants) -> dict[str, Given]:
    rows = zip(
        grants.specs, grants.at.tolist(), grants.reason.tolist(), grants.limited_by.tolist(), strict=True
    )
    return {
        spec.id: _one(spec.points[at].name, REASONS[reason], grants.nodes[by] if by >= 0 else "")
        for spec, at, reason, by in rows
    }


@lru_cache(maxsize=10_000)
def _one(point: str, reason: Reason, limited_by: str) -> Given:
    """Thousands of devices are given the same in every tick: one value is told apart from itself at once."""
    return Given(point, reason, limited_by)


def _checksum(plan: Plan) -> int:
    grants, nodes = plan.grants, plan.nodes
    unexplained = [nodes.unexplained.get(name, ZERO).watts for name in nodes.ids]
    watts = np.concatenate(
        (grants.power_w, grants.worst_w, grants.draw_w, nodes.granted_w, nodes.worst_w, unexplained)
    )
    return zlib.crc32(watts.astype(np.int64).tobytes())
