"""The archive: every finished day as a file that verifies alone, and nothing dropped before it is there."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.run.journal.archive import Archive
from controller.run.journal.audit import audit
from controller.run.journal.excerpt import Excerpt
from controller.run.journal.file import JournalFile
from controller.run.journal.journal import Journal
from controller.run.journal.retention import DAY_US, Keep
from controller.run.journal.seals import Anchor
from tests.run.evidence import Site
from tests.run.fleet import UTC_S

DAY_S = DAY_US / 1e6
TWO_DAYS = Keep(history=2.0, usage=2.0, events=2.0, archives=True)


def site_at(tmp_path: Path) -> Site:
    """A site that is about to see its first day, at noon."""
    return Site(tmp_path / "journal.db", utc_s=UTC_S - UTC_S % DAY_S + DAY_S / 2, keep=TWO_DAYS)


def archive_of(site: Site, file: JournalFile) -> Archive:
    async def written(excerpt: Excerpt) -> None:
        file.archived(excerpt)

    directory = site.path.with_name("archive")
    return Archive(site.path, directory, utc=lambda: site.utc_s, written=written, pause_s=0.0)


def files(site: Site) -> list[Path]:
    return sorted(site.path.with_name("archive").glob("*"))


async def days(site: Site, file: JournalFile, archive: Archive | None, count: int) -> None:
    for _ in range(count):
        for _ in range(3):
            site.second(file)
        site.next_days(file)
        if archive is not None:
            await archive.catch_up()


async def test_every_finished_day_is_a_file_that_follows_the_one_before(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    with site.running() as file:
        await days(site, file, archive_of(site, file), 5)

    names = [path.name for path in files(site)]
    assert [name[:19] for name in names] == [f"journal-2027-01-{day}-" for day in (15, 16, 17, 18, 19)]
    follows = None
    for path in files(site):
        found = audit(path, [] if follows is None else [follows])
        assert (found.is_verified, found.is_excerpt, found.rows["samples"]) == (True, True, 3)
        assert found.confirmed == ([] if follows is None else [follows])
        follows = found.last


async def test_the_journal_names_each_file_and_its_hash(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    with site.running() as file:
        await days(site, file, archive_of(site, file), 3)

    with closing(sqlite3.connect(site.path)) as db:
        said = db.execute("SELECT subject, detail FROM bookkeeping WHERE what = 'archived'").fetchall()
    assert said == [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files(site)]
    assert audit(site.path).is_verified


async def test_nothing_is_dropped_before_it_is_archived_and_everything_is_there_afterwards(
    tmp_path: Path,
) -> None:
    site = site_at(tmp_path)
    with site.running() as file:
        await days(site, file, None, 8)
        kept = audit(site.path).rows["samples"]
        await archive_of(site, file).catch_up()
        await days(site, file, None, 1)
        after = audit(site.path).rows["samples"]

    archived = sum(audit(path).rows["samples"] for path in files(site))
    assert kept == 8 * 3
    assert after == 2 * 3, "the last two days"
    assert archived == 8 * 3
    assert audit(site.path).is_verified


async def test_a_file_that_the_journal_was_not_told_of_is_taken_and_one_that_is_another_is_not(
    tmp_path: Path,
) -> None:
    site = site_at(tmp_path)
    with site.running() as file:
        await days(site, file, None, 2)

        async def killed(excerpt: Excerpt) -> None:
            raise ConnectionAbortedError

        archive = Archive(site.path, tmp_path / "archive", utc=lambda: site.utc_s, written=killed)
        with pytest.raises(ConnectionAbortedError):
            await archive.catch_up()
        (path,) = files(site)
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])
        archive = archive_of(site, file)
        with capture_logs() as logs:
            await archive.catch_up()
            await archive.catch_up()
        assert (archive.is_failing, [entry["event"] for entry in logs]) == (True, ["journal_not_archived"])
        assert path.name in logs[0]["why"]
        path.write_bytes(whole)
        await archive.catch_up()

    assert (archive.is_failing, files(site)[0], len(files(site))) == (False, path, 2)
    assert audit(site.path).is_verified


async def test_a_day_that_does_not_verify_is_not_archived_and_not_dropped(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    with site.running() as file:
        await days(site, file, None, 2)
        with closing(sqlite3.connect(site.path)) as db, db:
            db.execute("UPDATE samples SET metered_w = 1 WHERE id = 2")
        archive = archive_of(site, file)
        with capture_logs() as logs:
            await archive.catch_up()
        await days(site, file, archive, 5)

    assert archive.is_failing
    assert "rows 1 to 3 are not as they were" in logs[0]["why"]
    assert files(site) == []
    with closing(sqlite3.connect(site.path)) as db:
        assert db.execute("SELECT min(id) FROM samples").fetchone() == (1,)


async def test_a_running_journal_archives_by_itself(tmp_path: Path) -> None:
    """With its own thread, and the archive's beside it."""
    site = site_at(tmp_path)
    with site.running() as file:
        await days(site, file, None, 1)
    keeping = Journal(site.path, 2.0, lambda: site.utc_s, archive=tmp_path / "archive")
    await keeping.open()

    async with asyncio.timeout(10):
        catching_up = asyncio.create_task(keeping.run())
        while not audit(site.path).archived:  # noqa: ASYNC110 - nothing signals it
            await asyncio.sleep(0.05)
    catching_up.cancel()
    await asyncio.wait([catching_up])
    await keeping.close()

    (path,) = files(site)
    found = audit(path)
    assert isinstance(found.last, Anchor)
    assert audit(site.path, [found.last]).confirmed == [found.last]


async def test_what_was_written_while_the_clock_was_ahead_is_with_the_day_beside_it(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    with site.running() as file:
        site.second(file)
        site.utc_s += 5000 * DAY_S
        site.second(file)
        site.utc_s -= 5000 * DAY_S
        archive = archive_of(site, file)
        await days(site, file, archive, 3)

    names = [path.name[:18] for path in files(site)]
    assert names == [f"journal-2027-01-{day}" for day in (15, 15, 16, 17)]
    assert [audit(path).rows["samples"] for path in files(site)] == [2, 3, 3, 3]
