"""Who can be planned with, and who is not waited for while a limit is passed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide.freedom import obeying
from controller.decide.inputs import Sample
from controller.decide.limits import Limits, limits_now
from controller.decide.snapshot import Snapshot, look
from controller.decide.timeline import GridNow
from controller.decide.words import CapReason, Truth
from controller.domain.devices import OperatingPoint
from controller.domain.power import Power
from tests.decide.builders import (
    FULL,
    LOW,
    NOW_S,
    at_point,
    bound,
    device,
    inputs,
    miner,
    node,
    running,
)
from tests.decide.builders import site as site_of

SPECS = (miner("a", "pdu"), miner("b", "pdu"))


def seen(
    *, pdu_w: int = 9_000, site_w: int = 9_000, metered_w: int | None = None, fans_w: int = 0
) -> Snapshot:
    """Two miners at full below a PDU; one was told to go lower 4 s ago and was not heard since."""
    here = site_of(node("pdu", limit_w=pdu_w, meter="main", fixed_w=fans_w), limit_w=site_w)
    asked = device(LOW, Truth.COMMANDED, worst_w=3_500, draw_w=3_500, at_s=NOW_S - 4, sent_s=NOW_S - 4)
    state = running({"a": asked._replace(asked_s=NOW_S - 4), "b": device(FULL)})
    now = inputs(*SPECS, readings=[at_point(SPECS[1], FULL)], metered_w={"main": metered_w or 7_000})
    if metered_w is None:
        now = replace(now, meters={})
    before = Sample(NOW_S - 4, at_point(SPECS[0], FULL))
    return look(here, state, replace(now, readings={"a": before, **now.readings}))


def limits_of(known: Snapshot, *, cap_w: int | None = None, due_w: int | None = None) -> Limits:
    """`cap_w` is what an event will ask for, `due_w` what it asks for now."""
    grid = GridNow(limit=bound(cap_w), due=bound(due_w), limit_reason=CapReason.EVENT)
    return limits_now(known.ground, grid)


def obeys(known: Snapshot, limits: Limits) -> bool:
    return bool(obeying(known, limits, NOW_S)[known.fleet.row["a"]])


def test_who_does_not_answer_is_waited_for_while_no_limit_above_it_is_passed() -> None:
    known = seen(pdu_w=7_000, site_w=7_000)

    assert obeys(known, limits_of(known))


@pytest.mark.parametrize(("pdu_w", "site_w"), [(6_999, 9_000), (9_000, 6_999)])
def test_who_does_not_answer_is_not_waited_for_while_devices_claim_more_than_a_limit_above_it(
    pdu_w: int, site_w: int
) -> None:
    known = seen(pdu_w=pdu_w, site_w=site_w)

    assert not obeys(known, limits_of(known))


@pytest.mark.parametrize(
    ("pdu_w", "site_w", "waits"), [(7_500, 7_500, True), (7_499, 9_000, False), (9_000, 7_499, False)]
)
def test_what_is_no_devices_load_is_part_of_what_passes_a_limit(pdu_w: int, site_w: int, waits: bool) -> None:
    known = seen(pdu_w=pdu_w, site_w=site_w, fans_w=500)

    assert obeys(known, limits_of(known)) is waits


@pytest.mark.parametrize(("metered_w", "waits"), [(8_000, True), (8_001, False)])
def test_a_meter_that_shows_more_than_the_limit_is_enough(metered_w: int, waits: bool) -> None:
    known = seen(pdu_w=8_000, metered_w=metered_w)

    assert obeys(known, limits_of(known)) is waits


def test_an_event_presses_nobody_before_it_is_due() -> None:
    known = seen()

    assert obeys(known, limits_of(known, cap_w=3_000))
    assert not obeys(known, limits_of(known, cap_w=3_000, due_w=3_000))


def test_a_machine_that_is_off_and_draws_nothing_at_all_can_be_planned_with() -> None:
    off = OperatingPoint(name="off", power=Power(0), rate=0.0)
    spec = miner("a", points=(off, LOW, FULL))
    now = inputs(spec, readings=[at_point(spec, off)])
    known = look(site_of(limit_w=9_000), running({"a": device(off)}), now)

    assert obeys(known, limits_of(known))
