"""A tiny plant for the decision core: machines that obey after a delay, unless a switch says otherwise.

It knows nothing of what the core believes. `breaches` holds every moment, between ticks too, at which the
true watts below a node passed the limit in force there.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from controller.decide.inputs import Inputs, Sample
from controller.decide.invariants import check
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.devices import (
    Acknowledged,
    DeviceKind,
    DeviceSpec,
    Failed,
    Means,
    MeterReading,
    OperatingPoint,
    Outcome,
    Quality,
    Reading,
    Refused,
    SetPoint,
    ZoneReading,
)
from controller.domain.grid import GridEvent, LimitSignal, Link
from controller.domain.jobs import Job, JobAction, JobCommand, JobState, JobStatus, QueueReading
from controller.domain.power import NO_LIMIT, Limit, Power
from controller.domain.site import Prices, Site
from tests.decide.builders import NOW_S, UTC_S

QUEUE_DELAY_S = 1.0
METER_MEMORY_S = 30.0


@dataclass(slots=True, kw_only=True)
class Machine:
    """One device as it really is: `at` is where it is, `share` how much of a point's power it draws, `tells`
    how much of that it claims. A miner `without_work` draws what it does idle, and is back at once. One
    that is `frozen` goes on to say what it said last; one that `ignores_limits` says yes to them and obeys
    a stop."""

    spec: DeviceSpec
    at: OperatingPoint
    share: float = 1.0
    tells: float = 1.0
    delay_s: float = 0.4
    rise_s: float = 0.0
    idle_w: int = 60
    tells_setting: bool = True
    silent: bool = False
    unheard: bool = False
    lies: bool = False
    refuses: bool = False
    refuses_limits: bool = False
    ignores_limits: bool = False
    deaf: bool = False
    frozen: bool = False
    claims_w: int | None = None
    hottest_c: float | None = None
    working: bool = False
    without_work: bool = False
    changed_s: float = float("-inf")
    from_w: float = 0.0

    def go(self, point: OperatingPoint, at_s: float) -> None:
        self.from_w = min(self.watts(at_s), self._goal_w(point))
        self.at, self.changed_s = point, at_s

    def watts(self, at_s: float) -> float:
        goal_w = self._goal_w(self.at)
        done = 1.0 if self.rise_s == 0 else min(1.0, (at_s - self.changed_s) / self.rise_s)
        return goal_w if done >= 1 else self.from_w + done * (goal_w - self.from_w)

    def _goal_w(self, point: OperatingPoint) -> float:
        watts = point.power.watts * self.share
        idles = self.without_work or (self.spec.kind is DeviceKind.GPU and not self.working)
        return min(watts, self.idle_w) if idles else watts


@dataclass(slots=True)
class Queue:
    """A job queue that starts, suspends and requeues a moment after it was told."""

    name: str
    gpus: tuple[str, ...]
    jobs: dict[str, JobStatus] = field(default_factory=dict)
    told: list[JobCommand] = field(default_factory=list)

    def submit(self, job: Job) -> None:
        self.jobs[job.id] = JobStatus(job=job, state=JobState.QUEUED)

    def carry_out(self, command: JobCommand) -> None:
        status = self.jobs.get(command.job)
        if status is None:
            return
        match command.action:
            case JobAction.START:
                status = replace(status, state=JobState.RUNNING, gpus=command.gpus)
            case JobAction.RESUME:
                status = replace(status, state=JobState.RUNNING)
            case JobAction.SUSPEND:
                status = replace(status, state=JobState.SUSPENDED)
            case JobAction.REQUEUE:
                status = replace(status, state=JobState.QUEUED, gpus=())
        self.jobs[command.job] = status

    @property
    def reading(self) -> QueueReading:
        return QueueReading(queue=self.name, jobs=tuple(self.jobs.values()), gpus=self.gpus)

    @property
    def busy(self) -> frozenset[str]:
        running = (status for status in self.jobs.values() if status.state is JobState.RUNNING)
        return frozenset(gpu for status in running for gpu in status.gpus)


class World:
    """Ticks of one second. Every plan is checked against the invariants before it is carried out."""

    def __init__(
        self,
        site: Site,
        machines: Iterable[Machine],
        *,
        seed: int = 0,
        poll_s: float = 1.0,
        meter_lag_s: float = 0.0,
        noise: float = 0.0,
        queues: Iterable[Queue] = (),
    ) -> None:
        self.site = site
        self.machines = {machine.spec.id: machine for machine in machines}
        self.queues = {queue.name: queue for queue in queues}
        self.random = random.Random(seed)
        self.poll_s = poll_s
        self.meter_lag_s = meter_lag_s
        self.noise = noise
        self.now_s = NOW_S
        self.events: tuple[GridEvent, ...] = ()
        self.link = Link.NONE
        self.prices = site.prices
        self.other_w = {node.id: float(node.fixed.watts) for node in site.nodes}
        self.dead_meters: set[str] = set()
        self.meter_ratios: dict[str, float] = {}
        self.zones: dict[str, Sample[ZoneReading]] = {}
        self.state = State()
        self.plans: list[Plan] = []
        self.breaches: list[tuple[float, str, float]] = []
        self.readings: dict[str, Sample[Reading]] = {}
        self.outcomes: dict[str, Sample[Outcome]] = {}
        self.meters: dict[str, Sample[MeterReading]] = {}
        self._pending: list[tuple[float, SetPoint]] = []
        self._pending_jobs: list[tuple[float, JobCommand]] = []
        self._past: list[tuple[float, dict[str, float]]] = []
        self._poll_at = {name: NOW_S + self.random.uniform(0, poll_s) for name in self.machines}

    @property
    def plan(self) -> Plan:
        return self.plans[-1]

    def run(self, seconds: int) -> Plan:
        for _ in range(seconds):
            self.tick()
        return self.plan

    def tick(self) -> Plan:
        until_s = self.now_s + 1.0
        for at_s in self._carry_out(until_s):
            self._judge(at_s)
        self.now_s = until_s
        self._judge(until_s)
        self._poll()
        inputs = self.inputs()
        before = self.state
        self.state, plan = step(self.site, before, inputs)
        check(self.site, before, inputs, self.state, plan)
        for command in plan.commands:
            self._pending.append((until_s + self.machines[command.device].delay_s, command))
        self._pending_jobs += [(until_s + QUEUE_DELAY_S, command) for command in plan.job_commands]
        self.plans.append(plan)
        return plan

    def add(self, machine: Machine) -> None:
        """One more device from now on; it is asked at once."""
        self.machines[machine.spec.id] = machine
        self._poll_at[machine.spec.id] = self.now_s

    def inputs(self) -> Inputs:
        return Inputs(
            now_s=self.now_s,
            utc_s=UTC_S + self.now_s - NOW_S,
            specs=tuple(machine.spec for machine in self.machines.values()),
            readings=dict(self.readings),
            meters=dict(self.meters),
            zones=dict(self.zones),
            outcomes=dict(self.outcomes),
            queues=tuple(queue.reading for queue in self.queues.values()),
            events=self.events,
            links={} if self.link is Link.NONE else {"": self.link},
            prices=self.prices,
        )

    def watts(self, node: str = "", at_s: float | None = None) -> float:
        """True watts below a node (the root if none is named)."""
        return self._watts_at(self.now_s if at_s is None else at_s)[node or self.site.root.id]

    def limit_w(self, node: str, at_s: float) -> float:
        limits = [
            place.limit.power.watts
            for place in self.site.nodes
            if place.id == node and isinstance(place.limit, Limit)
        ]
        if node == self.site.root.id:
            utc_s = UTC_S + at_s - NOW_S
            limits += [
                signal.power.watts
                for event in self.events
                for interval in event.intervals
                if interval.start_utc_s <= utc_s < interval.end_utc_s
                for signal in interval.signals
                if isinstance(signal, LimitSignal)
            ]
        return min(limits, default=float("inf"))

    def changes(self) -> int:
        """How often any device was sent to another point than the one before."""
        last: dict[str, str] = {}
        count = 0
        for plan in self.plans:
            for command in plan.commands:
                count += last.get(command.device, command.point.name) != command.point.name
                last[command.device] = command.point.name
        return count

    def _carry_out(self, until_s: float) -> Iterator[float]:
        """What was told and is due, in order of time; yields each moment at which watts moved."""
        for at_s, job_command in [due for due in self._pending_jobs if due[0] <= until_s]:
            self.queues[job_command.queue].told.append(job_command)
            self.queues[job_command.queue].carry_out(job_command)
            self._work(at_s)
            yield at_s
        self._pending_jobs = [due for due in self._pending_jobs if due[0] > until_s]
        due = sorted((at_s, command.device, command) for at_s, command in self._pending if at_s <= until_s)
        self._pending = [(at_s, command) for at_s, command in self._pending if at_s > until_s]
        for at_s, name, command in due:
            self.outcomes[name] = Sample(at_s, self._answer(self.machines[name], command, at_s))
            yield at_s

    def _work(self, at_s: float) -> None:
        busy = frozenset(gpu for queue in self.queues.values() for gpu in queue.busy)
        for name, machine in self.machines.items():
            if machine.working is not (name in busy):
                before_w = machine.watts(at_s)
                machine.working = name in busy
                machine.from_w, machine.changed_s = min(before_w, machine.watts(at_s)), at_s

    def _answer(self, machine: Machine, command: SetPoint, at_s: float) -> Outcome:
        if command.means is Means.OUTLET:
            machine.lies = machine.deaf = machine.silent = machine.refuses = False
            machine.go(machine.spec.floor, at_s)
            return Acknowledged()
        if machine.silent or machine.deaf:
            return Failed("no answer")
        if machine.refuses or (machine.refuses_limits and command.point != machine.spec.floor):
            return Refused("not now")
        ignored = machine.ignores_limits and command.point != machine.spec.floor
        if not (machine.lies or ignored):
            machine.go(command.point, at_s)
        return Acknowledged()

    def _poll(self) -> None:
        self._work(self.now_s)
        for name, machine in self.machines.items():
            if self.now_s >= self._poll_at[name]:
                self._poll_at[name] += self.poll_s
                if not (machine.silent or machine.unheard):
                    said = self.readings.get(name) if machine.frozen else None
                    now = self._reading(machine) if said is None else said.value
                    self.readings[name] = Sample(self.now_s, now)
        self._past.append((self.now_s, self._watts_at(self.now_s)))
        self._past = [past for past in self._past if past[0] >= self.now_s - METER_MEMORY_S]
        shown = [watts for at_s, watts in self._past if at_s <= self.now_s - self.meter_lag_s]
        past = shown[-1] if shown else {}
        for node in self.site.nodes:
            if node.meter is not None and node.meter not in self.dead_meters and node.id in past:
                watts = past[node.id] * self._noise() * self.meter_ratios.get(node.meter, 1.0)
                power = Power(round(watts))
                self.meters[node.meter] = Sample(self.now_s, MeterReading(meter=node.meter, power=power))

    def _reading(self, machine: Machine) -> Reading:
        watts = machine.tells * machine.watts(self.now_s) if machine.claims_w is None else machine.claims_w
        idles = machine.without_work or (machine.spec.kind is DeviceKind.GPU and not machine.working)
        return Reading(
            device=machine.spec.id,
            draw=Power(round(watts * self._noise())),
            quality=Quality.MEASURED,
            setting=Limit(machine.at.power) if machine.tells_setting else NO_LIMIT,
            rate=0.0 if idles else machine.at.rate,
            hottest_c=machine.hottest_c,
        )

    def _noise(self) -> float:
        return 1 + self.random.uniform(-self.noise, self.noise) if self.noise else 1.0

    def _watts_at(self, at_s: float) -> dict[str, float]:
        watts = dict(self.other_w)
        for machine in self.machines.values():
            watts[machine.spec.node] += machine.watts(at_s)
        for node in reversed(self.site.nodes):
            if node.parent is not None:
                watts[node.parent] += watts[node.id]
        return watts

    def _judge(self, at_s: float) -> None:
        for name, watts in self._watts_at(at_s).items():
            limit_w = self.limit_w(name, at_s)
            if watts > limit_w + 1e-6:
                self.breaches.append((at_s, name, watts - limit_w))


def awake(spec: DeviceSpec, **changes: object) -> Machine:
    """A machine at its highest point."""
    return _machine(spec, spec.points[-1], changes)


def asleep(spec: DeviceSpec, **changes: object) -> Machine:
    """A machine at its floor."""
    return _machine(spec, spec.floor, changes)


def _machine(spec: DeviceSpec, at: OperatingPoint, changes: dict[str, object]) -> Machine:
    machine = Machine(spec=spec, at=at)
    for name, value in changes.items():
        setattr(machine, name, value)
    return machine


def prices(usd_per_ths_day: float = 0.05, usd_per_kwh: float = 0.05) -> Prices:
    return Prices(usd_per_ths_day=usd_per_ths_day, usd_per_kwh=usd_per_kwh)
