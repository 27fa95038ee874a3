"""What an operator may ask of the site: an event that oversteps it is refused whole."""

from __future__ import annotations

from collections.abc import Iterable

from controller.domain.grid import (
    AlertSignal,
    CapacitySignal,
    CarbonSignal,
    EventInterval,
    LimitSignal,
    PriceSignal,
    RelativeTargetSignal,
    Right,
    Signal,
    TargetSignal,
)
from controller.grid.results import Reason
from controller.grid.strictjson import MessageError


def check_rights(intervals: Iterable[EventInterval], rights: frozenset[Right]) -> None:
    """`MessageError` if a signal in `intervals` needs a right that is not among `rights`."""
    for index, interval in enumerate(intervals):
        for signal in interval.signals:
            needed = _needed(signal)
            if needed is not None and needed not in rights:
                raise MessageError(
                    Reason.NOT_AUTHORIZED, f"intervals.{index}: this operator has no right to {needed}"
                )


def _needed(signal: Signal) -> Right | None:
    match signal:
        case LimitSignal():
            return Right.LIMIT
        case TargetSignal() | RelativeTargetSignal():
            return Right.TARGET
        case PriceSignal() | CarbonSignal():
            return Right.PRICE
        case AlertSignal() | CapacitySignal():
            return None
