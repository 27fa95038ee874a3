"""Ten thousand machines as they really are: physics in arrays, in virtual time, every draw from one seed.

It knows nothing of what a controller believes. Machines draw more than their nameplate says, stop and start
slowly, and some refuse, lie, do not hear or do not speak; commands fan out at a finite rate; the meter is
late and noisy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.domain.devices import (
    Acknowledged,
    DeviceKind,
    DeviceSpec,
    Failed,
    MeterReading,
    OperatingPoint,
    Outcome,
    Quality,
    Reading,
    Refused,
    SetPoint,
)
from controller.domain.power import NO_LIMIT, Limit, Power

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAN_OUT_PER_S = 6_000.0
"""Commands that one process gets out in a second."""
LATENCY_S = (0.02, 0.06)
"""From a command sent to its effect, and its answer."""
UNANSWERED_S = 2.0
"""A command without an answer is given up after this."""
QUIET_SHARE = 0.3
"""Share of a soft start in which a miner draws nothing to speak of; then it ramps."""
GPU_S = 0.6
"""A GPU is at its new limit within this."""
METER_EVERY_S = (1.0, 2.0)
METER_LATE_S = 2.0
METER_NOISE = 0.002
CLAIM_NOISE = 0.01
METER = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class Makeup:
    """What a plant is made of. `bias` is true draw over nameplate, less 1, with an individual `spread`;
    shares are of machines that are never heard, never answer a command, say no, or say yes and do nothing.
    """

    asics: int = 10_000
    gpus: int = 0
    asic_w: int = 3_400
    idle_w: int = 20
    gpu_w: tuple[int, int] = (300, 700)
    bias: float = 0.02
    spread: float = 0.01
    stop_s: tuple[float, float] = (2.0, 10.0)
    start_s: tuple[float, float] = (60.0, 180.0)
    silent: float = 0.01
    deaf: float = 0.01
    refusing: float = 0.01
    lying: float = 0.01
    poll_s: float = 5.0
    dwell_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Heard:
    """Something that arrived, and when."""

    at_s: float
    said: Reading | MeterReading | tuple[str, Outcome]


class BigPlant:
    """Machines are rows: miners first. Time only goes on: `advance` carries out what is due on the way."""

    def __init__(self, makeup: Makeup, *, seed: int, awake: float = 1.0, start_s: float = 0.0) -> None:
        self.makeup = makeup
        self.random = np.random.default_rng(seed)
        self.specs = (*(_asic(makeup, at) for at in range(makeup.asics)), *_gpus(makeup))
        self.row = {spec.id: at for at, spec in enumerate(self.specs)}
        rows, asics = len(self.specs), makeup.asics
        self.gpu = np.arange(rows) >= asics
        self.share = np.where(self.gpu, 1.0, 1 + makeup.bias + self.random.normal(0, makeup.spread, rows))
        self.stop_s = np.where(self.gpu, GPU_S, self.random.uniform(*makeup.stop_s, rows))
        self.start_s = np.where(self.gpu, GPU_S, self.random.uniform(*makeup.start_s, rows))
        self._misbehave(rows, asics)
        self.told_w = np.array([spec.points[-1].power.watts for spec in self.specs], dtype=np.float64)
        asleep = self.random.permutation(asics)[round(awake * asics) :]
        self.told_w[asleep] = makeup.idle_w
        self.goal_w = self._true_w(np.arange(rows), self.told_w)
        self.from_w = self.goal_w.copy()
        self.changed_s = np.full(rows, -1e9)
        self.switches = np.zeros(rows, dtype=np.int64)
        self.now_s = start_s
        self._sent_s = start_s
        self._due: list[tuple[float, int, float]] = []
        self._answers: list[Heard] = []
        self._shown: list[Heard] = []
        self._meter_s = start_s
        self._poll_s = start_s + self.random.uniform(0, makeup.poll_s, rows)

    def _misbehave(self, rows: int, asics: int) -> None:
        lot = np.full(rows, 2.0)
        lot[:asics] = self.random.uniform(0, 1, asics)
        makeup = self.makeup
        edges = np.cumsum([makeup.silent, makeup.deaf, makeup.refusing, makeup.lying])
        self.silent = lot < edges[0]
        self.deaf = self.silent | ((lot >= edges[0]) & (lot < edges[1]))
        self.refuses = (lot >= edges[1]) & (lot < edges[2])
        self.lies = (lot >= edges[2]) & (lot < edges[3])

    def _true_w(self, rows: Ints, told_w: Floats) -> Floats:
        return np.where(told_w <= self.makeup.idle_w, told_w, told_w * self.share[rows])

    def watts(self, at_s: float | Floats, rows: Ints | None = None) -> Floats:
        """True draw of each machine; a stop decays, a start does nothing at first and then ramps."""
        pick: Ints | slice = slice(None) if rows is None else rows
        since_s = np.maximum(0.0, at_s - self.changed_s[pick])
        goal_w, from_w = self.goal_w[pick], self.from_w[pick]
        falling = np.exp(-3 * since_s / self.stop_s[pick])
        ramped = np.clip((since_s / self.start_s[pick] - QUIET_SHARE) / (1 - QUIET_SHARE), 0, 1)
        left = np.where(goal_w < from_w, falling, np.where(self.gpu[pick], falling, 1 - ramped))
        return goal_w + (from_w - goal_w) * left

    def site_w(self) -> float:
        """True power of the whole site now."""
        return float(self.watts(self.now_s).sum())

    def send(self, commands: Iterable[SetPoint]) -> None:
        """Fan commands out from now on, in their order; each has its effect and answer when it gets there."""
        self._sent_s = max(self._sent_s, self.now_s)
        for command in commands:
            self._sent_s += 1 / FAN_OUT_PER_S
            row = self.row[command.device]
            there_s = self._sent_s + float(self.random.uniform(*LATENCY_S))
            answer: Outcome = Acknowledged()
            if self.deaf[row]:
                answer, there_s = Failed("no answer"), there_s + UNANSWERED_S
            elif self.refuses[row]:
                answer = Refused("not now")
            elif not self.lies[row]:
                self._due.append((there_s, row, float(command.point.power.watts)))
            self._answers.append(Heard(there_s, (command.device, answer)))

    def advance(self, until_s: float) -> None:
        """Let time go on; commands that arrive on the way change what machines do."""
        self._meter(until_s)
        due = sorted(one for one in self._due if one[0] <= until_s)
        self._due = [one for one in self._due if one[0] > until_s]
        while due:  # a machine that is told twice is told in two rounds
            _, first = np.unique([row for _, row, _ in due], return_index=True)
            now = [due[at] for at in sorted(first.tolist())]
            later = set(range(len(due))).difference(first.tolist())
            self._carry_out(now)
            due = [due[at] for at in sorted(later)]
        self.now_s = until_s

    def _carry_out(self, due: list[tuple[float, int, float]]) -> None:
        at_s = np.array([one[0] for one in due])
        rows = np.array([one[1] for one in due], dtype=np.int64)
        told_w = np.array([one[2] for one in due])
        new = told_w != self.told_w[rows]
        at_s, rows, told_w = at_s[new], rows[new], told_w[new]
        self.from_w[rows] = self.watts(at_s, rows)
        self.goal_w[rows] = self._true_w(rows, told_w)
        self.told_w[rows], self.changed_s[rows] = told_w, at_s
        self.switches[rows] += 1

    def _meter(self, until_s: float) -> None:
        """The meter looks at the site every one to two seconds and tells it two seconds later."""
        while self._meter_s <= until_s:
            seen_w = float(self.watts(self._meter_s).sum()) * (1 + float(self.random.normal(0, METER_NOISE)))
            reading = MeterReading(meter=METER, power=Power(round(seen_w)))
            self._shown.append(Heard(self._meter_s + METER_LATE_S, reading))
            self._meter_s += float(self.random.uniform(*METER_EVERY_S))

    def heard(self) -> Iterator[Heard]:
        """What arrived until now and was not told before: answers, polls, the meter."""
        for waiting in (self._answers, self._shown):
            yield from (one for one in waiting if one.at_s <= self.now_s)
        self._answers = [one for one in self._answers if one.at_s > self.now_s]
        self._shown = [one for one in self._shown if one.at_s > self.now_s]
        rows = np.flatnonzero((self._poll_s <= self.now_s) & ~self.silent)
        noise = 1 + self.random.uniform(-CLAIM_NOISE, CLAIM_NOISE, len(rows))
        claims_w = np.rint(self.watts(self._poll_s[rows], rows) * noise).astype(np.int64).tolist()
        for row, claims, at_s in zip(rows.tolist(), claims_w, self._poll_s[rows].tolist(), strict=True):
            yield Heard(at_s, self._reading(row, claims))
        self._poll_s[rows] += self.makeup.poll_s

    def _reading(self, row: int, claims_w: int) -> Reading:
        return Reading(
            device=self.specs[row].id,
            draw=Power(claims_w),
            quality=Quality.MEASURED,
            setting=Limit(Power(int(self.told_w[row]))) if self.gpu[row] else NO_LIMIT,
            hottest_c=60.0,
        )


def _asic(makeup: Makeup, at: int) -> DeviceSpec:
    """On or off. A stop shows within twice the slowest's time: it is then down to a fraction of a percent."""
    return DeviceSpec(
        id=f"a{at:05}",
        kind=DeviceKind.ASIC,
        node="site",
        points=(
            OperatingPoint(name="sleep", power=Power(makeup.idle_w), rate=0.0),
            OperatingPoint(name="full", power=Power(makeup.asic_w), rate=200.0),
        ),
        ceiling=Power(round(makeup.asic_w * 1.1)),
        dwell_s=makeup.dwell_s,
        settle_down_s=20.0,
        settle_up_s=200.0,
    )


def _gpus(makeup: Makeup) -> Iterator[DeviceSpec]:
    least_w, most_w = makeup.gpu_w
    points = tuple(
        OperatingPoint(name=f"{watts}w", power=Power(watts), rate=(watts / most_w) ** 0.6)
        for watts in range(least_w, most_w + 1, 25)
    )
    for at in range(makeup.gpus):
        yield DeviceSpec(
            id=f"g{at:05}",
            kind=DeviceKind.GPU,
            node="site",
            points=points,
            ceiling=Power(most_w),
            dwell_s=5.0,
            settle_down_s=5.0,
            settle_up_s=5.0,
            restart_s=0.0,
        )
