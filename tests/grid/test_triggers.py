"""The site's own reasons to curtail, as events."""

from __future__ import annotations

import math
from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest

from controller.domain.grid import GridEvent, LimitSignal
from controller.domain.power import Power
from controller.grid import ledger as ledgers
from controller.grid.entries import Ledger
from controller.grid.triggers import (
    Cut,
    PeakHour,
    PeakRule,
    Schedule,
    Side,
    Source,
    Standing,
    Threshold,
    curtail,
    differences,
    end_curtailment,
    follow_rules,
    judged,
    manual,
    peak_events,
    remembered,
    schedule_events,
    threshold_event,
)

CUT = Cut(limit=Power.kw(60))
CHICAGO = ZoneInfo("America/Chicago")
EVENING = Schedule(
    id="evening", days=frozenset(range(5)), start=time(16), end=time(20), zone=CHICAGO, cut=CUT
)
PRICE = Threshold(
    id="scarcity",
    source=Source.PRICE,
    side=Side.ABOVE,
    trip=0.15,
    restore=0.12,
    for_s=60,
    restore_for_s=300,
    hold_s=0,
    cut=CUT,
)
FREQUENCY = Threshold(
    id="under",
    source=Source.FREQUENCY,
    side=Side.BELOW,
    trip=59.85,
    restore=59.95,
    for_s=0,
    restore_for_s=10,
    hold_s=100,
    cut=CUT,
)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def windows(events: tuple[GridEvent, ...]) -> list[tuple[float, float]]:
    return [(event.start_utc_s, event.end_utc_s) for event in events]


# --- schedules


def test_a_schedule_announces_its_next_window_a_day_ahead() -> None:
    found = schedule_events(EVENING, at("2026-11-26T15:59:00-06:00"))  # a Thursday

    assert [event.id for event in found] == ["schedule/evening/2026-11-26"]
    assert windows(found) == [(at("2026-11-26T16:00:00-06:00"), at("2026-11-26T20:00:00-06:00"))]


def test_a_schedule_keeps_its_window_until_its_end_and_knows_its_days() -> None:
    during = schedule_events(EVENING, at("2026-11-27T19:59:59-06:00"))  # Friday; nothing on Saturday
    after = schedule_events(EVENING, at("2026-11-27T20:00:00-06:00"))
    sunday = schedule_events(EVENING, at("2026-11-29T17:00:00-06:00"))

    assert [event.id for event in during] == ["schedule/evening/2026-11-27"]
    assert after == ()
    assert [event.id for event in sunday] == ["schedule/evening/2026-11-30"]


def test_a_window_past_midnight_belongs_to_the_day_it_begins() -> None:
    night = Schedule(id="night", days=frozenset({4}), start=time(22), end=time(6), zone=CHICAGO, cut=CUT)

    [found] = schedule_events(night, at("2026-11-28T05:00:00-06:00"))  # Saturday morning

    assert windows((found,)) == [(at("2026-11-27T22:00:00-06:00"), at("2026-11-28T06:00:00-06:00"))]


@pytest.mark.parametrize(("day", "hours"), [("2026-11-01", 9), ("2026-03-08", 7), ("2026-11-02", 8)])
def test_a_window_goes_by_the_wall_clock_when_that_is_changed(day: str, hours: int) -> None:
    whole = Schedule(id="night", days=frozenset(range(7)), start=time(0), end=time(8), zone=CHICAGO, cut=CUT)

    found = {event.id: event for event in schedule_events(whole, at(f"{day}T00:30:00-06:00") - 3600)}

    event = found[f"schedule/night/{day}"]
    assert event.end_utc_s - event.start_utc_s == hours * 3600


# --- thresholds


def run(rule: Threshold, *looks: tuple[float, float | None], start: Standing | None = None) -> list[bool]:
    standing = start or Standing()
    tripped = []
    for now_s, value in looks:
        standing = judged(rule, standing, value, now_s)
        tripped.append(standing.tripped_utc_s is not None)
    return tripped


def test_a_price_must_last_to_trip_and_to_clear() -> None:
    looks = [
        (0, 0.2),
        (30, 0.1),
        (40, 0.2),
        (99, 0.2),
        (100, 0.2),
        (200, 0.13),
        (300, 0.11),
        (599, 0.11),
        (600, 0.1),
    ]

    assert run(PRICE, *looks) == [False, False, False, False, True, True, True, True, False]


def test_between_the_two_thresholds_nothing_changes() -> None:
    assert run(PRICE, (0, 0.14), (1000, 0.14)) == [False, False]
    assert run(PRICE, (0, 0.14), (1000, 0.14), start=Standing(tripped_utc_s=-1)) == [True, True]


def test_a_low_frequency_trips_at_once_and_is_held() -> None:
    looks = [(0, 59.9), (1, 59.84), (2, 60.0), (50, 60.0), (100, 60.0), (101, 60.0)]

    assert run(FREQUENCY, *looks) == [False, True, True, True, True, False]


def test_an_unknown_value_neither_trips_nor_clears() -> None:
    assert run(FREQUENCY, (0, None), (1000, None)) == [False, False]
    assert run(
        FREQUENCY, (0, 60.0), (200, None), (201, 60.0), (205, 60.0), start=Standing(tripped_utc_s=-100)
    ) == [
        True,
        True,
        True,
        True,
    ]


def test_a_tripped_threshold_is_a_limit_without_an_end() -> None:
    [event] = threshold_event(PRICE, Standing(tripped_utc_s=5))

    assert (event.id, event.source, windows((event,))) == ("price/scarcity", "price", [(5, math.inf)])
    assert event.intervals[0].signals == (LimitSignal(Power.kw(60)),)
    assert threshold_event(PRICE, Standing()) == ()


# --- peaks


def test_only_likely_hours_are_curtailed() -> None:
    hours = [
        PeakHour(start_utc_s=1000, end_utc_s=4600, probability=0.29),
        PeakHour(start_utc_s=5000, end_utc_s=8600, probability=0.3),
        PeakHour(start_utc_s=200_000, end_utc_s=203_600, probability=0.9),
    ]

    found = peak_events(PeakRule(probability=0.3, cut=CUT), hours, 2000)

    assert windows(found) == [(5000, 8600)]


# --- the ledger


def after_rules(book: Ledger, *wanted: GridEvent, now_s: float) -> Ledger:
    return follow_rules(book, now_s, wanted=wanted)[0]


def in_force(book: Ledger, now_s: float) -> list[str]:
    return [event.id for event in ledgers.events(book, now_s)]


def test_the_ledger_follows_the_rules_and_says_nothing_twice() -> None:
    [event] = threshold_event(PRICE, Standing(tripped_utc_s=5))

    book = after_rules(Ledger(), event, now_s=5)
    again = differences(book, [event], 6)
    over = after_rules(book, now_s=10)
    back = after_rules(over, event, now_s=10)

    assert (in_force(book, 6), again, in_force(over, 10), in_force(back, 10)) == (
        ["price/scarcity"],
        [],
        [],
        ["price/scarcity"],
    )


def test_a_changed_limit_replaces_the_old_one() -> None:
    [old] = threshold_event(PRICE, Standing(tripped_utc_s=5))
    new = Threshold(
        **{name: getattr(PRICE, name) for name in PRICE.__slots__} | {"cut": Cut(limit=Power.kw(30))}
    )
    [event] = threshold_event(new, Standing(tripped_utc_s=5))

    book = after_rules(after_rules(Ledger(), old, now_s=5), event, now_s=5)

    assert [found.intervals[0].signals for found in ledgers.events(book, 6)] == [(LimitSignal(Power.kw(30)),)]


def test_people_and_rules_do_not_end_each_other() -> None:
    [event] = threshold_event(PRICE, Standing(tripped_utc_s=5))
    book = after_rules(Ledger(), event, now_s=5)
    book, _ = curtail(book, 6, cut=CUT, end_utc_s=100, who="uid 1")

    without_rule = after_rules(book, now_s=7)
    without_people, _ = end_curtailment(book, 7)

    assert in_force(book, 6) == ["manual", "price/scarcity"]
    assert in_force(without_rule, 7) == ["manual"]
    assert in_force(without_people, 7) == ["price/scarcity"]
    assert manual(without_people, 7) == ()


def test_a_second_curtailment_of_one_place_replaces_the_first() -> None:
    book, _ = curtail(Ledger(), 6, cut=CUT, end_utc_s=math.inf, who="a")
    book, _ = curtail(book, 6, cut=Cut(limit=Power.kw(90)), end_utc_s=50, who="b")
    book, _ = curtail(book, 7, cut=Cut(limit=Power.kw(9), node="row-a"), end_utc_s=50, who="b")

    assert {event.id: (event.end_utc_s, event.node) for event in ledgers.events(book, 7)} == {
        "manual": (50, ""),
        "manual/row-a": (50, "row-a"),
    }


def test_what_had_tripped_before_a_restart_has_tripped_after_it() -> None:
    [event] = threshold_event(PRICE, Standing(tripped_utc_s=5))
    book = after_rules(Ledger(), event, now_s=5)

    assert remembered(book, [PRICE, FREQUENCY], 50) == {"scarcity": Standing(tripped_utc_s=5)}


def test_a_clock_that_was_set_back_does_not_keep_people_from_acting() -> None:
    book, _ = curtail(Ledger(), 1000, cut=CUT, end_utc_s=math.inf, who="a")

    book, _ = end_curtailment(book, 400)

    assert in_force(book, 400) == []
