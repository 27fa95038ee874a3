"""Learns from the progress that jobs report what a power cap costs them, by model of GPU and kind of job.

What is learned is a rate and never a watt. What a job says of its progress is a tenant's word: it is bounded,
and the worst it can do is to make that kind of job look better or worse to itself.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drivers.gpu_curve import Curve, Measured, at, binned, fitted

WINDOW_S = 20.0
SETTLE_S = 5.0
"""After a change of limits nothing is measured for so long."""
LONGEST_GAP_S = 5.0
"""Looked at less often than this, a job may have stood still in between."""
STEPS_PER_WINDOW = 3
SAME_CAP = 0.01
PER_POINT = 9
RUNS_PER_KIND = 16
KINDS = 64
REFIT_AFTER = 4
REFIT_AFTER_SHARE = 0.1
"""A fit is due after so many measurements, and so many of those that are kept: it takes milliseconds."""
CHANGES_BY = 0.02
"""A new fit replaces a curve from which it differs by so much somewhere."""
LEAST_RATE, MOST_RATE = 1e-30, 1e30
"""Units per second of work: wide enough for any unit, and narrow enough to be reckoned with in every fit."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """A job as it runs now. `units` is the progress it reports, None where it reports none."""

    job: str
    kind: str
    gpus: tuple[str, ...]
    units: float | None


@dataclass(slots=True, kw_only=True)
class _Window:
    """What is being measured of one job: at one cap, between two of its steps."""

    cap: float
    open_at_s: float
    looked_s: float
    last_units: float
    began: tuple[float, float] | None = None
    steps: int = 0


class _Point(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = Field(max_length=96)
    kind: str = Field(max_length=64)
    run: str = Field(max_length=64)
    cap: float = Field(gt=0)
    units_per_s: float = Field(ge=LEAST_RATE, le=MOST_RATE)


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(default=1, ge=1, le=1)
    points: tuple[_Point, ...] = Field(max_length=1_000_000)


class _Kind:
    """All that was measured of one kind of job on one model: of each run and cap the newest few."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, defaultdict[int, deque[Measured]]] = OrderedDict()
        self._since_fit = 0
        self.curve: Curve | None = None

    def add(self, one: Measured) -> None:
        if one.run not in self._runs:
            self._runs[one.run] = defaultdict(lambda: deque(maxlen=PER_POINT))
            if len(self._runs) > RUNS_PER_KIND:
                self._runs.popitem(last=False)
        self._runs[one.run][binned(one.cap)].append(one)
        self._since_fit += 1

    def _kept(self) -> int:
        return sum(len(points) for bins in self._runs.values() for points in bins.values())

    def all(self) -> Iterator[Measured]:
        for bins in self._runs.values():
            for kept in bins.values():
                yield from kept

    def refit(self, prior: Curve) -> bool:
        """Fit again if enough is new; whether that changed the curve."""
        if self._since_fit < max(REFIT_AFTER, REFIT_AFTER_SHARE * self._kept()):
            return False
        self._since_fit = 0
        found = fitted(self.all(), prior)
        if found is None or (self.curve is not None and _near(found, self.curve)):
            return False
        self.curve = found
        return True


class Learner:
    """Shared by the GPUs of a site and its queue; all of it is called from the event loop.

    `dump` and `load` keep it: small, and bounded whatever jobs there are.
    """

    def __init__(self) -> None:
        self._kinds: OrderedDict[tuple[str, str], _Kind] = OrderedDict()
        self._caps: dict[str, tuple[str, float]] = {}
        self._priors: dict[str, Curve] = {}
        self._works_at: dict[str, str] = {}
        self._windows: dict[str, _Window] = {}
        self.news = False
        """Something was measured since the last `dump`."""

    def limited(self, device: str, model: str, cap: float, prior: Curve) -> None:
        """A GPU was read: its limit in force is `cap` of its default, and it began with the curve `prior`."""
        self._caps[device] = (model, cap)
        self._priors[model] = prior

    def curve(self, device: str, prior: Curve) -> Curve:
        """The curve of the kind of job that a GPU does, or did last; `prior` until that was learned."""
        known = self._caps.get(device)
        kind = self._kinds.get((known[0], self._works_at.get(device, ""))) if known is not None else None
        if kind is None:
            return prior
        if kind.curve is None:
            kind.refit(prior)  # of what an earlier process measured
        return prior if kind.curve is None else kind.curve

    def saw(self, jobs: Iterable[Working], now_s: float) -> None:
        """The jobs that run at `now_s`, all of them: what is not among them does not work."""
        running = {job.job: job for job in jobs}
        for gone in self._windows.keys() - running.keys():
            del self._windows[gone]
        for job in running.values():
            self._works_at.update(dict.fromkeys(job.gpus, job.kind))
            self._look(job, now_s)

    def dump(self) -> str:
        self.news = False
        points = [
            _Point(model=model, kind=kind, run=one.run, cap=one.cap, units_per_s=one.units_per_s)
            for (model, kind), known in self._kinds.items()
            for one in known.all()
        ]
        return _Kept(points=tuple(points)).model_dump_json()

    def load(self, text: str) -> None:
        """What `dump` wrote. Text that is not that is refused whole: `ValueError`."""
        try:
            kept = _Kept.model_validate_json(text)
        except ValidationError as error:
            raise ValueError(f"{error.error_count()} values cannot be used") from error
        for point in kept.points:
            self._kind(point.model, point.kind).add(
                Measured(run=point.run, cap=point.cap, units_per_s=point.units_per_s)
            )

    def _look(self, job: Working, now_s: float) -> None:
        where = {self._caps.get(gpu) for gpu in job.gpus}
        models = {known[0] for known in where if known is not None}
        if job.units is None or not math.isfinite(job.units) or None in where or len(models) != 1:
            self._windows.pop(job.job, None)
            return
        caps = [known[1] for known in where if known is not None]
        cap = min(caps)
        window = self._windows.get(job.job)
        if window is None or max(caps) - cap > SAME_CAP or self._broken(window, cap, job.units, now_s):
            self._windows[job.job] = _Window(
                cap=cap, open_at_s=now_s + SETTLE_S, looked_s=now_s, last_units=job.units
            )
            return
        window.looked_s = now_s
        if job.units > window.last_units:
            window.last_units = job.units
            self._stepped(job, window, next(iter(models)), now_s)

    def _broken(self, window: _Window, cap: float, units: float, now_s: float) -> bool:
        """Its limit changed, it began anew from a checkpoint, or nobody looked for a while."""
        moved = abs(cap - window.cap) > SAME_CAP
        return moved or units < window.last_units or now_s - window.looked_s > LONGEST_GAP_S

    def _stepped(self, job: Working, window: _Window, model: str, now_s: float) -> None:
        if now_s < window.open_at_s:
            return
        if window.began is None:
            window.began = (now_s, window.last_units)
            return
        window.steps += 1
        began_s, units = window.began
        if now_s - began_s < WINDOW_S or window.steps < STEPS_PER_WINDOW:
            return
        rate = (window.last_units - units) / (now_s - began_s)
        window.began, window.steps = (now_s, window.last_units), 0
        if LEAST_RATE <= rate <= MOST_RATE:
            self._learn(model, job, Measured(run=job.job, cap=window.cap, units_per_s=rate))

    def _learn(self, model: str, job: Working, one: Measured) -> None:
        self.news = True
        kind = self._kind(model, job.kind)
        kind.add(one)
        if kind.refit(self._priors[model]):
            assert kind.curve is not None
            halved = round(at(kind.curve, 0.5), 3)
            log.info("curve_learned", model=model, job_kind=job.kind, rate_at_half_limit=halved)

    def _kind(self, model: str, kind: str) -> _Kind:
        key = (model, kind)
        if key not in self._kinds:
            self._kinds[key] = _Kind()
        self._kinds.move_to_end(key)
        if len(self._kinds) > KINDS:
            self._kinds.popitem(last=False)
        return self._kinds[key]

    def learned(self) -> Mapping[tuple[str, str], Curve]:
        """By model and kind, what was learned so far."""
        return {key: kind.curve for key, kind in self._kinds.items() if kind.curve is not None}


def _near(one: Curve, other: Curve) -> bool:
    corners = {cap for cap, _ in (*one, *other)}
    return all(abs(at(one, cap) - at(other, cap)) <= CHANGES_BY for cap in corners)
