"""What jobs print: within bounds, its beginning and its end kept, and its reader told what is missing."""

from __future__ import annotations

import os
import re
from pathlib import Path

from structlog.testing import capture_logs

from drivers.localqueue_logs import CUTS_AT_ONCE, SHORT_BYTES, SUM_EVERY_S, Logs, cut

MOST = 1_000
LINES = b"".join(b"step %05d\n" % at for at in range(1_000))


def printed(directory: Path, job: str = "job-1", text: bytes = LINES) -> Path:
    path = directory / f"{job}.log"
    path.write_bytes(text)
    return path


def missing(text: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"(?m)^\[wattshift: (\d+) bytes are left out here\]$", text)]


def test_a_log_within_its_bound_is_left_as_it_is(tmp_path: Path) -> None:
    path = printed(tmp_path, text=LINES[:MOST])

    assert cut(path, MOST) == 0
    assert path.read_bytes() == LINES[:MOST]


def test_of_a_log_that_is_too_long_the_beginning_and_the_end_stay_and_what_is_missing_is_told(
    tmp_path: Path,
) -> None:
    path = printed(tmp_path)

    left_out = cut(path, MOST)

    text = path.read_bytes()
    assert len(text) < MOST
    assert text.startswith(b"step 00000\nstep 00001\n")
    assert text.endswith(b"step 00998\nstep 00999\n")
    assert missing(text) == [left_out]
    without = re.sub(rb"\[wattshift.*\n", b"", text)
    assert len(without) + left_out == len(LINES)
    assert all(re.fullmatch(rb"step \d{5}", line) for line in without.splitlines()), "no line is cut"


def test_a_log_that_grows_on_keeps_one_line_about_all_that_is_missing(tmp_path: Path) -> None:
    path = printed(tmp_path)
    writer = os.open(path, os.O_WRONLY | os.O_APPEND)
    cut(path, MOST)

    for _ in range(3):
        os.write(writer, LINES)
        cut(path, MOST)
    os.close(writer)

    text = path.read_bytes()
    without = re.sub(rb"\[wattshift.*\n", b"", text)
    assert missing(text) == [4 * len(LINES) - len(without)]
    assert text.startswith(b"step 00000\n")
    assert text.endswith(b"step 00999\n")


def test_a_log_without_lines_is_cut_as_well(tmp_path: Path) -> None:
    path = printed(tmp_path, text=b"x" * 5_000 + b"\n")

    cut(path, MOST)

    text = path.read_bytes()
    assert len(text) < MOST
    assert text.startswith(b"x" * (MOST // 4))
    assert text.endswith(b"x" * (MOST // 4 - 1) + b"\n")


def test_running_jobs_share_half_of_what_all_logs_may_have(tmp_path: Path) -> None:
    logs = Logs(tmp_path, most_bytes=100_000, sum_bytes=8_000)
    paths = [printed(tmp_path, f"job-{at}") for at in range(4)]

    logs.bound([path.stem for path in paths], 0.0)

    assert all(path.stat().st_size <= 1_000 for path in paths)


def test_the_logs_that_are_longest_are_cut_first_and_the_others_at_the_next_look(tmp_path: Path) -> None:
    logs = Logs(tmp_path, most_bytes=MOST, sum_bytes=10**9)
    paths = [printed(tmp_path, f"job-{at}") for at in range(CUTS_AT_ONCE + 1)]
    jobs = [path.stem for path in paths]

    logs.bound(jobs, 0.0)
    assert sum(path.stat().st_size > MOST for path in paths) == 1
    logs.bound(jobs, 0.5)

    assert all(path.stat().st_size <= MOST for path in paths)


def test_when_all_logs_are_too_long_those_of_jobs_that_ended_first_are_cut(tmp_path: Path) -> None:
    long = b"x" * 400_000
    logs = Logs(tmp_path, most_bytes=500_000, sum_bytes=1_000_000)
    paths = [printed(tmp_path, f"job-{at}", long) for at in range(3)]
    for at, path in enumerate(paths):
        os.utime(path, (at, at))
    paths[0].touch()  # it runs on

    logs.bound(["job-0"], 0.0)

    assert [path.stat().st_size <= SHORT_BYTES for path in paths] == [False, True, False]
    assert missing(paths[1].read_bytes())


def test_all_logs_are_added_up_now_and_then_only(tmp_path: Path) -> None:
    logs = Logs(tmp_path, most_bytes=500_000, sum_bytes=500_000)
    logs.bound([], 0.0)
    path = printed(tmp_path, text=b"x" * 600_000)

    logs.bound([], SUM_EVERY_S - 1)
    assert path.stat().st_size == 600_000
    logs.bound([], SUM_EVERY_S)

    assert path.stat().st_size <= SHORT_BYTES


def test_a_log_that_is_cut_again_and_again_is_one_warning(tmp_path: Path) -> None:
    logs = Logs(tmp_path, most_bytes=MOST, sum_bytes=10**9)

    with capture_logs() as said:
        for at in range(3):
            printed(tmp_path)
            logs.bound(["job-1"], at)

    assert [(line["event"], line["subject"]) for line in said] == [("job_log_cut", "job-1")]


def test_a_log_that_is_something_else_hinders_nobody(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(LINES)
    (tmp_path / "job-1.log").symlink_to(elsewhere)
    (tmp_path / "job-2.log").mkdir()

    Logs(tmp_path, most_bytes=MOST, sum_bytes=0).bound(["job-1", "job-2", "job-3"], 0.0)
    Logs(tmp_path / "nowhere", most_bytes=MOST, sum_bytes=0).bound(["job-1"], 0.0)

    assert elsewhere.read_bytes() == LINES
