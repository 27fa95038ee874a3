"""What the daemon starts inherits none of its privilege."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, subprocess, sys
from controller.run.privilege import keep_from_children

CAP_SYS_ADMIN, PR_CAP_AMBIENT, RAISE = 21, 47, 2
libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
data = (ctypes.c_uint32 * 6)()
assert libc.capget(header, data) == 0
data[2] |= 1 << CAP_SYS_ADMIN
assert libc.capset(header, data) == 0
assert libc.prctl(PR_CAP_AMBIENT, RAISE, CAP_SYS_ADMIN, 0, 0) == 0

def ambient():
    child = subprocess.run(["grep", "CapAmb", "/proc/self/status"], capture_output=True)
    return int(child.stdout.split()[1], 16)

before = ambient()
keep_from_children()
print(before, ambient())
"""


def test_an_ambient_capability_does_not_reach_a_child() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can raise an ambient capability to lose")

    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True, timeout=30
    )

    if run.returncode != 0 and "AssertionError" in run.stderr:
        pytest.skip("this sandbox has no CAP_SYS_ADMIN to raise")
    assert run.stdout.split() == [str(1 << 21), "0"], run.stderr
