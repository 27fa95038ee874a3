"""Reads a recording from outside, without disturbing its writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from controller.run.readonly import read_only
from controller.run.recording.recording import SCHEMA_VERSION, Begins, RecordingError, recording_path
from controller.run.recording.tickstream import StreamError, StreamReader


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedChunk:
    """One stretch of ticks, `first_utc_s` to `last_utc_s`. `follows` says that none is missing before it."""

    id: int
    begins: Begins
    program: str
    first_utc_s: float
    last_utc_s: float
    follows: bool
    stream: StreamReader


class Recorded:
    """An open recording. Everything that cannot be read is a `RecordingError`."""

    def __init__(self, path: Path, db: sqlite3.Connection) -> None:
        self._path = path
        self._db = db

    def chunks(self, from_utc_s: float, to_utc_s: float) -> Iterator[RecordedChunk]:
        """What holds ticks of that time, in the order in which it was recorded."""
        last: int | None = None
        for number, begins, program, first_utc_s, last_utc_s in self._rows(
            "SELECT id, begins, program, first_utc_s, last_utc_s FROM chunks ORDER BY id"
        ):
            if last_utc_s < from_utc_s or first_utc_s > to_utc_s:
                continue
            yield RecordedChunk(
                id=number,
                begins=self._begins(number, begins),
                program=program,
                first_utc_s=first_utc_s,
                last_utc_s=last_utc_s,
                follows=last is not None and number == last + 1 and begins == Begins.GOES_ON,
                stream=StreamReader(self._frames(number)),
            )
            last = number

    def _begins(self, chunk: int, word: str) -> Begins:
        try:
            return Begins(word)
        except ValueError as error:
            raise RecordingError(f"{self._path}: chunk {chunk}: {error}") from error

    def _frames(self, chunk: int) -> Iterator[bytes]:
        numbers = [row[0] for row in self._rows("SELECT at FROM frames WHERE chunk = ? ORDER BY at", chunk)]
        for expected, number in enumerate(numbers):
            if number != expected:
                raise StreamError(f"frame {expected} is missing")
            ((data,),) = self._rows("SELECT data FROM frames WHERE chunk = ? AND at = ?", chunk, number)
            yield data

    def _rows(self, query: str, *parameters: object) -> list[Any]:
        try:
            return self._db.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise RecordingError(f"{self._path}: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[Recorded]:
    """The recording at `path`, or the one beside the journal at `path`."""
    beside = recording_path(path)
    found = beside if beside.exists() else path
    if not found.is_file():
        raise RecordingError(f"{found}: no such file")
    try:
        db = read_only(found, partial(_check, found))
    except sqlite3.Error as error:
        raise RecordingError(f"{found}: {error}") from error
    try:
        yield Recorded(found, db)
    finally:
        db.close()


def _check(path: Path, db: sqlite3.Connection) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "chunks" not in tables:
        raise RecordingError(f"{path}: not a recording, and none lies beside it at {recording_path(path)}")
    if version != SCHEMA_VERSION:
        raise RecordingError(f"{path}: schema {version}, this program reads {SCHEMA_VERSION}")
