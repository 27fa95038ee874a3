"""What one poll of a miner costs: the needed fields through our drivers, against the least it could cost.

    python -m tests.bench.polling [--machines 100] [--rounds 25]

The simulated machines are another process, whose time stands still; the CPU told is this process's alone
(`time.process_time`), drivers and floors by turns, and figures and ratios are medians over the rounds.

The floor, measured for each family on the reply that its poll parses: open a connection, send the request,
read to the end, `json.loads`, once; without a deadline or a check of any kind, on a non-blocking socket with
the loop's `add_reader`, which of all ways that asyncio itself offers is the cheapest. `streams` is the same
with `asyncio.open_connection`, as most clients do it. Some families need two replies for the fields, always
(antminer) or at every twelfth poll (both Whatsminers, in that share here); their floor is still one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from controller.domain.devices import Reading
from drivers.asic.build import build
from drivers.asic.config import MinerGroupConfig
from drivers.asic.digest import DigestClient, parse_challenge
from drivers.asic.driver import AsicDriver
from simulators.config import PlantConfig
from simulators.ports import remap
from tests.bench.discovery import free_ports, serving

AT_ONCE = 20
BLOCK = 65_536
PHASES = 12
PORTS = (80, 443, 4028, 4433, 8080)

Loads = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """`request` is that of the reply which is most of what a poll parses; `most` the ratio wanted."""

    name: str
    model: str
    first: str
    port: int
    request: bytes
    most: float | None
    framed: bool = False
    page: str = ""


V3_SUMMARY = b'{"cmd":"get.miner.status","param":"summary"}'
FAMILIES = (
    Family(
        name="luxos",
        model="Antminer S19k Pro",
        first="127.92.0.1",
        port=4028,
        request=b'{"command": "config+power+stats"}',
        most=2.0,
    ),
    Family(
        name="whatsminer",
        model="M50SVH35",
        first="127.92.1.1",
        port=4028,
        request=b'{"command": "summary"}',
        most=2.0,
    ),
    Family(
        name="whatsminer-v3",
        model="M60S_VK40",
        first="127.92.2.1",
        port=4433,
        request=len(V3_SUMMARY).to_bytes(4, "little") + V3_SUMMARY,
        most=2.0,
        framed=True,
    ),
    Family(
        name="antminer",
        model="Antminer S19 Pro",
        first="127.92.3.1",
        port=80,
        request=b"",
        most=4.0,
        page="/cgi-bin/stats.cgi",
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.polling", description=__doc__)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=25)
    asked = parser.parse_args()
    print(f"{asked.machines} machines of each family, {AT_ONCE} at once, medians of {asked.rounds} rounds")
    print(f"{'':14}  poll us  floor us  streams us   to floor  wanted  to streams")
    config = plant_config(asked.machines)
    reached = True
    with serving(config), asyncio.Runner(loop_factory=remap(config.ports)) as runner:
        for family in FAMILIES:
            rounds = runner.run(measure(family, asked.machines, asked.rounds, config.ports))
            poll, floor, streams = (statistics.median(costs) for costs in zip(*rounds, strict=True))
            ratio = statistics.median(of_poll / of_floor for of_poll, of_floor, _ in rounds)
            to_streams = statistics.median(of_poll / of_streams for of_poll, _, of_streams in rounds)
            reached = reached and (family.most is None or ratio <= family.most)
            print(
                f"{family.name:14}  {poll * 1e6:7.0f}  {floor * 1e6:8.0f}  {streams * 1e6:10.0f}  "
                f"{ratio:9.2f}  {'' if family.most is None else f'{family.most:6.1f}'}  {to_streams:10.2f}"
            )
    return 0 if reached else 1


def plant_config(machines: int) -> PlantConfig:
    groups = [
        {
            "name": family.name,
            "family": family.name,
            "model": family.model,
            "count": machines,
            "first_address": family.first,
            "node": "site",
            "rated_w": 3400,
            "rated_ths": 120,
        }
        for family in FAMILIES
    ]
    site = {"nodes": [{"id": "site"}], "modbus_port": 0, "ports": free_ports(PORTS), "miners": groups}
    return PlantConfig.model_validate(site)


def drivers_of(family: Family, machines: int) -> tuple[AsicDriver, ...]:
    first, _, last = family.first.rpartition(".")
    table: dict[str, Any] = {
        "id": family.name,
        "family": family.name,
        "hosts": (f"{first}.{last}-{int(last) + machines - 1}",),
        "node": "site",
        "rated_w": 3400,
        "rated_ths": 120,
    }
    return build(MinerGroupConfig.model_validate(table))


async def measure(
    family: Family, machines: int, rounds: int, ports: Mapping[int, int]
) -> list[tuple[float, float, float]]:
    """CPU seconds of one poll, of the floor, and of the floor on streams, round by round."""
    drivers = drivers_of(family, machines)
    await each(drivers, AsicDriver.read)
    for turn in range(PHASES):  # so that what is asked now and then is in every round, in its share
        await each(drivers[turn::PHASES] * turn, AsicDriver.read)
    requests = [await request_to(family, driver.host) for driver in drivers]
    loads = loads_of(family)
    port = ports.get(family.port, family.port)
    pairs = [(driver.host, request) for driver, request in zip(drivers, requests, strict=True)]

    async def bare_once(pair: tuple[str, bytes]) -> None:
        loads(await bare(pair[0], port, pair[1]))

    async def streams_once(pair: tuple[str, bytes]) -> None:
        loads(await over_streams(pair[0], port, pair[1]))

    return [
        (await timed(drivers, read), await timed(pairs, bare_once), await timed(pairs, streams_once))
        for _ in range(rounds)
    ]


async def read(driver: AsicDriver) -> None:
    reading: Reading = await driver.read()
    assert reading.draw.watts > 1000
    assert reading.rate > 0


async def timed(items: Iterable[Any], work: Callable[[Any], Awaitable[object]]) -> float:
    wanted = list(items)
    gc.collect()
    before_s = time.process_time()
    await each(wanted, work)
    return (time.process_time() - before_s) / len(wanted)


async def each(items: Iterable[Any], work: Callable[[Any], Awaitable[object]]) -> None:
    waiting = iter(items)

    async def take_turns() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(take_turns())


# -- the floors -----------------------------------------------------------------------------------------


async def request_to(family: Family, host: str) -> bytes:
    """Ready to be sent. A page behind a password is asked for with a proof made once, before it counts."""
    if not family.page:
        return family.request
    bare_request = f"GET {family.page} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    refused = await over_streams(host, family.port, f"{bare_request}\r\n".encode())
    challenge = next(
        line for line in refused.decode().split("\r\n") if line.lower().startswith("www-authenticate:")
    )
    client = DigestClient(host, family.port, "root", "root")
    client._take(parse_challenge(challenge.partition(": ")[2]))
    return f"{bare_request}Authorization: {client._authorization('GET', family.page)}\r\n\r\n".encode()


def loads_of(family: Family) -> Loads:
    if family.framed:
        return lambda reply: json.loads(reply[4:])
    if family.page:
        return lambda reply: json.loads(reply[reply.index(b"\r\n\r\n") + 4 :])
    return lambda reply: json.loads(reply.rstrip(b"\0"))


async def bare(host: str, port: int, request: bytes) -> bytes:
    """To the end of the connection, or of the frame where the machine keeps it open."""
    loop = asyncio.get_running_loop()
    connected = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.SelectorEventLoop.sock_connect(loop, connected, (host, port))  # type: ignore[arg-type]
        connected.send(request)
        done, number = loop.create_future(), connected.fileno()
        reply = bytearray()
        is_framed = request[2:4] == b"\0\0"

        def readable() -> None:
            chunk = connected.recv(BLOCK)
            reply.extend(chunk)
            if not chunk or (is_framed and len(reply) >= 4 + int.from_bytes(reply[:4], "little")):
                loop.remove_reader(number)
                done.set_result(None)

        loop.add_reader(number, readable)
        await done
        return bytes(reply)
    finally:
        connected.close()


async def over_streams(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        if request[2:4] == b"\0\0":
            header = await reader.readexactly(4)
            return header + await reader.readexactly(int.from_bytes(header, "little"))
        return await reader.read()
    finally:
        writer.close()


if __name__ == "__main__":
    sys.exit(main())
