"""PDUs over SNMP against simulated agents that really feed machines, and against agents that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from pyasn1.codec.ber import decoder, encoder
from pydantic import ValidationError
from pysnmp.proto.api import v2c
from structlog.testing import capture_logs

from controller.domain.devices import (
    Acknowledged,
    Failed,
    MeterReading,
    Outcome,
    Reading,
    Refused,
    SetPoint,
)
from controller.domain.power import Power
from drivers import conflicts, registry
from drivers.asic.config import MinerGroupConfig
from drivers.base import DriverError, Watched
from drivers.outlet import OutletDriver
from drivers.outletstate import OutletState, Relay
from drivers.pdumodels import MODELS, Make, OutletConfig, PduConfig
from drivers.snmp import SnmpPdu, relay, watts
from drivers.snmplink import Agent, SnmpLink
from simulators.faces.snmp import PduFace
from simulators.plant import Plant
from tests.decide.builders import miner, reading
from tests.simulators.plants import miners, plant

V3 = {"version": "3", "username": "site", "auth_password": "simulated", "privacy_password": "simulated"}
V2C = {"version": "2c", "community": "private"}
NO_ANSWER = r"no answer within|No SNMP response|not all came"
OUTLETS = {4: "luxos-000", 5: "luxos-001"}


def pdu_config(port: int = 161, **changes: Any) -> PduConfig:
    table = {"id": "pdu", "host": "127.0.0.1", "port": port, "model": "apc-rpdu2", "outlet_max_w": 4_000}
    login = {} if "version" in changes else V2C
    return PduConfig.model_validate(table | login | {"timeout_s": 1.0} | changes)


def outlets(*numbers: int, **changes: Any) -> list[OutletConfig]:
    return [
        OutletConfig.model_validate(
            {"device": f"m-{number}", "pdu": "pdu", "outlet": number, "meter": f"outlet-{number}"} | changes
        )
        for number in numbers
    ]


@asynccontextmanager
async def pdu_of(config: PduConfig, *fed: OutletConfig) -> AsyncIterator[SnmpPdu]:
    pdu = SnmpPdu(config, fed or outlets(4, 5), SnmpLink(config))
    async with asyncio.timeout(20):
        try:
            yield pdu
        finally:
            await pdu.close()


@asynccontextmanager
async def served(model: str = "apc-rpdu2") -> AsyncIterator[tuple[Plant, int]]:
    """Two miners of 3,000 W on the outlets 4 and 5 of a PDU, and the port of its agent."""
    site = plant(miners=[miners(count=2)], pdus=[{"id": "pdu", "model": model, "outlets": OUTLETS}])
    face = PduFace(site, site.pdus["pdu"])
    await face.start()
    try:
        yield site, face.address[1]
    finally:
        await face.stop()


@asynccontextmanager
async def simulated(
    model: str = "apc-rpdu2", fed: list[OutletConfig] | None = None, **changes: Any
) -> AsyncIterator[tuple[Plant, SnmpPdu]]:
    async with (
        served(model) as (site, port),
        pdu_of(pdu_config(port, model=model, **changes), *(fed or outlets(4, 5))) as pdu,
    ):
        yield site, pdu


def readings(**watts_by_meter: int) -> tuple[MeterReading, ...]:
    return tuple(
        MeterReading(meter=name.replace("_", "-"), power=Power(watts_w))
        for name, watts_w in watts_by_meter.items()
    )


# What the values mean


@pytest.mark.parametrize(
    ("make", "on", "off"), [(Make.APC_RPDU2, 2, 1), (Make.RARITAN_PX, 7, 8)], ids=["apc", "raritan"]
)
def test_on_and_off_are_read_as_the_makes_mib_has_them(make: Make, on: int, off: int) -> None:
    assert [relay(MODELS[make], {"state": value}, "state") for value in (on, off)] == [Relay.ON, Relay.OFF]


@pytest.mark.parametrize("values", [{}, {"state": 0}, {"state": 3}])
def test_a_state_that_is_neither_on_nor_off_is_none(values: dict[str, int]) -> None:
    with pytest.raises(DriverError, match="state: "):
        relay(MODELS[Make.APC_RPDU2], values, "state")


@pytest.mark.parametrize(
    ("values", "digits", "count_w", "expected"),
    [
        ({"w": 3_000}, None, 1, 3_000),
        ({"w": 29_991, "d": 1}, "d", 1, 3_000),
        ({"w": 0, "d": 0}, "d", 1, 0),
        ({"w": 300}, None, 10, 3_000),
    ],
)
def test_a_power_is_rounded_up_to_whole_watts(
    values: dict[str, int], digits: str | None, count_w: int, expected: int
) -> None:
    assert watts(values, "w", digits, count_w, 4_000) == Power(expected)


@pytest.mark.parametrize(
    ("values", "digits", "why"),
    [
        ({}, None, "w: not there"),
        ({"w": -1}, None, r"-1 W is outside 0\.\.4000 W"),
        ({"w": 4_001}, None, "4001 W is outside"),
        ({"w": 3_000}, "d", "-1 decimal places"),
        ({"w": 3_000, "d": 7}, "d", "7 decimal places"),
        ({"w": 3_000, "d": -1}, "d", "-1 decimal places"),
    ],
)
def test_a_power_that_is_not_measured_or_absurd_is_refused(
    values: dict[str, int], digits: str | None, why: str
) -> None:
    with pytest.raises(DriverError, match=why):
        watts(values, "w", digits, 1, 4_000)


# Behind an outlet


class Told:
    """An agent whose outlet 4 is on, and carries `watts`."""

    def __init__(self, watts_w: int) -> None:
        self.watts = watts_w

    async def get(self, _agent: object, oids: Sequence[str]) -> dict[str, int]:
        return {oid: self.watts if ".9.4.3.1.7." in oid else 2 for oid in oids}


class Woken:
    """A machine that measures itself, and obeys."""

    spec = miner("m-4")

    def __init__(self) -> None:
        self.draw_w = 25

    async def read(self) -> Reading:
        return reading("m-4", self.draw_w)

    async def apply(self, command: SetPoint) -> Outcome:
        self.draw_w = 2_400
        return Acknowledged()

    async def close(self) -> None: ...


async def test_a_machine_that_was_woken_after_the_last_poll_of_its_pdu_does_not_count_as_asleep() -> None:
    agent, machine = Told(25), Woken()
    pdu = SnmpPdu(pdu_config(), outlets(4), cast(SnmpLink, agent))
    driver = OutletDriver(machine, pdu.outlet(4))
    await pdu.read()

    await driver.apply(SetPoint(device="m-4", point=driver.spec.points[-1]))
    before = (await driver.read()).draw
    agent.watts = 2_380
    await pdu.read()
    after = (await driver.read()).draw

    assert (before, after) == (Power(2_400), Power(2_380))


class Slow(Told):
    """An agent that answers a poll once it `may`, and a look at once, with what was so when it was asked."""

    def __init__(self) -> None:
        super().__init__(3_000)
        self.may = asyncio.Event()
        self.state = 2

    async def get(self, _agent: object, oids: Sequence[str]) -> dict[str, int]:
        values = {oid: self.watts if ".9.4.3.1.7." in oid else self.state for oid in oids}
        if len(oids) > 2:
            await self.may.wait()
        return values

    async def set(self, _agent: object, _oid: str, value: int) -> None:
        self.state = 1 if value == 2 else 2


async def test_a_poll_that_took_its_time_does_not_hide_what_was_switched_after_it() -> None:
    agent = Slow()
    pdu = SnmpPdu(pdu_config(timeout_s=2.0), outlets(4, 5), cast(SnmpLink, agent))
    async with asyncio.TaskGroup() as group:
        group.create_task(pdu.read())
        await asyncio.sleep(0)
        await pdu.switch(4, Relay.OFF)
        unseen = pdu.known(4).relay
        looked = (await pdu.look(4)).relay
        agent.may.set()

    assert (unseen, looked) == (Relay.UNKNOWN, Relay.OFF)
    assert (pdu.known(4).relay, pdu.known(5).relay) == (Relay.OFF, Relay.ON)


async def test_watts_that_cannot_be_believed_do_not_hide_whether_an_outlet_is_on() -> None:
    agent = Told(-1)
    pdu = SnmpPdu(pdu_config(), [*outlets(4), *outlets(5, meter=None)], cast(SnmpLink, agent))

    with pytest.raises(DriverError, match=r"-1 W is outside 0\.\.4000 W"):
        await pdu.read()

    assert [(pdu.known(n).relay, pdu.known(n).power) for n in (4, 5)] == [(Relay.ON, None)] * 2


# Configuration


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": "3", "username": "site"}, "v3 needs username, auth_password and privacy_password"),
        (V3 | {"community": "private"}, "v3 has no community"),
        ({"version": "2c"}, "v2c needs a community"),
        (V2C | {"username": "site"}, "v2c needs a community and nothing else"),
        (V3 | {"auth_password": "short"}, "auth_password"),
        ({"meter": "pdu"}, "meter and max_w come together"),
        ({"timeout_s": 9}, "longer than poll_s"),
        ({"stale_after_s": 9}, "under 2 polls"),
        ({"model": "apc-rpdu"}, "model"),
        (V3 | {"host": "pdu..example"}, "host"),
    ],
)
def test_a_pdu_that_is_not_fully_declared_is_rejected(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        pdu_config(**changes)


def site_tables(**changes: Any) -> registry.DeviceTables:
    group = {
        "id": "row",
        "family": "luxos",
        "hosts": ["10.0.0.1-3"],
        "node": "n",
        "rated_w": 3_000,
        "rated_ths": 1,
    }
    tables: dict[str, Any] = {
        "miners": [MinerGroupConfig.model_validate(group)],
        "pdus": [pdu_config()],
        "outlets": outlets(4, device="row-001"),
    }
    return registry.DeviceTables.model_validate(tables | changes)


def test_a_miner_named_by_an_outlet_is_driven_through_it_and_the_others_are_not() -> None:
    fleet = registry.build(site_tables())

    assert [sensor.id for sensor, _ in fleet.sensors] == ["pdu"]
    assert [isinstance(driver, OutletDriver) for driver, _ in fleet.drivers] == [False, True, False]
    assert [driver.spec.id for driver, _ in fleet.drivers] == ["row-000", "row-001", "row-002"]
    assert not list(conflicts.problems(site_tables()))


def test_a_miner_may_be_named_by_its_address_which_stays_when_another_leaves_its_group() -> None:
    tables = site_tables(outlets=outlets(4, device="10.0.0.2"))

    fleet = registry.build(tables)

    assert [isinstance(driver, OutletDriver) for driver, _ in fleet.drivers] == [False, True, False]
    assert not list(conflicts.problems(tables))


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"outlets": outlets(4, device="10.0.0.4")}, {"outlets.0.device '10.0.0.4' is no miner"}),
        (
            {"outlets": [*outlets(4, device="row-001"), *outlets(5, device="10.0.0.2", meter="b")]},
            {"outlet of 'row-001' is declared 2 times"},
        ),
        ({"outlets": outlets(4, device="row-003")}, {"outlets.0.device 'row-003' is no miner"}),
        (
            {"outlets": outlets(4, device="row-001", pdu="x")},
            {"outlets.0.pdu 'x' is not declared", "pdus.0 'pdu' feeds no outlet and names no meter"},
        ),
        (
            {"outlets": [*outlets(4, device="row-001"), *outlets(4, device="row-002", meter="b")]},
            {"outlet 4 of pdu 'pdu' is declared 2 times"},
        ),
        (
            {"pdus": [pdu_config(poll_s=8, stale_after_s=20)]},
            {"outlets.0: settle_down_s 15.0 of 'row-001' is under 2 polls of its outlet"},
        ),
        ({"outlets": outlets(4, 5, device="row-001")}, {"outlet of 'row-001' is declared 2 times"}),
        (
            {"outlets": outlets(4, device="row-001", meter="m"), "pdus": [pdu_config(meter="m", max_w=9e3)]},
            {"meter m is declared 2 times"},
        ),
        (
            {"pdus": [pdu_config(metered=False)]},
            {"pdus.0 'pdu' is not metered: none of its outlets can be a meter"},
        ),
        (
            {"pdus": [pdu_config(), pdu_config(host="127.0.0.2")]},
            {"pdu 'pdu' is declared 2 times", "meter outlet-4 is declared 2 times"},
        ),
    ],
)
def test_outlets_that_make_no_sense_together_are_told(changes: dict[str, Any], problems: set[str]) -> None:
    assert set(conflicts.problems(site_tables(**changes))) == problems


# The wire


@pytest.mark.socket
@pytest.mark.parametrize("model", ["apc-rpdu2", "raritan-px"])
@pytest.mark.parametrize("login", [V2C, V3], ids=["v2c", "v3"])
async def test_the_watts_of_outlets_and_of_the_whole_pdu_come_in_one_read(
    model: str, login: dict[str, Any]
) -> None:
    async with simulated(model, meter="whole", max_w=9e3, **login) as (site, pdu):
        site.miners["luxos-000"].sleep()
        site.advance(60.0)

        whole_w = {"apc-rpdu2": 3_020, "raritan-px": 3_025}[model]
        assert await pdu.read() == readings(outlet_4=25, outlet_5=3_000, whole=whole_w)


@pytest.mark.socket
@pytest.mark.parametrize("model", ["apc-rpdu2", "raritan-px"])
async def test_an_outlet_switched_off_loses_its_power_and_is_seen_off(model: str) -> None:
    async with simulated(model, fed=outlets(4)) as (site, pdu):
        outlet = pdu.outlet(4)
        before = await outlet.look()
        outcome = await outlet.switch(Relay.OFF)
        between = outlet.known()
        site.advance(1.0)
        after = await outlet.look()

    assert outcome == Acknowledged()
    assert before == OutletState(relay=Relay.ON, power=Power(3_000))
    assert between.relay is Relay.UNKNOWN
    assert after == outlet_off()
    assert [miner.watts for miner in site.miners.values()] == [0.0, 3_000.0]


def outlet_off(watts_w: int = 0) -> OutletState:
    return OutletState(relay=Relay.OFF, power=Power(watts_w))


@pytest.mark.parametrize(("stale_after_s", "silent_after_s"), [(11, 30), (60, 60)])
def test_a_pdu_is_told_as_silent_by_itself_and_not_before_its_outlets_are_unknown(
    stale_after_s: float, silent_after_s: float
) -> None:
    config = pdu_config(stale_after_s=stale_after_s)
    pdu: object = SnmpPdu(config, [], SnmpLink(config))

    assert isinstance(pdu, Watched)
    assert pdu.silent_after_s == silent_after_s


@pytest.mark.socket
async def test_a_pdu_that_does_not_meter_its_outlets_is_asked_for_their_state_alone() -> None:
    async with simulated(metered=False, fed=outlets(4, meter=None)) as (_, pdu):
        readings_none = await pdu.read()
        state = pdu.outlet(4).known()

    assert (readings_none, state) == ((), OutletState(relay=Relay.ON))


@pytest.mark.socket
async def test_an_outlet_that_is_not_there_does_not_hide_the_others_and_is_told_once() -> None:
    async with simulated(fed=outlets(4, 9)) as (_, pdu):
        with capture_logs() as logs:
            first, second = await pdu.read(), await pdu.read()

    assert first == second == readings(outlet_4=3_000)
    assert [(entry["event"], entry["point"]) for entry in logs] == [("point_silent", "outlet 9")]


@pytest.mark.socket
async def test_what_is_known_of_an_outlet_grows_stale() -> None:
    async with simulated(poll_s=1.0, timeout_s=1.0, stale_after_s=2.0) as (site, pdu):
        await pdu.read()
        fresh = pdu.outlet(4).known().relay
        site.set_fault("pdu", "dead")
        with pytest.raises(DriverError, match=NO_ANSWER):
            await pdu.read()
        await asyncio.sleep(1.1)

        assert (fresh, pdu.outlet(4).known().relay) == (Relay.ON, Relay.UNKNOWN)


@pytest.mark.socket
async def test_it_reads_again_after_the_agent_was_away() -> None:
    async with simulated(timeout_s=3.0) as (site, pdu):
        await pdu.read()
        site.set_fault("pdu", "dead")
        with pytest.raises(DriverError):
            await pdu.read()
        site.set_fault("pdu", "dead", False)

        assert await pdu.read() == readings(outlet_4=3_000, outlet_5=3_000)


@pytest.mark.socket
async def test_another_agent_in_the_place_of_one_is_read_after_a_while() -> None:
    """A PDU was replaced, or its agent lost its identity: to SNMP v3 it is a stranger at a known address."""
    site = plant(miners=[miners(count=2)], pdus=[{"id": "pdu", "model": "apc-rpdu2", "outlets": OUTLETS}])
    before = PduFace(site, site.pdus["pdu"])
    await before.start()
    _, port = before.address
    config = pdu_config(port, timeout_s=1.0, **V3)
    async with pdu_of(config) as pdu:
        await _read_in_the_end(pdu)
        await before.stop()
        site.pdus["pdu"].config.__dict__["port"] = port
        after = PduFace(site, site.pdus["pdu"])
        await after.start()
        try:
            assert await _read_in_the_end(pdu) == readings(outlet_4=3_000, outlet_5=3_000)
        finally:
            await after.stop()


class Path(asyncio.DatagramProtocol):
    """An address that leads to one of `agents`, and gives `left` more answers."""

    def __init__(self, *agents: int) -> None:
        self._agents = agents
        self._client: Any = None
        self.to, self.left = agents[0], 1_000_000

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, sender: Any) -> None:
        if not self.left:
            return
        if sender[1] in self._agents:
            self.left -= 1
            self._transport.sendto(data, self._client)
        else:
            self._client = sender
            self._transport.sendto(data, ("127.0.0.1", self.to))


@pytest.mark.socket
async def test_an_agent_that_was_another_one_while_it_booted_is_read_after_a_while() -> None:
    """It said who it was, was somebody else before it told a value, and is unknown by the first name."""
    loop = asyncio.get_running_loop()
    async with served() as (_, first), served() as (_, booting), served() as (_, last):
        transport, path = await loop.create_datagram_endpoint(
            lambda: Path(first, booting, last), local_addr=("127.0.0.1", 0)
        )
        async with pdu_of(pdu_config(transport.get_extra_info("sockname")[1], timeout_s=0.3, **V3)) as pdu:
            await _read_in_the_end(pdu)
            path.left = 0
            for _ in range(6):
                with suppress(DriverError):
                    await pdu.read()
            path.to, path.left = booting, 1
            while path.left:
                with suppress(DriverError):
                    await pdu.read()
            path.to, path.left = last, 1_000_000

            assert await _read_in_the_end(pdu) == readings(outlet_4=3_000, outlet_5=3_000)
        transport.close()


async def _read_in_the_end(pdu: SnmpPdu) -> tuple[MeterReading, ...]:
    while True:
        with suppress(DriverError):
            return await pdu.read()


@pytest.mark.socket
async def test_an_order_without_an_answer_has_failed_and_one_that_is_refused_was() -> None:
    async with simulated(timeout_s=3.0) as (site, pdu):
        refused = await pdu.outlet(9).switch(Relay.OFF)
        site.set_fault("pdu", "dead")
        failed = await pdu.outlet(4).switch(Relay.OFF)

    assert isinstance(refused, Refused)
    assert "notWritable at 1.3.6.1.4.1.318.1.1.26.9.2.4.1.5.9" in refused.why
    assert isinstance(failed, Failed)


@pytest.mark.socket
@pytest.mark.parametrize(
    "login",
    [
        V3 | {"auth_password": "another-key"},
        V3 | {"privacy_password": "another-key"},
        V2C | {"community": "public"},
    ],
    ids=["auth", "privacy", "community"],
)
async def test_a_wrong_key_is_an_error_and_switches_nothing(login: dict[str, Any]) -> None:
    async with simulated(timeout_s=0.6, **login) as (site, pdu):
        with pytest.raises(DriverError, match=r"pdu: 127\.0\.0\.1"):
            await pdu.read()
        outcome = await pdu.outlet(4).switch(Relay.OFF)
        site.advance(5.0)

    assert isinstance(outcome, Failed)
    assert site.site_power_w == 6_000


@pytest.mark.socket
async def test_a_host_that_has_no_address_is_an_error() -> None:
    async with pdu_of(pdu_config(host="no.such.host.invalid")) as pdu:
        with pytest.raises(DriverError, match=r"no\.such\.host\.invalid"):
            await pdu.read()


@pytest.mark.socket
async def test_many_outlets_are_asked_for_in_several_requests() -> None:
    asked: list[int] = []

    def answer(request: bytes) -> bytes:
        asked.append(len(binds_of(request)))
        return responded(request, lambda oid: 2 if ".9.2.3.1.5." in oid else 100)

    async with agent(answer) as port, pdu_of(pdu_config(port), *outlets(*range(1, 41))) as pdu:
        all_read = await pdu.read()

    assert len(all_read) == 40
    assert (sum(asked), max(asked)) == (80, 24)


@pytest.mark.socket
async def test_what_came_before_an_agent_fell_silent_is_kept() -> None:
    requests = 0

    def answer(request: bytes) -> bytes:
        nonlocal requests
        requests += 1
        return responded(request, lambda oid: 2 if ".9.2.3.1.5." in oid else 100) if requests == 1 else b""

    async with agent(answer) as port, pdu_of(pdu_config(port, timeout_s=2.0), *outlets(*range(1, 41))) as pdu:
        with capture_logs() as logs:
            some = await pdu.read()

    assert len(some) == 12
    assert len(logs) == 28


ODD_ANSWERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "silence": (lambda request: b"", NO_ANSWER),
    "another protocol": (lambda request: b"GET / HTTP/1.1", NO_ANSWER),
    "cut short": (lambda request: request[:-3], NO_ANSWER),
    "a length that lies": (lambda request: b"\x30\x84\xff\xff\xff\xff" + request, NO_ANSWER),
    "nested": (lambda request: b"\x30\x80" * 3_000, NO_ANSWER),
    "another request": (lambda request: responded(request, lambda oid: 2, request_id=1), NO_ANSWER),
    "too big": (lambda request: responded(request, lambda oid: 2, error=1), "tooBig"),
    "an index that is none": (lambda request: responded(request, lambda oid: 2, error=5, at=99), "genErr"),
    "text": (lambda request: responded(request, lambda oid: "watts"), "not there"),
    "another name": (lambda request: responded(request, lambda oid: 2, name="1.3.6.1.2.1.1"), "not there"),
}


@pytest.mark.socket
@pytest.mark.parametrize("kind", ODD_ANSWERS)
async def test_an_answer_that_is_none_is_an_error_and_reaches_no_other_log(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer, why = ODD_ANSWERS[kind]

    timeout_s = 0.4 if why == NO_ANSWER else 5.0
    async with agent(answer) as port, pdu_of(pdu_config(port, timeout_s=timeout_s)) as pdu:
        with pytest.raises(DriverError, match=why):
            await pdu.read()

    assert caplog.records == []


@pytest.mark.socket
@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.1])
async def test_a_cancelled_read_leaves_no_task_and_the_next_one_works(after_s: float) -> None:
    async with simulated() as (_, pdu):
        before = asyncio.all_tasks()
        reading = asyncio.create_task(pdu.read())
        await asyncio.sleep(after_s)
        reading.cancel()
        await asyncio.wait([reading])
        again = await pdu.read()
        await pdu.close()
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - before

    assert again == readings(outlet_4=3_000, outlet_5=3_000)
    assert left == set()


@pytest.mark.socket
async def test_pdus_of_one_login_share_a_link_that_outlives_the_closing_of_one() -> None:
    async with served() as (_, port):
        config = pdu_config(port)
        link = SnmpLink(config)
        one, other = SnmpPdu(config, outlets(4), link), SnmpPdu(config, outlets(5), link)
        both = await asyncio.gather(one.read(), other.read())
        await one.close()
        after = await other.read()
        await other.close()

    assert list(both) == [readings(outlet_4=3_000), readings(outlet_5=3_000)]
    assert after == readings(outlet_5=3_000)


@pytest.mark.socket
async def test_a_link_leaves_out_what_an_agent_does_not_have() -> None:
    async with served() as (_, port):
        link = SnmpLink(pdu_config(port))
        there, absent = (f"1.3.6.1.4.1.318.1.1.26.9.4.3.1.7.{outlet}" for outlet in (4, 9))
        values = await link.get(Agent("127.0.0.1", port, 1.0), [there, absent])
        link.close()
        await asyncio.sleep(0)

    assert values == {there: 3_000}


# An agent that answers as it is told


@asynccontextmanager
async def agent(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    class Hearing(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            if said := answer(data):
                transport.sendto(said, addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Hearing, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


def binds_of(request: bytes) -> list[tuple[Any, Any]]:
    message, _ = decoder.decode(request, asn1Spec=v2c.Message())
    return list(v2c.apiPDU.get_varbinds(v2c.apiMessage.get_pdu(message)))


def responded(
    request: bytes,
    value: Callable[[str], int | str],
    *,
    request_id: int | None = None,
    error: int = 0,
    at: int = 0,
    name: str | None = None,
) -> bytes:
    message, _ = decoder.decode(request, asn1Spec=v2c.Message())
    response = v2c.apiMessage.get_response(message)
    pdu = v2c.apiMessage.get_pdu(response)
    if request_id is not None:
        v2c.apiPDU.set_request_id(pdu, request_id)
    v2c.apiPDU.set_error_status(pdu, error)
    v2c.apiPDU.set_error_index(pdu, at)
    binds = []
    for oid, _ in binds_of(request):
        said = value(str(oid))
        binds.append(
            (name or str(oid), v2c.Integer(said) if isinstance(said, int) else v2c.OctetString(said))
        )
    v2c.apiPDU.set_varbinds(pdu, binds)
    return bytes(encoder.encode(response))
