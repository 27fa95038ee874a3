"""History as reports read it: typed rows of a window, while the controller writes or years later."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from controller.domain.grid import (
    EventInterval,
    EventStatus,
    GridEvent,
    LimitSignal,
    RelativeTargetSignal,
    TargetSignal,
)
from controller.domain.power import NO_LIMIT, Limit, Power
from controller.grid import advancing, ledger
from controller.grid.entries import Ledger
from controller.grid.keeping import Verdict
from controller.grid.results import Accepted, Cancelled, MessageResult, Reason, Rejected
from controller.grid.site import Progress
from controller.run.journal.happenings import AMENDED, DRAWN_BEFORE, happenings, streamed
from controller.run.journal.history import HistoryError, opened
from controller.run.journal.journal import Journal
from controller.run.journal.schema import Bookkeeping
from controller.run.operators.shelf import Shelf
from tests.run import boards
from tests.run.evidence import Site
from tests.run.fleet import UTC_S


def version(at_s: float, *, kw: int = 400, end_s: float = 600, name: str = "dr-7") -> Accepted:
    interval = EventInterval(
        start_utc_s=UTC_S + 60, end_utc_s=UTC_S + end_s, signals=(LimitSignal(Power.kw(kw)),)
    )
    event = GridEvent(
        id=name,
        version_utc_s=UTC_S + at_s,
        source="openadr",
        intervals=(interval,),
        ramp_deadline_s=120.0,
        priority=2,
    )
    return Accepted(event=event, stamp=f"v{at_s}")


class Operator:
    """A ledger, and a journal that keeps what happens in it."""

    def __init__(self, journal: Journal, name: str = "", *, is_stream: bool = False) -> None:
        self.book = Ledger()
        self._shelf = Shelf(journal, name)
        self._tell = streamed if is_stream else happenings

    async def says(self, result: MessageResult, at_s: float) -> None:
        await self._kept(*ledger.receive(self.book, result, UTC_S + at_s), at_s)

    async def hears(self, progress: Progress, at_s: float) -> None:
        await self._kept(*advancing.advance(self.book, progress, UTC_S + at_s), at_s)

    async def freezes(self, progress: Progress, at_s: float) -> None:
        await self._kept(*advancing.keep_drawn(self.book, progress, UTC_S + at_s), at_s)

    async def waits(self, at_s: float) -> None:
        await self._kept(*ledger.settle(self.book, UTC_S + at_s), at_s)

    async def _kept(self, after: Ledger, verdict: Verdict, at_s: float) -> None:
        await self._shelf.record((), (), self._tell(self.book, after, verdict, UTC_S + at_s))
        self.book = after


async def journal_at(path: Path) -> Journal:
    keeping = Journal(path, 400.0, lambda: UTC_S)
    await keeping.open()
    return keeping


# -- events --------------------------------------------------------------------------------------------------


async def test_years_later_every_version_of_an_event_can_be_read_with_what_became_of_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    keeping = await journal_at(path)
    operator, own = Operator(keeping), Operator(keeping, "own")
    compliant = Progress(event="dr-7", version_utc_s=UTC_S + 2, status=EventStatus.COMPLIANT)

    await operator.says(version(1), 1)
    await operator.says(version(1), 2)  # again: nothing happened
    await operator.says(version(2, kw=300), 3)
    await operator.says(
        Rejected(reason=Reason.NO_UNITS, detail="unit: none", id="dr-7", version_utc_s=UTC_S + 4), 4
    )
    await operator.hears(compliant, 70)
    await operator.waits(700)
    await own.says(version(5, name="manual"), 5)
    await own.says(Cancelled(id="manual", version_utc_s=UTC_S + 6, stamp="6"), 6)
    await keeping.close()

    with opened(path) as history:
        rows = history.event("dr-7")
        by_people = history.event("own:manual")
        window = [row.status for row in history.events(UTC_S + 3, UTC_S + 70)]
    assert [(row.status, row.utc_s - UTC_S, row.version_utc_s) for row in rows] == [
        ("RECEIVED", 1, UTC_S + 1),
        ("SUPERSEDED", 3, UTC_S + 1),
        ("RECEIVED", 3, UTC_S + 2),
        ("REJECTED", 4, UTC_S + 4),
        ("STARTED", 70, UTC_S + 2),
        ("COMPLIANT", 70, UTC_S + 2),
        ("COMPLETED", 700, UTC_S + 2),
    ]
    assert [row.version for row in rows if row.version] == [version(1).event, version(2, kw=300).event]
    assert rows[3].why == "NO_UNITS unit: none"
    assert [(row.operator, row.id, row.status) for row in by_people] == [
        ("own", "own:manual", "RECEIVED"),
        ("own", "own:manual", "SUPERSEDED"),
        ("own", "own:manual", "CANCELLED"),
    ]
    assert window == ["SUPERSEDED", "RECEIVED", "REJECTED", "RECEIVED", "SUPERSEDED", "CANCELLED"]


@pytest.mark.parametrize(
    ("operator", "event"), [("own", "peak/2026-11-24T16:00:00.000Z"), ("dsx", "dc:a/0-1"), ("", "dc:a/0-1")]
)
async def test_an_event_whose_own_name_has_colons_is_found_by_its_whole_name(
    tmp_path: Path, operator: str, event: str
) -> None:
    path = tmp_path / "journal.db"
    keeping = await journal_at(path)
    await Operator(keeping, operator).says(version(1, name=event), 1)
    await keeping.close()

    with opened(path) as history:
        [listed] = history.events()
        found = history.event(listed.id)

    assert found == (listed,)


async def test_the_same_version_with_another_content_is_kept_though_its_sender_hears_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal.db"
    keeping = await journal_at(path)
    operator = Operator(keeping)
    copies = sorted((version(1, kw=400), version(1, kw=300)), key=repr)

    for copy in copies:
        await operator.says(copy, 1)
    await keeping.close()

    with opened(path) as history:
        rows = history.event("dr-7")
    assert [(row.status, row.version) for row in rows] == [
        ("RECEIVED", copies[0].event),
        (AMENDED, copies[1].event),
    ]


async def test_a_stream_leaves_its_set_points_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    keeping = await journal_at(path)
    stream = Operator(keeping, "iso", is_stream=True)

    for second in range(0, 10, 2):
        start_s = UTC_S + second
        target = EventInterval(
            start_utc_s=start_s, end_utc_s=start_s + 10, signals=(TargetSignal(Power(30_000 + second)),)
        )
        silence = EventInterval(
            start_utc_s=start_s + 10, end_utc_s=math.inf, signals=(LimitSignal(Power(1)),)
        )
        event = GridEvent(
            id="base-point", version_utc_s=start_s, source="base-point", intervals=(target, silence)
        )
        await stream.says(Accepted(event=event, stamp="x"), second)
    await keeping.close()

    with opened(path) as history:
        points = list(history.set_points(UTC_S, UTC_S + 5))
        assert list(history.events()) == []
    assert [(point.operator, point.utc_s - UTC_S, point.target.watts) for point in points] == [
        ("iso", 0, 30_000),
        ("iso", 2, 30_002),
        ("iso", 4, 30_004),
    ]
    assert points[0].end_utc_s == UTC_S + 10


async def test_what_an_operator_was_told_is_possible_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    keeping = await journal_at(path)
    operator, stream = Operator(keeping), Operator(keeping, "iso", is_stream=True)

    def short(event: str, kw: int) -> Progress:
        return Progress(
            event=event, version_utc_s=UTC_S + 1, status=EventStatus.INFEASIBLE, possible=Power.kw(kw)
        )

    await operator.says(version(1), 1)
    await operator.hears(short("dr-7", 450), 70)
    await operator.hears(short("dr-7", 420), 90)
    await stream.says(version(1, name="base-point"), 1)
    await stream.hears(short("base-point", 420), 95)
    await keeping.close()

    with opened(path) as history:
        told = [
            (row.id, row.utc_s - UTC_S, row.possible) for row in history.events() if row.possible is not None
        ]
    assert told == [
        ("dr-7", 70, Power.kw(450)),
        ("dr-7", 90, Power.kw(420)),
        ("iso:base-point", 95, Power.kw(420)),
    ]


async def test_what_a_set_point_is_relative_to_is_kept_once_whatever_its_versions(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    keeping = await journal_at(path)
    operator = Operator(keeping)

    def change(at_s: float, start_s: float = 60) -> Accepted:
        interval = EventInterval(
            start_utc_s=UTC_S + start_s,
            end_utc_s=UTC_S + start_s + 600,
            signals=(RelativeTargetSignal(Power.kw(-100)),),
        )
        event = GridEvent(
            id="dr-7", version_utc_s=UTC_S + at_s, source="openadr", intervals=(interval,), priority=1
        )
        return Accepted(event=event, stamp=f"v{at_s}")

    async def frozen(version_s: float, at_s: float, kw: int) -> None:
        progress = Progress(
            event="dr-7",
            version_utc_s=UTC_S + version_s,
            status=EventStatus.STARTED,
            drawn_before=Power.kw(kw),
        )
        await operator.freezes(progress, at_s)

    await operator.says(change(1), 1)
    await frozen(1, 61, 500)
    await operator.says(change(100), 100)  # goes on: what was frozen holds
    await frozen(100, 101, 300)
    await operator.says(change(200, start_s=2000), 200)  # put off: it begins anew
    await frozen(200, 2001, 400)
    await keeping.close()

    with opened(path) as history:
        rows = [row for row in history.event("dr-7") if row.status == DRAWN_BEFORE]
    assert [(row.utc_s - UTC_S, row.version_utc_s, row.drawn_before) for row in rows] == [
        (61, UTC_S + 1, Power.kw(500)),
        (2001, UTC_S + 200, Power.kw(400)),
    ]


async def test_an_event_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    with site.running() as file:
        site.event(file, "dr-7", text='{"=":"Nonsense"}')

    with opened(site.path) as history, pytest.raises(HistoryError, match=r"journal\.db: event 'dr-7': "):
        history.event("dr-7")


# -- energy --------------------------------------------------------------------------------------------------


async def test_a_minute_of_ticks_is_a_row_for_each_metered_node(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    wall = [UTC_S]
    keeping = Journal(path, 400.0, lambda: wall[0])
    await keeping.open()

    for second in range(121):
        nodes = (
            boards.node("site", limit=Limit(Power(9000)), metered_w=4000 + second),
            boards.node("pdu", metered_w=1000 if second < 30 else None),
            boards.node("row"),
        )
        keeping.planned(replace(boards.tick(nodes=nodes).plan, now_s=float(second)))
        wall[0] += 1.0
    await keeping.close()

    with opened(path) as history:
        site = list(history.usage("site", UTC_S, UTC_S + 3600))
        pdu = list(history.usage("pdu", UTC_S, UTC_S + 3600))
        assert history.nodes() == ("pdu", "site")
    assert [row.minute_utc_s for row in site] == [UTC_S, UTC_S + 60]
    assert [row.energy_ws for row in site] == [60 * 4030, 60 * 4090]
    assert [(row.mean, row.measured_s, row.limit) for row in site] == [
        (Power(4030), 60.0, Limit(Power(9000))),
        (Power(4090), 60.0, Limit(Power(9000))),
    ]
    assert [(row.energy_ws, row.measured_s, row.limit) for row in pdu] == [(29_000, 29.0, NO_LIMIT)]


async def test_the_minutes_of_a_site_with_slow_ticks_are_measured_as_well(tmp_path: Path) -> None:
    """Twelve seconds a tick, three of which a reading holds; then a pause that is longer."""
    wall = [UTC_S]
    keeping = Journal(tmp_path / "journal.db", 400.0, lambda: wall[0], reading_holds_s=36.0)
    await keeping.open()

    for elapsed_s in (0.0, 12.0, 24.0, 36.0, 48.0, 60.0, 100.0, 112.0):
        wall[0] = UTC_S + elapsed_s
        nodes = (boards.node("site", metered_w=4000),)
        keeping.planned(replace(boards.tick(nodes=nodes).plan, now_s=elapsed_s))
    await keeping.close()

    with opened(tmp_path / "journal.db") as history:
        found = [(row.energy_ws, row.measured_s) for row in history.usage("site", UTC_S, UTC_S + 3600)]
    assert found == [(60 * 4000, 60.0), (12 * 4000, 12.0)]


def test_a_minute_that_a_restart_cut_in_two_is_read_as_one(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    with site.running():
        site.waiting.add("usage", (0, "site", 100, 2000, 20_000, 500))
        site.waiting.add("usage", (0, "site", 400, 8000, 20_000, None))

    with opened(site.path) as history:
        (row,) = history.usage("site", 0, 60)

    assert (row.energy_ws, row.measured_s, row.mean) == (10_000, 40.0, Power(250))
    assert row.limit == Limit(Power(500))


# -- windows and files ---------------------------------------------------------------------------------------


def test_rows_of_a_window_come_in_the_order_of_time(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    with site.running() as file:
        for _ in range(40):
            site.second(file)

        with opened(site.path) as history:  # the writer has not ended
            samples = list(history.samples("site", UTC_S + 10, UTC_S + 13))
            commands = list(history.commands(UTC_S, UTC_S + 14))
            alarms = list(history.alarms(-math.inf, math.inf))
            marks = list(history.bookkeeping())
    assert [row.utc_s - UTC_S for row in samples] == [10, 11, 12]
    assert (samples[0].metered, samples[0].limit) == (Power(4000), Limit(Power(9000)))
    assert [row.device for row in commands] == ["asic-1", "asic-3"]
    assert [(row.subject, row.is_raised) for row in alarms] == [("hall", True), ("hall", False)]
    assert [(mark.what, mark.detail) for mark in marks] == [(Bookkeeping.STARTED, "a new journal")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"nonsense" * 1000, "not a database"),
        ("CREATE TABLE x (y)", "not a journal"),
        ("CREATE TABLE samples (y); PRAGMA user_version = 1", "schema 1 is upgraded when"),
        ("CREATE TABLE samples (y); PRAGMA user_version = 99", "schema 99, this program reads"),
    ],
)
def test_a_file_that_is_no_journal_is_named_with_the_reason(
    tmp_path: Path, content: bytes | str | None, says: str
) -> None:
    path = tmp_path / "journal.db"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with closing(sqlite3.connect(path)) as db:
            db.executescript(content)

    with pytest.raises(HistoryError, match=rf"journal\.db: .*{says}"), opened(path):
        pass


READS = """
import os, sys
from pathlib import Path
from controller.run.journal.audit import audit
if os.getuid() == 0:
    os.setuid(65534)
print(audit(Path(sys.argv[1])).is_verified)
"""


def test_a_journal_is_read_where_nothing_can_be_written() -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder, "journal.db"))
        with site.running() as file:
            site.second(file)
        site.path.chmod(0o444)
        Path(folder).chmod(0o555)

        done = subprocess.run(
            [sys.executable, "-c", READS, str(site.path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        Path(folder).chmod(0o755)

    assert (done.stdout, done.stderr) == ("True\n", "")
