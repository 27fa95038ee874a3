"""A number of kilowatts in a site file: 0 is 0 kW, and nothing else means that."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field


def _a_number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number of kW, or no such key: 0 means 0 kW, and so would false")
    return value


Kilowatts = Annotated[float, BeforeValidator(_a_number), Field(ge=0, le=10_000_000)]
"""Up to 10 GW: the journal keeps watts as 64-bit integers."""
