"""A meter that stands still while the model of what it measures does not."""

from __future__ import annotations

import pytest

from controller.decide.stuck import Still


def still(at_s: float, modelled_w: float, *, metered_w: int = 40_000, off_w: float = 0.0) -> Still:
    return Still(metered_w, at_s, off_w, least_w=modelled_w, most_w=modelled_w)


def test_what_the_model_did_while_a_meter_may_be_late_convicts_no_meter() -> None:
    first = still(0.0, 40_000, off_w=1.0)

    late = still(6.0, 50_000, off_w=5.0).on(first)

    assert not late.outrun
    assert not still(7.0, 50_000).on(late).outrun
    assert (late.since_s, late.off_w) == (0.0, 1.0)


@pytest.mark.parametrize("modelled_w", [40_000, 60_000])
def test_a_meter_is_outrun_whichever_way_the_model_goes_and_comes_back(modelled_w: float) -> None:
    stood = still(6.0, 50_000).on(still(0.0, 50_000))

    gone = still(7.0, modelled_w).on(stood)

    assert gone.outrun
    assert still(8.0, 50_000).on(gone).outrun


@pytest.mark.parametrize(
    ("least_w", "most_w", "expected"),
    [(50_000, 51_000, False), (50_000, 51_001, True), (200_000, 202_000, False), (200_000, 202_001, True)],
)
def test_a_meter_is_outrun_by_more_than_a_hundredth_and_by_more_than_its_step(
    least_w: float, most_w: float, expected: bool
) -> None:
    assert Still(40_000, 0.0, 0.0, least_w=least_w, most_w=most_w).outrun is expected


def test_a_meter_that_moves_by_a_watt_begins_anew() -> None:
    outrun = Still(40_000, 0.0, 0.0, least_w=40_000, most_w=60_000)

    assert not still(9.0, 60_000, metered_w=40_001).on(outrun).outrun
