"""A simulated site from a controller's site file: what is made of it, and what strangers find on the wire."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest
import tomli_w
from pymodbus.client import AsyncModbusTcpClient
from pysnmp.hlapi.v3arch.asyncio import (
    USM_AUTH_HMAC96_SHA,
    USM_PRIV_CFB128_AES,
    ContextData,
    SnmpEngine,
    UdpTransportTarget,
    UsmUserData,
    get_cmd,
)
from pysnmp.proto.rfc1902 import Null, ObjectName

from controller.config import load
from controller.domain.power import Limit, Power
from simulators.config import PlantFileError
from simulators.faces.registers import told
from simulators.fromsite import Simulated, simulated
from simulators.nvml.layout import STATE_VARIABLE
from simulators.plant import Plant
from simulators.ports import remap
from simulators.readysite import Broker
from simulators.sitefile import load_site
from tests.simulators.plants import HOME

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside pyasic and passlib, at import
    import pyasic

EXAMPLE = Path("configs/site.example.toml")
DEADLINE_S = 60.0
APC_WATTS = "1.3.6.1.4.1.318.1.1.26.9.4.3.1.7"

SITE: dict[str, Any] = tomllib.loads("""
name = "hall-9"
nodes = [
    { id = "site", limit_kw = 60, fixed_kw = 2, meter = "main" },
    { id = "row", parent = "site", meter = "row" },
    { id = "gpus", parent = "site", limit_kw = 5, meter = "gpus" },
]
policy = { meter_stale_after_s = 20 }
zones = [{ id = "hall", derate_c = 38, trip_c = 48 }, { id = "annex", derate_c = 38, trip_c = 48 }]

[[modbus]]
id = "board"
host = "10.9.0.5"
[[modbus.points]]
kind = "power"
meter = "main"
unit = 3
address = 512
type = "int32"
word_order = "little"
scale = 0.1
function = "input"
max_w = 90000
[[modbus.points]]
kind = "power"
meter = "row"
unit = 4
preset = "eastron-sdm630"
max_w = 90000
[[modbus.points]]
kind = "zone"
zone = "hall"
unit = 9
address = 7
type = "uint16"
scale = 0.01
proof = { unit = 9, address = 20, type = "uint16", proven_from = 300 }

[[mqtt_meters]]
id = "building"
host = "10.9.0.6"
username = "site"
password = "secret-of-the-building"
tls = true
[[mqtt_meters.points]]
meter = "gpus"
topic = "em/gpus"
unit = "W"
max_w = 9000
payload = { value = "params.em.0.act_power", timestamp = "params.ts", timestamp_in = "s" }
[[mqtt_meters.points]]
kind = "zone"
zone = "annex"
topic = "annex/inlet"
unit = "F"
proof = { topic = "annex/pump", payload = { value = "running" } }

[[miners]]
id = "row-a"
family = "luxos"
hosts = ["10.9.1.250-252", "10.9.2.7"]
node = "row"
zone = "hall"
rated_w = 3500
rated_ths = 200
[[miners]]
id = "row-b"
family = "generic"
hosts = ["10.9.3.1"]
node = "row"
rated_w = 3000
rated_ths = 100

[[pdus]]
id = "pdu-1"
host = "10.9.4.1"
model = "apc-rpdu2"
username = "ops"
auth = "sha512"
auth_password = "a-real-secret"
privacy_password = "a-real-secret"
outlet_max_w = 4000
[[outlets]]
device = "row-a-001"
pdu = "pdu-1"
outlet = 5
meter = "outlet-5"

[[gpu_hosts]]
id = "dgx"
node = "gpus"
zone = "annex"
uuids = ["GPU-9-0", "GPU-9-1"]
min_w = 200
default_w = 700
max_w = 700

[[queues]]
id = "local"
directory = "/var/lib/wattshift/queue"

[journal]
archive = "/var/lib/wattshift/archive"

[control]
socket = "/run/wattshift/control.sock"

[[operators]]
id = "iso"
host = "10.9.0.7"
ven = "hall-9"
client_id = "hall-9"
password_file = "/etc/wattshift/secret"
username = "hall-9"
signed_by = { k = "/etc/wattshift/k.pem" }
signing_key = "/etc/wattshift/own.pem"
signing_key_id = "own"

[[price_brokers]]
id = "market"
host = "10.9.0.8"
password = "secret-of-the-market"
username = "hall-9"
topics = [{ id = "rtm", price = "energy", topic = "rtm", unit = "USD/MWh", stale_after_s = 900 }]
""")


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "given.toml"
    file.write_text(tomli_w.dumps(SITE | changes))
    return file


def made(file: Path, folder: Path) -> Simulated:
    site, table = load_site(file)
    return simulated(
        site,
        table,
        first_address=IPv4Address("127.64.0.1"),
        directory=folder,
        broker=Broker(host="127.0.0.1", port=1883),
        library=folder / "libnvidia-ml.so.1",
    )


@pytest.mark.parametrize("given", ["example", "whole"])
def test_the_file_that_leads_to_the_simulated_site_is_one_that_the_controller_reads(
    tmp_path: Path, given: str
) -> None:
    file = EXAMPLE if given == "example" else written(tmp_path)
    ready = tmp_path / "site.toml"
    ready.write_text(tomli_w.dumps(made(file, tmp_path).site))

    before, after = load(file), load(ready)

    assert [group.id for group in after.miners] == [group.id for group in before.miners]
    assert [len(group.addresses()) for group in after.miners] == [
        len(group.addresses()) for group in before.miners
    ]
    assert after.nodes == before.nodes
    assert after.zones == before.zones
    assert after.policy == before.policy
    assert [endpoint.points for endpoint in after.modbus] == [endpoint.points for endpoint in before.modbus]


def test_no_address_password_or_path_of_the_real_site_is_left(tmp_path: Path) -> None:
    said = tomli_w.dumps(made(written(tmp_path), tmp_path / "out").site)

    assert "10.9." not in said
    assert "secret" not in said
    assert "/var/lib" not in said
    assert "/run/" not in said
    assert "/etc/" not in said


def test_a_trial_answers_no_real_operator_and_hears_no_real_market(tmp_path: Path) -> None:
    """It would tell them what a simulated meter shows, in the site's name and with its client id."""
    ready = tmp_path / "site.toml"
    ready.write_text(tomli_w.dumps(made(EXAMPLE, tmp_path).site))

    settings = load(ready)

    assert settings.grid is not None
    links = [broker for link in (settings.grid, *settings.operators) for broker in link.brokers()]
    places = {(link.host, link.port) for link in links}
    places |= {(broker.host, broker.port) for broker in settings.price_brokers}
    places |= {(broker.host, broker.port) for broker in settings.mqtt_meters}
    assert places == {("127.0.0.1", 1883)}
    assert len(settings.operators) == len(load(EXAMPLE).operators) == 3
    assert [link for link in links if link.tls or link.signed_by or link.signing_key] == []


def test_operators_of_one_client_id_at_two_brokers_are_told_apart_at_the_simulated_one(
    tmp_path: Path,
) -> None:
    same = {"ven": "v", "client_id": "c", "username": "u", "password_file": "/etc/wattshift/secret"}
    operators = [same | {"id": "one", "host": "10.9.8.1"}, same | {"id": "other", "host": "10.9.8.2"}]
    grid = {"ven": "v", "client_id": "c", "host": "10.9.8.3"}
    ready = tmp_path / "site.toml"
    ready.write_text(tomli_w.dumps(made(written(tmp_path, operators=operators, grid=grid), tmp_path).site))

    assert [link.client_id for link in load(ready).operators] == ["c-one", "c-other"]


def test_a_site_with_nothing_but_operators_wants_a_broker(tmp_path: Path) -> None:
    bare = {"mqtt_meters": [], "operators": [{"id": "iso", "host": "10.9.8.1", "ven": "v", "client_id": "c"}]}

    site, _ = load_site(written(tmp_path, **bare))

    assert site.wants_broker


def test_every_machine_of_the_file_is_in_the_plant_under_its_own_name(tmp_path: Path) -> None:
    plant = made(written(tmp_path), tmp_path).plant

    assert [device for group in plant.miners for device in group.ids] == [
        *(f"row-a-00{at}" for at in range(4)),
        "row-b-000",
    ]
    assert [device for group in plant.gpus for device in group.ids] == ["dgx-gpu0", "dgx-gpu1"]
    assert {meter.id: meter.node for meter in plant.meters} == {
        "main": "site",
        "row-meter": "row",
        "gpus-meter": "gpus",
    }
    assert plant.pdus[0].outlets == {5: "row-a-001"}


def test_an_outlet_that_names_its_machine_by_address_feeds_it_at_its_new_one(tmp_path: Path) -> None:
    by_address = SITE["outlets"][0] | {"device": "10.9.1.251"}
    ready = tmp_path / "site.toml"
    result = made(written(tmp_path, outlets=[by_address]), tmp_path)
    ready.write_text(tomli_w.dumps(result.site))

    assert [pdu.outlets for pdu in result.plant.pdus] == [{5: "row-a-001"}]
    assert [outlet.device for outlet in load(ready).outlets] == ["row-a-001"]


def test_the_liquid_of_a_zone_is_told_where_the_file_says_that_its_sensor_is(tmp_path: Path) -> None:
    plant_file = made(EXAMPLE, tmp_path).plant
    register = next(one for one in plant_file.modbus[0].registers if one.coolant_of is not None)
    plant = Plant(plant_file, seed=1)

    assert (register.unit, register.address, register.scale) == (10, 12, 0.1)
    assert told(plant, register) == plant.zones["hall"].coolant_c


@pytest.mark.parametrize("phases", [1, 2, 3])
def test_a_breaker_holds_in_the_plant_what_its_plate_says_and_the_controller_uses_four_fifths_of_that(
    tmp_path: Path, phases: int
) -> None:
    breaker = {"amps": 100, "volts": 208, "phases": phases}
    nodes = [{"id": "site", "meter": "main"}, {"id": "row", "parent": "site", "breaker": breaker}]
    nodes.append({"id": "gpus", "parent": "site"})
    file = written(tmp_path, nodes=nodes)

    in_plant = made(file, tmp_path).plant.nodes[1].breaker_w
    used = load(file).nodes[1].limit

    assert in_plant is not None
    assert used == Limit(Power.down(0.8 * in_plant))


def test_a_meter_that_no_node_names_is_simulated_beside_nothing(tmp_path: Path) -> None:
    nodes = [{"id": "site", "limit_kw": 60}, *({"id": name, "parent": "site"} for name in ("row", "gpus"))]

    plant = made(written(tmp_path, nodes=nodes), tmp_path).plant

    assert [meter.node for meter in plant.meters] == ["behind-main", "behind-row", "behind-gpus"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"miners": [SITE["miners"][0] | {"family": "steam"}]}, "family 'steam' is not simulated"),
        ({"miners": [SITE["miners"][0] | {"hosts": ["asic.local"]}]}, "host 'asic.local' is no address"),
        ({"miners": [SITE["miners"][0] | {"rated_w": "3 kW"}]}, "miners.0.rated_w"),
        ({"nodes": []}, "nodes"),
    ],
)
def test_a_file_that_cannot_be_simulated_is_refused_by_key(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(PlantFileError, match=said):
        made(written(tmp_path, **changes), tmp_path)


# On the wire, by clients that know nothing of this


class Served:
    """A running `wattshift simulate --site`, and its control."""

    def __init__(self, ready: dict[str, Any], session: aiohttp.ClientSession) -> None:
        self.ready = ready
        self.site: dict[str, Any] = tomllib.loads(Path(ready["site"]).read_text())
        self._session = session

    async def fault(self, device: str, fault: str, value: bool | float = True) -> None:
        order = {"device": device, "fault": fault, "value": value}
        async with self._session.post(f"{self.ready['control']}/faults", json=order) as answer:
            assert answer.status == 200, await answer.text()

    async def get(self, path: str) -> Any:
        async with self._session.get(self.ready["control"] + path) as answer:
            return await answer.json()


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    arguments = ("--site", str(written(folder)), "--out", str(folder), "--first-address", f"{HOME}.1")
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "controller", "simulate", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        line = await program.stdout.readline()
        assert line, await program.communicate()
        async with aiohttp.ClientSession() as session:
            yield Served(json.loads(line), session)
    finally:
        if program.returncode is None:
            program.terminate()
        _, complaints = await program.communicate()
    assert (program.returncode, complaints) == (0, b"")


@pytest.mark.socket
@pytest.mark.filterwarnings("ignore:passing settings to md5_crypt:DeprecationWarning")  # pyasic's own
def test_strangers_find_the_site_on_the_wire_and_see_its_faults(tmp_path: Path) -> None:
    async def play() -> None:
        async with asyncio.timeout(DEADLINE_S), served(tmp_path) as site:
            await see_modbus(site)
            await see_miner(site)
            await see_outlet(site)
            await see_mqtt(site)
            await see_gpus(site, tmp_path)
            assert await site.get("/faults") == {
                "main": {"dead": True},
                "hall": {"fans_stopped": True},
                "row-a-000": {"dead": True},
                "pdu-1": {"dead": True},
                "annex": {"fans_stopped": True},
                "dgx-gpu1": {"off_the_bus": True},
            }
            assert (await site.get("/faults?device=row-a-000"))["row-a-000"]["hangs"] is False

    with asyncio.Runner(loop_factory=remap({80: 18_080, 443: 18_443})) as runner:
        runner.run(play())


async def see_modbus(site: Served) -> None:
    """pymodbus: tenths of watts, low word first; a make's own map; a zone and the speed of its fan."""
    endpoint = site.site["modbus"][0]
    client = AsyncModbusTcpClient(endpoint["host"], port=endpoint["port"], retries=0)
    assert await client.connect()
    try:
        low, high = (await client.read_input_registers(512, count=2, device_id=3)).registers
        row = await client.read_input_registers(0x34, count=2, device_id=4)
        inlet, fan = [
            (await client.read_holding_registers(at, count=1, device_id=9)).registers[0] for at in (7, 20)
        ]
        truth = await site.get("/truth")
        assert (high << 16 | low) / 10 == pytest.approx(truth["site_power_w"], rel=0.02)
        watts = client.convert_from_registers(row.registers, client.DATATYPE.FLOAT32)
        assert watts == pytest.approx(truth["nodes"]["row"]["power_w"], rel=0.02)
        assert inlet / 100 == pytest.approx(truth["zones"]["hall"]["inlet_c"], abs=0.1)
        assert fan == 300

        await site.fault("main", "dead")
        await site.fault("hall", "fans_stopped")

        assert (await client.read_input_registers(512, count=2, device_id=3)).exception_code == 11
        assert (await client.read_holding_registers(20, count=1, device_id=9)).registers == [0]
        assert (await client.read_holding_registers(512, count=2, device_id=3)).exception_code == 2
    finally:
        client.close()


async def see_miner(site: Served) -> None:
    """pyasic, as released: it knows the machine by its answers, and cannot reach a dead one."""
    address = site.site["miners"][0]["hosts"][0].partition("-")[0]
    miner = await pyasic.get_miner(address)
    assert miner is not None
    assert "LuxOS" in str(miner.firmware)
    data = await miner.get_data(include=["hashrate", "wattage"])
    assert data.wattage == pytest.approx(3500, rel=0.1)

    await site.fault("row-a-000", "dead")

    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection(address, 4028)


async def see_outlet(site: Served) -> None:
    """pysnmp's own client, with the credentials of the file that was written."""
    pdu = site.site["pdus"][0]
    engine = SnmpEngine()
    keys = (pdu["auth_password"], pdu["privacy_password"], USM_AUTH_HMAC96_SHA, USM_PRIV_CFB128_AES)
    target = await UdpTransportTarget.create((pdu["host"], pdu["port"]), timeout=0.5, retries=0)
    question = ObjectName(f"{APC_WATTS}.5"), Null("")
    login = UsmUserData(pdu["username"], *keys)
    try:
        trouble, status, _, binds = await get_cmd(
            engine, login, target, ContextData(), question, lookupMib=False
        )
        truth = await site.get("/truth")
        assert not trouble
        assert not status
        assert int(binds[0][1]) == pytest.approx(truth["miners"]["row-a-001"]["watts"], abs=5)

        await site.fault("pdu-1", "dead")

        trouble, *_ = await get_cmd(engine, login, target, ContextData(), question, lookupMib=False)
        assert "No SNMP response" in str(trouble)
    finally:
        engine.close_dispatcher()


async def see_mqtt(site: Served) -> None:
    """A plain subscriber: each value in the shape that the site file says."""
    host, _, port = site.ready["mqtt"].partition(":")
    await site.fault("annex", "fans_stopped")
    async with aiomqtt.Client(host, int(port)) as client:
        await client.subscribe([("em/#", 0), ("annex/#", 0)])
        heard: dict[str, Any] = {}
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            heard[message.topic.value] = json.loads(message.payload)
            if len(heard) == 3:
                break
    truth = await site.get("/truth")
    gpus = heard["em/gpus"]["params"]
    assert gpus["em"]["0"]["act_power"] == pytest.approx(truth["nodes"]["gpus"]["power_w"], rel=0.03)
    assert isinstance(gpus["ts"], float)
    assert (heard["annex/inlet"]["value"] - 32) / 1.8 == pytest.approx(
        truth["zones"]["annex"]["inlet_c"], abs=1.0
    )
    assert heard["annex/pump"] == {"running": 0.0}


async def see_gpus(site: Served, folder: Path) -> None:
    """gpustat, with nothing but the folder in its library path."""
    await site.fault("dgx-gpu1", "off_the_bus")
    environment = {name: value for name, value in os.environ.items() if name != STATE_VARIABLE}
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gpustat", "-P", "--no-color"),
        env=environment | {"LD_LIBRARY_PATH": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    told, _ = await program.communicate()
    assert b"NVIDIA H100 80GB HBM3" in told
    assert told.count(b"70 / 700 W") == 1
    assert b"GPU is lost" in told
