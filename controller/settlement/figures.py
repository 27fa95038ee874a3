"""The numbers of an event in the words of people: the same lines on the terminal and on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from controller.domain.grid import EventStatus
from controller.domain.power import Bound, Limit, Power
from controller.settlement.course import Told
from controller.settlement.dynamics import Dynamics, Ramp
from controller.settlement.evidence import COMMANDED, Audit, Evidence, JobTold, Summary
from controller.settlement.methods import Baseline
from controller.settlement.performance import Compliance

UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: str


def figures_of(evidence: Evidence) -> tuple[Figure, ...]:
    return tuple(Figure(name, value) for name, value in _lines(evidence))


def local(utc_s: float, zone: tzinfo, form: str = "%Y-%m-%d %H:%M:%S %z") -> str:
    return datetime.fromtimestamp(utc_s, zone).strftime(form)


def kw(watts: float | None) -> str:
    return UNKNOWN if watts is None else f"{watts / 1000:,.1f} kW"


def kwh(energy_kwh: float | None) -> str:
    return UNKNOWN if energy_kwh is None else f"{energy_kwh:,.3f} kWh"


def kw_of(value: Power | Bound | None) -> str:
    """For a column of numbers: empty where there is none."""
    power = value.power if isinstance(value, Limit) else value
    return f"{power.in_kw:,.1f}" if isinstance(power, Power) else ""


def number(watts: float | None) -> str:
    return "" if watts is None else f"{watts / 1000:,.1f}"


def _lines(evidence: Evidence) -> Iterator[tuple[str, str]]:
    course, told = evidence.course, evidence.summary
    span = course.span
    yield "received", local(course.received_utc_s, evidence.zone)
    yield "in force", f"{local(span.start_utc_s, evidence.zone)} to {local(span.end_utc_s, evidence.zone)}"
    yield "ending", course.ending.value.replace("_", " ") + _at(course.ended_utc_s, evidence)
    yield from _relative(evidence)
    ahead, begun = _by_begin(course.history)
    yield from _foretold(ahead, evidence.zone)
    yield from infeasible(begun, evidence.zone)
    yield "intervals compliant", shares(told.share_compliant, told.judged, told.excused, told.counts)
    yield "peak, mean demand", f"{kw(told.peak_w)}, {kw(told.mean_w)}"
    yield "energy used", f"{kwh(told.used_kwh)}{_gap(told)}"
    yield "baseline", _baseline(evidence)
    if told.reduced_kwh is not None:
        yield "energy delivered", f"{kwh(told.reduced_kwh)}, {kw(told.mean_reduction_w)} on the mean"
    else:
        yield "energy delivered", UNKNOWN
    yield from _dynamics(evidence.dynamics, evidence)
    commands = evidence.commands
    answers = f"{commands.acknowledged} acknowledged, {commands.refused} refused, {commands.failed} failed"
    answers += f", {commands.unanswered} unanswered"
    yield "commands", f"{commands.sent} sent: {answers}; {commands.lying} machines found lying"
    yield from _jobs(evidence.jobs)
    yield "data quality", told.quality.value
    yield "journal", verified(evidence.audit)


def _jobs(told: Iterable[JobTold]) -> Iterator[tuple[str, str]]:
    """How often jobs were told what, and what came of it; nothing where none was told anything."""
    actions, outcomes = Counter[str](), Counter[str]()
    for row in told:
        (actions if row.what == COMMANDED else outcomes).update([_word(row)])
    if actions or outcomes:
        parts = [
            ", ".join(f"{count} {word}" for word, count in sorted(of.items())) for of in (actions, outcomes)
        ]
        yield "jobs", f"told {parts[0] or 'nothing'}: {parts[1] or 'no answer'}"


def _word(row: JobTold) -> str:
    return row.action if row.what == COMMANDED else row.what


def _dynamics(dynamics: Dynamics, evidence: Evidence) -> Iterator[tuple[str, str]]:
    first = evidence.commands.first_utc_s
    yield "demand before", kw(dynamics.before_w)
    start_utc_s = evidence.course.span.start_utc_s
    yield "first command", UNKNOWN if first is None else f"{first - start_utc_s:+.1f} s from the start"
    response_s = dynamics.response_s
    yield "first compliant", UNKNOWN if response_s is None else f"{response_s:.1f} s from the start"
    yield "ramp down, up", f"{_ramp(dynamics.down)}, {_ramp(dynamics.up)}"
    over = UNKNOWN if dynamics.over_w is None else f"{kw(dynamics.over_w)}, {dynamics.over_s:.1f} s"
    yield "over the limit when due", over
    back = "not seen" if dynamics.restore_s is None else f"{dynamics.restore_s:.1f} s after the end"
    yield "restored to 95 %", back
    grain_s = dynamics.grain_s
    yield "readings every", UNKNOWN if grain_s is None else f"{round(grain_s, 2):g} s"


def infeasible(history: Iterable[Told], zone: tzinfo) -> Iterator[tuple[str, str]]:
    """That, and since when, the operator was told that it could not have what it asked for."""
    told = [row for row in history if row.possible is not None]
    if told:
        yield "told infeasible", _possible(told, local(told[0].utc_s, zone, "%H:%M:%S"))


def _foretold(ahead: Sequence[Told], zone: tzinfo) -> Iterator[tuple[str, str]]:
    """The same of what it was told before the event began, and whether that was taken back by then."""
    told = [row for row in ahead if row.possible is not None]
    if told:
        later = ahead[ahead.index(told[-1]) + 1 :]
        back = next((row for row in later if row.status == EventStatus.RECEIVED), None)
        taken = "" if back is None else f", taken back at {local(back.utc_s, zone)}"
        yield "foretold infeasible", _possible(told, local(told[0].utc_s, zone)) + taken


def _by_begin(history: Iterable[Told]) -> tuple[list[Told], list[Told]]:
    """What was told of versions that had not begun, and of those that had."""
    ahead: list[Told] = []
    after: list[Told] = []
    begun: set[float | None] = set()
    for row in history:
        if row.status == EventStatus.STARTED:
            begun.add(row.version_utc_s)
        (after if row.version_utc_s in begun else ahead).append(row)
    return ahead, after


def _possible(told: Sequence[Told], first: str) -> str:
    possible = sorted({row.possible.watts for row in told if row.possible is not None})
    span = kw(possible[0]) if len(possible) == 1 else f"{kw(possible[0])} to {kw(possible[-1])}"
    return f"{_times(len(told))}, first at {first}; {span} was told to be possible"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _relative(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """What a relative set-point was settled against, where one was asked for."""
    items = [item for item in evidence.intervals if item.change is not None]
    if not items:
        return
    grounds = sorted({item.ground.watts for item in items if item.ground is not None})
    if not grounds:
        yield "relative to", f"{UNKNOWN}: what was drawn before was not kept, so nothing is judged by it"
        return
    span = kw(grounds[0]) if len(grounds) == 1 else f"{kw(grounds[0])} to {kw(grounds[-1])}"
    frozen = {row.drawn_before.watts for row in evidence.course.history if row.drawn_before is not None}
    before = "drawn in the minute before the event, as it was frozen then"
    yield "relative to", f"{span}, {before if frozen.issuperset(grounds) else 'other set-points in force'}"


def shares(share_compliant: float | None, judged: int, excused: int, counts: Mapping[Compliance, int]) -> str:
    parts = [f"{count} {word.value.replace('_', ' ')}" for word, count in counts.items() if count]
    if excused:
        parts.append(f"{excused} with an excuse, not counted")
    share = "none was judged" if share_compliant is None else f"{share_compliant:.1%}"
    kept = round((share_compliant or 0.0) * judged)
    return f"{share} ({kept} of {judged} judged; {', '.join(parts)})" if parts else share


def _gap(told: Summary) -> str:
    return f" ({told.unmeasured_s:,.1f} s not measured)" if told.unmeasured_s >= 1 else ""


def _baseline(evidence: Evidence) -> str:
    baseline = evidence.baseline
    if not isinstance(baseline, Baseline):
        return f"{baseline.method}: none, {baseline.lack.value.replace('_', ' ')}: {baseline.detail}"
    mean = baseline.over(evidence.course.span)
    days = f", of {len(baseline.days)} like days" if baseline.days else ""
    moved = f", adjusted {baseline.detail}" if baseline.detail else ""
    return f"{baseline.method}: {kw(None if mean is None else mean.watts)} on the mean{days}{moved}"


def _at(utc_s: float | None, evidence: Evidence) -> str:
    return "" if utc_s is None else f", told {local(utc_s, evidence.zone)}"


def _ramp(ramp: Ramp | None) -> str:
    return UNKNOWN if ramp is None else f"{ramp.kw_per_s:,.1f} kW/s"


def verified(audit: Audit) -> str:
    verdict = audit.verdict.replace("_", " ")
    number, _, digest = audit.head.partition(":")
    head = f"newest {number}:{digest[:16]}" if digest else ""
    return ", ".join(part for part in (verdict, audit.detail, head) if part)
