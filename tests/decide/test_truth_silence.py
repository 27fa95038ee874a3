"""What a device counts for that says nothing, and when it says something again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.decide import telling
from controller.decide.device import DeviceState
from controller.decide.words import Truth
from controller.domain.devices import DeviceSpec, OperatingPoint, Quality, Reading
from controller.domain.power import Power
from tests.decide.builders import FULL, LOW, NOW_S, SLEEP, at_point, device, miner, reading
from tests.decide.observing import see, told

# Silence


def test_a_silent_device_counts_at_its_ceiling() -> None:
    state = see(device(SLEEP, at_s=NOW_S - 16), at_point(miner(), SLEEP), heard_s=NOW_S - 16)

    assert (state.truth, state.worst) == (Truth.STALE, Power(3_700))


def test_a_silent_device_counts_where_it_was_while_it_cannot_have_restarted_yet() -> None:
    spec, heard_s = miner(boots_s=30.0), NOW_S - 16
    raised = told(FULL, LOW, at_s=heard_s)

    asleep = see(device(SLEEP, at_s=heard_s), at_point(spec, SLEEP), spec=spec, heard_s=heard_s)
    rising = see(raised, at_point(spec, LOW), spec=spec, heard_s=heard_s)
    later = see(asleep, at_point(spec, SLEEP), spec=spec, heard_s=heard_s, now_s=heard_s + 30)

    assert (asleep.truth, asleep.worst, rising.worst) == (Truth.STALE, Power(30), Power(3_500))
    assert (later.truth, later.worst) == (Truth.STALE, Power(3_700))


def test_of_a_device_first_heard_of_by_a_reading_that_is_too_old_nothing_is_known() -> None:
    spec = miner(boots_s=30.0)

    assert see(DeviceState(), at_point(spec, SLEEP), spec=spec, heard_s=NOW_S - 16).worst == Power(3_700)


def test_a_device_whose_points_changed_was_not_heard_earlier_for_an_older_reading_that_came_late() -> None:
    gone = OperatingPoint(name="gone", power=Power(2_000), rate=80.0)

    state = see(device(gone), at_point(miner(), LOW), heard_s=NOW_S - 16)

    assert (state.point, state.at_s) == (LOW, device(gone).at_s)


def test_a_device_is_not_silent_for_an_older_reading_that_came_late() -> None:
    state = see(device(SLEEP), at_point(miner(), SLEEP), heard_s=NOW_S - 16)

    assert state.truth is Truth.CONFIRMED


def test_a_device_heard_exactly_as_long_ago_as_allowed_is_not_silent() -> None:
    state = see(device(SLEEP), at_point(miner(), SLEEP), heard_s=NOW_S - 15)

    assert state.truth is Truth.CONFIRMED


def test_a_silent_device_that_keeps_limits_counts_at_the_last_one_it_confirmed() -> None:
    spec = miner(keeps_limit=True)

    state = see(
        device(LOW, keeps=Power(2_450), at_s=NOW_S - 16), at_point(spec, LOW), spec=spec, heard_s=NOW_S - 16
    )

    assert state.worst == Power(2_450)


def test_a_device_that_keeps_limits_but_never_confirmed_one_counts_at_its_ceiling() -> None:
    spec = miner(keeps_limit=True)

    state = see(device(LOW, at_s=NOW_S - 16), at_point(spec, LOW), spec=spec, heard_s=NOW_S - 16)

    assert state.worst == Power(3_700)


SLEEPER = miner(keeps_sleep=True)
SLEPT = device(SLEEP, keeps=Power(40), since_s=NOW_S - 600, at_s=NOW_S - 16, quality=Quality.MEASURED)


def unheard(state: DeviceState, at: OperatingPoint = SLEEP, spec: DeviceSpec = SLEEPER) -> Power:
    """What it counts for, an hour after it was heard for the last time."""
    return see(state, at_point(spec, at), spec=spec, heard_s=NOW_S - 16, now_s=NOW_S + 3_600).worst


def test_a_silent_miner_whose_firmware_keeps_it_asleep_counts_as_asleep_whenever_it_restarted() -> None:
    assert unheard(SLEPT) == Power(40)
    assert unheard(SLEPT, spec=miner()) == Power(3_700)


@pytest.mark.parametrize(
    "doubted",
    [
        SLEPT._replace(point=LOW),
        SLEPT._replace(keeps=None),
        SLEPT._replace(keeps=Power(2_400)),
        SLEPT._replace(quality=Quality.ESTIMATED),
        SLEPT._replace(lies=1),
        SLEPT._replace(rests_s=NOW_S - 300),
    ],
    ids=["hashes", "never heard", "told to sleep and not seen to", "tells no watts", "lied", "had no work"],
)
def test_a_silent_miner_that_may_not_have_slept_counts_at_its_ceiling_whatever_its_firmware_keeps(
    doubted: DeviceState,
) -> None:
    assert unheard(doubted) == Power(3_700)


def test_a_start_in_flight_when_a_miner_that_stays_asleep_fell_silent_still_counts() -> None:
    started = told(FULL, SLEEP, keeps=Power(40), quality=Quality.MEASURED)

    assert unheard(started) == Power(3_700)


def test_a_raise_in_flight_when_a_device_that_keeps_limits_fell_silent_still_counts() -> None:
    spec = miner(keeps_limit=True)
    raised = told(FULL, LOW, keeps=Power(2_400))

    silent = see(raised, at_point(spec, LOW), spec=spec, heard_s=NOW_S - 16)
    later = see(silent, at_point(spec, LOW), spec=spec, heard_s=NOW_S - 16, now_s=NOW_S + 60)

    assert (silent.worst, later.worst) == (Power(3_500), Power(3_500))


def test_a_device_that_comes_back_as_it_was_is_confirmed_there() -> None:
    state = see(device(LOW, Truth.STALE, worst_w=3_700), at_point(miner(), LOW))

    assert (state.truth, state.point, state.worst) == (Truth.CONFIRMED, LOW, Power(2_400))


@pytest.mark.parametrize(("rate", "rests"), [(200.0, False), (0.0, True)])
def test_a_silent_machine_whose_power_was_to_be_taken_need_not_rest_if_it_never_was(
    rate: float, rests: bool
) -> None:
    """Its PDU was behind the same switch, and as silent."""
    gone = device(FULL, Truth.STALE, at_s=NOW_S - 90)

    state = see(telling.cut(miner(), gone, NOW_S - 5), boots(3_500, rate))

    assert (state.given_up_s > 0) is rests


def test_a_device_that_fell_silent_while_it_was_raised_may_still_come_to_where_it_was_told_to_be() -> None:
    silent = see(told(FULL, LOW, NOW_S - 40), at_point(miner(), LOW), heard_s=NOW_S - 20)
    back = see(silent, at_point(miner(), LOW))
    later = see(back, at_point(miner(), LOW), heard_s=NOW_S + 5, now_s=NOW_S + 5)

    assert (back.truth, back.point, back.worst) == (Truth.COMMANDED, FULL, Power(3_500))
    assert later.worst == Power(3_500)


def test_a_device_that_forgot_its_limit_while_it_was_silent_counts_at_what_it_went_to() -> None:
    state = see(device(SLEEP, Truth.STALE, worst_w=3_700), at_point(miner(), FULL))

    assert (state.truth, state.point, state.worst) == (Truth.CONFIRMED, FULL, Power(3_500))


# Firmware that tells no limit while it runs, and says so when it sleeps


def boots(draw_w: int = 35, rate: float = 0.0) -> Reading:
    return replace(reading("m", draw_w), rate=rate)


@pytest.mark.parametrize(
    "before",
    [
        DeviceState(),
        device(SLEEP, Truth.STALE, worst_w=3_700),
        device(LOW, Truth.STALE, worst_w=3_700),
        device(FULL, Truth.STALE, worst_w=3_700),
        told(LOW, SLEEP, NOW_S - 40)._replace(truth=Truth.STALE),
    ],
    ids=["first heard", "slept", "low", "full", "was started"],
)
def test_a_miner_that_boots_and_tells_no_limit_is_on_its_way_up_and_not_asleep(before: DeviceState) -> None:
    state = see(before, boots())
    later = see(state, boots(90), heard_s=NOW_S + 30, now_s=NOW_S + 30)

    assert (state.point, state.worst, later.worst) == (FULL, Power(3_500), Power(3_500))


def test_a_miner_that_tells_no_limit_and_hashes_is_where_its_watts_are() -> None:
    state = see(device(FULL, Truth.STALE, worst_w=3_700), boots(2_400, LOW.rate))

    assert (state.truth, state.point, state.worst) == (Truth.CONFIRMED, LOW, Power(2_400))
