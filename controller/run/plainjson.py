"""Values of the domain as JSON has them: watts as whole numbers, what is no number as null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from math import isfinite
from typing import Any

from controller.domain.power import Bound, Limit, Power

Json = dict[str, Any]


def plain(value: Any) -> Any:
    """A domain value as JSON: watts as `..._w`, sets as sorted lists."""
    match value:
        case Power():
            return value.watts
        case float():
            return rounded(value, 3)
        case frozenset():
            return sorted(value)
        case tuple():
            return [plain(one) for one in value]
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case _ if is_dataclass(value):
            return {
                f"{one.name}_w" if isinstance(getattr(value, one.name), Power) else one.name: plain(
                    getattr(value, one.name)
                )
                for one in fields(value)
            }
        case _:
            return value


def watts(power: Bound | Power | None) -> int | None:
    """Watts, or null where there is no limit or no fresh meter."""
    match power:
        case Power():
            return power.watts
        case Limit(inner):
            return inner.watts
        case _:
            return None


def rounded(number: float, digits: int) -> float | None:
    """JSON has no infinity and no NaN: what is no number is null."""
    return round(number, digits) if isfinite(number) else None
