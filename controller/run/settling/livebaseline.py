"""The baseline of an event while it lasts, for operators that are told one: computed beside the loop, once.

The loop asks at every tick and gets an answer at once; what is not computed yet, or cannot be, is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from controller.domain.grid import PAUSE_S, GridEvent
from controller.domain.power import Power
from controller.run.clock import elapsed_s
from controller.run.journal.history import HistoryError, opened
from controller.run.settling.baselines import Agreement, baseline_for, told
from controller.settlement.course import CourseError, ask_of
from controller.settlement.methods import Baseline, Lack, NoBaseline
from controller.settlement.parts import parts_of
from drivers.outside import Outside

DEADLINE_S = 20.0
RETRY_S = 30.0
MOST_TRIES = 10
MOST_KEPT = 256
PASSING = frozenset({Lack.METER, Lack.NOT_IN_TIME})
"""What may be better half a minute later: the journal is written behind, and its disk may be slow."""

Key = tuple[str, float, float]
"""An event's id, start and end: another version with the same times has the same baseline."""


@dataclass(slots=True)
class _Answer:
    found: Baseline | NoBaseline
    tries: int
    at_s: float
    asked_utc_s: float


class LiveBaselines:
    """`now()` on every tick, `run()` as a task of the daemon. `agreements` are by operator, the first without
    a name; an operator that has none is told no baseline."""

    def __init__(self, journal: Path, agreements: Mapping[str, Agreement], utc: Callable[[], float]) -> None:
        self._journal = journal
        self._agreements = agreements
        self._utc = utc
        self._answers: dict[Key, _Answer] = {}
        self._wanted: dict[Key, Agreement] = {}
        self._has_work = asyncio.Event()
        self._thread = Outside(1)
        self._log = structlog.get_logger("baseline")

    def now(self, operator: str, events: Iterable[GridEvent], utc_s: float) -> Power | None:
        """What the site would draw now without the events of an operator: that of the one that holds longest,
        for the others began when the site was moved already."""
        agreement = self._agreements.get(operator)
        if agreement is None:
            return None
        holding = [event for event in events if event.node == "" and _moves(event, utc_s)]
        if not holding:
            return None
        first = min(holding, key=lambda event: (event.start_utc_s, event.id))
        key = (first.id, first.start_utc_s, first.end_utc_s)
        answer = self._asked(key, utc_s)
        if answer is None or self._is_worth_another(answer, utc_s):
            self._wanted[key] = agreement
            self._has_work.set()
        if answer is None or not isinstance(answer.found, Baseline):
            return None
        return answer.found.at(utc_s)

    def _asked(self, key: Key, utc_s: float) -> _Answer | None:
        """What is known of an event that goes on. One that is back after a pause begins anew."""
        answer = self._answers.get(key)
        if answer is not None and utc_s - answer.asked_utc_s > PAUSE_S:
            del self._answers[key]
            return None
        if answer is not None:
            answer.asked_utc_s = utc_s
        return answer

    async def run(self) -> None:
        """Compute what is asked for, one after the other, until cancelled."""
        try:
            while True:
                await self._has_work.wait()
                self._has_work.clear()
                while self._wanted:
                    key, agreement = next(iter(self._wanted.items()))
                    self._keep(key, await self._computed(key, agreement))
                    self._wanted.pop(key, None)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _computed(self, key: Key, agreement: Agreement) -> Baseline | NoBaseline:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await loop.run_in_executor(self._thread, self._compute, key[0], agreement)
        except TimeoutError:
            detail = f"no answer within {DEADLINE_S:.0f} s"
            return NoBaseline(method=agreement.method.name, lack=Lack.NOT_IN_TIME, detail=detail)
        except (CourseError, HistoryError) as error:
            return NoBaseline(method=agreement.method.name, lack=Lack.METER, detail=str(error))

    def _compute(self, event: str, agreement: Agreement) -> Baseline | NoBaseline:
        with opened(self._journal) as history:
            part = parts_of(told(row) for row in history.event(event))[-1]
            return baseline_for(history, agreement, event, part, self._utc())

    def _keep(self, key: Key, found: Baseline | NoBaseline) -> None:
        before = self._answers.pop(key, None)
        tries = 1 if before is None or isinstance(before.found, Baseline) else before.tries + 1
        self._answers[key] = _Answer(found, tries, elapsed_s(), self._utc())
        while len(self._answers) > MOST_KEPT:
            del self._answers[next(iter(self._answers))]
        if isinstance(found, Baseline):
            self._log.info("baseline", event_id=key[0], method=found.method, days=len(found.days))
        elif before is None:
            self._log.warning(
                "baseline_missing",
                event_id=key[0],
                method=found.method,
                why=found.lack.value,
                detail=found.detail,
            )

    def _is_worth_another(self, answer: _Answer, utc_s: float) -> bool:
        """Of an event without an end only the next day is computed."""
        found = answer.found
        if elapsed_s() - answer.at_s < RETRY_S:
            return False
        if isinstance(found, Baseline):
            return found.steps[-1].span.end_utc_s <= utc_s
        return found.lack in PASSING and answer.tries < MOST_TRIES


def _moves(event: GridEvent, utc_s: float) -> bool:
    """Whether the event asks the site for a limit or a set-point, and its time has come."""
    asks = any(not ask_of(interval).is_nothing for interval in event.intervals)
    return asks and event.start_utc_s <= utc_s < event.end_utc_s
