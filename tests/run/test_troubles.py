"""What is told of messages that cannot be used: what is new, and when it is over."""

from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from controller.grid.results import Reason, Rejected
from controller.run.operators.troubles import OVER_S, Troubles


def told(*messages: tuple[float, Reason | None]) -> list[tuple[str, str | None]]:
    """The lines on messages at their seconds, refused for a reason or not at all."""
    with capture_logs() as logs:
        troubles = Troubles(structlog.get_logger())
        for now_s, reason in messages:
            if reason is None:
                troubles.readable("event", now_s)
            else:
                troubles.refused("event", Rejected(reason=reason, detail="x"), now_s)
    return [(line["event"], line.get("why")) for line in logs]


def test_one_broken_publisher_beside_a_sound_one_is_told_once() -> None:
    day = [(at / 2, Reason.NOT_JSON if at % 2 else None) for at in range(172_800)]

    assert told(*day) == [("grid_unreadable", "NOT_JSON")]


def test_a_new_reason_is_told_while_another_one_goes_on() -> None:
    both = [(float(at), (Reason.NOT_JSON, Reason.BAD_SIGNATURE)[at % 2]) for at in range(100)]

    assert told(*both) == [("grid_unreadable", "NOT_JSON"), ("grid_unreadable", "BAD_SIGNATURE")]


def test_what_has_been_readable_for_a_while_is_told_and_a_later_fault_is_new() -> None:
    seen = told((0.0, Reason.NOT_JSON), (1.0, None), (OVER_S, None), (OVER_S + 1, Reason.NOT_JSON))

    assert seen == [
        ("grid_unreadable", "NOT_JSON"),
        ("grid_readable_again", None),
        ("grid_unreadable", "NOT_JSON"),
    ]
