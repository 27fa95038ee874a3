"""Intervals judged, and how fast a site went down and came back, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.grid import RelativeTargetSignal, TargetSignal
from controller.domain.power import NO_LIMIT, Limit, Power
from controller.settlement.evidence import Evidence
from controller.settlement.figures import figures_of
from controller.settlement.metering import Metering, Quality, Reading, Span
from controller.settlement.methods import Lack, NoBaseline
from controller.settlement.performance import Compliance, Excuse, PerformanceError, Rule, Terms
from controller.settlement.records import record_of
from tests.settlement.builders import (
    START_UTC_S,
    course,
    event,
    evidence,
    froze,
    limit,
    received,
    seconds,
    usual,
)

COMPLIANT, NOT_COMPLIANT = Compliance.COMPLIANT, Compliance.NOT_COMPLIANT
UNKNOWN, RAMPING = Compliance.UNKNOWN, Compliance.RAMPING
NO = NoBaseline(method="10-of-10", lack=Lack.LIKE_DAYS, detail="6 of 10 days")


def of(signal: object, *kw: float | None, drawn_before: float | None = None, **more: object) -> Evidence:
    """A minute of an event at a time, each minute with one load."""
    content = event((START_UTC_S, START_UTC_S + 60 * len(kw), signal))  # type: ignore[arg-type]  # any signal
    rows = [received(START_UTC_S - 60, content)]
    if drawn_before is not None:
        rows.append(froze(START_UTC_S + 1, drawn_before))
    told = course(*rows, now_utc_s=START_UTC_S + 9000)
    return evidence(told, seconds(START_UTC_S, [w for w in kw for _ in range(60)]), **more)  # type: ignore[arg-type]


def verdicts(found: Evidence) -> list[Compliance]:
    return [item.compliance for item in found.intervals]


def test_the_usual_event_is_judged_minute_by_minute_from_its_deadline_on() -> None:
    found = evidence(*usual())

    assert [round(item.span.length_s) for item in found.intervals] == [10, 50, 60, 60, 60, 60]
    assert verdicts(found) == [RAMPING, *[COMPLIANT] * 5]
    assert [item.mean_w for item in found.intervals[1:3]] == [50_000, 50_000]
    assert found.intervals[3].mean_w == pytest.approx(50_000 + 3 * 13_000 / 60)
    assert (found.intervals[3].over_limit_s, found.intervals[3].measure.peak_w) == (3.0, 63_000)


def test_the_sums_of_the_usual_event() -> None:
    """Drawn: 10 s of 100, 90, ... 60, 50, 50, 50, 50, 50, then 290 s of 50, and three times 13 more."""
    told = evidence(*usual()).summary

    drawn_kws = (100 + 90 + 80 + 70 + 60) + 295 * 50 + 3 * 13
    assert told.used_kwh == pytest.approx(drawn_kws / 3600)
    assert told.reduced_kwh == pytest.approx((300 * 100 - drawn_kws) / 3600)
    assert told.mean_reduction_w == pytest.approx((300 * 100 - drawn_kws) / 300 * 1000)
    assert (told.share_compliant, told.judged, told.excused) == (1.0, 5, 0)
    assert (told.peak_w, told.unmeasured_s, told.quality) == (100_000, 0.0, Quality.OK)


def test_the_speeds_of_the_usual_event() -> None:
    """60 kW, the limit, is reached after 4 s. The last reading above 96 kW is at the start, the first below
    64 kW after 4 s, with 60 kW: 40 kW in 4 s."""
    found = evidence(*usual()).dynamics

    assert found.before_w == 100_000
    assert found.response_s == 4.0
    assert found.down is not None
    assert (found.down.kw_per_s, found.down.seconds) == (10.0, 4.0)
    assert (found.over_w, found.over_s) == (3_000, 3.0)
    assert found.restore_s == 9.0  # 95 kW
    assert found.up is not None
    assert found.up.kw_per_s == 5.0
    assert found.grain_s == 1.0


def test_a_mean_at_the_limit_complies_and_a_watt_above_does_not() -> None:
    assert verdicts(of(limit(60), 60.0, 60.001)) == [COMPLIANT, NOT_COMPLIANT]


def test_a_draw_that_stands_at_the_limit_complies_however_its_minutes_were_measured() -> None:
    told = course(
        received(START_UTC_S - 60, event((START_UTC_S, START_UTC_S + 900, limit(60)))),
        now_utc_s=START_UTC_S + 9000,
    )
    minutes = [Span(START_UTC_S + 60 * n, START_UTC_S + 60 * n + 60) for n in range(15)]
    meter = Metering.of(Reading(span, 60_000, 59 + 3 * n / 1000) for n, span in enumerate(minutes))

    found = evidence(told, meter, terms=Terms(interval_s=900))

    assert verdicts(found) == [COMPLIANT]


def test_time_that_was_not_measured_is_not_over_the_limit() -> None:
    told = course(
        received(START_UTC_S - 60, event((START_UTC_S, START_UTC_S + 60, limit(60)))),
        now_utc_s=START_UTC_S + 9000,
    )
    half = Metering.of([Reading(Span(START_UTC_S - 30, START_UTC_S + 30), 90_000, 40.0)])

    found = evidence(told, half)

    assert (found.intervals[0].over_limit_s, found.dynamics.over_s) == (20.0, 20.0)


def test_what_was_not_measured_is_unknown_and_not_compliant() -> None:
    found = of(limit(60), 50.0, None, 50.0)

    assert verdicts(found) == [COMPLIANT, UNKNOWN, COMPLIANT]
    assert found.intervals[1].reduced_kwh is None
    assert found.summary.share_compliant == pytest.approx(2 / 3)
    assert found.summary.quality is Quality.ESTIMATED
    assert found.summary.unmeasured_s == 60


def told_of(found: Evidence, name: str) -> str:
    return next(figure.value for figure in figures_of(found) if figure.name == name)


def test_the_mean_demand_is_that_of_the_energy_over_its_own_time() -> None:
    nine_tenths = [50.0] * 54 + [None] * 6
    half = [90.0] * 30 + [None] * 30
    told = course(
        received(START_UTC_S - 60, event((START_UTC_S, START_UTC_S + 120, limit(60)))),
        now_utc_s=START_UTC_S + 9000,
    )

    found = evidence(told, seconds(START_UTC_S, nine_tenths + half))

    assert told_of(found, "peak, mean demand") == "90.0 kW, 50.0 kW"


def test_a_site_that_drew_nothing_has_a_mean_of_nothing() -> None:
    assert told_of(of(limit(60), 0.0), "peak, mean demand") == "0.0 kW, 0.0 kW"


def test_the_energy_of_an_event_that_was_not_measured_is_not_known() -> None:
    found = of(limit(60), None, None)

    assert found.summary.used_kwh is None
    assert told_of(found, "energy used") == "not known (120.0 s not measured)"
    assert record_of(found)["summary"]["used_kwh"] is None


@pytest.mark.parametrize(
    ("kw", "verdict"), [(105.0, COMPLIANT), (95.0, COMPLIANT), (105.1, NOT_COMPLIANT), (94.9, NOT_COMPLIANT)]
)
def test_a_target_is_met_within_its_tolerance_on_both_sides(kw: float, verdict: Compliance) -> None:
    found = of(TargetSignal(Power.kw(100)), kw)

    assert verdicts(found) == [verdict]
    assert found.intervals[0].rule is Rule.TARGET


def test_the_larger_tolerance_counts() -> None:
    terms = Terms(interval_s=60, tolerance_share=0.05, tolerance=Power.kw(30))

    assert verdicts(of(TargetSignal(Power.kw(100)), 70.0, terms=terms)) == [COMPLIANT]


def test_a_relative_set_point_is_judged_by_what_was_frozen_and_not_by_the_baseline() -> None:
    signal = RelativeTargetSignal(Power.kw(-20))

    found = of(signal, 70.0, 80.0, drawn_before=90.0, baseline=NO)  # the baseline would be 100 kW

    assert verdicts(found) == [COMPLIANT, NOT_COMPLIANT]
    assert [(item.ground, item.target) for item in found.intervals] == [(Power.kw(90), Power.kw(70))] * 2
    assert verdicts(of(signal, 70.0, 80.0, drawn_before=90.0)) == [COMPLIANT, NOT_COMPLIANT]


def test_a_relative_set_point_without_what_was_frozen_is_not_judged() -> None:
    assert verdicts(of(RelativeTargetSignal(Power.kw(-20)), 80.0)) == [Compliance.NOT_JUDGED]


def test_a_site_is_never_asked_for_less_than_nothing() -> None:
    found = of(RelativeTargetSignal(Power.kw(-120)), 0.0, drawn_before=90.0)

    assert found.intervals[0].target == Power(0)


def test_the_response_to_a_relative_set_point_is_timed() -> None:
    found = of(RelativeTargetSignal(Power.kw(-20)), 90.0, 70.0, drawn_before=90.0)

    assert found.dynamics.response_s == 60.0


def test_a_firm_service_level_judges_beside_the_limit_and_the_lower_one_is_named() -> None:
    low = Terms(interval_s=60, firm_service_level=Limit(Power.kw(40)))
    high = Terms(interval_s=60, firm_service_level=Limit(Power.kw(80)))

    by_level, by_limit = of(limit(60), 50.0, terms=low), of(limit(60), 50.0, terms=high)

    assert (verdicts(by_level), by_level.intervals[0].rule) == ([NOT_COMPLIANT], Rule.FIRM_SERVICE_LEVEL)
    assert (verdicts(by_limit), by_limit.intervals[0].rule) == ([COMPLIANT], Rule.LIMIT)


def test_an_interval_with_an_excuse_keeps_its_verdict_and_is_not_counted() -> None:
    lost = Excuse(Span(START_UTC_S + 70, START_UTC_S + 80), "link_lost")

    found = of(limit(60), 50.0, 90.0, 50.0, excuses=[lost])

    assert verdicts(found) == [COMPLIANT, NOT_COMPLIANT, COMPLIANT]
    assert [item.excuse for item in found.intervals] == ["", "link_lost", ""]
    assert (found.summary.share_compliant, found.summary.judged, found.summary.excused) == (1.0, 2, 1)
    assert found.summary.counts[NOT_COMPLIANT] == 1


def test_without_a_baseline_no_reduction_is_told() -> None:
    found = of(limit(60), 50.0, baseline=NO)

    assert (found.intervals[0].baseline, found.intervals[0].reduction_w) == (None, None)
    assert (found.summary.reduced_kwh, found.summary.mean_reduction_w) == (None, None)
    assert found.summary.used_kwh is not None


def test_more_drawn_than_the_baseline_is_a_negative_reduction() -> None:
    assert of(limit(600), 160.0).summary.reduced_kwh == pytest.approx(-1.0)


def test_intervals_are_those_of_the_clock_and_are_cut_where_the_ask_changes() -> None:
    first = event((START_UTC_S + 20, START_UTC_S + 200, limit(60)), version_utc_s=1)
    second = event((START_UTC_S + 20, START_UTC_S + 200, limit(50)), version_utc_s=2)
    told = course(received(0, first), received(START_UTC_S + 130, second), now_utc_s=START_UTC_S + 900)

    found = evidence(told, seconds(START_UTC_S, [55.0] * 300))

    edges = [item.span.start_utc_s - START_UTC_S for item in found.intervals]
    assert edges == [20, 60, 120, 130, 180]
    assert verdicts(found) == [COMPLIANT, COMPLIANT, COMPLIANT, NOT_COMPLIANT, NOT_COMPLIANT]
    assert [item.version_utc_s for item in found.intervals] == [1, 1, 1, 2, 2]


def test_an_event_of_a_year_in_seconds_is_refused_before_it_is_computed() -> None:
    told = course(
        received(0, event((START_UTC_S, START_UTC_S + 365 * 86_400, limit(60)))),
        now_utc_s=START_UTC_S + 400 * 86_400,
    )

    with pytest.raises(PerformanceError, match="--interval"):
        evidence(told, seconds(START_UTC_S, [1.0]), terms=Terms(interval_s=1))


def test_a_site_that_never_complied_has_no_response_and_no_ramp() -> None:
    found = of(limit(60), 90.0, 90.0)

    assert (found.dynamics.response_s, found.dynamics.down, found.dynamics.restore_s) == (None, None, None)
    assert (found.dynamics.over_w, found.dynamics.over_s) == (30_000, 120.0)
    assert found.summary.share_compliant == 0.0


def test_a_site_that_was_low_before_the_event_answered_at_once() -> None:
    told, _ = usual()
    found = evidence(told, seconds(START_UTC_S - 120, [40.0] * 600)).dynamics

    assert (found.response_s, found.down, found.restore_s, found.up) == (0.0, None, 0.0, None)


def test_an_event_that_asked_for_nothing_has_no_figures() -> None:
    told, meter = usual()
    found = evidence(replace(told, phases=()), meter)

    assert found.intervals == ()
    assert found.summary.share_compliant is None
    assert found.dynamics.response_s is None


def test_a_set_point_has_no_limit_to_go_over() -> None:
    found = of(TargetSignal(Power.kw(100)), 200.0)

    assert found.dynamics.over_w is None
    assert found.intervals[0].limit == NO_LIMIT
