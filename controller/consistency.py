"""What no table of a site file is wrong about alone: the tables checked against each other.

Each problem is one line that names a key, its value and what is wrong with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from controller.domain.power import Limit
from controller.settlement.methods import MatchDay, MeterBefore, XOfY
from drivers import conflicts, registry

if TYPE_CHECKING:
    from controller.config import Settings
    from controller.nodetable import NodeTable


def problems(settings: Settings) -> list[str]:
    """Ratings and references are looked at only once the nodes are a tree."""
    return list(_tree(settings.nodes)) or [
        *_ratings(settings.nodes),
        *_places(settings),
        *_sensors(settings),
        *_operators(settings),
        *_triggers(settings),
        *conflicts.problems(settings, settings.prices.prefer),
    ]


def _tree(nodes: tuple[NodeTable, ...]) -> Iterator[str]:
    known: set[str] = set()
    for at, node in enumerate(nodes):
        if node.id in known:
            yield f"nodes.{at}.id {node.id!r} is declared twice"
        if (at == 0) != (node.parent is None):
            if node.parent is None:
                yield f"nodes.{at}.parent: {node.id!r} has none, as only the first node, the site, may"
            else:
                first = f"{node.id!r} is the first node, which is the site and has none"
                yield f"nodes.{at}.parent {node.parent!r}: {first}"
        elif node.parent is not None and node.parent not in known:
            meant = _meant(node.parent, known)
            yield f"nodes.{at}.parent {node.parent!r} is not declared before {node.id!r}{meant}"
        known.add(node.id)


def _ratings(nodes: tuple[NodeTable, ...]) -> Iterator[str]:
    """In a tree that is one: no node may be rated below the fixed load under it. One that is rated above
    what is over it is everyday: a transformer behind a smaller contract."""
    fixed = {node.id: node.fixed for node in nodes}
    for node in reversed(nodes):
        if node.parent is not None:
            fixed[node.parent] += fixed[node.id]
    for at, node in enumerate(nodes):
        if isinstance(node.limit, Limit) and fixed[node.id] > node.limit.power:
            below = f"the fixed load of {fixed[node.id]} under it"
            yield f"nodes.{at}: limit {node.limit.power} of {node.id!r} is less than {below}"


def _places(settings: Settings) -> Iterator[str]:
    tick_s = settings.policy.tick_s
    nodes, zones = {node.id for node in settings.nodes}, {zone.id for zone in settings.zones}
    for group in registry.placed(settings):
        place, ticks = f"(in {group.name!r})", f"3 ticks of {tick_s} s"
        if group.node not in nodes:
            yield f"{group.key}.node {group.node!r} is not declared{_meant(group.node, nodes)} {place}"
        if group.zone is not None and group.zone not in zones:
            yield f"{group.key}.zone {group.zone!r} is not declared{_meant(group.zone, zones)} {place}"
        if group.stale_after_s < 3 * tick_s:
            yield f"{group.key}.stale_after_s {group.stale_after_s} is less than {ticks} {place}"


def _meant(name: str, known: Collection[str]) -> str:
    """Which of the names that there are it may have been; one with a blank too many looks the same."""
    close = get_close_matches(name, sorted(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def _sensors(settings: Settings) -> Iterator[str]:
    """Meters and zones are each named once, told of by one sensor, and often enough."""
    sensors = list(registry.sensed(settings))
    meters = {meter for sensor in sensors for meter in sensor.meters}
    on_nodes: dict[str, list[str]] = {}
    for at, node in enumerate(settings.nodes):
        if node.meter is None:
            continue
        on_nodes.setdefault(node.meter, []).append(node.id)
        if node.meter not in meters:
            meant = _meant(node.meter, meters)
            yield f"nodes.{at}.meter {node.meter!r} of {node.id!r} is not declared{meant}"
    for meter, named in on_nodes.items():
        if len(named) > 1:
            yield f"meter {meter!r} is named by {len(named)} nodes: {', '.join(named)}"
    zones = Counter(zone.id for zone in settings.zones)
    with_sensor = {zone for sensor in sensors for zone in sensor.zones}
    yield from (f"zones: {zone!r} is declared {n} times" for zone, n in zones.items() if n > 1)
    for zone in sorted(zones.keys() - with_sensor):
        yield f"zones: {zone!r} has no sensor: nothing would ever be raised there"
    with_coolant = {zone for sensor in sensors for zone in sensor.coolants}
    wet = {table.id for table in settings.zones if table.coolant_derate_c is not None}
    for zone in sorted(wet & with_sensor - with_coolant):
        yield f"zones: {zone!r} has no sensor of its coolant: nothing would ever derate for that"
    stale_s = settings.policy.meter_stale_after_s
    for sensor in sensors:
        yield from (
            f"{sensor.key}: zone {zone!r} is not declared" for zone in sorted(sensor.zones - zones.keys())
        )
        if sensor.meters and stale_s < 3 * sensor.poll_s:
            yield f"{sensor.key}.poll_s {sensor.poll_s}: meter_stale_after_s {stale_s} is less than 3 polls"


def _operators(settings: Settings) -> Iterator[str]:
    """Operators are told apart by id, and by client id from all who share one of their brokers; their feeds
    are nodes."""
    tables = [("grid", settings.grid)] if settings.grid is not None else []
    tables += [(f"operators.{at}", table) for at, table in enumerate(settings.operators)]
    ids = Counter(operator.id for operator in settings.operators)
    yield from (f"operators: {name!r} is declared {n} times" for name, n in ids.items() if n > 1)
    places = [(one.host, one.port, one.client_id) for _, table in tables for one in table.brokers()]
    for others in (settings.mqtt_meters, settings.price_brokers):
        places += [(one.host, one.port, one.client_id) for one in others if one.client_id is not None]
    clients = Counter((host.lower(), port, client) for host, port, client in places)
    yield from (
        f"client_id {client!r} is used {n} times at {host}:{port}: each would throw the other out"
        for (host, port, client), n in clients.items()
        if n > 1
    )
    below = {node.id for node in settings.nodes[1:]}
    for key, table in tables:
        for feed in table.feeds:
            if feed.node and feed.node not in below:
                yield f"{key}.feeds: node {feed.node!r} of feed {feed.tag!r} is none below the site"
        if table.link_lost_node and table.link_lost_node not in below:
            yield f"{key}.link_lost_node {table.link_lost_node!r} is no node below the site"
        known = settings.settlement.methods()
        if table.baseline is not None and table.baseline not in known:
            yield f"{key}.baseline {table.baseline!r} is none of {', '.join(sorted(known))}"
        elif (
            isinstance(known.get(table.baseline or ""), XOfY | MatchDay) and not settings.settlement.time_zone
        ):
            yield f"{key}.baseline {table.baseline!r} compares days: settlement.time_zone says whose"
        elif table.baseline == MeterBefore().name and (trouble := _read_too_late(settings)):
            yield f"{key}.baseline {table.baseline!r} {trouble}"


def _read_too_late(settings: Settings) -> str:
    """A baseline must not be read while the site goes down already, unless the contract says so."""
    gap_s, lead_s = settings.settlement.meter_before_gap_s, settings.policy.event_lead_s
    if gap_s >= lead_s or "meter_before_gap_s" in settings.settlement.model_fields_set:
        return ""
    return (
        f"ends {gap_s:g} s before an event, and the site goes down {lead_s:g} s before it:"
        " settlement.meter_before_gap_s says what the contract does"
    )


def _triggers(settings: Settings) -> Iterator[str]:
    """What is cut is a node below the site, and a frequency has a meter."""
    if settings.triggers is None:
        return
    below = {node.id for node in settings.nodes[1:]}
    for cut in settings.triggers.cuts:
        if cut.node and cut.node not in below:
            yield f"triggers: node {cut.node!r} is none below the site"
    meters = {meter for sensor in registry.sensed(settings) for meter in sensor.meters}
    for at, frequency in enumerate(settings.triggers.frequencies):
        if frequency.meter not in meters:
            yield f"triggers.frequencies.{at}.meter {frequency.meter!r} is not declared"
