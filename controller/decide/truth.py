"""What each device is really doing, from what it was told, what it answered and what was measured.

An answer is never proof. A change is confirmed only by a reading that arrived after the command; until
then the device counts at the worse of where it was and where it is going. A device that is silent counts
at its ceiling, or at its last confirmed limit where the firmware keeps limits through a reboot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from controller.decide import learning, shown
from controller.decide.device import TOLERANCE, DeviceState, with_slack_w
from controller.decide.doubt import (
    GIVEN_UP_S,
    asleep_at,
    draws_on,
    forgiven,
    idle,
    sleeps_on,
)
from controller.decide.inputs import Sample
from controller.decide.proof import caught, overdue, proven
from controller.decide.thermal import COOLS_S
from controller.decide.words import Truth
from controller.domain.devices import (
    Acknowledged,
    DeviceKind,
    DeviceSpec,
    Failed,
    OperatingPoint,
    Outcome,
    Quality,
    Reading,
    Refused,
)
from controller.domain.power import Limit, Power

ANSWERED: Mapping[type[Acknowledged | Refused], Truth] = {
    Acknowledged: Truth.ACKNOWLEDGED,
    Refused: Truth.REFUSED,
}
"""What an answer makes of a command."""
RETELL_TIMES, RETELL_LATER = 2.0, 4.0
"""A miner that reports its limit, hashes and draws too little for it is told again after so many of its times
to rise, and then each time so much later: firmware may have lost the limit on its way in, but retunes for
minutes when it is told one, and a dead board stays dead."""


def observe(
    spec: DeviceSpec,
    state: DeviceState,
    sample: Sample[Reading] | None,
    outcome: Sample[Outcome] | None,
    now_s: float,
    *,
    is_ours: bool = True,
) -> DeviceState:
    """The device's state, given everything heard from it until `now_s`. One that somebody else commands is
    where it shows, and owes us nothing: `is_ours` is False.

    A draw that no such device can have is one in another unit, and an estimate.
    """
    state = _answered(state, outcome)
    if sample is None:
        return state._replace(truth=Truth.UNREACHABLE, worst=spec.ceiling)
    if now_s - max(sample.at_s, state.at_s) > spec.stale_after_s:  # a reading may come late
        last = state.worst if state.seen else state.last
        worst = _silent_worst(spec, state, now_s)
        return state._replace(truth=Truth.STALE, worst=worst, last=last)
    sample = shown.believable(spec, sample)
    reading = sample.value
    if state.point is None:
        # Where nobody knows when it was last changed, its dwell begins now.
        since_s = now_s if state.since_s == -math.inf else state.since_s
        first = _heard(state, sample)._replace(since_s=since_s, began=reading.draw)
        return _adopt(spec, first, reading, now_s)
    if not shown.has_point(spec, state.point):
        return _adopt(spec, _heard(state, sample), reading, now_s)
    if sample.at_s <= state.at_s and state.seen:
        return overdue(spec, state, reading, now_s)
    if spec.kind is DeviceKind.GPU:
        state = learning.with_demand(state, sample)
    rises = learning.rises(state, reading)
    state = _heard(state, sample)
    if _to_be_tried(state, now_s):
        return forgiven(spec, state)._replace(worst=max(reading.draw, state.worst), stuck=None)
    state = _unstuck(spec, state, now_s)
    if idle(spec, state, reading.rate, now_s) == (state.idle_s is None):
        state = state._replace(idle_s=now_s if state.idle_s is None else None)
    if not state.seen:
        if state.given_up_s == state.sent_s and reading.rate > 0:  # its power was to be taken, and was not
            state = state._replace(given_up_s=-math.inf)
        return _returned(spec, state._replace(began=reading.draw), reading, now_s)
    if state.truth is Truth.CONFIRMED:
        after = _settled(spec, state, reading, now_s, rises=rises)
        stays = after.truth is Truth.CONFIRMED and after.point == state.point
        return after if is_ours or stays else _moved(spec, state, reading, now_s)
    if sample.at_s <= state.sent_s:
        return state._replace(worst=max(reading.draw, state.worst))
    return proven(spec, state, reading, now_s)


def _silent_worst(spec: DeviceSpec, state: DeviceState, now_s: float) -> Power:
    """Its ceiling, for it may have restarted and have forgotten its limit, once it had the time for that; but
    what it keeps through a restart it keeps."""
    if state.keeps is not None and (spec.keeps_limit or sleeps_on(spec, state)):
        # What was confirmed, or what it may have been raised to since: the answer to that is not known.
        return max(state.keeps, state.worst)
    if state.point is not None and now_s - state.at_s < spec.boots_s:
        return min(state.worst, spec.ceiling)
    return spec.ceiling


def lasts(spec: DeviceSpec, state: DeviceState, now_s: float) -> bool:
    """Whether time alone changes nothing of what the same reading makes of a device: it is where it was told
    to be, and was long enough for all that is to be learned of it."""
    begun_s = max((state.asked_s, *state.started_s[-1:]))
    told_all = state.truth is Truth.CONFIRMED and now_s - begun_s > spec.settle_up_s
    cools = state.derate > 0.0 and (state.point == spec.floor or now_s - state.since_s <= COOLS_S)
    if not told_all or cools:
        return False
    return state.idle_s is None and state.stuck is None and not shown.lags(spec, state)


def _heard(state: DeviceState, sample: Sample[Reading]) -> DeviceState:
    """A reading that comes late does not make what came before it older."""
    return state.heard(sample.value.draw, sample.value.quality, max(sample.at_s, state.at_s))


def _answered(state: DeviceState, outcome: Sample[Outcome] | None) -> DeviceState:
    if outcome is None or not state.in_flight or outcome.at_s < max(state.sent_s, state.asked_s):
        return state
    if not isinstance(outcome.value, Failed):
        return state._replace(truth=ANSWERED[type(outcome.value)])
    if outcome.at_s <= state.failed_s:
        return state
    return state._replace(truth=Truth.COMMANDED, failures=state.failures + 1, failed_s=outcome.at_s)


def _adopt(spec: DeviceSpec, state: DeviceState, reading: Reading, now_s: float) -> DeviceState:
    # Where one that starts by itself stops is not known before it is there.
    point = spec.points[-1] if shown.starts(spec, reading) else shown.found_at(spec, reading)
    worst = shown.most(spec, state, point, reading)
    if state.in_flight:
        worst = max(worst, state.worst)
    if point == spec.floor and shown.awake(spec, reading.draw):
        worst = max(worst, spec.points[-1].power)  # it says that it sleeps, and may only have no work
    return state._replace(
        point=point, truth=Truth.CONFIRMED, worst=worst, keeps=worst, attempts=0, asked_s=now_s
    )


def _moved(spec: DeviceSpec, state: DeviceState, reading: Reading, now_s: float) -> DeviceState:
    """Somebody else told it something: its dwell begins where that is another point."""
    after = _adopt(spec, state, reading, now_s)
    return after if after.point == state.point else after._replace(since_s=now_s, began=reading.draw)


def _returned(spec: DeviceSpec, state: DeviceState, reading: Reading, now_s: float) -> DeviceState:
    """Back from silence: it may have been restarted by hand, or have forgotten its limit.

    One that was being raised and is not there yet may still come: its answer, too, may have been lost.
    """
    point, found = state.point, shown.found_at(spec, reading)
    assert point is not None
    if shown.starts(spec, reading):
        return _adopt(spec, state, reading, now_s)
    if shown.agrees(spec, state, point, reading) and found.name == point.name:
        worst = max(reading.draw, state.counted(point))
        return state._replace(truth=Truth.CONFIRMED, worst=worst, attempts=0, asked_s=now_s)
    if state.attempts and found.power < point.power:
        worst = max(state.counted(point), shown.most(spec, state, found, reading))
        return state._replace(truth=Truth.COMMANDED, worst=worst, asked_s=now_s)
    return _adopt(spec, state, reading, now_s)


def _settled(
    spec: DeviceSpec, state: DeviceState, reading: Reading, now_s: float, *, rises: bool
) -> DeviceState:
    """A confirmed device still has to stay where it is: limits come back by themselves.

    A lower limit is believed. Watts that merely fell are not: they may return in one step.
    """
    point = state.point
    assert point is not None
    may_sleep = state.idle_s is not None and reading.quality is Quality.ESTIMATED
    sleeps = may_sleep or asleep_at(spec, point, reading.draw)
    sleeps = sleeps and now_s - state.asked_s > spec.settle_up_s
    if shown.agrees(spec, state, point, reading) and not sleeps:
        waits_s = RETELL_TIMES * spec.settle_up_s * RETELL_LATER**state.retold
        if shown.lags(spec, state) and now_s - state.asked_s > waits_s:
            return _asked_again(state, max(reading.draw, state.counted(point)), now_s)._replace(
                retold=state.retold + 1
            )
        state = learning.learned(spec, state, reading, now_s, rises=rises)
        worst = max(reading.draw, state.counted(point))
        return state if worst == state.worst == state.keeps else state._replace(worst=worst, keeps=worst)
    at = shown.found_at(spec, reading)
    worst = shown.most(spec, state, at, reading)
    if reading.draw > state.counted(point) and _took(spec, state, point, reading):
        # It draws more all the same: to tell it the same again would change nothing.
        return caught(spec, state._replace(worst=worst, reasserts=state.reasserts + 1), now_s)
    lower = at.power < point.power and reading.draw.watts <= with_slack_w(state.counted(at), TOLERANCE)
    if lower and isinstance(reading.setting, Limit):
        return state._replace(point=at, worst=worst, asked_s=now_s)
    if rises and not shown.covers(state, point, reading.draw):
        # It went past its point, and is on its way to one above: also where it says nothing of that.
        worst = max(worst, state.counted(shown.covering(spec.points, reading.draw)))
    return _asked_again(state, max(worst, state.counted(point)), now_s)


def _took(spec: DeviceSpec, state: DeviceState, point: OperatingPoint, reading: Reading) -> bool:
    """Whether a device says that its limit is in force; or says nothing of it, and was told it again."""
    if shown.set_to(spec, point, reading):
        return reading.quality is Quality.MEASURED or state.retold > 0
    return not isinstance(reading.setting, Limit) and state.retold > 0


def _asked_again(state: DeviceState, worst: Power, now_s: float) -> DeviceState:
    return state._replace(
        truth=Truth.COMMANDED,
        worst=worst,
        reasserts=state.reasserts + 1,
        failures=0,
        began=state.draw,
        asked_s=now_s,
        sent_s=float("-inf"),
    )


def _to_be_tried(state: DeviceState, now_s: float) -> bool:
    """Whether it is long ago that a machine was caught which still draws too much: until it is heard again,
    its other points count as those of one that obeys."""
    return state.stuck is not None and now_s - state.stuck.at_s > GIVEN_UP_S and draws_on(state)


def _unstuck(spec: DeviceSpec, state: DeviceState, now_s: float) -> DeviceState:
    """A device that went on as before is counted so, wherever it is told to be, until it shows otherwise
    after its time to rise, or long after: it may have been restarted or mended.
    """
    stuck, point = state.stuck, state.point
    if stuck is None or point is None:
        return state
    if state.truth is Truth.LYING and state.draw > stuck.draw:
        return state._replace(stuck=stuck._replace(draw=state.draw))  # it still rises
    most_w = with_slack_w(state.reckoned(point), TOLERANCE)
    mended = point.power > stuck.above and state.draw.watts <= most_w < stuck.draw.watts
    if now_s - stuck.at_s > GIVEN_UP_S or (mended and now_s - state.asked_s > spec.settle_up_s):
        return state._replace(stuck=None)
    return state
