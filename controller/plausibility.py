"""What a site file may well mean, and most likely does not: ratings in another unit than the key asks for, a
meter at no node, hours of another clock.

A doubt refuses nothing, for a build that has just begun has a large transformer and few machines. Each is one
line that names a key, its value and what it does not go with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.domain.devices import DeviceSpec
from controller.domain.power import ZERO, Limit, Power
from controller.domain.rating import Phases
from controller.unlikely import unlikely
from drivers import registry

if TYPE_CHECKING:
    from controller.config import Settings
    from controller.nodetable import BreakerTable, NodeTable

FAR = 20.0
"""Two ratings further apart than so many times are hardly of one place. Units that are mixed up differ by a
thousand, or by the volts of a breaker."""

NOISE, NOISE_W = 0.01, 100.0
"""Where nothing flows a meter shows no more than this share of the most that it may, or so many watts."""

SAME_VOLTS = 0.1
"""Between two lines there are 1.73 times the volts of one against neutral."""


MOST_TO_NEUTRAL = 350.0
"""347 V of 600 V between lines is the most that machines are fed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Below:
    """The most and the least that all at a node and below it can draw."""

    most: Power
    least: Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """One of the keys that a node's limit is made of."""

    key: str
    value: str
    power: Power


def doubts(settings: Settings, specs: Iterable[DeviceSpec]) -> Iterator[str]:
    """`specs` are the devices of the site, as its file has them."""
    specs = tuple(specs)
    below, largest = _below(settings.nodes, specs), _largest(specs)
    for at, node in enumerate(settings.nodes):
        ratings = list(_ratings(at, node))
        if not ratings:
            continue
        lowest = min(ratings, key=lambda rating: rating.power.watts)
        yield from _apart(node, lowest, ratings)
        yield from _too_high(node, lowest, below[node.id])
        yield from (
            list(_too_low(node, lowest, below[node.id]))
            or _too_small_for_one(node, lowest, largest.get(node.id))
        )
    yield from _above_their_feed(settings.nodes)
    yield from _unequal_lines(settings.nodes)
    yield from unlikely(settings, below)
    yield from _faulty_meters(settings, below)
    yield from _exporting_meters(settings)
    yield from _idle_meters(settings)
    yield from _unsaid_time_zone(settings)
    yield from _odd_outlets(settings, {spec.id: spec for spec in specs})


def _ratings(at: int, node: NodeTable) -> Iterator[Rating]:
    key = f"nodes.{at}"
    if node.limit_kw is not None:
        yield Rating(key=f"{key}.limit_kw", value=f"{node.limit_kw:.12g}", power=Power.kw(node.limit_kw))
    if (breaker := node.breaker) is not None:
        yield Rating(key=f"{key}.breaker", value=_plate(breaker), power=breaker.power())
    if (transformer := node.transformer) is not None:
        yield Rating(key=f"{key}.transformer", value=f"{transformer.kva:.12g} kVA", power=transformer.power())


def _below(nodes: Sequence[NodeTable], specs: Iterable[DeviceSpec]) -> Mapping[str, Below]:
    """Each node's own, then all of it summed up the tree."""
    most = {node.id: node.fixed for node in nodes}
    least = most.copy()
    for spec in specs:
        most[spec.node] += spec.ceiling
        least[spec.node] += spec.floor.power
    for node in reversed(nodes):
        if node.parent is not None:
            most[node.parent] += most[node.id]
            least[node.parent] += least[node.id]
    return {node.id: Below(most=most[node.id], least=least[node.id]) for node in nodes}


def _apart(node: NodeTable, lowest: Rating, ratings: Sequence[Rating]) -> Iterator[str]:
    """The lowest holds: another one that is far above it is wrong, or it is."""
    for other in ratings:
        if _times(other.power, lowest.power) > FAR:
            beside = f"{other.key} {other.value} is {other.power}"
            yield f"{_said(node, lowest)}, and {beside}: is one of them in another unit?"


def _too_high(node: NodeTable, lowest: Rating, below: Below) -> Iterator[str]:
    times = _times(lowest.power, below.most)
    if below.most > ZERO and times > FAR:
        beside = f"{times:.0f} times the {below.most} that all below it can draw"
        yield f"{_said(node, lowest)}, {beside}: in another unit? Right only while most machines are to come"


def _too_low(node: NodeTable, lowest: Rating, below: Below) -> Iterator[str]:
    said, times = _said(node, lowest), _times(below.most, lowest.power)
    if below.least > lowest.power:
        yield f"{said}, and all below it at their lowest draw {below.least}: it cannot be kept"
    elif times > FAR:
        yield f"{said}, and all below it can draw {below.most}, {times:.0f} times that: in another unit?"


def _said(node: NodeTable, rating: Rating) -> str:
    return f"{rating.key} {rating.value} of {node.id!r} is {rating.power}"


def _above_their_feed(nodes: Sequence[NodeTable]) -> Iterator[str]:
    """Plates shrink from the grid to the machines. A contract over them (`limit_kw`) may be any size."""
    plates: dict[str, Rating | None] = {}
    told: set[str] = set()
    for at, node in enumerate(nodes):
        own = [rating for rating in _ratings(at, node) if not rating.key.endswith(".limit_kw")]
        mine = min(own, key=lambda rating: rating.power.watts, default=None)
        over = plates[node.parent] if node.parent is not None else None
        plates[node.id] = mine or over
        if mine is not None and over is not None and mine.power > over.power and over.key not in told:
            told.add(over.key)
            feed = f"{over.key} {over.value} over it is {over.power}"
            yield f"{_said(node, mine)}, and {feed}: is one of them in another unit?"


def _unequal_lines(nodes: Sequence[NodeTable]) -> Iterator[str]:
    """The watts of three phases are those of lines that carry the same. What hangs between two lines, at
    their volts, may load one of them alone; said once of each feed."""
    feeds: dict[str, tuple[str, str, BreakerTable] | None] = {}
    told: set[str] = set()
    for at, node in enumerate(nodes):
        over, breaker, key = feeds.get(node.parent or ""), node.breaker, f"nodes.{at}.breaker"
        feeds[node.id] = over
        if breaker is not None:
            feeds[node.id] = (key, node.id, breaker) if breaker.phases is Phases.THREE else None
        if breaker is None or breaker.phases is not Phases.ONE:
            continue
        if over is None:
            yield from _of_two_lines(node, key, breaker)
            continue
        if over[0] in told:
            continue
        feed_key, feed, plate = over
        if abs(breaker.volts / plate.volts - 1) <= SAME_VOLTS:
            told.add(feed_key)
            lines = f"two lines of {feed!r} ({feed_key} {_plate(plate)})"
            unequal = "one line may carry too much while all three together do not"
            bounds = "A node with phases = 2 over all that hangs between the same two lines bounds it"
            yield f"{key} {_plate(breaker)} of {node.id!r} hangs between {lines}: {unequal}. {bounds}"


def _of_two_lines(node: NodeTable, key: str, breaker: BreakerTable) -> Iterator[str]:
    if breaker.volts > MOST_TO_NEUTRAL:
        neutral = "has one phase, whose volts are those to neutral: between two lines phases is 2"
        yield f"{key} {_plate(breaker)} of {node.id!r} {neutral}"


def _plate(breaker: BreakerTable) -> str:
    return f"{breaker.amps:.12g} A at {breaker.volts:.12g} V"


def _largest(specs: Iterable[DeviceSpec]) -> Mapping[str, DeviceSpec]:
    """Of each node that has machines."""
    largest: dict[str, DeviceSpec] = {}
    for spec in specs:
        if spec.node not in largest or spec.points[-1].power > largest[spec.node].points[-1].power:
            largest[spec.node] = spec
    return largest


def _too_small_for_one(node: NodeTable, lowest: Rating, largest: DeviceSpec | None) -> Iterator[str]:
    """Machines may be more than their breaker carries, but hardly one of them alone."""
    if largest is not None and lowest.power < largest.points[-1].power:
        alone = f"less than the {largest.points[-1].power} of {largest.id!r} alone"
        yield f"{_said(node, lowest)}, {alone}: in another unit?"


def _faulty_meters(settings: Settings, below: Mapping[str, Below]) -> Iterator[str]:
    """A power beyond a meter's `max_w` is taken for a fault: such a meter falls silent when it matters."""
    most_w = {
        meter: (sensor.key, watts)
        for sensor in registry.sensed(settings)
        for meter, watts in sensor.most_w.items()
    }
    for node in settings.nodes:
        if node.meter not in most_w:
            continue
        key, watts = most_w[node.meter]
        limit, most = node.limit, below[node.id].most
        may_draw = min(limit.power, most) if isinstance(limit, Limit) else most
        if watts < may_draw.watts:
            told = f"{key}: max_w {watts:.12g} of meter {node.meter!r}"
            yield f"{told} is less than the {may_draw} that {node.id!r} may draw: above it a value is a fault"


def _exporting_meters(settings: Settings) -> Iterator[str]:
    """Around nothing a meter may waver. What is fed in behind it, it takes off what is drawn."""
    for sensor in registry.sensed(settings):
        for meter, watts in sensor.export_w.items():
            if watts > max(NOISE_W, NOISE * sensor.most_w[meter]):
                told = f"{sensor.key}: max_export_w {watts:.12g} of meter {meter!r} reads as 0 W"
                yield f"{told}: power that is fed in behind a meter is not supported"


def _idle_meters(settings: Settings) -> Iterator[str]:
    """A meter that is at no node is read for nothing, and its node is taken to draw what its machines say."""
    triggers = settings.triggers
    used = {node.meter for node in settings.nodes}
    used |= {rule.meter for rule in (triggers.frequencies if triggers is not None else ())}
    for sensor in registry.sensed(settings):
        for meter in sorted(sensor.meters - used):
            yield f"{sensor.key}: meter {meter!r} is named by no node: what it shows is not used"


def _unsaid_time_zone(settings: Settings) -> Iterator[str]:
    """The hours of a schedule are UTC where nothing else is said, and people write those of their clock."""
    triggers, zone = settings.triggers, settings.settlement.time_zone
    if triggers is None or not triggers.schedules or "timezone" in triggers.model_fields_set:
        return
    if zone and zone != triggers.timezone:
        first = triggers.schedules[0]
        hours = f"{first.start} of schedule {first.id!r} is {triggers.timezone}"
        yield f"triggers.timezone is not said, so {hours}, and settlement.time_zone is {zone}"


def _odd_outlets(settings: Settings, specs: Mapping[str, DeviceSpec]) -> Iterator[str]:
    """Watts of a machine that would be taken for a fault, and a cord that is not where the file has it."""
    outlets, pdus = registry.plugs(settings), {pdu.id: pdu for pdu in settings.pdus}
    parents = {node.id: node.parent for node in settings.nodes}
    metered = {node.meter: node.id for node in settings.nodes if node.meter is not None}
    for at, pdu in enumerate(settings.pdus):
        fed = [specs[outlet.device] for outlet in outlets if outlet.pdu == pdu.id]
        most = max(fed, key=lambda spec: spec.ceiling.watts, default=None)
        if pdu.metered and most is not None and pdu.outlet_max_w < most.ceiling.watts:
            told = f"pdus.{at}: outlet_max_w {pdu.outlet_max_w:.12g} is less than the {most.ceiling}"
            yield f"{told} that {most.id!r} may draw: above it a value is a fault"
    for at, outlet in enumerate(outlets):
        spec, pdu = specs[outlet.device], pdus[outlet.pdu]
        for meter, of in ((pdu.meter, f"pdu {pdu.id!r}"), (outlet.meter, f"outlet {outlet.outlet}")):
            node = None if meter is None else metered.get(meter)
            if node is not None and node not in _way_up(spec.node, parents):
                told = f"outlets.{at}: {spec.id!r} stands at {spec.node!r}"
                yield f"{told}, and meter {meter!r} of {of} is that of {node!r}, which does not feed it"


def _way_up(node: str | None, parents: Mapping[str, str | None]) -> Iterator[str]:
    while node is not None:
        yield node
        node = parents[node]


def _times(power: Power, of: Power) -> float:
    return power.watts / max(1, of.watts)
