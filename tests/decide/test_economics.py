"""Which of several dated prices holds, and what the prices make of a kWh, an event and a job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.economics import (
    CONSTANT,
    SOAK_USD_PER_KWH,
    alarms,
    energy_usd_per_kwh,
    priced,
    prices_now,
    prices_of,
)
from controller.decide.inputs import PriceNow
from controller.decide.words import AlarmKind
from controller.domain.jobs import Job, JobState, JobStatus, PricedBy
from controller.domain.prices import Ladder, Price, PriceKey, Rung, Series
from controller.domain.site import Prices
from tests.decide.builders import job, queue, waiting, working

ENERGY = PriceKey(price=Price.ENERGY)
UTC_S = 1_700_000_000.0


def ladder(*rungs: Rung, constant: float = 0.05, key: PriceKey = ENERGY) -> Ladder:
    return Ladder(key=key, constant=constant, rungs=rungs)


def rung(source: str, stale_after_s: float = 600.0) -> Rung:
    return Rung(source=source, stale_after_s=stale_after_s)


def aged(age_s: float, value: float = 0.03) -> Series:
    return Series((UTC_S - age_s,), (value,))


def energy_now(*rungs: Rung, awaited: tuple[str, ...] = (), **series: Series) -> PriceNow:
    (now,) = prices_now([ladder(*rungs)], series, UTC_S, awaited)
    return now


# -- which source ------------------------------------------------------------------------------------------


def test_without_sources_the_constant_holds_and_nobody_complains() -> None:
    now = energy_now()

    assert now == PriceNow(key=ENERGY, value=0.05, source=CONSTANT, age_s=None)
    assert list(alarms([now])) == []


def test_the_first_fresh_source_wins_and_tells_its_age() -> None:
    now = energy_now(rung("rtm"), rung("dam"), rtm=aged(60.0, -0.02), dam=aged(5.0, 0.04))

    assert (now.value, now.source, now.age_s, now.passed) == (-0.02, "rtm", 60.0, ())


def test_a_stale_source_falls_back_to_the_next_and_an_alarm_says_so() -> None:
    now = energy_now(rung("rtm"), rung("dam", 4000.0), rtm=aged(601.0), dam=aged(3600.0, 0.04))

    assert (now.value, now.source) == (0.04, "dam")
    (alarm,) = alarms([now])
    assert (alarm.kind, alarm.subject) == (AlarmKind.PRICE_STALE, "energy")
    assert alarm.detail == "rtm is 601 s old, at most 600 s; 0.04 of dam holds"


@pytest.mark.parametrize("usd", [12.0, -3.0])
def test_a_price_beyond_what_is_usual_is_obeyed_and_an_alarm_names_the_unit_it_may_have(usd: float) -> None:
    now = energy_now(rung("rtm"), rtm=aged(5.0, usd))

    assert (now.value, now.source) == (usd, "rtm")
    (alarm,) = alarms([now])
    assert (alarm.kind, alarm.subject) == (AlarmKind.PRICE_UNUSUAL, "energy")
    assert alarm.detail == f"{usd:g} USD/kWh of rtm is obeyed; {usd / 1000:g} if it was told per MWh"


def test_a_price_of_an_event_beyond_what_is_usual_is_an_alarm_too() -> None:
    usual, dear = alarms([energy_now()], 0.9), alarms([energy_now()], 9.0)

    assert list(usual) == []
    assert [(alarm.kind, alarm.subject) for alarm in dear] == [
        (AlarmKind.PRICE_UNUSUAL, "energy of an event")
    ]


def test_when_all_sources_are_stale_the_constant_holds_and_every_one_is_named() -> None:
    now = energy_now(rung("rtm"), rung("dam"), rtm=aged(1e4))

    assert (now.value, now.source, now.age_s) == (0.05, CONSTANT, None)
    assert now.passed == ("rtm is 10000 s old, at most 600 s", "dam has no value for now")


def test_a_value_of_the_future_is_not_in_force_yet() -> None:
    now = energy_now(rung("dam"), dam=Series((UTC_S + 1,), (9.0,)))

    assert now.source == CONSTANT


def test_at_the_edge_of_its_age_a_value_still_holds() -> None:
    assert energy_now(rung("rtm"), rtm=aged(600.0)).source == "rtm"


def test_a_source_that_had_no_time_to_be_heard_is_passed_over_in_silence() -> None:
    now = energy_now(rung("rtm"), rung("dam"), awaited=("rtm",), dam=aged(10.0))

    assert (now.source, now.passed, now.awaited) == ("dam", (), True)


def test_a_day_of_prices_is_followed_through_the_day() -> None:
    day = Series(tuple(UTC_S + 3600 * hour for hour in range(24)), tuple(hour / 100 for hour in range(24)))
    rungs = ladder(rung("dam", 3600.0))

    found = [
        prices_now([rungs], {"dam": day}, UTC_S + at_s)[0] for at_s in (0, 3599, 3600, 23 * 3600, 86_400.5)
    ]

    assert [(now.value, now.source) for now in found] == [
        (0.0, "dam"),
        (0.0, "dam"),
        (0.01, "dam"),
        (0.23, "dam"),
        (0.05, CONSTANT),
    ]


@given(
    ages=st.lists(st.floats(min_value=-100, max_value=10_000), max_size=5),
    limits=st.lists(st.floats(min_value=1, max_value=10_000), min_size=5, max_size=5),
)
def test_no_stale_price_and_no_price_of_the_future_is_ever_in_force(
    ages: list[float], limits: list[float]
) -> None:
    rungs = [rung(f"s{at}", limits[at]) for at in range(len(ages))]
    series = {f"s{at}": aged(age_s, at / 10) for at, age_s in enumerate(ages)}

    (now,) = prices_now([ladder(*rungs)], series, UTC_S)

    fresh = [
        at for at, one in enumerate(rungs) if 0 <= UTC_S - series[one.source].from_utc_s[0] <= limits[at]
    ]
    assert now.source == (f"s{fresh[0]}" if fresh else CONSTANT)
    assert len(now.passed) == (fresh[0] if fresh else len(rungs))


# -- what is valued with -----------------------------------------------------------------------------------


def test_the_prices_in_force_take_the_place_of_the_constants() -> None:
    h100 = PriceKey(price=Price.GPU_HOUR, model="H100")
    now = prices_now(
        [
            ladder(constant=0.04),
            ladder(key=PriceKey(price=Price.HASH), constant=0.06),
            ladder(key=h100, constant=2.5),
            ladder(key=PriceKey(price=Price.REDUCTION), constant=0.3),
        ],
        {},
        UTC_S,
    )

    assert prices_of(now, Prices(usd_per_gpu_hour={"any": 1.0})) == Prices(
        usd_per_ths_day=0.06,
        usd_per_kwh=0.04,
        usd_per_gpu_hour={"any": 1.0, "H100": 2.5},
        usd_per_kwh_reduced=0.3,
    )


def test_what_no_ladder_gives_is_the_constant() -> None:
    constants = Prices(usd_per_ths_day=0.07, usd_per_kwh=0.02)

    assert prices_of((), constants) == constants


# -- what a kWh costs --------------------------------------------------------------------------------------

PAID = Prices(usd_per_kwh=0.05, usd_per_kwh_reduced=0.30)


def test_the_price_of_an_event_takes_the_place_of_the_sites() -> None:
    assert energy_usd_per_kwh(PAID, event_usd_per_kwh=None, meets_target=False) == 0.05
    assert energy_usd_per_kwh(PAID, event_usd_per_kwh=-0.01, meets_target=False) == -0.01
    assert energy_usd_per_kwh(PAID, event_usd_per_kwh=0.0, meets_target=False) == 0.0


def test_while_reduction_is_paid_a_kwh_drawn_costs_the_payment_too() -> None:
    usd = energy_usd_per_kwh(PAID, event_usd_per_kwh=None, meets_target=False, reduction_paid=True)

    assert usd == pytest.approx(0.35)


def test_under_a_set_point_energy_pays_a_trifle_or_its_negative_price() -> None:
    assert energy_usd_per_kwh(PAID, event_usd_per_kwh=None, meets_target=True) == SOAK_USD_PER_KWH
    assert energy_usd_per_kwh(PAID, event_usd_per_kwh=-0.03, meets_target=True) == -0.03
    assert (
        energy_usd_per_kwh(PAID, event_usd_per_kwh=None, meets_target=True, reduction_paid=True)
        == SOAK_USD_PER_KWH
    )


# -- jobs without a price ----------------------------------------------------------------------------------


def unpriced(name: str) -> Job:
    return Job(id=name, gpus=1, usd_per_gpu_hour=0.0, priced_by=PricedBy.SITE)


MODELS = {"g0": "H100", "g1": "L40S", "g2": "A2"}
HOURS = Prices(usd_per_gpu_hour={"H100": 2.5, "L40S": 0.8, "any": 1.2})


def test_a_job_with_its_own_price_keeps_it() -> None:
    own = queue(waiting(job("a", usd=9.0)), working(job("b", usd=0.0), "g0"), gpus=MODELS)

    assert priced([own], HOURS, MODELS) == (own,)


@pytest.mark.parametrize(
    ("status", "usd"),
    [
        (working(unpriced("j"), "g0"), 2.5),
        (working(unpriced("j"), "g2"), 1.2),
        (working(unpriced("j"), "g0", "g1"), 0.8),
        (waiting(unpriced("j")), 0.8),
        (JobStatus(job=unpriced("j"), state=JobState.SUSPENDED, gpus=("g0",)), 2.5),
    ],
)
def test_a_job_without_one_is_worth_what_the_cheapest_of_its_gpus_is(status: JobStatus, usd: float) -> None:
    (told,) = priced([queue(waiting(job("own", usd=9.0)), status, gpus=MODELS)], HOURS, MODELS)

    assert [one.job.usd_per_gpu_hour for one in told.jobs] == [9.0, usd]
    assert told.jobs[1].job.priced_by is PricedBy.SITE


def test_where_no_job_of_a_queue_has_a_price_of_its_own_each_is_given_one() -> None:
    (told,) = priced(
        [queue(working(unpriced("j"), "g0"), waiting(unpriced("k")), gpus=MODELS)], HOURS, MODELS
    )

    assert [one.job.usd_per_gpu_hour for one in told.jobs] == [2.5, 0.8]


def test_where_no_price_is_known_a_job_is_worth_nothing() -> None:
    (told,) = priced([queue(waiting(unpriced("j")))], Prices(), {})

    assert told.jobs[0].job.usd_per_gpu_hour == 0.0
