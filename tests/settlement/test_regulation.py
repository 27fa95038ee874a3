"""The score of a regulation signal, against its definition written out and against figures known of it."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.power import Power
from controller.settlement.metering import Metering, Reading, Span
from controller.settlement.regulation import LEAST_SAMPLES, SHIFTS, WINDOW, Floats, Score, score
from controller.settlement.scored import NoScore, Regulation, regulation_of
from controller.settlement.stream import Asked

SIGNAL = Path(
    os.environ.get("WATTSHIFT_REGULATION_SIGNAL")
    or Path(__file__).parents[3] / "shared" / "data" / "pjm_regd_test_40min_2s.csv"
)
EVERY = 5
"""A sample is every fifth value of a signal that comes every two seconds."""


def as_written(asked: Floats, given: Floats) -> tuple[float, float]:
    """Accuracy and delay of one window, shift by shift, with a library's correlation."""
    if asked.std() < 0.001:
        slopes = [np.polyfit(np.arange(WINDOW), values[:WINDOW], 1)[0] for values in (asked, given)]
        return max(0.0, 1 - abs(slopes[0] - slopes[1])), 1.0
    best = (0.0, 0.0)
    for shift in range(SHIFTS):
        shifted = given[shift : shift + WINDOW]
        varies = float(np.ptp(shifted)) > 1e-6
        correlation = float(np.corrcoef(asked, shifted)[0, 1]) if varies else 0.0
        delay = 1.0 if shift <= 1 else abs((10 * shift - 300) / 300)
        if correlation > 0 and correlation + delay > sum(best) + 1e-12:
            best = (min(correlation, 1.0), delay)
    return best


@given(seed=st.integers(0, 10_000), late=st.integers(0, 12), grain=st.sampled_from([0.0, 0.1, 0.5]))
@settings(max_examples=15, deadline=None)
def test_the_score_is_that_of_its_definition(seed: int, late: int, grain: float) -> None:
    rng = np.random.default_rng(seed)
    signal = np.clip(np.cumsum(rng.normal(0, 0.1, LEAST_SAMPLES + 20)), -1, 1)
    response = np.roll(signal, late) + rng.normal(0, 0.03, len(signal))
    if grain:
        response = np.round(response / grain) * grain

    found = score(signal, response)

    parts = [
        as_written(signal[at : at + WINDOW], response[at : at + WINDOW + SHIFTS - 1])
        for at in range(len(signal) - WINDOW - SHIFTS + 2)
    ]
    errors = [
        np.abs(response[shift:] - signal[: len(signal) - shift]).mean() / np.abs(signal).mean()
        for shift in (0, 1)
    ]
    assert found.accuracy == pytest.approx(np.mean([accuracy for accuracy, _ in parts]), abs=1e-6)
    assert found.delay == pytest.approx(np.mean([delay for _, delay in parts]), abs=1e-6)
    assert found.precision == pytest.approx(max(0.0, 1 - min(errors)))
    assert found.strict <= found.total


@pytest.mark.skipif(not SIGNAL.is_file(), reason=f"no {SIGNAL}; set WATTSHIFT_REGULATION_SIGNAL")
@pytest.mark.parametrize(
    ("late_s", "total", "strict"),
    [(4, 0.984, 0.984), (10, 1.0, 0.963), (20, 0.955, 0.923), (30, 0.913, 0.883), (60, 0.799, 0.777)],
)
def test_a_plant_that_is_so_late_gets_the_score_that_is_known_of_it(
    late_s: int, total: float, strict: float
) -> None:
    """To a hundredth: implementations differ in how they count the first ten seconds of a delay."""
    with SIGNAL.open(newline="") as lines:
        signal = np.array([float(row["regd"]) for row in csv.DictReader(lines)])
    late = np.concatenate([np.zeros(late_s // 2), signal])[: len(signal)]

    found = score(signal[::EVERY], late[::EVERY])

    assert found.total == pytest.approx(total, abs=0.01)
    assert found.strict == pytest.approx(strict, abs=0.01)


def test_a_signal_that_stands_still_is_followed_by_standing_still() -> None:
    still = np.full(LEAST_SAMPLES, 0.5)

    assert score(still, still).total == 1.0
    assert score(still, still + 0.25).accuracy == 1.0
    assert score(still, still + 0.25).precision == 0.5
    assert score(np.zeros(LEAST_SAMPLES), np.zeros(LEAST_SAMPLES)).precision == 1.0


# -- of a stream ---------------------------------------------------------------------------------------------


def stream(seconds: int, every_s: int = 2, *, base: float = 500_000, band: float = 100_000) -> list[Asked]:
    return [
        Asked(
            Span(float(at), float(at + every_s)),
            Power(round(base + band * math.sin(at / 97) * math.sin(at / 31))),
            float(at),
        )
        for at in range(0, seconds, every_s)
    ]


def drawn(asked: list[Asked], *, late_s: float = 0.0, gap: Span | None = None) -> Metering:
    return Metering.of(
        Reading(Span(one.span.start_utc_s + late_s, one.span.end_utc_s + late_s), one.target.watts, 2.0)
        for one in asked
        if gap is None or not gap.overlaps(one.span)
    )


def scored(asked: list[Asked], meter: Metering, seconds: float, base: Power | None = None) -> Score | NoScore:
    found = regulation_of(asked, meter, Span(0.0, seconds), base=base)
    return found.score if isinstance(found, Regulation) else found


def test_a_stream_that_is_followed_has_a_full_score_and_one_that_is_followed_late_has_less() -> None:
    asked = stream(1200)

    exact, late = scored(asked, drawn(asked), 1200), scored(asked, drawn(stream(1260), late_s=-60), 1140)

    assert isinstance(exact, Score)
    assert exact.total == pytest.approx(1.0)
    assert isinstance(late, Score)
    assert late.total < 0.9


def test_the_score_of_each_hour_needs_the_five_minutes_after_it() -> None:
    asked = stream(7200)

    found = regulation_of(asked, drawn(asked), Span(0.0, 7200.0))

    assert isinstance(found, Regulation)
    assert [hour.span for hour in found.hours] == [Span(0.0, 3600.0), Span(3600.0, 7200.0)]
    assert all(isinstance(hour.score, Score) for hour in found.hours)


def test_an_hour_has_the_same_score_alone_as_among_others() -> None:
    """A site that stands still for the last five minutes of the hour, and follows again after it."""
    asked = stream(7200)
    still = Span(3300.0, 3600.0)
    meter = Metering.of(
        Reading(one.span, 500_000 if still.overlaps(one.span) else one.target.watts, 2.0) for one in asked
    )

    alone = regulation_of(asked, meter, Span(0.0, 3600.0), base=Power.kw(500))
    both = regulation_of(asked, meter, Span(0.0, 7200.0), base=Power.kw(500))

    assert isinstance(alone, Regulation)
    assert isinstance(both, Regulation)
    [hour], first = alone.hours, both.hours[0]
    assert isinstance(hour.score, Score)
    assert isinstance(first.score, Score)
    assert hour.score.accuracy == pytest.approx(first.score.accuracy)
    assert hour.score.total == pytest.approx(first.score.total)


def test_what_a_signal_swings_about_is_its_mean_unless_it_is_said() -> None:
    asked = stream(1200)

    by_mean = regulation_of(asked, drawn(asked), Span(0.0, 1200.0))
    said = regulation_of(asked, drawn(asked), Span(0.0, 1200.0), base=Power.kw(400))

    assert isinstance(by_mean, Regulation)
    assert isinstance(said, Regulation)
    assert by_mean.base_w == pytest.approx(500_000, abs=20_000)
    assert said.base_w == 400_000


@pytest.mark.parametrize("gap", [Span(0.0, 4.0), Span(600.0, 604.0), Span(1190.0, 1200.0)])
def test_one_sample_in_a_hundred_without_a_reading_is_as_the_one_beside_it(gap: Span) -> None:
    asked = stream(1200)

    found = scored(asked, drawn(asked, gap=gap), 1200)

    assert isinstance(found, Score)
    assert 0.98 < found.total < 1.0


@pytest.mark.parametrize(
    ("why", "asked", "meter_gap", "seconds"),
    [
        ("they come every 300 s", stream(3600, every_s=300), None, 3600),
        ("there is one at most", stream(2), None, 3600),
        ("10 minutes are needed", stream(300), None, 300),
        ("0 have no set-point, 6 no reading", stream(1200), Span(600.0, 660.0), 1200),
        ("60 have no set-point, 60 no reading", stream(1200), None, 1800),
    ],
)
def test_a_score_that_cannot_be_is_none_and_says_why(
    why: str, asked: list[Asked], meter_gap: Span | None, seconds: float
) -> None:
    found = scored(asked, drawn(asked, gap=meter_gap), seconds)

    assert isinstance(found, NoScore)
    assert why in found.why
