"""The site's own rules and people: over the socket, into the journal, and out again."""

from __future__ import annotations

import asyncio
import json
import math
import os
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from controller.cli.curtail import CurtailError, Wish, held, moment_of, request_of, seconds_of
from controller.decide.inputs import Inputs, Sample
from controller.domain.devices import MeterReading
from controller.domain.grid import EventInterval, GridEvent, LimitSignal, PriceSignal
from controller.domain.power import Power
from controller.domain.site import Prices
from controller.grid.site import SiteReport
from controller.grid.triggers import Cut
from controller.run.journal.store import EventStore, NotKept, StoreError
from controller.run.operators import ownrules
from controller.run.operators.control import Control, ControlError
from controller.run.operators.gridside import LinkedGrid
from controller.run.operators.ownrules import OwnRules, price_now
from controller.run.operators.peakcalendar import CalendarError, PeakCalendar
from controller.run.operators.triggerconfig import TriggersTable
from tests.run.disks import Disk
from tests.virtualtime import in_virtual_time

NOW_S = 1_795_453_200.0
LIMIT = (LimitSignal(Power.kw(60)),)
RULES: dict[str, Any] = {
    "prices": [
        {
            "id": "dear",
            "above_usd_per_kwh": 0.15,
            "restore_below_usd_per_kwh": 0.12,
            "restore_for_s": 10,
            "limit_kw": 60,
        }
    ],
    "frequencies": [
        {
            "id": "under",
            "meter": "main",
            "below_hz": 59.85,
            "restore_above_hz": 59.95,
            "restore_for_s": 5,
            "hold_s": 0,
            "limit_kw": 60,
        }
    ],
}


class Now:
    def __init__(self) -> None:
        self.utc_s = NOW_S

    def __call__(self) -> float:
        return self.utc_s


class Site:
    def __init__(self, disk: EventStore, **rules: Any) -> None:
        self.now = Now()
        self.wakes = 0
        self.rules = OwnRules(TriggersTable(**rules), disk, utc=self.now, wake=self.woken)

    def woken(self) -> None:
        self.wakes += 1

    async def tick(
        self, now_s: float, *events: GridEvent, hz: float | None = None, hz_age_s: float = 0.0
    ) -> list[str]:
        """One tick, and what is in force once it is durable."""
        self.now.utc_s = NOW_S + now_s
        meters = {}
        if hz is not None:
            reading = MeterReading(meter="main", power=Power(1), frequency_hz=hz)
            meters = {"main": Sample(now_s - hz_age_s, reading)}
        inputs = Inputs(now_s=now_s, utc_s=NOW_S + now_s, specs=(), meters=meters, events=events)
        self.rules.planned(inputs, SiteReport(now_utc_s=NOW_S + now_s, demand=Power(1)))
        await asyncio.sleep(0.02)
        return [event.id for event in self.rules.events]


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[Site]:
    await site.rules.restore()
    task = asyncio.create_task(site.rules.run())
    try:
        yield site
    finally:
        task.cancel()
        await asyncio.wait([task])


def priced(usd_per_kwh: float, priority: int = 5) -> GridEvent:
    piece = EventInterval(start_utc_s=0, end_utc_s=math.inf, signals=(PriceSignal(usd_per_kwh),))
    return GridEvent(
        id=f"px-{priority}", version_utc_s=1, source="test", intervals=(piece,), priority=priority
    )


# --- rules


async def test_a_high_price_curtails_until_it_was_low_for_a_while() -> None:
    async with running(Site(Disk(), **RULES)) as site:
        seen = [
            await site.tick(0, priced(0.14)),
            await site.tick(1, priced(0.16)),
            await site.tick(2, priced(0.13)),
            await site.tick(3, priced(0.11)),
            await site.tick(12, priced(0.11)),
            await site.tick(13, priced(0.11)),
        ]

        assert seen == [
            [],
            ["own:price/dear"],
            ["own:price/dear"],
            ["own:price/dear"],
            ["own:price/dear"],
            [],
        ]
        assert site.wakes == 2


async def test_the_log_tells_what_the_site_asks_of_itself_from_what_an_operator_asks() -> None:
    with capture_logs() as logs:
        async with running(Site(Disk(), **RULES)) as site:
            await site.tick(0, priced(0.16))

    assert [(log["event_id"], log.get("operator")) for log in logs if log["event"] == "grid_event"] == [
        ("price/dear", "own")
    ]


async def test_no_operator_is_taken_to_ask_for_what_the_site_asks_of_itself() -> None:
    disk = Disk()
    async with running(Site(disk, **RULES)) as site:
        await site.tick(0, priced(0.2))
        made = [event.is_own for event in site.rules.events]
    async with running(Site(disk, **RULES)) as site:
        restored = [event.is_own for event in site.rules.events]

    assert (made, restored) == ([True], [True])


async def test_a_low_frequency_curtails_and_a_stale_one_does_not() -> None:
    async with running(Site(Disk(), **RULES)) as site:
        seen = [
            await site.tick(0, hz=59.7, hz_age_s=6),
            await site.tick(1, hz=59.7),
            await site.tick(2, hz=60.0),
            await site.tick(8, hz=60.0, hz_age_s=6),
            await site.tick(9, hz=60.0),
            await site.tick(14, hz=60.0),
        ]

        held = ["own:frequency/under"]
        assert seen == [[], held, held, held, held, []]


async def test_what_tripped_outlives_the_process() -> None:
    disk = Disk()
    async with running(Site(disk, **RULES)) as site:
        await site.tick(0, priced(0.2))

    async with running(Site(disk, **RULES)) as site:
        at_once = [event.id for event in site.rules.events]
        seen = [
            await site.tick(5, priced(0.13)),
            await site.tick(6, priced(0.1)),
            await site.tick(16, priced(0.1)),
        ]

    assert at_once == ["own:price/dear"]
    assert seen == [["own:price/dear"], ["own:price/dear"], []]


async def test_a_rule_that_left_the_site_file_ends_its_event() -> None:
    disk = Disk()
    async with running(Site(disk, **RULES)) as site:
        await site.tick(0, priced(0.2))

    async with running(Site(disk)) as site:
        assert await site.tick(1, priced(0.2)) == []


def test_of_several_prices_the_most_important_counts_and_else_the_site_files() -> None:
    def inputs(*events: GridEvent) -> Inputs:
        prices = Prices(usd_per_kwh=0.07)
        return Inputs(now_s=0, utc_s=NOW_S, specs=(), events=events, prices=prices)

    assert price_now(inputs(priced(0.3, 5), priced(0.2, 1))) == 0.2
    assert price_now(inputs()) == 0.07


async def test_the_calendar_is_read_again_when_it_changes_and_a_bad_one_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "peaks.csv"
    calendar = PeakCalendar(path)
    with pytest.raises(CalendarError, match=r"peaks\.csv"):
        calendar.read()

    path.write_text("start,end,probability\n2026-11-24T16:00:00-06:00,2026-11-24T17:00:00-06:00,0.4\n")
    [hour] = calendar.read()
    path.write_text("start,end,probability\n2026-11-24T16:00:00,2026-11-24T17:00:00-06:00,0.4\n")
    with pytest.raises(CalendarError, match="line 2"):
        calendar.read()

    assert (hour.end_utc_s - hour.start_utc_s, hour.probability) == (3600, 0.4)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-24T16:00:00Z,2026-11-24T17:00:00Z",
        "2026-11-24T16:00:00Z,2026-11-24T17:00:00Z,1.1",
        "2026-11-24T16:00:00Z,2026-11-24T17:00:00Z,nan",
        "2026-11-24T17:00:00Z,2026-11-24T16:00:00Z,0.5",
        "2026-11-24T17:00:00Z,2026-11-26T16:00:00Z,0.5",
        "soon,later,0.5",
    ],
)
def test_a_line_that_cannot_be_meant_refuses_the_calendar(tmp_path: Path, line: str) -> None:
    path = tmp_path / "peaks.csv"
    path.write_text(f"start,end,probability\n{line}\n")

    with pytest.raises(CalendarError, match="line 2"):
        PeakCalendar(path).read()


def test_a_rule_whose_limit_was_meant_to_be_switched_off_does_not_cut_to_zero() -> None:
    rule = {"id": "noon", "start": "12:00", "end": "13:00", "limit_kw": False}

    with pytest.raises(ValueError, match="0 means 0 kW, and so would false"):
        TriggersTable.model_validate({"schedules": [rule]})


def test_a_file_that_a_power_cut_left_full_of_zeros_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "peaks.csv"
    path.write_bytes(bytes(200_000))

    with pytest.raises(CalendarError, match=r"peaks\.csv: .*field"):
        PeakCalendar(path).read()


async def test_a_calendar_that_does_not_answer_keeps_no_site_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownrules, "CALENDAR_TIMEOUT_S", 0.05)
    path = tmp_path / "peaks.csv"
    os.mkfifo(path)
    peaks = {"calendar": path, "probability": 0.3, "limit_kw": 60}
    site = Site(Disk(), peaks=peaks, **RULES)
    try:
        with capture_logs() as logs:
            async with asyncio.timeout(2):
                async with running(site):
                    assert await site.tick(0, priced(0.2)) == ["own:price/dear"]
    finally:
        with path.open("r+b", buffering=0) as answering:
            answering.write(b"start,end,probability\n")

    assert [log["why"] for log in logs if log["event"] == "peak_calendar_refused"] == [
        f"{path}: no answer within 0.05 s"
    ]


async def test_peak_hours_of_the_calendar_become_events(tmp_path: Path) -> None:
    path = tmp_path / "peaks.csv"
    path.write_text("start,end,probability\n2026-11-23T17:10:00Z,2026-11-23T18:00:00Z,0.5\n")
    peaks = {"calendar": path, "probability": 0.3, "limit_kw": 60}

    async with running(Site(Disk(), peaks=peaks)) as site:
        assert await site.tick(0) == ["own:peak/2026-11-23T17:10:00.000Z"]


async def test_own_events_stand_beside_those_of_operators() -> None:
    async with running(Site(Disk(), **RULES)) as site:
        await site.tick(0, priced(0.2))
        side = LinkedGrid(own=site.rules)

        assert [event.id for event in side.events] == ["own:price/dear"]
        assert side.states == {}


# --- people


@pytest.fixture
def short() -> Iterator[Path]:
    """A Unix socket's path has room for some hundred characters."""
    with tempfile.TemporaryDirectory(prefix="ws-") as name:
        yield Path(name)


@asynccontextmanager
async def controlled(site: Site, path: Path, *, observes: bool = False) -> AsyncIterator[Control]:
    async with running(site):
        most = Power.kw(1000)
        control = Control(path, site.rules, nodes=["row-a"], most=most, utc=site.now, observes=observes)
        await control.start()
        try:
            yield control
        finally:
            await control.stop()


async def ask(path: Path, request: Any) -> Any:
    raw = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    return json.loads(answer) if answer else None


@pytest.mark.socket
async def test_a_person_curtails_and_ends_it(short: Path) -> None:
    disk, path = Disk(), short / "control.sock"
    site = Site(disk)
    async with controlled(site, path):
        answer = await ask(path, {"do": "curtail", "kw": 60, "until_utc_s": NOW_S + 7200})
        stored = set(disk.rows)
        [event] = site.rules.events
        listed = await ask(path, {"do": "list"})
        ended = await ask(path, {"do": "end"})

        assert answer == {"curtailed_kw": 60.0, "node": "", "until_utc_s": NOW_S + 7200}
        assert stored == {"own/event/manual"}  # before the answer
        assert (event.source, event.intervals[0].signals, event.end_utc_s) == ("manual", LIMIT, NOW_S + 7200)
        assert listed["events"][0]["by"] == f"uid {os.getuid()}"
        assert ended == {"ended": ["manual"]}
        assert site.rules.events == ()


@pytest.mark.socket
async def test_a_person_hears_whose_word_for_the_same_place_counts_no_more(short: Path) -> None:
    path = short / "control.sock"
    async with controlled(Site(Disk()), path):
        await ask(path, {"do": "curtail", "kw": 30, "until_utc_s": NOW_S + 7200})
        elsewhere = await ask(path, {"do": "curtail", "kw": 20, "node": "row-a"})
        same = await ask(path, {"do": "curtail", "kw": 60, "until_utc_s": NOW_S + 60})
        [listed, *_] = (await ask(path, {"do": "list"}))["events"]

    assert "instead" not in elsewhere
    assert same["instead"] == {**listed, "limit_kw": 30.0, "end_utc_s": NOW_S + 7200}


def test_the_command_says_what_it_took_the_place_of() -> None:
    before = {"limit_kw": 30.0, "end_utc_s": None, "by": "uid 7"}
    answer = {"curtailed_kw": 60.0, "node": "row-a", "until_utc_s": None}

    assert held(answer) == "node row-a is held to 60 kW until somebody ends it"
    assert held(answer | {"instead": before}) == (
        "node row-a is held to 60 kW until somebody ends it\n"
        "and no longer to the 30 kW until somebody ends it that uid 7 asked for"
    )


@pytest.mark.socket
async def test_a_person_is_told_that_nothing_would_be_curtailed_where_the_site_is_only_observed(
    short: Path,
) -> None:
    path = short / "control.sock"
    site = Site(Disk())
    async with controlled(site, path, observes=True):
        curtailed = await ask(path, {"do": "curtail", "kw": 60})
        ended = await ask(path, {"do": "end"})
        listed = await ask(path, {"do": "list"})

    assert "nothing would be curtailed" in curtailed["refused"]
    assert ended == curtailed
    assert listed == {"events": []}
    assert site.rules.events == ()


async def test_a_rule_that_trips_in_a_site_that_is_only_observed_is_shown_and_never_was() -> None:
    async with running(Site(NotKept(), **RULES)) as site:
        tripped = await site.tick(0, priced(0.2))
    async with running(Site(NotKept(), **RULES)) as again:
        restored = [event.id for event in again.rules.events]

    assert tripped == ["own:price/dear"]
    assert restored == []


@pytest.mark.socket
async def test_an_open_curtailment_of_a_node_outlives_the_process(short: Path) -> None:
    disk, path = Disk(), short / "control.sock"
    async with controlled(Site(disk), path):
        await ask(path, {"do": "curtail", "kw": 60, "node": "row-a"})

    async with running(Site(disk)) as site:
        [event] = site.rules.events

    assert (event.node, event.end_utc_s) == ("row-a", math.inf)


@pytest.mark.socket
@pytest.mark.parametrize(
    "request_",
    [
        b"\n",
        b"rubbish\n",
        b"[" * 3000 + b"\n",
        {"do": "launch"},
        {"do": "curtail"},
        {"do": "curtail", "kw": -1},
        {"do": "curtail", "kw": True},
        {"do": "curtail", "kw": "60"},
        b'{"do":"curtail","kw":NaN}\n',
        {"do": "curtail", "kw": 1001},
        {"do": "curtail", "kw": 60, "node": "row-z"},
        {"do": "curtail", "kw": 60, "until_utc_s": NOW_S},
        {"do": "curtail", "kw": 60, "until_utc_s": NOW_S + 1e9},
        {"do": "curtail", "kw": 60, "until_utc_s": -1e300},
        {"do": "curtail", "kw": 60, "until_utc_s": 10**400},
        {"do": "curtail", "kw": 60, "forever": True},
    ],
)
async def test_what_cannot_be_meant_is_refused_with_a_reason(short: Path, request_: Any) -> None:
    path = short / "control.sock"
    site = Site(Disk())
    async with controlled(site, path):
        answer = await ask(path, request_)

        assert set(answer) == {"refused"}
        assert site.rules.events == ()


@pytest.mark.socket
async def test_a_line_without_end_is_hung_up_on(short: Path) -> None:
    path = short / "control.sock"
    async with controlled(Site(Disk()), path):
        assert await ask(path, b"x" * 100_000) is None
        assert await ask(path, {"do": "list"}) == {"events": []}


@pytest.mark.socket
@pytest.mark.slow
async def test_a_disk_that_is_full_is_no_yes(short: Path) -> None:
    disk, path = Disk(), short / "control.sock"
    disk.trouble = "disk full"
    async with controlled(Site(disk), path):
        answer = await ask(path, {"do": "curtail", "kw": 60})

    assert "journal" in answer["refused"]


@in_virtual_time
async def test_what_a_site_asks_of_itself_holds_while_the_journal_cannot_be_written_and_is_kept_later() -> (
    None
):
    disk = Disk()
    disk.trouble = "disk full"
    async with running(Site(disk, **RULES)) as site:
        assert await site.tick(0, hz=59.8) == ["own:frequency/under"]
        with pytest.raises(StoreError):
            await site.rules.curtail(Cut(limit=Power.kw(60)), math.inf, "uid 1")
        assert {event.id for event in site.rules.events} == {"own:frequency/under", "own:manual"}
        assert disk.rows == {}

        disk.trouble = ""
        await asyncio.sleep(2)

    assert disk.rows.keys() == {"own/event/frequency/under", "own/event/manual"}
    assert len(disk.history) == len(set(disk.history)) >= 2


@in_virtual_time
async def test_a_disk_that_hangs_keeps_no_low_frequency_from_being_followed() -> None:
    disk = Disk()
    disk.open.clear()
    async with running(Site(disk, **RULES)) as site:
        assert await site.tick(0, hz=59.8) == ["own:frequency/under"]


@in_virtual_time
async def test_the_last_of_three_words_counts_also_where_none_of_them_could_be_stored() -> None:
    disk = Disk()
    disk.trouble = "disk full"
    async with running(Site(disk)) as site:
        for said in (
            site.rules.curtail(Cut(limit=Power.kw(60)), math.inf, "uid 1"),
            site.rules.end("uid 1"),
            site.rules.curtail(Cut(limit=Power.kw(40)), math.inf, "uid 1"),
        ):
            with pytest.raises(StoreError, match="but not through a restart"):
                await said
        disk.trouble = ""
        await asyncio.sleep(2)

        assert [event.intervals[0].signals for event in site.rules.events] == [(LimitSignal(Power.kw(40)),)]


@pytest.mark.parametrize("back_s", [3600.0, 0.5])
async def test_a_clock_that_is_set_back_ends_no_curtailment(back_s: float) -> None:
    async with running(Site(Disk(), **RULES)) as site:
        await site.rules.curtail(Cut(limit=Power.kw(80)), math.inf, "uid 1")
        await site.tick(0, hz=59.8)

        await site.tick(-back_s, hz=59.8)

        assert [(event.id, event.start_utc_s <= site.now()) for event in site.rules.events] == [
            ("own:frequency/under", True),
            ("own:manual", True),
        ]


@pytest.mark.socket
async def test_only_owner_and_group_may_open_the_socket(short: Path) -> None:
    path = short / "control.sock"
    async with controlled(Site(Disk()), path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


@pytest.mark.socket
async def test_what_a_dead_controller_left_is_replaced_and_a_living_one_is_not(short: Path) -> None:
    path = short / "control.sock"
    async with controlled(Site(Disk()), path):
        with pytest.raises(ControlError, match="another controller"):
            await Control(path, Site(Disk()).rules, nodes=[], most=Power(1), utc=Now()).start()
        assert await ask(path, {"do": "list"}) == {"events": []}

    (short / "dead").mkdir()
    server = await asyncio.start_unix_server(lambda *_: None, path)
    server.close()
    async with controlled(Site(Disk()), path):
        assert await ask(path, {"do": "list"}) == {"events": []}

    path.write_text("a file")
    with pytest.raises(ControlError, match="no socket"):
        await Control(path, Site(Disk()).rules, nodes=[], most=Power(1), utc=Now()).start()


# --- the command line


def wish(**changes: Any) -> Wish:
    nothing = {"kw": None, "duration": None, "until": None, "open_end": False, "node": "", "end": False}
    return Wish(**nothing | changes)


@pytest.mark.parametrize(
    ("changes", "request_"),
    [
        ({}, {"do": "list"}),
        ({"end": True}, {"do": "end"}),
        ({"kw": 5, "open_end": True}, {"do": "curtail", "kw": 5, "node": "", "until_utc_s": None}),
        ({"kw": 5, "duration": "2h"}, {"do": "curtail", "kw": 5, "node": "", "until_utc_s": NOW_S + 7200}),
        (
            {"kw": 0, "until": "2026-11-23T18:30:00+00:00", "node": "row-a"},
            {"do": "curtail", "kw": 0, "node": "row-a", "until_utc_s": NOW_S + 5400},
        ),
    ],
)
def test_options_become_a_request(changes: dict[str, Any], request_: dict[str, Any]) -> None:
    assert request_of(wish(**changes), NOW_S) == request_


@pytest.mark.parametrize(
    "changes",
    [
        {"kw": 5},
        {"kw": 5, "duration": "2h", "open_end": True},
        {"duration": "2h"},
        {"end": True, "kw": 5},
        {"kw": 5, "duration": "2"},
        {"kw": 5, "duration": "0s"},
        {"kw": 5, "duration": "-2h"},
        {"kw": 5, "until": "25:00"},
        {"kw": 5, "until": "2020-01-01T00:00:00+00:00"},
        {"kw": 5, "until": "soon"},
    ],
)
def test_options_that_contradict_each_other_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CurtailError):
        request_of(wish(**changes), NOW_S)


def test_a_clock_time_is_the_next_time_the_clock_shows_it() -> None:
    found = [moment_of(f"{hour:02}:00", NOW_S) - NOW_S for hour in range(24)]

    assert all(0 < wait_s <= 25 * 3600 for wait_s in found)
    assert len({round(wait_s) for wait_s in found}) == 24


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its clock goes from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2026-10-25."""
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "clock", "shown"),
    [
        ("2026-03-29T00:30+01:00", "06:00", "2026-03-29T06:00+02:00"),
        ("2026-03-29T00:30+01:00", "02:30", "2026-03-29T03:30+02:00"),  # never shown: an hour was left out
        ("2026-03-28T07:00+01:00", "06:00", "2026-03-29T06:00+02:00"),
        ("2026-10-25T00:30+02:00", "06:00", "2026-10-25T06:00+01:00"),
        ("2026-10-25T02:15+02:00", "02:30", "2026-10-25T02:30+02:00"),
        ("2026-10-25T02:45+02:00", "02:30", "2026-10-25T02:30+01:00"),
        ("2026-10-25T02:45+01:00", "02:30", "2026-10-26T02:30+01:00"),
    ],
)
def test_in_a_night_in_which_the_clock_is_set_a_clock_time_is_what_it_will_show(
    now: str, clock: str, shown: str
) -> None:
    found = moment_of(clock, datetime.fromisoformat(now).timestamp())

    assert found == datetime.fromisoformat(shown).timestamp()


def test_lengths_are_read() -> None:
    assert [seconds_of(text) for text in ("90s", "1.5h", "45m", "1d")] == [90, 5400, 2700, 86_400]
