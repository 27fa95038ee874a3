"""The report of a stream for people: its numbers in words, and one page that prints on a sheet of A4."""

from __future__ import annotations

from collections.abc import Iterator

from controller.settlement import plot
from controller.settlement.figures import (
    UNKNOWN,
    Figure,
    infeasible,
    kw,
    kwh,
    local,
    number,
    shares,
    verified,
)
from controller.settlement.page import MOST_NOTES, fitting, template
from controller.settlement.regulation import Score
from controller.settlement.scored import NoScore
from controller.settlement.streamevidence import StreamEvidence


def stream_figures(evidence: StreamEvidence) -> tuple[Figure, ...]:
    return tuple(Figure(name, value) for name, value in _lines(evidence))


def _lines(evidence: StreamEvidence) -> Iterator[tuple[str, str]]:
    told, terms = evidence.summary, evidence.terms
    span, period_s = evidence.span, evidence.period_s
    yield "settled", f"{local(span.start_utc_s, evidence.zone)} to {local(span.end_utc_s, evidence.zone)}"
    every = "" if period_s is None else f", every {round(period_s, 2):g} s"
    silent = f"; {told.silent_s:,.1f} s without one" if told.silent_s >= 1 else ""
    longest = f", {told.longest_silence_s:,.1f} s at most in one piece" if silent else ""
    yield "set-points", f"{len(evidence.asked):,}{every}{silent}{longest}"
    if evidence.silence is not None:
        silence = evidence.silence
        unmeasured_s = silence.due_s - silence.measured_s
        gap = f", {unmeasured_s:,.1f} s not measured" if unmeasured_s >= 1 else ""
        above = f"above it for {silence.over_s:,.1f} of {silence.due_s:,.1f} s{gap}"
        yield "limit of silence", f"{kw(silence.limit.watts)}; {above}, {kw(silence.over_w)} at worst"
    yield "intervals compliant", shares(told.share_compliant, told.judged, told.excused, told.counts)
    yield from infeasible(evidence.told, evidence.zone)
    within = f"{terms.tolerance_share * 100:g} % of the set-point"
    yield (
        "tolerance",
        within if terms.tolerance.watts == 0 else f"{within} or {kw(terms.tolerance.watts)}",
    )
    yield "following error", f"{kw(told.abs_error_w)} on the mean, {kw(told.rms_error_w)} root mean square"
    yield "drawn too much", f"{kw(told.bias_w)} on the mean; {kw(told.worst_w)} at worst"
    gap_s = told.asked_s - told.measured_s
    gap = f" ({gap_s:,.1f} s not measured)" if gap_s >= 1 else ""
    yield "energy", f"{kwh(told.used_kwh)} used{gap}, {kwh(told.asked_kwh)} asked for"
    yield from _score(evidence)
    yield "data quality", told.quality.value
    yield "journal", verified(evidence.audit)


def _score(evidence: StreamEvidence) -> Iterator[tuple[str, str]]:
    found = evidence.regulation
    if isinstance(found, NoScore):
        yield "score", f"none: {found.why}"
        return
    about = f"about {kw(found.base_w)}, by up to {kw(found.band_w)}"
    match found.score:
        case Score() as score:
            parts = f"A {score.accuracy:.3f}, D {score.delay:.3f}, P {score.precision:.3f}"
            yield "score (PJM)", f"{score.total:.3f}, strictly {score.strict:.3f} ({parts}); {about}"
        case NoScore(why):
            yield "score (PJM)", f"none: {why}; {about}"
    scores = [hour.score.total for hour in found.hours if isinstance(hour.score, Score)]
    if scores:
        worst = f"{min(scores):.3f} to {max(scores):.3f}"
        yield "hours", f"{sum(scores) / len(scores):.3f} on the mean of {len(scores)}, {worst}"


def stream_html(evidence: StreamEvidence) -> str:
    shown = fitting(evidence.intervals, then=lambda item: -(item.abs_error_w or 0.0))
    return template("stream.html.j2").render(
        evidence=evidence,
        figures=stream_figures(evidence),
        plot=plot.plotted(
            evidence.span,
            evidence.zone,
            evidence.meter,
            targets=[(one.span, one.target) for one in evidence.asked],
        ),
        frame=plot,
        rows=[(item, local(item.span.start_utc_s, evidence.zone, "%m-%d %H:%M:%S")) for item in shown],
        left_out=len(evidence.intervals) - len(shown),
        notes=evidence.notes[:MOST_NOTES],
        more_notes=len(evidence.notes) - MOST_NOTES,
        made=local(evidence.made_utc_s, evidence.zone),
        number=number,
        unknown=UNKNOWN,
    )
