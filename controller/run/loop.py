"""The paced loop: gather what is known, decide, check, tell, note. It decides nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Protocol

import structlog

from controller.decide import silence
from controller.decide.economics import priced, prices_of
from controller.decide.inputs import Inputs
from controller.decide.invariants import check, check_lowers
from controller.decide.plan import Alarm, Plan
from controller.decide.snapshot import State
from controller.decide.step import Draft, conclude, draft
from controller.decide.words import AlarmKind
from controller.domain.devices import SetPoint
from controller.domain.grid import GridEvent, Link
from controller.domain.power import Limit
from controller.domain.site import Site
from controller.run.board import Board, Tick
from controller.run.clock import Clock
from controller.run.devices import AT_ONCE, Machines
from controller.run.garbage import leave_it
from controller.run.journal.journal import Journal
from controller.run.notify import Notifier
from controller.run.prices import Constants, PriceSide
from controller.run.recording.recording import Recorder

log = structlog.get_logger()

LEAST_GAP_S = 0.2
"""A flood of messages wakes the loop no sooner after it woke it than this."""
SETTLES_S = 0.05
"""So long an ordinary tick waits for a message that is being made durable, which else would wait for it."""
HEAD_START = 3
"""So many rounds of the event loop the first commands have before anything else is worked out, written down
or told: enough to be handed to their drivers and to reach their sockets."""
NOT_PLANNED = "sent ahead of a plan that was not made"
LATE_QUIET_S = 60.0
"""Ticks that are late now and then are one warning, until none was late for this long."""


class GridSide(Protocol):
    """What the loop needs of the link to the grid operator."""

    @property
    def states(self) -> Mapping[str, Link]:
        """The link to each operator whose commands count, by its name."""
        ...

    @property
    def events(self) -> tuple[GridEvent, ...]: ...

    @property
    def settling(self) -> bool:
        """Whether something was heard that will count in a moment, and may wake the loop then."""
        ...

    def planned(self, inputs: Inputs, plan: Plan) -> None:
        """Tell the operator where the site stands; must not wait."""


class Islanded:
    """A site without a grid operator."""

    states: Mapping[str, Link] = {}
    events: tuple[GridEvent, ...] = ()
    settling = False

    def planned(self, inputs: Inputs, plan: Plan) -> None:
        return None


class Loop:
    """`wake` lets a message that changes something be acted on before the next tick is due. `tidy` is called
    after every tick; `state` is what an earlier process handed on."""

    def __init__(
        self,
        *,
        site: Site,
        clock: Clock,
        machines: Machines,
        grid: GridSide,
        journal: Journal,
        recorder: Recorder,
        board: Board,
        notifier: Notifier,
        wake: asyncio.Event,
        prices: PriceSide | None = None,
        tidy: Callable[[], None] = leave_it,
        state: State | None = None,
    ) -> None:
        self._site = site
        self._clock = clock
        self._machines = machines
        self._grid = grid
        self._journal = journal
        self._recorder = recorder
        self._board = board
        self._notifier = notifier
        self._wake = wake
        self._prices = Constants() if prices is None else prices
        self._tidy = tidy
        self._state = State() if state is None else state
        self._late_quiet_until_s = 0.0
        self._woken_s = float("-inf")
        self._alarms: dict[tuple[AlarmKind, str], Alarm] = {}

    async def run(self) -> None:
        """Tick until cancelled. Next tick = previous + period. One that is late goes at once, and the pace
        starts anew from it: nothing is caught up in a burst."""
        period_s = self._site.policy.tick_s
        due_s = self._clock.now_s()
        while True:
            began_s = self._clock.now_s()
            await self._tick(due_s)
            due_s = period_s + (due_s if began_s - due_s <= period_s else began_s)
            due_s = await self._due(due_s)

    async def _due(self, planned_s: float) -> float:
        """When the next tick became due: as planned, or when something woke the loop before that."""
        try:
            async with asyncio.timeout_at(planned_s):
                await self._wake.wait()
                await asyncio.sleep(max(0.0, self._woken_s + LEAST_GAP_S - self._clock.now_s()))
        except TimeoutError:
            await self._settled(self._clock.now_s())
            if self._wake.is_set():
                self._woken_s = self._clock.now_s()
            return planned_s
        self._woken_s = self._clock.now_s()
        return min(planned_s, self._woken_s)

    async def _settled(self, at_s: float) -> None:
        """Wait for what was heard to count, where that wakes the loop and is a matter of a moment."""
        if self._grid.settling and self._may_wake(at_s):
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLES_S):
                    await self._wake.wait()

    async def _tick(self, due_s: float) -> None:
        """Decide and send; only then write down and tell what was decided. What never adds a watt is sent as
        soon as it is known. A tick that has sent nothing when something else comes up is left for the next.
        """
        self._wake.clear()  # what comes from here on is for the next tick
        began_s = self._clock.now_s()
        inputs = self._inputs(began_s)
        self._recorder.deciding(self._state, inputs)
        made = draft(self._site, self._state, inputs)
        first = made.lowers(AT_ONCE)
        if first:
            check_lowers(made, first)
            self._machines.post_first(first)
        plan = await self._concluded(made, first)
        if plan is None:
            return
        try:
            await _rounds(HEAD_START if plan.commands else 0)
        finally:
            self._journal.planned(plan)
        self._grid.planned(inputs, plan)
        tick = Tick(
            inputs=inputs,
            valuation=made.aim.valuation,
            state=self._state,
            plan=plan,
            utc_s=inputs.utc_s,
            late_s=max(0.0, began_s - due_s),
            took_s=self._clock.now_s() - began_s,
        )
        self._board.finished(tick)
        self._note_pace(tick)
        self._note_alarms(plan)
        self._notifier.tick(headline(plan, observes=self._site.policy.observes))
        self._tidy()

    async def _concluded(self, made: Draft, first: Sequence[SetPoint]) -> Plan | None:
        """The plan, checked and on its way; None for a tick that was left. `first` is sent: it is noted
        whatever becomes of the rest, and what it was part of is decided to its end.
        """
        with ExitStack() as unless_planned:
            unless_planned.callback(self._journal.commanded, first, lambda _: NOT_PLANNED)
            try:
                await _rounds(HEAD_START)
                if not first:
                    await self._settled(made.inputs.now_s)
            except asyncio.CancelledError:
                if first:
                    self._decide(made)
                else:
                    self._recorder.left()
                raise
            if self._wake.is_set() and not first and self._may_wake(made.inputs.now_s):
                self._recorder.left()
                return None
            plan = self._decide(made)
            unless_planned.pop_all()
        self._machines.post(plan.commands[len(first) :])
        self._machines.post_jobs(plan.job_commands)
        self._machines.press(_in_the_way(plan, self._state))
        return plan

    def _decide(self, made: Draft) -> Plan:
        state, plan = conclude(made)
        check(self._site, self._state, made.inputs, state, plan)
        self._state = state
        self._recorder.decided(plan)
        return plan

    def _may_wake(self, at_s: float) -> bool:
        """Whether a message is acted on at once by a tick that began then. One that another message began is
        never left, however long it takes."""
        return at_s - self._woken_s >= LEAST_GAP_S

    def _inputs(self, now_s: float) -> Inputs:
        heard = self._machines.heard
        specs = self._machines.specs
        in_force = self._prices.now()
        prices = prices_of(in_force, self._site.prices)
        models = {spec.id: spec.model for spec in specs if spec.model} if heard.queues else {}
        return Inputs(
            now_s=now_s,
            utc_s=self._clock.utc_s(),
            specs=specs,
            readings=dict(heard.readings),
            meters=dict(heard.meters),
            zones=dict(heard.zones),
            outcomes=dict(heard.outcomes),
            queues=priced(tuple(heard.queues.values()), prices, models),
            silent_queues=self._machines.silent_queues,
            silent_pdus=self._machines.silent_pdus,
            events=self._grid.events,
            links=self._grid.states,
            prices=prices,
            prices_now=in_force,
        )

    def _note_pace(self, tick: Tick) -> None:
        if tick.late_s <= self._site.policy.tick_s:
            return
        if tick.inputs.now_s >= self._late_quiet_until_s:
            log.warning("tick_late", late_s=round(tick.late_s, 3), took_s=round(tick.took_s, 3))
        self._late_quiet_until_s = tick.inputs.now_s + LATE_QUIET_S

    def _note_alarms(self, plan: Plan) -> None:
        """Log and journal the change: an alarm that came, an alarm that went."""
        now = {(alarm.kind, alarm.subject): alarm for alarm in plan.alarms}
        for key, alarm in now.items():
            if key not in self._alarms:
                log.warning("alarm", kind=alarm.kind.value, subject=alarm.subject, detail=alarm.detail)
                self._journal.alarm(alarm, raised=True)
        for key, alarm in self._alarms.items():
            if key not in now:
                log.info("alarm_over", kind=alarm.kind.value, subject=alarm.subject)
                self._journal.alarm(alarm, raised=False)
        self._alarms = now


def _in_the_way(plan: Plan, state: State) -> frozenset[str]:
    known = state.mirror
    if known is None:
        return frozenset()
    rows = silence.in_the_way(known.ground.tree, known.fleet, known.columns, ~plan.nodes.feasible)
    return frozenset(known.fleet.specs[row].id for row in rows.tolist())


async def _rounds(of_the_event_loop: int) -> None:
    for _ in range(of_the_event_loop):
        await asyncio.sleep(0)


def headline(plan: Plan, *, observes: bool = False) -> str:
    """One line for the service manager: the site's draw against its cap, and how many alarms."""
    root = plan.nodes[0]
    drawn = str(root.metered) if root.metered is not None else "meter stale"
    cap = str(plan.cap.power) if isinstance(plan.cap, Limit) else "none"
    only = "only observed: " if observes else ""
    return f"{only}{drawn}, cap {cap} ({plan.cap_reason}), {len(plan.alarms)} alarms"
