"""What goes into a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from controller.domain.devices import (
    DeviceSpec,
    MeterReading,
    Outcome,
    Reading,
    ZoneReading,
)
from controller.domain.grid import GridEvent, Link
from controller.domain.jobs import QueueReading
from controller.domain.prices import PriceKey
from controller.domain.site import Prices

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sample(Generic[T]):
    """A value and the moment it arrived, in seconds of the monotonic clock."""

    at_s: float
    value: T


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceNow:
    """A price in force, in the first unit of its market, and where it is from.

    `age_s` is None for a constant; `passed` says of each source that should have come first why it did not.
    It is `awaited` while one of these had no time yet to be heard.
    """

    key: PriceKey
    value: float
    source: str
    age_s: float | None
    passed: tuple[str, ...] = ()
    awaited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything one tick may know. Times in `_s` are monotonic; `utc_s` only orders events.

    `silent_queues` are the job queues that do not answer; what their GPUs work on is as they said last.
    `silent_pdus` are the PDUs that do not answer: nothing is decided by it.
    `prices` is what points are valued with; `prices_now` says where each of them is from. `links` has the
    operators whose commands count, by name.
    """

    now_s: float
    utc_s: float
    specs: tuple[DeviceSpec, ...]
    readings: Mapping[str, Sample[Reading]] = field(default_factory=dict)
    meters: Mapping[str, Sample[MeterReading]] = field(default_factory=dict)
    zones: Mapping[str, Sample[ZoneReading]] = field(default_factory=dict)
    outcomes: Mapping[str, Sample[Outcome]] = field(default_factory=dict)
    queues: tuple[QueueReading, ...] = ()
    silent_queues: tuple[str, ...] = ()
    silent_pdus: tuple[str, ...] = ()
    events: tuple[GridEvent, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    prices: Prices = field(default_factory=Prices)
    prices_now: tuple[PriceNow, ...] = ()

    @property
    def link(self) -> Link:
        """Lost as soon as one operator's is: what that one may want now is not known."""
        states = self.links.values()
        return next((state for state in (Link.LOST, Link.UP) if state in states), Link.NONE)

    @property
    def unheard_queues(self) -> frozenset[str]:
        """Those that have never said what their GPUs work on."""
        return frozenset(self.silent_queues) - {queue.queue for queue in self.queues}
