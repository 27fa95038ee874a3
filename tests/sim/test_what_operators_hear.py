"""Bytes of an operator in, bytes of the site out: codecs and ledger around the deciding core and a site.

What an operator is told of an event that cannot be met, in each dialect that has a word for it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.decide.snapshot import State
from controller.domain.devices import OperatingPoint
from controller.domain.grid import ALL_RIGHTS
from controller.domain.power import NO_LIMIT, Limit, Power
from controller.domain.site import Site
from controller.grid import advancing, ledger
from controller.grid.basepoint import BasePoints, StreamRule
from controller.grid.dialects import Dialect, Letter
from controller.grid.dsx import Agreement, Feed
from controller.grid.dsxbreach import BreachRule
from controller.grid.dsxlink import DsxFlex
from controller.grid.entries import Entry, Ledger
from controller.grid.isotime import stamp
from controller.grid.keeping import Verdict
from controller.grid.loadtargets import LoadTargets, receive_targets
from controller.grid.openadrlink import OpenAdr
from controller.grid.reports import Sender
from controller.grid.results import Accepted, Contract
from controller.grid.stored import from_text, to_text
from controller.run.operators.gridside import layout_of, site_report
from simulators.gridmessages import Ack, read_report
from tests.decide.builders import NOW_S, UTC_S, miner, site
from tests.decide.world import World, awake

CONTRACT = Contract(ven="site", nameplate=Power.kw(100))
POINTS = tuple(
    OperatingPoint(name=name, power=Power(watts), rate=rate)
    for name, watts, rate in (("sleep", 3, 0.0), ("low", 240, 15.0), ("full", 350, 20.0))
)
FORTY = tuple(miner(f"m{at}", points=POINTS, ceiling=Power(370), settle_up_s=30.0) for at in range(40))
HERE = site(limit_w=30_000, margin=0.0, meter="main", fixed_w=500)


class Conversation:
    """A site of forty miners (0.62 kW at least, 14.5 kW at most) that an operator talks to in its dialect."""

    def __init__(self, dialect: Dialect, here: Site = HERE) -> None:
        self.plant = World(here, [awake(spec, rise_s=5.0) for spec in FORTY])
        self.dialect = dialect
        self.ledger = Ledger()
        self.letters: list[tuple[float, Letter]] = []
        self.acks: list[Ack] = []
        self.run(30)

    @property
    def utc_s(self) -> float:
        return UTC_S + self.plant.now_s - NOW_S

    def hear(self, topic: str, content: dict[str, Any]) -> None:
        payload = json.dumps(content).encode()
        for heard in self.dialect.read(topic, payload, retained=False, now_utc_s=self.utc_s):
            match heard.result:
                case Accepted():
                    self._told(ledger.receive(self.ledger, heard.result, self.utc_s))
                case LoadTargets():
                    self._told(receive_targets(self.ledger, heard.result, self.utc_s))
                case other:
                    pytest.fail(f"not taken: {other}")

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.plant.events = ledger.events(self.ledger, self.utc_s + 1)
            plan = self.plant.tick()
            report = site_report(self.plant.inputs(), plan, layout_of(plan.grants.specs))
            foretold = advancing.as_told(self.ledger, report.foreseen)
            told = replace(report, foreseen=tuple(foretold))
            self.letters += [
                (self.utc_s, letter) for letter in self.dialect.observed(self.plant.events, told)
            ]
            for progress in report.progress:
                entry = self.ledger.entries[progress.event]
                if progress.drawn_before is not None and entry.drawn_before is None:
                    self.ledger, _ = advancing.keep_drawn(self.ledger, progress, self.utc_s)
                if advancing.is_news(entry, progress, self.utc_s):
                    self._told(advancing.advance(self.ledger, progress, self.utc_s, report.measured))
            for foreseen in report.foreseen:
                if advancing.is_foreseen_news(self.ledger.entries[foreseen.event], foreseen, self.utc_s):
                    self._told(advancing.foresee(self.ledger, foreseen, self.utc_s, report.measured))

    def _told(self, step: tuple[Ledger, Verdict]) -> None:
        self.ledger, verdict = step
        for ack in verdict.acks:
            letter = self.dialect.acknowledgement(ack, self.utc_s)
            if letter is not None:
                self.acks += [
                    found
                    for found in read_report(json.loads(letter.payload)["object"], self.utc_s)
                    if isinstance(found, Ack)
                ]

    def restart(self) -> None:
        """The process dies: the core begins anew with what the store holds."""
        texts = [to_text(entry) for entry in self.ledger.entries.values()]
        entries = [entry for entry in map(from_text, texts) if isinstance(entry, Entry)]
        self.ledger = Ledger(entries={entry.id: entry for entry in entries}, mark=self.ledger.mark)
        self.plant.state = State()

    def heard(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(letter.payload) for _, letter in self.letters if letter.topic == topic]


def possible_kw(ack: Ack) -> Any:
    return payloads(ack.body).get("X_POSSIBLE", [None])[0]


def payloads(report: Any) -> dict[str, list[Any]]:
    [interval] = report["resources"][0]["intervals"]
    return {payload["type"]: payload["values"] for payload in interval["payloads"]}


# --- OpenADR


def openadr() -> Conversation:
    return Conversation(OpenAdr(Sender(client_id="ctl", ven="site"), CONTRACT, heartbeat_s=1e9))


def notice(
    talk: Conversation, payload_type: str, kw: float, version_s: float = 0.0, *, in_s: float | None = None
) -> dict[str, Any]:
    """An event that holds at once for an hour, or begins in so long."""
    start = "0001-01-01" if in_s is None else stamp(talk.utc_s + in_s)
    version = stamp(talk.utc_s + version_s)
    content = {
        "objectType": "EVENT",
        "id": "dr",
        "programID": "p",
        "createdDateTime": version,
        "modificationDateTime": version,
        "payloadDescriptors": [{"payloadType": payload_type, "units": "KW"}],
        "reportDescriptors": [{"payloadType": "DEMAND", "frequency": 0, "repeat": -1}],
        "intervalPeriod": {"start": start, "duration": "PT1H"},
        "intervals": [
            {
                "id": 0,
                "payloads": [
                    {"type": payload_type, "values": [kw]},
                    {"type": "X_REPORT_PERIOD", "values": ["PT5S"]},
                ],
            }
        ],
    }
    return {"objectType": "EVENT", "operation": "UPDATE", "object": content}


def statuses(talk: Conversation) -> list[str]:
    return [ack.status for ack in talk.acks]


def test_a_limit_that_cannot_be_kept_is_answered_at_once_with_what_can_be_and_again_when_it_can() -> None:
    talk = openadr()
    talk.hear("events/vens/site/update", notice(talk, "IMPORT_CAPACITY_LIMIT", 0.4))
    talk.run(1)
    first = list(talk.acks)
    talk.run(60)
    talk.plant.other_w["site"] = 100.0  # somebody switches the lighting off
    talk.run(30)

    assert [(ack.status, possible_kw(ack)) for ack in first] == [
        ("RECEIVED", None),
        ("STARTED", None),
        ("INFEASIBLE", 0.62),
    ]
    assert statuses(talk)[-1] == "COMPLIANT"
    assert statuses(talk).count("INFEASIBLE") < 10


@pytest.mark.parametrize(("kw", "possible"), [(50.0, 14.5), (0.0, 0.62)])
def test_a_set_point_out_of_reach_is_answered_with_the_nearest_draw(kw: float, possible: float) -> None:
    talk = openadr()

    talk.hear("events/vens/site/update", notice(talk, "DISPATCH_SETPOINT", kw))
    talk.run(20)

    told = [possible_kw(ack) for ack in talk.acks if ack.status == "INFEASIBLE"]
    assert told == [possible]
    telemetry = [payloads(report["object"]) for report in talk.heard("reports/vens/site/create")]
    assert {(state["X_EVENT_STATE"][0], state["X_POSSIBLE"][0]) for state in telemetry} == {
        ("INFEASIBLE", possible)
    }


def test_a_new_version_that_can_be_met_is_told_as_met() -> None:
    talk = openadr()
    talk.hear("events/vens/site/update", notice(talk, "IMPORT_CAPACITY_LIMIT", 0.4))
    talk.run(3)

    talk.hear("events/vens/site/update", notice(talk, "IMPORT_CAPACITY_LIMIT", 8.0))
    talk.run(30)

    assert statuses(talk)[-3:] == ["RECEIVED", "STARTED", "COMPLIANT"]
    assert "X_POSSIBLE" not in payloads(talk.heard("reports/vens/site/create")[-1]["object"])


def test_a_relative_set_point_is_met_and_told_as_met() -> None:
    talk = openadr()

    talk.hear("events/vens/site/update", notice(talk, "DISPATCH_SETPOINT_RELATIVE", -7.0))
    talk.run(40)

    assert statuses(talk) == ["RECEIVED", "STARTED", "COMPLIANT"]
    assert talk.plant.watts() == pytest.approx(7_500, rel=0.05)


def test_a_relative_set_point_means_the_same_watts_after_a_restart_and_in_a_new_version() -> None:
    talk = openadr()
    talk.hear("events/vens/site/update", notice(talk, "DISPATCH_SETPOINT_RELATIVE", -7.0))
    talk.run(40)

    caps = []
    for version_s in (None, 1.0):
        talk.restart()
        if version_s is not None:  # more of the same, while it lasts
            talk.hear("events/vens/site/update", notice(talk, "DISPATCH_SETPOINT_RELATIVE", -9.0, version_s))
        talk.run(20)
        caps.append(talk.plant.plan.cap)

    assert caps == [Limit(Power(7_500)), Limit(Power(5_500))]


# --- announcements


def test_an_announced_limit_that_cannot_be_kept_is_answered_within_a_tick_and_again_as_that_changes() -> None:
    talk = openadr()
    talk.plant.other_w["site"] = 1_000.0  # a heater is on
    talk.run(200)
    talk.hear("events/vens/site/update", notice(talk, "IMPORT_CAPACITY_LIMIT", 0.9, in_s=1_800))
    talk.run(1)
    at_once = [(ack.status, possible_kw(ack)) for ack in talk.acks]
    talk.run(30)
    talk.plant.other_w["site"] = 3_000.0  # and another one
    talk.run(300)
    worse = [(ack.status, possible_kw(ack)) for ack in talk.acks[2:]]
    talk.plant.other_w["site"] = 500.0
    talk.run(1_400)
    better = statuses(talk)
    talk.run(100)

    assert at_once == [("RECEIVED", None), ("INFEASIBLE", pytest.approx(1.1, abs=0.1))]
    assert worse
    assert all(status == "INFEASIBLE" for status, _ in worse)
    assert worse[-1][1] == pytest.approx(3.1, abs=0.3)
    assert (better[-1], better.count("RECEIVED")) == ("RECEIVED", 2)
    assert statuses(talk)[-2:] == ["STARTED", "COMPLIANT"]
    assert len(talk.acks) < 20


def test_an_announcement_that_can_be_met_is_received_and_no_more_is_said_before_it_begins() -> None:
    talk = openadr()

    talk.hear("events/vens/site/update", notice(talk, "IMPORT_CAPACITY_LIMIT", 0.7, in_s=400))
    talk.plant.machines["m3"].silent = True
    talk.run(20)
    talk.plant.machines["m3"].silent = False
    talk.run(360)

    assert statuses(talk) == ["RECEIVED"]
    talk.run(60)
    assert statuses(talk) == ["RECEIVED", "STARTED", "COMPLIANT"]


@pytest.mark.parametrize(("kw", "possible"), [(50.0, 14.5), (0.0, 0.62)])
def test_an_announced_set_point_out_of_reach_is_answered_with_the_nearest_draw(
    kw: float, possible: float
) -> None:
    talk = openadr()

    talk.hear("events/vens/site/update", notice(talk, "DISPATCH_SETPOINT", kw, in_s=900))
    talk.run(20)

    assert [(ack.status, possible_kw(ack)) for ack in talk.acks] == [
        ("RECEIVED", None),
        ("INFEASIBLE", possible),
    ]
    assert not talk.heard("reports/vens/site/create")


def test_a_new_version_of_an_announcement_is_answered_anew_and_a_restart_says_nothing_twice() -> None:
    talk = openadr()
    talk.hear("events/vens/site/update", notice(talk, "IMPORT_CAPACITY_LIMIT", 0.4, in_s=900))
    talk.run(5)
    talk.restart()
    talk.run(60)
    before = statuses(talk)

    talk.hear("events/vens/site/update", notice(talk, "IMPORT_CAPACITY_LIMIT", 0.5, in_s=900))
    talk.run(5)
    talk.hear("events/vens/site/update", notice(talk, "IMPORT_CAPACITY_LIMIT", 0.7, in_s=900))
    talk.run(5)

    assert before == ["RECEIVED", "INFEASIBLE"]
    assert statuses(talk)[2:] == ["SUPERSEDED", "RECEIVED", "INFEASIBLE", "SUPERSEDED", "RECEIVED"]


# --- the other dialects


STATUS = "grid/v1/dsx-flex-agent/site/powerstate/status"


def dsx(node: str = "", here: Site = HERE) -> Conversation:
    feed = Feed(tag="main", node=node, minimum=Power(0), maximum=Power.kw(30), default=Power.kw(30))
    agreed = Agreement(
        isv="isv", agent="site", feeds=(feed,), nameplate=Power.kw(30), max_age_s=60, ramp_deadline_s=10
    )
    return Conversation(DsxFlex(agreed, period_s=1e9, rule=BreachRule()), here)


def load_target(talk: Conversation, watts: int, in_s: float | None = None) -> None:
    interval = {} if in_s is None else {"start_time": stamp(talk.utc_s + in_s)}
    envelope = {
        "specversion": "1.0.2",
        "id": "6f9d4c0e-7d0b-4a3c-9a55-0d2f6c1be001",
        "source": "//grid/v1/isv/isv",
        "type": "grid.loadtarget.set.v1",
        "time": stamp(talk.utc_s),
        "data": {"targets": [{"interval": interval, "load_constraint": {"value": watts, "unit": "watt"}}]},
    }
    talk.hear("grid/v1/isv/isv/loadtarget/set", envelope)


def feed_states(talk: Conversation) -> list[dict[str, Any]]:
    return [status["data"]["feeds"]["main"] for status in talk.heard(STATUS)]


def least_kw(state: dict[str, Any]) -> Any:
    return state["metadata"]["power_minimum"]["value"]


def test_a_feed_whose_target_cannot_be_met_is_not_compliant_within_a_tick_and_shows_what_it_comes_to() -> (
    None
):
    talk = dsx()

    load_target(talk, 400)
    talk.run(1)

    state = feed_states(talk)[-1]
    assert (state["compliant"], state["calculated_load"]) == (False, {"value": 0.62, "unit": "kilowatt"})
    assert state["in_flight"]
    talk.plant.other_w["site"] = 100.0
    talk.run(30)
    state = feed_states(talk)[-1]
    assert (state["compliant"], state["in_flight"]) == (True, False)


def test_a_feed_shows_as_its_least_what_a_target_to_come_cannot_go_below_as_long_as_that_is_so() -> None:
    talk = dsx()
    talk.plant.other_w["site"] = 1_000.0  # a heater is on
    talk.run(200)
    load_target(talk, 900, in_s=1_800)
    talk.run(3)
    first = feed_states(talk)[-2:]
    talk.plant.other_w["site"] = 500.0
    talk.run(900)
    last = feed_states(talk)[-1]

    assert [state["event"] for state in first] == ["target_set", "periodic"]
    assert [least_kw(state) for state in first] == [0, pytest.approx(1.1, abs=0.1)]
    assert all(state["compliant"] for state in first)
    assert least_kw(last) == 0
    assert len(feed_states(talk)) < 10


def test_a_feed_without_a_meter_is_on_its_way_until_its_machines_say_that_they_came_down() -> None:
    talk = dsx(node="site", here=site(limit_w=30_000, margin=0.0, fixed_w=500))

    load_target(talk, 10_000)
    talk.run(1)
    at_once = feed_states(talk)[-1]
    talk.run(10)

    assert (at_once["event"], at_once["in_flight"]) == ("start_ramp_down", True)
    assert (feed_states(talk)[-1]["event"], talk.plant.watts() <= 10_000) == ("end_ramp_down", True)


def test_a_base_point_out_of_reach_is_told_with_the_nearest_draw_and_one_in_reach_without() -> None:
    rule = StreamRule(
        nameplate=Power.kw(30),
        valid_s=300,
        silent=NO_LIMIT,
        ramp_deadline_s=10,
        priority=5,
        rights=ALL_RIGHTS,
    )
    talk = Conversation(BasePoints("bp", rule))

    for kw in (25.0, 7.5):
        talk.hear("bp", {"setpoint": kw, "units": "KW", "time": stamp(talk.utc_s)})
        talk.run(40)

    said = [(status["state"], status["possible"]) for status in talk.heard("bp/status")]
    assert said[:2] == [(None, None), ("INFEASIBLE", 14.5)]
    assert said[-1] == ("COMPLIANT", None)
    assert set(said[said.index(("STARTED", None)) :]) == {("STARTED", None), ("COMPLIANT", None)}
