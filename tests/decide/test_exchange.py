"""At a set-point that stands, better machines take the place of others without missing it meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.devices import DeviceSpec
from controller.domain.jobs import FlexTier
from controller.domain.power import Power
from controller.domain.site import Node
from tests.decide.builders import FULL, LOW, SLEEP, event, gpu, job, miner, node, site
from tests.decide.world import Queue, World, asleep, awake

EACH_W = 3_470
"""What a miner draws more at work than asleep."""


def fleet(name: str, count: int, rate: float, place: str = "site") -> list[DeviceSpec]:
    best = replace(FULL, rate=rate)
    spec = miner(name, place, points=(SLEEP, best), dwell_s=60.0, settle_up_s=120.0)
    return [replace(spec, id=f"{name}-{at:02}") for at in range(count)]


def exchanged(*below: Node, place: str = "site", beyond_w: int = 1_500, fixed_w: int = 0) -> World:
    """As many that hash as the set-point takes, and as many better ones asleep, which start in 80 s."""
    world = World(
        site(*below, limit_w=64_000 + fixed_w, fixed_w=fixed_w, meter="main"),
        [
            *(awake(spec, rise_s=80.0) for spec in fleet("old", 8, 200.0, place)),
            *(asleep(spec, rise_s=80.0) for spec in fleet("better", 8, 400.0)),
        ],
    )
    world.events = (event(target_w=8 * EACH_W + 16 * 30 + fixed_w + beyond_w),)
    return world


def at_work(world: World, name: str) -> int:
    return sum(it.at != SLEEP for key, it in world.machines.items() if key.startswith(name))


@pytest.mark.parametrize(("fixed_w", "at_once"), [(0, 1), (500_000, 4)])
def test_machines_are_exchanged_for_better_ones_a_few_at_a_time(fixed_w: int, at_once: int) -> None:
    """So many are a few percent of the set-point; half as many more may yet be a part of their way down."""
    world = exchanged(fixed_w=fixed_w)
    drawn_w: list[float] = []

    while at_work(world, "old") and len(drawn_w) < 900:
        world.tick()
        drawn_w.append(world.watts())
    world.run(80)

    assert (at_work(world, "old"), at_work(world, "better")) == (0, 8)
    assert min(drawn_w) > drawn_w[0] - (1.5 * at_once + 0.5) * EACH_W
    assert world.watts() == drawn_w[0]


@pytest.mark.parametrize("short_w", [1_300, 2_000, 2_300])
def test_what_is_missing_is_less_than_a_start_takes_and_others_are_lowered_for_the_rest(short_w: int) -> None:
    """The first points take 2,400 W: the site stood short of them for as long as the set-point did."""
    full = [awake(miner(f"up-{at}", dwell_s=60.0, settle_up_s=120.0), rise_s=80.0) for at in range(6)]
    rest = [asleep(miner(f"down-{at}", dwell_s=60.0, settle_up_s=120.0), rise_s=80.0) for at in range(6)]
    world = World(site(limit_w=64_000, meter="main"), [*full, *rest])
    target_w = 6 * FULL.power.watts + 6 * SLEEP.power.watts + short_w
    world.events = (event(target_w=target_w),)
    drawn_w: list[float] = []

    for _ in range(300):
        world.tick()
        drawn_w.append(world.watts())

    assert world.watts() >= target_w - 800
    assert min(drawn_w) >= drawn_w[0] - FULL.power.watts


def test_who_is_exchanged_for_smaller_ones_is_not_stopped_for_what_those_leave_free() -> None:
    """What they leave is filled once they are there; it is nothing that the site has too much."""
    old = fleet("old", 8, 200.0)
    smaller = (SLEEP, replace(FULL, power=Power(3_100), rate=380.0))
    better = [replace(spec, points=smaller) for spec in fleet("better", 8, 380.0)]
    world = World(
        site(limit_w=64_000, meter="main"),
        [*(awake(it, rise_s=80.0) for it in old), *(asleep(it, rise_s=80.0) for it in better)],
    )
    world.events = (event(target_w=8 * EACH_W + 16 * 30),)
    drawn_w: list[float] = []

    while at_work(world, "old") and len(drawn_w) < 900:
        world.tick()
        drawn_w.append(world.watts())

    assert (at_work(world, "old"), at_work(world, "better")) == (0, 8)
    assert min(drawn_w) > drawn_w[0] - 8 * 400 - 2.0 * EACH_W


def test_what_has_to_be_lowered_for_a_lower_set_point_does_not_wait() -> None:
    world, lower_w = exchanged(), 4 * EACH_W + 16 * 30 + 1_500
    world.run(59)

    world.events = (event(target_w=lower_w),)
    world.run(5)

    assert world.watts() <= lower_w


def test_a_place_over_its_limit_gives_its_watts_at_once_while_machines_are_exchanged() -> None:
    world = exchanged(node("hall", limit_w=40_000), place="hall")
    world.run(70)

    world.site = replace(world.site, nodes=(world.site.root, node("hall", limit_w=10_000)))
    world.run(20)

    assert world.watts("hall") <= 10_000


def test_a_job_has_the_watts_of_machines_beside_it_at_once_though_worse_ones_wait_to_be_exchanged() -> None:
    hall = node("hall", limit_w=2 * 3_500 + 250)
    world = exchanged(hall, beyond_w=7_200)
    for spec in fleet("good", 2, 300.0, "hall"):
        world.add(awake(spec, rise_s=80.0))
    world.add(asleep(gpu("g", "hall")))
    world.queues["q"] = Queue("q", ("g",))
    world.run(70)

    world.queues["q"].submit(job())
    world.run(8)

    assert at_work(world, "old") > 4
    assert world.machines["g"].working


def test_who_is_a_little_above_a_set_point_stops_no_machine_that_would_leave_more_missing() -> None:
    """With another one started for that, which takes a minute, and too much again, and so on for ever."""
    specs = fleet("m", 8, 200.0)
    world = World(
        site(limit_w=50_000, meter="main"), [*(awake(it, rise_s=80.0, share=1.003) for it in specs)]
    )
    world.events = (event(target_w=8 * 3_500),)

    world.run(120)

    assert at_work(world, "m") == 8


def test_what_is_clearly_too_much_is_stopped_however_much_a_machine_gives() -> None:
    world = World(site(limit_w=50_000, meter="main"), [awake(it) for it in fleet("m", 8, 200.0)])
    world.events = (event(target_w=8 * 3_500 - 200),)

    world.run(100)

    assert at_work(world, "m") == 7


def test_the_worst_machines_are_exchanged_first() -> None:
    world = exchanged()
    for at, spec in enumerate(fleet("old", 8, 200.0)):
        points = (SLEEP, replace(FULL, rate=200.0 + abs(at - 3)))
        world.machines[spec.id] = awake(replace(spec, points=points), rise_s=80.0)

    while at_work(world, "old") == 8:
        world.tick()

    assert world.machines["old-03"].at == SLEEP


def test_below_a_limit_machines_are_exchanged_all_at_once() -> None:
    """It is to be kept, and not to be met."""
    world = exchanged()
    world.events = (event(limit_w=8 * EACH_W + 16 * 30 + 1_500),)

    world.run(70)

    assert at_work(world, "old") == 0


def test_a_job_beside_no_machine_has_its_watts_at_once_though_machines_are_lowered_for_it() -> None:
    world = exchanged(beyond_w=8 * 200 + 200)
    names = tuple(f"g{at}" for at in range(8))
    for name in names:
        world.add(asleep(gpu(name)))
    world.queues["q"] = Queue("q", names)
    world.run(70)

    world.queues["q"].submit(job(gpus=8, flex=FlexTier.RIGID))
    world.run(8)

    assert all(world.machines[name].working for name in names)


# On ramps


@pytest.mark.parametrize("asked", [{"limit_w": 26_000}, {"target_w": 26_000}])
@pytest.mark.parametrize(
    "paced", [{"ramp_up_w": 300}, {"ramp_up_w": 100}, {"ramp_down_w": 300}, {"ramp_down_w": 100}]
)
def test_no_more_is_exchanged_at_once_than_ramps_let_come_up_and_go_down(
    asked: dict[str, Any], paced: dict[str, Any]
) -> None:
    """Of sixteen alike those that sleep come to make twice as much per watt."""
    specs = [miner(f"{kind}{at}") for kind in "ab" for at in range(8)]
    machines = [awake(spec) if spec.id.startswith("a") else asleep(spec) for spec in specs]
    world = World(site(meter="mains", **paced), machines, noise=0.001)
    world.events = (event(**asked),)
    world.run(200)
    better = tuple(replace(point, rate=2 * point.rate) for point in miner().points)
    for spec in specs[8:]:
        machine = world.machines[spec.id]
        machine.spec = replace(spec, points=better)
        machine.at = next(point for point in better if point.power == machine.at.power)

    drawn_w = []
    for _ in range(600):
        world.tick()
        drawn_w.append(world.watts())

    assert min(drawn_w) >= 26_000 - 1.6 * FULL.power.watts
    assert max(drawn_w) <= 26_000 * 1.01
    assert all(world.machines[spec.id].at != SLEEP for spec in specs[8:])


def test_machines_that_earn_more_with_less_go_down_at_once_where_none_comes_up_in_their_place() -> None:
    """The power price is between what a watt of the lower point earns, and of the higher one."""
    world = World(site(meter="mains", ramp_up_w=100), [awake(miner(f"m{at}")) for at in range(6)])
    world.run(100)
    ths_per_kw = (LOW.rate / LOW.power.in_kw + (FULL.rate - LOW.rate) / (FULL.power - LOW.power).in_kw) / 2
    world.events = (event(usd_per_kwh=ths_per_kw * world.prices.usd_per_ths_day / 24),)

    world.run(5)

    assert world.watts() == 6 * LOW.power.watts
