"""What GPUs tell of themselves, as metrics and over the API: all that is known, and nothing that is not."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.cli.sitetables import why_tables
from controller.domain.devices import DeviceKind
from controller.domain.gpus import (
    GpuDetail,
    GpuHealth,
    GpuHeat,
    GpuIdentity,
    GpuLoad,
    GpuMemoryErrors,
    GpuPower,
    GpuProcess,
    MigInstance,
    Throttle,
)
from controller.domain.power import Limit, Power
from controller.run.board import Board
from controller.run.metrics.site import Detail, render
from tests.run.boards import board, device, node, tick
from tests.run.test_api import serving

WHO = GpuIdentity(uuid="GPU-1", model="NVIDIA H100 80GB HBM3", index=3, pci_bus_id="00000000:01:00.0")
BUSY = GpuDetail(
    identity=WHO,
    health=GpuHealth.DEGRADED,
    why=("2 memory errors that were not corrected",),
    power=GpuPower(
        instant=Power(612),
        average=Power(598),
        energy_j=7200.5,
        requested=Power(650),
        enforced=Power(600),
        default=Power(700),
        least=Power(200),
        most=Power(700),
    ),
    heat=GpuHeat(core_c=61.0, memory_c=74.0, margin_c=26.0, slowdown_margin_c=-2.0),
    load=GpuLoad(
        sm_clock_mhz=1755,
        utilisation=0.97,
        memory_used_bytes=3 << 30,
        throttles=frozenset({Throttle.POWER_CAP}),
        throttled_s=MappingProxyType({Throttle.POWER_CAP: 2.5}),
    ),
    errors=GpuMemoryErrors(uncorrected_volatile=2, remap_pending=True),
    xids=MappingProxyType({79: 1, 31: 4}),
    last_xid=79,
    processes=(GpuProcess(pid=4711, memory_bytes=3 << 30, name="python"),),
)


def of(detail: GpuDetail) -> Board:
    """A board of one GPU that is limited to 600 W."""
    limited = device("dgx-0", kind=DeviceKind.GPU, setting=Limit(Power(600)))
    fleet = board(tick(limited, nodes=(node("grid-connection"), node("pdu-1"))))
    fleet.details = lambda: {"dgx-0": detail}
    return fleet


def samples(
    source: Board, *, dcgm: bool = False, detail: Detail = Detail.DEVICES
) -> dict[tuple[str, str], float]:
    """By name and the labels beside the device's id."""
    page = render(source, dcgm=dcgm, detail=detail).decode()
    return {
        (
            sample.name,
            "/".join(value for label, value in sample.labels.items() if label != "device"),
        ): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith(("wattshift_gpu_", "DCGM_"))
    }


def test_all_that_a_gpu_tells_is_a_metric_in_base_units() -> None:
    told = samples(of(BUSY))

    for (name, labels), value in {
        ("power_limit_watts", "enforced"): 600,
        ("power_limit_watts", "requested"): 650,
        ("power_limit_watts", "min"): 200,
        ("board_power_watts", "instant"): 612,
        ("board_power_watts", "average"): 598,
        ("energy_joules_total", ""): 7200.5,
        ("temperature_celsius", "memory"): 74,
        ("threshold_margin_celsius", "slowdown"): -2,
        ("clock_hertz", "sm"): 1.755e9,
        ("utilisation_ratio", "gpu"): 0.97,
        ("memory_bytes", "used"): 3 << 30,
        ("throttle", "power_cap"): 1,
        ("throttle", "power_brake"): 0,
        ("throttled_seconds_total", "power_cap"): 2.5,
        ("memory_errors_total", "uncorrected"): 2,
        ("memory_repair", "pending"): 1,
        ("xid_errors_total", "79"): 1,
        ("health", "degraded"): 1,
        ("health", "ok"): 0,
        ("processes", ""): 1,
        ("mig_instances", ""): 0,
    }.items():
        assert told["wattshift_gpu_" + name, labels] == value, (name, labels)


def test_a_lost_gpu_has_its_health_and_xids_and_no_measurements() -> None:
    lost = GpuDetail(identity=WHO, health=GpuHealth.LOST, xids=MappingProxyType({79: 1}), last_xid=79)

    told = samples(of(lost), dcgm=True)

    assert told["wattshift_gpu_health", "lost"] == 1
    assert told["wattshift_gpu_xid_errors_total", "79"] == 1
    assert not [
        name for name, _ in told if "temperature" in name or "board_power" in name or "ENERGY" in name
    ]


def test_a_cut_board_has_one_row_and_the_number_of_its_instances() -> None:
    instances = tuple(MigInstance(uuid=f"MIG-{at}", name="1g.10gb", instance=at) for at in range(3))
    cut = GpuDetail(
        identity=WHO, health=GpuHealth.OK, power=GpuPower(instant=Power(400)), mig=instances, processes=()
    )

    told = samples(of(cut))

    assert told["wattshift_gpu_mig_instances", ""] == 3
    assert [key for key in told if key[0] == "wattshift_gpu_board_power_watts"] == [
        ("wattshift_gpu_board_power_watts", "instant")
    ]


def test_the_names_of_dcgm_are_told_only_when_asked_for() -> None:
    without, told = samples(of(BUSY)), samples(of(BUSY), dcgm=True)
    dcgm = {
        name.removeprefix("DCGM_FI_DEV_"): value
        for (name, _), value in told.items()
        if name.startswith("DCGM")
    }

    assert not [name for name, _ in without if name.startswith("DCGM")]
    assert (dcgm["POWER_USAGE"], dcgm["ENFORCED_POWER_LIMIT"], dcgm["POWER_MGMT_LIMIT"]) == (598, 600, 650)
    assert (dcgm["TOTAL_ENERGY_CONSUMPTION"], dcgm["GPU_TEMP_LIMIT"], dcgm["XID_ERRORS"]) == (
        7_200_500,
        26,
        79,
    )
    labels = next(labels for name, labels in told if name.startswith("DCGM")).split("/")
    assert {"3", "GPU-1", "00000000:01:00.0", "NVIDIA H100 80GB HBM3"} <= set(labels)


def test_without_detail_of_devices_no_gpu_has_a_series_of_its_own() -> None:
    assert [
        key for key in samples(of(BUSY), detail=Detail.SITE) if key[0] != "wattshift_gpu_power_watts"
    ] == []


@pytest.mark.socket
async def test_why_a_gpu_draws_what_it_draws_comes_with_its_health_and_who_holds_it() -> None:
    async with serving(of(BUSY)) as client:
        _, why = await client.json("/why/dgx-0")

    assert (why["gpu"]["health"], why["gpu"]["power"]["enforced_w"]) == ("degraded", 600)
    assert why["gpu"]["load"]["throttles"] == ["power_cap"]
    assert why["gpu"]["xids"] == {"31": 4, "79": 1}
    assert why["gpu"]["processes"][0]["pid"] == 4711
    assert len(list(why_tables(why))) == 4
