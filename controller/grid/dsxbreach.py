"""The life of a breach of a DSX load target: active, perhaps escalated, resolved; one id for all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from controller.domain.power import ZERO, Bound, Limit, Power
from controller.grid.dsx import power_unit, uuid_of
from controller.grid.isotime import stamp

CRITICAL_SHARE = 0.20
"""An excess beyond this share of the target is critical, not a warning (DSX Flex 1.7)."""


class BreachStatus(StrEnum):
    ACTIVE = "active"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreachRule:
    """A load above its target by more than `threshold` of it, for `hold_s` after the ramp, is a breach; one
    that turns critical or lasts for `escalate_after_s` escalates. `actions` are what the operator of the
    infrastructure may do then, least disruptive first."""

    threshold: float = 0.02
    hold_s: float = 2.0
    escalate_after_s: float = 60.0
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """Empty `id`: there is none. `over_s` is since when the load has been too high, Unix seconds."""

    id: str = ""
    feed: str = ""
    correlation: str = ""
    target: Power = ZERO
    detected_utc_s: float = 0.0
    over_utc_s: float | None = None
    escalated: bool = False


NO_BREACH = Breach()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A feed against its target at one instant; `ramped_s` is how long the ramp to it has been over."""

    feed: str
    constraint: Bound
    correlation: str
    load: Power
    now_utc_s: float
    ramped_s: float


def watched(breach: Breach, held: Held, rule: BreachRule) -> tuple[Breach, BreachStatus | None]:
    """One tick later, and what has to be told."""
    if breach.over_utc_s is None:
        breach = NO_BREACH  # the last one was resolved, and that was told
    constraint, load, now_utc_s = held.constraint, held.load, held.now_utc_s
    if not isinstance(constraint, Limit) or load <= constraint.power:
        return replace(breach, over_utc_s=None), BreachStatus.RESOLVED if breach.id else None
    if breach.id:
        lasts_s = now_utc_s - breach.detected_utc_s
        if breach.escalated or (lasts_s < rule.escalate_after_s and not _is_critical(load, breach.target)):
            return breach, None
        return replace(breach, escalated=True), BreachStatus.ESCALATED
    if held.ramped_s <= 0 or load.watts <= constraint.power.watts * (1 + rule.threshold):
        return NO_BREACH, None
    since_utc_s = now_utc_s if breach.over_utc_s is None else breach.over_utc_s
    if now_utc_s - since_utc_s < rule.hold_s:
        return replace(NO_BREACH, over_utc_s=since_utc_s), None
    found = Breach(
        id=uuid_of(f"{held.feed}\n{held.correlation}\n{now_utc_s:.3f}"),
        feed=held.feed,
        correlation=held.correlation,
        target=constraint.power,
        detected_utc_s=now_utc_s,
        over_utc_s=since_utc_s,
    )
    return found, BreachStatus.ACTIVE


def breach_data(
    breach: Breach, status: BreachStatus, load: Power, now_utc_s: float, rule: BreachRule
) -> dict[str, Any]:
    is_over = status is not BreachStatus.RESOLVED
    details = {"breach_id": breach.id, "detected_at": stamp(breach.detected_utc_s)}
    if not is_over:
        details["resolved_at"] = stamp(now_utc_s)
    return {
        "feed_tag": breach.feed,
        "status": status.value,
        "severity": "critical" if _is_critical(load, breach.target) else "warning",
        "breach": details,
        "target": {"correlation_id": breach.correlation, "load_constraint": power_unit(breach.target)},
        "measured_load": power_unit(load),
        "infrastructure_actions": list(rule.actions) if is_over else [],
    }


def _is_critical(load: Power, target: Power) -> bool:
    return load.watts > target.watts * (1 + CRITICAL_SHARE)
