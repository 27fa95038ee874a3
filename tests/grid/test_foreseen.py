"""What the sender of an event that has not begun is told of whether it can be met."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.grid import EventInterval, EventStatus, GridEvent, LimitSignal
from controller.domain.power import Power
from controller.grid.advancing import HOLDS_AT_MOST_S, HOLDS_S, advance, foresee, is_foreseen_news
from controller.grid.entries import Ack, Entry, Ledger
from controller.grid.ledger import events, receive, receive_snapshot, settle
from controller.grid.results import Accepted, Cancelled, MessageResult, Snapshot
from controller.grid.site import Foreseen, Progress
from controller.grid.stored import from_text, to_text

NOW_S = 1_000_000.0
IN_S = 1_000.0
S = EventStatus
Word = tuple[float, EventStatus, Power | None]


def announced(version: float = 1, *, in_s: float = IN_S, event: str = "a") -> Accepted:
    piece = EventInterval(
        start_utc_s=NOW_S + in_s, end_utc_s=NOW_S + in_s + 600, signals=(LimitSignal(Power.kw(10)),)
    )
    made = GridEvent(id=event, version_utc_s=version, source="test", intervals=(piece,))
    return Accepted(event=made, stamp=f"v{version}")


def after(*messages: MessageResult) -> Ledger:
    ledger = Ledger()
    for message in messages:
        ledger, _ = receive(ledger, message, NOW_S)
    return ledger


def foresees(kw: float | None, version: float = 1) -> Foreseen:
    """That no less than so much can be had of 10 kW; None: they can be had."""
    short = kw is not None
    return Foreseen(
        event="a",
        version_utc_s=version,
        status=S.INFEASIBLE if short else S.RECEIVED,
        asked=Power.kw(10),
        possible=Power.kw(kw if kw is not None else 5),
    )


def stands(status: EventStatus, kw: float | None = None, version: float = 1) -> Progress:
    possible = None if kw is None else Power.kw(kw)
    return Progress(event="a", version_utc_s=version, status=status, possible=possible)


def heard(ledger: Ledger, *said: tuple[float, Foreseen | Progress]) -> tuple[Ledger, list[Word]]:
    """What the sender is told, and when, of what the site says at those times."""
    found: list[Word] = []
    for after_s, word in said:
        at_s = NOW_S + after_s
        if isinstance(word, Foreseen):
            ledger, verdict = foresee(ledger, word, at_s)
        else:
            ledger, verdict = advance(ledger, word, at_s)
        found += [(after_s, ack.status, ack.possible) for ack in verdict.acks]
    return ledger, found


def restored(ledger: Ledger) -> Ledger:
    entries = {name: from_text(to_text(entry)) for name, entry in ledger.entries.items()}
    return replace(ledger, entries={k: v for k, v in entries.items() if isinstance(v, Entry)})


def test_what_will_fall_short_is_told_before_it_has_begun_and_what_can_be_met_needs_no_word() -> None:
    _, short = heard(after(announced()), (1, foresees(20)), (2, foresees(20)))
    _, met = heard(after(announced()), (1, foresees(None)), (500, foresees(None)))

    assert short == [(1, S.INFEASIBLE, Power.kw(20))]
    assert met == []


def test_it_is_taken_back_by_received_and_told_again_at_once() -> None:
    said = ((1, foresees(20)), (200, foresees(None)), (201, foresees(20)))

    assert heard(after(announced()), *said)[1] == [
        (1, S.INFEASIBLE, Power.kw(20)),
        (200, S.RECEIVED, None),
        (201, S.INFEASIBLE, Power.kw(20)),
    ]


@pytest.mark.parametrize(
    ("in_s", "held_s"), [(86_400.0, 3_600.0), (10_000.0, 909.0), (1_000.0, 90.9), (40.0, 10.0)]
)
def test_it_is_taken_back_no_sooner_than_after_a_tenth_of_the_time_that_is_left(
    in_s: float, held_s: float
) -> None:
    ledger, _ = heard(after(announced(in_s=in_s)), (0, foresees(20)))

    sooner = heard(ledger, (0.99 * held_s, foresees(None)))[1]
    later = heard(ledger, (1.01 * held_s, foresees(None)))[1]

    assert (sooner, [status for _, status, _ in later]) == ([], [S.RECEIVED])


def test_a_shortfall_that_grows_is_told_soon_one_that_shrinks_only_later_and_a_trifle_never() -> None:
    ledger, _ = heard(after(announced()), (0, foresees(20)))

    assert heard(ledger, (HOLDS_S - 0.1, foresees(40)))[1] == []
    assert heard(ledger, (HOLDS_S, foresees(40)))[1] == [(HOLDS_S, S.INFEASIBLE, Power.kw(40))]
    assert heard(ledger, (HOLDS_S, foresees(15)))[1] == []
    assert heard(ledger, (95, foresees(15)))[1] == [(95, S.INFEASIBLE, Power.kw(15))]
    assert heard(ledger, (95, foresees(20.9)))[1] == []


def test_once_it_has_begun_it_is_told_as_it_stands_at_once_whatever_was_foreseen() -> None:
    ledger, _ = heard(after(announced(in_s=20)), (19, foresees(20)))

    short = heard(ledger, (20, stands(S.INFEASIBLE, 20)), (21, stands(S.INFEASIBLE, 20)))[1]
    met = heard(ledger, (20, stands(S.STARTED)), (21, stands(S.COMPLIANT)))[1]

    assert short == [(20, S.STARTED, None), (20, S.INFEASIBLE, Power.kw(20))]
    assert met == [(20, S.STARTED, None), (21, S.COMPLIANT, None)]


def test_nothing_is_foreseen_of_what_has_begun_or_is_over_nor_of_a_version_that_counts_no_more() -> None:
    begun, _ = heard(after(announced(in_s=20)), (20, stands(S.STARTED)))

    assert heard(begun, (21, foresees(20)))[1] == []
    assert heard(after(announced(version=2)), (1, foresees(20)))[1] == []
    cancelled = after(announced(), Cancelled(id="a", version_utc_s=2, stamp="v2"))
    assert heard(cancelled, (1, foresees(20)), (1, foresees(20, version=2)))[1] == []
    assert heard(Ledger(), (1, foresees(20)))[1] == []


def test_of_a_new_version_all_is_told_anew() -> None:
    ledger, _ = heard(after(announced()), (0, foresees(20)))

    worse, _ = receive(ledger, announced(version=2), NOW_S + 1)
    better, _ = receive(ledger, announced(version=2), NOW_S + 1)

    assert heard(worse, (2, foresees(20, version=2)))[1] == [(2, S.INFEASIBLE, Power.kw(20))]
    assert heard(better, (2, foresees(None, version=2)))[1] == []


def test_what_a_snapshot_left_out_and_lists_again_is_told_anew() -> None:
    ledger, _ = heard(after(announced()), (0, foresees(20)))
    nothing = Snapshot(as_of_utc_s=10, seq=1, ids=frozenset(), results=())
    listed = Snapshot(as_of_utc_s=11, seq=2, ids=frozenset({"a"}), results=(announced(),))

    ledger, out = receive_snapshot(ledger, nothing, NOW_S + 1)
    ledger, back = receive_snapshot(ledger, listed, NOW_S + 2)

    assert [ack.status for ack in (*out.acks, *back.acks)] == [S.CANCELLED, S.RECEIVED]
    assert heard(ledger, (3, foresees(20)))[1] == [(3, S.INFEASIBLE, Power.kw(20))]


def test_what_was_told_outlives_the_process() -> None:
    ledger, _ = heard(after(announced()), (0, foresees(20)))

    assert heard(restored(ledger), (1, foresees(20)))[1] == []
    assert [status for _, status, _ in heard(restored(ledger), (200, foresees(None)))[1]] == [S.RECEIVED]
    begun = heard(restored(ledger), (IN_S, stands(S.INFEASIBLE, 20)))[1]
    assert [status for _, status, _ in begun] == [S.STARTED, S.INFEASIBLE]


def test_an_event_that_never_began_expires_whatever_was_foreseen_of_it() -> None:
    ledger, _ = heard(after(announced(in_s=20)), (0, foresees(20)))

    ledger, verdict = settle(ledger, NOW_S + 20 + 600 + 10)

    assert [ack.status for ack in verdict.acks] == [S.EXPIRED]
    assert not is_foreseen_news(ledger.entries["a"], foresees(30), NOW_S)
    assert events(ledger, NOW_S + 700) == ()


def test_what_is_foreseen_takes_no_row_of_evidence_that_is_kept_for_what_becomes_of_events() -> None:
    full = replace(after(announced()), evidence_left=0)

    assert heard(full, (1, foresees(20)))[1] == []
    assert heard(full, (IN_S, stands(S.INFEASIBLE, 20)))[1][-1] == (IN_S, S.INFEASIBLE, Power.kw(20))


def test_what_was_told_to_be_over_before_our_clock_was_set_back_is_foreseen_anew() -> None:
    ledger, _ = heard(after(announced(in_s=20)), (0, foresees(20)))
    ledger, _ = settle(ledger, NOW_S + 20 + 600 + 10)

    ledger, verdict = settle(ledger, NOW_S)

    assert [ack.status for ack in verdict.acks] == [S.RECEIVED]
    assert heard(ledger, (1, foresees(20)))[1] == [(1, S.INFEASIBLE, Power.kw(20))]


@given(
    st.lists(st.tuples(st.sampled_from((None, 11.0, 20.0, 40.0)), st.floats(0.5, 60)), max_size=80),
    st.booleans(),
)
def test_however_it_wavers_the_sender_is_told_the_worse_at_once_and_the_better_seldom(
    said: list[tuple[float | None, float]], restarts: bool
) -> None:
    in_s = 10_000.0
    ledger, after_s = after(announced(in_s=in_s)), 0.0
    acks: list[Ack] = []
    for kw, step_s in said:
        after_s += step_s
        ledger, verdict = foresee(ledger, foresees(kw), NOW_S + after_s)
        acks += verdict.acks
        ledger = restored(ledger) if restarts else ledger
        if kw is not None:
            assert acks[-1].status is S.INFEASIBLE

    for sooner, later in pairwise(acks):
        if later.status is S.RECEIVED:
            assert later.at_utc_s - sooner.at_utc_s >= HOLDS_S
            assert later.at_utc_s - sooner.at_utc_s >= 0.1 * (NOW_S + in_s - later.at_utc_s)
    assert all(ack.possible is not None for ack in acks if ack.status is S.INFEASIBLE)
    assert math.isfinite(HOLDS_AT_MOST_S)
    assert len(ledger.entries["a"].told) <= 2
