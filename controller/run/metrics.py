"""The running controller as Prometheus metrics: the board as it stands when it is scraped, in base units.

It decides nothing and remembers nothing, and never shows a number that is not known: a stale meter, a
silent device's draw and a cap that does not exist have no series, because absent is not 0.

What it costs: about 120 series a site, 6 a node, up to 5 an event, a queue, a zone or a group of miners,
and 8 to 11 a device, for a GPU 50 more. A device's truth and reason are labels, so each change of them starts
a new series. 10,000 devices are 90,000 series and 5.5 MB a scrape: about 0.7 s of processor.
Render that many in a thread and scrape each 30 s, or leave them out with `Detail.SITE`, whose size does not
grow with devices.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from math import isfinite
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from controller.decide import thermal
from controller.decide.device import DeviceState
from controller.decide.plan import AlarmKind, Grant, NodeState, Plan, PriceNow, Reason, Truth
from controller.decide.timeline import interval_at
from controller.domain.devices import DeviceKind, DeviceSpec, Reading
from controller.domain.gpus import GpuDetail
from controller.domain.grid import (
    AlertSignal,
    CapacitySignal,
    CarbonSignal,
    EventStatus,
    LimitSignal,
    Link,
    PriceSignal,
    RelativeTargetSignal,
    TargetSignal,
)
from controller.domain.jobs import JobState
from controller.domain.power import Limit, NoLimit, Power
from controller.domain.prices import Price
from controller.domain.site import Site
from controller.run.board import Board, Tick
from controller.run.clock import Clock
from controller.run.gpumetrics import LIMITS, dcgm_metrics, gpu_metrics
from controller.run.gridmetrics import operator_metrics
from controller.run.journalmetrics import journal_metrics

PREFIX = "wattshift_"
OUTCOMES = ("acknowledged", "refused", "failed")
READ_RESULTS = ("ok", "failed")
UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.SUSPENDED)
DEVICE_ALARMS = (AlarmKind.DEVICE_SILENT, AlarmKind.DEVICE_LYING)

PRICES = {
    Price.HASH: ("hash_usd_per_ths_day", "Price of hashing in force, per TH/s and day"),
    Price.ENERGY: ("energy_usd_per_kwh", "Price of energy in force where no event sets another"),
    Price.GPU_HOUR: ("gpu_usd_per_hour", "Price in force of a GPU hour, for jobs that name none"),
    Price.REDUCTION: ("reduction_usd_per_kwh", "What events pay now for energy not drawn"),
    Price.RESERVE: ("reserve_usd_per_kw_hour", "What is paid now for load held ready"),
}

T = TypeVar("T")
Samples = Iterable[tuple[tuple[str, ...], float]]
Columns = tuple[tuple[str, str, Callable[[T], float | None]], ...]
"""Metrics of the same things: a name, what it says, and its value for one of them (None: no series)."""


class Detail(StrEnum):
    """How much is told: `SITE` leaves out every series that carries a device's id."""

    SITE = "site"
    DEVICES = "devices"


def render(
    board: Board, *, clock: Clock | None = None, detail: Detail = Detail.DEVICES, dcgm: bool = False
) -> bytes:
    """The board in the Prometheus text format, with the metrics of the process and the interpreter.

    `dcgm` adds the GPUs under the names of dcgm-exporter, for dashboards that know those.
    """
    registry = CollectorRegistry(auto_describe=False)
    for standard in (ProcessCollector, PlatformCollector, GCCollector):
        standard(registry=registry)
    registry.register(BoardCollector(board, clock if clock is not None else Clock(), detail, dcgm=dcgm))
    return generate_latest(registry)


class BoardCollector(Collector):
    """Reads the last tick at scrape time; before the first one it tells the counters only."""

    def __init__(self, board: Board, clock: Clock, detail: Detail, *, dcgm: bool = False) -> None:
        self._board = board
        self._clock = clock
        self._detail = detail
        self._dcgm = dcgm

    def collect(self) -> Iterator[Metric]:
        tick = self._board.last
        yield from _controller(self._board, tick)
        yield from operator_metrics(self._board.operators)
        yield from journal_metrics(self._board.journal())
        if tick is None:
            return
        rows = tuple(_rows(tick))
        yield from _pace(tick, self._clock.utc_s())
        yield from _site(tick.plan)
        yield from _table("node", NODE, ((node.node, node) for node in tick.plan.nodes))
        yield from _zones(self._board.site, tick)
        yield from _fleet(rows)
        yield from _grid(tick)
        yield from _signals(tick)
        yield from _prices(tick.inputs.prices_now)
        yield from _queues(tick)
        yield from _alarms(tick.plan, self._detail)
        if self._detail is Detail.DEVICES:
            yield from _table("device", DEVICE, ((row.spec.id, row) for row in rows))
            details = self._board.details()
            yield from _devices(rows, details)
            yield from gpu_metrics(details)
            if self._dcgm:
                yield from dcgm_metrics(details)


@dataclass(frozen=True, slots=True)
class _Row:
    """One device: what it was granted, what it is, and its last reading unless it is silent now."""

    grant: Grant
    spec: DeviceSpec
    state: DeviceState
    reading: Reading | None

    @property
    def seen(self) -> bool:
        return self.state.seen


def _rows(tick: Tick) -> Iterator[_Row]:
    specs = {spec.id: spec for spec in tick.inputs.specs}
    for grant in tick.plan.grants:
        state = tick.state.devices[grant.device]
        sample = tick.inputs.readings.get(grant.device) if state.seen else None
        yield _Row(grant, specs[grant.device], state, sample.value if sample is not None else None)


def group_of(device: str) -> str:
    """The group a device was configured in: its id up to the last dash."""
    return device.rpartition("-")[0] or device


def _watts(power: Power | Limit | NoLimit | None) -> int | None:
    """Watts, or None where there is no limit or no fresh meter."""
    match power:
        case Power(watts) | Limit(Power(watts)):
            return watts
        case NoLimit() | None:
            return None


NODE: Columns[NodeState] = (
    ("power_watts", "Metered power; absent without a fresh meter", lambda n: _watts(n.metered)),
    ("limit_watts", "What must not be passed now; absent without a limit", lambda n: _watts(n.limit)),
    ("granted_watts", "All grants below the node, and its other load", lambda n: n.granted.watts),
    ("worst_case_watts", "The most that may be drawn below the node now", lambda n: n.worst.watts),
    ("unexplained_watts", "Metered load that no device accounts for", lambda n: n.unexplained.watts),
    ("feasible", "0 when all at their lowest is still too much", lambda n: n.feasible),
)
DEVICE: Columns[_Row] = (
    ("grant_watts", "What the device may draw until the next plan", lambda r: r.grant.power.watts),
    ("worst_case_watts", "The most that the device may draw now", lambda r: r.grant.worst.watts),
    (
        "age_seconds",
        "Age of the newest reading at the last tick; absent before the first",
        lambda r: r.grant.age_s if isfinite(r.grant.age_s) else None,
    ),
    (
        "hottest_celsius",
        "The hottest chip; absent where it is not told",
        lambda r: r.reading.hottest_c if r.reading is not None else None,
    ),
    (
        "margin_celsius",
        "Distance to the device's own slowdown; absent where it is not told",
        lambda r: r.reading.margin_c if r.reading is not None else None,
    ),
)


def _table(subject: str, columns: Columns[T], things: Iterable[tuple[str, T]]) -> Iterator[Metric]:
    things = tuple(things)
    for name, says, value_of in columns:
        known = (((key,), value) for key, thing in things if (value := value_of(thing)) is not None)
        yield _gauge(f"{subject}_{name}", says, known, subject)


def _controller(board: Board, tick: Tick | None) -> Iterator[Metric]:
    ready = tick is not None and tick.plan.ready
    site = [((board.site.name, board.site.root.id), 1)]
    yield _gauge("build_info", "The running version", [((board.version,), 1)], "version")
    yield _gauge("site_info", "The site, and its node that is the grid connection", site, "site", "root")
    yield _value("ready", "1 once a whole snapshot was seen and devices are commanded", ready)
    yield _value("tick_period_seconds", "The configured time between ticks", board.site.policy.tick_s)
    yield _counter("ticks", "Finished ticks", [((), board.ticks)])
    yield _counter("late_ticks", "Ticks that began more than a period late", [((), board.late_ticks)])
    yield _counter("commands", "Commands to devices", _counted(board.commands, OUTCOMES), "outcome")
    yield _counter("job_commands", "Commands to queues", _counted(board.job_commands, OUTCOMES), "outcome")
    yield _counter("reads", "Polls of devices and meters", _counted(board.reads, READ_RESULTS), "result")


def _pace(tick: Tick, utc_s: float) -> Iterator[Metric]:
    age_s = max(0.0, utc_s - tick.utc_s)
    yield _value("last_tick_timestamp_seconds", "When the last finished tick began, Unix time", tick.utc_s)
    yield _value("last_tick_age_seconds", "Time since the last finished tick began", age_s)
    yield _value("last_tick_duration_seconds", "How long the last tick took", tick.took_s)
    yield _value("last_tick_lateness_seconds", "How far behind its time the last tick began", tick.late_s)


def _site(plan: Plan) -> Iterator[Metric]:
    watts = _watts(plan.cap)
    cap = [((plan.cap_reason.value,), watts)] if watts is not None else []
    yield _gauge("site_cap_watts", "The cap, by what sets it; absent without one", cap, "reason")
    yield _value("site_least_watts", "What the whole site can be brought down to", plan.least.watts)
    yield _value("plan_value_usd_per_hour", "What the grants earn less what they cost", plan.value_per_hour)
    yield _value("plan_gap_ratio", "How far the plan can at most lie below the best possible", plan.gap)


def _zones(site: Site, tick: Tick) -> Iterator[Metric]:
    now_s, heard = tick.inputs.now_s, {zone.id: tick.inputs.zones.get(zone.id) for zone in site.zones}
    inlet = (
        ((zone,), sample.value.inlet_c)
        for zone, sample in heard.items()
        if sample is not None and now_s - sample.at_s <= thermal.ZONE_STALE_AFTER_S
    )
    proven = (((zone,), thermal.cooling_proven(sample, now_s)) for zone, sample in heard.items())
    yield _gauge("zone_inlet_celsius", "Inlet temperature; absent when not fresh", inlet, "zone")
    yield _gauge("zone_cooling_proven", "1 while fans or pumps are proven to run", proven, "zone")


def _fleet(rows: tuple[_Row, ...]) -> Iterator[Metric]:
    truths = Counter((row.spec.kind, row.grant.truth) for row in rows)
    by_truth = (((kind, truth), truths[kind, truth]) for kind in DeviceKind for truth in Truth)
    yield _gauge("devices_by_truth", "How far last commands are proven", by_truth, "kind", "truth")
    reasons = Counter((row.spec.kind, row.grant.reason) for row in rows)
    by_reason = (((kind, reason), reasons[kind, reason]) for kind in DeviceKind for reason in Reason)
    yield _gauge("devices_by_reason", "Why devices have their grants", by_reason, "kind", "reason")
    for kind in DeviceKind:
        drawn_w = sum(row.grant.draw.watts for row in rows if row.spec.kind is kind and row.seen)
        yield _value(f"{kind}_power_watts", f"What the {kind.upper()}s that answer say they draw", drawn_w)
    rates: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        if row.spec.kind is DeviceKind.ASIC and row.reading is not None:
            rates[group_of(row.spec.id)] += row.reading.rate
    hashing = (((group,), rate) for group, rate in rates.items())
    says = "Hash rate of the miners that answer, by device id up to the last dash"
    yield _gauge("hash_rate_terahashes_per_second", says, hashing, "group")


def _grid(tick: Tick) -> Iterator[Metric]:
    link, standings = tick.inputs.link, tick.plan.standings
    up = [(("grid",), link is Link.UP)] if link is not Link.NONE else []
    statuses = (((standing.event, standing.status), 1) for standing in standings)
    short = (((s.event,), s.possible.watts) for s in standings if s.status is EventStatus.INFEASIBLE)
    change_s = tick.plan.next_change_utc_s
    change = [((), change_s)] if isfinite(change_s) else []
    yield _gauge("link_up", "1 while the link is trusted; absent where there is none", up, "link")
    yield _value("events_active", "Grid events whose window holds now", len(standings))
    yield _gauge(
        "event_status", "What an active event's sender is told; always 1", statuses, "event", "status"
    )
    says = "The draw nearest to what an infeasible event asks for; absent for all others"
    yield _gauge("event_possible_watts", says, short, "event")
    yield _gauge(
        "next_event_change_timestamp_seconds", "When events next change something, Unix time", change
    )


def _signals(tick: Tick) -> Iterator[Metric]:
    """What each active event asks for by itself; the cap in force is the least of all limits."""
    limits: dict[tuple[str, str], int] = {}
    targets: dict[tuple[str, str], int] = {}
    relative: dict[tuple[str, str], int] = {}
    prices: dict[str, float] = {}
    carbon: dict[str, float] = {}
    alerts: dict[tuple[str, str], int] = {}
    capacities: dict[tuple[str, str], int] = {}
    for event in tick.inputs.events:
        interval, place = interval_at(event, tick.inputs.utc_s), (event.id, event.node)
        for signal in interval.signals if interval is not None else ():
            match signal:
                case LimitSignal(power):
                    limits[place] = min(power.watts, limits.get(place, power.watts))
                case TargetSignal(power):
                    targets[place] = power.watts
                case RelativeTargetSignal(power):
                    relative[place] = power.watts
                case PriceSignal(usd_per_kwh):
                    prices[event.id] = usd_per_kwh
                case CarbonSignal(grams_per_kwh):
                    carbon[event.id] = grams_per_kwh
                case AlertSignal(alert, _):
                    alerts[event.id, alert] = 1
                case CapacitySignal(capacity, power):
                    capacities[event.id, capacity] = power.watts
    where = ("event", "node")
    yield _gauge("event_limit_watts", "The limit an active event sets", limits.items(), *where)
    yield _gauge("event_target_watts", "The draw an active event asks for", targets.items(), *where)
    says = "The change of draw an active event asks for"
    yield _gauge("event_relative_target_watts", says, relative.items(), *where)
    yield _gauge("event_price_usd_per_kwh", "The price an active event sets", _keyed(prices), "event")
    says = "Emissions of energy by an active event"
    yield _gauge("event_carbon_grams_per_kwh", says, _keyed(carbon), "event")
    yield _gauge("event_alert", "A warning of the operator; always 1", alerts.items(), "event", "alert")
    says = "Import capacity that was subscribed, reserved or is offered"
    yield _gauge("event_capacity_watts", says, capacities.items(), "event", "capacity")


def _prices(now: tuple[PriceNow, ...]) -> Iterator[Metric]:
    """Each price under the name of its unit, by where it is from; a constant has no age."""
    for price, (name, says) in PRICES.items():
        values = (((one.key.model, one.source), one.value) for one in now if one.key.price is price)
        yield _gauge(f"price_{name}", says, values, "model", "source")
    ages = (((one.key.price, one.key.model, one.source), one.age_s) for one in now if one.age_s is not None)
    stale = (((one.key.price, one.key.model), bool(one.passed)) for one in now)
    yield _gauge("price_age_seconds", "How old the price in force is", ages, "price", "model", "source")
    yield _gauge("price_stale", "1 while a better source of it is stale", stale, "price", "model")


def _queues(tick: Tick) -> Iterator[Metric]:
    queues = {queue.queue: queue for queue in tick.inputs.queues}
    counts = {name: Counter(status.state for status in queue.jobs) for name, queue in queues.items()}
    jobs = (((name, state), count[state]) for name, count in counts.items() for state in UNFINISHED)
    usable = {name: len(queue.gpus) for name, queue in queues.items()}
    held = {name: sum(len(job.gpus) for job in queue.jobs) for name, queue in queues.items()}
    yield _gauge("jobs", "Jobs that are not over", jobs, "queue", "state")
    yield _gauge("queue_gpus", "GPUs that the queue may use", _keyed(usable), "queue")
    yield _gauge("queue_gpus_held", "GPUs that the queue's jobs hold", _keyed(held), "queue")


def _alarms(plan: Plan, detail: Detail) -> Iterator[Metric]:
    counts = Counter(alarm.kind for alarm in plan.alarms)
    by_kind = (((kind,), counts[kind]) for kind in AlarmKind)
    told = dict.fromkeys(
        (alarm.kind, alarm.subject)
        for alarm in plan.alarms
        if detail is Detail.DEVICES or alarm.kind not in DEVICE_ALARMS
    )
    yield _gauge("alarms", "Alarms that stand now", by_kind, "kind")
    yield _gauge("alarm", "An alarm that stands now; always 1", ((key, 1) for key in told), "kind", "subject")


def _devices(rows: tuple[_Row, ...], details: Mapping[str, GpuDetail]) -> Iterator[Metric]:
    power = (((r.spec.id, r.spec.kind, r.spec.node), r.grant.draw.watts) for r in rows if r.seen)
    truth = (((r.spec.id, r.grant.truth), 1) for r in rows)
    reason = (((r.spec.id, r.grant.reason, r.grant.limited_by), 1) for r in rows)
    enforced = (
        ((r.spec.id, "enforced"), r.reading.setting.power.watts)
        for r in rows
        if r.spec.kind is DeviceKind.GPU and r.reading and isinstance(r.reading.setting, Limit)
    )
    others = (
        ((device, kind), limit.watts)
        for device, detail in details.items()
        for kind, limit_of in LIMITS.items()
        if (limit := limit_of(detail)) is not None
    )
    lies = (((r.spec.id,), r.state.lies) for r in rows)
    again = (((r.spec.id,), r.state.reasserts) for r in rows)
    yield _gauge("device_power_watts", "What it draws; absent while silent", power, "device", "kind", "node")
    yield _gauge("device_truth", "How far its last command is proven; always 1", truth, "device", "truth")
    yield _gauge("device_reason", "Why it has its grant; always 1", reason, "device", "reason", "limited_by")
    yield _gauge(
        "gpu_power_limit_watts", "Its limits, by its driver", chain(enforced, others), "device", "kind"
    )
    yield _counter("device_lies", "Commands acknowledged that moved no watts", lies, "device")
    yield _counter("device_reasserts", "Proven settings that were lost and set again", again, "device")


def _counted(counts: Counter[str], known: tuple[str, ...]) -> Samples:
    """Every known word from the start, so that a rate exists before its first event."""
    now = dict(counts)
    return _keyed(dict.fromkeys(known, 0) | now)


def _keyed(values: Mapping[str, float]) -> Samples:
    return (((key,), value) for key, value in values.items())


def _value(name: str, says: str, value: float) -> Metric:
    return _gauge(name, says, [((), value)])


def _gauge(name: str, says: str, samples: Samples, *labels: str) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, says, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _counter(name: str, says: str, samples: Samples, *labels: str) -> Metric:
    family = CounterMetricFamily(PREFIX + name, says, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
