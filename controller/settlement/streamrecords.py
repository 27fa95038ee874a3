"""The report of a stream for programs: JSON whose keys carry their unit, and CSV with one line per interval.

Instants are RFC 3339 in UTC. The keys are a public contract: deploy/GRID.md explains them.
"""

from __future__ import annotations

import json
from typing import Any

from controller.grid.isotime import stamp
from controller.settlement.records import audit_record, csv_of, kilowatts, origin_record, rounded, told_record
from controller.settlement.regulation import Score
from controller.settlement.scored import NoScore, Regulation
from controller.settlement.stream import Followed
from controller.settlement.streamevidence import StreamEvidence

FORMAT = "wattshift-stream-report/1"
COLUMNS = (
    *("start_utc", "end_utc", "start_local", "target_kw", "mean_kw", "error_kw", "abs_error_kw"),
    *("worst_error_kw", "asked_kwh", "used_kwh", "compliance", "excuse", "quality"),
    *("asked_s", "due_s", "measured_s"),
)
"""Of the CSV. An interval has the same keys in JSON, but for its local time."""


def stream_json(evidence: StreamEvidence) -> str:
    """One object, with a newline at its end."""
    return json.dumps(stream_record(evidence), allow_nan=False, indent=2) + "\n"


def stream_csv(evidence: StreamEvidence) -> str:
    return csv_of(COLUMNS, ((item.span, _interval(item)) for item in evidence.intervals), evidence.zone)


def stream_record(evidence: StreamEvidence) -> dict[str, Any]:
    terms = evidence.terms
    return {
        "format": FORMAT,
        **origin_record(evidence),
        "stream": evidence.stream,
        "operator": evidence.operator,
        "start_utc": stamp(evidence.span.start_utc_s),
        "end_utc": stamp(evidence.span.end_utc_s),
        "terms": {
            "interval_s": terms.interval_s,
            "target_tolerance_percent": rounded(terms.tolerance_share * 100, 3),
            "target_tolerance_kw": terms.tolerance.in_kw,
            "deadline_s": evidence.deadline_s,
        },
        "summary": _summary(evidence),
        "regulation": _regulation(evidence.regulation),
        "intervals": [_interval(item) for item in evidence.intervals],
        "told": [told_record(row) for row in evidence.told],
        "audit": audit_record(evidence.audit),
        "notes": list(evidence.notes),
    }


def _summary(evidence: StreamEvidence) -> dict[str, Any]:
    told, silence = evidence.summary, evidence.silence
    share = told.share_compliant
    return {
        "set_points": len(evidence.asked),
        "period_s": rounded(evidence.period_s, 3),
        "asked_s": round(told.asked_s, 3),
        "measured_s": round(told.measured_s, 3),
        "silent_s": round(told.silent_s, 3),
        "longest_silence_s": round(told.longest_silence_s, 3),
        "silent_limit_kw": None if silence is None else silence.limit.in_kw,
        "silent_due_s": None if silence is None else round(silence.due_s, 3),
        "silent_measured_s": None if silence is None else round(silence.measured_s, 3),
        "silent_over_s": None if silence is None else round(silence.over_s, 3),
        "silent_over_kw": None if silence is None else kilowatts(silence.over_w),
        "quality": told.quality.value,
        "compliant_percent": None if share is None else round(share * 100, 3),
        "judged_intervals": told.judged,
        "excused_intervals": told.excused,
        "intervals": {word.value: count for word, count in told.counts.items()},
        "error_kw": kilowatts(told.bias_w),
        "abs_error_kw": kilowatts(told.abs_error_w),
        "rms_error_kw": kilowatts(told.rms_error_w),
        "worst_error_kw": kilowatts(told.worst_w),
        "asked_kwh": round(told.asked_kwh, 6),
        "used_kwh": rounded(told.used_kwh, 6),
    }


def _regulation(found: Regulation | NoScore) -> dict[str, Any]:
    if isinstance(found, NoScore):
        return {"missing": found.why}
    return {
        "missing": None,
        "base_kw": kilowatts(found.base_w),
        "band_kw": kilowatts(found.band_w),
        **_score(found.score),
        "hours": [
            {
                "start_utc": stamp(hour.span.start_utc_s),
                "end_utc": stamp(hour.span.end_utc_s),
                **_score(hour.score),
            }
            for hour in found.hours
        ],
    }


def _score(found: Score | NoScore) -> dict[str, Any]:
    """Without a unit: each is a share of 1."""
    if isinstance(found, NoScore):
        return {"score": None, "why": found.why}
    return {
        "score": round(found.total, 4),
        "strict_score": round(found.strict, 4),
        "accuracy": round(found.accuracy, 4),
        "delay": round(found.delay, 4),
        "precision": round(found.precision, 4),
    }


def _interval(item: Followed) -> dict[str, Any]:
    return {
        "start_utc": stamp(item.span.start_utc_s),
        "end_utc": stamp(item.span.end_utc_s),
        "target_kw": kilowatts(item.target_w),
        "mean_kw": kilowatts(item.mean_w),
        "error_kw": kilowatts(item.error_w),
        "abs_error_kw": kilowatts(item.abs_error_w),
        "worst_error_kw": kilowatts(item.worst_w),
        "asked_kwh": round(item.asked_kwh, 6),
        "used_kwh": rounded(item.used_kwh, 6),
        "compliance": item.compliance.value,
        "excuse": item.excuse,
        "quality": item.quality.value,
        "asked_s": round(item.asked_s, 3),
        "due_s": round(item.due_s, 3),
        "measured_s": round(item.measured_s, 3),
    }
