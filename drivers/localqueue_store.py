"""The local job queue's file: SQLite, written by the daemon and by every submitter at once.

It starts and signals nothing. Every error names the file, and the job where it is about one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from pydantic import ValidationError

from controller.domain.jobs import JobState
from drivers.base import DriverError
from drivers.localqueue_jobs import Ending, JobRecord, JobRequest, JobView, Verdict, job_id
from drivers.localqueue_process import Life, ProcessId, look

DATABASE = "queue.db"
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 2.0
OPEN_JOBS_MAX = 10_000
FINISHED_JOBS_KEPT = 1_000

_NO_WORD = "stopped, and no word was kept of who did it"
_SCHEMA = """
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'queued',
    run TEXT, boot TEXT, pid INTEGER, start_ticks INTEGER,
    held TEXT NOT NULL DEFAULT '[]',
    ending TEXT, kill_at_s REAL,
    exit_code INTEGER, why TEXT NOT NULL DEFAULT '',
    submitted_utc_s INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    over_utc_s INTEGER
);
CREATE INDEX jobs_by_state ON jobs (state, seq);
"""


class QueueError(DriverError):
    """The queue's file cannot be used, or what it holds cannot be believed."""


class JobRefusedError(QueueError):
    """As things stand this cannot be done: no such job, its state forbids it, its GPUs are taken."""


def submit(directory: Path, request: JobRequest) -> str:
    """Append a job and return its id. It is durable then, whether or not the daemon runs."""
    with opened(directory) as store, store.transaction():
        return store.append(request)


def list_jobs(directory: Path, limit: int = 1_000) -> tuple[JobView, ...]:
    """The newest `limit` jobs in order of submission, those that are over included."""
    with opened(directory) as store:
        return tuple(_view(record) for record in store.newest(limit))


def cancel(directory: Path, job: str) -> JobState:
    """FAILED: it waited and is over. RUNNING: the daemon ends it, with its grace, at its next read."""
    with opened(directory) as store, store.transaction():
        record = store.find(job)
        match record.state:
            case JobState.QUEUED:
                store.settle(record, Verdict(state=JobState.FAILED, why="cancelled"))
                return JobState.FAILED
            case JobState.RUNNING | JobState.SUSPENDED:
                store.begin_ending(record, Ending.CANCEL)
                return JobState.RUNNING
            case JobState.DONE | JobState.FAILED:
                raise JobRefusedError(f"{job} is over: {record.state}")


def _view(record: JobRecord) -> JobView:
    stopped = record.process is not None and look(record.process) is Life.STOPPED
    return JobView(
        id=record.id,
        state=JobState.SUSPENDED if stopped else record.state,
        argv=record.request.argv,
        gpus=record.request.gpus,
        usd_per_gpu_hour=record.request.usd_per_gpu_hour,
        held=record.held,
        exit_code=record.exit_code,
        why=_NO_WORD if stopped and not record.why else record.why,
        submitted_utc_s=record.submitted_utc_s,
        over_utc_s=record.over_utc_s,
    )


@contextmanager
def opened(directory: Path) -> Iterator[Store]:
    """The queue in `directory`, its file made if need be. For one call of one thread."""
    path = directory / DATABASE
    if not directory.is_dir():
        raise QueueError(f"queue directory {directory} does not exist")
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            store = Store(path, db)
            store.prepare()
            yield store
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter quotes a damaged schema
        raise QueueError(f"{path}: {error}") from error


def held_open(directory: Path) -> sqlite3.Connection:
    """Until it is closed, what readers share lies on the disk already: the first of them needs room for it,
    and with a full disk there would be no reading the queue at all. Raises `QueueError`."""
    path = directory / DATABASE
    try:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("SELECT 1 FROM jobs LIMIT 1").fetchall()
        except (sqlite3.Error, UnicodeDecodeError):
            db.close()
            raise
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise QueueError(f"{path}: {error}") from error
    return db


class Store:
    """Each method is one statement or belongs in a `transaction`; a job's run is named in what changes it."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db

    def prepare(self) -> None:
        if self._version() == 0:
            self._db.execute("PRAGMA journal_mode = WAL")  # submitters never block the daemon's reads
            with self.transaction():
                if self._version() == 0:
                    for statement in filter(str.strip, _SCHEMA.split(";")):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if (version := self._version()) != SCHEMA_VERSION:
            raise QueueError(f"{self._path}: version {version}, this program knows {SCHEMA_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def append(self, request: JobRequest) -> str:
        (waiting,) = self._db.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()
        if waiting >= OPEN_JOBS_MAX:
            raise JobRefusedError(f"{self._path}: full, {waiting} jobs wait")
        row = self._db.execute("INSERT INTO jobs (request) VALUES (?)", (request.model_dump_json(),))
        return job_id(row.lastrowid or 0)

    def find(self, job: str) -> JobRecord:
        for record in self._records("WHERE 'job-' || seq = ?", job):
            return record
        raise JobRefusedError(f"{self._path}: no job {job}")

    def newest(self, limit: int) -> tuple[JobRecord, ...]:
        return tuple(reversed(self._records("ORDER BY seq DESC LIMIT ?", limit)))

    def not_over(self, limit: int) -> tuple[JobRecord, ...]:
        """All that run, and of those that wait the first `limit`; in order of submission."""
        waiting = self._records("WHERE state = 'queued' ORDER BY seq LIMIT ?", limit)
        return tuple(sorted(self._running() + waiting, key=lambda record: record.seq))

    def claim(self, record: JobRecord, run: str, process: ProcessId, gpus: Sequence[str]) -> None:
        """A queued job becomes a running one that holds `gpus`, unless one of them is held already."""
        for other in self._running():
            if taken := sorted(set(other.held) & set(gpus)):
                raise JobRefusedError(f"{record.id}: {', '.join(taken)} held by {other.id}")
        changed = self._db.execute(
            "UPDATE jobs SET state = 'running', run = ?, boot = ?, pid = ?, start_ticks = ?, held = ?,"
            " why = '' WHERE seq = ? AND state = 'queued'",
            (run, process.boot, process.pid, process.start_ticks, json.dumps(list(gpus)), record.seq),
        )
        if changed.rowcount != 1:
            raise JobRefusedError(f"{record.id}: not queued any more")

    def begin_ending(self, record: JobRecord, ending: Ending, why: str = "") -> None:
        """A cancellation stands, whatever comes after it."""
        self._db.execute(
            "UPDATE jobs SET ending = ?, why = ? WHERE seq = ? AND run = ? AND ending IS NOT 'cancel'",
            (ending, why, record.seq, record.run),
        )

    def keep_why(self, record: JobRecord, why: str) -> None:
        """Of a run that goes on: why it stands, or nothing."""
        self._db.execute("UPDATE jobs SET why = ? WHERE seq = ? AND run = ?", (why, record.seq, record.run))

    def kill_at(self, record: JobRecord, boot_s: float) -> None:
        self._db.execute(
            "UPDATE jobs SET kill_at_s = ? WHERE seq = ? AND run = ?", (boot_s, record.seq, record.run)
        )

    def settle(self, record: JobRecord, verdict: Verdict) -> None:
        """No run any more; a job that is queued again has kept its place."""
        self._db.execute(
            "UPDATE jobs SET state = ?, exit_code = ?, why = ?, run = NULL, boot = NULL, pid = NULL,"
            " start_ticks = NULL, held = '[]', ending = NULL, kill_at_s = NULL,"
            " over_utc_s = iif(?, NULL, CAST(strftime('%s', 'now') AS INTEGER)) WHERE seq = ? AND run IS ?",
            (
                verdict.state,
                verdict.exit_code,
                verdict.why,
                verdict.state is JobState.QUEUED,
                record.seq,
                record.run,
            ),
        )

    def forget(self) -> tuple[str, ...]:
        """Drop those longest over, beyond the ones that are kept, and return their ids."""
        rows = self._db.execute(
            "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE state IN ('done', 'failed')"
            " ORDER BY over_utc_s DESC, seq DESC LIMIT -1 OFFSET ?) RETURNING seq",
            (FINISHED_JOBS_KEPT,),
        ).fetchall()
        return tuple(job_id(row["seq"]) for row in rows)

    def _running(self) -> list[JobRecord]:
        return self._records("WHERE state = 'running'")

    def _records(self, where: str, *values: object) -> list[JobRecord]:
        rows = self._db.execute(f"SELECT * FROM jobs {where}", values)  # noqa: S608 constants of this class
        return [self._record(row) for row in rows.fetchall()]

    def _record(self, row: sqlite3.Row) -> JobRecord:
        try:
            return JobRecord.model_validate(dict(row))
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, part['loc'])) or 'row'}: {part['msg']}" for part in error.errors()
            )
            raise QueueError(f"{self._path}: {job_id(row['seq'])}: {wrong}") from error

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])
