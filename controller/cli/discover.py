"""What `wattshift discover` prints and writes: the machines of a network, and the inventory of them.

The inventory is written in one step at the very end: whatever happens before leaves the file as it was.
"""

from __future__ import annotations

import asyncio
import logging
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from controller.cli.wholefile import write_atomically
from drivers.asic import inventory
from drivers.asic.config import Family, Login, Logins
from drivers.asic.discovery import Absent, Finding, Progress, Stage, Unknown, addresses_of, scan
from drivers.asic.groups import site_tables
from drivers.asic.inventory import InventoryError
from drivers.asic.recognise import Machine

WIDE = 240
"""Columns for a table that goes into a file or a pipe, so that nothing in it is cut."""

LINES_PER_STAGE = 5
INTERRUPTED = 130
"""What a shell expects of a program that was ended by Ctrl-C."""


class DiscoverError(Exception):
    """What was asked for cannot be done; nothing was scanned or written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    ranges: Sequence[str]
    at_once: int
    timeout_s: float
    inventory: Path | None = None
    update: bool = False
    port_map: Sequence[str] = ()
    logins: Path | None = None


def run(request: Request, out: Console, err: Console) -> int:
    """Scan, print, write; returns the exit status. Raises `DiscoverError`."""
    # pyasic and asyncio tell of every machine that breaks off; the report at the end does so better.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        addresses = addresses_of(request.ranges)
        loop_factory = _loop_factory(ports_of(request.port_map))
        logins = logins_of(request.logins)
        _read(request)
    except (ValueError, InventoryError) as error:
        raise DiscoverError(str(error)) from error
    try:
        with _shown(err) as progress, asyncio.Runner(loop_factory=loop_factory) as runner:
            findings = runner.run(
                scan(
                    addresses,
                    at_once=request.at_once,
                    timeout_s=request.timeout_s,
                    logins=logins,
                    progress=progress,
                )
            )
    except KeyboardInterrupt:
        err.print("interrupted: nothing was written")
        return INTERRUPTED
    _print_findings(findings, out)
    _keep(request, findings, out)
    return 0


def ports_of(port_map: Sequence[str]) -> Mapping[int, int]:
    """`80=18080` leads every connection to port 80 to port 18080."""
    ports = {}
    for text in port_map:
        port, equals, stand_in = text.partition("=")
        numbers = [int(number) for number in (port, stand_in) if number.isascii() and number.isdigit()]
        if not equals or len(numbers) != 2 or not all(0 < number < 65_536 for number in numbers):
            raise ValueError(f"--port-map {text!r}: want PORT=STAND-IN, like 80=18080")
        ports[numbers[0]] = numbers[1]
    return ports


def logins_of(file: Path | None) -> Logins:
    """From a TOML file with a table for each family. What is wrong with it is told without what is in it."""
    if file is None:
        return {}
    try:
        return TypeAdapter(dict[Family, Login]).validate_python(tomllib.loads(file.read_text("utf-8")))
    except ValidationError as error:
        keys = sorted({".".join(map(str, e["loc"])) + f": {e['msg']}" for e in error.errors()})
        raise ValueError(f"{file}: {'; '.join(keys)}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{file}: {error}") from None


def _loop_factory(ports: Mapping[int, int]) -> Callable[[], asyncio.AbstractEventLoop]:
    if not ports:
        return asyncio.new_event_loop
    from simulators.ports import remap  # a simulated site only

    return remap(ports)


# -- the inventory --------------------------------------------------------------------------------------


def _read(request: Request) -> str:
    """The inventory as it is now; "" where there is none yet. Raises where it may not be written."""
    if request.inventory is None:
        if request.update:
            raise InventoryError("--update needs --out: the inventory to update")
        return ""
    try:
        text = request.inventory.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{request.inventory}: {error}") from error
    if not request.update:
        raise InventoryError(f"{request.inventory} exists: --update merges what is found into it")
    try:
        inventory.entries(text)
    except InventoryError as error:
        raise InventoryError(f"{request.inventory}: {error}") from error
    return text


def _keep(request: Request, findings: Sequence[Finding], out: Console) -> None:
    """Read again first: somebody may have worked on the file while the scan went on."""
    try:
        before = _read(request)
        after, changes = inventory.updated(before, findings)
        if request.inventory is not None and after != before:
            write_atomically(request.inventory, after)
    except (InventoryError, OSError) as error:
        raise DiscoverError(f"{error}; nothing was written") from error
    if before:
        _print_changes(changes, out)
    tables = site_tables(inventory.entries(after))
    if tables:
        out.print("\nFor the site file:\n", highlight=False)
        out.print(tables, highlight=False, markup=False, soft_wrap=True)


# -- printing -------------------------------------------------------------------------------------------


def _print_findings(findings: Sequence[Finding], out: Console) -> None:
    machines = [finding for finding in findings if isinstance(finding, Machine)]
    unknown = [finding for finding in findings if isinstance(finding, Unknown)]
    if machines:
        _print_table(_machine_table(machines), out)
    for title, rows in (
        ("could not be identified", [(u.address, _ports(u.ports) + u.why) for u in unknown]),
        ("remark", list(_remarks(machines))),
    ):
        if rows:
            table = Table("address", title, box=None)
            for address, why in rows:
                table.add_row(address, Text(" ".join(why.split())))
            _print_table(table, out)
    absent = Counter(finding.why for finding in findings if isinstance(finding, Absent))
    nobody = "".join(f", {count} {why}" for why, count in absent.most_common())
    summary = f"{len(findings)} addresses: {len(machines)} miners, {len(unknown)} not identified{nobody}"
    out.print(summary, highlight=False, markup=False, soft_wrap=True)
    undriven = Counter(machine.backend for machine in machines if machine.family is None)
    for backend, count in undriven.most_common():
        out.print(f"no driver here for {count} of them: {backend}", highlight=False, markup=False)


def _machine_table(machines: Sequence[Machine]) -> Table:
    table = Table(box=None)
    for title in ("address", "model", "family", "firmware", "MAC"):
        table.add_column(title, overflow="fold", no_wrap=title in ("address", "MAC"))
    table.add_column("TH/s", justify="right")
    table.add_column("W", justify="right")
    for machine in machines:
        facts = machine.facts
        texts = facts.model or "-", machine.family or "-", facts.firmware or "-", facts.mac or "-"
        rate = "-" if facts.rate_ths is None else f"{facts.rate_ths:.1f}"
        draw = "-" if facts.draw_w is None else str(facts.draw_w)
        table.add_row(machine.address, *map(Text, texts), rate, draw)
    return table


def _remarks(machines: Sequence[Machine]) -> Iterator[tuple[str, str]]:
    macs = Counter(machine.facts.mac for machine in machines if machine.facts.mac is not None)
    for machine in machines:
        yield from ((machine.address, str(doubt)) for doubt in machine.facts.doubts)
        if machine.facts.mac is not None and macs[machine.facts.mac] > 1:
            yield machine.address, f"MAC {machine.facts.mac} is at {macs[machine.facts.mac]} addresses"


def _print_changes(changes: Sequence[inventory.Change], out: Console) -> None:
    if not changes:
        out.print("the inventory is as it was")
        return
    table = Table("address", "change", "", box=None)
    for change in changes:
        table.add_row(change.address, change.kind, Text(change.detail))
    _print_table(table, out)


def _print_table(table: Table, out: Console) -> None:
    wide = out if out.is_terminal else Console(file=out.file, width=WIDE)
    wide.print(table)
    wide.print()


def _ports(ports: Sequence[int]) -> str:
    return f"port{'s' if len(ports) > 1 else ''} {', '.join(map(str, ports))}: " if ports else ""


@contextmanager
def _shown(err: Console) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; elsewhere a line now and then."""
    if not err.is_terminal:
        yield partial(_print_line, err)
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Bar(*columns, console=err) as bar:
        tasks = {stage: bar.add_task(stage, total=None, visible=False) for stage in Stage}

        def show(progress: Progress) -> None:
            task = tasks[progress.stage]
            bar.update(task, completed=progress.done, total=progress.total, visible=True)

        yield show


def _print_line(err: Console, progress: Progress) -> None:
    every = -(-progress.total // LINES_PER_STAGE)
    if progress.done % every == 0 or progress.done == progress.total:
        err.print(f"{progress.stage}: {progress.done} of {progress.total}", highlight=False)
