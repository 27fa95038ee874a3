"""The part of a controller's site file that a simulated site is made from. What it does not need, it ignores.

The controller reads the same file with its own eyes: this is a second reading, on purpose.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulators.config import PlantFileError
from simulators.tables import Port

POWER_WORDS = {"W": 1.0, "kW": 1e3, "MW": 1e6}
_HOSTS = re.compile(r"(\d+\.\d+\.\d+\.\d+)(?:-(\d+))?")


class Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SiteBreaker(Part):
    amps: float
    volts: float
    phases: Literal[1, 2, 3]
    power_factor: float = 1.0

    @property
    def watts(self) -> float:
        """Of two lines of a feed: what they may carry while the two other pairs carry as much."""
        share = {1: 1.0, 2: 1 / math.sqrt(3), 3: math.sqrt(3)}[self.phases]
        return self.amps * self.volts * self.power_factor * share


class SiteNode(Part):
    id: str
    parent: str | None = None
    breaker: SiteBreaker | None = None
    fixed_kw: float = 0.0
    meter: str | None = None


class SiteZone(Part):
    id: str


class SiteRegister(Part):
    unit: int = 1
    function: Literal["holding", "input"] = "holding"
    address: int = 0
    type: Literal["int16", "uint16", "int32", "uint32", "float32"] = "float32"
    word_order: Literal["big", "little"] = "big"
    scale: float = 1.0
    sign: Literal[1, -1] = 1
    proven_from: float = 1.0


class SiteModbusPoint(SiteRegister):
    kind: Literal["power", "zone"]
    meter: str | None = None
    zone: str | None = None
    preset: str | None = None
    proof: SiteRegister | None = None
    coolant: SiteRegister | None = None


class SiteModbus(Part):
    id: str
    port: Port = 502
    points: tuple[SiteModbusPoint, ...]


class SitePayload(Part):
    value: str = "value"
    timestamp: str | None = None
    timestamp_in: Literal["ms", "s", "iso"] = "ms"
    quality: str | None = None
    good: int | str = 1
    unit: str | None = None


BMS = SitePayload(timestamp="timestamp", quality="quality")


class SiteTopic(Part):
    topic: str
    payload: SitePayload = BMS
    proven_from: float = 1.0


class SiteMqttPoint(SiteTopic):
    kind: Literal["power", "zone"] = "power"
    meter: str | None = None
    zone: str | None = None
    unit: str | None = None
    sign: Literal[1, -1] = 1
    proof: SiteTopic | None = None


class SiteMqtt(Part):
    id: str
    heartbeat_topic: str | None = None
    points: tuple[SiteMqttPoint, ...]


class SitePoint(Part):
    name: str
    power_w: float
    rate_ths: float


class SiteMiners(Part):
    id: str
    family: str
    hosts: tuple[str, ...]
    node: str
    zone: str | None = None
    rated_w: float
    rated_ths: float
    points: tuple[SitePoint, ...] = ()
    min_w: float | None = None
    sleep_w: float = 25
    password: str | None = None

    @property
    def count(self) -> int:
        return sum(1 for _ in self.addresses())

    def addresses(self) -> Iterator[IPv4Address]:
        for host in self.hosts:
            match = _HOSTS.fullmatch(host)
            if match is None:
                raise PlantFileError(f"miners {self.id}: host {host!r} is no address and no range")
            first = IPv4Address(match[1])
            last = int(match[2]) if match[2] else int(first) & 0xFF
            yield from (first + step for step in range(last - (int(first) & 0xFF) + 1))


class SiteGpus(Part):
    id: str
    node: str
    zone: str | None = None
    uuids: tuple[str, ...]
    min_w: float
    max_w: float
    default_w: float
    curve: tuple[tuple[float, float], ...] | None = None


class SitePdu(Part):
    id: str
    port: Port = 161
    model: Literal["apc-rpdu2", "raritan-px"]
    version: Literal["2c", "3"] = "3"
    username: str | None = None


class SiteOutlet(Part):
    device: str
    pdu: str
    outlet: int


class SiteFile(Part):
    name: str
    nodes: Annotated[tuple[SiteNode, ...], Field(min_length=1)]
    zones: tuple[SiteZone, ...] = ()
    modbus: tuple[SiteModbus, ...] = ()
    mqtt_meters: tuple[SiteMqtt, ...] = ()
    miners: tuple[SiteMiners, ...] = ()
    gpu_hosts: tuple[SiteGpus, ...] = ()
    pdus: tuple[SitePdu, ...] = ()
    outlets: tuple[SiteOutlet, ...] = ()
    grid: dict[str, Any] | None = None
    operators: tuple[dict[str, Any], ...] = ()
    price_brokers: tuple[dict[str, Any], ...] = ()

    @property
    def wants_broker(self) -> bool:
        return self.grid is not None or bool(self.mqtt_meters or self.operators or self.price_brokers)


def machines(site: SiteFile) -> dict[str, str]:
    """The names of miners by their addresses, either of which an outlet may have."""
    return {
        str(address): f"{group.id}-{index:03d}"
        for group in site.miners
        for index, address in enumerate(group.addresses())
    }


def sensed(site: SiteFile) -> Iterator[str]:
    """The meters of Modbus and MQTT, in order. Those of PDUs and outlets are the PDU's own."""
    for endpoint in site.modbus:
        yield from (point.meter for point in endpoint.points if point.meter is not None)
    for broker in site.mqtt_meters:
        yield from (point.meter for point in broker.points if point.meter is not None)


class PlantNames:
    """The plant's names of a site file's meters, zones and PDUs. Nodes and machines keep theirs."""

    def __init__(self, site: SiteFile) -> None:
        taken = {node.id for node in site.nodes}
        taken |= {f"{group.id}-{at:03d}" for group in site.miners for at in range(group.count)}
        taken |= {f"{host.id}-gpu{at}" for host in site.gpu_hosts for at in range(len(host.uuids))}
        self._names: dict[tuple[str, str], str] = {}
        for kind, ids in (
            ("meter", sensed(site)),
            ("zone", (zone.id for zone in site.zones)),
            ("pdu", (pdu.id for pdu in site.pdus)),
        ):
            for id_ in ids:
                name = f"{id_}-{kind}" if id_ in taken else id_
                self._names[kind, id_] = name
                taken.add(name)

    def meter(self, id_: str | None) -> str:
        return self._find("meter", id_)

    def zone(self, id_: str | None) -> str:
        return self._find("zone", id_)

    def pdu(self, id_: str) -> str:
        return self._find("pdu", id_)

    def _find(self, kind: str, id_: str | None) -> str:
        try:
            return self._names[kind, str(id_)]
        except KeyError:
            raise PlantFileError(f"{kind} {id_!r} is not declared") from None


def load_site(path: Path) -> tuple[SiteFile, dict[str, Any]]:
    """The file as it is understood here, and all that is in it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return SiteFile.model_validate(table), table
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlantFileError(f"{path}: {error}") from error
    except ValidationError as error:
        told = (f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise PlantFileError("\n".join(told)) from error
