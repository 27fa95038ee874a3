"""The demo's verdict: it must be able to say that the cap was not kept."""

from __future__ import annotations

import pytest

from simulators.demo.judge import Row, Sample, Window, as_table, compliant_after_s, energy_kwh, excess, mean_w

WINDOW = Window(limit_w=100.0, start_s=10.0, end_s=20.0)


def power(*steps: tuple[float, float], until_s: float = 30.0) -> list[Sample]:
    """One sample a second; each step holds from its second on."""
    return [
        (float(at_s), next(watts for from_s, watts in reversed(steps) if from_s <= at_s))
        for at_s in range(round(until_s))
    ]


def test_a_site_below_the_limit_has_no_excess() -> None:
    over = excess(power((0, 200.0), (10, 100.0)), WINDOW.limit_w, WINDOW.start_s, WINDOW.end_s)

    assert (over.watts, over.seconds) == (0.0, 0.0)


def test_one_second_one_watt_above_the_limit_is_an_excess() -> None:
    over = excess(power((0, 90.0), (15, 101.0), (16, 90.0)), WINDOW.limit_w, WINDOW.start_s, WINDOW.end_s)

    assert (over.watts, over.seconds) == (1.0, 1.0)


def test_what_happens_outside_the_window_is_no_excess_of_it() -> None:
    over = excess(power((0, 500.0), (10, 90.0), (20, 500.0)), WINDOW.limit_w, WINDOW.start_s, WINDOW.end_s)

    assert over.seconds == 0.0


def test_compliance_counts_from_the_last_second_above_and_not_from_the_first_below() -> None:
    samples = power((0, 200.0), (12, 90.0), (15, 150.0), (16, 90.0))

    assert compliant_after_s(samples, WINDOW) == 5.0


def test_a_site_that_was_down_in_time_complies_at_once() -> None:
    assert compliant_after_s(power((0, 200.0), (8, 99.0)), WINDOW) == 0.0


def test_energy_is_power_times_time() -> None:
    assert energy_kwh(power((0, 3_600_000.0)), 10.0, 20.0) == pytest.approx(10.0)


def test_a_mean_takes_only_what_lies_in_its_span() -> None:
    assert mean_w(power((0, 1.0), (10, 3.0), (20, 9.0)), 10.0, 20.0) == 3.0


def test_a_failed_row_is_shown_as_failed() -> None:
    table = as_table("verdict", [Row(what="cap", value="1 kW over", passed=False)])

    assert "FAILED" in str(list(table.columns[2].cells))
