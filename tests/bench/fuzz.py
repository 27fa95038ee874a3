"""Fuzz every dialect of the grid contract: `python -m tests.bench.fuzz --count 1000000 --seed 0`.

Ends with status 1 at the first message that raises, becomes a command that it does not say, or makes memory
grow without bound; the seed replays it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

from tests.grid.fuzzing import Fuzz

MOST_GROWTH_MB = 64
WARM_UP = 20_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    fuzz = Fuzz()
    began_s = time.perf_counter()
    warm_mb = 0.0
    for number in range(options.count):
        seed = options.seed + number
        try:
            fuzz.one(seed)
        except BaseException:
            print(f"seed {seed}: python -m tests.bench.fuzz --count 1 --seed {seed}", file=sys.stderr)
            raise
        if number == WARM_UP:
            warm_mb = _used_mb()
        if number and number % 100_000 == 0:
            print(f"{number:9,} messages, {_used_mb():.0f} MB", flush=True)
    took_s = time.perf_counter() - began_s
    growth_mb = _used_mb() - warm_mb if warm_mb else 0.0
    for name, count in sorted(fuzz.outcomes.items()):
        print(f"{count:9,} {name}")
    entries = [len(book.entries) for book in fuzz.ledgers]
    rate = options.count / took_s
    print(f"{options.count:,} messages in {took_s:.0f} s, {rate:,.0f}/s, ledger entries {entries}")
    print(f"memory grew by {growth_mb:.0f} MB after the first {WARM_UP:,}")
    return int(growth_mb > MOST_GROWTH_MB)


def _used_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
