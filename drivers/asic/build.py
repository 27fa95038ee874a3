"""From a group's configuration to its drivers. A new family is one line in `ADAPTERS`: see ../README.md."""

from __future__ import annotations

from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint, ThermalLimits
from controller.domain.power import Power
from drivers.asic.adapter import Adapter, Plate, points_of
from drivers.asic.antminer import Antminer
from drivers.asic.auradine import Auradine
from drivers.asic.avalon import Avalon
from drivers.asic.braiins import Braiins
from drivers.asic.config import Family, Login, Logins, MinerGroupConfig
from drivers.asic.driver import AsicDriver, Patience
from drivers.asic.epic import Epic
from drivers.asic.generic import Generic, Recognised
from drivers.asic.identify import Identifier
from drivers.asic.luxos import LuxOS
from drivers.asic.vnish import VNish
from drivers.asic.whatsminer import Whatsminer
from drivers.asic.whatsminer_v3 import WhatsminerV3

ADAPTERS: dict[Family, type[Adapter]] = {
    "luxos": LuxOS,
    "whatsminer": Whatsminer,
    "antminer": Antminer,
    "whatsminer-v3": WhatsminerV3,
    "avalon": Avalon,
    "vnish": VNish,
    "auradine": Auradine,
    "braiins": Braiins,
    "epic": Epic,
    "generic": Generic,
}


def build(
    config: MinerGroupConfig, identifier: Identifier | None = None, logins: Logins | None = None
) -> tuple[AsicDriver, ...]:
    """The drivers of a group. Groups of one process may share an `identifier`, and its limit with it;
    `logins` are those of whole families, where nothing closer says so. Raises `ValueError` where the group's
    backend is not installed."""
    adapter = _adapter(config)
    family = (logins or {}).get(config.family, Login())
    recognises = config.family == "generic" or config.backend != "native"
    shared = Recognised() if recognises else identifier or Identifier()
    plates = (
        _plate(config, device, host, config.login_of(device, host, family))
        for device, host in zip(config.device_names(), config.addresses(), strict=True)
    )
    return tuple(_driver(config, adapter, plate, shared) for plate in plates)


def _adapter(config: MinerGroupConfig) -> type[Adapter]:
    if config.backend == "native":
        return ADAPTERS[config.family]
    try:
        from drivers.asic.asicrs import RS_ADAPTERS  # an extra: most sites do not have it
    except ImportError as error:
        raise ValueError(f"miners {config.id!r}: backend {config.backend}: {error}") from error
    return RS_ADAPTERS[config.family]


def _driver(
    config: MinerGroupConfig, adapter: type[Adapter], plate: Plate, identifier: Identifier
) -> AsicDriver:
    return AsicDriver(
        host=plate.host,
        spec=_spec(config, plate, points_of(adapter, plate)),
        adapter=adapter(plate),
        identifier=identifier,
        patience=Patience(identify_s=config.identify_s),
    )


def _plate(config: MinerGroupConfig, device: str, host: str, login: Login) -> Plate:
    return Plate(
        device=device,
        host=host,
        rated_w=config.rated_w,
        rated_ths=config.rated_ths,
        sleep_w=config.sleep_w,
        ceiling_w=config.ceiling,
        min_w=config.min_w,
        points=tuple(
            OperatingPoint(name=point.name, power=Power(point.power_w), rate=point.rate_ths)
            for point in config.points
        ),
        username=login.username,
        password=login.password,
        state_dir=config.state_dir,
        exchange_s=config.exchange_s,
        busy_wait_s=config.busy_wait_s,
    )


def _spec(config: MinerGroupConfig, plate: Plate, points: tuple[OperatingPoint, ...]) -> DeviceSpec:
    return DeviceSpec(
        id=plate.device,
        kind=DeviceKind.ASIC,
        node=config.node,
        zone=config.zone,
        points=points,
        ceiling=Power(plate.ceiling_w),
        thermal=_heat(config.derate_c, config.trip_c, config.warn_c),
        board_thermal=_heat(config.board_derate_c, config.board_trip_c),
        keeps_limit=config.keeps_limit,
        keeps_sleep=config.keeps_sleep,
        boots_s=config.boots_s,
        stale_after_s=config.stale_after_s,
        dwell_s=config.dwell_s,
        settle_down_s=config.settle_down_s,
        settle_up_s=config.settle_up_s,
        restart_s=config.restart_s,
        starts_per_hour=config.starts_per_hour,
    )


def _heat(derate_c: float | None, trip_c: float | None, warn_c: float | None = None) -> ThermalLimits | None:
    if derate_c is None or trip_c is None:
        return None
    return ThermalLimits(derate_c=derate_c, trip_c=trip_c, warn_c=warn_c)
