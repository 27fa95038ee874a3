"""What a GPU host's table may say, and what the driver makes of it before it meets a GPU."""

from __future__ import annotations

import types
from typing import Any

import pytest
from pydantic import ValidationError

from controller.domain.power import Power
from drivers.base import DriverError
from drivers.gpu_config import GpuHostConfig
from drivers.gpu_curve import throughput
from drivers.gpu_nvml import check_binding
from drivers.gpu_reading import device_spec
from drivers.gpu_sample import Limits

FIRST = "GPU-11111111-0000-4000-8000-000000000001"


def config(**changes: Any) -> GpuHostConfig:
    values = {"id": "host", "node": "rack", "uuids": [FIRST], "min_w": 200, "max_w": 700, "default_w": 700}
    return GpuHostConfig.model_validate(values | changes)


def test_the_operating_points_run_from_the_lowest_to_the_highest_limit() -> None:
    spec = device_spec(
        "gpu", config(step_w=200), Limits(min_w=200, max_w=700, default_w=700), config().prior()
    )

    assert [point.name for point in spec.points] == ["200W", "400W", "600W", "700W"]
    assert spec.points[-1].rate == 1.0
    assert spec.floor.rate == pytest.approx(0.186 + (200 / 700 - 0.25) / 0.25 * (0.629 - 0.186))


def test_the_ceiling_is_the_highest_limit_even_where_the_default_is_lower() -> None:
    spec = device_spec("gpu", config(), Limits(min_w=200, max_w=700, default_w=500), config().prior())

    assert spec.ceiling == Power(700)
    assert not spec.keeps_limit


def test_throughput_runs_to_zero_below_the_curve_and_is_flat_above_it() -> None:
    curve = ((0.5, 0.8), (1.0, 1.0))

    rates = [throughput(curve, 400, limit_w) for limit_w in (0, 100, 200, 300, 400, 500)]

    assert rates == pytest.approx([0.0, 0.4, 0.8, 0.9, 1.0, 1.0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"uuids": []}, "uuids"),
        ({"uuids": [FIRST, FIRST]}, "declared twice"),
        ({"uuids": ["MIG-11111111-0000-4000-8000-000000000001"]}, "uuids"),
        ({"min_w": 300, "default_w": 250}, "min_w 300"),
        ({"curve": [[0.5, 0.9], [1.0, 0.8]]}, "curve"),
        ({"curve": [[1.0, 0.9], [0.5, 0.8]]}, "curve"),
        ({"derate_c": 90, "trip_c": 85}, "derate_c"),
        ({"memory_derate_c": 90}, "memory_derate_c and memory_trip_c come together"),
        ({"memory_derate_c": 95, "memory_trip_c": 90}, "derate_c 95"),
        ({"poll_s": 5, "stale_after_s": 10}, "stale_after_s"),
        ({"power_cap": 400}, "power_cap"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_by_key(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(**changes)


def test_the_outdated_package_of_the_same_name_is_refused() -> None:
    with pytest.raises(DriverError, match="uninstall the package pynvml"):
        check_binding(types.ModuleType("pynvml"))
