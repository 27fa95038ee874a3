"""Auradine: what its answers mean, and how its token and its power target are treated."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from pydantic import SecretStr

from controller.domain.devices import OperatingPoint, Quality
from controller.domain.power import NO_LIMIT, Limit, Power
from drivers.asic import auradine
from drivers.asic.adapter import RefusedError
from drivers.asic.auradine import Auradine
from drivers.asic.jsonhttp import Answer
from drivers.asic.trouble import as_driver_error
from drivers.base import DriverError
from tests.drivers.asic_fakes import Json, RpcServer, no, ok, plate, point, remapped
from tests.drivers.asic_web_fakes import JsonServer, Request

MODE: Json = {"Mode": "custom", "Sleep": "off", "Ths": 160, "Power": 2600}
PSU: Json = {"PowerIn": "2588.94W", "PowerOut": "2450.10W", "PoutMax": "3452.00W"}
SUMMARY: Json = {"MHS 5s": 82_400_000.5, "MHS av": 1.0}


def sample(mode: Json | None = None, psu: Json | None = None, boards: list[Json] | None = None) -> Any:
    return auradine.sample(MODE | (mode or {}), PSU | (psu or {}), SUMMARY, boards or [], plate()).reading


# -- what it says ----------------------------------------------------------------------------------------


def test_watts_are_what_goes_into_the_psu_rounded_up() -> None:
    reading = sample()

    assert (reading.draw, reading.quality) == (Power(2589), Quality.MEASURED)
    assert reading.rate == pytest.approx(82.4000005)


@pytest.mark.parametrize("told", ["58.94W", "58.94 W", "58.94", 58.94])
def test_watts_are_read_with_and_without_their_unit(told: object) -> None:
    assert sample(psu={"PowerIn": told}).draw == Power(59)


@pytest.mark.parametrize("told", [None, "", "-3W", "lots", "nan", "1e3W", True])
def test_a_psu_without_believable_watts_is_no_reading(told: object) -> None:
    with pytest.raises(DriverError, match="PowerIn"):
        sample(psu={"PowerIn": told})


@pytest.mark.parametrize(
    ("mode", "setting"),
    [
        ({}, Limit(Power(2600))),
        ({"Sleep": "on"}, Limit(Power(25))),
        ({"Power": "2600"}, Limit(Power(2600))),
        ({"Mode": "normal"}, NO_LIMIT),  # 2600 W are the target of last time
        ({"Mode": "eco"}, NO_LIMIT),
        ({"Tune": "ths"}, NO_LIMIT),
        ({"Tune": "power"}, Limit(Power(2600))),
        ({"Power": 0}, NO_LIMIT),
        ({"Power": None}, NO_LIMIT),
    ],
)
def test_the_setting_is_the_power_target_of_the_custom_mode_or_sleep(mode: Json, setting: object) -> None:
    assert sample(mode).setting == setting


def test_a_machine_that_does_not_say_whether_it_sleeps_is_no_reading() -> None:
    with pytest.raises(DriverError, match="Sleep"):
        sample({"Sleep": None})


def test_the_hottest_chip_counts_and_a_board_that_is_off_has_none() -> None:
    boards: list[Json] = [
        {"ID": 0, "BoardTemp": [{"Temperature": 95.0}], "ChipTemp": None},
        {"ID": 1, "ChipTemp": [{"Temperature": 61.5}, {"Temperature": 70.25}, {"Temperature": 0}]},
        {"ID": 2, "ChipTemp": []},
    ]

    assert sample(boards=boards).hottest_c == 70.25
    assert sample(boards=boards[:1]).hottest_c is None


def test_an_answer_without_a_verdict_is_none() -> None:
    with pytest.raises(DriverError, match="STATUS"):
        auradine.judged("mode", Answer(status=200, body={"Mode": [MODE]}))


# -- orders ----------------------------------------------------------------------------------------------


class AuradineScript:
    """An Auradine whose tokens are good for as many requests as `token_uses` says."""

    def __init__(self, token_uses: int = 1000, **mode: Any) -> None:
        self.mode = MODE | mode
        self.token_uses = token_uses
        self.in_status_200 = False
        self.refuses: set[str] = set()
        self.logins = 0
        self._left = 0

    def __call__(self, request: Request) -> tuple[int, Any]:
        command = request.line.split("/")[1]
        if command == "token":
            if request.body != {"command": "token", "user": "admin", "password": "admin"}:
                return 200, no(501, "Invalid user or password")
            self.logins += 1
            self._left = self.token_uses
            return 200, ok(Token=[{"Token": f"t{self.logins}"}])
        if request.headers.get("token") != f"t{self.logins}" or self._left <= 0:
            return 200 if self.in_status_200 else 401, no(500, "Token expired")
        self._left -= 1
        return 200, self._answer(command, request.body)

    def _answer(self, command: str, body: Any) -> Json:
        if command in self.refuses or (body is not None and self.refuses & body.keys()):
            return no(14, "Invalid command")
        match command:
            case "mode" if body is not None:
                self.mode |= {
                    key.capitalize(): body[key] for key in ("sleep", "mode", "power") if key in body
                }
            case "ipreport":
                return ok(IPReport=[{"mac": "02:00:00:00:00:09"}])
            case "psu":
                return ok(PSU=[PSU])
            case "temperature":
                return ok(Temperature=[{"ChipTemp": [{"Temperature": 66.0}]}])
            case _:
                pass
        return ok(Mode=[self.mode])


def rpc(command: str, _: list[Any]) -> Json:
    return ok(SUMMARY=[SUMMARY])


async def told(script: AuradineScript, wanted: OperatingPoint) -> tuple[list[Any], DriverError | None]:
    """What a machine is told when it is to go to `wanted`, without its logins, and what came of it."""
    caught = None
    async with JsonServer(script, 8080).serving() as server:
        try:
            with as_driver_error():
                await Auradine(plate()).change(wanted)
        except DriverError as error:
            caught = error
    orders = [request.body for request in server.heard if request.line == "POST /mode"]
    return [{key: value for key, value in order.items() if key != "command"} for order in orders], caught


@pytest.mark.socket
@remapped
async def test_reads_from_both_of_its_ports() -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(JsonServer(AuradineScript(), 8080).serving())
        await stack.enter_async_context(RpcServer(rpc).serving())

        reading = (await Auradine(plate()).read()).reading

    assert (reading.draw, reading.setting, reading.hottest_c) == (Power(2589), Limit(Power(2600)), 66.0)


@pytest.mark.socket
@remapped
async def test_firmware_that_does_not_know_temperatures_is_read_without_them() -> None:
    script = AuradineScript()
    script.refuses = {"temperature"}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(JsonServer(script, 8080).serving())
        await stack.enter_async_context(RpcServer(rpc).serving())

        reading = (await Auradine(plate()).read()).reading

    assert (reading.draw, reading.hottest_c) == (Power(2589), None)


@pytest.mark.parametrize("in_status_200", [False, True])
@pytest.mark.socket
@remapped
async def test_the_command_that_a_token_ran_out_at_is_sent_again_with_a_fresh_one(
    in_status_200: bool,
) -> None:
    script = AuradineScript(token_uses=1)
    script.in_status_200 = in_status_200
    adapter = Auradine(plate())
    async with JsonServer(script, 8080).serving() as server:
        await adapter.hello()
        await adapter.change(point("sleep", 25))

    assert script.mode["Sleep"] == "on"
    assert server.lines.count("POST /mode") == 2


@pytest.mark.socket
@remapped
async def test_a_refusal_with_a_fresh_token_is_believed_at_once() -> None:
    script = AuradineScript()
    script.refuses = {"sleep"}

    orders, error = await told(script, point("sleep", 25))

    assert orders == [{"sleep": "on"}]
    assert script.logins == 1
    assert isinstance(error, RefusedError)


@pytest.mark.socket
@remapped
async def test_a_wrong_password_is_a_refusal_that_says_so() -> None:
    adapter = Auradine(plate(password=SecretStr("not it")))
    async with JsonServer(AuradineScript(), 8080).serving():
        with pytest.raises(RefusedError, match="password"):
            await adapter.hello()


@pytest.mark.socket
@remapped
async def test_a_target_is_set_in_watts() -> None:
    orders, error = await told(AuradineScript(), point("2000w", 2000))

    assert error is None
    assert orders == [{"mode": "custom", "tune": "power", "power": 2000}]


@pytest.mark.socket
@remapped
async def test_a_target_that_stands_already_is_not_set_again_but_one_of_another_mode_is() -> None:
    stands, _ = await told(AuradineScript(), point("2600w", 2600))
    of_last_time, _ = await told(AuradineScript(Mode="normal"), point("2600w", 2600))

    assert stands == []
    assert of_last_time == [{"mode": "custom", "tune": "power", "power": 2600}]


@pytest.mark.socket
@remapped
async def test_a_machine_that_is_told_a_target_again_which_it_shows_is_sent_it_again() -> None:
    adapter = Auradine(plate())
    async with JsonServer(AuradineScript(), 8080).serving() as server:
        await adapter.hello()
        await adapter.change(point("2600w", 2600))
        told_once = server.lines.count("POST /mode")
        await adapter.change(point("2600w", 2600))

    assert (told_once, server.lines.count("POST /mode")) == (0, 1)


@pytest.mark.socket
@remapped
async def test_a_sleeping_machine_is_woken_only_after_its_target_is_set() -> None:
    orders, _ = await told(AuradineScript(Sleep="on"), point("2000w", 2000))

    assert [list(order) for order in orders] == [["mode", "tune", "power"], ["sleep"]]


@pytest.mark.parametrize(
    ("mode", "wanted", "awake"),
    [
        ({"Power": 2600}, point("2000w", 2000), False),
        ({"Power": 2000}, point("2600w", 2600), True),
        ({"Mode": "turbo"}, point("2600w", 2600), False),
    ],
)
@pytest.mark.socket
@remapped
async def test_a_machine_that_refuses_a_target_asleep_is_woken_only_under_one_that_is_no_higher(
    mode: Json, wanted: OperatingPoint, awake: bool
) -> None:
    script = AuradineScript(Sleep="on", **mode)
    script.refuses = {"power"}

    _, error = await told(script, wanted)

    assert (script.mode["Sleep"] == "off") is awake
    assert (error is None) is awake
