"""What is on its way counts as what it will draw, by what was measured; how long that takes is learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.decide.arrival import drawn_w, learned
from controller.decide.device import DeviceState
from controller.decide.freedom import freedom
from controller.decide.limits import Follow, Limits, limits_now
from controller.decide.snapshot import Snapshot, look
from controller.decide.timeline import GridNow
from controller.decide.words import Truth
from controller.domain.devices import Quality, Reading
from controller.domain.power import Power
from tests.decide.builders import FULL, NOW_S, SLEEP, device, inputs, miner, reading, running, site

MINER = miner("m", settle_down_s=10.0, settle_up_s=100.0)


def limits_of(seen: Snapshot) -> Limits:
    grid = GridNow()
    return limits_now(seen.ground, grid)


def on_its_way(since_s: float, began_w: int, *, started: bool = False) -> DeviceState:
    """Told `since_s` ago to go to full from `began_w`."""
    return device(
        FULL,
        Truth.ACKNOWLEDGED,
        draw_w=began_w,
        began=Power(began_w),
        since_s=NOW_S - since_s,
        asked_s=NOW_S - since_s,
        sent_s=NOW_S - since_s,
        started_s=(NOW_S - since_s,) if started else (),
    )


def back(since_s: float, found_w: int) -> DeviceState:
    """At full for long, silent for a while, and heard again `since_s` ago, when it drew `found_w`."""
    return device(FULL, draw_w=found_w, began=Power(found_w), since_s=0.0, asked_s=NOW_S - since_s)


def expected_w(
    state: DeviceState, said: Reading, ahead_s: float, known: Follow | None = None, *, age_s: float = 0.0
) -> float:
    asked = inputs(MINER, now_s=NOW_S - age_s, readings=[said])
    seen = look(site(), running({"m": state}), replace(asked, now_s=NOW_S))
    may = freedom(seen, limits_of(seen), np.array([True]), np.array([True]), NOW_S)
    return float(drawn_w(seen, may, known or Follow(), NOW_S + ahead_s)[0])


def after_reading(state: DeviceState, said: Reading, known: Follow | None = None) -> Follow:
    seen = look(site(), running({"m": state}), inputs(MINER, readings=[said]))
    may = freedom(seen, limits_of(seen), np.array([True]), np.array([True]), NOW_S)
    return learned(known or Follow(at_s=NOW_S - 1), seen, may, NOW_S)


def test_a_machine_that_was_seen_climbing_goes_on_at_the_pace_it_has_shown() -> None:
    climbing = on_its_way(10.0, 30, started=True)

    assert expected_w(climbing, reading("m", 1_030), 0.0) == pytest.approx(1_030)
    assert expected_w(climbing, reading("m", 1_030), 5.0) == pytest.approx(1_530)
    assert expected_w(climbing, reading("m", 1_030), 60.0) == pytest.approx(3_500)


def test_the_full_draw_that_a_starting_machine_only_estimates_is_not_believed() -> None:
    starting = on_its_way(10.0, 30, started=True)

    claims = reading("m", 3_500, 3_500, quality=Quality.ESTIMATED)

    assert expected_w(starting, claims, 0.0) < 300
    assert expected_w(starting, reading("m", 3_500, 3_500), 0.0) == pytest.approx(3_500)


def test_a_machine_that_had_its_time_is_expected_to_stay_where_it_is() -> None:
    without_work = on_its_way(200.0, 30, started=True)

    assert expected_w(without_work, reading("m", 400), 30.0) == pytest.approx(400)


def test_a_machine_that_is_back_from_silence_is_expected_to_climb_to_where_it_was_told_to_be() -> None:
    """Its breaker was closed: it boots, and nobody tells it anything."""
    boots = back(10.0, 30)

    assert expected_w(boots, reading("m", 1_030, 3_500), 5.0) == pytest.approx(1_530)
    assert expected_w(boots, reading("m", 1_030, 3_500), 60.0) == pytest.approx(3_500)


def test_a_machine_that_is_back_and_does_not_climb_in_its_time_is_expected_to_stay_where_it_is() -> None:
    assert expected_w(back(200.0, 400), reading("m", 400, 3_500), 30.0) == pytest.approx(400)


def test_a_machine_that_is_back_teaches_nothing_of_how_long_orders_take() -> None:
    assert after_reading(back(10.0, 30), reading("m", 1_765, 3_500)) == Follow(at_s=NOW_S - 1)


def test_a_stop_is_mostly_over_in_a_few_seconds() -> None:
    stopped = device(
        SLEEP,
        Truth.ACKNOWLEDGED,
        worst_w=3_500,
        draw_w=3_500,
        began=Power(3_500),
        since_s=NOW_S,
        asked_s=NOW_S,
        sent_s=NOW_S,
    )

    assert expected_w(stopped, reading("m", 3_500), 4.0) < 150


def test_how_long_starts_and_other_raises_take_is_learned_apart() -> None:
    start = after_reading(on_its_way(10.0, 30, started=True), reading("m", 1_765))
    retune = after_reading(on_its_way(2.0, 2_400), reading("m", 2_950))

    assert start.starts < Follow().starts
    assert start.retunes == Follow().retunes
    assert (retune.starts, retune.retunes < Follow().retunes) == (Follow().starts, True)


def test_what_is_learned_comes_to_what_machines_take() -> None:
    known = Follow(at_s=NOW_S - 1)
    for _ in range(200):
        known = after_reading(on_its_way(10.0, 30, started=True), reading("m", 1_765), known)

    assert known.starts == pytest.approx(0.2, abs=0.01)


def test_a_machine_that_is_there_or_has_not_begun_says_only_what_can_be_known() -> None:
    quick = Follow(at_s=NOW_S - 1, retunes=0.03)

    there = after_reading(on_its_way(40.0, 2_400), reading("m", 3_450), quick)
    not_begun = after_reading(on_its_way(40.0, 2_400), reading("m", 2_400), quick)

    assert there.retunes == quick.retunes
    assert not_begun.retunes > quick.retunes


def test_a_start_is_expected_to_take_as_long_as_starts_and_not_as_other_raises_do() -> None:
    slow_to_start = Follow(starts=0.9, retunes=0.2)
    asleep = reading("m", 30)

    starting = expected_w(on_its_way(50.0, 30, started=True), asleep, 4.0, slow_to_start)
    overdue = expected_w(on_its_way(50.0, 30), asleep, 4.0, slow_to_start)

    assert starting == pytest.approx(30 + 4 * 3_470 / (90 * 6 / 7), abs=1)
    assert overdue == 30


def test_a_machine_that_is_overdue_teaches_nothing() -> None:
    overdue = on_its_way(151.0, 30, started=True)

    assert after_reading(overdue, reading("m", 1_765)) == Follow(at_s=NOW_S - 1)


def test_estimates_teach_nothing() -> None:
    claims = reading("m", 3_400, 3_500, quality=Quality.ESTIMATED)

    assert after_reading(on_its_way(2.0, 30, started=True), claims) == Follow(at_s=NOW_S - 1)
