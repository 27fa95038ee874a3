"""Meters and events of a site in Chicago, with every number in the hand of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from controller.domain.grid import EventInterval, EventStatus, GridEvent, LimitSignal, Signal
from controller.domain.power import Power
from controller.settlement.course import Course, Told, course_of
from controller.settlement.days import Calendar
from controller.settlement.dynamics import dynamics_of
from controller.settlement.evidence import Commands, Evidence
from controller.settlement.grounds import SetPoint
from controller.settlement.likedays import History
from controller.settlement.metering import Metering, Reading, Span, held
from controller.settlement.methods import Baseline, NoBaseline, Step
from controller.settlement.performance import Excuse, Terms, judged

CHICAGO = ZoneInfo("America/Chicago")
QUARTER_S = 900
WEDNESDAY = date(2026, 11, 18)
"""On 1 November 2026 the clock was changed in Chicago: that day has 25 hours."""


def at(text: str, zone: ZoneInfo = CHICAGO) -> float:
    """Unix seconds of a local time such as `2026-11-18 16:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def span(start: str, end: str) -> Span:
    return Span(at(start), at(end))


def calendar(interval_s: int = QUARTER_S, *holidays: date, zone: ZoneInfo = CHICAGO) -> Calendar:
    return Calendar(zone=zone, interval_s=interval_s, holidays=frozenset(holidays))


def metering(load_kw: Callable[[datetime], float | None], first: date, last: date) -> Metering:
    """A reading every quarter of an hour over whole local days; None is not measured."""
    start_utc_s = datetime(first.year, first.month, first.day, tzinfo=CHICAGO).timestamp()
    after = last + timedelta(days=1)
    end_utc_s = datetime(after.year, after.month, after.day, tzinfo=CHICAGO).timestamp()
    readings = []
    for step in range(round((end_utc_s - start_utc_s) / QUARTER_S)):
        utc_s = start_utc_s + step * QUARTER_S
        kw = load_kw(datetime.fromtimestamp(utc_s, CHICAGO))
        if kw is not None:
            readings.append(Reading(Span(utc_s, utc_s + QUARTER_S), kw * 1000, QUARTER_S))
    return Metering.of(readings)


def history(
    load_kw: Callable[[datetime], float | None],
    event: Span,
    *,
    others: Iterable[Span] = (),
    days: int = 50,
    interval_s: int = QUARTER_S,
    now_utc_s: float | None = None,
    holidays: Iterable[date] = (),
) -> History:
    """A site that drew `load_kw` for some weeks before the day of an event, and on that day."""
    day = datetime.fromtimestamp(event.start_utc_s, CHICAGO).date()
    return History(
        calendar=calendar(interval_s, *holidays),
        usage=metering(load_kw, day - timedelta(days=days), day),
        event=event,
        others=tuple(others),
        now_utc_s=at(f"{day + timedelta(days=2)} 00:00") if now_utc_s is None else now_utc_s,
    )


def by_day(kw: Mapping[date, float], otherwise: float = 50.0) -> Callable[[datetime], float]:
    """A load that is the same all day."""
    return lambda moment: kw.get(moment.date(), otherwise)


def weekdays_before(day: date, count: int) -> list[date]:
    """The latest weekdays before `day`, latest first."""
    found: list[date] = []
    while len(found) < count:
        day -= timedelta(days=1)
        if day.weekday() < 5:
            found.append(day)
    return found


def event(
    *asked: tuple[float, float, Signal], version_utc_s: float = 0.0, ramp_s: float = 0.0, node: str = ""
) -> GridEvent:
    return GridEvent(
        id="dr-7",
        version_utc_s=version_utc_s,
        source="utility",
        intervals=tuple(
            EventInterval(start_utc_s=start, end_utc_s=end, signals=(signal,)) for start, end, signal in asked
        ),
        ramp_deadline_s=ramp_s,
        node=node,
    )


def limit(kw: float) -> LimitSignal:
    return LimitSignal(Power.kw(kw))


def received(utc_s: float, content: GridEvent) -> Told:
    return Told(utc_s=utc_s, status=EventStatus.RECEIVED, version_utc_s=content.version_utc_s, event=content)


def froze(utc_s: float, kw: float) -> Told:
    return Told(utc_s=utc_s, status="DRAWN_BEFORE", version_utc_s=0.0, drawn_before=Power.kw(kw))


def course(
    *told: Told, now_utc_s: float, version_utc_s: float | None = None, others: Sequence[SetPoint] = ()
) -> Course:
    return course_of("dr-7", "", told, now_utc_s=now_utc_s, version_utc_s=version_utc_s, others=others)


def seconds(start_utc_s: float, kw: Iterable[float | None]) -> Metering:
    """A meter read every second."""
    return held(
        ((start_utc_s + n, None if w is None else round(w * 1000)) for n, w in enumerate(kw)), most_s=3.0
    )


def evidence(
    course_: Course,
    meter: Metering,
    *,
    terms: Terms | None = None,
    baseline: Baseline | NoBaseline | None = None,
    excuses: Iterable[Excuse] = (),
    commands: Commands | None = None,
    notes: tuple[str, ...] = (),
    site: str = "container-7",
) -> Evidence:
    """All that follows from a course and a meter. The baseline is 100 kW unless another one is given."""
    terms = terms or Terms(interval_s=60)
    days = calendar(terms.interval_s)
    if baseline is None:
        baseline = Baseline(method="10-of-10", steps=(Step(course_.span, Power.kw(100)),), days=(WEDNESDAY,))
    return Evidence(
        site=site,
        node="site",
        zone=CHICAGO,
        zone_name="America/Chicago",
        made_utc_s=at("2026-11-19 08:00"),
        program="0.1.0",
        course=course_,
        terms=terms,
        baseline=baseline,
        baseline_interval_s=QUARTER_S,
        intervals=judged(course_, meter, baseline, terms, days, tuple(excuses)),
        dynamics=dynamics_of(
            course_, meter, terms, lead_s=0.0, restore_until_utc_s=course_.span.end_utc_s + 600
        ),
        commands=commands or Commands(),
        meter=meter,
        notes=notes,
    )


START_UTC_S = at("2026-11-18 16:00")


def usual(*, ramp_s: float = 10.0) -> tuple[Course, Metering]:
    """Five minutes at 60 kW at most, from 16:00 on. The site draws 100 kW before, goes down by 10 kW every
    second from the start on, to 50 kW, passes the limit with 63 kW for three seconds in the third minute, and
    goes back by 5 kW every second from the end on."""
    length_s = 300
    kw: list[float | None] = [100.0] * 120
    kw += [max(100.0 - 10.0 * n, 50.0) for n in range(length_s)]
    kw[120 + 150 : 120 + 153] = [63.0] * 3
    kw += [min(50.0 + 5.0 * n, 100.0) for n in range(120)]
    content = event((START_UTC_S, START_UTC_S + length_s, limit(60)), ramp_s=ramp_s)
    told = course(received(START_UTC_S - 60, content), now_utc_s=START_UTC_S + 3600)
    return told, seconds(START_UTC_S - 120, kw)
