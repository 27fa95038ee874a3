"""The plant's knobs: each does what it says to the physics or to what a machine claims, and can be undone."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from simulators.physics.faults import (
    BadFaultError,
    GpuFaults,
    MeterFaults,
    MinerFaults,
    NodeFaults,
    PduFaults,
    ZoneFaults,
)
from simulators.physics.miner import MinerState
from simulators.plant import Plant
from tests.simulators.plants import RATED_THS, RATED_W, gpus, miners, only_gpu, only_miner, plant


def test_a_miner_that_lies_about_stopping_reads_back_asleep_and_draws_on() -> None:
    site = plant(miners=[miners()])
    site.set_fault("luxos-000", "lies_about_stop")

    only_miner(site).sleep()
    site.advance(30.0)

    assert only_miner(site).report(site.now_s).asleep
    assert only_miner(site).watts == RATED_W


def test_an_honest_order_after_a_lie_is_obeyed() -> None:
    site = plant(miners=[miners()])
    site.set_fault("luxos-000", "lies_about_stop")
    only_miner(site).sleep()
    site.set_fault("luxos-000", "lies_about_stop", False)

    site.advance(10.0)
    unasked_w = only_miner(site).watts
    only_miner(site).sleep()
    site.advance(30.0)

    assert unasked_w == RATED_W
    assert only_miner(site).state is MinerState.ASLEEP


def test_a_miner_that_lies_about_its_limit_reads_it_back_and_draws_on() -> None:
    site = plant(miners=[miners("whatsminer")])
    site.set_fault("whatsminer-000", "lies_about_limit")

    only_miner(site).set_limit(2000)
    site.advance(10.0)

    assert only_miner(site).report(site.now_s).setting_w == 2000
    assert only_miner(site).watts == RATED_W


def test_a_miner_that_lies_about_resuming_stays_asleep() -> None:
    site = plant(miners=[miners(faults=[{"index": 0, "fault": "lies_about_resume"}])])
    only_miner(site).sleep()
    only_miner(site).wake()

    site.advance(60.0)

    assert not only_miner(site).report(site.now_s).asleep
    assert only_miner(site).watts < 30


def test_lost_work_lets_the_watts_fall_and_its_return_takes_them_in_one_step() -> None:
    site = plant(miners=[miners(idle_w=300)])
    site.set_fault("luxos-000", "pool_loss")
    site.advance(30.0)
    idle_w, idle_ths = only_miner(site).watts, only_miner(site).rate

    site.set_fault("luxos-000", "pool_loss", False)
    site.advance(30.1)

    assert (idle_w, idle_ths) == (300, 0.0)
    assert only_miner(site).watts == RATED_W
    assert only_miner(site).rate < RATED_THS


def test_a_rebooting_miner_is_out_of_reach_and_comes_back_through_a_soft_start() -> None:
    site = plant(miners=[miners(reboot_s=25, wake_s=20)])
    site.set_fault("luxos-000", "reboot_now")
    miner = only_miner(site)

    site.advance(10.0)
    during = (miner.reachable, miner.state)
    site.advance(30.0)
    after = (miner.reachable, miner.state)
    site.advance(60.0)

    assert during == (False, MinerState.REBOOTING)
    assert after == (True, MinerState.STARTING)
    assert miner.watts == RATED_W
    assert not miner.faults.reboot_now


@pytest.mark.parametrize(("forgets", "limit_w"), [(True, RATED_W), (False, 2000)])
def test_a_limit_survives_a_reboot_unless_the_firmware_forgets_it(forgets: bool, limit_w: float) -> None:
    site = plant(miners=[miners("whatsminer")])
    only_miner(site).set_limit(2000)
    site.set_fault("whatsminer-000", "forgets_limit_on_reboot", forgets)
    site.set_fault("whatsminer-000", "reboot_now")

    site.advance(90.0)

    assert only_miner(site).watts == limit_w


@pytest.mark.parametrize(("family", "survives"), [("luxos", True), ("antminer", True), ("whatsminer", False)])
def test_sleep_survives_a_reboot_where_the_firmware_keeps_it(family: str, survives: bool) -> None:
    site = plant(miners=[miners(family)])
    only_miner(site).sleep()
    site.set_fault(f"{family}-000", "reboot_now")

    site.advance(90.0)

    assert (only_miner(site).state is MinerState.ASLEEP) is survives


def test_frozen_reads_go_on_telling_the_past() -> None:
    site = plant(miners=[miners()])
    only_miner(site).report(site.now_s)
    site.set_fault("luxos-000", "frozen_reads")
    only_miner(site).sleep()

    site.advance(30.0)
    frozen_w = only_miner(site).report(site.now_s).watts
    site.set_fault("luxos-000", "frozen_reads", False)

    assert frozen_w == RATED_W
    assert only_miner(site).report(site.now_s).watts == pytest.approx(25)


def test_a_miner_can_claim_half_of_what_it_draws() -> None:
    site = plant(miners=[miners()])

    site.set_fault("luxos-000", "reported_power_factor", 0.5)

    assert only_miner(site).report(site.now_s).watts == RATED_W / 2
    assert site.site_power_w == RATED_W


def test_a_miner_too_hot_stops_by_itself_and_starts_again_when_cool() -> None:
    zone = {"id": "aisle", "unit": 9, "rise_fans_stopped_c": 60, "settle_s": 60}
    site = plant(miners=[miners(zone="aisle", trip_c=95)], zones=[zone])
    site.set_fault("aisle", "fans_stopped")

    site.advance(600.0)
    hot = site.truth()
    site.set_fault("aisle", "fans_stopped", False)
    site.advance(1500.0)
    cool = site.truth()

    assert hot.miner_trips >= 1
    assert not hot.zones["aisle"].fans_proven
    assert hot.miners["luxos-000"].chip_c < 96
    assert cool.miners["luxos-000"].state is MinerState.HASHING
    assert cool.miner_trips == hot.miner_trips


def test_warm_supply_air_warms_the_inlet_by_as_much() -> None:
    site = plant(miners=[miners(zone="aisle")], zones=[{"id": "aisle", "unit": 9}])
    before_c = site.truth().zones["aisle"].inlet_c

    site.set_fault("aisle", "supply_offset_c", 8.0)
    site.advance(3600.0)

    assert site.truth().zones["aisle"].inlet_c == pytest.approx(before_c + 8, abs=0.1)


def behind_a_breaker(share: float) -> Plant:
    """A load of `share` times what its breaker is rated for."""
    return plant(nodes=[{"id": "site", "load_w": 1000 * share, "load_wander": 0, "breaker_w": 1000}])


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_a_breaker_holds_a_small_overload_for_hours(share: float) -> None:
    site = behind_a_breaker(share)

    site.advance(7200.0)

    assert site.truth().breaker_trips == 0


@pytest.mark.parametrize(("share", "soonest_s", "latest_s"), [(1.45, 120, 400), (2.0, 30, 130), (5.0, 3, 30)])
def test_a_breaker_trips_the_sooner_the_more_it_carries(
    share: float, soonest_s: float, latest_s: float
) -> None:
    site = behind_a_breaker(share)

    site.advance(soonest_s)
    early = site.truth()
    site.advance(latest_s)
    late = site.truth()

    assert early.breaker_trips == 0
    assert (late.breaker_trips, late.site_power_w) == (1, 0)
    assert not late.nodes["site"].live


def trip_s(site: Plant, within_s: float) -> float:
    """When the breaker opened, to the tenth of a second."""
    for tenth in range(1, round(within_s * 10)):
        site.advance(tenth / 10)
        if site.truth().breaker_trips:
            return tenth / 10
    return within_s


@pytest.mark.parametrize(
    ("times", "soonest_s", "latest_s"), [(2.55, 1, 60), (5.0, 0.1, 15), (10.0, 0.0, 0.1)]
)
def test_a_cold_breaker_trips_within_the_band_of_its_type(
    times: float, soonest_s: float, latest_s: float
) -> None:
    load = {"id": "site", "load_w": 1000 * times, "load_wander": 0, "breaker_w": 1000}

    opened_s = trip_s(plant(nodes=[load]), 2 * latest_s + 1)

    assert soonest_s < opened_s <= latest_s


def test_a_breaker_that_is_warm_trips_sooner_than_a_cold_one() -> None:
    def overloaded(warm_for_s: float) -> float:
        nodes = [{"id": "site", "breaker_w": RATED_W}]
        site = plant(nodes=nodes, miners=[miners(count=2)])
        site.miners["luxos-000"].sleep()
        site.advance(warm_for_s)
        site.miners["luxos-000"].wake(unsafe=True)
        before_s = site.now_s
        while not site.truth().breaker_trips:
            site.advance(site.now_s + 0.1)
        return site.now_s - before_s

    assert overloaded(900.0) < 0.9 * overloaded(10.0)


def test_foreign_load_flows_through_its_node_and_all_above_until_it_is_disconnected_or_dark() -> None:
    site = plant(nodes=[{"id": "site"}, {"id": "a", "parent": "site"}])
    drawn_w = []

    for fault, value in (
        ("foreign_w", 3000.0),
        ("breaker_open", True),
        ("breaker_open", False),
        ("foreign_w", 0),
    ):
        site.set_fault("a", fault, value)
        site.advance(site.now_s + 1.0)
        drawn_w.append((site.node_power_w("a"), site.site_power_w))

    assert drawn_w == [(3000.0, 3000.0), (0.0, 0.0), (3000.0, 3000.0), (0.0, 0.0)]


def test_below_an_open_breaker_all_is_dark_and_beside_it_nothing_changes() -> None:
    site = plant(
        nodes=[{"id": "site"}, {"id": "a", "parent": "site"}, {"id": "b", "parent": "site"}],
        miners=[
            miners(name="in-a", node="a", count=2),
            miners(name="in-b", node="b", at=20),
        ],
        gpus=[gpus(node="a")],
    )
    site.set_fault("a", "breaker_open")

    site.advance(1.0)

    truth = site.truth()
    assert truth.site_power_w == RATED_W
    assert truth.miners["in-a-000"].state is MinerState.DARK
    assert truth.gpus["gpu-000"].watts == 0
    assert not site.miners["in-a-001"].reachable
    assert site.miners["in-b-000"].reachable


def test_when_the_voltage_returns_miners_boot_and_gpus_have_lost_their_limit_and_job() -> None:
    halls = [{"id": "site"}, {"id": "hall", "parent": "site"}]
    site = plant(nodes=halls, miners=[miners(node="hall")], gpus=[gpus()])
    only_gpu(site).work(600)
    only_gpu(site).set_limit(300)
    site.set_fault("site", "breaker_open")
    site.advance(5.0)
    dark = only_miner(site).state

    site.set_fault("site", "breaker_open", False)
    site.advance(10.0)
    booting = only_miner(site).state
    site.advance(120.0)

    assert dark is MinerState.DARK
    assert booting is MinerState.REBOOTING
    assert only_miner(site).watts == RATED_W
    assert (only_gpu(site).watts, only_gpu(site).cap_w) == (70, 700)


def test_a_gpu_that_lies_shows_its_new_limit_and_obeys_the_old_one() -> None:
    site = plant(gpus=[gpus()])
    gpu = only_gpu(site)
    gpu.work(650)
    site.set_fault("gpu-000", "lies_about_limit")

    gpu.set_limit(300)
    site.advance(2.0)

    assert (gpu.limit_w, gpu.watts) == (300, 650)


def test_a_gpu_limit_can_come_back_by_itself() -> None:
    site = plant(gpus=[gpus()])
    only_gpu(site).work(650)
    only_gpu(site).set_limit(300)
    site.advance(1.0)

    site.set_fault("gpu-000", "reset_limit_now")
    site.advance(3.0)

    assert (only_gpu(site).limit_w, only_gpu(site).watts) == (700, 650)


def test_a_gpu_too_hot_holds_itself_at_its_lowest_limit() -> None:
    site = plant(
        gpus=[gpus(zone="row", rise_c=50)], zones=[{"id": "row", "unit": 9, "supply_c": 30, "rise_c": 4}]
    )
    only_gpu(site).work(700)
    site.set_fault("row", "supply_offset_c", 12.0)

    site.advance(2000.0)

    truth = site.truth().gpus["gpu-000"]
    assert truth.throttles >= 1
    assert truth.temperature_c < 89


@pytest.mark.parametrize(
    ("fault", "value", "shown_w"),
    [("frozen_reads", True, RATED_W), ("reported_power_factor", 2.0, 50)],
)
def test_a_meter_can_freeze_and_can_be_wrong(fault: str, value: bool | float, shown_w: float) -> None:
    site = plant(miners=[miners()], meters=[{"id": "m", "node": "site", "unit": 1, "noise": 0}])
    site.advance(1.0)
    site.set_fault("m", fault, value)
    only_miner(site).sleep()

    site.advance(60.0)

    assert site.meters["m"].value_w == pytest.approx(shown_w)


@pytest.mark.parametrize(
    ("device", "fault", "value", "told"),
    [
        ("nobody", "dead", True, "'nobody'"),
        ("luxos-000", "sulks", True, "'sulks'"),
        ("luxos-000", "dead", 3, "takes true or false, got 3"),
        ("luxos-000", "slow_s", True, "takes a number, got True"),
        ("luxos-000", "slow_s", float("nan"), "takes a number, got nan"),
    ],
)
def test_a_wrong_fault_is_refused_with_its_name_and_value(
    device: str, fault: str, value: bool | float, told: str
) -> None:
    site = plant(miners=[miners()])

    with pytest.raises(BadFaultError, match=told):
        site.set_fault(device, fault, value)


def test_a_late_relay_says_that_it_is_open_before_it_is() -> None:
    site = plant(miners=[miners()], pdus=[{"id": "pdu", "outlets": {1: "luxos-000"}}])
    site.set_fault("pdu", "late_s", 4.0)

    site.switch_outlet("pdu", 1, closed=False)
    site.advance(3.5)
    said, drew_w = site.pdus["pdu"].says_closed(1), only_miner(site).watts
    site.advance(4.5)

    assert (said, drew_w) == (False, RATED_W)
    assert only_miner(site).state is MinerState.DARK


def test_of_two_orders_that_a_late_relay_has_yet_to_follow_the_newer_one_counts() -> None:
    site = plant(miners=[miners()], pdus=[{"id": "pdu", "outlets": {1: "luxos-000"}}])
    site.set_fault("pdu", "late_s", 4.0)

    site.switch_outlet("pdu", 1, closed=False)
    site.advance(2.0)
    site.switch_outlet("pdu", 1, closed=True)
    site.advance(10.0)

    assert only_miner(site).watts == RATED_W


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("miner", MinerFaults),
        ("GPU", GpuFaults),
        ("meter", MeterFaults),
        ("PDU", PduFaults),
        ("zone", ZoneFaults),
        ("node", NodeFaults),
    ],
)
def test_every_knob_is_in_the_table_that_people_read(part: str, kind: type[Any]) -> None:
    table = Path("configs/README.md").read_text(encoding="utf-8")

    (row,) = [line for line in table.splitlines() if line.startswith(f"| {part} |")]

    assert [knob.strip(" `") for knob in row.split("|")[2].split(",")] == [knob.name for knob in fields(kind)]


def test_what_a_gpu_says_of_its_watts_stands_still_or_is_in_another_unit_and_its_limit_is_told() -> None:
    site = plant(gpus=[gpus()])
    gpu = only_gpu(site)
    gpu.work(650)
    site.advance(10)
    site.set_fault("gpu-000", "frozen_reads")
    assert gpu.says_w(site.now_s) == 650
    gpu.set_limit(300)
    site.advance(20)

    assert (gpu.watts, gpu.limit_w, gpu.says_w(site.now_s)) == (300, 300, 650)
    site.set_fault("gpu-000", "frozen_reads", False)
    site.set_fault("gpu-000", "reported_power_factor", 0.001)
    assert gpu.says_w(site.now_s) == pytest.approx(0.3)


def test_a_gpu_that_tells_means_of_a_second_shows_a_step_late_and_in_the_end_whole() -> None:
    site = plant(gpus=[gpus()])
    gpu = only_gpu(site)
    gpu.work(650)
    site.set_fault("gpu-000", "mean_reads")
    site.advance(10)
    gpu.set_limit(300)
    site.advance(10.5)

    assert gpu.watts < 310
    assert 350 < gpu.says_w(site.now_s) < 550
    site.advance(15)
    assert gpu.says_w(site.now_s) == pytest.approx(300, abs=0.1)
