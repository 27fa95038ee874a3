"""What the command line prints: the site as the file describes it, and the site as it runs."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from controller.config import Settings, fleet
from controller.domain.devices import DeviceSpec
from controller.domain.grid import EventStatus, Right
from controller.domain.power import Limit, total
from controller.domain.prices import MARKETS
from controller.domain.site import Site

Json = dict[str, Any]


def report(settings: Settings, out: Console) -> None:
    """Print what a site file means."""
    specs = [driver.spec for driver, _ in fleet(settings).drivers]
    site = settings.site()
    out.print(_electrical_tree(site, specs))
    table = Table("group", "devices", "lowest W", "highest W", "node", "keeps its limit", box=None)
    for group, members in _groups(specs).items():
        first = members[0]
        ends = str(first.floor.power.watts), str(first.points[-1].power.watts)
        table.add_row(group, str(len(members)), *ends, first.node, "yes" if first.keeps_limit else "no")
    out.print(table)
    prices = Table("price", "from", "else", "unit", box=None)
    for ladder in settings.ladders():
        sources = ", ".join(f"{rung.source} (up to {rung.stale_after_s:g} s old)" for rung in ladder.rungs)
        unit = MARKETS[ladder.key.price].unit
        prices.add_row(str(ladder.key), sources or "-", f"{ladder.constant:g}", unit)
    out.print(prices)
    operators = [("grid operator", settings.grid)] if settings.grid is not None else []
    operators += [(f"operator {operator.id}", operator) for operator in settings.operators]
    for name, link in operators:
        rights = ", ".join(right for right in Right if right in link.rights)
        signed = ", signed" if link.signed_by else ""
        where = f"{link.host}:{link.port} as {link.ven}"
        baseline = f", baseline {link.baseline}" if link.baseline else ""
        out.print(f"{name}: {where}, {link.dialect}{signed}, may {rights or 'nothing'}{baseline}")
    if not operators:
        out.print("grid operator: none")
    settled = settings.settlement
    out.print(f"settled by the calendar of {settled.zone.key}, every {settled.interval_s} s")
    for line in _own_reasons(settings):
        out.print(line)


def _own_reasons(settings: Settings) -> Iterator[str]:
    """What the site curtails for by itself."""
    if settings.control is not None:
        yield f"by hand: wattshift curtail, over {settings.control.socket}"
    if (triggers := settings.triggers) is None:
        return
    for table in triggers.schedules:
        when = f"{', '.join(table.days)} {table.start}-{table.end} {triggers.timezone}"
        yield f"schedule {table.id}: {table.limit_kw:g} kW, {when}"
    for price in triggers.prices:
        yield f"price {price.id}: {price.limit_kw:g} kW above {price.above_usd_per_kwh:g} USD/kWh"
    for frequency in triggers.frequencies:
        yield f"frequency {frequency.id}: {frequency.limit_kw:g} kW below {frequency.below_hz:g} Hz"
    if (peaks := triggers.peaks) is not None:
        yield f"peak hours of {peaks.calendar}: {peaks.limit_kw:g} kW from {100 * peaks.probability:g} % on"


def status_tables(status: Json) -> Iterator[RenderableType]:
    cap = status["cap"]
    shown = f"{_kw(cap['watts'])} ({cap['reason']} {cap['event']})".replace(" )", ")")
    state = "" if status["ready"] else " [starting: nothing is changed yet]"
    yield Text(f"{status['site']}  cap {shown}  grid link {status['link']}{state}", style="bold")
    nodes = Table("node", "metered", "limit", "granted", "worst case", "unexplained", box=None)
    for node in status["nodes"]:
        cells = (_kw(node[key]) for key in ("metered_w", "limit_w", "granted_w", "worst_w", "unexplained_w"))
        nodes.add_row(node["node"], *cells, style="" if node["feasible"] else "red")
    yield nodes
    reasons = Counter(
        (device["kind"], device["reason"], device["limited_by"]) for device in status["devices"]
    )
    devices = Table("kind", "reason", "limited by", "devices", box=None)
    for (kind, reason, node), count in sorted(reasons.items()):
        devices.add_row(kind, reason, node, str(count))
    yield devices
    yield _price_table(status["prices"])
    for source, why in status["price_troubles"].items():
        yield Text(f"price source {source}: {why}", style="yellow")
    for event in status["events"]:
        number = "possible" if event["status"] == EventStatus.INFEASIBLE else "least possible"
        yield Text(f"event {event['event']}: {event['status']}, {number} {_kw(event['possible_w'])}")
    for job in status["jobs"]:
        yield Text(f"job {job['queue']}/{job['job']}: {job['state']} on {', '.join(job['gpus']) or 'no GPU'}")
    for alarm in status["alarms"]:
        yield Text(f"ALARM {alarm['kind']} {alarm['subject']}: {alarm['detail']}", style="red")


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
    table = Table("device", "node", "point", box=None)
    for head in ("W", "draws", "USD/h", "next USD/kWh", "shed USD/kWh", "leaving, USD"):
        table.add_column(head, justify="right")
    table.add_column("by")
    table.add_column("reason")
    for row in merit["devices"]:
        has_place = row["position"] is not None
        shed = "never" if has_place and row["shed_usd_per_kwh"] is None else _usd(row["shed_usd_per_kwh"])
        table.add_row(
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
    yield table


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
    facts.add_row("told to be at", f"{why['point']} ({why['truth']})")
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


def _electrical_tree(site: Site, specs: list[DeviceSpec]) -> Tree:
    branches: dict[str, Tree] = {}
    for node in site.nodes:
        here = [spec for spec in specs if spec.node == node.id]
        parts = [node.id, f"limit {node.limit.power}" if isinstance(node.limit, Limit) else "no limit"]
        parts += [f"fixed {node.fixed}"] if node.fixed.watts else []
        parts += [f"meter {node.meter}"] if node.meter is not None else []
        parts += [f"{len(here)} devices up to {total(spec.ceiling for spec in here)}"] if here else []
        label = ", ".join(parts)
        branches[node.id] = Tree(label) if node.parent is None else branches[node.parent].add(label)
    return branches[site.root.id]


def _groups(specs: list[DeviceSpec]) -> dict[str, list[DeviceSpec]]:
    groups: dict[str, list[DeviceSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.id.rpartition("-")[0], []).append(spec)
    return groups


def _kw(watts: int | None) -> str:
    return "-" if watts is None else f"{watts / 1000:.2f} kW"
