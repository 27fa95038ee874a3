"""From an operator's publish to the first command at a machine: the daemon's parts in a process of their own,
a real broker on loopback, and thousands of machines that answer after a pause.

`make bench-reaction`, or `python -m tests.bench.reaction --devices 10000 --events 100`. The machines are
drivers in the same process, without sockets: what is measured is the way to the driver. Each event limits the
site to 60 % of what it draws; between two events all machines come back.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.domain.devices import (
    Acknowledged,
    DeviceSpec,
    MeterReading,
    Outcome,
    Quality,
    Reading,
    SetPoint,
)
from controller.domain.power import Limit, Power
from controller.run import logs
from controller.run.board import Board
from controller.run.clock import Clock
from controller.run.devices import Machines
from controller.run.devicetask import Polling
from controller.run.garbage import Garbage
from controller.run.journal.journal import Journal
from controller.run.logs import LogFormat
from controller.run.loop import Loop
from controller.run.notify import Notifier
from controller.run.operators.gridconfig import GridConfig
from controller.run.operators.gridlink import GridLink
from controller.run.operators.gridsession import GridSession
from controller.run.operators.gridside import LinkedGrid
from controller.run.recording.recording import Recording, recording_path
from simulators.broker import broker
from simulators.gridoperator import GridOperator
from tests.bench.step import plant

VEN = "site-tx1"
ANSWER_S = 0.03
POLL_S, METER_S = 10.0, 1.0
SHARE = 0.6
HOLDS_S, APART_S = 3.0, 7.0
"""How long an event lasts, and how far apart two begin: all machines are told to come back by then, but
thousands of them are still on their way. Much further apart, the site is at rest when the next one comes."""
STARTED_WITHIN_S = 120.0
STAGES = ("received", "woken", "deciding", "lowered", "handed", "planned")
"""What is stamped on the way of an event, in this order: it came, was durable, a tick begins; who is lowered
first is known, a driver has the first command; all of the plan is made and checked."""


@dataclass(slots=True)
class Stamps:
    """The first moment of each stage since the last `begin`: by the wall clock, which both processes share,
    and in seconds that the event loop's thread had of a CPU."""

    at: dict[str, tuple[float, float]] = field(default_factory=dict)

    def mark(self, stage: str) -> None:
        """A stage counts once, and only behind the one before it."""
        place = STAGES.index(stage)
        if stage not in self.at and (place == 0 or STAGES[place - 1] in self.at):
            self.at[stage] = time.time(), time.thread_time()

    def again(self, stage: str) -> None:
        """A tick that began for another reason is not the one that is waited for."""
        if "handed" not in self.at and "woken" in self.at:
            self.at[stage] = time.time(), time.thread_time()


class Machine:
    """A machine that is where it was told to be as soon as it has answered."""

    def __init__(self, spec: DeviceSpec, stamps: Stamps) -> None:
        self.spec = spec
        self.at = spec.points[-1]
        self._stamps = stamps
        self._random = random.Random(spec.id)

    async def read(self) -> Reading:
        await asyncio.sleep(ANSWER_S)
        draw = Power(round(self.at.power.watts * self._random.uniform(0.99, 1.0)))
        return Reading(device=self.spec.id, draw=draw, quality=Quality.MEASURED, setting=Limit(self.at.power))

    async def apply(self, command: SetPoint) -> Outcome:
        if command.point.power < self.at.power:
            self._stamps.mark("handed")
        await asyncio.sleep(ANSWER_S)
        self.at = command.point
        return Acknowledged()

    async def close(self) -> None:
        return None


class Main:
    """The site's meter."""

    id = "main"

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = machines

    async def read(self) -> tuple[MeterReading, ...]:
        watts = sum(machine.at.power.watts for machine in self._machines)
        return (MeterReading(meter="main", power=Power(watts)),)

    async def close(self) -> None:
        return None


class StampedMachines(Machines):
    """Machines, with the moment at which the first commands are known."""

    stamps: Stamps

    def post_first(self, commands: Sequence[SetPoint]) -> None:
        self.stamps.again("lowered")
        super().post_first(commands)


class Stamped:
    """The recording, with the moments at which a tick begins to decide and has decided."""

    def __init__(self, recording: Recording, stamps: Stamps) -> None:
        self._recording = recording
        self._stamps = stamps

    def deciding(self, before: State, inputs: Inputs) -> None:
        self._stamps.again("deciding")
        self._recording.deciding(before, inputs)

    def decided(self, plan: Plan) -> None:
        self._stamps.mark("planned")
        self._recording.decided(plan)

    def left(self) -> None:
        self._recording.left()


def site(directory: str, port: int, devices: int, lines: Any) -> None:
    """The process: it tells each event's stamps when it is asked for them."""
    asyncio.run(_site(Path(directory), port, devices, lines))


async def _site(directory: Path, port: int, devices: int, lines: Any) -> None:
    logs.configure(LogFormat.JSON, "error")
    stamps, clock, wake = Stamps(), Clock(), asyncio.Event()
    made, specs = plant(devices)
    made = replace(
        made, nodes=tuple(replace(n, meter=n.meter if n.id == "site" else None) for n in made.nodes)
    )
    floor = [Machine(spec, stamps) for spec in specs]
    journal = Journal(directory / "journal.db", 1.0, clock.utc_s)
    await journal.open()
    recording = Recording(
        recording_path(directory / "journal.db"), site=made, program="bench", keep_days=1.0, max_mb=500.0
    )
    machines = StampedMachines(
        drivers=[(machine, Polling(every_s=POLL_S)) for machine in floor],
        sensors=[(Main(floor), Polling(every_s=METER_S))],
        queues=(),
        clock=clock,
        reads=Counter(),
        answered=journal.answered,
        job_answered=journal.job_answered,
        job_confirmed=journal.job_confirmed,
    )

    machines.stamps = stamps

    class Session(GridSession):
        def __init__(self, config: GridConfig, **rest: Any) -> None:
            read = rest.pop("read")

            def stamped(topic: str, payload: bytes, retained: bool) -> None:
                if topic.endswith("/create"):
                    stamps.mark("received")
                read(topic, payload, retained)

            super().__init__(config, read=stamped, **rest)

    def woken() -> None:
        stamps.mark("woken")
        wake.set()

    link = GridLink(
        GridConfig(host="127.0.0.1", port=port, ven=VEN, client_id="ctl"),
        journal,
        nameplate=Power.kw(1_000_000),
        utc=clock.utc_s,
        wake=woken,
        session=Session,
    )
    await link.restore()
    board = Board(site=made, version="bench", started_utc_s=clock.utc_s())
    loop = Loop(
        site=made,
        clock=clock,
        machines=machines,
        grid=LinkedGrid(link),
        journal=journal,
        recorder=Stamped(recording, stamps),
        board=board,
        notifier=Notifier.from_environment(),
        wake=wake,
        tidy=Garbage().after_tick,
    )
    async with asyncio.TaskGroup() as group:
        for part in (journal, recording, machines, loop, link):
            group.create_task(part.run())
        await _answer(lines, stamps, board)
        os._exit(0)


async def _answer(lines: Any, stamps: Stamps, board: Board) -> None:
    while True:
        while not lines.poll():  # noqa: ASYNC110 - the other process signals nothing
            await asyncio.sleep(0.02)
        match lines.recv():
            case "ready":
                seen = board.last is not None and board.last.plan.ready and not board.last.plan.commands
                lines.send(seen)
            case "begin":
                stamps.at.clear()
                lines.send(time.process_time())
            case "stamps":
                lines.send((dict(stamps.at), time.process_time()))
            case _:
                return


async def measured(devices: int, events: int, apart_s: float) -> list[dict[str, float]]:
    """Milliseconds from publish to each stage, event by event."""
    found: list[dict[str, float]] = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="reaction-") as directory:
        async with broker() as bus, GridOperator(bus.host, bus.port, VEN) as operator:
            ours, theirs = context.Pipe()
            process = context.Process(target=site, args=(directory, bus.port, devices, theirs), daemon=True)
            process.start()
            try:
                await _ready(ours)
                wanted_kw = sum(spec.points[-1].power.in_kw for spec in plant(devices)[1]) * 0.8
                rnd = random.Random(1)
                for _ in range(events):
                    await asyncio.sleep(rnd.uniform(0.0, 1.0))  # at any place within a tick
                    ours.send("begin")
                    began_cpu_s = ours.recv()
                    published_s = time.time()
                    await operator.limit(SHARE * wanted_kw, duration_s=HOLDS_S)
                    await asyncio.sleep(apart_s)
                    ours.send("stamps")
                    stamps, cpu_s = ours.recv()
                    found.append(_row(stamps, published_s) | {"cpu": 1000 * (cpu_s - began_cpu_s)})
            finally:
                process.kill()
                process.join()
    return found


def _row(stamps: dict[str, tuple[float, float]], published_s: float) -> dict[str, float]:
    """Wall time counts from the publish, CPU from the receipt."""
    row = {stage: 1000 * (at_s - published_s) for stage, (at_s, _) in stamps.items()}
    first_s = stamps["received"][1] if stamps else 0.0
    return row | {f"cpu {stage}": 1000 * (cpu_s - first_s) for stage, (_, cpu_s) in stamps.items()}


async def _ready(lines: Any) -> None:
    """The site is taken over, and nothing is left to be told."""
    async with asyncio.timeout(STARTED_WITHIN_S):
        while True:
            lines.send("ready")
            if lines.recv():
                return
            await asyncio.sleep(1.0)


def table(found: Sequence[dict[str, float]]) -> list[str]:
    whole = [row for row in found if STAGES[-1] in row]
    cpu_s = statistics.fmean(row["cpu"] for row in found) / 1000
    lines = [f"{len(whole)} of {len(found)} events led to a command; {cpu_s:.1f} s of CPU each"]
    if whole:
        lines += [f"{'ms from one to the next':<26}{'p50':>9}{'p99':>9}{'max':>9}{'CPU p50':>9}{'p99':>9}"]
        for before, stage in pairwise(("published", *STAGES)):
            lines.append(f"{before + ' -> ' + stage:<26}" + _between(whole, before, stage))
        lines.append(f"{'published -> handed':<26}" + _between(whole, "published", "handed"))
    return lines


def _between(rows: Sequence[dict[str, float]], before: str, stage: str) -> str:
    def took(prefix: str) -> list[float]:
        return sorted(row[prefix + stage] - row.get(prefix + before, 0.0) for row in rows)

    wall, cpu = took(""), took("cpu ")
    shown = (_at(wall, 0.5), _at(wall, 0.99), wall[-1], _at(cpu, 0.5), _at(cpu, 0.99))
    return "".join(f"{value:>9.1f}" for value in shown)


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--apart", type=float, default=APART_S, help="seconds from one event to the next")
    parser.add_argument("--json", action="store_true", help="print what was measured of each event, too")
    asked = parser.parse_args()
    gc.freeze()
    found = asyncio.run(measured(asked.devices, asked.events, asked.apart))
    if asked.json:
        print("\n".join(json.dumps(row) for row in found))
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{asked.devices} devices, {asked.events} events {asked.apart:g} s apart")
    print(f"load {load} on {os.cpu_count()} cores")
    print("\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
