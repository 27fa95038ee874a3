"""What machines and jobs were told in the time of an event, and what they answered, from the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.decide.words import AlarmKind, Reason
from controller.run.journal.history import History
from controller.run.journal.rows import CommandRow
from controller.settlement.course import Course
from controller.settlement.evidence import COMMANDED, Commands, JobTold
from controller.settlement.metering import Span

AROUND_S = 3600.0
"""So long before an event it is looked what machines had been told, and so long after it for answers."""
EARLY_S = 5.0
"""A command is written down after the plan that it is part of is on its way: an answer may come before."""
OUR_REASONS = frozenset({Reason.LIMITED.value, Reason.FOLLOWING.value})
"""Reasons of commands that follow from a limit or a set-point."""
ANSWERS = ("acknowledged", "refused", "failed")


def commands_in(history: History, course: Course, lead_s: float) -> Commands:
    """What machines were told: jobs are told besides. To a limit a site goes `lead_s` before its time."""
    if not course.phases:
        return Commands()
    follows = _follows(course)
    span = _told_in(course, lead_s)
    talks: dict[str, _Talk] = {}
    first_utc_s: float | None = None
    for row in history.commands(span.start_utc_s - AROUND_S, span.end_utc_s + AROUND_S):
        if row.is_of_job:
            continue
        talk = talks.setdefault(row.device, _Talk())
        is_in = span.start_utc_s <= row.utc_s < span.end_utc_s
        if is_in and first_utc_s is None and _is_ours(row, talk.told_w, follows=follows):
            first_utc_s = row.utc_s
        talk.hears(row, is_in=is_in)
    counts = sum((talk.counts for talk in talks.values()), Counter[str]())
    lying = {
        row.subject
        for row in history.alarms(span.start_utc_s, span.end_utc_s)
        if row.kind == AlarmKind.DEVICE_LYING and row.is_raised
    }
    return Commands(
        sent=counts[COMMANDED],
        acknowledged=counts["acknowledged"],
        refused=counts["refused"],
        failed=counts["failed"],
        unanswered=counts[COMMANDED] - sum(counts[answer] for answer in ANSWERS),
        lying=len(lying),
        first_utc_s=first_utc_s,
    )


def jobs_in(history: History, course: Course, lead_s: float) -> Iterator[JobTold]:
    """What jobs were told in the time of the event, why, and what came of it; in the order of time."""
    if not course.phases:
        return
    span = _told_in(course, lead_s)
    for row in history.commands(span.start_utc_s, span.end_utc_s):
        if row.is_of_job:
            yield JobTold(utc_s=row.utc_s, job=row.device, action=row.point, what=row.kind, why=row.detail)


def _told_in(course: Course, lead_s: float) -> Span:
    start_utc_s = course.span.start_utc_s
    early_s = 0.0 if _follows(course) else lead_s
    return Span(max(start_utc_s - early_s, min(course.received_utc_s, start_utc_s)), course.span.end_utc_s)


def _follows(course: Course) -> bool:
    return any(phase.ask.target is not None or phase.ask.relative is not None for phase in course.phases)


@dataclass(slots=True)
class _Talk:
    """With one machine: what it was told in the event, and the answers to that. `open` are the commands that
    it may yet answer, `early` the answers to those that may not be written down yet."""

    counts: Counter[str] = field(default_factory=Counter)
    told_w: int | None = None
    open: list[tuple[CommandRow, bool]] = field(default_factory=list)
    early: list[CommandRow] = field(default_factory=list)

    def hears(self, row: CommandRow, *, is_in: bool) -> None:
        if row.kind in ANSWERS:
            self._answered(row)
        elif row.kind == COMMANDED:
            self.told_w = row.power.watts
            self.counts[COMMANDED] += is_in
            answer = next((early for early in self.early if _is_early(early, row)), None)
            self.early = []
            if answer is None:
                self.open.append((row, is_in))
            else:
                self.counts[answer.kind] += is_in

    def _answered(self, row: CommandRow) -> None:
        """To the oldest that it can be meant for. Those before it were replaced before they were sent."""
        for place, (command, is_in) in enumerate(self.open):
            if _is_same(command, row):
                self.counts[row.kind] += is_in
                del self.open[: place + 1]
                return
        self.early = [*(early for early in self.early if row.utc_s - early.utc_s <= EARLY_S), row]


def _is_same(one: CommandRow, other: CommandRow) -> bool:
    return (one.point, one.power) == (other.point, other.power)


def _is_early(answer: CommandRow, command: CommandRow) -> bool:
    return _is_same(answer, command) and command.utc_s - answer.utc_s <= EARLY_S


def _is_ours(row: CommandRow, before_w: int | None, *, follows: bool) -> bool:
    """Whether a limit or a set-point is the reason of a command. To a limit only going down is an answer;
    where it is not known from where, it counts as down."""
    is_ours = row.kind == COMMANDED and row.detail.partition(" ")[0] in OUR_REASONS
    return is_ours and (follows or before_w is None or row.power.watts < before_w)
