"""Events by the clock of their operator."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.grid import EventInterval, GridEvent, LimitSignal
from controller.domain.power import Power
from controller.grid.skew import FEWEST, NO_SKEW, Skew, heard, moved


def after(*behind_s: float) -> Skew:
    skew = NO_SKEW
    for one in behind_s:
        skew = heard(skew, one)
    return skew


def after_whole(*behind_s: float) -> list[float]:
    """How far ahead the clock was taken to be after each heartbeat, of stamps in whole seconds."""
    skew, ahead_s = NO_SKEW, []
    for one in behind_s:
        skew = heard(skew, one, is_whole=True)
        ahead_s.append(skew.ahead_s)
    return ahead_s


def event(*edges: float) -> GridEvent:
    pieces = tuple(
        EventInterval(start_utc_s=start, end_utc_s=end, signals=(LimitSignal(Power(5)),))
        for start, end in pairwise(edges)
    )
    return GridEvent(id="a", version_utc_s=1, source="test", intervals=pieces)


def edges(found: GridEvent) -> list[float]:
    return [found.intervals[0].start_utc_s, *(piece.end_utc_s for piece in found.intervals)]


def test_the_quickest_of_late_heartbeats_counts() -> None:
    assert after(1.7, 4.0, 1.6, 2.9).ahead_s == 1.6


def test_too_few_heartbeats_say_nothing() -> None:
    assert after(*[1.6] * (FEWEST - 1)).ahead_s == 0.0


@pytest.mark.parametrize("behind_s", [0.003, 0.49, -0.4])
def test_the_time_on_the_way_is_no_difference_of_clocks(behind_s: float) -> None:
    assert after(*[behind_s] * 8).ahead_s == 0.0


def test_a_clock_that_was_put_right_is_believed_at_once() -> None:
    assert after(*[3.0] * 8, 0.01).ahead_s == 0.0


def test_small_changes_do_not_move_events_to_and_fro() -> None:
    assert after(*[1.6] * 8, 1.3, 1.9).ahead_s == 1.6


def test_an_operator_that_stamps_whole_seconds_moves_no_event_to_and_fro() -> None:
    """Its heartbeats come 1.05 s apart: what is cut off of their stamps goes from nothing to a second."""
    cut_off = [round(1.05 * at % 1, 2) for at in range(80)]

    assert set(after_whole(*cut_off)) == {0.0}
    assert all(0.5 <= one <= 1.8 for one in after_whole(*(1.8 + cut for cut in cut_off))[FEWEST:])


def test_a_clock_that_is_behind_is_so_by_whole_seconds_too() -> None:
    assert after_whole(*[-2.0] * 8)[-1] == -2.0


def test_one_stamp_with_a_fraction_makes_them_all_count_as_they_are() -> None:
    skew = heard(after(*[1.6] * 7), 1.6, is_whole=True)

    assert skew.ahead_s == 1.6


@given(st.lists(st.floats(-1e6, 1e6), max_size=30))
def test_no_clock_moves_events_by_more_than_a_stamp_may_lie_ahead(behind_s: list[float]) -> None:
    assert abs(after(*behind_s).ahead_s) <= 5.0


def test_ahead_of_the_operator_an_event_ends_later_by_our_clock_and_begins_no_later() -> None:
    assert edges(moved(event(0, 10, 20), Skew(ahead_s=2.0))) == [0, 12, 22]


def test_behind_the_operator_an_event_begins_sooner_by_our_clock_and_ends_no_sooner() -> None:
    assert edges(moved(event(0, 10, math.inf), Skew(ahead_s=-2.0))) == [-2, 8, math.inf]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.floats(-5, 5))
def test_intervals_still_ascend_and_do_not_overlap(lengths: list[int], ahead_s: float) -> None:
    ends = [float(sum(lengths[: at + 1])) for at in range(len(lengths))]

    found = moved(event(0.0, *ends), Skew(ahead_s=ahead_s))

    assert all(piece.start_utc_s < piece.end_utc_s for piece in found.intervals)
    assert all(one.end_utc_s <= other.start_utc_s for one, other in pairwise(found.intervals))
