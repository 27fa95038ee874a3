"""What the command line prints of a running site, from what its API tells."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from controller.cli.terminal import folded, lines, local_time
from controller.decide.economics import SOAK_USD_PER_KWH
from controller.decide.words import Reason
from controller.domain.grid import EventStatus
from controller.domain.prices import Price
from controller.domain.site import Mode

Json = dict[str, Any]


FEW_NODES = 20
FEW_ALARMS = 10
"""Of one kind: a dead switch is one alarm for each of its machines."""
NEAR = 0.95
"""Of its limit: a node that may draw more of it than this is one to look at."""


def status_tables(status: Json, *, every_node: bool = False) -> Iterator[RenderableType]:
    """Of a large site only the nodes that have something to tell, unless `every_node` is asked for."""
    cap = status["cap"]
    shown = f"{_kw(cap['watts'])} ({cap['reason']} {cap['event']})".replace(" )", ")")
    state = "" if status["ready"] else " [starting: nothing is changed yet]"
    yield Text(f"{status['site']}  cap {shown}  grid link {status['link']}{state}", style="bold")
    if observed := status["mode"] == Mode.OBSERVE:
        yield Text("ONLY OBSERVED: nothing is commanded", "yellow")
    nodes = status["nodes"]
    telling = nodes if every_node or len(nodes) <= FEW_NODES else _telling(status)
    yield _node_table(telling, observed=observed)
    if left := len(nodes) - len(telling):
        yield Text(f"{left} more nodes, without a meter and with room to spare: --all shows them")
    reasons = Counter(
        (device["kind"], device["reason"], device["limited_by"]) for device in status["devices"]
    )
    if observed:
        yield _would_table(status["devices"])
    devices = Table("kind", "reason", "limited by", "devices", box=None)
    for (kind, reason, node), count in sorted(reasons.items()):
        devices.add_row(kind, reason, node, str(count))
    yield devices
    yield _price_table(status["prices"])
    energy = {price["value"] for price in status["prices"] if price["price"] == Price.ENERGY}
    if status["usd_per_kwh"] == SOAK_USD_PER_KWH:
        yield Text("a set-point is in force: it is drawn whatever energy costs")
    elif energy and energy != {status["usd_per_kwh"]}:
        yield Text(f"by the events in force a kWh counts for {status['usd_per_kwh']:g} USD")
    for source, why in status["price_troubles"].items():
        yield Text(f"price source {source}: {why}", style="yellow")
    for event in status["events"]:
        if event["status"] == EventStatus.REJECTED:
            yield Text(f"event {event['event']}: REJECTED, nothing is done for it")
            continue
        number = "possible" if event["status"] == EventStatus.INFEASIBLE else "least possible"
        yield Text(f"event {event['event']}: {event['status']}, {number} {_kw(event['possible_w'])}")
    yield from _announced(status.get("announced", ()))  # a daemon of before does not tell
    for job in status["jobs"]:
        yield Text(f"job {job['queue']}/{job['job']}: {job['state']} on {folded(job['gpus']) or 'no GPU'}")
    yield from _alarms(status["alarms"], most=None if every_node else FEW_ALARMS)


def _alarms(alarms: Sequence[Json], *, most: int | None) -> Iterator[Text]:
    """`most` of each kind, and how many more."""
    kinds = dict.fromkeys(alarm["kind"] for alarm in alarms)
    for kind in kinds:
        told = [alarm for alarm in alarms if alarm["kind"] == kind]
        for alarm in told[:most]:
            yield Text(f"ALARM {kind} {alarm['subject']}: {alarm['detail']}", style="red")
        if left := len(told) - len(told[:most]):
            yield Text(f"{left} more alarms {kind}: --all shows them", style="red")


def _announced(outlooks: Sequence[Json]) -> Iterator[Text]:
    """What cannot be met as things are, and how many can."""
    can = [one for one in outlooks if one["status"] != EventStatus.INFEASIBLE]
    for one in outlooks:
        if one["status"] == EventStatus.INFEASIBLE:
            numbers = f"asks for {_kw(one['asked_w'])}, possible {_kw(one['possible_w'])}"
            said = f"event {one['event']}, from {local_time(one['start_utc_s'])}: INFEASIBLE as things are"
            yield Text(f"{said}, {numbers}", style="yellow")
    if can:
        first = local_time(min(one["start_utc_s"] for one in can))
        events = "1 announced event" if len(can) == 1 else f"{len(can)} announced events"
        yield Text(f"{events} can be met as things are, the first from {first}")


def _telling(status: Json) -> list[Json]:
    """The site, what is metered, what is near its limit, and what holds machines back or is alarmed."""
    named = {device["limited_by"] for device in status["devices"]}
    named |= {alarm["subject"] for alarm in status["alarms"]}
    return [
        node
        for at, node in enumerate(status["nodes"])
        if at == 0
        or node["metered_w"] is not None
        or not node["feasible"]
        or node["node"] in named
        or (node["limit_w"] is not None and node["worst_w"] > NEAR * node["limit_w"])
    ]


def _node_table(nodes: list[Json], *, observed: bool) -> Table:
    """Where nothing is commanded nothing is granted either."""
    third = ("would be", "wanted_w") if observed else ("granted", "granted_w")
    measured, rest = ("metered", "metered_w"), (("worst case", "worst_w"), ("unexplained", "unexplained_w"))
    columns = (measured, ("limit", "limit_w"), third, *rest)
    table = Table("node", *(head for head, _ in columns), box=None)
    for node in nodes:
        cells = (_kw(node[key]) for _, key in columns)
        table.add_row(node["node"], *cells, style="" if node["feasible"] else "red")
    return table


def _would_table(devices: list[Json]) -> Table:
    """What each kind of device would be told now, by where it is and where it would be."""
    moves = Counter(
        (device["kind"], device["point"], device["wanted"])
        for device in devices
        if device["reason"] == Reason.OBSERVED
    )
    table = Table("kind", "is at", "would be at", "devices", box=None)
    for (kind, point, wanted), count in sorted(moves.items()):
        table.add_row(kind, point, wanted, str(count))
    return table


def _price_table(prices: list[Json]) -> Table:
    """A stale one in red: it is not from where it should be."""
    table = Table("price", "value", "unit", "from", "age", "instead of", box=None)
    for price in prices:
        age = "-" if price["age_s"] is None else f"{price['age_s']:.0f} s"
        cells = (f"{price['price']} {price['model']}".rstrip(), f"{price['value']:g}", price["unit"])
        instead = "; ".join(price["passed"])
        table.add_row(*cells, price["source"], age, instead, style="red" if instead else "")
    return table


MERIT_COLUMNS = (
    "position",
    "device",
    "kind",
    "node",
    "point",
    "grant_w",
    "draw_w",
    "usd_per_hour",
    "next_usd_per_kwh",
    "shed_usd_per_kwh",
    "leaving_usd",
    "leaving",
    "reason",
    "limited_by",
)
"""A public contract: what `wattshift merit --csv` prints, in this order."""


def merit_tables(merit: Json) -> Iterator[RenderableType]:
    prices = f"energy {merit['usd_per_kwh']:g} USD/kWh, hashing {merit['usd_per_ths_day']:g} USD/TH/s/day"
    yield Text(f"first shed first; {prices}", style="bold")
    numbers = ("W", "draws", "USD/h", "next USD/kWh", "shed USD/kWh", "leaving, USD")
    heads = ("device", "node", "point", *numbers, "by", "reason")
    yield lines(heads, [_merit_cells(row) for row in merit["devices"]], right=numbers)


def _merit_cells(row: Json) -> tuple[str, ...]:
    has_place = row["position"] is not None
    shed = "never" if has_place and row["shed_usd_per_kwh"] is None else _usd(row["shed_usd_per_kwh"])
    return (
        f"{row['position'] if has_place else '-':>5} {row['device']}",
        row["node"],
        row["point"],
        str(row["grant_w"]),
        str(row["draw_w"]),
        _usd(row["usd_per_hour"]),
        _usd(row["next_usd_per_kwh"]),
        shed,
        _usd(row["leaving_usd"]),
        row["leaving"],
        f"{row['reason']} {row['limited_by']}".strip(),
    )


def merit_csv(merit: Json) -> str:
    """The devices as CSV with a head; what is not known is empty."""
    told = io.StringIO()
    writer = csv.DictWriter(told, MERIT_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(merit["devices"])
    return told.getvalue()


def _usd(amount: float | None) -> str:
    return "-" if amount is None else f"{amount:.4f}"


def why_tables(why: Json) -> Iterator[RenderableType]:
    by = f" by {why['limited_by']}" if why["limited_by"] else ""
    yield Text(f"{why['device']}: {why['reason']}{by}", style="bold")
    facts = Table(box=None, show_header=False)
    age = "never read" if why["age_s"] is None else f"{why['age_s']} s ago"
    facts.add_row("draws", f"{why['draw_w']} W ({age})")
    place = "is at" if why["mode"] == Mode.OBSERVE else "told to be at"
    facts.add_row(place, f"{why['point']} ({why['truth']})")
    if (answered := why.get("answered")) is not None:  # a daemon of before does not tell
        said = ": ".join(filter(None, (answered["outcome"], answered["why"])))
        facts.add_row("answered", f"{said} ({answered['age_s']} s ago)")
    facts.add_row("would be at", why["wanted"])
    facts.add_row("counts for", f"{why['grant_w']} W, at worst {why['worst_w']} W")
    facts.add_row("hottest", "no sensor" if why["hottest_c"] is None else f"{why['hottest_c']} °C")
    facts.add_row("derated by", f"{100 * why['derate']:.0f} % of its range")
    facts.add_row("lies, reasserted", f"{why['lies']}, {why['reasserts']}")
    if "gpu" in why:
        facts.add_row("health", "; ".join([why["gpu"]["health"], *why["gpu"]["why"]]))
        facts.add_row("throttled by", ", ".join(why["gpu"]["load"]["throttles"] or ()) or "nothing")
        facts.add_row("held by", ", ".join(_holders(why["gpu"])) or "nobody")
    yield facts
    above = Table("above it", "limit", "metered", "granted", "worst case", box=None)
    for node in why["above"]:
        cells = (_kw(node[key]) for key in ("limit_w", "metered_w", "granted_w", "worst_w"))
        above.add_row(node["node"], *cells)
    yield above
    cap = why["cap"]
    yield Text(f"site cap {_kw(cap['watts'])} ({cap['reason']} {cap['event']})".replace(" )", ")"))


def _holders(gpu: Json) -> Iterator[str]:
    for process in gpu["processes"] or ():
        held = "" if process["memory_bytes"] is None else f", {process['memory_bytes'] / 2**30:.1f} GiB"
        yield f"{process['name'] or 'a process'} (pid {process['pid']}{held})"


def _kw(watts: int | None) -> str:
    return "-" if watts is None else f"{watts / 1000:.2f} kW"
