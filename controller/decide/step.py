"""One pass from what is known to what is told: the state and the inputs go in, a state and a plan come out.

Nothing here waits, asks a clock or logs; the same arguments give the same answer, in any order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from controller.decide import commands, economics, jobs, profit, relative, truth, value
from controller.decide.choose import Chosen, choose, wishes
from controller.decide.columns import CODE
from controller.decide.commands import Orders, Wish
from controller.decide.device import DeviceState
from controller.decide.following import Swing, set_course, swung
from controller.decide.freedom import freedom
from controller.decide.jobs import Placement
from controller.decide.limits import Follow, Limits, Reach, StepMargin, limits_now
from controller.decide.margin import kept_free, step_margin
from controller.decide.nodes import per_node
from controller.decide.pace import Pace, pace_now
from controller.decide.plan import CapReason, Inputs, Plan, Truth
from controller.decide.profit import Verdicts
from controller.decide.relative import Before, Drawn
from controller.decide.report import Decision, draw_up
from controller.decide.snapshot import Snapshot, State, look
from controller.decide.timeline import GridNow, grid_now, link_since
from controller.decide.tree import sum_up
from controller.domain.devices import Means
from controller.domain.power import Limit, Power
from controller.domain.site import Site


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aim:
    """Where the site should go, and what the next tick must know of how that was found."""

    limits: Limits
    chosen: Chosen
    swing: Swing
    verdicts: Verdicts
    margin: StepMargin
    follow: Follow


def step(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """The next state and plan of `site`. It never promises more than the limits, or says infeasible."""
    link = link_since(inputs.link, state.up_s(inputs.now_s), site.policy)
    before = relative.begun(state.before, inputs.events, inputs.utc_s, inputs.now_s)
    grid = grid_now(before.told(inputs.events), inputs.utc_s, link, site)
    seen = look(site, state, inputs)
    aim = _aim(site, state, inputs, grid, seen)
    state = _readiness(site, state, inputs, seen, aim.limits)
    wanted = wishes(seen, aim.chosen)
    orders = _orders(site, state, inputs, seen, aim, wanted)
    told = (*orders.lowers, *orders.raises)
    changes = {wish.spec.id: wish.state for wish in wanted if wish.state is not seen.devices[wish.spec.id]}
    changes |= {wish.spec.id: _told(wish, inputs.now_s) for wish in told}
    after = seen.changed(changes)
    job_orders, sent = jobs.commands(
        aim.chosen.kept if state.ready_s is not None else (),
        aim.chosen.aside if state.ready_s is not None else (),
        lambda gpu, placement: _ready_for(after, gpu, placement),
        state.jobs,
        inputs.now_s,
        site.policy.retry_s,
    )
    made = Decision(
        grid=grid,
        limits=aim.limits,
        after=after,
        chosen=aim.chosen,
        swing=aim.swing,
        orders=orders,
        job_commands=job_orders,
        ready=state.ready_s is not None,
    )
    plan = draw_up(site, inputs, made)
    state = replace(
        state,
        devices=after.devices,
        nodes=seen.memory,
        zones=seen.zones,
        jobs=sent,
        placed=jobs.queued(aim.chosen.kept),
        ramps=orders.saved,
        reach=_reach(aim.limits, plan),
        verdicts=aim.verdicts,
        margin=aim.margin,
        follow=aim.follow,
        before=_drawn(before, grid, seen, state.ready_s is not None, inputs.now_s),
        mirror=after.mirror(),
        recall=aim.chosen.recall,
    )
    return state, plan


def _aim(site: Site, state: State, inputs: Inputs, grid: GridNow, seen: Snapshot) -> Aim:
    limits = limits_now(site, seen.ground.rated_w, grid, state.moment(inputs))
    margin = step_margin(state.margin, limits, seen, site.policy, inputs.now_s)
    limits = kept_free(limits, margin, seen)
    valuation = economics.valuation_now(site, inputs, grid)
    verdicts = _verdicts(site, state, inputs, seen, grid)
    may_run = profit.permitted(verdicts, meets_target=grid.cap_reason is CapReason.TARGET)
    may = freedom(seen, limits, may_run, inputs.now_s)
    meter = inputs.meters.get(site.root.meter) if site.root.meter is not None else None
    course = set_course(state.follow, seen, limits, may, inputs.queues, meter, inputs.now_s)
    chosen = choose(seen, course.limits, inputs.queues, state.placed, valuation, course.may, state.recall)
    chosen = replace(chosen, at=swung(course, seen, chosen.at, inputs.now_s))
    return Aim(
        limits=course.limits,
        chosen=chosen,
        swing=course.swing,
        verdicts=verdicts,
        margin=margin,
        follow=course.follow,
    )


def _orders(
    site: Site, state: State, inputs: Inputs, seen: Snapshot, aim: Aim, wanted: Sequence[Wish]
) -> Orders:
    """Nothing before the site was taken over."""
    if state.ready_s is None:
        return Orders(lowers=(), raises=(), waiting={})
    room_w = aim.limits.room_w(seen.worst_w).tolist()
    pace = _pace(site, state, inputs, seen)
    return commands.order(wanted, room_w, pace, inputs.now_s, site.policy.retry_s)


def _readiness(site: Site, state: State, inputs: Inputs, seen: Snapshot, limits: Limits) -> State:
    """The site is taken over once everything was seen, or had its time, or the meter shows the cap passed."""
    if state.ready_s is not None:
        return state
    first_s = inputs.now_s if state.first_s is None else state.first_s
    whole = bool(((seen.columns.truth != CODE[Truth.UNREACHABLE]) | seen.fleet.isolated).all())
    waited = inputs.now_s - first_s >= site.policy.start_grace_s
    ready = whole or waited or cap_passed(site, seen, limits) or claims_pass(seen, limits)
    return replace(state, first_s=first_s, ready_s=inputs.now_s if ready else None)


def cap_passed(site: Site, seen: Snapshot, limits: Limits) -> bool:
    metered = seen.metered.get(site.root.id)
    return metered is not None and metered.watts > limits.bound_w[0]


def claims_pass(seen: Snapshot, limits: Limits) -> bool:
    """Whether what answers claims more than a node's limit already, whatever the silent draw."""
    fleet, known = seen.fleet, seen.columns
    claimed_w = sum_up(seen.tree, per_node(seen.tree, fleet.node, np.where(known.seen, known.draw_w, 0)))
    return bool((claimed_w > limits.bound_w).any())


def _verdicts(site: Site, state: State, inputs: Inputs, seen: Snapshot, grid: GridNow) -> Verdicts:
    """Which miners may run for money, by the market: a set-point does not change what is said of them."""
    return profit.judge(
        state.verdicts,
        seen.fleet.ths_per_kw,
        seen.columns.now_w != seen.fleet.floor_w,
        inputs.now_s,
        usd_per_ths_day=inputs.prices.usd_per_ths_day,
        usd_per_kwh=economics.energy_usd_per_kwh(
            inputs.prices, event_usd_per_kwh=grid.usd_per_kwh, meets_target=False
        ),
        thresholds=site.policy.profit,
    )


def _told(wish: Wish, now_s: float) -> DeviceState:
    if wish.means is Means.OUTLET:
        return truth.cut(wish.spec, wish.state, now_s)
    return truth.commanded(wish.spec, wish.state, wish.point, now_s)


def _pace(site: Site, state: State, inputs: Inputs, seen: Snapshot) -> Pace:
    """Nothing is raised when so many devices are silent that the network is suspect."""
    return pace_now(
        site,
        state.ramps,
        inputs.now_s,
        largest=Power(int(seen.fleet.top_w.max(initial=0))),
        held=seen.network_suspect(site.policy.network_fault_share),
    )


def _drawn(before: Before, grid: GridNow, seen: Snapshot, ready: bool, now_s: float) -> Before:
    """What the site draws by itself. Without a meter it is what devices claim, once they were all asked."""
    metered = seen.metered.get(seen.tree.ids[0])
    if isinstance(grid.target, Limit):
        return relative.steered(before, now_s)
    if metered is None and not ready:
        return before
    watts = metered.watts if metered is not None else int(seen.other_w[0] + seen.columns.draw_w.sum())
    return relative.drawn(before, Drawn(now_s, watts, metered is not None))


def _reach(limits: Limits, plan: Plan) -> Reach:
    within_w = min(int(plan.nodes.worst_w[0]), int(limits.bound_w[0]))
    return Reach(power=Power(within_w), at_s=plan.now_s)


def _ready_for(seen: Snapshot, gpu: str, placement: Placement) -> bool:
    """A GPU is ready for a job once a limit that feeds it was confirmed."""
    if gpu not in seen.devices:
        return False
    spec, device = seen.spec(gpu), seen.devices[gpu]
    least = spec.points[value.floor_index(spec, placement.status.job)]
    return device.truth is Truth.CONFIRMED and device.point is not None and device.point.power >= least.power
