"""A container of miners of several firmwares and a row of GPU servers: its plant, and its site file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.config import PlantConfig

Table = dict[str, Any]

MODBUS_PORT = 15_020
HEADROOM = 1.08
"""Of a PDU's limit over what its machines are rated for."""
SERVER_GPUS, SERVER_W = 8, 2000
OTHER_W = 20_000
TOPIC = "site/basepoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Equal machines. `wake_s` is how long the real ones take from asleep to full watts; `site` is what their
    table of the site file says beyond what every such table must."""

    family: str
    model: str
    pdu: str
    count: int
    rated_w: int
    rated_ths: int
    wake_s: float
    site: Mapping[str, Any]


ANTMINER_POINTS: Sequence[Table] = (
    {"name": "sleep", "power_w": 25, "rate_ths": 0},
    {"name": "low", "power_w": 2110, "rate_ths": 105},
    {"name": "normal", "power_w": 3010, "rate_ths": 140},
)


CONTAINER = (
    Kind(family="luxos", model="Antminer S21", pdu="pdu-a", count=130, rated_w=3500, rated_ths=200,
         wake_s=20, site={}),
    Kind(family="whatsminer", model="M50SVH35", pdu="pdu-b", count=90, rated_w=3400, rated_ths=130,
         wake_s=30, site={}),
    Kind(family="whatsminer-v3", model="M60S_VK40", pdu="pdu-b", count=40, rated_w=3440, rated_ths=186,
         wake_s=30, site={}),
    Kind(family="antminer", model="Antminer S19 XP", pdu="pdu-c", count=67, rated_w=3010, rated_ths=140,
         wake_s=60, site={"points": ANTMINER_POINTS}),
    Kind(family="vnish", model="Antminer S19 Pro", pdu="pdu-c", count=30, rated_w=3250, rated_ths=110,
         wake_s=45, site={}),
)  # fmt: skip
"""357 machines, 1.2 MW."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """`kinds` of machines and so many GPU servers. `slower` stretches every wake."""

    kinds: Sequence[Kind] = CONTAINER
    servers: int = 8
    slower: float = 1.0

    @property
    def miners_w(self) -> int:
        return sum(kind.count * kind.rated_w for kind in self.kinds)

    @property
    def gpus(self) -> int:
        return self.servers * SERVER_GPUS

    @property
    def limit_w(self) -> int:
        """What the connection is rated for."""
        return round(HEADROOM * (self.miners_w + self.servers * (SERVER_W + SERVER_GPUS * 700) + OTHER_W))

    def limits_w(self) -> dict[str, int]:
        """Of every node."""
        limits = {"site": self.limit_w, "gpu-row": self.servers * 8000 + 1000}
        for kind in self.kinds:
            limits[kind.pdu] = limits.get(kind.pdu, 0) + round(HEADROOM * kind.count * kind.rated_w)
        return limits

    def plant(self) -> PlantConfig:
        nodes = [{"id": "site", "load_w": 0.95 * OTHER_W}]
        for node, limit_w in self.limits_w().items():
            if node != "site":
                load_w = 0.95 * SERVER_W * self.servers if node == "gpu-row" else 0
                nodes.append({"id": node, "parent": "site", "load_w": load_w, "breaker_w": 1.25 * limit_w})
        return PlantConfig.model_validate(
            {
                "name": "container",
                "modbus_port": MODBUS_PORT,
                "ports": {port: port for port in (80, 4028)},
                "nodes": nodes,
                "meters": [{"id": "main", "node": "site", "unit": 1, "delay_s": 1.0}],
                "miners": [self._miners(at, kind) for at, kind in enumerate(self.kinds)],
                "gpus": [self._server(at) for at in range(self.servers)],
            }
        )

    def _miners(self, at: int, kind: Kind) -> Table:
        points = [
            {"name": point["name"], "power_w": point["power_w"], "ths": point["rate_ths"]}
            for point in kind.site.get("points", ())
            if point["rate_ths"]
        ]
        return {
            "name": kind.family,
            "family": kind.family,
            "model": kind.model,
            "count": kind.count,
            "first_address": f"127.80.{at}.1",
            "node": kind.pdu,
            "rated_w": kind.rated_w,
            "rated_ths": kind.rated_ths,
            "wake_s": kind.wake_s * self.slower,
            "points": points,
        }

    def _server(self, at: int) -> Table:
        return {
            "name": f"server-{at}",
            "numbered": "gpu",
            "model": "NVIDIA H100 80GB HBM3",
            "uuids": _uuids(at),
            "node": "gpu-row",
            "min_w": 200,
            "max_w": 700,
            "idle_w": 70,
        }

    def site(self, directory: Path, nvml_library: Path) -> Table:
        """The site file, as a table."""
        nodes: list[Table] = []
        for node, limit_w in self.limits_w().items():
            fixed_w = {"site": OTHER_W, "gpu-row": SERVER_W * self.servers}.get(node, 0)
            nodes.append({"id": node, "limit_kw": limit_w / 1000, "fixed_kw": fixed_w / 1000})
            nodes[-1] |= {"meter": "main"} if node == "site" else {"parent": "site"}
        return {
            "name": "container",
            "nodes": nodes,
            "journal": {"path": str(directory / "journal.db")},
            "operators": [
                {
                    "id": "regulation",
                    "dialect": "base-point",
                    "rights": ["limit", "target", "read"],
                    "host": "127.0.0.1",
                    "ven": "container",
                    "client_id": "container-regulation",
                    "topic_in": TOPIC,
                    "valid_s": 30,
                }
            ],
            "modbus": [
                {
                    "id": "meters",
                    "host": "127.0.0.1",
                    "port": MODBUS_PORT,
                    "points": [
                        {"kind": "power", "meter": "main", "unit": 1, "address": 0, "type": "float32",
                         "max_w": 4 * self.limit_w},
                    ],
                }
            ],
            "miners": [
                {
                    "id": kind.family,
                    "family": kind.family,
                    "hosts": [f"127.80.{at}.1-{kind.count}"],
                    "node": kind.pdu,
                    "rated_w": kind.rated_w,
                    "rated_ths": kind.rated_ths,
                }
                | dict(kind.site)
                for at, kind in enumerate(self.kinds)
            ],
            "gpu_hosts": [
                {
                    "id": f"server-{at}",
                    "node": "gpu-row",
                    "library": str(nvml_library),
                    "min_w": 200,
                    "default_w": 700,
                    "max_w": 700,
                    "uuids": _uuids(at),
                }
                for at in range(self.servers)
            ],
        }  # fmt: skip


def _uuids(server: int) -> list[str]:
    return [f"GPU-00000000-0000-4000-8000-{server:06d}{gpu:06d}" for gpu in range(SERVER_GPUS)]
