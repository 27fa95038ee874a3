"""The site file's tables of money: the prices that hold where nothing tells one, and when machines stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.domain.prices import ANY_MODEL, MARKETS, Ladder, Price, PriceKey, Rung
from controller.domain.site import Prices, Thresholds


def _within(price: Price) -> object:
    return Field(ge=MARKETS[price].least, le=MARKETS[price].most)


HashPrice = Annotated[float, Field(ge=0.0, le=MARKETS[Price.HASH].most)]
"""Nothing, where no machine is to run for a price that is not known."""
EnergyPrice = Annotated[float, _within(Price.ENERGY)]
GpuHourPrice = Annotated[float, _within(Price.GPU_HOUR)]
ReductionPrice = Annotated[float, _within(Price.REDUCTION)]
Model = Annotated[str, Field(min_length=1, max_length=64)]


class PricesTable(BaseModel):
    """The constants, which hold where no source is fresh; `prefer` says which source comes first."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    hash_usd_per_ths_day: HashPrice = 0.05
    energy_usd_per_kwh: EnergyPrice = 0.05
    gpu_hour_usd: dict[Model, GpuHourPrice] = Field(default_factory=lambda: {ANY_MODEL: 1.0}, max_length=100)
    reduction_usd_per_kwh: ReductionPrice = 0.0
    prefer: tuple[str, ...] = Field(default=(), max_length=1000)

    def constants(self) -> Prices:
        return Prices(
            usd_per_ths_day=self.hash_usd_per_ths_day,
            usd_per_kwh=self.energy_usd_per_kwh,
            usd_per_gpu_hour=dict(self.gpu_hour_usd),
            usd_per_kwh_reduced=self.reduction_usd_per_kwh,
        )

    def ladders(self, rungs: Mapping[PriceKey, tuple[Rung, ...]]) -> tuple[Ladder, ...]:
        """Every price, the sources of each and its constant."""
        constants = dict(self._constants())
        return tuple(
            Ladder(key=key, constant=constants.get(key, self._any_gpu), rungs=rungs.get(key, ()))
            for key in sorted(constants.keys() | rungs.keys())
        )

    @property
    def _any_gpu(self) -> float:
        return self.gpu_hour_usd.get(ANY_MODEL, 0.0)

    def _constants(self) -> Iterator[tuple[PriceKey, float]]:
        yield PriceKey(price=Price.HASH), self.hash_usd_per_ths_day
        yield PriceKey(price=Price.ENERGY), self.energy_usd_per_kwh
        yield PriceKey(price=Price.REDUCTION), self.reduction_usd_per_kwh
        for model, usd in self.gpu_hour_usd.items():
            yield PriceKey(price=Price.GPU_HOUR, model=model), usd


class ProfitTable(BaseModel):
    """When a machine is stopped because it costs more than it earns, and when it may run again."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    stop_below_usd_per_kwh: float = Field(default=0.0, ge=-5, le=20)
    start_above_usd_per_kwh: float = Field(default=0.005, ge=-5, le=20)
    least_on_s: float = Field(default=900.0, ge=0, le=86_400)
    least_off_s: float = Field(default=900.0, ge=0, le=86_400)

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        if self.stop_below_usd_per_kwh > self.start_above_usd_per_kwh:
            raise ValueError(
                f"stop_below_usd_per_kwh {self.stop_below_usd_per_kwh} lies above "
                f"start_above_usd_per_kwh {self.start_above_usd_per_kwh}"
            )
        return self

    def thresholds(self) -> Thresholds:
        return Thresholds(
            stop_below=self.stop_below_usd_per_kwh,
            start_above=self.start_above_usd_per_kwh,
            least_on_s=self.least_on_s,
            least_off_s=self.least_off_s,
        )
