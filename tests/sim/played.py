"""One seed from its beginning to its end, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from controller.decide.invariants import BrokenInvariantError
from tests.sim.gridside import Say
from tests.sim.process import Decide, checked
from tests.sim.recovery import WITHIN_S
from tests.sim.world import World, nothing


@dataclass(slots=True)
class Result:
    """What became of one seed. `used` is the share of the usable power, `used_beside` that of what was usable
    beside the watts that starting machines were given. `died` is what the core found wrong with a plan, or
    its failure.
    """

    seed: int
    on: tuple[str, ...]
    breaches: list[str] = field(default_factory=list)
    first_s: float = 0.0
    where: str = ""
    excuses_s: dict[str, float] = field(default_factory=dict)
    used: float = 0.0
    used_beside: float = 0.0
    recovery_s: float = 0.0
    recovered: bool = True
    amiss: str = ""
    ticks: int = 0
    core_s: float = 0.0
    total_s: float = 0.0
    died: str = ""

    @property
    def failings(self) -> list[str]:
        """All that was wrong: nothing, where it was safe while faults lasted and well again in time."""
        found = [*([self.died] if self.died else []), *self.breaches]
        if not self.died and (not self.recovered or self.recovery_s > WITHIN_S):
            found.append(f"not well {self.recovery_s:.0f} s after the faults: {self.amiss}")
        return found


def play(
    seed: int,
    duration_s: float,
    devices: int = 100,
    *,
    only: Collection[str] | None = None,
    exactly: Collection[str] | None = None,
    say: Say = nothing,
    cpu: Callable[[], float] = lambda: 0.0,
    decide: Decide = checked,
) -> Result:
    """Run one seed to its end and say what became of it."""
    began_s = cpu()
    world = World(seed, duration_s, devices, only=only, exactly=exactly, say=say, cpu=cpu, decide=decide)
    result = Result(seed=seed, on=world.swarm.on)
    try:
        world.run()
    except BrokenInvariantError as broken:
        result.died = f"invariant at {world.clock.now_s:.1f} s: {broken}"
    except Exception as error:  # noqa: BLE001 - whatever the core raises is this seed's finding
        result.died = f"{error!r} at {world.clock.now_s:.1f} s"
    breaches = world.court.verdict.unexcused
    result.breaches = [str(breach) for breach in breaches]
    if not world.court.ends_the_same:
        result.breaches.append("P5: the same messages in another order left other events")
    if world.process.reordered:
        result.breaches.append(f"I7: {world.process.reordered} plans changed with the order of their inputs")
    first = min(breaches, key=lambda breach: breach.at_s, default=None)
    result.first_s = world.clock.now_s if first is None else first.at_s
    result.where = "" if first is None else first.where
    result.excuses_s = world.court.verdict.excuses_s
    result.used = world.court.use.share
    result.used_beside = world.court.use.share_beside
    result.recovery_s = world.court.recovery.took_s
    result.recovered = not world.court.recovery.is_amiss
    result.amiss = world.court.recovery.amiss
    result.ticks, result.core_s = world.process.ticks, world.process.core_s
    result.total_s = cpu() - began_s
    return result
