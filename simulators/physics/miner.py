"""One miner: its firmware's orders, its watts, hash and heat, and how each can go wrong.

What it says (`report`) is kept apart from what is true (`watts`, `rate`, `temperature_c`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from simulators.groups import Family, MinerGroup
from simulators.physics.curve import Curve
from simulators.physics.faults import MinerFaults
from simulators.physics.machine import NEAR_TRIP_C, NEAR_W, STEP_S, Machine, approach, seeded, stride_s

CHANGE_TAU_S = 1.2
HEAT_TAU_S = 60.0
NEAR_THS = 0.05
UNSAFE_WAKE_S = 3.0
SOFT_START_STEP_S = 0.5
"""A soft start takes half a minute: its straight line is followed in such steps."""
HASH_FROM = 0.5
"""Share of the soft start's watts before the first hash."""
RECOVERY_C = 30.0
"""A tripped miner starts again when it has cooled this far below its trip temperature."""
WAKES_WITH_A_BOOT = frozenset({Family.WHATSMINER, Family.WHATSMINER_V3, Family.AVALON, Family.VNISH})
"""Sleep survives a reboot on LuxOS and in a stock Antminer's configuration, but not here."""


class MinerState(StrEnum):
    HASHING = "hashing"
    STARTING = "starting"
    ASLEEP = "asleep"
    IDLE = "idle"
    TRIPPED = "tripped"
    REBOOTING = "rebooting"
    DARK = "dark"


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerReport:
    """What the firmware says of itself. `setting_w` and `point` are what it claims to have in force."""

    watts: float
    rate_ths: float
    hottest_c: float
    inlet_c: float
    state: MinerState
    asleep: bool
    setting_w: float
    point: str
    uptime_s: float


class Miner(Machine):
    """The firmware of `group`, with a nominal power per operating point that is true only up to `bias`."""

    __slots__ = (
        "_asleep",
        "_booted_s",
        "_fall_tau_s",
        "_frozen",
        "_had_work",
        "_scheduled",
        "_setting_w",
        "_start_w_per_s",
        "_tripped",
        "_until_s",
        "address",
        "bias",
        "boots",
        "curve",
        "faults",
        "group",
        "inlet_c",
        "points",
        "said_asleep",
        "said_point",
        "said_setting_w",
        "serial",
        "without_pools",
    )

    def __init__(self, group: MinerGroup, index: int, seed: int) -> None:
        super().__init__(
            device=group.device_id(index), node=group.node, zone=group.zone, rise_c=group.chip_rise_c
        )
        self.group = group
        self.address = str(group.first_address + index)
        random = seeded(seed, self.id)
        self.bias = 1.0 + random.uniform(-group.bias, group.bias)
        self._fall_tau_s = random.uniform(2.0, 5.0) / 3
        self.serial = f"{random.getrandbits(48):012x}"
        self.points = {point.name: point for point in group.operating_points}
        self.curve = Curve(
            [(group.idle_power_w, 0.0), *((point.power_w, point.ths) for point in self.points.values())]
        )
        top = max(self.points.values(), key=lambda point: point.power_w)
        self.faults = MinerFaults()
        self.inlet_c = 24.0
        self.boots = 0
        self.said_asleep = False
        self.said_point = top.name
        self.said_setting_w = self._setting_w = top.power_w
        self.without_pools = False
        self._asleep = False
        self._tripped = False
        self._had_work = True
        self._start_w_per_s = 0.0
        self._until_s = 0.0
        self._booted_s = 0.0
        self._scheduled: tuple[float, Callable[[], None]] | None = None
        self._frozen: MinerReport | None = None
        self.watts = self._target_w(self.state)
        self.rate = self.curve(self._setting_w)

    # -- orders, as the firmware takes them ------------------------------------------------------------

    def sleep(self) -> None:
        self.orders += 1
        self.said_asleep = True
        if not self.faults.lies_about_stop:
            self._asleep = True
            self._start_w_per_s = 0.0
            self.moving = True

    def wake(self, *, unsafe: bool = False) -> None:
        self.orders += 1
        self.said_asleep = False
        if not self.faults.lies_about_resume and self._asleep:
            self._asleep = False
            self._soft_start(UNSAFE_WAKE_S if unsafe else self.group.wake_s)

    def set_limit(self, watts: float) -> None:
        """A limit between two points, for firmware that takes watts."""
        nearest = min(self.points.values(), key=lambda point: abs(point.power_w - watts))
        self._set(watts, nearest.name)

    def set_point(self, name: str) -> None:
        self._set(self.points[name].power_w, name)

    def schedule(self, at_s: float, order: Callable[[], None]) -> None:
        """Carry `order` out when the plant's time is `at_s`; a newer one takes the place of an older one."""
        self._scheduled = at_s, order
        self.moving = True

    def reboot(self, now_s: float) -> None:
        self.boots += 1
        self._scheduled = None
        self._until_s = now_s + self.group.reboot_s
        self._start_w_per_s = 0.0
        self._tripped = False
        if self.group.family in WAKES_WITH_A_BOOT:
            self._asleep = self.said_asleep = False
        if self.faults.forgets_limit_on_reboot:
            top = max(self.points.values(), key=lambda point: point.power_w)
            self._setting_w = self.said_setting_w = top.power_w
            self.said_point = top.name
        self.moving = True

    def set_pools(self, *, usable: bool) -> None:
        self.without_pools = not usable
        self.moving = True

    # -- what it says -----------------------------------------------------------------------------------

    def password(self, of_factory: str) -> str:
        """The one that it takes: its group's, or that `of_factory`, unless somebody changed it."""
        password = self.group.password or of_factory
        return f"{password}-changed" if self.faults.wrong_password else password

    @property
    def reachable(self) -> bool:
        return self.powered and not self._until_s and not self.faults.dead

    def report(self, now_s: float) -> MinerReport:
        if self._frozen is None or not self.faults.frozen_reads:
            self._frozen = MinerReport(
                watts=self.watts / self.bias * self.faults.reported_power_factor,
                rate_ths=self.rate,
                hottest_c=self.temperature_c,
                inlet_c=self.inlet_c,
                state=self.state,
                asleep=self.said_asleep,
                setting_w=self.said_setting_w,
                point=self.said_point,
                uptime_s=now_s - self._booted_s,
            )
        return self._frozen

    # -- what is true -----------------------------------------------------------------------------------

    @property
    def rated_w(self) -> float:
        return self.group.rated_w

    @property
    def state(self) -> MinerState:
        if not self.powered:
            return MinerState.DARK
        if self._until_s:
            return MinerState.REBOOTING
        if self._tripped:
            return MinerState.TRIPPED
        if self._asleep:
            return MinerState.ASLEEP
        if not self._has_work:
            return MinerState.IDLE
        return MinerState.STARTING if self._start_w_per_s else MinerState.HASHING

    @property
    def _has_work(self) -> bool:
        return not (self.faults.pool_loss or self.without_pools)

    def _target_w(self, state: MinerState) -> float:
        match state:
            case MinerState.DARK:
                return 0.0
            case MinerState.HASHING | MinerState.STARTING:
                return self._setting_w * self.bias
            case MinerState.IDLE:
                return self.group.idle_power_w * self.bias
            case MinerState.ASLEEP | MinerState.TRIPPED | MinerState.REBOOTING:
                return self.group.standby_w * self.bias

    def move(self, now_s: float) -> None:
        self.account(now_s)
        if not self.powered:
            self.moving = self.settling = False
            self.due_s = inf
            return
        self._finish_boot(now_s)
        self._keep_schedule(now_s)
        self._notice_pools()
        state = self.state
        target_w = self._target_w(state)
        if self._start_w_per_s:
            step_s = SOFT_START_STEP_S if self.group.wake_s > 5 else STEP_S
            self.watts = min(target_w, self.watts + self._start_w_per_s * step_s)
            if self.watts == target_w:
                self._start_w_per_s = 0.0
        else:
            tau_s = self._fall_tau_s if state is not MinerState.HASHING else CHANGE_TAU_S
            step_s = stride_s(target_w - self.watts)
            self.watts = approach(self.watts, target_w, step_s, tau_s, NEAR_W)
        self.settling = True
        self.moving = self.watts != target_w
        self.next_s = now_s + step_s
        self.due_s = min(self._until_s or inf, self._scheduled[0] if self._scheduled is not None else inf)

    def settle(self, now_s: float, dt_s: float) -> None:
        """Let the hash rate follow for `dt_s` while the watts stay."""
        self.account(now_s)
        state = self.state
        self._hash(state, self._target_w(state), dt_s)

    def warm(self, now_s: float, inlet_c: float) -> None:
        """Hot enough, it stops by itself; cool again, it starts by itself."""
        self.inlet_c = inlet_c
        self._heat(now_s, inlet_c, HEAT_TAU_S)
        if not self._tripped and self.temperature_c >= self.group.trip_c:
            self._tripped = True
            self._start_w_per_s = 0.0
            self.trips += 1
            self.moving = True
        elif self._tripped and self.temperature_c <= self.group.trip_c - RECOVERY_C:
            self._tripped = False
            self._soft_start(self.group.wake_s)

    @property
    def near_trip(self) -> bool:
        return self._tripped or self.temperature_c >= self.group.trip_c - NEAR_TRIP_C

    def power_on(self, now_s: float) -> None:
        super().power_on(now_s)
        self.reboot(now_s)

    def _set(self, watts: float, point: str) -> None:
        self.orders += 1
        self.said_setting_w = watts
        self.said_point = point
        if not self.faults.lies_about_limit:
            self._setting_w = watts
            self.moving = True

    def _soft_start(self, wake_s: float) -> None:
        """Watts rise in a straight line; without a wake time they are there at once."""
        rise_w = max(0.0, self._setting_w * self.bias - self.watts)
        self._start_w_per_s = rise_w / wake_s if wake_s > 0 else 0.0
        self.moving = True

    def _finish_boot(self, now_s: float) -> None:
        if self._until_s and now_s >= self._until_s:
            self._until_s = 0.0
            self._booted_s = now_s
            if not self._asleep:
                self._soft_start(self.group.wake_s)

    def _keep_schedule(self, now_s: float) -> None:
        if self._scheduled is not None and now_s >= self._scheduled[0]:
            _, order = self._scheduled
            self._scheduled = None
            order()

    def _notice_pools(self) -> None:
        """Work that comes back takes its watts in one step: the boards never cooled down."""
        has_work = self._has_work
        if has_work and not self._had_work and self.state is MinerState.HASHING:
            self.watts = self._target_w(MinerState.HASHING)
        self._had_work = has_work

    def _hash_target(self, state: MinerState, target_w: float) -> float:
        if state is MinerState.HASHING or (
            state is MinerState.STARTING and self.watts >= HASH_FROM * target_w
        ):
            return self.curve(self.watts / self.bias)
        return 0.0

    def _hash(self, state: MinerState, target_w: float, dt_s: float) -> None:
        """Hash falls with the watts and rises after them."""
        target = self._hash_target(state, target_w)
        rising = approach(self.rate, target, dt_s, self.group.hash_lag_s, NEAR_THS)
        self.rate = min(target, rising)
        self.settling = self.rate != target
