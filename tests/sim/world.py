"""One seed: a site, its plant, its operator and all that goes wrong, around the core in virtual time.

No sockets, no event loop. Everything that happens is an action at a moment; between moments the plant moves
and is judged at each of its steps. The same seed gives the same run, whatever the hash seed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from controller.decide.plan import Plan
from controller.decide.words import AlarmKind
from controller.domain.site import Prices, Service
from simulators.plant import Plant
from tests.sim import recovery, story
from tests.sim.clockwork import Clockwork
from tests.sim.court import Court
from tests.sim.fittings import fitted
from tests.sim.floor import QUEUE, Floor, draw_floor
from tests.sim.gridside import GridSide, Say
from tests.sim.jobs import Queue
from tests.sim.knobs import Knob
from tests.sim.maintenance import RESTART_S, Maintenance, in_service
from tests.sim.market import EVERY_S, Feed, Market
from tests.sim.operator import Message
from tests.sim.process import Decide, Process, checked
from tests.sim.shell import Shell
from tests.sim.swarm import Rates, Silence, draw_swarm, drawn_apart

COMES_S = 60.0
"""Once all is calm a person comes so soon after an alarm."""
CALM_SHARE, CALM_LAST_S = 0.45, 1200.0
"""Faults last until so long before the end of a run, and at least for this share of it."""


def nothing(_text: str) -> None:
    return None


class World:
    """`say` is told what happens, for a transcript; `cpu` times the core, and nothing depends on it.
    `messages` are the operator's, `floor` is the site, and `feed` tells prices, instead of what the seed has
    in store."""

    def __init__(
        self,
        seed: int,
        duration_s: float,
        devices: int = 100,
        *,
        only: Collection[str] | None = None,
        exactly: Collection[str] | None = None,
        say: Say = nothing,
        cpu: Callable[[], float] = lambda: 0.0,
        decide: Decide = checked,
        messages: Sequence[Message] | None = None,
        floor: Floor | None = None,
        feed: Feed | None = None,
    ) -> None:
        self.end_s = self._duration_s = duration_s
        self.say = say
        self.floor = floor or fitted(seed, draw_floor(seed, devices), drawn_apart(seed, only, exactly))
        calm_s = max(duration_s * CALM_SHARE, duration_s - CALM_LAST_S)
        self.swarm = draw_swarm(seed, self.floor, calm_s, only, exactly)
        if messages is not None:
            self.swarm = replace(self.swarm, messages=tuple(messages))
        self.plant = Plant(self.floor.plant, seed)
        self.clock = Clockwork()
        self.orders: set[str] = set()
        self.shell = Shell(seed, self.floor, self.plant, self.clock, self.orders.add)
        self.queue = Queue(seed, QUEUE, self.floor.queued_gpus, self.plant, self.clock)
        self.process = Process(
            seed,
            floor=self.floor,
            swarm=self.swarm,
            clock=self.clock,
            shell=self.shell,
            queue=self.queue,
            decided=self._decided,
            say=say,
            cpu=cpu,
            decide=decide,
        )
        theirs = {
            name: [message for message in self.swarm.messages if message.operator == name]
            for name in self.swarm.operators
        }
        self.grid = GridSide(self.floor.site, theirs, self.clock, self.process.wake, say)
        self.process.grid = self.grid
        feed = feed or self.swarm.feed
        self.market = None if feed is None else Market(feed, self.floor.site.prices.usd_per_kwh)
        self.process.market = self.market
        self.court = Court(
            floor=self.floor,
            plant=self.plant,
            clock=self.clock,
            shell=self.shell,
            queue=self.queue,
            process=self.process,
            grid=self.grid,
            market=self.market,
            orders=self.orders,
            response_s=self.swarm.response_s,
            calm_s=calm_s,
        )
        self.plan: Plan | None = None
        self._knobs_on: dict[tuple[str, str], int] = {}

    def run(self) -> None:
        """Until the end, or until the core breaks a rule of its own: `BrokenInvariantError`, or worse.

        A run that ends before the site had its time to recover goes on until it is well, or that is over.
        """
        self._arrange()
        self._run_until(self.end_s)
        last_s = self.swarm.calm_s + recovery.WITHIN_S
        while self.court.recovery.is_amiss and self._duration_s <= self.end_s < last_s:
            self.end_s += recovery.LOOK_EVERY_S
            self._run_until(self.end_s)
        self.court.look_at_order()

    def _run_until(self, end_s: float) -> None:
        steps, judge = self.plant.steps, self.court.judge
        for actions in self.clock.moments(end_s):
            for dt_s in steps(self.clock.now_s):
                judge.step(dt_s)
            for action in actions:
                action()

    # -- what the seed has in store ---------------------------------------------------------------------

    def _arrange(self) -> None:
        swarm, at = self.swarm, self.clock.at
        for knob in swarm.knobs:
            at(knob.at_s, partial(self._turn_on, knob))
            if knob.until_s > knob.at_s:
                at(knob.until_s, partial(self._turn_off, knob))
        for silence in swarm.silences:
            at(silence.at_s, partial(self._silence, silence))
            at(silence.until_s, partial(self._hear_again, silence))
        for silence in swarm.operator_silences:
            at(silence.at_s, partial(self.grid.deafen, 1, silence.operator))
            at(silence.until_s, partial(self.grid.deafen, -1, silence.operator))
        for at_s, by_s in swarm.jumps:
            at(at_s, partial(self._jump, by_s))
        for at_s, prices in swarm.prices:
            at(at_s, partial(self._set_prices, prices))
        for arrival in swarm.jobs:
            at(arrival.at_s, partial(self.queue.submit, arrival))
        for message in swarm.messages:
            for at_s in message.arrives_s:
                at(at_s, partial(self.grid.hear, message.result, message.operator))
        for work in swarm.maintenance:
            self._arrange_maintenance(work)
        at(swarm.calm_s / 2, self.court.look_at_order)
        at(swarm.calm_s, self._calm)
        if self.market is not None:
            self.clock.every(EVERY_S, self._hear_prices)
        self.shell.rates = swarm.rates
        self.queue.lost_commands = swarm.rates.lost_job_commands
        self.queue.start()
        self.court.sit()
        at(1.0, self.grid.keep_hearing)
        self.process.start()

    def _arrange_maintenance(self, work: Maintenance) -> None:
        at, node, drain = self.clock.at, work.node, self.court.drain
        at(work.drained_s, lambda: drain.begins(node))
        if work.drained_s < work.isolated_s:
            at(work.drained_s, lambda: self._serve(node, Service.DRAINING))
        at(work.isolated_s, lambda: self._serve(node, Service.ISOLATED))
        at(work.opened_s, lambda: self.plant.set_fault(node, "breaker_open", True))
        at(work.back_s, lambda: self._serve(node, Service.IN_SERVICE))
        at(work.closed_s, lambda: self.plant.set_fault(node, "breaker_open", False))
        at(max(work.back_s, work.closed_s), lambda: drain.ends(node))

    def _serve(self, node: str, service: Service) -> None:
        self.say(f"{node} is {service}")
        self.process.restart(in_service(self.process.site, node, service), RESTART_S)

    def _calm(self) -> None:
        """Whatever lasts ends now; what was knocked over is set up again, as people would do."""
        self.say("faults end")
        self.shell.rates = Rates()
        self.queue.lost_commands = 0.0
        self.shell.put_right()
        for node in self.plant.nodes.values():
            if node.faults.breaker_open:
                self.plant.set_fault(node.id, "breaker_open", False)

    def _turn_on(self, knob: Knob) -> None:
        self.say(f"fault {knob.fault} = {knob.value} at {knob.part}")
        self.plant.set_fault(knob.part, knob.fault, knob.value)
        self.orders.discard(knob.part)
        key = knob.part, knob.fault
        self._knobs_on[key] = self._knobs_on.get(key, 0) + 1

    def _turn_off(self, knob: Knob) -> None:
        """What two faults of a kind hold down is free when both are over."""
        key = knob.part, knob.fault
        self._knobs_on[key] -= 1
        if not self._knobs_on[key]:
            self.say(f"fault {knob.fault} is over at {knob.part}")
            healthy: bool | float = False if isinstance(knob.value, bool) else 0.0
            if knob.fault == "reported_power_factor":
                healthy = 1.0
            self.plant.set_fault(knob.part, knob.fault, healthy)
            self.orders.discard(knob.part)

    def _silence(self, silence: Silence) -> None:
        self.say(f"{len(silence.parts)} machines silent")
        self.shell.silenced |= silence.parts

    def _hear_again(self, silence: Silence) -> None:
        self.say(f"{len(silence.parts)} machines back")
        self.shell.silenced -= silence.parts

    def _jump(self, by_s: float) -> None:
        self.say(f"the wall clock steps by {by_s} s")
        self.grid.offset_s += by_s

    def _hear_prices(self) -> None:
        if self.market is not None and self.process.is_up:
            self.market.hear(self.clock.now_s)

    def _set_prices(self, prices: Prices) -> None:
        self.say(f"{prices}")
        self.process.prices = prices

    def _decided(self, plan: Plan) -> None:
        if plan.ready and self.plan is not None and not self.plan.ready:
            self.say("ready")
        self.plan = plan
        self.grid.remember(plan.standings)
        if self.clock.now_s > self.swarm.calm_s:
            for alarm in plan.alarms:
                if alarm.kind is AlarmKind.OUTLET_OFF:
                    self.clock.after(COMES_S, partial(self.shell.switch_on, alarm.subject))
        self.court.hear(plan)
        if self.say is not nothing:
            judge, use = self.court.judge, self.court.use
            self.say(story.plan_line(plan, self.plant, judge.due.watts, use.now_w))
