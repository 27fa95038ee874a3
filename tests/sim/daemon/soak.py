"""Many worlds, one seed each; a failing one says how to run it again.

python -m tests.sim.daemon.soak [--first 0] [--seeds 100] [--until 130] [--digest]
    [--always clock_steps ...]
python -m tests.sim.daemon.soak --kills    # one world for each command, the controller killed right after it
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Collection
from math import inf
from pathlib import Path

from controller.cli.replay import Request, replay
from controller.run.journal.audit import audit
from tests.sim.daemon.judge import Event
from tests.sim.daemon.problems import problems
from tests.sim.daemon.swarm import APART, END_S, end_s, fitted, swarm
from tests.sim.daemon.world import World

IN_MEMORY = Path("/dev/shm")
"""The journal is made durable once a second, and a simulated hour has many of them."""


def world_of(seed: int, until_s: float = inf, always: Collection[str] = ()) -> tuple[World, list[str]]:
    """The world of `seed` after it has run, and what was wrong with it. Nothing of it is left on the disk."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        world = swarm(World(seed, Path(folder), fitted=fitted(seed, always)), always)
        ends_s = min(until_s, end_s(world))
        world.run(ends_s)
        found = problems(world) if ends_s == end_s(world) else []
        found += [
            f"the journal is broken: {fault.table}: {fault.what}"
            for fault in audit(Path(folder, "journal.db")).faults
        ]
        replayed = replay(Request(path=Path(folder, "journal.db")))
        if replayed.differing:
            found.append(
                f"{replayed.differing} of {replayed.ticks} ticks replay otherwise: {replayed.first[0]}"
            )
    return world, found


def killed_after(command: int, folder: Path) -> World:
    """A world with one event and no other trouble, whose controller is killed right after that command."""
    world = World(1, folder)
    world.events = [Event(at_s=40, name="dr", kw=14, in_s=60, for_s=100)]
    world.kill_after = frozenset({command})
    world.run(END_S)
    return world


def kills() -> int:
    """Every command of that world is the last of a controller once. How many worlds failed."""
    failed, command = 0, 0
    while True:
        command += 1
        with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
            world = killed_after(command, Path(folder))
        if world.lives == 1:
            print(f"{command - 1} worlds, {failed} failed", file=sys.stderr)
            return failed
        if found := problems(world):
            failed += 1
            print(f"killed after command {command}: {'; '.join(found)}", flush=True)


def again(seed: int, until_s: float, always: Collection[str]) -> str:
    """The command that plays the world of a seed as it was played."""
    command = [sys.executable, "-m", "tests.sim.daemon.soak", "--first", str(seed), "--seeds", "1"]
    if until_s < inf:
        command += ["--until", f"{until_s:g}"]
    return " ".join([*command, *(["--always", *always] if always else [])])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--until", type=float, default=inf, help="virtual seconds, where that is sooner")
    parser.add_argument("--digest", action="store_true", help="print what each world came to")
    parser.add_argument(
        "--always", nargs="*", default=(), choices=APART, help="kinds drawn apart that are in every world"
    )
    parser.add_argument("--kills", action="store_true", help="kill after each command instead")
    options = parser.parse_args()
    if options.kills:
        return min(1, kills())
    failed, played_s, began_s = 0, 0.0, time.monotonic()
    for seed in range(options.first, options.first + options.seeds):
        world, found = world_of(seed, options.until, options.always)
        played_s += min(options.until, end_s(world))
        if options.digest:
            print(seed, world.digest, flush=True)
        if found:
            failed += 1
            kinds = ", ".join(sorted({fault.what for fault in world.faults}))
            print(f"seed {seed} ({kinds}): {'; '.join(found)}")
            print(f"  again: {again(seed, options.until, options.always)}", flush=True)
    took_s = time.monotonic() - began_s
    ratio = played_s / took_s
    print(f"{options.seeds} seeds, {failed} failed, {ratio:.0f} virtual seconds per second", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
