"""The whole daemon on a virtual clock against the plant's real protocols, under faults that a seed chooses.

The plant is judged by its physical truth. A controller that is killed leaves the disk as it was at that
moment, and its connections broken; the next one starts over the same files.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sqlite3
import warnings
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from controller.config import Settings, fleet
from controller.daemon import serve
from controller.domain.devices import DeviceSpec, Outcome, Reading, SetPoint
from controller.domain.jobs import Job
from controller.run.clock import Clock
from controller.run.recording.recording import recording_path
from drivers.base import Driver
from simulators.config import PlantConfig
from simulators.faces.meters import MeterFace
from simulators.faces.miners import MinerFaces
from simulators.nvml.build import library
from simulators.nvml.face import NvmlFace, create_state
from simulators.nvml.layout import STATE_VARIABLE
from simulators.plant import Plant
from tests.sim.daemon.fittings import plant_table, site_table
from tests.sim.daemon.heat import Heat
from tests.sim.daemon.jobs import GpuJobs
from tests.sim.daemon.judge import SETTLED_S, UTC_S, Event, Fault, Judge
from tests.sim.daemon.markets import Markets
from tests.sim.daemon.memory import MemoryLoop, Network
from tests.sim.daemon.operator import Broker, Operator, session_with
from tests.sim.daemon.prices import Spending
from tests.virtualtime import START_S

STEP_S = 0.2
DOWN_S = 3.0
"""How long the service manager takes to start another controller."""


@contextmanager
def nvml_at(state: Path) -> Iterator[None]:
    """The simulated NVML library finds its GPUs through the environment."""
    before = os.environ.get(STATE_VARIABLE)
    os.environ[STATE_VARIABLE] = str(state)
    try:
        yield
    finally:
        del os.environ[STATE_VARIABLE]
        if before is not None:
            os.environ[STATE_VARIABLE] = before


@contextmanager
def drawn_by(seed: int) -> Iterator[None]:
    """The generator of the whole process, by which those who lost a connection wait before the next try."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)


class Watched:
    """A driver whose commands are counted. Of a controller that was killed no other word goes out."""

    def __init__(self, driver: Driver, world: World) -> None:
        self._driver = driver
        self._world = world

    @property
    def spec(self) -> DeviceSpec:
        return self._driver.spec

    async def read(self) -> Reading:
        return await self._driver.read()

    async def apply(self, command: SetPoint) -> Outcome:
        await self._alive()
        self._world.judge.told(self.spec.id, command.point.power.watts)
        self._world.heat.told(self.spec.id, command.point.power.watts, self._world.now_s)
        outcome = await self._driver.apply(command)
        await self._alive()
        self._world.commanded()
        await self._alive()
        return outcome

    async def close(self) -> None:
        await self._driver.close()

    async def _alive(self) -> None:
        if self._world.network.severed:
            await asyncio.Event().wait()


class World:
    """`faults` and `events` are played when their time comes; `lives` counts the controllers. One of them is
    killed right after each command whose number is in `kill_after`, all lives counted together. `fitted` is
    what it has that not every world has."""

    def __init__(self, seed: int, directory: Path, *, fitted: Collection[str] = ()) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.directory = directory
        self.network = Network(random.Random(seed + 1))
        self.fitted = fitted
        self.plant = Plant(PlantConfig.model_validate(plant_table(fitted)), seed=seed)
        self.faults: list[Fault] = []
        self.events: list[Event] = []
        self.lives = 0
        self.commands = 0
        self.kill_after: frozenset[int] = frozenset()
        self.jumped_s = 0.0
        self.down_until_s = 0.0
        self._state = create_state(directory / "nvml.state", self.plant.gpus.values())
        self._faces = MinerFaces(self.plant)
        self._gpus = NvmlFace(self._state, lambda: int(self.now_s * 1e9))
        self.queue = GpuJobs({f"h100-gpu{at}": gpu for at, gpu in enumerate(self._state.gpus)})
        self.judge = Judge(self.plant, self.network)
        self.heat = Heat(self.plant, self.network, self.judge.obeys, STEP_S)
        self.markets = Markets(seed, directory, fitted, self.utc_s, self.site_utc_s)
        self.spending = Spending(self.plant, self.judge.obeys, STEP_S)
        self._trace = hashlib.sha256()

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time() - START_S

    @property
    def is_alive(self) -> bool:
        """Whether there is a controller."""
        return self._life is not None and not self.network.severed

    def utc_s(self) -> float:
        """The true time; the controller's own clock may be `jumped_s` off."""
        return UTC_S + self.now_s

    def site_utc_s(self) -> float:
        return self.utc_s() + self.jumped_s

    def run(self, until_s: float) -> None:
        with (
            warnings.catch_warnings(),
            capture_logs() as self.logs,
            asyncio.Runner(loop_factory=self._loop) as runner,
        ):
            warnings.filterwarnings("ignore", module="pyasic")  # it has not seen every model
            with nvml_at(self.directory / "nvml.state"), drawn_by(self.seed):
                runner.run(self._run(until_s))

    @property
    def digest(self) -> str:
        """Everything that was known, decided and true, in one line: the same for the same seed."""
        return self._trace.hexdigest()

    def _note_recording(self) -> None:
        with closing(sqlite3.connect(recording_path(self.directory / "journal.db"))) as db:
            for (data,) in db.execute("SELECT data FROM frames ORDER BY chunk, at"):
                self._trace.update(data)

    def _loop(self) -> MemoryLoop:
        return MemoryLoop(self.network)

    def settings(self) -> Settings:
        return Settings(**site_table(self.fitted, self.directory, library()))

    async def _run(self, until_s: float) -> None:
        cancels = [(event.at_s + event.cancel_s, event.name) for event in self.events]
        script: list[tuple[float, Fault | Event | str]] = [
            *((fault.at_s, fault) for fault in self.faults),
            *((event.at_s, event) for event in self.events),
            *cancels,
        ]
        self._script = deque(sorted(script, key=lambda one: one[0]))
        self.broker = Broker(random.Random(self.random.random()))
        self.operator = Operator(self.broker, self.utc_s)
        meters = MeterFace(self.plant)
        await self._faces.start()
        await meters.start()
        operating = asyncio.create_task(self.operator.run())
        self._begin()
        step = 0
        while self.now_s < until_s:
            step += 1
            await asyncio.sleep(max(0.0, START_S + step * STEP_S - asyncio.get_running_loop().time()))
            self.plant.advance(self.now_s)
            await self._play()
            for at, gpu in enumerate(self.plant.gpus.values()):
                if not gpu.powered:
                    self.queue.lose(f"h100-gpu{at}")
            self.queue.work(self.now_s, STEP_S)
            self.markets.advance()
            self._gpus.exchange(self.plant)
            await self._faces.follow()
            self._trace.update(f"{self.now_s:.3f} {self.plant.site_power_w!r}\n".encode())
            self.judge.look(self)
            in_charge = self.is_alive and self.now_s > SETTLED_S
            self.heat.look(self.now_s, in_charge=in_charge)
            self.spending.look(
                self.now_s, self.markets.known(), in_charge=in_charge, is_free=self.judge.leaves_free(self)
            )
            if self._life is not None and self._life.done():
                self._life.result()
                raise AssertionError(f"the controller ended by itself at {self.now_s:.1f} s")
        if self._life is not None:
            self._life.cancel()
            await asyncio.wait([self._life])
        operating.cancel()
        await asyncio.wait([operating])
        await meters.stop()
        await self._faces.stop()
        self._note_recording()

    # -- the controller's lives -------------------------------------------------------------------------

    def _begin(self) -> None:
        self.lives += 1
        self.markets.begin()
        clock = Clock(utc=self.site_utc_s)
        settings = self.settings()
        found = fleet(settings)
        drivers = tuple((Watched(driver, self), polled) for driver, polled in found.drivers)
        floor = replace(
            found, drivers=drivers, queues=(self.queue,), prices=self.markets.sources(settings, found)
        )
        life = serve(settings, clock=clock, floor=floor, session=session_with(self.broker))
        self._life: asyncio.Task[None] | None = asyncio.create_task(life)

    def kill(self, down_s: float) -> None:
        """As `kill -9`: what was not on the disk is lost, what was not sent never will be."""
        if not self.network.severed and self._life is not None:
            self._image = {path: path.read_bytes() for path in self.directory.glob("journal*")}
            self.down_until_s = self.now_s + down_s
            self.network.sever()

    async def _bury(self) -> None:
        """Have the task of a killed controller end; whatever it does meanwhile never happened."""
        assert self._life is not None
        self._life.cancel()
        await asyncio.wait([self._life])
        if not self._life.cancelled():
            self._life.result()
        self._life = None
        for path in self.directory.glob("journal*"):
            path.unlink()
        for path, content in self._image.items():
            path.write_bytes(content)
        self.network.severed = False

    def commanded(self) -> None:
        self.commands += 1
        if self.commands in self.kill_after:
            self.kill(DOWN_S)

    # -- what happens -----------------------------------------------------------------------------------

    async def _play(self) -> None:
        while self._script and self._script[0][0] <= self.now_s:
            match self._script.popleft()[1]:
                case Fault() as fault:
                    self._strike(fault)
                case Event() as event:
                    self.operator.limit(event.name, kw=event.kw, in_s=event.in_s, for_s=event.for_s)
                case str(name):
                    self.operator.cancel(name)
        if self.network.severed:
            await self._bury()
        if self._life is None and self.now_s >= self.down_until_s:
            self._begin()

    def _strike(self, fault: Fault) -> None:
        match fault.what:
            case "dark":
                self.network.over(fault.subject).dark = bool(fault.value)
            case "slow":
                self.network.over(fault.subject).slow_s = float(fault.value)
            case "broker_away":
                self.broker.set_up(not fault.value)
            case "silent":
                self.operator.is_beating = not fault.value
            case "repeats" | "reorders":
                setattr(self.broker, fault.what, float(fault.value))
            case "clock_jump":
                self.jumped_s = float(fault.value)
            case "stall":
                loop = asyncio.get_running_loop()
                assert isinstance(loop, MemoryLoop)
                loop.now_s += float(fault.value)
            case "job":
                name = f"job-{len(self.queue.jobs)}"
                gpus, work_s = 1 + int(fault.value) % 2, float(fault.value)
                self.queue.submit(Job(id=name, gpus=gpus, usd_per_gpu_hour=3.0), work_s)
            case what if what.startswith(("price", "feed_")):
                self.markets.strike(what, fault.value)
            case "kill":
                self.kill(float(fault.value))
            case _:
                self.plant.set_fault(fault.subject, fault.what, fault.value)
