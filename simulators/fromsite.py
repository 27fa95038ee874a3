"""A simulated site from a controller's site file: the plant that it describes, and the file that leads there.

Units, registers, topics and outlets stay as they are; addresses become loopback ones, ports that need
privilege get stand-ins, and what leads away from this machine (TLS, passwords, paths) is taken out. Faults
are set by name: a meter, zone or PDU with the name of a node or machine is called `row-meter` in the plant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from simulators.config import PlantConfig, PlantFileError
from simulators.groups import AVALON_LEVELS, Family
from simulators.readysite import SNMP_PASSWORD, Broker, Json, ReadySite
from simulators.signals import MeterMap
from simulators.sitefile import (
    POWER_WORDS,
    PlantNames,
    SiteFile,
    SiteGpus,
    SiteMiners,
    SiteModbusPoint,
    SiteMqttPoint,
    SitePdu,
    SiteRegister,
    SiteTopic,
    machines,
    sensed,
)
from simulators.tables import LOOPBACK

PRIVILEGED = 1024
STAND_IN = 18_000
"""Added to ports below `PRIVILEGED`."""
MINER_PORTS = (80, 443)
OTHER_LOAD = 0.95
"""The load beside the devices really is a little less than a site file allows for."""
MODELS = {
    Family.LUXOS: "Antminer S21",
    Family.WHATSMINER: "M50SVH35",
    Family.ANTMINER: "Antminer S19 Pro",
    Family.WHATSMINER_V3: "M60S_VK40",
    Family.AVALON: "AvalonMiner 1246",
    Family.VNISH: "Antminer S19 Pro",
    Family.AURADINE: "AT1500",
    Family.MARAFW: "Antminer S19",
    Family.BRAIINS: "Antminer S19 Pro",
    Family.EPIC: "Antminer S19 Pro",
}
"""A site file does not say: each family gets a model that its firmware runs on."""
GENERIC = Family.MARAFW
GPU_MODELS = {
    70: ("Tesla T4", 34, False),
    250: ("Tesla V100-SXM2-32GB", 40, False),
    350: ("NVIDIA L40S", 66, True),
    400: ("NVIDIA A100-SXM4-40GB", 50, False),
    700: ("NVIDIA H100 80GB HBM3", 70, True),
    1000: ("NVIDIA B200", 200, True),
}
"""By the highest limit: name, idle watts, and whether the board tells its margin to slowdown."""
PRESETS = {
    "sunspec": MeterMap.SUNSPEC_INTEGER,
    "schneider-pm5000": MeterMap.SCHNEIDER,
    "schneider-iem3000": MeterMap.SCHNEIDER,
    "eastron-sdm630": MeterMap.EASTRON,
    "carlo-gavazzi-em24": MeterMap.GAVAZZI,
    "carlo-gavazzi-em340": MeterMap.GAVAZZI,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """The plant, and the site file of the controller that is to run it."""

    plant: PlantConfig
    site: Json


def simulated(
    site: SiteFile,
    table: Json,
    *,
    first_address: IPv4Address,
    directory: Path,
    broker: Broker | None,
    library: Path | None,
) -> Simulated:
    """Make both. `table` is the whole site file; `directory` is where the controller's files go."""
    addresses = _Addresses(first_address)
    names = PlantNames(site)
    plant: Json = {
        "name": site.name,
        "modbus_port": 0,
        "ports": {port: port + STAND_IN for port in MINER_PORTS},
        "nodes": list(_nodes(site)),
        "zones": [{"id": names.zone(zone.id)} for zone in site.zones],
        "meters": list(_meters(site, names)),
        "miners": [_miners(group, names, addresses.block(group.count)) for group in site.miners],
        "gpus": [_gpus(host, names) for host in site.gpu_hosts],
    }
    plant["modbus"] = [
        {
            "id": endpoint.id,
            "host": str(addresses.block(1)),
            "port": _port(endpoint.port),
            "registers": [cell for point in endpoint.points for cell in _registers(point, names)],
        }
        for endpoint in site.modbus
    ]
    miners = machines(site)
    plant["pdus"] = [_pdu(site, pdu, names, addresses.block(1), miners) for pdu in site.pdus]
    if broker is not None:
        plant["mqtt"] = {
            "host": broker.host,
            "port": broker.port,
            "heartbeat_topics": list(_heartbeats(site)),
        }
        plant["topics"] = [
            topic for meters in site.mqtt_meters for point in meters.points for topic in _topics(point, names)
        ]
    config = PlantConfig.model_validate(plant)
    ready = ReadySite(table, config, directory=directory, broker=broker, library=library, miners=miners)
    return Simulated(plant=config, site=ready.site())


class _Addresses:
    """Loopback addresses, each block on a network of its own as far as that goes."""

    def __init__(self, first: IPv4Address) -> None:
        self._next = int(first)

    def block(self, count: int) -> IPv4Address:
        first = self._next
        self._next = (first + count - 1 | 0xFF) + 2  # .1 of the next /24
        if self._next > int(LOOPBACK.broadcast_address) or IPv4Address(first) not in LOOPBACK:
            raise PlantFileError(f"{count} addresses from {IPv4Address(first)} are not all in {LOOPBACK}")
        return IPv4Address(first)


def _port(port: int) -> int:
    return port + STAND_IN if port < PRIVILEGED else port


# -- the plant ------------------------------------------------------------------------------------------


def _nodes(site: SiteFile) -> Iterator[Json]:
    for node in site.nodes:
        yield {
            "id": node.id,
            "parent": node.parent,
            "load_w": OTHER_LOAD * node.fixed_kw * 1000,
            "breaker_w": None if node.breaker is None else node.breaker.watts,
        }
    for meter in _unplaced(site):
        yield {"id": f"behind-{meter}", "parent": site.nodes[0].id}


def _meters(site: SiteFile, names: PlantNames) -> Iterator[Json]:
    """Each on the node that names it; one that no node names measures a place where nothing is."""
    measured = set(sensed(site))
    for node in site.nodes:
        if node.meter in measured:
            yield {"id": names.meter(node.meter), "node": node.id}
    for meter in _unplaced(site):
        yield {"id": names.meter(meter), "node": f"behind-{meter}"}


def _unplaced(site: SiteFile) -> list[str]:
    placed = {node.meter for node in site.nodes}
    return [meter for meter in sensed(site) if meter not in placed]


def _registers(point: SiteModbusPoint, names: PlantNames) -> Iterator[Json]:
    if point.kind == "power":
        yield _cell(point) | {
            "meter": names.meter(point.meter),
            "map": None if point.preset is None else _map(point.preset),
        }
        return
    yield _cell(point) | {"inlet_of": names.zone(point.zone)}
    if point.proof is not None:
        proven = max(1.0, point.proof.proven_from)
        yield _cell(point.proof) | {"proof_of": names.zone(point.zone), "proven": proven}
    if point.coolant is not None:
        yield _cell(point.coolant) | {"coolant_of": names.zone(point.zone)}


def _cell(register: SiteRegister) -> Json:
    keys = {"unit", "function", "address", "type", "word_order", "scale", "sign"}
    return register.model_dump(include=keys)


def _map(preset: str) -> MeterMap:
    if preset not in PRESETS:
        raise PlantFileError(f"modbus: preset {preset!r}: no such meter is simulated")
    return PRESETS[preset]


def _topics(point: SiteMqttPoint, names: PlantNames) -> Iterator[Json]:
    if point.kind == "power":
        unit = "W" if point.unit is None else point.unit
        yield _topic(point) | {
            "meter": names.meter(point.meter),
            "scale": POWER_WORDS[unit],
            "unit_is": unit,
            "sign": point.sign,
        }
        return
    fahrenheit = {"scale": 1 / 1.8, "offset": 32.0} if point.unit == "F" else {}
    yield _topic(point) | fahrenheit | {"inlet_of": names.zone(point.zone)}
    if point.proof is not None:
        proven = max(1.0, point.proof.proven_from)
        yield _topic(point.proof) | {"proof_of": names.zone(point.zone), "proven": proven}


def _topic(point: SiteTopic) -> Json:
    return {"topic": point.topic} | point.payload.model_dump()


def _heartbeats(site: SiteFile) -> Iterator[str]:
    yield from (meters.heartbeat_topic for meters in site.mqtt_meters if meters.heartbeat_topic is not None)


def _miners(group: SiteMiners, names: PlantNames, first: IPv4Address) -> Json:
    try:
        family = GENERIC if group.family == "generic" else Family(group.family)
    except ValueError:
        raise PlantFileError(f"miners {group.id}: family {group.family!r} is not simulated") from None
    points = [
        {"name": point.name, "power_w": point.power_w, "ths": point.rate_ths}
        for point in group.points
        if point.name != "sleep" and point.rate_ths > 0
    ]
    if family is Family.AVALON and {point["name"] for point in points} != set(AVALON_LEVELS):
        points = []
    if family is Family.ANTMINER and {point["name"] for point in points} != {"low", "normal"}:
        points = []
    return {
        "name": group.id,
        "family": family,
        "model": MODELS[family],
        "count": group.count,
        "first_address": str(first),
        "node": group.node,
        "zone": None if group.zone is None else names.zone(group.zone),
        "rated_w": max([group.rated_w, *(point.power_w for point in group.points)]),
        "rated_ths": group.rated_ths,
        "standby_w": group.sleep_w,
        "points": points,
        "min_w": group.min_w,
        "password": group.password,
    }


def _gpus(host: SiteGpus, names: PlantNames) -> Json:
    model, idle_w, tells_margin = GPU_MODELS.get(round(host.max_w), ("NVIDIA GPU", 0.1 * host.max_w, True))
    truth = {} if host.curve is None else {"performance": [(0.0, 0.0), *host.curve]}
    return truth | {
        "name": host.id,
        "numbered": "gpu",
        "model": model,
        "uuids": host.uuids,
        "node": host.node,
        "zone": None if host.zone is None else names.zone(host.zone),
        "min_w": host.min_w,
        "max_w": host.max_w,
        "default_w": host.default_w,
        "idle_w": min(idle_w, host.min_w),
        "tells_margin": tells_margin,
    }


def _pdu(
    site: SiteFile, pdu: SitePdu, names: PlantNames, host: IPv4Address, miners: Mapping[str, str]
) -> Json:
    fed = {outlet.outlet: outlet.device for outlet in site.outlets if outlet.pdu == pdu.id}
    return {
        "id": names.pdu(pdu.id),
        "model": pdu.model,
        "host": str(host),
        "port": _port(pdu.port),
        "user": pdu.username or "site",
        "password": SNMP_PASSWORD,
        "outlets": {outlet: miners.get(device, device) for outlet, device in fed.items()},
    }
