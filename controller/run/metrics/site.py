"""The running controller as Prometheus metrics: the board as it stands when it is scraped, in base units.

It decides nothing and remembers nothing, and never shows a number that is not known: a stale meter, a
silent device's draw and a cap that does not exist have no series, because absent is not 0.

What it costs: about 120 series a site, 7 a node, up to 5 an event, a queue, a zone or a group of miners,
and 8 to 11 a device, for a GPU 50 more. A device's truth and reason are labels, so each change of them starts
a new series. 10,000 devices are 90,000 series and 5.5 MB a scrape: about a second of processor, and several
beside a loop that is busy. Who scrapes may leave them out (`/metrics?detail=site`): what is left does not
grow with devices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from controller.decide import thermal
from controller.decide.inputs import PriceNow
from controller.decide.plan import NodeState, Plan
from controller.decide.words import AlarmKind
from controller.domain.jobs import JobState
from controller.domain.power import Limit, NoLimit, Power
from controller.domain.prices import Price
from controller.domain.site import Mode, Site
from controller.run.board import Board, Tick
from controller.run.clock import Clock
from controller.run.metrics.devices import device_metrics, device_rows, fleet_metrics
from controller.run.metrics.events import event_metrics
from controller.run.metrics.families import Columns, counted, counter, gauge, keyed, plain, table
from controller.run.metrics.gpus import dcgm_metrics, gpu_metrics
from controller.run.metrics.grid import operator_metrics
from controller.run.metrics.journal import journal_metrics

OUTCOMES = ("acknowledged", "refused", "failed")
READ_RESULTS = ("ok", "failed")
UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.SUSPENDED)
DEVICE_ALARMS = (AlarmKind.DEVICE_SILENT, AlarmKind.DEVICE_LYING, AlarmKind.HOT, AlarmKind.ENERGISED)

PRICES = {
    Price.HASH: ("hash_usd_per_ths_day", "Price of hashing in force, per TH/s and day"),
    Price.ENERGY: ("energy_usd_per_kwh", "Price of energy in force where no event sets another"),
    Price.GPU_HOUR: ("gpu_usd_per_hour", "Price in force of a GPU hour, for jobs that name none"),
    Price.REDUCTION: ("reduction_usd_per_kwh", "What events pay now for energy not drawn"),
}


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
        rows = tuple(device_rows(tick))
        yield from _pace(tick, self._clock.utc_s())
        yield from _site(tick.plan)
        yield from table("node", NODE, ((node.node, node) for node in self._board.nodes(tick.plan)))
        fixed = {name: power.watts for name, power in self._board.fixed().items()}
        yield gauge("node_fixed_watts", "Load of no device, as the site file has it", keyed(fixed), "node")
        yield from _zones(self._board.site, tick)
        yield from fleet_metrics(rows)
        yield from event_metrics(tick)
        yield from _prices(tick.inputs.prices_now)
        yield from _queues(tick)
        yield from _alarms(tick.plan, self._detail)
        if self._detail is Detail.DEVICES:
            details = self._board.details()
            yield from device_metrics(rows, details)
            yield from gpu_metrics(details)
            if self._dcgm:
                yield from dcgm_metrics(details)


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
    ("wanted_watts", "What would be drawn, were all at once where they should be", lambda n: n.wanted.watts),
    ("worst_case_watts", "The most that may be drawn below the node now", lambda n: n.worst.watts),
    ("unexplained_watts", "Metered load of no device, beyond the fixed one", lambda n: n.unexplained.watts),
    ("feasible", "0 when all at their lowest is more than may be used", lambda n: n.feasible),
)


def _controller(board: Board, tick: Tick | None) -> Iterator[Metric]:
    ready = tick is not None and tick.plan.ready
    site = [((board.site.name, board.site.root.id), 1)]
    yield gauge("build_info", "The running version", [((board.version,), 1)], "version")
    yield gauge("site_info", "The site, and its node that is the grid connection", site, "site", "root")
    yield plain("ready", "1 once a whole snapshot was seen and devices are commanded", ready)
    mode = board.site.policy.mode
    modes = (((one.value,), one is mode) for one in Mode)
    yield gauge("mode", "1 for the mode the site is in: commanded, or only observed", modes, "mode")
    yield plain("tick_period_seconds", "The configured time between ticks", board.site.policy.tick_s)
    yield counter("ticks", "Finished ticks", [((), board.ticks)])
    yield counter("late_ticks", "Ticks that began more than a period late", [((), board.late_ticks)])
    yield counter("commands", "Commands to devices", counted(board.commands, OUTCOMES), "outcome")
    yield counter("job_commands", "Commands to queues", counted(board.job_commands, OUTCOMES), "outcome")
    yield counter("reads", "Polls of devices and meters", counted(board.reads, READ_RESULTS), "result")


def _pace(tick: Tick, utc_s: float) -> Iterator[Metric]:
    age_s = max(0.0, utc_s - tick.utc_s)
    yield plain("last_tick_timestamp_seconds", "When the last finished tick began, Unix time", tick.utc_s)
    yield plain("last_tick_age_seconds", "Time since the last finished tick began", age_s)
    yield plain("last_tick_duration_seconds", "How long the last tick took", tick.took_s)
    yield plain("last_tick_lateness_seconds", "How far behind its time the last tick began", tick.late_s)


def _site(plan: Plan) -> Iterator[Metric]:
    watts = _watts(plan.cap)
    cap = [((plan.cap_reason.value,), watts)] if watts is not None else []
    yield gauge("site_cap_watts", "The cap, by what sets it; absent without one", cap, "reason")
    yield plain("site_least_watts", "What the whole site can be brought down to", plan.least.watts)
    yield plain("plan_value_usd_per_hour", "What the grants earn less what they cost", plan.value_per_hour)
    says = "How far the plan can at most lie below the best possible with the same jobs on the same GPUs"
    yield plain("plan_gap_ratio", says, plan.gap)


def _zones(site: Site, tick: Tick) -> Iterator[Metric]:
    now_s, heard = tick.inputs.now_s, {zone.id: tick.inputs.zones.get(zone.id) for zone in site.zones}
    inlet = (
        ((zone,), sample.value.inlet_c)
        for zone, sample in heard.items()
        if sample is not None and now_s - sample.at_s <= thermal.ZONE_STALE_AFTER_S
    )
    proven = (((zone,), thermal.cooling_proven(sample, now_s)) for zone, sample in heard.items())
    yield gauge("zone_inlet_celsius", "Inlet temperature; absent when not fresh", inlet, "zone")
    yield gauge("zone_cooling_proven", "1 while fans or pumps are proven to run", proven, "zone")


def _prices(now: tuple[PriceNow, ...]) -> Iterator[Metric]:
    """Each price under the name of its unit, by where it is from; a constant has no age."""
    for price, (name, says) in PRICES.items():
        values = (((one.key.model, one.source), one.value) for one in now if one.key.price is price)
        yield gauge(f"price_{name}", says, values, "model", "source")
    ages = (((one.key.price, one.key.model, one.source), one.age_s) for one in now if one.age_s is not None)
    stale = (((one.key.price, one.key.model), bool(one.passed)) for one in now)
    yield gauge("price_age_seconds", "How old the price in force is", ages, "price", "model", "source")
    yield gauge("price_stale", "1 while a better source of it is stale", stale, "price", "model")


def _queues(tick: Tick) -> Iterator[Metric]:
    silent = frozenset(tick.inputs.silent_queues)
    heard = {queue.queue: queue for queue in tick.inputs.queues}
    queues = {name: queue for name, queue in heard.items() if name not in silent}
    counts = {name: Counter(status.state for status in queue.jobs) for name, queue in queues.items()}
    jobs = (((name, state), count[state]) for name, count in counts.items() for state in UNFINISHED)
    usable = {name: len(queue.gpus) for name, queue in queues.items()}
    held = {name: sum(len(job.gpus) for job in queue.jobs) for name, queue in queues.items()}
    answers = {name: name not in silent for name in sorted(heard.keys() | silent)}
    yield gauge("queue_up", "1 while the queue answers", keyed(answers), "queue")
    yield gauge("jobs", "Jobs that are not over; absent while the queue is silent", jobs, "queue", "state")
    yield gauge("queue_gpus", "GPUs that the queue may use; absent while silent", keyed(usable), "queue")
    says = "GPUs that the queue's jobs hold; absent while silent"
    yield gauge("queue_gpus_held", says, keyed(held), "queue")


def _alarms(plan: Plan, detail: Detail) -> Iterator[Metric]:
    counts = Counter(alarm.kind for alarm in plan.alarms)
    by_kind = (((kind,), counts[kind]) for kind in AlarmKind)
    told = dict.fromkeys(
        (alarm.kind, alarm.subject)
        for alarm in plan.alarms
        if detail is Detail.DEVICES or alarm.kind not in DEVICE_ALARMS
    )
    yield gauge("alarms", "Alarms that stand now", by_kind, "kind")
    yield gauge("alarm", "An alarm that stands now; always 1", ((key, 1) for key in told), "kind", "subject")
