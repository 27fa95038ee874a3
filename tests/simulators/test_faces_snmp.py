"""The simulated PDUs against a plain SNMP client, and what their switches do to the plant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from pysnmp.hlapi.v3arch.asyncio import (
    USM_AUTH_HMAC96_SHA,
    USM_PRIV_CFB128_AES,
    CommunityData,
    ContextData,
    SnmpEngine,
    UdpTransportTarget,
    UsmUserData,
    get_cmd,
    next_cmd,
    set_cmd,
)
from pysnmp.proto.rfc1902 import Integer32, Null, ObjectName

from simulators.faces.snmp import PduFace
from simulators.physics.faults import BadFaultError
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import RATED_W, config, miners, plant

pytestmark = pytest.mark.socket

DEADLINE_S = 10.0
APC, RARITAN = "1.3.6.1.4.1.318.1.1.26", "1.3.6.1.4.1.13742.6"
SWITCH, STATE, WATTS = f"{APC}.9.2.4.1.5", f"{APC}.9.2.3.1.5", f"{APC}.9.4.3.1.7"
V2C = CommunityData("private", mpModel=1)


def with_pdu(model: str = "apc-rpdu2", **keys: Any) -> Plant:
    pdu = {"id": "pdu", "model": model, "outlets": {4: "luxos-000", 5: "luxos-001"}} | keys
    return plant(miners=[miners(count=2)], pdus=[pdu])


class Client:
    """An SNMP client: numbers as they came, `None` for what is not there, words for errors."""

    def __init__(self, engine: SnmpEngine, target: UdpTransportTarget, login: Any) -> None:
        self._with = (engine, login, target, ContextData())

    async def get(self, *oids: str) -> Any:
        return await self._ask(get_cmd, *((ObjectName(oid), Null("")) for oid in oids))

    async def after(self, oid: str) -> Any:
        trouble, _, _, binds = await next_cmd(*self._with, (ObjectName(oid), Null("")), lookupMib=False)
        assert not trouble
        return str(binds[0][0])

    async def put(self, oid: str, value: int) -> Any:
        return await self._ask(set_cmd, (ObjectName(oid), Integer32(value)))

    async def _ask(self, command: Any, *binds: Any) -> Any:
        trouble, status, _, answered = await command(*self._with, *binds, lookupMib=False)
        if trouble or status:
            return str(trouble or status.prettyPrint())
        values = [None if "No Such" in value.prettyPrint() else int(value) for _, value in answered]
        return values[0] if len(values) == 1 else values


@asynccontextmanager
async def client_of(site: Plant, login: Any = V2C) -> AsyncIterator[Client]:
    (pdu,) = site.pdus.values()
    face, engine = PduFace(site, pdu), SnmpEngine()
    async with asyncio.timeout(DEADLINE_S):
        await face.start()
        try:
            yield Client(engine, await UdpTransportTarget.create(face.address, timeout=0.5, retries=0), login)
        finally:
            engine.close_dispatcher()
            await face.stop()


async def test_an_apc_tells_the_state_and_the_watts_of_every_outlet() -> None:
    site = with_pdu()
    async with client_of(site) as client:
        values = await client.get(f"{STATE}.4", f"{WATTS}.4", f"{WATTS}.5", f"{APC}.4.3.1.5.1")

    assert values == [2, RATED_W, RATED_W, 2 * RATED_W / 10]


async def test_a_raritan_counts_tenths_of_a_watt_and_says_so() -> None:
    site = with_pdu("raritan-px")
    async with client_of(site) as client:
        state = await client.get(f"{RARITAN}.4.1.2.1.3.1.4")
        watts = await client.get(f"{RARITAN}.5.4.3.1.4.1.4.5", f"{RARITAN}.3.5.4.1.7.1.4.5")
        total = await client.get(f"{RARITAN}.5.2.3.1.4.1.1.5", f"{RARITAN}.3.3.4.1.7.1.1.5")

    assert (state, watts, total) == (7, [RATED_W * 10, 1], [2 * RATED_W * 10, 1])


@pytest.mark.parametrize(
    ("model", "switch", "off", "on", "state", "is_off"),
    [
        ("apc-rpdu2", SWITCH, 2, 1, STATE, 1),
        ("raritan-px", f"{RARITAN}.4.1.2.1.2.1", 0, 1, f"{RARITAN}.4.1.2.1.3.1", 8),
    ],
)
async def test_switching_an_outlet_off_takes_the_power_from_its_machine_alone(
    model: str, switch: str, off: int, on: int, state: str, is_off: int
) -> None:
    site = with_pdu(model)
    dark, lit = site.miners.values()
    async with client_of(site) as client:
        await client.put(f"{switch}.4", off)
        site.advance(1.0)
        when_off = (site.site_power_w, dark.watts, dark.reachable, lit.watts, await client.get(f"{state}.4"))
        await client.put(f"{switch}.4", on)
        site.advance(1.0)
        booting = dark.reachable
        site.advance(200.0)

    assert when_off == (RATED_W, 0.0, False, RATED_W, is_off)
    assert not booting
    assert site.site_power_w == pytest.approx(2 * RATED_W)


async def test_a_machine_without_power_does_not_wake_with_its_breaker() -> None:
    site = with_pdu()
    async with client_of(site) as client:
        await client.put(f"{SWITCH}.4", 2)
        for open_ in (True, False):
            site.set_fault("site", "breaker_open", open_)
            site.advance(site.now_s + 200.0)

    assert [miner.powered for miner in site.miners.values()] == [False, True]


@pytest.mark.parametrize(
    ("oid", "value", "why"),
    [
        (f"{SWITCH}.4", 9, "wrongValue"),
        (f"{SWITCH}.6", 2, "notWritable"),
        (f"{STATE}.4", 1, "notWritable"),
    ],
)
async def test_what_is_no_order_is_refused_and_changes_nothing(oid: str, value: int, why: str) -> None:
    site = with_pdu()
    async with client_of(site) as client:
        said = await client.put(oid, value)
        site.advance(10.0)

    assert said == why
    assert site.site_power_w == 2 * RATED_W


async def test_an_outlet_that_is_not_there_has_no_value() -> None:
    async with client_of(with_pdu()) as client:
        assert await client.get(f"{WATTS}.6", f"{WATTS}.5") == [None, RATED_W]


async def test_its_values_can_be_walked_in_order() -> None:
    async with client_of(with_pdu()) as client:
        walked = [await client.after(APC), await client.after(f"{WATTS}.4"), await client.after(f"{WATTS}.5")]

    assert walked == [f"{APC}.4.3.1.5.1", f"{WATTS}.5", "1.3.6.1.6.3.10.2.1.1.0"]


@pytest.mark.parametrize(
    "login",
    [
        CommunityData("public", mpModel=1),
        UsmUserData("site", "simulated", "other-key", USM_AUTH_HMAC96_SHA, USM_PRIV_CFB128_AES),
        UsmUserData("site", "simulated", authProtocol=USM_AUTH_HMAC96_SHA),
        UsmUserData("nobody", "simulated", "simulated", USM_AUTH_HMAC96_SHA, USM_PRIV_CFB128_AES),
    ],
    ids=["another community", "another key", "no privacy", "another user"],
)
async def test_nobody_switches_without_the_login(login: Any) -> None:
    site = with_pdu()
    async with client_of(site, login) as client:
        said = await client.put(f"{SWITCH}.4", 2)
        site.advance(10.0)

    assert isinstance(said, str)
    assert site.site_power_w == 2 * RATED_W


async def test_its_user_is_let_in_by_both_keys() -> None:
    login = UsmUserData("site", "simulated", "simulated", USM_AUTH_HMAC96_SHA, USM_PRIV_CFB128_AES)
    async with client_of(with_pdu(), login) as client:
        assert await client.get(f"{WATTS}.4") == RATED_W


@pytest.mark.parametrize(
    ("fault", "state", "watts"), [("ignores_orders", 2, RATED_W), ("welded", 1, RATED_W)]
)
async def test_a_pdu_can_say_yes_and_leave_the_power_on(fault: str, state: int, watts: float) -> None:
    site = with_pdu()
    site.set_fault("pdu", fault)
    async with client_of(site) as client:
        said = await client.put(f"{SWITCH}.4", 2)
        site.advance(10.0)
        values = await client.get(f"{STATE}.4", f"{WATTS}.4")

    assert (said, values) == (2, [state, watts])


async def test_a_dead_agent_answers_nothing() -> None:
    site = with_pdu()
    site.set_fault("pdu", "dead")
    async with client_of(site) as client:
        answers = [await client.get(f"{WATTS}.4"), await client.put(f"{SWITCH}.4", 2)]

    assert ["No SNMP response" in answer for answer in answers] == [True, True]
    with pytest.raises(BadFaultError):
        site.set_fault("pdu", "sulks")


async def test_a_served_site_tells_where_its_pdus_answer() -> None:
    pdu = {"id": "pdu", "outlets": {1: "luxos-000"}}
    site = SimulatedSite(Plant(config(ports={4028: 14_628}, miners=[miners()], pdus=[pdu])))
    async with asyncio.timeout(DEADLINE_S), site.serving():
        (face,) = site.pdus

        assert face.id == "pdu"
        assert face.address[1] > 0


@pytest.mark.parametrize(
    ("pdus", "complaint"),
    [
        ([{"id": "pdu", "outlets": {1: "nobody"}}], "outlets: 'nobody' does not exist"),
        ([{"id": "pdu", "outlets": {1: "luxos-000", 2: "luxos-000"}}], "outlet of 'luxos-000' is used twice"),
        ([{"id": "luxos-000", "outlets": {1: "luxos-000"}}], "id 'luxos-000' is used twice"),
        ([{"id": "pdu", "host": "10.0.0.1", "outlets": {1: "luxos-000"}}], "host 10.0.0.1 must lie in"),
    ],
)
def test_a_plant_file_whose_outlets_make_no_sense_is_refused(pdus: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        config(miners=[miners()], pdus=pdus)
