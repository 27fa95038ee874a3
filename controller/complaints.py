"""What is wrong with a site file, for whoever writes it: plain words, the place, and no secret."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from controller import credentials

IN_PLAIN_WORDS = {
    "extra_forbidden": "there is no such key",
    "missing": "is needed, and not there",
    "tuple_type": "a list is needed: [ ... ], or one [[table]] for each entry",
    "model_type": "one [table] is needed, or { ... }",
}
"""What pydantic says in the words of a programmer, for whoever writes a site file."""


_STRING = re.compile(r'"(?:\\.|[^"\\])*"?|\'[^\']*\'?')
_KEY = re.compile(r"(?:^|[{,])\s*([A-Za-z0-9_.-]+)\s*=")
_DECIMAL_COMMA = re.compile(r"=\s*[-+]?\d+,\d")

FEW = 8
"""Keys of a table that are told all, where a key that is none of them is like none of them."""


def not_toml(error: ValueError, text: str) -> str:
    """What TOML says of `text`, and of which key, without its value: that may be a secret."""
    said = str(error)
    place = re.search(r" \(at line (\d+), column (\d+)\)", said)
    if place is None:
        return said
    line, column = text.split("\n")[int(place[1]) - 1], int(place[2])
    keys = _KEY.findall(_STRING.sub("", line[:column]))
    if _DECIMAL_COMMA.search(_STRING.sub("", line[: column + 1])):
        said = f"decimals stand after a point, and not after a comma{place[0]}"
    return f"{keys[-1]}: {said}" if keys else said


def complaints(
    error: ValidationError, table: object, secret: Collection[str], settings: type[BaseModel]
) -> Iterator[str]:
    """One line per problem: the key, what is wrong, and what was given, unless that may be a secret. Keys
    count the entries of a list from 0, so the line also says which entry that is. `settings` is what knows
    the keys that there are."""
    problems = error.errors(include_url=False)
    places = Counter(problem["loc"][:depth] for problem in problems for depth in range(len(problem["loc"])))
    for problem in problems:
        if problem["type"] == "too_short" and places[problem["loc"]]:
            continue  # only because what is in it was refused
        key = ".".join(str(part) for part in problem["loc"])
        given = problem["input"]
        may_be_shown = key not in secret and _may_be_shown(key, problem["type"], given)
        shown = f" (got {given!r})" if may_be_shown else ""
        entry = _entry(table, problem["loc"])
        named = f" (in {entry!r})" if entry is not None else ""
        said = IN_PLAIN_WORDS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        if problem["type"] == "extra_forbidden":
            said += _meant(problem["loc"], settings)
        for line in said.splitlines():
            yield f"{key}: {line}{shown}{named}" if key else line


def _meant(place: tuple[int | str, ...], settings: type[BaseModel]) -> str:
    """Which key of the same table that may have been, or all that there are where they are few."""
    known = sorted(_keys_beside(place, settings))
    close = get_close_matches(str(place[-1]), known, n=1)
    if close:
        return f": did you mean {close[0]}?"
    return f": there are {', '.join(known)}" if 0 < len(known) <= FEW else ""


def _keys_beside(place: tuple[int | str, ...], settings: type[BaseModel]) -> set[str]:
    """The keys of the table in which `place` is. What is no key on the way there (a place in a list, the
    kind of an entry) leads no deeper."""
    tables = [settings]
    for part in place[:-1]:
        fields = [table.model_fields[part] for table in tables if part in table.model_fields]
        if fields:
            tables = [inner for field in fields for inner in _tables_in(field.annotation)]
    return {field.alias or name for table in tables for name, field in table.model_fields.items()}


def _tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _tables_in(part)


def _entry(table: object, place: Iterable[int | str]) -> str | None:
    """The id of the innermost entry of a list that `place` is in, where it has one."""
    name = None
    for part in place:
        try:
            table = table[part]  # type: ignore[index] # whatever the file has there
        except (LookupError, TypeError):
            break
        if isinstance(part, int) and isinstance(table, Mapping) and isinstance(table.get("id"), str):
            name = table["id"]
    return name


def _may_be_shown(key: str, problem: str, given: object) -> bool:
    """No password, under its own name, under a misspelt one, or as text where a table belongs."""
    if problem == "extra_forbidden" or "password" in key or not credentials.KEYS.isdisjoint(key.split(".")):
        return False
    return isinstance(given, int | float) or (isinstance(given, str) and not problem.endswith("_type"))
