"""What a seed has in store."""

from __future__ import annotations

from tests.sim.floor import draw_floor
from tests.sim.swarm import KINDS, Swarm, draw_swarm

CALM_S = 6000.0


def drawn(seed: int, exactly: tuple[str, ...] | None) -> Swarm:
    return draw_swarm(seed, draw_floor(seed, 24), CALM_S, exactly=exactly)


def test_every_seed_has_exactly_the_faults_that_were_asked_for() -> None:
    swarms = [drawn(seed, ("hangs", "lost_writes")) for seed in range(1, 9)]

    assert {swarm.on for swarm in swarms} == {("lost_writes", "hangs")}
    assert all({knob.fault for knob in swarm.knobs} == {"hangs"} for swarm in swarms)
    assert all(swarm.rates.lost_writes > 0 and swarm.rates.lost_reads == 0 for swarm in swarms)


def test_seeds_mix_all_faults_where_none_were_asked_for() -> None:
    mixes = [set(drawn(seed, None).on) for seed in range(1, 40)]

    assert set().union(*mixes) == set(KINDS)
    assert len({frozenset(mix) for mix in mixes}) == len(mixes)
