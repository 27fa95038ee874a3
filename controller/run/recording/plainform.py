"""Values of the program as plain JSON and back, whole or as the difference from the one before.

A stream explains itself: the first use of a class puts its name and fields into the stream, so that another
version of the program can read it. Nothing is ever made but values of `domain`, `decide` and `told.py`.
"""

from __future__ import annotations

import importlib
import pkgutil
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np

from controller import decide, domain
from controller.run.giveway import keep_going

Json = Any

TUPLE, MAPPING, SET, ARRAY = 0, 1, 2, 3
FIRST_CLASS = 10
"""What an array's first number says: a container, a class of this stream, or (below zero) a difference."""
FIELDS_CHANGED, KEYS_CHANGED, ITEMS_CHANGED = -1, -2, -3
TOLD = "controller.run.recording.told"
VOCABULARY = tuple(f"{decide.__name__}.{name}" for name in ("inputs", "plan", "words"))
"""The modules of `decide` whose classes others speak in."""
MOVED = {
    "controller.decide.nodes.NodeMemory": "controller.decide.metering.NodeMemory",
    "controller.decide.nodes.Seen": "controller.decide.metering.Seen",
    "controller.decide.nodes.Below": "controller.decide.sums.Below",
}
"""Classes that streams of before have by another module, and where they are now."""
PLAIN = (type(None), bool, int, float, str)


class PlainFormError(Exception):
    """A value that has no plain form, or a plain form that is not a value of this program."""


class Writer:
    """Turns values into JSON; `take_layouts` are the classes that the reader must be told of before it. After
    each piece of work it calls `give_way`.
    """

    def __init__(self, give_way: Callable[[], None] = keep_going) -> None:
        self._give_way = give_way
        self._classes: dict[type, tuple[int, Callable[[Any], tuple[Any, ...]]]] = {}
        self._untold: list[Json] = []

    def take_layouts(self) -> list[Json]:
        taken, self._untold = self._untold, []
        return taken

    def whole(self, value: Any) -> Json:
        """`PlainFormError` if there is anything in `value` that cannot be read back as it was."""
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is tuple:
            return [TUPLE, *map(self.whole, value)]
        if isinstance(value, Mapping):
            return [MAPPING, *map(self.whole, chain.from_iterable(value.items()))]
        if isinstance(value, frozenset):
            return [SET, *sorted(map(self.whole, value))]
        if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            return [ARRAY, value.dtype.str, list(value.shape), b64encode(value.tobytes()).decode()]
        self._give_way()
        number, parts = self._classes.get(kind) or self._learn(kind)
        return [number, *map(self.whole, parts(value))]

    def change(self, before: Any, now: Any) -> Json:
        """What makes `now` of `before`. Equal values have no change: ask `differ` first."""
        kind = type(now)
        if kind in PLAIN or kind is not type(before):
            return self.whole(now)
        if kind is tuple:
            return self._items(before, now)
        if isinstance(now, Mapping):
            return self._keys(before, now)
        if isinstance(now, Enum | frozenset | np.ndarray | np.generic):
            return self.whole(now)
        _, parts = self._classes.get(kind) or self._learn(kind)
        return self._differing(FIELDS_CHANGED, parts(before), parts(now))

    def _items(self, before: tuple[Any, ...], now: tuple[Any, ...]) -> Json:
        if len(before) != len(now):
            return self.whole(now)
        return self._differing(ITEMS_CHANGED, before, now)

    def _keys(self, before: Mapping[Any, Any], now: Mapping[Any, Any]) -> Json:
        form: list[Json] = [KEYS_CHANGED, [self.whole(key) for key in before if key not in now]]
        for key, value in now.items():
            if key not in before:
                form += (self.whole(key), self.whole(value))
            elif before[key] is value:
                continue
            elif differ(before[key], value):
                form += (self.whole(key), self.change(before[key], value))
            self._give_way()
        return form

    def _differing(self, sort: int, before: tuple[Any, ...], now: tuple[Any, ...]) -> Json:
        form: list[Json] = [sort]
        for at, (old, new) in enumerate(zip(before, now, strict=True)):
            if old is not new and differ(old, new):
                form += (at, self.change(old, new))
        return form

    def _learn(self, kind: type) -> tuple[int, Callable[[Any], tuple[Any, ...]]]:
        name = _name(kind)
        if classes().get(name) is not kind:
            raise PlainFormError(f"{kind.__module__}.{kind.__qualname__} has no plain form")
        names = ["value"] if issubclass(kind, Enum) else _names(kind)
        number = FIRST_CLASS + len(self._classes)
        self._classes[kind] = known = (number, _parts(names))
        self._untold.append([number, name, None if issubclass(kind, Enum) else names])
        return known


class Reader:
    """The other end. `unknown` names fields that this program does not have; they are passed over."""

    def __init__(self) -> None:
        self.unknown: set[str] = set()
        self._classes: dict[int, tuple[type, list[str] | None]] = {}

    def learn(self, layout: Json) -> None:
        number, name, names = layout
        kind = classes().get(MOVED.get(name, name))
        if kind is None:
            raise PlainFormError(f"this program has no class {name}")
        self._classes[number] = (kind, names)

    def whole(self, form: Json) -> Any:
        if not isinstance(form, list):
            return form
        match form:
            case [int(number), *parts] if number >= FIRST_CLASS:
                return self._made(number, parts)
            case [0, *parts]:
                return tuple(map(self.whole, parts))
            case [1, *parts]:
                values = list(map(self.whole, parts))
                return dict(zip(values[::2], values[1::2], strict=True))
            case [2, *parts]:
                return frozenset(map(self.whole, parts))
            case [3, dtype, shape, text]:
                return np.frombuffer(b64decode(text), dtype).reshape(shape).copy()[()]
            case _:
                raise PlainFormError(f"not a value: {str(form)[:80]}")

    def changed(self, before: Any, form: Json) -> Any:
        match form:
            case [-1, *parts]:
                return self._with_fields(before, parts)
            case [-2, gone, *parts]:
                return self._with_keys(before, gone, parts)
            case [-3, *parts]:
                items = list(before)
                for at, part in zip(parts[::2], parts[1::2], strict=True):
                    items[at] = self.changed(items[at], part)
                return tuple(items)
            case _:
                return self.whole(form)

    def _with_fields(self, before: Any, parts: list[Json]) -> Any:
        kind = type(before)
        names = self._names(kind)
        new = {name: getattr(before, name) for name in _names(kind)}
        for at, part in zip(parts[::2], parts[1::2], strict=True):
            if names[at] in new:
                new[names[at]] = self.changed(new[names[at]], part)
        return kind(**new)

    def _with_keys(self, before: Mapping[Any, Any], gone: list[Json], parts: list[Json]) -> Any:
        left = dict(before)
        for key in map(self.whole, gone):
            del left[key]
        for plain_key, part in zip(parts[::2], parts[1::2], strict=True):
            key = self.whole(plain_key)
            left[key] = self.changed(left[key], part) if key in left else self.whole(part)
        return left

    def _made(self, number: int, parts: list[Json]) -> Any:
        if number not in self._classes:
            raise PlainFormError(f"class {number} of this stream was never explained")
        kind, names = self._classes[number]
        values = list(map(self.whole, parts))
        if names is None:
            return kind(*values)
        known = frozenset(_names(kind))
        self.unknown |= {f"{kind.__name__}.{name}" for name in names if name not in known}
        given = {name: value for name, value in zip(names, values, strict=True) if name in known}
        if missing := sorted(_needed(kind) - given.keys()):
            raise PlainFormError(f"{kind.__name__} is recorded without {', '.join(missing)}")
        return kind(**given)

    def _names(self, kind: type) -> list[str]:
        for known, names in self._classes.values():
            if known is kind and names is not None:
                return names
        raise PlainFormError(f"a change of {kind.__name__}, which this stream never explained")


def differ(before: object, now: object) -> bool:
    if before is now:
        return False
    if isinstance(now, np.ndarray) or isinstance(before, np.ndarray):
        return not np.array_equal(before, now)  # type: ignore[arg-type]  # of anything that can be an array
    return type(before) is not type(now) or before != now


@cache
def classes() -> Mapping[str, type]:
    """Every dataclass and enumeration that a stream may hold, by its name in the stream."""
    packages = (domain, decide)
    names = [
        module.name
        for package in packages
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ]
    found: dict[str, type] = {}
    for name in (*names, TOLD):
        for kind in vars(importlib.import_module(name)).values():
            if isinstance(kind, type) and kind.__module__ == name and _is_value(kind):
                found[_name(kind)] = kind
    return found


def _is_value(kind: type) -> bool:
    return issubclass(kind, Enum) or is_dataclass(kind) or _is_named_tuple(kind)


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_field_defaults")


def _name(kind: type) -> str:
    """The vocabulary goes by its bare name, wherever it is kept; what is internal to deciding does not."""
    is_word = kind.__module__.startswith(domain.__name__) or kind.__module__ in VOCABULARY
    return kind.__qualname__ if is_word else f"{kind.__module__}.{kind.__qualname__}"


def _names(kind: Any) -> list[str]:
    """The fields of a value. One that does not count in a comparison is derived from the others."""
    if issubclass(kind, Enum):
        return []
    if _is_named_tuple(kind):
        return list(kind._fields)
    found = [one for one in fields(kind) if one.compare]
    if not all(one.init for one in found):
        raise PlainFormError(f"{kind.__name__} has fields that cannot be given to it")
    return [one.name for one in found]


def _needed(kind: Any) -> frozenset[str]:
    if _is_named_tuple(kind):
        return frozenset(name for name in kind._fields if name not in kind._field_defaults)
    defaults = {} if issubclass(kind, Enum) else {one.name: one for one in fields(kind)}
    return frozenset(
        name
        for name in _names(kind)
        if defaults[name].default is MISSING and defaults[name].default_factory is MISSING
    )


def _parts(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    match names:
        case []:
            return lambda _: ()
        case [only]:
            return lambda value: (getattr(value, only),)
        case _:
            return attrgetter(*names)
