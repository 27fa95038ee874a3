"""What the site says of itself to the grid operator, made from a plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.decide.plan import NodeState
from controller.decide.words import CapReason, Reason, Truth
from controller.domain.devices import DeviceKind
from controller.domain.grid import EventStatus, Link
from controller.domain.power import NO_LIMIT, ZERO, Limit, Power
from controller.grid.site import DataQuality, Foreseen, OperatingState, Part, Progress, SiteReport
from controller.run.board import Tick
from controller.run.operators.gridconfig import GridConfig, OperatorConfig
from controller.run.operators.gridlink import GridLink
from controller.run.operators.gridside import LinkedGrid, layout_of, site_report
from tests.run import boards
from tests.run.disks import Disk
from tests.run.journaled import Site, accepted


def root(*, metered_w: int | None = None, granted_w: int = 11_000) -> NodeState:
    node = boards.node("grid-connection", limit=Limit(Power(60_000)), metered_w=metered_w)
    return replace(node, granted=Power(granted_w))


def pair(**knobs: object) -> tuple[boards.Device, boards.Device]:
    miner = boards.device("s19-1", draw_w=3000, **knobs)  # type: ignore[arg-type]  # the builder's own knobs
    return miner, boards.device("dgx-0", kind=DeviceKind.GPU, draw_w=600)


def report_of(tick: Tick) -> SiteReport:
    return site_report(tick.inputs, tick.plan, layout_of(tick.plan.grants.specs))


async def test_events_of_two_operators_that_could_be_called_the_same_have_names_of_their_own(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path / "journal.db")
    await site.journal.open()
    await site.hears(accepted("dc:a"))
    await site.hears(accepted("a"), operator="dc")
    place = {"host": "127.0.0.1", "ven": "site-tx1", "client_id": "ctl"}
    links = [
        GridLink(
            config, site.journal, nameplate=Power.kw(1000), utc=lambda: site.now_utc_s, wake=lambda: None
        )
        for config in (GridConfig(**place), OperatorConfig(id="dc", **place))
    ]

    for link in links:
        await link.restore()
    await site.journal.close()

    assert [event.id for link in links for event in link.events] == ["grid:dc:a", "dc:a"]


def test_the_meter_is_what_the_site_draws() -> None:
    report = report_of(boards.tick(*pair(), nodes=(root(metered_w=52_000),)))

    assert (report.demand, report.quality) == (Power(52_000), DataQuality.OK)
    assert report.now_utc_s == boards.UTC_S
    assert report.shed_available == Power(52_000 - 9_000)


def test_without_a_meter_the_draw_is_estimated_from_claims_and_all_other_load() -> None:
    """The grants are 2 x 3250 W; what else the node is granted is load that is no device's."""
    report = report_of(boards.tick(*pair(), nodes=(root(granted_w=6_500 + 25_000),)))

    assert (report.demand, report.quality) == (Power(3_000 + 600 + 25_000), DataQuality.ESTIMATED)


@pytest.mark.parametrize("truth", [Truth.STALE, Truth.UNREACHABLE])
def test_in_an_estimate_a_silent_device_draws_its_worst(truth: Truth) -> None:
    miner, gpu = pair(truth=truth, reason=Reason.STALE, worst_w=3_400)
    miner = replace(miner, grant=replace(miner.grant, draw=ZERO))

    report = report_of(boards.tick(miner, gpu, nodes=(root(granted_w=6_500),)))

    assert report.demand == Power(3_400 + 600)


def test_parts_are_told_by_kind_and_always_as_estimates() -> None:
    report = report_of(boards.tick(*pair(), nodes=(root(metered_w=52_000),)))

    assert report.parts == (
        Part(name="asic", demand=Power(3_000), quality=DataQuality.ESTIMATED),
        Part(name="gpu", demand=Power(600), quality=DataQuality.ESTIMATED),
    )


def test_what_can_still_be_shed_is_never_negative() -> None:
    report = report_of(boards.tick(*pair(), nodes=(root(metered_w=8_000),)))

    assert report.shed_available == ZERO


def test_the_cap_and_the_events_in_force_are_told() -> None:
    tick = boards.tick(
        nodes=(root(metered_w=1),), cap=Limit(Power(60_000)), standings=(boards.standing("dr-7"),)
    )

    report = report_of(tick)

    assert report.setpoint == Limit(Power(60_000))
    assert report.progress == (
        Progress(event="dr-7", version_utc_s=boards.UTC_S - 600, status=EventStatus.COMPLIANT),
    )
    assert report_of(boards.tick(nodes=(root(),))).setpoint == NO_LIMIT


def test_what_is_foreseen_of_events_to_come_is_told_with_what_can_be_had() -> None:
    tick = boards.tick(nodes=(root(metered_w=1),), outlooks=(boards.outlook("dr-8"),))

    assert report_of(tick).foreseen == (
        Foreseen(
            event="dr-8",
            version_utc_s=boards.UTC_S - 600,
            status=EventStatus.INFEASIBLE,
            asked=Power(5_000),
            possible=Power(9_000),
        ),
    )


@pytest.mark.parametrize(
    ("cap_reason", "state"),
    [(CapReason.NONE, OperatingState.IDLE_NORMAL), (CapReason.EVENT, OperatingState.IDLE_CURTAILED)],
)
def test_a_site_is_idle_where_machines_sleep_and_gpus_have_no_job(
    cap_reason: CapReason, state: OperatingState
) -> None:
    miner = boards.device("s19-1", rate=0.0)
    idle = boards.device("dgx-0", kind=DeviceKind.GPU, reason=Reason.IDLE)
    busy = boards.device("dgx-1", kind=DeviceKind.GPU)

    assert report_of(boards.tick(miner, idle, cap_reason=cap_reason, nodes=(root(),))).state is state
    assert report_of(boards.tick(miner, busy, nodes=(root(),))).state is OperatingState.RUNNING_NORMAL


@pytest.mark.parametrize(
    ("cap_reason", "state"),
    [
        (CapReason.NONE, OperatingState.RUNNING_NORMAL),
        (CapReason.RATING, OperatingState.RUNNING_NORMAL),
        (CapReason.EVENT, OperatingState.RUNNING_CURTAILED),
        (CapReason.TARGET, OperatingState.RUNNING_CURTAILED),
        (CapReason.LINK_LOST, OperatingState.RUNNING_CURTAILED),
    ],
)
def test_a_site_is_curtailed_while_its_cap_is_the_grids_doing(
    cap_reason: CapReason, state: OperatingState
) -> None:
    assert report_of(boards.tick(nodes=(root(metered_w=1),), cap_reason=cap_reason)).state is state


def test_the_loop_sees_the_links_events_and_state() -> None:
    config = GridConfig(host="mqtt.grid.example", ven="plant", client_id="ctl")
    link = GridLink(config, Disk(), nameplate=Power(60_000), utc=lambda: boards.UTC_S, wake=lambda: None)
    side = LinkedGrid(link)
    tick = boards.tick(nodes=(root(metered_w=1),))

    side.planned(tick.inputs, tick.plan)

    assert (side.events, side.states) == ((), {"": Link.LOST})


@pytest.mark.parametrize(
    ("cap_w", "metered_w", "rise_w"),
    [(60_000, 52_000, 8_000), (52_000, 52_000, 0), (51_000, 52_000, 0)],
)
def test_what_can_still_be_taken_on_ends_at_the_cap(cap_w: int, metered_w: int, rise_w: int) -> None:
    devices = [boards.device(f"s19-{number}", draw_w=3000, worst_w=0) for number in range(20)]

    report = report_of(boards.tick(*devices, nodes=(root(metered_w=metered_w),), cap=Limit(Power(cap_w))))

    assert report.rise_available == Power(rise_w)


def test_a_machine_that_is_not_seen_is_nothing_to_raise() -> None:
    miner, gpu = pair(truth=Truth.STALE, reason=Reason.STALE, worst_w=0)
    gpu = replace(gpu, grant=replace(gpu.grant, reason=Reason.STALE))

    report = report_of(boards.tick(miner, gpu, nodes=(root(metered_w=1),)))

    assert report.rise_available == ZERO
