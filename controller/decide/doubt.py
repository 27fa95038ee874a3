"""Who does not do what it was told, how long that is put up with, and what it is then taken for."""

from __future__ import annotations

from controller.decide.device import TOLERANCE, DeviceState, with_slack_w
from controller.decide.shown import covering, covers, least_w
from controller.decide.words import Truth
from controller.domain.devices import DeviceKind, DeviceSpec, OperatingPoint, Quality
from controller.domain.power import Power

UNMOVED = 0.97
"""A draw above this share of what it was when the command went out shows that nothing has fallen."""
UNANSWERED, UNANSWERED_S = 1 / 3, 3.0
"""A command without any answer for so much of its time, and for so long, may have been lost on its way."""
LEARNED = 0.01
"""What a point is reckoned to draw is learned from many readings: so much more than the last one, at most."""
HOUR_S = 3600.0
CUT_AFTER_ATTEMPTS = 3
CUT_AFTER_SILENT_S = 60.0
GIVE_UP_AFTER_ATTEMPTS = 2
IDLE_RATE = 0.05
IDLE_DRAW = 0.5
"""A miner that makes and draws no more than these shares of what its point should does no work. An estimated
draw says nothing of that."""
IDLE_S = 30.0
IDLE_REST_S = 300.0
"""One that was put to sleep for want of work is not started for so long: asleep it cannot show that it has
work again."""
GIVEN_UP_S = 900.0
"""A machine whose power had to be taken, or that was told to go up in vain, is not raised for so long."""


def doubtful(spec: DeviceSpec, state: DeviceState, now_s: float) -> bool:
    """Asked to draw less, and it refused, or twice gave no answer, or had its time and did not come down, or
    was told again and goes on up."""
    if state.point is None or state.truth is Truth.CONFIRMED or not state.seen:
        return False
    if state.worst <= state.counted(state.point):
        return False
    if state.truth in (Truth.LYING, Truth.REFUSED) or state.failures > 1:
        return True
    # It was where it had been told to be, drew more, was told again and said yes: and draws yet more.
    told_again = state.truth is Truth.ACKNOWLEDGED and state.at_s > state.asked_s > state.since_s
    if told_again and UNMOVED * state.draw.watts > state.began.watts:
        return True
    # Half of its time is over and not a watt is gone: waiting for the rest would cost others their time.
    unmoved = state.draw.watts >= UNMOVED * max(state.began.watts, state.counted(state.point).watts)
    if unmoved and state.at_s - state.asked_s > spec.settle_down_s / 2:
        return True
    return now_s - state.asked_s > spec.settle_down_s


def accused(spec: DeviceSpec, state: DeviceState) -> bool:
    """Whether a device is doubted for what itself said: no, or that it draws on, where it was heard since it
    was told. Who fell silent proves nothing by that.
    """
    said = state.truth is Truth.REFUSED or state.at_s > state.asked_s
    return state.truth is Truth.LYING or (said and doubtful(spec, state, state.at_s))


def unanswered(spec: DeviceSpec, state: DeviceState, now_s: float) -> bool:
    """Told to draw less, and not heard for so long since that the command may never have arrived."""
    if state.point is None or state.truth is not Truth.COMMANDED or state.worst <= state.counted(state.point):
        return False
    waited_s = now_s - state.sent_s
    return state.at_s <= state.sent_s and waited_s > max(UNANSWERED_S, UNANSWERED * spec.settle_down_s)


def in_vain(spec: DeviceSpec, state: DeviceState, now_s: float) -> bool:
    """Whether a device was told often enough where to be."""
    if state.point is None:
        return False
    if state.seen:
        return state.attempts >= CUT_AFTER_ATTEMPTS and doubtful(spec, state, now_s)
    return now_s - state.at_s > spec.stale_after_s + CUT_AFTER_SILENT_S


def stays_at(spec: DeviceSpec, state: DeviceState) -> OperatingPoint | None:
    """The lower point that a miner draws the watts of, which was told often enough to go up and had its time:
    it said yes, or no, or nothing.

    Without work it would draw more than at its floor, and less than at any other point.
    """
    told = state.point
    if told is None or not state.seen or state.attempts < GIVE_UP_AFTER_ATTEMPTS:
        return None
    if state.truth is not Truth.LYING:
        said_no = state.truth is Truth.REFUSED or (state.truth is Truth.COMMANDED and state.failures > 1)
        if not said_no or state.at_s - state.asked_s <= spec.settle_up_s:
            return None
    if asleep_at(spec, told, state.draw):
        return spec.floor
    works = spec.kind is DeviceKind.ASIC and state.quality is Quality.MEASURED and state.idle_s is None
    if not works or told == spec.floor:
        return None
    above_floor = (point for point in spec.points[1:] if point.power <= told.power)
    at = min(above_floor, key=lambda point: abs(state.draw.watts - state.reckoned(point).watts))
    shown = least_w(state, at) <= state.draw.watts <= with_slack_w(state.reckoned(at), TOLERANCE)
    return at if shown and at.power < told.power else None


def may_rise(spec: DeviceSpec, state: DeviceState) -> bool:
    """Called back before it rose, a machine draws what it did: until it said yes, or had its time to rise, it
    may not have heard that, and still come to where it was told to be before.
    """
    if state.point is None or state.truth in (Truth.ACKNOWLEDGED, Truth.LYING):
        return False
    counts = state.counted(state.point)
    called_back = counts < state.worst and state.began.watts <= with_slack_w(counts, TOLERANCE)
    return called_back and state.at_s - state.asked_s <= spec.settle_up_s


def draws_on(state: DeviceState) -> bool:
    """Whether a liar draws more than its point and is counted so: to tell it the same again frees nothing
    that anybody waits for."""
    point = state.point
    return point is not None and ignores(state) and state.worst <= state.counted(point)


def ignores(state: DeviceState) -> bool:
    """Whether a device was caught drawing more than its point does."""
    if state.point is None or state.truth is not Truth.LYING:
        return False
    return state.draw.watts > with_slack_w(state.reckoned(state.point), TOLERANCE)


def idle(spec: DeviceSpec, state: DeviceState, rate: float, now_s: float) -> bool:
    """Whether a miner that had its time to start runs without hashing: its pool may be gone."""
    point = state.point
    if point is None or spec.kind is not DeviceKind.ASIC or point.power <= spec.floor.power:
        return False
    started = not state.started_s or now_s - state.started_s[-1] > spec.settle_up_s
    low = state.quality is Quality.ESTIMATED or state.draw.watts <= IDLE_DRAW * state.reckoned(point).watts
    return started and low and rate <= IDLE_RATE * point.rate and not asleep_at(spec, point, state.draw)


def without_work(state: DeviceState) -> bool:
    """Whether it has been so for long enough to give its watts to others, where they are wanted."""
    return state.idle_s is not None and state.at_s - state.idle_s >= IDLE_S


def asleep_at(spec: DeviceSpec, told: OperatingPoint, draw: Power) -> bool:
    """Whether a miner told to be above its floor draws no more than there."""
    above = spec.kind is DeviceKind.ASIC and told.power > spec.floor.power
    return above and draw.watts <= with_slack_w(spec.floor.power, TOLERANCE)


def sleeps_on(spec: DeviceSpec, state: DeviceState) -> bool:
    """Whether a silent machine is still asleep, even if it restarted: its firmware keeps that, and measured
    watts proved it. Not one that ever lied, nor one that had no work when it was told to sleep: it may have
    looked the same awake.
    """
    if not spec.keeps_sleep or state.point != spec.floor or state.keeps is None:
        return False
    proven = state.quality is Quality.MEASURED and not state.lies and state.rests_s < state.since_s
    return proven and state.keeps.watts <= with_slack_w(spec.floor.power, TOLERANCE)


def forgiven(spec: DeviceSpec, state: DeviceState) -> DeviceState:
    """Nobody needs its watts any more: a doubtful device is taken to be at the highest point it may be at, a
    miner at the lowest that covers its draw: to have it be where it was would start one that stopped late.

    What it may draw stays what it was, so that no other plan was made with too little.
    """
    most_w = with_slack_w(state.worst, LEARNED) if spec.kind is DeviceKind.ASIC else state.worst.watts
    may_be = [point for point in spec.points if state.counted(point).watts <= most_w] or [spec.floor]
    at = covering(may_be, state.draw) if spec.kind is DeviceKind.ASIC else may_be[-1]
    return state._replace(point=at, truth=Truth.CONFIRMED, attempts=0)


def may_be_forgiven(spec: DeviceSpec, state: DeviceState) -> bool:
    """Not one that may still rise to where it was told to be before; nor one that draws more than wherever it
    would be taken to be, before it was caught at that: it would be told the same at once."""
    if may_rise(spec, state):
        return False
    at = forgiven(spec, state).point
    assert at is not None
    return covers(state, at, state.draw) or state.truth is Truth.LYING


def may_start_s(spec: DeviceSpec, state: DeviceState) -> float:
    """From when on the device may be started: no more often in an hour than it may be, nor soon after it was
    given up.
    """
    rested_s = max(state.given_up_s + GIVEN_UP_S, state.rests_s)
    if len(state.started_s) < spec.starts_per_hour:
        return rested_s
    return max(rested_s, state.started_s[-spec.starts_per_hour] + HOUR_S)
