"""The `[settlement]` table: by which calendar and which baselines events are settled."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.settlement.days import Calendar
from controller.settlement.methods import KNOWN, Adjustment, MeterBefore, Method, Pick, Shift, XOfY
from controller.settlement.performance import Terms

DAY_S = 86_400
MINUTE_S = 60
Days = Annotated[int, Field(ge=1, le=90)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BaselineTable(Table):
    """One of `[[settlement.baselines]]`: X of Y like days with the numbers of a contract."""

    id: Name
    pick: Pick
    take: Days
    of: Days
    rest_take: Days | None = None
    rest_of: Days | None = None
    look_back_days: Annotated[int, Field(ge=1, le=400)] = 45
    low_day_percent: Annotated[float, Field(ge=0, lt=100)] = 0.0
    saturdays_apart: bool = False
    adjustment: Shift | None = None
    adjustment_window_s: Annotated[float, Field(gt=0, le=DAY_S)] = 10_800.0
    adjustment_gap_s: Annotated[float, Field(ge=0, le=DAY_S)] = 3600.0
    adjustment_most_percent: Annotated[float, Field(ge=0, le=1000)] | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.id in KNOWN:
            raise ValueError(f"baseline {self.id}: the name is taken by one that everybody knows")
        if (self.rest_take is None) != (self.rest_of is None):
            raise ValueError(f"baseline {self.id}: rest_take and rest_of go together")
        for take, of, key in ((self.take, self.of, "take"), (*self._rest, "rest_take")):
            if take > of or (self.pick is Pick.ALL and take != of):
                raise ValueError(f"baseline {self.id}: {key} {take} of {of} days (pick {self.pick})")
            if self.pick is Pick.MIDDLE and (of - take) % 2:
                raise ValueError(f"baseline {self.id}: {key} {take} of {of} leaves no middle")
        return self

    @property
    def _rest(self) -> tuple[int, int]:
        return self.rest_take or self.take, self.rest_of or self.of

    def method(self) -> XOfY:
        rest_take, rest_of = self._rest
        most = self.adjustment_most_percent
        adjustment = None
        if self.adjustment is not None:
            adjustment = Adjustment(
                shift=self.adjustment,
                window_s=self.adjustment_window_s,
                gap_s=self.adjustment_gap_s,
                most_share=None if most is None else most / 100,
            )
        return XOfY(
            name=self.id,
            pick=self.pick,
            take=self.take,
            of=self.of,
            rest_take=rest_take,
            rest_of=rest_of,
            look_back_days=self.look_back_days,
            low_day_share=self.low_day_percent / 100,
            saturdays_apart=self.saturdays_apart,
            adjustment=adjustment,
        )


class SettlementTable(Table):
    time_zone: str | None = None
    holidays: tuple[date, ...] = ()
    interval_s: Annotated[int, Field(ge=1, le=DAY_S)] = 60
    baseline_interval_s: Annotated[int, Field(ge=MINUTE_S, le=DAY_S)] = 900
    meter_before_s: Annotated[float, Field(ge=1, le=DAY_S)] = 60.0
    meter_before_gap_s: Annotated[float, Field(ge=0, le=DAY_S)] = 60.0
    target_tolerance_percent: Annotated[float, Field(ge=0, le=100)] = 5.0
    target_tolerance_kw: Annotated[float, Field(ge=0, le=10_000_000)] = 0.0
    baselines: tuple[BaselineTable, ...] = ()

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        try:
            ZoneInfo(name or "UTC")
        except (OSError, ValueError, ZoneInfoNotFoundError):
            raise ValueError("a time zone such as America/Chicago is needed") from None
        return name

    @field_validator("interval_s", "baseline_interval_s")
    @classmethod
    def _divides_the_day(cls, seconds: int) -> int:
        if DAY_S % seconds:
            raise ValueError("a day must be a whole number of them")
        return seconds

    @model_validator(mode="after")
    def _are_told_apart(self) -> Self:
        names = [table.id for table in self.baselines]
        if len(set(names)) != len(names):
            raise ValueError("baselines: a name is declared twice")
        if self.baseline_interval_s % MINUTE_S:
            raise ValueError(f"baseline_interval_s {self.baseline_interval_s}: whole minutes are kept")
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone or "UTC")

    def methods(self) -> dict[str, Method]:
        """Every baseline that can be asked for by name."""
        before = MeterBefore(length_s=self.meter_before_s, gap_s=self.meter_before_gap_s)
        own = {table.id: table.method() for table in self.baselines}
        return {**KNOWN, before.name: before, **own}

    def calendar(self, interval_s: int) -> Calendar:
        return Calendar(zone=self.zone, interval_s=interval_s, holidays=frozenset(self.holidays))

    def terms(self, interval_s: int, firm_service_level_kw: float | None) -> Terms:
        level: Bound = NO_LIMIT
        if firm_service_level_kw is not None:
            level = Limit(Power.kw(firm_service_level_kw))
        return Terms(
            interval_s=interval_s,
            tolerance_share=self.target_tolerance_percent / 100,
            tolerance=Power.kw(self.target_tolerance_kw),
            firm_service_level=level,
        )
