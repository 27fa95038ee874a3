"""The one door to pyasic 0.79.0: everything of it that we use, mended where it leaks.

Nothing else imports pyasic. Importing it must change neither the root logger nor the warning filters.
"""

from __future__ import annotations

import asyncio
import json
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from drivers.asic.wire import exchange, framed, is_whole_frame, unframed

_root = logging.getLogger()
_before = (_root.level, list(_root.handlers))
with warnings.catch_warnings():
    # Its pydantic models and passlib warn of deprecations at import; nobody here can act on them.
    warnings.simplefilter("ignore")
    from pyasic import APIError, get_miner, settings
    from pyasic.miners import factory
    from pyasic.rpc.btminer import (
        TokenData,
        create_privileged_cmd,
        parse_btminer_priviledge_data,
    )
    from pyasic.rpc.btminer import _crypt as _md5crypt
    from pyasic.web.braiins_os.proto.braiins.bos import v1 as bos
# pyasic calls logging.basicConfig and sets the root logger's level (logger/__init__.py:29).
_root.setLevel(_before[0])
_root.handlers[:] = _before[1]

__all__ = [
    "APIError",
    "HttpxError",
    "TokenData",
    "bos",
    "bounded",
    "create_privileged_cmd",
    "get_miner",
    "md5crypt",
    "parse_btminer_priviledge_data",
]

HttpxError = factory.httpx.HTTPError  # what its identification may raise; it is no OSError

IDENTIFY_STAGE_S = 10
IDENTIFY_TRIES = 2
WHATSMINER_V3_PORT = 4433


def md5crypt(word: str, salt: str) -> str:
    """The hash alone, without its "$1$salt$" in front."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # passlib: settings given to hash()
        return str(_md5crypt(word, f"$1${salt}$")).split("$")[3]


def bounded(rpc: Any, *, deadline_s: float) -> Any:
    """`rpc` with an exchange of ours: pyasic's own turns a refused connection into an empty success, waits
    100 s for a silent host, and leaves the socket of a cancelled call to the garbage collector."""

    async def send_bytes(data: bytes, *, port: int | None = None, **_: object) -> bytes:
        return await exchange(str(rpc.ip), port or rpc.port, data, deadline_s=deadline_s)

    rpc._send_bytes = send_bytes
    return rpc


async def _first_result(tasks: Sequence[asyncio.Task[object]], accept: Callable[[object], bool]) -> object:
    """pyasic's own leaves the losers of a race running, with their sockets, when the caller is cancelled."""
    result: object = None
    try:
        for done in asyncio.as_completed(tasks):
            result = await done
            if accept(result):
                break
        return result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask_whatsminer_v3(_: object, ip: str, command: str) -> dict[str, Any] | None:
    """pyasic's own waits without an end, and leaves the socket of a broken answer open."""
    request = framed(json.dumps({"cmd": command}).encode())
    try:
        reply = await exchange(
            ip, WHATSMINER_V3_PORT, request, deadline_s=IDENTIFY_STAGE_S, is_whole=is_whole_frame
        )
        return dict(json.loads(unframed(reply)))
    except (OSError, ValueError, TypeError):
        return None


_version_where_4028_answers = factory.MinerFactory.get_miner_version_whatsminer


async def _whatsminer_version(self: Any, ip: str) -> str | None:
    """pyasic's own asks nobody on 4433 where 4028 is shut, and takes such a machine for the older API's."""
    version: str | None = await _version_where_4028_answers(self, ip)
    if version is not None:
        return version
    info = await _ask_whatsminer_v3(self, ip, "get.device.info")
    try:
        return None if info is None else str(info["msg"]["system"]["fwversion"])
    except (LookupError, TypeError):
        return None


def _mend_identification() -> None:
    factory.concurrent_get_first_result = _first_result
    factory.MinerFactory.send_btminer_v3_api_command = _ask_whatsminer_v3
    factory.MinerFactory.get_miner_version_whatsminer = _whatsminer_version
    # A model that it does not know, it would take for the Braiins OS of before gRPC (23.03).
    factory.MINER_CLASSES[factory.MinerTypes.BRAIINS_OS][None] = factory.BOSer
    factory.logger = logging.getLogger("pyasic")
    # One 3-s clock for all stages makes pyasic miss healthy miners as soon as the loop is busy.
    settings.update("factory_get_timeout", IDENTIFY_STAGE_S)
    settings.update("factory_get_retries", IDENTIFY_TRIES)


_mend_identification()
