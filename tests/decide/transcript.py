"""Plays a scenario file: unindented lines are what happens, indented ones what the core made of it.

site limit_w=10000 lead_s=20 meter=mains      policy fields may follow; a meter is optional
node pdu parent=site limit_w=5000
miners a b c at=full node=pdu                 fields of Machine and DeviceSpec may follow
gpus g0 at=200w
job train gpus=1 usd=5 flex=RIGID             submitted to the one queue of all GPUs
event dr limit_w=6000 in=30s for=60s
set b lies=yes                                a switch of a machine
tick | advance 30s
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from controller.decide.plan import Plan
from controller.domain.devices import DeviceSpec, OperatingPoint, ThermalLimits
from controller.domain.jobs import FlexTier, OnShortage
from controller.domain.power import Limit
from controller.domain.site import Node
from tests.decide.builders import event, gpu, job, miner, node, site
from tests.decide.world import Machine, Queue, World

SPEC_FIELDS = {entry.name for entry in fields(DeviceSpec)}


def play(script: str) -> str:
    """The script with its answers: the same text again when nothing has changed."""
    stage = Stage()
    lines: list[str] = []
    for line in script.splitlines():
        if not line.startswith("  "):
            lines.append(line)
            lines += [f"  {said}" for said in stage.do(line)]
    return "\n".join(lines) + "\n"


class Stage:
    """The site is put together by the first lines and begins with the first tick."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self.below: list[Node] = []
        self.machines: list[Machine] = []
        self.jobs = Queue("q", ())
        self.world: World | None = None

    def do(self, line: str) -> list[str]:
        words = line.split()
        if not words or words[0].startswith("#"):
            return []
        given = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        names = [word for word in words[1:] if "=" not in word]
        match words[0]:
            case "site":
                self.root = {key: _value(text) for key, text in given.items()}
            case "node":
                self.below.append(node(names[0], **{key: _value(text) for key, text in given.items()}))
            case "miners":
                self.machines += [_machine(miner, name, given) for name in names]
            case "gpus":
                self.machines += [_machine(gpu, name, given) for name in names]
                self.jobs.gpus += tuple(names)
            case "tick":
                return self._advance(1)
            case "advance":
                return self._advance(int(names[0].rstrip("s")))
            case _:
                self._meanwhile(words[0], names, given)
        return []

    def _meanwhile(self, verb: str, names: list[str], given: dict[str, str]) -> None:
        world = self._running()
        match verb:
            case "job":
                self.jobs.submit(_job(names[0], given))
            case "event":
                start_s = world.now_s + float(given.get("in", "0s").rstrip("s"))
                end_s = start_s + float(given["for"].rstrip("s")) if "for" in given else math.inf
                said = {key: _value(text) for key, text in given.items() if key not in ("in", "for")}
                world.events += (event(names[0], start_s=start_s, end_s=end_s, **said),)
            case "set":
                for name in names:
                    for key, text in given.items():
                        setattr(world.machines[name], key, _value(text))
            case "forget":
                for name in names:
                    machine = world.machines[name]
                    machine.go(machine.spec.points[-1], world.now_s)
            case _:
                raise ValueError(f"no such line: {verb}")

    def _running(self) -> World:
        if self.world is None:
            queues = [self.jobs] if self.jobs.gpus else []
            self.world = World(site(*self.below, **self.root), self.machines, queues=queues)
        return self.world

    def _advance(self, seconds: int) -> list[str]:
        world = self._running()
        said = []
        for second in range(1, seconds + 1):
            before = {name: machine.at for name, machine in world.machines.items()}
            orders = _orders(world.tick(), before)
            if orders:
                said.append(f"+{second}s {orders}")
        return [*said, *_standing(world)]


def _orders(plan: Plan, before: dict[str, OperatingPoint]) -> str:
    lower = [f"{told.device} {told.point.name}" for told in plan.commands if told.device not in plan.raised]
    higher = [f"{told.device} {told.point.name}" for told in plan.commands if told.device in plan.raised]
    jobs = [" ".join((told.action.value, told.job, *told.gpus)) for told in plan.job_commands]
    told = (("lower", lower), ("raise", higher), ("job", jobs))
    return "   ".join(f"{verb} {', '.join(what)}" for verb, what in told if what)


def _standing(world: World) -> list[str]:
    plan = world.plan
    grants = [
        " ".join(
            filter(
                None, (grant.device, grant.point.name, str(grant.power.watts), grant.reason, grant.limited_by)
            )
        )
        for grant in plan.grants
    ]
    cap = plan.cap.power.watts if isinstance(plan.cap, Limit) else "none"
    total_w = plan.nodes[0].granted.watts
    said = ["   ".join(grants), f"granted {total_w} of {cap} ({plan.cap_reason})   drawn {world.watts():.0f}"]
    alarms = [f"{alarm.kind} {alarm.subject}" for alarm in plan.alarms]
    return [*said, f"alarm {', '.join(alarms)}"] if alarms else said


def _machine(build: Callable[..., DeviceSpec], name: str, given: dict[str, str]) -> Machine:
    values = {key: _value(text) for key, text in given.items() if key != "at"}
    spec = build(name, **{key: value for key, value in values.items() if key in SPEC_FIELDS})
    at = next(point for point in spec.points if point.name == given.get("at", spec.floor.name))
    machine = Machine(spec=spec, at=at)
    for key, value in values.items():
        if key == "derates":
            machine.spec = replace(spec, thermal=ThermalLimits(derate_c=80.0, trip_c=90.0))
        elif key not in SPEC_FIELDS:
            setattr(machine, key, value)
    return machine


def _job(name: str, given: dict[str, str]) -> Any:
    said = {key: _value(text) for key, text in given.items() if key in ("gpus", "usd")}
    flex = FlexTier[given.get("flex", "MODERATE")]
    return job(name, **said, flex=flex, on_shortage=OnShortage[given.get("on_shortage", "REQUEUE")])


def _value(text: str) -> Any:
    match text:
        case "yes" | "no":
            return text == "yes"
        case _ if text.removeprefix("-").isdigit():
            return int(text)
        case _:
            try:
                return float(text)
            except ValueError:
                return text
