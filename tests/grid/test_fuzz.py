"""Broken, truncated, repeated and twisted messages: none may raise, none may become an event it is not."""

from __future__ import annotations

import pytest

from tests.grid.fuzzing import Fuzz

MESSAGES = 4000


@pytest.mark.parametrize("batch", range(2))
def test_no_bytes_make_a_dialect_raise_or_invent(batch: int) -> None:
    fuzz = Fuzz()

    for seed in range(batch * MESSAGES // 2, (batch + 1) * MESSAGES // 2):
        fuzz.one(seed)

    kinds = {"event", "snapshot", "heartbeat", "load target", "base point", "target", "enforcement"}
    refused = {kind for kind in kinds if fuzz.outcomes[f"{kind} Rejected"]}
    assert refused == kinds  # the changes are not too mild
    assert fuzz.outcomes["event Accepted"]  # nor too wild
    assert fuzz.outcomes["load target LoadTargets"]
    assert fuzz.outcomes["base point Accepted"]
    assert fuzz.outcomes["enforcement Enforcement"]
