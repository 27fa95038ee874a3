"""Which version of an event was in force when, and until when it had to be met."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from controller.domain.grid import EventStatus, PriceSignal, RelativeTargetSignal, TargetSignal
from controller.domain.power import Limit, Power
from controller.settlement.course import AMENDED, Ask, CourseError, Ending, Phase, Told, asking, in_force
from controller.settlement.grounds import SetPoint
from controller.settlement.metering import Span
from tests.settlement.builders import course, event, froze, limit, received

LIMIT_600 = Ask(limit=Limit(Power.kw(600)))
LIMIT_400 = Ask(limit=Limit(Power.kw(400)))


def cancelled(utc_s: float) -> Told:
    return Told(utc_s=utc_s, status=EventStatus.CANCELLED)


def phase(start: float, end: float, ask: Ask, due: float, version: float = 0.0) -> Phase:
    return Phase(span=Span(start, end), ask=ask, due_utc_s=due, version_utc_s=version)


def test_an_event_is_due_its_ramp_deadline_after_its_start() -> None:
    found = course(received(0, event((100, 200, limit(600)), ramp_s=30)), now_utc_s=1000)

    assert found.phases == (phase(100, 200, LIMIT_600, due=130),)
    assert (found.received_utc_s, found.span) == (0, Span(100, 200))


def test_an_event_that_came_late_counts_from_its_receipt() -> None:
    found = course(received(150, event((100, 200, limit(600)), ramp_s=30)), now_utc_s=1000)

    assert found.phases == (phase(150, 200, LIMIT_600, due=180),)
    assert found.start_utc_s == 100


def test_an_update_in_the_middle_is_a_phase_of_its_own_with_its_own_deadline() -> None:
    first = event((100, 200, limit(600)), version_utc_s=1, ramp_s=30)
    second = event((100, 250, limit(400)), version_utc_s=2, ramp_s=30)

    found = course(received(0, first), received(160, second), now_utc_s=1000)

    assert found.phases == (
        phase(100, 160, LIMIT_600, due=130, version=1),
        phase(160, 250, LIMIT_400, due=190, version=2),
    )
    assert found.versions == (1, 2)


def test_an_update_that_asks_for_no_less_gives_no_new_time_to_get_there() -> None:
    first = event((100, 200, limit(400)), version_utc_s=1, ramp_s=30)
    second = event((100, 300, limit(600)), version_utc_s=2, ramp_s=30)

    early = course(received(0, first), received(110, second), now_utc_s=1000)
    late = course(received(0, first), received(160, second), now_utc_s=1000)

    assert early.phases[1].due_utc_s == 130
    assert late.phases[1].due_utc_s == 160


def test_one_version_can_be_asked_for_and_one_that_never_was_is_an_error() -> None:
    told = (
        received(0, event((100, 200, limit(600)), version_utc_s=1)),
        received(160, event((100, 250, limit(400)), version_utc_s=2)),
    )

    found = course(*told, now_utc_s=1000, version_utc_s=2)

    assert [p.version_utc_s for p in found.phases] == [2]
    assert found.received_utc_s == 160
    with pytest.raises(CourseError, match=r"no version 3\.000"):
        course(*told, now_utc_s=1000, version_utc_s=3)


def test_an_event_that_its_operator_cancels_ends_there_and_says_so() -> None:
    found = course(received(0, event((100, 200, limit(600)))), cancelled(150), now_utc_s=1000)

    assert found.phases == (phase(100, 150, LIMIT_600, due=100),)
    assert (found.ending, found.ended_utc_s) == (Ending.CANCELLED, 150)


def test_an_event_that_comes_back_after_it_was_cancelled_leaves_a_gap() -> None:
    content = event((100, 200, limit(600)))

    found = course(received(0, content), cancelled(120), received(150, content), now_utc_s=1000)

    assert [p.span for p in found.phases] == [Span(100, 120), Span(150, 200)]
    assert found.ending is Ending.OVER


def test_an_event_that_is_listed_again_comes_back_as_it_was_without_being_told_anew() -> None:
    content = event((100, 200, limit(600)))
    again = Told(utc_s=150, status=EventStatus.RECEIVED, version_utc_s=0.0)

    found = course(received(0, content), cancelled(120), again, now_utc_s=1000)

    assert [p.span for p in found.phases] == [Span(100, 120), Span(150, 200)]


def test_an_event_without_an_end_lasts_until_now() -> None:
    found = course(received(0, event((100, math.inf, limit(600)))), now_utc_s=500)

    assert (found.span, found.ending) == (Span(100, 500), Ending.RUNNING)


def test_the_same_version_with_another_content_counts_from_when_it_came() -> None:
    first, amended = event((100, 200, limit(600))), event((100, 200, limit(400)))

    found = course(
        received(0, first), Told(utc_s=150, status=AMENDED, version_utc_s=0.0, event=amended), now_utc_s=1000
    )

    assert [(p.span, p.ask) for p in found.phases] == [
        (Span(100, 150), LIMIT_600),
        (Span(150, 200), LIMIT_400),
    ]


def test_an_event_that_came_when_it_was_over_asked_for_nothing() -> None:
    late = Told(utc_s=300, status=EventStatus.EXPIRED, event=event((100, 200, limit(600))))

    found = course(late, now_utc_s=1000)

    assert found.phases == ()
    assert found.ending is Ending.EXPIRED
    assert found.span.length_s == 0


def test_an_update_whose_time_is_over_when_it_comes_ends_the_event() -> None:
    first = received(0, event((100, 200, limit(600)), version_utc_s=1))
    shorter = event((100, 149, limit(600)), version_utc_s=2)

    found = course(
        first,
        Told(utc_s=150, status=EventStatus.SUPERSEDED, version_utc_s=1),
        Told(utc_s=150, status=EventStatus.EXPIRED, version_utc_s=2, event=shorter),
        now_utc_s=1000,
    )

    assert [p.span for p in found.phases] == [Span(100, 150)]
    assert (found.ending, found.ended_utc_s) == (Ending.EXPIRED, 150)


def test_an_event_that_was_refused_has_an_ending_and_no_phases() -> None:
    refused = Told(utc_s=5, status=EventStatus.REJECTED, why="NO_UNITS intervals.0")

    found = course(refused, now_utc_s=1000)

    assert (found.ending, found.phases) == (Ending.REJECTED, ())


def test_an_event_that_the_site_took_back_is_judged_no_further_and_ends_as_refused() -> None:
    first = event((100, 200, limit(600)), version_utc_s=7)
    taken_back = Told(utc_s=150, status=EventStatus.REJECTED, version_utc_s=7, why="OBSERVED")

    found = course(received(0, first), taken_back, now_utc_s=1000)
    again = course(received(0, first), taken_back, received(180, first), now_utc_s=1000)

    assert [piece.span for piece in found.phases] == [Span(100, 150)]
    assert (found.ending, found.ended_utc_s) == (Ending.REJECTED, 150)
    assert [piece.span for piece in again.phases] == [Span(100, 150), Span(180, 200)]


def test_a_newer_version_that_was_refused_leaves_the_one_before_in_force() -> None:
    first = event((100, 200, limit(600)), version_utc_s=7)
    refused = Told(utc_s=150, status=EventStatus.REJECTED, version_utc_s=8, why="NO_UNITS")

    found = course(received(0, first), refused, now_utc_s=1000)

    assert [piece.span for piece in found.phases] == [Span(100, 200)]
    assert found.ending is Ending.OVER


def test_an_event_of_which_nothing_is_known_is_an_error() -> None:
    with pytest.raises(CourseError, match="dr-7: nothing is known"):
        course(now_utc_s=1000)


def test_prices_ask_for_nothing_and_targets_do() -> None:
    found = course(
        received(
            0,
            event(
                (100, 200, PriceSignal(0.1)),
                (200, 300, TargetSignal(Power.kw(50))),
                (300, 400, RelativeTargetSignal(Power.kw(-5))),
            ),
        ),
        now_utc_s=1000,
    )

    assert [p.ask for p in found.phases] == [Ask(target=Power.kw(50)), Ask(relative=Power.kw(-5))]


def test_a_site_was_moved_only_while_an_event_that_asks_for_something_was_in_force() -> None:
    told = [received(120, event((100, 200, limit(600)), (300, 400, PriceSignal(0.1)))), cancelled(180)]

    moved = asking((content, span) for span, content in in_force(told, 1000))

    assert [span for _, span in moved] == [Span(120, 180)]


# -- what a relative set-point is relative to ----------------------------------------------------------------


def change(kw: float) -> RelativeTargetSignal:
    return RelativeTargetSignal(Power.kw(kw))


def asked(*told: Told, others: Sequence[SetPoint] = ()) -> list[tuple[Span, Power | None, Power | None]]:
    found = course(*told, now_utc_s=10_000, others=others)
    return [(one.span, one.ask.ground, one.ask.target) for one in found.phases]


def below(start: float, end: float, kw: float) -> SetPoint:
    """What another operator asked for, with a lower rank than any event without a priority of its own has."""
    return SetPoint(span=Span(start, end), rank=(2**40, 0.0, "iso:e"), target=Power.kw(kw))


def test_all_versions_and_intervals_of_an_event_that_goes_on_are_relative_to_the_same_draw() -> None:
    first = event((100, 200, change(-10)), (500, 600, change(-20)), version_utc_s=1)
    second = event((100, 200, change(-30)), (500, 600, change(-20)), version_utc_s=2)

    found = asked(received(0, first), froze(101, 90), received(150, second))

    assert found == [
        (Span(100, 150), Power.kw(90), Power.kw(80)),
        (Span(150, 200), Power.kw(90), Power.kw(60)),
        (Span(500, 600), Power.kw(90), Power.kw(70)),
    ]


def test_an_event_that_was_put_off_is_relative_to_what_was_frozen_anew() -> None:
    first = event((100, 200, change(-10)), version_utc_s=1)
    second = event((1000, 1100, change(-10)), version_utc_s=2)

    found = asked(received(0, first), froze(101, 90), received(150, second), froze(1001, 70))

    assert [ground for _, ground, _ in found] == [Power.kw(90), Power.kw(70)]


def test_what_was_frozen_after_a_short_interval_counts_for_it() -> None:
    content = event((100, 101, change(-10)), (101, 200, change(-20)))

    found = asked(received(0, content), froze(101.4, 90))

    assert [ground for _, ground, _ in found] == [Power.kw(90)] * 2


def test_on_top_of_another_set_point_that_one_counts_for_as_long_as_it_holds() -> None:
    content = event((100, 200, change(-10)), ramp_s=30)

    found = course(
        received(0, content),
        froze(101, 90),
        now_utc_s=10_000,
        others=[below(150, 170, 50), below(170, 180, 40)],
    )

    assert [(one.span, one.ask.ground) for one in found.phases] == [
        (Span(100, 150), Power.kw(90)),
        (Span(150, 170), Power.kw(50)),
        (Span(170, 180), Power.kw(40)),
        (Span(180, 200), Power.kw(90)),
    ]
    assert {one.due_utc_s for one in found.phases} == {130}


def test_a_set_point_that_outranks_a_relative_one_is_no_ground_for_it() -> None:
    above = SetPoint(span=Span(0, 500), rank=(-1, 0.0, "iso:e"), target=Power.kw(50))

    found = asked(received(0, event((100, 200, change(-10)))), froze(101, 90), others=[above])

    assert [ground for _, ground, _ in found] == [Power.kw(90)]


def test_changes_stack_and_one_of_which_nothing_is_known_asks_for_nothing() -> None:
    middle = SetPoint(
        span=Span(0, 500), rank=(2**39, 0.0, "iso:m"), change=Power.kw(-5), drawn_before=Power.kw(80)
    )
    unknown = SetPoint(span=Span(0, 500), rank=(2**38, 0.0, "iso:u"), change=Power.kw(-5))
    content = received(0, event((100, 200, change(-10))))

    on_another = asked(content, froze(101, 90), others=[middle, below(0, 150, 50)])
    on_nothing = asked(content, froze(101, 90), others=[unknown])

    assert [ground for _, ground, _ in on_another] == [Power.kw(45), Power.kw(75)]
    assert [ground for _, ground, _ in on_nothing] == [Power.kw(90)]


def test_the_same_change_in_a_new_version_gives_no_new_time_to_get_there() -> None:
    first = event((100, 200, change(-10)), version_utc_s=1, ramp_s=30)
    second = event((100, 300, change(-10)), version_utc_s=2, ramp_s=30)

    found = course(received(0, first), froze(101, 90), received(110, second), now_utc_s=10_000)

    assert [one.due_utc_s for one in found.phases] == [130, 130]


def test_an_event_that_is_over_is_cancelled_by_nobody() -> None:
    content = event((100, 200, limit(600)))
    completed = Told(utc_s=202, status=EventStatus.COMPLETED)

    tidied = course(received(0, content), completed, cancelled(900), now_utc_s=1000)
    unsaid = course(received(0, content), cancelled(900), now_utc_s=1000)

    assert (tidied.ending, tidied.ended_utc_s) == (Ending.COMPLETED, 202)
    assert (unsaid.ending, unsaid.ended_utc_s) == (Ending.OVER, None)


def test_no_version_counts_again_after_a_newer_one_where_our_clock_was_set_back_between_them() -> None:
    """The first came at 150 by a clock that was ten minutes fast."""
    first = event((100, 2000, limit(600)), version_utc_s=1)
    second = event((100, 2000, limit(400)), version_utc_s=2)

    found = course(received(750, first), received(200, second), now_utc_s=1000)

    assert [(p.span, p.version_utc_s) for p in found.phases] == [(Span(200, 1000), 2)]
