"""Meters and PDUs before the programs that technicians use: `mbpoll` for Modbus, net-snmp's for SNMP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from simulators.faces.meters import MeterFace
from simulators.faces.snmp import PduFace
from simulators.plant import Plant
from tests.simulators.plants import RATED_W, miners, only_miner, plant

pytestmark = pytest.mark.socket

DEADLINE_S = 10.0
METER_UNIT = 3
V2C = ("-v2c", "-c", "private")
V3 = (
    *("-v3", "-l", "authPriv", "-u", "site"),
    *("-a", "SHA", "-A", "simulated", "-x", "AES", "-X", "simulated"),
)
APC, RARITAN = "1.3.6.1.4.1.318.1.1.26", "1.3.6.1.4.1.13742.6"
APC_WATTS, RARITAN_WATTS = f"{APC}.9.4.3.1.7", f"{RARITAN}.5.4.3.1.4.1"
APC_SWITCH, RARITAN_SWITCH = f"{APC}.9.2.4.1.5", f"{RARITAN}.4.1.2.1.2.1"
PRODUCT = {"apc-rpdu2": "1.3.6.1.4.1.318.1.3.4.6", "raritan-px": RARITAN}

Tool = Callable[[str], str]


async def said_by(program: str, *arguments: str) -> tuple[int, str]:
    """Its exit status and what it answered; of one that failed its complaints too. Where net-snmp runs for
    the first time it says on the side which directories it made."""
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            output, aside = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, (output + aside if process.returncode else output).decode()


# -- SNMP -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def pdu_of(model: str) -> AsyncIterator[tuple[Plant, str]]:
    """A site with two machines on outlets 4 and 5, and where the PDU's agent answers."""
    outlets = {4: "luxos-000", 5: "luxos-001"}
    site = plant(miners=[miners(count=2)], pdus=[{"id": "pdu", "model": model, "outlets": outlets}])
    (pdu,) = site.pdus.values()
    face = PduFace(site, pdu)
    await face.start()
    try:
        yield site, f"{face.address[0]}:{face.address[1]}"
    finally:
        await face.stop()


async def walked(program: str, login: tuple[str, ...], agent: str, oid: str) -> dict[str, str]:
    """Type and value below that identifier, in the words of `snmpwalk`, by what follows it."""
    status, output = await said_by(program, *login, "-m", "", "-On", "-t", "1", "-r", "1", agent, oid)
    assert status == 0, output
    pairs = (line.split(" = ", 1) for line in output.splitlines())
    return {name.removeprefix(f".{oid}."): value for name, value in pairs}


@pytest.mark.parametrize("login", [V2C, V3], ids=["v2c", "v3"])
@pytest.mark.parametrize(
    ("model", "watts", "shown"),
    [
        ("apc-rpdu2", APC_WATTS, {"4": f"INTEGER: {RATED_W:.0f}", "5": "INTEGER: 25"}),
        ("raritan-px", RARITAN_WATTS, {"4.5": f"Gauge32: {RATED_W * 10:.0f}", "5.5": "Gauge32: 250"}),
    ],
)
async def test_snmpwalk_lists_the_watts_of_every_outlet_as_the_plant_has_them(
    require_tool: Tool, login: tuple[str, ...], model: str, watts: str, shown: dict[str, str]
) -> None:
    async with pdu_of(model) as (site, agent):
        list(site.miners.values())[1].sleep()
        site.advance(60.0)
        told = await walked(require_tool("snmpwalk"), login, agent, watts)

    assert told == shown


@pytest.mark.parametrize("model", ["apc-rpdu2", "raritan-px"])
async def test_snmpwalk_goes_through_the_whole_agent_and_knows_it_by_its_product(
    require_tool: Tool, model: str
) -> None:
    async with pdu_of(model) as (site, agent):
        site.advance(60.0)
        told = await walked(require_tool("snmpwalk"), V2C, agent, "1.3.6.1")

    assert told["2.1.1.2.0"] == f"OID: .{PRODUCT[model]}"
    assert told["2.1.1.3.0"].startswith("Timeticks: (6000)")
    assert told["2.1.1.5.0"] == 'STRING: "pdu"'
    assert list(told)[-1] == "6.3.10.2.1.4.0", "an agent's engine comes after all enterprises"


@pytest.mark.parametrize("login", [V2C, V3], ids=["v2c", "v3"])
@pytest.mark.parametrize(
    ("model", "switch", "off"), [("apc-rpdu2", APC_SWITCH, "2"), ("raritan-px", RARITAN_SWITCH, "0")]
)
async def test_snmpset_takes_the_power_from_the_machine_on_that_outlet_alone(
    require_tool: Tool, login: tuple[str, ...], model: str, switch: str, off: str
) -> None:
    async with pdu_of(model) as (site, agent):
        status, output = await said_by(
            require_tool("snmpset"), *login, "-m", "", "-On", agent, f"{switch}.4", "i", off
        )
        site.advance(1.0)
        dark, lit = site.miners.values()

    assert (status, output) == (0, f".{switch}.4 = INTEGER: {off}\n")
    assert (dark.powered, dark.watts, lit.watts, site.site_power_w) == (False, 0.0, RATED_W, RATED_W)


async def test_snmpset_is_told_why_an_order_is_none_and_nothing_changes(require_tool: Tool) -> None:
    async with pdu_of("apc-rpdu2") as (site, agent):
        status, output = await said_by(
            require_tool("snmpset"), *V2C, "-m", "", agent, f"{APC_SWITCH}.4", "i", "9"
        )
        site.advance(1.0)

    assert status == 2
    assert "wrongValue" in output
    assert site.site_power_w == 2 * RATED_W


async def test_snmpget_is_told_that_an_outlet_is_not_there(require_tool: Tool) -> None:
    async with pdu_of("apc-rpdu2") as (_, agent):
        _, output = await said_by(require_tool("snmpget"), *V2C, "-m", "", agent, f"{APC_WATTS}.6")

    assert "No Such Instance" in output


# -- Modbus ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def meter_of(model: str) -> AsyncIterator[tuple[Plant, tuple[str, ...]]]:
    """A site that is metered as a whole, and the server and unit in `mbpoll`'s words."""
    meter = {"id": "main", "node": "site", "unit": METER_UNIT, "noise": 0, "map": model}
    site = plant(miners=[miners()], meters=[meter])
    face = MeterFace(site)
    await face.start()
    host, port = face.address
    try:
        yield site, ("-m", "tcp", "-p", str(port), "-a", str(METER_UNIT), "-0", "-B", "-1", "-o", "2", host)
    finally:
        await face.stop()


async def polled(program: str, server: tuple[str, ...], register: int, kind: str) -> float:
    """The one value there; `kind` is `mbpoll`'s name of the table and type."""
    status, output = await said_by(program, "-r", str(register), "-t", kind, "-c", "1", *server)
    assert status == 0, output
    (value,) = re.findall(rf"^\[{register}\]:\s+(\S+)$", output, re.MULTILINE)
    return float(value)


@pytest.mark.parametrize(
    ("model", "register", "kind", "unit_w"),
    [
        ("plain", 0, "4:float", 1.0),
        ("plain", 2, "3:int", 1.0),
        ("schneider", 3059, "4:float", 1000.0),
        ("eastron", 0x34, "3:float", 1.0),
    ],
)
async def test_mbpoll_reads_the_plants_power_from_the_meter(
    require_tool: Tool, model: str, register: int, kind: str, unit_w: float
) -> None:
    async with meter_of(model) as (site, server):
        hashing = await polled(require_tool("mbpoll"), server, register, kind) * unit_w
        hashing_w = site.site_power_w
        only_miner(site).sleep()
        site.advance(60.0)
        asleep = await polled(require_tool("mbpoll"), server, register, kind) * unit_w

    assert hashing == pytest.approx(hashing_w)
    assert asleep == pytest.approx(site.site_power_w)
    assert asleep < hashing


async def test_mbpoll_finds_no_power_in_a_dead_meter(require_tool: Tool) -> None:
    async with meter_of("plain") as (site, server):
        site.set_fault("main", "dead")
        status, output = await said_by(require_tool("mbpoll"), "-r", "0", "-t", "4:float", "-c", "1", *server)

    assert status != 0
    assert "Target device failed to respond" in output
