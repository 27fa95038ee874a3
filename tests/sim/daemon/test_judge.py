"""What the judge of whole daemons asks of a plant, and what it excuses."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from simulators.config import PlantConfig
from simulators.gridmessages import Ack
from simulators.plant import Plant
from tests.sim.daemon.fittings import plant_table
from tests.sim.daemon.judge import NODES_W, SETTLED_S, UTC_S, Event, Judge
from tests.sim.daemon.memory import Network
from tests.sim.daemon.operator import Broker, Operator
from tests.sim.daemon.world import STEP_S


@dataclass
class Site:
    """A plant that nobody controls, its clock, and an operator whose events were all received."""

    events: list[Event] = field(default_factory=list)
    now_s: float = 0.0
    jumped_s: float = 0.0
    down_until_s: float = 0.0
    is_alive: bool = True

    def __post_init__(self) -> None:
        config = PlantConfig.model_validate(plant_table(()))
        self.plant = Plant(config, seed=1)
        for miner in self.plant.miners.values():
            if miner.node == "pdu-b":
                miner.sleep()
        self.broker = Broker(random.Random(1))
        self.operator = Operator(self.broker, lambda: UTC_S + self.now_s)
        self.judge = Judge(self.plant, Network(random.Random(1)))

    def received(self, event: Event) -> None:
        self.events.append(event)
        ack = Ack(id="", event=event.name, status="RECEIVED", version="", why=(), body={},
                  arrived_utc_s=UTC_S + event.at_s)  # fmt: skip
        self.operator.acks.append(ack)

    def goes_on(self, until_s: float) -> None:
        while self.now_s < until_s:
            self.now_s = round(self.now_s + STEP_S, 1)
            self.plant.advance(self.now_s)
            self.judge.look(self)

    @property
    def breaches(self) -> list[tuple[float, str, float]]:
        return self.judge.verdict.breaches


def test_an_event_is_due_by_the_true_clock_however_early_a_site_takes_it_for_begun() -> None:
    site = Site(jumped_s=60.0)
    site.received(Event(at_s=100, name="dr", kw=5, in_s=30, for_s=200))

    site.goes_on(139)
    assert site.breaches == []

    site.goes_on(142)
    assert site.breaches[0][:2] == (140.0, "site")


def test_an_event_that_is_over_by_the_sites_clock_is_due_again_once_that_is_right() -> None:
    site = Site()
    site.received(Event(at_s=SETTLED_S, name="dr", kw=5, in_s=0, for_s=200))
    site.goes_on(99)
    site.jumped_s = 3600.0

    site.goes_on(150)
    assert site.breaches == []

    site.jumped_s = 0.0
    site.goes_on(161)
    assert site.breaches[0][:2] == (160.2, "site")


def test_an_event_that_a_wrong_clock_refused_is_due_when_it_must_have_been_heard_again() -> None:
    site = Site(jumped_s=-60.0)
    site.events.append(Event(at_s=SETTLED_S, name="dr", kw=5, in_s=0, for_s=200))
    site.goes_on(110)
    site.jumped_s = 0.0

    site.goes_on(149)
    assert site.breaches == []

    site.goes_on(152)
    assert site.breaches[0][:2] == (150.0, "site")


def test_what_a_liar_takes_as_it_boots_is_excused_for_as_long_as_it_cannot_be_known() -> None:
    site = Site()
    liar, honest = site.plant.miners["luxos-003"], site.plant.miners["luxos-002"]
    for miner in site.plant.miners.values():
        if miner is not honest:
            miner.sleep()
    liar.reboot(0.0)
    liar.faults.lies_about_stop = True
    site.received(Event(at_s=20, name="dr", kw=5.5, in_s=0, for_s=400))
    site.goes_on(99)
    liar.faults.lies_about_stop = False
    liar.wake()
    liar.faults.lies_about_stop = True

    site.goes_on(112)
    assert site.plant.site_power_w > 5_500
    assert site.breaches == []

    site.goes_on(130)
    assert site.breaches


def test_a_site_that_boots_as_one_is_excused_until_its_machines_can_have_been_told() -> None:
    site = Site()
    site.received(Event(at_s=20, name="dr", kw=5, in_s=0, for_s=400))
    site.plant.set_fault("site", "breaker_open")
    site.goes_on(100)
    site.plant.set_fault("site", "breaker_open", False)  # they boot for 25 s, and take 10 s to full watts

    site.goes_on(144)
    assert site.plant.site_power_w > 15_000
    assert site.breaches == []

    site.goes_on(160)
    assert site.breaches


def test_what_only_a_meter_could_show_is_known_where_there_is_one_that_works() -> None:
    site = Site()
    for miner in site.plant.miners.values():
        miner.wake()
        miner.set_limit(3_500 if miner.node == "pdu-a" else 3_000)
        miner.bias = 1.2

    site.goes_on(95)
    assert min(map(site.plant.node_power_w, NODES_W)) > 16_100
    assert {node for _, node, _ in site.breaches} == {"site", "pdu-a"}

    site.breaches.clear()
    site.plant.set_fault("a", "frozen_reads")
    site.goes_on(100)
    assert {node for _, node, _ in site.breaches} == {"site"}


def test_an_order_to_a_machine_that_went_dark_in_that_moment_is_waited_for_and_no_longer() -> None:
    site = Site()
    dark = site.plant.miners["luxos-003"]
    for miner in site.plant.miners.values():
        if miner.node == "pdu-a" and miner is not dark:
            miner.set_limit(1_750)
    site.received(Event(at_s=85, name="dr", kw=7.5, in_s=0, for_s=400))
    site.goes_on(94)
    site.plant.set_fault(dark.id, "hangs")
    site.judge.told(dark.id, 25)

    site.goes_on(109)
    assert site.plant.site_power_w > 7_600
    assert site.breaches == []

    site.goes_on(111)
    assert site.breaches


def test_load_that_somebody_connects_is_to_be_learned_and_then_kept_within_the_limit_of_its_node() -> None:
    site = Site()
    site.goes_on(95)
    site.plant.set_fault("pdu-a", "foreign_w", 4_000)

    site.goes_on(169)
    assert site.plant.node_power_w("pdu-a") > 16_000
    assert site.breaches == []

    site.goes_on(172)
    assert {node for _, node, _ in site.breaches} == {"pdu-a"}


def test_what_boots_as_a_controller_begins_is_excused_until_that_knows_its_site() -> None:
    site = Site()
    late = site.plant.miners["luxos-003"]
    site.received(Event(at_s=20, name="dr", kw=14, in_s=0, for_s=400))
    site.plant.set_fault(late.id, "dead")
    late.sleep()
    site.goes_on(100)
    site.down_until_s = 101.0
    site.goes_on(102)
    site.plant.set_fault(late.id, "dead", False)
    late.wake()

    site.goes_on(140)
    assert site.plant.site_power_w > 14_100
    assert site.breaches == []

    site.goes_on(142)
    assert site.breaches


def test_a_site_is_left_free_unless_an_event_foreign_load_or_a_meter_in_trouble_may_keep_machines_down() -> (
    None
):
    site = Site()
    site.events = [Event(at_s=100, name="wide", kw=12, in_s=0, for_s=60)]
    assert site.judge.leaves_free(site)

    site.events.append(Event(at_s=100, name="narrow", kw=11.9, in_s=0, for_s=60))
    assert site.judge.leaves_free(site)
    site.now_s = 100
    assert not site.judge.leaves_free(site)

    site.events.clear()
    for what, subject, value in (("foreign_w", "pdu-a", 500.0), ("frozen_reads", "main", True)):
        site.plant.set_fault(subject, what, value)
        assert not site.judge.leaves_free(site)
        site.plant.set_fault(subject, what, type(value)(0))
        assert site.judge.leaves_free(site)
