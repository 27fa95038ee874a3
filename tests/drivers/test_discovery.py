"""A scan against simulated sites and scripted servers: who is found, who is not, and that it always ends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from drivers.asic import facts
from drivers.asic.build import ADAPTERS
from drivers.asic.config import Login
from drivers.asic.digest import DigestClient
from drivers.asic.discovery import (
    MAX_ADDRESSES,
    Absent,
    Finding,
    Progress,
    Stage,
    Unknown,
    addresses_of,
    scan,
)
from drivers.asic.facts import Facts
from drivers.asic.recognise import Machine, told_by_pyasic
from drivers.base import DriverError
from simulators.faces.cgminer import mac_of
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.drivers.asic_fakes import HOST, HUNG_S, PORTS, Json, RpcServer, bytes_server, no, ok, remapped
from tests.simulators.plants import MODELS, RATED_THS, config, miners

TIMEOUT_S = 1.0
AT_ONCE = 20
FAMILIES = ("luxos", "whatsminer", "antminer")


@asynccontextmanager
async def site(*groups: dict[str, Any]) -> AsyncIterator[SimulatedSite]:
    served = SimulatedSite(Plant(config(ports=PORTS, miners=groups)))
    async with served.serving():
        yield served


async def found(addresses: Sequence[str], **options: Any) -> tuple[Finding, ...]:
    return await scan(addresses, **({"at_once": AT_ONCE, "timeout_s": TIMEOUT_S} | options))


async def only(address: str, **options: Any) -> Finding:
    (finding,) = await found([address], **options)
    return finding


async def only_machine(address: str, **options: Any) -> Machine:
    finding = await only(address, **options)
    assert isinstance(finding, Machine), finding
    return finding


def facts_of(machine: Machine) -> tuple[str | None, str | None, str | None]:
    return machine.family, machine.facts.model, machine.facts.mac


# -- a fleet --------------------------------------------------------------------------------------------


@pytest.mark.socket
@remapped
async def test_every_machine_that_answers_is_found_for_what_it_is_and_nobody_else() -> None:
    broken = [{"index": 3, "fault": "dead"}, {"index": 7, "fault": "hangs"}]
    fleet = [
        miners(family, at=1 + 20 * number, count=20, faults=broken) for number, family in enumerate(FAMILIES)
    ]
    async with site(*fleet) as served:
        truth = {miner.address: miner for miner in served.plant.miners.values()}

        findings = await found(tuple(truth))

    machines = {finding.address: finding for finding in findings if isinstance(finding, Machine)}
    alive = {address: m for address, m in truth.items() if not (m.faults.dead or m.faults.hangs)}
    assert {address: facts_of(machine) for address, machine in machines.items()} == {
        address: (m.group.family.value, m.group.model, mac_of(m.serial)) for address, m in alive.items()
    }
    assert {f.address for f in findings if isinstance(f, Absent)} == {
        address for address, m in truth.items() if m.faults.dead
    }
    assert {f.address for f in findings if isinstance(f, Unknown)} == {
        address for address, m in truth.items() if m.faults.hangs
    }


@pytest.mark.socket
@pytest.mark.parametrize(
    ("family", "told"),
    [
        ("luxos", Facts(rate_ths=RATED_THS, draw_w=3000, rated_ths=RATED_THS, rated_w=3000)),
        ("whatsminer", Facts(rate_ths=RATED_THS, draw_w=3000, rated_ths=RATED_THS)),
        ("antminer", Facts(rate_ths=RATED_THS, rated_ths=RATED_THS)),
    ],
)
@remapped
async def test_only_what_the_firmware_tells_is_known(family: str, told: Facts) -> None:
    async with site(miners(family)) as served:
        (truth,) = served.plant.miners.values()
        known = (await only_machine(truth.address)).facts

    assert known.rate_ths == pytest.approx(told.rate_ths)
    assert (known.draw_w, known.rated_w, known.rated_ths) == (told.draw_w, told.rated_w, told.rated_ths)
    assert known.firmware is not None
    assert known.doubts == ()


@pytest.mark.socket
@pytest.mark.parametrize("family", sorted(set(MODELS) & set(ADAPTERS)))
@remapped
async def test_every_family_that_has_a_driver_is_found_as_that_family(family: str) -> None:
    async with site(miners(family)) as served:
        (truth,) = served.plant.miners.values()
        machine = await only_machine(truth.address)

    assert (machine.family, machine.facts.mac) == (family, mac_of(truth.serial))
    assert machine.facts.rate_ths == pytest.approx(RATED_THS, rel=0.001)
    assert machine.facts.doubts == ()


@pytest.mark.socket
@remapped
async def test_an_antminer_in_low_power_does_not_tell_its_rating() -> None:
    async with site(miners("antminer")) as served:
        (truth,) = served.plant.miners.values()
        client = DigestClient(truth.address, 80, "root", "root")
        low = {"pools": [{"url": "stratum+tcp://pool.example:3333"}], "miner-mode": 3}
        await client.post("/cgi-bin/set_miner_conf.cgi", low, deadline_s=2.0)

        known = (await only_machine(truth.address)).facts

    assert (known.rated_ths, known.doubts) == (None, ())
    assert known.rate_ths is not None


@pytest.mark.socket
@pytest.mark.parametrize(("family", "model"), [("axeos", "BM1370"), ("marafw", "Antminer S19")])
@remapped
async def test_what_has_no_family_of_its_own_is_found_as_one_that_can_be_watched(
    family: str, model: str
) -> None:
    async with site(miners(family, model=model)) as served:
        (truth,) = served.plant.miners.values()
        machine = await only_machine(truth.address)

    assert (machine.family, machine.facts.mac) == ("generic", mac_of(truth.serial))


# -- those who make it hard -----------------------------------------------------------------------------


@pytest.mark.socket
@remapped
async def test_a_machine_too_slow_for_its_first_turn_is_found_in_a_second() -> None:
    async with site(miners("luxos", faults=[{"index": 0, "fault": "hangs"}])) as served:
        (truth,) = served.plant.miners.values()

        def wake_up(progress: Progress) -> None:
            truth.faults.hangs = progress.stage is Stage.PROBING

        finding = await only(truth.address, timeout_s=0.5, progress=wake_up)

    assert isinstance(finding, Machine)


@pytest.mark.socket
@remapped
async def test_an_antminer_of_a_model_that_is_not_known_is_only_watched_and_named_in_its_own_words() -> None:
    async with site(miners("antminer", model="Antminer S33 Hyd.")) as served:
        (truth,) = served.plant.miners.values()
        machine = await only_machine(truth.address)

    assert facts_of(machine) == ("generic", "Antminer S33 Hyd.", mac_of(truth.serial))


@pytest.mark.socket
@remapped
async def test_an_antminer_with_another_password_is_found_without_its_mac() -> None:
    async with site(miners("antminer", password="secret")) as served:
        (truth,) = served.plant.miners.values()
        machine = await only_machine(truth.address)

    assert facts_of(machine) == ("antminer", MODELS["antminer"], None)
    assert "password is not accepted" in str(machine.facts.doubts[0])


@pytest.mark.socket
@remapped
async def test_the_given_password_opens_an_antminer() -> None:
    async with site(miners("antminer", password="secret")) as served:
        (truth,) = served.plant.miners.values()
        login = Login(password=SecretStr("secret"))
        machine = await only_machine(truth.address, logins={"antminer": login})

    assert machine.facts.mac == mac_of(truth.serial)


@pytest.mark.socket
@remapped
async def test_a_stopped_whatsminer_is_found_although_it_refuses_to_tell_its_model() -> None:
    async with site(miners("whatsminer", process_down_when_stopped=True)) as served:
        (truth,) = served.plant.miners.values()
        truth.sleep()
        await served.advance(60.0)

        machine = await only_machine(truth.address)

    assert facts_of(machine) == ("whatsminer", None, mac_of(truth.serial))
    assert "process is down" in str(machine.facts.doubts[0])


@pytest.mark.socket
@remapped
async def test_a_whatsminer_that_refuses_all_by_which_pyasic_knows_it_is_found_all_the_same() -> None:
    def switched_off(command: str, _parameters: list[Any]) -> Json | None:
        match command:
            case "get_version":
                return {"STATUS": "S", "Code": 131, "Msg": {"fw_ver": "20220101.02.REL"}}
            case "get_miner_info":
                return {"STATUS": "S", "Code": 131, "Msg": {"mac": "C8-11-05-00-00-0a"}}
            case _:
                return no(14, "Not now")

    async with RpcServer(switched_off).serving():
        machine = await only_machine(HOST)

    assert facts_of(machine) == ("whatsminer", None, "C8:11:05:00:00:0A")


@pytest.mark.socket
@pytest.mark.parametrize("fault", ["half_reply", "garbage"])
@pytest.mark.parametrize("family", ["luxos", "whatsminer", "antminer"])
@remapped
async def test_a_machine_that_makes_no_sense_is_not_guessed_at(family: str, fault: str) -> None:
    async with site(miners(family, faults=[{"index": 0, "fault": fault}])) as served:
        (truth,) = served.plant.miners.values()
        finding = await only(truth.address)

    assert isinstance(finding, Unknown)
    assert 4028 in finding.ports
    assert finding.why


@pytest.mark.socket
@remapped
async def test_a_web_server_is_no_miner() -> None:
    page = b"<html>Managed PDU</html>"
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n".encode()
    async with bytes_server(head + page):
        finding = await only(HOST)

    assert finding == Unknown(address=HOST, ports=(80,), why="answers like no miner that is known here")


def other_firmware(command: str, _parameters: list[Any]) -> Json | None:
    match command:
        case "version":
            return ok(VERSION=[{"Type": "Antminer S19", "Miner": "vnish 1.2.6", "CompileTime": "x"}])
        case _:
            return no(14, "Invalid command")


@pytest.mark.socket
@remapped
async def test_other_firmware_that_names_the_antminer_is_not_taken_for_stock() -> None:
    async with RpcServer(other_firmware).serving():
        finding = await only(HOST)

    assert isinstance(finding, Unknown), finding
    assert finding.why.startswith("looks like AntminerModern, but")


@pytest.mark.socket
@remapped
async def test_other_firmware_behind_the_login_of_stock_is_not_taken_for_stock() -> None:
    challenge = 'Digest realm="antMiner Configuration", nonce="n", algorithm=MD5, qop="auth"'
    refusal = f"HTTP/1.1 401 X\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n".encode()
    async with RpcServer(other_firmware).serving(), bytes_server(refusal):
        finding = await only(HOST)

    assert isinstance(finding, Unknown), finding
    assert "no stock firmware, for it says VNISH" in finding.why


@dataclass
class PyasicMiner:
    """What is used of pyasic's objects, as they are for firmware that nobody here knows."""

    mac: Callable[[], Awaitable[str | None]]
    ip: str = "127.45.0.9"
    make: str | None = "Maker"
    firmware: str | None = "Stock"
    raw_model: str | None = "M1"

    async def get_mac(self) -> str | None:
        return await self.mac()

    async def get_fw_ver(self) -> str | None:
        return "1.2\n"


async def mac_without_colons() -> str | None:
    return "02-00-00-00-00-0a"


async def odd_error() -> str | None:
    raise StopAsyncIteration("a transport's own kind of error")


async def deaf_to_cancellation() -> str | None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(HUNG_S)
    return None


async def test_firmware_that_only_pyasic_knows_is_named_with_its_mac() -> None:
    known = await told_by_pyasic(PyasicMiner(mac_without_colons))

    assert known == Facts(model="M1", firmware="Maker 1.2", mac="02:00:00:00:00:0A")


async def test_whatever_pyasic_raises_for_one_machine_ends_as_a_doubt_about_it() -> None:
    known = await told_by_pyasic(PyasicMiner(odd_error))

    assert (known.model, known.mac) == ("M1", None)
    assert "a transport's own kind of error" in str(known.doubts[0])


async def test_a_cancellation_that_pyasic_swallows_is_not_lost() -> None:
    asking = asyncio.create_task(told_by_pyasic(PyasicMiner(deaf_to_cancellation)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.socket
@remapped
async def test_whatsminer_firmware_of_the_newer_api_does_not_pass_for_the_older() -> None:
    def newer(command: str, _parameters: list[Any]) -> Json | None:
        return {"STATUS": "S", "Code": 131, "Msg": {"fw_ver": "20260301.11.REL", "mac": "x"}}

    async with RpcServer(newer).serving():
        with pytest.raises(DriverError, match="API v3"):
            await facts.whatsminer(HOST, {})


@pytest.mark.socket
@pytest.mark.parametrize(
    ("profiles", "rated_w"),
    [
        ([{"Profile Name": "a", "Step": "0", "Watts": 3100, "Hashrate": 104}], 3100),
        ([{"Profile Name": "a", "Step": "-1", "Watts": 3100, "Hashrate": 104}], None),
        ([{"Profile Name": name, "Step": "0", "Watts": 3100, "Hashrate": 104} for name in "ab"], None),
    ],
)
@remapped
async def test_the_rating_of_luxos_is_its_factory_profile_or_nothing(
    profiles: list[Json], rated_w: int | None
) -> None:
    def answer(command: str, _parameters: list[Any]) -> Json | None:
        match command:
            case "version":
                return ok(VERSION=[{"LUXminer": "2026.1", "Type": "Antminer S19"}])
            case "profiles":
                return ok(PROFILES=profiles)
            case "power":
                return ok(POWER=[{"Watts": 3050}])
            case _:
                return ok(CONFIG=[{"MACAddr": "00:00:00:00:00:00"}], STATS=[{}, {"chain_rate1": "1000"}])

    async with RpcServer(answer).serving():
        known = await facts.luxos(HOST, {})

    assert (known.rated_w, known.draw_w, known.rate_ths, known.doubts) == (rated_w, 3050, 1.0, ())
    assert known.mac is None


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Antminer S19\x1b[31m\n\ud800", "Antminer S19[31m"),
        (" 'x' ", "x"),
        ("x" * 500, "x" * 80),
        ("\n", None),
        (7, None),
    ],
)
def test_text_of_a_machine_is_one_line_that_can_be_printed_and_kept(sent: object, kept: str | None) -> None:
    assert facts.told(sent) == kept


# -- an end to everything -------------------------------------------------------------------------------


@pytest.mark.socket
@remapped
async def test_an_address_that_swallows_everything_is_told_apart_from_one_that_refuses() -> None:
    with ExitStack() as stack:
        for port in PORTS.values():
            stack.enter_context(black_hole(HOST, port))

        findings = await found([HOST, "127.45.0.2"])

    assert findings == (
        Absent(address=HOST, why="no answer"),
        Absent(address="127.45.0.2", why="connection refused"),
    )


@pytest.mark.socket
@remapped
async def test_an_address_that_cannot_be_reached_from_here_is_not_called_absent() -> None:
    finding = await only("255.255.255.255")

    assert isinstance(finding, Unknown)
    assert finding.why.startswith("could not be reached: ")


@contextmanager
def black_hole(host: str, port: int) -> Iterator[None]:
    """A listener whose queue is full: the kernel drops what knocks, as a firewall does."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        clients = [socket.socket() for _ in range(3)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex((host, port))
        try:
            yield
        finally:
            for client in clients:
                client.close()


@pytest.mark.socket
@remapped
async def test_no_more_machines_talk_at_once_than_allowed() -> None:
    hosts = [f"127.45.1.{number}" for number in range(1, 13)]
    talking: list[str] = []
    most = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        if await reader.read(65_536):
            talking.append(writer.get_extra_info("sockname")[0])
            most = max(most, len(set(talking)))
            await asyncio.sleep(0.02)
            writer.write(json.dumps(no(14, "Invalid command")).encode())
            talking.remove(writer.get_extra_info("sockname")[0])
        writer.close()

    async with await asyncio.start_server(serve, hosts, PORTS[4028]):
        findings = await found(hosts, at_once=3)

    assert [type(finding) for finding in findings] == [Unknown] * 12
    assert most == 3


@pytest.mark.socket
@remapped
async def test_a_cancelled_scan_leaves_nothing_behind() -> None:
    async with site(miners("luxos", count=5, faults=[{"index": 2, "fault": "hangs"}])) as served:
        addresses = [miner.address for miner in served.plant.miners.values()]
        await asyncio.sleep(0)
        tasks, descriptors = asyncio.all_tasks(), open_descriptors()
        working = asyncio.Event()
        scanning = asyncio.create_task(
            found(addresses, progress=lambda p: working.set() if p.stage is Stage.ASKING else None)
        )
        await working.wait()

        scanning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scanning
        await asyncio.sleep(0.05)

        assert asyncio.all_tasks() == tasks
        assert open_descriptors() <= descriptors


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# -- which addresses ------------------------------------------------------------------------------------


def test_a_network_is_all_its_hosts() -> None:
    addresses = addresses_of(["10.20.0.0/22"])

    assert (len(addresses), addresses[0], addresses[-1]) == (1022, "10.20.0.1", "10.20.3.254")


def test_ranges_and_addresses_that_overlap_count_once_and_ascend() -> None:
    assert addresses_of(["10.0.0.9-11", "10.0.0.10", "10.0.0.2", "10.0.0.8/30"]) == (
        "10.0.0.2",
        "10.0.0.9",
        "10.0.0.10",
        "10.0.0.11",
    )


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.0.0.0/33", "hall-1", "10.0.0.9-3", "fe80::/64"])
def test_what_is_no_range_of_a_sane_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=text.split("/", maxsplit=1)[0]):
        addresses_of([text])


def test_many_ranges_together_are_refused_beyond_the_limit() -> None:
    with pytest.raises(ValueError, match=str(MAX_ADDRESSES)):
        addresses_of(["10.0.0.0/16", "10.1.0.0/16"])
