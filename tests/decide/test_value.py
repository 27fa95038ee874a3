"""What a point is worth. The shedding ladder is in these numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.decide import columns
from controller.decide.fleet import fleet_of
from controller.decide.posts import Work, floor_index, posts
from controller.decide.tree import tree_of
from controller.decide.value import Offers, Valuation, offers, shown_bias
from controller.domain.devices import DeviceSpec, OperatingPoint
from controller.domain.jobs import FlexTier, Job, JobState, OnShortage
from controller.domain.power import Power
from controller.domain.site import Prices
from tests.decide.builders import FULL, GPU_POINTS, LOW, NOW_S, SLEEP, device, gpu, job, miner, site


def valuation(usd_per_kwh: float = 0.05, usd_per_ths_day: float = 0.05, shed_s: float = 900.0) -> Valuation:
    return Valuation(
        prices=Prices(usd_per_ths_day=usd_per_ths_day, usd_per_kwh=usd_per_kwh),
        usd_per_kwh=usd_per_kwh,
        horizon_s=900.0,
        shed_s=shed_s,
    )


def work(it: Job | None = None, state: JobState = JobState.RUNNING) -> Work:
    return Work(job=it or job(), state=state)


def offered(
    spec: DeviceSpec,
    now: OperatingPoint,
    it: Work | None = None,
    *,
    usd_per_kwh: float = 0.05,
    usd_per_ths_day: float = 0.05,
    dwelling: bool = False,
    pinned: bool = False,
    demand_w: float = math.inf,
    shed_s: float = 900.0,
    idle_s: float | None = None,
    begins_s: float = 0.0,
) -> Offers:
    here = site()
    fleet = fleet_of(here, tree_of(here), [spec])
    known = columns.empty(1)
    known.put(fleet, {spec.id: device(now, demand_w=demand_w, idle_s=idle_s)})
    return offers(
        fleet,
        known,
        posts(fleet, [] if it is None else [(it, (spec.id,))]),
        valuation(usd_per_kwh, usd_per_ths_day, shed_s),
        obeys=np.array([True]),
        most_w=fleet.top_w,
        heat_w=fleet.top_w,
        dwells=np.array([dwelling]),
        pinned=np.array([pinned]),
        kept=np.array([False]),
        begins_s=np.array([begins_s]),
    )


def worths(
    spec: DeviceSpec,
    now: OperatingPoint,
    it: Work | None = None,
    *,
    usd_per_kwh: float = 0.05,
    usd_per_ths_day: float = 0.05,
    dwelling: bool = False,
    shed_s: float = 900.0,
    idle_s: float | None = None,
    begins_s: float = 0.0,
) -> dict[str, float]:
    found = offered(
        spec,
        now,
        it,
        usd_per_kwh=usd_per_kwh,
        usd_per_ths_day=usd_per_ths_day,
        dwelling=dwelling,
        shed_s=shed_s,
        idle_s=idle_s,
        begins_s=begins_s,
    )
    names = [spec.points[at].name for at in found.point]
    return dict(zip(names, found.worth.tolist(), strict=True))


def test_a_miner_earns_its_hashrate_and_pays_for_its_energy() -> None:
    worth = worths(miner(), FULL, usd_per_kwh=0.1, usd_per_ths_day=0.06)["full"]

    assert worth == pytest.approx(200 * 0.06 / 24 - 3.5 * 0.1)


def test_a_gpu_earns_its_throughput_and_without_a_job_only_costs() -> None:
    half = gpu(points=(replace(GPU_POINTS[0], rate=0.5), GPU_POINTS[-1]))
    fed, starved = (
        work(job(usd=3.0, flex=flex), JobState.QUEUED) for flex in (FlexTier.BROAD, FlexTier.MODERATE)
    )

    assert worths(half, half.floor, fed, usd_per_kwh=0.0)["200w"] == pytest.approx(1.5)
    assert worths(half, half.floor, starved, usd_per_kwh=0.1)["200w"] == pytest.approx(-0.02)
    assert worths(half, half.floor, usd_per_kwh=0.1)["200w"] == pytest.approx(-0.02)


def test_staying_costs_nothing_and_going_costs_output_that_the_horizon_must_earn_back() -> None:
    stays = worths(miner(), LOW)["low"]
    retuned = worths(miner(), FULL)["low"]
    started = worths(miner(restart_s=90.0), SLEEP)["low"]

    hourly = 150 * 0.05 / 24
    assert stays - retuned == pytest.approx(hourly * 20 / 900)
    assert stays - started == pytest.approx(hourly * 0.1)


@pytest.mark.parametrize(("shed_s", "lost"), [(900.0, 0.1), (180.0, 0.5), (90.0, 1.0), (10.0, 1.0)])
def test_stopping_a_miner_costs_its_restart_in_the_time_until_it_is_wanted_again(
    shed_s: float, lost: float
) -> None:
    stopped = worths(miner(restart_s=90.0), FULL, shed_s=shed_s)["sleep"]
    asleep = worths(miner(restart_s=90.0), SLEEP, shed_s=shed_s)["sleep"]

    assert asleep == pytest.approx(-0.03 * 0.05)
    assert asleep - stopped == pytest.approx(200 * 0.05 / 24 * lost)


def test_a_miner_that_was_lowered_is_not_the_cheaper_to_stop() -> None:
    assert worths(miner(), LOW, shed_s=180.0)["sleep"] == worths(miner(), FULL, shed_s=180.0)["sleep"]


def test_a_miner_that_is_lowered_loses_its_retuning_in_the_time_until_it_is_wanted_again() -> None:
    hourly = 150 * 0.05 / 24
    stays = worths(miner(), LOW)["low"]

    assert stays - worths(miner(), FULL, shed_s=100.0)["low"] == pytest.approx(hourly * 20 / 100)
    assert stays - worths(miner(), FULL, shed_s=5.0)["low"] == pytest.approx(hourly)


def test_a_miner_without_work_costs_less_to_stop_than_one_that_works() -> None:
    lost = [
        -0.03 * 0.05 - worths(miner(), FULL, shed_s=240.0, idle_s=idle_s)["sleep"]
        for idle_s in (None, NOW_S - 60)
    ]

    assert lost[1] == pytest.approx(0.25 * lost[0])


@pytest.mark.parametrize(("told_s", "counts_w"), [(9.0, 2_400), (11.0, 2_500)])
def test_a_machine_counts_at_more_than_it_was_lowered_to_once_it_had_the_time_to_fall(
    told_s: float, counts_w: int
) -> None:
    """What is seen of it on the way there is no reason to plan anew."""
    here, spec = site(), miner()
    fleet = fleet_of(here, tree_of(here), [spec])
    known = columns.empty(1)
    fallen = device(LOW, worst_w=2_500, began=FULL.power, asked_s=NOW_S - told_s, at_s=NOW_S)
    known.put(fleet, {spec.id: fallen})

    assert LOW.power.watts * shown_bias(fleet, known)[0] == pytest.approx(counts_w)


@pytest.mark.parametrize(
    ("usd_per_kwh", "now", "best"),
    [
        (-5.0, SLEEP, "full"),
        (0.0, SLEEP, "full"),
        (0.08, SLEEP, "full"),
        (0.09, SLEEP, "low"),
        (0.125, LOW, "low"),
        (0.125, SLEEP, "sleep"),
        (0.2, FULL, "sleep"),
        (1e9, FULL, "sleep"),
    ],
)
def test_the_price_of_energy_moves_the_best_point_and_a_start_must_pay_for_itself(
    usd_per_kwh: float, now: OperatingPoint, best: str
) -> None:
    found = worths(miner(), now, usd_per_kwh=usd_per_kwh)

    assert max(found, key=lambda name: found[name]) == best


@pytest.mark.parametrize(
    ("flex", "least"),
    [(FlexTier.RIGID, 700), (FlexTier.SLIGHT, 600), (FlexTier.MODERATE, 400), (FlexTier.BROAD, 300)],
)
def test_a_job_needs_the_lowest_point_that_keeps_the_throughput_of_its_tier(
    flex: FlexTier, least: int
) -> None:
    assert GPU_POINTS[floor_index(gpu(), job(flex=flex))].power == Power(least)


def test_a_gpu_with_a_job_may_have_what_the_job_needs_or_more_or_its_floor() -> None:
    found = worths(gpu(), GPU_POINTS[5], work(job(flex=FlexTier.MODERATE)))

    assert sorted(found) == ["200w", "400w", "500w", "600w", "700w"]


def test_a_job_that_the_floor_feeds_may_have_every_point_once() -> None:
    spec = gpu(points=tuple(replace(point, rate=1.0) for point in GPU_POINTS))

    found = offered(spec, GPU_POINTS[5], work())

    assert found.point.tolist() == list(range(len(GPU_POINTS)))


def test_limits_beyond_what_the_work_on_a_gpu_wants_are_worth_no_more_than_the_lowest_of_them() -> None:
    found = offered(gpu(), GPU_POINTS[5], work(), demand_w=430)
    worth = dict(zip((GPU_POINTS[at].name for at in found.point), found.worth.tolist(), strict=True))

    assert list(worth) == ["200w", "400w", "500w", "700w"]
    assert 0 < worth["700w"] - worth["500w"] < 1e-5
    assert worth["500w"] > worth["400w"] + 0.1


def test_a_gpu_whose_limit_is_enough_for_its_work_is_not_raised() -> None:
    assert offered(gpu(), GPU_POINTS[3], work(), demand_w=430).point.tolist() == [0, 2, 3]


def test_a_job_keeps_the_throughput_of_its_tier_however_little_it_draws() -> None:
    rigid = offered(gpu(), GPU_POINTS[5], work(job(flex=FlexTier.RIGID)), demand_w=210)

    assert rigid.point.tolist() == [0, 5]


def test_a_gpu_without_a_job_may_have_its_floor_only() -> None:
    assert sorted(worths(gpu(), GPU_POINTS[5])) == ["200w"]


def test_while_it_dwells_a_device_may_only_go_down_and_stays_if_anything_else_helps() -> None:
    found = worths(miner(), LOW, dwelling=True)

    assert sorted(found) == ["low", "sleep"]
    assert found["low"] - found["sleep"] > 900


def test_leaving_a_running_job_costs_more_the_less_may_be_done_to_it() -> None:
    def premium(on_shortage: OnShortage) -> float:
        found = worths(gpu(), GPU_POINTS[5], work(job(usd=2.0, on_shortage=on_shortage)))
        free = worths(gpu(), GPU_POINTS[5], work(job(usd=2.0, on_shortage=on_shortage), JobState.QUEUED))
        assert found["200w"] == free["200w"]
        return found["700w"] - free["700w"]

    suspend, requeue, protect = map(premium, (OnShortage.SUSPEND, OnShortage.REQUEUE, OnShortage.PROTECT))

    assert suspend == pytest.approx(0.2)
    assert requeue == pytest.approx(1.0)
    assert protect > 1e5


def test_a_dwelling_machine_is_shed_before_a_protected_job() -> None:
    dwelling = worths(miner(), FULL, dwelling=True)["full"]
    protected = worths(gpu(), GPU_POINTS[5], work(job(on_shortage=OnShortage.PROTECT)))["700w"]

    assert protected / 700 > dwelling / 3_500
