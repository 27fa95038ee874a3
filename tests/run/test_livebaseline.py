"""The baseline that is told while an event lasts: at once or not at all, and never a guess."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from controller.domain.grid import GridEvent, Link, PriceSignal, Right
from controller.domain.power import Limit, Power
from controller.grid.isotime import stamp
from controller.grid.results import Accepted, Cancelled
from controller.grid.site import SiteReport
from controller.run.operators.gridconfig import GridConfig
from controller.run.operators.gridside import LinkedGrid
from controller.run.operators.gridspeech import contract_of, dialect_of
from controller.run.settling import livebaseline
from controller.run.settling.baselines import Agreement
from controller.run.settling.livebaseline import LiveBaselines
from controller.settlement.days import Calendar
from controller.settlement.methods import KNOWN
from tests.grid.messages import NOW_S, VEN, event, notice
from tests.run import boards
from tests.run.journaled import CHICAGO, EVENT_S, START_UTC_S, Site, accepted, lived
from tests.virtualtime import in_virtual_time

EVENT = accepted("dr-7").event
NOW_UTC_S = START_UTC_S + 30.0


def agreement(name: str) -> Agreement:
    return Agreement(
        method=KNOWN[name],
        calendar=Calendar(zone=CHICAGO, interval_s=900),
        node="site",
        meter_holds_s=5.0,
    )


@asynccontextmanager
async def running(
    journal: Path, clock: Sequence[float] = (NOW_UTC_S,), **by_operator: str
) -> AsyncIterator[LiveBaselines]:
    """`grid` is the operator without a name."""
    agreements = {name.replace("grid", ""): agreement(method) for name, method in by_operator.items()}
    live = LiveBaselines(journal, agreements, lambda: clock[0])
    task = asyncio.create_task(live.run())
    try:
        yield live
    finally:
        task.cancel()
        await asyncio.wait([task])


async def settled(
    live: LiveBaselines, *events: GridEvent, operator: str = "", now_utc_s: float = NOW_UTC_S
) -> Power | None:
    """The answer once there was time for one; at the first tick there is none."""
    assert live.now(operator, events, now_utc_s) is None
    for _ in range(200):
        await asyncio.sleep(0.01)
        if (found := live.now(operator, events, now_utc_s)) is not None:
            return found
    return None


@in_virtual_time
async def test_meter_before_works_on_the_first_day(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    site.now_utc_s = START_UTC_S - 200
    await site.journal.open()
    await site.hears(accepted("dr-7"))
    site.draws([90.0] * 200)
    site.draws([50.0] * 30)
    await site.journal.close()

    async with running(site.path, grid="meter-before") as live:
        assert await settled(live, EVENT) == Power.kw(90)


@in_virtual_time
async def test_an_event_without_an_end_has_its_baseline_on_the_second_day_as_well(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    site.now_utc_s = START_UTC_S - 200
    await site.journal.open()
    content = accepted("dr-7")
    interval = replace(content.event.intervals[0], end_utc_s=math.inf)
    endless = replace(content, event=replace(content.event, intervals=(interval,)))
    await site.hears(endless)
    site.draws([90.0] * 200)
    site.draws([50.0] * 30)
    await site.journal.close()
    clock = [NOW_UTC_S]

    async with running(site.path, clock, grid="meter-before") as live:
        first = await settled(live, endless.event)
        clock[0] += 2 * 86_400
        await asyncio.sleep(livebaseline.RETRY_S)
        assert await settled(live, endless.event, now_utc_s=clock[0]) == first == Power.kw(90)


@in_virtual_time
async def test_an_id_that_is_used_again_has_the_baseline_of_its_last_use(tmp_path: Path) -> None:
    """For an event at 16:00 from 300 kW to 50, and for one at 16:20 from 100 kW to 50."""
    site = Site(tmp_path / "journal.db")
    site.now_utc_s = START_UTC_S - 180
    again = accepted("dr-7", start_utc_s=START_UTC_S + 1200, version_utc_s=2.0)
    await site.journal.open()
    await site.hears(accepted("dr-7"))
    site.draws([300.0] * 180 + [50.0] * 300 + [100.0] * 800)
    await site.hears(again)
    site.draws([100.0] * 100 + [50.0] * 30)
    await site.journal.close()

    async with running(site.path, [site.now_utc_s], grid="meter-before") as live:
        assert await settled(live, again.event, now_utc_s=site.now_utc_s) == Power.kw(100)


@in_virtual_time
async def test_an_event_that_comes_back_with_the_same_times_has_a_baseline_of_its_own(tmp_path: Path) -> None:
    """Cancelled after a minute, and there again for the rest of its time a quarter of an hour later."""
    site = Site(tmp_path / "journal.db")
    site.now_utc_s = START_UTC_S - 180
    content = accepted("dr-7")
    long = replace(content.event.intervals[0], end_utc_s=START_UTC_S + 7200)
    first = replace(content, event=replace(content.event, intervals=(long,)))
    back = replace(first, event=replace(first.event, version_utc_s=3.0), stamp=stamp(3.0))
    await site.journal.open()
    await site.hears(first)
    site.draws([300.0] * 180 + [50.0] * 60)
    await site.journal.close()
    clock = [site.now_utc_s]

    async with running(site.path, clock, grid="meter-before") as live:
        before = await settled(live, first.event, now_utc_s=clock[0])
        later = Site(site.path, now_utc_s=clock[0])
        await later.journal.open()
        await later.hears(Cancelled(id="dr-7", version_utc_s=2.0, stamp=stamp(2.0)))
        later.draws([100.0] * 900)
        await later.hears(back)
        later.draws([50.0] * 30)
        await later.journal.close()
        clock[0] = later.now_utc_s
        after = await settled(live, back.event, now_utc_s=clock[0])

    assert (before, after) == (Power.kw(300), Power.kw(100))


@in_virtual_time
async def test_like_days_come_from_the_minutes_of_the_journal(tmp_path: Path) -> None:
    await lived(tmp_path / "journal.db")

    async with running(tmp_path / "journal.db", grid="10-of-10") as live:
        assert await settled(live, EVENT) == Power.kw(145)


@in_virtual_time
async def test_a_baseline_that_cannot_be_is_none_and_is_said_once(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    site.now_utc_s = START_UTC_S - 10
    await site.journal.open()
    await site.hears(accepted("dr-7"))
    await site.journal.close()

    with capture_logs() as logs:
        async with running(site.path, grid="10-of-10") as live:
            assert await settled(live, EVENT) is None

    told = [log for log in logs if log["event"] == "baseline_missing"]
    assert [(log["event_id"], log["why"]) for log in told] == [("dr-7", "too_few_like_days")]


@in_virtual_time
async def test_a_meter_that_was_not_written_yet_is_read_again_later(tmp_path: Path) -> None:
    site = Site(tmp_path / "journal.db")
    site.now_utc_s = START_UTC_S - 200
    await site.journal.open()
    await site.hears(accepted("dr-7"))

    async with running(site.path, grid="meter-before") as live:
        early = await settled(live, EVENT)
        site.draws([90.0] * 230)
        await site.journal.close()
        await asyncio.sleep(livebaseline.RETRY_S)
        live.now("", [EVENT], NOW_UTC_S)
        await asyncio.sleep(1)
        late = live.now("", [EVENT], NOW_UTC_S)

    assert (early, late) == (None, Power.kw(90))


@in_virtual_time
async def test_a_journal_that_cannot_be_read_costs_the_baseline_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path / "nowhere.db", grid="meter-before") as live:
        assert await settled(live, EVENT) is None


@in_virtual_time
async def test_no_baseline_is_told_before_or_after_an_event_nor_for_what_moves_nothing(
    tmp_path: Path,
) -> None:
    await lived(tmp_path / "journal.db")
    prices = replace(EVENT, intervals=(replace(EVENT.intervals[0], signals=(PriceSignal(0.2),)),))
    async with running(tmp_path / "journal.db", grid="10-of-10") as live:
        await settled(live, EVENT)

        assert live.now("", [EVENT], START_UTC_S - 1) is None
        assert live.now("", [EVENT], START_UTC_S + EVENT_S) is None
        assert live.now("", [prices], NOW_UTC_S) is None
        assert live.now("", [replace(EVENT, node="row-a")], NOW_UTC_S) is None
        assert live.now("", [], NOW_UTC_S) is None
        assert live.now("dsx", [EVENT], NOW_UTC_S) is None


class Line:
    """An operator's link that keeps what it is told of the site."""

    def __init__(self, name: str, *events: GridEvent) -> None:
        self.name = name
        self.events = events
        self.rights = frozenset(Right)
        self.state = Link.UP
        self.heard: list[SiteReport] = []

    def observe(self, report: SiteReport) -> None:
        self.heard.append(report)


@in_virtual_time
async def test_each_operator_is_told_the_baseline_of_its_own_contract(tmp_path: Path) -> None:
    await lived(tmp_path / "journal.db")
    other = replace(EVENT, id="dsx:dr-8")
    lines = (Line("", EVENT), Line("dsx", other), Line("price", EVENT))
    tick = boards.tick(nodes=(boards.node("site", limit=Limit(Power(200_000)), metered_w=50_000),))
    inputs = replace(tick.inputs, utc_s=NOW_UTC_S)

    async with running(tmp_path / "journal.db", grid="10-of-10", dsx="meter-before") as live:
        side = LinkedGrid(*lines, baselines=live)  # type: ignore[arg-type]  # a line that behaves like a link
        for _ in range(3):
            side.planned(inputs, tick.plan)
            await asyncio.sleep(1)

    assert [line.heard[0].baseline for line in lines] == [None, None, None]
    assert [line.heard[-1].baseline for line in lines] == [Power.kw(145), Power.kw(120), None]


@pytest.mark.parametrize(("baseline", "is_told"), [(None, False), ("10-of-10", True)])
def test_a_baseline_is_offered_to_an_operator_only_where_the_contract_names_one(
    baseline: str | None, is_told: bool
) -> None:
    config = GridConfig(host="h", ven="v", client_id="c", baseline=baseline)

    assert ("BASELINE" in contract_of(config, Power.kw(100), ()).reported) is is_told


def reported(baseline: Power | None) -> dict[str, list[object]]:
    """What an operator whose contract names a baseline reads in the first report that its event asks for."""
    config = GridConfig(host="h", ven=VEN, client_id="c", baseline="meter-before")
    dialect = dialect_of(config, nameplate=Power.kw(60_000), nodes=(), utc_s=NOW_S)
    asks = [{"objectType": "REPORT_DESCRIPTOR", "payloadType": "BASELINE", "frequency": 0, "repeat": -1}]
    message = notice(event(reportDescriptors=asks))
    [heard] = dialect.read(f"events/vens/{VEN}/create", message, retained=False, now_utc_s=NOW_S)
    assert isinstance(heard.result, Accepted)
    letters = [
        letter
        for second in range(0, 62, 2)
        for letter in dialect.observed(
            [heard.result.event],
            SiteReport(now_utc_s=NOW_S + second, demand=Power.kw(50), baseline=baseline),
        )
        if letter.topic.startswith("reports/")
    ]
    content = json.loads(letters[0].payload)["object"]
    return {item["type"]: item["values"] for item in content["resources"][0]["intervals"][0]["payloads"]}


def test_an_operator_that_asks_for_the_baseline_reads_it_in_its_report() -> None:
    assert reported(Power.kw(90))["BASELINE"] == [90.0]


def test_an_operator_that_asks_for_a_baseline_that_is_not_known_reads_that_and_no_zero() -> None:
    told = reported(None)

    assert "BASELINE" not in told
    assert told["X_MISSING"] == ["BASELINE"]
