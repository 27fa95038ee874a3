"""The order of commands: lowers at once, raises only into room that was measured, and each in its turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from controller.decide import columns
from controller.decide.beyond import OtherLoad, Room
from controller.decide.commands import Retry, Wishes, lowered, order
from controller.decide.device import DeviceState, Stuck
from controller.decide.fleet import fleet_of
from controller.decide.ground import ground_of
from controller.decide.mirror import Mirror
from controller.decide.pace import Pace, Saved
from controller.decide.telling import commanded
from controller.decide.tree import load
from controller.decide.words import Reason, Truth
from controller.domain.devices import DeviceSpec, Means, OperatingPoint, Quality
from controller.domain.power import Power
from tests.decide.builders import FULL, LOW, NOW_S, SLEEP, device, miner, node, site

SITE, PDU = 0, 1
ROOMY = (10**9, 10**9)
NOTHING_ELSE = OtherLoad(now_w=np.array([0, 0]), fixed_w=np.array([0.0, 0.0]), share=np.array([0.0, 0.0]))


@dataclass(frozen=True, slots=True)
class Wish:
    """A device, and where it should be."""

    spec: DeviceSpec
    state: DeviceState
    point: OperatingPoint
    merit: float = 0.0
    means: Means = Means.COMMAND


@dataclass(frozen=True, slots=True)
class Said:
    """Who is lowered and raised, in order; why others are not; the ramp room that is left."""

    lowers: tuple[str, ...]
    raises: tuple[str, ...]
    waiting: dict[str, Reason]
    saved: Saved


def wish(name: str, now: OperatingPoint, goal: OperatingPoint, merit: float = 1.0, **changes: Any) -> Wish:
    """A device that is confirmed at `now` and should be at `goal`."""
    return Wish(miner(name, "pdu"), device(now, **changes), goal, merit)


def again(name: str, state: DeviceState, goal: OperatingPoint = SLEEP) -> Wish:
    return Wish(miner(name, "pdu"), state, goal)


def say(
    *wishes: Wish,
    room_w: tuple[int, int] = ROOMY,
    other: OtherLoad = NOTHING_ELSE,
    pace: Pace | None = None,
    retry_s: float = 20.0,
) -> Said:
    """The orders for a PDU with these devices on it."""
    known, pace, room = _known(wishes), pace or Pace(), np.array(room_w)
    row = [known.fleet.row[one.spec.id] for one in wishes]
    wanted = Wishes(
        row=np.array(row),
        at=np.array([known.fleet.index_of(row[at], one.point) for at, one in enumerate(wishes)]),
        merit=np.array([one.merit for one in wishes]),
        outlet=np.array([one.means is Means.OUTLET for one in wishes]),
    )
    obeys = np.array([known.devices[spec.id].truth is not Truth.LYING for spec in known.fleet.specs])
    before = lowered(known, wanted, room, obeys, pace, NOW_S, Retry(retry_s=retry_s, pressing=room < 0))
    worst_w = load(known.ground.tree, known.fleet.node, known.columns.worst_w)
    orders = order(known, before, Room(room, other, worst_w), pace, (), NOW_S)
    specs = known.fleet.specs
    return Said(
        lowers=tuple(one.device for one in orders.lowers.set_points(known.fleet)),
        raises=tuple(one.device for one in orders.raises.set_points(known.fleet)),
        waiting={specs[at].id: reason for at, reason in orders.waiting.items()},
        saved=orders.saved,
    )


def _known(wishes: tuple[Wish, ...]) -> Mirror:
    ground = ground_of(site(node("pdu")))
    fleet = fleet_of(ground.site, ground.tree, [one.spec for one in wishes])
    known = columns.empty(len(fleet))
    devices = {one.spec.id: one.state for one in wishes}
    known.put(fleet, devices)
    return Mirror(ground=ground, fleet=fleet, devices=devices, columns=known, readings={}, outcomes={})


# Lower first


def test_what_frees_most_watts_is_lowered_first() -> None:
    orders = say(wish("a", LOW, SLEEP), wish("b", FULL, SLEEP), wish("c", FULL, LOW), wish("d", FULL, SLEEP))

    assert list(orders.lowers) == ["b", "d", "a", "c"]


def test_a_lowering_needs_no_room_and_no_turn() -> None:
    orders = say(
        wish("a", FULL, SLEEP),
        room_w=(-5_000, -5_000),
        pace=Pace(held=True, rise_w={SITE: 0.0}, starts=0),
    )

    assert list(orders.lowers) == ["a"]


def test_a_device_that_is_where_it_should_be_is_told_nothing() -> None:
    orders = say(wish("a", FULL, FULL), wish("b", SLEEP, SLEEP))

    assert (orders.lowers, orders.raises, orders.waiting) == ((), (), {})


# Raise into room


def test_a_raise_waits_until_every_node_above_has_room_for_what_it_adds() -> None:
    room = 3_470
    raised = wish("a", SLEEP, FULL)

    assert list(say(raised, room_w=(room, room)).raises) == ["a"]
    for short in ((room - 1, room), (room, room - 1)):
        orders = say(raised, room_w=short)
        assert (orders.raises, orders.waiting) == ((), {"a": Reason.WAITING})


def test_room_that_a_lowering_will_free_does_not_exist_yet() -> None:
    orders = say(wish("a", FULL, SLEEP), wish("b", SLEEP, FULL), room_w=(0, 0))

    assert (list(orders.lowers), orders.waiting) == (["a"], {"b": Reason.WAITING})


def test_room_is_given_away_once_and_to_the_best_first() -> None:
    orders = say(wish("a", SLEEP, FULL, merit=1), wish("b", SLEEP, FULL, merit=2), room_w=(4_000, 4_000))

    assert (list(orders.raises), orders.waiting) == (["b"], {"a": Reason.WAITING})


def test_a_raise_back_within_what_a_device_may_draw_anyway_still_waits_while_the_limit_is_passed() -> None:
    falling = commanded(miner(), device(FULL), SLEEP, NOW_S - 1)

    over = say(again("a", falling, FULL), room_w=(-1, 0))
    fits = say(again("a", falling, FULL), room_w=(0, 0), pace=Pace(rise_w={SITE: 0.0}))

    assert (over.raises, over.waiting) == ((), {"a": Reason.WAITING})
    assert (list(fits.raises), fits.saved.rise_w) == (["a"], {SITE: 0.0})


def test_a_raise_back_to_less_than_a_device_may_draw_makes_no_room_for_another() -> None:
    falling = replace(again("a", commanded(miner(), device(FULL), SLEEP, NOW_S - 1), LOW), merit=2.0)

    orders = say(falling, wish("b", SLEEP, LOW), room_w=(2_369, 2_369), pace=Pace(rise_w={SITE: 2_369.0}))

    assert (list(orders.raises), orders.waiting) == (["a"], {"b": Reason.WAITING})
    assert orders.saved.rise_w == {SITE: 2_369.0}


def test_what_a_device_counts_for_now_is_what_a_raise_adds_to() -> None:
    hungry = replace(wish("a", LOW, FULL), state=device(LOW, worst_w=2_600))

    fits = say(hungry, room_w=(900, 900), pace=Pace(rise_w={SITE: 1_000.0}))

    assert fits.saved.rise_w == {SITE: 100.0}


def test_a_machine_that_was_caught_drawing_on_needs_room_for_that_wherever_it_is_raised_to() -> None:
    caught = wish("a", SLEEP, LOW, stuck=Stuck(above=SLEEP.power, draw=Power(3_500), at_s=NOW_S - 100))

    assert list(say(caught, room_w=(3_470, 3_470)).raises) == ["a"]
    assert say(caught, room_w=(3_469, 3_470)).waiting == {"a": Reason.WAITING}


# Pace


def test_nothing_is_raised_while_raises_are_held() -> None:
    orders = say(wish("a", SLEEP, FULL), pace=Pace(held=True))

    assert (orders.raises, orders.waiting) == ((), {"a": Reason.HELD})


def test_no_more_watts_are_raised_than_the_ramp_allows() -> None:
    orders = say(wish("a", SLEEP, FULL, 2), wish("b", SLEEP, FULL, 1), pace=Pace(rise_w={SITE: 6_939.0}))

    assert (list(orders.raises), orders.waiting) == (["a"], {"b": Reason.RAMPING})


def test_a_large_machine_keeps_its_turn_in_the_ramp() -> None:
    """Otherwise small ones of less merit would take the credit that it is saving up."""
    orders = say(
        wish("large", SLEEP, FULL, 2), wish("small", LOW, FULL, 1), pace=Pace(rise_w={SITE: 1_200.0})
    )

    assert (orders.raises, orders.waiting) == ((), {"large": Reason.RAMPING, "small": Reason.RAMPING})


def test_no_more_machines_are_started_at_once_than_allowed_and_those_that_run_do_not_count() -> None:
    wishes = (wish("a", SLEEP, FULL, 3), wish("b", SLEEP, LOW, 2), wish("c", LOW, FULL, 1))

    orders = say(*wishes, pace=Pace(starts=1))

    assert (list(orders.raises), orders.waiting) == (["a", "c"], {"b": Reason.RAMPING})


# Again


@pytest.mark.parametrize(
    ("truth", "attempts", "pause_s"),
    [
        (Truth.LYING, 1, 20.0),
        (Truth.COMMANDED, 1, 20.0),
        (Truth.LYING, 2, 40.0),
        (Truth.LYING, 4, 160.0),
        (Truth.LYING, 99, 160.0),
        (Truth.REFUSED, 1, 2.0),
        (Truth.REFUSED, 3, 8.0),
        (Truth.REFUSED, 99, 160.0),
    ],
)
def test_the_same_command_is_sent_again_after_a_growing_pause_and_soon_at_first_to_who_refused_less(
    truth: Truth, attempts: int, pause_s: float
) -> None:
    def asked(ago_s: float) -> Said:
        told = commanded(miner(), device(FULL), SLEEP, NOW_S - ago_s)
        return say(again("a", told._replace(truth=truth, attempts=attempts)))

    assert asked(pause_s - 0.1).lowers == ()
    assert list(asked(pause_s).lowers) == ["a"]


@pytest.mark.parametrize("truth", [Truth.LYING, Truth.REFUSED])
def test_where_a_limit_lacks_the_watts_nobody_is_spared_for_longer_than_the_first_pause(truth: Truth) -> None:
    def asked(ago_s: float) -> Said:
        told = commanded(miner(), device(FULL), SLEEP, NOW_S - ago_s)
        return say(again("a", told._replace(truth=truth, attempts=99)), room_w=(0, -1))

    assert asked(19.9).lowers == ()
    assert list(asked(20.0).lowers) == ["a"]


def test_who_refused_to_draw_more_is_asked_again_only_after_the_whole_pause() -> None:
    def asked(ago_s: float) -> Said:
        told = commanded(miner(), device(SLEEP), FULL, NOW_S - ago_s)
        return say(again("a", told._replace(truth=Truth.REFUSED), FULL))

    assert asked(19.9).raises == ()
    assert list(asked(20.0).raises) == ["a"]


@pytest.mark.parametrize(("attempts", "pause_s"), [(1, 2.0), (3, 8.0)])
def test_it_is_sent_again_soon_where_the_last_one_got_no_answer_whatever_became_of_those_before(
    attempts: int, pause_s: float
) -> None:
    def asked(ago_s: float, *, answered_s: float) -> Said:
        told = commanded(miner(), device(FULL), SLEEP, NOW_S - ago_s)
        return say(again("a", told._replace(attempts=attempts, failed_s=NOW_S - ago_s + answered_s)))

    assert asked(pause_s - 0.1, answered_s=1.0).lowers == ()
    assert list(asked(pause_s, answered_s=1.0).lowers) == ["a"]
    assert asked(pause_s, answered_s=-1.0).lowers == ()  # that was the one before: this one may yet be heard


@pytest.mark.parametrize(("retold", "pause_s"), [(0, 20.0), (3, 160.0), (5, 640.0)])
def test_a_liar_that_draws_on_and_is_counted_so_is_told_the_same_after_pauses_that_grow_for_good(
    retold: int, pause_s: float
) -> None:
    stuck = Stuck(above=SLEEP.power, draw=Power(3_500), at_s=NOW_S - 700)

    def asked(ago_s: float) -> Said:
        told = commanded(miner(), device(FULL), LOW, NOW_S - ago_s)
        return say(again("a", told._replace(truth=Truth.LYING, stuck=stuck, attempts=99, retold=retold), LOW))

    assert asked(pause_s - 0.1).lowers == ()
    assert list(asked(pause_s).lowers) == ["a"]


@pytest.mark.parametrize("truth", [Truth.CONFIRMED, Truth.ACKNOWLEDGED])
def test_who_is_there_or_on_its_way_is_not_asked_again(truth: Truth) -> None:
    told = commanded(miner(), device(FULL), SLEEP, NOW_S - 500)._replace(truth=truth)

    assert say(again("a", told)).lowers == ()


def test_another_point_is_sent_at_once() -> None:
    told = commanded(miner(), device(FULL), LOW, NOW_S)

    assert list(say(again("a", told, SLEEP)).lowers) == ["a"]


def test_asking_again_for_a_raise_is_a_raise() -> None:
    """The machine is still below: what it draws when it hears this time comes on top of the metered load."""
    unheard = commanded(miner(), device(SLEEP), FULL, NOW_S - 500)._replace(draw=Power(30))

    held = say(again("a", unheard, FULL), pace=Pace(held=True))
    over = say(again("a", unheard, FULL), room_w=(-1, 0))
    free = say(again("a", unheard, FULL), room_w=(0, 0), pace=Pace(rise_w={SITE: 0.0}))

    assert (held.lowers, held.waiting) == ((), {"a": Reason.HELD})
    assert (over.lowers, over.waiting) == ((), {"a": Reason.WAITING})
    assert list(free.raises) == ["a"]


HELD = Pace(held=True)


def test_told_the_same_again_who_may_still_draw_more_is_lowered() -> None:
    falling = commanded(miner(), device(FULL), LOW, NOW_S - 500)._replace(draw=Power(2_000))

    assert list(say(again("a", falling, LOW), pace=HELD).lowers) == ["a"]


def test_told_the_same_again_who_draws_all_that_it_counts_for_adds_nothing() -> None:
    there = commanded(miner(), device(SLEEP), FULL, NOW_S - 500)._replace(draw=Power(3_500))

    assert list(say(again("a", there, FULL), pace=HELD).lowers) == ["a"]


def test_a_lower_point_is_a_lowering_up_to_what_a_device_may_draw_and_a_raise_above_that() -> None:
    def falling(worst_w: int) -> DeviceState:
        return device(FULL, Truth.COMMANDED, worst_w=worst_w, draw_w=400)

    assert list(say(again("a", falling(2_400), LOW), pace=HELD).lowers) == ["a"]
    assert say(again("a", falling(2_399), LOW), pace=HELD).waiting == {"a": Reason.HELD}


# The ramp down


def test_no_more_watts_are_lowered_than_the_ramp_allows_where_no_limit_asks_for_it() -> None:
    wishes = (wish("a", FULL, SLEEP), wish("b", FULL, SLEEP))

    orders = say(*wishes, room_w=(0, 0), pace=Pace(fall_w={SITE: 4_000.0}))

    assert (list(orders.lowers), orders.waiting) == (["a"], {"b": Reason.RAMPING})
    assert orders.saved.fall_w == {SITE: 530.0}


def test_who_is_called_back_on_its_way_up_takes_no_more_of_a_ramp_than_it_draws() -> None:
    said: dict[str, Any] = {"draw_w": 400, "quality": Quality.MEASURED}
    wishes = (wish("a", FULL, SLEEP, **said), wish("b", FULL, LOW, **said), wish("c", FULL, SLEEP, **said))

    orders = say(*wishes, room_w=(0, 0), pace=Pace(fall_w={SITE: 700.0}))

    assert (list(orders.lowers), orders.waiting) == (["a", "b"], {"c": Reason.RAMPING})
    assert orders.saved.fall_w == {SITE: 330.0}


@pytest.mark.parametrize("said", [{"quality": Quality.ESTIMATED}, {"truth": Truth.STALE}])
def test_who_may_draw_more_than_it_says_takes_of_a_ramp_what_its_point_does(said: dict[str, Any]) -> None:
    said = {"draw_w": 400, "quality": Quality.MEASURED, **said}

    orders = say(wish("a", FULL, SLEEP, **said), room_w=(0, 0), pace=Pace(fall_w={SITE: 4_000.0}))

    assert orders.saved.fall_w == {SITE: 530.0}


@pytest.mark.parametrize("room_w", [(-3_471, 10**9), (10**9, -3_471), (-3_471, -1)])
def test_below_any_node_whose_limit_is_passed_no_ramp_holds_a_lowering_back(room_w: tuple[int, int]) -> None:
    wishes = (wish("a", FULL, SLEEP), wish("b", FULL, SLEEP))

    orders = say(*wishes, room_w=room_w, pace=Pace(fall_w={SITE: 4_000.0}))

    assert (list(orders.lowers), orders.waiting) == (["a", "b"], {})
    assert orders.saved.fall_w == {SITE: -2_940.0}


def test_who_is_too_hot_waits_for_no_ramp_which_others_then_have_to_wait_longer_for() -> None:
    wishes = (wish("a", FULL, LOW), wish("b", FULL, LOW))

    orders = say(*wishes, room_w=(0, 0), pace=Pace(hot=frozenset({1}), fall_w={SITE: 500.0}))

    assert (list(orders.lowers), orders.waiting) == (["b"], {"a": Reason.RAMPING})
    assert orders.saved.fall_w == {SITE: -600.0}


def test_what_no_limit_asks_for_waits_for_the_ramp_while_other_watts_must_fall_at_once() -> None:
    wishes = (wish("a", FULL, SLEEP), wish("b", FULL, SLEEP))

    asked = say(*wishes, room_w=(-3_470, 10**9), pace=Pace(fall_w={SITE: 4_000.0}))

    assert (list(asked.lowers), asked.waiting) == (["a"], {"b": Reason.RAMPING})


def test_watts_that_fall_already_are_not_asked_for_again_whatever_the_ramp() -> None:
    falling = again("a", device(SLEEP, Truth.ACKNOWLEDGED, worst_w=3_500))

    asked = say(falling, wish("b", FULL, SLEEP), room_w=(-3_470, 10**9), pace=Pace(fall_w={SITE: 0.0}))

    assert (list(asked.lowers), asked.waiting) == ([], {"b": Reason.RAMPING})


def test_who_is_told_the_same_again_while_it_falls_does_not_take_the_place_of_another() -> None:
    late = again("a", device(SLEEP, Truth.COMMANDED, worst_w=3_500, sent_s=NOW_S - 100))

    asked = say(late, wish("b", FULL, SLEEP), room_w=(-3_471, 10**9), pace=Pace(fall_w={SITE: 0.0}))

    assert list(asked.lowers) == ["a", "b"]


def test_who_does_not_obey_does_not_take_the_place_of_another() -> None:
    liar = again("a", device(SLEEP, Truth.LYING, worst_w=3_500))

    asked = say(liar, wish("b", FULL, SLEEP), room_w=(-3_470, 10**9), pace=Pace(fall_w={SITE: 0.0}))

    assert list(asked.lowers) == ["a", "b"]


# The outlet


@pytest.mark.parametrize(
    ("sent_ago_s", "given_up_ago_s", "due"),
    [(20.0, 500.0, True), (19.9, 500.0, False), (500.0, 20.0, True), (500.0, 19.9, False)],
)
def test_an_outlet_is_switched_at_once_and_again_only_after_a_pause(
    sent_ago_s: float, given_up_ago_s: float, due: bool
) -> None:
    liar = device(
        SLEEP,
        Truth.LYING,
        worst_w=3_500,
        draw_w=3_500,
        sent_s=NOW_S - sent_ago_s,
        given_up_s=NOW_S - given_up_ago_s,
    )

    orders = say(replace(again("a", liar), means=Means.OUTLET), pace=HELD)

    assert list(orders.lowers) == (["a"] if due else [])


def test_taking_its_power_is_a_lowering_whatever_a_device_counts_for() -> None:
    silent = device(SLEEP, Truth.STALE, worst_w=20, draw_w=20)

    assert list(say(replace(again("a", silent), means=Means.OUTLET), pace=HELD).lowers) == ["a"]
