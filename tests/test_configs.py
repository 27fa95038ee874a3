"""The site files that are shipped: the controller accepts each, and the simulated pair fits together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from controller.config import Settings, load
from simulators.config import load_plant

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("name", ["site.example.toml", "simulated/site.toml"])
def test_a_shipped_site_file_is_accepted(name: str) -> None:
    assert load(CONFIGS / name).nodes


def test_the_example_names_every_key_that_a_site_file_may_have() -> None:
    text = (CONFIGS / "site.example.toml").read_text(encoding="utf-8")

    assert set(keys_of(Settings)) - set(re.findall(r"\w+", text)) == set()


def keys_of(table: type[BaseModel]) -> Iterator[str]:
    for key, field in table.model_fields.items():
        yield field.alias or key
        for inner in tables_in(field.annotation):
            yield from keys_of(inner)


def tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from tables_in(part)


def test_the_simulated_site_names_exactly_the_machines_of_its_plant() -> None:
    site, plant = load(CONFIGS / "simulated/site.toml"), load_plant(CONFIGS / "simulated/plant.toml")

    named = {address for group in site.miners for address in group.addresses()}
    assert named == {address for group in plant.miners for address in group.addresses}
    assert [uuid for host in site.gpu_hosts for uuid in host.uuids] == [
        uuid for group in plant.gpus for uuid in group.uuids
    ]
    assert {node.meter for node in site.nodes if node.meter} == {meter.id for meter in plant.meters}
