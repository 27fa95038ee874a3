"""The controller's process around the decision core: paced ticks that may come late, messages that bring one
forward, a kill between any two commands, and a new process that knows nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import replace

from controller.decide.economics import prices_of
from controller.decide.handed import Handed, handed_on, taken_up
from controller.decide.inputs import Inputs
from controller.decide.invariants import check
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.devices import SetPoint
from controller.domain.jobs import JobCommand
from controller.domain.site import Prices, Service, Site
from tests.sim.clockwork import Clockwork
from tests.sim.floor import Floor
from tests.sim.gridside import GridSide, Say
from tests.sim.jobs import Queue
from tests.sim.market import Market
from tests.sim.shell import Shell
from tests.sim.swarm import Kill, Swarm

LEAST_GAP_S = 0.2
SHUFFLED = 0.01
"""Share of the ticks that are decided a second time with everything in another order."""


Decide = Callable[[Site, State, Inputs], tuple[State, Plan]]


def checked(site: Site, before: State, inputs: Inputs) -> tuple[State, Plan]:
    """A plan as production makes it: one that breaks an invariant is not sent, and ends the process."""
    after, plan = step(site, before, inputs)
    check(site, before, inputs, after, plan)
    return after, plan


class Process:
    """`decided` is called after every tick, before its commands are sent. `cpu` only times the core."""

    def __init__(
        self,
        seed: int,
        *,
        floor: Floor,
        swarm: Swarm,
        clock: Clockwork,
        shell: Shell,
        queue: Queue,
        decided: Callable[[Plan], None],
        say: Say,
        cpu: Callable[[], float],
        decide: Decide = checked,
    ) -> None:
        self.ticks = 0
        self.reordered = 0
        """Plans that changed with the order of their inputs."""
        self.core_s = 0.0
        self.prices: Prices = floor.site.prices
        """Those of the site's file, where no feed tells others."""
        self.market: Market | None = None
        self.is_ready = False
        self.began_s = 0.0
        self.site = floor.site
        """As its file says when the process begins."""
        self.grid: GridSide
        self._clock = clock
        self._shell = shell
        self._queue = queue
        self._decided = decided
        self._decide = decide
        self._say = say
        self._cpu = cpu
        self._random = random.Random(f"{seed}/process")
        self.kill_at(swarm.kills)
        self._overruns = list(swarm.overruns)
        self._calm_s = swarm.calm_s
        self._state = State()
        self._handed = Handed()
        self._isolated: set[str] = set()
        self._life = 0
        self.is_up = False
        self._due_s = 0.0
        self._ticked_s = -1.0

    def kill_at(self, kills: Iterable[Kill]) -> None:
        kills = tuple(kills)
        self._kills = [kill for kill in kills if not kill.among_jobs]
        self._job_kills = [kill for kill in kills if kill.among_jobs]

    def start(self) -> None:
        """A new process knows nothing but what was stored: events, and what the one before handed on."""
        self._say("the controller starts")
        self._life += 1
        self.is_up = True
        self.began_s = self._clock.now_s
        self._state = taken_up(self._handed, self.site, self.began_s, self.grid.utc_s)
        self.is_ready = False
        self._shell.start()
        self.grid.start(self._random.uniform(1, 5))
        if self.market is not None:
            self.market.start(self._clock.now_s)
        self._due_s = self._clock.now_s
        self._clock.after(0.1, self._pace(self._life))

    def restart(self, site: Site, down_s: float) -> None:
        """An operator changes the site file."""
        self.site = site
        self._isolated = {node.id for node in site.nodes if node.service is Service.ISOLATED}
        if self.is_up:
            self._die(Kill(at_s=self._clock.now_s, sent=0, down_s=down_s))

    def isolated(self) -> Set[str]:
        """The nodes of which the site's file says so now."""
        return self._isolated

    def wake(self) -> None:
        """A message may bring the next tick forward, where there is a controller to hear it."""
        if not self.is_up:
            return
        life = self._life

        def tick() -> None:
            if life == self._life and self._ticked_s + LEAST_GAP_S <= self._clock.now_s:
                self._tick()

        self._clock.after(max(0.0, self._ticked_s + LEAST_GAP_S - self._clock.now_s), tick)

    def _pace(self, life: int) -> Callable[[], None]:
        """The next tick is a period after the last; after one that was late the pace begins anew."""

        def tick() -> None:
            if life != self._life:
                return
            now_s, period_s = self._clock.now_s, self.site.policy.tick_s
            self._due_s = period_s + (self._due_s if now_s - self._due_s <= period_s else now_s)
            next_s = self._due_s
            if self._overruns and self._overruns[0][0] <= now_s:
                late_s = self._overruns.pop(0)[1]
                self._say(f"the next tick is late by {late_s:.1f} s")
                next_s += late_s
            self._clock.at(next_s, tick)
            self._tick()

        return tick

    def _tick(self) -> None:
        now_s = self._clock.now_s
        self._ticked_s = now_s
        self.grid.note_link()
        inputs, before = self._inputs(), self._state
        began_s = self._cpu()
        self._state, plan = self._decide(self.site, before, inputs)
        self.core_s += self._cpu() - began_s
        self.ticks += 1
        self.is_ready = plan.ready
        if self._random.random() < SHUFFLED:
            self._decide_in_another_order(before, inputs, plan)
        self._decided(plan)
        for_queue = () if self._is_deaf(self._queue) else plan.job_commands
        kill = self._killed_by(plan.commands, for_queue)
        for command in plan.commands if kill is None else plan.commands[: kill.sent]:
            self._shell.post(command)
        for job_command in for_queue if kill is None else for_queue[: kill.jobs]:
            self._queue.tell(job_command)
        if kill is not None:
            self._die_later(kill)

    def _killed_by(self, commands: Sequence[SetPoint], for_queue: Sequence[JobCommand]) -> Kill | None:
        now_s = self._clock.now_s
        if now_s >= self._calm_s:
            return None  # one that waited for a command all the while is a fault as well
        for kills, told in ((self._kills, commands), (self._job_kills, for_queue)):
            if kills and kills[0].at_s <= now_s and told:
                kill = kills.pop(0)
                kills[:1] = [replace(one, at_s=max(one.at_s, now_s + one.apart_s)) for one in kills[:1]]
                return kill
        return None

    def _die_later(self, kill: Kill) -> None:
        life = self._life
        if kill.later_s:
            self._clock.after(kill.later_s, lambda: self._die(kill) if life == self._life else None)
        else:
            self._die(kill)

    def _die(self, kill: Kill) -> None:
        self._say(f"the controller is killed after {kill.sent} commands")
        if self.is_ready:
            self._handed = handed_on(self.site, self._state, self._clock.now_s, self.grid.utc_s)
        self._life += 1
        self.is_up = self.is_ready = False
        self._shell.stop()
        self._clock.after(kill.down_s, self.start)

    def _is_deaf(self, queue: Queue) -> bool:
        return queue.name in self._shell.silenced

    def _inputs(self) -> Inputs:
        heard, queue = self._shell.heard, self._queue
        told = () if self.market is None else self.market.now(self._clock.now_s, self.grid.utc_s)
        if not self._is_deaf(queue):
            heard.queues[queue.name] = queue.reading
        return Inputs(
            now_s=self._clock.now_s,
            utc_s=self.grid.utc_s,
            specs=self._shell.specs,
            readings=dict(heard.readings),
            meters=dict(heard.meters),
            zones=dict(heard.zones),
            outcomes=dict(heard.outcomes),
            queues=tuple(heard.queues.values()),
            silent_queues=(queue.name,) if self._is_deaf(queue) else (),
            events=self.grid.events,
            links=self.grid.links,
            prices=prices_of(told, self.prices),
            prices_now=told,
        )

    def _decide_in_another_order(self, before: State, inputs: Inputs, plan: Plan) -> None:
        """I7: whatever came first, the plan is the same."""
        rnd = self._random
        mixed = replace(
            inputs,
            specs=tuple(rnd.sample(inputs.specs, len(inputs.specs))),
            readings=dict(rnd.sample(sorted(inputs.readings.items()), len(inputs.readings))),
            events=tuple(rnd.sample(inputs.events, len(inputs.events))),
            meters=dict(reversed(list(inputs.meters.items()))),
        )
        _, again = self._decide(self.site, before, mixed)
        if again != plan:
            self.reordered += 1
            self._say("another order of the same inputs gave another plan")
