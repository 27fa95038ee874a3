"""The dialect that cgminer left to most miners: a command, and a reply that begins with its own verdict.

A reply counts only if that verdict is there and says success: an empty or unjudged one is no answer.
"""

from __future__ import annotations

import json
from typing import Any

from drivers.asic import wire
from drivers.asic.adapter import RefusedError, number
from drivers.base import DriverError

Reply = dict[str, Any]

PORT = 4028

SUCCESS = ("S", "I")


class Rpc:
    """Each command on a connection of its own, as all this firmware has it."""

    def __init__(self, host: str, *, deadline_s: float, port: int = PORT) -> None:
        self._host = host
        self._port = port
        self._deadline_s = deadline_s

    async def send(self, message: bytes) -> Reply:
        """Whatever came back, judged by nobody."""
        reply = await wire.ask(
            self._host, self._port, message, deadline_s=self._deadline_s, whole=wire.parsed_json
        )
        if not isinstance(reply, dict):
            raise DriverError(f"a {type(reply).__name__} where an object was expected")
        return reply


async def ask(rpc: Rpc, command: str, *parameters: str) -> Reply:
    """The proven answer to one command; `a+b` asks for several at once, see `part`."""
    request = {"command": command}
    if parameters:
        request["parameter"] = ",".join(parameters)
    return proven(command, await rpc.send(json.dumps(request).encode()))


def proven(command: str, reply: Reply) -> Reply:
    """`reply` if its verdict is success. A joined reply has a verdict in each part only."""
    if "STATUS" not in reply:
        if "+" in command and all(name in reply for name in command.split("+")):
            return reply
        raise DriverError(f"{command}: no STATUS in the reply")
    status = reply["STATUS"]
    if isinstance(status, list):
        status = status[0]
    verdict = status if isinstance(status, dict) else reply
    if verdict["STATUS"] not in SUCCESS:
        code = number(verdict.get("Code"))
        raise RefusedError(f"{command}: {verdict.get('Msg')}", None if code is None else int(code))
    return reply


def part(joined: Reply, command: str) -> Reply:
    """One proven answer out of a joined reply."""
    return proven(command, joined[command][0])


def watts(record: Reply, key: str) -> int:
    """A whole number of watts that must be there, rounded up."""
    value = number(record.get(key))
    if value is None or value < 0:
        raise DriverError(f"{key} is {record.get(key)!r}, not a power")
    return -int(-value // 1)
