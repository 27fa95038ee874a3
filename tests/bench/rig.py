"""A big plant under the real core in virtual time: every tick is decided and checked, commands fan out."""

from __future__ import annotations

import time

from controller.decide.inputs import Inputs, Sample
from controller.decide.invariants import check
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.devices import MeterReading, Outcome, Reading
from controller.domain.grid import EventInterval, GridEvent, Signal
from controller.domain.jobs import FlexTier, Job, JobState, JobStatus, OnShortage, QueueReading
from controller.domain.power import Limit, Power
from controller.domain.site import Node, Policy, Site
from tests.bench.bigplant import METER, BigPlant

UTC_S = 1.7e9
LOOK_S = 0.1
"""True power is looked at this often between ticks."""


class Rig:
    """`drawn` has what the site truly drew, `LOOK_S` apart; `cpu_s` what each tick took."""

    def __init__(self, plant: BigPlant, *, tick_s: float = 1.0, limit_w: int, lead_s: float = 20.0) -> None:
        self.plant = plant
        root = Node(id="site", limit=Limit(Power(limit_w)), meter=METER)
        self.site = Site(name="bench", nodes=(root,), policy=Policy(tick_s=tick_s, event_lead_s=lead_s))
        self.state = State()
        self.events: tuple[GridEvent, ...] = ()
        self.readings: dict[str, Sample[Reading]] = {}
        self.meters: dict[str, Sample[MeterReading]] = {}
        self.outcomes: dict[str, Sample[Outcome]] = {}
        self.queues = (_one_job_each(plant),)
        self.drawn: list[tuple[float, float]] = []
        self.cpu_s: list[float] = []
        self.plan: Plan | None = None

    def until(self, until_s: float, look_s: float = LOOK_S) -> None:
        """Let time go on without a tick."""
        plant = self.plant
        steps = max(1, round((until_s - plant.now_s) / look_s))
        began_s = plant.now_s
        for at in range(1, steps + 1):
            plant.advance(began_s + (until_s - began_s) * at / steps)
            self.drawn.append((plant.now_s, plant.site_w()))

    def tick(self) -> Plan:
        """Decide now."""
        for heard in self.plant.heard():
            match heard.said:
                case Reading():
                    self.readings[heard.said.device] = Sample(heard.at_s, heard.said)
                case MeterReading():
                    self.meters[METER] = Sample(heard.at_s, heard.said)
                case (device, outcome):
                    self.outcomes[device] = Sample(heard.at_s, outcome)
        inputs = Inputs(
            now_s=self.plant.now_s,
            utc_s=UTC_S + self.plant.now_s,
            specs=self.plant.specs,
            readings=dict(self.readings),
            meters=dict(self.meters),
            outcomes=dict(self.outcomes),
            queues=self.queues,
            events=self.events,
        )
        began_s = time.process_time()
        state, plan = step(self.site, self.state, inputs)
        check(self.site, self.state, inputs, state, plan)
        self.cpu_s.append(time.process_time() - began_s)
        self.plant.send(plan.commands)
        self.state, self.plan = state, plan
        return plan

    def run(self, seconds: float) -> None:
        """Tick at the site's own pace for a while."""
        for _ in range(round(seconds / self.site.policy.tick_s)):
            self.until(self.plant.now_s + self.site.policy.tick_s)
            self.tick()


def event(
    name: str, signal: Signal, start_s: float, end_s: float = float("inf"), version: int = 0
) -> GridEvent:
    interval = EventInterval(start_utc_s=UTC_S + start_s, end_utc_s=UTC_S + end_s, signals=(signal,))
    return GridEvent(id=name, version_utc_s=UTC_S + version, source="bench", intervals=(interval,))


def _one_job_each(plant: BigPlant) -> QueueReading:
    """Every GPU runs a job that may lose half of its throughput."""
    gpus = [spec.id for spec in plant.specs[plant.makeup.asics :]]
    jobs = tuple(
        JobStatus(
            job=Job(
                id=f"j-{gpu}",
                gpus=1,
                usd_per_gpu_hour=2.0,
                flex=FlexTier.BROAD,
                on_shortage=OnShortage.REQUEUE,
            ),
            state=JobState.RUNNING,
            gpus=(gpu,),
        )
        for gpu in gpus
    )
    return QueueReading(queue="q", jobs=jobs, gpus=tuple(gpus))
