"""Boards as a running controller would leave them, with every value in the hand of the test."""

from __future__ import annotations

from dataclasses import dataclass

from controller.decide.device import DeviceState
from controller.decide.economics import prices_of, valuation_now
from controller.decide.inputs import Inputs, PriceNow, Sample
from controller.decide.plan import Alarm, Grant, NodeState, Outlook, Plan, Standing
from controller.decide.snapshot import State
from controller.decide.timeline import grid_now
from controller.decide.words import AlarmKind, CapReason, Reason, Truth
from controller.domain.devices import (
    DeviceKind,
    DeviceSpec,
    OperatingPoint,
    Quality,
    Reading,
    ZoneReading,
)
from controller.domain.grid import (
    EventInterval,
    EventStatus,
    GridEvent,
    LimitSignal,
    Link,
    PriceSignal,
    TargetSignal,
)
from controller.domain.jobs import Job, JobState, JobStatus, QueueReading
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.prices import Price, PriceKey
from controller.domain.site import Node, Policy, Prices, Site, Zone
from controller.run.board import Board, Tick
from tests.decide.builders import grants_of, nodes_of

NOW_S = 1_000.0
UTC_S = 1_800_000_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """All that a board knows of one device."""

    spec: DeviceSpec
    grant: Grant
    state: DeviceState
    reading: Reading


def device(
    name: str,
    *,
    kind: DeviceKind = DeviceKind.ASIC,
    draw_w: int = 3000,
    worst_w: int = 3250,
    truth: Truth = Truth.CONFIRMED,
    reason: Reason = Reason.FULL,
    limited_by: str = "",
    rate: float = 100.0,
    setting: Bound = NO_LIMIT,
    hottest_c: float | None = None,
    margin_c: float | None = None,
    age_s: float = 2.0,
    lies: int = 0,
    reasserts: int = 0,
) -> Device:
    point = OperatingPoint(name="full", power=Power(3250), rate=rate)
    return Device(
        spec=DeviceSpec(id=name, kind=kind, node="pdu-1", points=(point,), ceiling=Power(3400), zone="hall"),
        grant=Grant(
            device=name,
            point=point,
            power=point.power,
            worst=Power(worst_w),
            draw=Power(draw_w),
            age_s=age_s,
            wanted=point,
            reason=reason,
            truth=truth,
            limited_by=limited_by,
        ),
        state=DeviceState(point=point, truth=truth, lies=lies, reasserts=reasserts),
        reading=Reading(
            device=name,
            draw=Power(draw_w),
            quality=Quality.MEASURED,
            setting=setting,
            rate=rate,
            hottest_c=hottest_c,
            margin_c=margin_c,
        ),
    )


def node(
    name: str, *, limit: Bound = NO_LIMIT, metered_w: int | None = None, feasible: bool = True
) -> NodeState:
    return NodeState(
        node=name,
        limit=limit,
        granted=Power(40_000),
        worst=Power(45_000),
        drawn=Power(38_000),
        unexplained=Power(500),
        metered=None if metered_w is None else Power(metered_w),
        feasible=feasible,
    )


def event(name: str, *signals: LimitSignal | TargetSignal | PriceSignal) -> GridEvent:
    """An event that began a minute ago and goes on for an hour."""
    interval = EventInterval(start_utc_s=UTC_S - 60, end_utc_s=UTC_S + 3600, signals=signals)
    return GridEvent(id=name, version_utc_s=UTC_S - 600, source="grid", intervals=(interval,))


def standing(name: str) -> Standing:
    return Standing(
        event=name,
        version_utc_s=UTC_S - 600,
        status=EventStatus.COMPLIANT,
        cap=Limit(Power(60_000)),
        possible=Power(9_000),
    )


def outlook(name: str, *, possible_w: int = 9_000, asked_w: int = 5_000) -> Outlook:
    """Of an event that begins in an hour."""
    return Outlook(
        event=name,
        version_utc_s=UTC_S - 600,
        start_utc_s=UTC_S + 3_600,
        status=EventStatus.INFEASIBLE if possible_w > asked_w else EventStatus.RECEIVED,
        asked=Power(asked_w),
        possible=Power(possible_w),
    )


def site() -> Site:
    return Site(
        name="plant",
        nodes=(
            Node(id="grid-connection", limit=Limit(Power(80_000)), meter="main"),
            Node(id="pdu-1", parent="grid-connection"),
        ),
        zones=(Zone(id="hall", derate_c=35.0, trip_c=45.0),),
        policy=Policy(tick_s=1.0),
    )


def tick(
    *devices: Device,
    nodes: tuple[NodeState, ...] = (),
    cap: Bound = NO_LIMIT,
    cap_reason: CapReason = CapReason.NONE,
    link: Link = Link.NONE,
    events: tuple[GridEvent, ...] = (),
    standings: tuple[Standing, ...] = (),
    outlooks: tuple[Outlook, ...] = (),
    queues: tuple[QueueReading, ...] = (),
    silent_queues: tuple[str, ...] = (),
    zone: Sample[ZoneReading] | None = None,
    alarms: tuple[Alarm, ...] = (),
    prices_now: tuple[PriceNow, ...] = (),
    next_change_utc_s: float = float("inf"),
    ready: bool = True,
) -> Tick:
    inputs = Inputs(
        now_s=NOW_S,
        utc_s=UTC_S,
        specs=tuple(one.spec for one in devices),
        readings={one.spec.id: Sample(NOW_S - one.grant.age_s, one.reading) for one in devices},
        zones={} if zone is None else {zone.value.zone: zone},
        queues=queues,
        silent_queues=silent_queues,
        events=events,
        links={} if link is Link.NONE else {"": link},
        prices=prices_of(prices_now, Prices()),
        prices_now=prices_now,
    )
    return Tick(
        inputs=inputs,
        valuation=valuation_now(site(), inputs, grid_now(events, UTC_S, frozenset(), site())),
        state=State(devices={one.spec.id: one.state for one in devices}),
        plan=Plan(
            now_s=NOW_S,
            cap=cap,
            cap_reason=cap_reason,
            cap_event="",
            grants=grants_of(
                (one.spec for one in devices), (one.grant for one in devices), ("grid-connection", "pdu-1")
            ),
            nodes=nodes_of(*nodes),
            ready=ready,
            least=Power(9_000),
            alarms=alarms,
            standings=standings,
            outlooks=outlooks,
            value_per_hour=12.5,
            gap=0.002,
            next_change_utc_s=next_change_utc_s,
        ),
        utc_s=UTC_S,
        late_s=0.01,
        took_s=0.004,
    )


def price(
    which: Price,
    value: float,
    *,
    model: str = "",
    source: str = "constant",
    age_s: float | None = None,
    passed: tuple[str, ...] = (),
) -> PriceNow:
    key = PriceKey(price=which, model=model)
    return PriceNow(key=key, value=value, source=source, age_s=age_s, passed=passed)


PRICES_NOW = (
    price(Price.ENERGY, 0.041, source="dam", age_s=1200.0, passed=("rtm is 1201 s old, at most 900 s",)),
    price(Price.GPU_HOUR, 2.4, model="H100"),
    price(Price.HASH, 0.053, source="pool", age_s=60.0),
    price(Price.REDUCTION, 0.3),
)


def board(last: Tick | None = None) -> Board:
    """A board on which `last` was the only tick."""
    new = Board(site=site(), version="1.2.3", started_utc_s=UTC_S - 3600)
    if last is not None:
        new.finished(last)
    return new


def busy_board() -> Board:
    """A site in the middle of everything: an event, jobs, heat, a silent device and one that lies."""
    busy = board(
        tick(
            device("s19-1", hottest_c=71.0, limited_by="grid-connection", reason=Reason.LIMITED),
            device("s19-2", truth=Truth.STALE, reason=Reason.STALE, age_s=90.0),
            device("m50-1", truth=Truth.LYING, reason=Reason.LYING, lies=3),
            device(
                "dgx-0",
                kind=DeviceKind.GPU,
                draw_w=610,
                setting=Limit(Power(650)),
                margin_c=22.0,
                reasserts=2,
            ),
            nodes=(
                node("grid-connection", limit=Limit(Power(60_000)), metered_w=52_000),
                node("pdu-1", limit=Limit(Power(50_000)), metered_w=30_000),
            ),
            cap=Limit(Power(60_000)),
            cap_reason=CapReason.EVENT,
            link=Link.UP,
            events=(
                event("dr-7", LimitSignal(Power(60_000)), TargetSignal(Power(58_000)), PriceSignal(0.19)),
            ),
            standings=(standing("dr-7"),),
            outlooks=(outlook("dr-8"), outlook("dr-9", possible_w=4_000)),
            queues=(
                QueueReading(
                    queue="local",
                    jobs=(
                        JobStatus(
                            job=Job(id="a", gpus=1, usd_per_gpu_hour=2.0),
                            state=JobState.RUNNING,
                            gpus=("dgx-0",),
                        ),
                        JobStatus(job=Job(id="b", gpus=1, usd_per_gpu_hour=1.0), state=JobState.QUEUED),
                    ),
                    gpus=("dgx-0",),
                ),
            ),
            zone=Sample(NOW_S - 1, ZoneReading(zone="hall", inlet_c=27.5)),
            alarms=(
                Alarm(kind=AlarmKind.DEVICE_SILENT, subject="s19-2", detail="silent for 90 s"),
                Alarm(kind=AlarmKind.DEVICE_LYING, subject="m50-1", detail="told sleep, draws 3000 W"),
            ),
            prices_now=PRICES_NOW,
            next_change_utc_s=UTC_S + 3600,
        )
    )
    busy.price_troubles["rtm"] = "market (10.0.0.7:1883): no connection"
    busy.commands["acknowledged"] += 40
    busy.commands["failed"] += 2
    busy.reads["ok"] += 4000
    busy.job_commands["acknowledged"] += 1
    return busy
