"""What the tables of a site file contradict each other in: names used twice, outlets that lead nowhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from drivers.pdumodels import PduConfig
from drivers.pricetables import price_problems
from drivers.registry import DeviceTables, pdu_meters, plugs, price_sources


def problems(tables: DeviceTables, prefer: tuple[str, ...] = ()) -> Iterator[str]:
    """What no table is wrong about alone; `prefer` is the order of the price sources."""
    counts = Counter(_declared(tables))
    if repeated := {name for name, count in counts.items() if count > 1}:
        where = _homes(tables, repeated)
        yield from (
            f"{name} is declared {counts[name]} times{where.get(name, '')}" for name in sorted(repeated)
        )
    yield from _outlet_problems(tables)
    models = frozenset(host.model for host in tables.gpu_hosts)
    yield from price_problems(price_sources(tables), prefer, models)
    libraries = {host.library for host in tables.gpu_hosts}
    if len(libraries) > 1:
        named = ", ".join(sorted(repr(library or "the system's") for library in libraries))
        yield f"gpu_hosts: library {named}: one process has one NVML library"


def _declared(tables: DeviceTables) -> Iterator[str]:
    """Everything that may be there only once, repeats included."""
    yield from (f"miner address {address}" for group in tables.miners for address in group.addresses())
    yield from (f"GPU {uuid}" for host in tables.gpu_hosts for uuid in host.uuids)
    yield from (f"device group {group.id!r}" for group in tables.miners)
    yield from (f"device group {host.id!r}" for host in tables.gpu_hosts)
    yield from (f"modbus endpoint {config.id!r}" for config in tables.modbus)
    yield from (point.name for config in tables.modbus for point in config.points)
    yield from (f"mqtt broker {broker.id!r}" for broker in tables.mqtt_meters)
    yield from (point.name for broker in tables.mqtt_meters for point in broker.points)
    yield from (f"price broker {broker.id!r}" for broker in tables.price_brokers)
    clients = (broker.client_id for broker in (*tables.mqtt_meters, *tables.price_brokers))
    yield from (f"mqtt client {client!r}" for client in clients if client)
    yield from (f"pdu {pdu.id!r}" for pdu in tables.pdus)
    yield from (_address(pdu) for pdu in tables.pdus)
    yield from (f"meter {meter}" for pdu in tables.pdus for meter in pdu_meters(tables, pdu))
    yield from (f"outlet {outlet.outlet} of pdu {outlet.pdu!r}" for outlet in tables.outlets)
    yield from (f"outlet of {outlet.device!r}" for outlet in plugs(tables))
    yield from (f"queue {queue.id!r}" for queue in tables.queues)


def _homes(tables: DeviceTables, names: Collection[str]) -> Mapping[str, str]:
    """In which groups the machines of these names are, and which PDUs have these addresses."""
    homes: dict[str, list[str]] = {}
    for group in tables.miners:
        for address in group.addresses():
            homes.setdefault(f"miner address {address}", []).append(group.id)
    for pdu in tables.pdus:
        homes.setdefault(_address(pdu), []).append(pdu.id)
    for host in tables.gpu_hosts:
        for uuid in host.uuids:
            homes.setdefault(f"GPU {uuid}", []).append(host.id)
    return {name: f": {', '.join(homes[name])}" for name in names if name in homes}


def _address(pdu: PduConfig) -> str:
    """Two PDUs at one have each other's outlets: the wrong machine would be cut off."""
    return f"pdu address {pdu.host}:{pdu.port}"


def _outlet_problems(tables: DeviceTables) -> Iterator[str]:
    miners = {
        f"{group.id}-{at:03d}": group for group in tables.miners for at in range(len(group.addresses()))
    }
    pdus = {pdu.id: pdu for pdu in tables.pdus}
    for at, outlet in enumerate(plugs(tables)):
        if outlet.device not in miners:
            yield f"outlets.{at}.device {outlet.device!r} is no miner"
        elif outlet.pdu not in pdus:
            yield f"outlets.{at}.pdu {outlet.pdu!r} is not declared"
        elif pdus[outlet.pdu].metered and 2 * pdus[outlet.pdu].poll_s > miners[outlet.device].settle_down_s:
            settle_s = miners[outlet.device].settle_down_s
            told = f"settle_down_s {settle_s} of {outlet.device!r} is under 2 polls of its outlet"
            yield f"outlets.{at}: {told}"
    for at, pdu in enumerate(tables.pdus):
        if pdu.meter is None and all(outlet.pdu != pdu.id for outlet in tables.outlets):
            yield f"pdus.{at} {pdu.id!r} feeds no outlet and names no meter"
        if not pdu.metered and any(outlet.pdu == pdu.id and outlet.meter for outlet in tables.outlets):
            yield f"pdus.{at} {pdu.id!r} is not metered: none of its outlets can be a meter"
