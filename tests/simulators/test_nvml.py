"""The simulated NVML library as its readers see it: through the unmodified `pynvml` module."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest

from simulators.nvml.build import library
from simulators.nvml.layout import STATE_VARIABLE, Header, Obedience, Word
from simulators.nvml.state import A100, H100, NvmlState

FIRST, SECOND = "GPU-11111111-0000-4000-8000-000000000001", "GPU-22222222-0000-4000-8000-000000000002"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NvmlState]:
    """An H100 and an A100, read by this process."""
    state = NvmlState.create(tmp_path / "nvml", {FIRST: H100, SECOND: A100})
    monkeypatch.setenv(STATE_VARIABLE, str(state.path))
    pynvml.nvmlLib = ctypes.CDLL(str(library()))
    pynvml._nvmlGetFunctionPointer_cache.clear()
    pynvml.nvmlInit()
    yield state
    state[Header.LATENCY_US] = 0
    pynvml.nvmlShutdown()


def test_each_value_reads_as_the_state_file_has_it(state: NvmlState) -> None:
    gpu, handle = state.gpu(FIRST), pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    for word, value in {
        Word.POWER_MW: 512_345,
        Word.AVERAGE_POWER_MW: 498_765,
        Word.TEMPERATURE_C: 61,
        Word.MEMORY_TEMPERATURE_C: 70,
        Word.MARGIN_C: -3,
        Word.UTILISATION_PERCENT: 97,
        Word.EVENT_REASONS: 0x4,
        Word.MEMORY_USED_BYTES: 3 * 2**30,
    }.items():
        gpu[word] = value

    fields = pynvml.nvmlDeviceGetFieldValues(handle, [186, 185, 82, 190, 9999])

    assert pynvml.nvmlDeviceGetCount() == 2
    assert pynvml.nvmlDeviceGetName(handle) == "NVIDIA H100 80GB HBM3"
    assert pynvml.nvmlDeviceGetUUID(handle) == FIRST
    assert pynvml.nvmlDeviceGetPciInfo(handle).busId == "00000000:01:00.0"
    assert pynvml.nvmlDeviceGetPowerUsage(handle) == 498_765
    assert [field.value.uiVal for field in fields[:4]] == [512_345, 498_765, 70, 700_000]
    assert [field.nvmlReturn for field in fields] == [0, 0, 0, 0, pynvml.NVML_ERROR_NOT_SUPPORTED]
    assert pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU) == 61
    assert pynvml.nvmlDeviceGetMarginTemperature(handle) == -3
    assert pynvml.nvmlDeviceGetUtilizationRates(handle).gpu == 97
    assert pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle) == 0x4
    assert pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2).used == 3 * 2**30
    assert pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle) == [200_000, 700_000]
    assert pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) == 700_000


def test_a_set_limit_reaches_the_state_with_its_sequence_and_time(state: NvmlState) -> None:
    gpu, handle = state.gpu(FIRST), pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    before_ns = time.monotonic_ns()

    pynvml.nvmlDeviceSetPowerManagementLimit(handle, 300_000)

    assert gpu[Word.REQUESTED_LIMIT_MW] == 300_000
    assert gpu[Word.SET_SEQUENCE] == 1
    assert before_ns <= gpu[Word.SET_AT_NS] <= time.monotonic_ns()
    assert pynvml.nvmlDeviceGetPowerManagementLimit(handle) == 300_000
    assert pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) == 300_000


@pytest.mark.parametrize("limit_mw", [0, 199_999, 700_001])
def test_a_limit_outside_the_boards_range_is_an_invalid_argument(state: NvmlState, limit_mw: int) -> None:
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)

    with pytest.raises(pynvml.NVMLError_InvalidArgument):
        pynvml.nvmlDeviceSetPowerManagementLimit(handle, limit_mw)

    assert state.gpu(FIRST)[Word.REQUESTED_LIMIT_MW] == 700_000


@pytest.mark.parametrize("knobs", [(1, 0), (0, 1)], ids=["of the host", "of the board"])
def test_without_permission_no_setter_changes_anything(state: NvmlState, knobs: tuple[int, int]) -> None:
    for_all, for_this_one = knobs
    state[Header.SETTERS_DENIED], state.gpu(FIRST)[Word.DENIED] = for_all, for_this_one
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)

    with pytest.raises(pynvml.NVMLError_NoPermission):
        pynvml.nvmlDeviceSetPowerManagementLimit(handle, 300_000)
    with pytest.raises(pynvml.NVMLError_NoPermission):
        pynvml.nvmlDeviceSetPersistenceMode(handle, 1)
    with pytest.raises(pynvml.NVMLError_NoPermission):
        pynvml.nvmlDeviceSetGpuLockedClocks(handle, 500, 1000)

    assert state.gpu(FIRST)[Word.SET_SEQUENCE] == 0


def test_an_outside_limit_shows_in_the_enforced_limit_only(state: NvmlState) -> None:
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)

    state.gpu(FIRST)[Word.OUTSIDE_LIMIT_MW] = 450_000

    assert pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) == 450_000
    assert pynvml.nvmlDeviceGetPowerManagementLimit(handle) == 700_000


def test_a_gpu_that_ignores_limits_says_yes_and_keeps_its_old_one(state: NvmlState) -> None:
    state.gpu(FIRST)[Word.OBEDIENCE] = Obedience.IGNORES
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)

    pynvml.nvmlDeviceSetPowerManagementLimit(handle, 300_000)

    assert pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) == 700_000


def test_a_lost_gpu_fails_alone_and_comes_back_without_a_new_init(state: NvmlState) -> None:
    lost, other = pynvml.nvmlDeviceGetHandleByUUID(FIRST), pynvml.nvmlDeviceGetHandleByUUID(SECOND)

    state.gpu(FIRST).lose()

    with pytest.raises(pynvml.NVMLError_GpuIsLost):
        pynvml.nvmlDeviceGetPowerUsage(lost)
    with pytest.raises(pynvml.NVMLError_GpuIsLost):
        pynvml.nvmlDeviceGetHandleByIndex(0)
    assert pynvml.nvmlDeviceGetPowerUsage(other) == 50_000
    assert pynvml.nvmlDeviceGetCount() == 2
    state.gpu(FIRST).recover()
    assert pynvml.nvmlDeviceGetPowerUsage(lost) == 70_000


def test_a_board_answers_not_supported_for_what_it_withholds(state: NvmlState) -> None:
    a100 = pynvml.nvmlDeviceGetHandleByUUID(SECOND)
    state.gpu(SECOND).withhold(Word.MEMORY_TEMPERATURE_C)
    state.gpu(SECOND).withhold(Word.UTILISATION_PERCENT, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    with pytest.raises(pynvml.NVMLError_NotSupported):
        pynvml.nvmlDeviceGetMarginTemperature(a100)
    with pytest.raises(pynvml.NVMLError_FunctionNotFound):
        pynvml.nvmlDeviceGetUtilizationRates(a100)

    assert pynvml.nvmlDeviceGetFieldValues(a100, [82])[0].nvmlReturn == pynvml.NVML_ERROR_NOT_SUPPORTED


def test_a_function_that_is_not_simulated_answers_not_supported(state: NvmlState) -> None:
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)

    with pytest.raises(pynvml.NVMLError_NotSupported):
        pynvml.nvmlDeviceGetFanSpeed(handle)


def test_a_struct_of_another_version_is_refused(state: NvmlState) -> None:
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    margin = pynvml.c_nvmlMarginTemperature_v1_t()
    margin.version = pynvml.nvmlMarginTemperature_v1 + 4

    code = pynvml._nvmlGetFunctionPointer("nvmlDeviceGetMarginTemperature")(handle, ctypes.byref(margin))

    assert code == pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH


def test_energy_runs_on_between_two_writes_of_the_plant(state: NvmlState) -> None:
    gpu, handle = state.gpu(FIRST), pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    gpu[Word.POWER_MW], gpu[Word.ENERGY_MJ] = 500_000, 1_000_000
    gpu[Word.ENERGY_AT_NS] = time.monotonic_ns() - 10_000_000_000

    energy_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)

    assert energy_mj >= 1_000_000 + 10 * 500_000


def test_energy_never_counts_backwards_when_the_plant_corrects_it(state: NvmlState) -> None:
    gpu, handle = state.gpu(FIRST), pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    gpu[Word.POWER_MW], gpu[Word.ENERGY_AT_NS] = 500_000, time.monotonic_ns() - 10_000_000_000
    told_mj = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)

    gpu[Word.POWER_MW], gpu[Word.ENERGY_MJ], gpu[Word.ENERGY_AT_NS] = 0, 1, time.monotonic_ns()

    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == told_mj


def test_a_driver_reload_puts_limits_and_energy_back(state: NvmlState) -> None:
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    pynvml.nvmlDeviceSetPowerManagementLimit(handle, 300_000)
    state.gpu(FIRST)[Word.ENERGY_MJ] = 10**9

    state.reload_driver()

    assert pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) == 700_000
    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) < 10**9


def test_enumeration_order_may_change_while_uuids_stay(state: NvmlState) -> None:
    state.enumerate_as([SECOND, FIRST])

    names = [pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(2)]

    assert names == [A100.name, H100.name]
    assert pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByUUID(FIRST)) == H100.name


def test_an_xid_is_delivered_once_to_who_registered_before_it(state: NvmlState) -> None:
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    events = pynvml.nvmlEventSetCreate()
    pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)

    state.gpu(FIRST).raise_xid(79)
    event = pynvml.nvmlEventSetWait_v2(events, 1000)

    assert event.eventData == 79
    assert pynvml.nvmlDeviceGetUUID(event.device) == FIRST
    with pytest.raises(pynvml.NVMLError_Timeout):
        pynvml.nvmlEventSetWait_v2(events, 1)
    pynvml.nvmlEventSetFree(events)


def test_only_a_process_that_exists_is_listed_on_a_gpu(state: NvmlState) -> None:
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    never_a_pid = 2**22 + 1
    listed = []

    for pid in (0, os.getpid(), never_a_pid):
        state.gpu(FIRST)[Word.JOB_PID] = pid
        listed.append([process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)])

    assert listed == [[], [os.getpid()], []]


def test_a_board_in_mig_mode_has_instances_with_uuids_and_memory_of_their_own(state: NvmlState) -> None:
    state.gpu(FIRST).cut_into(3)
    board = pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    slices = [pynvml.nvmlDeviceGetMigDeviceHandleByIndex(board, index) for index in range(3)]

    uuids = [pynvml.nvmlDeviceGetUUID(handle) for handle in slices]
    held = [pynvml.nvmlDeviceGetMemoryInfo(handle).total for handle in slices]

    assert pynvml.nvmlDeviceGetMigMode(board) == [1, 1]
    assert len({uuid for uuid in uuids if uuid.startswith("MIG-")}) == 3
    assert held == [80 * 2**30 // 3] * 3
    assert pynvml.nvmlDeviceIsMigDeviceHandle(slices[0]).value == 1
    assert pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(slices[2])) == FIRST
    with pytest.raises(pynvml.NVMLError_NotFound):
        pynvml.nvmlDeviceGetMigDeviceHandleByIndex(board, 3)


@pytest.mark.parametrize(
    "function",
    ["GetPowerUsage", "GetEnforcedPowerLimit", "GetTotalEnergyConsumption", "GetUtilizationRates"],
)
def test_an_instance_has_no_power_limit_energy_or_utilisation_of_its_own(
    state: NvmlState, function: str
) -> None:
    state.gpu(FIRST).cut_into(2)
    board = pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(board, 0)

    with pytest.raises(pynvml.NVMLError_NotSupported):
        getattr(pynvml, f"nvmlDevice{function}")(handle)

    assert pynvml.nvmlDeviceGetPowerUsage(board) == 70_000


def test_processes_of_a_cut_board_are_listed_on_the_board_and_on_their_instance(state: NvmlState) -> None:
    gpu, board = state.gpu(FIRST), pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    gpu.cut_into(2)
    gpu[Word.JOB_PID], gpu[Word.FOREIGN_PID] = os.getpid(), os.getppid()
    gpu[Word.MEMORY_USED_BYTES], gpu[Word.FOREIGN_MEMORY_BYTES] = 3 * 2**30, 2**30
    slices = [pynvml.nvmlDeviceGetMigDeviceHandleByIndex(board, index) for index in range(2)]

    on_board, *on_slices = [
        [
            (p.pid, p.usedGpuMemory, p.gpuInstanceId)
            for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        ]
        for handle in (board, *slices)
    ]

    assert on_board == [(os.getpid(), 2 * 2**30, 1), (os.getppid(), 2**30, 2)]
    assert on_slices == [on_board[:1], on_board[1:]]


def test_memory_errors_and_remapped_rows_read_as_the_state_file_has_them(state: NvmlState) -> None:
    gpu, handle = state.gpu(FIRST), pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    gpu[Word.ECC_UNCORRECTED_VOLATILE], gpu[Word.ECC_UNCORRECTED_AGGREGATE] = 2, 5
    gpu[Word.REMAPPED_UNCORRECTABLE], gpu[Word.REMAP_PENDING] = 1, 1

    totals = [
        pynvml.nvmlDeviceGetTotalEccErrors(handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, counter)
        for counter in (pynvml.NVML_VOLATILE_ECC, pynvml.NVML_AGGREGATE_ECC)
    ]
    fields = pynvml.nvmlDeviceGetFieldValues(handle, [4, 6, 143, 144, 145])

    assert totals == [2, 5]
    assert pynvml.nvmlDeviceGetRemappedRows(handle) == (0, 1, 1, 0)
    assert [field.value.uiVal for field in fields] == [2, 5, 1, 1, 0]
    with pytest.raises(pynvml.NVMLError_NotSupported):
        pynvml.nvmlDeviceGetRetiredPagesPendingStatus(handle)


def test_a_board_tells_its_thresholds_as_margins_or_in_degrees_and_never_both(state: NvmlState) -> None:
    h100, a100 = (pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in (FIRST, SECOND))

    relative = [pynvml.nvmlDeviceGetFieldValues(handle, [193, 194]) for handle in (h100, a100)]

    assert [field.value.siVal for field in relative[0]] == [-8, -2]
    assert [field.nvmlReturn for field in relative[1]] == [pynvml.NVML_ERROR_NOT_SUPPORTED] * 2
    assert pynvml.nvmlDeviceGetTemperatureThreshold(a100, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN) == 89
    with pytest.raises(pynvml.NVMLError_NotSupported):
        pynvml.nvmlDeviceGetTemperatureThreshold(h100, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN)


@pytest.mark.socket
def test_one_hanging_board_does_not_hold_up_the_calls_for_another(state: NvmlState) -> None:
    hanging, other = (pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in (FIRST, SECOND))
    state.gpu(FIRST)[Word.LATENCY_US] = 3_600_000_000
    caller = threading.Thread(target=pynvml.nvmlDeviceGetPowerUsage, args=(hanging,), daemon=True)
    caller.start()

    answered = pynvml.nvmlDeviceGetPowerUsage(other)
    hung = caller.is_alive()
    state.gpu(FIRST)[Word.LATENCY_US] = 0
    caller.join(10)

    assert (answered, hung, caller.is_alive()) == (50_000, True, False)


@pytest.mark.socket
def test_a_hanging_call_lets_go_when_the_latency_is_taken_away(state: NvmlState) -> None:
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    state[Header.LATENCY_US] = 3_600_000_000
    caller = threading.Thread(target=pynvml.nvmlDeviceGetPowerUsage, args=(handle,), daemon=True)
    caller.start()
    caller.join(0.05)
    hung = caller.is_alive()

    state[Header.LATENCY_US] = 0
    caller.join(10)

    assert hung
    assert not caller.is_alive()


def test_a_configured_init_error_is_what_init_raises(state: NvmlState) -> None:
    state[Header.INIT_ERROR] = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH

    with pytest.raises(pynvml.NVMLError_LibRmVersionMismatch):
        pynvml.nvmlInit()


def test_no_call_works_after_shutdown(state: NvmlState) -> None:
    handle = pynvml.nvmlDeviceGetHandleByUUID(FIRST)
    with contextlib.suppress(pynvml.NVMLError_Uninitialized):
        for _ in range(1000):  # as often as anything in this process has initialised it
            pynvml.nvmlShutdown()

    with pytest.raises(pynvml.NVMLError_Uninitialized):
        pynvml.nvmlDeviceGetPowerUsage(handle)

    pynvml.nvmlInit()


def test_garbage_in_place_of_a_state_is_an_error_and_not_a_crash(
    state: NvmlState, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, content in {"empty": b"", "short": b"NVMLSIM\0", "noise": b"\xa5" * 4096}.items():
        (tmp_path / name).write_bytes(content)
        monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / name))
        with pytest.raises(pynvml.NVMLError_Unknown):
            pynvml.nvmlInit()

    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(pynvml.NVMLError_DriverNotLoaded):
        pynvml.nvmlInit()
