"""From an inventory to the `[[miners]]` tables of a site file: equal machines together, hosts as ranges."""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable

from drivers.asic.inventory import Entry

MAX_ID = 60

Equal = tuple[str, str, float, int, str, str]


def site_tables(entries: Iterable[Entry]) -> str:
    """Ready for a site file, but for what nobody has filled in yet. Machines that are gone, and those of
    firmware that no driver speaks, are left out."""
    groups: dict[Equal, set[str]] = {}
    for entry in entries:
        if entry.family and not entry.gone:
            rating = entry.rated_ths or 0.0, entry.rated_w or 0
            equal = entry.family, entry.model, *rating, entry.node, entry.zone
            groups.setdefault(equal, set()).add(entry.address)
    used: Counter[str] = Counter()
    return "\n".join(_table(equal, groups[equal], used) for equal in sorted(groups))


def ranges(addresses: Iterable[str]) -> tuple[str, ...]:
    """Consecutive addresses of one /24 as `10.0.0.5-9`, in ascending order."""
    spans: list[tuple[int, int]] = []
    for number in sorted(int(ipaddress.IPv4Address(address)) for address in addresses):
        if spans and number == spans[-1][1] + 1 and number & 0xFF:
            spans[-1] = spans[-1][0], number
        else:
            spans.append((number, number))
    return tuple(
        str(ipaddress.IPv4Address(first)) + (f"-{last & 0xFF}" if last > first else "")
        for first, last in spans
    )


def _table(equal: Equal, addresses: set[str], used: Counter[str]) -> str:
    family, model, rated_ths, rated_w, node, zone = equal
    unknown = "    # not told by these machines: see their data sheet"
    lines = [
        "[[miners]]",
        f"id = {json.dumps(_id(family, model, used))}",
        f"family = {json.dumps(family)}",
        f"hosts = {json.dumps(ranges(addresses))}",
        f"node = {json.dumps(node)}" + ("" if node else "    # the power node that feeds them"),
        *([f"zone = {json.dumps(zone)}"] if zone else []),
        f"rated_w = {rated_w}" if rated_w else f"# rated_w ={unknown}",
        f"rated_ths = {rated_ths}" if rated_ths else f"# rated_ths ={unknown}",
    ]
    return "\n".join([*lines, ""])


def _id(family: str, model: str, used: Counter[str]) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-").removeprefix("antminer-")
    name = f"{family}-{words or 'unknown'}"[:MAX_ID]
    used[name] += 1
    return name if used[name] == 1 else f"{name}-{used[name]}"
