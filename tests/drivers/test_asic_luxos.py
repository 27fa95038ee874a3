"""LuxOS: what its answers mean, and how its one login session and its ATM are treated."""

from __future__ import annotations

import asyncio

import pytest

from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint, Quality, SetPoint
from controller.domain.power import NO_LIMIT, Limit, Power
from drivers.asic import luxos
from drivers.asic.adapter import Plate, RefusedError
from drivers.asic.driver import AsicDriver
from drivers.asic.identify import Identifier
from drivers.asic.luxos import LuxOS
from drivers.asic.points import usable_points
from drivers.asic.trouble import as_driver_error
from drivers.base import DriverError
from tests.drivers.asic_fakes import (
    HOST,
    Json,
    RpcServer,
    no,
    ok,
    plate,
    point,
    remapped,
)

LUX_CONFIG: Json = {
    "Profile": "585MHz",
    "CurtailMode": "None",
    "MACAddr": "02:00:00:00:00:01",
    "IsAtmEnabled": True,
}
LUX_STATS: Json = {
    "chain_rate1": "33000.5",
    "chain_rate2": "0",
    "chain_rate3": "33500.0",
    "temp_chip1": "61-48-49-62",
    "temp_chip2": "0-0-0-71",
    "temp_chip3": "",
    "temp_pcb1": "90-90-90-90",
    "GHS 5s": 1.0,
}
PROFILES = {"585MHz": point("585MHz", 2700, 92.0), "420MHz": point("420MHz", 1900, 70.0)}


def lux(config: Json | None = None, power: Json | None = None, stats: list[Json] | None = None) -> Json:
    return {
        "config": [ok(CONFIG=[LUX_CONFIG | (config or {})])],
        "power": [ok(POWER=[{"Watts": 2688.4, "PSU": True} | (power or {})])],
        "stats": [ok(STATS=[{"Type": "Antminer S19"}, LUX_STATS] if stats is None else stats)],
        "id": 1,
    }


def test_luxos_watts_round_up_and_are_measured_only_by_a_psu_that_talks() -> None:
    with_psu = luxos.sample(lux(), plate(), PROFILES).reading
    without = luxos.sample(lux(power={"PSU": False}), plate(), PROFILES).reading
    unsaid = luxos.sample(lux(power={"PSU": None}), plate(), PROFILES).reading

    assert (with_psu.draw, with_psu.quality) == (Power(2689), Quality.MEASURED)
    assert without.quality is Quality.ESTIMATED
    assert unsaid.quality is Quality.ESTIMATED


def test_luxos_counts_every_board_and_every_chip_sensor_whatever_is_broken_on_one() -> None:
    reading = luxos.sample(lux(), plate(), PROFILES).reading

    assert reading.rate == pytest.approx(66.5005)
    assert reading.hottest_c == 71


def test_luxos_stats_in_a_shape_nobody_knows_cost_rate_and_heat_but_not_the_watts() -> None:
    reading = luxos.sample(lux(stats=[{"Type": "Antminer S19"}]), plate(), PROFILES).reading

    assert (reading.rate, reading.hottest_c) == (0.0, None)
    assert reading.draw == Power(2689)


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        ({}, Limit(Power(2700))),
        ({"CurtailMode": "Sleep"}, Limit(Power(25))),
        ({"Profile": "made up"}, NO_LIMIT),
    ],
)
def test_luxos_setting_is_the_active_profile_or_sleep(config: Json, setting: object) -> None:
    assert luxos.sample(lux(config), plate(), PROFILES).reading.setting == setting


@pytest.mark.parametrize("watts", [None, -1, "lots", True])
def test_luxos_without_believable_watts_is_no_reading(watts: object) -> None:
    with pytest.raises(DriverError, match="Watts"):
        luxos.sample(lux(power={"Watts": watts}), plate(), PROFILES)


def test_luxos_with_a_refused_part_is_no_reading() -> None:
    reply = lux()
    reply["power"] = [no(14, "Power telemetry unavailable")]

    with pytest.raises(DriverError, match="unavailable"):
        luxos.sample(reply, plate(), PROFILES)


def profile(name: str, watts: int, rate: float) -> Json:
    return {"Profile Name": name, "Watts": watts, "Hashrate": rate, "IsTuned": False}


def usable(plate: Plate, *records: Json) -> list[tuple[str, int]]:
    found = luxos.profiles(ok(PROFILES=list(records)), plate)
    return [(point.name, point.power.watts) for point in usable_points(found.values(), plate)]


def test_luxos_offers_sleep_and_the_profiles_between_min_w_and_the_ceiling() -> None:
    records = [
        profile("a", 3151, 110),
        profile("b", 3150, 105),
        profile("c", 1000, 40),
        profile("d", 999, 39),
    ]

    assert usable(plate(min_w=1000), *records) == [("sleep", 25), ("c", 1000), ("b", 3150)]


def test_luxos_offers_the_better_of_two_profiles_of_equal_power() -> None:
    assert usable(plate(), profile("a", 2000, 70), profile("b", 2000, 75), profile("c", 2000, 60)) == [
        ("sleep", 25),
        ("b", 2000),
    ]


def test_luxos_drops_configured_points_that_are_no_profile_and_keeps_the_operators_watts() -> None:
    points = (point("sleep", 30), point("eco", 1950, 70), point("gone", 2500, 85))

    assert usable(plate(points=points), profile("eco", 1900, 72), profile("full", 3000, 100)) == [
        ("sleep", 30),
        ("eco", 1950),
    ]


def test_luxos_without_a_single_usable_point_is_an_error() -> None:
    with pytest.raises(DriverError, match="gone"):
        usable(plate(points=(point("gone", 2500),)), profile("full", 3000, 100))


class LuxScript:
    """A LuxOS machine with one session. Commands in `refusals` are refused as often as it says."""

    def __init__(self, **refusals: list[Json]) -> None:
        self.refusals = refusals
        self.silent_to = ""
        self.config: Json = {
            "Profile": "full",
            "CurtailMode": "None",
            "MACAddr": "02:00:00:00:00:01",
            "IsAtmEnabled": True,
        }
        self.sessions = 0

    def __call__(self, command: str, parameters: list[str]) -> Json | None:
        if command == self.silent_to:
            return None
        if self.refusals.get(command):
            return self.refusals[command].pop(0)
        match command:
            case "version":
                return ok(VERSION=[{"LUXminer": "2026.1", "Type": "Antminer S19 Pro"}])
            case "config":
                return ok(CONFIG=[self.config])
            case "profiles":
                names = {"eco": 2000, "full": 3000}
                return ok(PROFILES=[{"Profile Name": name, "Watts": watts} for name, watts in names.items()])
            case "power":
                return ok(POWER=[{"Watts": 3000, "PSU": True}])
            case "stats":
                return ok(STATS=[{}, {"chain_rate1": "100000"}])
            case "logon":
                self.sessions += 1
                return ok(SESSION=[{"SessionID": f"s{self.sessions}"}])
            case "curtail":
                self.config["CurtailMode"] = {"sleep": "Sleep", "wakeup": "None"}[parameters[1]]
            case "profileset":
                self.config["Profile"] = parameters[1]
            case "atmset":
                self.config["IsAtmEnabled"] = parameters[1] == "enabled=true"
            case _:
                pass
        return ok()


BUSY = no(402, "Another session is active")
NOT_NOW = no(403, "Miner is not ready")


async def told(script: LuxScript, wanted: OperatingPoint) -> tuple[list[str], DriverError | None]:
    """What a LuxOS machine hears when it is told to go to `wanted`, and what came of it."""
    adapter = LuxOS(plate())
    async with RpcServer(script).serving() as server:
        await adapter.hello()
        server.heard.clear()
        try:
            with as_driver_error():
                await adapter.change(wanted)
        except DriverError as error:
            return server.heard, error
    return server.heard, None


# -- LuxOS -----------------------------------------------------------------------------------------------


@pytest.mark.socket
@remapped
async def test_luxos_is_told_in_a_session_of_our_own_that_is_given_back() -> None:
    heard, error = await told(LuxScript(), point("sleep", 25))

    assert error is None
    assert heard == ["logon", "curtail s1 sleep", "logoff s1"]


@pytest.mark.socket
@remapped
async def test_luxos_busy_with_someone_else_is_asked_once_more() -> None:
    heard, error = await told(LuxScript(logon=[BUSY]), point("sleep", 25))

    assert error is None
    assert heard == ["logon", "logon", "curtail s1 sleep", "logoff s1"]


@pytest.mark.socket
@remapped
async def test_luxos_that_stays_busy_refuses_and_nobodys_session_is_used() -> None:
    heard, error = await told(LuxScript(logon=[BUSY, BUSY]), point("sleep", 25))

    assert isinstance(error, RefusedError)
    assert heard == ["logon", "logon"]


@pytest.mark.socket
@remapped
async def test_luxos_session_that_is_taken_from_us_is_replaced_once() -> None:
    heard, error = await told(LuxScript(curtail=[BUSY]), point("sleep", 25))

    assert error is None
    assert heard[-3:] == ["logon", "curtail s2 sleep", "logoff s2"]


@pytest.mark.socket
@remapped
async def test_luxos_profile_is_set_with_atm_off_and_atm_is_on_again_after() -> None:
    heard, error = await told(LuxScript(), point("eco"))

    assert error is None
    assert heard[2:] == [
        "atmset s1 enabled=false",
        "profileset s1 eco",
        "atmset s1 enabled=true",
        "logoff s1",
    ]


@pytest.mark.socket
@remapped
async def test_luxos_that_refuses_a_profile_has_its_atm_on_again() -> None:
    script = LuxScript(profileset=[NOT_NOW])

    _, error = await told(script, point("eco"))

    assert isinstance(error, RefusedError)
    assert script.config["IsAtmEnabled"] is True
    assert script.config["Profile"] == "full"


@pytest.mark.socket
@remapped
async def test_luxos_atm_that_was_off_before_stays_off() -> None:
    script = LuxScript()
    script.config["IsAtmEnabled"] = False

    heard, _ = await told(script, point("eco"))

    assert heard == ["config", "logon", "profileset s1 eco", "logoff s1"]


@pytest.mark.socket
@remapped
async def test_luxos_atm_that_could_not_be_switched_on_is_told_and_owed() -> None:
    script = LuxScript(atmset=[ok(), NOT_NOW])
    adapter = LuxOS(plate())
    async with RpcServer(script).serving():
        script.config["IsAtmEnabled"] = True
        with pytest.raises(DriverError, match="ATM"):
            await adapter.change(point("eco"))
        script.config["IsAtmEnabled"] = False

        await adapter.change(point("full"))

    assert script.config["IsAtmEnabled"] is True


@pytest.mark.socket
@remapped
async def test_luxos_atm_that_could_not_be_switched_on_is_switched_on_as_soon_as_it_can_be() -> None:
    """Its profile is what was ordered, so nobody may order anything for days."""
    script = LuxScript(atmset=[ok(), NOT_NOW, NOT_NOW])
    adapter = LuxOS(plate())
    async with RpcServer(script).serving() as server:
        with pytest.raises(DriverError, match="ATM"):
            await adapter.change(point("eco"))
        script.config["IsAtmEnabled"] = False

        readings = [(await adapter.read()).reading for _ in range(2)]
        heard = len(server.heard)
        await adapter.read()

    assert script.config["IsAtmEnabled"] is True
    assert [reading.draw for reading in readings] == 2 * [Power(3000)]
    assert server.heard[heard:] == ["config+power+stats"]


@pytest.mark.socket
@remapped
async def test_luxos_call_cancelled_in_the_middle_switches_atm_on_and_logs_off() -> None:
    script = LuxScript()
    script.silent_to = "profileset"
    adapter = LuxOS(plate(exchange_s=5.0))
    async with RpcServer(script).serving() as server:
        task = asyncio.ensure_future(adapter.change(point("eco")))
        await server.keeps_waiting.wait()

        task.cancel()
        await asyncio.wait([task])

    assert task.cancelled()
    assert server.heard[-2:] == ["atmset s1 enabled=true", "logoff s1"]
    assert script.config["IsAtmEnabled"] is True


@pytest.mark.socket
@remapped
async def test_luxos_asleep_is_woken_only_after_its_profile_is_set() -> None:
    script = LuxScript()
    script.config |= {"CurtailMode": "Sleep", "IsAtmEnabled": False}

    heard, _ = await told(script, point("eco"))

    assert heard[2:4] == ["profileset s1 eco", "curtail s1 wakeup"]


@pytest.mark.parametrize(
    ("profile", "wanted", "awake"),
    [
        ("full", point("eco", 2000), False),
        ("eco", point("full", 3000), True),
        ("made up", point("eco"), False),
    ],
)
@pytest.mark.socket
@remapped
async def test_luxos_that_refuses_a_profile_asleep_is_woken_only_into_one_that_draws_no_more(
    profile: str, wanted: OperatingPoint, awake: bool
) -> None:
    script = LuxScript(profileset=[NOT_NOW])
    script.config |= {"CurtailMode": "Sleep", "IsAtmEnabled": False, "Profile": profile}

    _, error = await told(script, wanted)

    assert (script.config["CurtailMode"] == "None") is awake
    assert (error is None) is awake


@pytest.mark.socket
@remapped
async def test_polls_and_commands_share_one_connection_at_a_time() -> None:
    floor = point("sleep", 25)
    driver = AsicDriver(
        host=HOST,
        spec=DeviceSpec(id="hall-000", kind=DeviceKind.ASIC, node="n", points=(floor,), ceiling=Power(3150)),
        adapter=LuxOS(plate()),
        identifier=Identifier(),
    )
    async with RpcServer(LuxScript()).serving() as server:
        await driver.read()
        server.most_open = 0

        await asyncio.gather(
            driver.read(),
            driver.apply(SetPoint(device="hall-000", point=floor)),
            driver.read(),
            driver.read(),
        )

    assert server.most_open == 1
