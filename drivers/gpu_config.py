"""The table of a GPU host in a site file."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.domain.devices import ThermalLimits
from drivers.gpu_curve import Curve, Workload, known

MEMORY_DERATE_C = 5.0
"""So far below what a board's memory bears, it begins to derate."""

Watts = Annotated[int, Field(gt=0, le=10_000)]
Fraction = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Celsius = Annotated[float, Field(gt=0, lt=150)]
Uuid = Annotated[str, Field(pattern=r"^GPU-[0-9A-Za-z-]+$")]


class GpuHostConfig(BaseModel):
    """The GPUs of one model in one host; `model` is what the site's prices call it.

    `curve` maps a limit, as a fraction of the default limit, to throughput; below its first corner it runs to
    (0, 0). Without one, the curve is that which is known of the model for its `workload`. It is where
    learning begins, unless `learn` is false. The temperatures are for boards that do not tell their margin to
    slowdown, those of the memory for boards that do not tell what it bears.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    node: str = Field(min_length=1)
    zone: str | None = None
    model: str = Field(default="", max_length=64)
    uuids: tuple[Uuid, ...] = Field(min_length=1, max_length=64)
    library: str | None = None
    min_w: Watts
    max_w: Watts
    default_w: Watts
    step_w: Watts = 25
    curve: tuple[tuple[Fraction, Fraction], ...] | None = Field(default=None, min_length=1)
    workload: Workload = Workload.LLM_TRAINING
    learn: bool = True
    derate_c: Celsius = 83.0
    trip_c: Celsius = 90.0
    memory_derate_c: Celsius | None = None
    memory_trip_c: Celsius | None = None
    poll_s: Seconds = 1.0
    timeout_s: Seconds = 2.0
    stale_after_s: Seconds = 10.0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.min_w <= self.default_w <= self.max_w:
            raise ValueError(
                f"min_w {self.min_w} <= default_w {self.default_w} <= max_w {self.max_w} does not hold"
            )
        if len(set(self.uuids)) < len(self.uuids):
            raise ValueError("uuids: one is declared twice")
        limits, rates = zip(*self.prior(), strict=True)
        if list(limits) != sorted(limits) or list(rates) != sorted(rates):
            raise ValueError("curve must ascend in both columns")
        if self.derate_c >= self.trip_c:
            raise ValueError(f"derate_c {self.derate_c} must lie below trip_c {self.trip_c}")
        if (self.memory_derate_c is None) != (self.memory_trip_c is None):
            raise ValueError("memory_derate_c and memory_trip_c come together or not at all")
        self.memory_thermal(None)  # refuses limits that do not ascend
        if self.stale_after_s < 3 * self.poll_s:
            raise ValueError(f"stale_after_s {self.stale_after_s} is under 3 x poll_s {self.poll_s}")
        return self

    def memory_thermal(self, bears_c: float | None) -> ThermalLimits | None:
        """For memory that bears `bears_c`, as the board says; what is configured comes first."""
        if self.memory_derate_c is not None and self.memory_trip_c is not None:
            return ThermalLimits(derate_c=self.memory_derate_c, trip_c=self.memory_trip_c)
        return None if bears_c is None else ThermalLimits(derate_c=bears_c - MEMORY_DERATE_C, trip_c=bears_c)

    def prior(self, model: str = "") -> Curve:
        """What a limit is taken to cost before anything was measured."""
        return known(model, self.workload) if self.curve is None else self.curve
