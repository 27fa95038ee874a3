"""What a reading proves of an order: that it is obeyed, or has yet time, or that the yes to it was a lie."""

from __future__ import annotations

from controller.decide import shown
from controller.decide.device import DeviceState, Stuck
from controller.decide.doubt import UNMOVED, asleep_at, doubtful, may_rise
from controller.decide.words import Truth
from controller.domain.devices import DeviceKind, DeviceSpec, Quality, Reading
from controller.domain.power import Limit


def proven(spec: DeviceSpec, state: DeviceState, reading: Reading, now_s: float) -> DeviceState:
    assert state.point is not None
    worst = max(reading.draw, state.counted(state.point))
    if shown.agrees(spec, state, state.point, reading):
        if not _is_news(spec, state, reading) and may_rise(spec, state):
            return state._replace(worst=max(reading.draw, state.worst))
        if not _arrived(spec, state, reading, now_s):
            return overdue(spec, state._replace(worst=worst), reading, now_s)
        proofs = state.proofs + 1
        return state._replace(truth=Truth.CONFIRMED, worst=worst, keeps=worst, attempts=0, proofs=proofs)
    there = shown.set_to(spec, state.point, reading)
    if there and reading.quality is Quality.MEASURED and _falls(spec, state):
        pass  # it took the limit and its watts are falling: those that were measured to be gone are free
    elif not there and _shows_where(spec, state, reading, now_s):
        worst = max(worst, shown.most(spec, state, shown.found_at(spec, reading), reading))
    else:
        worst = max(reading.draw, state.worst)
    return overdue(spec, state._replace(worst=worst), reading, now_s)


def _is_news(spec: DeviceSpec, state: DeviceState, reading: Reading) -> bool:
    """Whether the limit that a device reports can show that it was told so. A miner that was called back and
    is the same to the watt since then may report what it did before it was raised.
    """
    if not isinstance(reading.setting, Limit):
        return False
    moves = spec.kind is DeviceKind.GPU or reading.draw != state.began
    return moves or state.asked_s > state.since_s


def _shows_where(spec: DeviceSpec, state: DeviceState, reading: Reading, now_s: float) -> bool:
    """Whether a device that is not where it was told to be is at the limit it reports. One that was called
    back on its way up, and refused that, may report for a while yet where it was before it was raised.
    """
    limited = isinstance(reading.setting, Limit)
    return limited and doubtful(spec, state, now_s) and not may_rise(spec, state)


def _falls(spec: DeviceSpec, state: DeviceState) -> bool:
    """Whether less watts are the doing of what it was told. A liar that lost its work draws less as well, and
    takes all of it again when it has work; so does one that had none when it was told to sleep. A miner that
    was called back on its way up does not come down before it draws less than it did then.
    """
    falls = spec.kind is DeviceKind.GPU or state.draw.watts < UNMOVED * state.began.watts
    return falls and state.truth is not Truth.LYING and state.rests_s < state.since_s


def _arrived(spec: DeviceSpec, state: DeviceState, reading: Reading, now_s: float) -> bool:
    """A miner told to draw more is there when its watts are, or have had their time: its pool may be gone.
    One that then draws what it does asleep never started.

    A GPU's limit is no demand: nothing has to follow it up.
    """
    assert state.point is not None
    if spec.kind is DeviceKind.GPU:
        return True
    if now_s - state.asked_s > spec.settle_up_s:
        return not asleep_at(spec, state.point, reading.draw)
    return reading.draw.watts >= shown.least_w(state, state.point)


def overdue(spec: DeviceSpec, state: DeviceState, reading: Reading, now_s: float) -> DeviceState:
    """A command that was acknowledged and shows no effect within its settling time was a lie. Who was not
    heard in the second half of that may be where it was told to be: it is doubted by the clock, and accused
    by what it says. Whose watts stand still is told again, and counts as before.
    """
    if state.truth is not Truth.ACKNOWLEDGED or state.point is None:
        return state
    lowering = state.reckoned(state.point) < state.worst
    settle_s = spec.settle_down_s if lowering else spec.settle_up_s
    heard_s = state.at_s - state.sent_s
    # What does not rise is judged by what it says after its time: it may be there, and have no work.
    over_s = now_s - state.sent_s if lowering and heard_s > settle_s / 2 else heard_s
    if over_s <= settle_s:
        return state
    if shown.stands_still(spec, state, reading):
        return state._replace(truth=Truth.COMMANDED)
    return caught(spec, state, now_s)


def caught(spec: DeviceSpec, state: DeviceState, now_s: float) -> DeviceState:
    """A liar. What goes on drawing more than its point counts so, wherever it runs; a miner that never
    slept may be back at all of its watts as soon as it has work.
    """
    assert state.point is not None
    lowering = state.reckoned(state.point) < state.worst
    state = state._replace(truth=Truth.LYING, lies=state.lies + 1, bias=max(1.0, state.bias))
    if spec.kind is DeviceKind.ASIC and state.point == spec.floor:
        awake = shown.awake(spec, state.draw)
        return state._replace(worst=max(state.worst, spec.points[-1].power)) if awake else state
    if lowering:
        return state._replace(stuck=Stuck(spec.floor.power, state.draw, now_s))
    return state
