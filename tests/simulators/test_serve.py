"""The served site: time, control, and the program that the demo starts."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import HOME, RATED_W, config, gpus, miners

pytestmark = pytest.mark.socket

DEADLINE_S = 20.0
PORTS = {4028: 14_328}


@asynccontextmanager
async def served(**keys: Any) -> AsyncIterator[tuple[SimulatedSite, aiohttp.ClientSession]]:
    site = SimulatedSite(Plant(config(ports=PORTS, miners=[miners(count=2)], **keys)))
    async with asyncio.timeout(DEADLINE_S), site.serving(), aiohttp.ClientSession(site.control_url) as client:
        yield site, client


async def test_the_truth_is_told_over_http() -> None:
    async with served(gpus=[gpus()]) as (site, client):
        await site.advance(10.0)
        async with client.get("/truth") as answer:
            truth = await answer.json()

    assert truth["now_s"] == pytest.approx(10.0)
    assert truth["site_power_w"] == 2 * RATED_W + 70
    assert truth["miners"]["luxos-001"]["state"] == "hashing"
    assert truth["terahashes"] == pytest.approx(2 * 120 * 10)


async def test_history_holds_the_sites_power_sample_by_sample() -> None:
    async with served() as (site, client):
        await site.advance(10.0)
        site.plant.miners["luxos-000"].sleep()
        await site.advance(10.0)
        async with client.get("/history", params={"since": "9.95"}) as answer:
            samples = (await answer.json())["samples"]

    times = [at_s for at_s, _ in samples]
    assert times[0] > 9.95
    assert times[-1] == pytest.approx(20.0, abs=0.2)
    assert max(later - sooner for sooner, later in pairwise(times)) <= 0.25
    assert samples[0][1] == 2 * RATED_W
    assert samples[-1][1] < 1.1 * RATED_W


async def test_a_fault_posted_takes_effect_before_the_answer() -> None:
    async with served() as (site, client):
        order = {"device": "luxos-000", "fault": "dead"}
        async with client.post("/faults", json=order) as answer:
            told = await answer.json()

        assert told == {**order, "value": True}
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(site.plant.miners["luxos-000"].address, PORTS[4028])


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"device": "luxos-000", "fault": "sulks"}, "fault 'sulks' is unknown"),
        ({"device": "nobody", "fault": "dead"}, "device 'nobody' does not exist"),
        ({"device": "luxos-000", "fault": "slow_s", "value": "long"}, "takes a number, got 'long'"),
        ({"fault": "dead"}, "'device'"),
        (["dead"], "want"),
        ({"device": ["luxos-000"], "fault": "dead"}, "unhashable"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(order: object, why: str) -> None:
    async with served() as (_, client), client.post("/faults", json=order) as answer:
        assert answer.status == 400
        assert why in (await answer.json())["error"]


async def test_plant_time_follows_real_time_at_the_speed_asked_for() -> None:
    site = SimulatedSite(Plant(config()), speed=50.0)
    told = asyncio.Event()
    began_s = asyncio.get_running_loop().time()
    asyncio.get_running_loop().call_later(0.3, told.set)

    async with asyncio.timeout(DEADLINE_S):
        await site.run(told)

    passed_s = asyncio.get_running_loop().time() - began_s
    assert 10.0 <= site.plant.now_s <= 50.0 * passed_s + 0.001


class Counter:
    """A face that counts what it is shown."""

    def __init__(self) -> None:
        self.shown: list[float] = []

    def exchange(self, plant: Plant) -> None:
        self.shown.append(plant.now_s)


async def test_an_extra_face_is_shown_the_plant_after_every_step() -> None:
    face = Counter()
    site = SimulatedSite(Plant(config(ports=PORTS)), extra=[face])
    async with asyncio.timeout(DEADLINE_S), site.serving():
        await site.advance(0.05)
        await site.advance(0.05)

    assert face.shown == [0.0, 0.05, 0.1]


PLANT_FILE = f"""
modbus_port = 0
ports = {{ 4028 = {PORTS[4028]} }}
[[nodes]]
id = "site"
[[miners]]
name = "lux"
family = "luxos"
model = "Antminer S19k Pro"
count = 2
first_address = "{HOME}.50"
node = "site"
rated_w = 2760
rated_ths = 120
[[gpus]]
name = "gpu"
model = "NVIDIA H100 80GB HBM3"
uuids = ["GPU-0"]
node = "site"
min_w = 200
max_w = 700
idle_w = 70
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_the_program_says_one_ready_line_serves_and_ends_cleanly(
    tmp_path: Path, how: signal.Signals
) -> None:
    plant_file = tmp_path / "plant.toml"
    plant_file.write_text(PLANT_FILE)
    options = ("--nvml-state", str(tmp_path / "nvml"), "--speed", "10")

    async with asyncio.timeout(DEADLINE_S):
        program = await _program(str(plant_file), *options)
        assert program.stdout is not None
        ready = json.loads(await program.stdout.readline())
        async with aiohttp.ClientSession(ready["control"]) as client, client.get("/truth") as answer:
            truth = await answer.json()
        program.send_signal(how)
        rest, complaints = await program.communicate()

    assert (ready["miners"], ready["gpus"], ready["modbus"].partition(":")[0]) == (2, 1, "127.0.0.1")
    assert set(truth["miners"]) == {"lux-000", "lux-001"}
    assert (tmp_path / "nvml").exists()
    assert (program.returncode, rest, complaints) == (0, b"", b"")


async def test_the_program_names_what_is_wrong_in_its_file_and_fails(tmp_path: Path) -> None:
    plant_file = tmp_path / "plant.toml"
    plant_file.write_text(PLANT_FILE.replace("rated_w = 2760", "rated_kw = 2.76"))

    async with asyncio.timeout(DEADLINE_S):
        program = await _program(str(plant_file))
        told, complaints = await program.communicate()

    assert (program.returncode, told) == (1, b"")
    assert b"miners.0.rated_kw = 2.76" in complaints


async def _program(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators.serve", *arguments, stdout=pipe, stderr=pipe
    )
