"""Energy that pays to be drawn: negative prices and set-points wake machines that earn nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.allocation import Choice, allocate
from controller.decide.economics import energy_usd_per_kwh
from controller.decide.profit import Verdicts, best_ths_per_kw, judge
from controller.decide.value import Valuation, Work, candidates
from controller.domain.devices import DeviceSpec, OperatingPoint
from controller.domain.jobs import JobState
from controller.domain.power import Power
from controller.domain.site import Prices, Thresholds
from tests.decide.builders import FULL, GPU_POINTS, LOW, SLEEP, gpu, job, miner

OLD = miner("old", points=(SLEEP, OperatingPoint(name="full", power=Power(3_500), rate=100.0)))
NEW = miner("new", points=(SLEEP, OperatingPoint(name="full", power=Power(3_500), rate=250.0)))


def valuation(usd_per_kwh: float, usd_per_ths_day: float = 0.05) -> Valuation:
    prices = Prices(usd_per_ths_day=usd_per_ths_day, usd_per_kwh=usd_per_kwh)
    return Valuation(prices=prices, usd_per_kwh=usd_per_kwh, horizon_s=900.0)


def best(spec: DeviceSpec, now: OperatingPoint, value: Valuation, work: Work | None = None) -> str:
    found = candidates(spec, now, work, value, dwelling=False)
    return max(found, key=lambda one: one[1])[0].name


@pytest.mark.parametrize("now", [SLEEP, LOW, FULL])
@pytest.mark.parametrize("usd_per_ths_day", [0.0, 1e-6, 0.05])
def test_at_a_negative_price_a_miner_runs_at_full_whatever_hashing_pays(
    now: OperatingPoint, usd_per_ths_day: float
) -> None:
    assert best(miner(), now, valuation(-0.01, usd_per_ths_day)) == "full"


def test_what_hashing_does_not_pay_a_negative_price_does_and_a_positive_one_does_not() -> None:
    assert best(OLD, SLEEP, valuation(-0.001, usd_per_ths_day=0.0)) == "full"
    assert best(OLD, SLEEP, valuation(0.0, usd_per_ths_day=0.0)) == "sleep"
    assert best(OLD, SLEEP, valuation(0.001, usd_per_ths_day=0.0)) == "sleep"


@given(
    usd_per_kwh=st.floats(min_value=-5, max_value=-1e-3), usd_per_ths_day=st.floats(min_value=0, max_value=5)
)
def test_the_more_negative_the_price_the_more_a_watt_is_worth_at_every_step_up(
    usd_per_kwh: float, usd_per_ths_day: float
) -> None:
    value = valuation(usd_per_kwh, usd_per_ths_day)
    earned = [value.earned(miner(), point, None) for point in miner().points]
    steps = [power.watts for power in (point.power for point in miner().points)]

    gains = np.diff(earned) / (np.diff(steps) / 1000)

    assert (gains >= -usd_per_kwh - 1e-9).all()


def test_a_running_job_is_given_all_that_its_board_takes_when_energy_pays() -> None:
    working = Work(job=job(usd=0.0), state=JobState.RUNNING)

    assert best(gpu(), GPU_POINTS[2], valuation(-0.01), working) == "700w"


def test_a_gpu_without_a_job_cannot_soak_anything_up_and_stays_at_its_floor() -> None:
    assert best(gpu(), GPU_POINTS[0], valuation(-1.0)) == "200w"


def test_when_there_is_not_room_for_all_the_efficient_ones_soak_first() -> None:
    value = valuation(-0.03)

    found = allocate([choice(spec, value) for spec in (OLD, NEW)], {"site": 4_000}, {"site": ("site",)})

    assert found.index == {"old": 0, "new": 1}


def test_a_set_point_is_filled_by_machines_that_earn_nothing() -> None:
    usd = energy_usd_per_kwh(Prices(usd_per_kwh=0.2), event_usd_per_kwh=None, meets_target=True)
    value = valuation(usd, usd_per_ths_day=0.0)

    found = allocate([choice(spec, value) for spec in (OLD, NEW)], {"site": 8_000}, {"site": ("site",)})

    assert found.index == {"old": 1, "new": 1}


def test_machines_that_were_stopped_for_their_cost_may_run_once_the_price_is_negative() -> None:
    off = np.array([False])
    stopped = Verdicts(may_run=off, running=off, since_s=np.array([float("-inf")]))

    after = judge(
        stopped,
        best_ths_per_kw([OLD]),
        off,
        0.0,
        usd_per_ths_day=0.0,
        usd_per_kwh=-0.02,
        thresholds=Thresholds(start_above=0.005),
    )

    assert after.may_run.tolist() == [True]


def choice(spec: DeviceSpec, value: Valuation) -> Choice:
    found = candidates(spec, SLEEP, None, value, dwelling=False)
    return Choice(
        device=spec.id,
        node="site",
        watts=tuple(point.power.watts for point, _ in found),
        values=tuple(worth for _, worth in found),
    )
