"""The short form of a plan: what was told, to whom and why, small enough to keep for every tick."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.decide.plan import AlarmKind, CapReason, Plan, Reason
from controller.domain.devices import SetPoint
from controller.domain.grid import EventStatus
from controller.domain.jobs import JobCommand
from controller.domain.power import Bound


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
        given={
            grant.device: Given(grant.point.name, grant.reason, grant.limited_by) for grant in plan.grants
        },
        watts=_checksum(plan),
    )


def _checksum(plan: Plan) -> int:
    watts = [
        part for grant in plan.grants for part in (grant.power.watts, grant.worst.watts, grant.draw.watts)
    ]
    for node in plan.nodes:
        watts += (node.granted.watts, node.worst.watts, node.unexplained.watts)
    return zlib.crc32(array("q", watts))
