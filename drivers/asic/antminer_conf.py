"""The configuration of a stock Antminer: changed only as a whole, so changed only when it can be believed.

Whatever is left out of a write may be reset, and empty pools stop the machine for good: a configuration
without pools or without a mode is never written, and the last good one is kept on disk.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from drivers.asic.adapter import RefusedError, number
from drivers.base import DriverError

Conf = dict[str, Any]

MODE_READ = "bitmain-work-mode"
MODE_WRITE = "miner-mode"
MODE_KEYS = (MODE_READ, MODE_WRITE)
"""Firmware of 2022 takes the first; later builds read it as the first and take it as the second."""

READ_AND_WRITE_KEYS = (("bitmain-freq-level", "freq-level"),)
"""The other settings that such builds read by one name and take by another."""


def mode_of(conf: Conf) -> int:
    """The work mode; the key that firmware reads it by counts first."""
    for key in MODE_KEYS:
        mode = number(conf.get(key))
        if mode is not None:
            return int(mode)
    raise DriverError(f"configuration with neither {MODE_READ} nor {MODE_WRITE}")


def pools_of(conf: Conf) -> list[Conf]:
    """The pools that lead somewhere."""
    pools = conf.get("pools")
    if not isinstance(pools, list):
        raise DriverError("configuration without pools")
    return [pool for pool in pools if isinstance(pool, dict) and str(pool.get("url") or "").strip()]


def with_mode(conf: Conf, mode: int) -> Conf:
    """`conf`, everything in it, with both mode keys at `mode`, each a number or a string as it was read."""
    try:
        mode_of(conf)
        usable = pools_of(conf)
    except DriverError as error:
        raise RefusedError(f"not written: {error}") from error
    if not usable:
        raise RefusedError("not written: the machine gave a configuration without a single pool")
    changed = dict(conf)
    for key in MODE_KEYS:
        # The vendor's own page sends a number where the key was not in what it read.
        changed[key] = str(mode) if isinstance(conf.get(key), str) else mode
    for read, write in READ_AND_WRITE_KEYS:
        if read in conf:
            changed.setdefault(write, conf[read])
    return changed


class LastGood:
    """The last good configuration of each machine, in `directory` by MAC address; `None` keeps none."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def keep(self, mac: str, conf: Conf) -> None:
        """Atomically, and for our own eyes: pool accounts are in it."""
        if self._directory is None:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._directory, prefix=".", suffix=".json")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(conf, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path(mac))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def load(self, mac: str) -> Conf | None:
        if self._directory is None or not self._path(mac).exists():
            return None
        loaded = json.loads(self._path(mac).read_text(encoding="utf-8"))
        return loaded if isinstance(loaded, dict) else None

    def _path(self, mac: str) -> Path:
        assert self._directory is not None
        return self._directory / f"antminer-{mac.replace(':', '').lower()}.json"
