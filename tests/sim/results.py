"""Results of seeds in a file, a line of JSON each, so that a long run can be cut short and gone on with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.sim.played import Result


class Results:
    """`kind` is what the seeds are played with, by name: a file holds results of one kind only."""

    def __init__(self, path: Path, kind: Mapping[str, Any]) -> None:
        self._path = path
        self._kind = dict(kind)

    def read(self) -> list[Result]:
        """One per seed, the newest. Raises `ValueError` naming the line that is no result of this kind."""
        found: dict[int, Result] = {}
        for number, line in enumerate(self._lines(), start=1):
            try:
                table = json.loads(line)
                kind = {name: table.pop(name) for name in self._kind}
                result = Result(**{**table, "on": tuple(table["on"])})
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self._path}:{number}: no result of a seed: {error!r}") from error
            if kind != self._kind:
                raise ValueError(f"{self._path}:{number}: a result of {kind}, not of {self._kind}")
            found[result.seed] = result
        return list(found.values())

    def mend(self) -> None:
        """Cut off a last line that was not written to its end: its seed is played again."""
        if self._path.exists():
            whole = self._path.read_bytes()
            with self._path.open("r+b") as file:
                file.truncate(whole.rfind(b"\n") + 1)

    def append(self, result: Result) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**self._kind, **asdict(result)}) + "\n")

    def _lines(self) -> Sequence[str]:
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()
