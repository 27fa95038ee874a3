"""The grid link against a real broker and a simulated operator that shares no code with it."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from structlog.testing import capture_logs

from controller.domain.grid import EventStatus, LimitSignal, Link
from controller.domain.power import Limit, Power
from controller.grid.dialects import Letter
from controller.grid.entries import Ack as LedgerAck
from controller.grid.entries import Entry
from controller.grid.isotime import stamp
from controller.grid.results import MAX_PAYLOAD_BYTES, Cancelled
from controller.grid.site import Foreseen, Progress, SiteReport
from controller.grid.stored import from_text, to_text
from controller.run.journal.happenings import Happening
from controller.run.journal.store import Record
from controller.run.operators.gridconfig import GridConfig
from controller.run.operators.gridlink import GridLink
from controller.run.operators.gridsession import GridSession, Publish
from controller.run.operators.words import FORESEEN_A_TICK
from simulators.broker import HOST, Broker, broker, mosquitto_binary
from simulators.gridmessages import Ack
from simulators.gridoperator import GridOperator
from tests.grid.keys import self_signed
from tests.run.disks import Disk

VEN = "site-tx1"
PREFIX = "test/"
EVENTS = f"events/vens/{VEN}"

pytestmark = [
    pytest.mark.socket,
    pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed"),
]


class Wakes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def make(
    bus: Broker,
    disk: Disk,
    wakes: Wakes | None = None,
    *,
    utc: Callable[[], float] = time.time,
    **settings: Any,
) -> GridLink:
    config = GridConfig(
        **{"host": bus.host, "port": bus.port, "ven": VEN, "client_id": "ctl", "prefix": PREFIX} | settings
    )
    return GridLink(config, disk, nameplate=Power.kw(1000), utc=utc, wake=wakes or Wakes())


@asynccontextmanager
async def running(link: GridLink) -> AsyncIterator[GridLink]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(link.run())
        try:
            yield link
        finally:
            task.cancel()


def operating(bus: Broker) -> GridOperator:
    return GridOperator(bus.host, bus.port, VEN, prefix=PREFIX, heartbeat_s=0.1, snapshot_s=60.0)


async def until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - looked at from outside, nothing signals it
            await asyncio.sleep(0.01)


def statuses(operator: GridOperator, event: str) -> list[str]:
    return [ack.status for ack in operator.acks if ack.event == event]


def report(
    now_utc_s: float, *progress: Progress, watts: int = 90_000, foreseen: tuple[Foreseen, ...] = ()
) -> SiteReport:
    return SiteReport(
        now_utc_s=now_utc_s,
        demand=Power(watts),
        setpoint=Limit(Power(100_000)),
        progress=progress,
        foreseen=foreseen,
    )


def foreseen(event: str, version_utc_s: float, kw: int) -> Foreseen:
    """That a limit of 100 kW cannot be kept."""
    return Foreseen(
        event=event,
        version_utc_s=version_utc_s,
        status=EventStatus.INFEASIBLE,
        asked=Power.kw(100),
        possible=Power.kw(kw),
    )


@pytest.fixture
async def bus() -> AsyncIterator[Broker]:
    async with broker() as running_broker:
        yield running_broker


# --- events


async def test_an_event_is_stored_then_acknowledged_and_wakes_the_loop(bus: Broker) -> None:
    disk, wakes = Disk(), Wakes()
    async with operating(bus) as operator, running(make(bus, disk, wakes)) as link:
        await operator.online()
        await until(lambda: link.state is Link.UP)
        before = wakes.count

        event = await operator.limit(100, start_in_s=30, duration_s=60)
        await operator.acked(event, "RECEIVED")

        assert disk.events == {event}
        assert wakes.count == before + 1
        [found] = link.events
        assert found.intervals[0].signals == (LimitSignal(Power(100_000)),)


async def test_no_ack_leaves_before_the_event_is_durable(bus: Broker) -> None:
    disk = Disk()
    async with operating(bus) as operator, running(make(bus, disk)) as link:
        await operator.online()
        disk.open.clear()

        event = await operator.limit(100)
        await until(lambda: link.stats.received > 0)
        await asyncio.sleep(0.3)
        before = (statuses(operator, event), link.events)
        disk.open.set()
        await operator.acked(event, "RECEIVED")

        assert before == ([], ())


async def test_a_store_that_fails_means_no_ack_and_no_event_until_it_works(bus: Broker) -> None:
    disk = Disk()
    async with operating(bus) as operator, running(make(bus, disk)) as link:
        await operator.online()
        disk.trouble = "disk full"

        event = await operator.limit(100)
        await until(lambda: link.stats.store_failures > 0)
        before = (statuses(operator, event), link.events)
        disk.trouble = ""
        await operator.acked(event, "RECEIVED")

        assert before == ([], ())
        assert len(link.events) == 1


async def test_a_duplicate_is_not_acknowledged_twice(bus: Broker) -> None:
    async with operating(bus) as operator, running(make(bus, Disk())):
        await operator.online()
        event = await operator.limit(100)
        await operator.acked(event, "RECEIVED")
        notice = {"objectType": "EVENT", "operation": "CREATE", "object": operator.events[event]}

        await operator.send(f"{EVENTS}/create", json.dumps(notice).encode())
        await operator.send(f"{EVENTS}/update", json.dumps(notice).encode())
        await operator.snapshot()
        last = await operator.limit(90)
        await operator.acked(last, "RECEIVED")

        assert statuses(operator, event) == ["RECEIVED"]


async def test_an_update_supersedes_and_a_delete_cancels(bus: Broker) -> None:
    async with operating(bus) as operator, running(make(bus, Disk())) as link:
        await operator.online()
        event = await operator.limit(100)
        await operator.acked(event, "RECEIVED")

        await operator.update(event, kw=80)
        await operator.acked(event, "SUPERSEDED")
        limited_to = link.events[0].intervals[0].signals
        await operator.delete(event)
        await operator.acked(event, "CANCELLED")

        assert limited_to == (LimitSignal(Power(80_000)),)
        assert link.events == ()


async def test_a_rejected_update_is_answered_with_its_reason_and_changes_nothing(bus: Broker) -> None:
    async with operating(bus) as operator, running(make(bus, Disk())) as link:
        await operator.online()
        event = await operator.limit(100)
        await operator.acked(event, "RECEIVED")

        await operator.update(event, kw=5000)
        ack = await operator.acked(event, "REJECTED")

        assert ack.why[0] == "ABOVE_NAMEPLATE"
        assert "5000" in ack.why[1]
        assert ack.version == operator.events[event]["modificationDateTime"]
        assert link.events[0].intervals[0].signals == (LimitSignal(Power(100_000)),)


async def test_the_loops_progress_is_told_once_for_each_change(bus: Broker) -> None:
    async with operating(bus) as operator, running(make(bus, Disk())) as link:
        await operator.online()
        event = await operator.limit(100)
        await operator.acked(event, "RECEIVED")
        version_s = link.events[0].version_utc_s

        for status in (EventStatus.STARTED, EventStatus.STARTED, EventStatus.COMPLIANT):
            word = Progress(event=event, version_utc_s=version_s, status=status)
            link.observe(report(time.time(), word))
            link.observe(report(time.time(), word))
            await operator.acked(event, status.value)
        last = await operator.limit(90)
        ack = await operator.acked(last, "RECEIVED")

        assert statuses(operator, event) == ["RECEIVED", "STARTED", "COMPLIANT"]
        payloads = {item["type"]: item["values"] for item in _payloads(ack)}
        assert (payloads["DEMAND"], payloads["SETPOINT"]) == ([90.0], [100.0])


async def test_what_is_foreseen_is_told_before_the_event_begins_is_evidence_and_outlives_the_process(
    bus: Broker,
) -> None:
    disk = Disk()
    async with operating(bus) as operator:
        async with running(make(bus, disk)) as link:
            await operator.online()
            event = await operator.limit(100, start_in_s=600)
            await operator.acked(event, "RECEIVED")
            version_s = link.events[0].version_utc_s
            link.observe(report(time.time(), foreseen=(foreseen(event, version_s, 120),)))
            ack = await operator.acked(event, "INFEASIBLE")
            # That it arrived is kept as well by then, or it would be said once more.
            await until(lambda: '"unsent":[]' in disk.rows[f"event/{event}"].text)
        async with running(make(bus, disk)) as link:
            await until(lambda: link.state is Link.UP)
            link.observe(report(time.time(), foreseen=(foreseen(event, version_s, 120),)))
            last = await operator.limit(90)
            await operator.acked(last, "RECEIVED")

    assert statuses(operator, event) == ["RECEIVED", "INFEASIBLE"]
    assert {i["type"]: i["values"] for i in _payloads(ack)}["X_POSSIBLE"] == [120.0]
    rows = [row.status for row in disk.history if isinstance(row, Happening) and row.event == event]
    assert rows == ["RECEIVED", "INFEASIBLE"]


async def test_an_event_does_not_wait_behind_all_that_is_foreseen_of_others(bus: Broker) -> None:
    disk = Disk()
    async with operating(bus) as operator, running(make(bus, disk)) as link:
        await operator.online()
        names = [await operator.limit(100, start_in_s=600) for _ in range(3 * FORESEEN_A_TICK)]
        await until(lambda: len(link.events) == len(names))
        word = report(time.time(), foreseen=tuple(foreseen(e.id, e.version_utc_s, 120) for e in link.events))
        writes = disk.writes
        link.observe(word)
        urgent = await operator.limit(90)
        await operator.acked(urgent, "RECEIVED")
        await until(lambda: disk.writes > writes + FORESEEN_A_TICK)
        told = sum("INFEASIBLE" in statuses(operator, name) for name in names)
        for _ in range(2):
            await until(lambda: not link.settling)
            link.observe(word)
            await asyncio.sleep(0.2)
        await until(lambda: all("INFEASIBLE" in statuses(operator, name) for name in names))

        assert told <= FORESEEN_A_TICK


async def test_what_the_loop_froze_and_what_the_operator_was_told_is_possible_are_evidence(
    bus: Broker,
) -> None:
    disk = Disk()
    async with operating(bus) as operator, running(make(bus, disk)) as link:
        await operator.online()
        event = await operator.target(100)
        await operator.acked(event, "RECEIVED")
        word = Progress(
            event=event,
            version_utc_s=link.events[0].version_utc_s,
            status=EventStatus.INFEASIBLE,
            possible=Power(77_000),
            drawn_before=Power(120_000),
        )
        link.observe(report(time.time(), word))
        ack = await operator.acked(event, "INFEASIBLE")
        link.observe(report(time.time(), word))
        await operator.acked(await operator.limit(90), "RECEIVED")

    kept = {
        row.status: from_text(row.text)
        for row in disk.history
        if isinstance(row, Happening) and row.status in ("DRAWN_BEFORE", "INFEASIBLE")
    }
    frozen, told = kept["DRAWN_BEFORE"], kept["INFEASIBLE"]
    assert isinstance(frozen, Entry)
    assert frozen.drawn_before == Power(120_000)
    assert isinstance(told, Entry)
    assert told.shortfall is not None
    assert [told.shortfall.possible.in_kw] == {i["type"]: i["values"] for i in _payloads(ack)}["X_POSSIBLE"]
    assert [row.status for row in disk.history if isinstance(row, Happening)].count("DRAWN_BEFORE") == 1


async def test_telemetry_comes_at_the_rate_the_event_asks_for(bus: Broker) -> None:
    async with operating(bus) as operator, running(make(bus, Disk())) as link:
        await operator.online()
        event = await operator.limit(100, duration_s=100, report_s=2)
        await operator.acked(event, "RECEIVED")
        begun_s = time.time()

        for second in range(7):
            link.observe(report(begun_s + second, watts=90_000 + second))
        await operator.sampled(3)

        assert [sample.demand_kw for sample in operator.telemetry] == [90.002, 90.004, 90.006]
        assert {sample.duration for sample in operator.telemetry} == {"PT2S"}
        assert not operator.unreadable


# --- staleness


async def test_a_retained_command_that_is_over_is_answered_and_never_executed(bus: Broker) -> None:
    async with operating(bus) as operator:
        event = await operator.limit(100, start_in_s=-100, duration_s=60)
        notice = {"objectType": "EVENT", "operation": "CREATE", "object": operator.events[event]}
        await operator.send(f"{EVENTS}/create", json.dumps(notice).encode(), retain=True)

        async with running(make(bus, Disk())) as link:
            ack = await operator.acked(event, "EXPIRED")

            assert ack.version == operator.events[event]["modificationDateTime"]
            assert link.events == ()


async def test_a_retained_command_that_was_cancelled_since_is_not_executed(bus: Broker) -> None:
    async with operating(bus) as operator:
        event = await operator.limit(100)
        notice = {"objectType": "EVENT", "operation": "CREATE", "object": operator.events[event]}
        await operator.send(f"{EVENTS}/create", json.dumps(notice).encode(), retain=True)
        await operator.delete(event)

        async with running(make(bus, Disk())) as link:
            await operator.acked(event, "CANCELLED")
            await until(lambda: link.state is Link.UP)

            assert link.events == ()


async def test_what_was_said_while_the_site_was_away_is_heard_on_return(bus: Broker) -> None:
    disk = Disk()
    async with operating(bus) as operator:
        async with running(make(bus, disk)):
            await operator.online()
            gone = await operator.limit(100)
            await operator.acked(gone, "RECEIVED")
        await operator.online(False)
        await operator.delete(gone)
        new = await operator.limit(90)

        async with running(make(bus, disk)) as link:
            await operator.acked(new, "RECEIVED")
            await operator.acked(gone, "CANCELLED")

            assert [event.id for event in link.events] == [new]


# --- the broker and the operator come and go


async def test_a_restarted_broker_is_found_again_with_what_changed_meanwhile(bus: Broker) -> None:
    async with operating(bus) as operator, running(make(bus, Disk())) as link:
        await operator.online()
        await until(lambda: link.state is Link.UP)

        await bus.stop()
        await until(lambda: not link.stats.connected)
        event = await operator.limit(100)  # lost on the way, but in the next snapshot
        await bus.start()
        await operator.acked(event, "RECEIVED")

        assert link.stats.connects == 2
        assert [found.id for found in link.events] == [event]


async def test_silence_loses_the_link_and_only_a_fresh_snapshot_restores_it(bus: Broker) -> None:
    wakes = Wakes()
    link = make(bus, Disk(), wakes, heartbeat_timeout_s=1.0)
    async with operating(bus) as operator, running(link):
        event = await operator.limit(100)
        await until(lambda: link.state is Link.UP and len(link.events) == 1)

        operator.beating = False
        await until(lambda: link.state is Link.LOST)
        during = (wakes.count, [found.id for found in link.events])
        operator.beating = True
        received = link.stats.received
        await until(lambda: link.stats.received > received + 2)
        with_heartbeats_alone = link.state
        await operator.snapshot()
        await until(lambda: link.state is Link.UP)

        assert during[1] == [event]  # what was accepted goes on
        assert with_heartbeats_alone is Link.LOST
        assert wakes.count == during[0] + 1


async def test_an_event_ends_by_the_operators_clock_though_ours_is_ahead(bus: Broker) -> None:
    config = GridConfig(host=bus.host, port=bus.port, ven=VEN, client_id="ctl", prefix=PREFIX)
    fast = GridLink(
        config, Disk(), nameplate=Power.kw(1000), utc=lambda: time.time() + 3.0, wake=lambda: None
    )
    async with operating(bus) as operator, running(fast) as link:
        await operator.online()
        await until(lambda: link.stats.operator_behind_s > 2.5)
        await asyncio.sleep(0.5)  # some heartbeats more
        event = await operator.limit(100, duration_s=2.0)
        await operator.acked(event, "RECEIVED")
        [found] = link.events
        left_s = found.end_utc_s - (time.time() + 3.0)
        over = await operator.limit(100, start_in_s=-9.0, duration_s=5.0)
        await operator.acked(over, "EXPIRED")

    assert 0.5 < left_s < 2.5


async def test_a_retained_heartbeat_is_no_sign_of_life(bus: Broker) -> None:
    async with operating(bus) as operator:
        operator.beating = False
        await operator.limit(100)
        beat = json.dumps({"seq": 1, "utc": operator.events.popitem()[1]["createdDateTime"]}).encode()
        await operator.send("heartbeat/vtn", beat, retain=True)

        async with running(make(bus, Disk())) as link:
            await until(lambda: link.stats.received >= 2)  # the heartbeat and the snapshot

            assert link.state is Link.LOST


async def test_the_will_speaks_for_a_site_that_fell_silent_and_the_next_birth_outranks_it(
    bus: Broker,
) -> None:
    async with operating(bus) as operator, running(make(bus, Disk())):
        await operator.online()
        first = operator.site["bdSeq"]

        async with aiomqtt.Client(bus.host, bus.port, identifier="ctl", timeout=5):  # takes its place
            await operator.online(False)
        await operator.online()

        assert operator.site["bdSeq"] > first


async def test_a_birth_outranks_those_before_it_though_the_clock_was_set_back(bus: Broker) -> None:
    disk = Disk()
    async with operating(bus) as operator:
        async with running(make(bus, disk, utc=lambda: time.time() + 10 * 365 * 86_400.0)):
            await operator.online()
            first = operator.site["bdSeq"]
        await operator.online(False)

        async with running(make(bus, disk)):
            await operator.online()
            assert operator.site["bdSeq"] > first


async def test_a_site_whose_disk_takes_nothing_is_born_all_the_same(bus: Broker) -> None:
    disk = Disk()
    disk.trouble = "disk full"
    async with operating(bus) as operator, running(make(bus, disk)):
        await operator.online()


async def test_a_site_that_stops_says_goodbye(bus: Broker) -> None:
    async with operating(bus) as operator:
        async with running(make(bus, Disk())):
            await operator.online()

        await operator.online(False)


async def test_a_site_that_is_stopped_while_it_says_hello_says_goodbye_as_well(bus: Broker) -> None:
    config = GridConfig(host=bus.host, port=bus.port, ven=VEN, client_id="ctl", prefix=PREFIX)
    stopping: list[asyncio.Task[None]] = []

    def standing(*, online: bool, birth: int, at_utc_s: float) -> Letter:
        if online:
            stopping[0].cancel()
        word = {"online": online, "bdSeq": birth, "asOf": stamp(at_utc_s)}
        return Letter(topic=f"vens/{VEN}/status", payload=json.dumps(word).encode(), retain=True)

    async def silent(publish: Publish) -> None:
        await asyncio.Event().wait()

    session = GridSession(
        config,
        subscriptions=(EVENTS + "/create",),
        standing=standing,
        read=lambda topic, payload, retained: None,
        write=silent,
        utc=time.time,
    )
    async with operating(bus) as operator:
        stopping.append(asyncio.create_task(session.run()))
        await asyncio.wait(stopping)

        await operator.online(False)


# --- crashes


async def test_an_event_outlives_the_process_and_its_ack_is_sent_by_the_next_one(bus: Broker) -> None:
    disk = Disk()
    disk.hangs_after = lambda record: record.status == "RECEIVED"
    async with operating(bus) as operator:
        async with running(make(bus, disk)):
            await operator.online()
            event = await operator.limit(100)
            await until(lambda: event in disk.events)  # on the disk, and here the process dies
        assert statuses(operator, event) == []
        disk.hangs_after = lambda _: False

        after = make(bus, disk)
        await after.restore()
        assert [found.id for found in after.events] == [event]
        async with running(after):
            await operator.acked(event, "RECEIVED")

        assert statuses(operator, event) == ["RECEIVED"]


async def test_an_ack_that_may_not_have_arrived_is_sent_again_unchanged(bus: Broker) -> None:
    disk = Disk()
    async with operating(bus) as operator:
        async with running(make(bus, disk)):
            await operator.online()
            disk.shuts_after = lambda record: record.status == "RECEIVED"
            event = await operator.limit(100)
            await operator.acked(event, "RECEIVED")  # and that it was is written nowhere
        disk.shuts_after = lambda _: False
        disk.open.set()

        async with running(make(bus, disk)):
            await until(lambda: len(statuses(operator, event)) == 2)

        first, again = (ack for ack in operator.acks if ack.event == event)
        assert (first.id, first.body) == (again.id, again.body)


# --- hostile and broken surroundings


async def test_rubbish_is_logged_once_and_the_daemon_goes_on() -> None:
    async with broker(settings={"message_size_limit": "0"}) as bus:
        async with operating(bus) as operator, running(make(bus, Disk())) as link:
            await operator.online()
            with capture_logs() as logs:
                for _ in range(3):
                    await operator.send(f"{EVENTS}/create", b"hello")
                    await operator.send(f"{EVENTS}/snapshot", b"\xff\x00")
                    await operator.send("heartbeat/vtn", b"[]")
                await operator.send(f"{EVENTS}/create", b"x" * 10_000_000)
                event = await operator.limit(100)
                await operator.acked(event, "RECEIVED")

        unreadable = [(log["kind"], log["why"]) for log in logs if log["event"] == "grid_unreadable"]
        assert sorted(unreadable)[:3] == [
            ("event", "NOT_JSON"),
            ("event", "TOO_LARGE"),
            ("heartbeat", "BAD_SHAPE"),
        ]
        assert link.stats.refused >= 10


async def test_a_refused_password_is_logged_once_and_tried_again() -> None:
    async with broker(settings={"allow_anonymous": "false"}) as bus:
        with capture_logs() as logs:
            async with running(
                make(bus, Disk(), username="ctl", password="wrong", reconnect_max_s=0.1)
            ) as link:
                await asyncio.sleep(1.0)
                state = link.state

    lost = [log for log in logs if log["event"] == "grid_broker_lost"]
    assert len(lost) == 1
    assert "wrong" not in repr(logs)
    assert state is Link.LOST


def lost(logs: list[Any]) -> list[str]:
    return [log["why"] for log in logs if log["event"] == "grid_broker_lost"]


async def test_certificates_are_read_anew_for_each_connection_so_that_renewed_ones_count(
    tmp_path: Path,
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(self_signed())
    config = GridConfig(host=HOST, port=1, ven=VEN, client_id="ctl", tls=True, tls_ca=ca, reconnect_max_s=0.1)
    link = GridLink(config, Disk(), nameplate=Power.kw(1), utc=time.time, wake=Wakes())
    with capture_logs() as logs:
        async with running(link):
            await until(lambda: bool(lost(logs)))
            ca.write_text("half of a certificate")
            await until(lambda: len(lost(logs)) > 1)

    assert str(ca) in lost(logs)[1]


async def test_a_broker_that_is_not_there_is_logged_once_and_found_when_it_comes(bus: Broker) -> None:
    await bus.stop()
    with capture_logs() as logs:
        async with running(make(bus, Disk(), reconnect_max_s=0.1)) as link:
            await asyncio.sleep(0.5)
            await bus.start()
            await until(lambda: link.stats.connected)

    names = [log["event"] for log in logs if log["event"].startswith("grid_broker")]
    assert names == ["grid_broker_lost", "grid_broker_connected"]


@pytest.mark.slow
async def test_a_broker_that_never_answers_stops_nothing() -> None:
    """It accepts the connection and says nothing: the attempt must end, and be closed."""
    opened, closed = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.set()
        while await reader.read(1024):
            pass
        closed.set()
        writer.close()

    server = await asyncio.start_server(mute, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    config = GridConfig(host=HOST, port=port, ven=VEN, client_id="ctl")
    link = GridLink(config, Disk(), nameplate=Power.kw(1), utc=time.time, wake=Wakes())
    async with server, running(link):
        async with asyncio.timeout(20):
            await opened.wait()
            await closed.wait()

    assert link.state is Link.LOST


@pytest.mark.parametrize("seed", range(4))
async def test_a_link_ends_when_it_is_told_to_whatever_it_is_doing(bus: Broker, seed: int) -> None:
    rng = random.Random(seed)
    async with operating(bus) as operator:
        await operator.limit(100, duration_s=1000, report_s=1)
        disk = Disk()
        for _ in range(25):
            async with asyncio.timeout(10), running(make(bus, disk)) as link:
                begun_s = time.time()
                for second in range(rng.randrange(40)):
                    link.observe(report(begun_s + second))
                    await asyncio.sleep(rng.choice((0, 0, 0.001)))


def _payloads(ack: Ack) -> list[dict[str, Any]]:
    payloads: list[dict[str, Any]] = ack.body["resources"][0]["intervals"][0]["payloads"]
    return payloads


async def test_a_message_that_no_broker_takes_is_told_and_keeps_nothing_else_from_leaving() -> None:
    disk = Disk()
    endless = LedgerAck(
        event="dr-1",
        status=EventStatus.RECEIVED,
        at_utc_s=1.0,
        version_utc_s=1.0,
        stamp="1970-01-01T00:00:01Z",
        ignored=("x" * 70_000,),
    )
    content = Cancelled(id="dr-1", version_utc_s=1.0, stamp="1970-01-01T00:00:01Z")
    entry = Entry(id="dr-1", content=content, unsent=(endless,), keep_until_utc_s=time.time() + 3600)
    disk.rows["event/dr-1"] = Record(key="event/dr-1", version_utc_s=1.0, status="", text=to_text(entry))
    with capture_logs() as logs:
        async with (
            broker(settings={"message_size_limit": str(MAX_PAYLOAD_BYTES)}) as bus,
            operating(bus) as operator,
            running(make(bus, disk)) as link,
        ):
            await operator.online()
            event = await operator.limit(100, start_in_s=30, duration_s=60)
            await operator.acked(event, "RECEIVED")
            await until(lambda: "x" * 70_000 not in disk.rows["event/dr-1"].text)

    assert (link.stats.oversized, link.stats.connects) == (1, 1)
    assert [line["topic"] for line in logs if line["event"] == "grid_oversized"] == [
        f"reports/vens/{VEN}/create"
    ]
