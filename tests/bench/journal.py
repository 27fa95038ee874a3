"""What keeping evidence costs: CPU and bytes of a second of a site, sealed and merely written; an audit.

    python -m tests.bench.journal [--seconds N] [--nodes N] [--commands N]

Medians of single transactions; "written" is the same rows in the same transactions without any seal.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from controller.decide.plan import NodeState
from controller.domain.power import Limit, Power
from controller.run.journal.audit import audit
from controller.run.journal.file import JournalFile
from controller.run.journal.retention import Keep
from controller.run.journal.schema import COLUMNS, microseconds, prepare
from controller.run.journal.usage import MinuteMeter
from controller.run.journal.waiting import Named, Waiting
from tests.decide.builders import nodes_of

UTC_S = 1_800_000_000.0


def second_of(at: int, nodes: int, commands: int) -> list[Named]:
    """A sample of the site, now and then of the nodes, the energy of a minute, and commands."""
    now_us = microseconds(UTC_S + at)
    rows: list[Named] = [("samples", (now_us, "site", 4_000_000 + at, 9_000_000, 5_000_000, 6_000_000))]
    if at % 60 == 0:
        for node in range(nodes):
            rows.append(("samples", (now_us, f"pdu-{node:03d}", 40_000, 90_000, 50_000, 60_000)))
            rows.append(("usage", (now_us, f"pdu-{node:03d}", 40_000, 2_400_000, 60_000, None)))
    for device in range(commands):
        rows.append(("commands", (now_us, f"asic-{device:05d}", "low", 2000, "commanded", "limited site")))
    return rows


def sealed(path: Path, seconds: Sequence[list[Named]]) -> list[float]:
    waiting, wall = Waiting(100_000), [UTC_S]
    keep = Keep(history=400.0, usage=400.0, events=3650.0)
    file = JournalFile(path, keep=keep, utc=lambda: wall[0], waiting=waiting, busy_s=1.0)
    file.open()

    def second(rows: list[Named]) -> None:
        for name, row in rows:
            waiting.add(name, row)
        file.flush()
        wall[0] += 1.0

    spent = timed(second, seconds)
    file.finish()
    return spent


def written(path: Path, seconds: Sequence[list[Named]]) -> list[float]:
    with closing(sqlite3.connect(path)) as db:
        prepare(db)
        into = {
            name: f"INSERT INTO {name} VALUES (NULL{', ?' * len(columns)})"  # noqa: S608 our own names
            for name, columns in COLUMNS.items()
        }

        def second(rows: list[Named]) -> None:
            with db:
                for name in {name for name, _ in rows}:
                    db.executemany(into[name], [row for other, row in rows if other == name])

        return timed(second, seconds)


def timed(second: Callable[[list[Named]], None], seconds: Sequence[list[Named]]) -> list[float]:
    spent = []
    for rows in seconds:
        began_s = time.process_time()
        second(rows)
        spent.append(1000 * (time.process_time() - began_s))
    return spent


def written_bytes() -> int:
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["wchar"])


def energy_ms(nodes: int) -> float:
    """CPU of the energy of a tick, which is spent on the event loop."""
    meter = MinuteMeter()
    states = nodes_of(
        *(
            NodeState(
                node=f"pdu-{at:03d}",
                limit=Limit(Power(90_000)),
                granted=Power(50_000),
                worst=Power(60_000),
                drawn=Power(40_000),
                unexplained=Power(0),
                metered=Power(40_000),
            )
            for at in range(nodes)
        )
    )
    spent = []
    for at in range(200):
        began_s = time.process_time()
        meter.tick(float(at), UTC_S + at, states)
        spent.append(1000 * (time.process_time() - began_s))
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--commands", type=int, default=20)
    options = parser.parse_args()
    seconds = [second_of(at, options.nodes, options.commands) for at in range(options.seconds)]
    rows = sum(map(len, seconds))
    print(f"{options.seconds} s, {options.nodes} metered nodes, {options.commands} commands a second")
    with tempfile.TemporaryDirectory(prefix="journal-") as folder:
        for name, run in (("written", written), ("sealed", sealed)):
            path, before = Path(folder, f"{name}.db"), written_bytes()
            spent = run(path, seconds)
            grown, kb = path.stat().st_size / 1e6, (written_bytes() - before) / 1e3 / options.seconds
            print(
                f"{name:8} CPU a second: median {statistics.median(spent):.2f} ms, "
                f"mean {statistics.mean(spent):.2f} ms; {kb:.0f} kB written a second, file {grown:.1f} MB"
            )
        began_s = time.process_time()
        found = audit(Path(folder, "sealed.db"))
        took_s = time.process_time() - began_s
    print(f"audit: {rows} rows and {found.seals} seals in {took_s:.2f} s, verified: {found.is_verified}")
    print(f"energy of a tick of {options.nodes} metered nodes: {energy_ms(options.nodes):.3f} ms")


if __name__ == "__main__":
    main()
