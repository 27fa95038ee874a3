"""The JSON API on TCP 4028 in the manner of cgminer: one request per connection, the server closes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from simulators.faces.connection import Connection, Listener
from simulators.faces.particulars import POOL_SHARES
from simulators.physics.miner import MinerReport

JsonObject = dict[str, Any]
EPOCH_S = 1_790_000_000
"""Unix time at which every simulated miner's clock stood when the plant began."""
PARTIAL_S = 1.0
POOL = "stratum+tcp://pool.example:3333"
STRATUM_DIFFICULTY = 262_144.0
INVALID_JSON = 23


class JsonApi(Protocol):
    """The firmware behind the socket. `trailer` follows each answer: some firmware sends a NUL."""

    trailer: bytes

    def answer(self, request: JsonObject) -> JsonObject: ...

    def failure(self, code: int, message: str) -> JsonObject: ...


class JsonConnection(Connection):
    """A request is complete when it parses; one that never does is refused after a moment."""

    def __init__(self, listener: Listener, api: JsonApi) -> None:
        super().__init__(listener)
        self._api = api
        self._answered = False

    def take(self) -> None:
        if self._answered:
            return
        try:
            request = json.loads(self.received)
        except (ValueError, RecursionError):
            self.later(PARTIAL_S, self._give_up)
            return
        self._answer(self._api.answer(request) if isinstance(request, dict) else self._invalid())

    def _give_up(self) -> None:
        if not self._answered:
            self._answer(self._invalid())

    def _invalid(self) -> JsonObject:
        return self._api.failure(INVALID_JSON, "Invalid JSON")

    def _answer(self, answer: JsonObject) -> None:
        self._answered = True
        self.send(json.dumps(answer, separators=(",", ":")).encode() + self._api.trailer, close=True)


def status(
    code: int, message: str, *, when_s: float, kind: str = "S", description: str = ""
) -> list[JsonObject]:
    return [
        {
            "STATUS": kind,
            "When": EPOCH_S + int(when_s),
            "Code": code,
            "Msg": message,
            "Description": description,
        }
    ]


def joined(command: str, answer: Callable[[str], JsonObject]) -> JsonObject:
    """The answer to `a+b+c`: each whole answer in a list of its own."""
    return {**{part: [answer(part)] for part in command.split("+")}, "id": 1}


def command_of(request: JsonObject) -> str:
    """Clients write `command`; those of the Whatsminer write `cmd` as well."""
    command = request.get("command", request.get("cmd", ""))
    return command if isinstance(command, str) else ""


def pool(
    user: str, *, alive: bool, url: str = POOL, number: int = 0, working: bool | None = None
) -> JsonObject:
    """One of `pools`. Work comes from the one that is `working`, by default any that is alive."""
    active = alive if working is None else working
    return {
        **POOL_SHARES,
        "POOL": number,
        "URL": url,
        "User": user,
        "Status": "Alive" if alive else "Dead",
        "Priority": number,
        "Stratum Active": active,
        "Stratum URL": url.rpartition("//")[2] if active else "",
        "Stratum Difficulty": STRATUM_DIFFICULTY if active else 0.0,
        "Work Difficulty": STRATUM_DIFFICULTY if active else 0.0,
    }


def chains(report: MinerReport, *, boards: int, chips: int, sensors_read: bool) -> JsonObject:
    """The boards as `stats` lists them: rate in GH/s as text, temperatures of four sensors in one text."""
    hot, warm = round(report.hottest_c), round(report.hottest_c) - 8
    chip = f"{hot - 6}-{hot}-{hot - 3}-{hot - 5}" if sensors_read else "0-0-0-0"
    board = f"{warm - 4}-{warm}-{warm - 2}-{warm - 3}" if sensors_read else "0-0-0-0"
    entries: JsonObject = {}
    for number in range(1, boards + 1):
        entries[f"chain_rate{number}"] = f"{report.rate_ths * 1000 / boards:.2f}"
        entries[f"chain_acn{number}"] = chips
        entries[f"temp_chip{number}"] = chip
        entries[f"temp_pcb{number}"] = board
    return entries


def boards_as_stock(
    report: MinerReport, *, boards: int, chips: int, sensors_read: bool, mhz: int
) -> JsonObject:
    """Bitmain's `stats` of each: `temp` is the warmest of the board and `temp2_` of its chips."""
    chip = round(report.hottest_c) if sensors_read else 0
    board = max(0, chip - 8)
    pic = f"{board - 14}-{board - 10}-{board - 12}-{board - 13}" if chip else "0-0-0-0"
    stats = chains(report, boards=boards, chips=chips, sensors_read=sensors_read)
    for number in range(1, boards + 1):
        stats |= {
            f"temp{number}": board,
            f"temp2_{number}": chip,
            f"temp_pic{number}": pic,
            f"chain_hw{number}": 0,
            f"chain_acs{number}": "o" * chips,
            f"freq{number}": mhz,
        }
    return stats


def mac_of(serial: str) -> str:
    """A locally administered address."""
    octets = ["02", *(serial[at : at + 2] for at in range(0, 10, 2))]
    return ":".join(octets).upper()
