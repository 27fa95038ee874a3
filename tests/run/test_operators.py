"""Several operators at once, each with its dialect and its rights, against a real broker."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from structlog.testing import capture_logs

from controller.decide.timeline import grid_now, lost_operators
from controller.domain.grid import EventStatus, LimitSignal, Link, TargetSignal
from controller.domain.power import Limit, Power
from controller.grid.isotime import stamp
from controller.grid.signatures import Trust, opened
from controller.grid.site import Place, Progress, SiteReport
from controller.run.journal.seals import Anchor
from controller.run.operators.gridconfig import OperatorConfig
from controller.run.operators.gridlink import GridLink
from controller.run.operators.gridside import LinkedGrid
from simulators.broker import HOST, Broker, broker, mosquitto_binary
from simulators.gridoperator import GridOperator
from tests.decide.builders import site
from tests.grid.keys import EC_KEY, KEY_ID, OTHER_KEY, jws
from tests.run import boards
from tests.run.disks import Disk

VEN = "site-tx1"
EVENTS = f"events/vens/{VEN}"

pytestmark = [
    pytest.mark.socket,
    pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed"),
]


def make(bus: Broker, disk: Disk, name: str, **settings: Any) -> GridLink:
    config = OperatorConfig(
        **{"id": name, "host": bus.host, "port": bus.port, "ven": VEN, "client_id": f"ctl-{name}"} | settings
    )
    return GridLink(
        config, disk, nameplate=Power.kw(1000), utc=time.time, wake=lambda: None, nodes=("row-a", "row-b")
    )


@asynccontextmanager
async def running(*links: GridLink) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(link.run()) for link in links]
        try:
            await until(lambda: all(link.stats.connected for link in links))
            yield
        finally:
            for task in tasks:
                task.cancel()


async def until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - looked at from outside, nothing signals it
            await asyncio.sleep(0.01)


def client(bus: Broker) -> aiomqtt.Client:
    return aiomqtt.Client(bus.host, bus.port, timeout=5)


def report(*progress: Progress, watts: int = 90_000) -> SiteReport:
    places = (Place(node="row-a", demand=Power(40_000), granted=Power(40_000)),)
    return SiteReport(
        now_utc_s=time.time(),
        demand=Power(watts),
        setpoint=Limit(Power(100_000)),
        places=places,
        progress=progress,
    )


@pytest.fixture
async def bus() -> AsyncIterator[Broker]:
    async with broker() as running_broker:
        yield running_broker


# --- several operators


async def test_operators_do_not_take_each_others_events_for_their_own(bus: Broker) -> None:
    disk = Disk()
    links = [make(bus, disk, name, prefix=f"{name}/") for name in ("iso", "retail")]
    async with (
        GridOperator(bus.host, bus.port, VEN, prefix="iso/", heartbeat_s=0.1) as iso,
        GridOperator(bus.host, bus.port, VEN, prefix="retail/", heartbeat_s=0.1) as retail,
        running(*links),
    ):
        await iso.limit(100, id="dr-1")
        await retail.limit(90, id="dr-1")
        await iso.acked("dr-1", "RECEIVED")
        await retail.acked("dr-1", "RECEIVED")

        side = LinkedGrid(*links)
        both = {event.id: event.intervals[0].signals for event in side.events}
        started = [
            Progress(event=event.id, version_utc_s=event.version_utc_s, status=EventStatus.STARTED)
            for event in side.events
            if event.source == "retail"
        ]
        for link in links:
            link.observe(report(*started))
        await retail.acked("dr-1", "STARTED")
        await iso.delete("dr-1")
        await iso.acked("dr-1", "CANCELLED")
        left = [event.id for event in side.events]

    assert both == {"iso:dr-1": (LimitSignal(Power.kw(100)),), "retail:dr-1": (LimitSignal(Power.kw(90)),)}
    assert "STARTED" not in {ack.status for ack in iso.acks}
    assert left == ["retail:dr-1"]

    after = [make(bus, disk, name, prefix=f"{name}/") for name in ("iso", "retail")]
    for link in after:
        await link.restore()
    assert [event.id for event in LinkedGrid(*after).events] == ["retail:dr-1"]


async def test_an_operator_that_oversteps_its_rights_is_refused_and_told(bus: Broker) -> None:
    link = make(bus, Disk(), "market", rights=["price"])
    async with GridOperator(bus.host, bus.port, VEN, heartbeat_s=0.1) as operator, running(link):
        limit = await operator.limit(100)
        price = await operator.price([0.1])
        refusal = await operator.acked(limit, "REJECTED")
        await operator.acked(price, "RECEIVED")

        assert refusal.why[0] == "NOT_AUTHORIZED"
        assert [event.id for event in link.events] == [f"market:{price}"]


async def test_the_link_is_lost_only_if_an_operator_that_commands_is(bus: Broker) -> None:
    commanding = make(bus, Disk(), "iso", prefix="iso/")
    pricing = make(bus, Disk(), "market", prefix="market/", rights=["price"])
    side = LinkedGrid(commanding, pricing)
    async with (
        GridOperator(bus.host, bus.port, VEN, prefix="iso/", heartbeat_s=0.1),
        running(commanding, pricing),
    ):
        before = side.states
        await until(lambda: commanding.state is Link.UP)

        assert pricing.state is Link.LOST
        assert (before, side.states) == ({"iso": Link.LOST}, {"iso": Link.UP})


async def test_the_limit_of_a_lost_link_holds_for_the_operator_that_is_silent_whatever_another_one_asks_for(
    bus: Broker,
) -> None:
    links = [make(bus, Disk(), name, prefix=f"{name}/") for name in ("iso", "retail")]
    here = site(link_lost_limit=Limit(Power.kw(40)), start_grace_s=0.0)
    async with (
        GridOperator(bus.host, bus.port, VEN, prefix="retail/", heartbeat_s=0.1) as retail,
        running(*links),
    ):
        await retail.acked(await retail.limit(90), "RECEIVED")
        await until(lambda: links[1].state is Link.UP)
        side = LinkedGrid(*links)
        lost = lost_operators(side.states, 0.0, here.policy)
        grid = grid_now(side.events, time.time(), lost, here)

    assert lost == {"iso"}
    assert [event.operator for event in side.events] == ["retail"]
    assert grid.limit == Limit(Power.kw(40))


async def test_which_operators_link_was_lost_is_noted_once_each_time_and_not_in_the_grace_of_a_start(
    bus: Broker,
) -> None:
    heard = make(bus, Disk(), "iso", prefix="iso/", heartbeat_timeout_s=1)
    silent = make(bus, Disk(), "market", prefix="market/")
    noted: list[tuple[str, bool]] = []
    side = LinkedGrid(
        heard, silent, link_changed=lambda name, lost: noted.append((name, lost)), start_grace_s=10.0
    )
    tick = boards.tick(nodes=(boards.node("site", metered_w=1),))

    def look(after_s: float) -> list[tuple[str, bool]]:
        side.planned(replace(tick.inputs, now_s=tick.inputs.now_s + after_s), tick.plan)
        return noted.copy()

    async with running(heard, silent):
        in_grace = look(0)
        async with GridOperator(bus.host, bus.port, VEN, prefix="iso/", heartbeat_s=0.1):
            await until(lambda: heard.state is Link.UP)
            after_grace, again = look(10), look(11)
        await until(lambda: heard.state is Link.LOST)
        gone = look(12)
        async with GridOperator(bus.host, bus.port, VEN, prefix="iso/", heartbeat_s=0.1):
            await until(lambda: heard.state is Link.UP)
            back = look(13)

    assert in_grace == []
    assert after_grace == again == [("market", True)]
    assert gone[1:] == [("iso", True)]
    assert back[2:] == [("iso", False)]


async def test_our_heartbeat_goes_out_with_ticks_and_only_with_them(bus: Broker) -> None:
    link = make(bus, Disk(), "iso", heartbeat_s=0.5)
    async with client(bus) as ears, running(link):
        await ears.subscribe(f"heartbeat/vens/{VEN}")
        link.observe(report())
        first = await anext(aiter(ears.messages))
        link.observe(report())  # too soon
        await asyncio.sleep(0.6)  # no tick, no heartbeat
        link.observe(report())
        second = await anext(aiter(ears.messages))

    beats = [json.loads(bytes(message.payload)) for message in (first, second)]
    assert [beat["seq"] for beat in beats] == [1, 2]
    assert "seal" not in beats[0], "there is none yet"


async def test_our_heartbeat_carries_the_newest_seal_of_the_journal(bus: Broker) -> None:
    link = make(bus, Disk(), "iso", heartbeat_s=0.5)
    anchor = Anchor(12, "ab" * 32)
    side = LinkedGrid(link, anchor=lambda: anchor)
    tick = boards.tick(nodes=(boards.node("site", metered_w=1000),))
    async with client(bus) as ears, running(link):
        await ears.subscribe(f"heartbeat/vens/{VEN}")
        side.planned(tick.inputs, tick.plan)
        beat = json.loads(bytes((await anext(aiter(ears.messages))).payload))

    assert Anchor.of(beat["seal"]) == anchor


# --- signatures


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Any]:
    public = EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = OTHER_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "operator.pem").write_bytes(public)
    (tmp_path / "site.pem").write_bytes(private)
    return {
        "signed_by": {KEY_ID: tmp_path / "operator.pem"},
        "signing_key": tmp_path / "site.pem",
        "signing_key_id": "site",
    }


def notice(event_id: str, kw: float = 100.0) -> dict[str, Any]:
    now = stamp(time.time())
    content = {
        "id": event_id,
        "modificationDateTime": now,
        "payloadDescriptors": [{"payloadType": "IMPORT_CAPACITY_LIMIT", "units": "KW"}],
        "intervalPeriod": {"start": now, "duration": "PT1H"},
        "intervals": [{"id": 0, "payloads": [{"type": "IMPORT_CAPACITY_LIMIT", "values": [kw]}]}],
    }
    return {"objectType": "EVENT", "operation": "CREATE", "object": content}


async def test_only_what_the_operator_signed_for_this_site_is_obeyed(
    bus: Broker, keys: dict[str, Any]
) -> None:
    link = make(bus, Disk(), "iso", **keys)
    now_s = time.time()
    forged = [
        json.dumps(notice("plain")),
        jws(notice("stranger"), key=OTHER_KEY, aud=VEN, iat=now_s),
        jws(notice("elsewhere"), aud="site-2", iat=now_s),
        jws(notice("replay"), aud=VEN, iat=now_s - 4000),
    ]
    async with client(bus) as operator, running(link):
        await operator.subscribe(f"reports/vens/{VEN}/create", qos=1)
        for payload in (*forged, jws(notice("genuine"), aud=VEN, iat=now_s)):
            await operator.publish(f"{EVENTS}/create", payload, qos=1)
        ack = await anext(aiter(operator.messages))

        assert [event.id for event in link.events] == ["iso:genuine"]
        assert link.stats.refused == 4

    trust = Trust(keys={"site": OTHER_KEY.public_key()}, max_age_s=60)
    told = json.loads(opened(bytes(ack.payload), trust, now_utc_s=time.time()))
    assert told["object"]["eventID"] == "genuine"


async def test_a_signed_heartbeat_and_snapshot_bring_the_link_up_and_unsigned_ones_do_not(
    bus: Broker, keys: dict[str, Any]
) -> None:
    link = make(bus, Disk(), "iso", **keys)
    async with client(bus) as operator, running(link):

        async def say(sealed: bool) -> None:
            now_s = time.time()
            beat = {"seq": int(now_s * 1000), "utc": stamp(now_s)}
            listing = {"asOf": stamp(now_s), "seq": int(now_s * 1000), "ven": VEN, "events": []}
            as_bytes = {
                "heartbeat/vtn": jws(beat, aud="all", iat=now_s) if sealed else json.dumps(beat),
                f"{EVENTS}/snapshot": jws(listing, aud=VEN, iat=now_s) if sealed else json.dumps(listing),
            }
            for topic, payload in as_bytes.items():
                await operator.publish(topic, payload, qos=1)

        await say(False)
        await until(lambda: link.stats.refused == 2)
        unsigned = link.state
        await say(True)
        await until(lambda: link.state is Link.UP)

        assert unsigned is Link.LOST


@pytest.mark.parametrize("key", ["signed_by", "signing_key"])
def test_a_key_that_cannot_be_used_is_named(key: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.pem"
    path.write_text("no key")
    settings: dict[str, Any] = (
        {"signed_by": {"k": path}} if key == "signed_by" else {"signing_key": path, "signing_key_id": "k"}
    )
    config = OperatorConfig(id="iso", host="broker.example", ven=VEN, client_id="ctl", **settings)

    with pytest.raises(ValueError, match=rf"{key}.*bad\.pem"):
        GridLink(config, Disk(), nameplate=Power.kw(1), utc=time.time, wake=lambda: None)


# --- other dialects


def load_target(kw: float | None) -> bytes:
    constraint = None if kw is None else {"value": kw, "unit": "kilowatt"}
    envelope = {
        "specversion": "1.0.2",
        "id": str(uuid.uuid4()),
        "source": "//grid/v1/isv/acme",
        "type": "grid.loadtarget.set.v1",
        "time": stamp(time.time()),
        "datacontenttype": "application/json",
        "subject": "loadtarget",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        "data": {"targets": [{"interval": {}, "feed_tags": ["main-a"], "load_constraint": constraint}]},
    }
    return json.dumps(envelope).encode()


DSX: dict[str, Any] = {
    "dialect": "dsx-flex",
    "isv": "acme",
    "feeds": [{"tag": "main-a", "node": "row-a", "maximum_kw": 100}],
}


async def test_a_load_target_is_durable_and_answered_with_a_status(bus: Broker) -> None:
    disk = Disk()
    link = make(bus, disk, "dsx", **DSX)
    async with client(bus) as operator, running(link):
        await operator.subscribe("grid/v1/dsx-flex-agent/+/powerstate/status", qos=1)
        await operator.publish("grid/v1/isv/acme/loadtarget/set", load_target(30), qos=1)
        await until(lambda: len(link.events) == 1)
        link.observe(report())
        told = json.loads(bytes((await anext(aiter(operator.messages))).payload))

        [event] = link.events
        await until(lambda: link.state is Link.UP)

    assert (event.node, event.intervals[0].signals) == ("row-a", (LimitSignal(Power.kw(30)),))
    assert told["data"]["feeds"]["main-a"]["event"] == "target_set"
    again = make(bus, disk, "dsx", **DSX)
    await again.restore()
    assert again.events == (event,)


async def test_a_0_is_obeyed_and_silence_loses_the_link(bus: Broker) -> None:
    settings = {"dialect": "zero-hundred", "topic_in": "maestro/target", "off_kw": 50, "stale_s": 2}
    link = make(bus, Disk(), "dispatch", **settings)
    async with client(bus) as operator, running(link):

        async def say(target: int) -> None:
            content = json.dumps({"target": target, "timestamp": int(time.time())})
            await operator.publish("maestro/target", content, qos=1)

        await say(100)
        await until(lambda: link.state is Link.UP)
        quiet = link.events
        await until(lambda: link.state is Link.LOST)
        await until(lambda: len(link.events) == 1)

        assert quiet == ()
        assert link.events[0].intervals[0].signals == (LimitSignal(Power.kw(50)),)


def follows(link: GridLink, kw: int) -> bool:
    signals = [signal for event in link.events for signal in event.intervals[0].signals]
    return signals == [TargetSignal(Power.kw(kw))]


async def test_a_0_by_the_second_of_two_brokers_is_obeyed_where_the_first_is_not_there(bus: Broker) -> None:
    settings = {"dialect": "zero-hundred", "topic_in": "maestro/target", "off_kw": 5, "rights": ["limit"]}
    nobody = {"host": "127.0.0.1", "port": 9, "second_host": "localhost", "second_port": bus.port}
    link = make(bus, Disk(), "pair", **settings | nobody)
    async with client(bus) as dispatcher, running(link):
        await dispatcher.publish(
            "maestro/target", json.dumps({"target": 0, "timestamp": int(time.time())}), qos=1
        )
        await until(lambda: len(link.events) == 1)

    assert link.events[0].intervals[0].signals == (LimitSignal(Power.kw(5)),)


async def test_a_base_point_is_followed_and_told(bus: Broker) -> None:
    link = make(bus, Disk(), "base", dialect="base-point", topic_in="site/base", valid_s=60)
    async with client(bus) as operator, running(link):
        await operator.subscribe("site/base/status")
        for kw in (500, 400):
            content = {"setpoint": kw, "units": "KW", "time": stamp(time.time())}
            await operator.publish("site/base", json.dumps(content), qos=1)
            await until(partial(follows, link, kw))
        link.observe(report())
        told = json.loads(bytes((await anext(aiter(operator.messages))).payload))

        await until(lambda: link.state is Link.UP)

    assert told["demand"] == 90.0


# --- a broker that accepts and never answers


async def test_a_connection_that_was_never_answered_is_closed_when_the_site_stops() -> None:
    opened_, closed = asyncio.Event(), asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened_.set()
        while await reader.read(1024):
            pass
        closed.set()
        writer.close()

    server = await asyncio.start_server(mute, HOST, 0)
    config = OperatorConfig(
        id="iso", host=HOST, port=server.sockets[0].getsockname()[1], ven=VEN, client_id="ctl", keepalive_s=60
    )
    link = GridLink(config, Disk(), nameplate=Power.kw(1), utc=time.time, wake=lambda: None)
    async with server:
        task = asyncio.create_task(link.run())
        async with asyncio.timeout(4):  # less than the deadline of the connection itself
            await opened_.wait()
            task.cancel()
            await asyncio.wait([task])
            await closed.wait()

    assert task.cancelled()


async def test_the_log_says_whose_broker_was_reached() -> None:
    async with broker() as bus:
        with capture_logs() as logs:
            async with running(make(bus, Disk(), "iso", dialect="base-point", topic_in="iso/basepoint")):
                pass  # it is connected by then

    told = [entry for entry in logs if entry["event"] == "grid_broker_connected"]
    assert [entry["operator"] for entry in told] == ["iso"]
