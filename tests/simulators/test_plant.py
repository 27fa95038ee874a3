"""The plant under no fault: what watts, hash, heat and meters do by themselves and when told."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from simulators.physics.miner import MinerState
from simulators.plant import Plant
from tests.simulators.plants import RATED_THS, RATED_W, gpus, miners, only_gpu, only_miner, plant


def test_a_miner_begins_at_its_rated_power_and_hash() -> None:
    site = plant(miners=[miners()])

    miner = only_miner(site)

    assert (miner.watts, miner.rate, miner.state) == (RATED_W, RATED_THS, MinerState.HASHING)


def test_a_miner_told_to_sleep_is_at_its_standby_power_within_seconds() -> None:
    site = plant(miners=[miners(standby_w=25)])
    only_miner(site).sleep()

    site.advance(1.0)
    after_one_s = only_miner(site).watts
    site.advance(5.0)

    assert 100 < after_one_s < RATED_W
    assert only_miner(site).watts < 0.06 * RATED_W
    assert only_miner(site).rate == 0.0


def test_a_waking_miner_takes_its_soft_start_and_hashes_after_the_watts() -> None:
    site = plant(miners=[miners(wake_s=20, hash_lag_s=8)])
    miner = only_miner(site)
    miner.sleep()
    site.advance(20.0)

    miner.wake()
    site.advance(25.0)
    quarter_w, quarter_ths = miner.watts, miner.rate
    site.advance(41.0)
    full_w, soon_ths = miner.watts, miner.rate
    site.advance(120.0)

    assert quarter_w == pytest.approx(RATED_W / 4, rel=0.1)
    assert quarter_ths == 0.0
    assert full_w == RATED_W
    assert 0.0 < soon_ths < 0.95 * RATED_THS
    assert miner.rate == RATED_THS


def test_watts_of_a_waking_miner_never_pass_their_target() -> None:
    site = plant(miners=[miners(wake_s=7)])
    miner = only_miner(site)
    miner.sleep()
    site.advance(10.0)
    miner.wake()

    seen = []
    for tenth in range(101, 300):
        site.advance(tenth / 10)
        seen.append(miner.watts)

    assert seen == sorted(seen)
    assert max(seen) == RATED_W


def test_a_profile_change_settles_in_a_few_seconds_without_a_stop() -> None:
    site = plant(miners=[miners()])
    miner = only_miner(site)

    miner.set_point("325MHz")
    site.advance(8.0)

    assert miner.watts == pytest.approx(RATED_W / 2, rel=0.01)
    assert RATED_THS / 2 < miner.rate < RATED_THS
    assert miner.state is MinerState.HASHING


def test_true_watts_miss_the_nominal_ones_by_each_miners_own_bias() -> None:
    site = plant(miners=[miners(count=50, bias=0.03)])

    biases = [miner.watts / RATED_W for miner in site.miners.values()]
    claims = [miner.claimed_w for miner in site.truth().miners.values()]

    assert min(biases) >= 0.97
    assert max(biases) <= 1.03
    assert max(biases) - min(biases) > 0.03
    assert claims == pytest.approx([RATED_W] * 50)


def test_chips_warm_with_power_and_cool_without_it() -> None:
    site = plant(miners=[miners(zone="aisle", chip_rise_c=45)], zones=[{"id": "aisle", "unit": 9}])
    miner = only_miner(site)
    hot_c = miner.temperature_c
    miner.sleep()

    site.advance(600.0)

    assert hot_c == pytest.approx(24 + 4 + 45, abs=0.5)
    assert miner.temperature_c == pytest.approx(24.5, abs=0.6)


def test_a_gpu_obeys_a_lower_limit_at_once_and_a_higher_one_in_half_a_second() -> None:
    site = plant(gpus=[gpus()])
    gpu = only_gpu(site)
    gpu.work(650)
    site.advance(5.0)
    at_demand_w = gpu.watts

    gpu.set_limit(300)
    site.advance(5.05)
    after_50_ms_w = gpu.watts
    gpu.set_limit(700)
    site.advance(5.15)
    after_100_ms_w = gpu.watts
    site.advance(6.0)

    assert at_demand_w == 650
    assert after_50_ms_w == pytest.approx(300, rel=0.1)
    assert 400 < after_100_ms_w < 600
    assert gpu.watts == pytest.approx(650, rel=0.01)


def test_a_gpu_without_a_job_idles_whatever_its_limit() -> None:
    site = plant(gpus=[gpus(idle_w=70)])
    gpu = only_gpu(site)
    gpu.set_limit(300)

    site.advance(2.0)

    assert (gpu.watts, gpu.rate) == (70, 0.0)


@pytest.mark.parametrize(("share", "throughput"), [(1.0, 1.0), (0.75, 0.867), (0.5, 0.629), (0.3, 0.275)])
def test_a_capped_gpu_keeps_the_throughput_of_its_curve(share: float, throughput: float) -> None:
    site = plant(gpus=[gpus()])
    gpu = only_gpu(site)
    gpu.work(700)
    gpu.set_limit(700 * share)

    site.advance(2.0)

    assert gpu.rate == pytest.approx(throughput, abs=0.001)


def test_a_cap_above_the_jobs_demand_costs_it_nothing() -> None:
    site = plant(gpus=[gpus()])
    gpu = only_gpu(site)
    gpu.work(400)
    gpu.set_limit(450)

    site.advance(2.0)

    assert (gpu.watts, gpu.rate) == (400, 1.0)


def test_a_node_draws_what_is_below_it_and_its_own_load() -> None:
    site = plant(
        nodes=[{"id": "site", "load_w": 500, "load_wander": 0}, {"id": "hall", "parent": "site"}],
        miners=[miners(count=3, node="hall")],
        gpus=[gpus()],
    )

    site.advance(1.0)

    assert site.node_power_w("hall") == 3 * RATED_W
    assert site.node_power_w("site") == 3 * RATED_W + 70 + 500


def test_energy_is_the_same_at_the_devices_and_at_the_site() -> None:
    site = plant(miners=[miners(count=4, bias=0.03)], gpus=[gpus("GPU-0", "GPU-1")])
    ids = list(site.miners)

    for step, second in enumerate((3.3, 9.7, 40.05, 41.0, 90.0)):
        site.miners[ids[step % 4]].sleep()
        site.miners[ids[(step + 1) % 4]].wake()
        site.gpus["gpu-001"].work(100.0 * step)
        site.advance(second)
    truth = site.truth()

    miners_wh = sum(miner.energy_wh for miner in truth.miners.values())
    gpus_wh = sum(gpu.energy_wh for gpu in truth.gpus.values())
    assert truth.site_energy_wh == pytest.approx(miners_wh + gpus_wh, rel=1e-9)


def test_work_done_is_the_integral_of_the_rate() -> None:
    site = plant(miners=[miners(count=2)], gpus=[gpus()])
    only_gpu(site).work(700)

    site.advance(3600.0)

    truth = site.truth()
    assert truth.terahashes == pytest.approx(2 * RATED_THS * 3600)
    assert truth.gpu_hours == pytest.approx(1.0, rel=0.001)
    assert truth.site_energy_wh == pytest.approx(2 * RATED_W + 700, rel=0.001)


def test_other_load_wanders_around_its_mean_and_stays_near_it() -> None:
    site = plant(nodes=[{"id": "site", "load_w": 10_000, "load_wander": 0.05}])

    seen = []
    for minute in range(1, 300):
        site.advance(60.0 * minute)
        seen.append(site.site_power_w)

    assert min(seen) >= 8_500
    assert max(seen) <= 11_500
    assert max(seen) - min(seen) > 1_000
    assert sum(seen) / len(seen) == pytest.approx(10_000, rel=0.02)


def test_a_meter_shows_the_past_when_it_is_slow() -> None:
    site = plant(
        miners=[miners()],
        meters=[{"id": "slow", "node": "site", "unit": 1, "noise": 0, "delay_s": 3, "period_s": 1}],
    )
    site.advance(10.0)
    only_miner(site).sleep()

    site.advance(12.9)
    before_w = site.meters["slow"].value_w
    site.advance(30.0)

    assert before_w == RATED_W
    assert site.meters["slow"].value_w == pytest.approx(25)


def test_a_meter_is_noisy_by_its_fraction_and_right_on_average() -> None:
    site = plant(miners=[miners()], meters=[{"id": "m", "node": "site", "unit": 1, "noise": 0.002}])

    shown = []
    for second in range(1, 400):
        site.advance(float(second))
        shown.append(site.meters["m"].value_w / RATED_W - 1)

    assert sum(shown) / len(shown) == pytest.approx(0, abs=0.0004)
    assert (sum(error**2 for error in shown) / len(shown)) ** 0.5 == pytest.approx(0.002, rel=0.2)


def busy(seed: int = 3, **more: object) -> Plant:
    site = plant(
        seed=seed,
        nodes=[{"id": "site", "load_w": 5_000}],
        miners=[miners(count=3, bias=0.03)],
        gpus=[gpus()],
        meters=[{"id": "m", "node": "site", "unit": 1}],
        **more,
    )
    site.advance(5.0)
    site.miners["luxos-001"].sleep()
    site.advance(20.0)
    return site


def test_the_same_seed_and_calls_give_the_same_truth() -> None:
    assert busy().truth() == busy().truth()


def test_another_seed_gives_another_truth() -> None:
    assert busy(seed=3).truth() != busy(seed=4).truth()


def test_adding_a_device_changes_no_other_device() -> None:
    fewer = busy()
    more = busy(zones=[{"id": "aisle", "unit": 9}])
    grown = plant(
        seed=3,
        nodes=[{"id": "site", "load_w": 5_000}],
        miners=[miners("antminer", at=90, bias=0.03), miners(count=4, bias=0.03)],
    )

    assert fewer.truth().miners == more.truth().miners
    for device, miner in fewer.miners.items():
        assert grown.miners[device].bias == miner.bias
        assert grown.miners[device].serial == miner.serial


def test_time_cut_into_other_pieces_ends_in_the_same_steady_state() -> None:
    whole, pieces = plant(miners=[miners()]), plant(miners=[miners()])
    for site in (whole, pieces):
        only_miner(site).sleep()

    whole.advance(60.0)
    for step in range(1, 1201):
        pieces.advance(step * 0.05)

    assert pieces.now_s == whole.now_s == 60.0
    assert only_miner(pieces).watts == only_miner(whole).watts
    assert pieces.truth().site_energy_wh == pytest.approx(whole.truth().site_energy_wh, rel=0.05)


def test_every_step_is_told_with_how_long_it_took_and_time_at_rest_is_one_step() -> None:
    site = plant(miners=[miners()])
    site.advance(10.0)

    at_rest = list(site.steps(20.0))
    only_miner(site).sleep()
    falling = list(site.steps(30.0))

    assert sum(at_rest) == pytest.approx(10.0)
    assert sum(falling) == pytest.approx(10.0)
    assert len(at_rest) <= 10
    assert min(falling) == pytest.approx(0.1)


def test_a_plant_asked_every_tenth_of_a_second_moves_as_one_that_is_asked_once() -> None:
    often, once = busy(), busy()
    for site in (often, once):
        site.miners["luxos-001"].wake()
        site.miners["luxos-002"].set_point("325MHz")

    for tenth in range(1, 601):
        often.advance(20.0 + tenth / 10)
    once.advance(80.0)

    assert often.site_power_w == pytest.approx(once.site_power_w, rel=1e-9)
    assert often.truth().site_energy_wh == pytest.approx(once.truth().site_energy_wh, rel=1e-6)
    assert often.truth().terahashes == pytest.approx(once.truth().terahashes, rel=1e-6)


def test_a_time_already_reached_changes_nothing() -> None:
    site = busy()
    before = site.truth()

    site.advance(site.now_s - 3.0)
    site.advance(site.now_s)

    assert site.truth() == before


def test_the_truth_can_be_written_as_json() -> None:
    truth = busy().truth()

    read_back = json.loads(json.dumps(asdict(truth)))

    assert read_back["miners"]["luxos-001"]["state"] == "asleep"
    assert read_back["site_power_w"] == truth.site_power_w
