"""Job processes: started behind a gate, told from any other process for ever, signalled as a group.

It never signals a process that it cannot prove to be the one it started.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from drivers.localqueue_progress import VARIABLE as PROGRESS

SHELL = "/bin/sh"
UNSTARTED, RUNNING = "unstarted", "running"
EXIT_RECORD_BYTES = 32

# Only a parent learns an exit code, and the daemon may be away when a job ends. So the parent is this shell,
# which outlives the daemon and writes the code down; an interpreter in its place would cost far more time and
# memory. It leads the group, so stopping, continuing and killing the group take it along. SIGTERM it survives
# and its job need not: a signal that is caught, unlike one that is ignored, is back to default after exec.
# It begins when the daemon has noted its pid; if the daemon dies before that, `read` fails and nothing runs.
# Its last act ends whatever the job has left behind, itself included. It writes into the room that the daemon
# took for it: a disk that is full by then would take no new file.
_WRAPPER = f"""
trap : HUP INT TERM
exit_record=$1 directory=$2
shift 2
record() {{ printf '%-{EXIT_RECORD_BYTES - 1}s\\n' "$1" 1<>"$exit_record"; }}
read -r _ || {{ record {UNSTARTED}; exit; }}
(cd -- "$directory" && exec "$@") </dev/null
record "$?"
kill -KILL 0
"""
# What Python ignores, or a daemon may have been started with, must not reach the job.
_DEFAULT_SIGNALS = (
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGCHLD,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """The leader of a job's process group. A pid is used again; with its start time and boot it is not."""

    boot: str
    pid: int
    start_ticks: int


class Life(Enum):
    RUNNING = "running"
    STOPPED = "stopped"
    GONE = "gone"


class NoCode(Enum):
    """UNSTARTED: the daemon died before it let the job go, and the command never ran.

    UNKNOWN: the job did not end by itself. It was killed with its whole group, or the machine went down; or
    the disk was full, and of those that need new room for whatever is written.
    """

    UNSTARTED = "unstarted"
    UNKNOWN = "unknown"


Exit = int | NoCode


@contextmanager
def spawned(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    exit_record: Path,
    log_file: Path,
) -> Iterator[ProcessId]:
    """Start `argv` in a session of its own; it runs once the body is through, and never if that fails."""
    try:
        exit_record.write_text(RUNNING.ljust(EXIT_RECORD_BYTES - 1) + "\n", "ascii")
        with _gated(argv, cwd=cwd, env=env, exit_record=exit_record, log_file=log_file) as process:
            yield process
    except BaseException:
        exit_record.unlink(missing_ok=True)
        raise


@contextmanager
def _gated(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], exit_record: Path, log_file: Path
) -> Iterator[ProcessId]:
    """The shell behind its gate, which opens once the body is through."""
    reader, gate = os.pipe()
    try:
        try:
            pid = os.posix_spawn(
                SHELL,
                [SHELL, "-c", _WRAPPER, "wattshift-job", str(exit_record), str(cwd), *argv],
                env,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reader, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(log_file), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
        finally:
            os.close(reader)
        try:
            yield ProcessId(boot=boot_id(), pid=pid, start_ticks=_stat(pid)[1])
        except BaseException:
            os.killpg(pid, signal.SIGKILL)  # not yet waited for, so the number is still its own
            os.waitpid(pid, 0)
            raise
        os.write(gate, b"go\n")
    finally:
        os.close(gate)


def look(process: ProcessId) -> Life:
    try:
        state, start_ticks = _stat(process.pid)
    except (FileNotFoundError, ProcessLookupError):
        return Life.GONE
    if start_ticks != process.start_ticks or boot_id() != process.boot:
        return Life.GONE
    match state:
        case "Z" | "X":
            return Life.GONE
        case "T":
            return Life.STOPPED
        case _:
            return Life.RUNNING


def signal_group(process: ProcessId, number: signal.Signals) -> None:
    """`ProcessLookupError` when the process is gone, whoever has its number now."""
    if look(process) is Life.GONE:
        raise ProcessLookupError(f"process {process.pid} is gone")
    os.killpg(process.pid, number)


def signal_all(process: ProcessId, mark: Path, number: signal.Signals) -> None:
    """The group, and what left it. First the group: a launcher that stands starts no more workers.

    Not for SIGTERM, which a launcher passes on: its workers would take a second one for impatience.
    """
    signal_group(process, number)
    signal_strays(process, mark, number)


def signal_strays(process: ProcessId, mark: Path, number: signal.Signals) -> None:
    """What left the group for a session of its own, as torchrun's workers do, and the group as well once its
    leader is gone: nobody can signal it as one then. They have the job's `mark`, its file of progress, in
    their environment."""
    marked = os.fsencode(f"{PROGRESS}={mark}")
    led = _lives(process.pid)
    for pid in [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal()]:
        with suppress(OSError):  # gone meanwhile, or somebody else's
            handle = os.pidfd_open(pid)  # first, so that it is the process whose environment is read
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if marked in environment and not (led and os.getpgid(pid) == process.pid):
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def bury(process: ProcessId) -> None:
    """Reap a leader that is our child, and first kill what outlived it. One that is not is reaped by init."""
    with suppress(FileNotFoundError, ProcessLookupError, ChildProcessError):
        if _stat(process.pid) != ("Z", process.start_ticks):
            return
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # raises if it is not ours
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its number is its own until it is reaped
        os.waitpid(process.pid, os.WNOHANG)


def read_exit(exit_record: Path) -> Exit:
    try:
        with exit_record.open("rb") as file:
            text = file.read(EXIT_RECORD_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return NoCode.UNKNOWN
    if text == UNSTARTED:
        return NoCode.UNSTARTED
    return int(text) if text.isdecimal() else NoCode.UNKNOWN


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _lives(pid: int) -> bool:
    """Whether somebody has that number, and is not merely waiting to be reaped."""
    try:
        return _stat(pid)[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _stat(pid: int) -> tuple[str, int]:
    """State letter and start time of a process; its name, which comes first, may hold any character."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return fields[0].decode("ascii"), int(fields[19])
