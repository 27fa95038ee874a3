"""Energy that pays to be drawn: negative prices and set-points wake machines that earn nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from controller.decide import columns
from controller.decide.allocate import Menu, allocate
from controller.decide.economics import energy_usd_per_kwh
from controller.decide.fleet import fleet_of
from controller.decide.posts import Work, posts
from controller.decide.profit import begin, best_ths_per_kw, judge
from controller.decide.tree import tree_of
from controller.decide.value import Valuation, offers
from controller.domain.devices import DeviceSpec, OperatingPoint
from controller.domain.jobs import JobState
from controller.domain.power import Power
from controller.domain.site import Prices, Thresholds
from tests.decide.builders import FULL, GPU_POINTS, LOW, SLEEP, device, gpu, job, miner, site

OLD = miner("old", points=(SLEEP, OperatingPoint(name="full", power=Power(3_500), rate=100.0)))
NEW = miner("new", points=(SLEEP, OperatingPoint(name="full", power=Power(3_500), rate=250.0)))


def given(
    *specs: DeviceSpec,
    now: OperatingPoint = SLEEP,
    usd_per_kwh: float,
    usd_per_ths_day: float = 0.05,
    room_w: int = 10**9,
    works: Mapping[str, Work] | None = None,
) -> list[str]:
    """The point that each device is given, all coming from `now`."""
    here = site()
    tree = tree_of(here)
    fleet = fleet_of(here, tree, specs)
    known = columns.empty(len(specs))
    known.put(fleet, {spec.id: device(now) for spec in specs})
    prices = Prices(usd_per_ths_day=usd_per_ths_day, usd_per_kwh=usd_per_kwh)
    found = offers(
        fleet,
        known,
        posts(fleet, ((work, (name,)) for name, work in (works or {}).items())),
        Valuation(prices=prices, usd_per_kwh=usd_per_kwh, horizon_s=900.0, shed_s=900.0),
        obeys=np.ones(len(specs), np.bool_),
        most_w=fleet.top_w,
        heat_w=fleet.top_w,
        dwells=np.zeros(len(specs), np.bool_),
        pinned=np.zeros(len(specs), np.bool_),
        kept=np.zeros(len(specs), np.bool_),
        begins_s=np.zeros(len(specs)),
    )
    menu = Menu(node=fleet.node, start=found.start, watts=found.watts, values=found.worth)
    index = allocate(menu, np.array([room_w]), tree).index
    points = {
        spec.id: spec.points[found.point[found.start[row] + index[row]]].name
        for row, spec in enumerate(fleet.specs)
    }
    return [points[spec.id] for spec in specs]


@pytest.mark.parametrize("now", [SLEEP, LOW, FULL])
@pytest.mark.parametrize("usd_per_ths_day", [0.0, 1e-6, 0.05])
def test_at_a_negative_price_a_miner_runs_at_full_whatever_hashing_pays(
    now: OperatingPoint, usd_per_ths_day: float
) -> None:
    assert given(miner(), now=now, usd_per_kwh=-0.01, usd_per_ths_day=usd_per_ths_day) == ["full"]


def test_a_restart_longer_than_the_horizon_costs_its_output_and_no_more_than_that() -> None:
    slow = miner(restart_s=1_800.0)

    assert given(slow, usd_per_kwh=-0.01) == ["full"]
    assert given(slow, usd_per_kwh=0.01) == ["sleep"]


@pytest.mark.parametrize(("usd_per_kwh", "point"), [(-0.001, "full"), (0.0, "sleep"), (0.001, "sleep")])
def test_what_hashing_does_not_pay_a_negative_price_does_and_a_positive_one_does_not(
    usd_per_kwh: float, point: str
) -> None:
    assert given(OLD, usd_per_kwh=usd_per_kwh, usd_per_ths_day=0.0) == [point]


def test_a_running_job_is_given_all_that_its_board_takes_when_energy_pays() -> None:
    working = Work(job=job(usd=0.0), state=JobState.RUNNING)

    assert given(gpu(), now=GPU_POINTS[2], usd_per_kwh=-0.01, works={"g": working}) == ["700w"]


def test_a_gpu_without_a_job_cannot_soak_anything_up_and_stays_at_its_floor() -> None:
    assert given(gpu(), now=GPU_POINTS[0], usd_per_kwh=-1.0) == ["200w"]


def test_when_there_is_not_room_for_all_the_efficient_ones_soak_first() -> None:
    assert given(OLD, NEW, usd_per_kwh=-0.03, room_w=4_000) == ["sleep", "full"]


def test_a_set_point_is_filled_by_machines_that_earn_nothing() -> None:
    usd = energy_usd_per_kwh(Prices(usd_per_kwh=0.2), event_usd_per_kwh=None, meets_target=True)

    assert given(OLD, NEW, usd_per_kwh=usd, usd_per_ths_day=0.0, room_w=8_000) == ["full", "full"]


def test_machines_that_were_stopped_for_their_cost_may_run_once_the_price_is_negative() -> None:
    off = np.array([False])
    stopped = begin(off, off, float("-inf"))

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
