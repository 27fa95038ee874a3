"""What grid operators hear of a site that is only observed, in each dialect: no promise, and no lie."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.grid import EventStatus, LimitSignal, Link, TargetSignal
from controller.domain.power import NO_LIMIT, Power
from controller.grid.isotime import stamp
from controller.grid.site import OperatingState, Place, Progress, SiteReport
from controller.run.journal.happenings import OBSERVED, OBSERVED_OVER, Happening
from controller.run.operators.gridconfig import OperatorConfig
from controller.run.operators.gridlink import GridLink
from controller.run.operators.gridside import LinkedGrid, only_observed
from simulators.broker import Broker, mosquitto_binary
from simulators.gridmessages import Ack
from simulators.gridoperator import GridOperator
from tests.run import boards
from tests.run.disks import Disk
from tests.run.test_operators import DSX, VEN, bus, client, load_target, report, running, until

__all__ = ["bus"]

pytestmark = [
    pytest.mark.socket,
    pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed"),
]


def make(bus: Broker, disk: Disk, *, observes: bool = True, **settings: Any) -> GridLink:
    named = {"id": "iso", "host": bus.host, "port": bus.port, "ven": VEN, "client_id": "ctl"}
    config = OperatorConfig(**named | settings)
    return GridLink(
        config,
        disk,
        nameplate=Power.kw(1000),
        utc=time.time,
        wake=lambda: None,
        nodes=("row-a",),
        observes=observes,
    )


def statuses(disk: Disk, event: str) -> list[str]:
    """What the sender was told of it, as it was written down."""
    rows = [row for row in disk.history if isinstance(row, Happening) and row.event == event]
    return [row.status for row in rows if row.status not in (OBSERVED, OBSERVED_OVER)]


def seen(disk: Disk) -> list[tuple[str, str]]:
    """What the site would have followed, as it was written down: the event, and whether it came or went."""
    rows = [row for row in disk.history if isinstance(row, Happening)]
    return [(row.event, row.status) for row in rows if row.status in (OBSERVED, OBSERVED_OVER)]


def words(acks: Sequence[Ack], event: str) -> list[str]:
    return [ack.status for ack in acks if ack.event == event]


def standing(link: GridLink) -> Progress:
    """What a plan that looked at the event would say of it, were it followed."""
    [event] = link.events
    return Progress(event=event.id, version_utc_s=event.version_utc_s, status=EventStatus.COMPLIANT)


# --- OpenADR


async def test_an_event_is_refused_and_shown_to_the_plan(bus: Broker) -> None:
    disk = Disk()
    link = make(bus, disk)
    async with GridOperator(bus.host, bus.port, VEN, heartbeat_s=0.1) as operator, running(link):
        event = await operator.limit(100, start_in_s=0, duration_s=600)
        refusal = await operator.acked(event, "REJECTED")
        await operator.snapshot()
        link.observe(only_observed(report(standing(link))))
        later = await operator.limit(90, start_in_s=0, duration_s=600)
        await operator.acked(later, "REJECTED")

        assert refusal.why[0] == "OBSERVED"
        assert "only observed" in refusal.why[1]
        assert words(operator.acks, event) == ["REJECTED"]
        assert {found.id for found in link.events} == {f"iso:{event}", f"iso:{later}"}
        await until(lambda: link.state is Link.UP)
        assert link.stats.refused == 0, "it could have been used"
    assert statuses(disk, event) == ["REJECTED"]
    assert seen(disk) == [(event, OBSERVED), (later, OBSERVED)]


async def test_an_event_that_its_operator_takes_back_is_written_down_as_over(bus: Broker) -> None:
    disk = Disk()
    async with GridOperator(bus.host, bus.port, VEN, heartbeat_s=0.1) as operator, running(make(bus, disk)):
        event = await operator.limit(100, start_in_s=60, duration_s=600)
        await operator.acked(event, "REJECTED")
        await operator.delete(event)
        await until(lambda: (event, OBSERVED_OVER) in seen(disk))

    assert seen(disk) == [(event, OBSERVED), (event, OBSERVED_OVER)]


async def test_what_only_informs_or_asks_for_reports_is_accepted_and_reported_on(bus: Broker) -> None:
    disk = Disk()
    link = make(bus, disk)
    asks = {
        "id": "reports-only",
        "modificationDateTime": stamp(time.time()),
        "intervalPeriod": {"start": "0001-01-01", "duration": "PT1H"},
        "reportDescriptors": [{"payloadType": "OPERATING_STATE"}, {"payloadType": "DEMAND"}],
        "intervals": [{"id": 0, "payloads": [{"type": "X_REPORT_PERIOD", "values": ["PT1S"]}]}],
    }
    notice = {"objectType": "EVENT", "operation": "CREATE", "object": asks}
    async with client(bus) as operator, running(link):
        await operator.subscribe(f"reports/vens/{VEN}/create", qos=1)
        await operator.publish(f"events/vens/{VEN}/create", json.dumps(notice).encode(), qos=1)
        await until(lambda: len(link.events) == 1)
        texts = []
        async for message in operator.messages:
            texts.append(bytes(message.payload).decode())
            if "telemetry" in texts[-1]:
                break
            link.observe(replace(only_observed(report()), now_utc_s=time.time()))
            link.observe(replace(only_observed(report()), now_utc_s=time.time() + 1.5))

    assert "RECEIVED" in texts[0]
    assert '"RUNNING_OPTED_OUT"' in texts[-1]


async def test_a_controller_that_commands_again_obeys_what_it_refused_while_it_observed(bus: Broker) -> None:
    disk = Disk()
    async with GridOperator(bus.host, bus.port, VEN, heartbeat_s=0.1) as operator:
        async with running(make(bus, disk)):
            event = await operator.limit(100, start_in_s=0, duration_s=600)
            await operator.acked(event, "REJECTED")
        commanding = make(bus, disk, observes=False)
        async with running(commanding):
            await operator.snapshot()
            await operator.acked(event, "RECEIVED")

            assert [found.intervals[0].signals for found in commanding.events] == [
                (LimitSignal(Power.kw(100)),)
            ]
    assert statuses(disk, event) == ["REJECTED", "RECEIVED"]


async def test_what_was_accepted_before_is_taken_back_when_the_site_is_only_observed(bus: Broker) -> None:
    disk = Disk()
    async with GridOperator(bus.host, bus.port, VEN, heartbeat_s=0.1) as operator:
        async with running(make(bus, disk, observes=False)):
            event = await operator.limit(100, start_in_s=0, duration_s=600)
            await operator.acked(event, "RECEIVED")
        watching = make(bus, disk)
        await watching.restore()
        in_force = watching.events
        async with running(watching):
            refusal = await operator.acked(event, "REJECTED")
            watching.observe(only_observed(report(standing(watching))))

    assert [found.id for found in in_force] == [f"iso:{event}"]
    assert refusal.why[0] == "OBSERVED"
    assert statuses(disk, event) == ["RECEIVED", "REJECTED"]


# --- the other dialects


async def test_a_load_target_of_dsx_is_not_listed_and_no_feed_can_be_lowered(bus: Broker) -> None:
    disk = Disk()
    link = make(bus, disk, dialect="dsx-flex", **{k: v for k, v in DSX.items() if k != "dialect"})
    draws = Place(node="row-a", demand=Power(60_000), granted=Power(60_000))
    async with client(bus) as operator, running(link):
        await operator.subscribe("grid/v1/dsx-flex-agent/+/#", qos=2)
        await operator.publish("grid/v1/isv/acme/loadtarget/set", load_target(30), qos=1)
        await until(lambda: len(link.events) == 1)
        told = []
        for ahead_s in (0, 5, 200):
            link.observe(replace(report(), now_utc_s=time.time() + ahead_s, places=(draws,)))
            told.append(await anext(aiter(operator.messages)))

    assert {str(message.topic).rsplit("/", 1)[-1] for message in told} == {"status"}, "no breach"
    feeds = [json.loads(bytes(message.payload))["data"]["feeds"]["main-a"] for message in told]
    for feed in feeds:
        assert feed["targets"] == []
        assert (feed["in_flight"], feed["event"]) == (False, "periodic")
        assert feed["metadata"]["power_minimum"] == feed["metadata"]["power_maximum"]
    (target,) = {row.event for row in disk.history if isinstance(row, Happening)}
    assert (statuses(disk, target), seen(disk)) == (["REJECTED"], [(target, OBSERVED)])


async def test_a_base_point_is_said_to_be_followed_by_nobody(bus: Broker) -> None:
    disk = Disk()
    link = make(bus, disk, dialect="base-point", topic_in="site/base", valid_s=60)
    async with client(bus) as operator, running(link):
        await operator.subscribe("site/base/status")
        for kw in (80, 81, 82):
            said = {"setpoint": kw, "units": "KW", "time": stamp(time.time())}
            await operator.publish("site/base", json.dumps(said).encode(), qos=1)
        await until(lambda: bool(link.events) and TargetSignal(Power.kw(82)) in _signals(link))
        declined = replace(standing(link), status=EventStatus.REJECTED)
        link.observe(only_observed(report(declined)))
        status = json.loads(bytes((await anext(aiter(operator.messages))).payload))

    assert (status["following"], status["setpoint"]) == (None, None)
    assert (status["state"], status["demand"]) == ("REJECTED", 90.0)
    assert disk.history == ()


async def test_a_0_is_looked_at_and_kept_as_refused(bus: Broker) -> None:
    disk = Disk()
    link = make(bus, disk, dialect="zero-hundred", topic_in="maestro/target", off_kw=50, stale_s=60)
    async with client(bus) as operator, running(link):
        said = {"target": 0, "timestamp": int(time.time())}
        await operator.publish("maestro/target", json.dumps(said).encode(), qos=1)
        await until(lambda: _signals(link) == (LimitSignal(Power.kw(50)),))
        await until(lambda: statuses(disk, "target") == ["REJECTED"])


def _signals(link: GridLink) -> tuple[object, ...]:
    return link.events[0].intervals[0].signals if link.events else ()


# --- what the site says of itself


def test_an_observed_site_tells_what_it_draws_and_that_nothing_is_to_be_had_of_it() -> None:
    told: list[SiteReport] = []

    class Rules:
        events = ()

        def planned(self, inputs: object, report: SiteReport) -> None:
            told.append(report)

    tick = boards.tick(nodes=(boards.node("site", metered_w=1_234),))
    commanded, seen = LinkedGrid(own=Rules()), LinkedGrid(own=Rules(), observes=True)
    commanded.planned(tick.inputs, tick.plan)
    seen.planned(tick.inputs, tick.plan)

    plain, observed = told
    assert plain.granted != plain.demand
    assert (observed.demand, observed.quality) == (plain.demand, plain.quality)
    assert observed.setpoint == NO_LIMIT
    assert observed.state in (OperatingState.RUNNING_OPTED_OUT, OperatingState.IDLE_OPTED_OUT)
    assert (observed.shed_available, observed.rise_available) == (Power(0), Power(0))
    assert observed.granted == observed.demand
    assert all(place.granted == place.demand for place in observed.places)
