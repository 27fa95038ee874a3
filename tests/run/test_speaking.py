"""In which order things leave to an operator over a slow line."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from itertools import pairwise

import structlog

from controller.domain.grid import EventStatus
from controller.domain.power import Power
from controller.grid import ledger as ledgers
from controller.grid.dialects import Letter
from controller.grid.entries import Ack, Entry, Ledger
from controller.grid.openadrlink import OpenAdr
from controller.grid.reports import Sender
from controller.grid.results import Cancelled, Contract
from controller.grid.site import UNMEASURED
from controller.grid.zerohundred import OffRule, ZeroHundred
from controller.run.operators.gridbook import MAX_QUEUED, GridBook, Pending
from controller.run.operators.speaking import Speaking
from tests.run.disks import Disk
from tests.virtualtime import in_virtual_time

NOW_S = 1_000_000.0
ROUND_TRIP_S = 0.1


def entry(name: str) -> Entry:
    """An event of which something is to be told."""
    ack = Ack(event=name, status=EventStatus.CANCELLED, at_utc_s=NOW_S, version_utc_s=NOW_S, stamp="v")
    content = Cancelled(id=name, version_utc_s=NOW_S, stamp="v")
    return Entry(id=name, content=content, unsent=(ack,), keep_until_utc_s=NOW_S + 3600)


def speaking(book: GridBook) -> Speaking:
    dialect = OpenAdr(
        Sender(client_id="c", ven="v"), Contract(ven="v", nameplate=Power.kw(1)), heartbeat_s=1.0
    )
    return Speaking(dialect, book, backlog=100, utc=lambda: NOW_S, log=structlog.get_logger())


@in_virtual_time
async def test_two_hundred_acknowledgements_over_a_slow_line_do_not_silence_the_site() -> None:
    book = GridBook(Disk(), utc=lambda: NOW_S, measured=lambda: UNMEASURED, settled=lambda _: None)
    book.ledger = Ledger(entries={name: entry(name) for name in (f"e{at}" for at in range(200))})
    mouth = speaking(book)
    left: list[tuple[float, str]] = []

    async def publish(letter: Letter) -> None:
        await asyncio.sleep(ROUND_TRIP_S)
        left.append((asyncio.get_running_loop().time(), letter.topic))

    async def beat() -> None:
        for _ in range(30):
            mouth.post(Letter(topic="heartbeat", payload=b"{}", qos=0), connected=True)
            await asyncio.sleep(1.0)

    tasks = [asyncio.create_task(book.run()), asyncio.create_task(mouth.write_all(publish))]
    await beat()
    for task in tasks:
        task.cancel()

    beats = [at_s for at_s, topic in left if topic == "heartbeat"]
    assert mouth.acks == 200
    assert len(beats) == 30
    assert max(after - before for before, after in pairwise(beats)) < 1.5


class Silent(ZeroHundred):
    """A dialect without answers, that counts what it does not say."""

    unsaid = 0

    def acknowledgement(self, ack: Ack, now_utc_s: float) -> None:
        self.unsaid += 1


@in_virtual_time
async def test_a_dialect_without_answers_lets_others_run_between_what_it_does_not_say() -> None:
    book = GridBook(Disk(), utc=lambda: NOW_S, measured=lambda: UNMEASURED, settled=lambda _: None)
    book.ledger = Ledger(entries={name: entry(name) for name in (f"e{at}" for at in range(200))})
    silent = Silent("t", OffRule(off=Power.kw(1), stale_s=9, ramp_deadline_s=9), began_utc_s=NOW_S)
    mouth = Speaking(silent, book, backlog=9, utc=lambda: NOW_S, log=structlog.get_logger())
    writing = asyncio.create_task(mouth.write_all(never))

    await asyncio.sleep(0)
    at_once = silent.unsaid
    await asyncio.sleep(1.0)
    writing.cancel()

    assert (at_once, silent.unsaid) == (1, 200)


@in_virtual_time
async def test_a_command_is_neither_lost_nor_late_behind_what_was_said_and_waits_to_be_stored() -> None:
    """A plan of a day that replaces another is over a thousand words, of which each is said only once."""
    disk = Disk()
    disk.open.clear()
    book = GridBook(disk, utc=lambda: NOW_S, measured=lambda: UNMEASURED, settled=lambda _: None)
    names = tuple(f"e{at}" for at in range(MAX_QUEUED // 2 + 1))
    book.ledger = Ledger(entries={name: twice(entry(name)) for name in names})
    silent = Silent("t", OffRule(off=Power.kw(1), stale_s=9, ramp_deadline_s=9), began_utc_s=NOW_S)
    mouth = Speaking(silent, book, backlog=9, utc=lambda: NOW_S, log=structlog.get_logger())
    tasks = [asyncio.create_task(book.run()), asyncio.create_task(mouth.write_all(never))]
    await asyncio.sleep(1.0)

    command = Cancelled(id="command", version_utc_s=NOW_S, stamp="v")
    book.put(command, Pending(change=partial(ledgers.receive, result=command)))
    disk.open.set()
    await asyncio.sleep(1.0)
    for task in tasks:
        task.cancel()

    assert silent.unsaid == 2 * len(names) + 1
    assert book.overflowed == 0
    assert "command" in book.ledger.entries
    assert all(not one.unsent for one in book.ledger.entries.values())
    assert disk.writes <= 4


def twice(one: Entry) -> Entry:
    [ack] = one.unsent
    return replace(one, unsent=(ack, replace(ack, status=EventStatus.SUPERSEDED)))


async def never(letter: Letter) -> None:
    raise AssertionError(letter)
