"""Bounded, repeatable property tests. `EXPLORE=20 pytest tests/decide` tries 20 times as many, at random."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXPLORE = int(os.environ.get("EXPLORE", "0"))


def bounded(examples: int) -> settings:
    """The same examples each time, so that a change is judged by what it changes."""
    return settings(
        max_examples=examples * max(1, EXPLORE),
        derandomize=not EXPLORE,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
