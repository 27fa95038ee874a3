"""The dialect that cgminer left to most miners: a command, and a reply that begins with its own verdict.

A reply counts only if that verdict is there and says success: an empty or unjudged one is no answer.
"""

from __future__ import annotations

from typing import Any, Protocol

from drivers.asic.adapter import RefusedError, number
from drivers.base import DriverError

Reply = dict[str, Any]

SUCCESS = ("S", "I")


class Rpc(Protocol):
    """What we use of pyasic's RPC classes."""

    async def send_command(self, command: str, *parameters: str, **options: bool) -> Reply: ...


async def ask(rpc: Rpc, command: str, *parameters: str) -> Reply:
    """The proven answer to one command; `a+b` asks for several at once, see `part`."""
    # pyasic would raise one error for "no" and for garbage, and log to the root logger.
    reply = await rpc.send_command(command, *parameters, ignore_errors=True, allow_warning=False)
    return proven(command, reply)


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
