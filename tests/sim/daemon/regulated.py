"""The whole daemon in virtual time while a grid operator moves its set-point every two seconds.

What the plant truly draws at its connection is kept, and what the machines were told.
"""

from __future__ import annotations

import asyncio
import json
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from structlog.testing import capture_logs

from controller.config import Settings, fleet
from controller.daemon import serve
from controller.domain.devices import DeviceSpec, Outcome, Reading, SetPoint
from controller.domain.jobs import FlexTier, Job
from controller.run.clock import Clock
from drivers.base import Driver
from simulators.faces.meters import MeterFace
from simulators.faces.miners import MinerFaces
from simulators.gridmessages import stamp
from simulators.nvml.build import library
from simulators.nvml.face import NvmlFace, create_state
from simulators.plant import Plant
from tests.sim.daemon.container import TOPIC, Container
from tests.sim.daemon.jobs import GpuJobs
from tests.sim.daemon.judge import UTC_S
from tests.sim.daemon.memory import MemoryLoop, Network
from tests.sim.daemon.operator import Broker, session_with
from tests.sim.daemon.world import nvml_at
from tests.virtualtime import START_S

PERIOD_S = 2.0
STEP_S = 0.2


@dataclass(slots=True)
class Told:
    """What the machines were told: when anything was sent to each, and when that was another point."""

    commands: dict[str, list[float]] = field(default_factory=dict)
    changes: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    specs: dict[str, DeviceSpec] = field(default_factory=dict)

    def note(self, spec: DeviceSpec, command: SetPoint, now_s: float) -> None:
        self.commands.setdefault(spec.id, []).append(now_s)
        self.specs[spec.id] = spec
        changes = self.changes.setdefault(spec.id, [])
        if not changes or changes[-1][1] != command.point.name:
            changes.append((now_s, command.point.name))

    @property
    def shortest_dwell_s(self) -> float:
        """The least time between two changes of a machine, beyond its dwell."""
        return min(
            (
                later[0] - earlier[0] - self.specs[name].dwell_s
                for name, changes in self.changes.items()
                for earlier, later in pairwise(changes)
            ),
            default=float("inf"),
        )

    def sent(self, name: str, since_s: float) -> int:
        return sum(at_s >= since_s for at_s in self.commands.get(name, ()))

    def starts(self, name: str, since_s: float) -> int:
        changes = self.changes.get(name, [])
        return sum(
            earlier[1] == self.specs[name].floor.name and later[0] >= since_s
            for earlier, later in pairwise(changes)
        )


class Listening:
    """A driver whose commands are noted."""

    def __init__(self, driver: Driver, world: Regulated) -> None:
        self._driver = driver
        self._world = world

    @property
    def spec(self) -> DeviceSpec:
        return self._driver.spec

    async def read(self) -> Reading:
        return await self._driver.read()

    async def apply(self, command: SetPoint) -> Outcome:
        self._world.told.note(self.spec, command, self._world.now_s)
        return await self._driver.apply(command)

    async def close(self) -> None:
        await self._driver.close()


class Regulated:
    """`run` sends each of `setpoints_w` when it is due, `PERIOD_S` apart, the first of them also throughout
    `warm_up_s` before. `drawn_w` is what the plant drew when each was sent; `over` are the moments at which a
    node carried more than its limit.
    """

    def __init__(self, container: Container, directory: Path, *, seed: int) -> None:
        self.container = container
        self.directory = directory
        self.plant = Plant(container.plant(), seed=seed)
        self.network = Network(random.Random(seed + 1))
        self.told = Told()
        self.drawn_w: list[float] = []
        self.over: list[tuple[float, str, float]] = []
        self._random = random.Random(seed)
        self._state = create_state(directory / "nvml.state", self.plant.gpus.values())
        boards = zip(self.plant.gpus, self._state.gpus, strict=True)
        self.queue = GpuJobs(dict(boards))
        self.job = Job(id="job", gpus=1, usd_per_gpu_hour=2.4, flex=FlexTier.BROAD)
        for name in self.plant.gpus:
            self.queue.submit(replace(self.job, id=f"on-{name}"), work_s=1e9)

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time() - START_S

    def utc_s(self) -> float:
        return UTC_S + self.now_s

    def run(self, setpoints_w: Sequence[float], *, warm_up_s: float) -> None:
        with (
            warnings.catch_warnings(),
            capture_logs() as self.logs,
            nvml_at(self.directory / "nvml.state"),
            asyncio.Runner(loop_factory=lambda: MemoryLoop(self.network)) as runner,
        ):
            warnings.filterwarnings("ignore", module="pyasic")  # it has not seen every model
            runner.run(self._run(setpoints_w, warm_up_s))

    async def _run(self, setpoints_w: Sequence[float], warm_up_s: float) -> None:
        broker = Broker(self._random)
        faces, meters = MinerFaces(self.plant), MeterFace(self.plant)
        gpus = NvmlFace(self._state, lambda: int(self.now_s * 1e9))
        await faces.start()
        await meters.start()
        life = self._begin(broker)
        waiting, step, asked = round(warm_up_s / PERIOD_S), 0, 0
        every = round(PERIOD_S / STEP_S)
        while asked < waiting + len(setpoints_w):
            await asyncio.sleep(max(0.0, START_S + step * STEP_S - asyncio.get_running_loop().time()))
            self.plant.advance(self.now_s)
            if step % every == 0:
                at = max(0, asked - waiting)
                if asked >= waiting:
                    self.drawn_w.append(self.plant.site_power_w)
                self._ask(broker, setpoints_w[at])
                asked += 1
            self.queue.work(self.now_s, STEP_S)
            gpus.exchange(self.plant)
            await faces.follow()
            self._judge()
            broker.received.clear()
            if life.done():
                life.result()
                raise AssertionError(f"the controller ended by itself at {self.now_s:.1f} s")
            step += 1
        life.cancel()
        await asyncio.wait([life])
        await meters.stop()
        await faces.stop()

    def _begin(self, broker: Broker) -> asyncio.Task[None]:
        settings = Settings(**self.container.site(self.directory, library()))
        found = fleet(settings)
        drivers = tuple((Listening(driver, self), polled) for driver, polled in found.drivers)
        floor = replace(found, drivers=drivers, queues=(self.queue,) if self.plant.gpus else ())
        life = serve(settings, clock=Clock(utc=self.utc_s), floor=floor, session=session_with(broker))
        return asyncio.create_task(life)

    def _ask(self, broker: Broker, watts: float) -> None:
        content = {"setpoint": round(watts / 1000, 3), "units": "KW", "time": stamp(self.utc_s())}
        broker.send(TOPIC, json.dumps(content).encode(), kept=False)

    def _judge(self) -> None:
        for node, limit_w in self.container.limits_w().items():
            if (over_w := self.plant.node_power_w(node) - limit_w) > 0:
                self.over.append((self.now_s, node, over_w))
