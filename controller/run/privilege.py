"""Keeps the daemon's privilege to itself: what it starts must not inherit it."""

from __future__ import annotations

import ctypes
import sys

PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4


def keep_from_children() -> None:
    """Empty the ambient capability set (capabilities(7)), before any thread is started.

    The service manager grants CAP_SYS_ADMIN through it, for the power limits of GPUs. This process keeps
    the capability; a GPU job that it starts gets none. Where there is no such set, there is nothing to keep.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
