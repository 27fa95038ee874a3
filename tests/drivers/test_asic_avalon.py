"""Avalon: what its text of fields means, and how its levels and its orders for a time to come are treated."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from controller.domain.devices import OperatingPoint, Quality
from controller.domain.power import NO_LIMIT, Limit, Power
from drivers.asic import avalon
from drivers.asic.adapter import RefusedError
from drivers.asic.avalon import Avalon
from drivers.asic.trouble import as_driver_error
from drivers.base import DriverError
from tests.drivers.asic_fakes import HOST, PORTS, Json, RpcServer, no, ok, plate, point, remapped

FIELDS = {
    "Ver": "15-194-24102401_25462b2_9ddf522",
    "DNA": "020100008c699117",
    "SYSTEMSTATU": "Work: In Work, Hash Board: 3 ",
    "Temp": "31",
    "TMax": "78",
    "PS": "0 1209 1187 297 3526 1188 3731",
    "WALLPOWER": "3731",
    "GHSspd": "199241.07",
    "GHSavg": "184007.00",
    "MGHS": "59459.52 61407.83 63139.66",
    "MTmax": "77 79 77",
    "MTavg": "69 70 71",
    "SoftOFF": "0",
    "MPO": "3515",
}
"""Of an A1566, 24102401_25462b2_9ddf522 (tests of UpstreamData/pyasic)."""


def text_of(**changes: str | None) -> str:
    fields = {key: value for key, value in (FIELDS | changes).items() if value is not None}
    return " ".join(f"{key}[{value}]" for key, value in fields.items())


def estats(**changes: str | None) -> Json:
    return ok(STATS=[{"STATS": 0, "ID": "AVA100", "MM ID0": text_of(**changes), "MM Count": 1}])


def reading(level: int | None = 2, **changes: str | None) -> Any:
    return avalon.sample(avalon.module_of(estats(**changes)), level, plate()).reading


ASLEEP = {"SYSTEMSTATU": "Work: In Idle, Hash Board: 3 ", "SoftOFF": "5"}


def test_avalon_tells_wall_watts_level_rate_and_its_hottest_chip() -> None:
    said = reading()

    assert (said.draw, said.quality) == (Power(3731), Quality.MEASURED)
    assert said.setting == Limit(Power(3000))
    assert said.rate == pytest.approx(199.241)
    assert said.hottest_c == 79


def test_avalon_without_wallpower_tells_the_same_in_its_supplys_last_figure() -> None:
    """A 1346 has the one without the other (24041001_08b0955_0196aba)."""
    said = reading(WALLPOWER=None, PS="0 1199 1391 225 3126 1393 3348")

    assert (said.draw, said.quality) == (Power(3348), Quality.MEASURED)


@pytest.mark.parametrize("supply", ["0 1217 1279 221 2834 1280", "0 0 0 0 0 0 0", "", None])
def test_avalon_that_does_not_tell_its_wall_watts_draws_all_that_its_level_allows(supply: str | None) -> None:
    """The figures of a 1066 are six, and the fifth is what its boards take: less than the wall gives."""
    said = reading(0, WALLPOWER=None, PS=supply, GHSspd="67000.00")

    assert (said.draw, said.quality) == (Power(1800), Quality.ESTIMATED)
    assert reading(7, WALLPOWER=None, PS=supply).draw == Power(3150)


def test_avalon_that_tells_no_watts_and_hashes_more_than_its_level_can_draws_what_that_takes() -> None:
    """By the rate of this moment alone: the averages go on for minutes after it came down."""
    silent = {"WALLPOWER": None, "PS": "0 1217 1279 221 2834 1280"}

    liar = reading(0, **silent, GHSspd="99000.00")
    came_down = reading(0, **silent, GHSspd="66000.00", GHSavg="99000.00", MGHS="33000 33000 33000")
    averaged = reading(0, **silent, GHSspd=None, MGHS="33000 33000 33000")

    assert (liar.draw, liar.setting) == (Power(2971), Limit(Power(1800)))
    assert liar.quality is Quality.ESTIMATED
    assert (came_down.draw, averaged.draw) == (Power(1800), Power(1800))


def test_avalon_rate_falls_at_once_with_the_present_one_and_not_with_the_averages() -> None:
    assert reading(None, **ASLEEP, GHSspd="0.00").rate == 0
    assert reading(GHSspd=None).rate == pytest.approx(184.007)


@pytest.mark.parametrize(
    ("level", "setting"), [(0, Limit(Power(1800))), (1, Limit(Power(2400))), (3, NO_LIMIT), (-1, NO_LIMIT)]
)
def test_avalon_setting_is_the_power_of_the_levels_point(level: int, setting: object) -> None:
    assert reading(level).setting == setting


def test_avalon_asleep_is_at_its_sleep_point_and_its_watts_are_measured_all_the_same() -> None:
    said = reading(None, **ASLEEP, WALLPOWER="17")

    assert (said.setting, said.draw, said.quality) == (Limit(Power(25)), Power(17), Quality.MEASURED)


def test_avalon_asleep_that_tells_no_watts_is_at_rest_only_without_hash() -> None:
    at_rest = reading(None, **ASLEEP, WALLPOWER=None, PS=None, GHSspd="0.00")
    hashing = reading(None, **ASLEEP, WALLPOWER=None, PS=None)

    assert (at_rest.draw, at_rest.quality) == (Power(25), Quality.ESTIMATED)
    assert hashing.draw == Power(3150)


@pytest.mark.parametrize(
    ("work", "softoff", "asleep"),
    [
        ("In Work", "0", False),
        ("In Work", "4", False),  # of an Avalon Q at work after a sleep
        ("In Init", "0", False),
        ("In Idle", "4", True),
        ("In Idle", "5", True),
        ("In Idle", "0", False),  # no pool: it starts again by itself
        ("In Idle", "6", False),  # booting
        ("In Idle", None, False),
    ],
)
def test_avalon_is_asleep_only_if_it_is_idle_by_order(work: str, softoff: str | None, asleep: bool) -> None:
    module = avalon.module_of(estats(SYSTEMSTATU=f"Work: {work}, Hash Board: 1 ", SoftOFF=softoff))

    assert avalon.is_asleep(module) is asleep


def test_avalon_of_the_home_kind_tells_its_module_under_another_name() -> None:
    reply = ok(STATS=[{"ID": "AVALON0", "MM ID0:Summary": f"'STATS':{{{text_of()}}}", "HBinfo": "'HB0':{}"}])

    assert avalon.module_of(reply)["WALLPOWER"] == "3731"


@pytest.mark.parametrize("modules", [{}, {"MM ID0": "A[1]", "MM ID1": "A[1]"}, {"MM ID0": {"A": 1}}])
def test_avalon_of_which_only_a_part_would_be_read_gives_no_answer(modules: Json) -> None:
    with pytest.raises(DriverError, match="module"):
        avalon.module_of(ok(STATS=[modules]))


def test_avalon_mac_gets_the_colons_it_comes_without() -> None:
    assert avalon.mac_of("b4a2eb36e867") == "B4:A2:EB:36:E8:67"
    assert avalon.mac_of("B4-A2-EB-36-E8-67") == "B4:A2:EB:36:E8:67"
    assert avalon.mac_of(None) is None


def test_avalon_has_three_levels_between_min_w_and_the_rating() -> None:
    points = Avalon.default_points(plate(min_w=2000))

    assert [(point.name, point.power.watts) for point in points] == [
        ("sleep", 25),
        ("low", 2000),
        ("mid", 2500),
        ("high", 3000),
    ]


class AvalonScript:
    """A machine whose clock goes on by a second with each question, and that refuses some options."""

    def __init__(self, *refuses: str, asleep: bool = False, level: int = 2, began_s: int = 7_000) -> None:
        self.refuses = refuses
        self.asleep = asleep
        self.level = level
        self.clock_s = began_s
        self.due: tuple[int, bool] | None = None
        self.tells_level = False
        self.dna = FIELDS["DNA"]
        self.product = "AvalonMiner 1246"
        self.why = "Unknown option"

    def __call__(self, command: str, parameters: list[Any]) -> Json | None:
        self.clock_s += 1
        if self.due is not None and self.clock_s >= self.due[0]:
            self.asleep, self.due = self.due[1], None
        answer = self._answer(command, parameters)
        answer["STATUS"][0]["When"] = self.clock_s
        return answer

    def _answer(self, command: str, parameters: list[Any]) -> Json:
        match command, parameters:
            case "version", _:
                return ok(VERSION=[{"PROD": self.product, "DNA": self.dna, "MAC": "b4a2eb36e867"}])
            case "estats", _:
                level = str(self.level) if self.tells_level else None
                return estats(**(ASLEEP if self.asleep else {}), DNA=self.dna, WORKLEVEL=level)
            case "ascset", [_, option, *_] if option in self.refuses:
                return no(120, f"ASC 0 set failed: {self.why}: {option}")
            case "ascset", [_, "worklevel", "get"]:
                return said("I", f"ASC 0 set info: worklevel {self.level}")
            case "ascset", [_, "worklevel", "set", level]:
                self.level = int(level)
                return said("S", "ASC 0 set OK")
            case "ascset", [_, "softoff" | "softon" as option, setting]:
                self.due = int(setting.removeprefix("1:")), option == "softoff"
                return said("I", f"ASC 0 set info: success {option}:{setting}")
            case "ascset", [_, "reboot", _]:
                self.asleep = False
                return said("S", "ASC 0 set OK")
            case _:
                return no(14, "Invalid command")


def said(kind: str, message: str) -> Json:
    return {"STATUS": [{"STATUS": kind, "When": 1, "Code": 118, "Msg": message}], "id": 1}


async def told(script: AvalonScript, wanted: OperatingPoint) -> tuple[list[str], DriverError | None]:
    """The orders that a machine hears when it is told to go to `wanted`, and what came of it."""
    adapter = Avalon(plate())
    async with RpcServer(script).serving() as server:
        await adapter.hello()
        server.heard.clear()
        try:
            with as_driver_error():
                await adapter.change(wanted)
        except DriverError as error:
            return orders(server), error
    return orders(server), None


def orders(server: RpcServer) -> list[str]:
    return [heard for heard in server.heard if heard.startswith("ascset") and not heard.endswith("get")]


SLEEP, LOW, HIGH = point("sleep", 25), point("low", 1800), point("high", 3000)


@pytest.mark.parametrize("began_s", [0, 7_000])
@pytest.mark.socket
@remapped
async def test_avalon_is_ordered_off_by_its_own_clock_and_is_off_when_the_order_returns(began_s: int) -> None:
    script = AvalonScript(began_s=began_s)

    heard, error = await told(script, SLEEP)

    # three questions before the order: version, worklevel and estats
    assert (heard, error) == ([f"ascset 0 softoff 1:{began_s + 3 + 5}"], None)
    assert script.asleep


@pytest.mark.socket
@remapped
async def test_avalon_that_sleeps_already_is_not_told_again() -> None:
    assert await told(AvalonScript(asleep=True), SLEEP) == ([], None)


@pytest.mark.socket
@remapped
async def test_avalon_gets_its_level_before_it_is_woken() -> None:
    script = AvalonScript(asleep=True)

    heard, _ = await told(script, LOW)

    assert [order.rpartition(" ")[0] for order in heard] == ["ascset 0 worklevel set", "ascset 0 softon"]
    assert (script.level, script.asleep) == (0, False)


@pytest.mark.parametrize(("why", "awake"), [("Unknown option", True), ("not permitted now", False)])
@pytest.mark.socket
@remapped
async def test_avalon_is_booted_awake_only_where_its_firmware_has_no_other_way(why: str, awake: bool) -> None:
    script = AvalonScript("softon", asleep=True)
    script.why = why

    _, error = await told(script, HIGH)

    assert script.asleep is not awake
    assert (error is None) is awake


@pytest.mark.socket
@remapped
async def test_avalon_level_is_sent_as_itself_and_only_where_it_changes() -> None:
    assert await told(AvalonScript(level=2), point("mid")) == (["ascset 0 worklevel set 1"], None)
    assert await told(AvalonScript(level=2), HIGH) == ([], None)


@pytest.mark.parametrize(("level", "wanted", "awake"), [(2, LOW, False), (0, HIGH, True), (2, HIGH, True)])
@pytest.mark.socket
@remapped
async def test_avalon_that_refuses_a_level_asleep_is_woken_only_at_one_that_draws_no_more(
    level: int, wanted: OperatingPoint, awake: bool
) -> None:
    script = AvalonScript(asleep=True, level=level)
    adapter = Avalon(plate())
    async with RpcServer(script).serving():
        await adapter.hello()
        script.refuses = ("worklevel",)
        script.tells_level = True
        if awake:
            await adapter.change(wanted)
        else:
            with pytest.raises(RefusedError):
                await adapter.change(wanted)

    assert script.asleep is not awake


@pytest.mark.socket
@remapped
async def test_avalon_that_refuses_a_level_awake_has_refused() -> None:
    script = AvalonScript(level=0)
    adapter = Avalon(plate())
    async with RpcServer(script).serving():
        await adapter.hello()
        script.refuses = ("worklevel",)
        script.tells_level = True

        with pytest.raises(RefusedError, match="Unknown option"):
            await adapter.change(HIGH)


@pytest.mark.socket
@remapped
async def test_avalon_without_levels_is_off_or_at_its_highest() -> None:
    script = AvalonScript("worklevel")
    adapter = Avalon(plate())
    async with RpcServer(script).serving():
        hello = await adapter.hello()
        awake = (await adapter.read()).reading
        await adapter.change(SLEEP)
        await adapter.change(HIGH)

    assert hello.points is not None
    assert [point.name for point in hello.points] == ["sleep", "high"]
    assert awake.setting == Limit(Power(3000))
    assert not script.asleep


def test_avalon_without_levels_and_without_a_usable_point_is_an_error() -> None:
    with pytest.raises(DriverError, match="mid"):
        avalon.without_levels(plate(points=(point("mid", 2400),)))


@pytest.mark.socket
@remapped
async def test_avalon_that_tells_its_level_itself_is_not_asked_for_it() -> None:
    script = AvalonScript(level=1)
    script.tells_level = True
    adapter = Avalon(plate())
    async with RpcServer(script).serving() as server:
        await adapter.hello()
        server.heard.clear()
        sample = await adapter.read()

    assert server.heard == ["estats"]
    assert sample.reading.setting == Limit(Power(2400))


@pytest.mark.socket
@remapped
async def test_avalon_in_the_place_of_another_gives_no_reading() -> None:
    script = AvalonScript()
    adapter = Avalon(plate())
    async with RpcServer(script).serving():
        await adapter.hello()
        script.dna = "0201000000000000"

        with pytest.raises(DriverError, match="0201000000000000"):
            await adapter.read()


@pytest.mark.socket
@remapped
async def test_what_is_no_avalon_is_not_met_as_one() -> None:
    script = AvalonScript()
    script.product = "cgminer"
    async with RpcServer(script).serving():
        with pytest.raises(DriverError, match="no Avalon"):
            await Avalon(plate()).hello()


@pytest.mark.socket
@remapped
async def test_avalon_that_hangs_up_at_softon_without_a_word_is_waited_for() -> None:
    """As a 1466 does: whether it wakes, only reading it can tell."""
    script = AvalonScript(asleep=True)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.read(65_536))
        parameters = request.get("parameter", "").split(",")
        answer = script(request["command"], parameters)
        if "softon" not in parameters:
            writer.write(json.dumps(answer).encode())
        writer.close()

    server = await asyncio.start_server(serve, HOST, PORTS[4028])
    try:
        await Avalon(plate()).change(HIGH)
    finally:
        server.close()

    assert not script.asleep


@pytest.mark.socket
@remapped
async def test_avalon_whose_clock_stands_still_is_waited_for_until_the_deadline() -> None:
    script = AvalonScript()

    def standing(command: str, parameters: list[Any]) -> Json | None:
        script.clock_s = 6_999
        return script(command, parameters)

    async with RpcServer(standing).serving():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await Avalon(plate()).change(SLEEP)
