"""All judges of one world: which there are, what each is told, and when it looks."""

from __future__ import annotations

import math
import random
from dataclasses import replace

from controller.decide.plan import Plan
from controller.domain.site import Prices
from simulators.physics.miner import MinerState
from simulators.plant import Plant
from tests.sim import recovery
from tests.sim.accused import Accused
from tests.sim.case import Case
from tests.sim.clockwork import Clockwork
from tests.sim.cuts import Cuts
from tests.sim.drain import Drain
from tests.sim.floor import Floor
from tests.sim.foretold import Foretold
from tests.sim.gridside import GridSide
from tests.sim.heat import OBEYS_S, Heat
from tests.sim.jobs import Queue
from tests.sim.judge import Judge
from tests.sim.left import Left
from tests.sim.losses import Losses
from tests.sim.market import Market
from tests.sim.paced import Paced
from tests.sim.process import Process
from tests.sim.ramps import PRESSING_S, Pressing, Ramps
from tests.sim.recovery import Recovery, Use
from tests.sim.shell import Shell
from tests.sim.starts import Starts
from tests.sim.trailing import Trailing
from tests.sim.unused import DOUBTED_S, Demand, Unused
from tests.sim.wear import Wear
from tests.sim.work import Work

COMES_UP = frozenset({MinerState.DARK, MinerState.REBOOTING, MinerState.STARTING})
"""A miner on its way up from a boot."""
LIMIT_JUDGED_EVERY_S = 0.5
JUDGE_LOOKS_EVERY_S = 2.0
LOST_S = 30.0
"""An order about a job that was lost is given again so much later, and may be lost again."""


class Court:
    """`orders` are the machines that move because they were told; faults end at `calm_s`."""

    def __init__(
        self,
        *,
        floor: Floor,
        plant: Plant,
        clock: Clockwork,
        shell: Shell,
        queue: Queue,
        process: Process,
        grid: GridSide,
        market: Market | None,
        orders: set[str],
        response_s: float,
        calm_s: float,
    ) -> None:
        self._floor = floor
        self._plant = plant
        self._clock = clock
        self._shell = shell
        self._queue = queue
        self._process = process
        self._grid = grid
        self._market = market
        self._orders = orders
        self._response_s = response_s
        self._calm_s = calm_s
        case = Case(floor, plant, shell)
        self.verdict = verdict = case.verdict
        self.possible = possible = case.possible
        self.doubts = case.doubts
        self.usable = usable = case.usable
        self.judge = Judge(case, response_s)
        self.work = Work(case, self._allowed_w)
        self.drain = Drain(case)
        self.heat = Heat(case, JUDGE_LOOKS_EVERY_S)
        self.ramps = Ramps(case, Pressing(case, self._limited_w))
        self.paced = Paced(floor, plant, usable, recovery.LOOK_EVERY_S)
        self.starts = Starts(case)
        self.unused = Unused(case)
        self.cuts = Cuts(case, lambda node: min(self._limited_w(node), self._allowed_w(node)))
        self.losses = Losses(case)
        self.wear = Wear(case, self.cuts.has_room)
        self.left = Left(plant, verdict)
        root = floor.site.root.id
        self.trailing = Trailing(plant, root, usable.limits_w[root], verdict)
        self.accused = Accused(case)
        self.foretold = Foretold(case)
        self.use = Use(floor.site.root.ramp_up_per_s)
        self.recovery = Recovery(calm_s)
        self.ends_the_same = True
        """P5: whether the same messages in another order left the same events."""
        self.work.is_closed = self.drain.is_closed
        self.drain.isolated = possible.isolated = process.isolated
        self.judge.spared_w = lambda node: self.work.spared_w(queue.statuses, node)
        usable.rests = lambda name: self.starts.rests(name) or self.wear.rests(name)
        self.recovery.rests = usable.rests
        self.recovery.is_given_up = self.cuts.is_given_up
        queue.obeyed = self.work.carried_out
        self._plan: Plan | None = None
        self._began_s = -math.inf
        self._offset_s = 0.0
        """Of the clock on the wall, when the process began."""
        self._restarts = {miner.id: 0 for miner in plant.miners.values()}
        self._boot: set[str] = set()

    def sit(self) -> None:
        """From now on each looks as often as it has to."""
        every = self._clock.every
        if self.ramps:
            every(1.0, self._look_at_ramps)
        every(1.0, self.starts.second)
        every(1.0, self.wear.second)
        every(JUDGE_LOOKS_EVERY_S, self._look_at_work)
        every(recovery.LOOK_EVERY_S, self._look_at_use)
        every(LIMIT_JUDGED_EVERY_S, self._look_at_limits)

    def hear(self, plan: Plan) -> None:
        """What was decided, before its orders are sent."""
        now_s, began_s = self._clock.now_s, self._process.began_s
        if began_s != self._began_s or not plan.ready:
            self._began_s = began_s
            self.starts.begins(clock_set_back=self._grid.offset_s < self._offset_s)
            self._offset_s = self._grid.offset_s
            self.wear.begins()
        if plan.ready:
            self.judge.nodes_from_s = min(self.judge.nodes_from_s, now_s + self._response_s)
        else:
            self.judge.awaits(now_s - began_s)
        self._plan = plan
        self.starts.told(plan)
        if self._grid.asked.target_w < math.inf:
            self.losses.steered()
        self._tell_wear(plan)
        self.cuts.told(plan.commands)
        self.drain.told(plan)
        self._look_at_limits()

    def _tell_wear(self, plan: Plan) -> None:
        if self.wear.is_on:
            ask, prices = self._grid.asked, self._prices_now()
            usd = prices.usd_per_kwh if ask.usd_per_kwh is None else ask.usd_per_kwh
            limited = min(ask.limit_w, ask.efforts.get("", math.inf)) < math.inf
            self.wear.told(plan, prices, usd, steered=ask.target_w < math.inf, limited=limited)

    def look_at_order(self) -> None:
        """P5, while there is something to be told apart; in the end most events are over."""
        self.ends_the_same &= self._grid.ends_the_same_in_any_order(random.Random(self._clock.now_s))

    def _look_at_limits(self) -> None:
        """Nobody is there to learn of a tighter limit while the controller is away or not ready."""
        self._grid.note_link()
        self._grid.note_draw(self._plant.site_power_w)
        limit_w = self._grid.limit_w()
        self.unused.hears(self._grid.asked.usd_per_kwh, self._prices_now(), limit_w)
        if not self._process.is_ready:
            self.judge.away_s = self._clock.now_s
        self.judge.asks(self._grid.asked, limit_w, heard=self._process.is_ready)

    def _look_at_work(self) -> None:
        self.judge.look()
        self.doubts.look()
        in_charge = self._clock.now_s - self.judge.away_s > OBEYS_S
        self.heat.look(in_charge=in_charge)
        self.drain.look(in_charge=in_charge)
        if self._plan is not None:
            self.accused.look(self._plan, in_charge=in_charge)
            self.foretold.look(self._plan, self._grid.events, self._grid.utc_s, in_charge=in_charge)
        now_s, lost_s = self._clock.now_s, self._queue.lost_s
        statuses = self._queue.statuses
        unheard = [
            status.job.id
            for status in statuses
            if self._queue.name in self._shell.silenced or now_s - lost_s.get(status.job.id, -LOST_S) < LOST_S
        ]
        held = self.unused.is_network_suspect
        self.work.look(statuses, is_away=not self._process.is_ready, is_held=held, unheard=unheard)

    def _look_at_ramps(self) -> None:
        """A miner that boots, as its breaker closes or by itself, or that trips, moves by nobody's order, not
        even by one that meets it on its way up."""
        for miner in self._plant.miners.values():
            if miner.boots + miner.trips != self._restarts[miner.id]:
                self._restarts[miner.id] = miner.boots + miner.trips
                self._boot.add(miner.id)
                self._orders.discard(miner.id)
            if miner.id in self._boot and miner.state in COMES_UP:
                self._orders.discard(miner.id)
            else:
                self._boot.discard(miner.id)
        now_s = self._clock.now_s
        in_charge = now_s - self.judge.away_s > PRESSING_S
        self.ramps.second(self._orders, judged=now_s >= self.judge.nodes_from_s, in_charge=in_charge)

    def _look_at_use(self) -> None:
        ask, limit_w = self._grid.asked, self._grid.limit_w()
        prices = self._prices_now()
        usd = prices.usd_per_kwh if ask.usd_per_kwh is None else ask.usd_per_kwh
        if ask.target_w < limit_w:
            usd = 0.0  # a set-point pays for the energy that it asks for
        cap_w = min(limit_w, ask.target_w, ask.efforts.get("", math.inf))
        within_w = {node: watts for node, watts in {**ask.efforts, **ask.at_nodes}.items() if node}
        within_w |= dict.fromkeys(self.drain.closed, 0.0)
        self.usable.look(prices, usd)
        self.use.look(self.paced.most_w(cap_w, within_w), self.usable.held_w())
        now_s = self._clock.now_s
        in_charge = self.judge.nodes_from_s <= now_s and now_s - self.judge.away_s > PRESSING_S
        demand = self._grid.demand(self.unused.soon_s)
        demand = replace(demand, at_w={**demand.at_w, **dict.fromkeys(self.drain.closed, 0.0)})
        self.cuts.look(prices, usd, steered=ask.target_w < math.inf)
        excused = not in_charge or ask.target_w < math.inf or self.wear.is_on
        self.losses.look(prices, usd, excused=excused)
        self.unused.look(demand, in_charge=in_charge)
        suspect = not in_charge or self.unused.is_network_suspect
        self._look_at_jobs(demand, excused=suspect)
        self._look_at_target(demand, excused=suspect)
        if self.judge.nodes_from_s <= now_s < self._calm_s:
            self.use.count(self._plant.site_power_w)
        elif now_s >= self._calm_s and self._plan is not None:
            curtailed = cap_w < self.usable.limits_w[self._floor.site.root.id]
            could_run = () if curtailed else self._queue.could_run(self.usable.feeds)
            owed = self.left.owed(self._queue.statuses, could_run)
            self.recovery.look(self._plant, self.use.now_w, self._plan, owed)

    def _look_at_jobs(self, demand: Demand, *, excused: bool) -> None:
        """Jobs that wait, while operators ask for nothing and meters are in order, and what GPUs say."""
        queue, now_s = self._queue, self._clock.now_s
        excused |= min(demand.limit_w, demand.target_w) < self.usable.limits_w[self._floor.site.root.id]
        excused |= bool(demand.at_w) or queue.name in self._shell.silenced
        excused |= any(self.doubts.within(name, DOUBTED_S) for name in self._plant.nodes)
        excused |= any(map(self.doubts.misreports, queue.gpus))
        excused |= self.work.were_warm(queue.gpus)
        lost = {name for name, at_s in queue.lost_s.items() if now_s - at_s < LOST_S}
        could_run = queue.could_run(self.usable.feeds, lambda gpu: self.doubts.within(gpu, DOUBTED_S))
        self.left.look(queue.statuses, set(could_run) - lost, excused=excused)

    def _look_at_target(self, demand: Demand, *, excused: bool) -> None:
        target_w, root = self._grid.asked.target_w, self._floor.site.root.id
        if target_w == math.inf or excused or demand.at_w or demand.limit_w < target_w:
            self.trailing.look(target_w, 0.0, 0.0, excused=True)
            return
        most_w = self.unused.surely_w(replace(demand, target_w=math.inf))
        self.trailing.look(target_w, self.judge.works_w(root), most_w, excused=False)

    def _prices_now(self) -> Prices:
        prices = self._process.prices
        if self._market is None:
            return prices
        return replace(prices, usd_per_kwh=self._market.usd_per_kwh(self._grid.utc_s))

    def _allowed_w(self, node: str) -> float:
        return self._grid.soonest_w("" if node == self._floor.site.root.id else node)

    def _limited_w(self, node: str) -> float:
        """What a place may carry at this moment."""
        if node == self._floor.site.root.id:
            return min(self._grid.limit_w(), self._grid.asked.efforts.get("", math.inf))
        ask = self._grid.asked
        asked_w = min(ask.at_nodes.get(node, math.inf), ask.efforts.get(node, math.inf))
        return min(self.usable.limits_w[node], asked_w)
