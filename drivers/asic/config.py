"""The configuration of a group of equal miners: one table, checked whole before anything is built from it."""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

Family = Literal[
    "luxos",
    "whatsminer",
    "antminer",
    "whatsminer-v3",
    "avalon",
    "vnish",
    "auradine",
    "braiins",
    "epic",
    "generic",
]

Backend = Literal["native", "pyasic-rs"]

RS_FAMILIES: tuple[Family, ...] = ("whatsminer", "whatsminer-v3", "auradine")
"""What pyasic-rs 0.8.6 tells and is told well enough to be driven by: for the others it cannot tell that a
machine was stopped (LuxOS), tells no watts (stock Antminer), has none to set (ePIC, MaraFW), stops by this
computer's clock (Avalon), or knows another API than ours (Braiins OS+)."""

CEILING_SHARE = 1.05
MAX_HOSTS = 50_000
ANTMINER_POINTS = {"sleep", "low", "normal"}
AVALON_POINTS = {"sleep", "low", "mid", "high"}

Watts = Annotated[int, Field(ge=0, le=100_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Celsius = Annotated[float, Field(gt=0, le=150, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_HOSTS = re.compile(r"(\d+\.\d+\.\d+\.\d+)(?:-(\d+))?")


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PointConfig(Table):
    """An operating point: a LuxOS profile, an Antminer mode, an Avalon level, a Whatsminer limit; `sleep` for
    all of them."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    power_w: Watts
    rate_ths: Rate


class Login(Table):
    """What machines ask for, where it is not the factory's."""

    username: str | None = None
    password: SecretStr | None = None

    def over(self, broader: Login) -> Login:
        """What is said here, and where nothing is, what the broader one says."""
        return Login(
            username=broader.username if self.username is None else self.username,
            password=broader.password if self.password is None else self.password,
        )


Logins = Mapping[Family, Login]


class MinerGroupConfig(Table):
    """Devices are named `<id>-000` and up, in the order of `hosts` (addresses and ranges like 10.0.0.5-9).

    `rated_w` and `rated_ths` are one machine's at full power; `min_w` is the least it draws while hashing.
    Without `points` each family derives its own. `timeout_s` is for a whole read, `exchange_s` for each
    connection in it, `busy_wait_s` the pause before a machine that is busy with someone else is asked again.
    `backend` is what speaks to them. `logins` are those of single machines, by address or device name.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
    family: Family
    backend: Backend = "native"
    hosts: tuple[str, ...]
    node: str
    zone: str | None = None
    rated_w: Annotated[int, Field(gt=0, le=100_000)]
    rated_ths: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    points: tuple[PointConfig, ...] = ()
    min_w: Watts | None = None
    sleep_w: Watts = 25
    ceiling_w: Watts | None = None
    keeps_limit: bool = False
    keeps_sleep: bool = False
    boots_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    poll_s: Seconds = 5.0
    stale_after_s: Seconds = 15.0
    dwell_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    settle_down_s: Seconds = 15.0
    settle_up_s: Seconds = 180.0
    restart_s: Annotated[float, Field(ge=0, le=86_400)] = 120.0
    derate_c: Celsius | None = None
    trip_c: Celsius | None = None
    warn_c: Celsius | None = None
    board_derate_c: Celsius | None = None
    board_trip_c: Celsius | None = None
    starts_per_hour: Annotated[int, Field(ge=1, le=1000)] = 20
    username: str | None = None
    password: SecretStr | None = None
    logins: dict[str, Login] = {}
    state_dir: Path | None = None
    timeout_s: Seconds = 5.0
    exchange_s: Seconds = 3.0
    identify_s: Seconds = 15.0
    busy_wait_s: Seconds = 2.0

    @property
    def ceiling(self) -> int:
        return self.ceiling_w if self.ceiling_w is not None else math.ceil(self.rated_w * CEILING_SHARE)

    def addresses(self) -> tuple[str, ...]:
        return tuple(address for host in self.hosts for address in expand(host))

    def device_names(self) -> tuple[str, ...]:
        return tuple(f"{self.id}-{index:03d}" for index in range(len(self.addresses())))

    def login_of(self, device: str, address: str, family: Login) -> Login:
        """Of one machine: its own, over the group's, over the family's."""
        login = Login(username=self.username, password=self.password).over(family)
        for name in (address, device):
            if name in self.logins:
                login = self.logins[name].over(login)
        return login

    @field_validator("hosts")
    @classmethod
    def _distinct(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        addresses = Counter(address for host in hosts for address in expand(host))
        if not 0 < addresses.total() <= MAX_HOSTS:
            raise ValueError(f"{addresses.total()} addresses; a group has 1 to {MAX_HOSTS}")
        for address, times in addresses.items():
            if times > 1:
                raise ValueError(f"address {address} is listed {times} times")
        return hosts

    @model_validator(mode="after")
    def _check(self) -> Self:
        least_w = self.min_w if self.min_w is not None else self.rated_w // 2
        if not self.sleep_w < least_w < self.rated_w <= self.ceiling:
            powers = f"{self.sleep_w} < {least_w} < {self.rated_w} <= {self.ceiling}"
            only_on = ": one that is only on or off has `points`" if least_w == self.rated_w else ""
            raise ValueError(f"sleep_w < min_w < rated_w <= ceiling_w does not hold: {powers}{only_on}")
        _check_heat("", self.derate_c, self.trip_c)
        _check_heat("board_", self.board_derate_c, self.board_trip_c)
        if self.warn_c is not None and (self.trip_c is None or self.warn_c >= self.trip_c):
            raise ValueError(f"warn_c {self.warn_c} is not below a trip_c, which is {self.trip_c}")
        if self.stale_after_s < 2 * self.poll_s:
            raise ValueError(f"stale_after_s {self.stale_after_s} is less than two polls of {self.poll_s} s")
        if self.exchange_s > self.timeout_s:
            raise ValueError(f"exchange_s {self.exchange_s} is longer than timeout_s {self.timeout_s}")
        if strangers := self.logins.keys() - {*self.addresses(), *self.device_names()}:
            names = ", ".join(sorted(strangers))
            raise ValueError(f"logins: {names}: no machine of {self.id!r} (see also miners__{self.id}__...)")
        self._check_backend()
        self._check_points()
        return self

    def _check_backend(self) -> None:
        if self.backend == "native":
            return
        if self.family not in RS_FAMILIES:
            raise ValueError(f"backend {self.backend} drives {', '.join(RS_FAMILIES)} and not {self.family}")
        if self.family == "auradine" and self.derate_c is not None:
            raise ValueError(f"backend {self.backend} tells no chip temperature of an auradine to derate by")

    def _check_points(self) -> None:
        names = [point.name for point in self.points]
        powers = [point.power_w for point in self.points]
        if len(set(names)) != len(names) or powers != sorted(set(powers)):
            raise ValueError("points: names must differ and power_w must ascend")
        if powers and powers[-1] > self.ceiling:
            raise ValueError(
                f"points: {names[-1]} of {powers[-1]} W lies above the ceiling of {self.ceiling} W"
            )
        if "sleep" in names[1:]:
            raise ValueError("points: sleep must be the lowest")
        if self.family == "antminer" and not set(names) <= ANTMINER_POINTS:
            raise ValueError(f"points: an antminer has {', '.join(sorted(ANTMINER_POINTS))} and no other")
        if self.family == "avalon" and not set(names) <= AVALON_POINTS:
            raise ValueError(f"points: an avalon has {', '.join(sorted(AVALON_POINTS))} and no other")


def expand(host: str) -> tuple[str, ...]:
    """`10.0.0.5-9` is five addresses; `10.0.0.5` is one."""
    match = _HOSTS.fullmatch(host)
    try:
        first = ipaddress.IPv4Address(match[1] if match else host)
    except ValueError:
        raise ValueError(f"host {host!r} is neither an IPv4 address nor a range like 10.0.0.5-9") from None
    last = int(match[2]) if match and match[2] else int(first) & 0xFF
    if not int(first) & 0xFF <= last <= 255:
        raise ValueError(f"host range {host!r} must ascend and end at 255 at most")
    return tuple(str(first + step) for step in range(last - (int(first) & 0xFF) + 1))


def _check_heat(sensor: str, derate_c: float | None, trip_c: float | None) -> None:
    if (derate_c is None) != (trip_c is None):
        raise ValueError(f"{sensor}derate_c and {sensor}trip_c come together or not at all")
    if derate_c is not None and trip_c is not None and derate_c >= trip_c:
        raise ValueError(f"{sensor}derate_c {derate_c} is not below {sensor}trip_c {trip_c}")
