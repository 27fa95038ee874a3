"""What is remembered of a device once it is told where to be: until that is proven it counts at the worse of
where it was and where it is going."""

from __future__ import annotations

import math

from controller.decide.device import DeviceState
from controller.decide.doubt import IDLE_REST_S, asleep_at, draws_on, stays_at, without_work
from controller.decide.words import Truth
from controller.domain.devices import DeviceSpec, OperatingPoint


def commanded(
    spec: DeviceSpec,
    state: DeviceState,
    point: OperatingPoint,
    now_s: float,
    idle_rest_s: float = IDLE_REST_S,
) -> DeviceState:
    """The state after telling the device to go to `point`: the worse of both ends until proven. One that is
    put to sleep while it has no work rests for `idle_rest_s`. Who is silent stays so, and at its worst."""
    again = point.is_at(state.point)
    started_s = _started_s(spec, state, point, now_s, again=again)
    counts = state.counted(point)
    stays = stays_at(spec, state)
    told = state._replace(
        point=point,
        truth=Truth.LYING if state.truth is Truth.LYING and again else Truth.COMMANDED,
        worst=counts if counts.watts > state.worst.watts else state.worst,
        since_s=state.since_s if again else now_s,
        began=state.began if again else state.draw,
        asked_s=state.asked_s if again else now_s,
        sent_s=now_s,
        attempts=state.attempts + 1 if again else 1,
        failures=state.failures if again and state.attempts else 0,
        started_s=started_s,
        given_up_s=now_s if stays is not None and point.power <= stays.power else state.given_up_s,
        rests_s=now_s + idle_rest_s if without_work(state) and point == spec.floor else state.rests_s,
        retold=state.retold + draws_on(state) if again else 0,
        idle_s=state.idle_s if again else None,
        demand_w=math.inf if started_s is not state.started_s else state.demand_w,
    )
    return told if state.seen else told._replace(truth=state.truth, worst=state.worst)


def _started_s(
    spec: DeviceSpec, state: DeviceState, point: OperatingPoint, now_s: float, *, again: bool
) -> tuple[float, ...]:
    """Its last starts, once it is told to go to `point`. One that still sleeps when it is told to start again
    had no voltage before, or did not hear: it starts now."""
    if point.power > spec.floor.power and state.point == spec.floor:
        return (*state.started_s, now_s)[-spec.starts_per_hour :]
    if again and state.attempts and state.started_s and asleep_at(spec, point, state.draw):
        return (*state.started_s[:-1], now_s)
    return state.started_s


def cut(spec: DeviceSpec, state: DeviceState, now_s: float) -> DeviceState:
    """The state after its power was taken, which counts for nothing until that was measured."""
    return commanded(spec, state, spec.floor, now_s)._replace(given_up_s=now_s)
