"""Relative set-points: relative to what the site drew by itself, once, and never to what they made of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.relative import HISTORY_S, LEAST_S, Before, Drawn, begun, drawn, steered
from controller.decide.snapshot import State
from controller.decide.timeline import grid_now
from controller.decide.words import CapReason
from controller.domain.devices import DeviceSpec
from controller.domain.grid import GridEvent, RelativeTargetSignal, Signal, TargetSignal
from controller.domain.power import Limit, Power
from controller.domain.site import Site
from tests.decide.builders import NOW_S, UTC_S, bound, event, interval, miner, node, site
from tests.decide.strategies import bounded
from tests.decide.world import World, awake

SHIFT_S = UTC_S - NOW_S
FOUR = tuple(miner(f"m{at}", settle_up_s=30.0, dwell_s=5.0) for at in range(4))


def by(watts: int) -> RelativeTargetSignal:
    return RelativeTargetSignal(Power(watts))


def known(watts: int, *, since_s: float = 60.0, at_s: float = NOW_S, metered: bool = True) -> Before:
    """A site that has drawn `watts` for so long, and nothing frozen."""
    moments = range(int(at_s - since_s), int(at_s))
    return Before(lately=tuple(Drawn(float(moment), watts, metered) for moment in moments))


def asked_w(*events: GridEvent, now_s: float = NOW_S) -> int | None:
    grid = grid_now(events, SHIFT_S + now_s, frozenset(), site(node("hall")))
    return grid.target.power.watts if isinstance(grid.target, Limit) else None


def frozen_w(before: Before, *events: GridEvent, now_s: float = NOW_S) -> dict[str, int]:
    after = begun(before, events, SHIFT_S + now_s, now_s)
    return {name: power.watts for name, power in after.frozen.items()}


def world(*specs: DeviceSpec, here: Site | None = None) -> World:
    """All awake, drawing 3,500 W each, metered."""
    return World(
        here if here is not None else site(limit_w=20_000, margin=0.0, meter="main"),
        [awake(spec, rise_s=10.0) for spec in specs or FOUR],
        meter_lag_s=1.0,
    )


# --- what is frozen


def test_an_event_is_relative_to_the_mean_of_the_minute_before_it() -> None:
    before = Before(lately=(Drawn(NOW_S - 30, 900, True), Drawn(NOW_S - 1, 1_101, True)))

    assert frozen_w(before, event("e", by(-100))) == {"e": 1_000}


def test_nothing_is_frozen_before_the_event_begins_to_ask_for_a_change() -> None:
    later = event("e", by(-100), start_s=NOW_S + 0.1)

    assert frozen_w(known(1_000), later) == {}
    assert frozen_w(known(1_000), later, now_s=NOW_S + 0.1) == {"e": 1_000}


def test_an_event_that_only_limits_freezes_nothing() -> None:
    assert frozen_w(known(1_000), event(limit_w=5), event("t", target_w=5)) == {"t": 1_000}


def test_what_is_frozen_stays_through_intervals_gaps_and_versions_until_the_event_is_over() -> None:
    pieces = (interval(NOW_S, NOW_S + 10, by(-100)), interval(NOW_S + 20, NOW_S + 30, by(-300)))
    first = replace(event("e"), intervals=pieces)
    before = begun(known(1_000), [first], SHIFT_S + NOW_S, NOW_S)
    before = replace(before, lately=known(700, at_s=NOW_S + 15).lately)

    for now_s in (NOW_S + 5, NOW_S + 15, NOW_S + 25):
        assert frozen_w(before, first, now_s=now_s) == {"e": 1_000}
    assert frozen_w(before, replace(first, version_utc_s=UTC_S + 9), now_s=NOW_S + 15) == {"e": 1_000}
    assert frozen_w(before, first, now_s=NOW_S + 30) == {}


def test_an_event_that_is_put_off_is_relative_to_what_is_drawn_when_it_begins() -> None:
    before = begun(known(1_000), [event("e", by(-100))], SHIFT_S + NOW_S, NOW_S)
    put_off = event("e", by(-100), start_s=NOW_S + 600)

    before = begun(before, [put_off], SHIFT_S + NOW_S + 1, NOW_S + 1)
    before = replace(before, lately=known(2_000, at_s=NOW_S + 600).lately)

    assert frozen_w(before, put_off, now_s=NOW_S + 600) == {"e": 2_000}


def test_what_an_earlier_process_froze_is_believed_before_anything_that_is_seen_now() -> None:
    carried = replace(event("e", by(-100), start_s=NOW_S - 500), drawn_before=Power(1_000))

    assert frozen_w(known(600), carried) == {"e": 1_000}
    assert frozen_w(Before(), carried) == {"e": 1_000}


def test_a_controller_that_knows_the_site_too_little_waits_and_asks_for_nothing() -> None:
    begun_long_ago = event("e", by(-100), start_s=NOW_S - 500)

    assert frozen_w(known(1_000, since_s=LEAST_S - 2), begun_long_ago) == {}
    assert frozen_w(known(1_000, since_s=LEAST_S), begun_long_ago) == {"e": 1_000}
    assert asked_w(begun_long_ago) is None


def test_what_the_meter_showed_counts_before_what_devices_claim() -> None:
    lately = (
        *known(1_000, at_s=NOW_S - 20, since_s=20).lately,
        *known(5_000, since_s=20, metered=False).lately,
    )

    assert frozen_w(Before(lately=lately), event("e", by(-1))) == {"e": 1_000}
    assert frozen_w(known(5_000, metered=False), event("e", by(-1))) == {"e": 5_000}


def test_no_more_than_a_minute_is_remembered_whatever_wakes_the_loop() -> None:
    before = Before()
    for tick in range(1_000):
        before = drawn(before, Drawn(NOW_S + tick * 0.2, 1_000, True))

    assert before.lately[-1].at_s - before.lately[0].at_s < HISTORY_S
    assert len(before.lately) <= HISTORY_S


def test_a_pause_between_two_versions_is_none() -> None:
    before = begun(known(1_000), [event("e", by(-100))], SHIFT_S + NOW_S, NOW_S)
    soon = event("e", by(-300), start_s=NOW_S + 60)

    before = begun(before, [soon], SHIFT_S + NOW_S + 1, NOW_S + 1)

    assert frozen_w(replace(before, lately=known(700).lately), soon, now_s=NOW_S + 60) == {"e": 1_000}


def test_what_a_site_draws_while_it_comes_back_from_a_set_point_is_not_what_it_draws_by_itself() -> None:
    before = steered(known(1_000), NOW_S)

    for after_s in range(1, 180):
        before = drawn(before, Drawn(NOW_S + after_s, 500, True))
    settled = drawn(before, Drawn(NOW_S + 181, 990, True))

    assert frozen_w(before, event("e", by(-1)), now_s=NOW_S + 180) == {"e": 1_000}
    assert [past.watts for past in settled.lately] == [990]


# --- what is asked


@pytest.mark.parametrize(("change_w", "target_w"), [(-300, 700), (0, 1_000), (250, 1_250), (-1_500, 0)])
def test_the_target_is_what_was_drawn_before_and_the_change_and_never_below_zero(
    change_w: int, target_w: int
) -> None:
    assert asked_w(replace(event("e", by(change_w)), drawn_before=Power(1_000))) == target_w


def test_a_limit_below_a_relative_set_point_always_wins() -> None:
    change = replace(event("e", by(-300)), drawn_before=Power(1_000))

    grid = grid_now((change, event("cap", limit_w=400)), UTC_S, frozenset(), site())

    assert (grid.limit, grid.limit_reason, grid.limit_event) == (bound(400), CapReason.EVENT, "cap")


def test_a_change_on_top_of_another_set_point_is_relative_to_that() -> None:
    base = event("base", target_w=5_000, priority=5)
    change = replace(event("e", by(-300), priority=1), drawn_before=Power(1_000))

    assert asked_w(change, base) == 4_700
    assert asked_w(change) == 700
    assert asked_w(replace(change, priority=9), base) == 5_000


def test_two_changes_at_once_add_up() -> None:
    one = replace(event("one", by(-300), priority=1), drawn_before=Power(900))
    two = replace(event("two", by(-200), priority=2), drawn_before=Power(1_000))

    assert asked_w(one, two) == asked_w(two, one) == 500


changes = st.builds(
    lambda name, watts, priority, before_w: replace(
        event(name, by(watts), priority=priority),
        drawn_before=None if before_w is None else Power(before_w),
    ),
    st.sampled_from("abcd"),
    st.integers(-2_000, 2_000),
    st.integers(0, 2),
    st.one_of(st.none(), st.integers(0, 5_000)),
)


@given(st.lists(changes, max_size=4, unique_by=lambda one: one.id), st.integers(0, 60))
def test_the_order_of_events_changes_neither_what_is_frozen_nor_what_is_asked(
    events: list[GridEvent], since_s: int
) -> None:
    before = known(1_000, since_s=since_s)

    found = {
        (tuple(sorted(frozen_w(before, *order).items())), asked_w(*begun_events(before, order)))
        for order in permutations(events)
    }

    assert len(found) == 1


def begun_events(before: Before, events: tuple[GridEvent, ...]) -> tuple[GridEvent, ...]:
    return begun(before, events, UTC_S, NOW_S).told(events)


# --- across a restart


@pytest.mark.parametrize("first", [TargetSignal(Power(7_000)), by(-7_000)], ids=["absolute", "relative"])
def test_after_a_restart_in_a_set_point_the_next_one_is_relative_to_what_was_drawn_before_the_first(
    first: Signal,
) -> None:
    plant = world()
    plant.run(60)
    start_s = plant.now_s
    events = (
        event("a", first, start_s=start_s, end_s=start_s + 60),
        event("b", by(-3_500), start_s=start_s + 60, end_s=start_s + 120),
    )
    plant.events = events
    plant.run(30)

    plant.events = plant.state.before.told(events)  # as they are kept
    plant.state = State()
    plant.run(31)
    plant.events = plant.events[1:]
    plant.run(30)

    assert follows(plant, 10_500)


def test_what_an_earlier_process_froze_is_no_ground_long_after_the_set_point() -> None:
    over = replace(event("a", by(-100), end_s=NOW_S + 1), drawn_before=Power(1_000))
    before = steered(begun(Before(), [over], UTC_S, NOW_S), NOW_S)

    assert frozen_w(before, event("b", by(-100)), now_s=NOW_S + 100) == {"b": 1_000}
    assert frozen_w(before, event("b", by(-100)), now_s=NOW_S + 300) == {}


# --- what the site does


def follows(plant: World, watts: int) -> bool:
    """Whether the site is asked for `watts` and, by whole machines, draws it."""
    return plant.plan.cap == bound(watts) and watts - 2_500 <= plant.watts() <= watts * 1.01


def test_the_site_sheds_by_as_much_as_it_is_told_and_comes_back() -> None:
    plant = world()
    plant.run(60)
    start_s = plant.now_s
    plant.events = (event("e", by(-7_000), start_s=start_s, end_s=start_s + 120),)

    plant.run(60)
    sheds = follows(plant, 7_000)
    plant.run(120)

    assert sheds
    assert plant.watts() == 14_000
    assert plant.breaches == []


def test_the_same_change_asked_for_in_one_event_after_the_other_does_not_add_up() -> None:
    plant = world()
    plant.run(60)
    start_s = plant.now_s
    plant.events = tuple(
        event(f"e{at}", by(-3_400), start_s=start_s + at * 60, end_s=start_s + at * 60 + 60)
        for at in range(4)
    )

    for _ in range(4):
        plant.run(55)
        assert follows(plant, 10_600)
        plant.run(5)


def test_looping_intervals_with_several_values_are_all_relative_to_the_same_draw() -> None:
    plant = world()
    plant.run(60)
    start_s = plant.now_s
    pieces = tuple(
        interval(start_s + at * 60, start_s + at * 60 + 60, by(watts))
        for at, watts in enumerate((-3_400, -7_000, -3_400, -7_000))
    )
    plant.events = (replace(event("e"), intervals=pieces),)

    for watts in (10_600, 7_000, 10_600, 7_000):
        plant.run(58)
        assert follows(plant, watts)
        plant.run(2)


def test_a_relative_event_without_a_meter_goes_by_what_devices_claim() -> None:
    plant = world(here=site(limit_w=20_000, margin=0.0))
    plant.run(60)
    plant.events = (event("e", by(-7_000), start_s=plant.now_s),)

    plant.run(60)

    assert follows(plant, 7_000)


def test_a_relative_event_whose_meter_fell_silent_before_it_goes_by_the_last_minute_of_the_meter() -> None:
    plant = world()
    plant.other_w["site"] = 1_000.0  # load that only the meter sees
    plant.run(90)
    plant.dead_meters.add("main")
    plant.run(20)
    plant.events = (event("e", by(-7_000), start_s=plant.now_s),)

    plant.run(60)

    assert plant.plan.cap == bound(8_000)


def test_a_limit_that_begins_during_a_relative_event_holds_and_the_change_comes_back_after_it() -> None:
    plant = world()
    plant.run(60)
    start_s = plant.now_s
    change = event("e", by(-3_400), start_s=start_s)
    plant.events = (change, event("cap", limit_w=5_000, start_s=start_s + 60, end_s=start_s + 120))

    plant.run(110)
    capped = plant.plan.cap
    plant.run(80)

    assert capped == bound(5_000)
    assert follows(plant, 10_600)


@bounded(6)
@given(st.integers(0, 90))
def test_a_restart_in_the_middle_of_an_event_changes_nothing_of_what_is_asked(after_s: int) -> None:
    """What was frozen is on the disk a moment after the tick that froze it, and comes with the event."""
    plant = world()
    plant.run(60)
    change = event("e", by(-7_000), start_s=plant.now_s)
    plant.events = (change,)
    plant.run(1 + after_s)
    plant.events = (replace(change, drawn_before=plant.plan.standings[0].drawn_before),)

    plant.state = State()
    plant.run(60)

    assert plant.plan.cap == bound(7_000)
