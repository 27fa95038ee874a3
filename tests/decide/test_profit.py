"""Machines that run for money: two thresholds, least times, and nothing that wears them in between."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.profit import (
    Bands,
    advance,
    bands,
    begin,
    best_ths_per_kw,
    judge,
    lifts,
    margins,
    may_run_for_money,
    moved,
    permitted,
)
from controller.domain.power import Power
from controller.domain.site import Thresholds
from tests.decide.builders import (
    FULL,
    LOW,
    NOW_S,
    SLEEP,
    at_point,
    device,
    gpu,
    inputs,
    miner,
    running,
    site,
)
from tests.decide.steps import decide

BAND = Thresholds(stop_below=0.0, start_above=0.01, least_on_s=600.0, least_off_s=300.0)


def verdict(
    *,
    running: bool,
    margin: float,
    for_s: float = 1e6,
    may_run: bool | None = None,
    band: Thresholds = BAND,
) -> bool:
    """Of one machine, that was to do what it does unless the test says otherwise."""
    said = np.array([running if may_run is None else may_run])
    found = may_run_for_money(
        said, np.array([running]), np.array([for_s]), np.array([margin]), bands(band, 1)
    )
    return bool(found[0])


# -- one machine -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("margin", "goes_on", "starts"),
    [
        (-0.02, False, False),
        (-1e-9, False, False),
        (0.0, True, False),
        (0.005, True, False),
        (0.01, True, False),
        (0.0100001, True, True),
        (5.0, True, True),
        (math.inf, True, True),
        (-math.inf, False, False),
        (math.nan, True, False),
    ],
)
def test_below_the_band_it_stops_above_it_starts_and_within_it_stays(
    margin: float, goes_on: bool, starts: bool
) -> None:
    assert verdict(running=True, margin=margin) is goes_on
    assert verdict(running=False, margin=margin) is starts


@pytest.mark.parametrize(("for_s", "goes_on"), [(0.0, True), (599.9, True), (600.0, False)])
def test_a_machine_that_was_started_runs_for_its_least_time(for_s: float, goes_on: bool) -> None:
    assert verdict(running=True, margin=-1.0, for_s=for_s) is goes_on


@pytest.mark.parametrize(("for_s", "starts"), [(0.0, False), (299.9, False), (300.0, True)])
def test_a_machine_that_was_stopped_stands_for_its_least_time(for_s: float, starts: bool) -> None:
    assert verdict(running=False, margin=1.0, for_s=for_s) is starts


@pytest.mark.parametrize("for_s", [0.0, 1e6])
def test_a_machine_that_stands_for_other_reasons_is_judged_at_once(for_s: float) -> None:
    assert verdict(running=False, may_run=True, margin=-1.0, for_s=for_s) is False
    assert verdict(running=True, may_run=False, margin=1.0, for_s=for_s) is True


def test_a_machine_that_something_else_stopped_goes_on_for_money_as_it_did() -> None:
    """An event is over: within the band what it earned before it is not asked to pay for its start."""
    on, off = np.array([True]), np.array([False])
    runs = begin(on, on, 0.0)

    stopped = advance(runs, off, 1_000.0, np.array([0.005]), bands(BAND, 1))

    assert stopped.goes_on.tolist() == [True]


def test_a_machine_that_earns_more_than_where_a_band_ends_is_run_whatever_its_start_costs() -> None:
    off = np.array([False])
    said = begin(off, off, 0.0)
    no_band = replace(BAND, start_above=BAND.stop_below)

    above, unbanded = (advance(said, off, 1_000.0, np.array([0.1]), bands(it, 1)) for it in (BAND, no_band))

    assert (above.may_run.tolist(), above.goes_on.tolist()) == ([True], [True])
    assert (unbanded.may_run.tolist(), unbanded.goes_on.tolist()) == ([True], [False])


def test_the_time_of_a_machine_counts_from_its_own_change_and_not_from_its_verdict() -> None:
    on, off = np.array([True]), np.array([False])
    said = begin(off, off, 0.0)

    allowed = advance(said, off, 1_000.0, np.array([0.1]), bands(BAND, 1))
    started = advance(allowed, on, 1_500.0, np.array([0.1]), bands(BAND, 1))
    too_soon = advance(started, on, 2_099.0, np.array([-0.1]), bands(BAND, 1))
    stopped = advance(too_soon, on, 2_100.0, np.array([-0.1]), bands(BAND, 1))

    assert [bool(one.may_run[0]) for one in (allowed, started, too_soon, stopped)] == [
        True,
        True,
        True,
        False,
    ]
    assert [float(one.since_s[0]) for one in (allowed, started, stopped)] == [0.0, 1_500.0, 1_500.0]


def test_verdicts_are_compared_as_values() -> None:
    on, off = np.array([True]), np.array([False])

    assert begin(on, on, 1.0) == begin(on, on, 1.0)
    assert begin(on, on, 1.0) != begin(off, on, 1.0)
    assert begin(on, on, 1.0) != begin(on, off, 1.0)
    assert begin(on, on, 1.0) != begin(on, on, 2.0)
    assert begin(on, on, 1.0) != "may run"


def test_a_controller_that_starts_leaves_every_machine_as_it_is_for_its_least_time() -> None:
    running, loss_and_gain = np.array([True, False]), np.array([-1.0, 1.0])
    now = begin(running, running, 1_000.0)

    soon = advance(now, running, 1_299.0, loss_and_gain, bands(BAND, 2))
    later = advance(soon, running, 1_600.0, loss_and_gain, bands(BAND, 2))

    assert soon.may_run.tolist() == [True, False]
    assert later.may_run.tolist() == [False, True]


def test_devices_may_each_have_their_own_thresholds() -> None:
    own = Bands(
        stop_below=np.array([0.0, -0.05]),
        start_above=np.array([0.0, 0.0]),
        least_on_s=np.zeros(2),
        least_off_s=np.zeros(2),
    )

    on = np.array([True, True])

    found = may_run_for_money(on, on, np.full(2, 1e6), np.array([-0.01, -0.01]), own)

    assert found.tolist() == [False, True]


def test_under_a_set_point_everybody_may_run_and_the_verdicts_stay_what_they_are() -> None:
    said = np.array([True, False])
    verdicts = begin(said, said, 0.0)

    assert permitted(verdicts, meets_target=True).tolist() == [True, True]
    assert permitted(verdicts, meets_target=False).tolist() == [True, False]


# -- what a kWh earns --------------------------------------------------------------------------------------


def test_a_margin_is_per_kwh_and_a_machine_that_draws_nothing_has_no_bound() -> None:
    found = margins(np.array([0.35, -0.35, 1.0, -1.0, 0.0]), np.array([3500.0, 3500.0, 0.0, 0.0, 0.0]))

    assert found.tolist() == pytest.approx([0.1, -0.1, math.inf, -math.inf, 0.0])


# -- a fleet -----------------------------------------------------------------------------------------------


def test_a_fleet_is_judged_by_the_best_of_each_machines_points_and_gpus_always_may_run() -> None:
    fleet = best_ths_per_kw([gpu(), miner("new"), miner("old", points=(SLEEP, replace(FULL, rate=100.0)))])
    prices = {"usd_per_ths_day": 0.05, "usd_per_kwh": 0.08}

    first = judge(None, fleet, np.array([False, True, True]), 0.0, thresholds=BAND, **prices)
    then = judge(first, fleet, np.array([False, True, True]), 600.0, thresholds=BAND, **prices)

    # 0.08 USD/kWh: 150 TH/s at 2.4 kW earn 0.13 USD/kWh, 200 at 3.5 kW 0.12, 100 at 3.5 kW 0.06.
    assert first.may_run.tolist() == [True, True, True]
    assert then.may_run.tolist() == [True, True, False]


def test_the_best_point_keeps_a_machine_on_where_its_highest_would_not() -> None:
    fleet = best_ths_per_kw([miner()])
    prices = {"usd_per_ths_day": 0.05, "usd_per_kwh": 0.125}
    running = np.array([True])

    first = judge(None, fleet, running, 0.0, thresholds=BAND, **prices)
    then = judge(first, fleet, running, 1e4, thresholds=BAND, **prices)

    assert then.may_run.tolist() == [True]


def test_a_machine_without_a_point_above_its_floor_is_no_machine_to_judge() -> None:
    stuck, free = miner("stuck", points=(FULL,)), miner("free", points=(replace(SLEEP, power=Power(0)), FULL))
    nothing = miner("nothing", points=(replace(SLEEP, power=Power(-1)), replace(LOW, power=Power(0))))

    found = best_ths_per_kw([stuck, free, nothing])

    assert np.isnan(found).tolist() == [True, False, True]
    assert found[1] == pytest.approx(200 / 3.5)


def test_at_the_start_a_machine_that_stands_is_held_down_only_if_it_would_be_stopped_now() -> None:
    fleet = best_ths_per_kw([miner("old", points=(SLEEP, replace(FULL, rate=100.0))), miner("new")])
    prices = {"usd_per_ths_day": 0.05, "usd_per_kwh": 0.129}  # 0.001 USD/kWh are left to the new one

    first = judge(None, fleet, np.array([False, False]), 0.0, thresholds=BAND, **prices)

    assert first.may_run.tolist() == [False, True]


def test_a_machine_that_is_to_run_is_lifted_just_above_its_floor_and_no_higher() -> None:
    losing, earning, floor_only = [-0.01, -0.3, -0.2], [-0.01, -0.3, 0.2], [-0.01]
    worth = np.array([*losing, *earning, *losing, *floor_only])
    watts = np.array([0, 1_000, 2_000] * 3 + [0])
    start = np.array([0, 3, 6, 9, 10])

    lift = lifts(start, watts, worth, np.array([True, True, False, True]))

    assert lift.tolist() == pytest.approx([0.19, 0.0, 0.0, 0.0], abs=3e-6)
    assert worth[2] + lift[0] > worth[0] > worth[1] + lift[0]


def test_a_machine_that_earns_as_much_asleep_is_lifted_all_the_same() -> None:
    lift = lifts(np.array([0, 2]), np.array([0, 1_000]), np.array([-0.01, -0.01]), np.array([True]))

    assert lift.tolist() == [pytest.approx(1e-6)]


def test_of_machines_that_are_lifted_a_kwh_is_worth_least_of_those_that_lose_most_with_one() -> None:
    """They draw 3, 2, 1 and 1 kW, and lose 0.01, 0.02, 0.03 and 0.5 USD with each kWh."""
    kilowatts, lost = np.array([3.0, 2.0, 1.0, 1.0]), np.array([0.03, 0.04, 0.03, 0.5])
    watts = np.ravel([[0.0, 1_000.0 * each] for each in kilowatts]).astype(np.int64)
    worth = np.ravel([[-0.01, -0.01 - each] for each in lost])

    lift = lifts(np.arange(0, 10, 2), watts, worth, np.ones(4, np.bool_))

    per_kwh = (lift - lost) / kilowatts
    assert (np.diff(per_kwh) < 0).all()
    assert (per_kwh > 0).all()


def test_a_standing_machine_that_earns_its_cost_to_the_cent_may_run_from_the_start() -> None:
    fleet = np.array([40.0])
    even = {"usd_per_ths_day": 0.06, "usd_per_kwh": 40.0 * (0.06 / 24)}

    assert judge(None, fleet, np.array([False]), 0.0, thresholds=BAND, **even).may_run.tolist() == [True]


def test_nobody_needs_no_lift() -> None:
    assert lifts(np.array([0]), np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_)).tolist() == []


def test_when_devices_come_or_go_those_that_stay_keep_their_verdicts_and_their_times() -> None:
    """`late` comes and `gone` goes, so that there are as many as before."""
    dear = {"usd_per_ths_day": 0.05, "usd_per_kwh": 0.5}
    gone, b, late = miner("gone"), miner("b"), miner("late")
    before = judge(None, best_ths_per_kw([gone, b]), np.array([True, False]), 0.0, thresholds=BAND, **dear)

    now = np.array([False, True])
    known = moved(before, np.array([1, -1]), now, 1e6)

    after = judge(known, best_ths_per_kw([b, late]), now, 1e6, thresholds=BAND, **dear)

    assert (after.may_run.tolist(), after.running.tolist()) == ([False, True], [False, True])
    assert after.since_s.tolist() == [0.0, 1e6]


def test_a_machine_that_comes_to_a_site_takes_no_time_from_the_others() -> None:
    """They were started for money, and have run for half of their least time."""
    here, specs = site(profit=BAND), (miner("b"), miner("c"))
    said = [at_point(spec, FULL) for spec in specs]
    state, _ = decide(here, running({spec.id: device(FULL) for spec in specs}), inputs(*specs, readings=said))
    assert state.verdicts is not None
    half_s = NOW_S - BAND.least_on_s / 2
    state = replace(state, verdicts=replace(state.verdicts, since_s=np.full(2, half_s)))
    more = (miner("a"), *specs)

    after, _ = decide(here, state, inputs(*more, readings=[at_point(miner("a"), FULL), *said]))

    assert after.verdicts is not None
    assert after.verdicts.since_s.tolist() == [NOW_S, half_s, half_s]


def test_a_site_without_devices_has_no_verdicts() -> None:
    nobody = np.zeros(0, np.bool_)

    found = judge(
        None, best_ths_per_kw([]), nobody, 0.0, usd_per_ths_day=0.05, usd_per_kwh=0.05, thresholds=BAND
    )

    assert found.may_run.tolist() == []


# -- what must always be true ------------------------------------------------------------------------------

MARGINS = st.floats(min_value=-0.1, max_value=0.1) | st.sampled_from([0.0, 0.01, math.inf, -math.inf])
SECONDS = st.floats(min_value=0, max_value=2_000)


@st.composite
def thresholds(draw: st.DrawFn) -> Thresholds:
    low, high = sorted((draw(st.floats(-0.05, 0.05)), draw(st.floats(-0.05, 0.05))))
    return Thresholds(stop_below=low, start_above=high, least_on_s=draw(SECONDS), least_off_s=draw(SECONDS))


@given(
    band=thresholds(),
    course=st.lists(
        st.tuples(
            st.floats(min_value=0.1, max_value=600),
            st.lists(MARGINS, min_size=3, max_size=3),
            st.lists(st.booleans(), min_size=3, max_size=3),
        ),
        max_size=30,
    ),
    running=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_no_machine_changes_for_money_sooner_than_its_least_time_or_within_the_band(
    band: Thresholds, course: list[tuple[float, list[float], list[bool]]], running: list[bool]
) -> None:
    """The machines do what is said, or are late to: a third thing may hold them back at any time."""
    now_s, at = 0.0, np.array(running)
    verdicts = begin(at, at, now_s)
    changed_s = [0.0, 0.0, 0.0]

    for wait_s, margin, obeys in course:
        now_s += wait_s
        after = advance(verdicts, at, now_s, np.array(margin), bands(band, 3))
        for one in range(3):
            was, runs = bool(verdicts.may_run[one]), bool(at[one])
            if was != after.may_run[one]:
                assert margin[one] < band.stop_below if was else margin[one] > band.start_above
                if was == runs:  # the machine is to change with it
                    assert now_s - changed_s[one] >= (band.least_on_s if was else band.least_off_s)
        told = np.where(obeys, after.may_run, at)
        changed_s = [now_s if told[one] != at[one] else changed_s[one] for one in range(3)]
        verdicts, at = after, told


@given(band=thresholds(), margin=MARGINS, running=st.booleans())
def test_once_its_least_time_is_over_a_price_outside_the_band_decides_alone(
    band: Thresholds, margin: float, running: bool
) -> None:
    found = verdict(running=running, margin=margin, for_s=2_000.0, band=band)

    if margin < band.stop_below:
        assert not found
    elif margin > band.start_above:
        assert found
    else:
        assert found is running


@given(
    band=thresholds(),
    margin=st.lists(MARGINS, min_size=1, max_size=20),
    data=st.data(),
)
def test_many_machines_at_once_are_judged_as_each_alone(
    band: Thresholds, margin: list[float], data: st.DataObject
) -> None:
    count = len(margin)
    flags = st.lists(st.booleans(), min_size=count, max_size=count)
    said, running = data.draw(flags), data.draw(flags)
    for_s = data.draw(st.lists(SECONDS, min_size=count, max_size=count))

    together = may_run_for_money(
        np.array(said), np.array(running), np.array(for_s), np.array(margin), bands(band, count)
    )

    alone = [
        verdict(may_run=may, running=does, margin=one, for_s=held_s, band=band)
        for may, does, one, held_s in zip(said, running, margin, for_s, strict=True)
    ]
    assert together.tolist() == alone
