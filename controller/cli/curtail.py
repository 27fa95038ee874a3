"""`wattshift curtail`: what a person asks of the running controller, over its local socket."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from controller.cli.terminal import local_time, show
from controller.run.operators.triggerconfig import ControlTable

DEADLINE_S = 10.0
MAX_ANSWER = 1024 * 1024

_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_CLOCK = re.compile(r"\d{1,2}:\d{2}", re.ASCII)


class CurtailError(Exception):
    """What was asked cannot be meant, or the controller did not do it; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The options of the command as they were given."""

    kw: float | None
    duration: str | None
    until: str | None
    open_end: bool
    node: str
    end: bool


def run(wish: Wish, control: ControlTable | None, out: Console) -> None:
    if control is None:
        raise CurtailError("the site file has no [control] table: the controller listens to nobody here")
    answer = _asked(control.socket, request_of(wish, time.time()))
    match answer:
        case {"refused": str(why)}:
            raise CurtailError(why)
        case {"ended": list(events)}:
            out.print(f"ended: {', '.join(events) or 'nothing was in force'}")
        case {"curtailed_kw": _, "node": _, "until_utc_s": _}:
            out.print(held(answer), soft_wrap=True)
        case {"events": list(events)}:
            _print_events(events)
        case _:
            raise CurtailError(f"{control.socket}: an answer that means nothing: {str(answer)[:200]}")


def held(answer: dict[str, Any]) -> str:
    """What holds now, and what held there until now: an earlier word does not come back after a later one."""
    place = f"node {answer['node']}" if answer["node"] else "the site"
    now = f"{place} is held to {answer['curtailed_kw']:g} kW until {_until(answer['until_utc_s'])}"
    before = answer.get("instead")
    if before is None:
        return now
    until = _until(before["end_utc_s"])
    return (
        f"{now}\nand no longer to the {before['limit_kw']:g} kW until {until} that {before['by']} asked for"
    )


def request_of(wish: Wish, now_utc_s: float) -> dict[str, Any]:
    """The request to the controller; `CurtailError` if the options contradict each other."""
    ends = [wish.duration is not None, wish.until is not None, wish.open_end]
    if wish.end:
        if wish.kw is not None or any(ends) or wish.node:
            raise CurtailError("--end takes no other option")
        return {"do": "end"}
    if wish.kw is None:
        if any(ends) or wish.node:
            raise CurtailError("--kw is missing")
        return {"do": "list"}
    if sum(ends) != 1:
        raise CurtailError("one of --for, --until and --open is needed")
    if wish.duration is not None:
        until_utc_s: float | None = now_utc_s + seconds_of(wish.duration)
    elif wish.until is not None:
        until_utc_s = moment_of(wish.until, now_utc_s)
    else:
        until_utc_s = None
    return {"do": "curtail", "kw": wish.kw, "node": wish.node, "until_utc_s": until_utc_s}


def seconds_of(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None or float(match.group(1)) == 0:
        raise CurtailError(f"--for {text}: a length like 90s, 45m, 2h or 1d is needed")
    return float(match.group(1)) * _SECONDS[match.group(2)]


def moment_of(text: str, now_utc_s: float) -> float:
    """A clock time is the next time that this host's clock shows it; a date without an offset is local."""
    try:
        if _CLOCK.fullmatch(text):
            utc_s = _next_shown(text, now_utc_s)
        else:
            utc_s = datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise CurtailError(f"--until {text}: 18:30 or 2026-11-28T18:30-06:00 is needed") from None
    if utc_s <= now_utc_s:
        raise CurtailError(f"--until {text}: that is over")
    return utc_s


def _next_shown(clock: str, now_utc_s: float) -> float:
    """Of a time that the clock shows twice, for it is set back, the next one. One that it leaves out comes
    when it would have come."""
    hour, minute = (int(part) for part in clock.split(":"))
    now = datetime.fromtimestamp(now_utc_s).astimezone()  # by the clock alone: its offset need not last
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0, tzinfo=None)
    days = today, today + timedelta(days=1)
    shown = (day.replace(fold=fold).timestamp() for day in days for fold in (0, 1))
    return next(utc_s for utc_s in shown if utc_s > now_utc_s)


def _asked(path: Path, request: dict[str, Any]) -> Any:
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(DEADLINE_S)
            line.connect(str(path))
            line.sendall(json.dumps(request).encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n") and len(answer) < MAX_ANSWER:
                piece = line.recv(65_536)
                if not piece:
                    break
                answer += piece
        return json.loads(answer)
    except PermissionError:
        raise CurtailError(f"{path}: not yours to use; join the group that the socket belongs to") from None
    except (OSError, ValueError) as error:
        raise CurtailError(f"{path}: {error}; is the controller running?") from None


def _print_events(events: list[dict[str, Any]]) -> None:
    table = Table("event", "limit kW", "node", "from", "until", "by", box=None)
    for event in events:
        times = local_time(event["start_utc_s"]), _until(event["end_utc_s"])
        table.add_row(event["id"], f"{event['limit_kw']:g}", event["node"] or "site", *times, event["by"])
    show(table if events else "no event of the site's own")


def _until(utc_s: float | None) -> str:
    return "somebody ends it" if utc_s is None else local_time(utc_s)
