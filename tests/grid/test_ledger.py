"""What the ledger makes of messages in any order, and what it has their senders told."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.grid import (
    EventInterval,
    EventStatus,
    GridEvent,
    LimitSignal,
    RelativeTargetSignal,
    ReportRequest,
)
from controller.domain.power import Power
from controller.grid.advancing import advance, keep_drawn
from controller.grid.entries import Ack, Entry, Ledger, rank
from controller.grid.keeping import KEEP_S, MAX_ENTRIES, MAX_UNSENT, Effect, Verdict
from controller.grid.ledger import (
    COMPLETION_GRACE_S,
    MAX_LIVE,
    confirm,
    events,
    receive,
    receive_snapshot,
    settle,
    unsent,
)
from controller.grid.observing import withdrawn
from controller.grid.results import Accepted, Cancelled, MessageResult, Reason, Rejected, Snapshot
from controller.grid.site import DataQuality, Measured, Progress
from controller.grid.stored import from_text, to_text

NOW_S = 1_000_000.0
Message = MessageResult | Snapshot
S = EventStatus


def limit(
    event: str = "a", version: float = 1, kw: int = 10, start_s: float = NOW_S, end_s: float = NOW_S + 100
) -> Accepted:
    piece = EventInterval(start_utc_s=start_s, end_utc_s=end_s, signals=(LimitSignal(Power.kw(kw)),))
    return Accepted(
        event=GridEvent(id=event, version_utc_s=version, source="test", intervals=(piece,)),
        stamp=f"v{version}",
    )


def cancel(event: str = "a", version: float = 2) -> Cancelled:
    return Cancelled(id=event, version_utc_s=version, stamp=f"v{version}")


def refusal(event: str | None = "a", version: float | None = 2, reason: Reason = Reason.NO_UNITS) -> Rejected:
    stamp = None if version is None else f"v{version}"
    return Rejected(reason=reason, detail="x", id=event, version_utc_s=version, stamp=stamp)


def listing(*results: MessageResult, as_of: float = 10, seq: int = 1, also: tuple[str, ...] = ()) -> Snapshot:
    ids = {result.event.id if isinstance(result, Accepted) else result.id for result in results}
    named = frozenset(event_id for event_id in (*ids, *also) if event_id is not None)
    return Snapshot(as_of_utc_s=as_of, seq=seq, ids=named, results=results)


def take(ledger: Ledger, message: Message, now_s: float = NOW_S) -> tuple[Ledger, Verdict]:
    if isinstance(message, Snapshot):
        return receive_snapshot(ledger, message, now_s)
    return receive(ledger, message, now_s)


def after(*messages: Message, now_s: float = NOW_S) -> Ledger:
    ledger = Ledger()
    for message in messages:
        ledger, _ = take(ledger, message, now_s)
    return ledger


def in_force(ledger: Ledger, now_s: float = NOW_S) -> list[tuple[str, float]]:
    return [(event.id, event.version_utc_s) for event in events(ledger, now_s)]


def told(acks: tuple[Ack, ...]) -> list[tuple[str, float | None, EventStatus]]:
    return [(ack.event, ack.version_utc_s, ack.status) for ack in acks]


# --- versions


def test_a_new_event_holds_and_is_acknowledged() -> None:
    ledger, verdict = take(Ledger(), limit())

    assert in_force(ledger) == [("a", 1)]
    assert (verdict.effect, told(verdict.acks)) == (Effect.NEW, [("a", 1, S.RECEIVED)])
    assert verdict.touched == {"a"}


def test_the_same_version_again_changes_and_says_nothing() -> None:
    before = after(limit())

    ledger, verdict = take(before, limit())

    assert ledger == before
    assert verdict == Verdict(effect=Effect.REPEATED)


def test_an_older_version_is_dropped() -> None:
    before = after(limit(version=2))

    ledger, verdict = take(before, limit(version=1))

    assert ledger == before
    assert verdict == Verdict(effect=Effect.OLDER)


def test_a_newer_version_supersedes_and_the_old_one_is_told_so() -> None:
    ledger, verdict = take(after(limit(version=1)), limit(version=2))

    assert in_force(ledger) == [("a", 2)]
    assert told(verdict.acks) == [("a", 1, S.SUPERSEDED), ("a", 2, S.RECEIVED)]


def test_a_cancelled_event_does_not_come_back_with_an_old_message() -> None:
    before = after(limit(version=1), cancel(version=2))

    ledger, verdict = take(before, limit(version=1))

    assert in_force(ledger) == []
    assert verdict.effect is Effect.OLDER


def test_cancelling_what_was_never_known_is_remembered() -> None:
    ledger = after(cancel(version=2), limit(version=1))

    assert in_force(ledger) == []


def test_a_cancellation_with_the_stamp_of_the_event_itself_cancels_it() -> None:
    one = after(limit(version=1), cancel(version=1))
    other = after(cancel(version=1), limit(version=1))

    assert in_force(one) == in_force(other) == []


def test_of_two_copies_of_a_version_the_one_that_asks_for_reports_stands() -> None:
    plain = limit()
    asking = replace(plain, event=replace(plain.event, reports=(ReportRequest(payload="DEMAND", every_s=1),)))

    for ledger in (after(plain, asking), after(asking, plain)):
        assert events(ledger, NOW_S)[0].reports


def test_an_event_that_is_over_is_told_so_and_never_holds() -> None:
    ledger, verdict = take(Ledger(), limit(start_s=NOW_S - 100, end_s=NOW_S))

    assert in_force(ledger) == []
    assert told(verdict.acks) == [("a", 1, S.EXPIRED)]


def test_a_newer_version_that_ended_in_the_past_ends_the_event() -> None:
    ledger = after(limit(version=1), limit(version=2, start_s=NOW_S - 100, end_s=NOW_S - 1))

    assert in_force(ledger) == []


# --- refusals


def test_a_refused_version_leaves_the_last_good_one_standing() -> None:
    ledger, verdict = take(after(limit(version=1)), refusal(version=2))

    assert in_force(ledger) == [("a", 1)]
    assert told(verdict.acks) == [("a", 2, S.REJECTED)]
    assert verdict.acks[0].why == ("NO_UNITS", "x")


@pytest.mark.parametrize("version", [2, None])
def test_a_refusal_is_told_once(version: float | None) -> None:
    before = after(limit(version=1), refusal(version=version))

    ledger, verdict = take(before, refusal(version=version))

    assert (ledger, verdict.acks) == (before, ())


def test_a_version_that_was_refused_may_still_turn_out_good() -> None:
    ledger, verdict = take(after(refusal(version=2)), limit(version=2))

    assert in_force(ledger) == [("a", 2)]
    assert told(verdict.acks) == [("a", 2, S.RECEIVED)]


def test_a_message_without_identity_changes_nothing() -> None:
    assert take(Ledger(), refusal(event=None)) == (Ledger(), Verdict(effect=Effect.UNREADABLE))


# --- snapshots


def test_an_event_missing_in_a_newer_snapshot_is_cancelled() -> None:
    ledger, verdict = take(after(limit("a"), limit("b")), listing(limit("b")))

    assert in_force(ledger) == [("b", 1)]
    assert told(verdict.acks) == [("a", 1, S.CANCELLED)]


def test_an_event_younger_than_the_snapshot_is_not_missing_in_it() -> None:
    ledger = after(limit(version=11), listing(as_of=10))

    assert in_force(ledger) == [("a", 11)]


def test_leaving_out_an_event_that_is_over_is_not_cancelling_it() -> None:
    ledger, _ = advance(after(limit()), progress(S.STARTED), NOW_S)

    ledger, verdict = take(ledger, listing(), NOW_S + 100)
    _, later = settle(ledger, NOW_S + 100 + COMPLETION_GRACE_S)

    assert verdict.acks == ()
    assert told(later.acks) == [("a", 1, S.COMPLETED)]


def test_an_old_message_cannot_revive_what_a_snapshot_left_out() -> None:
    ledger, verdict = take(after(listing(as_of=10)), limit(version=9))

    assert in_force(ledger) == []
    assert told(verdict.acks) == [("a", 9, S.CANCELLED)]


def test_a_stale_snapshot_changes_nothing() -> None:
    before = after(limit("a"), limit("b"), listing(limit("a"), limit("b"), as_of=10, seq=5))

    ledger, verdict = take(before, listing(limit("a"), as_of=9, seq=4))

    assert ledger == before
    assert verdict.acks == ()


def test_at_the_same_instant_the_higher_seq_is_newer() -> None:
    both = listing(limit("a"), limit("b"), as_of=10, seq=4)
    one = listing(limit("a"), as_of=10, seq=5)

    assert in_force(after(both, one)) == in_force(after(one, both)) == [("a", 1)]


def test_an_operator_that_counts_from_one_again_is_heard() -> None:
    ledger = after(limit("a"), listing(limit("a"), as_of=10, seq=48_211), listing(as_of=11, seq=1))

    assert in_force(ledger) == []


def test_an_event_that_was_listed_but_refused_is_not_missing() -> None:
    ledger = after(limit("a"), listing(refusal("a", version=2)))

    assert in_force(ledger) == [("a", 1)]


def test_a_snapshot_repeated_every_minute_tells_nobody_anything() -> None:
    before = after(listing(limit("a"), as_of=10, seq=1))

    _, verdict = take(before, listing(limit("a"), as_of=70, seq=2))

    assert (verdict.acks, verdict.touched) == ((), frozenset())


def test_an_event_that_a_newer_snapshot_lists_again_holds_again() -> None:
    ledger, verdict = take(after(limit("a"), listing(as_of=10)), listing(limit("a", version=1), as_of=11))

    assert in_force(ledger) == [("a", 1)]
    assert told(verdict.acks) == [("a", 1, S.RECEIVED)]


# --- any order


versions = st.integers(1, 4).map(float)
ids = st.sampled_from("abc")
single: st.SearchStrategy[MessageResult] = st.one_of(
    st.builds(limit, ids, versions, st.integers(1, 2)),
    st.builds(lambda event, version: limit(event, version, start_s=1, end_s=2), ids, versions),
    st.builds(cancel, ids, versions),
    st.builds(refusal, ids, st.one_of(st.none(), versions), st.sampled_from([*Reason][:2])),
)
message: st.SearchStrategy[Message] = st.one_of(
    single,
    st.builds(
        lambda results, as_of, seq: listing(*results, as_of=as_of, seq=seq),
        st.lists(single, max_size=3),
        st.integers(0, 5).map(float),
        st.integers(1, 3),
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(message, max_size=8), st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_end_in_the_same_events(
    messages: list[Message], rng: random.Random
) -> None:
    shuffled = [*messages, *rng.choices(messages, k=len(messages))] if messages else []
    rng.shuffle(shuffled)

    one, other = after(*messages), after(*shuffled)

    assert events(one, NOW_S) == events(other, NOW_S)
    assert one.mark == other.mark


@settings(max_examples=200, deadline=None)
@given(st.lists(message, max_size=8), message)
def test_order_leaves_no_trace_that_a_later_message_could_find(
    messages: list[Message], last: Message
) -> None:
    one, other = after(*messages, last), after(*reversed(messages), last)

    assert events(one, NOW_S) == events(other, NOW_S)


@settings(max_examples=200, deadline=None)
@given(st.lists(message, max_size=8))
def test_a_replay_says_nothing_new(messages: list[Message]) -> None:
    ledger = after(*messages)
    told_again: list[Ack] = []

    for item in messages:
        ledger, verdict = take(ledger, item)
        told_again += verdict.acks

    assert told_again == []


# --- statuses


def progress(status: EventStatus, version: float = 1, event: str = "a") -> Progress:
    return Progress(event=event, version_utc_s=version, status=status)


def test_each_step_of_the_loop_is_told_once() -> None:
    ledger = after(limit())
    acks: tuple[Ack, ...] = ()

    for status in (S.STARTED, S.STARTED, S.COMPLIANT, S.STARTED, S.COMPLIANT, S.COMPLETED, S.COMPLETED):
        ledger, verdict = advance(ledger, progress(status), NOW_S)
        acks += verdict.acks

    assert [ack.status for ack in acks] == [S.STARTED, S.COMPLIANT, S.COMPLETED]


def test_a_site_that_complies_at_once_has_started_too() -> None:
    _, verdict = advance(after(limit()), progress(S.COMPLIANT), NOW_S)

    assert [ack.status for ack in verdict.acks] == [S.STARTED, S.COMPLIANT]


@pytest.mark.parametrize(
    "word",
    [
        progress(S.STARTED, version=2),
        progress(S.STARTED, event="b"),
        progress(S.RECEIVED),
        progress(S.CANCELLED),
    ],
)
def test_the_loop_cannot_speak_of_what_it_does_not_know(word: Progress) -> None:
    before = after(limit())

    assert advance(before, word, NOW_S) == (before, Verdict(effect=Effect.REPEATED))


def test_nothing_is_told_of_an_event_after_its_cancellation() -> None:
    before = after(limit(), listing())

    assert advance(before, progress(S.STARTED), NOW_S)[1].acks == ()


def test_an_event_that_ran_out_is_completed_if_it_had_started_and_expired_if_not() -> None:
    ledger, _ = advance(after(limit("a"), limit("b")), progress(S.STARTED), NOW_S)

    _, early = settle(ledger, NOW_S + 100)
    ledger, verdict = settle(ledger, NOW_S + 100 + COMPLETION_GRACE_S)

    assert early.acks == ()
    assert told(verdict.acks) == [("a", 1, S.COMPLETED), ("b", 1, S.EXPIRED)]
    assert settle(ledger, NOW_S + 200)[1].acks == ()


@pytest.mark.parametrize("started", [True, False])
def test_what_a_clock_that_was_fast_took_to_be_over_is_told_anew_once_it_is_right(started: bool) -> None:
    ledger = after(limit())
    if started:
        ledger, _ = advance(ledger, progress(S.STARTED), NOW_S)
    ledger, over = settle(ledger, NOW_S + 3600)

    ledger, again = settle(ledger, NOW_S + 20)
    ledger, twice = settle(ledger, NOW_S + 20)
    ledger, goes_on = advance(ledger, progress(S.COMPLIANT), NOW_S + 21)
    _, end = settle(ledger, NOW_S + 102)

    assert told(over.acks) == [("a", 1, S.COMPLETED if started else S.EXPIRED)]
    assert [*told(again.acks), *told(twice.acks)] == [("a", 1, S.RECEIVED)]
    assert [status for *_, status in told(goes_on.acks)] == [S.STARTED, S.COMPLIANT]
    assert told(end.acks) == [("a", 1, S.COMPLETED)]


def test_the_measurements_of_the_moment_go_with_the_ack() -> None:
    measured = Measured(demand=Power(5), quality=DataQuality.OK)

    _, verdict = receive(Ledger(), limit(), NOW_S, measured)

    assert verdict.acks[0].measured == measured
    assert verdict.acks[0].at_utc_s == NOW_S


# --- acks on their way


def test_an_ack_stays_until_it_is_confirmed() -> None:
    ledger = after(limit())
    [ack] = ledger.entries["a"].unsent

    ledger, verdict = confirm(ledger, ack, NOW_S)

    assert ledger.entries["a"].unsent == ()
    assert verdict.touched == {"a"}
    assert confirm(ledger, ack, NOW_S)[1].touched == frozenset()


def test_each_statement_has_an_id_of_its_own_and_keeps_it() -> None:
    """A version may be cancelled by a snapshot, listed again and cancelled once more."""
    first = after(limit(), now_s=NOW_S).entries["a"].unsent[0]
    again = after(limit(), now_s=NOW_S).entries["a"].unsent[0]
    later = after(limit(), now_s=NOW_S + 50).entries["a"].unsent[0]
    newer = after(limit(version=2)).entries["a"].unsent[0]

    assert first.id == again.id
    assert first.id != later.id
    assert len({first.id, newer.id, replace(first, status=S.STARTED).id, replace(first, event="b").id}) == 4


def test_the_id_of_an_ack_fits_the_standard_for_the_longest_event_id() -> None:
    ack = after(limit("x" * 128)).entries["x" * 128].unsent[0]

    assert len(ack.id) <= 128


def test_a_sender_that_never_listens_cannot_pile_up_acks() -> None:
    ledger = after(*(limit(version=float(version)) for version in range(1, 100)))

    assert len(ledger.entries["a"].unsent) == MAX_UNSENT


# --- forgetting


def test_what_is_over_is_forgotten_after_a_week_and_not_before() -> None:
    ledger = after(limit("a"), cancel("a"))

    kept, _ = settle(ledger, NOW_S + 100 + KEEP_S - 1)
    ledger, verdict = settle(ledger, NOW_S + 100 + KEEP_S)

    assert "a" in kept.entries
    assert verdict.forgotten == {"a"}
    assert ledger.entries == {}


def test_what_holds_is_never_forgotten() -> None:
    ledger = after(limit(end_s=math.inf))

    ledger, _ = settle(ledger, NOW_S + 10_000 * KEEP_S)

    assert in_force(ledger, NOW_S + 10_000 * KEEP_S) == [("a", 1)]


def test_a_full_ledger_forgets_what_is_over_to_make_room() -> None:
    gone = MAX_ENTRIES - MAX_LIVE + 1
    ledger = after(*(limit(f"e{i}") for i in range(MAX_LIVE - 1)), *(cancel(f"gone{i}") for i in range(gone)))

    ledger, verdict = take(ledger, limit("new"))

    assert verdict.forgotten == {"gone0"}
    assert len(ledger.entries) == MAX_ENTRIES


def test_no_flood_of_refusals_makes_a_full_ledger_forget_a_cancellation_that_may_be_replayed() -> None:
    signed = limit("a", 1, end_s=NOW_S + 86_400)
    ledger = after(signed, cancel("a", 2))
    for ack in unsent(ledger):
        ledger, _ = confirm(ledger, ack, NOW_S)

    for i in range(MAX_ENTRIES):
        refused = Rejected(reason=Reason.UNSUPPORTED, detail="", id=f"bad{i}", version_utc_s=1.0)
        ledger, _ = take(ledger, refused)
    ledger, verdict = take(ledger, signed)

    assert verdict.effect is Effect.OLDER
    assert events(ledger, NOW_S) == ()


def test_what_is_over_makes_room_before_what_is_cancelled() -> None:
    past = limit("past", 1, start_s=NOW_S - 20, end_s=NOW_S - 10)
    gone = MAX_ENTRIES - MAX_LIVE + 1
    ledger = after(
        *(cancel(f"gone{i}") for i in range(gone - 1)), past, *(limit(f"e{i}") for i in range(MAX_LIVE - 1))
    )

    _, verdict = take(ledger, limit("new"))

    assert verdict.forgotten == {"past"}


def test_of_more_events_than_an_operator_may_have_each_is_refused_and_told_so_once() -> None:
    before = after(*(limit(f"e{i}") for i in range(MAX_LIVE)))

    ledger, verdict = take(before, limit("new"))
    again, repeated = take(ledger, limit("new"))
    _, freed = take(take(ledger, cancel("e0", 2))[0], limit("new"))

    assert (verdict.effect, verdict.acks[0].status) == (Effect.FULL, S.REJECTED)
    assert verdict.acks[0].why[0] == Reason.TOO_MANY_EVENTS
    assert events(ledger, NOW_S) == events(before, NOW_S)
    assert (again, repeated.acks) == (ledger, ())
    assert freed.effect is Effect.NEW


def test_without_room_for_evidence_new_versions_are_refused_and_what_holds_can_be_cancelled() -> None:
    short = replace(after(limit("a", 1), limit("b", 1)), evidence_left=0.0)
    past = limit("past", 1, start_s=NOW_S - 20, end_s=NOW_S - 10)

    words = [
        take(short, message)[1].acks[-1].status
        for message in (limit("a", 2), limit("new"), past, cancel("a"))
    ]
    other = limit("a", 1, kw=11)
    amended, same = take(short, max(other, limit("a", 1, kw=9), key=rank))

    assert words == [S.REJECTED, S.REJECTED, S.REJECTED, S.CANCELLED]
    assert (amended, same.effect) == (short, Effect.REPEATED)
    assert in_force(take(short, limit("a", 2))[0]) == [("a", 1), ("b", 1)]
    assert take(replace(short, evidence_left=1.0), limit("new"))[1].effect is Effect.NEW


def test_all_events_of_an_operator_together_have_no_more_intervals_than_a_tick_can_look_at() -> None:
    def long(name: str, count: int, version: float = 1) -> Accepted:
        signals = (LimitSignal(Power.kw(10)),)
        pieces = tuple(
            EventInterval(start_utc_s=NOW_S + at, end_utc_s=NOW_S + at + 1, signals=signals)
            for at in range(count)
        )
        event = GridEvent(id=name, version_utc_s=version, source="test", intervals=pieces)
        return Accepted(event=event, stamp=f"v{version}")

    before = after(*(long(f"e{i}", 4096) for i in range(4)))

    _, more = take(before, limit("new"))
    _, changed = take(before, long("e0", 4095, version=2))
    _, over = take(before, limit("new", end_s=NOW_S))

    assert more.acks[0].why[0] == Reason.TOO_MANY_INTERVALS
    assert (changed.effect, over.effect) == (Effect.UPDATED, Effect.EXPIRED)


# --- what relative set-points are relative to


def change(version: float = 1, start_s: float = NOW_S - 10, end_s: float = NOW_S + 100) -> Accepted:
    piece = EventInterval(
        start_utc_s=start_s, end_utc_s=end_s, signals=(RelativeTargetSignal(Power.kw(-10)),)
    )
    made = GridEvent(id="a", version_utc_s=version, source="test", intervals=(piece,))
    return Accepted(event=made, stamp=f"v{version}")


def drawn(ledger: Ledger, kw: int = 500, version: float = 1) -> Ledger:
    progress = Progress(event="a", version_utc_s=version, status=S.STARTED, drawn_before=Power.kw(kw))
    return keep_drawn(ledger, progress, NOW_S)[0]


def relative_to(ledger: Ledger) -> list[Power | None]:
    return [event.drawn_before for event in events(ledger, NOW_S)]


def test_what_the_site_drew_before_an_event_is_kept_once_and_goes_on_with_its_versions() -> None:
    ledger = drawn(drawn(after(change())), kw=400)

    assert relative_to(ledger) == [Power.kw(500)]
    assert relative_to(take(ledger, change(version=2))[0]) == [Power.kw(500)]
    assert relative_to(take(ledger, change(version=2, start_s=NOW_S + 5))[0]) == [Power.kw(500)]
    assert relative_to(take(ledger, limit(version=2, start_s=NOW_S))[0]) == [None]


def test_of_another_version_or_of_an_event_that_is_over_nothing_is_kept() -> None:
    assert relative_to(drawn(after(change()), version=2)) == [None]
    assert drawn(after(cancel())).entries["a"].drawn_before is None
    assert drawn(Ledger()) == Ledger()


@pytest.mark.parametrize(
    "between",
    [
        (change(version=2, start_s=NOW_S + 61),),
        (cancel(version=2), change(version=3)),
        (cancel(version=1), change(version=3)),
        (listing(as_of=10), listing(change(), as_of=11)),
    ],
    ids=["put off", "cancelled and made anew", "cancelled in its own version", "left out and listed again"],
)
def test_an_event_that_did_not_go_on_is_relative_to_nothing_that_was(between: tuple[Message, ...]) -> None:
    ledger = drawn(after(change()))

    for message in between:
        ledger, _ = take(ledger, message)

    assert relative_to(ledger) == [None]


def test_an_event_goes_on_that_is_renewed_a_moment_after_it_ran_out_and_not_long_after_it() -> None:
    ledger = drawn(after(change(end_s=NOW_S + 1)))

    soon, _ = receive(ledger, change(version=2), NOW_S + 2)
    late, _ = receive(ledger, change(version=2), NOW_S + 62)

    assert (relative_to(soon), relative_to(late)) == ([Power.kw(500)], [None])


# --- what cannot be had


def says(status: EventStatus, kw: float | None = None, version: float = 1) -> Progress:
    possible = None if kw is None else Power.kw(kw)
    return Progress(event="a", version_utc_s=version, status=status, possible=possible)


def heard(ledger: Ledger, *said: tuple[float, Progress]) -> list[tuple[float, EventStatus, Power | None]]:
    """What the sender is told, and when, of progress that the loop makes at those times."""
    found = []
    for after_s, progress in said:
        ledger, verdict = advance(ledger, progress, NOW_S + after_s)
        found += [(after_s, ack.status, ack.possible) for ack in verdict.acks]
    return found


def test_what_cannot_be_had_is_told_at_once_with_what_can() -> None:
    told_now = heard(after(limit()), (0, says(S.INFEASIBLE, 20)), (1, says(S.INFEASIBLE, 20)))

    assert told_now == [(0, S.STARTED, None), (0, S.INFEASIBLE, Power.kw(20))]


def test_what_can_be_had_again_is_told_again_though_it_had_been_told_before() -> None:
    told_all = heard(
        after(limit()),
        (0, says(S.STARTED)),
        (1, says(S.COMPLIANT)),
        (2, says(S.INFEASIBLE, 20)),
        (12, says(S.COMPLIANT)),
        (13, says(S.COMPLIANT)),
        (14, says(S.INFEASIBLE, 20)),
        (24, says(S.STARTED)),
    )

    statuses = [S.STARTED, S.COMPLIANT, S.INFEASIBLE, S.COMPLIANT, S.INFEASIBLE, S.STARTED]
    assert [status for _, status, _ in told_all] == statuses


def test_a_new_number_is_told_when_it_is_another_one_and_not_before_a_while() -> None:
    first = (0, says(S.INFEASIBLE, 20))

    assert [at for at, *_ in heard(after(limit()), first, (9.9, says(S.INFEASIBLE, 40)))] == [0, 0]
    assert [at for at, *_ in heard(after(limit()), first, (10, says(S.INFEASIBLE, 20.9)))] == [0, 0]
    assert heard(after(limit()), first, (10, says(S.INFEASIBLE, 40)))[-1] == (10, S.INFEASIBLE, Power.kw(40))


def test_a_new_version_is_told_anew_and_an_event_that_is_over_nothing() -> None:
    ledger, _ = advance(after(limit(end_s=NOW_S + 1000)), says(S.INFEASIBLE, 20), NOW_S)

    again, _ = take(ledger, limit(version=2, end_s=NOW_S + 1000))
    over, _ = take(ledger, cancel())

    assert heard(again, (1, says(S.STARTED, version=2))) == [(1, S.STARTED, None)]
    assert heard(over, (20, says(S.STARTED))) == []


def test_a_site_that_no_longer_complies_says_so_and_that_it_does_again_but_not_every_moment() -> None:
    told_all = heard(
        after(limit(end_s=NOW_S + 1000)),
        (0, says(S.STARTED)),
        (1, says(S.COMPLIANT)),
        (5, says(S.STARTED)),
        (11, says(S.STARTED)),
        (12, says(S.COMPLIANT)),
        (20, says(S.STARTED)),
        (21, says(S.COMPLIANT)),
        (99, says(S.COMPLIANT)),
    )

    assert [(at, status) for at, status, _ in told_all] == [
        (0, S.STARTED),
        (1, S.COMPLIANT),
        (11, S.STARTED),
        (21, S.COMPLIANT),
    ]


SAID = (says(S.STARTED), says(S.COMPLIANT), *(says(S.INFEASIBLE, kw) for kw in (20, 21, 30)))


@given(
    st.lists(st.tuples(st.sampled_from(SAID), st.floats(0, 5)), max_size=60),
    st.sampled_from(SAID[:2]),
    st.booleans(),
)
def test_however_it_wavers_the_sender_is_told_every_ten_seconds_at_most_and_in_the_end_the_truth(
    said: list[tuple[Progress, float]], last: Progress, restarts: bool
) -> None:
    ledger, after_s, acks = after(limit(end_s=NOW_S + 10_000)), 0.0, []
    for progress, step_s in [*said, (last, 10.1)]:
        after_s += step_s
        ledger, verdict = advance(ledger, progress, NOW_S + after_s)
        acks += list(verdict.acks)
        entry = from_text(to_text(ledger.entries["a"])) if restarts else ledger.entries["a"]
        assert isinstance(entry, Entry)
        ledger = replace(ledger, entries={"a": entry})

    for status in (S.STARTED, S.COMPLIANT, S.INFEASIBLE):
        times = [ack.at_utc_s for ack in acks if ack.status is status]
        assert all(later - sooner >= 10 for sooner, later in pairwise(times))
    assert acks[-1].status is last.status
    assert len(ledger.entries["a"].told) <= 4


def test_an_event_made_in_the_very_moment_of_a_snapshot_that_lacks_it_is_left_to_the_next_one() -> None:
    ledger, first = take(after(listing(as_of=10)), limit(version=10))
    ledger, second = take(ledger, listing(as_of=10.001, seq=2))

    assert told(first.acks) == [("a", 10, S.RECEIVED)]
    assert told(second.acks) == [("a", 10, S.CANCELLED)]


def test_what_is_taken_back_is_told_and_stored_also_where_a_newer_version_was_refused() -> None:
    before = after(limit(version=1), refusal(version=2))

    ledger, verdict = withdrawn(before, NOW_S)
    again, repeated = take(ledger, refusal(version=2))

    assert told(verdict.acks) == [("a", 1, S.REJECTED)]
    assert verdict.touched == {"a"}
    assert in_force(ledger) == []
    assert (again, repeated) == (ledger, Verdict(effect=Effect.REPEATED))
