"""Who is at an address: another firmware, another machine, and neither of them taken for the one before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from controller.domain.devices import Acknowledged, Failed, Outcome, Refused, SetPoint
from drivers.asic.build import build
from drivers.asic.config import MinerGroupConfig
from drivers.asic.driver import AsicDriver
from drivers.asic.identify import Identifier
from drivers.base import DriverError, OtherMachineError
from simulators.config import PlantConfig
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.drivers.asic_fakes import HOST, PORTS, bytes_server, remapped

pytestmark = pytest.mark.socket

ADDRESS = "127.46.0.1"
MODELS = {
    "luxos": "Antminer S19 Pro",
    "whatsminer": "M50SVH35",
    "whatsminer-v3": "M60S_VK40",
    "antminer": "Antminer S19 Pro",
    "avalon": "AvalonMiner 1246",
    "vnish": "Antminer S19 Pro",
    "auradine": "AT1500",
    "braiins": "Antminer S19 Pro",
    "epic": "ANTMINER S19 PRO",
}
BACKENDS = {
    "luxos": "LUXMiner",
    "whatsminer": "BTMinerV2",
    "whatsminer-v3": "BTMinerV3",
    "antminer": "AntminerModern",
    "vnish": "VNish",
    "auradine": "Auradine",
}


@asynccontextmanager
async def at_the_address(family: str, *, seed: int = 1, **group: Any) -> AsyncIterator[Plant]:
    """One machine; with another seed it is another one."""
    miner = {
        "name": "only",
        "family": family,
        "model": MODELS[family],
        "first_address": ADDRESS,
        "node": "site",
        "rated_w": 3250,
        "rated_ths": 110,
        "bias": 0.0,
    }
    site = {"ports": PORTS, "modbus_port": 0, "nodes": [{"id": "site"}], "seed": seed}
    simulated = SimulatedSite(Plant(PlantConfig.model_validate(site | {"miners": [miner | group]})))
    async with simulated.serving():
        yield simulated.plant


def driver_for(family: str, identifier: Identifier | None = None, host: str = ADDRESS) -> AsicDriver:
    table = {
        "id": "only",
        "family": family,
        "hosts": (host,),
        "node": "site",
        "rated_w": 3250,
        "rated_ths": 110,
        "busy_wait_s": 0.01,
        "exchange_s": 1.0,
    }
    (driver,) = build(MinerGroupConfig.model_validate(table), identifier)
    return driver


def sleep(driver: AsicDriver) -> SetPoint:
    return SetPoint(device=driver.spec.id, point=driver.spec.floor)


def watts(plant: Plant) -> float:
    return plant.truth().miners["only-000"].watts


async def reads_until(driver: AsicDriver, wanted: type[DriverError], most: int) -> DriverError:
    """The first error of the wanted kind; all before it are other errors, and none is a reading."""
    for _ in range(most):
        with pytest.raises(DriverError) as error:
            await driver.read()
        if isinstance(error.value, wanted):
            return error.value
    pytest.fail(f"no {wanted.__name__} in {most} reads")


# -- another firmware -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("whatsminer", "whatsminer-v3"),
        ("whatsminer-v3", "whatsminer"),
        ("antminer", "vnish"),
        ("vnish", "antminer"),
        ("antminer", "luxos"),
        ("luxos", "antminer"),
        ("braiins", "luxos"),
        ("avalon", "auradine"),
        ("luxos", "whatsminer"),
    ],
)
@remapped
async def test_a_machine_that_changed_its_firmware_is_neither_read_nor_ordered_in_the_old_ones_words(
    before: str, after: str
) -> None:
    driver = driver_for(before)
    async with at_the_address(before):
        await driver.read()

    async with at_the_address(after) as plant:
        first = await driver.apply(sleep(driver))
        told = await reads_until(driver, OtherMachineError, most=4)
        second = await driver.apply(sleep(driver))

        assert isinstance(first, Failed | Refused)
        assert isinstance(second, Failed)
        assert watts(plant) > 3000
    await driver.close()

    assert BACKENDS[after] in str(told)


@pytest.mark.parametrize("family", ["luxos", "antminer", "whatsminer"])
@remapped
async def test_a_machine_that_got_its_firmware_back_is_driven_again(family: str) -> None:
    driver = driver_for(family)
    async with at_the_address("auradine"):
        await reads_until(driver, OtherMachineError, most=1)

    async with at_the_address(family) as plant:
        reading = await driver.read()
        outcome = await driver.apply(sleep(driver))
        assert plant.miners["only-000"].serial

    assert reading.draw.watts > 3000
    assert outcome == Acknowledged()


@remapped
async def test_firmware_that_came_back_with_other_profiles_has_other_operating_points() -> None:
    driver = driver_for("luxos")
    async with at_the_address("luxos"):
        await driver.read()
    before = {point.name for point in driver.spec.points}
    await reads_until(driver, DriverError, most=1)
    await reads_until(driver, DriverError, most=1)
    await reads_until(driver, DriverError, most=1)

    points = [{"name": "400MHz", "power_w": 2200, "ths": 80}, {"name": "500MHz", "power_w": 3000, "ths": 105}]
    async with at_the_address("luxos", points=points):
        await driver.read()

    assert before != {point.name for point in driver.spec.points} == {"sleep", "400MHz", "500MHz"}


# -- another machine ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["luxos", "whatsminer", "whatsminer-v3", "antminer"])
@remapped
async def test_another_machine_of_the_family_is_told_by_its_mac_before_it_is_ordered_anything(
    family: str,
) -> None:
    driver = driver_for(family)
    async with at_the_address(family, seed=1):
        await driver.read()
    await reads_until(driver, DriverError, most=1)  # pulled out

    async with at_the_address(family, seed=2) as plant:
        outcome = await driver.apply(sleep(driver))

        assert isinstance(outcome, Failed)
        assert "another machine" in outcome.why or "is now" in outcome.why or " was " in outcome.why
        assert watts(plant) > 3000


@pytest.mark.parametrize("family", ["antminer", "epic", "luxos", "whatsminer", "whatsminer-v3"])
@remapped
async def test_a_machine_that_took_anothers_address_between_two_polls_takes_orders_in_the_end(
    family: str,
) -> None:
    """A DHCP server that lost its leases gives running machines each other's addresses within seconds."""
    driver = driver_for(family)
    async with at_the_address(family, seed=1):
        await driver.read()

    outcomes: list[Outcome] = []
    async with at_the_address(family, seed=2):
        for _ in range(4):
            with suppress(DriverError):
                await driver.read()
            outcomes.append(await driver.apply(sleep(driver)))

    assert outcomes[-1] == Acknowledged()


# -- who is asked ---------------------------------------------------------------------------------------


class Counting(Identifier):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def backend(self, host: str, *, deadline_s: float) -> str | None:
        self.asked += 1
        return await super().backend(host, deadline_s=deadline_s)


@pytest.mark.parametrize(
    ("family", "asked"), [("luxos", 0), ("whatsminer", 0), ("vnish", 0), ("antminer", 1)]
)
@remapped
async def test_where_a_hello_proves_the_family_the_library_is_not_asked(family: str, asked: int) -> None:
    identifier = Counting()
    driver = driver_for(family, identifier)

    async with at_the_address(family):
        await driver.read()
        await driver.read()

    assert identifier.asked == asked


ODD_PAGES = {
    "redirects to no port": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/",
    "redirects to no address": b"HTTP/1.1 302 Found\r\nLocation: javascript:x",
    "asks for an unusual login": b"HTTP/1.1 401 X\r\n"
    b'WWW-Authenticate: Digest realm="antMiner x", nonce="a", qop="auth-int"',
    "is in no charset": b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=base64",
}


@pytest.mark.parametrize("family", ["antminer", "generic"])
@pytest.mark.parametrize("page", ODD_PAGES.values(), ids=ODD_PAGES)
@remapped
async def test_an_odd_page_at_an_address_is_trouble_with_that_machine_alone(family: str, page: bytes) -> None:
    """What the library makes of it is an assertion that failed, a group of errors, or whatever else."""
    driver = driver_for(family, host=HOST)

    async with bytes_server(page + b"\r\nContent-Length: 5\r\n\r\nAxeOS"):
        with pytest.raises(DriverError):
            await driver.read()
