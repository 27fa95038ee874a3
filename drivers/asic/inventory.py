"""The inventory: a TOML file of machines that a scan begins and a person completes.

What the person wrote is never touched: an update changes the values of the scan's own keys, line by line,
and is refused where the outcome would not be exactly that.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from drivers.asic.config import Family
from drivers.asic.discovery import Absent, Finding, Unknown
from drivers.asic.recognise import Machine

Value = str | float | int | bool
Table = dict[str, Any]

HEADER = """\
# Miners found by `wattshift discover`. Fill in what the machines could not tell: the power node that feeds
# each of them, its cooling zone, its rating. An update (--update) keeps all that you write here, and adds
# `gone = true` to a machine that was not found any more.
"""

_TABLE = re.compile(r"\s*\[\[\s*machines\s*\]\]")
_VALUE = re.compile(r"""^([^=]*=\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s#"']+)""")
OWN_KEYS = ("address", "mac", "family", "model", "firmware")


class InventoryError(Exception):
    """The inventory cannot be used. The message names the key and the value at fault."""


class Entry(BaseModel):
    """A machine of the inventory. Other keys are the person's own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    address: Annotated[str, AfterValidator(lambda text: str(IPv4Address(text)))]
    mac: Annotated[str, AfterValidator(str.upper)] = ""
    family: Family | Literal[""] = ""
    model: str = ""
    firmware: str = ""
    rated_ths: Annotated[float, Field(gt=0)] | None = None
    rated_w: Annotated[int, Field(gt=0)] | None = None
    node: str = ""
    zone: str = ""
    gone: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    machines: tuple[Entry, ...] = ()


class Kind(StrEnum):
    NEW = "new"
    ANOTHER = "another machine"
    MOVED = "moved"
    FIRMWARE = "new firmware"
    CHANGED = "changed"
    GONE = "gone"
    BACK = "back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    kind: Kind
    address: str
    detail: str


def entries(text: str) -> tuple[Entry, ...]:
    try:
        return _File.model_validate(tomllib.loads(text)).machines
    except tomllib.TOMLDecodeError as error:
        raise InventoryError(f"not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise InventoryError(f"{key}: {first['msg']} (got {first['input']!r})") from error


def updated(text: str, findings: Iterable[Finding]) -> tuple[str, tuple[Change, ...]]:
    """`text` with what a scan found merged into it, and what that changed; from "" a new inventory."""
    known = entries(text)
    found = {finding.address: finding for finding in findings}
    machines = {address: finding for address, finding in found.items() if isinstance(finding, Machine)}
    same = _matches(known, machines)
    changes: list[Change] = []
    edits: dict[int, Mapping[str, Value | None]] = {}
    for index, entry in enumerate(known):
        if index in same:
            machine = machines[same[index]]
            edits[index] = _refreshed(entry, machine)
            changes += _told(entry, machine, edits[index])
        elif not entry.gone and (gone := _gone(entry, found.get(entry.address))):
            changes.append(gone)
            edits[index] = {"gone": True}
    taken = set(same.values())
    new = [machine for address, machine in machines.items() if address not in taken]
    changes += [Change(kind=Kind.NEW, address=m.address, detail=m.facts.model or m.backend) for m in new]
    return _written(text, edits, new), tuple(changes)


def _matches(known: tuple[Entry, ...], machines: Mapping[str, Machine]) -> dict[int, str]:
    """By index of the entry the address where its machine is now: by MAC, and by address where there is none.

    An entry's own address is tried first, for two machines with one MAC do exist.
    """
    same: dict[int, str] = {}
    taken: set[str] = set()
    by_mac: dict[str, list[str]] = {}
    for address, machine in machines.items():
        if machine.facts.mac is not None:
            by_mac.setdefault(machine.facts.mac, []).append(address)

    def match(index: int, candidates: Iterable[str]) -> None:
        free = next((address for address in candidates if address not in taken), None)
        if index not in same and free is not None:
            same[index] = free
            taken.add(free)

    for index, entry in enumerate(known):
        match(index, (address for address in by_mac.get(entry.mac, ()) if address == entry.address))
    for index, entry in enumerate(known):
        match(index, by_mac.get(entry.mac, ()))
    for index, entry in enumerate(known):
        there = machines.get(entry.address)
        if there is not None and (not entry.mac or there.facts.mac is None):
            match(index, [entry.address])
    return same


def _refreshed(entry: Entry, machine: Machine) -> Mapping[str, Value | None]:
    """The values of the scan's own keys that differ now; None takes a key out."""
    told = _own_values(machine)
    edits: dict[str, Value | None] = {
        key: value
        for key, value in told.items()
        if value != getattr(entry, key) and (value != "" or (key == "family" and machine.family is None))
    }
    for key, value in _rating(machine).items():
        if getattr(entry, key) is None:
            edits[key] = value
    if entry.gone:
        edits["gone"] = None
    return edits


def _told(entry: Entry, machine: Machine, edits: Mapping[str, Value | None]) -> Iterator[Change]:
    kinds = {"address": Kind.MOVED, "firmware": Kind.FIRMWARE, "gone": Kind.BACK}
    for key, value in edits.items():
        before = getattr(entry, key)
        kind = kinds.get(key, Kind.CHANGED) if before or key == "gone" else Kind.CHANGED
        named = "" if kind is not Kind.CHANGED else f"{key} "
        detail = (
            _name(entry) if kind is Kind.BACK else f"{named}{before or 'unknown'} -> {value or 'unknown'}"
        )
        yield Change(kind=kind, address=machine.address, detail=detail)


def _gone(entry: Entry, finding: Finding | None) -> Change | None:
    """Somebody who could not be identified may still be the machine that was there."""
    match finding:
        case Machine():
            detail = f"{entry.mac} -> {finding.facts.mac}"
            return Change(kind=Kind.ANOTHER, address=entry.address, detail=detail)
        case Absent():
            return Change(kind=Kind.GONE, address=entry.address, detail=f"{_name(entry)}: {finding.why}")
        case Unknown() | None:
            return None


def _name(entry: Entry) -> str:
    return " ".join(filter(None, (entry.model, entry.mac)))


def _own_values(machine: Machine) -> dict[str, str]:
    return {
        "address": machine.address,
        "mac": machine.facts.mac or "",
        "family": machine.family or "",
        "model": machine.facts.model or "",
        "firmware": machine.facts.firmware or "",
    }


def _rating(machine: Machine) -> dict[str, float | int]:
    facts = machine.facts
    rating: dict[str, float | int] = {}
    if facts.rated_ths is not None:
        rating["rated_ths"] = round(facts.rated_ths, 1)
    if facts.rated_w is not None:
        rating["rated_w"] = facts.rated_w
    return rating


# -- writing, line by line ------------------------------------------------------------------------------


def _written(text: str, edits: Mapping[int, Mapping[str, Value | None]], new: Iterable[Machine]) -> str:
    head, *blocks = _blocks(text or HEADER)
    lines = [*head, *(line for at, block in enumerate(blocks) for line in _edited(block, edits.get(at, {})))]
    if lines and not lines[-1].endswith("\n"):
        lines.append("\n")
    added = "".join(_new_table(machine) for machine in new)
    after = "".join(lines) + added
    _check_edit(text, after, edits, added)
    return after


def _blocks(text: str) -> list[list[str]]:
    """The lines before the first machine, then those of each machine."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if _TABLE.match(line):
            blocks.append([])
        blocks[-1].append(line)
    return blocks


def _edited(block: list[str], edits: Mapping[str, Value | None]) -> list[str]:
    lines = list(block)
    for key, value in edits.items():
        at = _line_of(key, lines)
        if value is None:
            lines = [line for index, line in enumerate(lines) if index != at]
        elif at is None:
            last = max((_line_of(own, lines) or 0 for own in OWN_KEYS), default=0)
            lines.insert(last + 1, f"{key} = {_toml(value)}\n")
        elif lines[at].strip() == _placeholder(key):
            lines[at] = f"{key} = {_toml(value)}\n"
        else:
            lines[at] = _with_value(lines[at], value)
    return lines


def _with_value(line: str, value: Value) -> str:
    """With the comment behind it, if there is one."""
    old = _VALUE.match(line)
    return line if old is None else f"{old[1]}{_toml(value)}{line[old.end() :]}"


def _line_of(key: str, lines: list[str]) -> int | None:
    own = re.compile(rf"\s*{key}\s*=|{_placeholder(key)}\s*$")
    return next((at for at, line in enumerate(lines) if own.match(line)), None)


def _check_edit(before: str, after: str, edits: Mapping[int, Mapping[str, Value | None]], added: str) -> None:
    wanted = tomllib.loads(before)
    tables: list[Table] = [
        {key: value for key, value in (table | edits.get(at, {})).items() if value is not None}
        for at, table in enumerate(wanted.get("machines", ()))
    ]
    tables += tomllib.loads(added).get("machines", ())
    try:
        right = tomllib.loads(after) == wanted | ({"machines": tables} if tables else {})
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise InventoryError("written in a form that cannot be updated: it takes one [[machines]] for each")


def _new_table(machine: Machine) -> str:
    rating = _rating(machine)
    lines = ["", "[[machines]]"]
    lines += [f"{key} = {_toml(value)}" for key, value in _own_values(machine).items()]
    lines += [
        f"{key} = {_toml(rating[key])}" if key in rating else _placeholder(key)
        for key in ("rated_ths", "rated_w")
    ]
    lines += ['node = ""', 'zone = ""', ""]
    return "\n".join(lines)


def _placeholder(key: str) -> str:
    return f"# {key} ="


def _toml(value: Value) -> str:
    """What a scan writes are printable lines, numbers and truths: JSON and TOML write them alike."""
    return json.dumps(value, ensure_ascii=False)
