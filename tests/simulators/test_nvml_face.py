"""The bridge between an NVML state file and the plant's GPUs, judged from both ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulators.config import NodeConfig, PlantConfig
from simulators.groups import GpuGroup
from simulators.nvml.face import BEAT_STALE_NS, NvmlFace, create_state
from simulators.nvml.layout import Obedience, Word
from simulators.nvml.state import NvmlGpu
from simulators.physics.gpu import Gpu
from simulators.plant import Plant

UUID = "GPU-11111111-0000-4000-8000-000000000001"

GONE = 2**22 + 1
"""The number of no process."""


class Bench:
    """One H100 in a plant, its state file, and a clock that moves only when told."""

    def __init__(self, path: Path) -> None:
        group = GpuGroup(
            name="gpu", model="NVIDIA H100", uuids=(UUID,), node="site", min_w=200, max_w=700, idle_w=70
        )
        self.plant = Plant(PlantConfig(nodes=(NodeConfig(id="site"),), gpus=(group,)))
        self.now_ns = 10**12
        state = create_state(path, self.plant.gpus.values())
        self.record: NvmlGpu = state.gpu(UUID)
        self.gpu: Gpu = next(iter(self.plant.gpus.values()))
        self.face = NvmlFace(state, clock_ns=lambda: self.now_ns)
        self.face.exchange(self.plant)

    def run(self, seconds: float, *, beat: bool = True) -> None:
        for _ in range(round(seconds / 0.1)):
            self.now_ns += 100_000_000
            if beat:
                self.record[Word.JOB_BEAT_NS] = self.now_ns
            self.face.exchange(self.plant)
            self.plant.advance(self.plant.now_s + 0.1)
        self.face.exchange(self.plant)

    def start_job(self, demand_w: int) -> None:
        self.record[Word.JOB_PID] = os.getpid()
        self.record[Word.JOB_DEMAND_MW] = demand_w * 1000


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "nvml")


def test_the_state_is_made_from_what_the_plant_has(bench: Bench) -> None:
    assert bench.record[Word.MIN_LIMIT_MW] == 200_000
    assert bench.record[Word.DEFAULT_LIMIT_MW] == 700_000
    assert bench.record[Word.POWER_MW] == 70_000


def test_a_job_draws_what_it_asks_for_up_to_the_limit_set_through_nvml(bench: Bench) -> None:
    bench.start_job(demand_w=650)
    bench.run(5)
    uncapped_mw = bench.record[Word.POWER_MW]

    bench.record[Word.REQUESTED_LIMIT_MW] = 400_000
    bench.run(5)

    assert uncapped_mw == 650_000
    assert bench.record[Word.POWER_MW] == 400_000
    assert bench.gpu.watts == 400
    assert 0 < bench.record[Word.JOB_THROUGHPUT_PPM] < 1_000_000
    assert bench.record[Word.EVENT_REASONS] == 0x4


def test_a_job_whose_beat_stops_leaves_the_gpu_idle(bench: Bench) -> None:
    bench.start_job(demand_w=650)
    bench.run(5)

    bench.run(BEAT_STALE_NS / 1e9 + 2, beat=False)

    assert bench.record[Word.POWER_MW] == 70_000
    assert bench.record[Word.JOB_PID] == os.getpid()
    assert bench.record[Word.MEMORY_USED_BYTES] > 0


def test_a_killed_job_holds_neither_gpu_nor_memory(bench: Bench) -> None:
    bench.start_job(demand_w=650)
    bench.record[Word.JOB_PID] = GONE

    bench.run(2)

    assert bench.record[Word.JOB_PID] == 0
    assert bench.record[Word.MEMORY_USED_BYTES] == 0
    assert bench.record[Word.POWER_MW] == 70_000


def test_a_driver_that_lets_go_late_lists_a_killed_job_as_long_and_keeps_its_memory(bench: Bench) -> None:
    bench.plant.set_fault(bench.gpu.id, "lets_go_after_s", 5.0)
    bench.start_job(demand_w=650)
    bench.run(5)
    bench.record[Word.JOB_PID] = GONE

    bench.run(4)
    during = [bench.record[word] for word in (Word.JOB_PID, Word.POWER_MW)]
    held = bench.record[Word.MEMORY_USED_BYTES]
    bench.run(2)

    assert during == [GONE, 70_000]
    assert held > 0
    assert (bench.record[Word.JOB_PID], bench.record[Word.MEMORY_USED_BYTES]) == (0, 0)


def test_a_limit_reset_in_the_plant_shows_in_nvml(bench: Bench) -> None:
    bench.record[Word.REQUESTED_LIMIT_MW] = 300_000
    bench.run(1)

    bench.plant.set_fault(bench.gpu.id, "reset_limit_now")
    bench.run(1)

    assert bench.record.enforced_limit_mw == 700_000


def test_a_limit_from_outside_the_driver_reaches_the_plant(bench: Bench) -> None:
    bench.record[Word.OUTSIDE_LIMIT_MW] = 350_000

    bench.run(1)

    assert bench.gpu.limit_w == 350
    assert bench.record[Word.REQUESTED_LIMIT_MW] == 700_000


def test_a_pretender_reports_the_new_limit_and_draws_as_before(bench: Bench) -> None:
    bench.start_job(demand_w=650)
    bench.record[Word.OBEDIENCE] = Obedience.PRETENDS
    bench.record[Word.REQUESTED_LIMIT_MW] = 300_000

    bench.run(5)

    assert bench.record.enforced_limit_mw == 300_000
    assert bench.record[Word.POWER_MW] == 650_000


def test_the_average_lags_the_instant_power_by_up_to_a_second(bench: Bench) -> None:
    bench.start_job(demand_w=650)
    bench.run(5)

    bench.record[Word.REQUESTED_LIMIT_MW] = 300_000
    bench.run(0.5)
    halfway_mw = bench.record[Word.AVERAGE_POWER_MW]
    bench.run(1.5)

    assert 400_000 < halfway_mw < 600_000
    assert bench.record[Word.AVERAGE_POWER_MW] == pytest.approx(300_000, rel=0.01)


def test_energy_is_the_plants_own_account(bench: Bench) -> None:
    before_mj = bench.record[Word.ENERGY_MJ]

    bench.run(100)

    assert bench.record[Word.ENERGY_MJ] - before_mj == pytest.approx(70_000 * 100, rel=0.001)
    assert bench.record[Word.ENERGY_AT_NS] == bench.now_ns


def test_a_gpu_lost_in_the_plant_is_lost_in_nvml_until_it_returns(bench: Bench) -> None:
    bench.plant.set_fault(bench.gpu.id, "lost", True)
    bench.run(0.1)
    lost_code = bench.record[Word.ERROR_CODE]

    bench.plant.set_fault(bench.gpu.id, "lost", False)
    bench.run(0.1)

    assert lost_code == 15
    assert bench.record[Word.ERROR_CODE] == 0


@pytest.mark.parametrize(("fault", "code"), [("off_the_bus", 15), ("needs_reset", 16), ("driver_gone", 1)])
def test_a_board_that_fails_answers_with_its_code_until_it_is_mended(
    bench: Bench, fault: str, code: int
) -> None:
    bench.plant.set_fault(bench.gpu.id, fault, True)
    bench.run(0.1)
    failed_with = bench.record[Word.ERROR_CODE]

    bench.plant.set_fault(bench.gpu.id, fault, False)
    bench.run(0.1)

    assert (failed_with, bench.record[Word.ERROR_CODE]) == (code, 0)


def test_a_board_that_falls_off_the_bus_says_so_by_xid_79(bench: Bench) -> None:
    bench.plant.set_fault(bench.gpu.id, "off_the_bus", True)

    bench.run(1)

    assert (bench.record[Word.XID], bench.record[Word.XID_SEQUENCE]) == (79, 1)


def test_what_comes_back_after_the_driver_was_gone_has_forgotten_limit_and_energy(bench: Bench) -> None:
    bench.record[Word.REQUESTED_LIMIT_MW] = 300_000
    bench.run(10)

    bench.plant.set_fault(bench.gpu.id, "driver_gone", True)
    bench.run(0.5)
    bench.plant.set_fault(bench.gpu.id, "driver_gone", False)
    bench.run(1)

    assert bench.record.enforced_limit_mw == 700_000
    assert bench.record[Word.ENERGY_MJ] == pytest.approx(70_000, rel=0.2)
    assert bench.gpu.energy_j > 700


def test_a_limit_that_does_not_last_goes_back_to_the_default_by_itself(bench: Bench) -> None:
    bench.plant.set_fault(bench.gpu.id, "limit_returns_s", 5)
    bench.record[Word.REQUESTED_LIMIT_MW] = 300_000
    bench.run(4)
    meanwhile_mw = bench.record.enforced_limit_mw

    bench.run(2)

    assert (meanwhile_mw, bench.record.enforced_limit_mw) == (300_000, 700_000)


def test_a_limit_from_outside_goes_when_it_is_taken_away(bench: Bench) -> None:
    bench.plant.set_fault(bench.gpu.id, "outside_limit_w", 350)
    bench.run(1)
    capped_mw = bench.record.enforced_limit_mw

    bench.plant.set_fault(bench.gpu.id, "outside_limit_w", 0)
    bench.run(1)

    assert (capped_mw, bench.record.enforced_limit_mw) == (350_000, 700_000)


def test_a_power_brake_halves_the_board_and_is_counted(bench: Bench) -> None:
    bench.start_job(demand_w=650)
    bench.plant.set_fault(bench.gpu.id, "power_brake")

    bench.run(5)

    assert bench.record[Word.POWER_MW] == 350_000
    assert bench.record[Word.EVENT_REASONS] & 0x88 == 0x88
    assert bench.record[Word.POWER_BRAKE_NS] == pytest.approx(5e9, rel=0.1)


def test_somebody_elses_process_draws_and_is_listed_beside_no_job(bench: Bench) -> None:
    bench.plant.set_fault(bench.gpu.id, "foreign_w", 400)

    bench.run(5)

    assert bench.record[Word.FOREIGN_PID] == os.getpid()
    assert (bench.record[Word.JOB_PID], bench.record[Word.POWER_MW]) == (0, 400_000)
    assert bench.record[Word.MEMORY_USED_BYTES] == bench.record[Word.FOREIGN_MEMORY_BYTES] > 0


def test_memory_errors_count_up_with_an_xid_and_a_pending_remap_asks_for_a_reset(bench: Bench) -> None:
    bench.plant.set_fault(bench.gpu.id, "ecc_uncorrected", 3)
    bench.plant.set_fault(bench.gpu.id, "row_remap_pending")

    bench.run(1)

    assert bench.record[Word.ECC_UNCORRECTED_VOLATILE] == 3
    assert (bench.record[Word.XID], bench.record[Word.XID_SEQUENCE]) == (48, 1)
    assert (bench.record[Word.REMAP_PENDING], bench.record[Word.RECOVERY_ACTION]) == (1, 1)


def test_a_board_that_denies_is_set_by_nobody_while_the_knob_is_turned(bench: Bench) -> None:
    denied = []
    for value in (True, False):
        bench.plant.set_fault(bench.gpu.id, "denied", value)
        bench.run(0.1)
        denied.append(bench.record[Word.DENIED])

    assert denied == [1, 0]


def test_a_withheld_value_stays_withheld_while_the_plant_runs(bench: Bench) -> None:
    bench.record.withhold(Word.MARGIN_C)
    withheld = bench.record[Word.MARGIN_C]

    bench.run(1)

    assert bench.record[Word.MARGIN_C] == withheld


def test_a_board_that_stands_still_shows_the_watts_that_it_had_in_both_fields(bench: Bench) -> None:
    bench.start_job(600)
    bench.run(5)
    bench.plant.set_fault(bench.gpu.id, "frozen_reads", True)
    bench.record[Word.REQUESTED_LIMIT_MW] = 300_000
    bench.run(5)

    assert bench.gpu.watts == 300
    assert (bench.record[Word.POWER_MW], bench.record[Word.AVERAGE_POWER_MW]) == (600_000, 600_000)
    bench.plant.set_fault(bench.gpu.id, "frozen_reads", False)
    bench.plant.set_fault(bench.gpu.id, "reported_power_factor", 0.5)
    bench.run(5)
    assert (bench.record[Word.POWER_MW], bench.record[Word.AVERAGE_POWER_MW]) == (150_000, 150_000)
