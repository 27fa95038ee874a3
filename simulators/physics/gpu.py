"""One GPU: a power limit, the watts its job asks for, and what it does with both.

The NVML face writes `limit_w` (through `set_limit`) and `demand_w` (through `work`), and reads the rest.
"""

from __future__ import annotations

from math import exp

from simulators.groups import GpuGroup
from simulators.physics.curve import Curve
from simulators.physics.faults import GpuFaults
from simulators.physics.machine import NEAR_TRIP_C, NEAR_W, Machine, approach, stride_s

DOWN_TAU_S = 0.017
"""A V100 reaches a lower limit about 50 ms after its clocks change, and a higher one after 0.47 s."""
UP_TAU_S = 0.125
HEAT_TAU_S = 25.0
HYSTERESIS_C = 5.0
MEAN_TAU_S = 0.5
"""A mean over one second (nvml.h) is as late as a first-order filter of this time constant."""
BRAKED = 0.5
"""A power brake and a hardware slowdown halve the clocks at once."""


class Gpu(Machine):
    """`limit_w` is the limit it says is in force, `cap_w` the one it obeys. Without a job it idles."""

    __slots__ = (
        "_curve",
        "_frozen_w",
        "_hot",
        "_set_s",
        "cap_w",
        "demand_w",
        "faults",
        "group",
        "inlet_c",
        "limit_w",
        "mean_w",
        "uuid",
    )

    def __init__(self, group: GpuGroup, index: int) -> None:
        super().__init__(device=group.device_id(index), node=group.node, zone=group.zone, rise_c=group.rise_c)
        self.group = group
        self.uuid = group.uuids[index]
        self.faults = GpuFaults()
        self.limit_w = self.cap_w = group.default_limit_w
        self.demand_w = self.watts = self.mean_w = group.idle_w
        self._frozen_w: float | None = None
        self.inlet_c = 24.0
        self._curve = Curve(group.performance)
        self._hot = False
        self._set_s = 0.0

    @property
    def rated_w(self) -> float:
        return self.group.max_w

    @property
    def throttled(self) -> bool:
        """Its own thermal protection holds it at its lowest limit."""
        return self._hot

    @property
    def braked(self) -> bool:
        return self.faults.power_brake or self.faults.hw_slowdown

    @property
    def asked_w(self) -> float:
        """What all that runs on it would draw without a cap."""
        return max(self.demand_w, self.faults.foreign_w)

    @property
    def working(self) -> bool:
        return self.asked_w > self.group.idle_w

    def says_w(self, now_s: float) -> float:
        """What NVML says that it draws."""
        if self._frozen_w is None or not self.faults.frozen_reads:
            watts = self.watts
            if self.faults.mean_reads:
                self.account(now_s)
                watts = self.mean_w
            self._frozen_w = watts * self.faults.reported_power_factor
        return self._frozen_w

    def account(self, now_s: float) -> None:
        span_s = now_s - self._accounted_s
        if span_s > 0:
            self.mean_w = self.watts + (self.mean_w - self.watts) * exp(-span_s / MEAN_TAU_S)
        super().account(now_s)

    def set_limit(self, watts: float) -> None:
        """As the driver does, keeps a limit inside the board's range; the caller reports errors."""
        self.limit_w = min(max(watts, self.group.min_w), self.group.max_w)
        self._set_s = self._accounted_s
        if not self.faults.lies_about_limit:
            self.cap_w = self.limit_w
            self.moving = True

    def reset_limit(self) -> None:
        """Behind everyone's back: a driver reload, another administrator."""
        self.limit_w = self.cap_w = self.group.default_limit_w
        self.moving = True

    def work(self, demand_w: float) -> None:
        """A job now asks for `demand_w`; none: the idle watts."""
        wanted_w = max(demand_w, self.group.idle_w)
        self.moving = self.moving or wanted_w != self.demand_w
        self.demand_w = wanted_w

    def power_on(self, now_s: float) -> None:
        """No limit and no job survives a power cut."""
        super().power_on(now_s)
        self.reset_limit()
        self.demand_w = self.group.idle_w

    def move(self, now_s: float) -> None:
        self.account(now_s)
        if not self.powered:
            self.moving = False
            return
        forgets = self._forgets(now_s)
        cap_w = min(self.cap_w, self.group.min_w) if self._hot else self.cap_w
        if self.braked:
            cap_w = min(cap_w, BRAKED * self.group.max_w)
        target_w = min(cap_w, self.asked_w)
        tau_s = DOWN_TAU_S if target_w < self.watts else UP_TAU_S
        step_s = stride_s(target_w - self.watts)
        self.watts = approach(self.watts, target_w, step_s, tau_s, NEAR_W)
        self.rate = self._throughput(cap_w) if self.working else 0.0
        self.moving = forgets or self.watts != target_w
        self.next_s = now_s + step_s

    def _forgets(self, now_s: float) -> bool:
        """Whether its limit is one that will not last; one whose time is over goes here."""
        if not self.faults.limit_returns_s or self.limit_w == self.group.default_limit_w:
            return False
        if now_s - self._set_s < self.faults.limit_returns_s:
            return True
        self.reset_limit()
        return False

    def warm(self, now_s: float, inlet_c: float) -> None:
        self.inlet_c = inlet_c
        self._heat(now_s, inlet_c, HEAT_TAU_S)
        hot = self.temperature_c >= self.group.slowdown_c - (HYSTERESIS_C if self._hot else 0.0)
        if hot != self._hot:
            self.trips += hot
            self._hot = hot
            self.moving = True

    @property
    def near_trip(self) -> bool:
        return self._hot or self.temperature_c >= self.group.slowdown_c - NEAR_TRIP_C

    def _throughput(self, cap_w: float) -> float:
        """Relative to the job without a cap: a cap above the demand costs nothing."""
        default_w = self.group.default_limit_w
        uncapped = self._curve(self.asked_w / default_w)
        return min(1.0, self._curve(cap_w / default_w) / uncapped) if uncapped > 0 else 0.0
