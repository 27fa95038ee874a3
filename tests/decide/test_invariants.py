"""Plans built wrong by hand are caught, each by the statement it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from controller.decide.device import DeviceState
from controller.decide.inputs import Inputs
from controller.decide.invariants import BrokenInvariantError, check, check_lowers
from controller.decide.plan import Plan
from controller.decide.relative import Before
from controller.decide.snapshot import State
from controller.decide.step import draft, step
from controller.decide.words import Reason, Truth
from controller.decide.zones import ZoneState
from controller.domain.devices import DeviceSpec, OperatingPoint, Quality, SetPoint, ThermalLimits
from controller.domain.grid import Link, RelativeTargetSignal
from controller.domain.jobs import JobAction, JobCommand
from controller.domain.power import Power
from controller.domain.site import Mode, Node, Site, Zone
from tests.decide.builders import (
    FULL,
    LOW,
    NOW_S,
    SLEEP,
    at_point,
    bound,
    device,
    event,
    grants_of,
    inputs,
    miner,
    node,
    nodes_of,
    reading,
    running,
    site,
    zone_reading,
)
from tests.decide.steps import decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass as it was made, to be spoiled."""

    site: Site
    before: State
    inputs: Inputs
    after: State
    plan: Plan

    def check(self) -> None:
        check(self.site, self.before, self.inputs, self.after, self.plan)

    def with_plan(self, **changes: object) -> Pass:
        return replace(self, plan=replace(self.plan, **changes))  # type: ignore[arg-type]  # fields of Plan

    def with_grant(self, name: str, **changes: object) -> Pass:
        grants = [
            replace(grant, **changes) if grant.device == name else grant  # type: ignore[arg-type]  # of Grant
            for grant in self.plan.grants
        ]
        return self.with_plan(grants=grants_of(self.plan.grants.specs, grants, self.plan.grants.nodes))


def passed(
    limit_w: int = 5_000, *, at: OperatingPoint = LOW, below: tuple[Node, ...] = (), ready: bool = True
) -> Pass:
    """A sound pass over two miners, `a` and `b`, both at `at`."""
    here = site(*below, limit_w=limit_w)
    specs = (miner("a"), miner("b", dwell_s=60.0))
    state = running({spec.id: device(at) for spec in specs}) if ready else State(first_s=NOW_S)
    given = inputs(*specs, readings=[at_point(spec, at) for spec in specs[: 2 if ready else 1]])
    after, plan = step(here, state, given)
    made = Pass(site=here, before=state, inputs=given, after=after, plan=plan)
    made.check()
    return made


def breaks(statement: str) -> pytest.RaisesExc[BrokenInvariantError]:
    return pytest.raises(BrokenInvariantError, match=statement)


def granted(made: Pass, *specs: DeviceSpec) -> Pass:
    """Grants for `specs`, whatever the site has."""
    one = made.plan.grants[0]
    return made.with_plan(grants=grants_of(specs, [replace(one, device=spec.id) for spec in specs]))


def without_a_grant(made: Pass) -> Pass:
    return granted(made, *made.plan.grants.specs[:1])


def with_a_grant_twice(made: Pass) -> Pass:
    return granted(made, *made.plan.grants.specs, made.plan.grants.specs[0])


def with_a_grant_for_nobody(made: Pass) -> Pass:
    return granted(made, *made.plan.grants.specs, miner("c"))


@pytest.mark.parametrize("spoil", [without_a_grant, with_a_grant_twice, with_a_grant_for_nobody])
def test_i6_every_device_has_exactly_one_grant(spoil: Callable[[Pass], Pass]) -> None:
    with breaks("I6"):
        spoil(passed()).check()


def test_i2_a_command_is_a_point_that_the_device_has() -> None:
    strange = OperatingPoint(name="overdrive", power=Power(3_000), rate=210.0)

    with breaks("I2: a has no point overdrive"):
        passed().with_plan(commands=(SetPoint(device="a", point=strange),)).check()


def test_i2_a_hot_device_is_not_raised_above_its_derate() -> None:
    made = passed()
    hot = replace(made.after, devices={**made.after.devices, "a": device(FULL, derates=(0.9, 0.0, 0.0, 0.0))})

    with breaks("I2: a raised to full against a derate of 0.90"):
        replace(made, after=hot).with_plan(
            commands=(SetPoint(device="a", point=FULL),), raised=("a",)
        ).check()


def test_i2_a_device_in_a_hot_zone_is_not_raised_above_the_derate_of_the_zone() -> None:
    made = passed()
    specs = (replace(made.inputs.specs[0], zone="hall"), made.inputs.specs[1])
    hot = replace(made.after, zone_states={"hall": ZoneState(1.0)})
    spoilt = replace(made, after=hot, inputs=replace(made.inputs, specs=specs))

    with breaks("I2: a raised"):
        spoilt.with_plan(commands=(SetPoint(device="a", point=FULL),), raised=("a",)).check()


def test_i2_a_zone_that_was_never_heard_of_bounds_nothing() -> None:
    made = passed(20_000)
    specs = (replace(made.inputs.specs[0], zone="hall"), made.inputs.specs[1])
    unheard = replace(made, inputs=replace(made.inputs, specs=specs))

    raised = unheard.with_plan(commands=(SetPoint(device="a", point=FULL),), raised=("a",))
    raised.with_grant("a", worst=FULL.power).check()


def test_a_state_without_what_it_was_made_with_is_judged_all_the_same() -> None:
    made = passed()
    bare = replace(made, after=replace(made.after, mirror=None))

    bare.check()
    with breaks("I6"):
        without_a_grant(bare).check()


def test_i2_a_hot_device_may_always_be_brought_to_its_floor() -> None:
    made = passed(at=SLEEP, limit_w=60)
    hot = replace(
        made.after, devices={**made.after.devices, "a": device(SLEEP, derates=(1.0, 0.0, 0.0, 0.0))}
    )

    replace(made, after=hot).with_plan(commands=(SetPoint(device="a", point=SLEEP),), raised=("a",)).check()


def test_i2_a_hot_device_may_be_lowered_to_any_point() -> None:
    made = passed(at=LOW)
    hot = replace(made.after, devices={**made.after.devices, "a": device(LOW, derates=(1.0, 0.0, 0.0, 0.0))})

    replace(made, after=hot).with_plan(commands=(SetPoint(device="a", point=LOW),)).check()


@pytest.mark.parametrize("truth", [Truth.STALE, Truth.UNREACHABLE])
def test_i3_what_is_unseen_counts_at_its_ceiling(truth: Truth) -> None:
    with breaks("I3: a is unseen and counts 3699 W, not 3700 W"):
        passed(20_000).with_grant("a", truth=truth, power=Power(3_699)).check()


def test_i3_what_keeps_its_limit_counts_at_the_last_confirmed_one() -> None:
    made = passed(20_000)
    specs = (replace(made.inputs.specs[0], keeps_limit=True), made.inputs.specs[1])
    kept = device(LOW, Truth.STALE, keeps=Power(2_450))
    silent = replace(
        made,
        inputs=replace(made.inputs, specs=specs),
        after=replace(made.after, devices={**made.after.devices, "a": kept}),
    )

    silent.with_grant("a", truth=Truth.STALE, power=Power(2_450)).check()
    with breaks("I3"):
        silent.with_grant("a", truth=Truth.STALE, power=Power(2_449)).check()
    with breaks("I3"):
        silent.with_grant("a", truth=Truth.UNREACHABLE, power=Power(2_450)).check()


def test_i3_what_keeps_its_limit_counts_at_that_and_not_at_less_while_it_cannot_have_restarted() -> None:
    made = passed(20_000)
    specs = (replace(made.inputs.specs[0], keeps_limit=True, boots_s=30.0), made.inputs.specs[1])
    kept = device(LOW, Truth.STALE, keeps=Power(2_450), last=Power(2_400))
    silent = replace(
        made,
        inputs=replace(made.inputs, specs=specs),
        after=replace(made.after, devices={**made.after.devices, "a": kept}),
    )

    with breaks("I3: a is unseen and counts 2449 W, not 2450 W"):
        silent.with_grant("a", truth=Truth.STALE, power=Power(2_449), age_s=10.0).check()


def test_i3_what_keeps_its_limit_and_never_confirmed_one_counts_at_its_ceiling() -> None:
    made = passed(20_000)
    specs = (replace(made.inputs.specs[0], keeps_limit=True), made.inputs.specs[1])
    silent = replace(made, inputs=replace(made.inputs, specs=specs))
    unproven = replace(silent.after, devices={**made.after.devices, "a": device(LOW, Truth.STALE)})

    with breaks("I3: a is unseen and counts 3699 W, not 3700 W"):
        replace(silent, after=unproven).with_grant("a", truth=Truth.STALE, power=Power(3_699)).check()


def test_i3_what_stays_asleep_through_a_restart_counts_as_asleep() -> None:
    made = passed(20_000)
    specs = (replace(made.inputs.specs[0], keeps_sleep=True), made.inputs.specs[1])
    slept = device(
        SLEEP, Truth.STALE, keeps=Power(40), since_s=NOW_S - 600, quality=Quality.MEASURED, at_s=NOW_S - 60
    )
    silent = replace(
        made,
        inputs=replace(made.inputs, specs=specs),
        after=replace(made.after, devices={**made.after.devices, "a": slept}),
    )

    silent.with_grant("a", truth=Truth.STALE, power=Power(40)).check()
    with breaks("I3"):
        silent.with_grant("a", truth=Truth.STALE, power=Power(39)).check()
    with breaks("I3"):
        replace(silent, inputs=made.inputs).with_grant("a", truth=Truth.STALE, power=Power(40)).check()


def test_i3_what_cannot_have_restarted_yet_counts_where_it_was() -> None:
    made = passed(20_000)
    specs = (replace(made.inputs.specs[0], boots_s=30.0), made.inputs.specs[1])
    quiet = device(LOW, Truth.STALE, last=Power(2_400))
    silent = replace(
        made,
        inputs=replace(made.inputs, specs=specs),
        after=replace(made.after, devices={**made.after.devices, "a": quiet}),
    )

    silent.with_grant("a", truth=Truth.STALE, power=Power(2_400), age_s=29.9).check()
    with breaks("I3: a is unseen and counts 2399 W, not 2400 W"):
        silent.with_grant("a", truth=Truth.STALE, power=Power(2_399), age_s=29.9).check()
    with breaks("I3: a is unseen and counts 2400 W, not 3700 W"):
        silent.with_grant("a", truth=Truth.STALE, power=Power(2_400), age_s=30.0).check()


def test_i3_what_was_never_heard_may_have_restarted_at_any_time() -> None:
    made = passed(20_000)
    specs = (replace(made.inputs.specs[0], boots_s=30.0), made.inputs.specs[1])
    silent = replace(made, inputs=replace(made.inputs, specs=specs))

    with breaks("I3: a is unseen and counts 2400 W, not 3700 W"):
        silent.with_grant("a", truth=Truth.UNREACHABLE, power=Power(2_400), age_s=10.0).check()


def test_i3_what_is_not_heard_for_too_long_does_not_count_as_seen() -> None:
    made = passed(20_000)
    stale_s = made.inputs.specs[0].stale_after_s

    made.with_grant("a", age_s=stale_s).check()
    with breaks(f"I3: a was last heard {stale_s + 0.1:.1f} s ago and counts as seen"):
        made.with_grant("a", age_s=stale_s + 0.1).check()


def test_i4_what_is_seen_to_draw_more_than_it_was_told_counts_for_that() -> None:
    made = passed(20_000)
    worst = made.plan.grants[0].worst

    made.with_grant("a", draw=worst).check()
    with breaks(f"I4: a draws {worst.watts + 1} W and counts {worst.watts} W at worst"):
        made.with_grant("a", draw=worst + Power(1)).check()


def test_i4_who_is_told_to_draw_more_counts_for_that_at_worst() -> None:
    told = passed(20_000).with_plan(commands=(SetPoint(device="a", point=FULL),))

    told.with_grant("a", worst=FULL.power).check()
    with breaks("I4: a is told full and counts 3499 W at worst, not 3500 W"):
        told.with_grant("a", worst=Power(3_499)).check()


def test_i4_nobody_is_told_two_things() -> None:
    both = (SetPoint(device="a", point=SLEEP), SetPoint(device="a", point=LOW))

    with breaks("I4: a is told two things at once"):
        passed().with_plan(commands=both).check()


def test_i5_no_device_is_raised_within_its_dwell() -> None:
    made = passed(20_000)
    moved = replace(made.before, devices={**made.before.devices, "b": device(LOW, since_s=NOW_S - 59)})

    with breaks("I5: b raised 59.0 s after its last change"):
        replace(made, before=moved).with_plan(commands=(SetPoint(device="b", point=FULL),)).check()


@pytest.mark.parametrize(
    ("known", "starts_per_hour", "early_s"),
    [
        (device(SLEEP, started_s=(NOW_S - 3_590,)), 1, "10.0"),
        (device(SLEEP, given_up_s=NOW_S - 60), 1_000, "840.0"),
    ],
)
def test_i5_no_device_is_started_more_often_than_it_may_be_or_while_it_is_given_up(
    known: DeviceState, starts_per_hour: int, early_s: str
) -> None:
    made = passed(20_000, at=SLEEP)
    specs = (replace(made.inputs.specs[0], starts_per_hour=starts_per_hour), made.inputs.specs[1])
    worn = replace(
        made,
        before=replace(made.before, devices={**made.before.devices, "a": known}),
        inputs=replace(made.inputs, specs=specs),
    ).with_plan(commands=(SetPoint(device="a", point=FULL),))

    with breaks(f"I5: a started {early_s} s before it may be"):
        worn.check()
    later_s = float(early_s)
    replace(worn, inputs=replace(worn.inputs, now_s=NOW_S + later_s)).check()


def known_b(made: Pass, known: DeviceState) -> Pass:
    return replace(made, before=replace(made.before, devices={**made.before.devices, "b": known}))


def telling_b(made: Pass, point: OperatingPoint) -> Pass:
    return made.with_plan(commands=(SetPoint(device="b", point=point),))


def test_i5_no_device_of_which_nothing_new_was_heard_is_raised_within_its_dwell() -> None:
    moved = known_b(passed(20_000), device(LOW, since_s=NOW_S - 59, at_s=NOW_S))

    with breaks("I5: b raised 59.0 s after its last change"):
        telling_b(moved, FULL).check()


def test_i5_a_device_seen_lower_than_it_was_told_is_not_raised_within_its_dwell() -> None:
    moved = known_b(passed(20_000, at=SLEEP), device(FULL, since_s=NOW_S - 59))

    with breaks("I5: b raised 59.0 s after its last change"):
        telling_b(moved, LOW).check()


def test_i5_a_device_that_was_never_heard_has_its_dwell_from_what_is_known_of_it() -> None:
    made = passed(20_000)
    unheard = replace(made, inputs=replace(made.inputs, readings={}))

    telling_b(known_b(unheard, device(None, Truth.UNREACHABLE)), FULL).check()
    with breaks("I5: b raised 59.0 s after its last change"):
        telling_b(known_b(unheard, device(LOW, since_s=NOW_S - 59)), FULL).check()


def test_i5_a_dwell_that_is_just_over_or_the_same_point_again_breaks_nothing() -> None:
    made = passed(20_000)

    telling_b(known_b(made, device(LOW, since_s=NOW_S - 60)), FULL).check()
    telling_b(known_b(made, device(LOW, since_s=NOW_S - 1)), LOW).check()


def test_i5_a_device_that_runs_may_be_raised_however_often_it_was_started() -> None:
    worn = device(LOW, started_s=(NOW_S - 61,))
    made = known_b(passed(20_000), worn)
    specs = (made.inputs.specs[0], replace(made.inputs.specs[1], starts_per_hour=1))

    telling_b(replace(made, inputs=replace(made.inputs, specs=specs)), FULL).check()


def test_i5_a_device_may_be_started_at_the_very_end_of_its_rest() -> None:
    """The sum of the times says that it is over, their difference that it is not."""
    given_up_s, now_s = 841.1, 1_741.1
    made = passed(20_000, at=SLEEP)
    rested = replace(
        made,
        before=replace(
            made.before, devices={**made.before.devices, "a": device(SLEEP, given_up_s=given_up_s)}
        ),
        inputs=replace(made.inputs, now_s=now_s),
    ).with_plan(commands=(SetPoint(device="a", point=FULL),))

    assert now_s - given_up_s < 900 <= now_s - 841.0
    rested.check()


@pytest.mark.parametrize("ago_s", [899.0, 900.0])
def test_i5_no_device_that_runs_is_raised_while_it_is_given_up(ago_s: float) -> None:
    made = telling_b(known_b(passed(20_000), device(LOW, given_up_s=NOW_S - ago_s)), FULL)

    if ago_s >= 900:
        made.check()
        return
    with breaks("I5: b raised 899.0 s after it was given up"):
        made.check()


def test_i5_a_device_may_be_lowered_within_its_dwell() -> None:
    made = passed()
    moved = replace(made.before, devices={**made.before.devices, "b": device(LOW, since_s=NOW_S - 1)})

    replace(made, before=moved).with_plan(commands=(SetPoint(device="b", point=SLEEP),)).check()


def test_i5_a_device_that_forgot_its_limit_while_silent_may_be_lowered_to_above_what_it_was_told() -> None:
    spec = miner(dwell_s=60.0)
    asleep = device(SLEEP, Truth.STALE, worst_w=3_700, since_s=NOW_S - 20)

    _, plan = decide(
        site(limit_w=2_500), running({"m": asleep}), inputs(spec, readings=[at_point(spec, FULL)])
    )

    assert [command.point for command in plan.commands] == [LOW]


def test_i1_grants_fit_the_limit_of_every_node() -> None:
    made = passed()
    root = replace(made.plan.nodes[0], granted=Power(5_001))

    with breaks("I1: site grants 5001 W of 5000 W"):
        made.with_plan(nodes=nodes_of(root)).check()


def test_i1_grants_fit_what_an_event_in_force_leaves() -> None:
    made = passed()
    asked = replace(made, inputs=replace(made.inputs, events=(event(limit_w=4_799),)))

    with breaks("I1: site grants 4800 W of 4799 W"):
        asked.check()


def test_i1_grants_fit_the_contract_for_a_lost_link_unless_an_event_goes_on() -> None:
    """A relative set-point asks for nothing as long as nobody knows what it is relative to."""
    made = passed()
    lost = replace(
        made,
        site=replace(made.site, policy=replace(made.site.policy, link_lost_limit=bound(4_799))),
        inputs=replace(
            made.inputs,
            links={"": Link.LOST},
            events=(event("e", RelativeTargetSignal(Power(-100))),),
        ),
    )
    known = replace(lost.after, before=Before(frozen={"e": Power(4_800)}))

    replace(lost, after=known).check()
    with breaks("I1: site grants 4800 W of 4799 W"):
        lost.check()


def test_i1_counts_the_margin_as_not_there_to_be_granted() -> None:
    made = passed()
    strict = replace(made.site, policy=replace(made.site.policy, margin=0.25))

    with breaks("I1: site grants 4800 W of 3750 W"):
        replace(made, site=strict).check()


def test_i1_a_node_says_no_less_than_what_is_granted_below_it() -> None:
    made = passed()
    root = replace(made.plan.nodes[0], granted=Power(4_799))

    with breaks("I1: site grants 4799 W in all, and 4800 W to what is seen"):
        made.with_plan(nodes=nodes_of(root)).check()


def test_i1_a_node_says_no_less_than_what_is_seen_below_it_may_draw() -> None:
    made = passed()
    root = replace(made.plan.nodes[0], worst=Power(4_799))

    with breaks("I1: site may draw 4799 W, and what is seen below it 4800 W"):
        made.with_plan(nodes=nodes_of(root)).check()


def too_much(limit_w: int = 100) -> Pass:
    """Two sleeping miners draw more than the limit, and the plan says so."""
    made = passed(limit_w, at=SLEEP)
    root = replace(made.plan.nodes[0], granted=Power(limit_w + 1), feasible=False)
    return made.with_plan(nodes=nodes_of(root))


def test_i1_a_plan_that_does_not_fit_must_say_so() -> None:
    made = too_much()
    made.check()

    with breaks("I1"):
        made.with_plan(nodes=nodes_of(replace(made.plan.nodes[0], feasible=True))).check()


def test_i1_an_infeasible_node_has_everything_that_obeys_at_its_lowest() -> None:
    with breaks(r"not at their lowest: \['a'\]"):
        too_much().with_grant("a", point=LOW).check()


@pytest.mark.parametrize(("point", "obeys"), [(None, False), (3_000, False), (10, True)])
def test_i1_only_a_point_that_is_gone_and_lies_below_all_others_is_lower_than_the_lowest(
    point: int | None, obeys: bool
) -> None:
    gone = None if point is None else OperatingPoint(name="gone", power=Power(point), rate=1.0)
    made = too_much().with_grant("a", point=LOW)
    after = replace(made.after, devices={**made.after.devices, "a": device(gone)})
    there = replace(made, after=after)

    if obeys:
        there.check()
    else:
        with breaks(r"not at their lowest: \['a'\]"):
            there.check()


def test_i1_what_stands_at_the_root_is_below_it_also_where_there_are_nodes_below() -> None:
    made = passed(100, at=SLEEP, below=(node("pdu"),))
    root = replace(made.plan.nodes[0], granted=Power(101), feasible=False)

    with breaks(r"not at their lowest: \['a'\]"):
        made.with_plan(nodes=nodes_of(root, made.plan.nodes[1])).with_grant("a", point=LOW).check()


def test_i1_what_is_silent_where_there_is_no_voltage_is_lowered_as_far_as_it_goes() -> None:
    off = too_much().with_grant("a", point=LOW, reason=Reason.ISOLATED, truth=Truth.STALE, power=Power(3_700))

    off.check()


@pytest.mark.parametrize("reason", [Reason.STALE, Reason.UNREACHABLE, Reason.LYING, Reason.REFUSING])
def test_i1_who_cannot_be_told_anything_is_lowered_as_far_as_it_goes(reason: Reason) -> None:
    too_much().with_grant("a", point=LOW, reason=reason).check()


def test_i1_a_node_is_judged_by_its_own_limit() -> None:
    made = passed(20_000, below=(node("pdu", limit_w=500),))
    pdu = replace(made.plan.nodes[1], granted=Power(501))

    with breaks("I1: pdu grants 501 W of 500 W"):
        made.with_plan(nodes=nodes_of(made.plan.nodes[0], pdu)).check()


def test_i1_a_node_without_room_says_nothing_of_who_stands_elsewhere() -> None:
    made = passed(20_000, below=(node("pdu", limit_w=500),))
    pdu = replace(made.plan.nodes[1], granted=Power(501), feasible=False)

    made.with_plan(nodes=nodes_of(made.plan.nodes[0], pdu)).check()


def test_i4_nothing_is_raised_where_the_worst_case_does_not_fit() -> None:
    made = passed()
    root = replace(made.plan.nodes[0], worst=Power(5_001))

    made.with_plan(nodes=nodes_of(root)).check()
    with breaks("I4: raised under site to a worst case of 5001 W of 5000 W"):
        made.with_plan(nodes=nodes_of(root), raised=("a",)).check()


def test_i4_nothing_is_raised_below_a_node_where_the_worst_case_does_not_fit() -> None:
    made = passed(below=(node("pdu"),))
    specs = (replace(made.inputs.specs[0], node="pdu"), made.inputs.specs[1])
    root, pdu = made.plan.nodes
    full = nodes_of(replace(root, worst=Power(5_001)), replace(pdu, granted=LOW.power, worst=LOW.power))
    below = replace(made, inputs=replace(made.inputs, specs=specs)).with_plan(nodes=full)

    below.check()
    with breaks("I4: raised under site to a worst case of 5001 W of 5000 W"):
        below.with_plan(raised=("a",)).check()


def test_i4_nothing_is_raised_into_what_a_ramp_has_yet_to_lead_down_from() -> None:
    made = passed()
    root = replace(made.site.root, ramp_down_per_s=bound(50))
    ramp = replace(
        made,
        site=replace(made.site, nodes=(root,)),
        inputs=replace(made.inputs, events=(event(limit_w=4_000, ramp_deadline_s=120.0),)),
    )

    ramp.check()
    with breaks("I4: raised under site to a worst case of 4800 W of 4000 W"):
        ramp.with_plan(raised=("a",)).check()


def test_i4_a_raise_elsewhere_may_go_on() -> None:
    made = passed(20_000, below=(node("pdu", limit_w=500),))
    pdu = replace(made.plan.nodes[1], worst=Power(600))

    made.with_plan(nodes=nodes_of(made.plan.nodes[0], pdu), raised=("a",)).check()


def test_before_the_site_is_taken_over_limits_are_not_the_plans_to_keep() -> None:
    made = passed(3_000, ready=False)

    assert not made.plan.ready
    with breaks("I1"):
        made.with_plan(ready=True, nodes=nodes_of(replace(made.plan.nodes[0], feasible=True))).check()


def test_a_node_without_a_limit_holds_whatever_it_is_granted() -> None:
    made = passed(20_000, below=(node("pdu"),))
    pdu = replace(made.plan.nodes[1], granted=Power(10**9), worst=Power(10**9))

    made.with_plan(nodes=nodes_of(made.plan.nodes[0], pdu), raised=("a",)).check()


def test_everything_that_is_broken_is_named() -> None:
    strange = OperatingPoint(name="overdrive", power=Power(3_000), rate=210.0)

    with breaks("I6.*I2"):
        without_a_grant(passed()).with_plan(commands=(SetPoint(device="a", point=strange),)).check()


def test_a_hot_zone_bounds_a_whole_plan() -> None:
    hall = Zone(id="hall", derate_c=30.0, trip_c=40.0)
    spec = miner(zone="hall", thermal=ThermalLimits(derate_c=80.0, trip_c=90.0))
    given = inputs(
        spec,
        readings=[reading(draw_w=3_500, setting_w=3_500, hottest_c=60.0)],
        zones=[zone_reading("hall", 37.0)],
    )

    _, plan = decide(site(zones=[hall]), running({"m": device(FULL)}), given)

    grant = plan.grants[0]
    assert (grant.point, grant.reason) == (SLEEP, Reason.THERMAL)


# Sent ahead of a plan


def test_a_command_that_adds_a_watt_is_not_sent_ahead_of_a_plan() -> None:
    plant, given = site(), inputs(miner("a"), readings=[reading("a", 2_400)])
    made = draft(plant, running({"a": device(LOW)}), given)

    check_lowers(made, [SetPoint(device="a", point=SLEEP), SetPoint(device="a", point=LOW)])
    with pytest.raises(BrokenInvariantError, match="I4: a is raised to full before there is a plan"):
        check_lowers(made, [SetPoint(device="a", point=FULL)])


def test_a_device_on_its_way_down_is_not_called_back_ahead_of_a_plan() -> None:
    plant, given = site(), inputs(miner("a"), readings=[reading("a", 3_500)])
    falling = device(LOW, Truth.COMMANDED, worst_w=3_500, draw_w=3_500, sent_s=NOW_S - 1, asked_s=NOW_S - 1)
    made = draft(plant, running({"a": falling}), given)

    with pytest.raises(BrokenInvariantError, match="I4: a is raised to full"):
        check_lowers(made, [SetPoint(device="a", point=FULL)])


def test_a_point_below_that_counts_for_more_than_a_device_may_draw_is_not_sent_ahead_of_a_plan() -> None:
    plant, given = site(), inputs(miner("a"), readings=[reading("a", 1_000)])
    made = draft(plant, running({"a": device(FULL, Truth.COMMANDED, worst_w=1_000, draw_w=1_000)}), given)

    with pytest.raises(BrokenInvariantError, match="I4: a is raised to low"):
        check_lowers(made, [SetPoint(device="a", point=LOW)])


def test_a_point_that_a_device_lacks_is_not_sent_ahead_of_a_plan() -> None:
    plant, given = site(), inputs(miner("a"), readings=[reading("a", 3_500)])
    made = draft(plant, running({"a": device(FULL)}), given)
    other = OperatingPoint(name="other", power=Power(100), rate=0.0)

    with pytest.raises(BrokenInvariantError, match="I2: a has no point other"):
        check_lowers(made, [SetPoint(device="a", point=other)])


# A site that is only observed


def test_i8_a_site_that_is_only_observed_is_told_nothing() -> None:
    made = passed()
    watched = replace(made.site, policy=replace(made.site.policy, mode=Mode.OBSERVE))
    told = made.with_plan(commands=(SetPoint(device="a", point=SLEEP),))
    begun = made.with_plan(job_commands=(JobCommand(queue="q", job="j", action=JobAction.START),))
    raised = made.with_plan(raised=("a",))

    for spoiled, statement in (
        (told, "a is told sleep"),
        (begun, "j is told start"),
        (raised, "a is raised"),
    ):
        with breaks(f"I8: {statement}, and the site is only observed"):
            replace(spoiled, site=watched).check()
    with breaks("I8: a is told something, and the site is only observed"):
        check_lowers(draft(watched, made.before, made.inputs), told.plan.commands)
