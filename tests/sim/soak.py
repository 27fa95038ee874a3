"""Many seeds, two at a time: `make soak SEEDS=200`, or one of them told as a story:
`python -m tests.sim.soak --seed 8812 --trace`.

Prints what was breached and by which seed, what was excused and why, how much of the usable power was used,
and how soon all was well again. A seed that fails comes with the one command that plays it again.
"""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import structlog

from tests.sim import recovery, story
from tests.sim.careless import careless
from tests.sim.played import Result, play
from tests.sim.process import checked
from tests.sim.results import Results
from tests.sim.swarm import KINDS
from tests.sim.world import World

MINUTES = 120.0
DEVICES = 100
PROCESSES = 2
BEFORE_S, AFTER_S = 90.0, 30.0
"""What a trace shows around the first breach."""
SHOWN_S = 5.0
"""Just before a breach, in it, and just after, the devices below that node are listed."""


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parsed(arguments)
    if asked.trace:
        return _trace(asked)
    kept = None if asked.out is None else Results(asked.out, _kind(asked))
    try:
        results = kept.read() if kept is not None and asked.table else _played(asked, kept)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    results.sort(key=lambda result: result.seed)
    print("\n".join(_table(results)))
    return 1 if any(failures(result, asked) for result in results) else 0


def _played(asked: argparse.Namespace, kept: Results | None) -> list[Result]:
    """The results of all seeds asked for; where the run goes on, of those that were kept from there."""
    seeds = [asked.seed] if asked.seed is not None else range(asked.first, asked.first + asked.seeds)
    results: list[Result] = []
    if kept is not None:
        kept.mend()
        results = [result for result in kept.read() if result.seed in seeds] if asked.resume else []
    done = {result.seed for result in results}
    work = [(seed, asked) for seed in seeds if seed not in done]
    processes = max(1, min(asked.processes, len(work)))
    with multiprocessing.get_context("spawn").Pool(processes, initializer=_begin) as pool:
        for result in pool.imap_unordered(_play, work):
            results.append(result)
            if kept is not None:
                kept.append(result)
            for line in failures(result, asked):
                print(line, flush=True)
    return results


def _begin() -> None:
    """A process that only plays seeds: what it starts with is not looked through for garbage again, and what
    a driver would log is not told."""
    _hush()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _hush() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--seed", type=int, default=None, help="this one alone")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="virtual minutes of each")
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--out", type=Path, default=None, help="add a line of JSON per seed to this file")
    parser.add_argument("--resume", action="store_true", help="with --out: play no seed that is in it")
    parser.add_argument("--table", action="store_true", help="with --out: play nothing, sum up what is in it")
    parser.add_argument(
        "--careless", action="store_true", help="what a controller reaches that believes old readings"
    )
    parser.add_argument(
        "--exactly", nargs="*", choices=KINDS, help="these faults in every seed, instead of a mix of all"
    )
    parser.add_argument(
        "--trace", action="store_true", help="with --seed: tell what happened around a breach"
    )
    parser.add_argument("--only", nargs="*", choices=KINDS, help="with --seed: leave out all other faults")
    parser.add_argument("--at", type=float, default=None, help="with --trace: around this second instead")
    asked = parser.parse_args(arguments)
    if asked.trace and asked.seed is None:
        parser.error("--trace needs --seed")
    if (asked.resume or asked.table) and asked.out is None:
        parser.error("--resume and --table need --out")
    return asked


def _kind(asked: argparse.Namespace) -> dict[str, Any]:
    """What makes results comparable, as it stands in a file of them."""
    return {name: getattr(asked, name) for name in ("minutes", "devices", "careless", "exactly", "only")}


def _terms(asked: argparse.Namespace) -> dict[str, Any]:
    """What every seed of a run is played with."""
    return {
        "duration_s": asked.minutes * 60,
        "devices": asked.devices,
        "only": asked.only,
        "exactly": asked.exactly,
        "decide": careless if asked.careless else checked,
    }


def _play(work: tuple[int, argparse.Namespace]) -> Result:
    seed, asked = work
    return play(seed, cpu=time.process_time, **_terms(asked))


def failures(result: Result, asked: argparse.Namespace) -> list[str]:
    found = result.failings
    if not found:
        return []
    replay = f".venv/bin/python -m tests.sim.soak --seed {result.seed} --trace"
    if asked.minutes != MINUTES or asked.devices != DEVICES:
        replay += f" --minutes {asked.minutes:g} --devices {asked.devices}"
    if asked.careless:
        replay += " --careless"
    for name, kinds in (("exactly", asked.exactly), ("only", asked.only)):
        if kinds is not None:
            replay += f" --{name} {' '.join(kinds)}"
    more = [f"  ... and {len(found) - 5} more"] if len(found) > 5 else []
    return [
        f"seed {result.seed}: {', '.join(result.on)}",
        *(f"  {line}" for line in found[:5]),
        *more,
        f"  {replay}",
    ]


def _table(results: Sequence[Result]) -> Iterable[str]:
    failed = [result for result in results if result.breaches or result.died]
    late = [result for result in results if not result.recovered or result.recovery_s > recovery.WITHIN_S]
    excuses: dict[str, float] = {}
    for result in results:
        for why, seconds in result.excuses_s.items():
            excuses[why] = excuses.get(why, 0.0) + seconds
    used = sorted(result.used for result in results)
    took_s = sorted(result.recovery_s for result in results)
    died = sum(bool(result.died) for result in results)
    kinds = Counter(line.split()[0] for result in results for line in result.breaches)
    yield f"{len(results)} seeds, {sum(result.ticks for result in results)} plans"
    yield f"seeds with a breach     {len(failed)}: {[result.seed for result in failed]}"
    yield f"  breaches by kind      {dict(kinds)}, plans refused or core failed: {died}"
    yield f"seeds not well in time  {len(late)}: {[result.seed for result in late]}"
    yield f"share of usable used    mean {statistics.fmean(used):.2%}, p5 {_at(used, 0.05):.2%}"
    beside = sorted(result.used_beside for result in results)
    yield f"  beside what starts hold mean {statistics.fmean(beside):.2%}, p5 {_at(beside, 0.05):.2%}"
    for kind, share in _by_fault(results):
        yield f"  with {kind:<22}{share:.2%}"
    yield (
        f"recovery                median {statistics.median(took_s):.0f} s, p99 {_at(took_s, 0.99):.0f} s, "
        f"max {took_s[-1]:.0f} s"
    )
    yield "excused, seconds over a limit that nobody could have kept:"
    for why, seconds in sorted(excuses.items(), key=lambda item: -item[1])[:12]:
        yield f"  {seconds:10.1f}  {why}"
    total_s = statistics.fmean(result.total_s for result in results)
    core_s = statistics.fmean(result.core_s for result in results)
    yield f"CPU per seed            {total_s:.1f} s, {core_s:.1f} s of it the core and its checks"


def _by_fault(results: Sequence[Result]) -> Iterable[tuple[str, float]]:
    """The faults that cost most: mean use of the seeds that have each."""
    by_fault: dict[str, list[float]] = {}
    for result in results:
        for kind in result.on:
            by_fault.setdefault(kind, []).append(result.used)
    means = sorted((statistics.fmean(shares), kind) for kind, shares in by_fault.items())
    return [(kind, mean) for mean, kind in means[:6]]


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _trace(asked: argparse.Namespace) -> int:
    _hush()
    """Play a seed, and again up to the end of what is of interest, telling all that happens there."""
    result = play(asked.seed, **_terms(asked))
    print("\n".join(verdict(result)))
    centre_s = result.first_s if asked.at is None else asked.at
    print(f"from {centre_s - BEFORE_S:.0f} s to {centre_s + AFTER_S:.0f} s:")

    def say(text: str) -> None:
        if centre_s - BEFORE_S <= world.clock.now_s:
            print(f"{world.clock.now_s:9.1f}  {text[:900]}")

    def show() -> None:
        if world.plan is not None:
            print("\n".join(story.node_lines(world.plan, world.plant, where)))

    world = World(asked.seed, say=say, **_terms(asked))
    where = result.where if result.where in world.plant.nodes else world.floor.site.root.id
    world.end_s = centre_s + AFTER_S
    for shown_s in (centre_s - SHOWN_S, centre_s, centre_s + SHOWN_S):
        world.clock.at(shown_s, show)
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 - the core's own failure is the end of the story
        print(f"{world.clock.now_s:9.1f}  {error!r}")
    return 1 if result.failings else 0


def verdict(result: Result) -> list[str]:
    """What a trace begins with."""
    return [f"seed {result.seed}: {', '.join(result.on)}", *(f"  {line}" for line in result.failings[:20])]


if __name__ == "__main__":
    sys.exit(main())
