"""A file that is written in one step: whoever reads it sees all of it or none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

FILE_MODE = 0o640


def write_atomically(path: Path, text: str) -> None:
    """The file is the old one or the new one, whole, whatever happens; its permissions stay. What is no file,
    such as a pipe or /dev/null, is written to: nothing takes its place."""
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", newline="") as device:
            device.write(text)
        return
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else FILE_MODE
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
