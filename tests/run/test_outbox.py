"""What waits to be told to an operator: in which order, and what of it is not kept."""

from __future__ import annotations

from controller.grid.dialects import Letter
from controller.run.operators.outbox import Outbox


def report(number: int) -> Letter:
    return Letter(topic="reports", payload=b"%d" % number)


def beat(number: int) -> Letter:
    return Letter(topic="heartbeat", payload=b"%d" % number, qos=0)


def sent(outbox: Outbox) -> list[Letter]:
    letters = []
    while (letter := outbox.first) is not None:
        letters.append(letter)
        outbox.sent(letter)
    return letters


def test_a_sign_of_life_does_not_wait_behind_the_reports_of_an_outage() -> None:
    outbox = Outbox(10)
    for number in range(3):
        outbox.post(report(number), connected=False)

    outbox.post(beat(1), connected=True)

    assert sent(outbox) == [beat(1), report(0), report(1), report(2)]


def test_a_newer_sign_of_life_takes_the_place_of_the_last_also_while_that_is_being_sent() -> None:
    outbox = Outbox(10)
    outbox.post(beat(1), connected=True)
    being_sent = outbox.first
    assert being_sent == beat(1)

    outbox.post(beat(2), connected=True)
    outbox.sent(being_sent)

    assert sent(outbox) == [beat(2)]


def test_a_sign_of_life_is_not_kept_for_a_connection_to_come() -> None:
    outbox = Outbox(10)
    outbox.post(beat(1), connected=True)

    outbox.post(beat(2), connected=False)

    assert sent(outbox) == []


def test_of_too_many_reports_the_newest_are_kept_and_no_sign_of_life_costs_one() -> None:
    outbox = Outbox(2)
    for number in range(3):
        outbox.post(report(number), connected=True)
        outbox.post(beat(number), connected=True)

    assert (sent(outbox), outbox.dropped) == ([beat(2), report(1), report(2)], 1)


def test_of_an_outage_in_which_nothing_changed_only_the_newest_status_is_told() -> None:
    outbox = Outbox(10)
    statuses = [Letter(topic="status", payload=b"%d" % number, fades=number != 2) for number in range(6)]
    for status in statuses:
        outbox.post(status, connected=False)

    assert sent(outbox) == [statuses[2], statuses[5]]
