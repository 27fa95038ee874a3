"""Garbage is looked for after ticks, seldom, and found."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from controller.run.garbage import EVERY_TICKS, Garbage


class Ring:
    """Holds itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _the_interpreters_own_way_afterwards() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_holds_itself_is_freed_with_the_ticks_and_not_before() -> None:
    garbage = Garbage()
    ring = Ring()
    left = weakref.ref(ring)
    del ring

    for _ in range(EVERY_TICKS - 1):
        garbage.after_tick()
    kept = left() is not None
    garbage.after_tick()

    assert kept
    assert left() is None


def test_what_is_there_after_a_tick_is_not_gone_through_in_the_next() -> None:
    garbage = Garbage()
    made = [[] for _ in range(1_000)]  # type: ignore[var-annotated]  # of nothing

    garbage.after_tick()

    assert len(made) < gc.get_freeze_count()
    assert gc.get_count()[0] < len(made)
