"""One pass from what is known to what is told: the state and the inputs go in, a state and a plan come out.

Nothing here waits, asks a clock or logs; the same arguments give the same answer, in any order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from controller.decide import commands, economics, jobs, leaving, overtaking, profit, relative, telling, value
from controller.decide.arrays import Flags, Ints
from controller.decide.beyond import Room
from controller.decide.choose import Chosen, choose, forgiven, wishes
from controller.decide.commands import Lowered, Orders, Retry
from controller.decide.decision import Decision
from controller.decide.device import DeviceState
from controller.decide.doubt import IDLE_REST_S
from controller.decide.exchange import unhurried
from controller.decide.feeding import works_w
from controller.decide.following import set_course
from controller.decide.freedom import freedom, lacking_watts, too_hot
from controller.decide.inputs import Inputs
from controller.decide.limits import Follow, Limits, StepMargin, limits_now
from controller.decide.margin import kept_free, step_margin
from controller.decide.pace import Pace, Purse, pace_now
from controller.decide.plan import Plan
from controller.decide.profit import Verdicts
from controller.decide.rehearsal import Rehearsal
from controller.decide.relative import Before, Drawn
from controller.decide.report import draw_up
from controller.decide.snapshot import Snapshot, State, look
from controller.decide.staging import Staging
from controller.decide.swing import Swing, swung
from controller.decide.takeover import readiness
from controller.decide.timeline import GridNow, grid_now, lost_operators
from controller.decide.value import Valuation
from controller.domain.devices import SetPoint
from controller.domain.grid import Link
from controller.domain.jobs import QueueReading
from controller.domain.power import Limit, Power
from controller.domain.site import Site


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aim:
    """Where the site should go, by what prices, and what the next tick must know of how that was found."""

    limits: Limits
    valuation: Valuation
    chosen: Chosen
    swing: Swing
    verdicts: Verdicts
    margin: StepMargin
    follow: Follow


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draft:
    """A decision half made: what is seen, where the site should go, and what is lowered for that. What it
    lowers will be in its plan, whatever else comes to be in it. `state` is as it was, but for the take-over.
    """

    site: Site
    state: State
    inputs: Inputs
    before: Before
    grid: GridNow
    seen: Snapshot
    aim: Aim
    pace: Pace
    room_w: Ints
    lowered: Lowered

    def lowers(self, first: int) -> tuple[SetPoint, ...]:
        """The first commands of the plan, so many at most: none of them ever adds a watt."""
        return self.lowered.lowers.set_points(self.seen.fleet, first)


def step(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """The next state and plan of `site`. It never promises more than the limits, or says infeasible."""
    return conclude(draft(site, state, inputs))


def draft(site: Site, state: State, inputs: Inputs) -> Draft:
    """The first half of a step: up to what may be sent before the rest is known."""
    lost = lost_operators(inputs.links, state.up_s(inputs.now_s), site.policy)
    before = relative.begun(state.before, inputs.events, inputs.utc_s, inputs.now_s)
    grid = grid_now(before.told(inputs.events), inputs.utc_s, lost, site)
    seen = look(site, state, inputs)
    pace = _pace(site, state, inputs, seen, lost)
    aim = _aim(site, state, inputs, grid, seen, pace)
    state = readiness(site, state, inputs, seen, aim.limits)
    room_w = aim.limits.room_w(seen.worst_w)
    lowered = Lowered()
    if _commands(site, state):
        wanted = wishes(seen, aim.chosen)
        held_w, obeys = aim.limits.held_room_w(seen.worst_w), aim.chosen.may.obeys
        retry = Retry(retry_s=site.policy.retry_s, pressing=lacking_watts(seen, aim.limits))
        lowered = commands.lowered(seen, wanted, held_w, obeys, pace, inputs.now_s, retry)
    return Draft(
        site=site,
        state=state,
        inputs=inputs,
        before=before,
        grid=grid,
        seen=seen,
        aim=aim,
        pace=pace,
        room_w=room_w,
        lowered=lowered,
    )


def conclude(made: Draft) -> tuple[State, Plan]:
    """The second half: what is raised, the plan as it is told, and the state for the next step."""
    site, state, inputs, seen, aim = made.site, made.state, made.inputs, made.seen, made.aim
    now_s, commands_now = inputs.now_s, _commands(site, state)
    orders = Orders()
    staging = Staging(seen, aim.chosen, made.pace, made.room_w)
    if commands_now:
        room = Room(made.room_w, seen.other, seen.worst_w - seen.beside_w)
        follows = aim.limits.follows
        orders = commands.order(seen, made.lowered, room, made.pace, staging.rows, now_s, to_a_point=follows)
    after = seen.changed(forgiven(seen, aim.chosen) | _told(seen, orders, now_s))
    rise = Purse(orders.saved.rise_w)
    job_orders, sent = jobs.commands(
        aim.chosen.kept if commands_now else (),
        leaving.falling(aim.chosen.aside, seen, made.lowered) if commands_now else (),
        lambda placement: staging.may_begin(after, placement, rise),
        leaving.Gone(after, site.policy, now_s=now_s, up_s=state.up_s(now_s)).leaves,
        state.jobs,
        now_s,
        site.policy.retry_s,
    )
    raises = orders.raises.row
    decision = Decision(
        grid=made.grid,
        limits=aim.limits,
        after=after,
        chosen=aim.chosen,
        swing=aim.swing,
        orders=orders,
        raised=raises[after.columns.worst_w[raises] > seen.columns.worst_w[raises]],
        timed=aim.verdicts.timed,
        job_commands=job_orders,
        ready=state.ready_s is not None,
        up_s=state.up_s(now_s),
    )
    plan = draw_up(site, inputs, decision)
    state = replace(
        state,
        devices=after.devices,
        nodes=seen.memory,
        zone_states=seen.zones,
        jobs=sent,
        placed=jobs.queued(aim.chosen.kept),
        waits=overtaking.waiting(state.waits, inputs.queues, (*aim.chosen.kept, *aim.chosen.aside), now_s),
        ramps=replace(orders.saved, rise_w=rise.left_w),
        verdicts=aim.verdicts,
        judged=seen.fleet.row,
        margin=aim.margin,
        follow=aim.follow,
        before=_drawn(site, made.before, made.grid, seen, decision.ready, now_s),
        mirror=after.mirror(),
        recall=aim.chosen.recall,
    )
    return state, plan


def _commands(site: Site, state: State) -> bool:
    """Nothing is commanded before the site was taken over, nor ever where it is only observed: what was never
    sent must not be waited for either."""
    return state.ready_s is not None and not site.policy.observes


def _aim(site: Site, state: State, inputs: Inputs, grid: GridNow, seen: Snapshot, pace: Pace) -> Aim:
    spare_w = works_w(seen, inputs.queues, inputs.now_s) if grid.firm else None
    limits = limits_now(seen.ground, grid, spare_w).less_hidden(seen.hidden, seen.other_w)
    margin = StepMargin()
    if not site.policy.observes:  # a step that is never taken is never over
        margin = step_margin(state.margin, limits, grid, seen, site.policy, inputs)
    limits = kept_free(limits, margin, seen)
    valuation = economics.valuation_now(site, inputs, grid)
    verdicts = _verdicts(site, state, inputs, seen, grid)
    meets_target = isinstance(grid.target, Limit)
    may_run = profit.permitted(verdicts, meets_target=meets_target)
    paid = inputs.prices.usd_per_kwh_reduced > 0 and grid.limits_load
    held = profit.held(verdicts, meets_target=meets_target, reduction_paid=paid)
    may = freedom(seen, limits, may_run, held, inputs.now_s)
    if inputs.unheard_queues:
        may = replace(may, dwells=may.dwells | _may_work(seen, inputs.queues))
    if seen.ground.falls_w:
        ramps = Rehearsal(seen, inputs.queues, state.placed, valuation, may, pace.fall_w)
        limits = ramps.begun(limits)
        late = ramps.late(limits)
        may = replace(may, dwells=may.dwells | late, late=late)
    meter = inputs.meters.get(site.root.meter) if site.root.meter is not None else None
    course = set_course(state.follow, seen, limits, may, inputs.queues, meter, inputs.now_s)
    due = overtaking.due(state.waits, inputs.now_s)
    chosen = unhurried(
        course,
        seen,
        pace,
        lambda may: choose(
            seen, course.limits, inputs.queues, state.placed, valuation, may, state.recall, due
        ),
    )
    chosen = replace(chosen, at=swung(course, seen, chosen.at, inputs.now_s))
    return Aim(
        limits=course.limits,
        valuation=valuation,
        chosen=chosen,
        swing=course.swing,
        verdicts=verdicts,
        margin=margin,
        follow=course.follow,
    )


def _may_work(seen: Snapshot, queues: Sequence[QueueReading]) -> Flags:
    """The GPUs of which no queue has said yet what they do: they are left alone, as if just changed."""
    row, found = seen.fleet.row, seen.fleet.gpu.copy()
    found[[row[gpu] for queue in queues for gpu in queue.gpus if gpu in row]] = False
    return found


def _verdicts(site: Site, state: State, inputs: Inputs, seen: Snapshot, grid: GridNow) -> Verdicts:
    """Which miners may run for money, by the market: a set-point does not change what is said of them.

    Before the site is taken over nothing is known of it for sure, and nobody is held to what was said."""
    running = seen.columns.now_w != seen.fleet.floor_w
    verdicts = profit.judge(
        _said_before(state, seen, running, inputs.now_s),
        seen.fleet.ths_per_kw,
        running,
        inputs.now_s,
        usd_per_ths_day=inputs.prices.usd_per_ths_day,
        usd_per_kwh=economics.energy_usd_per_kwh(
            inputs.prices, event_usd_per_kwh=grid.usd_per_kwh, meets_target=False
        ),
        thresholds=site.policy.profit,
    )
    if state.ready_s is None and state.stands_s:
        return profit.taken_up(verdicts, seen.fleet.specs, state.stands_s)
    return verdicts


def _told(seen: Snapshot, orders: Orders, now_s: float) -> dict[str, DeviceState]:
    """The states of those that are told something, once they are."""
    states: dict[str, DeviceState] = {}
    # Where many have no work their pool is gone, and may be back at any moment for all of them.
    rest_s = IDLE_REST_S if value.without_work(seen.fleet, seen.columns).any() else 0.0
    for to in (orders.lowers, orders.raises):
        for row, at, outlet in zip(to.row.tolist(), to.at.tolist(), to.outlet.tolist(), strict=True):
            spec = seen.fleet.specs[row]
            before = seen.devices[spec.id]
            if outlet:
                states[spec.id] = telling.cut(spec, before, now_s)
            else:
                states[spec.id] = telling.commanded(spec, before, spec.points[at], now_s, rest_s)
    return states


def _said_before(state: State, seen: Snapshot, running: Flags, now_s: float) -> Verdicts | None:
    """The last verdicts, of the devices of now."""
    if state.ready_s is None or state.verdicts is None:
        return None
    was = seen.fleet.places_in(state.judged)
    return state.verdicts if was is None else profit.moved(state.verdicts, was, running, now_s)


def _pace(site: Site, state: State, inputs: Inputs, seen: Snapshot, lost: Set[str]) -> Pace:
    """Nothing is raised when so many devices are silent that the network is suspect, nor after a start until
    the grid operator is heard, or its link counts as lost: the contract's limit may hold already."""
    unheard = inputs.link is Link.LOST and not lost
    return pace_now(
        site,
        state.ramps,
        inputs.now_s,
        largest=Power(int(np.maximum(seen.fleet.top_w, seen.columns.stuck_w).max(initial=0))),
        held=unheard or seen.network_suspect(site.policy.network_fault_share),
        uncooled=frozenset(np.flatnonzero(seen.uncooled).tolist()),
        hot=frozenset(np.flatnonzero(too_hot(seen)).tolist()),
    )


def _drawn(site: Site, before: Before, grid: GridNow, seen: Snapshot, ready: bool, now_s: float) -> Before:
    """What the site draws by itself. Without a meter it is what devices claim, once they were all asked."""
    metered = seen.metered.get(seen.tree.ids[0])
    if isinstance(grid.target, Limit) and not site.policy.observes:
        return relative.steered(before, now_s)
    if metered is None and not ready:
        return before
    watts = metered.watts if metered is not None else int(seen.other_w[0] + seen.columns.draw_w.sum())
    return relative.drawn(before, Drawn(now_s, watts, metered is not None))
