"""What `wattshift check` prints: a site file as it was understood."""

from __future__ import annotations

import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from controller import credentials
from controller.cli.terminal import show
from controller.config import Settings, fleet
from controller.domain.devices import DeviceSpec
from controller.domain.grid import Right
from controller.domain.power import Limit, total
from controller.domain.prices import MARKETS
from controller.domain.site import Service, Site
from controller.nodetable import NodeTable
from controller.plausibility import doubts
from controller.run.operators.gridconfig import GridConfig, own_signer, tls_context, trusted_keys
from controller.run.operators.peakcalendar import CalendarError, PeakCalendar

SECRETS = credentials.KEYS - {"username"}
SERVICE = {
    Service.IN_SERVICE: "",
    Service.DRAINING: ", DRAINING: all below it is brought to its lowest",
    Service.ISOLATED: ", ISOLATED: without voltage, what is silent there counts nothing",
}


def report(settings: Settings, path: Path, out: Console) -> bool:
    """Print what the site file at `path` means; False where the controller would not start with it here."""
    starts = True
    specs = [driver.spec for driver, _ in fleet(settings).drivers]
    site = settings.site()
    mode = "ONLY OBSERVED: nothing is commanded" if site.policy.observes else "commanded"
    out.print(f"{site.name}: {mode} (controller.mode {site.policy.mode})")
    out.print(_electrical_tree(site, specs, {node.id: _plates(node) for node in settings.nodes}))
    table = Table("group", "devices", "lowest W", "highest W", "node", "keeps its limit", box=None)
    for group, members in _groups(specs).items():
        first = members[0]
        ends = str(first.floor.power.watts), str(first.points[-1].power.watts)
        table.add_row(group, str(len(members)), *ends, first.node, "yes" if first.keeps_limit else "no")
    show(table)
    prices = Table("price", "from", "else", "unit", box=None)
    for ladder in settings.ladders():
        sources = ", ".join(f"{rung.source} (up to {rung.stale_after_s:g} s old)" for rung in ladder.rungs)
        unit = MARKETS[ladder.key.price].unit
        prices.add_row(str(ladder.key), sources or "-", f"{ladder.constant:g}", unit)
    show(prices)
    operators = [("grid operator", settings.grid)] if settings.grid is not None else []
    operators += [(f"operator {operator.id}", operator) for operator in settings.operators]
    for name, link in operators:
        rights = ", ".join(right for right in Right if right in link.rights)
        signed = ", signed" if link.signed_by else ""
        where = f"{link.host}:{link.port} as {link.ven}"
        baseline = f", baseline {link.baseline}" if link.baseline else ""
        out.print(f"{name}: {where}, {link.dialect}{signed}, may {rights or 'nothing'}{baseline}")
        for contract in link.contracts():
            out.print(f"{name}: {contract.limit} at {contract.node or 'the site'} while it is not heard")
        for trouble in _unusable_files(link):
            starts = False
            out.print(f"{name}: WOULD NOT START on this host: {trouble}", soft_wrap=True)
    if not operators:
        out.print("grid operator: none")
    settled = settings.settlement
    out.print(f"settled by the calendar of {settled.zone.key}, every {settled.interval_s} s")
    for line in _own_reasons(settings):
        out.print(line)
    for doubt in doubts(settings, specs):
        out.print(f"DOUBTFUL: {doubt}", style="yellow", soft_wrap=True)
    for doubt in (*_unusable_calendar(settings), *_open_secrets(path)):
        out.print(f"DOUBTFUL: {doubt}", style="yellow", soft_wrap=True)
    return starts


def _unusable_calendar(settings: Settings) -> Iterator[str]:
    """It may come later, or be another host's; until then no peak is curtailed for."""
    peaks = settings.triggers.peaks if settings.triggers is not None else None
    if peaks is None:
        return
    try:
        PeakCalendar(peaks.calendar).read()
    except CalendarError as error:
        yield f"triggers.peaks.calendar: {error}"


def _open_secrets(path: Path) -> Iterator[str]:
    """Passwords in a file that everybody on its host may read."""
    if not path.stat().st_mode & stat.S_IROTH:
        return
    held = sorted(_secrets(tomllib.loads(path.read_text(encoding="utf-8-sig"))))
    if held:
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        told = f"{held[0]}{more} in {path}, which everybody on this host may read"
        yield f"{told}: chmod 640, or put it into the credentials directory"


def _secrets(table: object, at: str = "") -> Iterator[str]:
    """The keys of passwords, by their places in the file."""
    entries = (
        enumerate(table) if isinstance(table, list) else table.items() if isinstance(table, dict) else ()
    )
    for key, value in entries:
        place = f"{at}.{key}".removeprefix(".")
        if key in SECRETS and not isinstance(value, dict | list):
            yield place
        yield from _secrets(value, place)


def _unusable_files(link: GridConfig) -> Iterator[str]:
    """Certificates and keys without which the controller ends at its start. The file is right all the same:
    it may be checked on another host, or before systemd has put the credentials in place."""
    uses: tuple[Callable[[], object], ...] = (
        lambda: tls_context(link),
        lambda: own_signer(link),
        lambda: trusted_keys(link.signed_by),
        lambda: trusted_keys(link.infra_signed_by, "infra_signed_by"),
    )
    for use in uses:
        try:
            use()
        except ValueError as error:
            yield str(error)


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


def _plates(node: NodeTable) -> str:
    """What the drawing of the plant has of this node: amps and volts, and no watts."""
    plates = []
    if (breaker := node.breaker) is not None:
        volts = f"{breaker.amps:g} A at {breaker.volts:g} V, phases {breaker.phases:d}"
        plates.append(f"{breaker.continuous_percent:g} % of {volts}")
    if node.transformer is not None:
        plates.append(f"transformer {node.transformer.kva:g} kVA")
    return f" ({', '.join(plates)})" if plates else ""


def _electrical_tree(site: Site, specs: list[DeviceSpec], plates: Mapping[str, str]) -> Tree:
    branches: dict[str, Tree] = {}
    for node in site.nodes:
        here = [spec for spec in specs if spec.node == node.id]
        parts = [f"{node.id}{SERVICE[node.service]}"]
        limit = f"limit {node.limit.power}" if isinstance(node.limit, Limit) else "no limit"
        parts += [f"{limit}{plates[node.id]}"]
        parts += [f"fixed {node.fixed}"] if node.fixed.watts else []
        parts += [f"meter {node.meter}"] if node.meter is not None else []
        parts += (
            ["no meter: its draw is what its devices say"] if node is site.root and node.meter is None else []
        )
        for way, ramp in (("up", node.ramp_up_per_s), ("down", node.ramp_down_per_s)):
            parts += [f"{way} by {ramp.power.watts} W/s at most"] if isinstance(ramp, Limit) else []
        parts += [f"{len(here)} devices up to {total(spec.ceiling for spec in here)}"] if here else []
        label = ", ".join(parts)
        branches[node.id] = Tree(label) if node.parent is None else branches[node.parent].add(label)
    return branches[site.root.id]


def _groups(specs: list[DeviceSpec]) -> dict[str, list[DeviceSpec]]:
    groups: dict[str, list[DeviceSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.id.rpartition("-")[0], []).append(spec)
    return groups
