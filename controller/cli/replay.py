"""Runs recorded inputs through the core again, and says where its plans differ from those that were told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from math import inf
from pathlib import Path

from controller.decide.economics import CONSTANT, priced, prices_of
from controller.decide.inputs import Inputs
from controller.decide.invariants import check
from controller.decide.plan import Plan
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.devices import SetPoint
from controller.domain.power import Bound, Limit
from controller.domain.site import Site
from controller.run.recording import recorded
from controller.run.recording.recorded import RecordedChunk
from controller.run.recording.recording import Begins, RecordingError
from controller.run.recording.tickstream import Head, OtherProgramError, StreamError, Tick
from controller.run.recording.told import Given, Told, told

WARM_UP_S = 300.0
"""Plans are not compared for so long where the core has to begin without the state it had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that was told otherwise; `subject` is a device, a job, an alarm or a part of the plan."""

    utc_s: float
    subject: str
    recorded: str
    replayed: str


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a replay found. `commands` counts the differing set-points, `uncompared` the ticks of warm-ups,
    `unread` the stretches that another version recorded and this one cannot read."""

    ticks: int = 0
    differing: int = 0
    commands: int = 0
    uncompared: int = 0
    starts: int = 0
    gaps: int = 0
    unread: int = 0
    first: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to replay. `site` stands in for the recorded one; no more than `limit` differences are told."""

    path: Path
    from_utc_s: float = -inf
    to_utc_s: float = inf
    site: Site | None = None
    limit: int = 20


def moment(text: str | None, otherwise: float) -> float:
    """Unix seconds of an ISO 8601 date or time."""
    if text is None:
        return otherwise
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise RecordingError(f"{text!r} is not a time such as 2026-11-28T14:05:00Z") from error
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def replay(request: Request) -> Outcome:
    """Raises `RecordingError` where the recording, or the site given for it, cannot be used. A decision that
    fails then or now, not both times, is a difference; after one that fails only the next start goes on.

    What another version recorded is read as far as this one has the words for it: fields that it does not
    know are left out, and those that were not there have their defaults. The rest is passed over, and said.
    """
    outcome = Outcome()
    with recorded.opened(request.path) as recording:
        run = _Run(request, outcome)
        for chunk in recording.chunks(request.from_utc_s, request.to_utc_s):
            try:
                run.chunk(chunk)
            except OtherProgramError as error:
                run.pass_over(chunk, error)
            except StreamError as error:
                raise RecordingError(f"{request.path}: chunk {chunk.id}: {error}") from error
            for name in sorted(chunk.stream.unknown):
                outcome.note(f"recorded field {name} is unknown to this program and was left out")
    if outcome.ticks == 0 and (outcome.unread or not outcome.uncompared):
        why = outcome.notes[0] if outcome.unread else "no tick of that time is recorded"
        raise RecordingError(f"{request.path}: {why}")
    return outcome


class _Run:
    """The core, as it is carried from one recorded chunk to the next."""

    def __init__(self, request: Request, outcome: Outcome) -> None:
        self._request = request
        self._outcome = outcome
        self._site: Site
        self._state: State | None = None
        self._compare_from_s = -inf

    def chunk(self, chunk: RecordedChunk) -> None:
        head = chunk.stream.head()
        self._site = self._request.site or head.site
        self._outcome.starts += chunk.begins is Begins.START
        self._outcome.gaps += chunk.begins is Begins.GAP
        if self._state is None or not chunk.follows:
            self._state = self._beginning(chunk, head)
        is_first = True
        for tick in chunk.stream.ticks():
            if tick.inputs.utc_s > self._request.to_utc_s:
                continue
            if is_first and self._compare_from_s == inf:
                self._compare_from_s = tick.inputs.now_s + WARM_UP_S
            is_first = False
            if self._state is None:
                return  # it stopped here, then as now or only now: what follows has no state to go on from
            self._tick(tick)

    def pass_over(self, chunk: RecordedChunk, why: OtherProgramError) -> None:
        """Go on behind it."""
        self._state = None
        self._outcome.unread += 1
        self._outcome.note(
            f"{why}. Wattshift {chunk.program} recorded this and this is {version('wattshift')}: "
            "to replay it, install that version in a place of its own"
        )

    def _beginning(self, chunk: RecordedChunk, head: Head) -> State:
        """The state to begin with: what was recorded if it fits, else an empty one and time to warm up. A
        process begins with what the one before handed on, and with nothing where that does not fit."""
        self._compare_from_s = -inf
        trouble = head.trouble
        if _nodes(self._site) != _nodes(head.site):
            trouble = "the recorded state is of other nodes than those of the site given"
        if head.state is not None and not trouble:
            return head.state
        if chunk.begins is Begins.START:
            return State()
        self._outcome.note(f"{trouble}: the first {WARM_UP_S:.0f} s of such a part are not compared")
        self._compare_from_s = inf
        return State()

    def _tick(self, tick: Tick) -> None:
        assert self._state is not None
        inputs = self._inputs(tick.inputs)
        plan: Plan | None = None
        trouble = "nothing: it stopped here"
        try:
            state, plan = step(self._site, self._state, inputs)
            check(self._site, self._state, inputs, state, plan)
            self._state = state
        except Exception as error:  # noqa: BLE001 whatever breaks a decision is what a replay is asked about
            self._state, plan, trouble = None, None, f"nothing: {error!r}"
        is_compared = inputs.utc_s >= self._request.from_utc_s and inputs.now_s >= self._compare_from_s
        if not is_compared:
            self._outcome.uncompared += 1
            return
        self._outcome.ticks += 1
        new = None if plan is None else told(plan)
        if new == tick.told:
            return
        self._outcome.differing += 1
        self._outcome.commands += _differing_commands(tick.told, new)
        for subject, old_text, new_text in _differences(tick.told, new, trouble):
            if len(self._outcome.first) < self._request.limit:
                self._outcome.first.append(
                    Difference(utc_s=inputs.utc_s, subject=subject, recorded=old_text, replayed=new_text)
                )

    def _inputs(self, inputs: Inputs) -> Inputs:
        """As recorded, but for the prices that were the site file's."""
        now = self._request.site
        if now is None:
            return inputs
        nodes = {node.id for node in now.nodes}
        for spec in inputs.specs:
            if spec.node not in nodes:
                raise RecordingError(f"site {now.name!r} has no node {spec.node!r}, where {spec.id} hangs")
        prices = prices_of([price for price in inputs.prices_now if price.source != CONSTANT], now.prices)
        models = {spec.id: spec.model for spec in inputs.specs}
        return replace(inputs, prices=prices, queues=priced(inputs.queues, prices, models))


def _nodes(site: Site) -> list[tuple[str, str | None]]:
    return [(node.id, node.parent) for node in site.nodes]


def _differing_commands(old: Told | None, new: Told | None) -> int:
    return len(_commands(old).items() ^ _commands(new).items())


def _commands(plan: Told | None) -> dict[str, SetPoint]:
    return {} if plan is None else {command.device: command for command in plan.commands}


def _differences(old: Told | None, new: Told | None, trouble: str) -> Iterator[tuple[str, str, str]]:
    """What differs, the gravest first: subject, recorded, replayed."""
    if old is None or new is None:
        yield "plan", _whole(old, "nothing: it stopped here"), _whole(new, trouble)
        return
    yield from _site_differences(old, new)
    yield from _command_differences(old, new)
    for device in sorted(old.given.keys() | new.given.keys()):
        if old.given.get(device) != new.given.get(device):
            yield device, _given(old.given.get(device)), _given(new.given.get(device))
    if old.watts != new.watts and (old.given, old.commands) == (new.given, new.commands):
        yield "watts", "as recorded", "other watts at the same points"


def _site_differences(old: Told, new: Told) -> Iterator[tuple[str, str, str]]:
    if old.ready != new.ready:
        yield "ready", str(old.ready).lower(), str(new.ready).lower()
    if (old.cap, old.cap_reason, old.cap_event) != (new.cap, new.cap_reason, new.cap_event):
        yield "cap", _cap(old), _cap(new)
    for kind, subject in sorted(set(old.alarms) ^ set(new.alarms)):
        is_old = (kind, subject) in old.alarms
        yield f"alarm {kind}", *((subject, "none") if is_old else ("none", subject))
    was, now = dict(old.standings), dict(new.standings)
    for event in sorted(was.keys() | now.keys()):
        if was.get(event) != now.get(event):
            yield f"event {event}", str(was.get(event, "none")), str(now.get(event, "none"))


def _command_differences(old: Told, new: Told) -> Iterator[tuple[str, str, str]]:
    was, now = _commands(old), _commands(new)
    for device in sorted(was.keys() | now.keys()):
        if was.get(device) != now.get(device):
            yield f"command {device}", _command(was.get(device)), _command(now.get(device))
    if was == now and old.commands != new.commands:
        yield "commands", "the same", "in another order"
    for command in sorted(set(old.job_commands) ^ set(new.job_commands), key=str):
        why = (
            f", for {command.why}" if command.why else ""
        )  # a recording has none: see `wattshift job history`
        what = f"{command.action} on {', '.join(command.gpus) or 'what it has'}{why}"
        is_old = command in old.job_commands
        yield f"job {command.queue}/{command.job}", *((what, "none") if is_old else ("none", what))


def _whole(plan: Told | None, nothing: str) -> str:
    return nothing if plan is None else f"{len(plan.commands)} commands, cap {_cap(plan)}"


def _cap(plan: Told) -> str:
    return f"{_bound(plan.cap)} {plan.cap_reason} {plan.cap_event}".strip()


def _bound(bound: Bound) -> str:
    return str(bound.power) if isinstance(bound, Limit) else "none"


def _command(command: SetPoint | None) -> str:
    return "none" if command is None else f"{command.point.name} ({command.point.power})"


def _given(given: Given | None) -> str:
    return "none" if given is None else f"{given.point} {given.reason} {given.limited_by}".strip()


def lines(outcome: Outcome) -> Iterator[str]:
    """The outcome as a person reads it: differences under their tick, then the sum of it."""
    utc_s: float | None = None
    for difference in outcome.first:
        if difference.utc_s != utc_s:
            utc_s = difference.utc_s
            yield datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        yield f"  {difference.subject}: {difference.recorded} -> {difference.replayed}"
    yield from (f"note: {note}" for note in outcome.notes)
    parts = f"{outcome.starts} starts, {outcome.gaps} gaps, {outcome.uncompared} ticks not compared"
    if outcome.unread:
        parts += f", {outcome.unread} stretches of another version not read"
    yield (f"{outcome.ticks} ticks, {outcome.differing} differ; {outcome.commands} commands differ ({parts})")
