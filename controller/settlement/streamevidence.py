"""All that can be said of a stream of set-points, in one value: every form of its report is made from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo

from controller.settlement.course import Told
from controller.settlement.evidence import NOT_CHECKED, Audit
from controller.settlement.metering import Metering, Quality, Span
from controller.settlement.performance import Compliance, Terms
from controller.settlement.scored import NoScore, Regulation
from controller.settlement.stream import Asked, Followed, Silence, period_of, quality_of, silences


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    counts: Mapping[Compliance, int]
    excused: int
    judged: int
    share_compliant: float | None
    bias_w: float | None
    abs_error_w: float | None
    rms_error_w: float | None
    worst_w: float | None
    asked_kwh: float
    used_kwh: float | None
    asked_s: float
    measured_s: float
    silent_s: float
    longest_silence_s: float
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvidence:
    """All that can be said of a stream. `told` is what its sender was refused, or told is possible instead;
    `deadline_s` the time that the site has to reach a set-point; `silence` how it kept to the limit that was
    agreed for when there is none."""

    site: str
    node: str
    zone: tzinfo
    zone_name: str
    made_utc_s: float
    program: str
    stream: str
    operator: str
    span: Span
    terms: Terms
    deadline_s: float
    asked: tuple[Asked, ...]
    intervals: tuple[Followed, ...]
    regulation: Regulation | NoScore
    meter: Metering
    silence: Silence | None = None
    told: tuple[Told, ...] = ()
    audit: Audit = NOT_CHECKED
    notes: tuple[str, ...] = field(default=())

    @property
    def period_s(self) -> float | None:
        """The usual time between two set-points."""
        return period_of(self.asked)

    @property
    def summary(self) -> StreamSummary:
        return summary_of(self.intervals, self.asked, self.span)


def summary_of(intervals: Sequence[Followed], asked: Sequence[Asked], span: Span) -> StreamSummary:
    fair = [item for item in intervals if not item.excuse]
    judged = [item for item in fair if item.compliance not in (Compliance.RAMPING, Compliance.NOT_JUDGED)]
    kept = sum(item.compliance is Compliance.COMPLIANT for item in judged)
    counts = Counter(item.compliance for item in intervals)
    judged_s = math.fsum(item.judged_s for item in intervals)
    known = [item for item in intervals if item.judged_s > 0]
    used = [item.used_kwh for item in intervals if item.used_kwh is not None]
    worst = [item.worst_w for item in known if item.worst_w is not None]
    asked_s = math.fsum(item.asked_s for item in intervals)
    measured_s = math.fsum(item.measured_s for item in intervals)
    return StreamSummary(
        counts={word: counts.get(word, 0) for word in Compliance},
        excused=len(intervals) - len(fair),
        judged=len(judged),
        share_compliant=kept / len(judged) if judged else None,
        bias_w=_weighed([(item.error_w, item.judged_s) for item in known], judged_s),
        abs_error_w=_weighed([(item.abs_error_w, item.judged_s) for item in known], judged_s),
        rms_error_w=math.sqrt(math.fsum(item.squares for item in known) / judged_s) if judged_s else None,
        worst_w=max(worst, key=abs, default=None),
        asked_kwh=math.fsum(item.asked_kwh for item in intervals),
        used_kwh=math.fsum(used) if used else None,
        asked_s=asked_s,
        measured_s=measured_s,
        silent_s=max(span.length_s - asked_s, 0.0),
        longest_silence_s=max((silence.length_s for silence in silences(asked, span)), default=0.0),
        quality=quality_of(measured_s, asked_s),
    )


def _weighed(values: Iterable[tuple[float | None, float]], judged_s: float) -> float | None:
    if judged_s <= 0:
        return None
    return math.fsum(value * seconds for value, seconds in values if value is not None) / judged_s
