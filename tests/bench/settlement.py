"""What evidence costs: each baseline from a journal of months, as it is computed live, and a whole report.

    python -m tests.bench.settlement [--days N] [--nodes N] [--events N]

The journal has a row a minute and node, ticks of two days, and events of years. CPU is of the thread that
computes: while the controller runs, its loop has to share a core with that.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from controller.grid.entries import Entry
from controller.grid.stored import to_text
from controller.run.journal.history import opened
from controller.run.settling.baselines import Agreement, baseline_for, told
from controller.run.settling.gathering import Question, gather
from controller.settlement.days import Calendar
from controller.settlement.methods import KNOWN, Method
from controller.settlement.page import as_html
from controller.settlement.performance import Terms
from tests.run.journaled import CHICAGO, START_UTC_S, Site, accepted

US = 1_000_000
DAY_S = 86_400
REPEATS = 5


async def lived(path: Path) -> None:
    site = Site(path)
    site.now_utc_s = START_UTC_S - 600
    await site.journal.open()
    await site.hears(accepted("dr-7"))
    site.draws([100.0] * 1200)
    await site.journal.close()


def grown(path: Path, days: int, nodes: int, events: int) -> None:
    """The months before, put in without their seals: nothing here looks at those."""
    first_s = int(START_UTC_S - days * DAY_S) // 60 * 60
    with sqlite3.connect(path) as db:
        count = "SELECT coalesce(max(id), 0) FROM "
        taken = {name: db.execute(count + name).fetchone()[0] for name in ("usage", "samples", "events")}
        db.executemany(
            "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, NULL)", _minutes(taken, first_s, days, nodes)
        )
        db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?, 0, 0)", _ticks(taken))
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, '', ?)", _events(taken, events))
    db.close()


def _minutes(taken: dict[str, int], first_s: int, days: int, nodes: int) -> Iterator[tuple[object, ...]]:
    row = taken["usage"]
    for minute in range(days * 1440 - 60):
        for node in range(nodes):
            row += 1
            name = "site" if node == 0 else f"pdu-{node}"
            yield row, (first_s + minute * 60) * US, name, 100_000 + minute % 977, 6_000_000, 60_000


def _ticks(taken: dict[str, int]) -> Iterator[tuple[object, ...]]:
    for tick in range(2 * DAY_S):
        at_us = int(START_UTC_S - 3 * DAY_S + tick) * US
        yield taken["samples"] + 1 + tick, at_us, "site", 100_000, 200_000


def _events(taken: dict[str, int], events: int) -> Iterator[tuple[object, ...]]:
    """One in the early morning of each of so many days, which spoils that day for like days."""
    for n in range(events):
        start_utc_s = START_UTC_S - (60 + n) * DAY_S
        content = accepted(f"e-{n}", start_utc_s=start_utc_s)
        text = to_text(Entry(id=f"e-{n}", content=content))
        yield taken["events"] + 1 + n, int(start_utc_s - 600) * US, "iso", f"e-{n}", US, "RECEIVED", text


def agreement(method: Method) -> Agreement:
    calendar = Calendar(zone=CHICAGO, interval_s=900)
    return Agreement(method=method, calendar=calendar, node="site", meter_holds_s=5.0)


def baseline(path: Path, method: Method) -> None:
    with opened(path) as history:
        rows = [told(row) for row in history.event("dr-7")]
        baseline_for(history, agreement(method), "dr-7", rows, START_UTC_S + 2 * DAY_S)


def report(path: Path) -> None:
    question = Question(
        event="dr-7",
        agreement=agreement(KNOWN["10-of-10"]),
        terms=Terms(interval_s=60),
        calendar=Calendar(zone=CHICAGO, interval_s=60),
        now_utc_s=START_UTC_S + 2 * DAY_S,
        version_utc_s=None,
        part=None,
        site="bench",
        zone_name="America/Chicago",
        program="bench",
        lead_s=20.0,
    )
    with opened(path) as history:
        as_html(gather(history, question))


def measured(what: str, work: Callable[[], None]) -> None:
    wall, cpu = [], []
    for _ in range(REPEATS):
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        work()
        wall.append(time.perf_counter() - wall_s)
        cpu.append(time.thread_time() - cpu_s)
    print(
        f"{what:24} {sorted(cpu)[REPEATS // 2] * 1e3:8.1f} ms CPU {sorted(wall)[REPEATS // 2] * 1e3:8.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--events", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.db"
        asyncio.run(lived(path))
        grown(path, options.days, options.nodes, options.events)
        print(f"{options.days} days, {options.nodes} nodes, {options.events} events; medians of {REPEATS}")
        for name, method in sorted(KNOWN.items()):
            measured(name, lambda method=method: baseline(path, method))  # type: ignore[misc]  # bound now
        measured("report as a page", lambda: report(path))


if __name__ == "__main__":
    main()
