"""Logging: one line per change on stderr, in the form the site asks for, and never a secret."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import pytest
import structlog

from controller.run import logs
from controller.run.calm import OF_ONE, Calm
from controller.run.logs import LogFormat


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = structlog.get_config(), list(root.handlers), root.level
    yield
    structlog.configure(**before[0])
    root.handlers[:] = before[1]
    root.setLevel(before[2])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.splitlines()


def entries(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in lines(capsys)]


def test_json_lines_carry_level_time_event_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, "info")

    structlog.get_logger().warning("silent", subject="asic-017", why="no route")

    (entry,) = entries(capsys)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {"level": "warning", "event": "silent", "subject": "asic-017", "why": "no route"}


def test_what_a_library_logs_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, "info")

    logging.getLogger("some.library").warning("broken %s", "pipe")
    logging.getLogger("some.library").info("of no interest")

    (entry,) = entries(capsys)
    assert (entry["level"], entry["logger"], entry["event"]) == ("warning", "some.library", "broken pipe")


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_line_that_finds_no_room_on_the_disk_is_lost_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, form: LogFormat
) -> None:
    with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full:
        monkeypatch.setattr(sys, "stderr", full)
        logs.configure(form, "info")

        structlog.get_logger().error("journal_not_written", why="no space left on device")


def opened(reads: int, writes: int) -> tuple[IO[bytes], IO[bytes]]:
    return os.fdopen(reads, "rb"), os.fdopen(writes, "wb")


SPEAKS = """
import logging, sys
import structlog
from controller.run import logs
logs.PATIENCE_MS = int(sys.argv[2])
logs.configure(logs.LogFormat(sys.argv[1]), "info")
for at in range(2_000):
    structlog.get_logger().warning("alarm", subject=f"asic-{at}", detail="x" * 100)
    logging.getLogger("library").warning("of %s", at)
print("goes on", flush=True)
"""


@pytest.mark.parametrize("form", list(LogFormat))
@pytest.mark.parametrize("to", ["a pipe", "a socket"])
def test_a_reader_of_the_log_that_hangs_holds_nothing_up(form: LogFormat, to: str) -> None:
    ours, theirs = socket.socketpair() if to == "a socket" else opened(*os.pipe())
    with ours, theirs:
        speaks = subprocess.Popen(
            [sys.executable, "-c", SPEAKS, form, "250"],
            stdout=subprocess.PIPE,
            stderr=theirs.fileno(),
            text=True,
        )
        try:
            assert speaks.wait(timeout=60) == 0
        finally:
            speaks.kill()
            said, _ = speaks.communicate()

    assert said == "goes on\n"


def test_a_reader_that_is_merely_slow_gets_every_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPEAKS, "json", "60000"], capture_output=True, timeout=60, check=True
    )

    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert Counter(entry["event"][:2] for entry in said) == {"al": 2_000, "of": OF_ONE.at_once}


def test_after_a_hang_the_next_line_begins_as_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, writes = opened(*os.pipe())
    with reads, writes, io.TextIOWrapper(writes) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        logs.configure(LogFormat.JSON, "info")
        structlog.get_logger().warning("long", detail="x" * 100_000)
        os.read(reads.fileno(), 1_000_000)
        structlog.get_logger().warning("short")

        torn, entry = os.read(reads.fileno(), 1_000_000).splitlines()

    assert torn == b""
    assert json.loads(entry)["event"] == "short"


def test_a_library_that_configured_logging_before_us_is_overruled(capsys: pytest.CaptureFixture[str]) -> None:
    logging.basicConfig(level=logging.DEBUG, format="%(message)s", force=True)
    logs.configure(LogFormat.JSON, "info")

    logging.getLogger("some.library").debug("noise")
    logging.getLogger("some.library").error("signal")

    assert [entry["event"] for entry in entries(capsys)] == ["signal"]


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize(
    ("level", "shown"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_what_lies_below_the_level_is_not_shown(
    capsys: pytest.CaptureFixture[str], form: LogFormat, level: str, shown: int
) -> None:
    logs.configure(form, level)
    log = structlog.get_logger()

    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")

    assert len(lines(capsys)) == shown


def test_console_lines_are_plain_text_where_nobody_sees_colours(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.CONSOLE, "info")

    structlog.get_logger().info("answers_again", subject="asic-017")
    logging.getLogger("some.library").error("broken pipe")

    ours, theirs = lines(capsys)
    assert "answers_again" in ours
    assert "subject=asic-017" in ours
    assert "some.library" in theirs
    assert "broken pipe" in theirs
    assert "\x1b" not in ours + theirs


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize("whose", ["ours", "a library's"])
def test_a_traceback_is_told_without_the_values_of_local_variables(
    capsys: pytest.CaptureFixture[str], form: LogFormat, whose: str
) -> None:
    logs.configure(form, "info")

    def fails(password: str) -> None:
        raise ValueError("no more than that")

    try:
        fails("".join(["hunter", "2"]))
    except ValueError:
        if whose == "ours":
            structlog.get_logger().error("failed", exc_info=True)
        else:
            logging.getLogger("some.library").exception("failed")

    text = "\n".join(lines(capsys))
    assert "no more than that" in text
    assert "hunter2" not in text


# --- what somebody else may fill it with


def told_apart(entries: list[Any], *fields: str) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(entry.get(field) for field in fields) for entry in entries)


def test_a_day_of_one_fault_that_comes_and_goes_fills_no_disk() -> None:
    clock = iter(range(10**9))
    calm = Calm(lambda: next(clock) / 2.0)
    said = Counter[str]()

    for _ in range(86_400):
        for event in ("silent", "answers_again"):
            with suppress(structlog.DropEvent):
                calm(None, "warning", {"event": event, "subject": "asic-017"})
                said[event] += 1

    assert set(said) == {"silent", "answers_again"}
    assert sum(said.values()) < 1_000


def test_a_new_fault_is_told_whatever_another_one_fills_the_log_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(LogFormat.JSON, "info")
    log = structlog.get_logger()

    for at in range(30_000):
        log.warning("grid_event", operator="iso", status="REJECTED", event_id=f"e{at}")
        log.warning("alarm", kind="event_infeasible", subject=f"e{at}")
    log.warning("grid_event", operator="dsx", status="REJECTED", event_id="d1")
    log.warning("alarm", kind="fuse_over", subject="main")
    log.info("grid_event", operator="iso", status="RECEIVED", event_id="e1")

    found = told_apart(entries(capsys), "event", "operator", "status", "kind")
    assert found["grid_event", "iso", "REJECTED", None] < 300
    assert found["alarm", None, None, "event_infeasible"] <= 20_000
    assert found["grid_event", "dsx", "REJECTED", None] == 1
    assert found["alarm", None, None, "fuse_over"] == 1
    assert found["grid_event", "iso", "RECEIVED", None] == 1


def test_all_machines_of_a_large_site_may_fall_silent_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, "info")

    for at in range(10_000):
        structlog.get_logger().warning("silent", subject=f"asic-{at}")

    assert len(entries(capsys)) == 10_000


def test_what_was_left_out_is_counted_with_the_next_line() -> None:
    now_s = 0.0
    calm = Calm(lambda: now_s)
    line = {"event": "silent", "subject": "asic-017"}
    while True:
        try:
            calm(None, "warning", dict(line))
        except structlog.DropEvent:
            break
    for _ in range(41):
        with suppress(structlog.DropEvent):
            calm(None, "warning", dict(line))

    now_s = 3_600.0

    assert calm(None, "warning", dict(line))["unsaid"] == 42
    assert "unsaid" not in calm(None, "warning", dict(line))


def test_a_library_that_repeats_itself_does_so_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, "info")

    for at in range(10_000):
        logging.getLogger("some.library").warning("bad request from %s", at)
    logging.getLogger("some.library").warning("out of memory")

    found = [entry["event"] for entry in entries(capsys)]
    assert len(found) < 300
    assert found[-1] == "out of memory"
