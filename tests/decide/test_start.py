"""The first seconds: what is not known yet must not be taken for lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.decide.inputs import PriceNow, Sample
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.timeline import lost_operators
from controller.decide.words import AlarmKind
from controller.domain.devices import Cooling, MeterReading, Reading
from controller.domain.grid import Link
from controller.domain.jobs import QueueReading
from controller.domain.power import Power
from controller.domain.prices import Price, PriceKey
from controller.domain.site import Policy, Prices, Service, Thresholds, Zone
from tests.decide.builders import (
    GPU_POINTS,
    LOW,
    NOW_S,
    SLEEP,
    at_point,
    bound,
    device,
    event,
    gpu,
    inputs,
    miner,
    node,
    queue,
    reading,
    running,
    site,
    told,
    zone_reading,
)
from tests.decide.steps import decide
from tests.decide.world import World, asleep

POLICY = Policy(start_grace_s=20.0)


def test_a_link_that_had_no_time_to_be_heard_is_not_lost() -> None:
    assert lost_operators({"iso": Link.LOST}, 19.9, POLICY) == frozenset()


def test_a_link_that_is_silent_past_the_grace_is_lost_and_no_other() -> None:
    assert lost_operators({"iso": Link.LOST, "dsx": Link.UP}, 20.0, POLICY) == {"iso"}


@pytest.mark.parametrize(
    ("links", "link"),
    [({}, Link.NONE), ({"iso": Link.UP}, Link.UP), ({"iso": Link.UP, "dsx": Link.LOST}, Link.LOST)],
)
def test_the_link_is_lost_as_soon_as_that_of_one_operator_is(links: dict[str, Link], link: Link) -> None:
    assert inputs(links=links).link is link


def says(state: State, *, now_s: float = NOW_S, **known: Any) -> tuple[State, Plan]:
    """What a controller makes of a GPU at its highest."""
    spec = gpu("g0")
    said = inputs(spec, now_s=now_s, readings=[at_point(spec, GPU_POINTS[-1])], **known)
    return decide(site(), state, said)


def test_a_site_is_taken_over_when_every_queue_was_heard_or_had_its_time() -> None:
    begun, first = says(State(), silent_queues=("q",))

    assert not first.ready
    assert not says(begun, now_s=NOW_S + 19.9, silent_queues=("q",))[1].ready
    assert says(begun, now_s=NOW_S + 19.9)[1].ready
    assert says(begun, now_s=NOW_S + 20.0, silent_queues=("q",))[1].ready


def taken_over(
    said: Reading, *, waited_s: float = 0.0, pdu_w: int = 9_000, metered_w: int | None = None
) -> bool:
    """Whether a site of two miners on one PDU is, of which one says that and the other was never heard."""
    here = site(node("pdu", limit_w=pdu_w), limit_w=9_000, meter="main", start_grace_s=20.0)
    meters = {} if metered_w is None else {"main": metered_w}
    known = inputs(miner("a", "pdu"), miner("b", "pdu"), readings=[said], metered_w=meters)
    return decide(here, State(first_s=NOW_S - waited_s), known)[1].ready


@pytest.mark.parametrize(("waited_s", "expected"), [(19.9, False), (20.0, True)])
def test_a_site_is_taken_over_when_every_machine_was_heard_or_had_its_time(
    waited_s: float, expected: bool
) -> None:
    assert taken_over(reading("a", 2_400, 2_400), waited_s=waited_s, metered_w=2_500) is expected


@pytest.mark.parametrize(("draw_w", "expected"), [(3_000, False), (3_001, True)])
def test_a_site_is_taken_over_at_once_where_machines_say_that_they_pass_the_limit_of_any_node(
    draw_w: int, expected: bool
) -> None:
    assert taken_over(reading("a", draw_w, 2_400), pdu_w=3_000) is expected


@pytest.mark.parametrize(("metered_w", "expected"), [(9_000, False), (9_001, True)])
def test_a_site_is_taken_over_at_once_where_its_meter_shows_more_than_its_limit(
    metered_w: int, expected: bool
) -> None:
    assert taken_over(reading("a", 2_400, 2_400), metered_w=metered_w) is expected


@pytest.mark.parametrize(
    ("waited_s", "pdu_w", "expected"),
    [(9.9, 3_499, False), (10.0, 3_499, True), (10.0, 3_500, False)],
)
def test_who_answers_and_may_rise_past_a_limit_waits_half_of_the_time_for_the_silent(
    waited_s: float, pdu_w: int, expected: bool
) -> None:
    rising = reading("a", 2_400, 3_500)

    assert taken_over(rising, waited_s=waited_s, pdu_w=pdu_w) is expected


@pytest.mark.parametrize(
    ("waited_s", "metered_w", "expected"),
    [(9.9, 7_901, False), (10.0, 7_901, True), (10.0, 7_900, False)],
)
def test_who_answers_and_may_rise_past_what_a_meter_shows_waits_half_of_the_time_for_the_silent(
    waited_s: float, metered_w: int, expected: bool
) -> None:
    """The silent one draws the rest of that."""
    rising = reading("a", 2_400, 3_500)

    assert taken_over(rising, waited_s=waited_s, metered_w=metered_w) is expected


def test_who_answers_counts_in_full_where_a_meter_shows_less_than_they_say() -> None:
    """It may be read less often."""
    here = site(limit_w=3_400, meter="main", start_grace_s=20.0)
    said = [reading("a", 2_400, 3_500)]
    known = inputs(miner("a"), miner("b"), readings=said, metered_w={"main": 2_000})

    assert decide(here, State(first_s=NOW_S - 10), known)[1].ready


@pytest.mark.parametrize(("deadline_s", "expected"), [(0.0, True), (120.0, False)])
def test_a_limit_that_a_ramp_may_yet_lead_down_to_is_no_reason_to_take_a_site_over_at_once(
    deadline_s: float, expected: bool
) -> None:
    here = site(limit_w=9_000, meter="main", start_grace_s=20.0, ramp_down_w=50)
    limit = event(limit_w=1_000, ramp_deadline_s=deadline_s)
    said = [at_point(miner("a"), LOW)]
    known = inputs(miner("a"), miner("late"), readings=said, metered_w={"main": 2_400}, events=(limit,))

    assert decide(here, State(first_s=NOW_S), known)[1].ready is expected


def test_who_is_silent_where_there_is_no_voltage_is_not_waited_for() -> None:
    here = site(node("off", service=Service.ISOLATED), start_grace_s=20.0)
    known = inputs(miner("a"), miner("b", "off"), readings=[at_point(miner("a"), LOW)])

    assert decide(here, State(first_s=NOW_S), known)[1].ready


def test_a_gpu_of_which_no_queue_has_said_what_it_does_is_lowered_for_a_limit_and_for_nothing_else() -> None:
    limit = (event(limit_w=400, start_s=NOW_S),)

    assert told(says(running())[1]) == {"g0": "200w"}
    assert told(says(running(), silent_queues=("q",))[1]) == {}
    assert told(says(running(), silent_queues=("q",), events=limit)[1]) == {"g0": "200w"}


@pytest.mark.parametrize(
    ("since_s", "alarms"),
    [(19, []), (20, ["meter_stale m", "device_silent late", "cooling hall", "link_lost test"])],
)
def test_what_was_never_heard_is_an_alarm_once_a_controller_had_its_time_to_hear_it(
    since_s: float, alarms: list[str]
) -> None:
    here = site(limit_w=9_000, meter="m", start_grace_s=20.0)
    here = replace(here, zones=(Zone(id="hall", derate_c=30, trip_c=40),))
    begun = running({"m": device(LOW)}, first_s=NOW_S - since_s)
    known = inputs(miner(), miner("late"), readings=[at_point(miner(), LOW)])

    _, plan = decide(here, begun, replace(known, links={"iso": Link.LOST}))

    assert [f"{alarm.kind} {alarm.subject}" for alarm in plan.alarms] == alarms


def test_a_meter_that_falls_silent_is_an_alarm_however_new_the_controller_is() -> None:
    here = site(limit_w=9_000, meter="m", start_grace_s=20.0)
    begun = running({"m": device(LOW)}, first_s=NOW_S - 10)
    known = inputs(miner(), readings=[at_point(miner(), LOW)])
    old = {"m": Sample(NOW_S - 6, MeterReading(meter="m", power=Power(2_400)))}

    _, plan = decide(here, begun, replace(known, meters=old))

    assert [alarm.kind for alarm in plan.alarms] == [AlarmKind.METER_STALE]


def test_a_device_that_falls_silent_and_a_zone_that_says_it_is_not_cooled_are_alarms_from_the_start() -> None:
    here = site(zones=[Zone(id="hall", derate_c=30, trip_c=40)], start_grace_s=20.0)
    begun = running({"m": device(LOW, at_s=NOW_S - 16)}, first_s=NOW_S - 18)
    heard = zone_reading("hall", cooling=Cooling.NOT_PROVEN)
    known = replace(
        inputs(miner(), zones=[heard]), readings={"m": Sample(NOW_S - 16, at_point(miner(), LOW))}
    )

    _, plan = decide(here, begun, known)

    assert [f"{alarm.kind} {alarm.subject}" for alarm in plan.alarms] == ["device_silent m", "cooling hall"]


@pytest.mark.parametrize(("queues", "known"), [((), "not known"), ((queue(),), "as it said last")])
def test_a_queue_that_does_not_answer_is_an_alarm_that_says_what_is_known_of_its_work(
    queues: tuple[QueueReading, ...], known: str
) -> None:
    _, plan = says(running(), silent_queues=("q",), queues=queues)

    [alarm] = plan.alarms
    assert (alarm.kind, alarm.subject) == (AlarmKind.QUEUE_SILENT, "q")
    assert alarm.detail == f"does not answer; what its GPUs work on is {known}"


def test_a_gpu_that_a_queue_offers_and_does_not_use_is_lowered_though_another_was_not_heard() -> None:
    offers = (queue(gpus=["g0"]),)

    assert told(says(running(), silent_queues=("other",), queues=offers)[1]) == {"g0": "200w"}


@pytest.mark.parametrize(
    ("constant_usd", "usd", "then"), [(0.05, 0.5, {}), (0.5, 0.05, {"m": "full"})], ids=["dear", "cheap"]
)
def test_no_machine_is_judged_by_a_constant_while_the_price_was_not_yet_heard(
    constant_usd: float, usd: float, then: dict[str, str]
) -> None:
    spec, band = miner("m"), Thresholds(start_above=0.005, least_on_s=900.0, least_off_s=900.0)
    plant = site(start_grace_s=20.0, profit=band)

    def tick(state: State, now_s: float, usd_per_kwh: float, *, awaited: bool) -> tuple[State, Plan]:
        price = PriceNow(
            key=PriceKey(price=Price.ENERGY), value=usd_per_kwh, source="rtm", age_s=0.0, awaited=awaited
        )
        said = inputs(
            spec,
            now_s=now_s,
            readings=[at_point(spec, SLEEP)],
            prices=Prices(usd_per_kwh=usd_per_kwh),
            prices_now=(price,),
        )
        return decide(plant, state, said)

    begun, first = tick(State(), NOW_S, constant_usd, awaited=True)
    _, second = tick(begun, NOW_S + 5, usd, awaited=False)

    assert (first.ready, told(first)) == (False, {})
    assert (second.ready, told(second)) == (True, then)


def test_a_controller_that_starts_while_the_link_is_lost_raises_nothing_before_it_counts_as_lost() -> None:
    here = site(limit_w=80_000, link_lost_limit=bound(4_000), start_grace_s=20.0)
    world = World(here, [asleep(gpu("g", dwell_s=2.0)), *(asleep(miner(f"m{at}")) for at in range(6))])
    world.link = Link.LOST

    lost_w = []
    for _ in range(40):
        world.tick()
        lost_w.append(world.watts())
    world.link = Link.UP
    world.run(10)

    assert max(lost_w) <= 4_000
    assert world.watts() > 20_000
