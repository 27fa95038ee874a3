"""A run of ticks as one compressed stream of JSON lines, each tick as its difference from the one before.

A stream begins with everything that is needed to go on from it: the site, the core's state, whole inputs.
What was flushed can be read without what comes after it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from controller.decide.inputs import Inputs
from controller.decide.snapshot import State
from controller.domain.site import Site
from controller.run.giveway import keep_going
from controller.run.recording.plainform import PlainFormError, Reader, Writer, differ
from controller.run.recording.told import Told

LEVEL = 6
NOTHING = 0
"""In place of a change: there was none. A change is always an array, or a plain value that differs."""


class StreamError(Exception):
    """The stream is torn, or not one that this program can read."""


class OtherProgramError(StreamError):
    """The stream is whole, and holds what this program has no word for: another one wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """`told` is None where no plan was told: the decision failed, or broke an invariant."""

    inputs: Inputs
    told: Told | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a stream begins with. `state` is None where the core's state could not be written or read."""

    site: Site
    state: State | None
    trouble: str = ""


class StreamWriter:
    """`text` of one tick after the other; the bytes returned so far are always whole ticks."""

    def __init__(self, site: Site, state: State, give_way: Callable[[], None] = keep_going) -> None:
        self._writer = Writer(give_way)
        self._packer = zlib.compressobj(LEVEL)
        self._inputs: Inputs | None = None
        self._told: Told | None = None
        self.trouble = ""
        self._head = {"site": self._writer.whole(site), "state": self._state(state)}

    def ticks(self, ticks: Iterable[Tick]) -> bytes:
        lines: list[Any] = []
        if self._head:
            lines, self._head = [*self._layouts(), self._head], {}
        for tick in ticks:
            line = {"i": self._change(self._inputs, tick.inputs)}
            self._inputs = tick.inputs
            if tick.told is not None:
                line["p"] = self._change(self._told, tick.told)
                self._told = tick.told
            lines += [*self._layouts(), line]
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        return self._packer.compress(text.encode()) + self._packer.flush(zlib.Z_SYNC_FLUSH)

    def _state(self, state: State) -> Any:
        """A state that has no plain form is left out: whoever replays has to begin with an empty one."""
        try:
            return self._writer.whole(state)
        except PlainFormError as error:
            self.trouble = str(error)
            return None

    def _change(self, before: object, now: object) -> Any:
        if before is None:
            return self._writer.whole(now)
        return self._writer.change(before, now) if differ(before, now) else NOTHING

    def _layouts(self) -> list[Any]:
        return [{"class": layout} for layout in self._writer.take_layouts()]


class StreamReader:
    """`head` first, then `ticks`. `unknown` are recorded fields that this program does not have."""

    def __init__(self, frames: Iterable[bytes]) -> None:
        self._reader = Reader()
        self._lines = _lines(frames)

    @property
    def unknown(self) -> set[str]:
        return self._reader.unknown

    def head(self) -> Head:
        line = self._next()
        if line is None or "site" not in line:
            raise StreamError("a stream without a beginning")
        try:
            site = self._reader.whole(line["site"])
            state, trouble = self._state(line["state"])
        except (PlainFormError, ValueError, TypeError, KeyError, IndexError) as error:
            raise OtherProgramError(f"the recorded site cannot be read: {error}") from error
        return Head(site=site, state=state, trouble=trouble)

    def ticks(self) -> Iterator[Tick]:
        inputs: Any = None
        told: Any = None
        while (line := self._next()) is not None:
            try:
                inputs = self._changed(inputs, line["i"])
                if "p" in line:
                    told = self._changed(told, line["p"])
            except (PlainFormError, ValueError, TypeError, KeyError, IndexError) as error:
                raise OtherProgramError(f"a recorded tick cannot be read: {error}") from error
            yield Tick(inputs=inputs, told=told if "p" in line else None)

    def _state(self, form: Any) -> tuple[State | None, str]:
        """The state of another version of the program need not be one of this."""
        if form is None:
            return None, "the core's state was not recorded"
        known = set(self._reader.unknown)
        try:
            state = self._reader.whole(form)
        except (PlainFormError, ValueError, TypeError) as error:
            return None, f"the recorded state is another program's: {error}"
        if extra := self._reader.unknown - known:
            self._reader.unknown = known
            return None, f"the recorded state is another program's: it has {', '.join(sorted(extra))}"
        return state, ""

    def _changed(self, before: Any, form: Any) -> Any:
        if before is None:
            return self._reader.whole(form)
        return before if form == NOTHING else self._reader.changed(before, form)

    def _next(self) -> Any:
        """The next line that is not about a class."""
        for line in self._lines:
            if "class" not in line:
                return line
            try:
                self._reader.learn(line["class"])
            except (PlainFormError, ValueError, TypeError):
                continue  # what is made of it cannot be read, and says so
        return None


def _lines(frames: Iterable[bytes]) -> Iterator[Any]:
    unpacker = zlib.decompressobj()
    try:
        for frame in frames:
            for line in unpacker.decompress(frame).splitlines():
                yield json.loads(line)
    except (zlib.error, ValueError) as error:
        raise StreamError(f"torn: {error}") from error
