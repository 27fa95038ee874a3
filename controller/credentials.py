"""Logins and keys from the secrets directory of the service, put where they belong in a site file's tables.

A file is named by the place of its value, joined by two underscores: `grid__password`, `pdus__a1__community`,
`families__whatsminer__password`, `miners__row-a__password`, and for one machine of a group
`miners__row-a__10.20.1.17__password`. No value is ever part of an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr

from drivers.asic.config import Family

JOINT = "__"
MAX_BYTES = 65_536

KEYS = frozenset({"username", "password", "community", "auth_password", "privacy_password"})
"""What an entry of a list of tables may get from here. A single table may get any of its keys."""

ENTRIES: Mapping[str, frozenset[str]] = {
    "miners": frozenset({"username", "password"}),
    "mqtt_meters": frozenset({"username", "password"}),
    "price_brokers": frozenset({"username", "password"}),
    "operators": frozenset({"username", "password"}),
    "pdus": KEYS - {"password"},
}
"""The lists of tables that have logins, and which keys of theirs they are."""

FAMILIES, MINERS, LOGINS = "families", "miners", "logins"

Tables = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """`place` is the file's name, split at its joints."""

    file: Path
    place: tuple[str, ...]
    value: SecretStr


def read(directory: Path) -> Iterator[Credential]:
    """Every credential that is a value of the site file: a name without a joint is a file that the site file
    names itself, like a TLS key. Raises `OSError`, and `ValueError` for what is no text."""
    for file in sorted(directory.iterdir()):
        if JOINT not in file.name or file.name.startswith(".") or not file.is_file():
            continue
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"{file}: more than {MAX_BYTES} bytes are no credential")
        try:
            text = file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise ValueError(f"{file}: no UTF-8 text") from None
        yield Credential(file=file, place=tuple(file.name.split(JOINT)), value=SecretStr(text))


def places(directory: Path) -> frozenset[str]:
    """The keys of single tables that get their value from here, as errors name them."""
    return frozenset(file.name.replace(JOINT, ".") for file in directory.iterdir())


def placed(tables: Mapping[str, Any], credentials: Iterable[Credential], *, known: Collection[str]) -> Tables:
    """`tables` with every credential in its place; raises `ValueError` naming the file that has none.

    `known` are the names of all tables.
    """
    result = dict(tables)
    for credential in credentials:
        table, *rest = credential.place
        if not all(credential.place):
            raise ValueError(f"{credential.file}: a part of the name is empty")
        if table not in known:
            raise ValueError(f"{credential.file}: there is no table {table!r}")
        if table not in ENTRIES and table != FAMILIES and result.get(table) is None:
            raise ValueError(f"{credential.file}: there is no [{table}] in the site file")
        if table == FAMILIES and not _is_of_family(rest):
            raise _misnamed(credential, f"{FAMILIES}__FAMILY__password or __username")
        place = tuple(rest)
        result[table] = (
            _in_list(result.get(table), credential)
            if table in ENTRIES
            else _in_table(result.get(table), place, credential)
        )
    return result


def _is_of_family(place: Sequence[str]) -> bool:
    return len(place) == 2 and place[0] in get_args(Family) and place[1] in ENTRIES[MINERS]


def _in_list(entries: object, credential: Credential) -> list[Any]:
    table, *where, key = credential.place
    of_device = table == MINERS and len(where) == 2
    if key not in ENTRIES[table] or not (len(where) == 1 or of_device):
        wanted = " or ".join(f"{table}__ID__{name}" for name in sorted(ENTRIES[table]))
        raise _misnamed(credential, wanted + (", and __ADDRESS between for one machine" * (table == MINERS)))
    known = list(entries) if isinstance(entries, list | tuple) else []
    for at, entry in enumerate(known):
        if isinstance(entry, Mapping) and entry.get("id") == where[0]:
            place = (LOGINS, where[1], key) if of_device else (key,)
            known[at] = _in_table(entry, place, credential)
            return known
    raise ValueError(f"{credential.file}: there is no [[{table}]] with the id {where[0]!r}")


def _in_table(table: object, place: tuple[str, ...], credential: Credential) -> Tables:
    """A copy of `table` with the value at `place`, in tables that are made where there are none."""
    if table is not None and not isinstance(table, Mapping):
        raise _misnamed(credential, "a key of a table")
    first, *rest = place
    result = dict(table or {})
    if rest:
        result[first] = _in_table(result.get(first), tuple(rest), credential)
    else:
        result[first] = credential.value.get_secret_value()
    return result


def _misnamed(credential: Credential, wanted: str) -> ValueError:
    return ValueError(f"{credential.file}: names no place of the site file; wanted {wanted}")
