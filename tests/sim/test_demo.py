"""The demo as a user runs it, watched by a real Prometheus: it keeps the cap, the dashboard has data."""

from __future__ import annotations

import asyncio
import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.demo.main import main
from simulators.demo.stage import Stage, StageError
from tests.deploy.test_grafana import ask, prometheus, queries

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "wattshift.json"
LONGEST_S = 300.0
LOOK_EVERY_S = 3.0


@pytest.mark.socket
@pytest.mark.slow
async def test_the_demo_keeps_the_cap_and_every_query_of_the_dashboard_has_data_in_it(
    tmp_path: Path, require_tool: Callable[[str], str], free_port: int
) -> None:
    command = [sys.executable, "-m", "controller", "demo", "--directory", str(tmp_path / "demo")]
    demo = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output = asyncio.ensure_future(demo.communicate())
    try:
        target = await _target(tmp_path / "demo" / "site.toml")
        dashboard = json.loads(DASHBOARD.read_text().replace("$root", "site"))
        unanswered = queries(dashboard, instance=target)
        with prometheus(require_tool("prometheus"), target, tmp_path, free_port) as url:
            for _ in range(round(LONGEST_S / LOOK_EVERY_S)):
                unanswered = {n: q for n, q in unanswered.items() if not await asyncio.to_thread(ask, url, q)}
                if output.done():
                    break
                await asyncio.sleep(LOOK_EVERY_S)
        table = (await asyncio.wait_for(output, 10))[0].decode()
    finally:
        if demo.returncode is None:
            demo.terminate()
            await demo.wait()

    assert demo.returncode == 0, table
    assert unanswered == {}
    await _check_evidence(tmp_path / "demo" / "site.toml")


@pytest.mark.socket
def test_what_this_machine_lacks_for_the_demo_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "/no/compiler")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    ended = main(["--directory", str(tmp_path / "demo")])

    told = " ".join(capsys.readouterr().out.split())
    assert ended == 1
    assert told.startswith("the C compiler /no/compiler did not run: ")


def stage(directory: Path, ready_s: float) -> Stage:
    return Stage(
        directory=directory,
        site_file=directory / "site.toml",
        control_url="",
        api_url="",
        mqtt_host="",
        mqtt_port=0,
        broker="",
        environment={},
        ready_s=ready_s,
    )


async def process(code: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code)


async def test_a_controller_that_ends_before_it_is_ready_is_told_at_once_and_not_after_its_time(
    tmp_path: Path,
) -> None:
    controller = await process("raise SystemExit(3)")

    with pytest.raises(StageError, match=rf"ended with 3: see {tmp_path}/controller\.log"):
        await stage(tmp_path, ready_s=LONGEST_S).until_ready(controller, lambda: False)


async def test_a_controller_that_is_not_ready_in_its_time_is_told(tmp_path: Path) -> None:
    controller = await process("import time; time.sleep(60)")
    try:
        with pytest.raises(StageError, match="not ready within"):
            await stage(tmp_path, ready_s=0.1).until_ready(controller, lambda: False)
    finally:
        controller.kill()
        await controller.wait()


async def test_a_command_that_takes_too_long_is_told_and_ended(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="wattshift check: not done within"):
        await stage(tmp_path, ready_s=0.01).wattshift("check")


async def _check_evidence(site_file: Path) -> None:
    """The controller's own journal says of the event what the plant said."""
    command = [sys.executable, "-m", "controller", "report", "demo-event", str(site_file)]
    report = await asyncio.create_subprocess_exec(
        *command, "--format", "json", "--verify", stdout=asyncio.subprocess.PIPE
    )
    told = json.loads((await report.communicate())[0])

    assert told["audit"]["verdict"] == "verified"
    assert told["baseline"]["missing"] is None
    assert told["summary"]["compliant_percent"] == 100.0
    assert told["summary"]["over_limit_s"] == 0.0
    assert told["summary"]["reduced_kwh"] > 1.0


async def _target(site_file: Path) -> str:
    for _ in range(100):
        if site_file.exists() and "[api]" in (text := site_file.read_text()):
            return f"127.0.0.1:{tomllib.loads(text)['api']['port']}"
        await asyncio.sleep(0.2)
    raise AssertionError("the demo wrote no site file")
