"""The GPUs of the host one is on, as tables for a site file. Blocks: for the command line only."""

from __future__ import annotations

import json
import socket

from drivers.base import DriverError
from drivers.gpu_nvml import GpuError, Session
from drivers.gpu_sample import Limits, limits_of


def describe(library: str | None = None) -> str:
    """A site file's tables for the GPUs of this host. Blocks: for the command line only."""
    session = Session(library)
    unusable: list[str] = []
    models: dict[tuple[str, Limits], list[str]] = {}
    for board in session.boards():
        try:
            if isinstance(board, GpuError):
                raise board
            limits = limits_of(board)
            if limits is None:
                raise DriverError(f"GPU {board.uuid}: takes no power limit")
            models.setdefault((board.call("nvmlDeviceGetName"), limits), []).append(board.uuid)
        except DriverError as error:
            unusable.append(f"# {error}\n")
    session.end()
    where = f"library = {json.dumps(library)}\n" if library else ""
    tables = [_table(at, *model, uuids, where) for at, (model, uuids) in enumerate(models.items())]
    return "\n".join([*unusable, *tables])


def _table(at: int, model: str, limits: Limits, uuids: list[str], library: str) -> str:
    quoted = "".join(f'    "{uuid}",\n' for uuid in uuids)
    return (
        f"# {model}\n"
        "[[gpu_hosts]]\n"
        f'id = "{socket.gethostname()}{f"-{at}" if at else ""}"\n'
        'node = "site"  # the power node that feeds this host\n'
        f"uuids = [\n{quoted}]\n"
        f"{library}min_w = {limits.min_w}\nmax_w = {limits.max_w}\ndefault_w = {limits.default_w}\n"
    )
