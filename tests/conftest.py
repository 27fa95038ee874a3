"""For every test: options, programs, ports; with CI=true nothing is skipped for want of a program."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Generator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
"""The machine may be busy with other things: how long an example takes says nothing of the program."""

SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="run seeded simulations with this seed alone")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, which mostly wait, then those that keep a core busy for long: none of them
    is alone at the end while the other cores rest."""
    slow, long = (
        {item.path for item in items if item.get_closest_marker(name) is not None}
        for name in ("slow", "long")
    )
    items.sort(key=lambda item: (item.path not in slow, item.path not in long))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if report.skipped and "not installed" in reason and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {reason}; with CI=true nothing is skipped for that"
    return report


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """The path of a program; the test is skipped without it."""

    def require(name: str) -> str:
        path = shutil.which(name, path=SEARCHED)
        if path is None:
            pytest.skip(f"{name} is not installed")
        return path

    return require


@pytest.fixture
def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
