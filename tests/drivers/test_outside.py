"""The threads for what blocks: who hangs in one holds up nobody else, and ends with the process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.outside import Outside

WAIT_S = 10.0


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside(2)
    yield made
    made.shutdown()


def test_what_is_asked_is_answered_and_what_goes_wrong_is_raised(outside: Outside) -> None:
    def refuse() -> None:
        raise OSError("no such share")

    assert outside.submit(divmod, 7, 2).result(WAIT_S) == (3, 1)
    with pytest.raises(OSError, match="no such share"):
        outside.submit(refuse).result(WAIT_S)


def test_a_call_that_hangs_takes_one_thread_and_the_others_wait_for_no_answer_of_it(outside: Outside) -> None:
    hang = threading.Event()
    hanging = outside.submit(hang.wait, WAIT_S)

    names = {outside.submit(threading.current_thread).result(WAIT_S).name for _ in range(5)}
    hang.set()

    assert len(names) == 1
    assert hanging.result(WAIT_S)


def test_no_more_threads_are_started_than_allowed_and_calls_wait_for_one(outside: Outside) -> None:
    go = threading.Event()

    def wait() -> threading.Thread:
        assert go.wait(WAIT_S)
        return threading.current_thread()

    calls = [outside.submit(wait) for _ in range(5)]
    go.set()
    threads = {call.result(WAIT_S) for call in calls}

    assert len(threads) <= 2
    assert all(thread.daemon for thread in threads)


def test_a_call_that_was_given_up_before_its_turn_is_never_made(outside: Outside) -> None:
    go, made = threading.Event(), threading.Event()
    calls = [outside.submit(go.wait, WAIT_S) for _ in range(2)]
    given_up = outside.submit(made.set)

    assert given_up.cancel()
    go.set()
    assert all(call.result(WAIT_S) for call in calls)
    outside.submit(go.is_set).result(WAIT_S)

    assert not made.is_set()


def test_what_waits_at_the_end_is_given_up_where_that_was_asked() -> None:
    outside, go, made = Outside(1), threading.Event(), threading.Event()
    under_way = outside.submit(go.wait, WAIT_S)
    waiting = outside.submit(made.set)

    outside.shutdown(cancel_futures=True)
    go.set()

    assert under_way.result(WAIT_S)
    assert waiting.cancelled()
    assert not made.is_set()


HANGING = """
import asyncio, sys, threading, time
from pathlib import Path
from controller.run.journal.journal import Journal
from drivers.localqueue import LocalQueue, LocalQueueConfig

async def main():
    directory, hangs, held_up = Path(sys.argv[1]), threading.Event(), threading.Event()

    def hang(*_):
        if hangs.is_set():
            held_up.set()
            time.sleep(600)
        return time.time()

    journal = Journal(directory / "journal.db", 1.0, hang, deadline_s=5.0)
    queue = LocalQueue(LocalQueueConfig(id="local", directory=directory), {"gpu0": "a"}, takes_jobs=hang)
    await journal.open()
    await queue.read()
    hangs.set()
    reading = asyncio.create_task(queue.read())
    while not held_up.is_set():
        await asyncio.sleep(0.01)
    reading.cancel()
    await queue.close()
    await journal.close()

asyncio.run(main())
print("over")
"""


def test_neither_a_journal_nor_a_queue_that_hangs_keeps_the_process_from_its_end(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "over"


def test_at_the_end_idle_threads_go_and_nobody_waits_for_one_that_hangs() -> None:
    hang, begun, threads = threading.Event(), threading.Event(), list[threading.Thread]()

    def hanging() -> None:
        threads.append(threading.current_thread())
        begun.set()
        hang.wait(WAIT_S)

    async def live() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(Outside(2))
        _ = loop.run_in_executor(None, hanging)
        threads.append(await loop.run_in_executor(None, threading.current_thread))
        await loop.run_in_executor(None, begun.wait, WAIT_S)

    asyncio.run(live())  # comes to its end while one of them hangs
    assert not hang.is_set()
    hang.set()

    for thread in threads:
        thread.join(WAIT_S)
    assert len(threads) == 2
    assert not any(thread.is_alive() for thread in threads)
