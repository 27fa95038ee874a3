"""The metrics tell what the board says, in base units, and nothing that is not known."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.decide.inputs import Inputs, Sample
from controller.decide.plan import Alarm
from controller.decide.snapshot import State
from controller.decide.step import conclude, draft
from controller.decide.words import AlarmKind, CapReason, Reason, Truth
from controller.domain.devices import Cooling, DeviceKind, ZoneReading
from controller.domain.grid import LimitSignal, Link, PriceSignal, TargetSignal
from controller.domain.jobs import QueueReading
from controller.domain.power import NO_LIMIT, Limit, Power
from controller.domain.site import Mode, Policy, Service
from controller.run.board import Board, Disk, JournalStats, LinkStats, Tick
from controller.run.clock import Clock
from controller.run.metrics.devices import group_of
from controller.run.metrics.site import Detail, render
from tests.run.boards import (
    NOW_S,
    UTC_S,
    board,
    busy_board,
    device,
    event,
    node,
    outlook,
    site,
    standing,
    tick,
)

Labels = frozenset[tuple[str, str]]
BASE_UNITS = (
    *(
        "grams_per_kwh",
        "watts",
        "celsius",
        "seconds",
        "ratio",
        "total",
        "info",
        "per_second",
        "per_hour",
        "per_kwh",
    ),
    *("per_ths_day", "per_kw_hour", "bytes"),
)
UNITLESS = {
    "ready",
    "mode",
    "node_feasible",
    "zone_cooling_proven",
    "link_up",
    "alarm",
    "alarms",
    "devices_by_truth",
    "devices_by_reason",
    "device_truth",
    "device_reason",
    "events_active",
    "events_announced",
    "event_status",
    "event_alert",
    "operator_up",
    "journal_rows_waiting",
    "journal_put_aside",
    "journal_failing",
    "journal_archive_failing",
    "jobs",
    "queue_up",
    "queue_gpus",
    "queue_gpus_held",
    "price_stale",
}


def scraped(source: Board, *, detail: Detail = Detail.DEVICES) -> dict[tuple[str, Labels], float]:
    """Every sample of ours by name (without the prefix) and labels."""
    text = render(source, clock=Clock(utc=lambda: UTC_S + 3.0), detail=detail).decode()
    samples: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("wattshift_"):
                key = (sample.name.removeprefix("wattshift_"), frozenset(sample.labels.items()))
                assert key not in samples, f"two samples of {key}"
                samples[key] = sample.value
    return samples


def value(source: Board, name: str, /, **labels: str) -> float | None:
    """The one sample with exactly these labels; None where there is no such series."""
    return scraped(source).get((name, frozenset(labels.items())))


def names(source: Board) -> set[str]:
    return {name for name, _ in scraped(source)}


def test_before_the_first_tick_only_the_counters_are_told_and_the_controller_is_not_ready() -> None:
    fresh = board()

    told = scraped(fresh)

    assert told["ready", frozenset()] == 0
    assert told["ticks_total", frozenset()] == 0
    assert told["commands_total", frozenset({("outcome", "refused")})] == 0
    assert not any("watts" in name or name.startswith("last_tick") for name, _ in told)


def test_the_version_and_the_node_at_the_grid_connection_are_told_as_labels() -> None:
    idle = board(tick())

    assert value(idle, "build_info", version="1.2.3") == 1
    assert value(idle, "site_info", site="plant", root="grid-connection") == 1


def test_a_controller_that_has_not_seen_a_whole_snapshot_is_not_ready() -> None:
    assert value(board(tick(ready=False)), "ready") == 0
    assert value(board(tick(ready=True)), "ready") == 1


def test_the_age_of_the_last_tick_grows_while_no_tick_finishes() -> None:
    idle = board(tick())

    assert value(idle, "last_tick_age_seconds") == 3.0
    assert value(idle, "last_tick_timestamp_seconds") == UTC_S
    assert value(idle, "last_tick_duration_seconds") == 0.004
    assert value(idle, "last_tick_lateness_seconds") == 0.01


def test_a_node_without_a_fresh_meter_has_no_power_series() -> None:
    metered = board(tick(nodes=(node("pdu-1", metered_w=30_000), node("pdu-2"))))

    assert value(metered, "node_power_watts", node="pdu-1") == 30_000
    assert value(metered, "node_power_watts", node="pdu-2") is None
    assert value(metered, "node_worst_case_watts", node="pdu-2") == 45_000


def test_a_node_metered_at_zero_watts_has_a_power_series() -> None:
    assert value(board(tick(nodes=(node("pdu-1", metered_w=0),))), "node_power_watts", node="pdu-1") == 0


def test_a_node_without_a_limit_has_no_limit_series_and_a_limit_of_zero_has_one() -> None:
    nodes = board(tick(nodes=(node("free"), node("closed", limit=Limit(Power(0))))))

    assert value(nodes, "node_limit_watts", node="free") is None
    assert value(nodes, "node_limit_watts", node="closed") == 0


def test_fixed_load_that_the_site_file_names_is_not_unexplained() -> None:
    at_rest = board(tick(nodes=(node("grid-connection"), node("pdu-1"))))
    here = at_rest.site.nodes[0]
    at_rest.site = replace(at_rest.site, nodes=(replace(here, fixed=Power(400)), at_rest.site.nodes[1]))

    assert value(at_rest, "node_fixed_watts", node="grid-connection") == 400
    assert value(at_rest, "node_unexplained_watts", node="grid-connection") == 100
    assert value(at_rest, "node_unexplained_watts", node="pdu-1") == 500


def test_fixed_load_where_there_is_no_voltage_explains_nothing() -> None:
    at_rest = board(tick(nodes=(node("grid-connection"), node("pdu-1"))))
    above, below = at_rest.site.nodes
    dead = replace(above, service=Service.ISOLATED), replace(below, fixed=Power(700))
    at_rest.site = replace(at_rest.site, nodes=dead)

    assert value(at_rest, "node_fixed_watts", node="pdu-1") == 0
    assert value(at_rest, "node_unexplained_watts", node="pdu-1") == 500


def test_an_infeasible_node_is_told() -> None:
    nodes = board(tick(nodes=(node("pdu-1", feasible=False), node("pdu-2"))))

    assert value(nodes, "node_feasible", node="pdu-1") == 0
    assert value(nodes, "node_feasible", node="pdu-2") == 1


def test_the_cap_is_absent_without_one_and_present_when_it_is_zero() -> None:
    free = board(tick(cap=NO_LIMIT))
    curtailed = board(tick(cap=Limit(Power(0)), cap_reason=CapReason.EVENT))

    assert "site_cap_watts" not in names(free)
    assert value(curtailed, "site_cap_watts", reason="event") == 0
    assert value(curtailed, "site_least_watts") == 9_000


def test_a_silent_device_has_no_draw_and_no_temperature_but_its_worst_case_counts() -> None:
    silent = board(tick(device("s19-1", truth=Truth.STALE, hottest_c=70.0, worst_w=3400, age_s=90.0)))

    assert value(silent, "device_power_watts", device="s19-1", kind="asic", node="pdu-1") is None
    assert value(silent, "device_hottest_celsius", device="s19-1") is None
    assert value(silent, "device_worst_case_watts", device="s19-1") == 3400
    assert value(silent, "device_age_seconds", device="s19-1") == 90.0


def test_a_device_that_never_answered_has_no_age() -> None:
    unknown = device("s19-1", truth=Truth.UNREACHABLE, age_s=float("inf"))

    assert value(board(tick(unknown)), "device_age_seconds", device="s19-1") is None
    assert value(board(tick(unknown)), "device_truth", device="s19-1", truth="unreachable") == 1


def test_each_device_has_one_truth_and_one_reason_with_the_node_in_its_way() -> None:
    held = board(tick(device("s19-1", reason=Reason.LIMITED, limited_by="pdu-1")))

    told = [name for name, labels in scraped(held) if ("device", "s19-1") in labels]

    assert told.count("device_truth") == told.count("device_reason") == 1
    assert value(held, "device_reason", device="s19-1", reason="limited", limited_by="pdu-1") == 1


def test_temperatures_are_told_only_where_they_were_read() -> None:
    warm = board(tick(device("s19-1", hottest_c=71.0), device("dgx-0", margin_c=22.0)))

    assert value(warm, "device_hottest_celsius", device="s19-1") == 71.0
    assert value(warm, "device_margin_celsius", device="s19-1") is None
    assert value(warm, "device_margin_celsius", device="dgx-0") == 22.0


def test_lies_and_reasserts_of_a_device_are_counted() -> None:
    liar = board(tick(device("s19-1", lies=3, reasserts=5)))

    assert value(liar, "device_lies_total", device="s19-1") == 3
    assert value(liar, "device_reasserts_total", device="s19-1") == 5


def test_the_limit_that_a_gpu_reports_is_told_and_that_of_a_miner_is_not() -> None:
    fleet = board(
        tick(
            device("dgx-0", kind=DeviceKind.GPU, setting=Limit(Power(650))),
            device("s19-1", setting=Limit(Power(3250))),
        )
    )

    assert value(fleet, "gpu_power_limit_watts", device="dgx-0", kind="enforced") == 650
    assert value(fleet, "gpu_power_limit_watts", device="s19-1", kind="enforced") is None


def test_what_miners_and_gpus_draw_is_summed_apart_and_without_the_silent() -> None:
    fleet = board(
        tick(
            device("s19-1", draw_w=3000),
            device("s19-2", draw_w=3000, truth=Truth.STALE),
            device("dgx-0", draw_w=600, kind=DeviceKind.GPU),
        )
    )

    assert value(fleet, "asic_power_watts") == 3000
    assert value(fleet, "gpu_power_watts") == 600


def test_hash_rate_is_summed_by_group_over_the_miners_that_answer() -> None:
    fleet = board(
        tick(
            device("hall-a-1", rate=100.0),
            device("hall-a-2", rate=110.0),
            device("hall-a-3", rate=100.0, truth=Truth.STALE),
            device("hall-b-1", rate=90.0),
            device("dgx-0", rate=1.0, kind=DeviceKind.GPU),
        )
    )

    assert value(fleet, "hash_rate_terahashes_per_second", group="hall-a") == 210.0
    assert value(fleet, "hash_rate_terahashes_per_second", group="hall-b") == 90.0
    assert value(fleet, "hash_rate_terahashes_per_second", group="dgx") is None


def test_a_device_id_without_a_dash_is_its_own_group() -> None:
    assert group_of("container-07-12") == "container-07"
    assert group_of("lonely") == "lonely"


def test_devices_are_counted_by_kind_and_truth_with_zero_where_there_are_none() -> None:
    fleet = board(tick(device("s19-1"), device("s19-2"), device("m50-1", truth=Truth.LYING)))

    assert value(fleet, "devices_by_truth", kind="asic", truth="confirmed") == 2
    assert value(fleet, "devices_by_truth", kind="asic", truth="lying") == 1
    assert value(fleet, "devices_by_truth", kind="gpu", truth="lying") == 0
    assert value(fleet, "devices_by_reason", kind="asic", reason="full") == 3


def test_outcomes_of_commands_are_counted_even_those_not_seen_before() -> None:
    busy = board(tick())
    busy.commands["acknowledged"] += 7
    busy.commands["postponed"] += 1

    assert value(busy, "commands_total", outcome="acknowledged") == 7
    assert value(busy, "commands_total", outcome="failed") == 0
    assert value(busy, "commands_total", outcome="postponed") == 1


def test_a_site_without_a_grid_link_has_no_link_series_and_a_lost_link_is_down() -> None:
    assert "link_up" not in names(board(tick(link=Link.NONE)))
    assert value(board(tick(link=Link.LOST)), "link_up", link="grid") == 0
    assert value(board(tick(link=Link.UP)), "link_up", link="grid") == 1


def test_each_active_event_tells_its_own_limit_target_price_and_status() -> None:
    both = board(
        tick(
            events=(
                event("dr-7", LimitSignal(Power(60_000)), LimitSignal(Power(70_000)), PriceSignal(-0.004)),
                event("bp-1", TargetSignal(Power(58_000))),
            ),
            standings=(standing("dr-7"), standing("bp-1")),
        )
    )

    assert value(both, "events_active") == 2
    assert value(both, "event_limit_watts", event="dr-7", node="") == 60_000
    assert value(both, "event_limit_watts", event="bp-1", node="") is None
    assert value(both, "event_target_watts", event="bp-1", node="") == 58_000
    assert value(both, "event_price_usd_per_kwh", event="dr-7") == -0.004
    assert value(both, "event_status", event="dr-7", status="COMPLIANT") == 1


def test_what_an_announced_event_cannot_have_is_told_and_no_event_in_force_is_counted_for_it() -> None:
    both = board(tick(outlooks=(outlook("dr-8"), outlook("dr-9", possible_w=4_000))))

    assert (value(both, "events_announced"), value(both, "events_active")) == (2, 0)
    assert value(both, "event_foretold_watts", event="dr-8") == 9_000
    assert value(both, "event_foretold_watts", event="dr-9") is None
    assert value(both, "event_possible_watts", event="dr-8") is None


def test_each_price_is_told_with_its_source_and_its_age_and_a_constant_has_none() -> None:
    busy = busy_board()

    assert value(busy, "price_energy_usd_per_kwh", model="", source="dam") == 0.041
    assert value(busy, "price_hash_usd_per_ths_day", model="", source="pool") == 0.053
    assert value(busy, "price_gpu_usd_per_hour", model="H100", source="constant") == 2.4
    assert value(busy, "price_reduction_usd_per_kwh", model="", source="constant") == 0.3
    assert value(busy, "price_age_seconds", price="energy", model="", source="dam") == 1200.0
    assert value(busy, "price_age_seconds", price="gpu_hour", model="H100", source="constant") is None


def test_a_price_is_stale_while_it_is_not_from_its_best_source() -> None:
    busy = busy_board()

    assert value(busy, "price_stale", price="energy", model="") == 1
    assert value(busy, "price_stale", price="hash", model="") == 0
    assert value(board(tick()), "price_stale", price="energy", model="") is None


def test_when_events_change_next_is_told_only_if_they_do() -> None:
    assert "next_event_change_timestamp_seconds" not in names(board(tick()))
    soon = board(tick(next_change_utc_s=UTC_S + 60))
    assert value(soon, "next_event_change_timestamp_seconds") == UTC_S + 60


def test_jobs_are_counted_by_queue_and_state_with_the_gpus_they_hold() -> None:
    busy = busy_board()

    assert value(busy, "jobs", queue="local", state="running") == 1
    assert value(busy, "jobs", queue="local", state="queued") == 1
    assert value(busy, "jobs", queue="local", state="suspended") == 0
    assert value(busy, "queue_gpus", queue="local") == 1
    assert value(busy, "queue_gpus_held", queue="local") == 1


def test_a_queue_that_is_silent_is_down_and_its_last_numbers_are_not_told_as_if_they_were_new() -> None:
    queue = QueueReading(queue="local", jobs=(), gpus=("dgx-0",))
    silent = board(tick(queues=(queue,), silent_queues=("local",)))
    unheard = board(tick(silent_queues=("local",)))
    answering = board(tick(queues=(queue,)))

    assert [value(one, "queue_up", queue="local") for one in (answering, silent, unheard)] == [1, 0, 0]
    assert value(answering, "queue_gpus", queue="local") == 1
    assert not names(silent) & {"jobs", "queue_gpus", "queue_gpus_held"}


def test_a_zone_whose_sensor_is_silent_has_no_temperature_and_no_proof_of_cooling() -> None:
    fresh = Sample(NOW_S - 1, ZoneReading(zone="hall", inlet_c=27.5))
    old = Sample(NOW_S - 3600, ZoneReading(zone="hall", inlet_c=27.5))
    failed = Sample(NOW_S - 1, ZoneReading(zone="hall", inlet_c=27.5, cooling=Cooling.NOT_PROVEN))

    assert value(board(tick(zone=fresh)), "zone_inlet_celsius", zone="hall") == 27.5
    assert value(board(tick(zone=fresh)), "zone_cooling_proven", zone="hall") == 1
    assert value(board(tick(zone=old)), "zone_inlet_celsius", zone="hall") is None
    assert value(board(tick(zone=old)), "zone_cooling_proven", zone="hall") == 0
    assert value(board(tick(zone=failed)), "zone_cooling_proven", zone="hall") == 0


def test_an_alarm_that_two_nodes_raise_is_one_series_and_is_counted_twice() -> None:
    stale = Alarm(kind=AlarmKind.METER_STALE, subject="main", detail="")
    twice = board(tick(alarms=(stale, stale)))

    assert value(twice, "alarm", kind="meter_stale", subject="main") == 1
    assert value(twice, "alarms", kind="meter_stale") == 2
    assert value(twice, "alarms", kind="cap_passed") == 0


def test_without_detail_no_series_carries_the_id_of_a_device() -> None:
    busy = busy_board()
    ids = {"s19-1", "s19-2", "m50-1", "dgx-0"}

    told = scraped(busy, detail=Detail.SITE)

    assert not [(name, labels) for name, labels in told if ids & {text for _, text in labels}]
    assert told["alarms", frozenset({("kind", "device_silent")})] == 1


def test_without_detail_the_size_of_a_scrape_does_not_grow_with_the_devices_nor_with_what_ails_them() -> None:
    about = (AlarmKind.DEVICE_SILENT, AlarmKind.DEVICE_LYING, AlarmKind.HOT, AlarmKind.ENERGISED)
    ills = tuple(
        Alarm(kind=kind, subject=f"s19-{number}", detail="") for kind in about for number in range(500)
    )
    few = board(tick(*(device(f"s19-{number}") for number in range(5))))
    many = board(tick(*(device(f"s19-{number}") for number in range(500)), alarms=ills))

    assert len(scraped(few, detail=Detail.SITE)) == len(scraped(many, detail=Detail.SITE))


def test_a_device_costs_no_more_series_than_the_module_says() -> None:
    gpu = device("dgx-0", kind=DeviceKind.GPU, setting=Limit(Power(650)), hottest_c=70.0, margin_c=20.0)
    one = board(tick(gpu))

    assert len(scraped(one)) - len(scraped(one, detail=Detail.SITE)) <= 11


def test_every_metric_is_named_in_base_units_under_one_prefix() -> None:
    busy = busy_board()

    strange = {name for name in names(busy) if not name.endswith(BASE_UNITS)} - UNITLESS

    assert strange == set()
    assert all(set(name) <= set(string.ascii_lowercase + "_") for name in names(busy))


@pytest.mark.parametrize("mode", Mode)
def test_it_is_told_whether_the_site_is_commanded_or_only_observed(mode: Mode) -> None:
    told_of = board()
    told_of.site = replace(site(), policy=Policy(mode=mode))
    page = render(told_of).decode()

    told = dict(re.findall(r'^wattshift_mode{mode="(\w+)"} (\S+)$', page, re.MULTILINE))
    assert told == {one.value: str(float(one is mode)) for one in Mode}


def test_the_process_and_the_interpreter_are_told_beside_the_site() -> None:
    page = render(board()).decode()

    assert re.search(r"^process_resident_memory_bytes [0-9.e+]+$", page, re.MULTILINE)
    assert "python_info{" in page


def test_a_plan_of_the_real_core_can_be_told_at_once() -> None:
    place, fleet = site(), (device("s19-1"), device("dgx-0", kind=DeviceKind.GPU))
    inputs = Inputs(
        now_s=NOW_S,
        utc_s=UTC_S,
        specs=tuple(one.spec for one in fleet),
        readings={"s19-1": Sample(NOW_S - 1, fleet[0].reading)},
    )
    made = draft(place, State(), inputs)
    state, plan = conclude(made)
    tick = Tick(
        inputs=inputs,
        valuation=made.aim.valuation,
        state=state,
        plan=plan,
        utc_s=UTC_S,
        late_s=0.0,
        took_s=0.001,
    )
    running = Board(site=place, version="1.2.3", started_utc_s=UTC_S)

    running.finished(tick)

    assert value(running, "device_truth", device="s19-1", truth="confirmed") == 1
    assert value(running, "device_truth", device="dgx-0", truth="unreachable") == 1
    assert value(running, "node_limit_watts", node="grid-connection") == 80_000
    assert value(running, "site_cap_watts", reason="rating") == 80_000


def test_the_journal_tells_what_it_lost_and_whether_it_can_be_written() -> None:
    stuck = board(tick())
    stuck.journal = lambda: JournalStats(lost_rows=12, waiting_rows=100_000, put_aside=1, is_failing=True)

    assert value(stuck, "journal_rows_lost_total") == 12
    assert value(stuck, "journal_rows_waiting") == 100_000
    assert value(stuck, "journal_put_aside") == 1
    assert value(stuck, "journal_failing") == 1
    assert value(board(tick()), "journal_failing") == 0


def test_the_journal_tells_how_much_room_its_disk_has_unless_nobody_knows() -> None:
    filling = board(tick())
    filling.journal = lambda: JournalStats(disk=Disk(free_bytes=4_000, size_bytes=100_000))

    assert value(filling, "journal_disk_free_bytes") == 4_000
    assert value(filling, "journal_disk_size_bytes") == 100_000
    assert value(board(tick()), "journal_disk_free_bytes") is None


def test_each_operator_tells_whether_it_is_there_and_what_went_wrong() -> None:
    stats = LinkStats(
        connected=True,
        connects=3,
        received=90,
        refused=2,
        overflowed=0,
        acks_sent=5,
        telemetry_sent=7,
        telemetry_dropped=1,
        store_failures=0,
        operator_behind_s=0.25,
    )
    both = board(tick())
    both.operators = (Watched("", Link.UP, stats), Watched("dsx", Link.LOST, replace(stats, refused=9)))

    assert value(both, "operator_up", operator="grid") == 1
    assert value(both, "operator_up", operator="dsx") == 0
    assert value(both, "operator_messages_refused_total", operator="dsx") == 9
    assert value(both, "operator_clock_behind_seconds", operator="grid") == 0.25


@dataclass
class Watched:
    name: str
    state: Link
    stats: LinkStats
