"""What is hardly meant in a site file beside its ratings: limits of contracts in megawatts, hash rates and
temperatures in another unit, a miner where a meter answers. As in `plausibility.py`, nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from controller.domain.power import Limit, Power
from controller.domain.site import Policy
from drivers import registry

if TYPE_CHECKING:
    from controller.config import Settings
    from controller.plausibility import Below

J_PER_TH = (3.0, 1_000.0)
"""Machines that mine bitcoin need ten to a hundred joules for a terahash, the first of them hundreds."""

AIR_PROTECTS_C, LIQUID_PROTECTS_C, CHIPS_PROTECT_C = 70.0, 90.0, 120.0
"""Machines have failed long before it is so hot around them, or on their boards. It is no such heat in °F."""

A_TICK_S = 1.0
"""A site decides once a second where its file does not say how often."""


def unlikely(settings: Settings, below: Mapping[str, Below]) -> Iterator[str]:
    """`below` is what all at each node and below it can draw."""
    yield from _contracts(settings, below)
    yield from _efficiencies(settings)
    yield from _trips(settings)
    yield from _shared_addresses(settings)
    yield from _stand_ins(settings)
    yield from _late_begins(settings.policy.policy())


def _contracts(settings: Settings, below: Mapping[str, Below]) -> Iterator[str]:
    """Limits that come into force by somebody's word, or for its absence: one that cannot be kept, or limits
    nothing, is in another unit. Zero is meant: as little as there is."""
    nodes = {node.id: node for node in settings.nodes}
    for key, kilowatts, at in _limits(settings):
        limit, node = Power.kw(kilowatts), nodes[at or settings.nodes[0].id]
        told, least = f"{key} {kilowatts:.12g} is", below[node.id].least
        if kilowatts > 0 and limit < least:
            rest = f"all at {node.id!r} and below it at their lowest draw {least}"
            yield f"{told} {limit}, and {rest}: it cannot be kept"
        elif isinstance(node.limit, Limit) and limit > node.limit.power:
            yield f"{told} above the {node.limit.power} of {node.id!r}: it limits nothing"


def _limits(settings: Settings) -> Iterator[tuple[str, float, str]]:
    """Each limit by its key, in kW, and the node that it is of; the site's has none."""
    found: list[tuple[str, float | None, str]] = []
    found.append(("policy.link_lost_limit_kw", settings.policy.link_lost_limit_kw, ""))
    tables = [("grid", settings.grid)] if settings.grid is not None else []
    tables += [(f"operators.{at}", table) for at, table in enumerate(settings.operators)]
    for key, table in tables:
        found.append((f"{key}.link_lost_limit_kw", table.link_lost_limit_kw, table.link_lost_node))
        found += [
            (f"{key}.feeds.{at}.link_lost_limit_kw", feed.link_lost_limit_kw, feed.node)
            for at, feed in enumerate(table.feeds)
        ]
        found += [(f"{key}.off_kw", table.off_kw, ""), (f"{key}.silent_kw", table.silent_kw, "")]
        for name in ("levels_kw", "offsets_kw", "instructions_kw", "alerts_kw"):
            found += [(f"{key}.{name}.{word}", limit, "") for word, limit in getattr(table, name).items()]
    if (triggers := settings.triggers) is not None:
        for name in ("schedules", "prices", "frequencies"):
            rules = enumerate(getattr(triggers, name))
            found += [(f"triggers.{name}.{at}.limit_kw", rule.limit_kw, rule.node) for at, rule in rules]
        if (peaks := triggers.peaks) is not None:
            found.append(("triggers.peaks.limit_kw", peaks.limit_kw, peaks.node))
    yield from ((key, limit, node) for key, limit, node in found if limit is not None)


def _efficiencies(settings: Settings) -> Iterator[str]:
    """What a machine seems to cost decides whether it runs at all."""
    for at, group in enumerate(settings.miners):
        j_per_th = group.rated_w / group.rated_ths
        if group.family != "generic" and not J_PER_TH[0] <= j_per_th <= J_PER_TH[1]:
            rates = f"rated_w {group.rated_w} for rated_ths {group.rated_ths:g} of {group.id!r}"
            yield f"miners.{at}: {rates} is {j_per_th:g} J/TH: is one of them in another unit?"


def _trips(settings: Settings) -> Iterator[str]:
    found: list[tuple[str, float | None, str, float]] = []
    for at, zone in enumerate(settings.zones):
        found.append((f"zones.{at}.trip_c", zone.trip_c, zone.id, AIR_PROTECTS_C))
        found.append((f"zones.{at}.coolant_trip_c", zone.coolant_trip_c, zone.id, LIQUID_PROTECTS_C))
    for at, group in enumerate(settings.miners):
        found.append((f"miners.{at}.trip_c", group.trip_c, group.id, CHIPS_PROTECT_C))
        found.append((f"miners.{at}.board_trip_c", group.board_trip_c, group.id, CHIPS_PROTECT_C))
    for key, trip_c, name, most_c in found:
        if trip_c is not None and trip_c > most_c:
            yield f"{key} {trip_c:g} of {name!r} protects nothing: in Fahrenheit?"


def _shared_addresses(settings: Settings) -> Iterator[str]:
    """Of two machines at one address one was typed wrong, and an order would reach the other."""
    miners = {address: group.id for group in settings.miners for address in group.addresses()}
    for key, host in registry.hosts(settings):
        if host in miners:
            yield f"{key}.host {host} is also that of a miner (in {miners[host]!r})"


def _stand_ins(settings: Settings) -> Iterator[str]:
    """A file that `wattshift simulate` wrote, with the addresses of real machines."""
    ports = ", ".join(map(str, settings.simulation.ports))
    real = (
        f"{address} is no simulated machine (in {group.id!r})"
        for group in settings.miners
        for address in group.addresses()
        if not address.startswith("127.")
    )
    if ports and (first := next(real, None)) is not None:
        wrong = "the controller would knock at the wrong door"
        yield f"simulation.ports leads away from {ports}, and {first}: {wrong}"


def _late_begins(policy: Policy) -> Iterator[str]:
    """Whoever wants no time before an event is content with the pace of every site."""
    if policy.tick_s > max(policy.event_lead_s, A_TICK_S):
        pace = f"policy.tick_s {policy.tick_s:g} is more than event_lead_s {policy.event_lead_s:g}"
        yield f"{pace}: events begin up to {policy.tick_s - policy.event_lead_s:g} s late"
