"""The miners' table in a site file, and the drivers that are built from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from controller.domain.devices import DeviceKind, ThermalLimits
from controller.domain.power import Power
from drivers.asic.asicrs import RS_ADAPTERS
from drivers.asic.build import ADAPTERS, build
from drivers.asic.config import RS_FAMILIES, Family, MinerGroupConfig, expand
from simulators.fromsite import MODELS
from tests.drivers.asic_site import BACKENDS, NATIVE

EXAMPLE = Path(__file__).parents[2] / "configs" / "site.example.toml"


def group(**changes: Any) -> MinerGroupConfig:
    table: dict[str, object] = {
        "id": "hall-a",
        "family": "whatsminer",
        "hosts": ["10.0.0.5"],
        "node": "pdu-1",
        "rated_w": 3300,
        "rated_ths": 120,
    }
    return MinerGroupConfig.model_validate(table | changes)


def test_every_family_of_a_site_file_is_built_faces_the_contract_and_is_explained() -> None:
    """A driver that no test holds against a machine looks finished to whoever writes a site file."""
    families = set(get_args(Family))
    faced = {family.driver for family in NATIVE.values()}
    explained = EXAMPLE.read_text(encoding="utf-8").partition("\nfamily =")[2].partition("backend =")[0]

    assert families - set(ADAPTERS) == set(), "no adapter in drivers/asic/build.py"
    assert families - faced == set(), (
        "no line in FAMILIES of tests/drivers/asic_site.py: no contract test asks it"
    )
    assert families - set(BACKENDS) == set(), "no line in BACKENDS of tests/drivers/asic_site.py"
    assert {name for name in families if name not in explained} == set(), f"not explained in {EXAMPLE}"
    simulated = {family.value for family in MODELS} | {"generic"}
    assert families - simulated == set(), "no model in simulators/fromsite.py"


def test_a_machine_that_is_only_on_or_off_is_shown_the_way() -> None:
    with pytest.raises(ValidationError, match="3300 < 3300 <= 3465: one that is only on or off has `points`"):
        group(min_w=3300)

    points = [
        {"name": "sleep", "power_w": 20, "rate_ths": 0},
        {"name": "normal", "power_w": 3300, "rate_ths": 120},
    ]
    (driver,) = build(group(family="antminer", points=points, sleep_w=20))
    assert [point.name for point in driver.spec.points] == ["sleep", "normal"]


def test_hosts_may_be_addresses_and_ranges_and_keep_their_order() -> None:
    config = group(hosts=["10.0.0.9", "10.0.0.5-7"])

    assert config.addresses() == ("10.0.0.9", "10.0.0.5", "10.0.0.6", "10.0.0.7")
    assert [driver.host for driver in build(config)] == list(config.addresses())
    assert [driver.spec.id for driver in build(config)] == [f"hall-a-{index:03d}" for index in range(4)]


@pytest.mark.parametrize(
    "host", ["10.0.0", "10.0.0.256", "miner-1", "10.0.0.5-4", "10.0.0.5-256", "10.0.0.1-10.0.0.4", "", "::1"]
)
def test_a_host_that_is_no_address_and_no_range_is_named(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        expand(host)


def test_an_address_listed_twice_is_named() -> None:
    with pytest.raises(ValidationError, match=r"10\.0\.0\.6 is listed 2 times"):
        group(hosts=["10.0.0.5-7", "10.0.0.6"])


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"hosts": []}, "0 addresses"),
        ({"wattage": 3000}, "wattage"),
        ({"family": "toaster"}, "family"),
        ({"id": "../hall"}, "id"),
        ({"backend": "cgminer"}, "backend"),
        ({"backend": "pyasic-rs", "family": "luxos"}, "and not luxos"),
        ({"backend": "pyasic-rs", "family": "auradine", "derate_c": 70, "trip_c": 80}, "no chip temperature"),
        ({"rated_w": 0}, "rated_w"),
        ({"rated_ths": float("inf")}, "rated_ths"),
        ({"min_w": 3300}, "min_w"),
        ({"min_w": 20}, "sleep_w"),
        ({"ceiling_w": 3000}, "ceiling_w"),
        ({"derate_c": 80}, "trip_c"),
        ({"board_derate_c": 80}, "board_trip_c"),
        ({"board_derate_c": 80, "board_trip_c": 79}, "board_derate_c 80"),
        ({"warn_c": 70}, "warn_c 70"),
        ({"derate_c": 80, "trip_c": 90, "warn_c": 90}, "warn_c 90"),
        ({"starts_per_hour": 0}, "starts_per_hour"),
        ({"derate_c": 90, "trip_c": 90}, "derate_c"),
        ({"stale_after_s": 9, "poll_s": 5}, "stale_after_s"),
        ({"exchange_s": 6, "timeout_s": 5}, "exchange_s"),
        ({"points": [{"name": "a", "power_w": 2, "rate_ths": 1}] * 2}, "points"),
        ({"points": [{"name": "a", "power_w": 9000, "rate_ths": 1}]}, "ceiling"),
        ({"family": "antminer", "points": [{"name": "eco", "power_w": 900, "rate_ths": 1}]}, "antminer"),
        ({"family": "avalon", "points": [{"name": "normal", "power_w": 900, "rate_ths": 1}]}, "avalon"),
        (
            {
                "points": [
                    {"name": "a", "power_w": 2, "rate_ths": 1},
                    {"name": "sleep", "power_w": 3, "rate_ths": 0},
                ]
            },
            "sleep",
        ),
    ],
)
def test_a_table_that_makes_no_sense_is_rejected_naming_the_key(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(ValidationError, match=names):
        group(**changes)


def test_a_password_is_never_shown() -> None:
    config = group(password="hall-7-secret")

    assert config.password is not None
    assert "hall-7-secret" not in f"{config} {config!r} {config.model_dump()}"


def test_the_ceiling_lies_five_percent_above_the_rating_unless_configured() -> None:
    assert build(group(rated_w=3301))[0].spec.ceiling == Power(3467)
    assert build(group(ceiling_w=3300))[0].spec.ceiling == Power(3300)


@pytest.mark.parametrize("family", [family for family in get_args(Family) if family != "generic"])
def test_every_family_has_points_from_sleep_to_the_rating_before_anyone_asked_a_machine(family: str) -> None:
    spec = build(group(family=family))[0].spec

    assert (spec.floor.name, spec.floor.power, spec.floor.rate) == ("sleep", Power(25), 0.0)
    assert (spec.points[-1].power, spec.points[-1].rate) == (Power(3300), 120)
    assert [point.rate for point in spec.points] == sorted(point.rate for point in spec.points)


def test_a_machine_that_is_only_watched_has_its_ceiling_and_no_other_point() -> None:
    spec = build(group(family="generic"))[0].spec

    assert [(point.name, point.power, point.rate) for point in spec.points] == [("on", spec.ceiling, 120)]


def test_configured_points_replace_the_familys_own() -> None:
    points = [
        {"name": "sleep", "power_w": 15, "rate_ths": 0},
        {"name": "half", "power_w": 1800, "rate_ths": 70},
    ]

    spec = build(group(points=points))[0].spec

    assert [(point.name, point.power.watts, point.rate) for point in spec.points] == [
        ("sleep", 15, 0.0),
        ("half", 1800, 70.0),
    ]


def test_everything_the_controller_must_know_reaches_the_spec() -> None:
    spec = build(
        group(
            zone="aisle-2",
            keeps_limit=True,
            keeps_sleep=True,
            derate_c=75,
            trip_c=90,
            stale_after_s=21,
            boots_s=33,
            dwell_s=22,
            settle_down_s=23,
            settle_up_s=24,
            restart_s=25,
        )
    )[0].spec

    assert (spec.kind, spec.node, spec.zone) == (DeviceKind.ASIC, "pdu-1", "aisle-2")
    assert spec.thermal == ThermalLimits(derate_c=75, trip_c=90)
    assert spec.keeps_limit
    assert spec.keeps_sleep
    assert (spec.stale_after_s, spec.boots_s, spec.dwell_s) == (21, 33, 22)
    assert (spec.settle_down_s, spec.settle_up_s, spec.restart_s) == (23, 24, 25)


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_reading_a_configuration_does_not_load_pyasic() -> None:
    assert run_python("import sys, drivers.asic.config; print('pyasic' in sys.modules)") == "False\n"


def test_loading_pyasic_leaves_the_daemons_logging_and_warnings_alone() -> None:
    code = (
        "import logging, warnings; root = logging.getLogger(); root.setLevel(logging.INFO);"
        "warnings.simplefilter('error'); filters = list(warnings.filters);"
        "import drivers.asic.build;"
        "print(root.level == logging.INFO, root.handlers, filters == warnings.filters)"
    )

    assert run_python(code) == "True [] True\n"


def test_a_backend_that_is_not_installed_is_named_with_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "drivers.asic.asicrs", None)

    with pytest.raises(ValueError, match="'hall-a': backend pyasic-rs"):
        build(group(backend="pyasic-rs"))


def test_the_families_of_the_second_backend_are_those_that_a_site_file_may_name() -> None:
    assert tuple(RS_ADAPTERS) == RS_FAMILIES
