"""All that can be said of one event, in one value: what every form of the report is made from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo

from controller.settlement.course import Course
from controller.settlement.dynamics import Dynamics
from controller.settlement.metering import Metering, Quality
from controller.settlement.methods import Baseline, NoBaseline
from controller.settlement.performance import Compliance, Judged, Terms

COMMANDED = "commanded"
"""What the journal calls a command. Everything else that it says of one is an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """What was told to machines in the time of the event, and the answers to that; `unanswered` are also
    those that a newer one replaced before they were sent. `first_utc_s` is the first command that the site's
    limit or set-point was the reason of; `lying` are machines found to have said yes and done nothing."""

    sent: int = 0
    acknowledged: int = 0
    refused: int = 0
    failed: int = 0
    unanswered: int = 0
    lying: int = 0
    first_utc_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTold:
    """One word to a GPU job, or of its queue: `job` is the queue's name and the job's own, `what` is that it
    was `commanded`, or what came of that; `why` its reason, or the queue's."""

    utc_s: float
    job: str
    action: str
    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Whether the journal's chain of hashes holds over the rows that were used: `verdict` is `verified`,
    `broken` or `not_checked`, `head` the newest hash."""

    verdict: str
    head: str = ""
    detail: str = ""


NOT_CHECKED = Audit(verdict="not_checked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """`share_compliant` is of the intervals that were judged and have no excuse; None where there are none.
    Energies are sums over the intervals in which they are known, means are over the same time."""

    counts: Mapping[Compliance, int]
    excused: int
    judged: int
    share_compliant: float | None
    used_kwh: float | None
    mean_w: float | None
    reduced_kwh: float | None
    mean_reduction_w: float | None
    peak_w: float | None
    unmeasured_s: float
    length_s: float
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`meter` reaches from before the event until after it. `course` is of one of the `parts` that the id was
    used for, of that number from 1 on; `baseline_interval_s` is the grain of the baseline, `terms.interval_s`
    that of the intervals."""

    site: str
    node: str
    zone: tzinfo
    zone_name: str
    made_utc_s: float
    program: str
    course: Course
    terms: Terms
    baseline: Baseline | NoBaseline
    baseline_interval_s: int
    intervals: tuple[Judged, ...]
    dynamics: Dynamics
    commands: Commands
    meter: Metering
    jobs: tuple[JobTold, ...] = ()
    part: int = 1
    parts: int = 1
    audit: Audit = NOT_CHECKED
    notes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """Of the event, for people."""
        event = self.course.event
        return event if self.parts == 1 else f"{event}, part {self.part} of {self.parts}"

    @property
    def summary(self) -> Summary:
        return summary_of(self.intervals)


def summary_of(intervals: tuple[Judged, ...]) -> Summary:
    fair = [item for item in intervals if not item.excuse]
    counts = Counter(item.compliance for item in intervals)
    judged = [item for item in fair if item.compliance not in (Compliance.RAMPING, Compliance.NOT_JUDGED)]
    kept = sum(item.compliance is Compliance.COMPLIANT for item in judged)
    used_kwh, mean_w = _sum_and_mean([(item.measure.used_kwh, item.span.length_s) for item in intervals])
    reduced_kwh, mean_reduction_w = _sum_and_mean(
        [(item.reduced_kwh, item.span.length_s) for item in intervals]
    )
    length_s = math.fsum(item.span.length_s for item in intervals)
    measured_s = math.fsum(item.measure.measured_s for item in intervals)
    qualities = {item.quality for item in intervals}
    peaks = [item.measure.peak_w for item in intervals if item.measure.peak_w is not None]
    return Summary(
        counts={word: counts.get(word, 0) for word in Compliance},
        excused=len(intervals) - len(fair),
        judged=len(judged),
        share_compliant=kept / len(judged) if judged else None,
        used_kwh=used_kwh,
        mean_w=mean_w,
        reduced_kwh=reduced_kwh,
        mean_reduction_w=mean_reduction_w,
        peak_w=max(peaks) if peaks else None,
        unmeasured_s=max(length_s - measured_s, 0.0),
        length_s=length_s,
        quality=_worst(qualities),
    )


def _sum_and_mean(energies: Sequence[tuple[float | None, float]]) -> tuple[float | None, float | None]:
    """Kilowatt-hours and mean watts of those of which the energy is known; None where it is of none."""
    known = [(kwh, length_s) for kwh, length_s in energies if kwh is not None]
    if not known:
        return None, None
    sum_kwh = math.fsum(kwh for kwh, _ in known)
    return sum_kwh, sum_kwh * 3.6e6 / math.fsum(length_s for _, length_s in known)


def _worst(qualities: set[Quality]) -> Quality:
    """Whole only if all is; missing only if all is."""
    if len(qualities) == 1:
        return next(iter(qualities))
    return Quality.ESTIMATED if qualities else Quality.MISSING
