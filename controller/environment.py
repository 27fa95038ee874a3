"""Which variables of the environment are meant for the site file's tables, and are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher, get_close_matches
from types import UnionType
from typing import Union, get_args, get_origin

from pydantic import BaseModel

JOINT = "__"
ALIKE = 0.8
"""A name without a joint that is no more like one of ours than this may be anybody's: Kubernetes names
variables after the service (`WATTSHIFT_SERVICE_HOST`)."""
MAY_MEAN = 0.6


def misnamed(variables: Iterable[str], settings: type[BaseModel], prefix: str) -> Iterator[str]:
    """One line for each of `variables` that names no place in `settings`, and what it may have meant. Values
    are nobody's business."""
    names = [JOINT.join(place) for place in places(settings)]
    for variable in sorted(variables):
        if not variable.upper().startswith(prefix):
            continue
        place = variable[len(prefix) :].lower().split(JOINT)
        why = _wrong(place, settings)
        if why is not None:
            meant = _meant(place, names)
            hint = f": did you mean {prefix}{meant.upper()}?" if meant else ""
            yield f"environment: {variable}: {why}{hint}"


def _wrong(place: list[str], settings: type[BaseModel]) -> str | None:
    if len(place) == 1 and place[0] not in settings.model_fields:
        (name,) = place
        parted = any(name.startswith(f"{table}_") for table in settings.model_fields)
        alike = get_close_matches(name, settings.model_fields, n=1, cutoff=ALIKE)
        return "there is no such table or key" if parted or alike else None
    known: type[BaseModel] | None = settings
    for at, part in enumerate(place):
        if known is None:
            return None  # into a list or a dictionary: what is in there is checked with the site file
        if part not in known.model_fields:
            return f"there is no {'table' if at == 0 else 'key'} {part!r}"
        known = table_of(known, part)
    return None


def _meant(place: list[str], names: list[str]) -> str | None:
    """What has the same key is likelier than what has the same table."""
    given = JOINT.join(place)
    same_key = [name for name in names if JOINT in name and name.rpartition(JOINT)[2] == place[-1]]
    if same_key and len(place) > 1:
        return max(same_key, key=lambda name: SequenceMatcher(None, given, name).ratio())
    close = get_close_matches(given, names, n=1, cutoff=MAY_MEAN)
    return close[0] if close else None


def places(table: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Every key that one variable can set, table by table."""
    for name in table.model_fields:
        yield (name,)
        inner = table_of(table, name)
        if inner is not None:
            yield from ((name, *rest) for rest in places(inner))


def table_of(table: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The table that `name` is in `table`, where it is one and not a list of them."""
    annotation = table.model_fields[name].annotation
    choices = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    for kind in choices:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
