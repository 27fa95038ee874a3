"""What the checks of deploy/ share: the programs they need, and a place to listen."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


@pytest.fixture(scope="session")
def deploy() -> Path:
    return DEPLOY


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """The path of a program. Without it a test is skipped on a desk and fails in continuous integration."""

    def require(name: str) -> str:
        path = shutil.which(name, path=SEARCHED)
        if path is not None:
            return path
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")

    return require


@pytest.fixture
def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
