"""What only some worlds have, as tables of their plant and of their site file."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from pathlib import Path
from string import Template
from typing import Any

Table = dict[str, Any]

HERE = Path(__file__).parent
HEAT, PRICES, FEED = "heat", "prices", "price_feed"
ZONES = {"hall-a": 10, "hall-b": 11}
"""The Modbus unit of each. The machines of `pdu-a` stand in the one, those of `pdu-b` in the other."""
DERATE_C, TRIP_C = 80.0, 92.0
"""Of chips; their firmware stops at 95."""
ZONE_DERATE_C, ZONE_TRIP_C = 36.0, 45.0
USUAL_USD_PER_KWH = 0.05
"""What a kWh costs where no price is told; every machine earns more."""
USUAL_USD_PER_THS_DAY = 0.05
PRICE_STALE_S, FEED_STALE_S, LEAST_S = 90.0, 45.0, 30.0
ENERGY_TOPIC, HASH_TOPIC = "market/energy", "pool/hash"
TOPICS = {"exchange": ("energy", ENERGY_TOPIC), "pool": ("hash", HASH_TOPIC)}
"""By the id of each as a source: its price, and where that is published."""


def plant_table(fitted: Collection[str]) -> Table:
    table = tomllib.loads((HERE / "plant.toml").read_text())
    if HEAT in fitted:
        # A small hall, whose air is as warm as its machines make it within minutes; chips near their derate.
        table["zones"] = [{"id": zone, "unit": unit, "settle_s": 60} for zone, unit in ZONES.items()]
        _place(table["miners"] + table["gpus"])
        for group in table["miners"]:
            group["chip_rise_c"] = 50
    return table


def site_table(fitted: Collection[str], directory: Path, nvml_library: Path) -> Table:
    text = Template((HERE / "site.toml").read_text())
    table = tomllib.loads(text.substitute(directory=directory, nvml_library=nvml_library))
    if HEAT in fitted:
        limits = {"derate_c": ZONE_DERATE_C, "trip_c": ZONE_TRIP_C}
        table["zones"] = [{"id": zone} | limits for zone in ZONES]
        table["modbus"][0]["points"] += [_sensor(zone, unit) for zone, unit in ZONES.items()]
        _place(table["miners"] + table["gpu_hosts"])
        for group in table["miners"]:
            group |= {"derate_c": DERATE_C, "trip_c": TRIP_C}
    if {PRICES, FEED} & set(fitted):
        table["prices"] = {
            "energy_usd_per_kwh": USUAL_USD_PER_KWH,
            "hash_usd_per_ths_day": USUAL_USD_PER_THS_DAY,
            "prefer": [source for source, has in (("exchange", FEED), ("market", PRICES)) if has in fitted],
        }
        table["profit"] = {"least_on_s": LEAST_S, "least_off_s": LEAST_S}
    if PRICES in fitted:
        table["price_files"] = [
            {
                "id": "market",
                "price": "energy",
                "path": price_file(directory),
                "unit": "USD/kWh",
                "stale_after_s": PRICE_STALE_S,
                "poll_s": 2,
            }
        ]
    if FEED in fitted:
        table["price_brokers"] = [broker_table()]
    return table


def broker_table() -> Table:
    topics = [
        {"id": source, "price": price, "topic": topic, "stale_after_s": FEED_STALE_S}
        for source, (price, topic) in TOPICS.items()
    ]
    return {"id": "feed", "host": "127.0.0.1", "topics": topics}


def first_sources(fitted: Collection[str]) -> dict[str, str]:
    """Where each price is from while nothing is broken."""
    file = {"energy": "market"} if PRICES in fitted else {}
    feed = {price: source for source, (price, _) in TOPICS.items()} if FEED in fitted else {}
    return file | feed


def price_file(directory: Path) -> Path:
    return directory / "prices.csv"


def _place(groups: list[Table]) -> None:
    for group in groups:
        group["zone"] = "hall-a" if group["node"] == "pdu-a" else "hall-b"


def _sensor(zone: str, unit: int) -> Table:
    proof = {"unit": unit, "address": 11, "type": "uint16", "proven_from": 1}
    register = {"unit": unit, "address": 10, "type": "int16", "scale": 0.1}
    return {"kind": "zone", "zone": zone, "proof": proof} | register
