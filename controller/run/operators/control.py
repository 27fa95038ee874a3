"""The local way into the controller: a Unix socket, and whoever the file's permissions let open it.

One line of JSON in, one line out, then it is closed. It makes events and nothing else: no device is reached
from here, and every limit stands.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from controller.domain.grid import GridEvent, LimitSignal
from controller.domain.power import Power
from controller.grid.isotime import stamp
from controller.grid.triggers import Cut
from controller.run.journal.store import StoreError
from controller.run.operators.ownrules import OwnRules

MAX_LINE = 4096
DEADLINE_S = 6.0
MAX_AT_ONCE = 8
LONGEST_S = 366 * 86_400.0
LAST_UTC_S = 253_402_300_799
"""The end of the year 9999: what lies beyond it, or before 1970, is no time that could be written."""
ONLY_OBSERVED = "this site is only observed (controller.mode is observe): nothing would be curtailed"


class ControlError(Exception):
    """The socket cannot be served; the message names it."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class CurtailRequest(_Request):
    """Curtail to `kw` until `until_utc_s`; without it until somebody ends it."""

    do: Literal["curtail"]
    kw: Annotated[float | int, Field(ge=0, le=10_000_000)]
    node: str = ""
    until_utc_s: Annotated[float | int, Field(ge=0, le=LAST_UTC_S)] | None = None


class EndRequest(_Request):
    do: Literal["end"]


class ListRequest(_Request):
    do: Literal["list"]


_REQUESTS: TypeAdapter[CurtailRequest | EndRequest | ListRequest] = TypeAdapter(
    Annotated[CurtailRequest | EndRequest | ListRequest, Field(discriminator="do")]
)


class Control:
    def __init__(
        self,
        path: Path,
        rules: OwnRules,
        *,
        nodes: Iterable[str],
        most: Power,
        utc: Callable[[], float],
        observes: bool = False,
    ) -> None:
        self._observes = observes
        self._path = path
        self._rules = rules
        self._nodes = frozenset(nodes)
        self._most = most
        self._utc = utc
        self._server: asyncio.Server | None = None
        self._busy = 0
        self._log = structlog.get_logger("control")

    async def start(self) -> None:
        """Listen. `ControlError` if another process does, or the path cannot be used."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._clear()
            before = os.umask(0o117)
            try:
                self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_LINE)
            finally:
                os.umask(before)
        except OSError as error:
            raise ControlError(f"control.socket {self._path}: {error}") from error

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._server.wait_closed()
            self._path.unlink(missing_ok=True)
            self._server = None

    def _clear(self) -> None:
        """Remove what a dead process left; never what a living one listens on, nor anything but a socket."""
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ControlError(f"control.socket {self._path}: is there and is no socket")
        with socket.socket(socket.AF_UNIX) as knock:
            knock.settimeout(1.0)
            try:
                knock.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
        raise ControlError(f"control.socket {self._path}: another controller listens on it")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer: dict[str, Any] = {"refused": "too many at once, try again"}
        self._busy += 1
        try:
            async with asyncio.timeout(DEADLINE_S):
                if self._busy <= MAX_AT_ONCE:
                    line = await reader.readline()
                    answer = await self._answer(line, _who(writer))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, OSError, ValueError) as error:  # ValueError: a line beyond the limit
            self._log.warning("control_failed", why=repr(error))
        finally:
            self._busy -= 1
            writer.close()

    async def _answer(self, line: bytes, who: str) -> dict[str, Any]:
        try:
            request = _REQUESTS.validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            return {"refused": f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"}
        if self._observes and not isinstance(request, ListRequest):
            return {"refused": ONLY_OBSERVED}
        try:
            match request:
                case CurtailRequest():
                    return await self._curtail(request, who)
                case EndRequest():
                    return {"ended": list(await self._rules.end(who))}
                case ListRequest():
                    return {"events": [_shown(event) for event in self._rules.events]}
        except StoreError as error:
            return {"refused": str(error)}

    async def _curtail(self, request: CurtailRequest, who: str) -> dict[str, Any]:
        now_utc_s = self._utc()
        until_utc_s = math.inf if request.until_utc_s is None else float(request.until_utc_s)
        if request.node and request.node not in self._nodes:
            return {"refused": f"node {request.node!r}: none of {', '.join(sorted(self._nodes))}"}
        if until_utc_s <= now_utc_s:
            return {"refused": f"until {stamp(until_utc_s)}: that is over"}
        if now_utc_s + LONGEST_S < until_utc_s < math.inf:
            return {"refused": "until: more than a year ahead; without an end it holds until it is ended"}
        limit = Power.kw(request.kw)
        if limit > self._most:
            return {"refused": f"kw {request.kw:g}: the site has {self._most}"}
        before = [_shown(event) for event in self._rules.people if event.node == request.node]
        await self._rules.curtail(Cut(limit=limit, node=request.node), until_utc_s, who)
        answer = {"curtailed_kw": limit.in_kw, "node": request.node, "until_utc_s": request.until_utc_s}
        return answer | {"instead": before[0]} if before else answer


def _who(writer: asyncio.StreamWriter) -> str:
    """The user on the other end, as the kernel knows it."""
    line = writer.get_extra_info("socket")
    packed = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", packed)
    return f"uid {user}"


def _shown(event: GridEvent) -> dict[str, Any]:
    limits = [
        signal.power.in_kw
        for piece in event.intervals
        for signal in piece.signals
        if isinstance(signal, LimitSignal)
    ]
    return {
        "id": event.id,
        "source": event.source,
        "node": event.node,
        "start_utc_s": event.start_utc_s,
        "end_utc_s": None if math.isinf(event.end_utc_s) else event.end_utc_s,
        "limit_kw": min(limits, default=None),
        "by": event.name,
    }
