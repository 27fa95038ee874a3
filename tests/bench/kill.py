"""Kill the grid side with SIGKILL in the middle of events, again and again, against a real broker.

`python -m tests.bench.kill --kills 1000 --seed 0`. What must hold, whatever the instant: an event that was
acknowledged is still there, no version was answered in two ways, nothing was executed after its end, the
journal verifies after every kill, and whatever the operator was told stands in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from controller.grid.isotime import instant
from controller.run.journal.audit import AuditError, audit
from controller.run.journal.history import opened
from simulators.broker import Broker, broker
from simulators.gridoperator import GridOperator
from tests.bench.killed import VEN, site

MOST_LIVE = 40
ONLINE_WITHIN_S = 20.0
SETTLED_WITHIN_S = 180.0
CATCHES_UP = 0.08
"""The share of sites that live long enough to send what the ones before them had no time for."""
ANSWERS = frozenset({"RECEIVED", "REJECTED", "EXPIRED"})


@dataclass(slots=True)
class Tally:
    """What came out of a run. The lists must be empty; `died` are sites that ended by themselves, `unsealed`
    journals that do not verify, `unkept` answers that no journal knows."""

    kills: int = 0
    sent: int = 0
    answered: int = 0
    repeated: int = 0
    lost: list[str] = field(default_factory=list)
    contradicted: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    unsealed: list[str] = field(default_factory=list)
    unkept: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        return [*self.lost, *self.contradicted, *self.late, *self.died, *self.unsealed, *self.unkept]

    @property
    def is_clean(self) -> bool:
        return not self.problems


async def run(kills: int, seed: int) -> Tally:
    rng = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.bench.killed"])
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        directory = Path(name)
        async with broker() as bus, GridOperator(bus.host, bus.port, VEN, heartbeat_s=0.2) as operator:
            for _ in range(kills):
                await _round(rng, context, directory, bus, operator, tally)
                tally.kills += 1
                if tally.kills % 100 == 0:
                    print(f"{tally.kills} kills, {tally.sent} messages", flush=True)
            await _settle(context, directory, bus, operator, tally)
            _judge(directory, operator, tally)
    return tally


async def _round(
    rng: random.Random,
    context: ForkServerContext,
    directory: Path,
    bus: Broker,
    operator: GridOperator,
    tally: Tally,
) -> None:
    """Start the site, say something, and kill it: while it starts, or in the middle of what was said."""
    birth = operator.site.get("bdSeq", 0)
    process = _started(context, directory, bus)
    try:
        if rng.random() < 0.7:
            async with asyncio.timeout(ONLINE_WITHIN_S):
                while operator.site.get("bdSeq", 0) <= birth:  # noqa: ASYNC110 - nothing signals it
                    await asyncio.sleep(0.002)
            await _say(rng, operator, tally)
            catches_up = rng.random() < CATCHES_UP
            await asyncio.sleep(rng.uniform(0.5, 2.0) if catches_up else rng.uniform(0, 0.04))
        else:
            await _say(rng, operator, tally)
            await asyncio.sleep(rng.uniform(0, 0.3))
    finally:
        await _killed(process, tally)
    _audit(directory, tally)


def _audit(directory: Path, tally: Tally) -> None:
    """The journal must verify as the kill left it; before its first transaction there is none."""
    with suppress(AuditError):
        found = audit(directory / "journal.db")
        tally.unsealed += [
            f"after {tally.kills} kills: {fault.table}: {fault.what}" for fault in found.faults
        ]


async def _say(rng: random.Random, operator: GridOperator, tally: Tally) -> None:
    """One or two of what an operator says. One event in ten is over already when it is sent."""
    for _ in range(rng.randint(1, 2)):
        tally.sent += 1
        live = sorted(operator.events)
        dice = rng.random()
        if len(live) > MOST_LIVE or (live and dice < 0.15):
            await operator.delete(rng.choice(live))
        elif live and dice < 0.3:
            await operator.update(rng.choice(live), kw=rng.randint(1, 900))
        elif dice < 0.4:
            await operator.limit(rng.randint(1, 900), start_in_s=-100, duration_s=50)
        elif dice < 0.5:
            await operator.limit(rng.randint(1, 900), duration_s=rng.uniform(0.2, 2))
        elif dice < 0.6:
            await operator.limit(5000, duration_s=3600)  # beyond the nameplate: refused
        else:
            await operator.limit(rng.randint(1, 900), duration_s=36_000)


async def _settle(
    context: ForkServerContext, directory: Path, bus: Broker, operator: GridOperator, tally: Tally
) -> None:
    """Let the last site catch up, note what it holds, and end it."""
    process = _started(context, directory, bus)
    try:
        quiet_s, count = 0.0, -1
        deadline_s = time.monotonic() + SETTLED_WITHIN_S
        while quiet_s < 2.0 and time.monotonic() < deadline_s:
            await asyncio.sleep(0.1)
            quiet_s = quiet_s + 0.1 if len(operator.acks) == count else 0.0
            count = len(operator.acks)
        held = set(json.loads((directory / "in_force.json").read_text()))
    finally:
        await _killed(process, tally)
    received = {ack.event for ack in operator.acks if ack.status == "RECEIVED"}
    now_utc_s = time.time()
    for name, event in operator.events.items():
        lasts_long = event["intervalPeriod"]["duration"] == "PT36000S"
        if name in received and lasts_long and name not in held:
            tally.lost.append(f"{name} was acknowledged and is not in force at {now_utc_s:.0f}")


def _judge(directory: Path, operator: GridOperator, tally: Tally) -> None:
    bodies: dict[str, Any] = {}
    answers: dict[tuple[str, str], str] = {}
    for ack in operator.acks:
        if ack.id in bodies:
            tally.repeated += 1
            if bodies[ack.id] != ack.body:
                tally.contradicted.append(f"{ack.id} was sent twice and differs: {bodies[ack.id]} {ack.body}")
        bodies[ack.id] = ack.body
        if ack.status in ANSWERS:
            before = answers.setdefault((ack.event, ack.version), ack.status)
            # Accepted, and over before the site came back to it, is no contradiction.
            if before != ack.status and (before, ack.status) != ("RECEIVED", "EXPIRED"):
                tally.contradicted.append(f"{ack.event} {ack.version}: {before}, then {ack.status}")
    tally.answered = len(answers)
    with opened(directory / "journal.db") as history:
        known = {(row.event, row.status, row.version_utc_s) for row in history.events()}
    tally.unkept += [
        f"{event} {version} was answered {status}, and the journal does not know"
        for (event, version), status in answers.items()
        if (event, status, round(instant("version", version), 6)) not in known
    ]
    with suppress(FileNotFoundError):
        for line in (directory / "executed.txt").read_text().splitlines():
            at, end, name = line.split(" ")
            if float(at) >= float(end):
                tally.late.append(f"{name} at {at}, over since {end}")


def _started(context: ForkServerContext, directory: Path, bus: Broker) -> ForkServerProcess:
    process = context.Process(target=site, args=(str(directory), bus.port), daemon=True)
    process.start()
    return process


async def _killed(process: ForkServerProcess, tally: Tally) -> None:
    process.kill()
    await asyncio.to_thread(process.join)
    if process.exitcode != -signal.SIGKILL:
        tally.died.append(f"after {tally.kills} kills a site ended by itself with {process.exitcode}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began_s = time.monotonic()
    tally = asyncio.run(run(options.kills, options.seed))
    for line in tally.problems[:50]:
        print(line)
    print(f"{tally.kills} kills in {time.monotonic() - began_s:.0f} s, seed {options.seed}")
    print(
        f"{tally.sent} messages, {tally.answered} versions answered, "
        f"{tally.repeated} acknowledgements sent again"
    )
    print(
        f"accepted and lost {len(tally.lost)}, answered in two ways {len(tally.contradicted)}, "
        f"executed when over {len(tally.late)}, ended by themselves {len(tally.died)}, "
        f"journals that do not verify {len(tally.unsealed)}, answers without a row {len(tally.unkept)}"
    )
    return int(not tally.is_clean)


if __name__ == "__main__":
    sys.exit(main())
