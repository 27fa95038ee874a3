"""The report for programs: JSON whose keys carry their unit, and CSV with one line per interval.

Instants are RFC 3339 in UTC. The keys are a public contract: deploy/GRID.md explains them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Any

from controller.domain.power import Bound, Limit, Power
from controller.grid.isotime import stamp
from controller.settlement.course import Told
from controller.settlement.dynamics import Ramp
from controller.settlement.evidence import Audit, Evidence, JobTold
from controller.settlement.metering import Span
from controller.settlement.methods import Baseline
from controller.settlement.performance import Judged
from controller.settlement.streamevidence import StreamEvidence

FORMAT = "wattshift-event-report/1"
COLUMNS = (
    *("start_utc", "end_utc", "start_local", "mean_kw", "peak_kw", "used_kwh", "limit_kw", "target_kw"),
    *(
        "baseline_kw",
        "reduction_kw",
        "reduced_kwh",
        "over_limit_s",
        "rule",
        "compliance",
        "excuse",
        "quality",
    ),
    *("measured_s", "version_utc", "change_kw", "relative_to_kw"),
)
"""Of the CSV. An interval has the same keys in JSON, but for its local time."""


def as_json(evidence: Evidence) -> str:
    """One object, with a newline at its end."""
    return json.dumps(record_of(evidence), allow_nan=False, indent=2) + "\n"


def origin_record(evidence: Evidence | StreamEvidence) -> dict[str, str]:
    """When and by what a report was made, and of which place."""
    return {
        "made_utc": stamp(evidence.made_utc_s),
        "program": evidence.program,
        "site": evidence.site,
        "node": evidence.node,
        "time_zone": evidence.zone_name,
    }


def record_of(evidence: Evidence) -> dict[str, Any]:
    course = evidence.course
    return {
        "format": FORMAT,
        **origin_record(evidence),
        "event": course.event,
        "operator": course.operator,
        "part": evidence.part,
        "parts": evidence.parts,
        "versions_utc": [stamp(version) for version in course.versions],
        "received_utc": stamp(course.received_utc_s),
        "start_utc": stamp(course.span.start_utc_s),
        "end_utc": stamp(course.span.end_utc_s),
        "ending": course.ending.value,
        "ended_utc": _stamp(course.ended_utc_s),
        "baseline": _baseline(evidence),
        "terms": _terms(evidence),
        "summary": _summary(evidence),
        "intervals": [interval_record(item) for item in evidence.intervals],
        "jobs": [job_record(row) for row in evidence.jobs],
        "history": [told_record(row) for row in course.history],
        "audit": audit_record(evidence.audit),
        "notes": list(evidence.notes),
    }


def told_record(row: Told) -> dict[str, Any]:
    return {
        "utc": stamp(row.utc_s),
        "status": row.status,
        "version_utc": _stamp(row.version_utc_s),
        "why": row.why,
        "possible_kw": _power_kw(row.possible),
        "drawn_before_kw": _power_kw(row.drawn_before),
    }


def job_record(row: JobTold) -> dict[str, Any]:
    return {"utc": stamp(row.utc_s), "job": row.job, "action": row.action, "what": row.what, "why": row.why}


def audit_record(audit: Audit) -> dict[str, Any]:
    return {"verdict": audit.verdict, "head_hash": audit.head, "detail": audit.detail}


def as_csv(evidence: Evidence) -> str:
    return csv_of(COLUMNS, ((item.span, interval_record(item)) for item in evidence.intervals), evidence.zone)


def csv_of(columns: Sequence[str], rows: Iterable[tuple[Span, dict[str, Any]]], zone: tzinfo) -> str:
    """RFC 4180 with a head. No text from outside is in it: spreadsheets run what looks like a formula."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\r\n")
    writer.writeheader()
    for span, row in rows:
        local = datetime.fromtimestamp(span.start_utc_s, zone).isoformat(timespec="seconds")
        writer.writerow({"start_local": local, **row})
    return text.getvalue()


def interval_record(item: Judged) -> dict[str, Any]:
    return {
        "start_utc": stamp(item.span.start_utc_s),
        "end_utc": stamp(item.span.end_utc_s),
        "mean_kw": kilowatts(item.mean_w),
        "peak_kw": kilowatts(item.measure.peak_w),
        "used_kwh": rounded(item.measure.used_kwh, 6),
        "limit_kw": _bound_kw(item.limit),
        "target_kw": _power_kw(item.target),
        "baseline_kw": _power_kw(item.baseline),
        "reduction_kw": kilowatts(item.reduction_w),
        "reduced_kwh": rounded(item.reduced_kwh, 6),
        "over_limit_s": round(item.over_limit_s, 3),
        "rule": item.rule.value,
        "compliance": item.compliance.value,
        "excuse": item.excuse,
        "quality": item.quality.value,
        "measured_s": round(item.measure.measured_s, 3),
        "version_utc": stamp(item.version_utc_s),
        "change_kw": _power_kw(item.change),
        "relative_to_kw": _power_kw(item.ground),
    }


def _baseline(evidence: Evidence) -> dict[str, Any]:
    baseline = evidence.baseline
    common = {
        "method": baseline.method,
        "interval_s": evidence.baseline_interval_s,
        "detail": baseline.detail,
    }
    if isinstance(baseline, Baseline):
        return {**common, "missing": None, "days": [day.isoformat() for day in baseline.days]}
    return {**common, "missing": baseline.lack.value, "days": []}


def _terms(evidence: Evidence) -> dict[str, Any]:
    terms = evidence.terms
    return {
        "interval_s": terms.interval_s,
        "target_tolerance_percent": rounded(terms.tolerance_share * 100, 3),
        "target_tolerance_kw": terms.tolerance.in_kw,
        "firm_service_level_kw": _bound_kw(terms.firm_service_level),
    }


def _summary(evidence: Evidence) -> dict[str, Any]:
    told, dynamics, commands = evidence.summary, evidence.dynamics, evidence.commands
    share = told.share_compliant
    first = commands.first_utc_s
    start_utc_s = evidence.course.span.start_utc_s
    return {
        "length_s": round(told.length_s, 3),
        "unmeasured_s": round(told.unmeasured_s, 3),
        "quality": told.quality.value,
        "used_kwh": rounded(told.used_kwh, 6),
        "reduced_kwh": rounded(told.reduced_kwh, 6),
        "mean_reduction_kw": kilowatts(told.mean_reduction_w),
        "peak_kw": kilowatts(told.peak_w),
        "before_kw": kilowatts(dynamics.before_w),
        "compliant_percent": None if share is None else round(share * 100, 3),
        "judged_intervals": told.judged,
        "excused_intervals": told.excused,
        "intervals": {word.value: count for word, count in told.counts.items()},
        "first_command_s": None if first is None else round(first - start_utc_s, 3),
        "response_s": rounded(dynamics.response_s, 3),
        "ramp_down_kw_per_s": _ramp(dynamics.down),
        "over_limit_kw": kilowatts(dynamics.over_w),
        "over_limit_s": round(dynamics.over_s, 3),
        "restore_s": rounded(dynamics.restore_s, 3),
        "ramp_up_kw_per_s": _ramp(dynamics.up),
        "reading_s": rounded(dynamics.grain_s, 3),
        "commands_sent": commands.sent,
        "commands_acknowledged": commands.acknowledged,
        "commands_refused": commands.refused,
        "commands_failed": commands.failed,
        "commands_unanswered": commands.unanswered,
        "devices_found_lying": commands.lying,
    }


def _ramp(ramp: Ramp | None) -> float | None:
    return None if ramp is None else round(ramp.kw_per_s, 3)


def _stamp(utc_s: float | None) -> str | None:
    return None if utc_s is None else stamp(utc_s)


def rounded(value: float | None, places: int) -> float | None:
    return None if value is None else round(value, places)


def kilowatts(watts: float | None) -> float | None:
    return None if watts is None else round(watts / 1000, 3)


def _power_kw(power: Power | None) -> float | None:
    return None if power is None else power.in_kw


def _bound_kw(bound: Bound) -> float | None:
    return bound.power.in_kw if isinstance(bound, Limit) else None
