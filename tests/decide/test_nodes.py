"""What meters show beyond what devices account for, with meters that lag and meters below meters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.decide.beyond import BEYOND_TAU_S as BEYOND_S
from controller.decide.beyond import NOTHING, Beyond, OtherLoad
from controller.decide.inputs import Sample
from controller.decide.metering import UNEXPLAINED_TAU_S, Claims, NodeMemory, Shows
from controller.decide.nodes import fresh, reconcile
from controller.decide.snapshot import State
from controller.decide.stuck import METER_LAG_S
from controller.decide.sums import Below, Sums, sums_of
from controller.decide.tree import tree_of
from controller.domain.devices import MeterReading
from controller.domain.power import Power
from controller.domain.site import Site
from tests.decide.builders import NOW_S, miner, node, site
from tests.decide.world import Machine, World, asleep, awake

METERED = site(meter="mains")
NESTED = site(node("hall", meter="hall"), node("pdu", "hall"), meter="mains", fixed_w=100)


def shown(watts: int, at_s: float) -> Sample[MeterReading]:
    return Sample(at_s, MeterReading(meter="any", power=Power(watts)))


def steady(watts: int) -> Below:
    """Devices that draw what they claim and may draw no more."""
    return Below(worst_w=watts, busy_w=watts, settled_w=watts)


class Tree:
    """A site whose meters and devices the test sets, second by second. Its machines can draw `top_w`."""

    def __init__(self, of: Site, top_w: int = 100_000) -> None:
        self.site = of
        self.top_w = top_w
        self.tree = tree_of(of)
        self.memory: dict[str, NodeMemory] = {}
        self.own: dict[str, Power] = {}
        self.other: OtherLoad
        self.now_s = NOW_S

    def see(
        self, below: dict[str, Below], metered_w: dict[str, int], *, seconds: int = 1, age_s: float = 0.0
    ) -> None:
        for _ in range(seconds):
            self.now_s += 1.0
            meters = {
                place.id: shown(metered_w[place.id], self.now_s - age_s) if place.id in metered_w else None
                for place in self.site.nodes
            }
            known = [below.get(place.id, Below()) for place in self.site.nodes]
            sums = Sums(
                worst_w=np.array([one.worst_w for one in known]),
                busy_w=np.array([one.busy_w for one in known]),
                settled_w=np.array([one.settled_w for one in known]),
                guessed_w=np.array([one.guessed_w for one in known]),
                surely_w=np.array([one.surely_w for one in known]),
                top_w=np.array([self.top_w for _ in known]),
            )
            never_w = np.zeros(len(known), np.int64)
            self.memory, self.other = reconcile(
                self.site, self.tree, sums, self.memory, meters, self.now_s, never_w
            )
            self.own = dict(zip(self.tree.ids, map(Power, self.other.now_w.tolist()), strict=True))

    def unexplained_w(self, place: str = "site") -> int:
        return round(self.memory[place].unexplained_w)


# Meters


def test_a_meter_reading_is_fresh_until_it_is_too_old_and_a_node_without_meter_has_none() -> None:
    meters = {"m": shown(5, NOW_S - 5.0)}

    assert fresh(meters, "m", NOW_S, 5.0) == meters["m"]
    assert fresh(meters, "m", NOW_S + 0.1, 5.0) is None
    assert fresh(meters, "unheard", NOW_S, 5.0) is None
    assert fresh(meters, None, NOW_S, 5.0) is None


# The tree


def test_a_device_counts_at_every_node_above_it_and_while_it_changes_for_anything_up_to_its_worst() -> None:
    tree = tree_of(NESTED)
    site, hall, pdu = range(3)

    sums = sums_of(
        tree,
        np.array([pdu, hall]),
        worst_w=np.array([300, 70]),
        draw_w=np.array([200, 50]),
        top_w=np.array([700, 3_500]),
        changing=np.array([False, True]),
        guessed=np.array([True, True]),
        measured=np.array([False, False]),
    )

    assert sums.below(pdu) == Below(worst_w=300, busy_w=200, settled_w=200, guessed_w=200)
    assert (
        sums.below(hall) == sums.below(site) == Below(worst_w=370, busy_w=270, settled_w=200, guessed_w=200)
    )
    assert sums.top_w.tolist() == [4_200, 4_200, 700]


# What nobody accounts for


def test_without_a_meter_the_fixed_load_is_all_there_is_besides_devices() -> None:
    tree = Tree(site(fixed_w=250))

    tree.see({"site": steady(4_000)}, {})

    assert tree.own == {"site": Power(250)}


def test_what_a_meter_shows_beyond_the_worst_case_counts_at_once() -> None:
    tree = Tree(METERED)

    tree.see({"site": steady(4_000)}, {"site": 4_900})

    assert tree.own["site"] == Power(900)


def test_a_nodes_own_fixed_load_is_part_of_what_its_meter_shows_and_is_not_counted_twice() -> None:
    tree = Tree(site(meter="mains", fixed_w=1_000))

    tree.see({"site": steady(4_000)}, {"site": 5_500})

    assert (tree.unexplained_w(), tree.own["site"]) == (1_500, Power(1_500))


def test_the_fixed_load_of_a_node_below_explains_what_a_meter_above_shows() -> None:
    tree = Tree(site(node("hall", fixed_w=300), meter="mains"))

    tree.see({"site": steady(4_000)}, {"site": 4_900})

    assert tree.own == {"site": Power(600), "hall": Power(300)}


def test_what_it_shows_beyond_the_claims_is_learned_while_nothing_changes() -> None:
    tree = Tree(METERED)
    claims_less = Below(worst_w=5_000, busy_w=4_000, settled_w=4_000)
    tree.see({"site": claims_less}, {"site": 4_000})

    tree.see({"site": claims_less}, {"site": 4_300}, seconds=int(4 * UNEXPLAINED_TAU_S))

    assert 260 <= tree.unexplained_w() <= 300


def test_of_a_meter_heard_for_the_first_time_no_more_is_learned_than_in_one_time_constant() -> None:
    tree = Tree(METERED)

    tree.see({"site": Below(worst_w=5_000, busy_w=4_000, settled_w=4_000)}, {"site": 4_500})

    assert tree.unexplained_w() == round((1 - math.exp(-1)) * (4_500 * 0.995 - 4_000))


def test_load_that_comes_and_goes_within_the_memory_is_not_unlearned_in_between() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(4_000)}, {"site": 4_900})

    for metered_w in (4_900, 4_000, 4_000) * 10:
        tree.see({"site": steady(4_000)}, {"site": metered_w})

    assert tree.unexplained_w() == 900


def test_a_start_that_the_meter_shows_late_unlearns_nothing() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(3_000)}, {"site": 3_900})

    tree.see({"site": steady(4_000)}, {"site": 3_900}, seconds=10)

    assert tree.unexplained_w() == 900


def test_what_starting_machines_only_estimate_explains_nothing_of_what_a_meter_shows() -> None:
    """They say at once what they will draw in a minute: the other load is not gone because of that."""
    tree = Tree(METERED)
    tree.see({"site": steady(21_000)}, {"site": 30_000}, seconds=60)
    learned_w = tree.unexplained_w()
    start = Below(worst_w=66_000, busy_w=66_000, settled_w=66_000, guessed_w=45_000)

    for second in range(60):
        tree.see({"site": start}, {"site": 30_000 + 700 * second})

    assert tree.unexplained_w() == learned_w >= 9_000


def test_unexplained_load_below_the_fixed_load_adds_nothing_to_it() -> None:
    tree = Tree(site(fixed_w=1_000, meter="mains"))

    tree.see({"site": steady(4_000)}, {"site": 4_600}, seconds=10)

    assert tree.own["site"] == Power(1_000)


def test_unexplained_load_that_is_gone_is_unlearned() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(4_000)}, {"site": 4_900})

    tree.see({"site": steady(4_000)}, {"site": 4_000}, seconds=int(4 * UNEXPLAINED_TAU_S))

    assert tree.unexplained_w() <= 50


def test_the_error_of_a_meter_is_not_taken_for_load() -> None:
    tree = Tree(METERED)

    for noise_w in (190, -150, 60, 199, -200) * 20:
        tree.see({"site": steady(40_000)}, {"site": 40_000 + noise_w})

        assert tree.unexplained_w() == 0


def test_a_late_meter_after_a_lowering_shows_nothing_unexplained() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(10_000)}, {"site": 10_000}, seconds=10)

    tree.see({"site": steady(3_000)}, {"site": 10_000}, seconds=int(METER_LAG_S))

    assert tree.unexplained_w() == 0


def test_a_reading_that_is_old_already_has_its_lag_on_top_of_its_age() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(10_000)}, {"site": 10_000}, seconds=20, age_s=4.0)

    tree.see({"site": steady(3_000)}, {"site": 10_000}, seconds=int(METER_LAG_S) + 3, age_s=4.0)

    assert tree.unexplained_w() == 0


def test_a_meter_that_stays_up_after_its_lag_shows_a_liar() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(10_000)}, {"site": 10_000}, seconds=10)

    tree.see({"site": steady(3_000)}, {"site": 10_000}, seconds=int(METER_LAG_S) + 2)

    assert tree.unexplained_w() == 7_000


def test_what_devices_drew_while_the_meter_was_silent_is_not_forgotten() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(10_000)}, {}, seconds=10)

    tree.see({"site": steady(3_000)}, {"site": 10_000}, seconds=2)

    assert tree.unexplained_w() == 0


def test_a_reading_is_learned_from_once() -> None:
    tree = Tree(METERED)
    claims_less = Below(worst_w=9_000, busy_w=4_000, settled_w=4_000)
    tree.see({"site": claims_less}, {"site": 5_000})
    first_w = tree.unexplained_w()

    for age_s in (1.0, 2.0, 3.0):
        tree.see({"site": claims_less}, {"site": 5_000}, age_s=age_s)

    assert tree.unexplained_w() == first_w


def test_while_a_device_changes_only_what_it_cannot_be_is_unexplained() -> None:
    tree = Tree(METERED)
    rising = Below(worst_w=9_000, busy_w=9_000, settled_w=5_500)

    tree.see({"site": rising}, {"site": 8_000}, seconds=60)
    certain_w = tree.unexplained_w()
    tree.see({"site": rising}, {"site": 9_500}, seconds=1)

    assert (certain_w, tree.unexplained_w()) == (0, 500)


def test_watts_that_come_or_go_between_two_readings_of_a_device_are_not_unexplained() -> None:
    tree = Tree(METERED)
    idle, works = Below(worst_w=1_400, busy_w=760, settled_w=760), steady(1_400)
    tree.see({"site": idle}, {"site": 760}, seconds=20)

    shown = []
    for _ in range(6):
        tree.see({"site": idle}, {"site": 1_400}, seconds=9)
        tree.see({"site": works}, {"site": 1_400}, seconds=20)
        shown.append(tree.unexplained_w())
        tree.see({"site": works}, {"site": 760}, seconds=9)
        tree.see({"site": idle}, {"site": 760}, seconds=20)
        shown.append(tree.unexplained_w())

    assert shown == [0] * 12


def test_one_device_that_never_settles_does_not_keep_a_spike_for_ever() -> None:
    tree = Tree(METERED)
    one_stuck = Below(worst_w=103_500, busy_w=103_500, settled_w=100_000)
    tree.see({"site": one_stuck}, {"site": 150_000})

    tree.see({"site": one_stuck}, {"site": 101_000}, seconds=int(5 * UNEXPLAINED_TAU_S))

    assert tree.unexplained_w() <= 2_050


def test_silent_machines_that_draw_nothing_do_not_hide_what_is_unexplained() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(100_000)}, {"site": 105_000})
    ten_silent = Below(worst_w=102_000, busy_w=102_000, settled_w=65_000)

    tree.see({"site": ten_silent}, {"site": 70_000}, seconds=60)

    assert tree.unexplained_w() == 5_000


# Meters that cannot be believed


def test_a_meter_that_shows_far_less_than_what_is_below_it_claims_is_doubted_until_it_shows_more() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(10_000)}, {"site": 10_400}, seconds=60)
    learned_w = tree.unexplained_w()

    tree.see({"site": steady(10_000)}, {"site": 10}, seconds=60)
    doubted = tree.memory["site"].doubted, tree.unexplained_w()
    tree.see({"site": steady(10_000)}, {"site": 10_400}, seconds=1)

    assert learned_w > 200
    assert doubted == (True, learned_w)
    assert not tree.memory["site"].doubted


def test_a_meter_that_shows_half_of_what_is_below_it_is_believed() -> None:
    tree = Tree(METERED)

    tree.see({"site": steady(4_000)}, {"site": 2_000})
    believed = tree.memory["site"].doubted
    tree.see({"site": steady(4_000)}, {"site": 1_999})

    assert (believed, tree.memory["site"].doubted) == (False, True)


def test_a_meter_that_follows_a_little_late_is_believed() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(10_000)}, {"site": 10_003}, seconds=20)

    believed = []
    for second in range(20):
        tree.see({"site": steady(2_000)}, {"site": (10_000 if second < 4 else 2_000) + second % 3})
        believed.append(not tree.memory["site"].doubted)

    assert all(believed)


# Meters below meters


def test_what_a_lower_meter_explains_is_not_unexplained_again_above_it() -> None:
    tree = Tree(NESTED)
    below = {name: steady(watts) for name, watts in (("pdu", 1_000), ("hall", 2_000), ("site", 3_000))}

    tree.see(below, {"hall": 2_400, "site": 3_500}, seconds=3)

    assert tree.own == {"pdu": Power(0), "hall": Power(400), "site": Power(100)}


NESTED_BELOW = {name: steady(watts) for name, watts in (("pdu", 1_000), ("hall", 2_000), ("site", 3_000))}


@pytest.mark.parametrize("late_s", [1, 5, 14])
def test_load_that_a_meter_shows_before_the_one_below_it_does_counts_once(late_s: int) -> None:
    """Fans of a hall start, and the meters are read one after the other."""
    tree = Tree(NESTED)
    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 3_100}, seconds=30)

    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 3_700}, seconds=late_s)
    tree.see(NESTED_BELOW, {"hall": 2_600})

    assert tree.own == {"pdu": Power(0), "hall": Power(600), "site": Power(100)}


def test_load_that_came_while_a_lower_meter_was_silent_counts_once_when_it_is_back() -> None:
    tree = Tree(NESTED)
    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 3_100}, seconds=30)

    tree.see(NESTED_BELOW, {"site": 3_700}, seconds=300)
    tree.see(NESTED_BELOW, {"hall": 2_600, "site": 3_700})

    assert tree.own == {"pdu": Power(0), "hall": Power(600), "site": Power(100)}


def test_load_that_came_elsewhere_while_a_lower_meter_was_silent_stays_when_it_is_back() -> None:
    tree = Tree(NESTED)
    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 3_100}, seconds=30)

    tree.see(NESTED_BELOW, {"site": 4_700}, seconds=300)
    tree.see(NESTED_BELOW, {"hall": 2_600, "site": 4_700})

    assert tree.own == {"pdu": Power(0), "hall": Power(600), "site": Power(1_100)}


def test_load_that_was_there_before_a_lower_meter_fell_silent_is_not_what_it_comes_to_show() -> None:
    tree = Tree(NESTED)
    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 3_700}, seconds=30)

    tree.see(NESTED_BELOW, {"site": 3_700}, seconds=300)
    tree.see(NESTED_BELOW, {"hall": 2_600, "site": 3_700})
    tree.see(NESTED_BELOW, {"hall": 2_600, "site": 4_300})

    assert tree.own == {"pdu": Power(0), "hall": Power(600), "site": Power(700)}


def test_load_that_a_seldom_read_meter_comes_to_show_counts_once() -> None:
    tree = Tree(NESTED)

    for hall_w, site_w in ((2_000, 3_100), (2_000, 3_700), (2_600, 4_000), (2_900, 4_000)):
        tree.see(NESTED_BELOW, {"hall": hall_w, "site": hall_w + 1_100})
        assert tree.own["site"] == Power(100)
        tree.see(NESTED_BELOW, {"site": site_w}, seconds=29)


@pytest.mark.parametrize(("hall_w", "left_w"), [(2_300, 700), (2_900, 400)])
def test_of_what_is_new_a_lower_meter_takes_what_it_shows_itself_and_nothing_of_what_was_there_before(
    hall_w: int, left_w: int
) -> None:
    tree = Tree(NESTED)
    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 3_400}, seconds=30)

    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 4_000})
    tree.see(NESTED_BELOW, {"hall": hall_w})

    assert tree.own == {"pdu": Power(0), "hall": Power(hall_w - 2_000), "site": Power(left_w)}


@pytest.mark.parametrize("top_w", [4_000, 100_000], ids=["a share of claims", "a fixed part"])
def test_of_what_was_learned_for_other_claims_as_much_is_forgotten_as_a_lower_meter_comes_to_show(
    top_w: int,
) -> None:
    """600 of 700 W."""
    tree = Tree(NESTED, top_w)
    tree.see(NESTED_BELOW, {"site": 3_700}, seconds=3)
    learned = tree.memory["site"].beyond

    tree.see(NESTED_BELOW, {"hall": 2_600})

    assert learned.at(3_000) > 100
    assert tree.memory["site"].beyond == pytest.approx((learned.fixed_w / 7, learned.share / 7, 3_000))


def test_what_an_earlier_process_knew_of_a_lower_meter_is_not_unexplained_above_it_before_it_is_heard() -> (
    None
):
    tree = Tree(site(node("hall", meter="hall", fixed_w=50), node("pdu", "hall", fixed_w=200), meter="mains"))
    tree.memory = {"hall": NodeMemory(beyond=Beyond(fixed_w=300.0, share=0.1, most_w=5_000))}

    tree.see(NESTED_BELOW, {"site": 4_000})

    assert tree.own == {"pdu": Power(200), "hall": Power(550), "site": Power(250)}


def test_load_that_a_meter_shows_before_the_one_below_it_was_heard_at_all_counts_once() -> None:
    tree = Tree(NESTED)

    tree.see(NESTED_BELOW, {"site": 3_700}, seconds=3)
    tree.see(NESTED_BELOW, {"hall": 2_600, "site": 3_700})

    assert tree.own == {"pdu": Power(0), "hall": Power(600), "site": Power(100)}


def test_load_that_was_there_before_is_not_that_which_a_lower_meter_comes_to_show() -> None:
    tree = Tree(NESTED)
    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 3_700}, seconds=30)

    tree.see(NESTED_BELOW, {"hall": 2_600})

    assert tree.own == {"pdu": Power(0), "hall": Power(600), "site": Power(700)}


def test_of_load_that_comes_at_two_places_at_once_both_count() -> None:
    tree = Tree(NESTED)
    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 3_100}, seconds=30)

    tree.see(NESTED_BELOW, {"hall": 2_000, "site": 3_700})
    tree.see(NESTED_BELOW, {"hall": 2_600, "site": 4_300})

    assert tree.own == {"pdu": Power(0), "hall": Power(600), "site": Power(700)}


def test_three_meters_that_show_a_load_one_after_the_other_count_it_once() -> None:
    tree = Tree(site(node("hall", meter="hall"), node("pdu", "hall", meter="pdu"), meter="mains"))
    tree.see(NESTED_BELOW, {"pdu": 1_000, "hall": 2_000, "site": 3_000}, seconds=30)

    tree.see(NESTED_BELOW, {"site": 3_600})
    tree.see(NESTED_BELOW, {"hall": 2_600})
    tree.see(NESTED_BELOW, {"pdu": 1_600})

    assert tree.own == {"pdu": Power(600), "hall": Power(0), "site": Power(0)}


def with_fans(fans_w: float) -> World:
    """Twenty machines on a site that carries fourteen beside its fans, which have a meter."""
    fans = node("fans", meter="fans-meter")
    world = World(
        site(fans, limit_w=60_000, meter="mains", margin=0.01),
        [awake(miner(f"m{at:02}")) for at in range(20)],
    )
    world.other_w["fans"] = fans_w
    world.run(300)
    return world


def test_fans_that_start_stop_no_more_machines_where_their_meter_is_read_after_that_of_the_site() -> None:
    world = with_fans(3_000.0)
    world.other_w["fans"] = 9_000.0

    world.dead_meters = {"fans-meter"}
    world.run(1)
    world.dead_meters.clear()
    lowest_w = min(world.watts() for _ in range(60) if world.tick())

    assert lowest_w >= 60_000 * 0.99 - 1_100


def test_fans_that_started_while_their_meter_was_silent_stop_no_machine_when_it_is_back() -> None:
    world = with_fans(3_000.0)
    world.dead_meters = {"fans-meter"}
    world.run(20)
    world.other_w["fans"] = 9_000.0
    world.run(120)
    before_w = world.watts()

    world.dead_meters.clear()
    lowest_w = min(world.watts() for _ in range(60) if world.tick())

    assert lowest_w == before_w


def test_a_restart_stops_no_machine_where_the_meter_of_the_fans_is_heard_after_that_of_the_site() -> None:
    world = with_fans(12_000.0)
    before_w = world.watts()
    world.state, world.readings, world.meters = State(), {}, {}

    world.dead_meters = {"fans-meter"}
    world.run(3)
    world.dead_meters.clear()
    lowest_w = min(world.watts() for _ in range(60) if world.tick())

    assert lowest_w == before_w


def test_a_lower_meter_that_falls_silent_keeps_what_it_had_shown() -> None:
    tree = Tree(NESTED)
    below = {name: steady(watts) for name, watts in (("pdu", 1_000), ("hall", 2_000), ("site", 3_000))}
    tree.see(below, {"hall": 2_400, "site": 3_500}, seconds=3)

    tree.see(below, {"site": 3_500}, seconds=30)

    assert (tree.own["hall"], tree.own["site"]) == (Power(400), Power(100))


# In a whole site


def shed(lag_s: float, poll_s: float) -> World:
    """Twenty miners below metered halls, half of them shed by a falling limit."""
    halls = [node(f"hall{at}", meter=f"hall{at}") for at in range(2)]
    machines: list[Machine] = [awake(miner(f"m{at:02}", f"hall{at % 2}")) for at in range(20)]
    world = World(site(*halls, limit_w=80_000, meter="mains"), machines, meter_lag_s=lag_s, poll_s=poll_s)
    world.run(20)
    world.site = site(*halls, limit_w=40_000, meter="mains")
    return world


def test_shedding_under_nested_late_meters_leaves_nothing_unexplained() -> None:
    world = shed(lag_s=4.0, poll_s=2.0)

    world.run(60)

    assert max(place.unexplained.watts for plan in world.plans for place in plan.nodes) < 50
    assert 38_000 < world.watts() <= 40_000


def test_a_meter_heard_for_the_first_time_after_a_shedding_shows_nothing_unexplained() -> None:
    machines = [awake(miner(f"m{at}")) for at in range(4)]
    world = World(site(limit_w=10_000, meter="mains"), machines, meter_lag_s=2.0)

    world.run(30)

    assert [place.unexplained.watts for plan in world.plans for place in plan.nodes] == [0] * 30


def test_slow_starts_are_not_taken_for_unexplained_load() -> None:
    machines = [asleep(miner(f"m{at:02}"), rise_s=40.0) for at in range(20)]
    world = World(site(limit_w=72_000, meter="mains"), machines, meter_lag_s=1.0, poll_s=5.0)

    world.run(120)

    assert max(plan.nodes[0].unexplained.watts for plan in world.plans) < 100
    assert world.breaches == []


# Meters that stand still


DEEP = site(
    node("tx", meter="tx", limit_w=300_000), node("pdu", "tx", meter="pdu", limit_w=300_000), meter="mains"
)


def after_a_fall(*, stuck: str, shown_w: dict[str, int], moving: bool = True, hand_over_s: int = 20) -> Tree:
    """Devices drew 200 kW, and draw 50 kW now. The meter at `stuck` says 200 kW still; the others said that
    too, and now what they are given to say.
    """
    tree = Tree(DEEP)
    before, after = steady(200_000), steady(50_000)
    for second in range(20):
        tree.see(dict.fromkeys(("site", "tx", "pdu"), before), dict.fromkeys(shown_w, 200_000 + second % 3))
    for second in range(hand_over_s):
        jitter = second % 3 if moving else 0
        told = {place: watts + jitter for place, watts in shown_w.items()} | {stuck: 200_000}
        tree.see(dict.fromkeys(("site", "tx", "pdu"), after), told)
    return tree


@pytest.mark.parametrize("stuck", ["site", "tx", "pdu"])
def test_a_meter_that_stands_still_while_another_moves_and_shows_less_is_doubted(stuck: str) -> None:
    tree = after_a_fall(stuck=stuck, shown_w={"site": 50_000, "tx": 50_000, "pdu": 50_000})

    assert [place for place, known in tree.memory.items() if known.doubted] == [stuck]
    assert tree.unexplained_w(stuck) == 0


def test_what_a_stuck_meter_taught_while_it_could_still_be_right_is_forgotten() -> None:
    tree = after_a_fall(stuck="tx", shown_w={"site": 50_000, "tx": 50_000}, moving=False)
    learned_w = tree.unexplained_w("tx")

    tree.see(dict.fromkeys(("site", "tx"), steady(50_000)), {"site": 50_010, "tx": 200_000})

    assert learned_w > 100_000
    assert tree.unexplained_w("tx") == 0


def test_a_meter_that_stands_still_is_believed_where_no_other_meter_moves() -> None:
    alone = after_a_fall(stuck="site", shown_w={"site": 50_000})
    still = after_a_fall(stuck="tx", shown_w={"site": 50_000, "tx": 50_000}, moving=False)

    assert not alone.memory["site"].doubted
    assert alone.unexplained_w() > 140_000
    assert not still.memory["tx"].doubted


def test_a_meter_whose_load_is_known_to_be_steady_may_stand_still() -> None:
    tree = Tree(DEEP)
    for second in range(20):
        tree.see({"site": steady(200_000)}, {"site": 200_000, "tx": 198_000 + second % 3})

    assert not tree.memory["site"].doubted


@pytest.mark.parametrize(("stands_w", "expected"), [(210_000, False), (210_001, True)])
def test_a_meter_may_stand_still_below_one_that_moves_and_showed_as_much_of_late(
    stands_w: int, expected: bool
) -> None:
    tree = Tree(DEEP)
    for second in range(20):
        told = {"site": 200_000 if second % 3 else 190_000, "tx": stands_w}
        tree.see(dict.fromkeys(("site", "tx"), steady(200_000)), told)

    assert tree.memory["tx"].doubted is expected


@pytest.mark.parametrize(("least_w", "expected"), [(52_500, False), (52_501, True)])
def test_a_meter_that_stands_still_is_doubted_where_those_below_it_move_and_never_show_as_little(
    least_w: int, expected: bool
) -> None:
    """By what the devices claim it could be right. What the PDU shows is counted with what feeds it."""
    tree = Tree(DEEP)
    for second in range(20):
        told = {"site": 50_000, "tx": 60_000 if second % 3 else least_w, "pdu": 48_000 + second % 3}
        tree.see(dict.fromkeys(("site", "tx", "pdu"), steady(50_000)), told)

    assert tree.memory["site"].doubted is expected
    assert not tree.memory["tx"].doubted


@pytest.mark.parametrize(("stands_w", "expected"), [(63_000, False), (63_001, True)])
def test_a_meter_that_stands_still_is_doubted_once_it_shows_more_than_those_below_it_and_what_is_beside_them(
    stands_w: int, expected: bool
) -> None:
    """Beside the transformer 20 kW were drawn until the meter above stood still, and 10 kW are since then."""
    tree = Tree(DEEP)
    for second in range(40):
        told = {"tx": 50_000 if second % 3 else 49_000}
        told["site"] = stands_w if second >= 20 else 70_000 - second % 3
        beside_w = 10_000 if second >= 20 else 20_000
        tree.see({"site": steady(50_000 + beside_w), "tx": steady(50_000)}, told)

    assert tree.memory["site"].doubted is expected


def test_a_stuck_meter_is_believed_again_once_it_moves() -> None:
    tree = after_a_fall(stuck="tx", shown_w={"site": 50_000, "tx": 50_000})

    for second in range(20):
        tree.see(dict.fromkeys(("site", "tx"), steady(50_000)), {"site": 50_001, "tx": 49_900 + second % 3})

    assert not tree.memory["tx"].doubted


def test_a_stuck_meter_stays_convicted_while_no_other_is_heard_and_until_it_moves() -> None:
    everywhere = dict.fromkeys(("site", "tx", "pdu"), steady(50_000))
    tree = after_a_fall(stuck="site", shown_w={"site": 50_000, "tx": 50_000})

    tree.see(everywhere, {"site": 200_000}, seconds=60)
    assert tree.memory["site"].doubted
    assert tree.unexplained_w() == 0

    tree.see(everywhere, {"site": 200_001}, seconds=3)
    assert not tree.memory["site"].doubted
    assert tree.unexplained_w() > 140_000


def test_a_stuck_meter_stays_convicted_between_two_readings_of_one_that_is_read_less_often() -> None:
    everywhere = dict.fromkeys(("site", "tx", "pdu"), steady(50_000))
    tree = after_a_fall(stuck="site", shown_w={"site": 50_000, "tx": 50_000})

    for second in range(60):
        seldom = {"tx": 50_000 + second % 7} if second % 4 == 0 else {}
        tree.see(everywhere, {"site": 200_000, **seldom})
        assert tree.unexplained_w() == 0


def test_a_meter_that_stands_still_is_acquitted_by_others_that_come_to_show_as_much() -> None:
    tree = after_a_fall(stuck="tx", shown_w={"site": 50_000, "tx": 50_000})

    for second in range(20):
        tree.see(
            dict.fromkeys(("site", "tx"), steady(200_000)), {"site": 200_000 + second % 3, "tx": 200_000}
        )

    assert not tree.memory["tx"].doubted


def stood_still(shows_w: int, for_s: int, *, was_w: int = 9_500) -> Tree:
    """The only meter of a place stood still while machines came down from 9,000 to 2,000 W, and moves now."""
    tree = Tree(METERED)
    for second in range(60):
        tree.see({"site": steady(9_000)}, {"site": was_w + second % 3})
    tree.see({"site": steady(2_000)}, {"site": was_w}, seconds=for_s)
    tree.see({"site": steady(2_000)}, {"site": shows_w})
    return tree


def test_what_a_meter_taught_while_it_stood_still_is_forgotten_once_it_moves_and_shows_far_less() -> None:
    assert 500 <= stood_still(2_600, 120).unexplained_w() <= 620


def test_what_a_meter_taught_while_it_stood_still_stays_as_far_as_it_goes_on_to_show_it() -> None:
    assert stood_still(9_499, 120).unexplained_w() >= 7_400
    assert 3_900 <= stood_still(6_000, 120).unexplained_w() <= 4_100


def test_a_meter_that_stood_still_for_a_moment_unlearns_what_it_taught_as_slowly_as_any() -> None:
    assert stood_still(2_600, 30).unexplained_w() >= 5_000


def test_load_that_was_learned_before_its_meter_stood_still_contradicts_nobody() -> None:
    tree = Tree(DEEP)
    for second in range(20):
        tree.see({"site": steady(100_000)}, {"site": 100_000 + second % 3, "tx": 20_000 + second % 3})
    for second in range(40):
        tree.see({"site": steady(100_000)}, {"site": 140_000, "tx": 20_000 + second % 3})

    assert not tree.memory["site"].doubted
    assert tree.unexplained_w() > 15_000


@pytest.mark.parametrize("rise_w", [5_000, 25_000])
def test_claims_that_rise_while_a_meter_stands_still_do_not_explain_what_it_shows(rise_w: int) -> None:
    """Where it shows less than half of them it is doubted anyhow."""
    tree = Tree(METERED)
    for second in range(60):
        tree.see({"site": steady(20_000)}, {"site": 23_000 + second % 3})
    learned_w = tree.unexplained_w()

    tree.see({"site": steady(20_000 + rise_w)}, {"site": 23_000}, seconds=300)

    assert learned_w > 2_700
    assert abs(tree.unexplained_w() - learned_w) < 150


def after_a_rise(rise_w: int, *, seconds: int, before: Below | None = None) -> Tree:
    """Devices below a meter that stands still draw more, for so long, than when it last moved."""
    tree = Tree(METERED)
    tree.see({"site": before or steady(20_000)}, {"site": 23_000}, seconds=20)
    tree.see({"site": steady(20_000 + rise_w)}, {"site": 23_000}, seconds=seconds)
    return tree


def test_a_meter_that_slept_through_a_rise_is_doubted_until_it_moves() -> None:
    tree = after_a_rise(3_000, seconds=60)
    doubted = tree.memory["site"].doubted

    tree.see({"site": steady(23_000)}, {"site": 23_001})
    moved = tree.memory["site"].doubted
    tree.see({"site": steady(23_000)}, {"site": 23_001}, seconds=300)

    assert (doubted, moved) == (True, False)
    assert (tree.memory["site"].doubted, tree.unexplained_w() < 150) == (False, True)


def test_a_meter_that_stands_still_for_less_than_a_minute_may_be_asked_rarely() -> None:
    tree = after_a_rise(3_000, seconds=39)

    assert not tree.memory["site"].doubted


def test_a_meter_that_shows_whole_kilowatts_may_stand_still_while_devices_rise_by_less() -> None:
    coarse = Tree(METERED)
    coarse.see({"site": steady(8_000)}, {"site": 9_000}, seconds=20)
    coarse.see({"site": steady(9_000)}, {"site": 9_000}, seconds=300)

    noisy = Tree(METERED)
    noisy.see({"site": steady(200_000)}, {"site": 220_000}, seconds=20)
    noisy.see({"site": steady(209_000)}, {"site": 220_000}, seconds=300)

    assert (coarse.memory["site"].doubted, noisy.memory["site"].doubted) == (False, False)


def test_a_rise_that_brought_a_coarse_meter_to_what_it_shows_does_not_convict_it() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(20_000)}, {"site": 20_000}, seconds=100)

    tree.see({"site": steady(24_000)}, {"site": 24_000}, seconds=100)

    assert not tree.memory["site"].doubted


def test_a_device_that_was_silent_when_the_meter_last_moved_is_not_taken_for_a_rise() -> None:
    was_silent = Below(worst_w=23_500, busy_w=23_500, settled_w=20_000)

    tree = after_a_rise(3_500, seconds=300, before=was_silent)

    assert not tree.memory["site"].doubted


def test_devices_that_are_lowered_do_not_convict_a_meter_that_stands_still() -> None:
    """A liar looks like that."""
    tree = after_a_rise(-8_000, seconds=300)

    assert not tree.memory["site"].doubted
    assert tree.unexplained_w() > 10_000


def test_a_frozen_meter_that_cannot_be_read_for_a_while_is_frozen_still() -> None:
    tree = Tree(METERED)
    tree.see({"site": steady(20_000)}, {"site": 23_000}, seconds=200)
    learned_w = tree.unexplained_w()

    tree.see({"site": steady(23_000)}, {}, seconds=60)
    tree.see({"site": steady(23_000)}, {"site": 23_000}, seconds=300)

    assert (tree.memory["site"].doubted, tree.unexplained_w()) == (True, learned_w)


def test_a_meter_that_shows_nothing_while_nobody_below_answers_is_believed_and_teaches_nothing() -> None:
    """Its breaker opened: what no device accounts for is off with the devices, and comes back with them."""
    tree = Tree(site(node("hall", meter="hall"), node("pdu", "hall", fixed_w=900)))
    tree.see({"hall": steady(5_000)}, {"hall": 7_000}, seconds=120)
    learned_w = tree.unexplained_w("hall")

    tree.see({}, {"hall": 0}, seconds=60)

    assert learned_w > 1_000
    assert not tree.memory["hall"].doubted
    assert tree.unexplained_w("hall") == learned_w


def test_a_meter_that_shows_nothing_while_somebody_below_answers_is_doubted() -> None:
    tree = Tree(site(node("hall", meter="hall"), node("pdu", "hall", fixed_w=900)))

    tree.see({"hall": steady(5_000)}, {"hall": 0}, seconds=60)

    assert tree.memory["hall"].contradicts


# What one reading teaches of load at other claims


TAUGHT = 1 - math.exp(-1)
"""... within the time constant with which shares are learned."""


@pytest.mark.parametrize("fixed_w", [0, 300])
def test_what_a_meter_shows_beyond_all_that_may_be_drawn_is_learned_beside_the_fixed_load(
    fixed_w: int,
) -> None:
    shows = Shows(least_w=1_000.0 + fixed_w, most_w=5_000.0, claimed_w=30_000, busy_w=30_000)

    after = shows.taught(NOTHING, 0.0, Claims(0, fixed_w, 40_000), BEYOND_S)

    assert after.at(30_000) == pytest.approx(1_000 * TAUGHT)
    assert after.most_w == 30_000


def test_what_is_learned_at_most_claims_comes_down_to_the_watts_of_now() -> None:
    before = Beyond(fixed_w=1_000.0, most_w=30_000)
    shows = Shows(least_w=-9_000.0, most_w=5_000.0, claimed_w=22_500, busy_w=30_000)

    after = shows.taught(before, 200.0, Claims(0, 0, 40_000), BEYOND_S)

    assert after.at(30_000) == pytest.approx(1_000 - 800 * TAUGHT)


def test_where_little_is_claimed_only_what_the_meter_leaves_no_room_for_is_unlearned() -> None:
    before = Beyond(fixed_w=1_000.0, most_w=30_000)
    some = Shows(least_w=-9_000.0, most_w=400.0, claimed_w=22_499, busy_w=30_000)
    room = some._replace(most_w=1_000.0)

    after = some.taught(before, 200.0, Claims(0, 0, 40_000), BEYOND_S)

    assert after.at(22_499) == pytest.approx(1_000 - 600 * TAUGHT)
    assert room.taught(before, 200.0, Claims(0, 0, 40_000), BEYOND_S) == before
