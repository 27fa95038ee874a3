"""The report for grid operators: a REPORT object of OpenADR 3.1, interval by interval."""

from __future__ import annotations

import json

from controller.domain.eventnames import parted
from controller.domain.power import Limit, Power
from controller.grid.reports import Interval, Sender, interval_report
from controller.grid.site import DataQuality
from controller.settlement.evidence import Evidence
from controller.settlement.performance import Judged


def as_openadr(evidence: Evidence, sender: Sender) -> str:
    """The object alone, without the envelope in which it goes over MQTT, and a newline at its end. The event
    has its operator's own id, without our name for the operator."""
    course = evidence.course
    _, event = parted(course.event)
    content = interval_report(
        sender,
        event,
        at_utc_s=evidence.made_utc_s,
        intervals=[_interval(item) for item in evidence.intervals],
        method=evidence.baseline.method,
        node=course.node,
    )
    return json.dumps(content, allow_nan=False, indent=2) + "\n"


def _interval(item: Judged) -> Interval:
    setpoint = item.target
    if setpoint is None and isinstance(item.limit, Limit):
        setpoint = item.limit.power
    return Interval(
        start_utc_s=item.span.start_utc_s,
        length_s=item.span.length_s,
        demand=None if item.mean_w is None else Power(round(item.mean_w)),
        usage_kwh=item.measure.used_kwh,
        baseline=item.baseline,
        setpoint=setpoint,
        quality=DataQuality(item.quality.value),
        compliance=item.compliance.value,
        excuse=item.excuse,
        relative_to=item.ground,
    )
