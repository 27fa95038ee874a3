"""Dashboards, alert rules, journals and scripts of operators read these words: none is renamed by the way."""

from __future__ import annotations

from enum import StrEnum

import pytest

from controller.decide.words import AlarmKind, CapReason, Reason, Truth

CONTRACT: dict[type[StrEnum], str] = {
    Reason: "full limited waiting ramping thermal dwelling resting following draining isolated unprofitable "
    "idle held stale unreachable lying observed refusing outlet_off paced",
    Truth: "commanded acknowledged refused confirmed lying unreachable stale",
    CapReason: "none rating event target link_lost",
    AlarmKind: "infeasible cap_passed meter_stale device_silent device_lying link_lost network_fault cooling "
    "unexplained energised hot price_stale price_unusual queue_silent pdu_silent outlet_off observed "
    "not_assured",
}


@pytest.mark.parametrize("words", CONTRACT, ids=lambda words: words.__name__)
def test_the_words_of_a_plan_are_those_that_the_changelog_told(words: type[StrEnum]) -> None:
    """A new one, or a new name, is a line of the changelog before it is one here."""
    assert {str(word) for word in words} == set(CONTRACT[words].split())
