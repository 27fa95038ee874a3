"""What must not be in a world that was played, and what is judged for safety alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from math import inf

from controller.domain.jobs import JobState
from tests.sim.daemon.fittings import first_sources
from tests.sim.daemon.judge import SITE_W
from tests.sim.daemon.prices import unsettled
from tests.sim.daemon.world import STEP_S, World

RECOVERED = 0.93
"""Of the site's limit: 1 % is margin, 1 % the floor of idle GPUs, and machines fill the rest in steps."""
LAST_S = 60.0
"""... on average over so long: where one machine is exchanged for a better one, a site dips for seconds."""
LASTING = ("lies_about_resume", "lies_about_limit")
"""A machine that said yes to a higher limit and took no more keeps its watts reserved, as one with a dead
board does; one that said it woke is given up after minutes, when these worlds are over. Both are judged for
safety alone."""


def problems(world: World) -> list[str]:
    """What must not be, in words; nothing if all is well."""
    truth = world.plant.truth()
    last = world.judge.verdict.used[-round(LAST_S / STEP_S) :]
    found = [
        f"{node} drew up to {over_w} W too much for {for_s:.1f} s from {at_s:.1f} s"
        for node, at_s, for_s, over_w in _spells(world)
    ]
    if truth.breaker_trips:
        found.append(f"{truth.breaker_trips} breakers tripped")
    if truth.miner_trips and not world.plant.zones:
        found.append(f"{truth.miner_trips} machines tripped")
    found += [*world.heat.found, *world.spending.found]
    found += unsettled(world.logs, first_sources(world.fitted))
    states = {one.state for one in world.queue.jobs.values()}
    if JobState.QUEUED in states and JobState.RUNNING not in states:
        found.append("a job waits, and none runs")
    # The judge asks nothing for the sake of an event that was never acknowledged.
    acked = {ack.event for ack in world.operator.acks}
    unheard = [event for event in world.events if event.cancel_s == inf and event.name not in acked]
    found += [f"{event.name} was never acknowledged" for event in unheard]
    can_recover = not any(fault.what in LASTING for fault in world.faults)
    kept_off = world.heat.kept_w / SITE_W
    if can_recover and (share := sum(last) / len(last) + kept_off) < RECOVERED:
        found.append(f"at the end {share:.1%} of the cap is used")
    return found


def _spells(world: World) -> Iterator[tuple[str, float, float, int]]:
    """Breaches of one node that follow one another: node, start, length, the most of it."""
    by_node = sorted(world.judge.verdict.breaches, key=lambda breach: (breach[1], breach[0]))
    for node, breaches in groupby(by_node, key=lambda breach: breach[1]):
        spell: list[tuple[float, float]] = []
        for at_s, _, over_w in [*breaches, (inf, node, 0.0)]:
            if spell and at_s - spell[-1][0] > 2 * STEP_S:
                length_s = spell[-1][0] - spell[0][0] + STEP_S
                yield node, spell[0][0], length_s, round(max(over for _, over in spell))
                spell = []
            spell.append((at_s, over_w))
