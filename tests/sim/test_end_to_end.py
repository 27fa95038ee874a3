"""The daemon as a person would run it: real broker, real sockets, real processes, and `kill -9`."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controller.domain.grid import LimitSignal
from controller.domain.power import Power
from controller.run.journal.history import opened
from simulators.broker import mosquitto_binary
from simulators.demo.stage import Stage, staged
from simulators.gridoperator import GridOperator

pytestmark = [
    pytest.mark.socket,
    pytest.mark.slow,
    pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed"),
    pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto_pub is not installed"),
]

CAP_W = 20_000
SITE = Path(__file__).with_name("small_site")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, SITE) as running:
        yield running


async def ask(url: str) -> Any:
    timeout = aiohttp.ClientTimeout(total=3)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
        text = await answer.text()
        return json.loads(text) if answer.content_type == "application/json" else text


async def until(url: str, holds: Callable[[Any], bool], within_s: float = 60.0) -> Any:
    """The first answer of `url` for which `holds`; fails with the last one after `within_s`."""
    last: Any = None
    for _ in range(round(within_s / 0.25)):
        try:
            last = await ask(url)
            if holds(last):
                return last
        except (aiohttp.ClientError, TimeoutError):
            pass
        await asyncio.sleep(0.25)
    pytest.fail(f"{url} never came to what was expected; last: {str(last)[:2000]}")


def limit_event(utc_s: float, seconds: int, kw: float) -> dict[str, Any]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(utc_s))
    return {
        "objectType": "EVENT",
        "operation": "CREATE",
        "object": {
            "objectType": "EVENT",
            "id": "by-hand",
            "programID": "test",
            "createdDateTime": stamp,
            "modificationDateTime": stamp,
            "payloadDescriptors": [
                {
                    "objectType": "EVENT_PAYLOAD_DESCRIPTOR",
                    "payloadType": "IMPORT_CAPACITY_LIMIT",
                    "units": "KW",
                }
            ],
            "intervalPeriod": {"start": stamp, "duration": f"PT{seconds}S"},
            "intervals": [{"id": 0, "payloads": [{"type": "IMPORT_CAPACITY_LIMIT", "values": [kw]}]}],
        },
    }


async def publish_by_hand(stage: Stage, payload: str) -> None:
    program = await asyncio.create_subprocess_exec(
        "mosquitto_pub",
        *("-h", stage.mqtt_host, "-p", str(stage.mqtt_port), "-q", "1"),
        *("-t", "events/vens/small/create", "-m", payload),
    )
    assert await asyncio.wait_for(program.wait(), 10) == 0


def commands_since(stage: Stage, utc_s: float) -> list[tuple[Any, ...]]:
    with sqlite3.connect(stage.directory / "journal.db") as db:
        query = "SELECT device, point, kind, detail FROM commands WHERE utc_us >= ?"
        return db.execute(query, (utc_s * 1e6,)).fetchall()


async def test_an_event_published_by_hand_is_obeyed_acknowledged_and_survives_kill_9(stage: Stage) -> None:
    truth, status = f"{stage.control_url}/truth", f"{stage.api_url}/status"
    async with GridOperator(stage.mqtt_host, stage.mqtt_port, "small") as operator:
        async with stage.controller() as process:
            await until(status, lambda s: s.get("ready") and s["link"] == "up")

            # Longer than what is shed has to pay for itself: else who gives changes as its end comes nearer.
            message = limit_event(time.time(), 7_200, CAP_W / 1000)
            operator.events["by-hand"] = message["object"]  # or its next snapshot would cancel the event
            await publish_by_hand(stage, json.dumps(message))
            await until(truth, lambda t: t["site_power_w"] <= CAP_W)
            ack = await operator.acked("by-hand", "COMPLIANT", timeout_s=20)
            assert ack.event == "by-hand"
            metrics = await ask(f"{stage.api_url}/metrics")
            assert f'wattshift_site_cap_watts{{reason="event"}} {float(CAP_W)}' in metrics

            await until(status, lambda s: all(d["truth"] == "confirmed" for d in s["devices"]))
            process.kill()
            await process.wait()

        restarted_utc_s = time.time()
        async with stage.controller():
            after = await until(status, lambda s: s.get("ready") and s["cap"]["event"] == "by-hand")
            assert after["cap"]["watts"] == CAP_W
            for _ in range(40):
                assert (await ask(truth))["site_power_w"] <= CAP_W
                await asyncio.sleep(0.25)

    received = [ack for ack in operator.acks if (ack.event, ack.status) == ("by-hand", "RECEIVED")]
    assert len({ack.id for ack in received}) == 1
    miners = [row for row in commands_since(stage, restarted_utc_s) if not row[0].startswith("h100")]
    assert miners == []
    replayed = await stage.wattshift("replay", str(stage.directory / "journal.db"))
    assert " 0 differ; 0 commands differ (2 starts, 0 gaps" in replayed
    audited = await stage.wattshift("audit", "--journal", str(stage.directory / "journal.db"))
    assert "VERIFIED" in audited
    assert "starts    1 after a controller that did not close its journal" in audited
    with opened(stage.directory / "journal.db") as history:
        told = history.event("by-hand")
    assert told[0].version is not None
    assert told[0].version.intervals[0].signals == (LimitSignal(Power(CAP_W)),)
    assert [row.status for row in told].count("RECEIVED") == 1
    assert "COMPLIANT" in {row.status for row in told}


async def test_a_gpu_job_gets_its_watts_from_hashing_and_gives_them_back(stage: Stage) -> None:
    truth, status = f"{stage.control_url}/truth", f"{stage.api_url}/status"
    work = [sys.executable, "-m", "simulators.gpujob", "--seconds-of-work=8", "--demand-w=650"]
    environment = f"--env=WATTSHIFT_NVML_STATE={stage.environment['WATTSHIFT_NVML_STATE']}"
    async with GridOperator(stage.mqtt_host, stage.mqtt_port, "small") as operator, stage.controller():
        # A limit that leaves no room for two working GPUs beside what is hashing now.
        await until(status, lambda s: s.get("ready") and s["link"] == "up")
        await operator.limit(kw=30, start_in_s=0, duration_s=600, id="tight")
        await until(truth, lambda t: t["site_power_w"] <= 30_000)
        before = await ask(truth)

        submit = ("--gpus=2", "--value=5", "--flex=0", environment, "--", *work)
        await stage.wattshift("job", "submit", f"--config={stage.site_file}", *submit)
        working = await until(truth, lambda t: t["gpu_power_w"] > 1_200)
        assert working["miner_power_w"] < before["miner_power_w"] - 500
        assert working["site_power_w"] <= 30_000

        await until(status, lambda s: s["jobs"] == [], within_s=60)
        await until(truth, lambda t: t["miner_power_w"] > working["miner_power_w"] + 300, within_s=60)
        listed = await stage.wattshift("job", "list", f"--config={stage.site_file}")
        assert "done" in listed
