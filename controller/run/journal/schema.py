"""The tables of the journal: what evidence consists of, column by column, and how an older file becomes this.

Times are whole microseconds of Unix time and power is whole watts, so that a row has one written form and no
program rounds it differently. An open end is `NULL`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

SCHEMA_VERSION = 2

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "alarms": ("utc_us", "kind", "subject", "raised", "detail"),
    "bookkeeping": ("utc_us", "what", "subject", "first_id", "last_id", "rows", "detail"),
    "commands": ("utc_us", "device", "point", "watts", "kind", "detail"),
    "events": ("utc_us", "operator", "event", "version_us", "status", "why", "text"),
    "samples": ("utc_us", "node", "metered_w", "limit_w", "granted_w", "worst_w"),
    "setpoints": ("utc_us", "operator", "event", "version_us", "start_us", "end_us", "watts"),
    "usage": ("utc_us", "node", "mean_w", "energy_ws", "measured_ms", "limit_w"),
}
"""Every table of evidence and its columns after `id`, in the order in which they are sealed. `id` counts from
1 without a hole."""

EVIDENCE = tuple(COLUMNS)

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, utc_us INTEGER NOT NULL, operator TEXT NOT NULL, event TEXT NOT NULL,
    version_us INTEGER, status TEXT NOT NULL, why TEXT NOT NULL, text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS setpoints (
    id INTEGER PRIMARY KEY, utc_us INTEGER NOT NULL, operator TEXT NOT NULL, event TEXT NOT NULL,
    version_us INTEGER NOT NULL, start_us INTEGER NOT NULL, end_us INTEGER, watts INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS commands (
    id INTEGER PRIMARY KEY, utc_us INTEGER NOT NULL, device TEXT NOT NULL, point TEXT NOT NULL,
    watts INTEGER NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS samples (
    id INTEGER PRIMARY KEY, utc_us INTEGER NOT NULL, node TEXT NOT NULL, metered_w INTEGER,
    limit_w INTEGER, granted_w INTEGER NOT NULL, worst_w INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS usage (
    id INTEGER PRIMARY KEY, utc_us INTEGER NOT NULL, node TEXT NOT NULL, mean_w INTEGER NOT NULL,
    energy_ws INTEGER NOT NULL, measured_ms INTEGER NOT NULL, limit_w INTEGER
);
CREATE TABLE IF NOT EXISTS alarms (
    id INTEGER PRIMARY KEY, utc_us INTEGER NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL,
    raised INTEGER NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS bookkeeping (
    id INTEGER PRIMARY KEY, utc_us INTEGER NOT NULL, what TEXT NOT NULL, subject TEXT NOT NULL,
    first_id INTEGER, last_id INTEGER, rows INTEGER, detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS seals (
    seq INTEGER PRIMARY KEY, previous TEXT NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
    hash TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS parts (
    seal INTEGER NOT NULL, name TEXT NOT NULL, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
    digest TEXT NOT NULL, PRIMARY KEY (seal, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS grid (
    key TEXT PRIMARY KEY, version_utc_s REAL NOT NULL, status TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS parts_by_name ON parts (name, seal);
CREATE INDEX IF NOT EXISTS samples_in_time ON samples (utc_us);
CREATE INDEX IF NOT EXISTS usage_in_time ON usage (node, utc_us);
CREATE INDEX IF NOT EXISTS events_in_time ON events (utc_us);
CREATE INDEX IF NOT EXISTS events_by_id ON events (operator, event);
CREATE INDEX IF NOT EXISTS setpoints_in_time ON setpoints (utc_us);
CREATE INDEX IF NOT EXISTS commands_in_time ON commands (utc_us);
CREATE INDEX IF NOT EXISTS alarms_in_time ON alarms (utc_us);
"""
"""`grid` is what a restart takes up: the newest state of each event, and which outlets were switched off from
here; rewritten in place, and no evidence."""

OPERATOR_LINK_LOST = "operator_link_lost"
"""The kind of an alarm that the link to one operator is lost; its subject is the operator's name, or `FIRST`.
"""
COMMANDED = "commanded"
"""The kind of a command that was given. What else `commands.kind` says is an answer to one."""
CONFIRMED = "confirmed"
"""Of a job only: its queue shows what it was told."""
OLD_TABLES = ("commands", "samples", "alarms")
"""What schema 1 called by these names has no ids; it is moved into the new tables a bite at a time."""


class Bookkeeping:
    """What `bookkeeping.what` says: the journal's own history, sealed like the rest."""

    STARTED = "started"
    """A controller opened the journal; `detail` says whether the one before had closed it."""
    STOPPED = "stopped"
    LOST = "lost"
    """`rows` of `subject` could not be kept; `detail` says why and from when to when."""
    PRUNED = "pruned"
    """All rows of `subject` up to `last_id` are gone by retention (`seals`: up to that number)."""
    ARCHIVED = "archived"
    """Seals `first_id` to `last_id` are in the file `subject`; `detail` is its SHA-256."""
    REPLACED = "replaced"
    """The journal before this one was damaged, and put aside as the file `subject`; `detail` says why."""
    MOVED = "moved"
    """`rows` of `subject` were taken over from an older schema, and are sealed since then only."""


NEW = "a new journal"
"""The detail of the first start of a file."""
NOT_CLOSED = "not closed in order: what was not written yet is missing"
"""The detail of a start after a controller that had no time to close the journal."""
EXCERPT = "excerpt"
"""The table by which an exported file says that it is one, and up to which id rows of each are left out."""
LAST_SEAL = "last seal"


def prepare(db: sqlite3.Connection) -> None:
    """Make or upgrade the tables. What an upgrade cannot take over at once it renames: see `old_tables`."""
    db.execute("PRAGMA journal_mode = WAL")
    # FULL: a commit is on the disk when it returns, which is what an acknowledgement promises.
    db.execute("PRAGMA synchronous = FULL")
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"schema {found} is newer than this program's {SCHEMA_VERSION}")
    if found == SCHEMA_VERSION:
        return  # nothing is written: a controller must be able to start on a full disk
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    renamed = "".join(f"ALTER TABLE {name} RENAME TO old_{name};\n" for name in OLD_TABLES if name in tables)
    version = f"PRAGMA user_version = {SCHEMA_VERSION};"
    try:
        db.executescript(f"BEGIN IMMEDIATE;\n{renamed}{SCHEMA}{version}\nCOMMIT;")
    except sqlite3.Error:
        db.rollback()
        raise


def old_tables(db: sqlite3.Connection) -> tuple[str, ...]:
    """The tables, by their new names, of which rows of schema 1 are still to be moved."""
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return tuple(name for name in OLD_TABLES if f"old_{name}" in tables)


def microseconds(utc_s: float) -> int:
    return round(utc_s * 1_000_000)


def seconds(utc_us: int) -> float:
    return utc_us / 1_000_000
