"""The plan as it is told: reasons, nodes, alarms, and where events stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from controller.decide.device import DeviceState
from controller.decide.inputs import Inputs, Sample
from controller.decide.metering import NodeMemory
from controller.decide.plan import Alarm, Plan
from controller.decide.snapshot import State
from controller.decide.words import AlarmKind, Reason, Truth
from controller.domain.devices import DeviceSpec, MeterReading, Quality, ThermalLimits
from controller.domain.grid import EventStatus, GridEvent, Link
from controller.domain.jobs import FlexTier
from controller.domain.power import Power
from controller.domain.site import Service, Site
from tests.decide.builders import (
    FULL,
    GPU_POINTS,
    LOW,
    NOW_S,
    SLEEP,
    at_point,
    bound,
    device,
    event,
    gpu,
    grant_of,
    inputs,
    job,
    miner,
    node,
    node_of,
    queue,
    reading,
    reasons,
    running,
    site,
    told,
    working,
)
from tests.decide.steps import decide

METERED = site(limit_w=5_000, meter="m")


def one(metered_w: int | None = None, *events: GridEvent, here: Site = METERED, **changes: object) -> Plan:
    """The plan for one miner that runs at `low`, with the meter showing what it is told to."""
    said = inputs(
        miner(),
        readings=[at_point(miner(), LOW)],
        metered_w={} if metered_w is None else {"m": metered_w},
        events=events,
    )
    _, plan = decide(here, running({"m": device(LOW)}), replace(said, **changes))  # type: ignore[arg-type]  # Inputs
    return plan


def detail(plan: Plan, kind: AlarmKind) -> str:
    return next(alarm.detail for alarm in plan.alarms if alarm.kind is kind)


def kinds(plan: Plan) -> set[AlarmKind]:
    return {alarm.kind for alarm in plan.alarms}


# Where events stand


@pytest.mark.parametrize(
    ("metered_w", "status"),
    [(2_400, EventStatus.COMPLIANT), (2_401, EventStatus.STARTED), (None, EventStatus.STARTED)],
)
def test_an_event_is_complied_with_when_a_fresh_meter_says_so_and_only_then(
    metered_w: int | None, status: EventStatus
) -> None:
    plan = one(metered_w, event("dr", limit_w=2_400))

    standing = plan.standings[0]
    assert (standing.event, standing.status, standing.cap) == ("dr", status, bound(2_400))


def test_an_event_is_held_to_what_is_due_and_not_to_the_next_one() -> None:
    lead = site(limit_w=5_000, meter="m", event_lead_s=20.0)
    deeper = event("deeper", limit_w=100, start_s=NOW_S + 10)

    plan = one(2_400, event("dr", limit_w=3_000), deeper, here=lead)

    assert [(standing.event, standing.status) for standing in plan.standings] == [
        ("dr", EventStatus.COMPLIANT)
    ]
    assert plan.standings[0].cap == bound(3_000)


def test_an_event_is_told_with_the_lowest_limit_that_the_site_is_held_to() -> None:
    assert one(2_400, event("dr", limit_w=9_000)).standings[0].cap == bound(5_000)


def test_an_event_of_prices_alone_asks_for_nothing_more() -> None:
    plan = one(None, event(usd_per_kwh=0.01))

    assert plan.standings[0].status is EventStatus.COMPLIANT


def test_a_standing_tells_the_least_the_site_can_be_brought_to() -> None:
    plan = one(2_400, event(limit_w=2_400), here=site(limit_w=5_000, meter="m", fixed_w=70))

    assert plan.standings[0].possible == plan.least == Power(100)


# Alarms


def test_a_quiet_site_has_no_alarm() -> None:
    assert one(2_400).alarms == ()


def test_a_passed_cap_is_an_alarm_with_both_numbers() -> None:
    plan = one(5_001)

    assert detail(plan, AlarmKind.CAP_PASSED) == "5001 W measured, 5000 W allowed"


def test_a_limit_that_is_just_met_is_not_passed() -> None:
    assert AlarmKind.CAP_PASSED not in kinds(one(5_000))


def test_a_node_that_passes_what_an_event_asks_of_it_is_an_alarm() -> None:
    spec = miner(node="pdu")
    here = site(node("pdu", limit_w=9_000, meter="pdu-meter"))
    said = inputs(
        spec,
        readings=[at_point(spec, LOW)],
        metered_w={"pdu-meter": 2_400},
        events=(event(limit_w=2_000, node="pdu"),),
    )

    _, plan = decide(here, running({"m": device(LOW)}), said)

    assert [(it.kind, it.subject, it.detail) for it in plan.alarms] == [
        (AlarmKind.CAP_PASSED, "pdu", "2400 W measured, 2000 W allowed")
    ]


def test_a_limit_that_is_not_due_yet_is_not_passed() -> None:
    lead = site(limit_w=5_000, meter="m", event_lead_s=20.0)

    assert AlarmKind.CAP_PASSED not in kinds(one(2_400, event(limit_w=100, start_s=NOW_S + 10), here=lead))


def test_a_meter_that_is_not_heard_is_an_alarm() -> None:
    assert detail(one(None), AlarmKind.METER_STALE) == "no fresh reading of site"


def test_a_meter_that_was_doubted_and_fell_silent_is_an_alarm() -> None:
    known = running({"m": device(LOW)}, nodes={"site": NodeMemory(doubted=True, at_s=NOW_S - 10)})

    _, plan = decide(METERED, known, inputs(miner(), readings=[at_point(miner(), LOW)]))

    assert detail(plan, AlarmKind.METER_STALE) == "no fresh reading of site"


def test_load_of_nobodys_is_held_against_the_rating_however_little_an_event_leaves() -> None:
    plan = one(2_400 + 250, event(limit_w=100))

    assert AlarmKind.UNEXPLAINED not in kinds(plan)


def test_load_that_no_device_accounts_for_is_an_alarm_from_a_share_of_the_limit_on() -> None:
    fixed = site(limit_w=5_000, meter="m", fixed_w=100)

    assert AlarmKind.UNEXPLAINED not in kinds(one(2_400 + 350, here=fixed))
    told = detail(one(2_400 + 351, here=fixed), AlarmKind.UNEXPLAINED)
    assert told == "251 W that neither a device nor fixed_kw accounts for"


def test_the_fixed_load_of_a_place_without_voltage_explains_nothing_that_its_meter_shows() -> None:
    dead = node("row", limit_w=5_000, fixed_w=200, meter="row", service=Service.ISOLATED)

    plan = one(
        here=site(dead, limit_w=9_000),
        meters={"row": Sample(NOW_S, MeterReading(meter="row", power=Power(300)))},
    )

    assert detail(plan, AlarmKind.UNEXPLAINED) == "300 W that neither a device nor fixed_kw accounts for"


def test_a_set_point_below_what_all_at_their_lowest_draw_is_missed_and_no_limit_is() -> None:
    plan = one(2_400, event(target_w=10))

    assert (node_of(plan, "site").feasible, AlarmKind.INFEASIBLE in kinds(plan)) == (True, False)


def test_too_little_room_for_even_the_lowest_says_how_much_is_missing() -> None:
    plan = one(2_400, here=site(limit_w=10, meter="m"))

    assert detail(plan, AlarmKind.INFEASIBLE) == "all at their lowest is 20 W too much"


RACK = (gpu("g1"), gpu("g2"))
"""Two GPUs that nothing runs on: they may draw 200 W each, at their lowest limit, and draw 70."""


def at_the_lowest(*metered_w: int | None, here: Site, boards: Sequence[DeviceSpec] = RACK) -> Plan:
    """The last of so many plans, a second apart, for two idle GPUs at their lowest."""
    state, at = (
        running({spec.id: device(GPU_POINTS[0], draw_w=70) for spec in boards}),
        GPU_POINTS[0].power.watts,
    )
    draws, plans = [replace(reading(spec.id, 70, at), rate=0.0) for spec in boards], []
    for second, watts in enumerate(metered_w):
        now_s = NOW_S + second
        said = inputs(*boards, now_s=now_s, readings=draws, metered_w={} if watts is None else {"m": watts})
        state, plan = decide(here, state, said)
        plans.append(plan)
    return plans[-1]


def test_a_limit_that_a_meter_shows_to_be_kept_is_not_called_infeasible_for_what_might_be_drawn() -> None:
    plan = at_the_lowest(140, here=site(limit_w=300, meter="m"))

    assert kinds(plan) == {AlarmKind.NOT_ASSURED}
    assert detail(plan, AlarmKind.NOT_ASSURED) == (
        "kept now, 140 W measured at site; all at their lowest may draw 100 W more than the 300 W allowed"
    )


def test_a_limit_that_a_meter_further_up_shows_to_be_kept_is_not_called_infeasible_either() -> None:
    rack = node("rack", limit_w=300)
    boards = tuple(replace(spec, node="rack") for spec in RACK)

    plan = at_the_lowest(140, here=site(rack, meter="m"), boards=boards)

    may = "all at their lowest may draw 100 W more than the 300 W allowed"
    alarm = Alarm(
        kind=AlarmKind.NOT_ASSURED, subject="rack", detail=f"kept now, 140 W measured at site; {may}"
    )
    assert plan.alarms == (alarm,)


def test_a_limit_that_nothing_shows_to_be_kept_is_infeasible_by_what_may_be_drawn() -> None:
    assert kinds(at_the_lowest(None, here=site(limit_w=300))) == {AlarmKind.INFEASIBLE}


def test_a_limit_that_is_passed_is_infeasible_at_once_and_kept_once_a_late_meter_would_show_it_too() -> None:
    here = site(limit_w=300, meter="m")

    assert AlarmKind.INFEASIBLE in kinds(at_the_lowest(*[140] * 20, 301, here=here))
    assert AlarmKind.INFEASIBLE in kinds(at_the_lowest(*[140] * 20, 301, *[140] * 6, here=here))
    assert kinds(at_the_lowest(*[140] * 20, 301, *[140] * 7, here=here)) == {AlarmKind.NOT_ASSURED}


def test_a_limit_is_shown_to_be_kept_by_the_last_reading_of_a_meter_that_is_seldom_read() -> None:
    here = site(limit_w=300, meter="m", meter_stale_after_s=30.0)
    draws = [replace(reading(spec.id, 70, 200), rate=0.0) for spec in RACK]
    first = inputs(*RACK, readings=draws, metered_w={"m": 140})
    known = {spec.id: device(GPU_POINTS[0], draw_w=70) for spec in RACK}
    state, plan = decide(here, running(known), first)
    for second in range(1, 12):
        later = inputs(*RACK, now_s=NOW_S + second, readings=draws)
        state, plan = decide(here, state, replace(later, meters=first.meters))

    assert kinds(plan) == {AlarmKind.NOT_ASSURED}


def test_a_limit_that_all_at_their_lowest_keep_without_the_margin_is_no_alarm() -> None:
    plan = at_the_lowest(None, here=site(limit_w=401, margin=0.01))

    assert not node_of(plan, "site").feasible
    assert kinds(plan) == set()


def silence(state: State) -> str:
    _, plan = decide(site(), state, Inputs(now_s=NOW_S, utc_s=0.0, specs=(miner(),)))
    return detail(plan, AlarmKind.DEVICE_SILENT)


def test_a_silent_device_is_an_alarm_that_says_since_when() -> None:
    old = Sample(NOW_S - 40, reading())
    given = Inputs(now_s=NOW_S, utc_s=0.0, specs=(miner(),), readings={"m": old})

    _, plan = decide(site(), running({"m": device(LOW, at_s=NOW_S - 40)}), given)

    assert detail(plan, AlarmKind.DEVICE_SILENT) == "silent for 40 s"


def test_a_device_that_was_never_heard_says_so() -> None:
    assert silence(running()) == "never answered"


@pytest.mark.parametrize(
    ("answers", "alarms"), [(False, []), (True, ["energised m"])], ids=["silent", "answers"]
)
def test_below_a_node_without_voltage_only_what_answers_is_an_alarm(answers: bool, alarms: list[str]) -> None:
    spec = miner(node="off")
    here = site(node("off", meter="off-meter", service=Service.ISOLATED))

    said = inputs(spec, readings=[at_point(spec, SLEEP)] if answers else [])
    _, plan = decide(here, running(), said)

    assert [f"{alarm.kind} {alarm.subject}" for alarm in plan.alarms] == alarms


@pytest.mark.parametrize(
    ("shows_w", "alarms"), [(0, []), (17, []), (18, ["energised off"]), (1_500, ["energised off"])]
)
def test_watts_that_a_meter_shows_at_a_node_without_voltage_are_an_alarm_beyond_the_error_of_the_meter(
    shows_w: int, alarms: list[str]
) -> None:
    """Nobody answers there: what draws them may have no network, or be no machine."""
    spec = miner(node="off")
    here = site(node("off", meter="off-meter", service=Service.ISOLATED))

    _, plan = decide(here, running(), inputs(spec, metered_w={"off-meter": shows_w}))

    told = [alarm for alarm in plan.alarms if alarm.kind is AlarmKind.ENERGISED]
    assert [f"{alarm.kind} {alarm.subject}" for alarm in told] == alarms


def test_a_meter_below_an_isolated_node_tells_of_voltage_too_and_one_beside_it_does_not() -> None:
    places = (node("off", service=Service.ISOLATED), node("row", "off", meter="row-meter", limit_w=10_000))
    here = site(*places, node("on", meter="on-meter"))

    _, plan = decide(here, running(), inputs(metered_w={"row-meter": 60, "on-meter": 60}))

    assert detail(plan, AlarmKind.ENERGISED) == "60 W measured, below a node declared isolated"


def test_a_lost_link_is_told_with_the_operators_that_are_not_heard() -> None:
    plan = one(2_400, links={"": Link.LOST, "dsx": Link.UP, "iso": Link.LOST})

    assert detail(plan, AlarmKind.LINK_LOST).startswith("no heartbeat of grid, iso, or")


def test_the_only_operator_that_has_no_name_is_told_without_one() -> None:
    assert detail(one(2_400, links={"": Link.LOST}), AlarmKind.LINK_LOST).startswith("no heartbeat, or")


def test_alarms_wait_for_the_whole_site_to_be_seen() -> None:
    _, plan = decide(site(limit_w=5, meter="m"), State(), inputs(miner(), miner("b")))

    assert (plan.ready, plan.alarms) == (False, ())


def test_a_doubtful_device_is_an_alarm_with_what_it_was_told_and_what_it_draws() -> None:
    refusing = device(SLEEP, Truth.REFUSED, worst_w=3_500, sent_s=NOW_S, asked_s=NOW_S)
    said = inputs(miner(), readings=[at_point(miner(), FULL)])

    _, plan = decide(site(limit_w=100), running({"m": refusing}), said)

    assert detail(plan, AlarmKind.DEVICE_LYING) == "told sleep, draws 3500 W"


@pytest.mark.parametrize(
    ("truth", "failures", "heard_s", "expected"),
    [
        (Truth.ACKNOWLEDGED, 0, NOW_S - 12, False),
        (Truth.ACKNOWLEDGED, 0, NOW_S - 7, False),
        (Truth.ACKNOWLEDGED, 0, NOW_S - 5, True),
        (Truth.COMMANDED, 2, NOW_S - 12, False),
        (Truth.COMMANDED, 2, NOW_S - 7, True),
        (Truth.REFUSED, 0, NOW_S - 12, True),
    ],
)
def test_whose_time_is_over_is_an_alarm_only_once_it_said_no_or_was_heard_since_it_was_told(
    truth: Truth, failures: int, heard_s: float, expected: bool
) -> None:
    """Told to sleep 11 s ago, and again now. One that does not answer any more is silent, seconds later."""
    asked = device(
        SLEEP,
        truth,
        worst_w=3_500,
        draw_w=3_500,
        began=FULL.power,
        at_s=heard_s,
        sent_s=NOW_S,
        asked_s=NOW_S - 11,
        failures=failures,
    )
    last = {"m": Sample(heard_s, at_point(miner(), FULL))}

    _, plan = decide(site(limit_w=100), running({"m": asked}), replace(inputs(miner()), readings=last))

    assert (AlarmKind.DEVICE_LYING in kinds(plan)) is expected
    assert reasons(plan)["m"] is Reason.REFUSING


# Reasons


CHIP = ThermalLimits(derate_c=80.0, trip_c=90.0, warn_c=75.0)
BOARD = ThermalLimits(derate_c=70.0, trip_c=85.0)


def hot(hottest_c: float, board_c: float | None = None, state: DeviceState | None = None) -> Plan:
    spec = miner(thermal=CHIP, board_thermal=BOARD)
    said = replace(at_point(spec, LOW), hottest_c=hottest_c, board_c=board_c)
    _, plan = decide(METERED, running({"m": state or device(LOW)}), inputs(spec, readings=[said]))
    return plan


def test_a_device_at_its_warning_temperature_is_an_alarm_with_every_temperature_it_told() -> None:
    assert AlarmKind.HOT not in kinds(hot(74.9))
    assert detail(hot(75.0), AlarmKind.HOT) == "75 of 90 C"
    assert detail(hot(75.0, 60.0), AlarmKind.HOT) == "75 of 90 C, 60 of 85 C"


def test_a_hot_device_that_fell_silent_is_silent_and_no_longer_hot() -> None:
    spec = miner(thermal=CHIP)
    late = {"m": Sample(NOW_S - 16, replace(at_point(spec, LOW), hottest_c=89.0))}
    known = running({"m": device(LOW, warned=True, at_s=NOW_S - 16)})

    _, plan = decide(METERED, known, replace(inputs(spec), readings=late))

    assert (AlarmKind.DEVICE_SILENT in kinds(plan), AlarmKind.HOT in kinds(plan)) == (True, False)


@pytest.mark.parametrize(
    ("hottest_c", "known", "usd_per_kwh", "why"),
    [
        (84.0, device(SLEEP), 0.05, Reason.THERMAL),
        (82.0, device(LOW), 0.05, Reason.THERMAL),
        (82.0, device(SLEEP), 1_000.0, Reason.UNPROFITABLE),
        (82.0, device(SLEEP, rests_s=NOW_S + 60), 0.05, Reason.RESTING),
    ],
)
def test_heat_is_told_as_in_the_way_only_where_it_forbids_the_next_point(
    hottest_c: float, known: DeviceState, usd_per_kwh: float, why: Reason
) -> None:
    """At 82 C a machine may have its lower point, at 84 C none."""
    spec = miner(thermal=CHIP)
    said = replace(at_point(spec, known.point or FULL), hottest_c=hottest_c)
    asked = inputs(spec, readings=[said], events=(event(usd_per_kwh=usd_per_kwh),))

    _, plan = decide(site(), running({"m": known}), asked)

    assert (told(plan), reasons(plan)) == ({}, {"m": why})


def test_a_device_that_a_node_stops_names_it() -> None:
    spec = miner(node="pdu")
    here = site(node("pdu", limit_w=2_500), limit_w=9_000)

    _, plan = decide(here, running({"m": device(LOW)}), inputs(spec, readings=[at_point(spec, LOW)]))

    grant = grant_of(plan, "m")
    assert (grant.reason, grant.limited_by) == (Reason.LIMITED, "pdu")


def test_a_device_that_waits_for_watts_names_no_node() -> None:
    specs = (miner("falling"), miner("waiting"))
    falling = device(
        SLEEP,
        Truth.ACKNOWLEDGED,
        worst_w=3_500,
        draw_w=3_500,
        began=Power(3_500),
        sent_s=NOW_S - 1,
        asked_s=NOW_S - 1,
    )
    said = inputs(*specs, readings=[at_point(specs[0], FULL), at_point(specs[1], SLEEP)])
    cheap = replace(specs[0], points=(SLEEP, replace(FULL, rate=1.0)))

    _, plan = decide(
        site(limit_w=4_000),
        running({"falling": falling, "waiting": device(SLEEP)}),
        replace(said, specs=(cheap, specs[1])),
    )

    grant = grant_of(plan, "waiting")
    assert (grant.reason, grant.limited_by, grant.wanted) == (Reason.WAITING, "", FULL)


def test_a_device_that_a_node_stops_names_none_while_another_reason_comes_first() -> None:
    specs = (miner("a", "pdu"), miner("late"))
    here = site(node("pdu", limit_w=2_500), limit_w=9_000)

    _, plan = decide(here, State(), inputs(*specs, readings=[at_point(specs[0], LOW)]))

    grant = grant_of(plan, "a")
    assert (grant.reason, grant.limited_by) == (Reason.HELD, "")


def test_who_does_not_obey_is_wanted_where_it_was_told_to_be() -> None:
    refusing = device(SLEEP, Truth.REFUSED, worst_w=3_500, sent_s=NOW_S, asked_s=NOW_S)
    said = inputs(miner(), readings=[at_point(miner(), FULL)])

    _, plan = decide(site(limit_w=100), running({"m": refusing}), said)

    assert grant_of(plan, "m").wanted == SLEEP


def test_a_gpu_without_a_job_that_was_just_raised_is_idle_and_not_full() -> None:
    board = gpu(dwell_s=60.0)
    said = inputs(board, readings=[at_point(board, GPU_POINTS[-1])], queues=(queue(gpus=["g"]),))

    _, plan = decide(site(), running({"g": device(GPU_POINTS[-1], since_s=NOW_S - 10)}), said)

    assert (told(plan), reasons(plan)) == ({}, {"g": Reason.IDLE})


def test_a_gpu_with_a_job_at_a_point_that_earns_most_below_its_top_is_unprofitable_above_it() -> None:
    spec = gpu()
    flat = replace(
        spec, points=tuple(replace(point, rate=min(1.0, point.rate / 0.76)) for point in GPU_POINTS)
    )
    held = queue(working(job(usd=1.0, flex=FlexTier.MODERATE), "g"), gpus=["g"])
    said = inputs(flat, readings=[at_point(flat, flat.points[2])], queues=(held,))

    _, plan = decide(site(), running({"g": device(flat.points[2])}), said)

    assert (told(plan), reasons(plan)) == ({}, {"g": Reason.UNPROFITABLE})


def test_a_plan_tells_who_is_lowered_before_it_tells_who_is_raised() -> None:
    here = site(node("full", limit_w=100), node("free"), limit_w=20_000)
    specs = (miner("a", "free"), miner("b", "full"))
    said = inputs(*specs, readings=[at_point(specs[0], SLEEP), at_point(specs[1], FULL)])

    _, plan = decide(here, running({"a": device(SLEEP), "b": device(FULL)}), said)

    assert [(it.device, it.point) for it in plan.commands] == [("b", SLEEP), ("a", FULL)]


# Nodes


def test_a_node_tells_what_is_granted_and_what_may_be_drawn_at_worst_below_it() -> None:
    spec = miner(node="pdu")
    here = site(node("pdu", limit_w=4_000, fixed_w=50), limit_w=9_000, fixed_w=7)
    lowered = inputs(spec, readings=[at_point(spec, FULL)], events=(event(limit_w=2_500),))

    _, plan = decide(here, running({"m": device(FULL)}), lowered)

    assert (node_of(plan, "pdu").granted, node_of(plan, "pdu").worst) == (Power(2_450), Power(3_550))
    assert (node_of(plan, "site").granted, node_of(plan, "site").worst) == (Power(2_457), Power(3_557))
    assert (node_of(plan, "site").limit, node_of(plan, "pdu").limit) == (bound(2_500), bound(4_000))


def test_a_node_is_told_with_its_limit_and_not_with_what_the_margin_leaves_of_it() -> None:
    assert node_of(one(2_400, here=site(limit_w=5_000, meter="m", margin=0.1)), "site").limit == bound(5_000)


def test_a_node_wants_what_those_who_do_not_obey_may_draw() -> None:
    refusing = device(SLEEP, Truth.REFUSED, worst_w=3_500, sent_s=NOW_S, asked_s=NOW_S)
    said = inputs(miner(), readings=[at_point(miner(), FULL)])

    _, plan = decide(site(limit_w=100), running({"m": refusing}), said)

    assert node_of(plan, "site").wanted == Power(3_500)


def test_a_node_is_told_to_draw_what_the_silent_below_it_may() -> None:
    specs = (miner("a"), miner("late"))
    said = inputs(*specs, readings=[at_point(specs[0], LOW)])

    _, plan = decide(site(), running({"a": device(LOW)}), said)

    assert node_of(plan, "site").drawn == LOW.power + specs[1].ceiling


def test_a_stale_meter_is_told_as_none_and_a_fresh_one_with_its_watts() -> None:
    stale = {"m": Sample(NOW_S - 6, MeterReading(meter="m", power=Power(1)))}

    assert node_of(one(2_400), "site").metered == Power(2_400)
    assert node_of(one(None, meters=stale), "site").metered is None


def test_a_plan_says_when_the_grid_asks_for_something_else() -> None:
    plan = one(2_400, event(limit_w=3_000, end_s=NOW_S + 60))

    assert plan.next_change_utc_s == inputs().utc_s + 60


@pytest.mark.parametrize(("started_ago_s", "doubted"), [(10, False), (120, True)])
def test_a_meter_is_not_doubted_for_what_an_estimate_claims_of_a_machine_that_still_starts(
    started_ago_s: float, doubted: bool
) -> None:
    here = site(limit_w=5_000, meter="m")
    claims = replace(reading(draw_w=3_500, setting_w=3_500, quality=Quality.ESTIMATED), rate=199.0)
    state = running({"m": device(FULL, since_s=NOW_S - started_ago_s)})

    plan = decide(here, state, inputs(miner(), readings=[claims], metered_w={"m": 900}))[1]

    assert (plan.nodes[0].metered is None) is doubted


def test_a_meter_that_shows_the_end_of_a_job_first_is_not_gone_by_and_is_no_alarm() -> None:
    """Until the GPU was read again it seems to show what cannot be. What goes on showing that is an alarm."""
    here, board = site(limit_w=5_000, meter="m"), gpu("g", dwell_s=0.0)
    state, plans = State(), []
    for tick, metered_w in enumerate([700] * 5 + [70] * 20):
        now_s = NOW_S + tick
        draws = reading("g", 690, setting_w=700)
        said = inputs(board, now_s=now_s, readings=[draws], metered_w={"m": metered_w})
        state, plan = decide(here, state, said)
        plans.append((plan.nodes[0].metered is None, AlarmKind.METER_STALE in kinds(plan)))

    assert plans[4] == (False, False)
    assert plans[5:20] == [(True, False)] * 15
    assert plans[24] == (True, True)


def test_the_least_of_a_plan_is_that_of_the_whole_site_and_not_of_a_part_of_it() -> None:
    """An operator is told by it how much there is to shed."""
    here = site(node("row", fixed_w=40), node("hall", fixed_w=7), limit_w=9_000, fixed_w=200)
    specs = (miner("a", "row"), miner("b", "row"), miner("c", "hall"))

    said = inputs(*specs, readings=[at_point(spec, LOW) for spec in specs])
    _, plan = decide(here, running({spec.id: device(LOW) for spec in specs}), said)

    assert plan.least == Power(200 + 40 + 7 + 3 * 30)


@pytest.mark.parametrize(("limit_w", "feasible"), [(30, True), (29, False)])
def test_a_limit_that_all_at_their_lowest_just_fit_is_feasible(limit_w: int, feasible: bool) -> None:
    plan = one(30, here=site(limit_w=limit_w, meter="m"))

    assert node_of(plan, "site").feasible is feasible
    assert (AlarmKind.INFEASIBLE in {alarm.kind for alarm in plan.alarms}) is not feasible


def test_only_a_set_point_that_is_not_followed_is_outranked() -> None:
    events = (
        event("first", target_w=2_400, priority=1),
        event("second", target_w=3_500, priority=2),
        event("limit", limit_w=4_000, priority=3),
    )

    plan = one(2_400, *events)

    assert {one.event: one.outranked for one in plan.standings} == {
        "first": False,
        "second": True,
        "limit": False,
    }


def test_what_is_told_as_possible_of_a_set_point_that_is_too_high_has_idle_gpus_where_they_are() -> None:
    specs = (miner(), gpu())
    said = inputs(
        *specs,
        readings=[at_point(specs[0], FULL), at_point(specs[1], GPU_POINTS[0])],
        metered_w={"m": 3_700},
        events=[event(target_w=9_000)],
    )
    known = {"m": device(FULL, since_s=NOW_S - 5), "g": device(GPU_POINTS[0])}

    _, plan = decide(site(limit_w=20_000, meter="m"), running(known), said)

    [standing] = plan.standings
    assert (standing.status, standing.possible) == (EventStatus.INFEASIBLE, Power(3_700))


@pytest.mark.parametrize(("service", "told"), [(Service.IN_SERVICE, True), (Service.DRAINING, False)])
def test_a_machine_that_only_a_person_may_switch_on_is_an_alarm_unless_people_work_there(
    service: Service, told: bool
) -> None:
    off = miner("m", "row", points=(SLEEP,), has_outlet=True, left_off="was not switched off from here")
    said = inputs(off, readings=[at_point(off, SLEEP)])

    _, plan = decide(site(node("row", service=service)), running({"m": device(FULL)}), said)

    alarm = Alarm(
        kind=AlarmKind.OUTLET_OFF,
        subject="m",
        detail="its outlet is off and was not switched off from here: switch it on by hand",
    )
    assert plan.alarms == ((alarm,) if told else ())
    assert plan.commands == ()
    assert grant_of(plan, "m").reason is (Reason.OUTLET_OFF if told else Reason.DRAINING)


def test_a_pdu_that_does_not_answer_is_an_alarm_by_its_name() -> None:
    asked = replace(inputs(miner(), readings=[at_point(miner(), FULL)]), silent_pdus=("rack-1",))

    _, plan = decide(site(), running({"m": device(FULL)}), asked)

    assert [(alarm.kind, alarm.subject) for alarm in plan.alarms] == [(AlarmKind.PDU_SILENT, "rack-1")]
