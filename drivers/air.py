"""Which temperatures of a zone can be true, whatever brought them."""

from __future__ import annotations

from drivers.base import DriverError

COLDEST_C, HOTTEST_C = -39.0, 100.0
"""Where a wire is broken or a chip has no answer many sensors say -40 C, or less."""


def believable_c(told_c: float, min_c: float) -> float:
    """`told_c`; `DriverError` where it is a fault of its sensor."""
    if not min_c <= told_c <= HOTTEST_C:
        raise DriverError(f"{told_c:g} C is outside {min_c:g}..{HOTTEST_C:g} C")
    return told_c
