"""Ledger entries as JSON text, and back: what must survive the process.

Every value carries its type by name, so a limit can never come back as a target, nor an open end as zero.
"""

from __future__ import annotations

import dataclasses
import json
import math
from enum import StrEnum
from typing import Any

from controller.domain.grid import (
    Alert,
    AlertSignal,
    Capacity,
    CapacitySignal,
    CarbonSignal,
    EventInterval,
    EventStatus,
    GridEvent,
    LimitSignal,
    PriceSignal,
    RelativeTargetSignal,
    ReportCycle,
    ReportRequest,
    TargetSignal,
)
from controller.domain.power import Limit, NoLimit, Power
from controller.grid.entries import Ack, Asked, Entry, Mark, Shortfall
from controller.grid.results import Accepted, Cancelled, Reason, Rejected
from controller.grid.site import DataQuality, Measured, OperatingState

_RECORDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(Entry, Mark, Ack, Asked, Shortfall, Accepted, Cancelled, Rejected, Measured),
        *(GridEvent, EventInterval, ReportRequest, ReportCycle),
        *(LimitSignal, TargetSignal, RelativeTargetSignal),
        *(PriceSignal, CarbonSignal, AlertSignal, CapacitySignal),
        *(Power, Limit, NoLimit),
    )
}
_WORDS: dict[str, type[StrEnum]] = {
    kind.__name__: kind for kind in (EventStatus, Reason, DataQuality, OperatingState, Alert, Capacity)
}


def to_text(value: Entry | Mark) -> str:
    return json.dumps(_out(value), allow_nan=False, separators=(",", ":"))


def from_text(text: str) -> Entry | Mark:
    """The value `to_text` was given; `ValueError` if `text` is anything else."""
    try:
        value = _in(json.loads(text))
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a stored value: {error!r}") from None
    if not isinstance(value, Entry | Mark):
        raise ValueError(f"stored value is a {type(value).__name__}, not an entry or a mark")
    return value


def _out(value: object) -> Any:
    match value:
        case StrEnum():
            return {"=": type(value).__name__, "is": str(value)}
        case None | str() | bool() | int():
            return value
        case float():
            return {"=": "inf"} if math.isinf(value) else value
        case tuple():
            return [_out(item) for item in value]
        case frozenset():
            return {"=": "set", "is": [_out(item) for item in sorted(value)]}
        case _ if dataclasses.is_dataclass(value):
            fields = {field.name: _out(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return {"=": type(value).__name__, **fields}
        case _:
            raise TypeError(f"{type(value).__name__} has no stored form")


def _in(value: Any) -> Any:
    match value:
        case list():
            return tuple(_in(item) for item in value)
        case {"=": "inf"}:
            return math.inf
        case {"=": "set", "is": items}:
            return frozenset(_in(item) for item in items)
        case {"=": str(name), "is": word} if name in _WORDS:
            return _WORDS[name](word)
        case {"=": str(name), **fields}:
            return _RECORDS[name](**{str(key): _in(item) for key, item in fields.items()})
        case _:
            return value
