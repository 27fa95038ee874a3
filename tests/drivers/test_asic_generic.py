"""What pyasic recognises and nothing here speaks: watched, believed only when fresh, and told nothing."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import pytest

from controller.domain.devices import OperatingPoint, Quality
from controller.domain.power import Limit, Power
from drivers.asic.adapter import Plate, RefusedError
from drivers.asic.build import ADAPTERS
from drivers.asic.generic import POLL, SWITCHES, WATCHED, Generic, poll, prepare
from drivers.asic.identify import backend_of
from drivers.asic.trouble import as_driver_error
from drivers.base import DriverError
from tests.drivers.asic_fakes import HOST, Json, RpcServer, no, plate, point, remapped
from tests.drivers.asic_web_fakes import JsonServer, Request

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside pyasic and passlib, at import
    from pyasic.miners import factory

KINDS = {
    backend_of(kind): kind
    for models in factory.MINER_CLASSES.values()
    for model, kind in models.items()
    if model is not None
}
"""A model of each of pyasic's classes."""

AXEOS: Json = {
    "ASICModel": "BM1370",
    "macAddr": "02:00:00:00:00:0a",
    "hashRate": 1190.5,
    "power": 17.6,
    "temp": 61.2,
    "vrTemp": 55,
}


class Axeos:
    """`info` is what the machine says of itself."""

    def __init__(self, **info: Any) -> None:
        self.info = {key: value for key, value in (AXEOS | info).items() if value is not None}

    def __call__(self, request: Request) -> tuple[int, Any]:
        match request.line:
            case "GET /":
                return 200, "AxeOS"
            case "GET /api/system/info":
                return 200, self.info
            case _:
                return 404, None


# -- watching --------------------------------------------------------------------------------------------


async def met(adapter: Generic, script: Axeos | Mara) -> Any:
    async with JsonServer(script).serving():
        hello = await adapter.hello()
        return hello, (await adapter.read()).reading


@pytest.mark.socket
@remapped
async def test_a_watched_machine_has_its_ceiling_and_no_other_point() -> None:
    hello, reading = await met(Generic(plate()), Axeos())

    assert hello.points == (OperatingPoint(name="on", power=Power(3150), rate=100.0),)
    assert hello.mac == "02:00:00:00:00:0A"
    assert reading.setting == Limit(Power(3150))


@pytest.mark.socket
@remapped
async def test_a_watched_machine_is_read_through_pyasic() -> None:
    _, reading = await met(Generic(plate()), Axeos())

    assert (reading.draw, reading.quality) == (Power(18), Quality.MEASURED)
    assert reading.rate == pytest.approx(1.1905)
    assert reading.hottest_c == 61.2


@pytest.mark.socket
@remapped
async def test_a_machine_that_tells_no_watts_draws_its_ceiling() -> None:
    _, reading = await met(Generic(plate()), Axeos(power=None))

    assert (reading.draw, reading.quality) == (Power(3150), Quality.ESTIMATED)


@pytest.mark.socket
@remapped
async def test_a_machine_that_tells_no_rate_is_no_reading() -> None:
    with pytest.raises(DriverError, match="no hash rate"):
        await met(Generic(plate()), Axeos(hashRate=None))


@pytest.mark.socket
@remapped
async def test_a_sleep_that_is_configured_for_a_machine_without_one_is_not_offered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    configured = plate(points=(point("sleep", 5), point("on", 3000, 100.0)))

    with caplog.at_level(logging.WARNING):
        hello, _ = await met(Generic(configured), Axeos())

    assert [point.name for point in hello.points] == ["on"]
    assert "BitAxe: pyasic has no stop for it" in caplog.text


@pytest.mark.socket
@remapped
async def test_a_machine_that_has_a_family_of_its_own_is_not_taken_for_the_rest() -> None:
    def braiins(request: Request) -> tuple[int, Any]:
        return 200, "Luxor Firmware"

    async with JsonServer(braiins).serving():
        with pytest.raises(DriverError, match="configured as generic, but is LUXMiner"):
            await Generic(plate()).hello()


def test_no_class_has_a_family_of_its_own_and_is_watched_as_well() -> None:
    own = {adapter.backend for adapter in ADAPTERS.values()}

    assert not own & {*WATCHED, *SWITCHES}
    assert {*WATCHED, *SWITCHES} <= KINDS.keys()


@pytest.mark.parametrize("kind", [*WATCHED, *SWITCHES])
@pytest.mark.filterwarnings("ignore::UserWarning")  # pyasic: could not authenticate
@pytest.mark.socket
@remapped
async def test_a_dead_machine_of_any_class_is_no_reading(kind: str) -> None:
    """pyasic itself calls most of them mining, some with a rate of 0."""
    miner = KINDS[kind](HOST)
    prepare(miner, plate())

    with pytest.raises(DriverError), as_driver_error():
        await poll(miner, *POLL, deadline_s=2.0)


@pytest.mark.parametrize("kind", [*WATCHED, *SWITCHES])
@pytest.mark.filterwarnings("ignore::UserWarning")  # pyasic: could not authenticate
@pytest.mark.socket
@remapped
async def test_nonsense_from_a_machine_of_any_class_is_no_reading(kind: str) -> None:
    miner = KINDS[kind](HOST)
    prepare(miner, plate())

    said: Any
    for said in ({}, [], None, "x", {"STATUS": "S"}, {"data": None}):
        web = JsonServer(lambda _, value=said: (200, value))  # type: ignore[misc]  # bound in the loop
        async with web.serving(), RpcServer(lambda _, __: no(14, "Invalid command")).serving():
            with pytest.raises(DriverError), as_driver_error():
                await poll(miner, *POLL, deadline_s=2.0)


# -- on and off ------------------------------------------------------------------------------------------


class Mara:
    """MaraFW in `mode`, without a password. `answer` is what a write is answered with."""

    def __init__(self, mode: str = "Fixed", **config: Any) -> None:
        self.config: Json = {
            "mode": {"work-mode-selector": mode, "fixed": {"frequency": "600"}},
            "pools": [{"url": "stratum+tcp://pool.example:3333"}],
        } | config
        self.rate_ths = 0.0 if mode == "Sleep" else 98.5
        self.answer: Json = {"error": False, "msg": "success"}
        self.history: list[Json] | None = None

    @property
    def mode(self) -> str:
        return str(self.config["mode"]["work-mode-selector"])

    def __call__(self, request: Request) -> tuple[int, Any]:
        page = request.line.removeprefix("GET ").removeprefix("POST ").removeprefix("/kaonsu/v1/")
        match page:
            case "/":
                return 401, None
            case "brief":
                return 200, {"hashrate_realtime": self.rate_ths}
            case "overview":
                return 200, {"model": "Antminer S19", "mac": "02:00:00:00:00:0b"}
            case "hashboards":
                return 200, {"hashboards": []}
            case "log?type=miner_config_history" if self.history is not None:
                return 200, self.history
            case "miner_config" if request.body is None:
                return 200, self.config
            case "miner_config":
                if not self.answer["error"]:
                    self.config = request.body
                return 200, self.answer
            case _:
                return 404, None


def mara_plate() -> Plate:
    return plate(points=(point("sleep", 25), point("on", 3000, 100.0)))


async def switched(script: Mara, *names: str) -> DriverError | None:
    """Tell MaraFW to go to one point after the other; what came of the last."""
    adapter = Generic(mara_plate())
    caught = None
    async with JsonServer(script).serving():
        await adapter.hello()
        for name in names:
            try:
                with as_driver_error():
                    await adapter.change(point(name))
            except DriverError as error:
                caught = error
    return caught


@pytest.mark.socket
@remapped
async def test_marafw_has_sleep_only_if_the_operator_says_so() -> None:
    by_default, _ = await met(Generic(plate()), Mara())
    configured, _ = await met(Generic(mara_plate()), Mara())

    assert [point.name for point in by_default.points] == ["on"]
    assert [point.name for point in configured.points] == ["sleep", "on"]


@pytest.mark.socket
@remapped
async def test_marafw_goes_back_to_the_work_mode_that_it_was_in() -> None:
    asleep, back = Mara("Fixed"), Mara("Fixed")

    await switched(asleep, "sleep")
    await switched(back, "sleep", "on")

    assert asleep.config["mode"] == {"work-mode-selector": "Sleep", "fixed": {"frequency": "600"}}
    assert asleep.config["pools"] == back.config["pools"] != []
    assert back.mode == "Fixed"


def changed(before: str, after: str, path: str = "WorkModeSelector") -> Json:
    return {"type": "update", "path": ["Mode", path], "from": before, "to": after}


@pytest.mark.parametrize(
    ("history", "mode"),
    [
        (None, "Auto"),
        ([], "Auto"),
        ([{"1": [changed("Fixed", "Sleep")]}], "Fixed"),
        (
            [
                {"1": [changed("Auto", "Sleep")]},
                {"2": [changed("Sleep", "Stock")]},
                {"3": [changed("1", "2", "Frequency"), changed("Stock", "Sleep")]},
                {"4": [changed("Fixed", "Sleep", "Note")]},
            ],
            "Stock",
        ),
    ],
)
@pytest.mark.socket
@remapped
async def test_marafw_that_slept_when_it_was_met_wakes_into_the_mode_that_its_history_tells(
    history: list[Json] | None, mode: str
) -> None:
    script = Mara("Sleep")
    script.history = history

    await switched(script, "on")

    assert script.mode == mode


@pytest.mark.socket
@remapped
async def test_marafw_that_is_there_already_is_not_written_to() -> None:
    script = Mara("Stock")
    script.answer = {"error": True, "msg": "not to be asked"}

    assert await switched(script, "on") is None


@pytest.mark.parametrize("pools", [[], None])
@pytest.mark.socket
@remapped
async def test_marafw_without_pools_in_what_it_gave_is_not_written_to(pools: object) -> None:
    script = Mara("Fixed", pools=pools)

    error = await switched(script, "sleep")

    assert isinstance(error, RefusedError)
    assert script.mode == "Fixed"


@pytest.mark.socket
@remapped
async def test_marafw_that_says_no_has_refused() -> None:
    script = Mara("Fixed")
    script.answer = {"error": True, "msg": "firmware update running"}

    error = await switched(script, "sleep")

    assert isinstance(error, RefusedError)
    assert "firmware update running" in str(error)


@pytest.mark.parametrize(
    ("mode", "rate_ths", "draw_w"),
    [("Fixed", 98.5, 3000), ("Fixed", 0.0, 3000), ("Sleep", 0.0, 25), ("Sleep", 98.5, 3150)],
)
@pytest.mark.socket
@remapped
async def test_marafw_which_tells_pyasic_no_watts_draws_what_its_mode_allows_unless_it_hashes_asleep(
    mode: str, rate_ths: float, draw_w: int
) -> None:
    script = Mara(mode)
    script.rate_ths = rate_ths

    _, reading = await met(Generic(mara_plate()), script)

    assert (reading.draw, reading.quality) == (Power(draw_w), Quality.ESTIMATED)
    assert reading.setting == Limit(Power(25 if mode == "Sleep" else 3000))
