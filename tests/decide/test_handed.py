"""What a process hands to the next one: who rests, who was stopped for money, what no machine claims."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.decide.beyond import Beyond
from controller.decide.device import DeviceState
from controller.decide.doubt import GIVEN_UP_S, IDLE_REST_S
from controller.decide.handed import Handed, Line, handed_on, taken_up
from controller.decide.metering import NodeMemory
from controller.decide.snapshot import State
from controller.domain.site import Node, Site, Thresholds
from tests.decide.builders import NOW_S, UTC_S, event, miner, node, site
from tests.decide.world import World, asleep, awake, prices

BREAK_EVEN = 150 * 0.05 / 24 / 2.4
BAND = Thresholds(stop_below=0.0, start_above=0.01, least_on_s=120.0, least_off_s=600.0)
METERED = site(limit_w=35_000, meter="mains")


def next_process(world: World, after_s: float = 0.0, clock_s: float = 0.0, here: Site | None = None) -> None:
    """A restart; meanwhile `after_s` pass, the clock on the wall is set by `clock_s`, and the site file says
    what is `here` from now on."""
    kept = handed_on(world.site, world.state, world.now_s, UTC_S)
    world.site = here or world.site
    world.state = taken_up(kept, world.site, world.now_s, UTC_S + after_s + clock_s)
    world.readings = {}


def in_band() -> Site:
    plain = site()
    return replace(plain, policy=replace(plain.policy, profit=BAND))


def stopped_for_money() -> World:
    world = World(in_band(), [awake(miner())])
    world.run(200)
    world.prices = prices(usd_per_kwh=BREAK_EVEN + 0.05)
    world.run(60)
    assert world.machines["m"].at.name == "sleep"
    return world


def stands_for_s(world: World) -> float:
    """How long the machine stands on at a price at which it earns."""
    world.prices = prices(usd_per_kwh=BREAK_EVEN - 0.02)
    began_s = world.now_s
    while world.machines["m"].at.name == "sleep" and world.now_s - began_s < 2_000:
        world.tick()
    return world.now_s - began_s


@pytest.mark.parametrize(("after_s", "clock_s", "stands_s"), [(0, 0, 540), (400, 0, 140), (0, -3_600, 600)])
def test_a_machine_that_was_stopped_for_money_stands_for_its_least_time_whatever_process_is_there(
    after_s: float, clock_s: float, stands_s: float
) -> None:
    """It stands for a minute already. When a clock was set back nobody knows for how long: for all of it."""
    world = stopped_for_money()

    next_process(world, after_s, clock_s)

    assert stands_for_s(world) == pytest.approx(stands_s, abs=15)


def test_a_machine_that_was_stopped_for_money_waits_for_the_upper_end_of_the_band_after_a_restart() -> None:
    world = stopped_for_money()

    next_process(world, after_s=3_600.0)
    world.prices = prices(usd_per_kwh=BREAK_EVEN - 0.005)
    world.run(60)

    assert world.machines["m"].at.name == "sleep"


def test_a_machine_that_somebody_started_meanwhile_was_not_stopped() -> None:
    world = stopped_for_money()
    next_process(world)
    world.machines["m"].go(miner().points[-1], world.now_s)
    world.prices = prices(usd_per_kwh=BREAK_EVEN - 0.005)

    world.run(60)

    assert world.machines["m"].at.name != "sleep"


def test_a_machine_that_stands_for_a_limit_is_not_handed_on_as_stopped_for_money() -> None:
    world = World(in_band(), [awake(miner())])
    world.events = (event(limit_w=30, start_s=world.now_s + 10),)
    world.run(60)

    assert world.machines["m"].at.name == "sleep"
    assert handed_on(world.site, world.state, world.now_s, UTC_S).stands_utc_s == {}


def given_up() -> World:
    world = World(site(), [asleep(miner(), refuses=True)])
    while world.state.devices.get("m", DeviceState()).given_up_s == -math.inf:
        world.tick()
    world.machines["m"].refuses = False
    return world


@pytest.mark.parametrize(("after_s", "clock_s"), [(0, 0), (600, 0), (0, -7_200), (GIVEN_UP_S + 1, 0)])
def test_a_machine_that_was_told_in_vain_rests_on_after_a_restart(after_s: float, clock_s: float) -> None:
    world = given_up()

    next_process(world, after_s, clock_s)
    began_s = world.now_s
    while world.machines["m"].at.name == "sleep":
        world.tick()

    assert world.now_s - began_s == pytest.approx(max(0.0, GIVEN_UP_S - after_s), abs=20)


def test_the_rest_of_a_machine_without_work_is_no_longer_than_it_can_be() -> None:
    state = State(devices={"m": DeviceState(rests_s=NOW_S + 200.0)})
    kept = handed_on(site(), state, NOW_S, UTC_S)

    def rests_s(passed_s: float) -> float:
        after = taken_up(kept, site(), NOW_S, UTC_S + passed_s).devices.get("m", DeviceState())
        return after.rests_s - NOW_S

    assert (rests_s(50.0), rests_s(-7_200.0), rests_s(300.0)) == (150.0, IDLE_REST_S, -math.inf)


def test_machines_that_draw_more_than_they_claim_do_not_pass_the_limit_after_a_restart_under_an_event() -> (
    None
):
    world = World(
        METERED,
        [awake(miner(f"m{at}"), share=1.05, tells=1 / 1.05, rise_s=5.0) for at in range(10)],
        meter_lag_s=1.0,
        noise=0.002,
    )
    world.run(240)
    world.site = site(limit_w=2_000, meter="mains")
    world.run(200)

    next_process(world)
    world.run(30)
    world.site = METERED
    began_s = world.now_s
    world.run(100)

    assert [breach for breach in world.breaches if breach[0] >= began_s] == []


LINE = Line(meter="mains", fixed_w=100.0, share=0.05, most_w=30_000, seen_utc_s=UTC_S)


@pytest.mark.parametrize(
    ("line", "believed"),
    [
        (LINE, True),
        (replace(LINE, seen_utc_s=UTC_S - 86_399.0), True),
        (replace(LINE, seen_utc_s=UTC_S - 86_401.0), False),
        (replace(LINE, seen_utc_s=UTC_S + 86_401.0), True),
        (replace(LINE, meter="another"), False),
        (replace(LINE, share=0.061), False),
        (replace(LINE, fixed_w=-1.0), False),
        (replace(LINE, fixed_w=math.nan), False),
        (replace(LINE, fixed_w=35_001.0), False),
        (replace(LINE, most_w=-1), False),
        (replace(LINE, most_w=0), True),
    ],
)
def test_what_a_meter_showed_beyond_claims_is_believed_for_a_day_and_of_the_same_meter(
    line: Line, believed: bool
) -> None:
    """A clock that was set back is no reason to keep less free."""
    state = taken_up(Handed(lines={"site": line, "gone": LINE}), METERED, NOW_S, UTC_S)

    expected = {"site": NodeMemory(beyond=Beyond(100.0, 0.05, line.most_w))} if believed else {}
    assert state.nodes == expected


NAMED = replace(LINE, fixed_w=8_000.0, declared_w=1_000, metered=("row",))
ROW = node("row", meter="row-meter", fixed_w=400)


@pytest.mark.parametrize(
    ("here", "fixed_w"),
    [
        (site(ROW, limit_w=35_000, meter="mains", fixed_w=600), 8_000.0),
        (site(ROW, limit_w=35_000, meter="mains", fixed_w=5_600), 3_000.0),
        (site(ROW, node("fans", fixed_w=5_000), limit_w=35_000, meter="mains", fixed_w=600), 3_000.0),
        (site(ROW, limit_w=35_000, meter="mains", fixed_w=20_000), 0.0),
        (site(ROW, limit_w=35_000, meter="mains"), 8_000.0),
        (site(ROW, node("fans", meter="f"), limit_w=35_000, meter="mains", fixed_w=600), 0.0),
        (site(limit_w=35_000, meter="mains", fixed_w=1_000), 8_000.0),
    ],
    ids=[
        "as it was",
        "named here",
        "named below",
        "more than was hidden",
        "no more",
        "measured",
        "not measured",
    ],
)
def test_of_what_a_meter_showed_beyond_claims_the_fixed_part_is_less_by_what_the_site_file_names_since(
    here: Site, fixed_w: float
) -> None:
    """What rises with claims is not named by anybody."""
    state = taken_up(Handed(lines={"site": NAMED}), here, NOW_S, UTC_S)

    assert state.nodes["site"].beyond == Beyond(fixed_w, 0.05, 30_000)


def test_a_line_of_a_version_that_did_not_say_what_was_named_is_believed_as_it_is() -> None:
    here = site(node("fans", meter="f"), limit_w=35_000, meter="mains", fixed_w=5_000)

    assert taken_up(Handed(lines={"site": LINE}), here, NOW_S, UTC_S).nodes["site"].beyond.fixed_w == 100.0


@pytest.mark.parametrize(
    "fans", [node("fans", fixed_w=12_000), node("fans", meter="fans-meter")], ids=["named", "measured"]
)
def test_load_that_gets_a_name_or_a_meter_is_not_kept_free_a_second_time_after_the_restart(
    fans: Node,
) -> None:
    """It stopped four to six of fourteen machines, for minutes: whoever followed the alarm lost by it."""
    here = site(limit_w=60_000, meter="mains", margin=0.01)
    world = World(here, [awake(miner(f"m{at:02}")) for at in range(20)], meter_lag_s=1.0, noise=0.001)
    world.other_w["site"] = 12_000.0
    world.run(900)
    before_w = world.watts()

    next_process(world, here=replace(here, nodes=(*here.nodes, fans)))
    world.other_w = {"site": 0.0, "fans": 12_000.0}
    lowest_w = min(world.watts() for _ in range(300) if world.tick())

    assert lowest_w >= before_w - miner().points[-1].power.watts


def test_a_line_is_handed_on_as_old_as_what_its_meter_showed_last() -> None:
    shown = NodeMemory(beyond=Beyond(100.0, 0.05, 30_000), at_s=NOW_S - 500.0)
    never = NodeMemory()
    inner = site(limit_w=35_000, meter="mains")

    assert handed_on(inner, State(nodes={"site": never}), NOW_S, UTC_S).lines == {}
    kept = handed_on(inner, State(nodes={"site": shown}), NOW_S, UTC_S).lines
    assert kept == {"site": replace(LINE, seen_utc_s=UTC_S - 500.0, declared_w=0, metered=())}


def test_a_line_is_handed_on_with_the_load_named_below_it_and_the_places_that_are_measured_there() -> None:
    below = (node("row", meter="row-meter", fixed_w=400), node("rack", "row", meter="m", fixed_w=50))
    hall = (node("hall", fixed_w=5), node("fans", "hall", meter="fans-meter"))
    here = site(*below, *hall, meter="mains", fixed_w=1_000)
    shown = NodeMemory(at_s=NOW_S)

    kept = handed_on(here, State(nodes={"site": shown, "row": shown}), NOW_S, UTC_S).lines

    assert (kept["site"].declared_w, kept["site"].metered) == (1_455, ("row", "fans"))
    assert (kept["row"].declared_w, kept["row"].metered) == (450, ("rack",))


DWELL_S = 300.0


def lowered(dwell_s: float = DWELL_S) -> World:
    """Two machines that dwell for minutes; one was lowered a moment ago, for a limit that is over."""
    patient = [replace(miner(name), dwell_s=dwell_s) for name in ("a", "b")]
    world = World(site(limit_w=7_500), [awake(spec) for spec in patient])
    world.run(400)
    world.site = site(limit_w=6_500)
    world.run(30)
    world.site = site(limit_w=7_500)
    return world


def full_after_s(world: World) -> dict[str, float]:
    """When each machine is seen at full power, from now on."""
    began_s, found = world.now_s, dict[str, float]()
    while len(found) < len(world.machines) and world.now_s - began_s < 1_000:
        world.tick()
        full = [name for name, machine in world.machines.items() if machine.at.name == "full"]
        found |= {name: world.now_s - began_s for name in full if name not in found}
    return found


@pytest.mark.parametrize(
    ("after_s", "clock_s", "left_s"), [(0, 0, 270), (200, 0, 70), (400, 0, 0), (0, -7_200, 300)]
)
def test_a_dwell_goes_on_after_a_restart_and_begins_anew_only_where_a_clock_was_set_back(
    after_s: float, clock_s: float, left_s: float
) -> None:
    world = lowered()

    next_process(world, after_s, clock_s)

    assert max(full_after_s(world).values()) == pytest.approx(left_s, abs=20)


def test_whoever_was_not_changed_of_late_does_not_dwell_after_a_restart() -> None:
    world = lowered()
    world.site = site(limit_w=6_500)
    world.run(400)

    next_process(world)
    world.site = site(limit_w=7_500)

    assert max(full_after_s(world).values()) < 60


def test_without_a_note_of_the_process_before_every_dwell_begins_anew() -> None:
    world = lowered()
    world.state = State()

    assert max(full_after_s(world).values()) == pytest.approx(DWELL_S, abs=20)


@pytest.mark.parametrize(
    ("after_s", "clock_s", "rests"), [(0, 0, True), (3_600, 0, False), (0, -7_200, True)]
)
def test_a_machine_that_was_started_as_often_as_it_may_be_rests_after_a_restart_too(
    after_s: float, clock_s: float, rests: bool
) -> None:
    world = World(site(limit_w=7_500), [asleep(replace(miner(), starts_per_hour=1))])
    world.run(120)
    world.site = site(limit_w=100)
    world.run(120)
    assert world.machines["m"].at.name == "sleep"

    next_process(world, after_s, clock_s)
    world.site = site(limit_w=7_500)
    world.run(300)

    assert (world.machines["m"].at.name == "sleep") is rests


def test_starts_are_handed_on_of_those_alone_that_had_half_as_many_as_they_may_have() -> None:
    often = [asleep(replace(miner(f"m{most}"), starts_per_hour=most)) for most in (1, 2, 3)]
    world = World(site(limit_w=20_000), often)
    world.run(300)

    kept = handed_on(world.site, world.state, world.now_s, UTC_S)

    assert {machine.at.name for machine in world.machines.values()} == {"full"}
    assert kept.started_utc_s.keys() == {"m1", "m2"}


# Who is silent


def with_silent() -> World:
    """Eight machines at work, and others asleep behind a switch that failed, below a meter."""
    machines = [
        *(awake(miner(f"a{at}")) for at in range(8)),
        *(asleep(miner(f"b{at:02}")) for at in range(16)),
    ]
    world = World(site(limit_w=30_000, meter="mains"), machines, noise=0.002)
    world.run(30)
    for name, machine in world.machines.items():
        machine.unheard = name.startswith("b")
    world.run(60)
    return world


def test_the_silent_count_after_a_restart_as_before_it() -> None:
    """Nothing is known of them after it but that, and the meter shows that they still draw as much."""
    world = with_silent()
    before_w = world.watts()

    next_process(world)
    world.run(60)
    next_process(world)
    world.run(60)

    assert before_w > 5 * 3_500
    assert world.watts() == before_w


def test_what_the_silent_come_to_draw_after_a_restart_is_theirs() -> None:
    world = with_silent()
    next_process(world)
    world.run(60)

    for at in range(4):
        world.machines[f"b{at:02}"].go(miner().points[-1], world.now_s)
    world.run(40)

    assert world.watts() <= 30_000


def test_what_the_silent_drew_is_handed_on_of_them_alone() -> None:
    world = with_silent()

    kept = handed_on(world.site, world.state, world.now_s, UTC_S)

    assert kept.silent_w.keys() == {f"b{at:02}" for at in range(16)}
    assert all(watts >= world.machines[name].watts(world.now_s) for name, watts in kept.silent_w.items())
