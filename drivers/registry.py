"""Every device family the controller can drive: the tables of a site file, and what is built from them.

A new family adds a table here, and to `conflicts.py` what of it may be there only once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from pydantic import BaseModel, ConfigDict, Field

from controller.domain.prices import PriceKey, Rung
from drivers import gpu, localqueue, mqttmeter
from drivers import modbus as modbus_tcp
from drivers.asic import config as asic
from drivers.base import Driver, JobQueue, PriceSource, Sensor
from drivers.gpu_learning import Learner
from drivers.modbus_points import Metered
from drivers.mqttpayload import MqttMetersConfig, MqttPoint, MqttZonePoint
from drivers.mqttprice import MqttPrices
from drivers.outlet import OutletDriver
from drivers.pdumodels import OutletConfig, PduConfig
from drivers.pricefile import PriceFile
from drivers.pricetables import PriceBrokerConfig, PriceFileConfig, PriceSourceTable
from drivers.switching import Cuts

if TYPE_CHECKING:
    from drivers.snmp import SnmpPdu


log = structlog.get_logger()
PRICE_DEADLINE_S = 10.0


class DeviceTables(BaseModel):
    """The part of a site file that names machines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    miners: tuple[asic.MinerGroupConfig, ...] = ()
    families: dict[asic.Family, asic.Login] = {}
    gpu_hosts: tuple[gpu.GpuHostConfig, ...] = ()
    modbus: tuple[modbus_tcp.ModbusConfig, ...] = ()
    mqtt_meters: tuple[MqttMetersConfig, ...] = ()
    pdus: tuple[PduConfig, ...] = ()
    outlets: tuple[OutletConfig, ...] = ()
    price_files: tuple[PriceFileConfig, ...] = ()
    price_brokers: tuple[PriceBrokerConfig, ...] = ()
    # One local queue owns all GPUs of the site; two would each believe so.
    queues: tuple[localqueue.LocalQueueConfig, ...] = Field(default=(), max_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """How often something is read, and how long one read may take, in seconds."""

    every_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything on the floor, ready to be driven."""

    drivers: tuple[tuple[Driver, Polled], ...]
    sensors: tuple[tuple[Sensor, Polled], ...]
    queues: tuple[JobQueue, ...]
    prices: tuple[tuple[PriceSource, Polled], ...] = ()


def build(tables: DeviceTables, cuts: Cuts | None = None) -> Fleet:
    """`cuts` is which outlets were switched off from here; without it only this process knows."""
    gpus = {
        f"{host.id}-gpu{index}": uuid for host in tables.gpu_hosts for index, uuid in enumerate(host.uuids)
    }
    pdus = _pdus(tables)
    learner = _learner(tables.queues)
    drivers = tuple(_plugged(tables, pdus, learner, cuts))
    boards = {driver.spec.id: driver for driver, _ in drivers if isinstance(driver, gpu.GpuDriver)}
    return Fleet(
        drivers=drivers,
        sensors=(*_sensors(tables), *pdus.values()),
        queues=tuple(
            localqueue.build(
                config,
                gpus,
                learner=learner,
                takes_jobs=lambda device: boards[device].takes_jobs,
                job_left=lambda device: boards[device].job_left(),
            )
            for config in tables.queues
        ),
        prices=tuple(_prices(tables)),
    )


def _learner(queues: Iterable[localqueue.LocalQueueConfig]) -> Learner | None:
    """What the jobs of the site's queue have shown so far; a file that cannot be used is begun anew."""
    for queue in queues:
        learner = Learner()
        try:
            learner.load(queue.curves_file.read_text("utf-8"))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("curves_not_loaded", file=str(queue.curves_file), why=str(error))
        return learner
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where the devices of the table `key`, whose id is `name`, stand, and when they are taken for silent."""

    key: str
    name: str
    node: str
    zone: str | None
    stale_after_s: float


def placed(tables: DeviceTables) -> Iterator[Placed]:
    for at, group in enumerate(tables.miners):
        yield _placed(f"miners.{at}", group)
    for at, host in enumerate(tables.gpu_hosts):
        yield _placed(f"gpu_hosts.{at}", host)


def _placed(key: str, table: asic.MinerGroupConfig | gpu.GpuHostConfig) -> Placed:
    return Placed(key=key, name=table.id, node=table.node, zone=table.zone, stale_after_s=table.stale_after_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensed:
    """What the sensor table `key` tells of, and how often; `coolants` are the zones whose liquid it tells,
    `most_w` the power of each meter beyond which it is believed no more, `export_w` by how much it may show
    less than nothing."""

    key: str
    meters: frozenset[str]
    zones: frozenset[str]
    poll_s: float
    coolants: frozenset[str] = frozenset()
    most_w: Mapping[str, float] = field(default_factory=dict)
    export_w: Mapping[str, float] = field(default_factory=dict)


def sensed(tables: DeviceTables) -> Iterator[Sensed]:
    for at, config in enumerate(tables.modbus):
        zones = [point for point in config.points if isinstance(point, modbus_tcp.ZonePoint)]
        yield Sensed(
            key=f"modbus.{at}",
            meters=frozenset(p.meter for p in config.points if p.meter is not None),
            zones=frozenset(point.zone for point in zones),
            poll_s=config.poll_s,
            coolants=frozenset(point.zone for point in zones if point.coolant is not None),
            most_w={point.meter: point.max_w for point in config.points if isinstance(point, Metered)},
            export_w={p.meter: p.max_export_w for p in config.points if isinstance(p, Metered)},
        )
    for at, broker in enumerate(tables.mqtt_meters):
        yield Sensed(
            key=f"mqtt_meters.{at}",
            meters=frozenset(point.meter for point in broker.points if isinstance(point, MqttPoint)),
            zones=frozenset(point.zone for point in broker.points if isinstance(point, MqttZonePoint)),
            poll_s=broker.poll_s,
            most_w={point.meter: point.max_w for point in broker.points if isinstance(point, MqttPoint)},
            export_w={p.meter: p.max_export_w for p in broker.points if isinstance(p, MqttPoint)},
        )
    for at, pdu in enumerate(tables.pdus):
        yield Sensed(
            key=f"pdus.{at}",
            meters=frozenset(pdu_meters(tables, pdu)),
            zones=frozenset(),
            poll_s=pdu.poll_s,
            most_w={pdu.meter: pdu.max_w} if pdu.meter is not None and pdu.max_w is not None else {},
        )


def hosts(tables: DeviceTables) -> Iterator[tuple[str, str]]:
    """Where everything answers that is no miner, by the key of its table."""
    for name in ("modbus", "mqtt_meters", "price_brokers", "pdus"):
        yield from ((f"{name}.{at}", table.host) for at, table in enumerate(getattr(tables, name)))


def rungs(tables: DeviceTables, prefer: tuple[str, ...]) -> dict[PriceKey, tuple[Rung, ...]]:
    """The sources of each price, the preferred ones first."""
    found: dict[PriceKey, list[Rung]] = {}
    sources = {source.id: source for source in price_sources(tables)}
    for name in dict.fromkeys((*prefer, *sources)):
        found.setdefault(sources[name].key, []).append(sources[name].rung)
    return {key: tuple(of_key) for key, of_key in found.items()}


def price_sources(tables: DeviceTables) -> Iterator[PriceSourceTable]:
    for broker in tables.price_brokers:
        yield from broker.topics
    yield from tables.price_files


def pdu_meters(tables: DeviceTables, pdu: PduConfig) -> Iterator[str]:
    yield from (outlet.meter for outlet in tables.outlets if outlet.pdu == pdu.id and outlet.meter)
    if pdu.meter is not None:
        yield pdu.meter


def plugs(tables: DeviceTables) -> tuple[OutletConfig, ...]:
    """The outlets by the names of their machines. A file may have an address there: names count on by the
    order of `hosts`, so one that leaves its group renames those behind it."""
    names = {
        address: name
        for group in tables.miners
        for address, name in zip(group.addresses(), group.device_names(), strict=True)
    }
    return tuple(
        outlet.model_copy(update={"device": names.get(outlet.device, outlet.device)})
        for outlet in tables.outlets
    )


def _pdus(tables: DeviceTables) -> dict[str, tuple[SnmpPdu, Polled]]:
    if not tables.pdus:
        return {}
    from drivers.snmp import SnmpPdu  # a site without PDUs need not pay for it
    from drivers.snmplink import SnmpLink

    links = {pdu.login: SnmpLink(pdu) for pdu in tables.pdus}
    return {
        pdu.id: (
            SnmpPdu(pdu, [outlet for outlet in tables.outlets if outlet.pdu == pdu.id], links[pdu.login]),
            Polled(every_s=pdu.poll_s, deadline_s=pdu.timeout_s * 2),
        )
        for pdu in tables.pdus
    }


def _plugged(
    tables: DeviceTables,
    pdus: Mapping[str, tuple[SnmpPdu, Polled]],
    learner: Learner | None,
    cuts: Cuts | None,
) -> Iterator[tuple[Driver, Polled]]:
    """Each driver, with the outlet that feeds its machine around it where there is one."""
    outlets = {outlet.device: outlet for outlet in plugs(tables)}
    for driver, polled in _drivers(tables, learner):
        plug = outlets.get(driver.spec.id)
        if plug is not None:
            pdu, _ = pdus[plug.pdu]
            driver = OutletDriver(driver, pdu.outlet(plug.outlet), polled.deadline_s, cuts)
        yield driver, polled


def _sensors(tables: DeviceTables) -> Iterator[tuple[Sensor, Polled]]:
    for config in tables.modbus:
        yield modbus_tcp.build(config), Polled(every_s=config.poll_s, deadline_s=config.timeout_s * 2)
    for broker in tables.mqtt_meters:
        yield mqttmeter.build(broker), Polled(every_s=broker.poll_s, deadline_s=broker.timeout_s * 2)


def _prices(tables: DeviceTables) -> Iterator[tuple[PriceSource, Polled]]:
    """A source has its own deadline, and what it tells is never late: only polled."""
    for broker in tables.price_brokers:
        yield MqttPrices(broker), Polled(every_s=broker.poll_s, deadline_s=PRICE_DEADLINE_S)
    for file in tables.price_files:
        yield PriceFile(file), Polled(every_s=file.poll_s, deadline_s=PRICE_DEADLINE_S)


def _drivers(tables: DeviceTables, learner: Learner | None) -> Iterator[tuple[Driver, Polled]]:
    if tables.miners:
        # A site without miners need not pay for pyasic: a second of CPU and 48 MB.
        from drivers.asic.build import build as build_miners
        from drivers.asic.identify import Identifier

        identifier = Identifier()
        for group in tables.miners:
            polled = Polled(every_s=group.poll_s, deadline_s=group.timeout_s)
            yield from ((driver, polled) for driver in build_miners(group, identifier, tables.families))
    for host in tables.gpu_hosts:
        # A little longer than the thread's own deadline, which says more of what hangs.
        polled = Polled(every_s=host.poll_s, deadline_s=host.timeout_s + 0.5)
        yield from ((driver, polled) for driver in gpu.build(host, learner))
