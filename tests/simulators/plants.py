"""Plants for tests: small, quiet (no noise, no wander, no bias) unless a test says otherwise."""

from __future__ import annotations

import os
from typing import Any

from simulators.config import PlantConfig
from simulators.physics.gpu import Gpu
from simulators.physics.miner import Miner
from simulators.plant import Plant

RATED_W = 3000.0
RATED_THS = 120.0
MODELS = {
    "luxos": "Antminer S19k Pro",
    "whatsminer": "M50SVH35",
    "antminer": "Antminer S19 Pro",
    "whatsminer-v3": "M60S_VK40",
    "avalon": "AvalonMiner 1246",
    "vnish": "Antminer S19 Pro",
    "auradine": "AT1500",
    "axeos": "BM1370",
    "marafw": "Antminer S19",
    "braiins": "Antminer S19 Pro",
    "epic": "Antminer S19 Pro",
}
HOME = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
"""Loopback addresses of this process's own: test runs beside each other never meet."""

Table = dict[str, Any]


def miners(family: str = "luxos", *, at: int = 1, **keys: Any) -> Table:
    """A group of one miner of `family`, named after it, at the address number `at`."""
    return {
        "name": family,
        "family": family,
        "model": MODELS[family],
        "first_address": f"{HOME}.{at}",
        "node": "site",
        "rated_w": RATED_W,
        "rated_ths": RATED_THS,
        "bias": 0.0,
    } | keys


def gpus(*uuids: str, **keys: Any) -> Table:
    return {
        "name": "gpu",
        "model": "NVIDIA H100 80GB HBM3",
        "uuids": uuids or ("GPU-0",),
        "node": "site",
        "min_w": 200,
        "max_w": 700,
        "idle_w": 70,
    } | keys


def config(**keys: Any) -> PlantConfig:
    """`keys` of a plant file; the site alone is there by itself."""
    return PlantConfig.model_validate({"nodes": [{"id": "site"}], "modbus_port": 0} | keys)


def plant(*, seed: int = 1, **keys: Any) -> Plant:
    return Plant(config(**keys), seed)


def only_miner(of: Plant) -> Miner:
    (miner,) = of.miners.values()
    return miner


def only_gpu(of: Plant) -> Gpu:
    (gpu,) = of.gpus.values()
    return gpu
