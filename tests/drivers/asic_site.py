"""One simulated machine of every ASIC family and backend, and the drivers for them: the contract's stage."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import randrange
from typing import Any

import pytest

from controller.domain.devices import (
    OperatingPoint,
    Outcome,
    Quality,
    SetPoint,
)
from drivers.asic.build import build
from drivers.asic.config import MinerGroupConfig
from drivers.asic.driver import AsicDriver
from drivers.base import DriverError
from simulators.config import PlantConfig
from simulators.physics.truth import MinerTruth
from simulators.plant import Plant
from simulators.ports import remap
from simulators.serve import SimulatedSite
from tests.drivers.asic_fakes import HUNG_S, free_port

DESCRIPTORS = Path("/proc/self/fd")
RS = "pyasic-rs"
NET = f"127.{randrange(100, 250)}.{randrange(1, 250)}"
QUICK_S = 0.2
"""Deadline of an exchange that is meant to be missed."""

RATING: dict[str, object] = {"rated_w": 3250, "rated_ths": 110}


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    model: str
    address: str
    quality: Quality
    process_down_when_stopped: bool = False
    legacy_api: bool = True
    acts_later: bool = False
    """Its orders are for a time to come, so plant time must pass while the driver waits."""
    configured_as: str = ""
    """The family in a site file, where it is another than the simulated machine's own."""
    watched: bool = False
    """Nothing can be told to it."""
    backend: str = "native"
    tells_heat: bool = True
    needs_the_end: bool = False
    """It takes a reply for whole only when the machine closed the connection."""
    says_why: bool = True
    """A refusal is told from a lie."""
    recognised: bool = True
    """pyasic knows its firmware. Else only its own driver does, and other drivers cannot name it."""
    first_contact_asleep: bool = True
    """It can be met while it is stopped."""

    @property
    def driver(self) -> str:
        return self.configured_as or self.name

    @property
    def id(self) -> str:
        return self.name if self.backend == "native" else f"{self.name} by {self.backend}"

    @property
    def device(self) -> str:
        kind = "-down" if self.process_down_when_stopped else "" if self.legacy_api else "-alone"
        kind += "" if self.backend == "native" else "-rs"
        return f"{self.name}{kind}-000"

    def plant_group(self) -> dict[str, object]:
        points = MODES.get(self.name, ())
        return RATING | {
            "name": self.device.removesuffix("-000"),
            "family": self.name,
            "model": self.model,
            "first_address": self.address,
            "node": "site",
            "bias": 0.0,
            "process_down_when_stopped": self.process_down_when_stopped,
            "legacy_api": self.legacy_api,
            "points": [{"name": name, "power_w": power_w, "ths": ths} for name, power_w, ths in points],
        }


MODES = {
    "antminer": (("low", 2400, 86), ("normal", 3250, 110)),
    "avalon": (("low", 1950, 72), ("mid", 2600, 92), ("high", 3250, 110)),
    "marafw": (("on", 3250, 110),),
}
"""The points of families that have fixed ones."""

FAMILIES = {
    family.id: family
    for family in (
        Family("luxos", "Antminer S19 Pro", f"{NET}.1", Quality.MEASURED),
        Family("whatsminer", "M50SVH35", f"{NET}.2", Quality.MEASURED),
        Family("antminer", "Antminer S19 Pro", f"{NET}.3", Quality.ESTIMATED),
        Family("whatsminer-v3", "M60S_VK40", f"{NET}.5", Quality.MEASURED),
        Family("avalon", "AvalonMiner 1246", f"{NET}.6", Quality.MEASURED, acts_later=True),
        Family("vnish", "Antminer S19 Pro", f"{NET}.8", Quality.ESTIMATED),
        Family("auradine", "AT1500", f"{NET}.9", Quality.MEASURED),
        Family("braiins", "Antminer S19 Pro", f"{NET}.21", Quality.ESTIMATED),
        Family("epic", "ANTMINER S19 PRO", f"{NET}.22", Quality.MEASURED),
        Family("axeos", "BM1370", f"{NET}.10", Quality.MEASURED, configured_as="generic", watched=True),
        Family("marafw", "Antminer S19", f"{NET}.11", Quality.ESTIMATED, configured_as="generic"),
        Family(
            "whatsminer",
            "M50SVH35",
            f"{NET}.31",
            Quality.MEASURED,
            backend=RS,
            says_why=False,
            needs_the_end=True,
        ),
        Family("whatsminer-v3", "M60S_VK40", f"{NET}.32", Quality.MEASURED, backend=RS),
        Family(
            "auradine",
            "AT1500",
            f"{NET}.33",
            Quality.MEASURED,
            backend=RS,
            tells_heat=False,
            needs_the_end=True,
        ),
    )
}
PROCESS_DOWN = {
    family.id: family
    for family in (
        Family("whatsminer", "M50SVH35", f"{NET}.4", Quality.MEASURED, process_down_when_stopped=True),
        Family("whatsminer-v3", "M60S_VK40", f"{NET}.7", Quality.MEASURED, process_down_when_stopped=True),
        Family(
            "whatsminer",
            "M50SVH35",
            f"{NET}.34",
            Quality.MEASURED,
            process_down_when_stopped=True,
            backend=RS,
            says_why=False,
            first_contact_asleep=False,
        ),
        Family(
            "whatsminer-v3",
            "M60S_VK40",
            f"{NET}.35",
            Quality.MEASURED,
            process_down_when_stopped=True,
            backend=RS,
        ),
    )
}
MET_ASLEEP = {name: family for name, family in PROCESS_DOWN.items() if family.first_contact_asleep}
NATIVE = {name: family for name, family in FAMILIES.items() if family.backend == "native"}
BY_RS = {name: family for name, family in FAMILIES.items() if family.backend == RS}
ONLY_4433 = Family("whatsminer-v3", "M60S_VK40", f"{NET}.12", Quality.MEASURED, legacy_api=False)
CONTROLLABLE = {name: family for name, family in FAMILIES.items() if not family.watched}
WITH_PASSWORD = {name: family for name, family in CONTROLLABLE.items() if name != "marafw"}
"""pyasic recognises MaraFW by its factory password, and by no other."""
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
each_controllable = pytest.mark.parametrize("family", CONTROLLABLE.values(), ids=CONTROLLABLE)
each_process_down = pytest.mark.parametrize("family", PROCESS_DOWN.values(), ids=PROCESS_DOWN)

BACKENDS = {
    "luxos": "LUXMiner",
    "whatsminer": "BTMinerV2",
    "antminer": "AntminerModern",
    "whatsminer-v3": "BTMinerV3",
    "avalon": "AvalonMiner",
    "vnish": "VNish",
    "auradine": "Auradine",
    "braiins": "BOSer",
    "epic": "ePIC",
    "axeos": "BitAxe",
    "marafw": "MaraMiner",
    "generic": "generic",
}
"""The class by which pyasic knows each."""


PORTS = {port: free_port() for port in (80, 443)}
"""Those that take privilege. pyasic-rs is no asyncio, so nothing can lead it to another port than the true
ones: the others are those of an address block that no other test has."""


class Site:
    """The simulated site, and one driver per test for one of its miners."""

    def __init__(self, simulated: SimulatedSite) -> None:
        self._simulated = simulated
        self._drivers: list[AsicDriver] = []
        self.plant = simulated.plant

    def driver(self, family: Family, **config: Any) -> AsicDriver:
        table: dict[str, object] = RATING | {
            "id": family.name,
            "family": family.driver,
            "backend": family.backend,
            "hosts": (family.address,),
            "node": "site",
            "exchange_s": 3.0,
            "busy_wait_s": 0.01,
        }
        if family.name in MODES:
            table["points"] = [
                {"name": name, "power_w": power_w, "rate_ths": rate_ths}
                for name, power_w, rate_ths in (("sleep", 25, 0), *MODES[family.name])
            ]
        (driver,) = build(MinerGroupConfig.model_validate(table | config))
        self._drivers.append(driver)
        return driver

    async def close(self) -> None:
        for driver in self._drivers:
            await driver.close()

    async def fault(self, family: Family, name: str, value: bool | float = True) -> None:
        self.plant.set_fault(family.device, name, value)
        await self._simulated.exchange()

    async def after(self, seconds: float) -> None:
        await self._simulated.advance(seconds)

    async def live(self) -> None:
        """Let plant time pass by itself, about fifty times as fast as ours."""
        while True:
            await asyncio.sleep(0.005)
            await self._simulated.advance(0.25)

    def truth(self, family: Family) -> MinerTruth:
        return self.plant.truth().miners[family.device]


@asynccontextmanager
async def serving() -> AsyncIterator[Site]:
    config = PlantConfig.model_validate(
        {
            "ports": PORTS,
            "modbus_port": 0,
            "nodes": [{"id": "site"}],
            "miners": [
                family.plant_group() for family in (*FAMILIES.values(), *PROCESS_DOWN.values(), ONLY_4433)
            ],
        }
    )
    simulated = SimulatedSite(Plant(config))
    async with simulated.serving():
        site = Site(simulated)
        try:
            yield site
        finally:
            await site.close()


def on_site(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run the test beside a simulated site, on a loop that leads the miners' ports to the simulated ones."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        async def whole() -> None:
            async with asyncio.timeout(HUNG_S), serving() as site, asyncio.TaskGroup() as group:
                acts_later = isinstance(family := arguments.get("family"), Family) and family.acts_later
                passing = group.create_task(site.live()) if acts_later else None
                await test(site=site, **arguments)
                if passing is not None:
                    passing.cancel()

        with asyncio.Runner(loop_factory=remap(PORTS)) as runner:
            runner.run(whole())

    wanted = inspect.signature(test)
    asked = [parameter for name, parameter in wanted.parameters.items() if name != "site"]
    run.__signature__ = wanted.replace(parameters=asked)  # type: ignore[attr-defined]  # pytest reads it
    return run


async def order(driver: AsicDriver, name: str) -> Outcome:
    """Tell the driver to go to one of its points, after a first contact."""
    await driver.read()
    return await driver.apply(SetPoint(device=driver.spec.id, point=point(driver, name)))


async def heard_again(driver: AsicDriver, polls: int = 3) -> None:
    """Poll as the daemon does a machine that was away: a connection kept from before may cost an answer."""
    for _ in range(polls - 1):
        with suppress(DriverError):
            await driver.read()
            return
    await driver.read()


def point(driver: AsicDriver, name: str) -> OperatingPoint:
    return next(point for point in driver.spec.points if point.name == name)


def top(driver: AsicDriver) -> OperatingPoint:
    return driver.spec.points[-1]
