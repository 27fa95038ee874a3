"""Where the commands print, which options they share, and how they end."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

DEFAULT_CONFIG = Path("/etc/wattshift/site.toml")
Config = Annotated[Path, typer.Option("--config", "-c", envvar="WATTSHIFT_CONFIG", help="the site file")]

EXIT_CONFIG = 78
"""sysexits.h EX_CONFIG: the service manager is told not to try again."""

ORDERS = dict.fromkeys({*range(32), *range(127, 160)} - {ord("\n")})
"""Characters that a terminal obeys instead of showing them."""


class Screen(Console):
    """Prints what machines, jobs, operators and other users of the host call themselves and say: it may hold
    anything, also what rich would take for its own markup, or a terminal for orders."""

    def __init__(self, *, width: int | None = None, stderr: bool = False) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, width=width, stderr=stderr)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else text.translate(ORDERS), style, control)


out = Screen()
wide = Screen(width=1000)
"""For tables of many columns: a file has no width, a terminal folds, and names cut short name nothing."""
err = Screen(stderr=True)


def show(part: RenderableType) -> None:
    """A table as wide as it is, and anything else as wide as the terminal."""
    is_wide = part.show_header if isinstance(part, Table) else isinstance(part, Text) and part.no_wrap
    (wide if is_wide else out).print(part)


def lines(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> Text:
    """What a `Table` without a box shows, for thousands of rows: that looks at each cell several times. The
    columns named in `right` are justified so."""
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    sides = [head in right for head in heads]

    def line(cells: Sequence[str]) -> str:
        padded = []
        for cell, width, is_right in zip(cells, widths, sides, strict=True):
            room = " " * (width - cell_len(cell))
            padded.append(room + cell if is_right else cell + room)
        return f" {'  '.join(padded)}"

    found = Text(line(heads), style="bold", no_wrap=True)
    return Text("\n", no_wrap=True).join([found, *(Text(line(row)) for row in rows)])


def load_site(path: Path) -> Any:
    from controller.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        fail_config(str(error))


def fail(message: str) -> NoReturn:
    err.print(message, style="red", soft_wrap=True)
    raise typer.Exit(1)


def fail_config(message: str) -> NoReturn:
    err.print(message, style="red", soft_wrap=True)
    raise typer.Exit(EXIT_CONFIG)


def local_time(utc_s: float) -> str:
    """A Unix time on this host's clock."""
    try:
        return datetime.fromtimestamp(utc_s).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    except (OverflowError, ValueError, OSError):  # the end of all years, in our own zone
        return f"{utc_s:.0f} s"


def folded(names: Iterable[str]) -> str:
    """Names that count on are told as one: `gpu-0-gpu0-7` is eight, as `hosts` of a site file are written."""
    runs: list[tuple[str, int, int]] = []
    for name in names:
        match = re.fullmatch(r"(|.*[^0-9])(0|[1-9][0-9]*)", name)
        stem, number = (match[1], int(match[2])) if match else (name, -1)
        if runs and number > 0 and runs[-1][0] == stem and runs[-1][2] == number - 1:
            runs[-1] = (stem, runs[-1][1], number)
        else:
            runs.append((stem, number, number))
    return ", ".join(_run(*run) for run in runs)


def _run(stem: str, first: int, last: int) -> str:
    if first < 0:
        return stem
    return f"{stem}{first}" if first == last else f"{stem}{first}-{last}"
