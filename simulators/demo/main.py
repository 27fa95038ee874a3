"""The demo: a whole simulated site on real sockets, through job arrivals and a demand-response event.

It ends with a verdict on the plant's physical truth, and with exit status 0 only if that kept the cap.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.live import Live

from simulators.broker import BrokerError
from simulators.demo.judge import Row, Window, as_table, compliant_after_s, energy_kwh, excess, mean_w
from simulators.demo.stage import Stage, StageError, staged
from simulators.demo.view import line, view
from simulators.demo.watch import Sight, Watch
from simulators.gridoperator import GridOperator
from simulators.nvml.build import BuildError

EVENT_ID = "demo-event"
EVENT_KW = 123.0
NOTICE_S = 30.0
EVENT_S = 35.0
STEP_KW = 190.0
STEP_S = 12.0
"""On the way back the operator first asks for this much, for so long."""
PRICE_USD_PER_KWH = 0.045
LINE_EVERY_S = 5.0
JOBS = (
    # GPUs, USD per GPU-hour, flex tier, on shortage, seconds of work at full speed
    (4, 2.60, 0, "protect", 60),
    (2, 1.90, 2, "suspend", 45),
    (2, 1.40, 3, "requeue", 45),
    (4, 1.10, 3, "requeue", 20),
)
HANGING = ("whatsminer-003", "whatsminer-011")
"""Miners that stop answering just before the event, and come back after it."""


@dataclass(slots=True)
class Story:
    """How far the demo has come. Plant seconds."""

    chapter: str = "starting"
    steady: tuple[float, float] = (0.0, 0.0)
    with_jobs: tuple[float, float] = (0.0, 0.0)
    window: Window | None = None


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    out = Console()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="wattshift-demo-"))
    try:
        return asyncio.run(play(directory, out))
    except* (StageError, BuildError, BrokerError) as errors:
        for error in errors.exceptions:
            out.print(str(error), style="red", markup=False)
    return 1


async def play(directory: Path, out: Console) -> int:
    """Stage the site, tell the story, judge; 0 if the truth kept the cap."""
    async with staged(directory) as stage, stage.controller() as controller:
        out.print(f"everything runs on loopback, over {stage.broker}; logs and journal are in {directory}")
        site = tomllib.loads(stage.site_file.read_text(encoding="utf-8"))
        sight, story = Sight(), Story()
        watch = Watch(stage.control_url, stage.api_url, sight)
        async with (
            GridOperator(stage.mqtt_host, stage.mqtt_port, "demo") as operator,
            asyncio.TaskGroup() as group,
        ):
            watching = group.create_task(watch.run())
            showing = group.create_task(_show(sight, story, out, site["nodes"][0]["limit_kw"] * 1000))
            try:
                await stage.until_ready(controller, lambda: sight.status.get("ready"))
                await _tell(stage, sight, story, operator)
            finally:
                watching.cancel()
                showing.cancel()
        rows = verdict(site, sight, story, operator)
    out.print(as_table("judged from the plant's physical truth", rows))
    out.print("what the controller's own journal says of the event, for the grid operator:")
    typed = sys.argv[0] if Path(sys.argv[0]).name == "wattshift" else "wattshift"  # maybe not on the PATH
    out.print(f"  {typed} report {EVENT_ID} {stage.site_file}", soft_wrap=True, markup=False, highlight=False)
    return 0 if all(row.passed is not False for row in rows) else 1


async def _tell(stage: Stage, sight: Sight, story: Story, operator: GridOperator) -> None:
    story.chapter = "steady state"
    await operator.price([PRICE_USD_PER_KWH], step_s=3600)
    began_s = sight.now_s
    await asyncio.sleep(14)
    story.steady = (sight.now_s - 6, sight.now_s)
    story.chapter = "GPU jobs arrive, hashing gives way"
    sight.tell(f"{len(JOBS)} GPU jobs submitted; steady for {sight.now_s - began_s:.0f} s before")
    await _submit(stage)
    await asyncio.sleep(18)
    story.with_jobs = (sight.now_s - 6, sight.now_s)
    start_utc_s = time.time() + NOTICE_S
    await _hang(stage, sight, hangs=True)
    await operator.limit(kw=EVENT_KW, start_in_s=NOTICE_S, duration_s=EVENT_S, id=EVENT_ID)
    await operator.target(kw=STEP_KW, start_in_s=NOTICE_S + EVENT_S, duration_s=STEP_S, id="demo-step")
    sight.tell(f"grid operator: {EVENT_KW:.0f} kW in {NOTICE_S:.0f} s for {EVENT_S:.0f} s")
    start_s = start_utc_s - sight.plant_utc_s
    story.window = Window(limit_w=EVENT_KW * 1000, start_s=start_s, end_s=start_s + EVENT_S)
    story.chapter = "event announced"
    await asyncio.sleep(NOTICE_S)
    story.chapter = "event"
    await asyncio.sleep(EVENT_S)
    story.chapter = "restoring, staggered"
    await _hang(stage, sight, hangs=False)
    await asyncio.sleep(38)
    for job, state in sight.jobs.items():
        sight.tell(f"job {job}: still {state}, cancelled")
        await stage.wattshift("job", "cancel", f"--config={stage.site_file}", job.partition("/")[2])


async def _hang(stage: Stage, sight: Sight, *, hangs: bool) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for miner in HANGING:
            fault = {"device": miner, "fault": "hangs", "value": hangs}
            async with session.post(f"{stage.control_url}/faults", json=fault) as answer:
                if answer.status != 200:
                    raise StageError(f"fault {fault}: {await answer.text()}")
    sight.tell(f"{', '.join(HANGING)} {'hang' if hangs else 'answer again'}")


async def _submit(stage: Stage) -> None:
    for gpus, value, flex, on_shortage, work_s in JOBS:
        options = [f"--gpus={gpus}", f"--value={value}", f"--flex={flex}", f"--on-shortage={on_shortage}"]
        options.append(f"--env=WATTSHIFT_NVML_STATE={stage.environment['WATTSHIFT_NVML_STATE']}")
        work = [sys.executable, "-m", "simulators.gpujob", f"--seconds-of-work={work_s}", "--demand-w=650"]
        await stage.wattshift("job", "submit", f"--config={stage.site_file}", *options, "--", *work)


async def _show(sight: Sight, story: Story, out: Console, full_w: float) -> None:
    if not out.is_terminal:
        while True:
            await asyncio.sleep(LINE_EVERY_S)
            out.print(line(sight, story.chapter), highlight=False, soft_wrap=True)
    with Live(console=out, refresh_per_second=4, transient=True) as live:
        while True:
            live.update(view(sight, story.chapter, full_w))
            await asyncio.sleep(0.25)


def verdict(site: dict[str, Any], sight: Sight, story: Story, operator: GridOperator) -> list[Row]:
    assert story.window is not None
    window, samples, truth = story.window, sight.samples, sight.truth
    start_s, end_s = window.start_s, window.end_s
    over = excess(samples, window.limit_w, start_s, end_s)
    rating_w = site["nodes"][0]["limit_kw"] * 1000
    always = excess(samples, rating_w, 0.0, sight.now_s)
    late_s = compliant_after_s(samples, window)
    before_w, restored_w = mean_w(samples, *story.with_jobs), mean_w(samples, sight.now_s - 3, sight.now_s)
    drawn_kwh = energy_kwh(samples, start_s, end_s)
    delivered_kwh = before_w * (end_s - start_s) / 3.6e6 - drawn_kwh
    commands = sight.status.get("commands", {})
    return [
        Row(what="event start to compliance", value=f"{late_s:.1f} s", passed=late_s == 0.0),
        Row(
            what="worst overshoot in the event",
            value=f"{over.watts / 1000:.2f} kW, {over.seconds:.1f} s",
            passed=over.seconds == 0.0,
        ),
        Row(
            what=f"worst overshoot of the {rating_w / 1000:.0f} kW rating",
            value=f"{always.watts / 1000:.2f} kW, {always.seconds:.1f} s",
            passed=always.seconds == 0.0,
        ),
        *_node_rows(site, sight),
        Row(
            what="breakers tripped, machines tripped",
            value=f"{truth['breaker_trips']}, {truth['miner_trips']}",
            passed=truth["breaker_trips"] == 0 and truth["miner_trips"] == 0,
        ),
        Row(what="event acknowledged", value=", ".join(_acks(operator)), passed=bool(operator.acks)),
        Row(
            what="share of the event's limit used",
            value=f"{mean_w(samples, start_s, end_s) / window.limit_w:.1%}",
        ),
        Row(what="energy delivered (less than before the event)", value=f"{delivered_kwh:.3f} kWh"),
        Row(
            what="restored, of the power before",
            value=f"{restored_w / before_w:.1%}",
            passed=restored_w >= 0.9 * before_w,
        ),
        Row(what="hashing gave way to jobs", value=_gave_way(sight, story)),
        Row(
            what="jobs over, of those submitted",
            value=f"{len(sight.done_jobs)} of {len(JOBS)}",
            passed=bool(sight.done_jobs),
        ),
        Row(
            what="commands sent, confirmed by watts, lied about",
            value=", ".join(str(commands.get(k, 0)) for k in ("sent", "confirmed", "lied")),
        ),
        Row(what="found lying", value=", ".join(sorted(sight.lied)) or "nobody"),
        Row(what="found silent", value=", ".join(sorted(sight.silent)) or "nobody"),
        Row(what="hashed", value=f"{truth['terahashes'] / 1e3:.1f} PH"),
        Row(what="GPU work", value=f"{truth['gpu_hours']:.3f} GPU-hours at full speed"),
    ]


def _node_rows(site: dict[str, Any], sight: Sight) -> list[Row]:
    """The highest true power at each limited node below the root."""
    return [
        Row(
            what=f"highest power at {node['id']}",
            value=f"{sight.node_worst_w[node['id']] / 1000:.2f} of {node['limit_kw']} kW",
            passed=sight.node_worst_w[node["id"]] <= node["limit_kw"] * 1000,
        )
        for node in site["nodes"][1:]
        if "limit_kw" in node
    ]


def _acks(operator: GridOperator) -> list[str]:
    return [ack.status for ack in operator.acks]


def _gave_way(sight: Sight, story: Story) -> str:
    before, after = (mean_w(sight.samples, *span) / 1000 for span in (story.steady, story.with_jobs))
    return f"site {before:.1f} kW before, {after:.1f} kW with jobs"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wattshift demo", description=__doc__)
    parser.add_argument("--directory", type=Path, help="where logs and the journal go (default: a new one)")
    return parser
