"""Whatsminer v2: what its answers mean, and how its tokens and its off switch are treated."""

from __future__ import annotations

import base64
import hashlib
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from controller.domain.devices import Acknowledged, DeviceKind, DeviceSpec, Failed, Quality, SetPoint
from controller.domain.power import NO_LIMIT, Limit, Power
from drivers.asic import asicrs, whatsminer
from drivers.asic.adapter import Plate, RefusedError
from drivers.asic.driver import FAILURES_UNTIL_REBUILT, AsicDriver
from drivers.asic.identify import Identifier
from drivers.asic.trouble import as_driver_error
from drivers.asic.whatsminer import STATUS_EVERY, Whatsminer
from drivers.base import DriverError
from simulators.faces.md5crypt import md5crypt
from tests.drivers.asic_fakes import (
    HOST,
    Json,
    RpcServer,
    ok,
    plate,
    point,
    remapped,
)

SUMMARY: Json = {
    "MHS 1m": 98_500_000.0,
    "Power": 2950,
    "Power Limit": 3000,
    "Chip Temp Min": 60.0,
    "Chip Temp Avg": 75.2,
    "Chip Temp Max": 88.9,
    "MAC": "C8:08:E9:00:00:01",
}


def whats(status: Json, summary: Json | None = None) -> Any:
    return whatsminer.sample(status, SUMMARY | (summary or {}), plate()).reading


def test_whatsminer_tells_watts_limit_rate_and_its_hottest_chip() -> None:
    reading = whats({"mineroff": "false"})

    assert (reading.draw, reading.quality) == (Power(2950), Quality.MEASURED)
    assert reading.setting == Limit(Power(3000))
    assert reading.rate == pytest.approx(98.5)
    assert reading.hottest_c == 88.9


@pytest.mark.parametrize("power", [-1, 0, "", None])
def test_whatsminer_watts_that_it_does_not_know_are_all_that_its_limit_allows(power: object) -> None:
    limited = whats({"mineroff": "false"}, {"Power": power})
    unlimited = whats({"mineroff": "false"}, {"Power": power, "Power Limit": 0})

    assert (limited.draw, limited.quality) == (Power(3000), Quality.ESTIMATED)
    assert (unlimited.draw, unlimited.setting) == (Power(3150), NO_LIMIT)


@pytest.mark.parametrize("key", ["HS RT", "MHS 5s"])
def test_whatsminer_that_tells_no_watts_and_hashes_more_than_its_limit_allows_draws_what_that_takes(
    key: str,
) -> None:
    told = {"Power": -1, "Power Limit": 2100, "MHS 1m": 99e6}

    liar = whats({"mineroff": "false"}, told | {key: 99e6})
    came_down = whats({"mineroff": "false"}, told | {key: 76e6})
    averaged = whats({"mineroff": "false"}, told)

    assert (liar.draw, liar.quality) == (Power(2971), Quality.ESTIMATED)
    assert (came_down.draw, averaged.draw) == (Power(2100), Power(2100))


def test_whatsminer_read_by_the_second_backend_is_never_measured_to_draw_nothing() -> None:
    data = SimpleNamespace(
        tuning_target=None, hashrate=None, wattage=0.0, is_mining=True, hashboards=[], mac="02:00:00:00:00:01"
    )

    said = asicrs.sample(cast(Any, data), plate(), tells_heat=False).reading

    assert (said.draw, said.quality) == (Power(3150), Quality.ESTIMATED)


def test_whatsminer_that_is_off_and_knows_no_watts_is_at_rest_only_without_hash() -> None:
    at_rest = whats({"mineroff": "true"}, {"Power": -1, "MHS 1m": 0})
    hashing = whats({"mineroff": "true"}, {"Power": -1})

    assert (at_rest.draw, at_rest.quality) == (Power(25), Quality.ESTIMATED)
    assert hashing.draw == Power(3000)


@pytest.mark.parametrize(
    ("status", "off"),
    [
        ({"mineroff": "false"}, False),
        ({"mineroff": "true"}, True),
        ({"btmineroff": "true"}, True),
        ({"btmineroff": "false"}, False),
        ({"mineroff": "false", "btmineroff": ""}, False),
        ({"mineroff": True}, True),
    ],
)
def test_whatsminer_is_off_when_its_status_says_so_in_old_words_or_new(status: Json, off: bool) -> None:
    assert whatsminer.is_off(status) is off


def test_whatsminer_status_that_says_neither_is_no_answer() -> None:
    with pytest.raises(DriverError, match="mineroff"):
        whatsminer.is_off({"power_mode": "Normal"})


def test_whatsminer_ladder_starts_at_min_w_and_ends_at_the_rating() -> None:
    ladder = [point.power.watts for point in whatsminer.Whatsminer.default_points(plate(min_w=1800))]

    assert ladder == [25, 1800, 2000, 2200, 2400, 2600, 2800, 3000]


class WhatsScript:
    """A Whatsminer whose orders are refused, in clear text, as often as `refusals` says for each."""

    def __init__(self, *, off: bool = False, **refusals: int) -> None:
        self.off = off
        self.refusals = refusals
        self.limit_w = 3000
        self.power_w = 2900
        self.tokens = 0
        self.ordered: list[str] = []

    def __call__(self, command: str, parameters: list[Any]) -> Json | None:
        match command:
            case "status":
                return self._flat({"mineroff": str(self.off).lower()})
            case "get_miner_info":
                return self._flat({"mac": "C8:08:E9:00:00:02"})
            case "get_version":
                return self._flat({"fw_ver": "20240511.11.REL"})
            case "summary":
                return ok(SUMMARY=[{"Power": self.power_w, "Power Limit": self.limit_w, "MHS 1m": 9e7}])
            case "get_token":
                self.tokens += 1
                return self._flat({"time": "4711", "salt": "saltAAAA", "newsalt": "nsltBBBB"})
            case _:
                return self._order(base64.b64decode(parameters[0]["data"]))

    def _order(self, sealed: bytes) -> Json:
        key = hashlib.sha256(md5crypt("admin", "saltAAAA").encode()).digest()
        decryptor = Cipher(AES(key), ECB()).decryptor()
        order = json.loads((decryptor.update(sealed) + decryptor.finalize()).rstrip(b"\0"))
        command = order["cmd"]
        self.ordered.append(command)
        if self.refusals.get(command, 0) > 0:
            self.refusals[command] -= 1
            return {"STATUS": "E", "When": 1, "Code": 45, "Msg": "can't access write cmd", "Description": ""}
        self.off = command == "power_off" or (self.off and command != "power_on")
        self.limit_w = int(order.get("power_limit", self.limit_w))
        return self._flat({})

    def _flat(self, message: Json) -> Json:
        return {"STATUS": "S", "When": 1, "Code": 131, "Msg": message, "Description": ""}


@pytest.mark.socket
@remapped
async def test_whatsminer_that_refuses_once_is_asked_again_with_a_new_token() -> None:
    script = WhatsScript(power_off=1)
    async with RpcServer(script).serving():
        await Whatsminer(plate()).change(point("sleep", 25))

    assert script.off
    assert (script.ordered, script.tokens) == (["power_off", "power_off"], 2)


@pytest.mark.socket
@remapped
async def test_whatsminer_status_is_asked_now_and_then_and_whenever_the_machine_moves() -> None:
    script = WhatsScript()
    adapter = Whatsminer(plate())
    server = RpcServer(script)
    async with server.serving():
        for _ in range(STATUS_EVERY + 1):
            await adapter.read()
        now_and_then = server.heard.count("status")
        script.power_w = 40
        moved = await adapter.read()
        asked = server.heard.count("status")

    assert (now_and_then, asked) == (2, 3)
    assert moved.reading.draw == Power(40)


@pytest.mark.socket
@remapped
async def test_whatsminer_is_asked_for_its_status_after_every_order() -> None:
    script = WhatsScript()
    adapter = Whatsminer(plate())
    async with RpcServer(script).serving():
        before = (await adapter.read()).reading
        await adapter.change(point("sleep", 25))
        after = (await adapter.read()).reading

    assert before.setting == Limit(Power(3000))
    assert after.setting == Limit(Power(25))
    assert after.draw == before.draw, "its watts had no time to move"


@pytest.mark.socket
@remapped
async def test_whatsminer_that_refuses_twice_has_refused() -> None:
    script = WhatsScript(power_off=2)
    async with RpcServer(script).serving():
        with pytest.raises(RefusedError, match="can't access write cmd"):
            await Whatsminer(plate()).change(point("sleep", 25))

    assert script.ordered == ["power_off", "power_off"]


@pytest.mark.socket
@remapped
async def test_whatsminer_token_is_used_again_and_dropped_when_the_machine_is_met_anew() -> None:
    script = WhatsScript()
    adapter = Whatsminer(plate())
    async with RpcServer(script).serving():
        await adapter.change(point("eco"))
        await adapter.change(point("full", 3000))
        tokens_before = script.tokens
        await adapter.hello()
        await adapter.change(point("eco"))

    assert (tokens_before, script.tokens) == (1, 2)


@pytest.mark.socket
@remapped
async def test_whatsminer_that_answers_an_order_with_nonsense_gives_another_token_for_the_next() -> None:
    class Reborn(WhatsScript):
        """Its orders are sealed with another key, since a reboot that nobody saw."""

        def _order(self, sealed: bytes) -> Json:
            return {"enc": "bm90IG91cnM="} if self.tokens < 2 else super()._order(sealed)

    script = Reborn()
    adapter = Whatsminer(plate())
    async with RpcServer(script).serving():
        with pytest.raises(DriverError), as_driver_error():
            await adapter.change(point("sleep", 25))
        await adapter.read()

        await adapter.change(point("sleep", 25))

    assert script.off


@pytest.mark.socket
@remapped
async def test_whatsminer_gets_its_limit_before_it_is_switched_on() -> None:
    script = WhatsScript(off=True)
    async with RpcServer(script).serving():
        await Whatsminer(plate()).change(point("eco"))

    assert script.ordered == ["adjust_power_limit", "power_on"]
    assert script.limit_w == 2000


@pytest.mark.parametrize(("wanted_w", "awake"), [(2999, False), (3000, True)])
@pytest.mark.socket
@remapped
async def test_whatsminer_that_refuses_a_limit_while_off_wakes_only_under_a_limit_known_to_be_low_enough(
    wanted_w: int, awake: bool
) -> None:
    script = WhatsScript(adjust_power_limit=9)
    adapter = Whatsminer(plate())
    async with RpcServer(script).serving():
        await adapter.read()
        script.off = True

        if awake:
            await adapter.change(point("any", wanted_w))
        else:
            with pytest.raises(RefusedError):
                await adapter.change(point("any", wanted_w))

    assert script.off is not awake


@pytest.mark.socket
@remapped
async def test_whatsminer_that_gives_no_token_was_never_told() -> None:
    def crowded(command: str, parameters: list[Any]) -> Json:
        return {"STATUS": "E", "When": 1, "Code": 136, "Msg": "over max connect", "Description": ""}

    async with RpcServer(crowded).serving():
        with pytest.raises(RefusedError, match="over max connect"):
            await Whatsminer(plate()).change(point("sleep", 25))


SLEEP, ECO, FULL = point("sleep", 25), point("eco", 2000, 80.0), point("full", 3000, 100.0)


class Restarting(WhatsScript):
    """Nobody answers the next three questions after a new limit: the process that would restarts."""

    away = 0

    def __call__(self, command: str, parameters: list[Any]) -> Json | None:
        if self.away:
            self.away -= 1
            return None
        answer = super().__call__(command, parameters)
        if command == "encrypted":
            self.away = 3
        return answer


def driver_to(adapter_plate: Plate) -> AsicDriver:
    points = adapter_plate.points
    spec = DeviceSpec(id="m", kind=DeviceKind.ASIC, node="n", points=points, ceiling=Power(3150))
    return AsicDriver(host=HOST, spec=spec, adapter=Whatsminer(adapter_plate), identifier=Identifier())


@pytest.mark.parametrize("polls", [0, 2])
@pytest.mark.socket
@remapped
async def test_a_whatsminer_that_restarts_under_its_new_limit_is_not_told_it_again(polls: int) -> None:
    """Each time it would restart again, and make nothing for minutes."""
    script = Restarting()
    driver = driver_to(plate(points=(SLEEP, ECO, FULL)))
    order = SetPoint(device="m", point=ECO)
    async with RpcServer(script).serving():
        await driver.read()
        outcomes = [await driver.apply(order)]
        for _ in range(polls):
            with pytest.raises(DriverError):
                await driver.read()
        outcomes += [await driver.apply(order) for _ in range(3 - polls)]

    assert [type(outcome) for outcome in outcomes] == (3 - polls) * [Failed] + [Acknowledged]
    assert script.ordered == ["adjust_power_limit"]


@pytest.mark.socket
@remapped
async def test_a_whatsminer_that_cannot_be_read_is_told_all_the_same() -> None:
    class Unreadable(WhatsScript):
        def __call__(self, command: str, parameters: list[Any]) -> Json | None:
            return {} if command == "summary" else super().__call__(command, parameters)

    script = Unreadable()
    driver = driver_to(plate(points=(SLEEP, ECO, FULL)))
    async with RpcServer(script).serving():
        for _ in range(FAILURES_UNTIL_REBUILT):
            with pytest.raises(DriverError):
                await driver.read()

        outcome = await driver.apply(SetPoint(device="m", point=ECO))

    assert isinstance(outcome, Failed), "it is not known what came of it"
    assert script.ordered == ["adjust_power_limit"]
