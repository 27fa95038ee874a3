"""Whether the judge finds power that is taken from who obeys, and power that is not given back."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from controller.decide.inputs import Inputs
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.decide.words import AlarmKind
from controller.domain.devices import Means, SetPoint
from controller.domain.power import Power
from controller.domain.site import Site
from tests.sim.fittings import fitted
from tests.sim.floor import draw_floor
from tests.sim.judged import DEVICES, kinds_of, said
from tests.sim.process import Decide, checked
from tests.sim.world import World

SEED, DURATION_S = 11, 1_900.0
"""A site whose machines hang at outlets, all but the GPUs and those that nobody can tell anything."""
LIMIT_S = 200.0
LOW = said(Power.kw(8), from_s=LIMIT_S, until_s=LIMIT_S + 240.0)


def world(decide: Decide, *disobey: str, duration_s: float = DURATION_S) -> World:
    """Some machines refuse every word until the limit is over; no other faults."""
    floor = fitted(SEED, draw_floor(SEED, DEVICES), ["outlets"])
    made = World(SEED, duration_s, DEVICES, only=(), decide=decide, messages=[LOW], floor=floor)
    for name in disobey:
        made.clock.at(LIMIT_S - 60.0, partial(made.plant.set_fault, name, "refuses", True))
        made.clock.at(LIMIT_S + 240.0, partial(made.plant.set_fault, name, "refuses", False))
    return made


def behind_outlets(count: int) -> list[str]:
    return sorted(world(checked).floor.outlets)[:count]


def by_outlet(_site: Site, command: SetPoint) -> SetPoint:
    spec_floor = command.point.power <= Power(60)
    return replace(command, means=Means.OUTLET) if spec_floor else command


def rash(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
    """A controller that has no words for a stop."""
    after, plan = step(site, state, inputs)
    outlets = {spec.id for spec in inputs.specs if spec.has_outlet}
    commands = (by_outlet(site, one) if one.device in outlets else one for one in plan.commands)
    return after, replace(plan, commands=tuple(commands))


def test_a_controller_that_takes_the_power_from_who_would_obey_is_found_out() -> None:
    careless = world(rash, duration_s=400.0)
    careless.run()

    assert "cut" in kinds_of(careless)


def test_power_that_is_taken_from_who_refuses_is_nobodys_fault_and_comes_back() -> None:
    made = world(checked, *behind_outlets(4))
    cut: set[str] = set()

    def note() -> None:
        cut.update(name for name, miner in made.plant.miners.items() if not miner.fed)

    for second in range(210, 500, 5):
        made.clock.at(float(second), note)
    made.run()

    assert cut
    assert all(miner.fed for miner in made.plant.miners.values())
    assert not kinds_of(made)


def test_power_that_an_earlier_process_took_comes_back() -> None:
    """Before the faults end, and a person goes round the outlets."""
    made = world(checked, *behind_outlets(4), duration_s=4_000.0)
    cut: set[str] = set()
    dark: list[set[str]] = []

    def without_power() -> set[str]:
        return {name for name, miner in made.plant.miners.items() if not miner.fed}

    def restart() -> None:
        cut.update(without_power())
        made.process.restart(made.process.site, 5.0)

    made.clock.at(LIMIT_S + 200.0, restart)
    made.clock.at(made.swarm.calm_s - 1.0, lambda: dark.append(without_power()))
    made.run()

    assert cut
    assert dark == [set()]
    assert not kinds_of(made)


@pytest.mark.parametrize(("rests", "is_open"), [(False, False), (True, False), (False, True)])
def test_a_controller_that_never_gives_power_back_is_found_out_where_machines_could_run(
    rests: bool, is_open: bool
) -> None:
    """They need not rest, and no breaker above them is open."""
    cut: set[str] = set()

    def grim(site: Site, state: State, inputs: Inputs) -> tuple[State, Plan]:
        after, plan = step(site, state, inputs)
        cut.update(command.device for command in plan.commands if command.means is Means.OUTLET)
        commands = (one for one in plan.commands if one.device not in cut or one.point.power <= Power(60))
        return after, replace(plan, commands=tuple(commands))

    made = world(grim, *behind_outlets(12))
    made.court.usable.rests = lambda _: rests
    root = made.floor.site.root.id
    for node in (node.id for node in made.floor.site.nodes if node.parent == root and is_open):
        for at_s in range(500, 1_900, 5):  # whoever closes it
            made.clock.at(float(at_s), partial(made.plant.set_fault, node, "breaker_open", True))
    made.run()

    assert cut
    assert kinds_of(made).get("dark", set()) <= cut
    assert ("dark" in kinds_of(made)) is (not rests and not is_open)


def test_machines_with_crossed_cords_are_doubted_and_no_others() -> None:
    """Their outlets tell each other's watts: whether one sleeps, or obeys, is not to be known by them."""
    made = world(checked, duration_s=30.0)
    made.run()
    one, other, third = behind_outlets(3)
    (here, at), (there, to) = (
        (made.plant.pdus[outlet.pdu].machines, outlet.number)
        for outlet in (made.floor.outlets[name] for name in (one, other))
    )
    here[at], there[to] = there[to], here[at]

    doubted = {name for name in (one, other, third) if made.court.doubts.misreports(name)}

    assert doubted == {one, other}


def test_a_person_switches_on_what_went_dark_after_it_had_seemed_to_have_another_feed() -> None:
    """Its relay was welded when it was cut, so that it answered on, and opened later."""
    made = world(rash)
    plant = made.plant

    def open_all() -> None:
        for outlet in made.floor.outlets.values():
            plant.set_fault(outlet.pdu, "welded", False)
            if not plant.pdus[outlet.pdu].says_closed(outlet.number):
                plant.switch_outlet(outlet.pdu, outlet.number, closed=False)

    for pdu in plant.pdus:
        made.clock.at(LIMIT_S - 60.0, partial(plant.set_fault, pdu, "welded", True))
    made.clock.at(LIMIT_S + 60.0, open_all)
    made.run()

    assert made.plan is not None
    assert [alarm.subject for alarm in made.plan.alarms if alarm.kind is AlarmKind.DEVICE_SILENT] == []
