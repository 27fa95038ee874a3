"""Where an id that is used again becomes another event."""

from __future__ import annotations

import math
from dataclasses import replace

from controller.domain.grid import EventStatus, PriceSignal
from controller.settlement.course import Ending, Told
from controller.settlement.metering import Span
from controller.settlement.parts import Part, parts_of
from tests.settlement.builders import course, event, limit, received

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
