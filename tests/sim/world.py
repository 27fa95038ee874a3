"""The decision core against the plant in virtual time: no sockets, no event loop, one seed.

The world plays the shell: it polls, stamps, loses and delays what passes between core and plant, and
judges what happened from the plant's physical truth.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from controller.decide.invariants import check
from controller.decide.plan import Inputs, Plan, Sample
from controller.decide.snapshot import State
from controller.decide.step import step
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
    SetPoint,
)
from controller.domain.grid import EventInterval, GridEvent, LimitSignal
from controller.domain.power import Limit, Power
from controller.domain.site import Node, Policy, Site
from simulators.config import PlantConfig
from simulators.physics.miner import Miner
from simulators.plant import Plant

UTC_S = 1_700_000_000.0
POLL_S = 5.0
RESPONSE_S = 10.0
"""Time from an event's start to full compliance, as a contract would grant it."""
RATED_W = 3500
NODES = ("pdu-0", "pdu-1", "pdu-2")
SHARES = {"sleep": 0.0, "low": 0.7, "full": 1.0}


def plant_config(seed: int, miners: int) -> PlantConfig:
    per_node = miners // len(NODES)
    return PlantConfig.model_validate(
        {
            "seed": seed,
            "nodes": [
                {"id": "site", "load_w": 2000},
                *({"id": node, "parent": "site", "breaker_w": per_node * RATED_W * 0.95} for node in NODES),
            ],
            "meters": [{"id": "site-meter", "node": "site", "unit": 1, "delay_s": 1.5}],
            "miners": [
                {
                    "name": node.replace("pdu", "asic"),
                    "family": "luxos",
                    "model": "Antminer S21",
                    "count": per_node,
                    "first_address": f"127.1.{at}.1",
                    "node": node,
                    "rated_w": RATED_W,
                    "rated_ths": 200,
                    "wake_s": 30,
                    "points": [
                        {"name": "low", "power_w": RATED_W * 0.7, "ths": 150},
                        {"name": "full", "power_w": RATED_W, "ths": 200},
                    ],
                }
                for at, node in enumerate(NODES)
            ],
        }
    )


def spec_of(miner: Miner) -> DeviceSpec:
    return DeviceSpec(
        id=miner.id,
        kind=DeviceKind.ASIC,
        node=miner.node,
        points=(
            OperatingPoint(name="sleep", power=Power(30), rate=0.0),
            OperatingPoint(name="low", power=Power(2450), rate=150.0),
            OperatingPoint(name="full", power=Power(RATED_W), rate=200.0),
        ),
        ceiling=Power(3700),
        stale_after_s=15.0,
        dwell_s=30.0,
        settle_down_s=12.0,
        settle_up_s=60.0,
        restart_s=60.0,
    )


@dataclass(slots=True)
class Verdict:
    """From the plant alone. `breaches` holds the seconds at which a limit that must hold did not."""

    breaches: list[tuple[float, str, float]] = field(default_factory=list)
    used: list[float] = field(default_factory=list)


class World:
    """One site and its plant. `faults` and `announce_at` are played when `tick` gets there."""

    def __init__(self, seed: int, miners: int = 24, cap_share: float = 0.85) -> None:
        self.random = random.Random(seed)
        self.plant = Plant(plant_config(seed, miners))
        self.specs = tuple(spec_of(miner) for miner in self.plant.miners.values())
        rated_w = miners * RATED_W
        self.site = Site(
            name="world",
            nodes=(
                Node(
                    id="site",
                    limit=Limit(Power(int(rated_w * cap_share))),
                    fixed=Power(2000),
                    meter="site-meter",
                    ramp_up_per_s=Limit(Power(4000)),
                ),
                *(
                    Node(id=node, parent="site", limit=Limit(Power(int(rated_w / len(NODES) * 0.95))))
                    for node in NODES
                ),
            ),
            policy=Policy(event_lead_s=20.0, retry_s=15.0),
        )
        self.state = State()
        self.readings: dict[str, Sample[Reading]] = {}
        self.outcomes: dict[str, Sample[Outcome]] = {}
        self.meters: dict[str, Sample[MeterReading]] = {}
        self.events: tuple[GridEvent, ...] = ()
        self.pending: list[tuple[float, SetPoint]] = []
        self.poll_at = {name: self.random.uniform(0, POLL_S) for name in self.plant.miners}
        self.faults: list[tuple[float, str, str, bool]] = []
        self.announce_at: list[tuple[float, dict[str, int]]] = []
        self.plans: list[Plan] = []
        self.verdict = Verdict()

    def announce(self, *, cap_w: int, in_s: float, for_s: float) -> None:
        start_s = UTC_S + self.plant.now_s + in_s
        interval = EventInterval(
            start_utc_s=start_s, end_utc_s=start_s + for_s, signals=(LimitSignal(Power(cap_w)),)
        )
        name = f"event-{len(self.events)}"
        self.events += (GridEvent(id=name, version_utc_s=start_s, source="test", intervals=(interval,)),)

    def tick(self) -> Plan:
        """One second of plant time, then one plan."""
        self.plant.advance(self.plant.now_s + 1.0)
        now_s = self.plant.now_s
        self._play(now_s)
        self._deliver(now_s)
        self._poll(now_s)
        inputs = self._inputs(now_s)
        before = self.state
        self.state, plan = step(self.site, before, inputs)
        check(self.site, before, inputs, self.state, plan)
        self.pending += [(now_s + self.random.uniform(0.1, 1.5), command) for command in plan.commands]
        self.plans.append(plan)
        self._judge(now_s)
        return plan

    def _play(self, now_s: float) -> None:
        for at_s, device, fault, value in self.faults:
            if now_s - 1.0 < at_s <= now_s:
                self.plant.set_fault(device, fault, value)
        for at_s, event in self.announce_at:
            if now_s - 1.0 < at_s <= now_s:
                self.announce(**event)

    def _inputs(self, now_s: float) -> Inputs:
        return Inputs(
            now_s=now_s,
            utc_s=UTC_S + now_s,
            specs=self.specs,
            readings=dict(self.readings),
            meters=dict(self.meters),
            outcomes=dict(self.outcomes),
            events=self.events,
        )

    def _poll(self, now_s: float) -> None:
        for name, meter in self.plant.meters.items():
            if not meter.faults.dead:
                power = Power.up(meter.value_w)
                self.meters[name] = Sample(now_s, MeterReading(meter=name, power=power))
        for name, miner in self.plant.miners.items():
            if now_s >= self.poll_at[name]:
                self.poll_at[name] = now_s + POLL_S
                if miner.reachable and not miner.faults.hangs and self.random.random() > 0.03:
                    self.readings[name] = Sample(now_s, _reading(miner, now_s))

    def _deliver(self, now_s: float) -> None:
        due = [command for at_s, command in self.pending if at_s <= now_s]
        self.pending = [(at_s, command) for at_s, command in self.pending if at_s > now_s]
        for command in due:
            miner = self.plant.miners[command.device]
            if not miner.reachable or miner.faults.hangs or self.random.random() < 0.02:
                self.outcomes[miner.id] = Sample(now_s, Failed("no answer"))
                continue
            if command.point.name == "sleep":
                miner.sleep()
            else:
                miner.set_point(command.point.name)
                miner.wake()
            if self.random.random() < 0.02:  # carried out, and the answer lost
                self.outcomes[miner.id] = Sample(now_s, Failed("answer lost"))
            else:
                self.outcomes[miner.id] = Sample(now_s, Acknowledged())

    def _judge(self, now_s: float) -> None:
        """P1: the true site power against what holds now. What was unseen by anybody is not excused."""
        cap_w = self.cap_w(now_s)
        watts = self.plant.site_power_w
        if watts > cap_w:
            self.verdict.breaches.append((now_s, "site", watts - cap_w))
        for node in self.site.nodes[1:]:
            assert isinstance(node.limit, Limit)
            over_w = self.plant.node_power_w(node.id) - node.limit.power.watts
            if over_w > 0:
                self.verdict.breaches.append((now_s, node.id, over_w))
        self.verdict.used.append(watts / cap_w)

    def cap_w(self, now_s: float) -> float:
        assert isinstance(self.site.root.limit, Limit)
        caps = [float(self.site.root.limit.power.watts)]
        for event in self.events:
            interval = event.intervals[0]
            if interval.start_utc_s + RESPONSE_S <= UTC_S + now_s < interval.end_utc_s:
                caps += [float(s.power.watts) for s in interval.signals if isinstance(s, LimitSignal)]
        return min(caps)


def _reading(miner: Miner, now_s: float) -> Reading:
    report = miner.report(now_s)
    setting_w = 30 if report.asleep else round(report.setting_w)
    return Reading(
        device=miner.id,
        draw=Power.up(report.watts),
        quality=Quality.MEASURED,
        setting=Limit(Power(setting_w)),
        rate=report.rate_ths,
        hottest_c=report.hottest_c,
    )
