"""For all sites: what must be true of every plan, and of a plant that follows the plans."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.doubt import doubtful, unanswered
from controller.decide.freedom import obeying, passed_now
from controller.decide.ground import ground_of
from controller.decide.inputs import Inputs
from controller.decide.invariants import check_lowers
from controller.decide.limits import limits_now
from controller.decide.plan import Plan
from controller.decide.snapshot import State, look
from controller.decide.step import conclude, draft, step
from controller.decide.timeline import grid_now, lost_operators
from controller.decide.words import AlarmKind, Reason, Truth
from controller.domain.power import Limit, Power, tightest
from controller.domain.site import Site
from tests.decide.builders import UTC_S, event, reasons
from tests.decide.sites import FAULTS, Chaos, calm, trouble, world_of
from tests.decide.steps import decide
from tests.decide.strategies import bounded
from tests.decide.world import World

pytestmark = pytest.mark.long

T = TypeVar("T")
SEEDS = st.integers(0, 2**32)


def shuffled(inputs: Inputs, shuffle: random.Random) -> Inputs:
    """The same inputs as they might have arrived in another order."""

    def mixed(of: Iterable[T]) -> tuple[T, ...]:
        them = list(of)
        shuffle.shuffle(them)
        return tuple(them)

    return replace(
        inputs,
        specs=mixed(inputs.specs),
        queues=mixed(inputs.queues),
        events=mixed(inputs.events),
        readings=dict(mixed(inputs.readings.items())),
        outcomes=dict(mixed(inputs.outcomes.items())),
        meters=dict(mixed(inputs.meters.items())),
        zones=dict(mixed(inputs.zones.items())),
    )


def granted_too_much(site: Site, before: State, inputs: Inputs, plan: Plan) -> list[str]:
    """The nodes that say they are feasible and yet grant more than they may use, counted from the grants.
    What is silent below a meter counts by that meter, which is not reckoned here."""
    lost = lost_operators(inputs.links, before.up_s(inputs.now_s), site.policy)
    grid = grid_now(inputs.events, inputs.utc_s, lost, site)
    usable = limits_now(ground_of(site), grid).to_hold_w.tolist()
    parent = {node.id: node.parent for node in site.nodes}
    where = {spec.id: spec.node for spec in inputs.specs}
    load = {node.id: node.fixed.watts for node in site.nodes}
    metered = {node.id for node in site.nodes if node.meter is not None}
    for grant in plan.grants:
        place: str | None = where[grant.device]
        by_meter = False
        while place is not None:
            by_meter = by_meter or (place in metered and grant.truth in (Truth.STALE, Truth.UNREACHABLE))
            load[place] += 0 if by_meter else grant.power.watts
            place = parent[place]
    return [
        state.node
        for state, usable_w in zip(plan.nodes, usable, strict=True)
        if state.feasible and load[state.node] > usable_w
    ]


@bounded(150)
@given(SEEDS)
def test_whatever_is_said_by_whomever_every_plan_meets_the_invariants(seed: int) -> None:
    chaos, state = Chaos(seed), State()

    for _ in range(40):
        inputs = chaos.inputs()
        before = state
        state, plan = decide(chaos.site, before, inputs)

        assert not plan.ready or granted_too_much(chaos.site, before, inputs, plan) == []


@bounded(15)
@given(SEEDS)
def test_a_set_point_that_moves_with_every_tick_breaks_no_invariant_whatever_else_is_said(seed: int) -> None:
    chaos, state, draw = Chaos(seed), State(), random.Random(seed)
    target_w = draw.uniform(0, 40_000)

    for version in range(40):
        target_w = max(0.0, target_w + draw.gauss(0, 2_000))
        moved = event("agc", target_w=int(target_w), version_utc_s=UTC_S + version)
        inputs = chaos.inputs()
        state, _ = decide(chaos.site, state, replace(inputs, events=(*inputs.events, moved)))


@bounded(60)
@given(SEEDS)
def test_what_is_sent_ahead_of_a_plan_is_what_the_plan_begins_with_and_adds_no_watt(seed: int) -> None:
    chaos, state = Chaos(seed), State()

    for _ in range(25):
        inputs = chaos.inputs()
        made = draft(chaos.site, state, inputs)
        ahead = made.lowers(3)
        after, plan = conclude(made)

        check_lowers(made, ahead)
        assert plan.commands[: len(ahead)] == ahead
        assert not {command.device for command in ahead} & set(plan.raised)
        assert step(chaos.site, state, inputs) == (after, plan)
        state = after


@bounded(60)
@given(SEEDS)
def test_who_obeys_is_asked_of_each_device_alone_and_of_all_at_once_with_one_answer(seed: int) -> None:
    chaos, state = Chaos(seed), State()

    for _ in range(25):
        inputs = chaos.inputs()
        seen = look(chaos.site, state, inputs)
        grid = grid_now(
            inputs.events, inputs.utc_s, lost_operators(inputs.links, 0.0, chaos.site.policy), chaos.site
        )
        limits = limits_now(seen.ground, grid)
        obeys = obeying(seen, limits, inputs.now_s).tolist()
        passed = passed_now(seen, limits)

        for spec, obeyed in zip(seen.fleet.specs, obeys, strict=True):
            device = seen.devices[spec.id]
            can = device.seen and device.point is not None
            missed = passed[list(seen.tree.paths[seen.tree.index[spec.node]])].any()
            lost = missed and unanswered(spec, device, inputs.now_s)
            assert obeyed == (can and not doubtful(spec, device, inputs.now_s) and not lost)
        state, _ = step(chaos.site, state, inputs)


@bounded(60)
@given(SEEDS)
def test_the_same_inputs_in_any_order_give_the_same_plan(seed: int) -> None:
    chaos, state, shuffle = Chaos(seed), State(), random.Random(seed)

    for _ in range(15):
        inputs = chaos.inputs()
        after, plan = step(chaos.site, state, inputs)

        assert step(chaos.site, state, shuffled(inputs, shuffle)) == (after, plan)
        state = after


@bounded(60)
@given(SEEDS)
def test_a_plant_that_obeys_is_within_every_limit_at_every_moment_and_comes_to_rest(seed: int) -> None:
    """Within seven minutes: a GPU goes up as its work shows that it wants more, once in each dwell."""
    world = world_of(seed)

    world.run(420)
    changes = world.changes()
    plan = world.run(60)

    assert world.breaches == []
    assert world.changes() == changes
    assert not {Reason.WAITING, Reason.RAMPING, Reason.HELD} & set(reasons(plan).values())


def in_trouble(seed: int, *, jobs: bool = True) -> World:
    """A settled world in which several things went wrong, one after the other."""
    world, draw = world_of(seed, jobs=jobs), random.Random(seed)
    world.run(60)
    for kind in draw.choices(FAULTS, k=draw.randint(1, 4)):
        trouble(world, draw, kind)
        world.run(draw.randint(1, 40))
    return world


@bounded(50)
@given(SEEDS)
def test_after_the_faults_stop_the_site_is_within_its_limits_and_free_of_alarms(seed: int) -> None:
    world = in_trouble(seed)

    calm(world)
    plan = world.run(300)

    late = [breach for breach in world.breaches if breach[0] > world.now_s - 200]
    assert late == []
    assert {alarm.kind for alarm in plan.alarms} <= {AlarmKind.INFEASIBLE}


@bounded(40)
@given(SEEDS)
def test_after_the_faults_stop_hashing_earns_what_it_earned_before_within_its_stated_gap(seed: int) -> None:
    quiet = world_of(seed, jobs=False)
    earned = quiet.run(400).value_per_hour

    world = in_trouble(seed, jobs=False)
    calm(world)
    plan = world.run(300)

    possible = plan.value_per_hour + plan.gap / (1 - plan.gap) * abs(plan.value_per_hour)
    assert possible >= earned - 0.05 * abs(earned) - 0.01


@bounded(40)
@given(SEEDS, st.sampled_from(["lies", "refuses", "deaf", "silent"]))
def test_with_one_machine_that_does_not_obey_the_cap_is_reached_where_the_others_can(
    seed: int, kind: str
) -> None:
    world, draw = world_of(seed), random.Random(seed)
    world.run(120)
    name = draw.choice(sorted(world.machines))
    machine = world.machines[name]
    least_w = sum(
        machine.spec.ceiling.watts if other is machine else other.spec.floor.power.watts
        for other in world.machines.values()
    )
    limit_w = round(least_w * 1.05 + draw.uniform(0, 0.8) * max(0.0, world.watts() - least_w)) + 20
    setattr(machine, kind, True)
    world.site = replace(
        world.site, nodes=(replace(world.site.root, limit=_at_most(world, limit_w)), *world.site.nodes[1:])
    )

    world.run(90)

    assert [breach for breach in world.breaches if breach[1] == "site" and breach[0] > world.now_s - 50] == []


def _at_most(world: World, limit_w: int) -> Limit:
    lower = tightest(world.site.root.limit, Limit(Power(limit_w)))
    assert isinstance(lower, Limit)
    return lower
