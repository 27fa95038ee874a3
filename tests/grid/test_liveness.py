"""When the operator counts as there: heartbeats, and after a silence a younger snapshot."""

from __future__ import annotations

from controller.domain.grid import Link
from controller.grid.liveness import Liveness, at, heard, listed
from controller.grid.results import Heartbeat, Snapshot

UTC_S = 1_000_000.0


def fresh() -> Liveness:
    return Liveness(timeout_s=15, began_utc_s=UTC_S - 90)


def beat(now_s: float) -> Heartbeat:
    return Heartbeat(seq=int(now_s), utc_s=UTC_S + now_s)


def snapshot(now_s: float) -> Snapshot:
    return Snapshot(as_of_utc_s=UTC_S + now_s, seq=1, ids=frozenset(), results=())


def up_at(now_s: float) -> Liveness:
    return heard(listed(fresh(), snapshot(now_s - 1), now_s), beat(now_s), now_s)


def test_a_link_begins_lost_and_needs_both_heartbeat_and_snapshot() -> None:
    only_beat = heard(fresh(), beat(0), 0)
    only_snapshot = listed(fresh(), snapshot(0), 0)

    assert fresh().link is only_beat.link is only_snapshot.link is Link.LOST
    assert listed(only_beat, snapshot(0), 0).link is Link.UP
    assert heard(only_snapshot, beat(0), 0).link is Link.UP


def test_at_the_start_a_snapshot_from_long_ago_is_not_enough() -> None:
    liveness = heard(listed(fresh(), snapshot(-91), 0), beat(0), 0)

    assert liveness.link is Link.LOST


def test_a_clock_that_was_ahead_at_the_start_keeps_no_link_lost_once_it_is_set_back() -> None:
    liveness = heard(listed(fresh(), snapshot(-600), 0), beat(-590), 0)
    assert at(liveness, 1, UTC_S - 89).link is Link.LOST

    assert at(liveness, 1, UTC_S - 690).link is Link.UP


def test_old_heartbeats_played_again_in_turn_are_no_sign_of_life() -> None:
    liveness = up_at(0)
    for now_s in (1, 2, 3):
        liveness = heard(liveness, beat(now_s), now_s)

    for now_s in range(4, 60):
        liveness = heard(liveness, beat(now_s % 3), now_s)

    assert at(liveness, 60).link is Link.LOST


def test_heartbeats_of_before_and_after_a_restart_of_the_operator_are_none_either() -> None:
    before = [Heartbeat(seq=9_000 + at, utc_s=UTC_S + at) for at in range(3)]
    after = [Heartbeat(seq=at, utc_s=UTC_S + 10 + at) for at in range(3)]
    liveness = up_at(0)
    for now_s, one in enumerate((*before, *after), 1):
        liveness = heard(liveness, one, now_s)

    for now_s in range(7, 60):
        liveness = heard(liveness, (before, after)[now_s % 2][now_s % 3], now_s)

    assert at(liveness, 60).link is Link.LOST


def test_an_operator_that_counts_on_is_heard_though_its_clock_was_set_back() -> None:
    liveness = up_at(0)

    for now_s in range(1, 60):
        liveness = heard(liveness, Heartbeat(seq=now_s, utc_s=UTC_S - 3_600 + now_s), now_s)

    assert liveness.link is Link.UP


def test_silence_longer_than_the_timeout_loses_the_link() -> None:
    liveness = up_at(0)

    assert at(liveness, 15).link is Link.UP
    assert at(liveness, 15.01).link is Link.LOST


def test_heartbeats_alone_do_not_bring_it_back() -> None:
    liveness = heard(at(up_at(0), 20), beat(20), 20)

    assert liveness.link is Link.LOST


def test_a_snapshot_from_before_the_silence_does_not_bring_it_back() -> None:
    lost = heard(at(up_at(0), 20), beat(20), 20)

    assert listed(lost, snapshot(-1), 20).link is Link.LOST
    assert listed(lost, snapshot(-0.5), 20).link is Link.LOST
    assert listed(lost, snapshot(5), 20).link is Link.UP


def test_a_snapshot_that_came_after_the_last_heartbeat_is_not_younger_than_the_silence() -> None:
    liveness = listed(up_at(0), snapshot(5), 5)

    for now_s in (15.5, 60):
        assert heard(at(liveness, now_s), beat(now_s), now_s).link is Link.LOST


def test_a_snapshot_that_arrived_in_the_middle_of_a_long_silence_is_not_enough() -> None:
    liveness = listed(at(up_at(0), 20), snapshot(20), 20)

    assert heard(liveness, beat(600), 600).link is Link.LOST


def test_a_snapshot_just_before_the_first_heartbeat_is_enough() -> None:
    liveness = listed(at(up_at(0), 600), snapshot(600), 600)

    assert heard(liveness, beat(601), 601).link is Link.UP


def test_a_gap_is_noticed_even_if_nobody_looked_while_it_lasted() -> None:
    assert heard(up_at(0), beat(60), 60).link is Link.LOST


def test_the_same_heartbeat_again_keeps_nothing_alive() -> None:
    liveness = up_at(0)

    for now_s in range(1, 17):
        liveness = heard(liveness, beat(0), now_s)

    assert at(liveness, 16).link is Link.LOST
