"""The GPU driver against the simulated NVML library, through the real binding."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ctypes.util import find_library
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.domain.devices import (
    Acknowledged,
    Failed,
    OperatingPoint,
    Quality,
    Refused,
    SetPoint,
    ThermalLimits,
)
from controller.domain.gpus import GpuHealth, Throttle
from controller.domain.power import Limit, NoLimit, Power
from drivers.base import Driver, DriverError
from drivers.gpu import GpuDriver, GpuHostConfig, build
from drivers.gpu_describe import describe
from drivers.gpu_host import GpuHost
from drivers.gpu_nvml import UNINITIALIZED
from drivers.gpu_sample import PROCESSES_EVERY
from simulators.nvml.build import library
from simulators.nvml.layout import STATE_VARIABLE, Header, Obedience, Word
from simulators.nvml.state import A100, H100, NvmlState

FIRST, SECOND = "GPU-11111111-0000-4000-8000-000000000001", "GPU-22222222-0000-4000-8000-000000000002"
AN_HOUR_US = 3_600_000_000
PATIENCE_S = 20.0
SCRIPT_TIMEOUT_S = 60


def config(**changes: Any) -> GpuHostConfig:
    values: dict[str, Any] = {
        "id": "host",
        "node": "rack",
        "uuids": [FIRST, SECOND],
        "library": str(library()),
        "min_w": 200,
        "max_w": 700,
        "default_w": 700,
    }
    return GpuHostConfig.model_validate(values | changes)


def to(driver: Driver, watts: int, deadline_s: float = 10.0) -> SetPoint:
    point = OperatingPoint(name=f"{watts}W", power=Power(watts), rate=0.0)
    return SetPoint(device=driver.spec.id, point=point, deadline_s=deadline_s)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NvmlState]:
    """Two H100s on the simulated host of this process."""
    state = NvmlState.create(tmp_path / "nvml", {FIRST: H100, SECOND: H100})
    monkeypatch.setenv(STATE_VARIABLE, str(state.path))
    yield state
    state[Header.LATENCY_US] = 0


Connect = Callable[..., tuple[GpuDriver, ...]]


@pytest.fixture
async def connect(state: NvmlState) -> AsyncIterator[Connect]:
    """Builds drivers and closes them after the test."""
    open_drivers: list[GpuDriver] = []

    def connect(**changes: Any) -> tuple[GpuDriver, ...]:
        drivers = build(config(**changes))
        open_drivers.extend(drivers)
        return drivers

    yield connect
    for driver in open_drivers:
        await driver.close()


@pytest.fixture
def drivers(connect: Connect) -> tuple[GpuDriver, ...]:
    return connect()


async def until(true: Callable[[], bool], doing: Callable[[], Awaitable[None]] | None = None) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    for _ in iter(true, True):
        assert time.monotonic() < deadline_s, "waited in vain"
        if doing is not None:
            await doing()
        await asyncio.sleep(0.005)


async def until_it_reads(driver: GpuDriver) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            await driver.read()
        except DriverError:
            assert time.monotonic() < deadline_s, "it never answered again"
            await asyncio.sleep(0.005)
        else:
            return


# Reading


async def test_a_reading_says_what_the_board_measures(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    gpu = state.gpu(FIRST)
    gpu[Word.POWER_MW], gpu[Word.AVERAGE_POWER_MW] = 512_001, 430_000
    gpu[Word.TEMPERATURE_C], gpu[Word.MEMORY_TEMPERATURE_C], gpu[Word.MARGIN_C] = 61, 74, 26
    gpu[Word.REQUESTED_LIMIT_MW] = 550_000

    reading = await drivers[0].read()

    assert reading.device == "host-gpu0"
    assert reading.draw == Power(513), "the instant field, rounded up"
    assert reading.quality is Quality.MEASURED
    assert reading.setting == Limit(Power(550))
    assert (reading.hottest_c, reading.memory_c, reading.margin_c) == (61, 74, 26)


async def test_devices_are_numbered_in_the_order_of_the_uuids_whatever_the_host_enumerates(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.enumerate_as([SECOND, FIRST])
    state.gpu(SECOND)[Word.POWER_MW] = 222_000

    readings = [await driver.read() for driver in drivers]

    assert [reading.device for reading in readings] == ["host-gpu0", "host-gpu1"]
    assert [reading.draw for reading in readings] == [Power(70), Power(222)]


async def test_what_a_board_does_not_tell_is_left_out_and_the_rest_read(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    gpu = state.gpu(FIRST)
    not_supported, function_not_found = 3, 13
    gpu.withhold(Word.POWER_MW, not_supported)
    gpu.withhold(Word.MEMORY_TEMPERATURE_C, not_supported)
    gpu.withhold(Word.MARGIN_C, function_not_found)
    gpu[Word.AVERAGE_POWER_MW] = 430_000

    reading = await drivers[0].read()

    assert reading.draw == Power(430)
    assert (reading.hottest_c, reading.memory_c, reading.margin_c) == (30, None, None)


async def test_a_sensor_of_a_board_that_reads_nothing_is_not_cool(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    gpu = state.gpu(FIRST)
    gpu[Word.TEMPERATURE_C], gpu[Word.MEMORY_TEMPERATURE_C] = 0, 0

    reading = await drivers[0].read()

    assert (reading.hottest_c, reading.memory_c) == (None, None)


async def test_a_board_without_a_power_sensor_counts_at_its_limit(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.gpu(FIRST).withhold(Word.POWER_MW)
    state.gpu(FIRST).withhold(Word.AVERAGE_POWER_MW)

    reading = await drivers[0].read()

    assert (reading.draw, reading.quality) == (Power(700), Quality.ESTIMATED)


async def test_a_board_that_takes_no_limits_still_reads_as_configured(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    for word in (Word.REQUESTED_LIMIT_MW, Word.MIN_LIMIT_MW, Word.MAX_LIMIT_MW, Word.DEFAULT_LIMIT_MW):
        state.gpu(FIRST).withhold(word)
    before = drivers[0].spec

    reading = await drivers[0].read()

    assert reading.setting == NoLimit()
    assert drivers[0].spec == before


async def test_a_limit_raised_behind_our_back_shows_in_the_setting(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    await drivers[0].apply(to(drivers[0], 300))
    before = (await drivers[0].read()).setting

    state.gpu(FIRST)[Word.REQUESTED_LIMIT_MW] = 700_000

    assert before == Limit(Power(300))
    assert (await drivers[0].read()).setting == Limit(Power(700))


async def test_the_rate_is_what_the_limit_allows_while_a_process_holds_the_gpu(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.gpu(FIRST)[Word.REQUESTED_LIMIT_MW] = 350_000
    idle = await drivers[0].read()

    state.gpu(FIRST)[Word.JOB_PID] = os.getpid()
    readings = [await drivers[0].read() for _ in range(PROCESSES_EVERY)]

    assert idle.rate == 0.0
    assert readings[-1].rate == pytest.approx(0.629)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        (Word.POWER_MW, 0),
        (Word.POWER_MW, 4_294_967_295),
        (Word.REQUESTED_LIMIT_MW, 0),
        (Word.TEMPERATURE_C, 4000),
        (Word.MARGIN_C, -2000),
        (Word.MIN_LIMIT_MW, 0),
        (Word.MAX_LIMIT_MW, 100_000),
        (Word.DEFAULT_LIMIT_MW, 0),
    ],
)
async def test_a_value_that_no_board_can_have_is_no_reading(
    state: NvmlState, drivers: tuple[GpuDriver, ...], word: Word, value: int
) -> None:
    state.gpu(FIRST)[word] = value

    with pytest.raises(DriverError, match=f"^(host-gpu0|GPU {FIRST}): (says|tells)"):
        await drivers[0].read()


# Errors


@pytest.mark.parametrize(("code", "said"), [(15, "GPU is lost"), (16, "GPU requires restart")])
async def test_a_lost_gpu_fails_alone_and_is_found_again(
    state: NvmlState, drivers: tuple[GpuDriver, ...], code: int, said: str
) -> None:
    await drivers[0].read()
    state.gpu(FIRST).lose(code)

    with pytest.raises(DriverError, match=rf"{FIRST}.*{said} \(NVML error {code}\)"):
        await drivers[0].read()
    other = await drivers[1].read()
    outcome = await drivers[0].apply(to(drivers[0], 300))
    state.gpu(FIRST).recover()

    assert other.draw == Power(70)
    assert isinstance(outcome, Failed)
    assert (await drivers[0].read()).draw == Power(70)


async def test_gpus_are_found_by_uuid_again_after_nvml_was_lost_and_enumerates_otherwise(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    for driver in drivers:
        await driver.read()
    state.gpu(FIRST).lose(UNINITIALIZED)
    rebooted = NvmlState.create(state.path, {SECOND: H100, FIRST: H100})
    rebooted.gpu(FIRST)[Word.POWER_MW] = 111_000

    with pytest.raises(DriverError, match="Uninitialized"):
        await drivers[0].read()

    assert [(await driver.read()).draw for driver in drivers] == [Power(111), Power(70)]


async def test_after_an_error_a_gpu_is_asked_again_for_what_it_did_not_have(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.gpu(FIRST).withhold(Word.MARGIN_C)
    before = await drivers[0].read()
    state.gpu(FIRST)[Word.MARGIN_C] = 57
    same = await drivers[0].read()

    state.gpu(FIRST).lose()
    with pytest.raises(DriverError):
        await drivers[0].read()
    state.gpu(FIRST).recover()

    assert (before.margin_c, same.margin_c) == (None, None)
    assert (await drivers[0].read()).margin_c == 57


async def test_a_uuid_that_is_not_on_the_host_is_named(connect: Connect) -> None:
    (driver,) = connect(uuids=["GPU-nowhere"])

    with pytest.raises(DriverError, match=r"GPU GPU-nowhere: nvmlDeviceGetHandleByUUID: Not Found"):
        await driver.read()


async def test_a_failed_init_is_repeated_after_a_pause_and_not_at_every_read(state: NvmlState) -> None:
    now_s = 100.0
    host = GpuHost(library=str(library()), clock=lambda: now_s)
    driver = GpuDriver(host, FIRST, "gpu", config())
    state[Header.INIT_ERROR] = 18
    with pytest.raises(DriverError, match="restart the process") as first:
        await driver.read()
    state[Header.INIT_ERROR] = 0

    with pytest.raises(DriverError) as second:
        await driver.read()
    now_s += 60
    reading = await driver.read()
    await driver.close()

    assert str(second.value) == str(first.value)
    assert reading.draw == Power(70)


async def test_garbage_in_place_of_the_driver_is_an_error_and_not_a_crash(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.path.unlink()
    state.path.write_bytes(b"\xa5" * 4096)

    with pytest.raises(DriverError, match="NVML error 999"):
        await drivers[0].read()


async def test_a_second_library_in_one_process_is_refused(connect: Connect) -> None:
    first, _ = connect()
    await first.read()
    (other,) = connect(uuids=[FIRST], library="/elsewhere/libnvidia-ml.so.1")

    with pytest.raises(DriverError, match="has loaded"):
        await other.read()


# Setting limits


async def test_a_limit_is_acknowledged_when_it_is_in_force(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    outcome = await drivers[0].apply(to(drivers[0], 400))

    assert outcome == Acknowledged()
    assert state.gpu(FIRST)[Word.REQUESTED_LIMIT_MW] == 400_000
    assert state.gpu(SECOND)[Word.REQUESTED_LIMIT_MW] == 700_000


async def test_setting_a_limit_turns_persistence_on_so_that_it_outlives_the_last_client(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    await drivers[0].apply(to(drivers[0], 400))

    assert state.gpu(FIRST)[Word.PERSISTENCE] == 1


async def test_without_permission_a_limit_is_refused_and_reading_goes_on(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state[Header.SETTERS_DENIED] = 1

    outcome = await drivers[0].apply(to(drivers[0], 400))

    assert isinstance(outcome, Refused)
    assert "Insufficient Permissions (NVML error 4)" in outcome.why
    assert FIRST in outcome.why
    assert (await drivers[0].read()).setting == Limit(Power(700))


@pytest.mark.parametrize("watts", [0, 199, 701])
async def test_a_limit_outside_the_boards_range_is_refused(
    state: NvmlState, drivers: tuple[GpuDriver, ...], watts: int
) -> None:
    outcome = await drivers[0].apply(to(drivers[0], watts))

    assert isinstance(outcome, Refused)
    assert f"takes limits from 200 to 700 W, not {watts} W" in outcome.why
    assert state.gpu(FIRST)[Word.SET_SEQUENCE] == 0


async def test_a_board_that_cannot_be_limited_refuses(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.gpu(FIRST).withhold(Word.REQUESTED_LIMIT_MW)

    outcome = await drivers[0].apply(to(drivers[0], 400))

    assert isinstance(outcome, Refused)
    assert "Not Supported" in outcome.why


async def test_a_limit_that_was_taken_and_dropped_is_refused(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.gpu(FIRST)[Word.OBEDIENCE] = Obedience.IGNORES

    outcome = await drivers[0].apply(to(drivers[0], 400))

    assert outcome == Refused(f"GPU {FIRST}: took 400 W, but 700 W are in force")


async def test_a_limit_above_a_tighter_one_from_outside_is_refused(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.gpu(FIRST)[Word.OUTSIDE_LIMIT_MW] = 450_000

    outcome = await drivers[0].apply(to(drivers[0], 600))

    assert outcome == Refused(f"GPU {FIRST}: took 600 W, but 450 W are in force")


@pytest.mark.socket
async def test_a_limit_that_comes_into_force_a_moment_later_is_acknowledged(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.gpu(FIRST)[Word.OBEDIENCE] = Obedience.IGNORES
    applying = asyncio.create_task(drivers[0].apply(to(drivers[0], 400)))
    await until(lambda: state.gpu(FIRST)[Word.SET_SEQUENCE] > 0)

    state.gpu(FIRST)[Word.REQUESTED_LIMIT_MW] = 400_000

    assert await applying == Acknowledged()


# Hanging


@pytest.mark.socket
async def test_a_hanging_call_fails_by_its_deadline_and_those_after_it_at_once(state: NvmlState) -> None:
    now_s = 100.0
    host = GpuHost(library=str(library()), timeout_s=1.0, clock=lambda: now_s)
    first, second = (GpuDriver(host, uuid, uuid, config()) for uuid in (FIRST, SECOND))
    await first.read()
    state[Header.LATENCY_US] = AN_HOUR_US

    with pytest.raises(DriverError, match=f"read of GPU {FIRST}: no answer from NVML within"):
        await first.read()
    now_s += 60
    with pytest.raises(DriverError, match=f"GPU {FIRST}: NVML hangs, for 60 s in the read"):
        await first.read()
    outcome = await first.apply(to(first, 300))
    for driver in (first, second):
        await driver.close()

    assert isinstance(outcome, Failed)
    assert "hangs" in outcome.why


@pytest.mark.socket
async def test_a_host_answers_again_when_its_hanging_call_comes_back(
    state: NvmlState, connect: Connect
) -> None:
    first, second = connect(timeout_s=1.0)
    await first.read()
    state[Header.LATENCY_US] = AN_HOUR_US
    with pytest.raises(DriverError):
        await first.read()

    state[Header.LATENCY_US] = 0

    await until_it_reads(first)
    await until_it_reads(second)
    assert (await first.read()).draw == Power(70)


@pytest.mark.socket
async def test_a_command_that_was_given_up_while_it_waited_is_never_sent_later(
    state: NvmlState, connect: Connect
) -> None:
    first, _ = connect(timeout_s=PATIENCE_S)
    await first.read()
    state[Header.LATENCY_US] = AN_HOUR_US
    hanging = asyncio.create_task(first.read())
    await asyncio.sleep(0)

    outcome = await first.apply(to(first, 300, deadline_s=0.05))
    state[Header.LATENCY_US] = 0
    await hanging
    await first.read()

    assert isinstance(outcome, Failed)
    assert state.gpu(FIRST)[Word.SET_SEQUENCE] == 0


@pytest.mark.socket
async def test_a_gpu_whose_calls_hang_does_not_hold_up_the_others(state: NvmlState, connect: Connect) -> None:
    hanging, other = connect(timeout_s=0.3)
    await hanging.read()
    state.gpu(FIRST)[Word.LATENCY_US] = AN_HOUR_US

    with pytest.raises(DriverError, match="no answer from NVML"):
        await hanging.read()
    reading, outcome = await other.read(), await other.apply(to(other, 300))
    state.gpu(FIRST)[Word.LATENCY_US] = 0
    await until_it_reads(hanging)

    assert (reading.draw, outcome) == (Power(70), Acknowledged())


@pytest.mark.socket
async def test_a_command_right_after_a_cancelled_read_is_carried_out(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    await drivers[0].read()
    state[Header.LATENCY_US] = 20_000
    reading = asyncio.create_task(drivers[0].read())
    await asyncio.sleep(0.01)

    reading.cancel()
    outcome = await drivers[0].apply(to(drivers[0], 300))

    assert reading.cancelled()
    assert outcome == Acknowledged()


@pytest.mark.socket
async def test_more_requests_than_the_queue_holds_fail_at_once(state: NvmlState, connect: Connect) -> None:
    first, _ = connect(timeout_s=PATIENCE_S)
    await first.read()
    state[Header.LATENCY_US] = AN_HOUR_US
    reads = [asyncio.create_task(first.read()) for _ in range(50)]

    done, _ = await asyncio.wait(reads, return_when=asyncio.FIRST_COMPLETED)
    state[Header.LATENCY_US] = 0
    answers = await asyncio.gather(*reads, return_exceptions=True)

    assert all("requests wait already" in str(read.exception()) for read in done)
    assert 0 < sum(isinstance(answer, DriverError) for answer in answers) < 50


# What else a GPU tells


async def test_the_detail_says_what_the_board_measures_and_who_holds_it(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    gpu = state.gpu(FIRST)
    gpu[Word.JOB_PID], gpu[Word.MEMORY_USED_BYTES] = os.getpid(), 3 * 2**30
    gpu[Word.POWER_MW], gpu[Word.AVERAGE_POWER_MW] = 512_001, 430_000
    gpu[Word.MEMORY_TEMPERATURE_C], gpu[Word.UTILISATION_PERCENT], gpu[Word.SM_CLOCK_MHZ] = 74, 97, 1755
    gpu[Word.EVENT_REASONS], gpu[Word.POWER_VIOLATION_NS] = 0x84, 2_500_000_000
    gpu[Word.REQUESTED_LIMIT_MW], gpu[Word.OUTSIDE_LIMIT_MW] = 600_000, 550_000

    reading = await drivers[0].read()
    told = drivers[0].detail

    assert told is not None
    assert (told.identity.model, told.identity.index) == ("NVIDIA H100 80GB HBM3", 0)
    assert (told.power.instant, told.power.average) == (Power(513), Power(430))
    assert (told.power.requested, told.power.enforced) == (Power(600), Power(550))
    assert (told.power.least, told.power.default, told.power.most) == (Power(200), Power(700), Power(700))
    assert (told.heat.memory_c, told.heat.slowdown_margin_c, told.heat.shutdown_margin_c) == (74, -2, -8)
    assert (told.load.utilisation, told.load.sm_clock_mhz) == (0.97, 1755)
    assert told.load.throttles == frozenset({Throttle.POWER_CAP, Throttle.POWER_BRAKE})
    assert told.load.throttled_s[Throttle.POWER_CAP] == 2.5
    assert told.processes is not None
    assert [(p.pid, p.memory_bytes) for p in told.processes] == [(os.getpid(), 3 * 2**30)]
    assert (told.health, told.mig, reading.memory_c) == (GpuHealth.OK, None, 74)


async def test_a_cut_board_is_read_whole_and_names_its_instances(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.gpu(FIRST).cut_into(3)
    state.gpu(FIRST)[Word.POWER_MW] = 333_000

    reading = await drivers[0].read()
    outcome = await drivers[0].apply(to(drivers[0], 400))
    told = drivers[0].detail

    assert told is not None
    assert told.mig is not None
    assert [part.instance for part in told.mig] == [1, 2, 3]
    assert (reading.draw, outcome, told.load.utilisation) == (Power(333), Acknowledged(), None)


async def test_an_old_board_tells_its_thresholds_in_degrees(tmp_path: Path, connect: Connect) -> None:
    NvmlState.create(tmp_path / "nvml", {FIRST: A100})
    (driver,) = connect(uuids=[FIRST], min_w=100)

    reading = await driver.read()

    assert driver.detail is not None
    assert (driver.detail.heat.slowdown_c, driver.detail.heat.shutdown_c) == (89, 92)
    assert driver.spec.memory_thermal == ThermalLimits(derate_c=90, trip_c=95)
    assert (reading.margin_c, driver.detail.heat.slowdown_margin_c) == (None, None)


@pytest.mark.parametrize(
    ("words", "health", "why"),
    [
        ({Word.ECC_UNCORRECTED_VOLATILE: 2}, GpuHealth.DEGRADED, "2 memory errors"),
        ({Word.REMAP_FAILURE: 1}, GpuHealth.DEGRADED, "could not be remapped"),
        ({Word.REMAP_PENDING: 1, Word.RECOVERY_ACTION: 1}, GpuHealth.NEEDS_RESET, "NVML asks for a reset"),
        ({Word.RECOVERY_ACTION: 2}, GpuHealth.NEEDS_RESET, "a reboot of its host"),
    ],
)
async def test_what_is_wrong_with_a_board_is_its_health(
    state: NvmlState,
    drivers: tuple[GpuDriver, ...],
    words: dict[Word, int],
    health: GpuHealth,
    why: str,
) -> None:
    for word, value in words.items():
        state.gpu(FIRST)[word] = value

    await drivers[0].read()

    assert drivers[0].detail is not None
    assert drivers[0].detail.health is health
    assert why in "; ".join(drivers[0].detail.why)


@pytest.mark.socket
async def test_a_gpu_that_fell_off_the_bus_is_lost_and_says_so_until_it_is_back(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    await drivers[0].read()
    await heard(drivers[0], state, xid=31)
    state.gpu(FIRST).raise_xid(79)
    state.gpu(FIRST).lose()
    await until(lambda: failed_with(drivers[0], "XID 79"), lambda: read_or_fail(drivers[0]))
    lost = drivers[0].detail

    state.gpu(FIRST).recover()
    await until_it_reads(drivers[0])

    assert lost is not None
    assert (lost.health, lost.power.instant, lost.xids[79]) == (GpuHealth.LOST, None, 1)
    assert drivers[0].detail is not None
    assert (drivers[0].detail.health, drivers[0].detail.last_xid) == (GpuHealth.OK, 79)


@pytest.mark.socket
async def test_an_xid_of_the_board_asks_for_a_reset_where_nvml_does_not_say(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    state.gpu(FIRST).withhold(Word.RECOVERY_ACTION)
    await drivers[0].read()

    await heard(drivers[0], state, xid=31)
    by_a_program = drivers[0].detail
    await heard(drivers[0], state, xid=119)

    assert by_a_program is not None
    assert by_a_program.health is GpuHealth.OK
    assert drivers[0].detail is not None
    assert drivers[0].detail.health is GpuHealth.NEEDS_RESET
    assert drivers[0].detail.why == ("XID 119",)


async def test_a_silent_gpu_has_a_detail_without_measurements(
    state: NvmlState, drivers: tuple[GpuDriver, ...]
) -> None:
    await drivers[0].read()
    state.gpu(FIRST).lose(999)

    await read_or_fail(drivers[0])

    told = drivers[0].detail
    assert told is not None
    assert (told.health, told.power.enforced) == (GpuHealth.SILENT, None)
    assert told.identity.model == "NVIDIA H100 80GB HBM3"


async def read_or_fail(driver: GpuDriver) -> None:
    with contextlib.suppress(DriverError):
        await driver.read()


def failed_with(driver: GpuDriver, why: str) -> bool:
    return driver.detail is not None and why in "; ".join(driver.detail.why)


async def heard(driver: GpuDriver, state: NvmlState, *, xid: int) -> None:
    """Raise an XID until it is heard: it comes only to who has registered, and nobody says when that is."""

    async def raise_and_read() -> None:
        state.gpu(FIRST).raise_xid(xid)
        await driver.read()

    await until(lambda: driver.detail is not None and driver.detail.last_xid == xid, raise_and_read)


# The process around it


def run_script(state: Path, script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {STATE_VARIABLE: str(state)} | environment,
        capture_output=True,
        text=True,
        timeout=SCRIPT_TIMEOUT_S,
        check=True,
    )
    return done.stdout


READ_ONCE = """
import asyncio
from drivers.base import DriverError
from drivers.gpu import GpuHostConfig, build
config = GpuHostConfig(
    id="host", node="rack", uuids=["{uuid}"], library={library!r},
    min_w=200, max_w=700, default_w=700, timeout_s=0.5,
)
async def main():
    (driver,) = build(config)
    try:
        print((await driver.read()).draw)
    except DriverError as error:
        print(error)
asyncio.run(main())
"""


@pytest.mark.parametrize("where", [None, "/nowhere/libnvidia-ml.so.1"])
def test_a_missing_library_is_named(tmp_path: Path, where: str | None) -> None:
    if where is None and find_library("nvidia-ml"):
        pytest.skip("this machine has the real library")

    said = run_script(tmp_path / "none", READ_ONCE.format(uuid=FIRST, library=where), LD_LIBRARY_PATH="")

    assert "libnvidia-ml.so.1" in said
    assert "cannot be loaded" in said or "NVML Shared Library Not Found" in said


def test_without_a_configured_library_the_systems_own_is_loaded(state: NvmlState) -> None:
    folder = str(library().parent)

    said = run_script(state.path, READ_ONCE.format(uuid=FIRST, library=None), LD_LIBRARY_PATH=folder)

    assert said == "70 W\n"


@pytest.mark.socket
def test_a_process_ends_although_a_call_hangs_in_it(state: NvmlState) -> None:
    state[Header.LATENCY_US] = AN_HOUR_US

    said = run_script(state.path, READ_ONCE.format(uuid=FIRST, library=str(library())))

    assert "no answer from NVML within 0.5 s" in said


# What a GPU can do


async def test_the_spec_narrows_to_what_the_board_says_of_itself(tmp_path: Path, connect: Connect) -> None:
    NvmlState.create(tmp_path / "nvml", {FIRST: replace(H100, min_w=250, max_w=600, default_w=600)})
    (driver,) = connect(uuids=[FIRST])
    before = (driver.spec.floor.power, driver.spec.ceiling)

    await driver.read()

    assert before == (Power(200), Power(700))
    assert (driver.spec.floor.power, driver.spec.ceiling) == (Power(250), Power(600))
    assert driver.spec.points[-1].rate == 1.0


async def test_a_board_that_can_draw_more_than_configured_is_an_error_that_names_the_key(
    connect: Connect,
) -> None:
    first, _ = connect(max_w=500, default_w=500)

    with pytest.raises(DriverError, match="up to 700 W, more than max_w = 500 of gpu host host"):
        await first.read()


async def test_a_board_whose_range_misses_the_configured_one_is_an_error(
    tmp_path: Path, connect: Connect
) -> None:
    NvmlState.create(tmp_path / "nvml", {FIRST: A100})
    (driver,) = connect(uuids=[FIRST], min_w=450)

    with pytest.raises(DriverError, match="none of them in 450 to 700 W"):
        await driver.read()


# Describing a host


def test_a_host_describes_itself_as_tables_that_load(tmp_path: Path, state: NvmlState) -> None:
    third = "GPU-33333333-0000-4000-8000-000000000003"
    described = NvmlState.create(tmp_path / "nvml", {FIRST: H100, SECOND: A100, third: H100})
    described.gpu(third)[Word.REQUESTED_LIMIT_MW] = 300_000

    text = describe(str(library()))
    hosts = [GpuHostConfig.model_validate(table) for table in tomllib.loads(text)["gpu_hosts"]]

    assert [host.uuids for host in hosts] == [(FIRST, third), (SECOND,)]
    assert [(host.min_w, host.max_w, host.default_w) for host in hosts] == [(200, 700, 700), (100, 400, 400)]
    assert len({host.id for host in hosts}) == 2
    assert hosts[0].library == str(library())


def test_a_gpu_that_cannot_be_driven_is_described_in_a_comment(state: NvmlState) -> None:
    state.gpu(FIRST).lose()
    state.gpu(SECOND).withhold(Word.MAX_LIMIT_MW)

    text = describe(str(library()))

    assert tomllib.loads(text) == {}
    assert "# GPU with index 0: nvmlDeviceGetHandleByIndex: GPU is lost" in text
    assert f"# GPU {SECOND}: takes no power limit" in text
