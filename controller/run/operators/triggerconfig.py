"""The `[control]` and `[triggers]` tables of a site file: the site's own reasons to curtail."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from controller.domain.power import Power
from controller.grid.triggers import Cut, PeakRule, Schedule, Side, Source, Threshold
from controller.run.operators.kilowatts import Kilowatts

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Seconds = Annotated[float, Field(ge=0, le=86_400)]


def _a_time(text: str) -> str:
    if not re.fullmatch("([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError("a time such as 16:00 is needed")
    return text


LocalTime = Annotated[str, AfterValidator(_a_time)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ControlTable(_Table):
    """Where the people of the site reach the controller: who may open the socket may curtail."""

    socket: Path = Path("/run/wattshift/control.sock")


class CutTable(_Table):
    limit_kw: Kilowatts
    node: str = ""
    deadline_s: Seconds = 60.0

    @property
    def cut(self) -> Cut:
        return Cut(limit=Power.kw(self.limit_kw), node=self.node, ramp_deadline_s=self.deadline_s)


class ScheduleTable(CutTable):
    id: Name
    days: Annotated[
        tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(min_length=1)
    ] = DAYS
    start: LocalTime
    end: LocalTime

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.start == self.end:
            raise ValueError(f"schedule {self.id}: start and end are the same; leave a minute")
        return self


class PriceTable(CutTable):
    id: Name
    above_usd_per_kwh: float
    restore_below_usd_per_kwh: float
    for_s: Seconds = 0.0
    restore_for_s: Seconds = 300.0
    hold_s: Seconds = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.restore_below_usd_per_kwh > self.above_usd_per_kwh:
            raise ValueError(f"price {self.id}: restore_below_usd_per_kwh lies above above_usd_per_kwh")
        return self


class FrequencyTable(CutTable):
    id: Name
    meter: Annotated[str, Field(min_length=1)]
    below_hz: Annotated[float, Field(ge=40, le=70)]
    restore_above_hz: Annotated[float, Field(ge=40, le=70)]
    for_s: Seconds = 0.0
    restore_for_s: Seconds = 60.0
    hold_s: Seconds = 900.0
    stale_s: Annotated[float, Field(gt=0, le=60)] = 5.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.restore_above_hz < self.below_hz:
            raise ValueError(f"frequency {self.id}: restore_above_hz lies below below_hz")
        return self


class PeakTable(CutTable):
    """`calendar` is a file of lines `start,end,probability`, read again whenever it changes."""

    calendar: Path
    probability: Annotated[float, Field(gt=0, le=1)]


class TriggersTable(_Table):
    timezone: str = "UTC"
    schedules: tuple[ScheduleTable, ...] = ()
    prices: tuple[PriceTable, ...] = ()
    frequencies: tuple[FrequencyTable, ...] = ()
    peaks: PeakTable | None = None

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no time zone of that name on this machine, e.g. America/Chicago") from None
        return name

    @model_validator(mode="after")
    def _names_are_their_own(self) -> Self:
        for kind, tables in (
            ("schedules", self.schedules),
            ("prices", self.prices),
            ("frequencies", self.frequencies),
        ):
            names = [table.id for table in tables]
            if len(set(names)) != len(names):
                raise ValueError(f"{kind}: an id is declared twice")
        return self

    @property
    def cuts(self) -> tuple[CutTable, ...]:
        peaks = (self.peaks,) if self.peaks is not None else ()
        return (*self.schedules, *self.prices, *self.frequencies, *peaks)

    def schedule_rules(self) -> tuple[Schedule, ...]:
        zone = ZoneInfo(self.timezone)
        return tuple(
            Schedule(
                id=table.id,
                days=frozenset(DAYS.index(day) for day in table.days),
                start=time.fromisoformat(table.start),
                end=time.fromisoformat(table.end),
                zone=zone,
                cut=table.cut,
            )
            for table in self.schedules
        )

    def price_rules(self) -> tuple[Threshold, ...]:
        return tuple(
            Threshold(
                id=table.id,
                source=Source.PRICE,
                side=Side.ABOVE,
                trip=table.above_usd_per_kwh,
                restore=table.restore_below_usd_per_kwh,
                for_s=table.for_s,
                restore_for_s=table.restore_for_s,
                hold_s=table.hold_s,
                cut=table.cut,
            )
            for table in self.prices
        )

    def frequency_rules(self) -> tuple[tuple[Threshold, FrequencyTable], ...]:
        return tuple(
            (
                Threshold(
                    id=table.id,
                    source=Source.FREQUENCY,
                    side=Side.BELOW,
                    trip=table.below_hz,
                    restore=table.restore_above_hz,
                    for_s=table.for_s,
                    restore_for_s=table.restore_for_s,
                    hold_s=table.hold_s,
                    cut=table.cut,
                ),
                table,
            )
            for table in self.frequencies
        )

    def peak_rule(self) -> PeakRule | None:
        if self.peaks is None:
            return None
        return PeakRule(probability=self.peaks.probability, cut=self.peaks.cut)
