"""The site file's tables of price sources: files of dated values, and topics of MQTT brokers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from controller.domain.prices import ANY_MODEL, MARKETS, Price, PriceKey, Rung
from drivers.mqttlink import BrokerTable, Table, Topic
from drivers.mqttpayload import Payload

CONSTANT = "constant"
"""What a price is from that stands in the site file: no source's name."""
STALE_MAX_S = 400 * 86_400.0
SUFFIXES = (".csv", ".json")


class PriceSourceTable(Table):
    """What every source declares. `unit` may also stand in the file or the message; not a third way.

    A value older than `stale_after_s` is not believed: for a series that is the time from one value to the
    next, and some more; for a feed, a few times its pace.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    price: Price
    model: str = Field(default="", max_length=64)
    unit: str | None = None
    stale_after_s: float = Field(gt=0, le=STALE_MAX_S)

    @property
    def key(self) -> PriceKey:
        return PriceKey(price=self.price, model=self.model)

    @property
    def rung(self) -> Rung:
        return Rung(source=self.id, stale_after_s=self.stale_after_s)

    @model_validator(mode="after")
    def _says_which_price(self) -> Self:
        if self.id == CONSTANT:
            raise ValueError(f"id {CONSTANT!r} is what the values of [prices] are called")
        if (self.price is Price.GPU_HOUR) != bool(self.model):
            raise ValueError(f"{self.id}: gpu_hour, and no other price, needs a model (or {ANY_MODEL!r})")
        units = MARKETS[self.price].units
        if self.unit is not None and self.unit not in units:
            raise ValueError(f"{self.id}: unit {self.unit!r} of {self.price} is not {' or '.join(units)}")
        return self


class PriceFileConfig(PriceSourceTable):
    """A CSV or JSON file of values, each in force from its time until the next.

    `time_zone` is that of times without an offset (IANA name); without it such a time is refused.
    """

    path: Path
    time_zone: str | None = None
    time_column: str = Field(default="time", min_length=1)
    value_column: str = Field(default="value", min_length=1)
    poll_s: float = Field(default=5.0, ge=0.1, le=3600)

    @field_validator("path")
    @classmethod
    def _is_of_a_kind_we_read(cls, path: Path) -> Path:
        if path.suffix not in SUFFIXES:
            raise ValueError(f"{path} is neither .csv nor .json")
        return path

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (OSError, ValueError, LookupError) as error:  # a folder's name, a path, no such zone
                raise ValueError(f"{name!r} is no time zone: {error}") from None
        return name


PRICE = Payload(value="value", unit="unit", timestamp="timestamp", timestamp_in="iso")


class PriceTopic(PriceSourceTable):
    """A topic whose every message is one value, in force from its timestamp on."""

    topic: Topic
    payload: Payload = PRICE

    @model_validator(mode="after")
    def _has_a_unit(self) -> Self:
        if self.unit is None and self.payload.unit is None:
            raise ValueError(f"{self.id}: its unit is `unit` or in its payload")
        return self


class PriceBrokerConfig(BrokerTable):
    """One broker on which prices are published."""

    poll_s: float = Field(default=1.0, ge=0.1, le=60)
    topics: tuple[PriceTopic, ...] = Field(min_length=1, max_length=100)


def price_problems(
    sources: Iterable[PriceSourceTable], prefer: tuple[str, ...], models: frozenset[str]
) -> Iterator[str]:
    """What the tables of sources are wrong about together; `models` are those of the site's GPUs."""
    sources = tuple(sources)
    known = {source.id for source in sources}
    yield from (
        f"price source {name!r} is declared {n} times"
        for name, n in Counter(source.id for source in sources).items()
        if n > 1
    )
    yield from (f"prices.prefer: {name!r} is no price source" for name in prefer if name not in known)
    yield from (f"prices.prefer names {name!r} {n} times" for name, n in Counter(prefer).items() if n > 1)
    of_price = Counter(source.key for source in sources)
    for source in sources:
        if of_price[source.key] > 1 and source.id not in prefer:
            yield f"prices.prefer does not say when {source.id!r} comes: {source.key} has several sources"
        if source.model and source.model != ANY_MODEL and source.model not in models:
            yield f"price source {source.id!r}: no GPU host has the model {source.model!r}"
