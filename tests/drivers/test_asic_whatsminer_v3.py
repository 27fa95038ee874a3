"""Whatsminer v3: what its answers mean, how its orders are signed, and what is found with 4433 alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controller.domain.devices import Quality
from controller.domain.power import NO_LIMIT, Limit, Power
from drivers.asic import whatsminer_v3
from drivers.asic.adapter import RefusedError
from drivers.asic.identify import Identifier
from drivers.asic.whatsminer import STATUS_EVERY
from drivers.asic.whatsminer_v3 import WhatsminerV3, proven, token
from drivers.asic.wire import framed, is_whole_frame, unframed
from drivers.base import DriverError
from tests.drivers.asic_fakes import HOST, PORTS, Json, plate, point, remapped

SUMMARY: Json = {
    "hash-realtime": 171.259,
    "hash-average": 170.1,
    "power-realtime": 3156.2,
    "power-5min": 3100,
    "power-limit": 3600,
    "chip-temp-min": 60.0,
    "chip-temp-avg": 75.2,
    "chip-temp-max": 88.9,
}


def info(working: object = "true") -> Json:
    return {
        "miner": {"working": working, "type": "M60S_VK40"},
        "network": {"mac": "ce:02:01:00:8c:36"},
        "system": {"fwversion": "20251209.16.Rel2"},
    }


def reading(working: str = "true", **summary: object) -> Any:
    changes = {key.replace("_", "-"): value for key, value in summary.items()}
    return whatsminer_v3.sample(info(working), SUMMARY | changes, plate()).reading


def test_v3_tells_watts_limit_rate_and_its_hottest_chip() -> None:
    said = reading()

    assert (said.draw, said.quality) == (Power(3157), Quality.MEASURED)
    assert said.setting == Limit(Power(3600))
    assert said.rate == 171.259
    assert said.hottest_c == 88.9


def test_v3_that_tells_no_watts_and_hashes_more_than_its_limit_allows_draws_what_that_takes() -> None:
    liar = reading(power_realtime=-1, power_limit=2100, hash_realtime=99.0)
    came_down = reading(power_realtime=-1, power_limit=2100, hash_realtime=76.0, hash_average=99.0)

    assert (liar.draw, liar.quality, came_down.draw) == (Power(2971), Quality.ESTIMATED, Power(2100))


@pytest.mark.parametrize("power", [-1, 0, "", None])
def test_v3_watts_that_it_does_not_know_are_all_that_its_limit_allows(power: object) -> None:
    limited = reading(power_realtime=power)
    unlimited = reading(power_realtime=power, power_limit=0)

    assert (limited.draw, limited.quality) == (Power(3600), Quality.ESTIMATED)
    assert (unlimited.draw, unlimited.setting) == (Power(3150), NO_LIMIT)


def test_v3_that_is_stopped_and_knows_no_watts_is_at_rest_only_without_hash() -> None:
    at_rest = reading("false", power_realtime=-1, hash_realtime=0)
    hashing = reading("false", power_realtime=-1)

    assert (at_rest.draw, at_rest.setting) == (Power(25), Limit(Power(25)))
    assert hashing.draw == Power(3600)


def test_v3_mac_comes_in_one_spelling() -> None:
    assert whatsminer_v3.sample(info(), SUMMARY, plate()).mac == "CE:02:01:00:8C:36"


@pytest.mark.parametrize(("working", "off"), [("true", False), ("false", True), (True, False), (False, True)])
def test_v3_is_off_when_it_says_so(working: object, off: bool) -> None:
    assert whatsminer_v3.is_off(info(working)) is off


@pytest.mark.parametrize("working", ["", None, "maybe"])
def test_v3_that_does_not_say_whether_it_works_gives_no_answer(working: object) -> None:
    with pytest.raises(DriverError, match="working"):
        whatsminer_v3.is_off(info(working))


def test_v3_code_other_than_zero_is_a_refusal_with_its_message() -> None:
    with pytest.raises(RefusedError, match=r"no permission for write command \(code -4\)") as refusal:
        proven("set.miner.service", {"code": -4, "when": 1, "msg": "no permission for write command"})

    assert refusal.value.code == -4


@pytest.mark.parametrize("reply", [{}, {"msg": "ok"}, {"code": None, "msg": "ok"}, {"code": "yes"}])
def test_v3_reply_without_a_code_is_no_answer(reply: Json) -> None:
    with pytest.raises(DriverError, match="no code") as error:
        proven("set.miner.service", reply)

    assert not isinstance(error.value, RefusedError)


def test_v3_token_is_the_one_that_firmware_expects() -> None:
    """Made with openssl: printf %s set.miner.servicesuperAbc123xy1759800000 | openssl dgst -sha256 -binary |
    base64 | cut -c1-8"""
    assert token("set.miner.service", "super", "Abc123xy", 1759800000) == "Cg2iuKaj"


def test_a_frame_is_whole_when_its_length_says_so() -> None:
    whole = framed(b'{"code":0}')

    assert whole[:4] == b"\x0a\x00\x00\x00"
    assert [is_whole_frame(bytearray(whole[:length])) for length in (0, 3, 4, 13, 14)] == [False] * 4 + [True]
    assert unframed(whole) == b'{"code":0}'


@pytest.mark.parametrize("reply", [b"", b"\x01\x00", b"\x05\x00\x00\x00half", b"\x02\x00\x00\x00more"])
def test_half_a_frame_is_no_answer(reply: bytes) -> None:
    with pytest.raises(ValueError, match="frame"):
        unframed(reply)


class V3Script:
    """A machine whose orders are denied as often as `refusals` says for each, and whose salt may change."""

    def __init__(self, *, off: bool = False, salts: tuple[str, ...] = ("saltAAAA",), **refusals: int) -> None:
        self.off = off
        self.salts = list(salts)
        self.refusals = refusals
        self.limit_w = 3000
        self.ordered: list[str] = []
        self.requests: list[Json] = []

    def __call__(self, request: Json) -> Json:
        self.requests.append(request)
        command, param = request["cmd"], request.get("param")
        match command, param:
            case "get.device.info", "salt":
                given, current = self.salts[0], self.salts[-1]
                self.salts = self.salts[1:] or [current]
                return self._said({"salt": given})
            case "get.device.info", _:
                return self._said(info("false" if self.off else "true"))
            case "get.miner.status", _:
                return self._said({"summary": SUMMARY | {"power-limit": self.limit_w}})
            case _:
                return self._order(request, str(command).rpartition(".")[2], param)

    def _order(self, request: Json, name: str, param: Any) -> Json:
        self.ordered.append(f"{name} {param}")
        expected = token(request["cmd"], "super", self.salts[-1], request["ts"])
        if request["account"] != "super" or request["token"] != expected:
            return {"code": -4, "when": 7_000, "msg": "check token error", "desc": request["cmd"]}
        if self.refusals.get(name, 0) > 0:
            self.refusals[name] -= 1
            return {"code": -1, "when": 7_000, "msg": "not now", "desc": request["cmd"]}
        if name == "service":
            self.off = param == "stop"
        else:
            self.limit_w = param
        return self._said("ok")

    def _said(self, message: Any) -> Json:
        return {"code": 0, "when": 7_000, "msg": message, "desc": ""}


@asynccontextmanager
async def serving(script: V3Script, *, frames: int = 9, then_closes: bool = False) -> AsyncIterator[None]:
    """A connection stays open: it is the client that must know when it has all. `frames` are answered."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for _ in range(frames):
                length = int.from_bytes(await reader.readexactly(4), "little")
                answer = json.dumps(script(json.loads(await reader.readexactly(length)))).encode()
                writer.write(len(answer).to_bytes(4, "little") + answer)
            if not then_closes:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return  # the client has left
        finally:
            writer.close()

    server = await asyncio.start_server(serve, HOST, PORTS[4433])
    try:
        yield
    finally:
        server.close()


@pytest.mark.socket
@remapped
async def test_v3_is_asked_who_it_is_after_orders_and_after_polls_that_failed_and_else_now_and_then() -> None:
    script = V3Script()
    adapter = WhatsminerV3(plate(exchange_s=0.2))

    def asked() -> int:
        return sum(request == {"cmd": "get.device.info"} for request in script.requests)

    async with serving(script):
        for _ in range(STATUS_EVERY):
            await adapter.read()
        now_and_then = asked()
        await adapter.change(point("sleep", 25))
        after = (await adapter.read()).reading
        after_an_order = asked()
    with pytest.raises(ConnectionRefusedError):
        await adapter.read()
    async with serving(script):
        await adapter.read()

    assert (now_and_then, after_an_order, asked()) == (1, 2, 3)
    assert after.setting == Limit(Power(25))


@pytest.mark.socket
@remapped
async def test_v3_that_closes_after_each_answer_is_read_over_two_connections() -> None:
    async with serving(V3Script(), frames=1, then_closes=True):
        sample = await WhatsminerV3(plate()).read()

    assert sample.reading.setting == Limit(Power(3000))


@pytest.mark.socket
@remapped
async def test_v3_that_answers_only_the_first_of_a_connection_costs_one_poll_and_no_more() -> None:
    adapter = WhatsminerV3(plate(exchange_s=0.1))
    async with serving(V3Script(), frames=1):
        with pytest.raises(TimeoutError):
            await adapter.read()
        sample = await adapter.read()

    assert sample.reading.setting == Limit(Power(3000))


@pytest.mark.socket
@remapped
async def test_v3_orders_are_signed_by_the_machines_own_clock() -> None:
    script = V3Script()
    async with serving(script):
        await WhatsminerV3(plate()).change(point("sleep", 25))

    assert script.off
    assert script.requests[-1]["ts"] == 7_000


@pytest.mark.socket
@remapped
async def test_v3_order_that_a_reboot_overtook_is_signed_again_with_the_new_salt() -> None:
    script = V3Script(salts=("of before", "of now"))
    async with serving(script):
        await WhatsminerV3(plate()).change(point("sleep", 25))

    assert script.off
    assert script.ordered == ["service stop", "service stop"]


@pytest.mark.socket
@remapped
async def test_v3_that_refuses_twice_has_refused() -> None:
    script = V3Script(service=2)
    async with serving(script):
        with pytest.raises(RefusedError, match="not now"):
            await WhatsminerV3(plate()).change(point("sleep", 25))

    assert script.ordered == ["service stop", "service stop"]


@pytest.mark.socket
@remapped
async def test_v3_limit_is_a_whole_number_of_watts() -> None:
    script = V3Script()
    async with serving(script):
        await WhatsminerV3(plate()).change(point("eco"))

    assert script.ordered == ["power_limit 2000"]
    assert type(script.limit_w) is int


@pytest.mark.socket
@remapped
async def test_v3_that_has_the_limit_already_is_not_told_again() -> None:
    """A limit restarts the hashing, even if it changes nothing."""
    script = V3Script(off=True)
    async with serving(script):
        await WhatsminerV3(plate()).change(point("full", 3000))

    assert script.ordered == ["service start"]


@pytest.mark.socket
@remapped
async def test_v3_that_is_told_a_limit_again_which_it_shows_is_sent_it_again() -> None:
    """It may have forgotten the limit, and show it all the same."""
    script = V3Script()
    adapter = WhatsminerV3(plate())
    async with serving(script):
        await adapter.change(point("eco"))
        await adapter.change(point("eco"))
        await adapter.change(point("sleep", 25))
        await adapter.change(point("eco"))

    assert script.ordered == ["power_limit 2000", "power_limit 2000", "service stop", "service start"]


@pytest.mark.socket
@remapped
async def test_v3_gets_its_limit_before_it_is_started() -> None:
    script = V3Script(off=True)
    async with serving(script):
        await WhatsminerV3(plate()).change(point("eco"))

    assert script.ordered == ["power_limit 2000", "service start"]


@pytest.mark.parametrize(("wanted_w", "awake"), [(2999, False), (3001, True)])
@pytest.mark.socket
@remapped
async def test_v3_that_refuses_a_limit_while_stopped_starts_only_under_one_known_to_be_low_enough(
    wanted_w: int, awake: bool
) -> None:
    script = V3Script(off=True, power_limit=9)
    adapter = WhatsminerV3(plate())
    async with serving(script):
        if awake:
            await adapter.change(point("any", wanted_w))
        else:
            with pytest.raises(RefusedError):
                await adapter.change(point("any", wanted_w))

    assert script.off is not awake


@pytest.mark.socket
@remapped
async def test_v3_with_4433_alone_is_recognised_for_what_it_is() -> None:
    async with serving(V3Script()):
        found = await Identifier().backend(HOST, deadline_s=5)

    assert found == "BTMinerV3"
