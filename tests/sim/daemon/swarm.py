"""What goes wrong in a world, chosen by its seed: some kinds of trouble, not all, each for a while."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from tests.sim.daemon.fittings import (
    ENERGY_TOPIC,
    FEED,
    HEAT,
    PRICES,
    USUAL_USD_PER_KWH,
    USUAL_USD_PER_THS_DAY,
    ZONES,
)
from tests.sim.daemon.judge import SETTLED_S, Event, Fault
from tests.sim.daemon.pricefeed import SPOILS, UNITS
from tests.sim.daemon.world import World

CALM_S = 330.0
"""Here everything that was broken is mended."""
END_S = 450.0
ON_FOR_S = (5.0, 60.0)
WITH_JOBS = 0.5
ON = 0.25
"""How likely each kind that is drawn apart is in a seed."""

Kind = Callable[[random.Random], Iterator[Fault]]

LUXOS = tuple(f"luxos-{at:03d}" for at in range(4))
MINERS = (*LUXOS, *(f"whatsminer-{at:03d}" for at in range(3)),
          *(f"antminer-{at:03d}" for at in range(2)))  # fmt: skip
HOSTS = (*(f"127.79.1.{at}" for at in range(1, 5)), *(f"127.79.2.{at}" for at in range(1, 4)),
         *(f"127.79.3.{at}" for at in range(1, 3)), "127.0.0.1")  # fmt: skip
GPUS = ("h100-000", "h100-001")
METERS = ("main", "a")
BREAKERS = ("pdu-a", "pdu-b", "site")
METER_OF = {"pdu-a": "a", "site": "main"}
COOLS_FROM_S = 240.0
"""What takes its time to be as it was is mended by then."""
FORGOTTEN_FROM_S = 190.0
"""Foreign load is away by then: what was kept for it is given back within minutes."""
FORGETS_S = 120.0
"""... in which a site may draw what it wants: so much longer are worlds that had some."""
USD_PER_KWH = (-0.03, 0.03, 0.05, 0.2, 0.5)
USD_PER_THS_DAY = (0.008, 0.05, 0.09)
FEED_TROUBLE: Mapping[str, Sequence[bool | float]] = {
    "feed_is_silent": (True,),
    "feed_is_away": (True,),
    "feed_late_s": (5.0, 45.0, 150.0),
    "feed_doubles": (0.5, 1.0),
    "feed_ahead_s": (-3600.0, -60.0, 3.0, 60.0, 3600.0),
    "feed_unit": range(1, len(UNITS[ENERGY_TOPIC])),
    "feed_spoilt": range(1, len(SPOILS)),
}
FEED_MISTAKES = ("feed_unit", "feed_spoilt", "feed_ahead_s")
"""Shorter than the rest: while one lasts, nothing else that happens to a feed shows."""
WALK_S = (15.0, 150.0)
"""How long a person takes to close a breaker again."""


def swarm(world: World, always: Collection[str] = ()) -> World:
    """Give `world` its faults and events. The kinds drawn apart that are named in `always` are in it."""
    choice = world.random
    kinds = choice.sample(sorted(KINDS.keys() - {"jobs"}), choice.randint(2, 5))
    if choice.random() < WITH_JOBS:
        kinds.append("jobs")
    faults = [fault for kind in kinds for fault in KINDS[kind](choice)]
    world.faults = sorted([*faults, *drawn_apart(world.seed, always)], key=lambda fault: fault.at_s)
    world.events = list(_events(choice))
    return world


def end_s(world: World) -> float:
    """Here all that it may draw must be in use again."""
    had_foreign_load = any(fault.what == "foreign_w" for fault in world.faults)
    return END_S + FORGETS_S if had_foreign_load else END_S


def drawn_apart(seed: int, always: Collection[str] = ()) -> Iterator[Fault]:
    """What came later has a generator of its own, so that the rest of a seed stays as it was."""
    for what, choice in _choices(seed, always):
        yield from APART[what](choice)


def fitted(seed: int, always: Collection[str] = ()) -> frozenset[str]:
    """What the world of `seed` has that not every world has: without it some kinds have no subject."""
    return frozenset(what for what, _ in _choices(seed, always)) & FITTINGS


def _choices(seed: int, always: Collection[str]) -> Iterator[tuple[str, random.Random]]:
    for what in APART:
        choice = random.Random(f"{seed}/{what}")
        if choice.random() < ON or what in always:
            yield what, choice


def _events(choice: random.Random) -> Iterator[Event]:
    for at in range(choice.randint(1, 3)):
        yield Event(
            at_s=round(choice.uniform(SETTLED_S, CALM_S - 150), 1),
            name=f"event-{at}",
            kw=round(choice.uniform(8, 26), 1),
            in_s=round(choice.choice([0.0, 5.0, 30.0, 60.0]), 1),
            for_s=round(choice.uniform(30, 150), 1),
            cancel_s=round(choice.uniform(10, 60), 1) if choice.random() < 0.2 else float("inf"),
        )


def _start_s(choice: random.Random) -> float:
    return round(choice.uniform(SETTLED_S, CALM_S - 70), 1)


def _a_while(
    choice: random.Random, what: str, subjects: Sequence[str], value: bool | float = True, calm: float = 0
) -> Iterator[Fault]:
    """On each of `subjects`, at a time of its own; over before the calm."""
    for subject in subjects:
        start_s = _start_s(choice)
        yield Fault(start_s, what, subject, value)
        yield Fault(round(start_s + choice.uniform(*ON_FOR_S), 1), what, subject, type(value)(calm))


def _until_calm(choice: random.Random, what: str, subjects: Sequence[str]) -> Iterator[Fault]:
    for subject in subjects:
        yield Fault(_start_s(choice), what, subject, True)
        yield Fault(CALM_S, what, subject, False)


def _once(choice: random.Random, what: str, subjects: Sequence[str]) -> Iterator[Fault]:
    for subject in subjects:
        yield Fault(_start_s(choice), what, subject, True)


def _some(choice: random.Random, among: Sequence[str], most: int = 3) -> Sequence[str]:
    return choice.sample(among, choice.randint(1, most))


def _miners_for_a_while(what: str) -> Kind:
    return lambda choice: _a_while(choice, what, _some(choice, MINERS))


def _liars(what: str) -> Kind:
    return lambda choice: _until_calm(choice, what, _some(choice, MINERS, 2))


def _reboots(choice: random.Random) -> Iterator[Fault]:
    forgetful, rebooting = _some(choice, MINERS), _some(choice, MINERS)
    yield from (Fault(SETTLED_S, "forgets_limit_on_reboot", miner, True) for miner in forgetful)
    yield from _once(choice, "reboot_now", rebooting)


def _slow_answers(choice: random.Random) -> Iterator[Fault]:
    return _a_while(choice, "slow_s", _some(choice, MINERS), round(choice.uniform(1, 8), 1))


def _slow_network(choice: random.Random) -> Iterator[Fault]:
    return _a_while(choice, "slow", _some(choice, HOSTS, 4), round(choice.uniform(0.2, 2), 1))


def _wrong_unit(choice: random.Random) -> Iterator[Fault]:
    """Watts told as kilowatts, or kilowatts as watts."""
    factor = choice.choice([0.001, 1000.0])
    return _a_while(choice, "reported_power_factor", _some(choice, MINERS, 2), factor, calm=1)


def _dark_site(choice: random.Random) -> Iterator[Fault]:
    """A switch goes: every machine at once."""
    start_s, for_s = _start_s(choice), round(choice.uniform(*ON_FOR_S), 1)
    for host in HOSTS:
        yield Fault(start_s, "dark", host, True)
        yield Fault(start_s + for_s, "dark", host, False)


def _stalls(choice: random.Random) -> Iterator[Fault]:
    for _ in range(choice.randint(1, 4)):
        yield Fault(_start_s(choice), "stall", "", round(choice.uniform(0.5, 4), 1))


def _kills(choice: random.Random) -> Iterator[Fault]:
    for _ in range(choice.randint(1, 3)):
        yield Fault(_start_s(choice), "kill", "", round(choice.uniform(0.5, 8), 1))


def _jobs(choice: random.Random) -> Iterator[Fault]:
    """No trouble, but work: freed watts go to it, and come back."""
    for _ in range(choice.randint(1, 3)):
        yield Fault(_start_s(choice), "job", "", round(choice.uniform(20, 90), 1))


def _clock_jumps(choice: random.Random) -> Iterator[Fault]:
    return _a_while(choice, "clock_jump", [""], round(choice.uniform(-2, 2), 1))


KINDS: Mapping[str, Kind] = {
    **{
        what: _miners_for_a_while(what)
        for what in ("hangs", "dead", "half_reply", "garbage", "never_closes", "refuses", "pool_loss")
    },
    **{what: _liars(what) for what in ("lies_about_stop", "lies_about_limit", "lies_about_resume")},
    "session_stolen": lambda choice: _a_while(choice, "session_stolen", _some(choice, LUXOS)),
    "frozen_reads": lambda choice: _a_while(choice, "frozen_reads", _some(choice, MINERS, 1)),
    "reboots": _reboots,
    "slow_answers": _slow_answers,
    "slow_network": _slow_network,
    "wrong_unit": _wrong_unit,
    "dark": lambda choice: _a_while(choice, "dark", _some(choice, HOSTS)),
    "dark_site": _dark_site,
    "meter_dead": lambda choice: _a_while(choice, "dead", _some(choice, METERS, 2)),
    "gpu_lost": lambda choice: _a_while(choice, "lost", _some(choice, GPUS, 1)),
    "gpu_resets": lambda choice: _once(choice, "reset_limit_now", GPUS),
    "broker_away": lambda choice: _a_while(choice, "broker_away", [""]),
    "operator_silent": lambda choice: _a_while(choice, "silent", [""]),
    "repeats": lambda choice: _a_while(choice, "repeats", [""], 0.5),
    "reorders": lambda choice: _a_while(choice, "reorders", [""], 0.5),
    "clock_jumps": _clock_jumps,
    "stalls": _stalls,
    "kills": _kills,
    "jobs": _jobs,
}


def _frozen_meter(choice: random.Random) -> Iterator[Fault]:
    return _a_while(choice, "frozen_reads", [choice.choice(METERS)])


def _meter_in_another_unit(choice: random.Random) -> Iterator[Fault]:
    factor = choice.choice([0.001, 1000.0])
    return _a_while(choice, "reported_power_factor", [choice.choice(METERS)], factor, calm=1)


def _clock_steps(choice: random.Random) -> Iterator[Fault]:
    """The wall clock steps by what no skew makes up for, and is set right in one or two steps: an NTP server
    that is wrong, a board without a battery, a person who mistook the zone."""
    by_s = choice.choice([-1, 1]) * choice.choice([8.0, 60.0, 600.0, 3600.0, 86_400.0])
    at_s = round(choice.uniform(0, CALM_S - 120), 1)
    yield Fault(at_s, "clock_jump", "", by_s)
    at_s = round(min(CALM_S, at_s + choice.choice([5.0, 40.0, 150.0]) * choice.uniform(0.5, 1.5)), 1)
    if choice.random() < 0.3:
        yield Fault(at_s, "clock_jump", "", -by_s)
        at_s = round(min(CALM_S, at_s + choice.uniform(*ON_FOR_S)), 1)
    yield Fault(at_s, "clock_jump", "", 0.0)


def _trips(choice: random.Random) -> Iterator[Fault]:
    """A breaker opens by nuisance; a person closes it, and perhaps twice. Its meter may hang below it. What
    boots is found, and waits for its dwell: it is closed long before the calm."""
    node = choice.choice([*BREAKERS, "pdu-a"])
    meter_too = node != "pdu-b" and choice.random() < 0.5
    at_s = round(choice.uniform(SETTLED_S, COOLS_FROM_S - 30), 1)
    for _ in range(choice.choice([1, 1, 2])):
        closed_s = round(min(COOLS_FROM_S, at_s + choice.uniform(*WALK_S)), 1)
        parts = [("breaker_open", node), *([("dead", METER_OF[node])] if meter_too else [])]
        yield from (Fault(at_s, what, part, True) for what, part in parts)
        yield from (Fault(closed_s, what, part, False) for what, part in parts)
        at_s = round(closed_s + choice.uniform(5, 40), 1)
        if at_s >= COOLS_FROM_S:
            return


def _heat(choice: random.Random) -> Iterator[Fault]:
    """A heat wave, fans that stand still, and sensors that say nothing meanwhile. A hall takes its time to
    cool: all is mended long before the calm."""
    for hall in _some(choice, tuple(ZONES), 2):
        kinds = choice.choice([("fans_stopped",), ("supply_offset_c",), ("fans_stopped", "supply_offset_c")])
        kinds = (*kinds, "sensor_dead") if choice.random() < 0.3 else kinds
        for what in kinds:
            at_s = round(choice.uniform(SETTLED_S, COOLS_FROM_S - 30), 1)
            until_s = round(min(COOLS_FROM_S, at_s + choice.uniform(20, 150)), 1)
            warmer_c = round(choice.uniform(6, 35), 1)
            yield Fault(at_s, what, hall, warmer_c if what == "supply_offset_c" else True)
            yield Fault(until_s, what, hall, 0.0 if what == "supply_offset_c" else False)


def _moving(choice: random.Random, what: str, among: Sequence[float], usual: float) -> Iterator[Fault]:
    """A price, from well before the calm on what it usually is."""
    at_s = round(choice.uniform(SETTLED_S - 30, SETTLED_S + 30), 1)
    while at_s < COOLS_FROM_S:
        yield Fault(at_s, what, "", choice.choice(among))
        at_s = round(at_s + choice.uniform(20, 110), 1)
    yield Fault(COOLS_FROM_S, what, "", usual)


def _prices(choice: random.Random) -> Iterator[Fault]:
    """The price of energy moves, at times beyond what any machine earns; its file is late, or badly done."""
    yield from _moving(choice, "price", USD_PER_KWH, USUAL_USD_PER_KWH)
    for what, value in (("price_silent", 1), ("price_broken", choice.randint(1, 4))):
        if choice.random() < 0.4:
            at_s = round(choice.uniform(SETTLED_S - 30, COOLS_FROM_S - 30), 1)
            until_s = round(min(COOLS_FROM_S, at_s + choice.uniform(10, 150)), 1)
            yield Fault(at_s, what, "", value)
            yield Fault(until_s, what, "", 0)


def _price_feed(choice: random.Random) -> Iterator[Fault]:
    """The prices of energy and of hashing come over MQTT, and move; messages are late, doubled, damaged, in
    another unit or in a wrong one, dated by another clock, or do not come."""
    yield from _moving(choice, "feed_energy", USD_PER_KWH, USUAL_USD_PER_KWH)
    yield from _moving(choice, "feed_hash", USD_PER_THS_DAY, USUAL_USD_PER_THS_DAY)
    for what, values in FEED_TROUBLE.items():
        if choice.random() < 0.35:
            value = choice.choice(values)
            at_s = round(choice.uniform(SETTLED_S - 30, COOLS_FROM_S - 90), 1)
            for_s = choice.uniform(20, 60) if what in FEED_MISTAKES else choice.uniform(90, 180)
            until_s = round(min(COOLS_FROM_S, at_s + for_s), 1)
            yield Fault(at_s, what, "", value)
            yield Fault(until_s, what, "", type(value)(0))


def _foreign_load(choice: random.Random) -> Iterator[Fault]:
    """Somebody connects heaters below a meter and takes them away again. Breakers bear that for minutes."""
    at_s = round(choice.uniform(SETTLED_S - 30, FORGOTTEN_FROM_S - 30), 1)
    until_s = round(min(FORGOTTEN_FROM_S, at_s + choice.uniform(20, 150)), 1)
    node = choice.choice(["pdu-a", "pdu-a", "site"])
    yield Fault(at_s, "foreign_w", node, round(choice.uniform(500, 9_000), 0))
    yield Fault(until_s, "foreign_w", node, 0.0)


APART: Mapping[str, Kind] = {
    "meter_frozen": _frozen_meter,
    "meter_unit": _meter_in_another_unit,
    "clock_steps": _clock_steps,
    "trips": _trips,
    HEAT: _heat,
    PRICES: _prices,
    FEED: _price_feed,
    "foreign_load": _foreign_load,
}
FITTINGS = frozenset({HEAT, PRICES, FEED})
