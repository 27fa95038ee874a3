"""What a site file may well mean, and most likely does not: ratings in another unit than the key asks for.

A doubt refuses nothing, for a build that has just begun has a large transformer and few machines. Each is one
line that names a key, its value and what it does not go with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.domain.devices import DeviceSpec
from controller.domain.power import ZERO, Limit, Power
from drivers import registry

if TYPE_CHECKING:
    from controller.config import NodeTable, Settings

FAR = 20.0
"""Two ratings further apart than so many times are hardly of one place. Units that are mixed up differ by a
thousand, or by the volts of a breaker."""


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
    below = _below(settings.nodes, specs)
    for at, node in enumerate(settings.nodes):
        ratings = list(_ratings(at, node))
        if not ratings:
            continue
        lowest = min(ratings, key=lambda rating: rating.power.watts)
        yield from _apart(node, lowest, ratings)
        yield from _too_high(node, lowest, below[node.id])
        yield from _too_low(node, lowest, below[node.id])
    yield from _never_lower(settings)
    yield from _faulty_meters(settings, below)


def _ratings(at: int, node: NodeTable) -> Iterator[Rating]:
    key = f"nodes.{at}"
    if node.limit_kw is not None:
        yield Rating(key=f"{key}.limit_kw", value=f"{node.limit_kw:.12g}", power=Power.kw(node.limit_kw))
    if (breaker := node.breaker) is not None:
        plate = f"{breaker.amps:.12g} A at {breaker.volts:.12g} V"
        yield Rating(key=f"{key}.breaker", value=plate, power=breaker.power())
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


def _never_lower(settings: Settings) -> Iterator[str]:
    """The limit of a lost link is there to be lower than the site's own."""
    limit_kw, root = settings.policy.link_lost_limit_kw, settings.nodes[0].limit
    if limit_kw is not None and isinstance(root, Limit) and Power.kw(limit_kw) > root.power:
        key = f"policy.link_lost_limit_kw {limit_kw:.12g}"
        yield f"{key} is above the {root.power} of {settings.nodes[0].id!r}: it limits nothing"


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


def _times(power: Power, of: Power) -> float:
    return power.watts / max(1, of.watts)
