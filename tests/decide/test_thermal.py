"""Heat bounds what a device may be given: at once when it rises, with hysteresis when it falls."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.decide.device import COOL
from controller.decide.inputs import Sample
from controller.decide.thermal import (
    allowed,
    allowed_w,
    cooling_proven,
    derate,
    device_derates,
    warned,
    zone_derate,
)
from controller.domain.devices import Cooling, DeviceSpec, Reading, ThermalLimits, ZoneReading
from controller.domain.power import Power
from controller.domain.site import Zone
from tests.decide.builders import FULL, LOW, NOW_S, SLEEP, gpu, miner, reading, site, zone_reading
from tests.decide.world import World, awake

HALL = Zone(id="hall", derate_c=30.0, trip_c=40.0)
HOT = ThermalLimits(derate_c=80.0, trip_c=90.0)
HOT_CHIP = (0.7, 0.0, 0.0, 0.0)


def share_of(
    spec: DeviceSpec, said: Reading, before: tuple[float, ...] = COOL, settled_s: float = math.inf
) -> float:
    return max(device_derates(spec, said, before, settled_s))


@pytest.mark.parametrize(
    ("value_c", "share"), [(20.0, 0.0), (80.0, 0.0), (85.0, 0.5), (90.0, 1.0), (120.0, 1.0)]
)
def test_a_derate_grows_from_nothing_at_its_start_to_everything_at_the_trip(
    value_c: float, share: float
) -> None:
    assert derate(value_c, 80.0, 90.0, 0.0) == pytest.approx(share)


@pytest.mark.parametrize(
    ("value_c", "share"), [(85.0, 0.5), (84.0, 0.5), (82.5, 0.5), (81.0, 0.4), (79.0, 0.2), (77.0, 0.0)]
)
def test_a_derate_goes_only_when_it_is_cooler_by_the_hysteresis(value_c: float, share: float) -> None:
    assert derate(value_c, 80.0, 90.0, 0.5) == pytest.approx(share)


def test_a_derate_comes_at_once() -> None:
    assert derate(88.0, 80.0, 90.0, 0.5) == pytest.approx(0.8)


def test_a_device_that_tells_its_distance_to_slowdown_is_derated_by_that() -> None:
    spec = gpu(thermal=HOT)

    assert share_of(spec, reading("g", hottest_c=89.0, margin_c=20.0)) == 0.0
    assert share_of(spec, reading("g", hottest_c=20.0, margin_c=4.0)) == pytest.approx(0.5)
    assert share_of(spec, reading("g", margin_c=-1.0)) == 1.0


def test_a_device_without_thermal_limits_is_not_derated() -> None:
    assert share_of(miner(), reading(hottest_c=150.0)) == 0.0


def test_a_hot_device_that_does_not_tell_its_temperature_once_keeps_its_derate() -> None:
    assert share_of(miner(thermal=HOT), reading(), HOT_CHIP) == 0.7


@pytest.mark.parametrize(("slept_s", "share"), [(600.0, 0.7), (600.1, 0.0)])
def test_a_machine_that_was_hot_and_tells_no_temperature_asleep_cools_for_ten_minutes(
    slept_s: float, share: float
) -> None:
    assert share_of(miner(thermal=HOT), reading(draw_w=30), HOT_CHIP, slept_s) == share


def test_a_machine_of_one_working_point_that_gets_too_hot_for_it_is_not_started_all_day() -> None:
    """It would be at 83 C, derates from 78 C and trips at 88 C; asleep it tells no temperature."""
    limits = ThermalLimits(derate_c=78.0, trip_c=88.0)
    spec = miner(points=(SLEEP, FULL), thermal=limits, dwell_s=60.0, starts_per_hour=20)
    world, chip_c = World(site(), [awake(spec)]), 50.0
    machine = world.machines["m"]
    for _ in range(3_600):
        chip_c += (30.0 + 53.0 * machine.watts(world.now_s) / FULL.power.watts - chip_c) / 150.0
        machine.hottest_c = chip_c if machine.at == FULL else None
        world.tick()

    starts = sum(told.point == FULL for plan in world.plans for told in plan.commands)
    assert 1 < starts <= 5


def test_machines_that_get_too_hot_together_are_lowered_at_once_however_slow_the_ramp() -> None:
    machines = [awake(miner(f"m{at}", thermal=HOT)) for at in range(4)]
    world = World(site(limit_w=20_000, ramp_down_w=10), machines)
    world.run(200)
    assert world.watts() == 4 * FULL.power.watts

    for machine in machines:
        machine.hottest_c = HOT.trip_c
    world.run(10)

    assert world.watts() == 4 * SLEEP.power.watts


@pytest.mark.parametrize(("draw_w", "share"), [(45, 0.0), (60, 0.0), (61, 0.7)])
def test_a_machine_that_tells_no_temperature_is_cool_up_to_twice_what_it_draws_asleep(
    draw_w: int, share: float
) -> None:
    assert share_of(miner(thermal=HOT), reading(draw_w=draw_w), HOT_CHIP) == share


def test_a_gpu_that_tells_no_temperature_keeps_its_derate_however_little_it_draws() -> None:
    assert share_of(gpu(thermal=HOT), reading("g", draw_w=60), HOT_CHIP) == 0.7


def test_a_zone_that_is_not_heard_keeps_what_it_had() -> None:
    late = Sample(NOW_S - 61, zone_reading("hall", inlet_c=20.0))
    just_in_time = Sample(NOW_S - 60, zone_reading("hall", inlet_c=20.0))

    assert zone_derate(HALL, None, 0.4, NOW_S) == 0.4
    assert zone_derate(HALL, late, 0.4, NOW_S) == 0.4
    assert zone_derate(HALL, just_in_time, 0.4, NOW_S) == 0.0


def test_a_warm_zone_derates() -> None:
    assert zone_derate(HALL, Sample(NOW_S, zone_reading("hall", inlet_c=35.0)), 0.0, NOW_S) == pytest.approx(
        0.5
    )


@pytest.mark.parametrize(
    ("sample", "proven"),
    [
        (None, False),
        (Sample(NOW_S, zone_reading("hall")), True),
        (Sample(NOW_S - 60, zone_reading("hall")), True),
        (Sample(NOW_S - 61, zone_reading("hall")), False),
        (Sample(NOW_S, zone_reading("hall", cooling=Cooling.NOT_PROVEN)), False),
    ],
)
def test_only_a_fresh_proof_of_cooling_is_a_proof(sample: Sample[object] | None, proven: bool) -> None:
    assert cooling_proven(sample, NOW_S) is proven  # type: ignore[arg-type]  # samples of zones only


def test_half_a_derate_allows_the_floor_and_half_of_the_range_above_it() -> None:
    assert [allowed(miner(), share) for share in (0.0, 0.5, 1.0)] == [Power(3_500), Power(1_765), Power(30)]


# More than one temperature

CHIP = ThermalLimits(derate_c=80.0, trip_c=90.0, warn_c=75.0)
BOARD = ThermalLimits(derate_c=70.0, trip_c=80.0)
MEMORY = ThermalLimits(derate_c=90.0, trip_c=100.0, warn_c=85.0)


@pytest.mark.parametrize(
    ("hottest_c", "board_c", "memory_c", "share"),
    [(85.0, None, None, 0.5), (85.0, 78.0, None, 0.8), (60.0, 60.0, 99.0, 0.9), (79.0, 69.0, 89.0, 0.0)],
)
def test_the_temperature_nearest_to_its_trip_sets_the_derate(
    hottest_c: float, board_c: float | None, memory_c: float | None, share: float
) -> None:
    spec = miner(thermal=CHIP, board_thermal=BOARD, memory_thermal=MEMORY)
    said = replace(reading(hottest_c=hottest_c), board_c=board_c, memory_c=memory_c)

    assert share_of(spec, said) == pytest.approx(share)


def temperatures(
    hottest_c: float | None = 60.0,
    board_c: float | None = 60.0,
    memory_c: float | None = 60.0,
    margin_c: float | None = None,
) -> Reading:
    """Of a GPU at work, cool unless said otherwise."""
    said = reading("g", 600, hottest_c=hottest_c, margin_c=margin_c)
    return replace(said, board_c=board_c, memory_c=memory_c)


@pytest.mark.parametrize(
    ("hot", "untold"),
    [
        (temperatures(hottest_c=90.0), temperatures(hottest_c=None)),
        (temperatures(board_c=80.0), temperatures(board_c=None)),
        (temperatures(memory_c=100.0), temperatures(memory_c=None)),
        (temperatures(margin_c=0.0), temperatures(margin_c=None)),
    ],
)
def test_a_sensor_that_was_hot_and_is_not_told_keeps_its_derate_beside_cool_ones(
    hot: Reading, untold: Reading
) -> None:
    spec = gpu(thermal=CHIP, board_thermal=BOARD, memory_thermal=MEMORY)
    derated = device_derates(spec, hot, COOL)

    assert max(derated) == 1.0
    assert device_derates(spec, untold, derated) == derated
    assert share_of(spec, temperatures(margin_c=40.0), derated) == 0.0


def test_a_miner_that_tells_only_its_board_asleep_has_chips_as_hot_as_they_were_for_ten_minutes() -> None:
    spec = miner(thermal=CHIP, board_thermal=BOARD)
    said = replace(reading(draw_w=30), board_c=40.0)

    assert share_of(spec, said, HOT_CHIP, settled_s=600.0) == 0.7
    assert share_of(spec, said, HOT_CHIP, settled_s=600.1) == 0.0


def test_a_temperature_without_limits_of_its_own_derates_nothing() -> None:
    said = replace(reading(hottest_c=60.0), board_c=150.0)

    assert share_of(miner(thermal=CHIP), said) == 0.0


@pytest.mark.parametrize(
    ("hottest_c", "memory_c", "expected"),
    [(74.9, 84.9, False), (75.0, 60.0, True), (60.0, 85.0, True), (None, None, False)],
)
def test_a_device_is_warned_of_from_the_warning_temperature_of_any_of_its_sensors(
    hottest_c: float | None, memory_c: float | None, expected: bool
) -> None:
    spec = gpu(thermal=CHIP, memory_thermal=MEMORY)
    said = replace(reading("g", 300, hottest_c=hottest_c), memory_c=memory_c)

    assert warned(spec, said) is expected


def test_a_sensor_without_a_warning_temperature_warns_of_nothing() -> None:
    said = replace(reading(hottest_c=60.0), board_c=79.0)

    assert not warned(miner(thermal=CHIP, board_thermal=BOARD), said)


@pytest.mark.parametrize(("inlet_c", "share"), [(34.5, 0.5), (34.0, 0.5), (33.0, 0.4), (30.0, 0.1)])
def test_a_zone_gives_back_its_watts_once_it_is_cooler_by_a_degree(inlet_c: float, share: float) -> None:
    here = replace(HALL, derate_c=30.0, trip_c=40.0)
    wet = replace(here, derate_c=80.0, trip_c=90.0, coolant=ThermalLimits(derate_c=30.0, trip_c=40.0))
    said = ZoneReading(zone="hall", inlet_c=inlet_c, cooling=Cooling.PROVEN, coolant_c=inlet_c)

    assert zone_derate(here, Sample(NOW_S, said), 0.5, NOW_S) == pytest.approx(share)
    assert zone_derate(wet, Sample(NOW_S, said), 0.5, NOW_S) == pytest.approx(share)


def test_hot_coolant_derates_a_zone_whose_air_is_cool() -> None:
    wet = replace(HALL, coolant=ThermalLimits(derate_c=45.0, trip_c=55.0))
    said = replace(zone_reading("hall", inlet_c=20.0), coolant_c=50.0)

    assert zone_derate(wet, Sample(NOW_S, said), 0.0, NOW_S) == pytest.approx(0.5)
    assert zone_derate(HALL, Sample(NOW_S, said), 0.0, NOW_S) == 0.0


def test_hot_air_derates_a_zone_whose_coolant_is_cool() -> None:
    wet = replace(HALL, coolant=ThermalLimits(derate_c=45.0, trip_c=55.0))
    said = replace(zone_reading("hall", inlet_c=35.0), coolant_c=20.0)

    assert zone_derate(wet, Sample(NOW_S, said), 0.0, NOW_S) == pytest.approx(0.5)


def test_a_zone_that_does_not_tell_its_coolant_derates_by_its_air() -> None:
    wet = replace(HALL, coolant=ThermalLimits(derate_c=45.0, trip_c=55.0))

    assert zone_derate(wet, Sample(NOW_S, zone_reading("hall", inlet_c=35.0)), 0.0, NOW_S) == pytest.approx(
        0.5
    )


def test_a_zone_whose_coolant_was_hot_and_is_not_told_keeps_its_derate_beside_cool_air() -> None:
    wet = replace(HALL, coolant=ThermalLimits(derate_c=45.0, trip_c=55.0))

    assert zone_derate(wet, Sample(NOW_S, zone_reading("hall", inlet_c=20.0)), 0.6, NOW_S) == 0.6


def test_limits_whose_derating_begins_at_the_trip_are_refused() -> None:
    with pytest.raises(ValueError, match="derate_c 90"):
        ThermalLimits(derate_c=90.0, trip_c=90.0)


def test_many_devices_are_allowed_what_each_of_them_is() -> None:
    shares = np.array([0.0, 0.3, 0.5, 0.77, 1.0])

    many = allowed_w(np.full(5, 30), np.full(5, 3_500), shares)

    assert many.tolist() == [allowed(miner(), share).watts for share in shares]


# Short cycles


@pytest.mark.parametrize(
    ("settled_s", "share"), [(600.0, 0.7), (600.1, 0.0)], ids=["ten minutes", "longer than that"]
)
def test_a_miner_that_heat_lowered_and_that_cooled_stays_where_it_is_for_ten_minutes(
    settled_s: float, share: float
) -> None:
    said = reading(draw_w=2_400, hottest_c=60.0)

    assert share_of(miner(thermal=HOT), said, HOT_CHIP, settled_s) == share


def test_a_miner_that_heat_lowered_gives_up_more_at_once_as_it_gets_hotter() -> None:
    said = reading(draw_w=2_400, hottest_c=89.0)

    assert share_of(miner(thermal=HOT), said, HOT_CHIP, 1.0) == pytest.approx(0.9)


def test_a_miner_that_sleeps_for_its_heat_and_tells_that_it_is_cool_need_not_wait() -> None:
    assert share_of(miner(thermal=HOT), reading(draw_w=30, hottest_c=60.0), HOT_CHIP, 1.0) == 0.0


def test_a_gpu_that_cooled_has_its_watts_back_at_once() -> None:
    assert share_of(gpu(thermal=HOT), reading("g", 400, hottest_c=60.0), HOT_CHIP, 1.0) == 0.0


def test_a_miner_that_is_too_hot_for_its_highest_point_is_not_sent_up_and_down_all_day() -> None:
    """At 3,500 W its chips come to 83 C, at 2,400 W to 66 C: too hot and cool again within two minutes."""
    limits = ThermalLimits(derate_c=78.0, trip_c=88.0)
    world, chip_c = World(site(), [awake(miner(thermal=limits, dwell_s=60.0))]), 50.0
    machine = world.machines["m"]
    for _ in range(3_600):
        chip_c += (30.0 + 53.0 * machine.watts(world.now_s) / FULL.power.watts - chip_c) / 150.0
        machine.hottest_c = float(round(chip_c))
        world.tick()

    assert 2 <= world.changes() <= 12
    assert machine.at.power >= LOW.power
