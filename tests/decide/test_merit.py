"""The merit order: who is shed first, what each device earns, and what leaving it costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.economics import SOAK_USD_PER_KWH, valuation_now
from controller.decide.merit import Merit, merit_order
from controller.decide.plan import Grant, Plan
from controller.decide.timeline import grid_now
from controller.decide.value import Valuation
from controller.decide.words import CapReason, Reason, Truth
from controller.domain.devices import DeviceSpec, OperatingPoint, Reading
from controller.domain.jobs import FlexTier, OnShortage, QueueReading
from controller.domain.power import NO_LIMIT, Power
from controller.domain.site import Prices
from tests.decide.builders import (
    FULL,
    GPU_POINTS,
    LOW,
    NOW_S,
    SLEEP,
    UTC_S,
    event,
    gpu,
    grants_of,
    inputs,
    job,
    miner,
    nodes_of,
    queue,
    site,
    working,
)
from tests.decide.world import Machine, Queue, World, awake

VALUATION = Valuation(prices=Prices(usd_per_ths_day=0.06), usd_per_kwh=0.05, horizon_s=900.0, shed_s=900.0)


def plan(
    specs: Sequence[DeviceSpec],
    at: Mapping[str, OperatingPoint],
    reasons: Mapping[str, Reason] | None = None,
) -> Plan:
    return Plan(
        now_s=NOW_S,
        cap=NO_LIMIT,
        cap_reason=CapReason.NONE,
        cap_event="",
        grants=grants_of(
            specs,
            [
                Grant(
                    device=name,
                    point=point,
                    power=point.power,
                    worst=point.power,
                    draw=Power(point.power.watts - 10),
                    age_s=1.0,
                    wanted=point,
                    reason=(reasons or {}).get(name, Reason.FULL),
                    truth=Truth.CONFIRMED,
                )
                for name, point in at.items()
            ],
        ),
        nodes=nodes_of(),
        ready=True,
        least=Power(0),
    )


def order(
    specs: Sequence[DeviceSpec],
    at: Sequence[OperatingPoint],
    *queues: QueueReading,
    reasons: Mapping[str, Reason] | None = None,
    valuation: Valuation = VALUATION,
) -> dict[str, Merit]:
    places = {spec.id: point for spec, point in zip(specs, at, strict=True)}
    found = merit_order(plan(specs, places, reasons), specs, valuation, queues)
    return {merit.device: merit for merit in found}


def full(rate: float) -> tuple[OperatingPoint, ...]:
    return SLEEP, replace(FULL, rate=rate)


def test_the_machine_whose_kwh_earns_least_is_shed_first() -> None:
    specs = [miner(name, points=full(rate)) for name, rate in (("b", 200.0), ("c", 100.0), ("a", 300.0))]

    found = order(specs, [spec.points[-1] for spec in specs])

    assert [(merit.device, merit.position) for merit in found.values()] == [("c", 1), ("b", 2), ("a", 3)]
    assert found["b"].shed_usd_per_kwh == pytest.approx((200 * 0.06 / 24) * (1 + 120 / 900) / 3.47 - 0.05)


def test_to_shed_a_machine_for_a_short_time_costs_its_restart_as_well() -> None:
    stopped = miner(points=full(200.0), restart_s=90.0)

    def shed_usd_per_kwh(shed_s: float) -> float:
        found = order([stopped], [stopped.points[-1]], valuation=replace(VALUATION, shed_s=shed_s))
        assert found["m"].shed_usd_per_kwh is not None
        return found["m"].shed_usd_per_kwh

    cheapest = 200 * 0.06 / 24 * 0.1 / 3.47
    assert shed_usd_per_kwh(900.0) - shed_usd_per_kwh(1e9) == pytest.approx(cheapest)


def test_what_a_machine_earns_is_its_output_less_its_energy() -> None:
    (found,) = order([miner()], [FULL]).values()

    assert found.usd_per_hour == pytest.approx(200 * 0.06 / 24 - 3.5 * 0.05)
    assert (found.point, found.power, found.draw) == ("full", Power(3_500), Power(3_490))


def test_what_an_event_pays_besides_decides_who_is_shed_and_is_no_cost_of_what_runs() -> None:
    paid = replace(VALUATION, usd_per_kwh=0.35, forgone_usd_per_kwh=0.3)

    (found,) = order([miner(points=full(200.0))], [FULL], valuation=paid).values()

    assert found.usd_per_hour == pytest.approx(200 * 0.06 / 24 - 3.5 * 0.05)
    assert found.shed_usd_per_kwh == pytest.approx((200 * 0.06 / 24) * (1 + 120 / 900) / 3.47 - 0.35)


def test_the_next_watts_of_a_machine_in_the_middle_are_valued_for_themselves() -> None:
    (found,) = order([miner()], [LOW]).values()

    assert found.next_usd_per_kwh == pytest.approx((50 * 0.06 / 24) / 1.1 - 0.05)


def test_the_top_has_no_next_watts_and_the_floor_nothing_to_give() -> None:
    found = order([miner("top"), miner("floor")], [FULL, SLEEP])

    assert found["top"].next_usd_per_kwh is None
    assert (found["floor"].shed_usd_per_kwh, found["floor"].position) == (None, None)
    assert found["floor"].next_usd_per_kwh == pytest.approx((150 * 0.06 / 24) / 2.37 - 0.05)


@pytest.mark.parametrize(("reason", "earns"), [(Reason.LIMITED, True), (Reason.PACED, False)])
def test_the_next_watts_of_a_gpu_beside_a_slower_one_of_its_job_earn_nothing(
    reason: Reason, earns: bool
) -> None:
    specs = (gpu("g0"), gpu("g1"))
    both = queue(working(job(gpus=2), "g0", "g1"))
    at = {spec.id: GPU_POINTS[2] for spec in specs}

    order = merit_order(plan(specs, at, {"g1": reason}), specs, VALUATION, (both,))

    assert [one.next_usd_per_kwh is not None for one in order if one.device == "g1"] == [earns]


def test_leaving_a_machine_costs_what_its_restart_does_not_hash() -> None:
    found = order([miner("on", restart_s=120.0), miner("off")], [FULL, SLEEP])

    assert found["on"].leaving_usd == pytest.approx(200 * 0.06 / 24 * 120 / 3600)
    assert (found["on"].leaving, found["off"].leaving, found["off"].leaving_usd) == ("restart", "", 0.0)


@pytest.mark.parametrize(
    ("on_shortage", "usd", "by"),
    [
        (OnShortage.SUSPEND, 0.1 * 2.0 * 900 / 3600, "suspended job"),
        (OnShortage.REQUEUE, 0.5 * 2.0 * 900 / 3600, "requeued job"),
        (OnShortage.PROTECT, math.inf, "protected job"),
    ],
)
def test_leaving_a_job_costs_what_it_has_not_saved(on_shortage: OnShortage, usd: float, by: str) -> None:
    busy = queue(working(job(usd=2.0, on_shortage=on_shortage), "g"))

    (found,) = order([gpu()], [GPU_POINTS[-1]], busy).values()

    assert found.leaving == by
    assert found.leaving_usd == pytest.approx(usd)


def test_a_protected_job_at_its_least_comes_after_everything_else() -> None:
    least = GPU_POINTS[2]
    busy = queue(working(job("kept", on_shortage=OnShortage.PROTECT), "g"))

    found = order([gpu(), miner(points=full(1e6))], [least, replace(FULL, rate=1e6)], busy)

    assert list(found) == ["m", "g"]
    assert (found["g"].shed_usd_per_kwh, found["g"].position) == (math.inf, 2)


def test_a_protected_job_may_still_give_what_its_tier_allows() -> None:
    busy = queue(working(job("kept", usd=2.0, on_shortage=OnShortage.PROTECT), "g"))

    (found,) = order([gpu()], [GPU_POINTS[-1]], busy).values()

    assert found.shed_usd_per_kwh is not None
    assert found.shed_usd_per_kwh < 2.0


@pytest.mark.parametrize("on_shortage", OnShortage)
def test_a_job_that_its_floor_feeds_costs_no_more_than_output_to_go_there(on_shortage: OnShortage) -> None:
    fed = gpu(points=tuple(replace(point, rate=0.5 + point.rate / 2) for point in GPU_POINTS))
    work = job(usd=2.0, flex=FlexTier.BROAD, on_shortage=on_shortage)

    (found,) = order([fed], [fed.points[1]], queue(working(work, "g"))).values()

    lost_usd = 2.0 * (fed.points[1].rate - fed.floor.rate * (1 - 2 / 900))
    assert found.shed_usd_per_kwh == pytest.approx(lost_usd / 0.1 - 0.05)
    assert (found.leaving, found.leaving_usd) == ("", 0.0)


def test_a_gpu_whose_job_is_gone_gives_its_watts_for_less_than_nothing() -> None:
    (found,) = order([gpu()], [GPU_POINTS[-1]]).values()

    assert found.shed_usd_per_kwh == pytest.approx(-0.05)
    assert (found.leaving, found.leaving_usd, found.next_usd_per_kwh) == ("", 0.0, None)


@pytest.mark.parametrize("reason", [Reason.STALE, Reason.UNREACHABLE, Reason.LYING, Reason.REFUSING])
def test_who_does_not_do_as_it_is_told_has_no_place_in_the_order(reason: Reason) -> None:
    found = order([miner("a"), miner("b")], [FULL, FULL], reasons={"a": reason})

    assert list(found) == ["b", "a"]
    assert (found["a"].position, found["a"].shed_usd_per_kwh, found["a"].reason) == (None, None, reason)
    assert found["b"].position == 1


def test_at_a_negative_price_giving_watts_up_costs_more_than_they_hash() -> None:
    paid = replace(VALUATION, usd_per_kwh=-0.02)

    (found,) = order([miner(points=full(0.0))], [replace(FULL, rate=0.0)], valuation=paid).values()

    assert [found.shed_usd_per_kwh, found.usd_per_hour] == pytest.approx([0.02, 0.07])


@given(
    rates=st.lists(st.floats(min_value=0, max_value=400), min_size=1, max_size=8),
    at=st.data(),
)
def test_every_device_is_there_once_and_positions_ascend_with_what_shedding_costs(
    rates: list[float], at: st.DataObject
) -> None:
    specs = [
        miner(f"m{n}", points=(SLEEP, replace(LOW, rate=0.7 * rate), replace(FULL, rate=rate)))
        for n, rate in enumerate(rates)
    ]
    points = [at.draw(st.sampled_from(spec.points)) for spec in specs]

    found = list(order(specs, points).values())
    backwards = list(order(specs[::-1], points[::-1]).values())

    placed = [merit for merit in found if merit.position is not None]
    assert [merit.position for merit in placed] == list(range(1, len(placed) + 1))
    assert sorted(merit.device for merit in found) == sorted(spec.id for spec in specs)
    costs = [merit.shed_usd_per_kwh for merit in placed if merit.shed_usd_per_kwh is not None]
    assert costs == sorted(costs)
    assert backwards == found


# -- what was seen of it ----------------------------------------------------------------------------------


class Watched(World):
    """A world in which some miners hash nothing, whatever they draw."""

    idlers: frozenset[str] = frozenset()

    def _reading(self, machine: Machine) -> Reading:
        said = super()._reading(machine)
        return replace(said, rate=0.0) if machine.spec.id in self.idlers else said

    @property
    def merits(self) -> dict[str, Merit]:
        now = self.inputs()
        valuation = valuation_now(self.site, now, grid_now(now.events, now.utc_s, frozenset(), self.site))
        found = merit_order(self.plan, now.specs, valuation, now.queues, self.state.devices)
        return {merit.device: merit for merit in found}


def test_a_miner_without_work_is_shed_first_and_earns_nothing() -> None:
    world = Watched(site(), [*(awake(miner(name)) for name in "acdz"), awake(miner("b"), claims_w=800)])
    world.idlers = frozenset("b")
    world.run(700)

    found = world.merits
    world.events = (event(limit_w=17_000, start_s=world.now_s),)
    world.run(15)

    assert list(found) == ["b", "a", "c", "d", "z"]
    assert found["b"].usd_per_hour == pytest.approx(-3.5 * 0.05)
    assert [name for name, machine in world.machines.items() if machine.at != FULL] == ["b"]


def test_where_all_miners_lack_work_their_pool_is_gone_and_no_order_follows_from_that() -> None:
    world = Watched(site(), [awake(miner("a")), *(awake(miner(name), claims_w=800) for name in "bz")])
    world.idlers = frozenset("bz")
    world.run(700)

    assert list(world.merits) == ["a", "b", "z"]


def test_a_gpu_whose_work_wants_less_than_its_limit_gives_the_rest_for_nothing() -> None:
    jobs = Queue("q", ("g0", "g1"))
    jobs.jobs = {"j0": working(job("j0"), "g0"), "j1": working(job("j1", usd=3.0), "g1")}
    world = Watched(site(), [awake(miner()), awake(gpu("g0")), awake(gpu("g1"), claims_w=380)], queues=[jobs])
    world.run(900)

    found = world.merits
    world.events = (event(limit_w=4_800, start_s=world.now_s),)
    world.run(15)

    assert list(found) == ["g1", "m", "g0"]
    assert found["g1"].shed_usd_per_kwh == pytest.approx(0.0)
    assert found["g1"].usd_per_hour == pytest.approx(3.0 * 0.88 - 0.5 * 0.05)
    assert {name: machine.at.name for name, machine in world.machines.items()} == {
        "m": "full",
        "g0": "700w",
        "g1": "500w",
    }


# -- the price it goes by ----------------------------------------------------------------------------------

PAID = Prices(usd_per_ths_day=0.06, usd_per_kwh=0.05, usd_per_kwh_reduced=0.3)


@pytest.mark.parametrize(
    ("signals", "usd_per_kwh"),
    [
        ({}, 0.05),
        ({"usd_per_kwh": 0.12}, 0.12),
        ({"limit_w": 5_000}, 0.35),
        ({"limit_w": 5_000, "usd_per_kwh": 0.12}, 0.42),
        ({"target_w": 5_000}, SOAK_USD_PER_KWH),
        ({"target_w": 5_000, "usd_per_kwh": -0.03}, -0.03),
        ({"limit_w": 5_000, "start_s": NOW_S + 10}, 0.05),
    ],
)
def test_a_kwh_costs_what_the_grid_makes_of_it_now(signals: dict[str, float], usd_per_kwh: float) -> None:
    events = (event("e", **signals),) if signals else ()  # type: ignore[arg-type]  # one mapping of all
    now, plant = inputs(prices=PAID, events=events), site(switch_horizon_s=600.0)

    found = valuation_now(plant, now, grid_now(events, UTC_S, frozenset(), plant))

    assert found.usd_per_kwh == pytest.approx(usd_per_kwh)
    assert (found.prices, found.horizon_s) == (PAID, 600.0)
