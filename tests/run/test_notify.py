"""The service manager's socket: what is said on it, and that no state of it ends or holds up the loop."""

from __future__ import annotations

import math
import os
import resource
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.run.notify import Notifier

pytestmark = pytest.mark.socket


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short: a socket's path has 107 characters at most."""
    with tempfile.TemporaryDirectory(prefix="ws-") as name:
        yield Path(name)


@pytest.fixture
def manager(directory: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(directory / "notify"))
        listening.settimeout(2.0)
        yield listening


def test_ready_tick_and_stopping_are_said_in_the_managers_words(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())

    notifier.ready()
    notifier.tick("52.0 kW, cap 60.0 kW (event), 0 alarms")
    notifier.stopping()

    assert [manager.recv(1000) for _ in range(3)] == [
        b"READY=1",
        b"WATCHDOG=1\nSTATUS=52.0 kW, cap 60.0 kW (event), 0 alarms",
        b"STOPPING=1",
    ]


def test_the_address_comes_from_the_environment(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())

    Notifier.from_environment().ready()

    assert manager.recv(1000) == b"READY=1"


@pytest.mark.parametrize(
    ("told", "whose", "watchdog_s"),
    [
        ("10000000", None, 10.0),
        ("10000000", "ours", 10.0),
        ("10000000", "1", math.inf),  # it is another process that is waited for
        ("0", None, math.inf),
        ("soon", None, math.inf),
        (None, None, math.inf),
    ],
)
def test_how_long_the_manager_waits_for_a_tick_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, told: str | None, whose: str | None, watchdog_s: float
) -> None:
    pid = str(os.getpid()) if whose == "ours" else whose
    for name, value in (("WATCHDOG_USEC", told), ("WATCHDOG_PID", pid)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)

    assert Notifier.from_environment().watchdog_s == watchdog_s


def test_an_abstract_address_is_understood(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{directory}")
        listening.settimeout(2.0)

        Notifier(f"@{directory}").ready()

        assert listening.recv(1000) == b"READY=1"


def test_without_a_manager_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    Notifier.from_environment().tick("all is well")


def test_a_manager_that_does_not_listen_never_holds_up_a_tick(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())

    for _ in range(10_000):
        notifier.tick("its queue is full after a few of these")


@pytest.mark.parametrize("state", ["gone", "closed", "a file", "a stream", "too long", "no path", "vsock"])
def test_an_address_that_nobody_answers_on_ends_nothing(directory: Path, state: str) -> None:
    path = directory / "notify"
    address = str(path)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    match state:
        case "closed":
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
                listening.bind(address)
        case "a file":
            path.write_text("no socket")
        case "a stream":
            stream.bind(address)
            stream.listen()
        case "too long":
            address = "/" + 200 * "x"
        case "no path":
            address = "notify"
        case "vsock":
            address = "vsock:2:9999"
        case _:
            assert not path.exists()

    Notifier(address).tick("all is well")

    stream.close()


def test_a_process_without_a_free_file_descriptor_says_nothing_and_goes_on(manager: socket.socket) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open("rb") as last:  # it has the lowest free number: all below are taken
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), hard))
        try:
            Notifier(manager.getsockname()).tick("all is well")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
