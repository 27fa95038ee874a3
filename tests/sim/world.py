"""One seed: a site, its plant, its operator and all that goes wrong, around the core in virtual time.

No sockets, no event loop. Everything that happens is an action at a moment; between moments the plant moves
and is judged at each of its steps. The same seed gives the same run, whatever the hash seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

from controller.decide.plan import Plan
from controller.domain.site import Prices, Service
from simulators.plant import Plant
from tests.sim import recovery, story
from tests.sim.clockwork import Clockwork
from tests.sim.cuts import Cuts
from tests.sim.doubts import Doubts
from tests.sim.drain import Drain
from tests.sim.fittings import fitted
from tests.sim.floor import QUEUE, Floor, draw_floor
from tests.sim.gridside import GridSide, Say
from tests.sim.heat import OBEYS_S, Heat
from tests.sim.jobs import Queue
from tests.sim.judge import Judge
from tests.sim.losses import Losses
from tests.sim.maintenance import RESTART_S, Maintenance, in_service
from tests.sim.market import EVERY_S, Feed, Market
from tests.sim.operator import FIRST, SECOND, Message
from tests.sim.possible import Possible
from tests.sim.process import Decide, Process, checked
from tests.sim.ramps import Pressing, Ramps
from tests.sim.recovery import Recovery, Use
from tests.sim.shell import Shell
from tests.sim.starts import Starts
from tests.sim.swarm import OPERATORS, Knob, Rates, Silence, draw_swarm, drawn_apart
from tests.sim.unused import Unused
from tests.sim.usable import Usable
from tests.sim.work import Work

LIMIT_JUDGED_EVERY_S = 0.5
JUDGE_LOOKS_EVERY_S = 2.0
PRESSING_S = 60.0
"""What was doubtful so short a time ago, others may still have to come down for."""
LOST_S = 30.0
"""An order about a job that was lost is given again so much later, and may be lost again."""
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
        names = [FIRST, SECOND] if OPERATORS in self.swarm.on else [FIRST]
        theirs = {
            name: [message for message in self.swarm.messages if message.operator == name] for name in names
        }
        self.grid = GridSide(self.floor.site, theirs, self.clock, self.process.wake, say)
        self.process.grid = self.grid
        self.possible = Possible(self.floor, self.plant, self.shell)
        self.judge = Judge(self.floor, self.plant, self.possible, self.swarm.response_s)
        self.doubts = Doubts(self.floor, self.plant, self.possible, self.shell)
        verdict = self.judge.verdict
        self.work = Work(self.floor, self.plant, self.possible, self.doubts, verdict, self._allowed_w)
        self.drain = Drain(self.floor, self.plant, self.doubts, verdict)
        self.work.is_closed = self.drain.is_closed
        self.drain.is_isolated = self.possible.is_isolated = self.process.is_isolated
        self.heat = Heat(self.floor, self.plant, self.possible, self.doubts, verdict, JUDGE_LOOKS_EVERY_S)
        pressing = Pressing(
            self.floor,
            self.plant,
            most_told_w=self._most_told_w,
            doubted=lambda name: self.doubts.within(name, PRESSING_S),
            limit_w=self._limited_w,
        )
        self.ramps = Ramps(self.floor, self.plant, verdict, pressing, self._was_lowered)
        self.judge.spared_w = lambda node: self.work.spared_w(self.queue.statuses, node)
        self.queue.obeyed = self.work.carried_out
        self.usable = Usable(self.floor, self.plant, self.possible)
        self.starts = Starts(self.floor, self.plant, verdict, self._ordered_s)
        self.usable.rests = self.starts.rests
        self.unused = Unused(self.floor, self.plant, self.possible, self.doubts, self.usable, verdict)
        self.cuts = Cuts(
            self.floor,
            self.plant,
            self.possible,
            self.doubts,
            self.usable,
            verdict,
            limit_w=lambda node: min(self._limited_w(node), self._allowed_w(node)),
            told_w=self._most_told_w,
            gives_back=self.shell.gives_back,
        )
        self.losses = Losses(self.floor, self.plant, self.possible, verdict)
        feed = feed or self.swarm.feed
        self.market = None if feed is None else Market(feed, self.floor.site.prices.usd_per_kwh)
        self.process.market = self.market
        self.use = Use(self.floor.site.root.ramp_up_per_s)
        self.recovery = Recovery(calm_s)
        self.plan: Plan | None = None
        self.ends_the_same = True
        self._restarts = {miner.id: 0 for miner in self.plant.miners.values()}
        self._knobs_on: dict[tuple[str, str], int] = {}

    def run(self) -> None:
        """Until the end, or until the core breaks a rule of its own: `BrokenInvariantError`, or worse.

        A run that ends before the site had its time to recover goes on until it is well, or that is over.
        """
        self._arrange()
        self._run_until(self.end_s)
        last_s = self.swarm.calm_s + recovery.WITHIN_S
        while self.recovery.is_amiss and self._duration_s <= self.end_s < last_s:
            self.end_s += recovery.LOOK_EVERY_S
            self._run_until(self.end_s)
        self._judge_order()

    def _run_until(self, end_s: float) -> None:
        steps, judge = self.plant.steps, self.judge
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
        at(swarm.calm_s / 2, self._judge_order)
        at(swarm.calm_s, self._calm)
        if self.market is not None:
            self._every(EVERY_S, self._hear_prices)
        self.shell.rates = swarm.rates
        self.queue.lost_commands = swarm.rates.lost_job_commands
        self.queue.start()
        if self.ramps:
            self._every(1.0, self._judge_ramps)
        self._every(1.0, self.starts.second)
        self._every(JUDGE_LOOKS_EVERY_S, self._judge_work)
        self._every(recovery.LOOK_EVERY_S, self._look)
        self._every(LIMIT_JUDGED_EVERY_S, self._judge_limit)
        at(1.0, self.grid.keep_hearing)
        self.process.start()

    def _arrange_maintenance(self, work: Maintenance) -> None:
        at, node = self.clock.at, work.node
        at(work.drained_s, lambda: self.drain.begins(node))
        if work.drained_s < work.isolated_s:
            at(work.drained_s, lambda: self._serve(node, Service.DRAINING))
        at(work.isolated_s, lambda: self._serve(node, Service.ISOLATED))
        at(work.opened_s, lambda: self.plant.set_fault(node, "breaker_open", True))
        at(work.back_s, lambda: self._serve(node, Service.IN_SERVICE))
        at(work.closed_s, lambda: self.plant.set_fault(node, "breaker_open", False))
        at(max(work.back_s, work.closed_s), lambda: self.drain.ends(node))

    def _serve(self, node: str, service: Service) -> None:
        self.say(f"{node} is {service}")
        self.process.restart(in_service(self.process.site, node, service), RESTART_S)

    def _every(self, period_s: float, action: Callable[[], None]) -> None:
        def again() -> None:
            self.clock.after(period_s, again)
            action()

        self.clock.after(period_s, again)

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

    # -- judging ------------------------------------------------------------------------------------------

    def _decided(self, plan: Plan) -> None:
        now_s = self.clock.now_s
        if plan.ready and self.plan is not None and not self.plan.ready:
            self.say("ready")
        if plan.ready:
            from_s = now_s + self.swarm.response_s
            self.judge.nodes_from_s = min(self.judge.nodes_from_s, from_s)
        else:
            self.starts.begins()
            self.judge.awaits(now_s - self.process.began_s)
        self.plan = plan
        self.grid.remember(plan.standings)
        self.starts.told(plan)
        self.cuts.told(plan.commands)
        self.drain.told(plan)
        self._judge_limit()
        if self.say is not nothing:
            self.say(story.plan_line(plan, self.plant, self.judge.due.watts, self.use.now_w))

    def _judge_limit(self) -> None:
        """Nobody is there to learn of a tighter limit while the controller is away or not ready."""
        self.grid.note_link()
        self.grid.note_draw(self.plant.site_power_w)
        limit_w = self.grid.limit_w()
        self.unused.pays(self.grid.asked.usd_per_kwh, self._prices_now())
        if not self.process.is_ready:
            self.judge.away_s = self.clock.now_s
        self.judge.asks(self.grid.asked, limit_w, heard=self.process.is_ready)

    def _ordered_s(self, name: str) -> float:
        told = self.shell.told.get(name)
        return -math.inf if told is None else told.at_s

    def _was_lowered(self, name: str) -> bool:
        told = self.shell.told.get(name)
        return told is not None and told.watts < told.before_w

    def _most_told_w(self, name: str) -> float:
        told = self.shell.told.get(name)
        return 0.0 if told is None else float(told.most_w(self.clock.now_s))

    def _limited_w(self, node: str) -> float:
        """What a place may carry at this moment."""
        if node == self.floor.site.root.id:
            return min(self.grid.limit_w(), self.grid.asked.efforts.get("", math.inf))
        ask = self.grid.asked
        asked_w = min(ask.at_nodes.get(node, math.inf), ask.efforts.get(node, math.inf))
        return min(self.usable.limits_w[node], asked_w)

    def _judge_work(self) -> None:
        self.judge.look()
        self.doubts.look()
        in_charge = self.clock.now_s - self.judge.away_s > OBEYS_S
        self.heat.look(in_charge=in_charge)
        self.drain.look(in_charge=in_charge)
        now_s, lost_s = self.clock.now_s, self.queue.lost_s
        statuses = self.queue.statuses
        unheard = [
            status.job.id
            for status in statuses
            if self.queue.name in self.shell.silenced or now_s - lost_s.get(status.job.id, -LOST_S) < LOST_S
        ]
        self.work.look(statuses, is_away=not self.process.is_ready, unheard=unheard)

    def _allowed_w(self, node: str) -> float:
        return self.grid.soonest_w("" if node == self.floor.site.root.id else node)

    def _judge_order(self) -> None:
        """P5, while there is something to be told apart; in the end most events are over."""
        self.ends_the_same &= self.grid.ends_the_same_in_any_order(random.Random(self.clock.now_s))

    def _judge_ramps(self) -> None:
        """A miner that boots, as its breaker closes or by itself, or that trips, moves by nobody's order."""
        for miner in self.plant.miners.values():
            if miner.boots + miner.trips != self._restarts[miner.id]:
                self._restarts[miner.id] = miner.boots + miner.trips
                self.orders.discard(miner.id)
        now_s = self.clock.now_s
        in_charge = now_s - self.judge.away_s > PRESSING_S
        self.ramps.second(self.orders, judged=now_s >= self.judge.nodes_from_s, in_charge=in_charge)

    def _prices_now(self) -> Prices:
        prices = self.process.prices
        if self.market is None:
            return prices
        return replace(prices, usd_per_kwh=self.market.usd_per_kwh(self.grid.utc_s))

    def _look(self) -> None:
        ask, limit_w = self.grid.asked, self.grid.limit_w()
        prices = self._prices_now()
        usd = prices.usd_per_kwh if ask.usd_per_kwh is None else ask.usd_per_kwh
        if ask.target_w < limit_w:
            usd = 0.0  # a set-point pays for the energy that it asks for
        cap_w = min(limit_w, ask.target_w, ask.efforts.get("", math.inf))
        within_w = {node: watts for node, watts in {**ask.efforts, **ask.at_nodes}.items() if node}
        within_w |= dict.fromkeys(self.drain.closed, 0.0)
        self.use.look(self.usable.most_w(prices, usd, cap_w, within_w), self.usable.held_w())
        now_s = self.clock.now_s
        in_charge = self.judge.nodes_from_s <= now_s and now_s - self.judge.away_s > PRESSING_S
        demand = self.grid.demand(self.unused.soon_s)
        demand = replace(demand, at_w={**demand.at_w, **dict.fromkeys(self.drain.closed, 0.0)})
        self.cuts.look(prices, usd)
        self.losses.look(prices, usd, excused=not in_charge or ask.target_w < math.inf)
        self.unused.look(prices, usd, demand, in_charge=in_charge)
        if self.judge.nodes_from_s <= now_s < self.swarm.calm_s:
            self.use.count(self.plant.site_power_w)
        elif now_s >= self.swarm.calm_s and self.plan is not None:
            curtailed = cap_w < self.usable.limits_w[self.floor.site.root.id]
            could_run = () if curtailed else self.queue.could_run(self.usable.feeds)
            self.recovery.look(self.plant, self.use.now_w, self.plan, could_run)
