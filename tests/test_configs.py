"""The site files that are shipped: the controller accepts each, and the simulated pair fits together."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.config import load
from simulators.config import load_plant

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("name", ["site.example.toml", "simulated/site.toml"])
def test_a_shipped_site_file_is_accepted(name: str) -> None:
    assert load(CONFIGS / name).nodes


def test_the_simulated_site_names_exactly_the_machines_of_its_plant() -> None:
    site, plant = load(CONFIGS / "simulated/site.toml"), load_plant(CONFIGS / "simulated/plant.toml")

    named = {address for group in site.miners for address in group.addresses()}
    assert named == {address for group in plant.miners for address in group.addresses}
    assert [uuid for host in site.gpu_hosts for uuid in host.uuids] == [
        uuid for group in plant.gpus for uuid in group.uuids
    ]
    assert {node.meter for node in site.nodes if node.meter} == {meter.id for meter in plant.meters}
