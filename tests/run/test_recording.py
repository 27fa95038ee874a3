"""The recording of a running loop, and its replay: the same plans again, or what differs and why not."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from controller.__main__ import app
from controller.cli.replay import WARM_UP_S, Request, lines, moment, replay
from controller.decide.beyond import Beyond
from controller.decide.economics import CONSTANT
from controller.decide.inputs import PriceNow
from controller.decide.metering import NodeMemory
from controller.decide.snapshot import State
from controller.decide.words import CapReason
from controller.domain.devices import DeviceKind
from controller.domain.grid import EventInterval, GridEvent, LimitSignal, RelativeTargetSignal
from controller.domain.jobs import Job, JobState, JobStatus, PricedBy
from controller.domain.power import Limit, Power
from controller.domain.prices import Price, PriceKey
from controller.domain.site import Node, Policy, Prices, Site
from controller.run.prices import PriceSide
from controller.run.recording import recording as recordings
from controller.run.recording.recording import (
    SCHEMA_VERSION,
    WAITING_TICKS,
    Recording,
    RecordingError,
    recording_path,
)
from drivers.base import JobQueue
from tests.run.fleet import UTC_S, Jobs, Meter, Miner, miner, spec
from tests.run.test_loop import Operator, Shell
from tests.virtualtime import in_virtual_time

LIMIT = Limit(Power(10_000))
POLICY = Policy(margin=0.0, start_grace_s=5.0)
SITE = Site(name="plant", nodes=(Node(id="site", limit=LIMIT, meter="main"),), policy=POLICY)


def recording(path: Path, *, keep_days: float = 7.0, max_mb: float = 10.0) -> Recording:
    return Recording(path, site=SITE, program="1.2.3", keep_days=keep_days, max_mb=max_mb, busy_s=0.05)


@asynccontextmanager
async def recorded(
    path: Path,
    fleet: Sequence[Miner],
    *,
    operator: Operator | None = None,
    keeping: Recording | None = None,
    prices: PriceSide | None = None,
    queues: Sequence[JobQueue] = (),
    state: State | None = None,
) -> AsyncIterator[Shell]:
    """A site whose loop runs and is recorded until the block ends."""
    keeping = keeping or recording(path)
    shell = Shell(
        path.parent,
        fleet=fleet,
        meters=[Meter("main", fleet)],
        operator=operator,
        limit=LIMIT,
        policy=POLICY,
        recorder=keeping,
        prices=prices,
        queues=queues,
        state=state,
    )
    writing = asyncio.create_task(keeping.run())
    try:
        async with shell.running():
            yield shell
    finally:
        writing.cancel()
        await keeping.close()


def fleet() -> list[Miner]:
    return [miner(f"asic-{at}") for at in range(4)]


def event(cap_w: int, start_utc_s: float) -> GridEvent:
    interval = EventInterval(
        start_utc_s=start_utc_s, end_utc_s=start_utc_s + 60, signals=(LimitSignal(Power(cap_w)),)
    )
    return GridEvent(id="dr", version_utc_s=UTC_S, source="grid", intervals=(interval,))


async def an_hour_with_an_event(path: Path) -> None:
    """Two lives of one site: an event in the first, a machine that hangs in the second."""
    operator, machines = Operator(), fleet()
    async with recorded(path, machines, operator=operator):
        await asyncio.sleep(60)
        operator.events = (event(4_000, UTC_S + 90),)
        await asyncio.sleep(120)
    async with recorded(path, machines, operator=operator):
        await asyncio.sleep(60)
        machines[0].hangs = True
        await asyncio.sleep(60)


def altered(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(statement)


def chunks(path: Path) -> list[tuple[str, float, float]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT begins, first_utc_s, last_utc_s FROM chunks ORDER BY id").fetchall()


def copied(path: Path, to: Path) -> Path:
    """As a crash would leave it: the file and what SQLite has not yet moved into it."""
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            shutil.copy(source, to.with_name(to.name + suffix))
    return to


# -- the same again ----------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_recorded_site_replays_to_the_same_plans_through_an_event_and_a_restart(
    tmp_path: Path,
) -> None:
    path = recording_path(tmp_path / "journal.db")

    await an_hour_with_an_event(path)
    outcome = replay(Request(path=tmp_path / "journal.db"))

    assert (outcome.differing, outcome.first, outcome.notes) == (0, [], [])
    assert (outcome.starts, outcome.gaps, outcome.uncompared) == (2, 0, 0)
    assert 295 < outcome.ticks < 310
    assert list(lines(outcome)) == [
        f"{outcome.ticks} ticks, 0 differ; 0 commands differ (2 starts, 0 gaps, 0 ticks not compared)"
    ]


@in_virtual_time
async def test_a_replay_goes_on_from_what_a_relative_set_point_is_relative_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part of the recording begins with the state: also one that begins in the middle of the event."""
    monkeypatch.setattr(recordings, "CHUNK_S", 30.0)
    operator, path = Operator(), recording_path(tmp_path / "journal.db")
    change = RelativeTargetSignal(Power(-4_000))
    interval = EventInterval(start_utc_s=UTC_S + 40, end_utc_s=UTC_S + 130, signals=(change,))

    async with recorded(path, fleet(), operator=operator):
        operator.events = (GridEvent(id="dr", version_utc_s=UTC_S, source="grid", intervals=(interval,)),)
        await asyncio.sleep(140)
    altered(path, "DELETE FROM frames WHERE chunk <= 2")
    altered(path, "DELETE FROM chunks WHERE id <= 2")
    outcome = replay(Request(path=path))

    caps = [plan.cap_reason for _, plan in operator.told]
    assert caps.count(CapReason.TARGET) in range(88, 93)
    assert (outcome.differing, outcome.notes) == (0, [])
    assert outcome.ticks > 70


@in_virtual_time
async def test_a_replay_begins_a_life_with_what_the_process_before_handed_on(tmp_path: Path) -> None:
    """Here how much more a meter shows than its machines claim: watts that are kept for what nobody sees."""
    path, machines = recording_path(tmp_path / "journal.db"), fleet()
    handed = State(nodes={"site": NodeMemory(beyond=Beyond(3_000.0, 0.0, 3_000))})
    async with recorded(path, machines):
        await asyncio.sleep(20)
    async with recorded(path, machines, state=handed):
        await asyncio.sleep(20)

    outcome = replay(Request(path=path))

    assert (outcome.starts, outcome.differing, outcome.first) == (2, 0, [])


@in_virtual_time
async def test_a_replay_may_begin_and_end_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "CHUNK_S", 50.0)
    path = recording_path(tmp_path / "journal.db")
    await an_hour_with_an_event(path)

    outcome = replay(Request(path=path, from_utc_s=UTC_S + 120, to_utc_s=UTC_S + 139.5))

    assert [begins for begins, _, _ in chunks(path)].count("goes_on") >= 4
    assert (outcome.ticks, outcome.differing) == (20, 0)
    assert outcome.uncompared < 50


@in_virtual_time
async def test_the_state_is_taken_up_at_every_chunk_whatever_is_missing_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "CHUNK_S", 30.0)
    path = recording_path(tmp_path / "journal.db")
    await an_hour_with_an_event(path)
    whole = replay(Request(path=path)).ticks

    altered(path, "DELETE FROM chunks WHERE id IN (1, 4)")
    outcome = replay(Request(path=path))

    assert whole - 65 < outcome.ticks < whole - 55
    assert (outcome.differing, outcome.uncompared) == (0, 0)


# -- what differs ------------------------------------------------------------------------------------------


@in_virtual_time
async def test_another_limit_shows_which_devices_would_have_been_told_what(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    await an_hour_with_an_event(path)
    tighter = replace(SITE, nodes=(replace(SITE.root, limit=Limit(Power(7_000))),))

    outcome = replay(Request(path=path, site=tighter, limit=4))

    assert outcome.differing > 100
    assert outcome.commands > 0
    assert len(outcome.first) == 4
    assert (outcome.first[0].subject, outcome.first[0].recorded) == ("cap", "10.0 kW rating")
    assert outcome.first[0].replayed == "7000 W rating"
    assert "  cap: 10.0 kW rating -> 7000 W rating" in list(lines(outcome))


class Market:
    """Energy is from a source, hashing as in the site file."""

    def now(self) -> tuple[PriceNow, ...]:
        energy, hashing = PriceKey(price=Price.ENERGY), PriceKey(price=Price.HASH)
        return (
            PriceNow(key=energy, value=0.04, source="dam", age_s=5.0),
            PriceNow(key=hashing, value=SITE.prices.usd_per_ths_day, source=CONSTANT, age_s=None),
        )


@in_virtual_time
async def test_a_price_of_the_given_site_takes_the_place_of_a_constant_and_not_of_a_source(
    tmp_path: Path,
) -> None:
    path = recording_path(tmp_path / "journal.db")
    async with recorded(path, fleet(), prices=Market()):
        await asyncio.sleep(60)

    same = replay(Request(path=path, site=SITE))
    dearer = replay(Request(path=path, site=replace(SITE, prices=Prices(usd_per_kwh=5.0))))
    worthless = replay(Request(path=path, site=replace(SITE, prices=Prices(usd_per_ths_day=0.0))))

    assert (same.differing, dearer.differing) == (0, 0)
    stopped = [it for it in worthless.first if it.subject == "command asic-0"]
    assert stopped[0].replayed.startswith("sleep")


@in_virtual_time
async def test_a_job_without_a_price_of_its_own_is_worth_what_the_given_site_says(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    work = Job(id="j", gpus=1, usd_per_gpu_hour=0.0, priced_by=PricedBy.SITE)
    queue = Jobs("q", jobs=(JobStatus(job=work, state=JobState.RUNNING, gpus=("gpu-0",)),))
    async with recorded(path, [Miner(replace(spec("gpu-0"), kind=DeviceKind.GPU))], queues=[queue]):
        await asyncio.sleep(30)

    outcome = replay(Request(path=path, site=replace(SITE, prices=Prices(usd_per_gpu_hour={"any": 5.0}))))

    requeued = [found for found in outcome.first if found.subject == "job q/j"]
    assert requeued[0].recorded.startswith("requeue")
    assert {found.replayed for found in requeued} == {"none"}


@in_virtual_time
async def test_what_a_job_would_have_been_told_comes_with_its_reason(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    work = JobStatus(job=Job(id="j", gpus=1, usd_per_gpu_hour=5.0), state=JobState.RUNNING, gpus=("gpu-0",))
    gpus = [Miner(replace(spec("gpu-0"), kind=DeviceKind.GPU))]
    async with recorded(path, gpus, queues=[Jobs("q", jobs=(work,))]):
        await asyncio.sleep(30)

    tighter = replace(SITE, nodes=(replace(SITE.nodes[0], limit=Limit(Power(500))),))
    outcome = replay(Request(path=path, site=tighter))

    [told] = {found.replayed for found in outcome.first if found.subject == "job q/j"}
    assert told == "requeue on what it has, for limited site rating"


@in_virtual_time
async def test_a_site_that_lacks_a_devices_node_is_refused(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    await an_hour_with_an_event(path)
    other = replace(SITE, name="other", nodes=(replace(SITE.root, id="hall"),))

    with pytest.raises(RecordingError, match="site 'other' has no node 'site', where asic-0 hangs"):
        replay(Request(path=path, site=other))


@in_virtual_time
async def test_without_the_state_a_replay_warms_up_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "CHUNK_S", 20.0)
    path = recording_path(tmp_path / "journal.db")
    async with recorded(path, fleet()):
        await asyncio.sleep(40 + WARM_UP_S)
    altered(path, "DELETE FROM chunks WHERE id = 1")
    grown = Node(id="annex", parent="site")

    outcome = replay(Request(path=path, site=replace(SITE, nodes=(*SITE.nodes, grown))))

    assert 295 < outcome.uncompared < 305
    assert (outcome.ticks > 10, outcome.differing) == (True, outcome.ticks)  # the new node is in every sum
    assert "are not compared" in outcome.notes[0]


# -- trouble -----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_decision_that_fails_is_recorded_and_fails_again(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    keeping = recording(path)
    async with recorded(path, fleet(), keeping=keeping) as shell:
        await asyncio.sleep(29.5)
        assert shell.board.last is not None
        nowhere = replace(shell.board.last.inputs, specs=(spec("asic-0", node="nowhere"),))
        keeping.deciding(shell.board.last.state, nowhere)

    outcome = replay(Request(path=path))

    assert (outcome.ticks, outcome.differing) == (31, 0)  # thirty that went well, and this one


@in_virtual_time
async def test_a_decision_that_failed_then_and_not_now_is_a_difference(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    keeping = recording(path)
    async with recorded(path, fleet(), keeping=keeping) as shell:
        await asyncio.sleep(29.5)
        assert shell.board.last is not None
        keeping.deciding(shell.board.last.state, shell.board.last.inputs)

    outcome = replay(Request(path=path))

    assert outcome.differing == 1
    assert outcome.first[0].recorded == "nothing: it stopped here"


@in_virtual_time
async def test_what_was_flushed_is_there_after_the_writer_died_without_a_word(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    async with recorded(path, fleet()):
        await asyncio.sleep(30)
        killed = copied(path, tmp_path / "killed.db")
    outcome = replay(Request(path=killed))

    assert outcome.differing == 0
    assert outcome.ticks in (29, 30)


@in_virtual_time
async def test_ticks_that_cannot_be_written_are_a_gap_and_what_follows_replays(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    with capture_logs() as logs:
        async with recorded(path, fleet()):
            await asyncio.sleep(20)
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await asyncio.sleep(5)
                other.execute("ROLLBACK")
            await asyncio.sleep(20)

    outcome = replay(Request(path=path))

    events = [entry["event"] for entry in logs if entry["event"].startswith("recording")]
    assert events == ["recording_not_written", "recording_written_again"]
    assert (outcome.differing, outcome.gaps) == (0, 1)
    assert 36 < outcome.ticks < 43


@in_virtual_time
async def test_a_disk_that_hangs_costs_the_oldest_ticks_and_no_more_memory(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    keeping = recording(path)
    async with recorded(path, fleet()) as shell:
        await asyncio.sleep(5)
        assert shell.board.last is not None
        tick = shell.board.last
    for _ in range(WAITING_TICKS + 5):  # nobody writes
        keeping.deciding(tick.state, tick.inputs)
        keeping.decided(tick.plan)
    await keeping.close()

    assert [begins for begins, _, _ in chunks(path)] == ["start", "gap"]
    assert replay(Request(path=path)).ticks == shell.board.ticks + WAITING_TICKS


@pytest.mark.parametrize(("keep_days", "max_mb"), [(60 / 86_400, 10.0), (7.0, 0.001)])
def test_a_recording_is_bounded_by_age_and_by_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_days: float, max_mb: float
) -> None:
    monkeypatch.setattr(recordings, "CHUNK_S", 10.0)
    path = recording_path(tmp_path / "journal.db")

    @in_virtual_time
    async def two_hundred_seconds() -> None:
        async with recorded(path, fleet(), keeping=recording(path, keep_days=keep_days, max_mb=max_mb)):
            await asyncio.sleep(200)

    two_hundred_seconds()
    left = chunks(path)

    assert 1 <= len(left) <= 8
    assert left[-1][2] > UTC_S + 198
    assert replay(Request(path=path)).differing == 0


@in_virtual_time
async def ten_seconds(path: Path) -> None:
    async with recorded(path, fleet()):
        await asyncio.sleep(10)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 40, None])
def test_a_file_that_cannot_be_gone_on_with_is_put_aside(tmp_path: Path, content: bytes | None) -> None:
    path = recording_path(tmp_path / "journal.db")
    if content is not None:
        path.write_bytes(content)
    else:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 99")

    with capture_logs() as logs:
        ten_seconds(path)

    assert "recording_put_aside" in [entry["event"] for entry in logs]
    assert path.with_name(path.name + ".old").exists()
    assert replay(Request(path=path)).ticks > 8


def test_a_file_that_turns_out_to_be_damaged_is_put_aside_and_recording_goes_on(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    in_virtual_time(an_hour_with_an_event)(path)
    with closing(sqlite3.connect(path)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'frames'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)

    with capture_logs() as logs:
        ten_seconds(path)
    told = [entry["event"] for entry in logs if entry["event"].startswith("recording_")]
    found = replay(Request(path=path))

    assert told == ["recording_put_aside"]
    assert path.with_name(path.name + ".old").exists()
    assert (found.ticks > 8, found.differing) == (True, 0)


REPLAYS = """
import os, sys
from pathlib import Path
from controller.cli.replay import Request, replay
if os.getuid() == 0:
    os.setuid(65534)
print(replay(Request(path=Path(sys.argv[1]))).differing)
"""


def test_a_recording_is_replayed_where_nothing_can_be_written() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = recording_path(Path(folder, "journal.db"))
        ten_seconds(path)
        path.chmod(0o444)
        Path(folder).chmod(0o555)

        done = subprocess.run(
            [sys.executable, "-c", REPLAYS, str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        Path(folder).chmod(0o755)

    assert (done.stdout, done.stderr) == ("0\n", "")


def test_what_cannot_be_replayed_is_named_with_its_file(tmp_path: Path) -> None:
    path = recording_path(tmp_path / "journal.db")
    in_virtual_time(an_hour_with_an_event)(path)
    torn, newer, empty = (copied(path, tmp_path / f"{name}.db") for name in ("torn", "newer", "empty"))
    missing, scrambled = copied(path, tmp_path / "missing.db"), copied(path, tmp_path / "scrambled.db")
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    altered(newer, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    altered(empty, "DELETE FROM chunks")
    altered(missing, "DELETE FROM frames WHERE chunk = 1 AND at = 5")
    altered(scrambled, "UPDATE frames SET data = x'00ff00ff' WHERE chunk = 1 AND at = 5")
    unread, unheard = copied(path, tmp_path / "unread.db"), copied(path, tmp_path / "unheard.db")
    unread.write_bytes(unread.read_bytes().replace(b"CREATE TABLE frames", b"CR\xffATE TABLE frames"))
    altered(unheard, "UPDATE chunks SET begins = 'staxt'")
    (tmp_path / "notes.txt").write_text("nothing of the kind" * 100, encoding="utf-8")
    journal = tmp_path / "other.db"
    altered(journal, "CREATE TABLE commands (utc_s REAL)")

    complaints = {
        torn: "malformed|torn|no tick",
        newer: f"schema {SCHEMA_VERSION + 1}, this program reads {SCHEMA_VERSION}",
        empty: "no tick of that time is recorded",
        missing: "chunk 1: frame 5 is missing",
        scrambled: "chunk 1: torn",
        unread: "malformed database schema: bytes that are no text",
        unheard: "chunk 1: 'staxt' is not a valid Begins",
        tmp_path / "notes.txt": "not a database",
        journal: "not a recording, and none lies beside it",
        tmp_path / "absent.db": "no such file",
    }
    for file, complaint in complaints.items():
        with pytest.raises(RecordingError, match=complaint) as raised:
            replay(Request(path=file))
        assert str(file) in str(raised.value)


def reworded(path: Path, chunk: int, word: str, other: str) -> None:
    """As a program would have recorded it that calls something by another word."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        rows = db.execute("SELECT data FROM frames WHERE chunk = ? ORDER BY at", (chunk,)).fetchall()
        unpacker = zlib.decompressobj()
        text = b"".join(unpacker.decompress(data) for (data,) in rows)
        assert word.encode() in text
        packer = zlib.compressobj()
        data = packer.compress(text.replace(word.encode(), other.encode())) + packer.flush(zlib.Z_SYNC_FLUSH)
        db.execute("DELETE FROM frames WHERE chunk = ?", (chunk,))
        db.execute("INSERT INTO frames VALUES (?, 0, ?)", (chunk, data))


def test_what_another_version_recorded_and_this_one_cannot_read_is_passed_over_and_said(
    tmp_path: Path,
) -> None:
    path = recording_path(tmp_path / "journal.db")
    in_virtual_time(an_hour_with_an_event)(path)
    alone = copied(path, tmp_path / "alone.db")
    reworded(path, 1, '"measured"', '"weighed"')
    reworded(alone, 1, '"measured"', '"weighed"')
    altered(alone, "DELETE FROM chunks WHERE id > 1")

    outcome = replay(Request(path=path))
    with pytest.raises(RecordingError) as raised:
        replay(Request(path=alone, from_utc_s=UTC_S + 30))

    assert (outcome.unread, outcome.differing) == (1, 0)
    assert outcome.ticks > 100
    (said,) = outcome.notes
    assert "'weighed' is not a valid Quality. Wattshift 1.2.3 recorded this" in said
    assert "install that version" in str(raised.value)
    assert list(lines(outcome))[-1].endswith("1 stretches of another version not read)")


def test_a_time_is_utc_unless_it_says_otherwise() -> None:
    assert moment(None, 7.0) == 7.0
    assert moment("2027-01-15T08:00", 0.0) == moment("2027-01-15T09:00+01:00", 0.0) == UTC_S
    with pytest.raises(RecordingError, match="'noon' is not a time"):
        moment("noon", 0.0)


# -- the command -------------------------------------------------------------------------------------------


def test_the_command_says_what_differs_and_ends_with_what_it_found(tmp_path: Path) -> None:
    path, site = recording_path(tmp_path / "journal.db"), tmp_path / "site.toml"
    in_virtual_time(an_hour_with_an_event)(path)
    site.write_text(
        'name = "plant"\nnodes = [{ id = "site", limit_kw = 7, meter = "main" }]\n'
        'modbus = [{ id = "m", host = "127.0.0.1", points = [{ kind = "power", meter = "main", unit = 1,'
        ' address = 0, type = "float32", max_w = 90000 }] }]\n',
        encoding="utf-8",
    )

    def command(*options: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["replay", *options])
        return result.exit_code, result.stdout, " ".join(result.stderr.split())

    same = command(str(tmp_path / "journal.db"), "--from", "2027-01-15T08:00:30")
    other = command(str(path), "--site", str(site), "--limit", "1")
    assert (same[0], same[2]) == (0, "")
    assert ", 0 differ; 0 commands differ" in same[1]
    assert other[0] == 1
    assert other[1].splitlines()[:2] == ["2027-01-15T08:00:00.000Z", "  cap: 10.0 kW rating -> 7000 W rating"]
    assert command(str(path), "--to", "2020-01-01")[::2] == (
        2,
        f"{path}: no tick of that time is recorded",
    )
    assert command(str(path), "--to", "noon")[0] == 2
    assert command(str(path), "--site", str(path))[0] == 2
