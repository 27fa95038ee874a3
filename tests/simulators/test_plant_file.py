"""The plant file: read whole, checked whole, and errors that name the key and the value."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.config import PlantFileError, load_plant
from simulators.plant import Plant

GOOD = """
seed = 7
ports = { 80 = 18080 }

[[nodes]]
id = "site"
load_w = 20_000

[[nodes]]
id = "hall"
parent = "site"
breaker_w = 400_000

[[zones]]
id = "aisle"
unit = 20

[[meters]]
id = "main"
node = "site"
unit = 1

[[miners]]
name = "lux"
family = "luxos"
model = "Antminer S19k Pro"
count = 3
first_address = "127.41.0.254"
node = "hall"
zone = "aisle"
rated_w = 2760
rated_ths = 120
faults = [{ index = 2, fault = "slow_s", value = 0.5 }]

[[gpus]]
name = "gpu"
model = "NVIDIA H100 80GB HBM3"
uuids = ["GPU-a", "GPU-b"]
node = "site"
min_w = 200
max_w = 700
idle_w = 70
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "plant.toml"
    path.write_text(text)
    return path


def test_a_plant_file_becomes_a_plant(tmp_path: Path) -> None:
    config = load_plant(written(tmp_path, GOOD))

    site = Plant(config)

    assert list(site.miners) == ["lux-000", "lux-001", "lux-002"]
    assert [miner.address for miner in site.miners.values()] == ["127.41.0.254", "127.41.0.255", "127.41.1.0"]
    assert site.miners["lux-002"].faults.slow_s == 0.5
    assert [gpu.uuid for gpu in site.gpus.values()] == ["GPU-a", "GPU-b"]
    assert (config.root, config.ports, site.seed) == ("site", {80: 18080}, 7)


@pytest.mark.parametrize(
    ("wrong", "instead_of", "told"),
    [
        ('rated_kw = 2.76\nnode = "hall"', 'node = "hall"', r"miners\.0\.rated_kw = 2\.76: Extra inputs"),
        ("rated_w = -5", "rated_w = 2760", r"miners\.0\.rated_w = -5"),
        ('family = "bosminer"', 'family = "luxos"', r"miners\.0\.family = 'bosminer'"),
        ('node = "barn"', 'node = "hall"', r"lux: node 'barn' does not exist"),
        ('zone = "attic"', 'zone = "aisle"', r"lux: zone 'attic' does not exist"),
        ('parent = "barn"', 'parent = "site"', r"hall: parent 'barn' is not declared before it"),
        ("unit = 1\n", "unit = 20\n", r"unit '1' is used twice"),
        ('first_address = "10.0.0.1"', 'first_address = "127.41.0.254"', r"first_address 10\.0\.0\.1"),
        ("index = 3", "index = 2", r"index 3: the group has only 3"),
        ('fault = "sulks"', 'fault = "slow_s"', r"fault 'sulks' is unknown"),
        ("min_w = 800", "min_w = 200", r"idle_w <= min_w <= default_w <= max_w does not hold"),
        ('uuids = ["GPU-a", "GPU-a"]', 'uuids = ["GPU-a", "GPU-b"]', r"uuid 'GPU-a' is used twice"),
        ('id = "site"\nid = "again"', 'id = "site"', r"plant\.toml: Cannot overwrite a value"),
    ],
)
def test_a_wrong_file_is_refused_with_its_key_and_value(
    tmp_path: Path, wrong: str, instead_of: str, told: str
) -> None:
    assert instead_of in GOOD

    with pytest.raises(PlantFileError, match=told):
        load_plant(written(tmp_path, GOOD.replace(instead_of, wrong)))


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(PlantFileError, match=r"nowhere\.toml"):
        load_plant(tmp_path / "nowhere.toml")
