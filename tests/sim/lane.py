"""The way to one machine: its polls and commands, one at a time, and how each fails.

A newer command replaces one that was not yet sent, readings are stamped when they arrive. What a driver would
refuse to believe is refused here too: a GPU that says it draws more than twice what its board can. A miner's
claim of megawatts or of a few watts is passed on, as its drivers do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from controller.decide.inputs import Sample
from controller.domain.devices import (
    Acknowledged,
    DeviceKind,
    DeviceSpec,
    Failed,
    MeterReading,
    Outcome,
    Quality,
    Reading,
    Refused,
    SetPoint,
    ZoneReading,
    draw_by_hash,
)
from controller.domain.jobs import QueueReading
from controller.domain.power import Limit, Power
from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner, MinerReport
from tests.sim.floor import ASIC_POLL_S, GPU_POLL_S, SLEEP, SLEEP_W
from tests.sim.outlets import Plug

QUICK_POLL_S = 1.0
READ_DEADLINE_S = 5.0
FALLS_WITHIN_S = 20.0
PHASE = 5
"""Polls fall on every fifth moment, each half second: the plant need not stop for each machine."""

if TYPE_CHECKING:
    from tests.sim.shell import Shell


@dataclass(slots=True)
class Heard:
    readings: dict[str, Sample[Reading]] = field(default_factory=dict)
    outcomes: dict[str, Sample[Outcome]] = field(default_factory=dict)
    meters: dict[str, Sample[MeterReading]] = field(default_factory=dict)
    zones: dict[str, Sample[ZoneReading]] = field(default_factory=dict)
    queues: dict[str, QueueReading] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """The power of the newest order and of the one before it; it takes `FALLS_WITHIN_S` to come down."""

    at_s: float
    watts: int
    before_w: int

    def most_w(self, now_s: float) -> int:
        return max(self.watts, self.before_w) if now_s - self.at_s < FALLS_WITHIN_S else self.watts


@dataclass(frozen=True, slots=True)
class Lost:
    """How many orders to a device were lost on their way since one reached it, and when the last was."""

    count: int
    at_s: float


def is_believed(spec: DeviceSpec, says_w: float) -> bool:
    """Whether a driver would: from twice its ceiling on, a board is taken to be silent."""
    return says_w <= 2 * spec.ceiling.watts


class Lane:
    """The way to one device. Once stopped, what it had sent still happens, and nobody is told."""

    def __init__(self, shell: Shell, spec: DeviceSpec) -> None:
        self.spec = spec
        self._shell = shell
        self._heard = shell.heard
        self._running = True
        self._machine: Miner | Gpu = (
            shell.plant.miners[spec.id] if spec.kind is DeviceKind.ASIC else shell.plant.gpus[spec.id]
        )
        self._poll_s = ASIC_POLL_S if spec.kind is DeviceKind.ASIC else GPU_POLL_S
        self._waiting: SetPoint | None = None
        self._busy = False
        self._posts = 0
        self._quick_until_s = 0.0
        self._said: tuple[float, ...] = ()
        self._last: Reading | None = None
        self._quality = shell.quality.get(spec.id, Quality.MEASURED)
        outlet = shell.outlets.get(spec.id)
        self.plug = None if outlet is None else Plug(shell.plant, outlet, spec, shell.cuts)

    def start(self, delay_s: float) -> None:
        self._shell.clock.after(delay_s, self._poll, every=PHASE)

    def stop(self) -> None:
        self._running = False
        self._waiting = None

    def post(self, command: SetPoint) -> None:
        """A poll that is under way is given up for a command, as the daemon does."""
        self._waiting = command
        self._posts += 1
        if not self._busy:
            self._busy = True
            self._shell.clock.after(self._shell.random.uniform(0.0, 0.4), self._apply)

    @property
    def answers(self) -> bool:
        if self.spec.id in self._shell.silenced:
            return False
        if isinstance(self._machine, Miner):
            return self._machine.reachable and not self._machine.faults.hangs
        return self._machine.powered and not self._machine.faults.lost

    def _poll(self) -> None:
        if not self._running:
            return
        shell = self._shell
        rnd, rates, now_s = shell.random, shell.rates, shell.clock.now_s
        every_s = QUICK_POLL_S if now_s < self._quick_until_s else self._poll_s
        if self.plug is not None:
            self.plug.look(now_s)
        if not self._busy:
            if not self._tells or (rates.lost_reads and rnd.random() < rates.lost_reads):
                every_s = max(every_s, READ_DEADLINE_S)
            else:
                reading = self._read(now_s)
                late = rates.late_reads and rnd.random() < rates.late_reads
                if reading is not None and late:
                    late_s = rnd.uniform(0.3, READ_DEADLINE_S)
                    shell.clock.after(late_s, partial(self._arrived, reading, self._posts))
                    every_s = max(every_s, late_s + 0.1)
                elif reading is not None:
                    self._heard.readings[self.spec.id] = Sample(now_s, reading)
        shell.clock.after(every_s, self._poll, every=PHASE)

    def _arrived(self, reading: Reading, posts: int) -> None:
        if not self._busy and posts == self._posts:
            self._heard.readings[self.spec.id] = Sample(self._shell.clock.now_s, reading)

    @property
    def _tells(self) -> bool:
        """Whether anything can be learned of the device."""
        return self.answers or (self.plug is not None and self.plug.is_off)

    def _read(self, now_s: float) -> Reading | None:
        if self.plug is None:
            return self._reading(now_s)
        return self.plug.read(self._reading(now_s) if self.answers else None, now_s)

    def _reading(self, now_s: float) -> Reading | None:
        """What the device says now, or nothing that its driver would believe. Whole degrees, as firmware
        tells them, so that a machine at rest says the same thing again."""
        machine = self._machine
        if isinstance(machine, Gpu):
            says_w = machine.says_w(now_s)
            said = (says_w, machine.limit_w, round(machine.temperature_c), machine.rate)
            if said != self._said:
                self._said, self._last = said, self._gpu_reading(machine, says_w)
        else:
            state = (machine.watts, machine.said_setting_w, round(machine.temperature_c), machine.rate)
            frozen = machine.faults.frozen_reads
            told = (*state, machine.said_asleep, machine.faults.reported_power_factor, frozen)
            if told != self._said and not (frozen and self._last is not None):
                self._said, self._last = told, self._miner_reading(machine.report(now_s))
        return self._last

    def _gpu_reading(self, gpu: Gpu, says_w: float) -> Reading | None:
        if not is_believed(self.spec, says_w):
            return None
        draw = Power.up(says_w)
        hottest_c = float(round(gpu.temperature_c))
        return Reading(
            device=self.spec.id,
            draw=draw,
            quality=Quality.MEASURED,
            setting=Limit(Power.up(gpu.limit_w)),
            rate=gpu.rate,
            hottest_c=hottest_c,
            margin_c=gpu.group.slowdown_c - hottest_c,
        )

    def _miner_reading(self, report: MinerReport) -> Reading:
        setting_w = SLEEP_W if report.asleep else round(report.setting_w)
        if len(self.spec.points) == 1:
            setting_w = self.spec.floor.power.watts
        draw = Power.up(report.watts)
        if self._quality is Quality.ESTIMATED:
            draw = self._estimated(setting_w, report)
        return Reading(
            device=self.spec.id,
            draw=draw,
            quality=self._quality,
            setting=Limit(Power(setting_w)),
            rate=report.rate_ths,
            hottest_c=float(round(report.hottest_c)),
        )

    def _estimated(self, setting_w: int, report: MinerReport) -> Power:
        """As the drivers reckon it where no watts are told, but for the whole limit where nothing hashes."""
        points = self.spec.points
        at = next((point for point in points if point.power.watts == setting_w), points[-1])
        return draw_by_hash(report.rate_ths, at, points) if report.rate_ths > 0 else Power(setting_w)

    def _apply(self) -> None:
        """One command, from the moment it is sent. Each way it can fail costs its own time."""
        shell, rnd, rates = self._shell, self._shell.random, self._shell.rates
        command, self._waiting = self._waiting, None
        if command is None:
            return
        if self.plug is not None and self.plug.takes(command):
            self._switch(self.plug, command)
        elif not self.answers or rnd.random() < rates.lost_writes:
            before = shell.lost.get(self.spec.id, Lost(0, 0.0))
            shell.lost[self.spec.id] = Lost(before.count + 1, shell.clock.now_s)
            shell.failed_s[self.spec.id] = shell.clock.now_s
            shell.clock.after(rnd.uniform(3, command.deadline_s), lambda: self._done(Failed("no answer")))
        elif self._refuses or rnd.random() < rates.refused_writes:
            shell.failed_s[self.spec.id] = shell.clock.now_s
            shell.clock.after(0.3, lambda: self._done(Refused("not now")))
        else:
            late = rnd.random() < rates.late_writes
            if late:
                shell.late_s[self.spec.id] = shell.clock.now_s
            takes_s = rnd.uniform(2, 9) if late else rnd.uniform(0.1, 1.2)
            shell.clock.after(takes_s, lambda: self._carry_out(command))

    def _switch(self, plug: Plug, command: SetPoint) -> None:
        """The outlet answers in its machine's place."""
        shell, rnd = self._shell, self._shell.random

        def done() -> None:
            outcome = plug.obey(command, shell.clock.now_s)
            if isinstance(outcome, Acknowledged):
                self._note(command)
            self._done(outcome)

        def failed() -> None:
            outcome = Failed("no answer")
            plug.unanswered(command, outcome, shell.clock.now_s)
            self._done(outcome)

        if plug.answers:
            shell.clock.after(rnd.uniform(0.3, 1.5), done)
        else:
            shell.clock.after(rnd.uniform(3, command.deadline_s), failed)

    def _note(self, command: SetPoint) -> None:
        """An order is carried out at this moment."""
        shell = self._shell
        shell.ordered(self.spec.id)
        shell.lost.pop(self.spec.id, None)
        before = shell.told.get(self.spec.id)
        shell.told[self.spec.id] = Told(
            shell.clock.now_s, command.point.power.watts, 0 if before is None else before.watts
        )

    @property
    def _refuses(self) -> bool:
        return isinstance(self._machine, Miner) and self._machine.faults.refuses

    def _carry_out(self, command: SetPoint) -> None:
        shell, rnd = self._shell, self._shell.random
        if not self.answers:
            shell.clock.after(rnd.uniform(1, 5), lambda: self._done(Failed("no answer")))
            return
        self._note(command)
        if isinstance(self._machine, Gpu):
            self._machine.set_limit(command.point.power.watts)
        elif command.point.name == SLEEP:
            self._machine.sleep()
        else:
            if command.point.name in self._machine.points:
                self._machine.set_point(command.point.name)
            else:
                self._machine.set_limit(command.point.power.watts)
            self._machine.wake()
        if rnd.random() < shell.rates.unanswered_writes:
            shell.clock.after(rnd.uniform(2, 8), lambda: self._done(Failed("answer lost")))
        else:
            shell.clock.after(rnd.uniform(0.2, 0.8), lambda: self._done(Acknowledged()))

    def _done(self, outcome: Outcome) -> None:
        """A newer command that waits would take this for its own answer."""
        shell, now_s = self._shell, self._shell.clock.now_s
        self._busy = False
        self._quick_until_s = now_s + self.spec.settle_down_s
        if self._waiting is None:
            self._heard.outcomes[self.spec.id] = Sample(now_s, outcome)
            shell.clock.after(0.5, self._poll_once, every=PHASE)
        else:
            self._busy = True
            shell.clock.after(0.5, self._apply)

    def _poll_once(self) -> None:
        shell = self._shell
        if (
            self._running
            and not self._busy
            and self._tells
            and shell.random.random() >= shell.rates.lost_reads
        ):
            reading = self._read(shell.clock.now_s)
            if reading is not None:
                self._arrived(reading, self._posts)
