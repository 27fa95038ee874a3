"""ePIC: what its pages mean, which target is meant by a point, and how orders are given to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from controller.domain.devices import OperatingPoint, Quality, Reading
from controller.domain.power import NO_LIMIT, Limit, Power
from drivers.asic import epic
from drivers.asic.adapter import Plate, RefusedError
from drivers.asic.epic import Epic, Tuner
from drivers.asic.trouble import as_driver_error
from drivers.base import DriverError
from tests.drivers.asic_fakes import HOST, PORTS, Json, plate, point, remapped

MAC = "02:00:00:00:00:09"


def summary(state: str = "Mining", last: str | None = None, power: object = 2950.25, **rest: Any) -> Json:
    return {
        "Status": {"Operating State": state, "Last Command": last, "Last Error": None},
        "Power Supply Stats": {"Input Power": power},
        "HBs": [{"Index": board, "Hashrate": [33e6, 99.0, 1.0], "Temperature": 60.0} for board in range(3)],
    } | rest


def tuning(algorithm: str = "PowerTune", target: object = 2800, *, enabled: bool = True, **rest: Any) -> Json:
    """Targets of the other tuners are there as well, and mean nothing."""
    others = {"ChipTune": {"Target": 70, "Unit": "TH/s"}, "PowerTune": {"Target": 1, "Unit": "W"}}
    return {
        "Enable": enabled,
        "Running": enabled,
        "Current Algorithm": algorithm,
        "Algorithms": others | {algorithm: {"Target": target, "Optimized": True} | rest},
    }


CHIPS = [{"Index": 0, "Data": [71.5, 0.0, 66.0]}, {"Index": 1, "Data": []}, {"Index": 2, "Data": [78.5]}]


def capabilities(*tuners: tuple[str, int, int], **rest: Any) -> Json:
    options = [
        {"algorithm": algorithm, "name": algorithm, "description": "", "min": least, "max": most}
        for algorithm, least, most in tuners
    ]
    return {"Model": "Antminer S19 Pro", "PerpetualTune": options} | rest


def read(
    page: Json | None = None,
    tuner: Json | None = None,
    chips: Any = CHIPS,
    of: Plate | None = None,
    asleep: bool = False,
) -> Reading:
    return epic.reading(
        page or summary(),
        tuner or tuning(),
        chips,
        plate=of or plate(),
        quality=Quality.MEASURED,
        asleep=asleep,
    )


# -- what the pages mean ---------------------------------------------------------------------------------


def test_epic_tells_the_watts_of_its_power_supply_its_target_and_its_hottest_chip() -> None:
    reading = read()

    assert (reading.draw, reading.quality) == (Power(2951), Quality.MEASURED)
    assert reading.setting == Limit(Power(2800))
    assert reading.rate == pytest.approx(99.0)
    assert reading.hottest_c == 78.5


def test_epic_without_chip_sensors_tells_its_hottest_board() -> None:
    assert read(chips=[]).hottest_c == 60.0
    assert read(summary(HBs=[]), chips=[]).hottest_c is None


def test_epic_watts_are_made_up_by_the_firmware_where_the_power_supply_cannot_measure() -> None:
    assert epic.quality({"Psu Info": {"True Power": False}}) is Quality.ESTIMATED
    assert epic.quality({"Psu Info": {"True Power": True}}) is Quality.MEASURED
    assert epic.quality({"Psu Info": None}) is Quality.MEASURED


@pytest.mark.parametrize("power", [0, None, "", -5])
def test_epic_watts_that_it_does_not_know_are_all_that_its_target_allows(power: object) -> None:
    targeted = read(summary(power=power))
    free = read(summary(power=power), tuning(enabled=False))
    at_rest = read(summary("Idling", "stop", power=power, HBs=[]), asleep=True)

    assert (targeted.draw, targeted.quality) == (Power(2800), Quality.ESTIMATED)
    assert free.draw == Power(3150)
    assert (at_rest.draw, at_rest.quality) == (Power(25), Quality.ESTIMATED)


def test_epic_with_its_tuner_off_has_no_limit() -> None:
    """That is where pyasic's own get_config never returns."""
    assert read(tuner=tuning(enabled=False)).setting == NO_LIMIT


def test_a_target_in_terahashes_is_a_limit_only_where_somebody_said_what_it_draws() -> None:
    vouched = plate(points=(point("sleep", 25), point("eco", 2000, 70.9), point("full", 3000, 101.0)))

    assert read(tuner=tuning("ChipTune", 70), of=vouched).setting == Limit(Power(2000))
    assert read(tuner=tuning("ChipTune", 85), of=vouched).setting == NO_LIMIT
    assert read(tuner=tuning("ChipTune", 100)).setting == Limit(Power(3000))
    assert read(tuner=tuning("ChipTune", 70)).setting == NO_LIMIT


def test_epic_is_tuned_to_watts_where_it_can_be_and_else_as_it_is_now() -> None:
    both = capabilities(("ChipTune", 30, 110), ("BoardTune", 30, 110), ("PowerTune", 1000, 3600))
    older = capabilities(("ChipTune", 30, 110), ("BoardTune", 30, 110))

    assert epic.tuner_of(both, tuning("ChipTune")) == Tuner(algorithm="PowerTune", least=1000, most=3600)
    assert epic.tuner_of(older, tuning("BoardTune")).algorithm == "BoardTune"
    assert epic.tuner_of(older, tuning("Manual")).algorithm == "ChipTune"
    with pytest.raises(DriverError, match="no tuner"):
        epic.tuner_of(capabilities(), tuning())


def names(offered: tuple[OperatingPoint, ...]) -> list[str]:
    return [point.name for point in offered]


def test_epic_offers_the_points_within_reach_of_its_tuner() -> None:
    watts = Tuner(algorithm="PowerTune", least=1700, most=2900)
    rates = Tuner(algorithm="ChipTune", least=70, most=100)
    points = (
        point("sleep", 25),
        point("low", 1699, 69.9),
        point("eco", 1700, 70.0),
        point("mid", 2900, 100.9),
        point("top", 2901, 101.0),
    )

    assert names(epic.usable_points(watts, plate(points=points))) == ["sleep", "eco", "mid"]
    assert names(epic.usable_points(rates, plate(points=points))) == ["sleep", "eco", "mid"]
    assert names(epic.usable_points(rates, plate())) == ["sleep", "3000w"]
    with pytest.raises(DriverError, match="no point is within reach"):
        epic.usable_points(rates, plate(rated_ths=50.0))


# -- how orders are given --------------------------------------------------------------------------------


class EpicServer:
    """Its pages, and the answers to orders in the order of asking; the last one is repeated."""

    def __init__(self, *answers: Any, status: int = 200, **pages: Any) -> None:
        self.pages: Json = {
            "summary": summary(),
            "perpetualtune": tuning(),
            "temps/chip": CHIPS,
            "network": {"dhcp": {"mac_address": MAC}},
            "capabilities": capabilities(("PowerTune", 1000, 3600)),
        } | {name.replace("_", "/"): page for name, page in pages.items()}
        self._answers = list(answers) or [{"result": True, "error": None}]
        self._status = status
        self.orders: list[tuple[str, Any]] = []
        self.passwords: list[object] = []
        self.read_with_body = False

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[EpicServer]:
        server = await asyncio.start_server(self._serve, HOST, PORTS[4028])
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        lengths = [line.partition(":")[2] for line in head.split("\r\n") if line.startswith("Content-Length")]
        body = await reader.readexactly(int(lengths[0])) if lengths else b""
        status, content = self._page(method, path.strip("/"), body)
        answer = json.dumps(content).encode()
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
        writer.close()

    def _page(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if method == "POST":
            order = json.loads(body)
            self.orders.append((path, order["param"]))
            self.passwords.append(order["password"])
            return self._status, self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.read_with_body |= bool(body)
        page = self.pages.get(path)
        return (404, None) if page is None else (200, page)


async def told(
    server: EpicServer, wanted: OperatingPoint, *, to: Plate | None = None
) -> tuple[list[tuple[str, Any]], DriverError | None]:
    """What the machine is told so that it goes to `wanted`, and what came of it."""
    adapter = Epic(to or plate())
    async with server.serving():
        await adapter.hello()
        try:
            with as_driver_error():
                await adapter.change(wanted)
        except DriverError as error:
            return server.orders, error
    return server.orders, None


PENDING = {"result": False, "error": {"LastCmdStillPending": "Last command is still pending"}}
DONE = {"result": True, "error": None}


@pytest.mark.socket
@remapped
async def test_epic_hears_its_password_in_orders_and_in_nothing_else() -> None:
    server = EpicServer()

    orders, error = await told(server, point("sleep", 25), to=plate(password=SecretStr("hall-7")))

    assert error is None
    assert orders == [("miner", "Stop")]
    assert server.passwords == ["hall-7"]
    assert not server.read_with_body


@pytest.mark.socket
@remapped
async def test_epic_at_rest_gets_its_target_before_it_is_started() -> None:
    orders, _ = await told(EpicServer(summary=summary("Idling", "stop")), point("eco"))

    assert orders == [("perpetualtune/algo", {"algo": "PowerTune", "target": 2000}), ("miner", "Autostart")]


@pytest.mark.socket
@remapped
async def test_epic_that_mines_is_not_started() -> None:
    orders, _ = await told(EpicServer(), point("eco"))

    assert [path for path, _ in orders] == ["perpetualtune/algo"]


@pytest.mark.parametrize(
    ("least", "sent"),
    [(1500, {"min_throttle": 1500, "throttle_step": 100}), (1901, {})],
)
@pytest.mark.socket
@remapped
async def test_the_operators_throttling_outlives_a_new_target_that_leaves_room_for_it(
    least: int, sent: Json
) -> None:
    kept: Json = {"Min Throttle Target": least, "Throttle Step": 100}
    orders, _ = await told(EpicServer(perpetualtune=tuning(**kept)), point("eco"))

    assert orders == [("perpetualtune/algo", {"algo": "PowerTune", "target": 2000} | sent)]


@pytest.mark.socket
@remapped
async def test_older_epic_gets_the_rate_of_the_point_as_its_target() -> None:
    server = EpicServer(
        capabilities=capabilities(("BoardTune", 30, 110)), perpetualtune=tuning("BoardTune", 100)
    )
    vouched = plate(points=(point("sleep", 25), point("eco", 2000, 70.9)))

    orders, _ = await told(server, vouched.points[1], to=vouched)

    assert orders == [("perpetualtune/algo", {"algo": "BoardTune", "target": 70})]


@pytest.mark.parametrize("error", ["BadPassword", {"UnknownError": "target out of range"}, None])
@pytest.mark.socket
@remapped
async def test_epic_that_refuses_a_target_is_not_started(error: object) -> None:
    server = EpicServer({"result": False, "error": error}, summary=summary("Idling", "stop"))

    orders, refusal = await told(server, point("eco"))

    assert isinstance(refusal, RefusedError)
    assert [path for path, _ in orders] == ["perpetualtune/algo"]


@pytest.mark.parametrize(("answers", "refused"), [((PENDING, DONE), False), ((PENDING,), True)])
@pytest.mark.socket
@remapped
async def test_epic_that_is_busy_with_the_last_order_is_asked_once_more(
    answers: tuple[Json, ...], refused: bool
) -> None:
    orders, error = await told(EpicServer(*answers), point("sleep", 25))

    assert orders == [("miner", "Stop")] * 2
    assert isinstance(error, RefusedError) is refused


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [(200, {}, DriverError), (200, [], DriverError), (500, DONE, DriverError), (403, {}, RefusedError)],
)
@pytest.mark.socket
@remapped
async def test_epic_that_says_neither_yes_nor_no_has_not_agreed(
    status: int, answer: Any, kind: type[DriverError]
) -> None:
    _, error = await told(EpicServer(answer, status=status), point("sleep", 25))

    assert type(error) is kind


@pytest.mark.socket
@remapped
async def test_another_machine_at_the_address_is_told_nothing() -> None:
    server = EpicServer()
    adapter = Epic(plate())
    async with server.serving():
        await adapter.hello()
        server.pages["network"] = {"static": {"mac_address": "02:00:00:00:00:10"}}

        with pytest.raises(DriverError, match="02:00:00:00:00:10"):
            await adapter.change(point("sleep", 25))

    assert server.orders == []


@pytest.mark.parametrize(
    ("state", "last", "asleep"),
    [
        ("Idling", "stop", True),
        ("Idling", None, True),
        ("Stopping", "stop", True),
        ("Idling", "autostart", False),
        ("Idling", "Autostart", False),
        ("Mining", "stop", False),
        ("Initializing", "autostart", False),
    ],
)
@pytest.mark.socket
@remapped
async def test_epic_that_rests_though_it_was_told_to_run_will_start_by_itself(
    state: str, last: str | None, asleep: bool
) -> None:
    adapter = Epic(plate())
    async with EpicServer(summary=summary(state, last)).serving():
        await adapter.hello()
        setting = (await adapter.read()).reading.setting

    assert setting == Limit(Power(25 if asleep else 2800))


@pytest.mark.socket
@remapped
async def test_epic_that_we_stopped_is_asleep_whatever_it_calls_its_last_command() -> None:
    adapter = Epic(plate())
    async with EpicServer(summary=summary("Idling", "autostart")).serving():
        await adapter.hello()
        await adapter.change(point("sleep", 25))
        stopped = (await adapter.read()).reading.setting
        await adapter.change(point("eco"))
        started = (await adapter.read()).reading.setting

    assert stopped == Limit(Power(25))
    assert started == Limit(Power(2800))


@pytest.mark.parametrize("chips", [None, {"result": False, "error": "NoTempSensors"}])
@pytest.mark.socket
@remapped
async def test_epic_that_tells_no_chip_temperatures_is_still_read(chips: object) -> None:
    server = EpicServer(temps_chip=chips)
    adapter = Epic(plate())
    async with server.serving():
        await adapter.hello()
        reading = (await adapter.read()).reading

    assert (reading.draw, reading.hottest_c) == (Power(2951), 60.0)


@pytest.mark.parametrize("page", [{}, [], None, {"Status": {}}, {"result": False, "error": "Initializing"}])
@pytest.mark.socket
@remapped
async def test_a_summary_that_is_none_is_no_reading(page: object) -> None:
    server = EpicServer(summary=page)
    adapter = Epic(plate())
    async with server.serving():
        await adapter.hello()
        with pytest.raises(DriverError), as_driver_error():
            await adapter.read()
