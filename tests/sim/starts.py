"""I5: whether no machine is started more often in an hour than it may be, as the plant saw it."""

from __future__ import annotations

from collections import deque

from controller.decide.plan import Plan
from controller.domain.devices import DeviceSpec
from simulators.physics.miner import MinerState
from tests.sim.case import Case
from tests.sim.possible import slack_w

HOUR_S = 3600.0
SURELY_S = HOUR_S - 90.0
"""Less what one order may take, lost and given again, and the next one not."""
MANY = 1000
"""Nobody has set how often it may be."""
TOLD_S = 3.0
"""A start so soon after an order is the order's; others, as after a boot, are nobody's."""
RUNS = frozenset({MinerState.HASHING, MinerState.STARTING})


class Starts:
    """`second` must be called once a second, `told` with every plan. A new process may not know all that the
    last one started: what it may start is counted anew, and it may let rest whom that started. A start counts
    from its first order on, also where the machine had no voltage then and starts at a later one; not one of
    a machine that misreports, or whose last reading says that it runs, for whether that sleeps nobody knows.
    """

    def __init__(self, case: Case) -> None:
        self._plant = case.plant
        self._doubts = case.doubts
        self._shell = case.shell
        self._verdict = case.verdict
        self._limited = {
            name: case.specs[name] for name in case.plant.miners if case.specs[name].starts_per_hour < MANY
        }
        self._asleep = dict.fromkeys(self._limited, False)
        self._started_s: dict[str, deque[float]] = {}
        self._told_s: dict[str, deque[float]] = {}
        self._perhaps_s: dict[str, deque[float]] = {}
        """Also those of machines that misreport, or that boot and were read asleep, which a controller may
        count."""
        self._at_floor: dict[str, bool] = {}
        """Of those that were told anything."""

    def begins(self, *, clock_set_back: bool) -> None:
        """A new process. What was done before seems to it to be in the future where the clock was set back,
        and counts as done now."""
        self._started_s, self._told_s, self._at_floor = {}, {}, {}
        if clock_set_back:
            now_s, perhaps_s = self._plant.now_s, self._perhaps_s
            for name in perhaps_s:
                perhaps_s[name] = deque([now_s] * _within(perhaps_s, name, now_s, HOUR_S))

    def told(self, plan: Plan) -> None:
        for command in plan.commands:
            spec = self._limited.get(command.device)
            if spec is None:
                continue
            state = self._plant.miners[spec.id].state
            was_at_floor = self._at_floor.get(spec.id)
            self._at_floor[spec.id] = command.point == spec.floor
            if command.point == spec.floor or was_at_floor is False:
                continue
            if was_at_floor or state not in RUNS:
                _note(self._perhaps_s, spec.id, plan.now_s)
            sure = not self._doubts.misreports(spec.id) and not self._says_it_runs(spec)
            if sure and (was_at_floor or state is MinerState.ASLEEP):
                _note(self._told_s, spec.id, plan.now_s)

    def second(self) -> None:
        now_s = self._plant.now_s
        for name, spec in self._limited.items():
            state, was_asleep = self._plant.miners[name].state, self._asleep[name]
            self._asleep[name] = state is MinerState.ASLEEP
            starts = (
                was_asleep and state is MinerState.STARTING and now_s - self._shell.ordered_s(name) <= TOLD_S
            )
            if not starts:
                continue
            _note(self._started_s, name, now_s)
            often = (_within(times_s, name, now_s, SURELY_S) for times_s in (self._started_s, self._told_s))
            if min(often) > spec.starts_per_hour:
                self._verdict.note(now_s, "starts", name)

    def rests(self, name: str) -> bool:
        """Whether it may not be started now, as often as it was told to."""
        spec, now_s = self._limited.get(name), self._plant.now_s
        return spec is not None and _within(self._perhaps_s, name, now_s, HOUR_S) >= spec.starts_per_hour

    def _says_it_runs(self, spec: DeviceSpec) -> bool:
        heard = self._shell.heard.readings.get(spec.id)
        return heard is not None and heard.value.draw.watts > slack_w(spec.floor.power.watts)


def _note(times_s: dict[str, deque[float]], name: str, now_s: float) -> None:
    lately = times_s.setdefault(name, deque())
    lately.append(now_s)
    while now_s - lately[0] > HOUR_S:
        lately.popleft()


def _within(times_s: dict[str, deque[float]], name: str, now_s: float, last_s: float) -> int:
    """How many there were in the last seconds."""
    return sum(now_s - at_s <= last_s for at_s in times_s.get(name, ()))
