"""A site with every family of machines there is, as processes on real sockets: observed, then commanded."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from simulators.broker import mosquitto_binary
from simulators.gridoperator import GridOperator
from simulators.nvml.layout import Word
from simulators.nvml.state import NvmlState
from tests.sim.test_end_to_end import ask, until

pytestmark = [
    pytest.mark.socket,
    pytest.mark.slow,
    pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed"),
]

FIRST_ADDRESS = "127.93.0.1"
START_S = 60.0
MODES = {
    "antminer": (("low", 2400, 86), ("normal", 3250, 110)),
    "avalon": (("low", 1950, 72), ("mid", 2600, 92), ("high", 3250, 110)),
}
FAMILIES = (
    *("luxos", "whatsminer", "whatsminer-v3", "antminer", "avalon"),
    *("braiins", "epic", "vnish", "auradine", "generic"),
)
CONTROLLABLE = frozenset(FAMILIES) - {"generic"}


def group(at: int, family: str) -> dict[str, Any]:
    points = [
        {"name": name, "power_w": power_w, "rate_ths": ths}
        for name, power_w, ths in (("sleep", 25, 0), *MODES.get(family, ()))
    ]
    table = {"id": family, "family": family, "hosts": [f"10.9.{at}.1"], "node": "row", "dwell_s": 5}
    rating = {"rated_w": 3250, "rated_ths": 110, "poll_s": 1, "settle_up_s": 60}
    return table | rating | ({"points": points} if family in MODES else {})


def site_file(directory: Path, api_port: int) -> Path:
    meter = {"kind": "power", "meter": "main", "address": 0, "type": "float32", "max_w": 200_000}
    site = {
        "name": "all-kinds",
        "nodes": [
            {"id": "site", "limit_kw": 60, "fixed_kw": 1, "meter": "main"},
            {"id": "row", "parent": "site"},
        ],
        "policy": {"event_lead_s": 2, "start_grace_s": 20},
        "api": {"port": api_port},
        "log": {"format": "json"},
        "grid": {"host": "10.9.0.1", "ven": "all", "client_id": "all-1"},
        "modbus": [{"id": "board", "host": "10.9.0.5", "points": [meter]}],
        "miners": [group(at, family) for at, family in enumerate(FAMILIES, start=1)],
        "pdus": [
            {
                "id": "pdu-1",
                "host": "10.9.40.1",
                "model": "apc-rpdu2",
                "version": "2c",
                "community": "private",
                "outlet_max_w": 4000,
            }
        ],
        "outlets": [{"device": "luxos-000", "pdu": "pdu-1", "outlet": 5}],
        "gpu_hosts": [
            {"id": "dgx", "node": "row", "uuids": ["GPU-9-0"], "min_w": 200, "default_w": 700, "max_w": 700}
        ],
        "queues": [{"id": "local", "directory": "/var/lib/wattshift/queue"}],
    }
    path = directory / "given.toml"
    path.write_text(tomli_w.dumps(site), encoding="utf-8")
    return path


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`wattshift` as a person runs it, ended when the block is."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ,
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.terminate()
        await asyncio.wait_for(program.wait(), 20)


@asynccontextmanager
async def simulated(site: Path, out: Path) -> AsyncIterator[dict[str, Any]]:
    """The machines of the site file; where they answer."""
    addresses = ("--first-address", FIRST_ADDRESS, "--control-port", "0")
    async with process("simulate", "--site", str(site), "--out", str(out), *addresses) as program:
        assert program.stdout is not None
        async with asyncio.timeout(START_S):
            yield json.loads(await program.stdout.readline())


async def wattshift(*arguments: str) -> str:
    """One command to its end."""
    async with process(*arguments) as program:
        output, _ = await asyncio.wait_for(program.communicate(), START_S)
    return output.decode()


def moved(status: Any) -> set[str]:
    """The families that would be told something else."""
    return {
        device["device"].removesuffix("-000")
        for device in status["devices"]
        if device["reason"] == "observed"
    }


async def test_every_kind_of_machine_is_read_and_none_is_told_anything_until_the_site_is_commanded(
    tmp_path: Path, free_port: int
) -> None:
    status = f"http://127.0.0.1:{free_port}/status"
    async with simulated(site_file(tmp_path, free_port), tmp_path / "sim") as told:
        truth, (host, port) = f"{told['control']}/truth", told["mqtt"].split(":")
        async with GridOperator(host, int(port), "all") as operator:
            async with process("run", "--config", told["site"], "--observe"):
                await until(status, lambda s: s.get("ready") and s["link"] == "up", START_S)
                await until(status, lambda s: {d["truth"] for d in s["devices"]} == {"confirmed"})
                await wattshift("job", "submit", "--config", told["site"], "--", "sleep", "60")
                event = await operator.limit(kw=5, start_in_s=0, duration_s=600)
                await operator.acked(event, "REJECTED", timeout_s=20)
                seen = await until(status, lambda s: s["cap"]["watts"] == 5_000 and s["jobs"])
                everyone = await until(status, lambda s: moved(s) >= CONTROLLABLE)
                await asyncio.sleep(3)
                observed = await ask(truth)
            stopped = await ask(truth)
            persistent = [gpu[Word.PERSISTENCE] for gpu in NvmlState.open(Path(told["nvml_state"])).gpus]

            async with process("run", "--config", told["site"]):
                await operator.acked(event, "RECEIVED", timeout_s=30)
                await until(truth, lambda t: t["orders"] >= len(CONTROLLABLE), START_S)
                commanded = await until(truth, lambda t: t["site_power_w"] < 10_000, START_S)

    assert seen["mode"] == "observe"
    assert everyone["commands"]["sent"] == 0
    assert (observed["orders"], stopped["orders"]) == (0, 0)
    assert persistent == [0]
    assert [job["state"] for job in seen["jobs"]] == ["queued"]
    assert observed["site_power_w"] > 25_000
    assert commanded["gpus"]["dgx-gpu0"]["limit_w"] <= 700
