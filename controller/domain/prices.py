"""What the site is paid and what it pays: which prices there are, in which units, and how a dated one reads.

A price without a declared unit, or beyond what its market has ever seen, is no price.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Price(StrEnum):
    """A public contract: metrics and the API read these strings."""

    HASH = "hash"
    """hashing: USD per TH/s and day"""
    ENERGY = "energy"
    """energy drawn: USD per kWh, negative where the site is paid to draw it"""
    GPU_HOUR = "gpu_hour"
    """a GPU of one model for an hour, where a job names no price of its own: USD"""
    REDUCTION = "reduction"
    """load given up in an event: USD per kWh"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """A price's units, and how many of each make one of the first; outside its range a value is a mistake.
    One further from nothing than is `usual` may be one in another unit: it is obeyed, and people are told.
    """

    units: Mapping[str, float]
    least: float
    most: float
    usual: float = math.inf

    @property
    def unit(self) -> str:
        return next(iter(self.units))


MARKETS: Mapping[Price, Market] = {
    # 2017 paid about 3 USD for a TH/s and day, 2026 some 0.04. A PH/s taken for a TH/s lies above the range,
    # a TH/s taken for a PH/s below, and so does the nothing that a pool tells while it knows none.
    Price.HASH: Market(units={"USD/TH/s/day": 1.0, "USD/PH/s/day": 1e3}, least=1e-3, most=5.0),
    # Wholesale caps are 4 to 12 USD/kWh (EU, ERCOT, Australia), that of balancing energy 15 EUR both ways,
    # and imbalance came to 20. Nearly all hours are below 0.2 everywhere; a MWh taken for a kWh is above 1.
    Price.ENERGY: Market(units={"USD/kWh": 1.0, "USD/MWh": 1e3}, least=-25.0, most=25.0, usual=1.0),
    Price.GPU_HOUR: Market(units={"USD/GPU/h": 1.0}, least=0.0, most=1000.0),
    Price.REDUCTION: Market(units={"USD/kWh": 1.0, "USD/MWh": 1e3}, least=0.0, most=25.0, usual=5.0),
}

ANY_MODEL = "any"
"""The price of a GPU hour for every model that has none of its own."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PriceKey:
    """Which price; `model` is the GPU's, and empty for every other price."""

    price: Price
    model: str = ""

    def __str__(self) -> str:
        return f"{self.price} {self.model}".rstrip()


def in_base_unit(price: Price, value: float, unit: str) -> float:
    """`value` in the price's first unit; `ValueError` names what cannot be believed."""
    market = MARKETS[price]
    if unit not in market.units:
        raise ValueError(f"unit {unit!r:.40} of {price} is not {' or '.join(market.units)}")
    converted = value / market.units[unit]
    if not (math.isfinite(converted) and market.least <= converted <= market.most):
        raise ValueError(
            f"{price} {value:g} {unit} is outside {market.least:g}..{market.most:g} {market.unit}"
        )
    return converted


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A value in its price's first unit, in force from `from_utc_s` (Unix seconds) until the next."""

    value: float
    from_utc_s: float


@dataclass(frozen=True, slots=True)
class Series:
    """Values by the moment from which each is in force, ascending. A feed's newest is a series of one."""

    from_utc_s: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.from_utc_s) != len(self.values):
            raise ValueError(f"{len(self.from_utc_s)} times and {len(self.values)} values")

    def at(self, utc_s: float) -> Quote | None:
        """What is in force at `utc_s`; None before the first value."""
        index = bisect_right(self.from_utc_s, utc_s) - 1
        if index < 0:
            return None
        return Quote(value=self.values[index], from_utc_s=self.from_utc_s[index])


NO_SERIES = Series((), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A source of a price, by its id, and the age beyond which its value is not believed any more."""

    source: str
    stale_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Where a price comes from: the first source that is fresh, and where none is, the constant."""

    key: PriceKey
    constant: float
    rungs: tuple[Rung, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceReading:
    """What a source has now: its last good values, and its trouble, empty while there is none."""

    source: str
    series: Series
    trouble: str = ""
