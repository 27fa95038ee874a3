"""Where an id that is used again becomes another event."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from controller.domain.grid import EventStatus, GridEvent, PriceSignal, RelativeTargetSignal
from controller.domain.power import Power
from controller.grid.entries import Entry, Ledger
from controller.grid.keeping import Verdict
from controller.grid.ledger import receive, receive_snapshot, settle
from controller.grid.results import Accepted, Cancelled, Snapshot
from controller.grid.stored import from_text
from controller.run.journal.happenings import Happening, happenings
from controller.settlement.course import Ending, Told, asking, in_force
from controller.settlement.metering import Span
from controller.settlement.parts import Part, has_asked, parts_of
from tests.settlement.builders import course, event, froze, limit, received

NOW_S = 10_000.0


def word(utc_s: float, status: EventStatus) -> Told:
    return Told(utc_s=utc_s, status=status)


def spans(*told: Told) -> list[Span]:
    """From when to when each part asked for something."""
    return [course(*part, now_utc_s=NOW_S).span for part in parts_of(told)]


def endings(parts: tuple[Part, ...]) -> list[Ending]:
    return [course(*part, now_utc_s=NOW_S).ending for part in parts]


FIRST = event((100, 200, limit(600)), version_utc_s=1)


def test_a_version_well_after_the_one_before_was_over_begins_a_part() -> None:
    again = event((1000, 1100, limit(600)), version_utc_s=2)

    parts = parts_of([received(0, FIRST), word(202, EventStatus.COMPLETED), received(900, again)])

    assert [len(part) for part in parts] == [2, 1]
    assert endings(parts) == [Ending.COMPLETED, Ending.OVER]


def test_a_version_before_anything_was_asked_for_begins_none() -> None:
    later = event((5000, 5100, limit(600)), version_utc_s=2)

    assert spans(received(0, FIRST), received(50, later)) == [Span(5000, 5100)]


def test_a_version_that_follows_within_a_minute_begins_none() -> None:
    soon = event((200, 400, limit(600)), version_utc_s=2)
    late = event((200, 400, limit(600)), version_utc_s=2)

    assert spans(received(0, FIRST), received(260, soon)) == [Span(100, 400)]
    assert spans(received(0, FIRST), received(261, late)) == [Span(100, 200), Span(261, 400)]


def test_a_change_of_draw_that_goes_on_from_the_one_frozen_before_begins_none() -> None:
    """Received half a minute after the end, for half a minute later: the site froze nothing anew."""
    change = RelativeTargetSignal(Power.kw(-20))
    first = event((100, 200, change), version_utc_s=1)
    second = event((285, 400, change), version_utc_s=2)
    told = [received(0, first), froze(100, 90), word(202, EventStatus.COMPLETED)]

    assert len(parts_of([*told, received(230, second)])) == 1
    assert len(parts_of([*told, received(230, event((285, 400, limit(600)), version_utc_s=2))])) == 2
    assert len(parts_of([*told[:2], word(190, EventStatus.CANCELLED), received(230, second)])) == 2


def test_an_event_that_is_put_off_while_it_runs_ends_there_and_begins_anew() -> None:
    later = event((1000, 1100, limit(600)), version_utc_s=2)

    parts = parts_of([received(0, FIRST), word(150, EventStatus.SUPERSEDED), received(150, later)])

    assert [course(*part, now_utc_s=NOW_S).span for part in parts] == [Span(100, 150), Span(1000, 1100)]
    assert endings(parts) == [Ending.SUPERSEDED, Ending.OVER]


def test_a_version_in_the_pause_between_two_intervals_begins_none() -> None:
    twice = event((100, 200, limit(600)), (1000, 1100, limit(600)), version_utc_s=1)
    lower = event((100, 200, limit(600)), (1000, 1100, limit(500)), version_utc_s=2)

    assert spans(received(0, twice), received(500, lower)) == [Span(100, 1100)]


def test_an_event_that_is_listed_again_long_after_it_was_cancelled_begins_anew_with_what_it_asked_for() -> (
    None
):
    content = event((100, 5000, limit(600)), version_utc_s=1)
    cancelled, again = word(200, EventStatus.CANCELLED), word(900, EventStatus.RECEIVED)

    assert spans(received(0, content), cancelled, again) == [Span(100, 200), Span(900, 5000)]


def test_the_same_soon_after_goes_on() -> None:
    content = event((100, 5000, limit(600)), version_utc_s=1)
    cancelled, again = word(200, EventStatus.CANCELLED), word(260, EventStatus.RECEIVED)

    assert spans(received(0, content), cancelled, again) == [Span(100, 5000)]


def test_a_copy_of_what_is_over_is_the_last_word_on_it() -> None:
    late = replace(FIRST, version_utc_s=2)
    told = [
        received(0, FIRST),
        word(202, EventStatus.COMPLETED),
        replace(received(5000, late), status=EventStatus.EXPIRED),
    ]

    parts = parts_of(told)

    assert endings(parts) == [Ending.COMPLETED]
    assert spans(*told) == [Span(100, 200)]


def test_a_version_that_asks_for_nothing_does_not_hide_what_was_asked_for() -> None:
    prices = event((100, 5000, PriceSignal(0.2)), version_utc_s=2)
    again = event((900, 1000, limit(600)), version_utc_s=3)

    assert spans(received(0, FIRST), received(150, prices)) == [Span(100, 150)]
    assert spans(received(0, FIRST), received(150, prices), received(900, again)) == [
        Span(100, 150),
        Span(900, 1000),
    ]


def test_a_version_for_another_node_begins_a_part() -> None:
    row = event((100, 5000, limit(600)), version_utc_s=1, node="row-a")
    site = event((100, 5000, limit(600)), version_utc_s=2)

    parts = parts_of([received(0, row), word(300, EventStatus.SUPERSEDED), received(300, site)])

    assert [course(*part, now_utc_s=NOW_S).node for part in parts] == ["row-a", ""]
    assert [course(*part, now_utc_s=NOW_S).span for part in parts] == [Span(100, 300), Span(300, 5000)]


def test_nothing_told_is_one_part_without_a_word() -> None:
    assert parts_of([]) == ((),)


def test_an_open_event_that_is_repeated_goes_on() -> None:
    content = event((100, math.inf, limit(600)), version_utc_s=1)

    assert spans(received(0, content), received(8000, replace(content, version_utc_s=2))) == [
        Span(100, NOW_S)
    ]


def test_what_was_not_asked_for_yet_is_not_the_last_part_that_was() -> None:
    tomorrow = event((5000, 5100, limit(600)), version_utc_s=2)

    parts = parts_of([received(0, FIRST), received(300, tomorrow)])

    assert [has_asked(part, 4000) for part in parts] == [True, False]
    assert [has_asked(part, 5001) for part in parts] == [True, True]


def test_what_a_ledger_told_is_cut_and_nothing_of_it_is_lost() -> None:
    """Random messages through the real ledger, its snapshots too: the parts ask for the same as the whole."""
    for seed in range(300):
        told = told_by_a_ledger(random.Random(seed))

        parts = parts_of(told)

        assert [(row.utc_s, row.status) for part in parts for row in part] == [
            (row.utc_s, row.status) for row in told
        ]
        of_parts = [pair for part in parts for pair in asking(_swapped(in_force(part, NOW_S)))]
        assert of_parts == list(asking(_swapped(in_force(told, NOW_S)))), f"seed {seed}"


def _swapped(held: Iterator[tuple[Span, GridEvent]]) -> Iterator[tuple[GridEvent, Span]]:
    return ((version, span) for span, version in held)


def told_by_a_ledger(dice: random.Random) -> list[Told]:
    """Up to eight messages about one id, some seconds or a quarter of an hour apart."""
    ledger, at_s, told = Ledger(), 0.0, list[Told]()
    for turn in range(dice.randrange(1, 9)):
        at_s += dice.choice([1.0, 30.0, 61.0, 200.0, 900.0])
        for change in (settle, _message(dice, turn, at_s)):
            after, verdict = change(ledger, now_utc_s=at_s)
            told += [_told(row) for row in happenings(ledger, after, verdict, at_s)]
            ledger = after
    return told


def _message(dice: random.Random, turn: int, at_s: float) -> Callable[..., tuple[Ledger, Verdict]]:
    what, version_utc_s = dice.random(), turn + 1.0
    if what < 0.2:
        cancelled = Cancelled(id="dr-7", version_utc_s=version_utc_s, stamp=str(turn))
        return partial(receive, result=cancelled)
    if what < 0.4:
        ids = frozenset({"dr-7"}) if dice.random() < 0.5 else frozenset[str]()
        return partial(
            receive_snapshot, snapshot=Snapshot(as_of_utc_s=turn + 0.5, seq=turn, ids=ids, results=())
        )
    start_s = at_s + dice.choice([-100.0, 0.0, 30.0, 300.0])
    end_s = start_s + dice.choice([60.0, 500.0])
    pieces = [(start_s, end_s, limit(500)), (end_s + 200, end_s + 300, limit(400))]
    content = event(*pieces[: dice.choice([1, 1, 2])], version_utc_s=version_utc_s)
    return partial(receive, result=Accepted(event=content, stamp=str(turn)))


def _told(row: Happening) -> Told:
    entry = from_text(row.text) if row.text else None
    content = entry.content if isinstance(entry, Entry) else None
    return Told(
        utc_s=row.utc_s,
        status=row.status,
        version_utc_s=row.version_utc_s,
        event=content.event if isinstance(content, Accepted) else None,
    )
