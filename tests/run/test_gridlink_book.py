"""The ledger and the store under it, without a broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from structlog.testing import capture_logs

from controller.domain.grid import EventStatus
from controller.domain.power import Power
from controller.grid import advancing, keeping, ledger
from controller.grid.entries import Ledger
from controller.grid.isotime import stamp
from controller.grid.keeping import Verdict
from controller.grid.loadtargets import LoadTargets, receive_targets
from controller.grid.site import UNMEASURED, Measured, Progress
from controller.run.journal.happenings import Happening
from controller.run.journal.store import StoreError
from controller.run.operators.gridbook import MAX_QUEUED, GridBook, Pending, unsent_but
from tests.grid.messages import NOW_S, event, interval, listed, notice, parsed, payload, snapshot
from tests.run.disks import Disk


class Settled(list[Verdict]):
    @property
    def statuses(self) -> list[EventStatus]:
        return [ack.status for verdict in self for ack in verdict.acks]


def book_on(
    disk: Disk,
    settled: Settled | None = None,
    timeout_s: float = 5.0,
    *,
    quiet: bool = False,
    utc: Callable[[], float] = lambda: NOW_S,
) -> GridBook:
    return GridBook(
        disk,
        utc=utc,
        measured=lambda: UNMEASURED,
        settled=(Settled() if settled is None else settled).append,
        retry_s=0.0,
        timeout_s=timeout_s,
        quiet=quiet,
    )


@asynccontextmanager
async def working(book: GridBook) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(book.run())
        yield
        task.cancel()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - looked at from outside, nothing signals it
            await asyncio.sleep(0)


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def receives(book: GridBook, event_id: str = "dr-7") -> None:
    result = parsed(notice(event(id=event_id)))
    book.put(result, Pending(change=partial(ledger.receive, result=result)))


async def test_an_event_counts_only_once_it_is_stored() -> None:
    disk, settled = Disk(), Settled()
    disk.open.clear()
    book = book_on(disk, settled)

    async with working(book):
        receives(book)
        await turns()
        before = (dict(book.ledger.entries), list(settled))
        disk.open.set()
        await until(lambda: bool(settled))

    assert before == ({}, [])
    assert settled.statuses == [EventStatus.RECEIVED]
    assert disk.events == set(book.ledger.entries) == {"dr-7"}


async def test_a_message_is_settling_until_it_is_stored_and_what_the_site_has_to_say_never_is() -> None:
    disk = Disk()
    disk.open.clear()
    book = book_on(disk)
    book.put("progress", Pending(change=ledger.settle))
    said = book.settling

    async with working(book):
        receives(book)
        await turns()
        heard = book.settling
        disk.open.set()
        await until(lambda: "dr-7" in book.ledger.entries)
        await turns()

    assert (said, heard, book.settling) == (False, True, False)


async def test_a_failing_store_is_asked_again_and_complained_about_once() -> None:
    disk, settled = Disk(), Settled()
    disk.trouble = "disk full"
    book = book_on(disk, settled)

    with capture_logs() as logs:
        async with working(book):
            receives(book)
            await until(lambda: book.store_failures > 3)
            nothing = (dict(book.ledger.entries), list(settled))
            disk.trouble = ""
            await until(lambda: bool(settled))

    assert nothing == ({}, [])
    assert settled.statuses == [EventStatus.RECEIVED]
    complaints = [log["event"] for log in logs if log["event"].startswith("grid_store")]
    assert complaints == ["grid_store_failed", "grid_store_back"]


@pytest.mark.socket  # of real time: a tenth of a second
async def test_a_store_that_never_answers_counts_as_failing() -> None:
    disk = Disk()
    disk.open.clear()
    book = book_on(disk, timeout_s=0.02)

    async with working(book):
        receives(book)
        await until(lambda: book.store_failures > 1)

    assert book.ledger.entries == {}


async def test_a_snapshot_is_stored_whole_in_one_write() -> None:
    disk, settled = Disk(), Settled()
    book = book_on(disk, settled)
    content = listed(snapshot(event(id="a"), event(id="b")))

    async with working(book):
        book.put(content, Pending(change=partial(ledger.receive_snapshot, snapshot=content)))
        await until(lambda: bool(settled))

    assert disk.writes == 1
    assert set(disk.rows) == {"event/a", "event/b", "snapshot"}


async def test_what_changes_nothing_is_not_written() -> None:
    disk, settled = Disk(), Settled()
    book = book_on(disk, settled)

    async with working(book):
        receives(book)
        await until(lambda: len(settled) == 1)
        receives(book)
        book.put("settle", Pending(change=ledger.settle))
        await until(lambda: len(settled) == 3)

    assert disk.writes == 1


async def test_a_restart_finds_everything_and_the_acks_that_may_not_have_been_sent() -> None:
    disk, settled = Disk(), Settled()
    before = book_on(disk, settled)
    content = listed(snapshot(event(id="a"), event(id="b")))
    async with working(before):
        book_change = partial(ledger.receive_snapshot, snapshot=content)
        before.put(content, Pending(change=book_change))
        await until(lambda: bool(settled))

    after = book_on(disk)
    await after.restore()

    assert after.ledger == before.ledger
    assert len(ledger.events(after.ledger, NOW_S)) == 2
    first = unsent_but(after.ledger, set())
    assert first is not None
    second = unsent_but(after.ledger, {first.key})
    assert second is not None
    assert unsent_but(after.ledger, {first.key, second.key}) is None


async def test_a_restart_finds_what_an_event_in_force_is_relative_to() -> None:
    disk = Disk()
    units = {"payloadType": "DISPATCH_SETPOINT_RELATIVE", "units": "KW"}
    change = event(
        payloadDescriptors=[units], intervals=[interval(payload("DISPATCH_SETPOINT_RELATIVE", -5))]
    )
    result = parsed(notice(change))
    progress = Progress(
        event="dr-7", version_utc_s=NOW_S, status=EventStatus.STARTED, drawn_before=Power(500_000)
    )
    book = book_on(disk)

    async with working(book):
        book.put(result, Pending(change=partial(ledger.receive, result=result)))
        book.put("drawn", Pending(change=partial(advancing.keep_drawn, progress=progress)))
        await until(lambda: disk.writes == 2)
    after = book_on(disk)
    await after.restore()

    assert [found.drawn_before for found in ledger.events(after.ledger, NOW_S)] == [Power(500_000)]


async def test_a_stream_that_asks_for_too_much_all_day_leaves_word_of_it_once_a_minute() -> None:
    disk, now, due = Disk(), [NOW_S], list[int]()
    book = book_on(disk, quiet=True, utc=lambda: now[0])

    async with working(book):
        for second in range(0, 130, 10):
            now[0] = NOW_S + second
            stamped = event(modificationDateTime=stamp(NOW_S + second))
            result = parsed(notice(stamped), now_utc_s=now[0])
            progress = Progress(
                event="dr-7",
                version_utc_s=NOW_S + second,
                status=EventStatus.INFEASIBLE,
                possible=Power(500_000),
            )
            book.put(result, Pending(change=partial(ledger.receive, result=result)))
            book.put("short", Pending(change=partial(advancing.advance, progress=progress)))
            due.append(len(due) * 2 + 2)
            await until(lambda: disk.writes == due[-1])

    told = [row.utc_s - NOW_S for row in disk.history if isinstance(row, Happening)]
    assert told == [0, 60, 120]


async def test_what_is_forgotten_is_deleted_from_the_store() -> None:
    disk, settled = Disk(), Settled()
    book = book_on(disk, settled)
    async with working(book):
        receives(book)
        await until(lambda: len(settled) == 1)

        book.put("close", Pending(change=partial(_settle_at, NOW_S + 10_000)))
        book.put("forget", Pending(change=partial(_settle_at, NOW_S + 20_000 + keeping.KEEP_S)))
        await until(lambda: len(settled) == 3)

    assert disk.rows == {}


async def test_a_record_that_cannot_be_read_costs_that_record_only() -> None:
    disk, settled = Disk(), Settled()
    book = book_on(disk, settled)
    async with working(book):
        receives(book, "a")
        receives(book, "b")
        await until(lambda: len(settled) == 2)
    disk.rows["event/a"] = replace(disk.rows["event/a"], text='{"=":"Entry"}')

    after = book_on(disk)
    with capture_logs() as logs:
        await after.restore()

    assert set(after.ledger.entries) == {"b"}
    assert [(log["event"], log["key"]) for log in logs] == [("grid_record_unreadable", "event/a")]


async def test_a_store_that_cannot_be_read_is_no_empty_store() -> None:
    class Broken(Disk):
        async def load(self) -> tuple[()]:
            raise StoreError("corrupt")

    with pytest.raises(StoreError):
        await book_on(Broken()).restore()


async def test_a_flood_costs_the_oldest_messages_and_nothing_else() -> None:
    disk, settled = Disk(), Settled()
    book = book_on(disk, settled)
    done: list[str] = []

    book.put("confirm", Pending(change=ledger.settle, then=partial(done.append, "confirm")))
    for number in range(MAX_QUEUED + 9):
        receives(book, f"e{number}")
    async with working(book):
        await until(lambda: f"e{MAX_QUEUED + 8}" in book.ledger.entries)

    assert book.overflowed == 9
    assert done == ["confirm"]
    assert "e8" not in book.ledger.entries
    assert "e9" in book.ledger.entries


async def test_what_the_loop_says_of_many_events_costs_no_message_its_room() -> None:
    book = book_on(Disk(), Settled())

    for number in range(MAX_QUEUED + 9):
        book.put(("progress", f"e{number}"), Pending(change=ledger.settle))
    receives(book)
    async with working(book):
        await until(lambda: "dr-7" in book.ledger.entries)

    assert book.overflowed == 0


async def test_a_flood_of_load_targets_is_bounded_like_any_other() -> None:
    book = book_on(Disk(), Settled())

    for number in range(MAX_QUEUED + 9):
        command = LoadTargets(
            id=str(number), correlation="c", version_utc_s=1.0, stamp="s", targets=(), source="test"
        )
        book.put(command, Pending(change=partial(receive_targets, message=command)))

    assert book.overflowed == 9


def _settle_at(utc_s: float, book: Ledger, *, now_utc_s: float, measured: Measured) -> tuple[Ledger, Verdict]:
    return ledger.settle(book, utc_s)
