"""The site file's tables of places: nodes of the electrical tree, with what is printed on them, and zones."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from controller.domain.devices import ThermalLimits
from controller.domain.power import NO_LIMIT, Bound, Limit, Power, tightest
from controller.domain.rating import CONTINUOUS_SHARE, Phases, apparent_power, breaker_power
from controller.domain.site import Node, Service, Zone
from controller.run.operators.kilowatts import Kilowatts
from controller.servicetable import Table

Ramp = Annotated[Kilowatts, Field(gt=0)]


class BreakerTable(Table):
    """What is printed on a breaker. `volts` is line to line where there are three phases, or two of them.
    How many there are is never guessed: of one phase taken for three 1.73 times too much would be drawn."""

    amps: float = Field(gt=0, le=1_000_000)
    volts: float = Field(gt=0, le=1_000_000)
    phases: Phases
    power_factor: float = Field(default=1.0, gt=0, le=1)
    continuous_percent: float = Field(default=100 * CONTINUOUS_SHARE, gt=0, le=100)

    def power(self) -> Power:
        share = self.continuous_percent / 100
        return breaker_power(
            self.amps, self.volts, self.phases, power_factor=self.power_factor, continuous_share=share
        )


class TransformerTable(Table):
    kva: float = Field(gt=0, le=10_000_000)
    power_factor: float = Field(default=1.0, gt=0, le=1)

    def power(self) -> Power:
        return apparent_power(self.kva, power_factor=self.power_factor)


class NodeTable(Table):
    """A node's limit is the lowest of what it is given: a contract, a breaker, a transformer."""

    id: str = Field(min_length=1)
    parent: str | None = None
    limit_kw: Kilowatts | None = None
    breaker: BreakerTable | None = None
    transformer: TransformerTable | None = None
    fixed_kw: Kilowatts = 0.0
    meter: str | None = None
    ramp_up_kw_per_s: Ramp | None = None
    ramp_down_kw_per_s: Ramp | None = None
    service: Service = Service.IN_SERVICE

    @property
    def limit(self) -> Bound:
        rated = (table.power() for table in (self.breaker, self.transformer) if table is not None)
        return tightest(bound(self.limit_kw), *(Limit(power) for power in rated))

    @property
    def fixed(self) -> Power:
        return Power.up(round(self.fixed_kw * 1000, 3))

    def node(self) -> Node:
        return Node(
            id=self.id,
            parent=self.parent,
            limit=self.limit,
            fixed=self.fixed,
            meter=self.meter,
            ramp_up_per_s=bound(self.ramp_up_kw_per_s),
            ramp_down_per_s=bound(self.ramp_down_kw_per_s),
            service=self.service,
        )


class ZoneTable(Table):
    id: str = Field(min_length=1)
    derate_c: float = Field(gt=-50, lt=150)
    trip_c: float = Field(gt=-50, lt=150)
    coolant_derate_c: float | None = Field(default=None, gt=-50, lt=150)
    coolant_trip_c: float | None = Field(default=None, gt=-50, lt=150)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.derate_c >= self.trip_c:
            raise ValueError(f"derate_c {self.derate_c} must lie below trip_c {self.trip_c}")
        if (self.coolant_derate_c is None) != (self.coolant_trip_c is None):
            raise ValueError("coolant_derate_c and coolant_trip_c come together or not at all")
        self.zone()
        return self

    def zone(self) -> Zone:
        coolant = None
        if self.coolant_derate_c is not None and self.coolant_trip_c is not None:
            coolant = ThermalLimits(derate_c=self.coolant_derate_c, trip_c=self.coolant_trip_c)
        return Zone(id=self.id, derate_c=self.derate_c, trip_c=self.trip_c, coolant=coolant)


def bound(kilowatts: float | None) -> Bound:
    return NO_LIMIT if kilowatts is None else Limit(Power.kw(kilowatts))
