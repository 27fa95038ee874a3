"""How well and at what cost a scan finds a fleet: simulated miners of three families on loopback.

    python -m tests.bench.discovery [--machines 2000]

The simulated site is another process; the CPU told is the scan's alone. The floor is one exchange of JSON
with each machine, as many at once: the least that asking all of them could cost.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from drivers.asic.discovery import PORTS, Finding, scan
from drivers.asic.recognise import Machine
from drivers.asic.wire import exchange
from simulators.config import PlantConfig
from simulators.faces.cgminer import mac_of
from simulators.physics.miner import Miner
from simulators.plant import Plant
from simulators.ports import remap

Result = TypeVar("Result")

AT_ONCE = 50
TIMEOUT_S = 8.0
START_S = 60.0
DEAD_SHARE, SILENT_SHARE = 0.05, 0.02
SHARES = {"luxos": 0.4, "whatsminer": 0.3, "antminer": 0.3}
MODELS = {"luxos": "Antminer S19k Pro", "whatsminer": "M50SVH35", "antminer": "Antminer S19 Pro"}
FIRST = {"luxos": "127.91.0.1", "whatsminer": "127.94.0.1", "antminer": "127.97.0.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`wrong` machines were taken for what they are not, `missed` ones not found although they answer."""

    alive: int
    found: int
    wrong: int
    missed: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.discovery", description=__doc__)
    parser.add_argument("--machines", type=int, default=2000)
    machines = parser.parse_args().machines
    print(f"{machines} machines, {AT_ONCE} in conversation at once, {TIMEOUT_S:g} s for each")
    print(f"{'':24}  alive  found  wrong  missed  wall s  to floor  to healthy  CPU ms a machine")
    perfect = True
    healthy_s = 0.0
    for title, dead, silent in (
        ("all healthy", 0.0, 0.0),
        (f"{DEAD_SHARE:.0%} dead, {SILENT_SHARE:.0%} silent", DEAD_SHARE, SILENT_SHARE),
    ):
        score, cost, floor = measure(plant_config(machines, dead, silent))
        healthy_s = healthy_s or cost.wall_s
        perfect = perfect and score.wrong == score.missed == 0
        print(
            f"{title:24}  {score.alive:5}  {score.found:5}  {score.wrong:5}  {score.missed:6}  "
            f"{cost.wall_s:6.1f}  {cost.wall_s / floor.wall_s:8.1f}  {cost.wall_s / healthy_s:10.1f}  "
            f"{1000 * cost.cpu_s / machines:.2f}"
            f" (floor {1000 * floor.cpu_s / machines:.2f})"
        )
    return 0 if perfect else 1


def plant_config(machines: int, dead: float, silent: float) -> PlantConfig:
    """The faulty ones are spread evenly over each family."""
    ports = free_ports(PORTS)
    groups = []
    for family, share in SHARES.items():
        count = round(machines * share)
        faults = [
            {"index": index, "fault": "dead" if turn < dead else "hangs"}
            for index in range(count)
            if (turn := (index * 0.6180339887) % 1) < dead + silent
        ]
        groups.append(
            {
                "name": family,
                "family": family,
                "model": MODELS[family],
                "count": count,
                "first_address": FIRST[family],
                "node": "site",
                "rated_w": 3400,
                "rated_ths": 120,
                "faults": faults,
            }
        )
    site: dict[str, Any] = {"nodes": [{"id": "site"}], "modbus_port": 0, "ports": ports, "miners": groups}
    return PlantConfig.model_validate(site)


def free_ports(ports: Sequence[int]) -> dict[int, int]:
    with contextlib.ExitStack() as stack:
        probes = {port: stack.enter_context(socket.socket()) for port in ports}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {port: int(probe.getsockname()[1]) for port, probe in probes.items()}


def measure(config: PlantConfig) -> tuple[Score, Cost, Cost]:
    truth = {miner.address: miner for miner in Plant(config).miners.values()}
    with serving(config):
        _, floor = timed(lambda: ask_each(truth), config.ports)
        findings, cost = timed(lambda: scan(tuple(truth), at_once=AT_ONCE, timeout_s=TIMEOUT_S), config.ports)
    return judged(findings, truth), cost, floor


def judged(findings: Sequence[Finding], truth: Mapping[str, Miner]) -> Score:
    machines = {finding.address: finding for finding in findings if isinstance(finding, Machine)}
    alive = {address for address, miner in truth.items() if not (miner.faults.dead or miner.faults.hangs)}
    right = {address for address, machine in machines.items() if is_right(machine, truth[address])}
    return Score(
        alive=len(alive), found=len(right), wrong=len(machines) - len(right), missed=len(alive - right)
    )


def is_right(machine: Machine, miner: Miner) -> bool:
    told = machine.family, machine.facts.model, machine.facts.mac
    return told == (miner.group.family.value, miner.group.model, mac_of(miner.serial))


async def ask_each(addresses: Mapping[str, Miner]) -> None:
    waiting = iter(addresses)

    async def take_turns() -> None:
        for address in waiting:
            with contextlib.suppress(OSError):
                await exchange(address, 4028, b'{"command":"version"}', deadline_s=TIMEOUT_S)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(take_turns())


def timed(work: Callable[[], Coroutine[Any, Any, Result]], ports: Mapping[int, int]) -> tuple[Result, Cost]:
    before, began_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with asyncio.Runner(loop_factory=remap(ports)) as runner:
        result = runner.run(work())
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return result, Cost(wall_s=time.perf_counter() - began_s, cpu_s=cpu_s)


@contextlib.contextmanager
def serving(config: PlantConfig) -> Iterator[None]:
    """The site in a process of its own. Its time stands still, so that it costs only its answers."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "plant.toml"
        file.write_text(toml(config), encoding="utf-8")
        command = [sys.executable, "-m", "simulators.serve", str(file), "--speed", "0"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None
            signal.alarm(round(START_S))
            if not child.stdout.readline():
                raise RuntimeError("the simulated site did not start")
            signal.alarm(0)
            yield
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(START_S)


def toml(config: PlantConfig) -> str:
    lines = [f"modbus_port = {config.modbus_port}", f"seed = {config.seed}", "[ports]"]
    lines += [f"{port} = {stand_in}" for port, stand_in in config.ports.items()]
    lines += ["[[nodes]]", 'id = "site"']
    for group in config.miners:
        fields = group.model_dump(mode="json", exclude_defaults=True)
        faults = fields.pop("faults", [])
        lines += ["[[miners]]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items())]
        for fault in faults:
            lines += ["[[miners.faults]]", f"index = {fault['index']}", f'fault = "{fault["fault"]}"']
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
