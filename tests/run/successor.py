"""A whole daemon that finds what an earlier one left in its journal, over simulated miners of one row."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from controller.config import load
from controller.daemon import serve
from controller.run.clock import Clock
from controller.run.journal.journal import Journal
from controller.run.journal.store import Record
from simulators.serve import SimulatedSite
from tests.run.journalrows import rows_of


async def left(directory: Path, *records: Record) -> Path:
    """The journal, with these in it."""
    path = directory / "journal.db"
    journal = Journal(path, 1.0, Clock().utc_s)
    await journal.open()
    await journal.record(records)
    await journal.close()
    return path


async def first_rows(
    directory: Path, site: SimulatedSite, query: str, more: str = "", then_s: float = 0.0
) -> list[Any]:
    """Runs a daemon until its journal has what the `query` asks for, and for `then_s` of the site's time."""
    life = asyncio.create_task(serve(load(_site_file(directory, site, more))))
    while not (rows := rows_of(directory / "journal.db", query)):
        assert not life.done(), life.exception()
        await asyncio.sleep(0.1)
    if then_s:
        await site.advance(then_s)
    life.cancel()
    with suppress(asyncio.CancelledError):
        await life
    return rows


def _site_file(directory: Path, site: SimulatedSite, more: str) -> Path:
    file = directory / "site.toml"
    hosts = ", ".join(f'"{machine.address}"' for machine in site.plant.miners.values())
    file.write_text(
        f"""
name = "plant"
nodes = [{{ id = "site", limit_kw = 10 }}]
journal = {{ path = "{directory}/journal.db" }}
api = {{ port = 0 }}
policy = {{ start_grace_s = 2 }}
[[miners]]
id = "row"
family = "luxos"
hosts = [{hosts}]
node = "site"
rated_w = 3_000
rated_ths = 120
min_w = 1_500
dwell_s = 1
poll_s = 1
{more}
""",
        encoding="utf-8",
    )
    return file
