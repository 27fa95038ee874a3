"""How far a job says it is: one rising number in a file of its own, whose path is in its environment.

The file is a tenant's word. It is read without blocking, and no more of it than a number needs.
"""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path

VARIABLE = "WATTSHIFT_PROGRESS"
MOST_BYTES = 64


def progress(file: Path) -> float | None:
    """What a job wrote; None where there is nothing, or nonsense."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        said = os.read(descriptor, MOST_BYTES).split()
        units = float(said[0]) if said else math.nan
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
    return units if math.isfinite(units) else None


def put(file: Path, text: str) -> None:
    """Whole or not at all."""
    unfinished = file.with_name(file.name + ".new")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)
